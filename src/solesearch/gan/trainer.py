"""One training loop, for the InfoGAN's seeds, its variants, readings of the papers and trainings that go on.

What is trained brings its own step (`Trainable`). The loop brings batches, log, state and seconds, and goes
on after a kill with the numbers of an uninterrupted run.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from PIL import Image

from solesearch.core import files
from solesearch.core.checkpoints import load_variables, save_variables
from solesearch.core.errors import InputError
from solesearch.core.paths import Paths
from solesearch.core.progress import Progress
from solesearch.core.repeatable import batch_rows, repeatable_execution
from solesearch.core.settings import GanSettings
from solesearch.photos.photo import to_pixels, to_signed

if TYPE_CHECKING:
    import tensorflow as tf

STEPS_DONE = "0000"  # in a state's file: the first of a Trainable's state variables
SAMPLE_ROWS, SAMPLE_COLUMNS = 4, 8


class Trainable(Protocol):
    """Networks, their optimisers and one step; InfoGan is one. The first state variable counts the steps."""

    settings: GanSettings  # batch_size, steps, checkpoint_every and resume_every are the loop's
    seed: int

    def state_variables(self) -> list[Any]:
        """Return every Keras variable that a resumed training needs."""

    def train_step(self, images: Any) -> dict[str, Any]:
        """Update the networks once on images [b, h, w, 3] in [-1, 1]; return the losses, each []."""


def batches(pixels: np.ndarray, *, size: int, seed: int, first: int, last: int) -> Iterator[np.ndarray]:
    """Yield float32 batches [size, h, w, 3] in [-1, 1] for steps first..last-1 (see `batch_rows`)."""
    for rows in batch_rows(len(pixels), size=size, seed=seed, first=first, last=last):
        yield to_signed(pixels[rows])


def made_ahead(stream: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
    """Yield what `stream` yields; a thread makes the next while one is used: a GPU waits for no photos."""
    with ThreadPoolExecutor(1) as maker:
        coming = maker.submit(next, stream, None)
        while (batch := coming.result()) is not None:
            coming = maker.submit(next, stream, None)
            yield batch


def check_enough(photos: int, *, batch_size: int, key: str = "gan.batch_size") -> None:
    """Raise InputError when the training photos do not fill one batch."""
    if photos < batch_size:
        raise InputError(f"{photos} training photos make no batch of {batch_size}; lower {key}")


def gpus() -> list[str]:
    """Return TensorFlow's names of the GPUs that it sees; in a training's own process only."""
    import tensorflow as tf

    return [device.name for device in tf.config.list_logical_devices("GPU")]


def check_devices(settings: GanSettings, devices: Sequence[str]) -> None:
    """Raise InputError when a batch cannot be split evenly over the GPUs, two photos each or more.

    So it is for half precision without a GPU, which a processor computes many times slower.
    """
    if settings.mixed_precision and not devices:
        raise InputError("gan.mixed_precision: true needs an NVIDIA GPU (make ... GPU=1); set it to false")
    size, count = settings.batch_size, max(1, len(devices))
    if size % count or size < 2 * count:  # batch normalisation takes two
        raise InputError(
            f"gan.batch_size: {size} photos do not split evenly over {count} GPUs, two or more each; take a "
            f"multiple of {count}, or name fewer GPUs in CUDA_VISIBLE_DEVICES"
        )


def strategy_for(devices: Sequence[str]) -> tf.distribute.Strategy:
    """Return what a model is built below: MirroredStrategy for several devices, TensorFlow's default else."""
    import tensorflow as tf

    return tf.distribute.MirroredStrategy(devices) if len(devices) > 1 else tf.distribute.get_strategy()


def move_aside(folder: Path, target: Path) -> None:
    """Move a training folder below `target` under a new name; nothing is deleted."""
    target.mkdir(parents=True, exist_ok=True)
    folder.replace(target / f"{folder.name}-{time.strftime('%Y%m%dT%H%M%S')}-{os.getpid()}")


def made_with(folder: Path, config: dict[str, Any]) -> bool:
    """Tell whether what lies in `folder` was made with this config."""
    file = folder / "config.json"
    return file.is_file() and json.loads(file.read_text(encoding="utf-8")) == config


def claim(folder: Path, config: dict[str, Any], *, set_aside: Path) -> None:
    """Take a folder for work with `config`; what was made there with another one is set aside."""
    if folder.exists() and not made_with(folder, config):
        move_aside(folder, set_aside)
    files.write_json(folder / "config.json", config)


class TrainingFolder:
    """The files of one training: config.json, which says what decides it, training.csv and state.npz.

    Its seconds lie outside the stages' outputs, since they differ from run to run.
    """

    def __init__(self, paths: Paths, folder: Path):
        """Name the files of a training of a profile; `folder` lies below `paths.run`."""
        self.paths, self.path = paths, folder
        self.log, self.state = folder / "training.csv", folder / "state.npz"
        name = "-".join(folder.relative_to(paths.run).parts)
        self.seconds_file = paths.training_seconds / f"{name}.json"

    def claim(self, config: dict[str, Any]) -> None:
        """Take the folder for a training with `config`; what another one left is set aside."""
        if not made_with(self.path, config):
            self.seconds_file.unlink(missing_ok=True)
        claim(self.path, config, set_aside=self.paths.set_aside)

    @property
    def step(self) -> int:
        """The step of the saved state; 0 where there is none."""
        return int(files.read_arrays(self.state, [STEPS_DONE])[STEPS_DONE]) if self.state.is_file() else 0

    @property
    def seconds(self) -> float:
        """The seconds that the training took, interruptions left out; 0 where none are known.

        They count beside a log alone: without one they are those of a training that was moved away.
        """
        file = self.seconds_file
        known = file.is_file() and self.log.is_file()
        return float(json.loads(file.read_text(encoding="utf-8"))) if known else 0.0

    @contextmanager
    def opened_log(self, *, after: int) -> Iterator[Callable[[int, dict[str, float]], None]]:
        """Give a function that logs a step's losses; rows later than step `after`, left by a kill, go."""
        rows = self.log.read_text(encoding="utf-8").splitlines() if after and self.log.is_file() else []
        kept = rows[:1] + [row for row in rows[1:] if int(row.partition(",")[0]) <= after]
        files.write_text(self.log, "".join(f"{row}\n" for row in kept))
        with self.log.open("a", encoding="utf-8") as log:

            def write(step: int, losses: dict[str, float]) -> None:
                if log.tell() == 0:
                    log.write(",".join(("step", *losses)) + "\n")
                log.write(",".join((str(step), *(f"{loss:.6g}" for loss in losses.values()))) + "\n")
                log.flush()

            yield write

    def save_samples(self, gan: Any, *, step: int) -> None:
        """Write a grid of images that an InfoGan generates, the same latents at every step."""
        pixels = to_pixels(gan.generate(count=SAMPLE_ROWS * SAMPLE_COLUMNS, seed=gan.seed))
        _, height, width, _ = pixels.shape
        grid = pixels.reshape(SAMPLE_ROWS, SAMPLE_COLUMNS, height, width, 3).swapaxes(1, 2)
        with files.replacing(self.path / f"samples-{step:06d}.png") as temporary:
            Image.fromarray(grid.reshape(SAMPLE_ROWS * height, SAMPLE_COLUMNS * width, 3)).save(temporary)


def sample_grids(folder: Path) -> dict[int, np.ndarray]:
    """Return step -> the grid of generated images, uint8 [rows * h, columns * w, 3], of one training."""
    paths = sorted(folder.glob("samples-*.png"))
    return {int(path.stem.rpartition("-")[2]): np.asarray(Image.open(path)) for path in paths}


def train(
    model: Trainable,
    pixels: np.ndarray,
    *,
    folder: TrainingFolder,
    title: str,
    keep: Callable[[int], None] = lambda step: None,
) -> None:
    """Train on uint8 pixels [n, h, w, 3] to the settings' last step, from the saved state where there is one.

    A resumed training gives the bytes of the uninterrupted one (on a processor, see `repeatable_execution`).
    `keep(step)` is called before the first step with 0 and after every `checkpoint_every` steps.
    """
    settings, first = model.settings, folder.step
    if first:
        load_variables(folder.state, model.state_variables())
    else:
        keep(0)
    step, started = compiled_step(model), time.monotonic() - folder.seconds
    progress = Progress(title, total=settings.steps, unit="step", done=first)
    stream = batches(pixels, size=settings.batch_size, seed=model.seed, first=first, last=settings.steps)
    stream = made_ahead(stream) if gpus() else stream
    with repeatable_execution(), folder.opened_log(after=first) as log:
        for number, images in enumerate(stream, start=first + 1):
            losses = {name: float(loss) for name, loss in step(images).items()}
            stop_when_not_finite(losses, title=title, step=number)
            log(number, losses)
            if number % settings.checkpoint_every == 0:
                keep(number)
            if number % settings.resume_every == 0 or number == settings.steps:
                save_variables(folder.state, model.state_variables())
                files.write_json(folder.seconds_file, round(time.monotonic() - started, 1))
            progress.update(number)


def compiled_step(model: Trainable) -> Callable[[np.ndarray], dict[str, Any]]:
    """Return the model's step as a graph: images [b, h, w, 3] in, losses out.

    A model that was built below MirroredStrategy gets its share of the batch on each GPU.
    """
    import tensorflow as tf

    strategy = getattr(model, "distribute_strategy", None) or tf.distribute.get_strategy()

    @tf.function(autograph=False, jit_compile=False)
    def step(images: Any) -> dict[str, tf.Tensor]:
        losses = strategy.run(model.train_step, args=(images,))
        return {name: strategy.reduce("MEAN", loss, axis=None) for name, loss in losses.items()}

    def shared(images: np.ndarray) -> Any:
        parts = np.array_split(images, strategy.num_replicas_in_sync)
        return strategy.experimental_distribute_values_from_function(
            lambda context: tf.constant(parts[context.replica_id_in_sync_group])
        )

    return lambda images: step(shared(images))


def stop_when_not_finite(losses: dict[str, float], *, title: str, step: int) -> None:
    """Raise InputError that names the loss which became NaN or infinite."""
    broken = [name for name, value in losses.items() if not math.isfinite(value)]
    if broken:
        raise InputError(
            f"{title}, step {step}: {', '.join(broken)} is not finite; training stopped. "
            "Lower the learning rates in params.yaml (sections gan, ladder.contrastive)"
        )
