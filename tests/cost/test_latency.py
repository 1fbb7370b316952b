"""Timing: the protocol's calls, rows that are complete, every model and runtime once."""

import time
import weakref
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from solesearch.core.measures import ONNX, QUANTISED, TENSORFLOW
from solesearch.core.paths import Paths
from solesearch.cost import latency
from solesearch.cost.latency import LatencySettings
from solesearch.networks.comparison import Comparison, start_process
from solesearch.networks.networks import NetworkSettings, kept_embedder, kept_embedders
from solesearch.networks.weights import Weights
from solesearch.photos.catalog import CatalogSettings

NAMES = ["MobileNet-0.25", "ResNet50"]  # one that is built for one size, one for any
QUICK = {"threads": 1, "warm_up": 1, "least_runs": 5, "runs": 5, "batches": [1, 4], "batch_longest_s": 0.05}


def calls(seconds: float) -> tuple[list[int], list[dict]]:
    """Return the batches that a model of so many seconds a call was given, and its rows."""
    seen = []

    def embed(pixels: np.ndarray) -> None:
        seen.append(len(pixels))
        time.sleep(seconds)

    subject = latency.Subject("model", "NumPy", embed, parameters=7, image_size=(8, 8))
    return seen, latency.measure(subject, settings=LatencySettings.load("sample", **QUICK))


def test_rows_are_consistent() -> None:
    seen, rows = calls(0.002)
    # warm up, five single photos; then batches until they are known or enough
    assert seen[:6] == [1] * 6 and set(seen[6:]) == {4}
    assert [row["batch"] for row in rows] == [1, 4]
    assert [row["runs"] for row in rows] == [5, len(seen) - 6]
    for row in rows:
        assert list(row) == latency.COLUMNS
        assert row["images_per_s"] == pytest.approx(row["batch"] / (row["median_ms"] / 1000))
        assert 2 <= row["median_ms"] <= row["p95_ms"]
        assert row["file_mb"] == pytest.approx(7 * 4 / 1e6)
        assert "1 thread(s)" in row["machine"]


def test_a_slow_models_batches_are_run_once() -> None:
    seen, _ = calls(0.06)
    assert seen == [1, *[1] * 5, 4]


def test_the_protocol_is_as_promised() -> None:
    for profile in ("sample", "photos", "chapter", "paper"):
        settings = LatencySettings.load(profile)
        assert settings.least_runs >= 10 and settings.runs >= 100 and settings.precision == 0.02, profile


def test_controls_and_decoding_are_subjects(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    photo, decoded = latency.write_noise_photo(tmp_path / "photo.jpg"), []
    with Image.open(photo) as image:
        assert image.size == (136, 102)
    subjects = latency.other_subjects((64, 96), fit="stretch", squares={224}, photo=photo)
    controls, decoding = subjects[:4], subjects[4:]
    assert [one.model for one in controls] == ["mean_colour", "colour_histogram", "pixels", "hog"]
    pixels = np.zeros((1, 64, 96, 3), np.uint8)
    assert [one.embed(pixels).shape[1] for one in controls] == [3, 64, 18432, 2772]  # each name its own
    real = latency.load_pixels
    monkeypatch.setattr(latency, "load_pixels", lambda *a, **o: decoded.append(real(*a, **o).shape))
    for one in decoding:
        one.embed(np.zeros((2, *one.image_size, 3), np.uint8))
    assert decoded == [(64, 96, 3)] * 2 + [(224, 224, 3)] * 2


def test_a_network_is_dropped_when_it_has_been_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is the one that embedded; thirteen that stay would fill the memory."""
    networks = NetworkSettings.load("sample", names=NAMES, whole_catalogue=[]).model_dump_json()
    kept = weakref.ref(kept_embedder("ResNet50", networks, None))
    subjects = partial(latency.network_subjects, "ResNet50", networks, None, threads=1)
    monkeypatch.setattr(latency, "measure", lambda subject, settings: [kept() is not None])
    settings = LatencySettings.load("sample", **QUICK)
    assert latency.measure_each(subjects, settings) == [True]
    assert not kept_embedders() and kept() is None


def test_every_model_and_runtime_of_a_profile(workspace: Path) -> None:
    path = workspace / "params.yaml"
    parameters = yaml.safe_load(path.read_text())
    parameters["smoke"]["latency"].update(least_runs=1, runs=1, batches=[1])
    path.write_text(yaml.safe_dump(parameters))
    networks = NetworkSettings.load("smoke", names=NAMES, whole_catalogue=[])
    opened = Comparison(
        Paths.of("smoke"), CatalogSettings.load("smoke"), photos=None, folder=workspace, networks=networks,
        retraining=None, weights={name: Weights(name, None, "", "") for name in NAMES},
    )  # fmt: skip
    with start_process(threads=1) as process:
        table = latency.measure_all(opened, process)
    assert list(zip(table["model"], table["runtime"], strict=True)) == [
        *(("infogan", runtime) for runtime in (TENSORFLOW, ONNX, QUANTISED)),
        *(("MobileNet-0.25", runtime) for runtime in (TENSORFLOW, ONNX)),
        ("ResNet50", TENSORFLOW),
        *((name, latency.HANDMADE) for name in ("mean_colour", "colour_histogram", "pixels", "hog")),
        *((f"decode_and_resize_{size}", latency.PILLOW) for size in ("64x96", "224x224")),
    ]
    weighs = table.set_index(["model", "runtime"])["parameters"]
    assert weighs["MobileNet-0.25", TENSORFLOW] == 218544
    assert weighs["infogan", ONNX] == 431472
    megabytes = table.set_index(["model", "runtime"])["file_mb"]
    assert megabytes["infogan", ONNX] == pytest.approx(4 * megabytes["infogan", QUANTISED])
    assert (table["median_ms"] > 0).all() and (table["runs"] == 1).all()
