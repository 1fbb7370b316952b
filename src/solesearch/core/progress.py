"""Progress that reaches the user's terminal from inside a notebook's kernel or a training process.

A kernel's output goes into the notebook, not to the terminal (so would tqdm's bars). So long work appends
lines of JSON to the file named in $SOLESEARCH_PROGRESS, and the notebook runner follows that file. Without
the variable (a notebook opened in Jupyter) the lines are printed.
"""

from __future__ import annotations

import json
import os
import sys
import time
from multiprocessing import parent_process
from pathlib import Path

VARIABLE = "SOLESEARCH_PROGRESS"
INTERVAL_S = 1.0


def tell(line: str) -> None:
    """Show the user one line at once, also from inside a notebook's kernel."""
    _report({"line": line})


def _report(record: dict) -> None:
    if target := os.environ.get(VARIABLE):
        with Path(target).open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")
    elif parent_process() is None or sys.stdout.isatty():  # a child's lines would litter a log
        print(describe(record), flush=True)


class Progress:
    """Counts one task from 0 to `total` and reports at most once a second."""

    def __init__(self, task: str, *, total: int, unit: str, done: int = 0):
        """Start at `done` of `total` (a resumed task is not charged for what was there)."""
        self.task, self.total, self.unit, self.start_done = task, total, unit, done
        self.started, self.reported = time.monotonic(), 0.0

    def update(self, done: int) -> None:
        """Report `done` units, when a second has passed or all is done."""
        now, advanced = time.monotonic(), done - self.start_done
        if done < self.total and now - self.reported < INTERVAL_S:
            return
        self.reported, left = now, None
        if advanced * 100 >= self.total:  # the first one also pays for the start, so it says little
            left = (now - self.started) / advanced * (self.total - done)
        _report({"task": self.task, "done": done, "total": self.total, "unit": self.unit, "left_s": left})


def describe(record: dict) -> str:
    """Return one record as a line: `seed 1: step 250 of 2500, 38 min left`, or what `tell` was given."""
    if "line" in record:
        return record["line"]
    line = f"{record['task']}: {record['unit']} {record['done']} of {record['total']}"
    left = record["left_s"]
    if left is None or record["done"] >= record["total"]:
        return line
    return line + (f", {left / 60:.0f} min left" if left >= 90 else f", {left:.0f} s left")
