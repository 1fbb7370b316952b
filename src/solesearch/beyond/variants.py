"""The ablation ladder's trainings: the papers' recipe, and one idea changed at a time, on a short schedule.

VARIANTS names them, `train_variants` trains them side by side, `load_trunk` gives a trained discriminator to
whoever judges it. Files of a training lie in runs/<profile>/ladder/<variant>/seed-<n>/: config.json,
training.csv, trunk.npz, samples-<step>.png where there is a generator, and state.npz until it is done.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import hashlib
import json
import math
import multiprocessing
import os
import sys
from collections.abc import Sequence
from concurrent.futures import Future, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from solesearch.beyond.variant_settings import VariantSettings, as_values, read_variant_settings
from solesearch.core import files
from solesearch.core.checkpoints import load_variables, save_variables
from solesearch.core.errors import InputError, exit_status, not_made_yet
from solesearch.core.paths import Paths
from solesearch.core.progress import Progress
from solesearch.core.provenance import code_digest
from solesearch.core.repeatable import batch_rows, has_gpu, repeatable_execution
from solesearch.core.settings import GanSettings
from solesearch.core.workers import process_pool
from solesearch.gan.training import Clock, SeedFolder, load_settings, training_pixels
from solesearch.photos.photo import to_signed
from solesearch.photos.photo_table import read_photos
from solesearch.photos.splits import UNLABELLED

DISCRIMINATOR, GRADIENTS = "discriminator", "gradients"
LAST_STEPS = 10  # whose mean loss the table shows


@dataclass(frozen=True)
class Variant:
    """One rung: a name for charts, the idea with its source, and what it changes in the papers' recipe."""

    title: str
    idea: str
    training: str = "recipe"  # key of adversarial_variants.TRAININGS; "" where there is no adversary
    gan: dict[str, Any] = field(default_factory=dict)  # changed GAN settings
    reads: tuple[str, ...] = ()  # keys of ladder.ideas that decide its numbers
    contrastive: bool = False  # reads ladder.contrastive
    trunk: str = DISCRIMINATOR  # what learns: P Table I's discriminator, or gradient_trunk.py's
    needs_labels: bool = False


VARIANTS: dict[str, Variant] = {
    "infogan": Variant(
        "InfoGAN (the papers' recipe)",
        "Networks and losses of P Table I, non-saturating, eight continuous codes (Ay et al. 2019).",
    ),
    "vanilla": Variant(
        "vanilla GAN",
        "No codes; the generator minimises log(1 - D), the minimax game as written (Goodfellow et al. 2014).",
        training="minimax",
    ),
    "dcgan": Variant(
        "DCGAN",
        "No codes, no dropout in D, strided transposed convolutions, both rates 2e-4 (Radford et al. 2016).",
        training="without_codes",
        gan={"discriminator_dropout": 0.0, "upsampling": "stride", "generator_learning_rate": 0.0002},
    ),
    "categorical_code": Variant(
        "one 8-way code",
        "One categorical code of eight values, no continuous ones (InfoGAN, Chen et al. 2016; P: 8 classes).",
        gan={"continuous_codes": 0, "categorical_codes": 8},
    ),
    "lambda_0": Variant(
        "lambda 0",
        "The information term weighs nothing, so the codes are noise (P eq. 3 without its last term).",
        gan={"information_weight": 0.0},
    ),
    "lambda_10": Variant(
        "lambda 10",
        "The information term weighs ten times as much (P eq. 3).",
        gan={"information_weight": 10.0},
    ),
    "ema": Variant(
        "EMA of D",
        "The trunk is an exponential moving average of D's weights (Yazici et al. 2019, there for G).",
        training="averaged",
        reads=("ema_decay",),
    ),
    "spectral_hinge": Variant(
        "spectral norm + hinge",
        "D's kernels over their largest singular value, and the hinge loss (Miyato et al. 2018).",
        training="spectral_hinge",
    ),
    "diff_augment": Variant(
        "DiffAugment",
        "D sees real and generated photos shifted, recoloured, with a box cut out (Zhao et al. 2020).",
        training="diff_augmented",
    ),
    "rotation": Variant(
        "turned photos",
        "D also tells how a real photo was turned or mirrored (SSGAN; Chen et al. 2019).",
        training="rotation",
        reads=("rotation_weight",),
    ),
    "contrastive_head": Variant(
        "contrastive head",
        "D also brings two augmented views of a real photo together (ContraD; Jeong and Shin 2021).",
        training="contrastive_head",
        reads=("contrastive_weight",),
        contrastive=True,
    ),
    "code_supervision": Variant(
        "labels for the code",
        "A small share of labels teaches a categorical code on real photos (ss-InfoGAN; Spurr et al. 2017).",
        training="code_supervision",
        reads=("supervision_weight", "labelled_share"),
        needs_labels=True,
    ),
    "contrastive_only": Variant(
        "contrastive, no GAN",
        "The same trunk learns from two augmented views alone, no generator (SimCLR; Chen et al. 2020).",
        training="",
        contrastive=True,
    ),
    "contrastive_gradients": Variant(
        "contrastive on edges, no GAN",
        "As before, on a trunk whose first layer is HOG's oriented gradients (Dalal and Triggs 2005).",
        training="",
        contrastive=True,
        trunk=GRADIENTS,
    ),
}


def check_variants(names: Sequence[str], *, where: str) -> None:
    """Raise InputError for the first name that is no variant."""
    unknown = [name for name in names if name not in VARIANTS]
    if unknown:
        raise InputError(f"{where}: {unknown[0]!r} is none of {', '.join(VARIANTS)}")


def load_variant_settings(profile: str, overrides: dict[str, Any] | None = None) -> VariantSettings:
    """Return a profile's section `ladder`, keys about judging left out; `overrides` are {"ladder.steps": 4}.

    Raises InputError for an unknown variant, and for a missing, unknown or impossible value.
    """
    settings = read_variant_settings(profile, overrides)
    check_variants(settings.variants, where=f"params.yaml, {profile}.ladder.variants")
    return settings


def labelled_rows(labels: np.ndarray, *, share: float, seed: int) -> np.ndarray:
    """Return the rows, int64 ascending, of the photos whose labels may be seen: `share` of each class.

    At least one a class, drawn from `seed`; photos outside the label map are never among them.
    """
    draw, chosen = np.random.default_rng(seed), []
    for label in sorted(set(labels) - {UNLABELLED}):
        rows = np.flatnonzero(labels == label)
        chosen.append(draw.choice(rows, size=max(1, round(share * len(rows))), replace=False))
    return np.sort(np.concatenate(chosen)) if chosen else np.zeros(0, np.int64)


class Ladder:
    """A profile's settings and training photos, and the folder of each training."""

    def __init__(self, profile: str, overrides: dict[str, Any] | None = None):
        """Read the settings; photos are read when they are asked for. Raises InputError as they do."""
        self.profile, self.overrides, self.paths = profile, overrides, Paths.of(profile)
        self.settings = load_variant_settings(profile, overrides)

    @functools.cached_property
    def pixels(self) -> np.ndarray:
        """The training photos, uint8 [n, h, w, 3]."""
        return training_pixels(self.paths)

    @functools.cached_property
    def labels(self) -> np.ndarray:
        """The training photos' labels, str [n]; only variants with needs_labels look at them."""
        photos = read_photos(self.paths)
        return photos.loc[photos["split"] == "training", "label"].to_numpy()

    @functools.cached_property
    def image_size(self) -> tuple[int, int]:
        """Height and width of the decoded photos."""
        return files.read_array(self.paths.pixels, made_by="stage prepare", memory_map=True).shape[1:3]

    @functools.cached_property
    def pixels_sha256(self) -> str:
        """The digest of the training photos."""
        return hashlib.sha256(np.ascontiguousarray(self.pixels)).hexdigest()

    def jobs(self, wanted: Sequence[tuple[str, int]] | None) -> list[tuple[str, int]]:
        """Return the (variant, seed) pairs to train; InputError for unknown ones and too few photos."""
        if wanted is None:
            wanted = [(name, seed) for name in self.settings.variants for seed in self.settings.seeds]
        jobs = list(dict.fromkeys((name, int(seed)) for name, seed in wanted))
        check_variants([name for name, _ in jobs], where="variants to train")
        for name, _ in jobs:
            size = self.gan(name).batch_size
            if len(self.pixels) < size:
                key = "ladder.batch_size" if VARIANTS[name].training else "ladder.contrastive.batch_size"
                raise InputError(f"{len(self.pixels)} training photos make no batch of {size}; lower {key}")
        return jobs

    @functools.cached_property
    def recipe(self) -> GanSettings:
        """The papers' recipe as section `gan` has it."""
        return load_settings(self.profile, image_size=self.image_size, overrides=self.overrides)[0]

    def gan(self, name: str) -> GanSettings:
        """Return the networks and the schedule of a variant."""
        variant, own = VARIANTS[name], self.settings
        steps, size, changes = own.steps, own.batch_size, dict(variant.gan)
        if not variant.training:
            steps, size = own.contrastive.steps, own.contrastive.batch_size
            changes["discriminator_dropout"] = own.contrastive.dropout
        if variant.needs_labels:
            changes["categorical_codes"] = len(self.classes)
        schedule = {"steps": steps, "checkpoint_every": steps, "resume_every": own.resume_every}
        return dataclasses.replace(self.recipe, **changes, **schedule, batch_size=size)

    @functools.cached_property
    def classes(self) -> list[str]:
        """The names of the training photos' classes, ascending."""
        return sorted(set(self.labels) - {UNLABELLED})

    def labelled(self, seed: int):
        """Return the LabelledPhotos of one seed: the stated share of the training photos, no more."""
        from solesearch.beyond.adversarial_variants import LabelledPhotos

        rows = labelled_rows(self.labels, share=self.settings.ideas.labelled_share, seed=seed)
        classes = [self.classes.index(label) for label in self.labels[rows]]
        return LabelledPhotos(self.pixels[rows], np.array(classes, np.int32))

    def wanted(self, name: str, seed: int) -> dict[str, Any]:
        """Return what decides a training's numbers; it is kept as config.json beside them."""
        variant, settings = VARIANTS[name], self.settings
        gan = dataclasses.asdict(self.gan(name))
        for key in ("resume_every", "checkpoint_every"):  # how often something is saved changes nothing
            del gan[key]
        ideas = {key: value for key, value in as_values(settings.ideas).items() if key in variant.reads}
        wanted = {"variant": name, "settings": gan, "ideas": ideas, "seed": seed}
        wanted |= {"code": code_digest("solesearch.beyond.variants")}
        wanted |= {"threads": settings.threads, "training_photos": len(self.pixels)}
        wanted |= {"pixels_sha256": self.pixels_sha256}
        if variant.contrastive:
            wanted["contrastive"] = as_values(settings.contrastive)
        if variant.needs_labels:
            rows = labelled_rows(self.labels, share=settings.ideas.labelled_share, seed=seed)
            wanted["labelled"] = {str(row): self.labels[row] for row in rows}
        return json.loads(json.dumps(wanted))

    def folder(self, name: str, seed: int) -> Path:
        """Return where a training's files lie."""
        return self.paths.ladder_seed(name, seed)

    def finished(self, name: str, seed: int) -> bool:
        """Tell whether the training that is wanted is done."""
        config = self.folder(name, seed) / "config.json"
        done = config.is_file() and trunk_file(config.parent).is_file()
        return done and json.loads(config.read_text()) == self.wanted(name, seed)

    def row(self, name: str, seed: int) -> dict[str, Any]:
        """Return a finished training's row of the table; losses are means of its last LAST_STEPS steps."""
        clock, log = self.clock_file(name, seed), self.folder(name, seed) / "training.csv"
        table = files.read_table(log, made_by="train_variants")
        seconds = json.loads(clock.read_text()) if clock.is_file() else math.nan
        row = {"variant": name, "seed": seed, "steps": int(table["step"].max()), "seconds": seconds}
        return row | table.drop(columns="step").tail(LAST_STEPS).mean().to_dict()

    def clock_file(self, name: str, seed: int) -> Path:
        """Return where a training's seconds are kept: outside its folder, since they differ."""
        return self.paths.ladder_seconds / f"{name}-seed-{seed}.json"


def trunk_file(folder: Path) -> Path:
    """Return where a finished training keeps its discriminator."""
    return folder / "trunk.npz"


def load_trunk(profile: str, variant: str, seed: int, overrides: dict[str, Any] | None = None):
    """Return the trained trunk of a variant: an infogan.Discriminator or a gradient_trunk.GradientTrunk.

    Spectral normalisation is baked into its kernels; `ema` brings its averages. Raises
    InputError where the variant is unknown, not trained yet, or made with other networks.
    """
    check_variants([variant], where="trunk to load")
    ladder = Ladder(profile, overrides)
    file = trunk_file(ladder.folder(variant, seed))
    if not file.is_file():
        raise not_made_yet(file, made_by="stage ladder")
    trunk = build_trunk(ladder, variant, seed=seed)
    load_variables(file, trunk.variables)
    return trunk


def build_trunk(ladder: Ladder, variant: str, *, seed: int):
    """Return the trunk that a variant trains, with the weights that `seed` draws."""
    gan = ladder.gan(variant)
    if VARIANTS[variant].trunk == GRADIENTS:
        from solesearch.beyond.gradient_trunk import build_gradient_trunk

        momentum = ladder.settings.contrastive.norm_momentum
        return build_gradient_trunk(gan.image_size, leak=gan.leak, norm_momentum=momentum, seed=seed)
    from solesearch.gan.infogan import build_discriminator

    return build_discriminator(gan, seed=seed)


# --- one training, in this process -----------------------------------------------------------------------


class LadderClock(Clock):
    """Adds up a training's seconds over its interruptions, in a file of its own."""

    def __init__(self, file: Path, *, first: int):
        """Keep the seconds in `file`; from step 0 they start anew."""
        super().__init__(file.parent / file.stem, first=0)
        self.file = file
        self.before = json.loads(file.read_text(encoding="utf-8")) if first and file.is_file() else 0.0


def build_training(ladder: Ladder, name: str, seed: int):
    """Return the networks and the step of a variant, its weights drawn from `seed`."""
    variant, gan = VARIANTS[name], ladder.gan(name)
    if not variant.training:
        from solesearch.beyond.contrastive import ContrastiveTrunk

        trunk = build_trunk(ladder, name, seed=seed)
        return ContrastiveTrunk(gan, ladder.settings.contrastive, trunk=trunk, seed=seed)
    from solesearch.beyond.adversarial_variants import TRAININGS

    labelled = ladder.labelled(seed) if variant.needs_labels else None
    return TRAININGS[variant.training](gan, seed=seed, values=ladder.settings, labelled=labelled)


class TrainingFolder(SeedFolder):
    """The files of one training of the ladder: log and state are written together, the trunk at the end."""

    def logged(self, step: int) -> list[dict[str, float]]:
        """Return the log's rows up to `step`; later ones belong to steps that are done again."""
        if not (step and self.log.is_file()):
            return []
        table = pd.read_csv(self.log)
        return table[table["step"] <= step].to_dict("records")

    def save(self, training, rows: list[dict[str, float]]) -> None:
        """Write the log, then the state."""
        files.write_table(self.log, pd.DataFrame(rows))
        save_variables(self.state, training.state_variables())

    def finish(self, training, *, step: int) -> None:
        """Write samples and trunk; the state, ten times as large, is not needed any more.

        Nor is what a kill left half-written.
        """
        if hasattr(training, "generate"):
            self.save_samples(training, step, training.seed)
        arrays = {f"{number:04d}": array for number, array in enumerate(training.trunk())}
        files.write_arrays(trunk_file(self.path), arrays)
        for left in (self.state, *self.path.glob(".*.partial.*")):
            left.unlink()


def train_steps(training, pixels: np.ndarray, *, name: str, folder: TrainingFolder, clock_file: Path) -> None:
    """Train on uint8 pixels [n, h, w, 3] to `training.settings.steps`, from the last state if there is one.

    A resumed training gives the bytes of the uninterrupted one (see `repeatable.repeatable_execution`).
    """
    import tensorflow as tf

    settings, seed = training.settings, training.seed
    first = folder.restore(training)
    rows, clock = folder.logged(first), LadderClock(clock_file, first=first)
    progress = Progress(f"{name}, seed {seed}", total=settings.steps, unit="step", done=first)
    spec = tf.TensorSpec((settings.batch_size, *settings.image_size, 3), tf.float32)
    step = tf.function(training.train_step, input_signature=[spec], autograph=False)
    places = batch_rows(len(pixels), size=settings.batch_size, seed=seed, first=first, last=settings.steps)
    with repeatable_execution():
        for number, chosen in enumerate(places, start=first + 1):
            losses = {key: float(loss) for key, loss in step(to_signed(pixels[chosen])).items()}
            stop_when_not_finite(losses, name=name, seed=seed, step=number)
            rows.append({"step": number, **losses})
            if number % settings.resume_every == 0 or number == settings.steps:
                folder.save(training, rows)
                clock.save()
            progress.update(number)
    folder.finish(training, step=settings.steps)


def stop_when_not_finite(losses: dict[str, float], *, name: str, seed: int, step: int) -> None:
    """Raise InputError that names the loss which became NaN or infinite."""
    broken = [loss for loss, value in losses.items() if not math.isfinite(value)]
    if broken:
        raise InputError(
            f"variant {name}, seed {seed}, step {step}: {', '.join(broken)} is not finite; training stopped. "
            "Lower the learning rates (gan or ladder.contrastive in params.yaml) or leave the variant out"
        )


def prepare_tensorflow(threads: int) -> None:
    """Make this process's TensorFlow repeatable, on so many threads; before anything is computed with it."""
    import tensorflow as tf

    tf.get_logger().setLevel("ERROR")  # it counts the step of each new training as traced once too often
    tf.config.experimental.enable_op_determinism()
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)


def train_variant(profile: str, name: str, seed: int, overrides: dict[str, Any] | None = None) -> None:
    """Train one variant of one seed in this process, unless it is done; several may follow each other."""
    ladder = Ladder(profile, overrides)
    ladder.jobs([(name, seed)])
    folder = TrainingFolder(
        ladder.folder(name, seed), wanted=ladder.wanted(name, seed), set_aside=ladder.paths.set_aside
    )
    if trunk_file(folder.path).is_file():
        return
    prepare_tensorflow(ladder.settings.threads)
    import keras

    keras.utils.clear_session()  # the graphs of the training before this one
    training = build_training(ladder, name, seed)
    train_steps(training, ladder.pixels, name=name, folder=folder, clock_file=ladder.clock_file(name, seed))


# --- all of them, side by side ---------------------------------------------------------------------------


def train_variants(
    profile: str,
    overrides: dict[str, Any] | None = None,
    *,
    wanted: Sequence[tuple[str, int]] | None = None,
) -> pd.DataFrame:
    """Train (variant, seed) pairs, by default all of section `ladder`, a process a core; return their table.

    A process takes one pair after the other, since starting TensorFlow takes as long as a short training.
    What is done is not done again; what was killed goes on from its last state. Columns: variant, seed,
    steps, seconds (NaN where unknown), and each loss's mean over the last LAST_STEPS steps. Raises InputError
    before any training for settings, unknown variants and missing photos, and for a training that failed.
    """
    ladder = Ladder(profile, overrides)
    jobs = ladder.jobs(wanted)
    waiting = [job for job in jobs if not ladder.finished(*job)]
    if waiting:
        _train_side_by_side(ladder, waiting)
    return pd.DataFrame([ladder.row(*job) for job in jobs])


def _train_side_by_side(ladder: Ladder, jobs: list[tuple[str, int]]) -> None:
    at_once = 1 if has_gpu() else max(1, (os.cpu_count() or 1) // ladder.settings.threads)
    progress = Progress("ladder", total=len(jobs), unit="training")
    before = set(multiprocessing.active_children())
    pool = process_pool(min(at_once, len(jobs)))
    try:
        running = {pool.submit(train_variant, ladder.profile, *job, ladder.overrides): job for job in jobs}
        for number, future in enumerate(as_completed(running), start=1):
            _stop_if_failed(future, *running[future])
            progress.update(number)
    except BaseException:  # also an interrupt: the pool would otherwise wait for trainings of minutes
        pool.shutdown(wait=False, cancel_futures=True)
        for process in set(multiprocessing.active_children()) - before:
            process.terminate()
        raise
    pool.shutdown()


def _stop_if_failed(future: Future, name: str, seed: int) -> None:
    try:
        future.result()
    except InputError as error:
        raise InputError(f"training of {name}, seed {seed} failed: {error}") from error
    except BrokenProcessPool as error:
        raise InputError(
            "a training's process was killed (out of memory?); run again: it goes on from its last state"
        ) from error


def main() -> int:
    """Train one variant: `python -m solesearch.beyond.variants PROFILE VARIANT SEED`."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("profile")
    parser.add_argument("variant", choices=VARIANTS)
    parser.add_argument("seed", type=int)
    parser.add_argument("--overrides", type=json.loads, default={}, help='JSON, {"ladder.steps": 20}')
    arguments = parser.parse_args()
    return exit_status(
        lambda: train_variant(arguments.profile, arguments.variant, arguments.seed, arguments.overrides)
    )


if __name__ == "__main__":
    sys.exit(main())
