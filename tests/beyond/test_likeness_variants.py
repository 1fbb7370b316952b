"""The ablation's models among those whose likeness is judged: which, by what vectors, what is left out."""

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from small_world import open_small_study

from solesearch.beyond.ablation import Ablation, judge_trunk, precision
from solesearch.beyond.effects import Model
from solesearch.beyond.likeness_variants import compared_vectors, finalists, trained_gans, trunk_vectors
from solesearch.beyond.methods import JudgingSettings
from solesearch.beyond.variant_training import VariantTrainings
from solesearch.beyond.variants import VariantSettings
from solesearch.core import files
from solesearch.core.errors import InputError
from solesearch.gan.infogan import build_discriminator
from solesearch.networks.comparison import OVERVIEW

JUDGING = {
    "recipes": ["plain", "whitened"], "layers": [1, 2], "lower_layers": [1, 2], "first_layers": [1],
    "whitened_dimensions": 2, "shrinkage": 0.0,
}  # fmt: skip


@pytest.fixture
def opened(workspace: Path) -> Ablation:
    """A small study; the ablation trained vanilla of two seeds, which are drawn weights here; no dcgan."""
    study = open_small_study()
    study = dataclasses.replace(study, evaluation=study.evaluation.replaced(choose_k=1))
    settings = VariantSettings.load("smoke", variants=["vanilla", "ema"], seeds=[1, 2], finalist_seeds=[3])
    trainings = VariantTrainings("smoke", settings)
    trainings.trunk = lambda variant, seed: build_discriminator(study.gan, seed=seed + 100)
    rows = [
        ("ema", "whitened", 2.0, "a"),
        ("ema", "whitened", 2.0, "all"),
        ("untrained", "whitened", 1.0, "1"),
    ]
    rows += [("paper", "plain", np.nan, "1"), ("hog", "", np.nan, "0")]
    table = pd.DataFrame(rows, columns=["variant", "recipe", "finalist", "seed"])
    files.write_table(study.paths.result("ladder"), table)
    files.write_table(study.paths.networks / "networks.csv", pd.DataFrame(columns=OVERVIEW))
    return Ablation(study, JudgingSettings.load("smoke", **JUDGING), trainings)


def test_trained_gans_and_finalists_are_compared_and_others_left_out(opened: Ablation) -> None:
    """Of the GANs only vanilla is among ladder.variants; ema comes as the second finalist."""
    assert trained_gans(opened) == {"vanilla": (Model("vanilla", "plain"), [1, 2])}
    assert finalists(opened) == {
        "finalist_1": (Model("untrained", "whitened"), [1, 3]),
        "finalist_2": (Model("ema", "whitened"), [3]),
    }


def test_an_ablation_that_has_not_run_is_named(opened: Ablation) -> None:
    opened.study.paths.result("ladder").unlink()
    with pytest.raises(InputError, match=r"ladder\.csv.*ladder"):
        finalists(opened)


@pytest.mark.parametrize("recipe", ["plain", "whitened"])
def test_vectors_are_those_that_the_ablation_judges(opened: Ablation, recipe: str) -> None:
    vectors = trunk_vectors(opened, Model("vanilla", recipe), seed=2)
    photos, _ = opened.study.split("test")
    assert len(vectors) == 12 and (vectors.shape[1] == 2) == (recipe == "whitened")
    judged = judge_trunk(opened, "vanilla", 2, [recipe], split="test")
    assert judged["value"].tolist() == precision(opened.study, vectors, photos)["value"].tolist()


def test_all_models_come_with_their_photos(opened: Ablation) -> None:
    found = list(compared_vectors(opened, trained_gans(opened)))
    assert [(model, seed) for model, seed, *_ in found][-2:] == [("vanilla", 1), ("vanilla", 2)]
    assert {"infogan", "untrained_discriminator", "hog", "random"} < {model for model, *_ in found}
    assert all(len(photos) == len(vectors) == 12 for _, _, photos, vectors in found)
    assert not np.array_equal(found[-1][3], found[-2][3])
