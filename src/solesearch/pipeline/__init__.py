"""What runs it all: notebooks in DVC, checks before a run, verification, the README's tables."""
