"""Training goes on from a seed's last state, on more photos: C's "retrained from the last checkpoint".

The folder that stage train owns is read and never written: the state is copied into a folder of its own, and
a training that was killed there goes on there.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from solesearch.core import files
from solesearch.core.checkpoints import checkpoint_file
from solesearch.core.errors import InputError, exit_status
from solesearch.core.paths import Paths
from solesearch.core.provenance import code_digest
from solesearch.core.repeatable import has_gpu
from solesearch.core.settings import GanSettings
from solesearch.gan.training import (
    SeedFolder,
    check_enough,
    load_settings,
    train,
    training_pixels,
    wanted_config,
)

STATE = "state.npz"
STEPS_DONE = "0000"  # the first of InfoGan.state_variables
KILL_COSTS = 0.25  # share of the added steps that a kill can cost at most


@dataclass(frozen=True)
class Continuation:
    """One training that goes on: where it lies, on which photos, for how many steps."""

    folder: Path  # of this seed: state, log, the last discriminator
    steps: int  # added to those of the state
    new_pixels: Path | None = None  # .npy uint8 [m, h, w, 3], trained on beside the old ones; None: old alone


def last_state(paths: Paths, seed: int) -> tuple[Path, int]:
    """Return a seed's saved training state and its step; raises InputError when there is none."""
    state = paths.gan_seed(seed) / STATE
    if not state.is_file():
        raise InputError(f"{state}: no state to go on from; stage train writes it")
    step = int(files.read_arrays(state)[STEPS_DONE])
    if step < 1:
        raise InputError(f"{state}: holds no trained step; run stage train again")
    return state, step


def continued_settings(gan: GanSettings, *, first: int, steps: int) -> GanSettings:
    """Return `gan` trained to step `first` + `steps`; only the last discriminator is kept.

    Raises InputError unless `steps` is at least 1.
    """
    if steps < 1:
        raise InputError(f"steps: at least 1 to go on training; got {steps}")
    last, often = first + steps, max(1, int(steps * KILL_COSTS))
    return dataclasses.replace(
        gan, steps=last, checkpoint_every=last, resume_every=min(gan.resume_every, often)
    )


def last_discriminator(folder: Path) -> Path:
    """Return the weights with which a continuation ended; raises InputError when it has not."""
    found = sorted(folder.glob("discriminator-*.npz"))
    if not found:
        raise InputError(f"{folder}: holds no discriminator; the training has not ended")
    return found[-1]


def continue_training(
    paths: Paths, wanted: Continuation, *, seed: int, overrides: dict[str, Any] | None = None
) -> Path:
    """Train a seed on from its last state in this process and return the last discriminator's file.

    What a killed run had reached in `wanted.folder` is used if code, settings, photos and the state it
    started from are the same, and set aside else. All photos are held in memory. Raises InputError before
    any training.
    """
    import tensorflow as tf

    old = training_pixels(paths)
    gan, _, threads = load_settings(paths.profile, image_size=old.shape[1:3], overrides=overrides)
    state, first = last_state(paths, seed)
    settings = continued_settings(gan, first=first, steps=wanted.steps)
    pixels = with_new(old, wanted.new_pixels)
    check_enough(len(pixels), batch_size=settings.batch_size)
    tf.config.experimental.enable_op_determinism()
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)
    config = wanted_config(settings, pixels, seed=seed, threads=threads)
    config["code"] = code_digest("solesearch.gan.continuation")
    config["started_from"] = {"step": first, "sha256": files.digest(state)}
    folder = SeedFolder(wanted.folder, wanted=config, set_aside=paths.set_aside)
    if not folder.state.is_file():
        with files.replacing(folder.state) as temporary:
            shutil.copyfile(state, temporary)
    train(settings, pixels, seed=seed, folder=folder)
    return checkpoint_file(folder.path, settings.steps)


def with_new(old: np.ndarray, new_pixels: Path | None) -> np.ndarray:
    """Return uint8 [n + m, h, w, 3]: the old photos, then the new ones; InputError when sizes differ."""
    if new_pixels is None:
        return old
    new = files.read_array(new_pixels, made_by="the command that adds photos")
    if new.shape[1:] != old.shape[1:] or new.dtype != np.uint8:
        raise InputError(f"{new_pixels}: {new.dtype} {new.shape}, not uint8 photos of {old.shape[1:]}")
    return np.concatenate([old, new])


def continue_apart(
    profile: str, wanted: Sequence[Continuation], *, seed: int, overrides: dict[str, Any] | None = None
) -> None:
    """Run continuations in processes of their own, two side by side where there is no GPU to share.

    A process of its own, because threads and determinism are settled before TensorFlow starts. Raises
    InputError with the last words of one that failed.
    """
    at_once = 1 if has_gpu() else max(1, min(len(wanted), os.cpu_count() or 1))
    with ThreadPoolExecutor(at_once) as pool:
        for _ in pool.map(lambda one: _run(profile, one, seed=seed, overrides=overrides), wanted):
            pass


def _run(profile: str, wanted: Continuation, *, seed: int, overrides: dict[str, Any] | None) -> None:
    command = [sys.executable, "-m", "solesearch.gan.continuation", profile, str(wanted.folder)]
    command += ["--seed", str(seed), "--steps", str(wanted.steps)]
    command += ["--new", str(wanted.new_pixels)] if wanted.new_pixels else []
    command += ["--overrides", json.dumps(overrides or {})]
    # progress goes to standard output, as the caller's
    ended = subprocess.run(command, stderr=subprocess.PIPE, text=True, check=False)
    if ended.returncode:
        last = (ended.stderr.strip().splitlines() or [f"ended with status {ended.returncode}"])[-1]
        raise InputError(f"{wanted.folder}: training on failed: {last.removeprefix('error: ')}")


def seconds_of(folder: Path) -> float:
    """Return the seconds that a continuation trained, interruptions left out; 0 where none is known."""
    file = folder.parent.with_name("training-seconds") / f"{folder.name}.json"
    return float(json.loads(file.read_text())) if file.is_file() else 0.0


def main() -> int:
    """Train a seed on: `... PROFILE FOLDER --seed S --steps N [--new FILE]`."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("profile")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--new", type=Path, help=".npy, uint8 [m, h, w, 3]: photos to train on as well")
    parser.add_argument("--overrides", type=json.loads, default={}, help='JSON, {"gan.batch_size": 8}')
    arguments = parser.parse_args()
    wanted = Continuation(arguments.folder, arguments.steps, arguments.new)
    return exit_status(
        lambda: continue_training(
            Paths.of(arguments.profile), wanted, seed=arguments.seed, overrides=arguments.overrides
        )
    )


if __name__ == "__main__":
    sys.exit(main())
