"""The ablation's trainings: each variant is trained on a short schedule, and kept as a trunk.

Files of a training lie in runs/<profile>/ladder/<variant>/seed-<n>/: config.json, training.csv, trunk.npz,
samples-<step>.png where there is a generator, and state.npz until it is done; of a training that went on, its
checkpoints as in stage train.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from solesearch.beyond.variants import VARIANTS, VariantSettings
from solesearch.core import files
from solesearch.core.checkpoints import load_variables
from solesearch.core.errors import InputError, not_made_yet
from solesearch.core.paths import Paths
from solesearch.core.repeatable import settle_tensorflow, trainings_at_once
from solesearch.core.settings import GanSettings
from solesearch.core.workers import run_trainings
from solesearch.gan.continuation import last_discriminator, last_state
from solesearch.gan.trainer import TrainingFolder, check_enough, made_with, train
from solesearch.gan.training import load_gan, train_infogan, training_config, training_pixels
from solesearch.photos.photo_table import read_photos
from solesearch.photos.splits import UNLABELLED

LAST_STEPS = 10  # whose mean loss the table shows
# how often something is saved changes nothing
UNREAD = {"seeds", "threads", "resume_every", "checkpoint_every"}


def labelled_rows(labels: np.ndarray, *, share: float, seed: int) -> np.ndarray:
    """Return the rows, int64 ascending, of the photos whose labels may be seen: `share` of each class.

    At least one a class, drawn from `seed`; photos outside the label map are never among them.
    """
    draw, chosen = np.random.default_rng(seed), []
    for label in sorted(set(labels) - {UNLABELLED}):
        rows = np.flatnonzero(labels == label)
        chosen.append(draw.choice(rows, size=max(1, round(share * len(rows))), replace=False))
    return np.sort(np.concatenate(chosen)) if chosen else np.zeros(0, np.int64)


class VariantTrainings:
    """The trainings of a profile's variants: what each is made with, where it lies, and its networks."""

    def __init__(self, profile: str, settings: VariantSettings):
        """Read the papers' recipe; photos are read when they are asked for. Raises InputError as they do."""
        self.paths, self.settings, self.recipe = Paths.of(profile), settings, load_gan(profile)

    @cached_property
    def pixels(self) -> np.ndarray:
        """The training photos, uint8 [n, h, w, 3]."""
        return training_pixels(self.paths)

    @cached_property
    def labels(self) -> np.ndarray:
        """The training photos' labels, str [n]; only variants with needs_labels look at them."""
        photos = read_photos(self.paths)
        return photos.loc[photos["split"] == "training", "label"].to_numpy()

    @cached_property
    def classes(self) -> list[str]:
        """The names of the training photos' classes, ascending."""
        return sorted(set(self.labels) - {UNLABELLED})

    @cached_property
    def _common_config(self) -> dict[str, Any]:
        return training_config(self.recipe, self.pixels, seed=0, code="solesearch.beyond.variant_training")

    def gan(self, name: str) -> GanSettings:
        """Return the networks and the schedule of a variant."""
        variant, own = VARIANTS[name], self.settings
        if variant.continued:
            return self.recipe.replaced(steps=own.longer_steps, checkpoint_every=own.longer_every)
        changes = {**variant.gan, "steps": own.steps, "batch_size": own.batch_size}
        changes["mixed_precision"] = False  # their steps scale no loss
        if not variant.training:
            changes |= {"steps": own.contrastive.steps, "batch_size": own.contrastive.batch_size}
            changes |= {"discriminator_dropout": own.contrastive.dropout}
        if variant.needs_labels:
            changes["categorical_codes"] = len(self.classes)
        return self.recipe.replaced(
            **changes, checkpoint_every=changes["steps"], resume_every=own.resume_every, threads=own.threads
        )

    def labelled(self, seed: int) -> np.ndarray:
        """Return the rows of the training photos whose labels a training with `seed` may see."""
        return labelled_rows(self.labels, share=self.settings.ideas.labelled_share, seed=seed)

    def config(self, name: str, seed: int) -> dict[str, Any]:
        """Return what decides a training's numbers; it is kept as config.json beside them."""
        variant, settings = VARIANTS[name], self.settings
        config = {
            **self._common_config,
            "variant": name,
            "settings": self.gan(name).model_dump(mode="json", exclude=UNREAD),
            "ideas": settings.ideas.model_dump(include=set(variant.reads)),
            "seed": seed,
            "threads": settings.threads,
        }
        if variant.contrastive:
            config["contrastive"] = settings.contrastive.model_dump()
        if variant.trunk in ("dictionary", "on_dictionary"):
            config["dictionary"] = settings.dictionary.model_dump()
        if variant.continued:
            state, step = last_state(self.paths, seed)
            config["started_from"] = {"step": step, "sha256": files.digest(state)}
            config["checkpoint_every"] = settings.longer_every
        if variant.needs_labels:
            config["labelled"] = {str(row): self.labels[row] for row in self.labelled(seed)}
        return config

    def folder(self, name: str, seed: int) -> TrainingFolder:
        """Return the folder of a training."""
        return TrainingFolder(self.paths, self.paths.ladder_seed(name, seed))

    def trunk_file(self, name: str, seed: int) -> Path:
        """Return where a finished training keeps its trunk."""
        return self.folder(name, seed).path / "trunk.npz"

    def finished(self, name: str, seed: int) -> bool:
        """Tell whether the training that is wanted is done."""
        file = self.trunk_file(name, seed)
        return file.is_file() and made_with(file.parent, self.config(name, seed))

    def check(self, name: str) -> None:
        """Raise InputError for an unknown variant, and for photos that make no batch of it."""
        if name not in VARIANTS:
            raise InputError(f"variants to train: {name!r} is none of {', '.join(VARIANTS)}")
        if VARIANTS[name].trunk == "dictionary":
            return
        if VARIANTS[name].continued and self.settings.longer_steps <= self.recipe.steps:
            raise InputError(
                f"params.yaml, ladder.longer_steps: {self.settings.longer_steps} is not beyond gan.steps, "
                f"{self.recipe.steps}; raise it, or take {name} out of ladder.variants"
            )
        key = "ladder.batch_size" if VARIANTS[name].training else "ladder.contrastive.batch_size"
        key = "gan.batch_size" if VARIANTS[name].continued else key
        check_enough(len(self.pixels), batch_size=self.gan(name).batch_size, key=key)

    def row(self, name: str, seed: int) -> dict[str, Any]:
        """Return a finished training's row of the table; losses are means of its last LAST_STEPS steps."""
        folder = self.folder(name, seed)
        log = files.read_table(folder.log, made_by="stage ladder")
        row = {"variant": name, "seed": seed, "steps": int(log["step"].max())}
        row["seconds"] = folder.seconds or np.nan
        return row | log.drop(columns="step").tail(LAST_STEPS).mean().to_dict()

    def drawn_trunk(self, name: str, seed: int):
        """Return the trunk that a variant trains, with the weights that `seed` draws.

        It is an infogan.Discriminator, a gradient_trunk.GradientTrunk, a dictionary.DictionaryTrunk or a
        dictionary_network.DictionaryNetwork; the last one's dictionary is learned, the rest drawn.
        """
        gan = self.gan(name)
        if VARIANTS[name].trunk == "dictionary":
            from solesearch.beyond.dictionary import build_dictionary_trunk

            return build_dictionary_trunk(gan.image_size, self.settings.dictionary, seed=seed)
        if VARIANTS[name].trunk == "on_dictionary":
            from solesearch.beyond.dictionary_network import build_dictionary_network

            values = {"leak": gan.leak, "norm_momentum": self.settings.contrastive.norm_momentum}
            return build_dictionary_network(self._dictionary(seed), gan.image_size, **values, seed=seed)
        if VARIANTS[name].trunk == "edges":
            from solesearch.beyond.gradient_trunk import build_gradient_trunk

            momentum = self.settings.contrastive.norm_momentum
            return build_gradient_trunk(gan.image_size, leak=gan.leak, norm_momentum=momentum, seed=seed)
        from solesearch.gan.infogan import build_discriminator

        return build_discriminator(gan, seed=seed)

    @cached_property
    def _dictionaries(self) -> dict[int, Any]:
        return {}

    def _dictionary(self, seed: int):
        """Return the learned dictionary on which networks of a seed stand, learned once in this process."""
        from solesearch.beyond.dictionary import learned_trunk

        if seed not in self._dictionaries:
            self._dictionaries[seed], _ = learned_trunk(self.pixels, self.settings.dictionary, seed=seed)
        return self._dictionaries[seed]

    def trunk(self, name: str, seed: int):
        """Return the trained trunk of a variant; InputError where it is not trained yet or of other networks.

        Spectral normalisation is baked into its kernels; `ema` brings its averages.
        """
        if not (file := self.trunk_file(name, seed)).is_file():
            raise not_made_yet(file, made_by="stage ladder")
        trunk = self.drawn_trunk(name, seed)
        load_variables(file, trunk.variables)
        return trunk

    def model(self, name: str, seed: int):
        """Return the networks and the step of a variant (`trainer.Trainable`), as `seed` draws them."""
        variant, gan, settings = VARIANTS[name], self.gan(name), self.settings
        if not variant.training:
            from solesearch.beyond.contrastive import ContrastiveTrunk

            trunk = self.drawn_trunk(name, seed)
            return ContrastiveTrunk(gan, settings.contrastive, trunk=trunk, seed=seed, loss=variant.loss)
        from solesearch.beyond import adversarial_variants

        labelled = None
        if variant.needs_labels:
            rows = self.labelled(seed)
            classes = [self.classes.index(label) for label in self.labels[rows]]
            labelled = adversarial_variants.LabelledPhotos(self.pixels[rows], np.array(classes, np.int32))
        recipe = getattr(adversarial_variants, variant.training)
        return recipe(gan, seed=seed, values=settings, labelled=labelled)


def train_variant(profile: str, settings: VariantSettings, name: str, seed: int) -> None:
    """Train one variant of one seed in this process, unless it is done."""
    trainings = VariantTrainings(profile, settings)
    folder, trunk = trainings.folder(name, seed), trainings.trunk_file(name, seed)
    folder.claim(trainings.config(name, seed))
    if trunk.is_file():
        return
    settle_tensorflow(settings.threads)
    import keras

    keras.utils.clear_session()  # the graphs of a training that this process did before
    ways = {VARIANTS[name].trunk == "dictionary": _learned_dictionary, VARIANTS[name].continued: _continued}
    learn = ways.get(True, _trained_network)
    arrays = {f"{number:04d}": array for number, array in enumerate(learn(trainings, name, seed))}
    files.write_arrays(trunk, arrays)
    # the state, ten times as large, is not needed any more, nor is what a kill left half-written
    for left in (folder.state, *folder.path.glob(".*.partial.*")):
        left.unlink(missing_ok=True)


def _trained_network(trainings: VariantTrainings, name: str, seed: int) -> Sequence[np.ndarray]:
    """Return the arrays of a trunk that learned step by step, from its saved state where there is one."""
    model, folder = trainings.model(name, seed), trainings.folder(name, seed)
    train(model, trainings.pixels, folder=folder, title=f"{name}, seed {seed}")
    if hasattr(model, "generate"):
        folder.save_samples(model, step=model.settings.steps)
    return model.trunk()


def _continued(trainings: VariantTrainings, name: str, seed: int) -> Sequence[np.ndarray]:
    """Return the arrays of the discriminator with which stage train's training ends when it goes on."""
    folder = trainings.folder(name, seed)
    if not folder.state.is_file():
        state, _ = last_state(trainings.paths, seed)
        with files.replacing(folder.state) as temporary:
            shutil.copyfile(state, temporary)
    train_infogan(trainings.gan(name), trainings.pixels, seed=seed, folder=folder)
    arrays = files.read_arrays(last_discriminator(folder.path))
    return [arrays[name] for name in sorted(arrays)]


def _learned_dictionary(trainings: VariantTrainings, name: str, seed: int) -> Sequence[np.ndarray]:
    """Return the arrays of a dictionary's trunk; a killed one begins anew, since it takes under a minute."""
    from solesearch.beyond.dictionary import train_dictionary

    folder, settings = trainings.folder(name, seed), trainings.settings.dictionary
    trunk = train_dictionary(trainings.pixels, settings, folder=folder, seed=seed)
    return [variable.numpy() for variable in trunk.variables]


def train_variants(
    trainings: VariantTrainings, *, wanted: Sequence[tuple[str, int]] | None = None
) -> pd.DataFrame:
    """Train (variant, seed) pairs, by default all of section `ladder`, side by side; return their table.

    What is done is not done again; what was killed goes on from its last state. Columns: variant, seed,
    steps, seconds (NaN where unknown), and each loss's mean over the last LAST_STEPS steps. Raises InputError
    before any training for unknown variants and missing photos, and for a training that failed.
    """
    settings, profile = trainings.settings, trainings.paths.profile
    every = [(name, seed) for name in settings.variants for seed in settings.seeds]
    pairs = every if wanted is None else list(dict.fromkeys(wanted))
    for name, _ in pairs:
        trainings.check(name)
    waiting = {
        f"{name}, seed {seed}": (profile, settings, name, seed)
        for name, seed in pairs
        if not trainings.finished(name, seed)
    }
    run_trainings(train_variant, waiting, at_once=trainings_at_once(settings.threads))
    return pd.DataFrame([trainings.row(*pair) for pair in pairs])
