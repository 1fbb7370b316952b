"""How long one photo takes, and how many a second: one protocol for every model, in a process of its own.

Decoded pixels in, vector out; threads pinned, warm-up first, median and 95th percentile of many runs; the
same runtime for all networks (a compiled `tf.function`), each at the input size it was published with.
Weights do not change the time, so networks are timed with drawn ones. Decoding and resizing are timed apart.
Never `model.predict`: its own overhead (tens of milliseconds a call) would hide the network.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from solesearch.core import files
from solesearch.core.environment import machine_label
from solesearch.core.errors import InputError, exit_status
from solesearch.core.progress import Progress
from solesearch.core.settings import fill, load_section
from solesearch.gan.training import load_gan
from solesearch.networks.networks import Network, Variant, find_network
from solesearch.networks.weights import load_network_settings
from solesearch.photos.photo import load_pixels
from solesearch.retrieval.controls import CONTROLS, control_features

MEASURES = ["median_ms", "p95_ms", "images_per_s"]
COLUMNS = ["model", "runtime", "batch", *MEASURES, "parameters", "file_mb", "machine"]
COMPILED, ONNX, PILLOW = "TensorFlow (tf.function)", "ONNX Runtime", "Pillow"
EXPORTED = ("MobileNet", "MobileNetV2")  # also timed in ONNX Runtime, beside the proposed model
BYTES = 4  # of a float32 weight
PHOTO_SIZE = (102, 136)  # height, width of UT-Zap50K's photos


@dataclass(frozen=True)
class LatencySettings:
    """The protocol; `params.yaml` holds the values."""

    threads: int
    warm_up: int
    runs: int
    slow_ms: float  # a call that takes longer is repeated `slow_runs` times only
    slow_runs: int
    batches: list[int]
    batch_runs: int  # calls with more than one photo
    slow_batch_runs: int

    def __post_init__(self) -> None:
        """Raise InputError for a protocol that measures nothing."""
        counts = (self.threads, self.runs, self.slow_runs, self.batch_runs, self.slow_batch_runs)
        if min(*counts, *self.batches) < 1 or self.warm_up < 1 or self.slow_ms <= 0:
            raise InputError(
                f"params.yaml, latency: slow_ms must lie above 0, all else be at least 1; got {self}"
            )

    def repeats(self, *, batch: int, seconds: float) -> int:
        """Return how often a call is timed that takes `seconds` for a photo."""
        slow = seconds * 1000 > self.slow_ms
        if batch == 1:
            return self.slow_runs if slow else self.runs
        return self.slow_batch_runs if slow else self.batch_runs


@dataclass(frozen=True)
class Subject:
    """One model to time: a function of uint8 pixels [b, *image_size, 3], and what it weighs."""

    model: str
    runtime: str
    embed: Callable[[np.ndarray], object]
    parameters: int
    image_size: tuple[int, int]  # height, width

    @property
    def file_mb(self) -> float:
        """Megabytes of its weights in float32."""
        return self.parameters * BYTES / 1e6


def time_calls(call: Callable[[], object], *, warm_up: int, runs: int) -> np.ndarray:
    """Return the wall seconds of each of `runs` calls, float64 [runs], after `warm_up` that do not count."""
    for _ in range(warm_up):
        call()
    seconds = np.empty(runs)
    for run in range(runs):
        start = time.perf_counter()
        call()
        seconds[run] = time.perf_counter() - start
    return seconds


def measure(subject: Subject, pixels: np.ndarray, *, settings: LatencySettings) -> list[dict]:
    """Return a row of the latency table for each batch size, for uint8 pixels [n, *image_size, 3].

    The first call compiles and counts for nothing; the rest of the warm-up says whether a model is slow. A
    slow model's larger batches get no warm-up of their own: its code is compiled and warm by then.
    """
    single = pixels[:1]
    subject.embed(single)
    estimate = float(np.median(time_calls(lambda: subject.embed(single), warm_up=0, runs=settings.warm_up)))
    slow = estimate * 1000 > settings.slow_ms
    rows = []
    for batch in settings.batches:
        photos = np.resize(pixels, (batch, *pixels.shape[1:]))  # repeats photos when the batch is larger
        seconds = time_calls(
            lambda photos=photos: subject.embed(photos),
            warm_up=0 if batch == 1 or slow else 1,
            runs=settings.repeats(batch=batch, seconds=estimate),
        )
        rows.append(_row(subject, batch, seconds, settings))
    return rows


def _row(subject: Subject, batch: int, seconds: np.ndarray, settings: LatencySettings) -> dict:
    median = float(np.median(seconds))
    return {
        "model": subject.model,
        "runtime": subject.runtime,
        "batch": batch,
        "median_ms": median * 1000,
        "p95_ms": float(np.quantile(seconds, 0.95)) * 1000,
        "images_per_s": batch / median,
        "parameters": subject.parameters,
        "file_mb": subject.file_mb,
        "machine": f"{machine_label()}; {settings.threads} thread(s)",
    }


def embedding_parameters(discriminator) -> int:
    """Return the weights of the discriminator up to its features: the heads embed nothing."""
    return sum(layer.count_params() for layer in (*discriminator.convolutions, *discriminator.norms))


def discriminator_subjects(
    profile: str, *, image_size: tuple[int, int], settings: LatencySettings
) -> Iterator[Subject]:
    """Yield the proposed model as it is used for search, in TensorFlow and in ONNX Runtime."""
    from solesearch.cost.onnx_model import OnnxModel, export_features
    from solesearch.gan.embedder import Embedder

    gan = load_gan(profile, image_size=image_size)
    embedder = Embedder(gan, seed=gan.seeds[0])
    parameters = embedding_parameters(embedder.discriminator)
    yield Subject("infogan", COMPILED, embedder.embed, parameters, image_size)
    model = OnnxModel(export_features(embedder.features), threads=settings.threads)
    yield Subject("infogan", ONNX, lambda pixels: model.embed(_signed(pixels)), parameters, image_size)


def _signed(pixels: np.ndarray) -> np.ndarray:
    from solesearch.photos.photo import to_signed

    return to_signed(pixels)


def network_subjects(profile: str, *, settings: LatencySettings) -> Iterator[Subject]:
    """Yield each ImageNet network without classifier at its published input size, one in memory at a time."""
    import keras

    from solesearch.cost.onnx_model import OnnxModel, export_features
    from solesearch.networks.networks import NetworkEmbedder

    networks = load_network_settings(profile).at_published_size()
    for name in networks.names:
        network = find_network(name)
        embedder = NetworkEmbedder(Variant(name), networks, weights=None)
        size = (network.input_size, network.input_size)
        yield Subject(name, COMPILED, embedder.embed, network.values, size)
        if network.builder in EXPORTED:
            model = OnnxModel(export_features(embedder.features), threads=settings.threads)
            yield Subject(name, ONNX, model.embed, network.values, size)
        del embedder
        keras.utils.clear_session()


def control_subjects(*, image_size: tuple[int, int]) -> list[Subject]:
    """Return the features that nobody trained; they have no parameters and no file."""
    return [
        Subject(name, "NumPy / scikit-image", partial(control_features, name), 0, image_size)
        for name in CONTROLS
    ]


def decoding_subjects(sizes: list[tuple[int, int]], *, fit: str, photo: Path) -> list[Subject]:
    """Return the way from one photo's file to pixels, for each input size; it is the same for all models."""
    return [
        Subject(
            f"decode_and_resize_{height}x{width}",
            PILLOW,
            partial(_decode, photo, (height, width), fit),
            0,
            (1, 1),
        )
        for height, width in sizes
    ]


def _decode(photo: Path, size: tuple[int, int], fit: str, pixels: np.ndarray) -> None:
    for _ in range(len(pixels)):
        load_pixels(photo, size=size, fit=fit)


def subjects(profile: str, *, image_size: tuple[int, int], settings: LatencySettings) -> Iterator[Subject]:
    """Yield everything that is timed, one after the other."""
    yield from discriminator_subjects(profile, image_size=image_size, settings=settings)
    yield from network_subjects(profile, settings=settings)
    yield from control_subjects(image_size=image_size)
    seen = {(network.input_size, network.input_size) for network in _networks(profile)}
    fit = load_section(profile, "catalog")["fit"]
    with tempfile.TemporaryDirectory() as folder:
        photo = write_noise_photo(Path(folder) / "photo.jpg")
        yield from decoding_subjects([image_size, *sorted(seen)], fit=fit, photo=photo)


def _networks(profile: str) -> list[Network]:
    return [find_network(name) for name in load_network_settings(profile).names]


def write_noise_photo(path: Path) -> Path:
    """Write a JPEG of UT-Zap50K's size, smooth noise drawn from a fixed seed, and return its path."""
    from PIL import Image

    drawn = np.random.default_rng(0).integers(0, 256, (13, 17, 3), dtype=np.uint8)
    Image.fromarray(drawn).resize(PHOTO_SIZE[::-1], Image.Resampling.BICUBIC).save(path, quality=90)
    return path


def measure_all(profile: str) -> pd.DataFrame:
    """Time every model of a profile in this process; needs no photos and no training."""
    from solesearch.photos.photo import IMAGE_SIZES

    settings = fill(LatencySettings, load_section(profile, "latency"), where=f"{profile}.latency")
    pin_threads(settings.threads)
    image_size = IMAGE_SIZES[load_section(profile, "catalog")["preset"]]
    draw, rows, done = np.random.default_rng(0), [], 0
    progress = Progress("timing", total=_count(profile), unit="model")
    for done, subject in enumerate(subjects(profile, image_size=image_size, settings=settings), start=1):
        pixels = draw.integers(
            0, 256, (min(32, max(settings.batches)), *subject.image_size, 3), dtype=np.uint8
        )
        rows += measure(subject, pixels, settings=settings)
        progress.update(done)
    return pd.DataFrame(rows, columns=COLUMNS)


def _count(profile: str) -> int:
    networks = _networks(profile)
    exported = sum(network.builder in EXPORTED for network in networks)
    sizes = {network.input_size for network in networks}
    return 2 + len(networks) + exported + len(CONTROLS) + 1 + len(sizes)


def pin_threads(threads: int) -> None:
    """Bind this process to `threads` cores and TensorFlow to as many threads; before TensorFlow works."""
    import tensorflow as tf

    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, set(sorted(os.sched_getaffinity(0))[:threads]))
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(1)


def measure_apart(profile: str, *, target: Path) -> pd.DataFrame:
    """Run `measure_all` in a fresh process, so that nothing else holds threads; return its table."""
    command = [sys.executable, "-m", "solesearch.cost.latency", profile, "--out", str(target)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    if ended.returncode:
        raise InputError(f"timing failed: {(ended.stderr.strip().splitlines() or ['no message'])[-1]}")
    return files.read_table(target, made_by="stage networks")


def main() -> int:
    """Time the models of one profile: `python -m solesearch.cost.latency PROFILE --out FILE`."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("profile")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    return exit_status(lambda: files.write_table(arguments.out, measure_all(arguments.profile)))


if __name__ == "__main__":
    sys.exit(main())
