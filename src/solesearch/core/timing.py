"""One way to time anything: on the same cores, warm up, then repeat until the median is known."""

from __future__ import annotations

import contextlib
import math
import os
import time
from collections.abc import Callable, Iterator
from functools import cache

import numpy as np
import psutil
from scipy.stats import binom

CONFIDENCE = 0.95


def time_calls(
    call: Callable[[], object],
    *,
    warm_up: int,
    runs: int,
    least_runs: int = 10,
    precision: float = 0.02,
    longest_s: float = math.inf,
) -> np.ndarray:
    """Return the wall seconds of each timed run of `call`, float64 [n], after `warm_up` that do not count.

    `least_runs` are made in any case, `runs` at most. In between it ends when the median is known to
    `precision`, a share of it (`median_known`, looked at after every `least_runs`), or after `longest_s`.
    """
    for _ in range(warm_up):
        call()
    seconds, started = [], time.perf_counter()
    while len(seconds) < runs:
        begun = time.perf_counter()
        call()
        ended = time.perf_counter()
        seconds.append(ended - begun)
        late = ended - started > longest_s and len(seconds) >= least_runs
        if late or (len(seconds) % least_runs == 0 and median_known(seconds, precision=precision)):
            break
    return np.array(seconds)


@contextlib.contextmanager
def on_first_cores(count: int) -> Iterator[None]:
    """Hold every thread of this process to the first `count` of its cores, the same for all that is timed.

    Outside the block it may use them all again. macOS has no such call; there nothing is held.
    """
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    cores = os.sched_getaffinity(0)
    _hold_threads(set(sorted(cores)[:count]))
    try:
        yield
    finally:
        _hold_threads(cores)


def _hold_threads(cores: set[int]) -> None:
    for thread in psutil.Process().threads():  # TensorFlow's stand since its first call
        with contextlib.suppress(ProcessLookupError):  # it has ended meanwhile
            os.sched_setaffinity(thread.id, cores)


def median_known(seconds: list[float], *, precision: float) -> bool:
    """Tell whether the 95 % interval of the median lies within `precision` of it, to either side."""
    median, (low, high) = float(np.median(seconds)), median_interval(seconds)
    return median - low <= precision * median and high - median <= precision * median


def median_interval(seconds: list[float]) -> tuple[float, float]:
    """Return the 95 % interval of the median by order statistics; 0 to infinity below six values.

    Each value lies below the true median with probability 1/2, so between the j-th smallest and the j-th
    largest it lies unless fewer than j fall on one side, a binomial count. No distribution is assumed.
    """
    rank = _rank(len(seconds))
    ordered = sorted(seconds)
    return (ordered[rank - 1], ordered[-rank]) if rank else (0.0, math.inf)


@cache
def _rank(count: int) -> int:
    return int(binom.ppf((1 - CONFIDENCE) / 2, count, 0.5))
