"""The timing harness: what counts, when it stops, and the interval of the median by hand."""

import itertools
import math
import os
import threading
import time
from collections.abc import Callable
from types import SimpleNamespace

import numpy as np
import pytest

from solesearch.core import timing


def stepping(
    monkeypatch: pytest.MonkeyPatch, durations: list[float]
) -> tuple[Callable[[], None], list[float]]:
    """Return a call that takes `durations` in turn by a clock of its own, and the list of calls made."""
    made: list[float] = []
    endless = itertools.cycle(durations)
    monkeypatch.setattr(timing.time, "perf_counter", lambda: sum(made))
    return lambda: made.append(next(endless)), made


def test_a_known_delay_is_measured_and_warm_up_does_not_count() -> None:
    delays = iter([0.2, 0.01, 0.01, 0.01])
    seconds = timing.time_calls(lambda: time.sleep(next(delays)), warm_up=1, runs=3)
    assert len(seconds) == 3 and 0.01 <= np.median(seconds) < 0.1


@pytest.mark.parametrize(
    ("durations", "options", "made"),
    [
        ([1.0], {"runs": 100}, 10),  # always the same: known after the least runs
        ([1.0, 1.1], {"runs": 100}, 100),  # 5 % to either side of 1.05: never known to 2 %
        ([1.0, 1.1], {"runs": 100, "precision": 0.05}, 10),
        ([1.0, 1.1], {"runs": 100, "longest_s": 15}, 15),
        ([1.0], {"runs": 100, "longest_s": 3}, 10),  # the least runs are made in any case
        ([1.0], {"runs": 100, "longest_s": 3, "least_runs": 1}, 4),
        ([1.0], {"runs": 100, "least_runs": 1}, 6),  # six values are the fewest that have an interval
        ([1.0], {"runs": 4}, 4),
    ],
)
def test_it_stops_when_the_median_is_known(
    monkeypatch: pytest.MonkeyPatch, durations: list[float], options: dict, made: int
) -> None:
    call, calls = stepping(monkeypatch, durations)
    assert len(timing.time_calls(call, warm_up=2, **options)) == made
    assert len(calls) == made + 2


def test_the_interval_of_the_median_by_hand() -> None:
    """Of ten values the 2nd and the 9th: fewer than 2 of 10 coins show heads with probability .011 < .025."""
    assert timing.median_interval([float(value) for value in range(10, 0, -1)]) == (2, 9)
    assert timing.median_interval([3.0, 1, 2, 4, 6, 5]) == (1, 6)  # 1/64 on either side
    assert timing.median_interval([1.0] * 5) == (0, math.inf)  # 1/32 > .025


def test_the_interval_holds_the_median_as_often_as_it_says() -> None:
    draw = np.random.default_rng(0)
    bounds = [timing.median_interval(list(draw.exponential(size=25))) for _ in range(2000)]
    held = np.mean([low <= math.log(2) <= high for low, high in bounds])
    assert 0.94 < held < 0.98


def test_all_is_timed_on_the_same_cores_and_they_are_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every thread is held, since TensorFlow's stand since its first call, and no longer than the block."""
    cores, held = {9, 4, 6, 2}, []
    threads = [SimpleNamespace(id=11), SimpleNamespace(id=12)]
    monkeypatch.setattr(timing.os, "sched_getaffinity", lambda process: cores, raising=False)
    monkeypatch.setattr(
        timing.os, "sched_setaffinity", lambda thread, on: held.append((thread, on)), raising=False
    )
    monkeypatch.setattr(timing.psutil, "Process", lambda: SimpleNamespace(threads=lambda: threads))
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt), timing.on_first_cores(2):
            assert held == [(11, {2, 4}), (12, {2, 4})]
            held.clear()
            raise KeyboardInterrupt
        assert held == [(11, cores), (12, cores)]
        held.clear()


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="macOS holds no thread to a core")
def test_a_thread_that_stands_already_is_held() -> None:
    before, ask, answers = os.sched_getaffinity(0), threading.Event(), []
    ready = threading.Thread(target=lambda: (ask.wait(), answers.append(os.sched_getaffinity(0))))
    ready.start()
    with timing.on_first_cores(1):
        ask.set()
        ready.join()
        assert answers == [{min(before)}]
    assert os.sched_getaffinity(0) == before
