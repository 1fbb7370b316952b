"""Training the InfoGAN on a catalogue: its settings, its photos, one process a seed."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np

from solesearch.core import files
from solesearch.core.checkpoints import checkpoint_file, save_variables
from solesearch.core.paths import Paths
from solesearch.core.provenance import code_digest
from solesearch.core.repeatable import settle_tensorflow, trainings_at_once
from solesearch.core.settings import GanSettings
from solesearch.core.workers import run_trainings
from solesearch.gan.trainer import (
    TrainingFolder,
    check_devices,
    check_enough,
    gpus,
    move_aside,
    strategy_for,
    train,
)
from solesearch.photos.photo_table import read_photos


def load_gan(profile: str, *, image_size: tuple[int, int] | None = None, **changed: Any) -> GanSettings:
    """Return section `gan` of a profile for photos of a size (height, width), by default the decoded ones'.

    Values in `changed` that are not None lie over params.yaml. Raises InputError for an impossible value.
    """
    if image_size is None:
        pixels = files.read_array(Paths.of(profile).pixels, made_by="stage prepare", memory_map=True)
        image_size = pixels.shape[1:3]
    settings = GanSettings.load(profile, **changed)
    return settings.replaced(image_size=tuple(image_size))


def training_pixels(paths: Paths) -> np.ndarray:
    """Return the decoded training photos, uint8 [n, h, w, 3], in the photo table's order."""
    photos = read_photos(paths)
    pixels = files.read_array(paths.pixels, made_by="stage prepare", memory_map=True)
    return pixels[np.flatnonzero(photos["split"] == "training")]


def training_config(settings: GanSettings, pixels: np.ndarray, *, seed: int, code: str) -> dict[str, Any]:
    """Return what decides a training's numbers; `code` names the module whose code does."""
    return {
        "code": code_digest(code),
        "settings": settings.model_dump(mode="json", exclude={"seeds", "threads"}),
        "seed": seed,
        "threads": settings.threads,
        "training_photos": len(pixels),
        "pixels_sha256": hashlib.sha256(np.ascontiguousarray(pixels)).hexdigest(),
    }


def train_infogan(settings: GanSettings, pixels: np.ndarray, *, seed: int, folder: TrainingFolder) -> None:
    """Train one seed on uint8 pixels [n, h, w, 3] in this process; keep discriminators and samples.

    With more than one GPU the batch is split over them (MirroredStrategy). Raises InputError for a batch that
    cannot be, and for half precision without a GPU.
    """
    check_enough(len(pixels), batch_size=settings.batch_size)
    settle_tensorflow(settings.threads)
    check_devices(settings, devices := gpus())
    import keras

    from solesearch.gan.infogan import InfoGan

    keras.utils.clear_session()  # of a training that this process did before
    with strategy_for(devices).scope():
        gan = InfoGan(settings, seed=seed)

    def keep(step: int) -> None:
        folder.save_samples(gan, step=step)
        save_variables(checkpoint_file(folder.path, step), gan.discriminator.variables)

    train(gan, pixels, folder=folder, title=f"InfoGAN seed {seed}", keep=keep)


def train_seed(paths: Paths, settings: GanSettings, seed: int) -> None:
    """Train one seed of a profile in this process, unless it is done."""
    pixels, folder = training_pixels(paths), TrainingFolder(paths, paths.gan_seed(seed))
    folder.claim(training_config(settings, pixels, seed=seed, code="solesearch.gan.training"))
    if folder.step < settings.steps:
        train_infogan(settings, pixels, seed=seed, folder=folder)


def train_all(profile: str, settings: GanSettings) -> list[Path]:
    """Train every seed, one process each, as many at once as the cores allow; return the seeds' folders.

    Folders of seeds that are not wanted any more are set aside. Raises InputError with the words of a
    training that failed.
    """
    paths = Paths.of(profile)
    folders = [paths.gan_seed(seed) for seed in settings.seeds]
    for folder in sorted(set(paths.gan.glob("seed-*")) - set(folders)):
        move_aside(folder, paths.set_aside)
    trainings = {f"seed {seed}": (paths, settings, seed) for seed in settings.seeds}
    run_trainings(train_seed, trainings, at_once=trainings_at_once(settings.threads))
    return folders


def seconds_spent(paths: Paths) -> float:
    """Return the seconds of the longest seed's training, interruptions left out; 0 where none is known."""
    return max((TrainingFolder(paths, folder).seconds for folder in paths.gan.glob("seed-*")), default=0.0)
