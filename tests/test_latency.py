"""Timing: a known delay is measured, warm-up does not count, rows are complete."""

import time

import numpy as np
import pytest

from solesearch import latency
from solesearch.errors import InputError

SETTINGS = latency.LatencySettings(threads=1, warm_up=1, runs=5, batches=[1, 4])


def test_median_and_warm_up() -> None:
    delays = iter([0.2, 0.01, 0.01, 0.01, 0.01, 0.01])
    seconds = latency.time_calls(lambda: time.sleep(next(delays)), warm_up=1, runs=5)
    assert len(seconds) == 5
    assert 0.01 <= np.median(seconds) < 0.1


def test_row_is_consistent() -> None:
    seen = []
    subject = latency.Subject("model", "NumPy", lambda pixels: seen.append(pixels.shape), 7, 0.5)
    row = latency.measure(subject, np.zeros((2, 8, 8, 3), np.uint8), settings=SETTINGS, batch=4)
    assert seen == [(4, 8, 8, 3)] * 6  # photos are repeated to fill the batch
    assert list(row) == latency.COLUMNS
    assert row["images_per_s"] == pytest.approx(4 / (row["median_ms"] / 1000))
    assert row["median_ms"] <= row["p95_ms"]
    assert "1 thread(s)" in row["machine"]


@pytest.mark.parametrize("change", [{"runs": 0}, {"threads": 0}, {"warm_up": -1}, {"batches": [0]}])
def test_protocol_without_runs_is_refused(change) -> None:
    values = {"threads": 1, "warm_up": 1, "runs": 5, "batches": [1], **change}
    with pytest.raises(InputError, match=r"params\.yaml, latency"):
        latency.LatencySettings(**values)


def test_controls_are_subjects() -> None:
    names = [subject.model for subject in latency.control_subjects()]
    assert names == ["mean_colour", "colour_histogram", "pixels", "hog"]
    pixels = np.zeros((1, 64, 96, 3), np.uint8)
    shapes = [subject.embed(pixels).shape[1] for subject in latency.control_subjects()]
    assert shapes == [3, 64, 18432, 2772]  # each name times its own features
