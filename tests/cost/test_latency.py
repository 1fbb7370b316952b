"""Timing: a known delay is measured, warm-up does not count, rows are complete."""

import time
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from solesearch.core.errors import InputError
from solesearch.core.settings import load_section
from solesearch.cost import latency

VALUES = {
    "threads": 1, "warm_up": 1, "runs": 5, "slow_ms": 40, "slow_runs": 2, "batches": [1, 4], "batch_runs": 3,
    "slow_batch_runs": 1,
}  # fmt: skip
SETTINGS = latency.LatencySettings(**VALUES)


def subject(embed, *, parameters: int = 7) -> latency.Subject:
    return latency.Subject("model", "NumPy", embed, parameters, (8, 8))


def test_median_and_warm_up() -> None:
    delays = iter([0.2, 0.01, 0.01, 0.01, 0.01, 0.01])
    seconds = latency.time_calls(lambda: time.sleep(next(delays)), warm_up=1, runs=5)
    assert len(seconds) == 5
    assert 0.01 <= np.median(seconds) < 0.1


def test_rows_are_consistent() -> None:
    seen = []
    rows = latency.measure(
        subject(lambda pixels: seen.append(len(pixels))), np.zeros((2, 8, 8, 3), np.uint8), settings=SETTINGS
    )
    # compile, warm up, five single photos; one warm-up and three batches, photos repeated to fill them
    assert seen == [1, 1, *[1] * 5, 4, *[4] * 3]
    assert [row["batch"] for row in rows] == [1, 4]
    for row in rows:
        assert list(row) == latency.COLUMNS
        assert row["images_per_s"] == pytest.approx(row["batch"] / (row["median_ms"] / 1000))
        assert row["median_ms"] <= row["p95_ms"]
        assert row["file_mb"] == pytest.approx(7 * 4 / 1e6)
        assert "1 thread(s)" in row["machine"]


def test_slow_models_are_repeated_less_often() -> None:
    seen = []

    def slow(pixels: np.ndarray) -> None:
        seen.append(len(pixels))
        time.sleep(0.06)

    latency.measure(subject(slow), np.zeros((2, 8, 8, 3), np.uint8), settings=SETTINGS)
    assert seen == [1, 1, 1, 1, 4]


def test_the_protocol_has_as_many_runs_as_promised() -> None:
    for profile in ("sample", "zappos", "paper"):
        values = load_section(profile, "latency")
        assert values["runs"] >= 100 and values["slow_runs"] >= 50, profile


@pytest.mark.parametrize(
    "change",
    [{"runs": 0}, {"threads": 0}, {"warm_up": 0}, {"batches": [0]}, {"slow_ms": 0}, {"slow_runs": 0}],
)
def test_protocol_without_runs_is_refused(change) -> None:
    with pytest.raises(InputError, match=r"params\.yaml, latency"):
        latency.LatencySettings(**{**VALUES, **change})


def test_controls_are_subjects() -> None:
    subjects = latency.control_subjects(image_size=(64, 96))
    assert [one.model for one in subjects] == ["mean_colour", "colour_histogram", "pixels", "hog"]
    pixels = np.zeros((1, 64, 96, 3), np.uint8)
    assert [one.embed(pixels).shape[1] for one in subjects] == [3, 64, 18432, 2772]  # each name its own


def test_decoding_is_timed_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    photo, decoded = latency.write_noise_photo(tmp_path / "photo.jpg"), []
    with Image.open(photo) as image:
        assert image.size == (136, 102)
    real = latency.load_pixels
    monkeypatch.setattr(latency, "load_pixels", lambda *a, **o: decoded.append(real(*a, **o).shape))
    for one in latency.decoding_subjects([(64, 96), (224, 224)], fit="stretch", photo=photo):
        one.embed(np.zeros((2, *one.image_size, 3), np.uint8))
    assert decoded == [(64, 96, 3)] * 2 + [(224, 224, 3)] * 2


def test_every_model_and_runtime_of_a_profile(workspace: Path) -> None:
    path = workspace / "params.yaml"
    parameters = yaml.safe_load(path.read_text())
    parameters["smoke"]["latency"].update(runs=1, slow_runs=1, batches=[1])
    parameters["smoke"]["networks"].update(names=["MobileNet-0.25"], whole_catalogue=[])
    path.write_text(yaml.safe_dump(parameters))
    table = latency.measure_apart("smoke", target=workspace / "latency.csv")
    assert set(zip(table["model"], table["runtime"], strict=True)) == {
        *((name, latency.COMPILED) for name in ("infogan", "MobileNet-0.25")),
        *((name, latency.ONNX) for name in ("infogan", "MobileNet-0.25")),
        *((name, "NumPy / scikit-image") for name in ("mean_colour", "colour_histogram", "pixels", "hog")),
        *((f"decode_and_resize_{size}", latency.PILLOW) for size in ("64x96", "224x224")),
    }
    weighs = table.set_index(["model", "runtime"])["parameters"]
    assert weighs["MobileNet-0.25", latency.COMPILED] == 218544
    assert weighs["infogan", latency.ONNX] == 431472
    assert (table["median_ms"] > 0).all()
