"""The ablation's effects: each idea against its baseline, paired photo by photo and seed by seed.

Tables in, tables out; nothing here knows a network. A model is a trunk's variant and the method that makes
vectors of its activations; tables call the method `recipe`. A row of `queries` is the precision of one photo
as a query: variant, recipe, seed (0 where nothing is drawn), split, id, value.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import pandas as pd

from solesearch.beyond.variants import VARIANTS
from solesearch.core.errors import InputError
from solesearch.core.model_names import CONTROLS, PRIOR, is_plain_network
from solesearch.retrieval.uncertainty import Resampling, conclude, holm, paired_differences

# Trunks that need no training of this stage: stage train's chosen checkpoints, and drawn weights.
PAPER, UNTRAINED = "paper", "untrained"
UNTRAINED_TRUNKS = {  # each, as drawn, and a variant that trains it
    UNTRAINED: "infogan",
    "untrained_gradients": "contrastive_gradients",
    "untrained_dictionary": "dictionary",
    "untrained_dictionary_network": "dictionary_network",
}
FINALIST = "finalist"
GOAL = "goal"  # the best finalist against what it was meant to beat, a family of its own
EFFECTS = [
    *("rung", "split", "variant", "recipe", "against", "against_recipe", "gallery", "k", "average"),
    *("difference", "low", "high", "p", "p_holm", "seeds", "seed_low", "seed_high", "n", "units"),
    *("verdict", "reason"),
]


class Model(NamedTuple):
    """One model: which weights, and the method that makes vectors of their activations ("" for a control)."""

    variant: str
    recipe: str


class Comparison(NamedTuple):
    """One effect: a model less another, on the same photos; Holm's correction is within rung and split."""

    rung: str  # the kind of idea
    split: str
    model: Model
    against: Model


def finalist_rows(ladder: pd.DataFrame) -> pd.DataFrame:
    """Return one row of ladder.csv for each finalist, the best by validation first."""
    return ladder.dropna(subset=FINALIST).drop_duplicates(FINALIST).sort_values(FINALIST)


def untrained_twin(variant: str) -> str:
    """Return the variant that has the same trunk as drawn."""
    return next(name for name in UNTRAINED_TRUNKS if trunk_of(name) == trunk_of(variant))


def trunk_of(variant: str) -> str:
    """Return which trunk a variant has, as Variant.trunk names it; that of stage train is a discriminator."""
    trained = UNTRAINED_TRUNKS.get(variant, variant)
    return VARIANTS[trained].trunk if trained in VARIANTS else "discriminator"


def is_control(variant: str) -> bool:
    """Tell whether a variant is a control: chance, a hand-made feature, or an ImageNet network."""
    return variant == PRIOR or variant in CONTROLS or is_plain_network(variant)


def mean_values(queries: pd.DataFrame, *, split: str) -> pd.Series:
    """Return the precision of each (variant, recipe) of a split: the mean over queries of the seeds' mean."""
    rows = queries[queries["split"] == split]
    by_query = rows.groupby(["variant", "recipe", "id"], sort=False)["value"].mean()
    return by_query.groupby(level=["variant", "recipe"], sort=False).mean()


def effects(
    queries: pd.DataFrame,
    comparisons: Sequence[Comparison],
    units: pd.Series,
    settings: Resampling,
    *,
    classes: pd.Series,
) -> pd.DataFrame:
    """Return each comparison's paired difference with interval, Holm's p and verdict, two rows each.

    Both sides answered the same photos; trained networks are compared seed by seed (equal seeds start from
    equal weights) and averaged. `units`: photo id -> what is resampled, `classes`: photo id -> class. Column
    `average`: of `micro` every query weighs the same, of `macro` every class.
    """
    blocks = []
    for split in dict.fromkeys(comparison.split for comparison in comparisons):
        chosen = [comparison for comparison in comparisons if comparison.split == split]
        rows = queries[queries["split"] == split]
        wide = rows.pivot_table(index="id", columns=["variant", "recipe", "seed"], values="value")
        gaps = [seed_differences(wide, comparison.model, comparison.against) for comparison in chosen]
        means = pd.concat([gap.mean(axis=1) for gap in gaps], axis=1, keys=range(len(gaps)))
        for average, labels in (("micro", None), ("macro", classes)):
            pairs = zip(chosen, gaps, strict=True)
            block = pd.DataFrame([_row(*pair, classes=labels) for pair in pairs]).assign(average=average)
            blocks.append(block.join(paired_differences(means, units, settings, classes=labels)))
    table = pd.concat(blocks, ignore_index=True)
    table["p_holm"] = table.groupby(["rung", "split", "average"])["p"].transform(holm)
    decided = [decide(row, significance=settings.significance) for row in table.to_dict("records")]
    table[["verdict", "reason"]] = decided
    return table


def seed_differences(wide: pd.DataFrame, model: Model, against: Model) -> pd.DataFrame:
    """Return model less against, a column a seed that both have; a side without seeds serves them all.

    `wide` has a row a photo and the columns (variant, recipe, seed). Raises InputError without a common seed.
    """
    first, second = wide[tuple(model)], wide[tuple(against)]
    if list(second.columns) == [0]:
        return first.sub(second[0], axis=0)
    if list(first.columns) == [0]:
        return -second.sub(first[0], axis=0)
    common = sorted(set(first.columns) & set(second.columns))
    if not common:
        raise InputError(f"{model.variant} and {against.variant} have no seed in common; run the stage again")
    return first[common] - second[common]


def _row(comparison: Comparison, gaps: pd.DataFrame, *, classes: pd.Series | None) -> dict[str, Any]:
    by_seed = gaps.mean() if classes is None else gaps.groupby(classes[gaps.index]).mean().mean()
    return {
        "rung": comparison.rung,
        "split": comparison.split,
        **comparison.model._asdict(),
        "against": comparison.against.variant,
        "against_recipe": comparison.against.recipe,
        "seeds": " ".join(str(seed) for seed in gaps.columns),
        "seed_low": float(by_seed.min()),
        "seed_high": float(by_seed.max()),
    }


def decide(row: dict[str, Any], *, significance: float) -> tuple[str, str]:
    """Return (verdict, reason) of a row of effects; where a side has seeds, two must agree in sign."""
    drawn = row["seeds"].split()
    doubts = {
        "one training seed: its spread is unknown": drawn != ["0"] and len(drawn) == 1,
        "the seeds do not agree": row["seed_low"] <= 0 <= row["seed_high"],
    }
    return conclude(row, significance=significance, doubts=doubts)
