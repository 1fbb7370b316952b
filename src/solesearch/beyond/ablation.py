"""The ablation: what each idea adds to the paper's network, judged on photos that chose nothing.

Judged are the paper's network as it is; methods of post-processing its activations, on the trained and on the
untrained discriminator; other trainings (variants.py), plain and with the best method. A model is a trunk's
variant and a method. `queries` as in effects.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from solesearch.beyond.effects import (
    PAPER,
    UNTRAINED,
    UNTRAINED_TRUNKS,
    Model,
    is_control,
    mean_values,
    trunk_of,
    untrained_twin,
)
from solesearch.beyond.gradient_trunk import LAYERS
from solesearch.beyond.methods import PLAIN, JudgingSettings, Method
from solesearch.beyond.network_maps import NetworkMaps
from solesearch.beyond.post_processing import (
    FittedMethod,
    fit_method,
    fit_methods,
    photo_vectors,
    pooled,
    scaled,
)
from solesearch.beyond.variant_training import VariantTrainings
from solesearch.beyond.variants import VARIANTS, VariantSettings
from solesearch.core.errors import InputError
from solesearch.core.model_names import NO_WEIGHTS, PRIOR, is_plain_network, model_name
from solesearch.evaluation.study import Study, read_chosen
from solesearch.networks.comparison import Comparison
from solesearch.retrieval.controls import CONTROLS, control_features, random_vectors
from solesearch.retrieval.retrieval import evaluate

TITLES = {
    PAPER: "InfoGAN, the paper's recipe",
    UNTRAINED: "untrained discriminator",
    "untrained_gradients": "untrained trunk on edges",
    "untrained_dictionary": "dictionary of random centres",
    "untrained_dictionary_network": "network on a dictionary, as drawn",
    **{name: variant.title for name, variant in VARIANTS.items()},
}
HOG_CELL, HOG_BLOCK = 8, 36  # pixels a side; values of a block (retrieval.controls)
AS_IT_IS = ""  # the recipe of a control without any
# control -> its vectors [n, d] of photos of (height, width) as a map [n, rows, columns, values]
MAPS = {
    "pixels": lambda vectors, size: vectors.reshape(-1, *size, 3),
    "hog": lambda vectors, size: vectors.reshape(-1, *(side // HOG_CELL - 1 for side in size), HOG_BLOCK),
}


@dataclass(frozen=True)
class Ablation:
    """One profile's photos, settings and trainings, opened once."""

    study: Study
    judging: JudgingSettings
    trainings: VariantTrainings

    @classmethod
    def open(cls, profile: str, **changed) -> Ablation:
        """Read what the stages before left, `changed` laid over `ladder.judging`; InputError names a gap."""
        settings = VariantSettings.load(profile)
        judging = JudgingSettings.load(profile, **changed)
        check_layers(judging, settings.variants)
        return cls(Study.open(profile), judging, VariantTrainings(profile, settings))

    @cached_property
    def fitting(self) -> tuple[pd.DataFrame, np.ndarray]:
        """Training photos that methods are fitted on, and their pixels: all, or some spread evenly."""
        photos, pixels = self.study.split("training")
        rows = self.judging.fitting_rows(len(pixels))
        return photos.iloc[rows], pixels[rows]

    @property
    def fitting_pixels(self) -> np.ndarray:
        """The pixels of `fitting`, uint8 [n, h, w, 3]."""
        return self.fitting[1]

    @cached_property
    def _fitted(self) -> dict[tuple[str, int, Method], FittedMethod]:
        return {}

    def fit(self, variant: str, seed: int, network, methods: Sequence[Method]) -> list[FittedMethod]:
        """Return a trunk's methods, each fitted once on the photos of `fitting`."""
        missing = [method for method in methods if (variant, seed, method) not in self._fitted]
        for fitted in fit_methods(network, missing, self.fitting_pixels):
            self._fitted[variant, seed, fitted.method] = fitted
        return [self._fitted[variant, seed, method] for method in methods]

    @cached_property
    def _fitted_controls(self) -> dict[str, dict[str, FittedMethod]]:
        return {}

    def control_methods(self, name: str) -> dict[str, FittedMethod]:
        """Return recipe -> method of a control, fitted on its own vectors of the training photos, once."""
        if name not in self._fitted_controls:
            self._fitted_controls[name] = fit_control(self, name)
        return self._fitted_controls[name]

    @cached_property
    def network_maps(self) -> NetworkMaps:
        """The ImageNet networks, asked for more than stage networks kept."""
        return NetworkMaps(Comparison.open(self.study.paths.profile), self.judging)

    def recipes(self, variant: str, *, best: str) -> list[str]:
        """Return the methods that a training other than the paper's is judged with."""
        own = {"dictionary": "dictionary_recipes", "on_dictionary": "dictionary_network_recipes"}
        if key := own.get(trunk_of(variant)):
            return list(dict.fromkeys([PLAIN, *getattr(self.judging, key)]))
        return list(dict.fromkeys([PLAIN, *self.judging.variant_recipes, best]))

    def seeds(self, variant: str, *, split: str) -> list[int]:
        """Return the seeds of a variant that are judged on a split: untrained, all that others have."""
        settings = self.trainings.settings
        trained = settings.finalist_seeds if split == "test" else settings.seeds
        known = {PAPER: self.study.seeds, UNTRAINED: sorted({*self.study.seeds, *trained})}
        return known.get(variant, trained)

    def trunk(self, variant: str, seed: int):
        """Return the network of a trunk; InputError where its training is not there."""
        if variant in UNTRAINED_TRUNKS:
            return self.trainings.drawn_trunk(UNTRAINED_TRUNKS[variant], seed)
        if variant == PAPER:
            step = read_chosen(self.study.paths)[seed]
            return self.study.discriminator(seed=seed, step=step).discriminator
        return self.trainings.trunk(variant, seed)

    def fitted(self, model: Model, *, seed: int):
        """Return (network, FittedMethod) of a model, fitted on training photos; InputError as `trunk`."""
        network = self.trunk(model.variant, seed)
        [fitted] = self.fit(model.variant, seed, network, [self.judging.methods[model.recipe]])
        return network, fitted

    def title(self, model: Model) -> str:
        """Return a model's words for tables and charts."""
        name = TITLES.get(model.variant, model_name(model.variant))
        method = self.judging.methods.get(model.recipe)
        return f"{name}: {method.title}" if method and model.recipe != PLAIN else name


def check_layers(judging: JudgingSettings, variants: Sequence[str]) -> None:
    """Raise InputError for a method that pools a layer which a trunk on edges lacks, where one is trained.

    The best of all methods is tried on every trunk, so that each of them has to fit.
    """
    edges = [name for name in variants if VARIANTS[name].trunk == "edges"]
    for name in (*judging.recipes, *judging.variant_recipes) if edges else ():
        if (last := max(judging.methods[name].layers, default=0)) > LAYERS:
            raise InputError(
                f"params.yaml, ladder.judging: {name} pools layer {last}, which {edges[0]} does not "
                f"have; choose layers from 1 to {LAYERS}, or take it out of ladder.variants"
            )


def needs_labels(variant: str) -> bool:
    """Tell whether somebody's labels went into a model; ImageNet's count."""
    return VARIANTS[variant].needs_labels if variant in VARIANTS else is_plain_network(variant)


# --- judging ---------------------------------------------------------------------------------------------


def precision(study: Study, vectors: np.ndarray, photos: pd.DataFrame) -> pd.DataFrame:
    """Return id and value, the precision of each photo [n] as a query, by the rule that chose checkpoints.

    Raises InputError where no photo can be judged, because fewer than k are left in its gallery.
    """
    rule = study.evaluation
    judged = evaluate(
        vectors, photos, gallery=rule.choose_gallery, window=rule.exclusion_window, ks=[rule.choose_k]
    )
    if judged[f"precision_{rule.choose_k}"].isna().all():
        raise InputError(
            f"of {len(photos)} {photos['split'].iloc[0]} photos none has {rule.choose_k} others in the "
            f"gallery {rule.choose_gallery}; lower evaluation.choose_k or add photos"
        )
    return judged[["id"]].assign(value=judged[f"precision_{rule.choose_k}"])


def judge_trunk(
    ablation: Ablation, variant: str, seed: int, names: Sequence[str], *, split: str
) -> pd.DataFrame:
    """Judge one trunk with each method of `names` on the photos of a split.

    Activations are computed once for all methods. Returns rows of `queries` with dimensions and megabytes.
    """
    network, methods = ablation.trunk(variant, seed), [ablation.judging.methods[name] for name in names]
    photos, pixels = ablation.study.split(split)
    unfinished, rows = photo_vectors(network, pixels, methods), []
    for name, fitted in zip(names, ablation.fit(variant, seed, network, methods), strict=True):
        vectors = fitted.finish(unfinished[fitted.method.before_whitening]).numpy()
        judged = precision(ablation.study, vectors, photos).assign(variant=variant, recipe=name, seed=seed)
        size = {"dimensions": vectors.shape[1], "megabytes": fitted.megabytes(network)}
        rows.append(judged.assign(split=split, **size))
    return pd.concat(rows, ignore_index=True)


def control_names(study: Study, *, split: str) -> list[str]:
    """Return a split's controls: hand-made features, and networks with real weights that saw all of it."""
    ids, overview = set(study.split(split)[0]["id"]), study.networks.overview()
    real = overview.loc[overview["weights"] != NO_WEIGHTS, "model"]
    whole = [name for name in real if is_plain_network(name) and ids <= set(study.networks.load(name).ids)]
    return ["random", *CONTROLS, *whole]


def control_vectors(study: Study, name: str, photos: pd.DataFrame, pixels: np.ndarray) -> np.ndarray:
    """Return a control's vectors, float32 [n, d], of photos [n] and their pixels, uint8 [n, h, w, 3]."""
    if name == PRIOR:
        return random_vectors(pixels, seed=study.seeds[0])
    return control_features(name, pixels) if name in CONTROLS else study.networks.load(name).of(photos["id"])


@dataclass(frozen=True)
class Seen:
    """What a control makes of photos [n] and their pixels, uint8 [n, h, w, 3]."""

    ablation: Ablation
    name: str
    photos: pd.DataFrame
    pixels: np.ndarray

    @cached_property
    def _vectors(self) -> np.ndarray:
        return control_vectors(self.ablation.study, self.name, self.photos, self.pixels)

    def unwhitened(self, method: Method) -> np.ndarray:
        """Return vectors float32 [n, d] as a method has them before whitening.

        What is hand-made is computed once for all methods; what a network saw lies on the disk.
        """
        if is_plain_network(self.name) and method.layers:
            found = self.ablation.network_maps.vectors(self.name, method.pooling, self.photos)
        else:
            found = self._vectors
            if method.layers:
                found = pooled(MAPS[self.name](found, self.pixels.shape[1:3]), method)
        return scaled(found, method).numpy()


def fit_control(ablation: Ablation, name: str) -> dict[str, FittedMethod]:
    """Return recipe -> method of `judging.control_recipes`, those that fit a control; chance gets none.

    Left out are those that its vectors are too short for, that pool a map which it has not, and that are
    fitted on training photos where a network has not embedded them.
    """
    photos, pixels = ablation.fitting
    fitted, network = {AS_IT_IS: FittedMethod(Method("as it is"))}, is_plain_network(name)
    known = not network or set(photos["id"]) <= set(ablation.study.networks.load(name).ids)
    seen, components = Seen(ablation, name, photos, pixels), {}
    for recipe in ablation.judging.control_recipes if name != PRIOR else ():
        method = ablation.judging.methods[recipe]
        if (method.layers and not network and name not in MAPS) or (method.whitened and not known):
            continue
        if not method.whitened:
            fitted[recipe] = FittedMethod(method)
        elif method.whitened < min((vectors := seen.unwhitened(method)).shape):
            fitted[recipe] = fit_method(method, vectors, known=components)
    return fitted


def judge_controls(ablation: Ablation, *, split: str, only: Sequence[Model] | None = None) -> pd.DataFrame:
    """Judge the controls on the photos of a split, as they are and with each method, or `only` these.

    Columns as in `judge_trunk`; seed 0, recipe "" where nothing was done to a control.
    """
    study, rows = ablation.study, []
    photos, pixels = study.split(split)
    for name in control_names(study, split=split):
        seen = Seen(ablation, name, photos, pixels)
        for recipe, fitted in ablation.control_methods(name).items():
            if only is None or Model(name, recipe) in only:
                vectors = fitted.finish(seen.unwhitened(fitted.method)).numpy()
                judged = precision(study, vectors, photos).assign(variant=name, recipe=recipe, seed=0)
                size = {"dimensions": vectors.shape[1], "megabytes": fitted.megabytes()}
                rows.append(judged.assign(split=split, **size))
    return pd.concat(rows, ignore_index=True)


def best_controls(queries: pd.DataFrame) -> dict[str, str]:
    """Return control -> its best recipe on validation photos: none, where no other is better."""
    values = mean_values(queries[queries["variant"].map(is_control)], split="validation")
    ranked = values.sort_values(ascending=False, kind="stable").reset_index()
    return dict(ranked.drop_duplicates("variant")[["variant", "recipe"]].itertuples(index=False))


def opponents(best: Mapping[str, str]) -> list[Model]:
    """Return the controls that finalists are held against: each as it is, and with its best recipe."""
    models = [Model(name, recipe) for name, chosen in best.items() for recipe in (AS_IT_IS, chosen)]
    return list(dict.fromkeys(models))


# --- who goes on to the test photos ----------------------------------------------------------------------


def choose_finalists(queries: pd.DataFrame, *, count: int, most_megabytes: float) -> list[Model]:
    """Return the best label-free models by validation precision, best first: the best method of each trunk.

    No candidates: controls, what needs labels, a file larger than `most_megabytes`. Rows of other
    splits than validation are never read.
    """
    rows = queries[~queries["variant"].map(is_control) & (queries["megabytes"] <= most_megabytes)]
    rows = rows[~rows["variant"].map(needs_labels).astype(bool)]
    values = mean_values(rows, split="validation")
    if values.empty:
        raise InputError(f"params.yaml, ladder.judging.most_megabytes {most_megabytes}: no model is so small")
    ranked = values.sort_values(ascending=False, kind="stable").reset_index().drop_duplicates("variant")
    return [Model(row.variant, row.recipe) for row in ranked.head(count).itertuples()]


def tested_models(finalists: Sequence[Model], *, best: str) -> list[Model]:
    """Return what is judged on the test photos: the finalists, and trained beside untrained both ways."""
    pairs = [Model(variant, recipe) for recipe in (PLAIN, best) for variant in (PAPER, UNTRAINED)]
    twins = [Model(untrained_twin(model.variant), model.recipe) for model in finalists]
    return list(dict.fromkeys([*finalists, *pairs, *twins]))
