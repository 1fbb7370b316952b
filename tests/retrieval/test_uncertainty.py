"""Intervals, tests and differences against worked numbers, plain loops, scipy and ranx."""

import itertools
import json
import os
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import scipy.stats

from solesearch.core.errors import InputError
from solesearch.retrieval import uncertainty
from solesearch.retrieval.uncertainty import Resampling, bootstrap_intervals, sign_flip_p_values

SETTINGS = Resampling(resamples=400, permutations=999, confidence=0.95, significance=0.05, seed=1)


def queries(**models: list[list[float]]) -> pd.DataFrame:
    """Return queries of one gallery: a list of precisions for each seed of each model."""
    rows = []
    for model, seeds in models.items():
        for number, values in enumerate(seeds, start=1 if len(seeds) > 1 else 0):
            rows += [
                (f"{place:02d}", "a", value, value, model, number, "naive")
                for place, value in enumerate(values)
            ]
    columns = ["id", "label", "precision_5", "average_precision", "model", "seed", "gallery"]
    return pd.DataFrame(rows, columns=columns)


def one_a_unit(count: int) -> pd.Series:
    return pd.Series(range(count), index=[f"{place:02d}" for place in range(count)])


def tables(table: pd.DataFrame, units: pd.Series, **options) -> tuple[pd.DataFrame, pd.DataFrame]:
    spreads = uncertainty.seed_spreads(uncertainty.intervals(table, units, SETTINGS))
    compared = uncertainty.differences(table, units, spreads, SETTINGS, **options)
    return spreads, compared[compared["metric"] == "precision"].set_index("model")


def test_units_are_products_or_blocks_of_positions() -> None:
    photos = pd.DataFrame({"id": list("abcd"), "group": ["x", "x", "y", "y"], "position": 0})
    assert uncertainty.resampling_units(photos, window=0).tolist() == [0, 0, 1, 1]
    series = pd.DataFrame({"id": list("abcdef"), "group": "x", "position": [0, 4, 10, 11, 21, 22]})
    assert uncertainty.resampling_units(series, window=5).tolist() == [0, 0, 0, 1, 1, 2]


def test_every_resample_of_two_units_by_hand() -> None:
    """Units of 1 and 3 queries: the means of the four draws are 0, 3/4, 3/4 and 1."""
    values, units = np.array([[0.0], [1.0], [1.0], [1.0]]), np.array([0, 1, 1, 1])
    low, high = bootstrap_intervals(values, units, resamples=20_000, confidence=0.98, seed=3)
    assert (low[0], high[0]) == (0.0, 1.0)
    middle = bootstrap_intervals(values, units, resamples=20_000, confidence=0.4, seed=3)
    assert middle[:, 0].tolist() == [0.75, 0.75]  # half of all draws; 30 % to 70 % lie inside


def test_interval_agrees_with_scipy_where_every_unit_is_one_query() -> None:
    values = np.random.default_rng(0).random(120)
    ours = bootstrap_intervals(values[:, None], np.arange(120), resamples=4000, confidence=0.9, seed=1)
    theirs = scipy.stats.bootstrap(
        (values,), np.mean, n_resamples=4000, confidence_level=0.9, method="percentile",
        rng=np.random.default_rng(2),
    ).confidence_interval  # fmt: skip
    assert ours[:, 0] == pytest.approx([theirs.low, theirs.high], abs=0.004)


def test_units_of_alike_queries_widen_the_interval() -> None:
    """Ten copies of each of 20 values are 20 observations, not 200."""
    values = np.repeat(np.random.default_rng(0).random(20), 10)[:, None]
    options = {"resamples": 2000, "confidence": 0.95, "seed": 1}
    apart = np.diff(bootstrap_intervals(values, np.arange(200), **options), axis=0)
    together = np.diff(bootstrap_intervals(values, np.repeat(np.arange(20), 10), **options), axis=0)
    assert together[0, 0] / apart[0, 0] == pytest.approx(np.sqrt(10), rel=0.15)


def test_sign_flips_against_every_pattern() -> None:
    """Sums of 1, 2 and 3: of eight patterns two reach |6|, so p is 1/4; with -3 six reach 0: p is 1."""
    differences, units = np.array([[0.5, 1], [0.5, 0], [2, 2], [3, -3]]), np.array([0, 0, 1, 2])
    p = sign_flip_p_values(differences, units, permutations=40_000, seed=0)
    sums = np.array([[1, 2, 3], [1, 2, -3]])
    for column, wanted in zip(sums, p, strict=True):
        patterns = [np.dot(signs, column) for signs in itertools.product((1, -1), repeat=3)]
        assert np.mean(np.abs(patterns) >= abs(column.sum())) == pytest.approx(wanted, abs=0.01)
    assert p == pytest.approx([0.25, 1.0], abs=0.01)


RANX = """
import json, sys
from ranx import Qrels, Run, compare
given = json.load(sys.stdin)
runs = [Run(run, name=name) for name, run in given["runs"].items()]
report = compare(Qrels(given["qrels"]), runs, ["precision@5", "map"], "fisher", n_permutations=4000, rounding_digits=9)
found = report.to_dict()
print(json.dumps({"scores": {name: found[name]["scores"] for name in given["runs"]},
                  "p": found["a"]["comparisons"]["b"]["precision@5"]}))
"""  # noqa: E501


def test_measure_and_paired_test_agree_with_ranx() -> None:
    """An independent library ranks, measures and tests the same distances (compiling it takes a minute)."""
    from solesearch.retrieval.retrieval import evaluate

    draw = np.random.default_rng(7)
    label = np.array(list("xy") * 15)
    photos = pd.DataFrame({"id": [f"{n:02d}" for n in range(30)], "label": label})
    photos = photos.assign(group=photos["id"], position=0)
    vectors = {
        name: (draw.standard_normal((30, 3)) + pull * (label == "x")[:, None]).astype(np.float32)
        for name, pull in (("a", 1.2), ("b", 0.5))
    }
    judged = {n: evaluate(v, photos, gallery="naive", window=0, ks=[5]) for n, v in vectors.items()}
    given = {
        "qrels": {
            i: {j: 1 for j, b in zip(photos["id"], label, strict=True) if b == a and j != i}
            for i, a in zip(photos["id"], label, strict=True)
        },
        "runs": {
            name: {
                photos["id"][i]: {
                    photos["id"][j]: -float(np.linalg.norm(v[i] - v[j])) for j in range(30) if j != i
                }
                for i in range(30)
            }
            for name, v in vectors.items()
        },
    }
    ended = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", RANX], input=json.dumps(given), capture_output=True, text=True,
        check=False, env={**os.environ, "NUMBA_DISABLE_JIT": "1"},
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr[-2000:]
    theirs = json.loads(ended.stdout.strip().splitlines()[-1])
    for name, table in judged.items():
        assert theirs["scores"][name]["precision@5"] == pytest.approx(table["precision_5"].mean())
        assert theirs["scores"][name]["map"] == pytest.approx(table["average_precision"].mean(), abs=1e-6)
    gaps = (judged["a"]["precision_5"] - judged["b"]["precision_5"]).to_numpy()[:, None]
    ours = sign_flip_p_values(gaps, np.arange(30), permutations=9999, seed=0)[0]
    assert ours == pytest.approx(theirs["p"], abs=0.03)


def test_interval_rows_by_hand() -> None:
    table = queries(infogan=[[1.0, 0.0, 1.0, np.nan], [1.0, 1.0, 1.0, np.nan]])
    found = uncertainty.intervals(table, one_a_unit(4), SETTINGS)
    rows = found[found["metric"] == "precision"].set_index("seed")
    assert rows["value"].to_dict() == pytest.approx({"1": 2 / 3, "2": 1.0, "all": 5 / 6})
    assert rows["n"].tolist() == [3, 3, 3]
    assert rows["units"].tolist() == [3, 3, 3]
    assert (rows["low"] <= rows["value"]).all() and (rows["value"] <= rows["high"]).all()
    assert (rows.loc["2", "low"], rows.loc["2", "high"]) == (1.0, 1.0)
    spread = uncertainty.seed_spreads(found).set_index("metric").loc["precision"]
    assert (spread["seeds"], spread["mean"], spread["spread"]) == (
        2,
        pytest.approx(5 / 6),
        pytest.approx(1 / 3),
    )


def test_spread_of_one_seed_is_unknown_so_nothing_is_claimed_and_of_none_is_zero() -> None:
    rows = [queries(infogan=[[0.1] * 30]).assign(seed=1), queries(hog=[[0.9] * 30])]
    spreads, found = tables(pd.concat(rows, ignore_index=True), one_a_unit(30))
    spread = spreads[spreads["metric"] == "precision"].set_index("model")["spread"]
    assert np.isnan(spread["infogan"]) and spread["hog"] == 0
    assert found.loc["hog", "conclusion"] == "undecided"


def test_clear_difference_is_told_and_corrected_by_holm() -> None:
    better, same = [0.9] * 30, [0.5] * 30
    table = queries(infogan=[same, same], hog=[better], pixels=[same])
    _, found = tables(table, one_a_unit(30))
    assert found["difference"].to_dict() == pytest.approx({"hog": 0.4, "pixels": 0.0})
    assert found["conclusion"].to_dict() == {"hog": "higher", "pixels": "undecided"}
    assert found["p"]["hog"] == pytest.approx(1 / 1000)
    assert found["p_holm"].to_dict() == pytest.approx({"hog": 2 / 1000, "pixels": 1.0})
    assert uncertainty.holm([0.01, 0.04, 0.03]).tolist() == pytest.approx([0.03, 0.06, 0.06])


def test_gap_below_the_seed_spread_is_never_claimed() -> None:
    """A gap of 0.1 on every query is certain for these photos, but the seeds lie 0.3 apart."""
    table = queries(infogan=[[0.35] * 30, [0.65] * 30], hog=[[0.6] * 30])
    _, found = tables(table, one_a_unit(30))
    assert found.loc["hog", "p_holm"] < 0.01
    assert found.loc["hog", "seed_spread"] == pytest.approx(0.3)
    assert (found.loc["hog", "conclusion"], found.loc["hog", "reason"]) == (
        "undecided", "the gap is not larger than the spread of the seeds",
    )  # fmt: skip


def test_networks_on_other_photos_or_without_weights_are_not_compared() -> None:
    whole = [0.5] * 20
    table = queries(infogan=[whole, whole], VGG16=[[0.9] * 10], ResNet50=[[0.9] * 20], hog=[[0.9] * 20])
    _, found = tables(table, one_a_unit(20), untrained={"ResNet50"})
    assert found["conclusion"].to_dict() == {
        "VGG16": "not compared", "ResNet50": "not compared", "hog": "higher",
    }  # fmt: skip
    assert "10 of 20 test photos" in found.loc["VGG16", "reason"]
    assert "no ImageNet weights" in found.loc["ResNet50", "reason"]
    assert found.loc["hog", "p_holm"] == found.loc["hog", "p"]  # nothing else was tested beside it


def classed(**classes: list[float]) -> tuple[pd.DataFrame, pd.Series]:
    """Return values [q] in one column, a row a query, and photo id -> class."""
    labels = [name for name, values in classes.items() for _ in values]
    ids = [f"{place:02d}" for place in range(len(labels))]
    values = [value for row in classes.values() for value in row]
    return pd.DataFrame({"model": values}, index=ids), pd.Series(labels, index=ids)


def test_every_class_weighs_the_same_in_a_macro_mean() -> None:
    """Nine boots found and three flats not: half, where three quarters of the queries are found."""
    wide, classes = classed(boots=[1.0] * 9, flats=[0.0] * 3)
    for macro, value in ((None, 0.75), (classes, 0.5)):
        found = uncertainty.means_with_intervals(wide, one_a_unit(12), SETTINGS, classes=macro)
        assert found.loc["model", "value"] == pytest.approx(value)
    assert (found.loc["model", "low"], found.loc["model", "high"]) == (0.5, 0.5)  # no class varies within


def test_macro_intervals_are_those_of_a_plain_loop() -> None:
    random = np.random.default_rng(4)
    wide, classes = classed(boots=random.random(40).tolist(), flats=random.random(6).tolist())
    units = pd.Series(np.repeat(np.arange(23), 2), index=wide.index)  # two photos a product
    found = uncertainty.means_with_intervals(wide, units, SETTINGS, classes=classes).loc["model"]
    draws = []
    for _ in range(4000):
        rows = np.concatenate([np.flatnonzero(units == unit) for unit in random.integers(23, size=23)])
        means = wide["model"].iloc[rows].groupby(classes.iloc[rows].to_numpy()).mean()
        draws.append(means.mean())
    assert [found["low"], found["high"]] == pytest.approx(np.quantile(draws, [0.025, 0.975]), abs=0.03)


def test_a_macro_difference_follows_the_small_class() -> None:
    """Better on every photo of the large class, worse on all of the small one, by more."""
    gaps, classes = classed(boots=[0.1] * 60, flats=[-0.5] * 20)
    micro, macro = (
        uncertainty.paired_differences(gaps, one_a_unit(80), SETTINGS, classes=way).loc["model"]
        for way in (None, classes)
    )
    assert (micro["difference"], macro["difference"]) == pytest.approx((-0.05, -0.2))
    assert macro["p"] < 0.01 and macro["high"] < 0
    even, _ = classed(boots=[0.1, -0.1] * 30, flats=[-0.1, 0.1] * 10)
    assert uncertainty.paired_differences(even, one_a_unit(80), SETTINGS, classes=classes)["p"].item() > 0.9


def test_photo_that_left_the_catalogue_is_named() -> None:
    with pytest.raises(InputError, match=r"01 is not in photos\.csv"):
        uncertainty.intervals(queries(infogan=[[1.0, 0.0]]), one_a_unit(1), SETTINGS)
