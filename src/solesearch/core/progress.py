"""Progress that reaches the user's terminal from inside a notebook's kernel or a training process.

A kernel's output goes into the notebook, not to the terminal (so would tqdm's bars). So long work appends
lines to the file named in $SOLESEARCH_PROGRESS, and the notebook runner shows them. Without the variable (a
notebook opened in Jupyter) they are printed.
"""

from __future__ import annotations

import os
import sys
import time
from multiprocessing import parent_process
from pathlib import Path

VARIABLE = "SOLESEARCH_PROGRESS"
PASSING = "\r"  # begins a line that the next one may replace
INTERVAL_S = 1.0


def tell(line: str) -> None:
    """Show the user one line at once, also from inside a notebook's kernel."""
    if target := os.environ.get(VARIABLE):
        with Path(target).open("a", encoding="utf-8", newline="\n") as file:
            file.write(f"{line}\n")
    elif parent_process() is None or sys.stdout.isatty():  # a child's lines would litter a log
        print(line.removeprefix(PASSING), flush=True)


class Progress:
    """Counts one task from 0 to `total` and reports at most once a second."""

    def __init__(self, task: str, *, total: int, unit: str, done: int = 0):
        """Start at `done` of `total` (a resumed task is not charged for what was there)."""
        self.task, self.total, self.unit, self.start_done = task, total, unit, done
        self.started, self.reported = time.monotonic(), 0.0

    def update(self, done: int) -> None:
        """Report, when a second has passed or all is done: `seed 1: step 250 of 2500, 38 min left`."""
        now, advanced = time.monotonic(), done - self.start_done
        if done < self.total and now - self.reported < INTERVAL_S:
            return
        self.reported, left = now, ""
        if done < self.total and advanced * 100 >= self.total:  # the first one also pays for the start
            seconds = (now - self.started) / advanced * (self.total - done)
            left = f", {seconds / 60:.0f} min left" if seconds >= 90 else f", {seconds:.0f} s left"
        tell(f"{PASSING}{self.task}: {self.unit} {done} of {self.total}{left}")
