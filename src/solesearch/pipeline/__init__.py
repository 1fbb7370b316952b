"""What runs it all: notebooks in DVC, checks before a run, verification, the tables of README and docs."""
