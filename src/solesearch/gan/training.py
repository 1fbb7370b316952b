"""Training the InfoGAN on a catalogue: batches, log, checkpoints, samples, resuming, one process a seed."""

from __future__ import annotations

import argparse
import csv
import dataclasses
import hashlib
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np
from PIL import Image

from solesearch.core import files
from solesearch.core.checkpoints import checkpoint_file, load_variables, save_variables
from solesearch.core.errors import InputError, exit_status
from solesearch.core.paths import Paths
from solesearch.core.progress import Progress
from solesearch.core.provenance import code_digest
from solesearch.core.repeatable import batch_rows, has_gpu, repeatable_execution
from solesearch.core.settings import GanSettings, fill, load_section
from solesearch.photos.photo import to_pixels, to_signed
from solesearch.photos.photo_table import read_photos

LOSSES = ("d_real", "d_fake", "generator", "mutual_information")
SAMPLE_ROWS, SAMPLE_COLUMNS = 4, 8


def batches(pixels: np.ndarray, *, size: int, seed: int, first: int, last: int) -> Iterator[np.ndarray]:
    """Yield float32 batches [size, h, w, 3] in [-1, 1] for steps first..last-1 (see `batch_rows`)."""
    for rows in batch_rows(len(pixels), size=size, seed=seed, first=first, last=last):
        yield to_signed(pixels[rows])


def check_enough(photos: int, *, batch_size: int) -> None:
    """Raise InputError when the training photos do not fill one batch."""
    if photos < batch_size:
        raise InputError(f"{photos} training photos make no batch of {batch_size}; lower gan.batch_size")


class SeedFolder:
    """The files of one training run, and whether they belong to the run that is wanted."""

    def __init__(self, folder: Path, *, wanted: dict[str, Any], set_aside: Path):
        """Open `folder`; one made with other settings is moved to `set_aside`, never deleted."""
        self.path, self.state, self.log = folder, folder / "state.npz", folder / "training.csv"
        config = folder / "config.json"
        if folder.exists() and not (config.is_file() and json.loads(config.read_text()) == wanted):
            move_aside(folder, set_aside)
        files.write_json(config, wanted)

    def restore(self, gan) -> int:
        """Load the last saved state into `gan` and return its step; 0 where there is none."""
        if not self.state.is_file():
            return 0
        load_variables(self.state, gan.state_variables())
        return int(gan.steps_done.numpy())

    def trim_log(self, step: int) -> None:
        """Drop log rows after `step`: they were written between the last state and the kill."""
        rows = self.log.read_text().splitlines() if self.log.is_file() else []
        header = ",".join(("step", *LOSSES))
        kept = [row for row in rows[1:] if row.split(",")[0].isdigit() and int(row.split(",")[0]) <= step]
        files.write_text(self.log, "\n".join([header, *kept]) + "\n")

    def save_samples(self, gan, step: int, seed: int) -> None:
        """Write a grid of generated images for the same latent at every step."""
        images = to_pixels(gan.generate(count=SAMPLE_ROWS * SAMPLE_COLUMNS, seed=seed))
        _, height, width, _ = images.shape
        grid = images.reshape(SAMPLE_ROWS, SAMPLE_COLUMNS, height, width, 3).swapaxes(1, 2)
        with files.replacing(self.path / f"samples-{step:06d}.png") as temporary:
            Image.fromarray(grid.reshape(SAMPLE_ROWS * height, SAMPLE_COLUMNS * width, 3)).save(temporary)

    def keep(self, gan, step: int, seed: int) -> None:
        """Keep the discriminator and a grid of samples of `step`."""
        self.save_samples(gan, step, seed)
        save_variables(checkpoint_file(self.path, step), gan.discriminator.variables)


class Clock:
    """Adds up the seconds that a seed's training takes, over all its interruptions, in a file of its own."""

    def __init__(self, folder: Path, *, first: int):
        """Keep the seconds beside the training folders, one file a seed; from step 0 they start anew."""
        self.file = folder.parent.with_name("training-seconds") / f"{folder.name}.json"
        self.before = json.loads(self.file.read_text()) if first and self.file.is_file() else 0.0
        self.started = time.monotonic()

    def save(self) -> None:
        """Write the seconds so far."""
        files.write_json(self.file, round(self.before + time.monotonic() - self.started, 1))


def seconds_spent(paths: Paths) -> float:
    """Return the seconds of the longest seed's training, interruptions left out; 0 where none is known."""
    return max((json.loads(file.read_text()) for file in paths.training_seconds.glob("*.json")), default=0.0)


def training_callback(gan, folder: SeedFolder, *, seed: int, first: int):
    """Return the Keras callback that logs each step, watches for NaN, reports and saves."""
    import keras

    settings, log, parent = gan.settings, folder.log.open("a", newline=""), os.getppid()
    writer = csv.writer(log, lineterminator="\n")
    progress = Progress(f"InfoGAN seed {seed}", total=settings.steps, unit="step", done=first)
    clock = Clock(folder.path, first=first)

    class Recorder(keras.callbacks.Callback):
        def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
            if os.getppid() != parent:
                raise SystemExit("the process that started this training is gone")
            step = first + batch + 1
            losses = {name: float(np.mean(logs[name])) for name in LOSSES}
            stop_when_not_finite(losses, seed=seed, step=step, folder=folder.path)
            writer.writerow([step, *(f"{losses[name]:.6g}" for name in LOSSES)])
            log.flush()
            if step % settings.checkpoint_every == 0:
                folder.keep(gan, step, seed)
            if step % settings.resume_every == 0 or step == settings.steps:
                save_variables(folder.state, gan.state_variables())
                clock.save()
            progress.update(step)

        def on_train_end(self, logs: dict[str, float] | None = None) -> None:
            log.close()

    return Recorder()


def stop_when_not_finite(losses: dict[str, float], *, seed: int, step: int, folder: Path) -> None:
    """Raise InputError that names the loss which became NaN or infinite."""
    broken = [name for name, value in losses.items() if not math.isfinite(value)]
    if broken:
        raise InputError(
            f"{folder}: seed {seed}, step {step}: {', '.join(broken)} is not finite; training stopped. "
            "Lower gan.discriminator_learning_rate or gan.generator_learning_rate in params.yaml"
        )


def train(settings, pixels: np.ndarray, *, seed: int, folder: SeedFolder) -> None:
    """Train one seed on uint8 pixels [n, h, w, 3] to `settings.steps`, from the last state if there is one.

    A resumed run gives the bytes of the uninterrupted one (on a processor, see `repeatable_execution`). With
    more than one GPU the batch is split over them (MirroredStrategy).
    """
    import tensorflow as tf

    from solesearch.gan.infogan import InfoGan

    several = len(tf.config.list_physical_devices("GPU")) > 1
    strategy = tf.distribute.MirroredStrategy() if several else tf.distribute.get_strategy()
    with strategy.scope():
        gan = InfoGan(settings, seed=seed)
        gan.compile_for_training()
    first = folder.restore(gan)
    if first == 0:
        folder.keep(gan, 0, seed)
    if first >= settings.steps:
        return
    folder.trim_log(first)
    spec = tf.TensorSpec((settings.batch_size, *settings.image_size, 3), tf.float32)
    stream = tf.data.Dataset.from_generator(
        lambda: batches(pixels, size=settings.batch_size, seed=seed, first=first, last=settings.steps),
        output_signature=spec,
    ).prefetch(2)
    recorder = training_callback(gan, folder, seed=seed, first=first)
    with repeatable_execution():
        gan.fit(stream, steps_per_epoch=settings.steps - first, verbose=0, callbacks=[recorder])


def training_pixels(paths: Paths) -> np.ndarray:
    """Return the decoded training photos, uint8 [n, h, w, 3], in the photo table's order."""
    photos = read_photos(paths)
    pixels = files.read_array(paths.pixels, made_by="stage prepare", memory_map=True)
    return pixels[np.flatnonzero(photos["split"] == "training")]


def wanted_config(settings, pixels: np.ndarray, *, seed: int, threads: int) -> dict[str, Any]:
    """Return what decides a run's numbers: code, settings, seed, threads, and the training photos' digest."""
    return {
        "code": code_digest("solesearch.gan.training"),
        "settings": {**dataclasses.asdict(settings), "image_size": list(settings.image_size)},
        "seed": seed,
        "threads": threads,
        "training_photos": len(pixels),
        "pixels_sha256": hashlib.sha256(np.ascontiguousarray(pixels)).hexdigest(),
    }


def load_settings(profile: str, *, image_size: tuple[int, int], overrides: dict[str, Any] | None = None):
    """Return (GanSettings, seeds, threads) of a profile's `gan` section."""
    values = load_section(profile, "gan", overrides)
    seeds, threads = values.pop("seeds"), values.pop("threads")
    if not seeds or len(set(seeds)) != len(seeds):
        raise InputError(f"params.yaml, {profile}.gan.seeds: name each seed once; got {seeds}")
    settings = fill(GanSettings, {**values, "image_size": tuple(image_size)}, where=f"{profile}.gan")
    return settings, list(seeds), threads


def train_seed(profile: str, *, seed: int, overrides: dict[str, Any] | None = None) -> None:
    """Train one seed of a profile in this process (the command line calls it)."""
    import tensorflow as tf

    paths = Paths.of(profile)
    pixels = training_pixels(paths)
    settings, _, threads = load_settings(profile, image_size=pixels.shape[1:3], overrides=overrides)
    tf.config.experimental.enable_op_determinism()
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)
    check_enough(len(pixels), batch_size=settings.batch_size)
    wanted = wanted_config(settings, pixels, seed=seed, threads=threads)
    folder = SeedFolder(paths.gan_seed(seed), wanted=wanted, set_aside=paths.set_aside)
    train(settings, pixels, seed=seed, folder=folder)


def train_all(profile: str, overrides: dict[str, Any] | None = None) -> list[Path]:
    """Train every seed of a profile, one process each, as many at once as the cores allow.

    One thread a process wastes less than many threads on one small network, and makes the numbers
    independent of the number of cores. With a GPU the seeds run one after another.
    Returns the seeds' folders; raises InputError with the last words of a process that failed.
    """
    paths = Paths.of(profile)
    shape = files.read_array(paths.pixels, made_by="stage prepare", memory_map=True).shape
    _, seeds, threads = load_settings(profile, image_size=shape[1:3], overrides=overrides)
    set_unwanted_aside(paths, seeds)
    at_once = 1 if has_gpu() else max(1, (os.cpu_count() or 1) // max(1, threads))
    waiting, running = list(seeds), {}
    try:
        while waiting or running:
            while waiting and len(running) < at_once:
                seed = waiting.pop(0)
                running[seed] = _start(profile, seed, overrides)
            for seed in [seed for seed, (process, _) in running.items() if process.poll() is not None]:
                _finish(*running.pop(seed), seed)
            time.sleep(0.2)
    finally:
        for process, _ in running.values():
            process.terminate()
    return [paths.gan_seed(seed) for seed in seeds]


def set_unwanted_aside(paths: Paths, seeds: list[int]) -> None:
    """Move the folders of seeds that params.yaml no longer names out of the stage's output."""
    wanted = {paths.gan_seed(seed) for seed in seeds}
    for folder in sorted(paths.gan.glob("seed-*")):
        if folder not in wanted:
            move_aside(folder, paths.set_aside)


def move_aside(folder: Path, target: Path) -> None:
    """Move a training folder below `target` under a new name; nothing is deleted."""
    target.mkdir(parents=True, exist_ok=True)
    folder.replace(target / f"{folder.name}-{time.strftime('%Y%m%dT%H%M%S')}-{os.getpid()}")


def _start(profile: str, seed: int, overrides: dict[str, Any] | None) -> tuple[subprocess.Popen, IO[str]]:
    command = [sys.executable, "-m", "solesearch.gan.training", profile, str(seed)]
    command += ["--overrides", json.dumps(overrides or {})]
    # a file, since a full pipe would stall the training
    words = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=words)
    return process, words


def _finish(process: subprocess.Popen, words: IO[str], seed: int) -> None:
    words.seek(0)
    lines = words.read().strip().splitlines()
    words.close()
    if process.returncode:
        last = lines[-1] if lines else f"ended with status {process.returncode}"
        raise InputError(f"training of seed {seed} failed: {last.removeprefix('error: ')}")


def main() -> int:
    """Train one seed: `python -m solesearch.gan.training PROFILE SEED`."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("profile")
    parser.add_argument("seed", type=int)
    parser.add_argument("--overrides", type=json.loads, default={}, help='JSON, {"gan.steps": 20}')
    arguments = parser.parse_args()
    return exit_status(
        lambda: train_seed(arguments.profile, seed=arguments.seed, overrides=arguments.overrides)
    )


if __name__ == "__main__":
    sys.exit(main())
