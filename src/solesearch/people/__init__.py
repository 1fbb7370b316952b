"""The human study: plan, questionnaire, answers, analysis."""
