"""The effects of the ladder: each idea against its baseline, paired photo by photo and seed by seed.

Plain tables in, plain tables out; nothing here knows a network. A row of `queries` is the precision of one
photo as a query: variant, recipe, seed (0 where nothing is drawn), split, id, value.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from solesearch.core.errors import InputError
from solesearch.retrieval.uncertainty import Resampling, bootstrap_intervals, holm, sign_flip_p_values

# Trunks that need no training of this stage: stage train's chosen checkpoints, and drawn weights.
PAPER, UNTRAINED = "paper", "untrained"
UNTRAINED_EDGES = "untrained_gradients"  # drawn weights of gradient_trunk.py's trunk
SHORT = "infogan"  # the paper's recipe, as long as the variants
PLAIN = "plain"
HIGHER, LOWER, UNDECIDED = "higher", "lower", "undecided"
ADVERSARIAL, FINALIST = "adversarial training", "finalist"  # rungs that sentences are made of


class Key(NamedTuple):
    """One model: which weights, and what is done with them ("" for a control)."""

    variant: str
    recipe: str


class Comparison(NamedTuple):
    """One effect: a model less another, on the same photos; Holm's correction is within rung and split."""

    rung: str
    split: str
    model: Key
    against: Key


def untrained_twin(variant: str) -> str:
    """Return the variant that has the same trunk as drawn."""
    from solesearch.beyond import variants

    learned = variants.VARIANTS.get(variant)
    edges = variant == UNTRAINED_EDGES or (learned is not None and learned.trunk == variants.GRADIENTS)
    return UNTRAINED_EDGES if edges else UNTRAINED


def mean_values(queries: pd.DataFrame, *, split: str) -> pd.Series:
    """Return the precision of each (variant, recipe) of a split: the mean over queries of the seeds' mean."""
    rows = queries[queries["split"] == split]
    by_query = rows.groupby(["variant", "recipe", "id"], sort=False)["value"].mean()
    return by_query.groupby(level=["variant", "recipe"], sort=False).mean()


def validation_comparisons(queries: pd.DataFrame, *, best: str) -> list[Comparison]:
    """Return what each idea is held against on validation photos, from what was judged there.

    A recipe against `plain` on the same weights, adversarial training against the same drawn weights, a
    training against the paper's on the same short schedule and against no training.
    """
    there = list(mean_values(queries, split="validation").index)
    trainings = [name for name, recipe in there if recipe == PLAIN and name not in (PAPER, UNTRAINED)]
    on_edges = [name for name in trainings if untrained_twin(name) == UNTRAINED_EDGES != name]
    pairs = [
        (f"recipe, {words}", Key(variant, recipe), Key(variant, PLAIN))
        for variant, words in ((PAPER, "trained network"), (UNTRAINED, "untrained network"))
        for name, recipe in there
        if name == variant and recipe != PLAIN
    ]
    pairs += [
        (ADVERSARIAL, Key(PAPER, recipe), Key(UNTRAINED, recipe)) for name, recipe in there if name == PAPER
    ]
    pairs += [
        (f"training, {words}", Key(name, recipe), Key(other, recipe))
        for recipe, words in ((PLAIN, "plain"), (best, "best recipe"))
        for name in trainings
        for other in (SHORT, UNTRAINED)
        if name != other
    ]
    pairs += [
        ("training, on edges", Key(name, recipe), Key(UNTRAINED_EDGES, recipe))
        for name, recipe in there
        if name in on_edges
    ]
    known = set(there)
    return [
        Comparison(rung, "validation", *pair)
        for rung, *pair in pairs
        if {(key.variant, key.recipe) for key in pair} <= known
    ]


def tested_comparisons(queries: pd.DataFrame, finalists: Sequence[Key], *, best: str) -> list[Comparison]:
    """Return what is compared on test photos: trained with untrained, each finalist with every control."""
    there = list(mean_values(queries, split="test").index)
    pairs = [(ADVERSARIAL, Key(PAPER, recipe), Key(UNTRAINED, recipe)) for recipe in (PLAIN, best)]
    for key in finalists:
        controls = [Key(name, "") for name, recipe in there if recipe == ""]
        twin = untrained_twin(key.variant)
        others = [*controls, Key(PAPER, PLAIN), Key(UNTRAINED, PLAIN), Key(twin, key.recipe)]
        pairs += [(FINALIST, key, other) for other in dict.fromkeys(others) if other != key]
    return [Comparison(rung, "test", *pair) for rung, *pair in pairs]


def effects(
    queries: pd.DataFrame, comparisons: Sequence[Comparison], units: pd.Series, settings: Resampling
) -> pd.DataFrame:
    """Return each comparison's paired difference with interval, Holm's p and verdict.

    Both sides answered the same photos; trained networks are compared seed by seed (equal seeds start from
    equal weights) and averaged. `units`: photo id -> what is resampled. The verdict also needs two seeds or
    more that agree in sign, where a side has seeds.
    """
    blocks = []
    for split in dict.fromkeys(one.split for one in comparisons):
        chosen = [one for one in comparisons if one.split == split]
        rows = queries[queries["split"] == split]
        wide = rows.pivot_table(index="id", columns=["variant", "recipe", "seed"], values="value")
        gaps = [seed_differences(wide, one.model, one.against) for one in chosen]
        means = np.stack([gap.mean(axis=1).to_numpy() for gap in gaps], axis=1)
        unit = pd.factorize(units[wide.index].to_numpy())[0]
        low, high = bootstrap_intervals(
            means, unit, resamples=settings.resamples, confidence=settings.confidence, seed=settings.seed
        )
        p = sign_flip_p_values(means, unit, permutations=settings.permutations, seed=settings.seed)
        block = pd.DataFrame([_effect_row(one, gap) for one, gap in zip(chosen, gaps, strict=True)])
        blocks.append(block.assign(low=low, high=high, p=p, units=len(np.unique(unit))))
    table = pd.concat(blocks, ignore_index=True)
    table["p_holm"] = np.nan
    for _, rows in table.groupby(["rung", "split"], sort=False):
        table.loc[rows.index, "p_holm"] = holm(rows["p"].to_numpy())
    decided = [decide(row, significance=settings.significance) for row in table.to_dict("records")]
    table["verdict"], table["reason"] = [list(column) for column in zip(*decided, strict=True)]
    return table


def seed_differences(wide: pd.DataFrame, model: Key, against: Key) -> pd.DataFrame:
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


def _effect_row(comparison: Comparison, gaps: pd.DataFrame) -> dict[str, Any]:
    by_seed = gaps.mean()
    return {
        "rung": comparison.rung,
        "split": comparison.split,
        **comparison.model._asdict(),
        "against": comparison.against.variant,
        "against_recipe": comparison.against.recipe,
        "difference": float(gaps.mean(axis=1).mean()),
        "seeds": " ".join(str(seed) for seed in gaps.columns),
        "seed_low": float(by_seed.min()),
        "seed_high": float(by_seed.max()),
        "n": int(gaps.mean(axis=1).notna().sum()),
    }


def decide(row: dict[str, Any], *, significance: float) -> tuple[str, str]:
    """Return (verdict, reason) of one row of effects."""
    drawn = row["seeds"].split()
    if drawn != ["0"] and len(drawn) == 1:
        return UNDECIDED, "one training seed: its spread is unknown"
    if row["seed_low"] <= 0 <= row["seed_high"]:
        return UNDECIDED, "the seeds do not agree"
    if row["p_holm"] >= significance:
        return UNDECIDED, f"Holm's p is not below {significance:g}"
    if row["low"] <= 0 <= row["high"]:
        return UNDECIDED, "the interval holds 0"
    return (HIGHER if row["difference"] > 0 else LOWER), ""
