"""Training goes on from a seed's last state, on more photos: C's "retrained from the last checkpoint".

The folder that stage train owns is read and never written: the state is copied into a folder of its own, and
a training that was killed there goes on there.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np

from solesearch.core import files
from solesearch.core.checkpoints import checkpoint_file, checkpoint_steps
from solesearch.core.errors import InputError
from solesearch.core.paths import Paths
from solesearch.core.settings import GanSettings
from solesearch.gan.trainer import TrainingFolder
from solesearch.gan.training import load_gan, train_infogan, training_config, training_pixels

KILL_COSTS = 0.25  # share of the added steps that a kill can cost at most


def last_state(paths: Paths, seed: int) -> tuple[Path, int]:
    """Return a seed's saved training state and its step; raises InputError when there is none."""
    folder = TrainingFolder(paths, paths.gan_seed(seed))
    if folder.step < 1:
        raise InputError(f"{folder.state}: no state to go on from; stage train writes it")
    return folder.state, folder.step


def continued_settings(gan: GanSettings, *, first: int, steps: int) -> GanSettings:
    """Return `gan` trained to step `first` + `steps`; only the last discriminator is kept.

    Raises InputError unless `steps` is at least 1.
    """
    if steps < 1:
        raise InputError(f"steps: at least 1 to go on training; got {steps}")
    last, often = first + steps, max(1, int(steps * KILL_COSTS))
    return gan.replaced(steps=last, checkpoint_every=last, resume_every=min(gan.resume_every, often))


def last_discriminator(folder: Path) -> Path:
    """Return the weights with which a continuation ended; raises InputError when it has not."""
    if not (steps := checkpoint_steps(folder)):
        raise InputError(f"{folder}: holds no discriminator; the training has not ended")
    return checkpoint_file(folder, steps[-1])


def continue_training(
    paths: Paths, folder: Path, seed: int, steps: int, new_pixels: Path | None = None
) -> None:
    """Train a seed on for `steps` steps in this process, on the old photos and those of `new_pixels` (.npy).

    What a killed run had reached in `folder` is used if code, settings, photos and the state it started from
    are the same, and set aside else. All photos are held in memory. Raises InputError before any training.
    """
    pixels, (state, first) = with_new(training_pixels(paths), new_pixels), last_state(paths, seed)
    gan = load_gan(paths.profile, image_size=pixels.shape[1:3])
    settings = continued_settings(gan, first=first, steps=steps)
    config = training_config(settings, pixels, seed=seed, code="solesearch.gan.continuation")
    training = TrainingFolder(paths, folder)
    training.claim({**config, "started_from": {"step": first, "sha256": files.digest(state)}})
    if not training.state.is_file():
        with files.replacing(training.state) as temporary:
            shutil.copyfile(state, temporary)
    if training.step < settings.steps:
        train_infogan(settings, pixels, seed=seed, folder=training)


def with_new(old: np.ndarray, new_pixels: Path | None) -> np.ndarray:
    """Return uint8 [n + m, h, w, 3]: the old photos, then the new ones; InputError when sizes differ."""
    if new_pixels is None:
        return old
    new = files.read_array(new_pixels, made_by="the command that adds photos")
    if new.shape[1:] != old.shape[1:] or new.dtype != np.uint8:
        raise InputError(f"{new_pixels}: {new.dtype} {new.shape}, not uint8 photos of {old.shape[1:]}")
    return np.concatenate([old, new])
