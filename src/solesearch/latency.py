"""How long one photo takes, and how many a second: one protocol for every model, in a process of its own.

Decoded pixels in, vector out; threads pinned, warm-up first, median and 95th percentile of many runs.
Never `model.predict`: its own overhead (tens of milliseconds a call) would hide the network.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from solesearch import files
from solesearch.controls import CONTROLS, control_features
from solesearch.environment import machine_label
from solesearch.errors import InputError, exit_status
from solesearch.paths import Paths
from solesearch.settings import fill, load_section
from solesearch.training import ENVIRONMENT, checkpoint_file, load_settings

MEASURES = ["median_ms", "p95_ms", "images_per_s"]
COLUMNS = ["model", "runtime", "batch", *MEASURES, "parameters", "file_mb", "machine"]


@dataclass(frozen=True)
class LatencySettings:
    """The protocol; `params.yaml` holds the values."""

    threads: int
    warm_up: int
    runs: int
    batches: list[int]

    def __post_init__(self) -> None:
        """Raise InputError for a protocol that measures nothing."""
        if min(self.threads, self.runs, *self.batches) < 1 or self.warm_up < 0:
            raise InputError(
                f"params.yaml, latency: threads, runs and batches must be at least 1; got {self}"
            )


@dataclass(frozen=True)
class Subject:
    """One model to time: a function of uint8 pixels [b, h, w, 3], and what it weighs."""

    model: str
    runtime: str
    embed: Callable[[np.ndarray], object]
    parameters: int
    file_mb: float


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


def measure(subject: Subject, pixels: np.ndarray, *, settings: LatencySettings, batch: int) -> dict:
    """Return one row of the latency table for a batch of uint8 pixels [batch, h, w, 3]."""
    photos = np.resize(pixels, (batch, *pixels.shape[1:]))  # repeats photos when the batch is larger
    seconds = time_calls(lambda: subject.embed(photos), warm_up=settings.warm_up, runs=settings.runs)
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


def discriminator_subject(profile: str, *, image_size: tuple[int, int], step: int) -> Subject:
    """Return the proposed model as it is used for search: the discriminator up to its features."""
    from solesearch.embedding import Embedder

    settings, seeds, _ = load_settings(profile, image_size=image_size)
    weights = checkpoint_file(Paths.of(profile).gan_seed(seeds[0]), step)
    embedder = Embedder(settings, seed=seeds[0]).load(weights)
    layers = [*embedder.discriminator.convolutions, *embedder.discriminator.norms]
    return Subject(
        "infogan",
        "TensorFlow (tf.function)",
        embedder.embed,
        sum(layer.count_params() for layer in layers),
        weights.stat().st_size / 1e6,
    )


def control_subjects() -> list[Subject]:
    """Return the features that nobody trained; they have no parameters and no file."""
    return [
        Subject(
            name, "NumPy / scikit-image", lambda pixels, name=name: control_features(name, pixels), 0, 0.0
        )
        for name in CONTROLS
    ]


def measure_all(profile: str, *, step: int) -> pd.DataFrame:
    """Time every model of a profile in this process; `step` is the chosen checkpoint of the first seed."""
    settings = fill(LatencySettings, load_section(profile, "latency"), where=f"{profile}.latency")
    pin_threads(settings.threads)
    pixels = files.read_array(Paths.of(profile).pixels, made_by="stage prepare", memory_map=True)[:32]
    subjects = [discriminator_subject(profile, image_size=pixels.shape[1:3], step=step), *control_subjects()]
    rows = [
        measure(subject, pixels, settings=settings, batch=batch)
        for subject in subjects
        for batch in settings.batches
    ]
    return pd.DataFrame(rows, columns=COLUMNS)


def pin_threads(threads: int) -> None:
    """Bind this process to `threads` cores and TensorFlow to as many threads; before TensorFlow works."""
    import tensorflow as tf

    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, set(sorted(os.sched_getaffinity(0))[:threads]))
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(1)


def measure_apart(profile: str, *, step: int, target: Path) -> pd.DataFrame:
    """Run `measure_all` in a fresh process, so that nothing else holds threads; return its table."""
    command = [sys.executable, "-m", "solesearch.latency", profile, "--step", str(step), "--out", str(target)]
    ended = subprocess.run(
        command, env={**os.environ, **ENVIRONMENT}, capture_output=True, text=True, check=False
    )
    if ended.returncode:
        raise InputError(f"timing failed: {(ended.stderr.strip().splitlines() or ['no message'])[-1]}")
    return files.read_table(target, made_by="stage evaluate")


def main() -> int:
    """Time the models of one profile: `python -m solesearch.latency PROFILE --step N --out FILE`."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("profile")
    parser.add_argument("--step", type=int, required=True)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    return exit_status(
        lambda: files.write_table(arguments.out, measure_all(arguments.profile, step=arguments.step))
    )


if __name__ == "__main__":
    sys.exit(main())
