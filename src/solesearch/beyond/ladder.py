"""The ablation ladder: what each idea adds to the paper's recipe, judged on photos that chose nothing.

Rungs: the paper's recipe; what can be done with a trunk's activations afterwards (feature_recipes.py), on the
trained and on the untrained discriminator; other trainings (variants.py), plain and with the best recipe.
Everything is judged on validation photos. The best label-free models there, one of each training, are then
judged once on the test photos beside all controls; models that need labels are shown and never chosen.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from solesearch.beyond.feature_recipes import (
    Recipe,
    fit_recipe,
    named_recipes,
    photo_parts,
)
from solesearch.beyond.ladder_effects import (
    ADVERSARIAL,
    FINALIST,
    HIGHER,
    LOWER,
    PAPER,
    PLAIN,
    UNDECIDED,
    UNTRAINED,
    UNTRAINED_EDGES,
    Key,
    mean_values,
    untrained_twin,
)
from solesearch.core import files
from solesearch.core.errors import InputError
from solesearch.core.model_names import NO_WEIGHTS, is_plain_network, model_name
from solesearch.core.paths import Paths
from solesearch.core.progress import Progress
from solesearch.core.settings import fill, load_section
from solesearch.cost.latency import LatencySettings
from solesearch.evaluation.study import Study, read_chosen
from solesearch.retrieval.controls import CONTROLS, control_features, random_vectors
from solesearch.retrieval.retrieval import evaluate
from solesearch.retrieval.uncertainty import (
    Resampling,
    load_resampling,
)

TITLES = {PAPER: "InfoGAN, the paper's recipe", UNTRAINED: "untrained discriminator"}
TITLES |= {UNTRAINED_EDGES: "untrained trunk on edges"}
RIVAL = "MobileNetV2"  # the goal names it


@dataclass(frozen=True)
class JudgingSettings:
    """Which recipes are judged and how many models reach the test photos; `params.yaml` holds the values."""

    recipes: list[str]
    variant_recipes: list[str]
    layers: list[int]
    lower_layers: list[int]
    first_layers: list[int]
    grid: int
    first_grid: int
    gem_power: float
    whitened_dimensions: int
    shrinkage: float
    exponent: float
    fitting_photos: int
    finalists: int
    most_megabytes: float
    most_ms: float

    def __post_init__(self) -> None:
        """Raise InputError for a ladder that cannot be climbed."""
        unknown = {*self.recipes, *self.variant_recipes} - set(self.named)
        rules = {
            f"recipes are {', '.join(self.named)}": not unknown,
            f"recipes hold {PLAIN!r} and at least one more": PLAIN in self.recipes and len(self.recipes) > 1,
            "finalists is at least 1": self.finalists >= 1,
            "fitting_photos is 0 or more": self.fitting_photos >= 0,
            "most_megabytes and most_ms lie above 0": min(self.most_megabytes, self.most_ms) > 0,
        }
        for rule, holds in rules.items():
            if not holds:
                raise InputError(f"params.yaml, ladder.judging: {rule}; got {self}")

    @property
    def named(self) -> dict[str, Recipe]:
        """All recipes with this profile's numbers."""
        return named_recipes(
            layers=self.layers,
            lower_layers=self.lower_layers,
            first=(self.first_layers, self.first_grid),
            grid=self.grid,
            power=self.gem_power,
            dimensions=self.whitened_dimensions,
            shrinkage=self.shrinkage,
            exponent=self.exponent,
        )


def load_judging(profile: str, overrides: dict[str, Any] | None = None) -> JudgingSettings:
    """Return `ladder.judging` of a profile; raises InputError for a missing, unknown or impossible value."""
    values = load_section(profile, "ladder", overrides).get("judging")
    if not isinstance(values, dict):
        raise InputError(f"params.yaml: {profile}.ladder has no `judging`, the settings of notebook 10")
    return fill(JudgingSettings, values, where=f"{profile}.ladder.judging")


@dataclass(frozen=True)
class Ladder:
    """One profile's photos, settings and recipes, opened once."""

    study: Study
    judging: JudgingSettings
    training: Any  # VariantSettings
    resampling: Resampling
    latency: LatencySettings
    overrides: dict[str, Any] | None

    @classmethod
    def open(cls, profile: str, overrides: dict[str, Any] | None = None) -> Ladder:
        """Read what the stages before left; raises InputError that names what is missing."""
        from solesearch.beyond.variant_settings import VariantSettings

        timing = fill(LatencySettings, load_section(profile, "latency", overrides), where="latency")
        return cls(
            Study.open(profile, overrides),
            load_judging(profile, overrides),
            VariantSettings.load(
                profile,
                **{
                    key.removeprefix("ladder."): value
                    for key, value in (overrides or {}).items()
                    if key.startswith("ladder.")
                },
            ),
            load_resampling(profile, overrides),
            timing,
            overrides,
        )

    @property
    def profile(self) -> str:
        """The profile's name."""
        return self.study.paths.profile

    @cached_property
    def recipes(self) -> dict[str, Recipe]:
        """Name -> recipe with this profile's numbers."""
        return self.judging.named

    def untrained_seeds(self, split: str) -> list[int]:
        """Seeds whose drawn weights are judged on a split: every one that something is compared with."""
        further = self.training.finalist_seeds if split == "test" else self.training.seeds
        return sorted({*self.study.seeds, *further})

    @cached_property
    def fitting_pixels(self) -> np.ndarray:
        """Training photos that recipes are fitted on, uint8 [n, h, w, 3]: all, or some spread evenly."""
        _, pixels = self.study.split("training")
        count = self.judging.fitting_photos
        if not 0 < count < len(pixels):
            return pixels
        return pixels[np.linspace(0, len(pixels) - 1, count).astype(int)]

    def trunk(self, variant: str, seed: int):
        """Return the network of a trunk; InputError where its training is not there."""
        if variant == UNTRAINED:
            from solesearch.gan.infogan import build_discriminator

            return build_discriminator(self.study.gan, seed=seed)
        if variant == PAPER:
            step = read_chosen(self.study.paths)[seed]
            return self.study.discriminator(seed=seed, step=step).discriminator
        from solesearch.beyond.variant_training import load_trunk

        if variant == UNTRAINED_EDGES:
            from solesearch.beyond.gradient_trunk import build_gradient_trunk

            momentum, gan = self.training.contrastive.norm_momentum, self.study.gan
            return build_gradient_trunk(gan.image_size, leak=gan.leak, norm_momentum=momentum, seed=seed)
        return load_trunk(self.profile, variant, seed, self.training)

    def needs_labels(self, variant: str) -> bool:
        """Tell whether somebody's labels went into a model; ImageNet's count."""
        from solesearch.beyond import variants

        if variant in variants.VARIANTS:
            return variants.VARIANTS[variant].needs_labels
        return is_plain_network(variant)

    def title(self, key: Key) -> str:
        """Return a model's words for tables and charts."""
        from solesearch.beyond import variants

        known = TITLES | {name: one.title for name, one in variants.VARIANTS.items()}
        name = known.get(key.variant, model_name(key.variant))
        return name if key.recipe in ("", PLAIN) else f"{name}: {self.recipes[key.recipe].title}"


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
    ladder: Ladder, key_seed: tuple[str, int], names: Sequence[str], *, split: str
) -> pd.DataFrame:
    """Judge one trunk (variant, seed) with every recipe of `names` on the photos of a split.

    Activations of training photos and of the split's are computed once for all recipes. Returns a row a
    query and recipe: columns QUERIES, dimensions, megabytes.
    """
    (variant, seed), study = key_seed, ladder.study
    network, recipes = ladder.trunk(variant, seed), [ladder.recipes[name] for name in names]
    photos, pixels = study.split(split)
    parts, mirrored = both_ways(network, pixels, recipes)
    fitting = [recipe for recipe in recipes if recipe.whitened]
    training = both_ways(network, ladder.fitting_pixels, fitting) if fitting else ({}, None)
    rows = []
    for name, recipe in zip(names, recipes, strict=True):
        fitted = fit_recipe(recipe, *training)
        vectors = fitted.vectors(parts, mirrored)
        found = precision(study, vectors, photos)
        found = found.assign(dimensions=vectors.shape[1], megabytes=fitted.megabytes(network))
        rows.append(found.assign(variant=variant, recipe=name, seed=seed, split=split))
    return pd.concat(rows, ignore_index=True)


def both_ways(network, pixels: np.ndarray, recipes: Sequence[Recipe]) -> tuple[dict, dict | None]:
    """Return the parts of photos and, where a recipe asks for them, of their mirror images."""
    flipped = [recipe for recipe in recipes if recipe.flipped]
    mirrored = photo_parts(network, pixels, flipped, mirrored=True) if flipped else None
    return photo_parts(network, pixels, recipes), mirrored


def control_names(ladder: Ladder, *, split: str) -> list[str]:
    """Return a split's controls: hand-made features, and networks with real weights that saw all of it."""
    study = ladder.study
    ids, overview = set(study.split(split)[0]["id"]), study.networks.overview()
    real = overview.loc[overview["weights"] != NO_WEIGHTS, "model"]
    kept = [name for name in real if is_plain_network(name) and ids <= set(study.networks.load(name).ids)]
    return ["random", *CONTROLS, *kept]


def judge_controls(ladder: Ladder, *, split: str) -> pd.DataFrame:
    """Judge the controls on the photos of a split; columns as in `judge_trunk`, recipe "" and seed 0."""
    study, rows = ladder.study, []
    photos, pixels = study.split(split)
    for name in control_names(ladder, split=split):
        if name == "random":
            vectors = random_vectors(pixels, seed=study.seeds[0])
        elif name in CONTROLS:
            vectors = control_features(name, pixels)
        else:
            vectors = study.networks.load(name).of(photos["id"])
        found = precision(study, vectors, photos).assign(dimensions=vectors.shape[1], megabytes=0.0)
        rows.append(found.assign(variant=name, recipe="", seed=0, split=split))
    return pd.concat(rows, ignore_index=True)


def judge_validation(ladder: Ladder) -> pd.DataFrame:
    """Judge everything on the validation photos; test photos are not touched. Columns as in `judge_trunk`.

    The trained variants get `plain`, `variant_recipes` and the recipe that is best on the paper's trunk.
    """
    ready = [(PAPER, seed) for seed in ladder.study.seeds]
    ready += [(UNTRAINED, seed) for seed in ladder.untrained_seeds("validation")]
    shown = list(ladder.training.variants)
    if any(untrained_twin(name) == UNTRAINED_EDGES for name in shown):
        shown.insert(0, UNTRAINED_EDGES)
    trained = [(name, seed) for name in shown for seed in ladder.training.seeds]
    progress = Progress("judging the ladder", total=len(ready) + len(trained), unit="network")
    names, rows = ladder.judging.recipes, [judge_controls(ladder, split="validation")]
    for number, one in enumerate([*ready, *trained], start=1):
        if number == len(ready) + 1:
            best = best_recipe(pd.concat(rows), most_megabytes=ladder.judging.most_megabytes)
            names = list(dict.fromkeys([PLAIN, *ladder.judging.variant_recipes, best]))
        rows.append(judge_trunk(ladder, one, names, split="validation"))
        progress.update(number)
    return pd.concat(rows, ignore_index=True)


def best_recipe(queries: pd.DataFrame, *, most_megabytes: float) -> str:
    """Return the recipe (not plain) of the highest validation precision on the paper's own trunk.

    Of equals the first judged; one whose numbers take more than `most_megabytes` is no candidate. The other
    trunks have no say. Raises InputError where every recipe is larger.
    """
    small = queries[(queries["variant"] == PAPER) & (queries["megabytes"] <= most_megabytes)]
    small = small[small["recipe"] != PLAIN]
    if small.empty:
        raise InputError(
            f"params.yaml, ladder.judging.most_megabytes {most_megabytes}: no recipe is so small"
        )
    return str(mean_values(small, split="validation")[PAPER].idxmax())


def choose_finalists(
    queries: pd.DataFrame, *, count: int, most_megabytes: float, left_out: Iterable[str]
) -> list[Key]:
    """Return the best label-free models by validation precision, best first: the best recipe of each trunk.

    `left_out` are the variants that may not be chosen (controls, and what needs labels). A file in float32
    larger than `most_megabytes` is no candidate. Rows of other splits than validation are never read.
    """
    rows = queries[(queries["split"] == "validation") & ~queries["variant"].isin(set(left_out))]
    rows = rows[(rows["recipe"] != "") & (rows["megabytes"] <= most_megabytes)]
    values = mean_values(rows, split="validation").sort_values(ascending=False, kind="stable")
    if values.empty:
        raise InputError(f"params.yaml, ladder.judging.most_megabytes {most_megabytes}: no model is so small")
    best = values.reset_index().drop_duplicates("variant")
    return [Key(row.variant, row.recipe) for row in best.head(count).itertuples()]


def finalists_of(ladder: Ladder, queries: pd.DataFrame) -> list[Key]:
    """Return the models that go to the test photos, best first."""
    labelled = [name for name in queries["variant"].unique() if ladder.needs_labels(name)]
    return choose_finalists(
        queries,
        count=ladder.judging.finalists,
        most_megabytes=ladder.judging.most_megabytes,
        left_out=[*labelled, "random", *CONTROLS],
    )


def train_finalists(ladder: Ladder, finalists: Sequence[Key]) -> pd.DataFrame:
    """Train the finalists' further seeds, where they need any; return the training table of those."""
    from solesearch.beyond import variants
    from solesearch.beyond.variant_training import train_variants

    names = [key.variant for key in finalists if key.variant in variants.VARIANTS]
    wanted = [(name, seed) for name in names for seed in ladder.training.finalist_seeds]
    if not wanted:
        return pd.DataFrame(columns=["variant", "seed", "steps", "seconds"])
    return train_variants(ladder.profile, ladder.training, wanted=wanted)


def tested_models(finalists: Sequence[Key], best: str) -> list[Key]:
    """Return what is judged on the test photos: the finalists, and trained beside untrained both ways."""
    pairs = [Key(variant, recipe) for recipe in (PLAIN, best) for variant in (PAPER, UNTRAINED)]
    same = [Key(untrained_twin(key.variant), key.recipe) for key in finalists]
    return list(dict.fromkeys([*finalists, *pairs, *same]))


def judge_test(ladder: Ladder, finalists: Sequence[Key], *, best: str) -> pd.DataFrame:
    """Judge finalists and controls on the test photos, once; columns as in `judge_trunk`."""
    wanted: dict[str, list[str]] = {}
    for variant, recipe in tested_models(finalists, best):
        wanted.setdefault(variant, []).append(recipe)
    seeds = {PAPER: ladder.study.seeds, UNTRAINED: ladder.untrained_seeds("test")}
    tasks = [
        (variant, seed)
        for variant in wanted
        for seed in seeds.get(variant, list(ladder.training.finalist_seeds))
    ]
    progress = Progress("judging the finalists", total=len(tasks), unit="network")
    rows = [judge_controls(ladder, split="test")]
    for number, one in enumerate(tasks, start=1):
        rows.append(judge_trunk(ladder, one, wanted[one[0]], split="test"))
        progress.update(number)
    return pd.concat(rows, ignore_index=True)


# --- the stage, step by step -----------------------------------------------------------------------------


def recipe_table(ladder: Ladder) -> pd.DataFrame:
    """Return what each recipe of this profile does, a row a recipe."""
    rows = [
        (
            name,
            " ".join(f"{how} {layer}" for how, layer, _ in recipe.parts),
            recipe.flipped,
            recipe.whitened or "",
            recipe.normalised,
        )
        for name, recipe in ladder.recipes.items()
        if name in {*ladder.judging.recipes, *ladder.judging.variant_recipes}
    ]
    return pd.DataFrame(rows, columns=["recipe", "convolutions", "mirror", "whitened to", "length 1"])


def variant_table(ladder: Ladder) -> pd.DataFrame:
    """Return what each training of this profile changes, a row a variant."""
    from solesearch.beyond import variants

    known = [(name, variants.VARIANTS[name]) for name in ladder.training.variants]
    rows = [(name, one.title, one.idea, one.needs_labels) for name, one in known]
    return pd.DataFrame(rows, columns=["variant", "title", "idea", "needs labels"])


def with_finalists(ladder: Ladder, trained: pd.DataFrame, finalists: Sequence[Key]) -> pd.DataFrame:
    """Train the finalists' further seeds and return the training table with their rows."""
    more = train_finalists(ladder, finalists)
    table = pd.concat([trained, more], ignore_index=True) if len(more) else trained
    return table.drop_duplicates(["variant", "seed"], keep="last").reset_index(drop=True)


def with_test(ladder: Ladder, queries: pd.DataFrame, finalists: Sequence[Key], *, best: str) -> pd.DataFrame:
    """Return `queries` with those of the test photos; InputError when they hold test photos already."""
    if (queries["split"] == "test").any():
        raise InputError("the test photos were judged already; run the notebook from its start")
    return pd.concat([queries, judge_test(ladder, finalists, best=best)], ignore_index=True)


# --- in words --------------------------------------------------------------------------------------------

WORDS = {HIGHER: "it helps", LOWER: "it harms", UNDECIDED: "undecided"}
AGAINST = {HIGHER: "above", LOWER: "below", UNDECIDED: "not told apart from"}


def worth(profile: str) -> str:
    """Return in two sentences what adversarial training is worth for retrieval, from the committed tables.

    The verdicts are those of ladder_effects.csv. Returns one sentence that says so where the stage has not
    run; raises InputError for a table without the rows that are needed.
    """
    from solesearch.core.measures import NOT_RUN, PROFILES

    paths = Paths.of(profile)
    names = ("ladder", "ladder_effects")
    if not all(paths.result(name).is_file() for name in names):
        return f"What adversarial training is worth for retrieval: {NOT_RUN} for {profile}."
    kept = {"keep_default_na": False, "na_values": [""]}
    table, found = (files.read_table(paths.result(name), made_by="stage ladder", **kept) for name in names)
    table, found = table.fillna({"recipe": ""}), found.fillna({"recipe": "", "against_recipe": ""})
    table = table[table["split"] == "test"].assign(seed=lambda rows: rows["seed"].astype(str))
    found = found[found["split"] == "test"]
    photos = PROFILES.get(profile, ("", f"the photographs of {profile}"))[1]
    share = f"{load_resampling(profile).confidence:.0%}".replace("%", " %")
    means = table[table["seed"] == "all"].set_index(["variant", "recipe"])
    return f"{_trained_words(table, found, photos, share)} {_best_words(means, found)}"


def _trained_words(table: pd.DataFrame, found: pd.DataFrame, photos: str, share: str) -> str:
    rows = found[found["rung"] == ADVERSARIAL].to_dict("records")
    if not rows:
        raise InputError("table ladder_effects: no row on adversarial training; run stage ladder again")
    values, parts = table.set_index(["variant", "recipe", "seed"])[["value", "title"]], []
    for row in rows:
        seeds = str(row["seeds"]).split()  # those that both have: the difference is theirs
        before, after = (
            np.mean([values["value"][name, row["recipe"], seed] for seed in seeds])
            for name in (UNTRAINED, PAPER)
        )
        recipe = values["title"][PAPER, row["recipe"], seeds[0]].partition(": ")[2]
        parts.append(
            f"from {before:.3f} to {after:.3f} with {f'the recipe “{recipe}”' if recipe else 'their vector'} "
            f"({row['difference']:+.3f}, {share} interval {row['low']:+.3f} to {row['high']:+.3f}: "
            f"{WORDS[row['verdict']]})"
        )
    return (
        f"On {int(rows[0]['n']):,} test photos of {photos}, each searched without its own product, the "
        f"papers' adversarial training moves the precision@{int(rows[0]['k'])} of the same network's "
        f"random weights "
        f"{' and '.join(parts)}."
    )


def _best_words(means: pd.DataFrame, found: pd.DataFrame) -> str:
    best = means[pd.to_numeric(means["finalist"], errors="coerce") == 1]
    if best.empty:
        raise InputError("table ladder: no finalist on test photos; run stage ladder again")
    (variant, recipe), row = best.index[0], best.iloc[0]
    mine = found[(found["rung"] == FINALIST) & (found["variant"] == variant) & (found["recipe"] == recipe)]
    mine = mine.drop_duplicates("against").set_index("against")
    rivals = [
        f"{AGAINST[mine['verdict'][name]]} {'ImageNet ' * (name == RIVAL)}{model_name(name)} "
        f"({means['value'][name, '']:.3f})"
        for name in ("hog", RIVAL)
        if name in mine.index
    ]
    return (
        f"The best model without labels, chosen on validation photos ({row['title']}), reaches "
        f"{row['value']:.3f} ({row['low']:.3f} to {row['high']:.3f}): {' and '.join(rivals)}."
    )
