"""How long one photo takes, and how many a second: one protocol for every model, each in a quiet machine.

Decoded pixels in, vector out; threads pinned, warm-up first, median and 95th percentile of many runs; the
same runtime for all networks (a compiled `tf.function`), each at the input size it was published with. A
network is timed in the process that built it to embed with it, when all have embedded: then one works at a
time, and is dropped when it is done. Weights do not change the time. Decoding and resizing are timed apart.
Never `model.predict`: its own overhead (tens of milliseconds a call) would hide the network.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
from PIL import Image
from pydantic import Field

from solesearch.core.environment import machine_label
from solesearch.core.measures import ONNX, QUANTISED, TENSORFLOW
from solesearch.core.model_names import DECODING, PROPOSED, NetworkRow
from solesearch.core.progress import Progress
from solesearch.core.settings import Section
from solesearch.core.timing import on_first_cores, time_calls
from solesearch.core.workers import ended_on_error, free_memory
from solesearch.cost.onnx_model import OnnxModel, export_features, with_8_bit_weights
from solesearch.gan.embedder import Embedder
from solesearch.gan.training import load_gan
from solesearch.networks.comparison import Comparison
from solesearch.networks.networks import (
    NetworkEmbedder,
    NetworkSettings,
    find_network,
    kept_embedder,
    kept_embedders,
)
from solesearch.photos.photo import load_pixels, to_signed
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
SIZES = ("input_size", "untrained_input_size")

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


def noise(subject: Subject, *, count: int) -> np.ndarray:
    """Return noise as photos for a model, uint8 [count, *image_size, 3]; a large batch repeats some."""
    drawn = np.random.default_rng(0).integers(0, 256, (DRAWN, *subject.image_size, 3), dtype=np.uint8)
    return np.resize(drawn, (count, *drawn.shape[1:]))


def measure(subject: Subject, *, settings: LatencySettings) -> list[dict]:
    """Return a row of the latency table for each batch size, on noise as photos."""
    rows = []
    for batch in settings.batches:
        call = partial(subject.embed, noise(subject, count=batch))
        seconds = (time_one if batch == 1 else time_batch)(call, settings)
        median, high = np.quantile(seconds, (0.5, 0.95))
        values = (batch, median * 1000, high * 1000, batch / median, len(seconds))
        weight = 1 if subject.runtime == QUANTISED else BYTES
        weighs = (subject.parameters, subject.parameters * weight / 1e6)
        machine = f"{machine_label()}; {settings.threads} thread(s)"
        row = (subject.model, subject.runtime, *values, *weighs, machine)
        rows.append(dict(zip(COLUMNS, row, strict=True)))
    return rows


def embedding_parameters(discriminator) -> int:
    """Return the weights of the discriminator up to its features: the heads embed nothing."""
    return sum(layer.count_params() for layer in (*discriminator.convolutions, *discriminator.norms))


def proposed_subjects(profile: str, *, image_size: tuple[int, int], threads: int) -> list[Subject]:
    """Return the proposed model as it is used for search: in TensorFlow, in ONNX Runtime, quantised there."""
    gan = load_gan(profile, image_size=image_size)
    embedder = Embedder(gan, seed=gan.seeds[0])
    parameters = embedding_parameters(embedder.discriminator)
    subjects = [Subject(PROPOSED, TENSORFLOW, embedder.embed, parameters, image_size)]
    content = export_features(embedder.features)
    for runtime, network in ((ONNX, content), (QUANTISED, with_8_bit_weights(content))):
        onnx = OnnxModel(network, threads=threads)
        embed = partial(_embed_signed, onnx)
        subjects.append(Subject(PROPOSED, runtime, embed, parameters, image_size))
    return subjects


def _embed_signed(onnx: OnnxModel, pixels: np.ndarray) -> np.ndarray:
    return onnx.embed(to_signed(pixels))


def network_subjects(name: str, settings: str, weights: Path | None, *, threads: int) -> list[Subject]:
    """Return an ImageNet network without classifier at its published input size; some in ONNX Runtime, too.

    `settings` are NetworkSettings as JSON. It is the network that embedded, unless that takes one size only.
    """
    embedder, known = kept_embedder(name, settings, weights), find_network(name)
    if embedder.sides:
        own = NetworkSettings.model_validate_json(settings).model_copy(update=dict.fromkeys(SIZES, 0))
        embedder = NetworkEmbedder(NetworkRow(name), own, weights=None)
    size = (known.input_size, known.input_size)
    subjects = [Subject(name, TENSORFLOW, embedder.embed, known.values, size)]
    if known.builder in EXPORTED:
        onnx = OnnxModel(export_features(embedder.features), threads=threads)
        subjects.append(Subject(name, ONNX, onnx.embed, known.values, size))
    return subjects


def other_subjects(image_size: tuple[int, int], *, fit: str, squares: set[int], photo: Path) -> list[Subject]:
    """Return the features that nobody trained, and the way from one photo's file to pixels, by input size.

    The first have no parameters and no file; the second is the same for all models.
    """

    def decode(size: tuple[int, int], pixels: np.ndarray) -> None:
        for _ in range(len(pixels)):
            load_pixels(photo, size=size, fit=fit)

    subjects = [Subject(name, HANDMADE, partial(control_features, name), 0, image_size) for name in CONTROLS]
    for height, width in [image_size, *((side, side) for side in sorted(squares))]:
        name = f"{DECODING}{height}x{width}"
        subjects.append(Subject(name, PILLOW, partial(decode, (height, width)), 0, (1, 1)))
    return subjects


def write_noise_photo(path: Path) -> Path:
    """Write a JPEG of UT-Zap50K's size, smooth noise drawn from a fixed seed, and return its path."""
    drawn = np.random.default_rng(0).integers(0, 256, (13, 17, 3), dtype=np.uint8)
    Image.fromarray(drawn).resize(PHOTO_SIZE[::-1], Image.Resampling.BICUBIC).save(path, quality=90)
    return path


def measure_all(opened: Comparison, process: Executor) -> pd.DataFrame:
    """Time every model of a profile, one after the other, in the process that embedded with the networks.

    Returns latency.csv (columns COLUMNS). A failure ends the process; raises InputError where it was killed.
    """
    profile, size, names = opened.paths.profile, opened.catalogue.image_size, opened.networks.names
    settings, networks = LatencySettings.load(profile), opened.networks.model_dump_json()
    options = {"threads": settings.threads}
    tasks = [partial(proposed_subjects, profile, image_size=size, **options)]
    tasks += [partial(network_subjects, one, networks, opened.weights[one].path, **options) for one in names]
    squares = {find_network(name).input_size for name in names}
    rows, progress = [], Progress("timing", total=len(tasks) + 1, unit="model")
    with tempfile.TemporaryDirectory() as folder, ended_on_error([process], work="timing"):
        photo = write_noise_photo(Path(folder) / "photo.jpg")
        tasks.append(partial(other_subjects, size, fit=opened.catalogue.fit, squares=squares, photo=photo))
        for done, subjects in enumerate(tasks, start=1):
            rows += process.submit(measure_each, subjects, settings).result()
            progress.update(done)
    return pd.DataFrame(rows, columns=COLUMNS)


def measure_each(subjects: Callable[[], list[Subject]], settings: LatencySettings) -> list[dict]:
    """Build some models, compile them, and return their rows of the latency table; keep none of them.

    All are timed on the same cores. A network that stayed would take its weights and what it compiled: with
    thirteen of them that was more than half of what the stage took.
    """
    made = subjects()
    for subject in made:
        subject.embed(noise(subject, count=1))  # the first call compiles
    with on_first_cores(settings.threads):
        rows = [row for subject in made for row in measure(subject, settings=settings)]
    names = {subject.model for subject in made}
    for key in [key for key in kept_embedders() if key[0] in names]:
        del kept_embedders()[key]
    del made, subject
    free_memory()
    return rows
