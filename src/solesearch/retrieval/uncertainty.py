"""How sure a number is: bootstrap intervals, seed spread, and paired differences against the proposed model.

The unit that is resampled is the product, because the photos of one product succeed or fail together; where
products are unknown it is a block of neighbouring positions. Training seeds are not resampled (two or three
say little about a distribution): their range stands beside the interval, and no gap below it is claimed.
"""

from __future__ import annotations

import warnings
from collections.abc import Collection, Iterator, Mapping, Sequence

import numpy as np
import pandas as pd
from pydantic import Field

from solesearch.core import files
from solesearch.core.errors import InputError
from solesearch.core.model_names import PROPOSED
from solesearch.core.paths import Paths
from solesearch.core.settings import Section
from solesearch.retrieval.retrieval import measures

CELLS_AT_ONCE = 4_000_000  # random weights held at a time: 32 MB
ROUNDING = 1e-12  # sums that differ by less are equal: a tie counts against a difference
HIGHER, LOWER, UNDECIDED, NOT_COMPARED = "higher", "lower", "undecided", "not compared"
MEASURE = ["gallery", "metric", "k"]
INTERVALS = ["model", "seed", *MEASURE, "value", "low", "high", "n", "units"]
SPREADS = ["model", *MEASURE, "seeds", "mean", "low", "high", "spread"]
DIFFERENCES = [
    "model", *MEASURE, "difference", "low", "high", "p", "p_holm", "seed_spread", "n", "units", "conclusion",
    "reason",
]  # fmt: skip


class Resampling(Section, section="uncertainty"):
    """How intervals and tests are drawn; `params.yaml` holds the values."""

    resamples: int = Field(ge=1)
    permutations: int = Field(ge=1)
    confidence: float = Field(gt=0, lt=1)
    significance: float = Field(gt=0, lt=1)
    seed: int = Field(ge=0)


# --- units -----------------------------------------------------------------------------------------------


def resampling_units(photos: pd.DataFrame, *, window: int) -> pd.Series:
    """Return photo id -> number of its unit (int), for photos with id, group and position.

    The unit is the group (the product) cut into blocks of 2 * `window` + 1 positions: as many as one
    product-excluded query leaves out. Where the group is a whole class, a unit is thus a block of neighbours.
    """
    block = photos["position"].astype(int) // (2 * window + 1)
    names = photos["group"].astype(str) + "\t" + block.astype(str)
    return pd.Series(pd.factorize(names)[0], index=photos["id"].to_numpy(), name="unit")


def unit_sums(values: np.ndarray, units: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return (sums, counts), float64 [u, m], of values [q, m] over units int [q]; NaN counts as nothing."""
    known = np.isfinite(values)
    sums, counts = np.zeros((2, units.max() + 1, values.shape[1]))
    np.add.at(sums, units, np.where(known, values, 0.0))
    np.add.at(counts, units, known)
    return sums, counts


def _portions(total: int, units: int) -> Iterator[int]:
    size = max(1, CELLS_AT_ONCE // units)
    yield from (min(size, total - start) for start in range(0, total, size))


def bootstrap_means(values: np.ndarray, units: np.ndarray, *, resamples: int, seed: int) -> np.ndarray:
    """Return means of each column of values [q, m] over resampled units, float64 [resamples, m].

    Whole units int [q] are drawn with replacement; a mean is its units' sum over their count, so that large
    products weigh what they weigh in the table (Efron and Tibshirani 1993, sections 8.5 and 13.3).
    """
    sums, counts = unit_sums(values, units)
    random, share, means = np.random.default_rng(seed), np.full(len(sums), 1 / len(sums)), []
    for portion in _portions(resamples, len(sums)):
        drawn = random.multinomial(len(sums), share, size=portion).astype(float)
        with np.errstate(invalid="ignore", divide="ignore"):
            means.append((drawn @ sums) / (drawn @ counts))
    return np.concatenate(means)


def bootstrap_intervals(
    values: np.ndarray, units: np.ndarray, *, resamples: int, confidence: float, seed: int
) -> np.ndarray:
    """Return (low, high) of the mean of each column of values [q, m], float64 [2, m] (percentiles)."""
    return _ends(bootstrap_means(values, units, resamples=resamples, seed=seed), confidence)


def _ends(means: np.ndarray, confidence: float) -> np.ndarray:
    tail = (1 - confidence) / 2
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a column that nobody judged: its ends are NaN
        return np.nanquantile(means, [tail, 1 - tail], axis=0)


def intervals_of_means(
    values: np.ndarray, units: np.ndarray, settings: Resampling, *, classes: np.ndarray | None = None
) -> np.ndarray:
    """Return (low, high) of each column's mean as the settings say, float64 [2, m].

    With `classes` [q] of the mean of the classes' means (macro). A draw without any unit of a class has no
    such mean and is left out, a class that nobody judged is in none.
    """
    options = settings.model_dump(include={"resamples", "seed"})
    if classes is None:
        return _ends(bootstrap_means(values, units, **options), settings.confidence)
    of_class = [np.where((classes == name)[:, None], values, np.nan) for name in np.unique(classes)]
    means = bootstrap_means(np.concatenate(of_class, axis=1), units, **options)
    means = means.reshape(len(means), len(of_class), -1)
    unknown = np.isnan(means).all(axis=0)
    with np.errstate(invalid="ignore"):
        macro = np.where(unknown, 0, means).sum(axis=1) / (~unknown).sum(axis=0)
    return _ends(macro, settings.confidence)


def means_with_intervals(
    wide: pd.DataFrame, units: pd.Series, settings: Resampling, *, classes: pd.Series | None = None
) -> pd.DataFrame:
    """Return value, low, high, n, units of each column of `wide`, a row a column, all by the same draws.

    `wide` has a row a query, its index the photo's id, NaN where it was not judged; `units`: photo id -> what
    is resampled (`resampling_units`). n counts the queries that were judged, units what they belong to. With
    `classes`, photo id -> class, every class weighs the same (macro), else every query (micro).
    """
    values, unit, labels = wide.to_numpy(float), _units_of(wide.index, units), _labels_of(wide, classes)
    judged, value = np.isfinite(values), wide.mean()
    if labels is not None:
        value = wide.groupby(labels).mean().mean()
    low, high = intervals_of_means(values, unit, settings, classes=labels)
    counts = {"n": judged.sum(axis=0), "units": [len(np.unique(unit[column])) for column in judged.T]}
    return pd.DataFrame({"value": value, "low": low, "high": high, **counts}, index=wide.columns)


def _labels_of(wide: pd.DataFrame, classes: pd.Series | None) -> np.ndarray | None:
    return None if classes is None else classes[wide.index].to_numpy(str)


def with_seed_means(wide: pd.DataFrame) -> pd.DataFrame:
    """Return `wide`, columns (kind, model, seed), with the seeds' mean as columns (kind, model, "all")."""
    means = wide.T.groupby(level=[0, 1], sort=False).mean().T
    single = [(*column[:2], str(column[2])) for column in wide]
    columns = pd.MultiIndex.from_tuples([*single, *((*column, "all") for column in means)])
    return pd.concat([wide, means], axis=1).set_axis(columns, axis=1)


def sign_flip_p_values(
    differences: np.ndarray, units: np.ndarray, *, permutations: int, seed: int
) -> np.ndarray:
    """Return the two-sided p-value of each column of paired differences [q, m], float64 [m].

    Fisher's randomisation test: were both models alike, the sign of a unit's summed difference would be a
    coin's. p is the share of sign patterns with a total at least as far from 0, the observed one included.
    """
    sums, _ = unit_sums(differences, units)
    observed = np.abs(sums.sum(axis=0)) - ROUNDING
    random, reached = np.random.default_rng(seed), np.ones(sums.shape[1])
    for portion in _portions(permutations, len(sums)):
        signs = random.integers(0, 2, size=(portion, len(sums))) * 2.0 - 1
        reached += (np.abs(signs @ sums) >= observed).sum(axis=0)
    return reached / (permutations + 1)


def paired_differences(
    gaps: pd.DataFrame, units: pd.Series, settings: Resampling, *, classes: pd.Series | None = None
) -> pd.DataFrame:
    """Return difference, low, high, n, units, p of paired differences, a row a column of `gaps`.

    `gaps`, `units` and `classes` as in `means_with_intervals`.
    """
    table = means_with_intervals(gaps, units, settings, classes=classes)
    values, unit, labels = gaps.to_numpy(float), _units_of(gaps.index, units), _labels_of(gaps, classes)
    if (
        labels is not None
    ):  # a query weighs one over the number of its class, so that the sum is the macro mean
        values = values / gaps.groupby(labels).transform("count").to_numpy()
    options = {"permutations": settings.permutations, "seed": settings.seed}
    p = sign_flip_p_values(values, unit, **options)
    return table.rename(columns={"value": "difference"}).assign(p=p)


def holm(p_values: Sequence[float]) -> np.ndarray:
    """Return Holm's adjusted p-values, float64 [m], of p-values that are tested together (statsmodels)."""
    from statsmodels.stats.multitest import multipletests  # two seconds that only this needs

    return multipletests(p_values, method="holm")[1]


def conclude(row: Mapping, *, significance: float, doubts: Mapping[str, bool]) -> tuple[str, str]:
    """Return (HIGHER, LOWER or UNDECIDED, why it is undecided) of a paired difference.

    `row`: difference, low, high, p_holm; `doubts`: what the seeds say against it -> whether it holds.
    """
    doubts = {
        **doubts,
        f"Holm's p is not below {significance:g}": row["p_holm"] >= significance,
        "the interval holds 0": row["low"] <= 0 <= row["high"],
    }
    for doubt, holds in doubts.items():
        if holds:
            return UNDECIDED, doubt
    return (HIGHER if row["difference"] > 0 else LOWER), ""


# --- tables ----------------------------------------------------------------------------------------------


def read_queries(paths: Paths) -> pd.DataFrame:
    """Return stage evaluate's rows, one a query, model, seed and gallery."""
    kept = {"dtype": {"id": str, "label": str, "model": str, "gallery": str}, "keep_default_na": False}
    return files.read_table(paths.queries, made_by="stage evaluate", na_values=[""], **kept)


def intervals(
    queries: pd.DataFrame, units: pd.Series, settings: Resampling, *, macro: bool = False
) -> pd.DataFrame:
    """Return the interval of every model, seed, gallery and measure (columns INTERVALS).

    `queries` as stage evaluate writes them, `units` from `resampling_units`. Seed `all` is the mean over the
    seeds, query by query. n counts the queries that could be judged, units what was resampled. `macro`: every
    class weighs the same, instead of every query.
    """
    classes = classes_of(queries) if macro else None
    columns, tables = measures(queries), []
    names = pd.DataFrame.from_dict(columns, orient="index", columns=["metric", "k"])
    for (model, gallery), rows in queries.groupby(["model", "gallery"], sort=False):
        seeds = {str(seed): found.set_index("id") for seed, found in rows.groupby("seed")}
        seeds["all"] = rows.groupby("id", sort=False)[list(columns)].mean()
        for seed, found in seeds.items():
            table = names.join(means_with_intervals(found[list(columns)], units, settings, classes=classes))
            tables.append(table.assign(model=model, seed=seed, gallery=gallery))
    return pd.concat(tables, ignore_index=True)[INTERVALS]


def classes_of(queries: pd.DataFrame) -> pd.Series:
    """Return photo id -> class of the queries."""
    return queries.drop_duplicates("id").set_index("id")["label"]


def _units_of(ids: pd.Series | pd.Index, units: pd.Series) -> np.ndarray:
    if unknown := sorted(set(ids) - set(units.index)):
        raise InputError(f"queries.csv: {unknown[0]} is not in photos.csv; run stage evaluate again")
    return pd.factorize(units[ids].to_numpy())[0]


def seed_spreads(table: pd.DataFrame) -> pd.DataFrame:
    """Return mean, lowest and highest value over the training seeds from `intervals` (columns SPREADS).

    `spread` is the range; empty where there is a single training seed, 0 where nothing is random (seed 0).
    """
    single = table[table["seed"] != "all"].groupby(["model", *MEASURE], sort=False)
    spreads = single["value"].agg(seeds="size", mean="mean", low="min", high="max").reset_index()
    fixed = single["seed"].agg(lambda seeds: set(seeds) == {"0"}).to_numpy()
    spread = spreads["high"] - spreads["low"]
    return spreads.assign(spread=spread.where((spreads["seeds"] > 1) | fixed))[SPREADS]


def differences(
    queries: pd.DataFrame,
    units: pd.Series,
    spreads: pd.DataFrame,
    settings: Resampling,
    *,
    untrained: Collection[str] = (),
    macro: bool = False,
) -> pd.DataFrame:
    """Return each model's paired difference from the proposed one (columns DIFFERENCES).

    A difference is model minus proposed, both as means over their seeds, on the same queries and the same
    gallery; a model judged on other photos is listed and not compared, and so is one of `untrained`. p-values
    are Holm's within one gallery and measure (Holm 1979). `higher` or `lower` needs p_holm below the level,
    an interval without 0, and a gap above the seeds' range of either model. `macro` as in `intervals`.
    """
    classes = classes_of(queries) if macro else None
    spread, tables = spreads.set_index(["model", *MEASURE])["spread"], []
    for gallery, rows in queries.groupby("gallery", sort=False):
        asked = rows.groupby("model", sort=False)["id"].agg(frozenset)
        if PROPOSED not in asked:
            raise InputError(f"queries.csv: no rows of {PROPOSED}, against which the others are compared")
        reasons = {model: _why_not(model, asked, untrained) for model in asked.index if model != PROPOSED}
        for column, (metric, k) in measures(queries).items():
            wide = rows.pivot_table(index="id", columns="model", values=column, aggfunc="mean", sort=False)
            compared = [model for model, reason in reasons.items() if not reason]
            wide = wide.reindex(index=sorted(asked[PROPOSED]), columns=[*compared, PROPOSED])
            gaps = wide[compared].sub(wide[PROPOSED], axis=0)
            table = pd.DataFrame(index=list(reasons))
            if compared:
                paired = paired_differences(gaps, units, settings, classes=classes)
                table = table.join(paired.assign(p_holm=holm(paired["p"])))
            seeds = [spread.get((model, gallery, metric, k), np.nan) for model in (*reasons, PROPOSED)]
            table = table.assign(seed_spread=np.maximum(seeds[:-1], seeds[-1]), reason=reasons)
            tables.append(
                table.rename_axis("model").reset_index().assign(gallery=gallery, metric=metric, k=k)
            )
    table = pd.concat(tables, ignore_index=True).reindex(columns=DIFFERENCES)
    concluded = [_concluded(row, significance=settings.significance) for row in table.to_dict("records")]
    table[["conclusion", "reason"]] = concluded
    return table


def _why_not(model: str, asked: pd.Series, untrained: Collection[str]) -> str:
    """Return why a model cannot be compared with the proposed one; `asked`: model -> its queries."""
    if model in untrained:
        return "no ImageNet weights here: drawn at random, so outside every conclusion"
    if asked[model] == asked[PROPOSED]:
        return ""
    return (
        f"judged on {len(asked[model]):,} of {len(asked[PROPOSED]):,} test photos, so its gallery "
        "differs: a paired difference needs the same queries and the same gallery"
    )


def _concluded(row: dict, *, significance: float) -> tuple[str, str]:
    """Return (conclusion, reason) of one row of differences."""
    if row["reason"] or not np.isfinite(row["difference"]):
        return NOT_COMPARED, row["reason"] or "no query could be judged"
    doubts = {
        "one training seed: its spread is unknown": not np.isfinite(row["seed_spread"]),
        "the gap is not larger than the spread of the seeds": abs(row["difference"]) <= row["seed_spread"],
    }
    return conclude(row, significance=significance, doubts=doubts)
