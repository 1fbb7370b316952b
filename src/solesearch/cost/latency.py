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
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
from pydantic import Field

from solesearch.core import files
from solesearch.core.environment import machine_label
from solesearch.core.errors import InputError, exit_status
from solesearch.core.measures import ONNX, TENSORFLOW
from solesearch.core.model_names import DECODING, NetworkRow
from solesearch.core.progress import Progress
from solesearch.core.settings import Section, load_section
from solesearch.core.timing import time_calls
from solesearch.gan.training import load_gan
from solesearch.networks.networks import NetworkEmbedder, NetworkSettings, find_network
from solesearch.photos.photo import IMAGE_SIZES, load_pixels, to_signed
from solesearch.retrieval.controls import CONTROLS, control_features

COLUMNS = [
    *("model", "runtime", "batch", "median_ms", "p95_ms", "images_per_s", "runs"),
    *("parameters", "file_mb", "machine"),
]
HANDMADE, PILLOW = "NumPy / scikit-image", "Pillow"
EXPORTED = ("MobileNet", "MobileNetV2")  # also timed in ONNX Runtime, beside the proposed model
BYTES = 4  # of a float32 weight
PHOTO_SIZE = (102, 136)  # height, width of UT-Zap50K's photos
DRAWN = 32  # different photos in a batch; a larger one repeats them

Count, Seconds = Annotated[int, Field(ge=1)], Annotated[float, Field(gt=0)]


class LatencySettings(Section, section="latency"):
    """The protocol; `params.yaml` holds the values."""

    threads: Count
    warm_up: Count
    least_runs: Count  # of a single photo
    runs: Count  # at most
    precision: Annotated[float, Field(gt=0, lt=1)]  # of the median: runs end when it is known so well
    longest_s: Seconds  # runs of a single photo end after so long, beyond the least
    batches: Annotated[list[Count], Field(min_length=1)]
    batch_longest_s: Seconds  # the same of a batch of several photos, of which one run is the least


@dataclass(frozen=True)
class Subject:
    """One model to time: a function of uint8 pixels [b, *image_size, 3], and its number of weights."""

    model: str
    runtime: str
    embed: Callable[[np.ndarray], object]
    parameters: int
    image_size: tuple[int, int]  # height, width


def time_one(call: Callable[[], object], settings: LatencySettings) -> np.ndarray:
    """Return the seconds of each run of a call on one photo, float64 [n], by the protocol."""
    return time_calls(
        call,
        warm_up=settings.warm_up,
        runs=settings.runs,
        least_runs=settings.least_runs,
        precision=settings.precision,
        longest_s=settings.longest_s,
    )


def time_batch(call: Callable[[], object], settings: LatencySettings) -> np.ndarray:
    """Return the seconds of each run of a call on a batch, float64 [n]: compiled and warm by then."""
    limits = {"runs": settings.runs, "precision": settings.precision, "longest_s": settings.batch_longest_s}
    return time_calls(call, warm_up=0, least_runs=1, **limits)


def measure(subject: Subject, *, settings: LatencySettings) -> list[dict]:
    """Return a row of the latency table for each batch size, on noise as photos.

    The first call compiles and counts for nothing.
    """
    draw = np.random.default_rng(0)
    pixels = draw.integers(0, 256, (DRAWN, *subject.image_size, 3), dtype=np.uint8)
    subject.embed(pixels[:1])
    rows = []
    for batch in settings.batches:
        photos = np.resize(pixels, (batch, *pixels.shape[1:]))
        seconds = (time_one if batch == 1 else time_batch)(partial(subject.embed, photos), settings)
        median, high = np.quantile(seconds, (0.5, 0.95))
        values = (batch, median * 1000, high * 1000, batch / median, len(seconds))
        weighs = (subject.parameters, subject.parameters * BYTES / 1e6)
        machine = f"{machine_label()}; {settings.threads} thread(s)"
        row = (subject.model, subject.runtime, *values, *weighs, machine)
        rows.append(dict(zip(COLUMNS, row, strict=True)))
    return rows


def embedding_parameters(discriminator) -> int:
    """Return the weights of the discriminator up to its features: the heads embed nothing."""
    return sum(layer.count_params() for layer in (*discriminator.convolutions, *discriminator.norms))


def proposed_subjects(profile: str, *, image_size: tuple[int, int], threads: int) -> Iterator[Subject]:
    """Yield the proposed model as it is used for search, in TensorFlow and in ONNX Runtime."""
    from solesearch.cost.onnx_model import OnnxModel, export_features
    from solesearch.gan.embedder import Embedder

    gan = load_gan(profile, image_size=image_size)
    embedder = Embedder(gan, seed=gan.seeds[0])
    parameters = embedding_parameters(embedder.discriminator)
    yield Subject("infogan", TENSORFLOW, embedder.embed, parameters, image_size)
    model = OnnxModel(export_features(embedder.features), threads=threads)
    yield Subject("infogan", ONNX, lambda pixels: model.embed(to_signed(pixels)), parameters, image_size)


def network_subjects(name: str, networks: NetworkSettings, *, threads: int) -> Iterator[Subject]:
    """Yield an ImageNet network without classifier at its published input size; some in ONNX Runtime, too."""
    import keras

    from solesearch.cost.onnx_model import OnnxModel, export_features

    embedder = NetworkEmbedder(NetworkRow(name), networks, weights=None)
    network, size = embedder.network, (embedder.size, embedder.size)
    yield Subject(name, TENSORFLOW, embedder.embed, network.values, size)
    if network.builder in EXPORTED:
        model = OnnxModel(export_features(embedder.features), threads=threads)
        yield Subject(name, ONNX, model.embed, network.values, size)
    keras.utils.clear_session()  # one in memory at a time


def control_subjects(*, image_size: tuple[int, int]) -> list[Subject]:
    """Return the features that nobody trained; they have no parameters and no file."""
    return [
        Subject(name, HANDMADE, partial(control_features, name), parameters=0, image_size=image_size)
        for name in CONTROLS
    ]


def decoding_subjects(sizes: list[tuple[int, int]], *, fit: str, photo: Path) -> list[Subject]:
    """Return the way from one photo's file to pixels, for each input size; it is the same for all models."""

    def decode(size: tuple[int, int], pixels: np.ndarray) -> None:
        for _ in range(len(pixels)):
            load_pixels(photo, size=size, fit=fit)

    names = [f"{DECODING}{height}x{width}" for height, width in sizes]
    return [
        Subject(name, PILLOW, partial(decode, size), parameters=0, image_size=(1, 1))
        for name, size in zip(names, sizes, strict=True)
    ]


def write_noise_photo(path: Path) -> Path:
    """Write a JPEG of UT-Zap50K's size, smooth noise drawn from a fixed seed, and return its path."""
    from PIL import Image

    drawn = np.random.default_rng(0).integers(0, 256, (13, 17, 3), dtype=np.uint8)
    Image.fromarray(drawn).resize(PHOTO_SIZE[::-1], Image.Resampling.BICUBIC).save(path, quality=90)
    return path


def measure_all(profile: str) -> pd.DataFrame:
    """Time every model of a profile in this process; needs no photos and no training."""
    settings, catalogue = LatencySettings.load(profile), load_section(profile, "catalog")
    networks = NetworkSettings.load(profile, input_size=0, untrained_input_size=0)  # each its own
    pin_threads(settings.threads)
    image_size, threads = IMAGE_SIZES[catalogue["preset"]], settings.threads
    squares = sorted({(find_network(name).input_size,) * 2 for name in networks.names})
    rows, progress = [], Progress("timing", total=len(networks.names) + 2, unit="model")
    with tempfile.TemporaryDirectory() as folder:
        photo = write_noise_photo(Path(folder) / "photo.jpg")
        decoding = decoding_subjects([image_size, *squares], fit=catalogue["fit"], photo=photo)
        groups = [
            proposed_subjects(profile, image_size=image_size, threads=threads),
            *(network_subjects(name, networks, threads=threads) for name in networks.names),
            [*control_subjects(image_size=image_size), *decoding],
        ]
        for done, group in enumerate(groups, start=1):
            rows += [row for subject in group for row in measure(subject, settings=settings)]
            progress.update(done)
    return pd.DataFrame(rows, columns=COLUMNS)


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
