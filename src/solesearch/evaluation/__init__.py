"""The study: which checkpoint, which photos, which models, judged how; and the tables that say it."""
