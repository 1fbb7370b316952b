"""Effects of the ablation, paired by hand: photo by photo, seed by seed, with Holm's correction."""

import numpy as np
import pandas as pd
import pytest

from solesearch.beyond.effects import (
    Comparison,
    Model,
    decide,
    effects,
    seed_differences,
    untrained_twin,
)
from solesearch.core.errors import InputError
from solesearch.retrieval.uncertainty import Resampling

SETTINGS = Resampling(resamples=400, permutations=999, confidence=0.95, significance=0.05, seed=1)


def answers(
    values: dict[tuple[str, str, int], list[float]], *, split: str = "validation", megabytes: float = 1.0
) -> pd.DataFrame:
    """Return queries: for each (variant, recipe, seed) the precision of photos 0, 1, ..."""
    rows = [
        (variant, recipe, seed, split, str(photo), value, 8, megabytes)
        for (variant, recipe, seed), found in values.items()
        for photo, value in enumerate(found)
    ]
    names = ["variant", "recipe", "seed", "split", "id", "value", "dimensions", "megabytes"]
    return pd.DataFrame(rows, columns=names)


def test_an_effect_is_paired_by_photo_and_seed() -> None:
    """Seeds 1 and 2 are on both sides, 3 on one; photo by photo the gaps are .1, .3 and 0, .2."""
    queries = answers({
        ("a", "plain", 1): [0.6, 0.9], ("a", "plain", 2): [0.5, 0.9], ("a", "plain", 3): [0, 0],
        ("b", "plain", 1): [0.5, 0.6], ("b", "plain", 2): [0.5, 0.7], ("hog", "", 0): [0.2, 0.4],
    })  # fmt: skip
    a, b, hog = Model("a", "plain"), Model("b", "plain"), Model("hog", "")
    wide = queries.pivot_table(index="id", columns=["variant", "recipe", "seed"], values="value")
    gaps = seed_differences(wide, a, b)
    assert gaps.columns.tolist() == [1, 2]
    np.testing.assert_allclose(gaps.to_numpy(), [[0.1, 0], [0.3, 0.2]])
    pairs = [("one", a, b), ("two", b, hog), ("two", hog, b)]
    compared = [Comparison(rung, "validation", *pair) for rung, *pair in pairs]
    classes = pd.Series(["x", "x"], index=["0", "1"])
    both = effects(queries, compared, pd.Series([0, 1], index=["0", "1"]), SETTINGS, classes=classes)
    table = both[both["average"] == "micro"].reset_index(drop=True)
    first = table.iloc[0]
    assert (first["difference"], first["seed_low"], first["seed_high"]) == pytest.approx((0.15, 0.1, 0.2))
    assert (first["low"], first["high"]) == pytest.approx((0.05, 0.25))  # one photo's gap, or the other's
    assert (first["seeds"], first["n"], first["units"]) == ("1 2", 2, 2)
    assert table["difference"].tolist()[1:] == pytest.approx([0.275, -0.275])
    assert (table["p"] > 0.3).all()  # of four sign patterns two are as far
    assert table["verdict"].tolist() == ["undecided"] * 3
    with pytest.raises(InputError, match="no seed in common"):
        seed_differences(wide[[("a", "plain", 3), ("b", "plain", 1)]], a, b)


def test_a_clear_effect_is_decided_and_holm_counts_its_rung_alone() -> None:
    draw = np.random.default_rng(0)
    low, gap = draw.uniform(0, 0.4, 60), draw.uniform(0.05, 0.4, 60)
    queries = answers({("a", "plain", seed): list(low + gap) for seed in (1, 2)}
                      | {("b", "plain", seed): list(low) for seed in (1, 2)})  # fmt: skip
    pair = (Model("a", "plain"), Model("b", "plain"))
    compared = [Comparison("alone", "validation", *pair)]
    compared += [Comparison("many", "validation", *pair), Comparison("many", "validation", *pair[::-1])]
    ids = [str(photo) for photo in range(60)]
    units, classes = (pd.Series(values, index=ids) for values in (range(60), ["x", *["y"] * 59]))
    both = effects(queries, compared, units, SETTINGS, classes=classes)
    table = both[both["average"] == "micro"]
    assert table["verdict"].tolist() == ["higher", "higher", "lower"]
    assert table["p"].tolist() == pytest.approx([0.001] * 3)  # none of 999 sign patterns is as far
    assert table["p_holm"].tolist() == pytest.approx([0.001, 0.002, 0.002])
    macro = both[both["average"] == "macro"].iloc[0]  # one photo weighs as much as the other 59
    wanted = (gap[0] + gap[1:].mean()) / 2
    assert (macro["difference"], macro["seed_low"], macro["seed_high"]) == pytest.approx((wanted,) * 3)


@pytest.mark.parametrize(
    ("change", "verdict", "reason"),
    [
        ({}, "higher", ""),
        ({"seeds": "0"}, "higher", ""),  # nothing drawn on either side
        ({"seeds": "3"}, "undecided", "one training seed"),
        ({"seed_low": -0.01}, "undecided", "seeds do not agree"),
        ({"p_holm": 0.05}, "undecided", "Holm's p is not below 0.05"),
        ({"low": -0.001}, "undecided", "the interval holds 0"),
        ({"difference": -0.1, "low": -0.2, "high": -0.05, "seed_low": -0.2, "seed_high": -0.1}, "lower", ""),
    ],
)
def test_decide(change: dict, verdict: str, reason: str) -> None:
    row = {"seeds": "1 2", "seed_low": 0.05, "seed_high": 0.2, "p_holm": 0.01, "low": 0.05, "high": 0.2}
    found = decide({**row, "difference": 0.1, **change}, significance=0.05)
    assert found[0] == verdict and reason in found[1]


def test_edges_have_an_untrained_twin_of_their_own() -> None:
    """Edges help before anything is trained, so a drawn discriminator is no fair opponent."""
    assert untrained_twin("contrastive_gradients") == "untrained_gradients"
    assert untrained_twin("infogan") == untrained_twin("paper") == "untrained"
    assert untrained_twin("dictionary") == untrained_twin("untrained_dictionary") == "untrained_dictionary"
