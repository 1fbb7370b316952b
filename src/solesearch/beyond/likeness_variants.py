"""The ablation's trainings among the models whose likeness is judged: C compared several GANs, too.

Stage ladder keeps what it trained as trunks; the test photos are embedded here, with the method that the
model stands for. TensorFlow starts with this module, so the tables and charts of likeness do without it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import pandas as pd

from solesearch.beyond.ablation import Ablation
from solesearch.beyond.effects import Model, finalist_rows
from solesearch.beyond.methods import PLAIN
from solesearch.beyond.post_processing import photo_vectors
from solesearch.core import files
from solesearch.evaluation import study

# Model of the tables -> variant of section `ladder`, all on its short schedule, so InfoGAN is there once more
GANS = {"infogan_short": "infogan", "vanilla": "vanilla", "dcgan": "dcgan"}
FINALIST = "finalist_"  # and its place, by validation photos: who it is differs from run to run

Compared = Mapping[str, tuple[Model, list[int]]]  # model -> weights and method, seeds


def trained_gans(opened: Ablation) -> dict[str, tuple[Model, list[int]]]:
    """Return the GANs of GANS that the profile trains (ladder.variants), by the paper's own plain vector."""
    there = opened.trainings.settings.variants
    return {
        name: (Model(variant, PLAIN), opened.seeds(variant, split="validation"))
        for name, variant in GANS.items()
        if variant in there
    }


def finalists(opened: Ablation) -> dict[str, tuple[Model, list[int]]]:
    """Return the label-free models that validation photos chose, by ladder.csv: finalist_1, the best, ..."""
    table = files.read_table(opened.study.paths.result("ladder"), made_by="stage ladder")
    rows = finalist_rows(table).itertuples()
    models = {int(row.finalist): Model(row.variant, row.recipe) for row in rows}
    return {
        f"{FINALIST}{place}": (model, opened.seeds(model.variant, split="test"))
        for place, model in models.items()
    }


def trunk_vectors(opened: Ablation, model: Model, *, seed: int) -> np.ndarray:
    """Return the test photos' vectors, float32 [n, d], by a trunk and a method, fitted as in the ladder.

    Raises InputError where the training is not there.
    """
    (network, fitted), (_, pixels) = opened.fitted(model, seed=seed), opened.study.split("test")
    [vectors] = photo_vectors(network, pixels, [fitted.method]).values()
    return fitted.finish(vectors).numpy()


def compared_vectors(
    opened: Ablation, others: Compared
) -> Iterator[tuple[str, int, pd.DataFrame, np.ndarray]]:
    """Yield (model, seed, its test photos [n], their vectors [n, d]): the study's models, then `others`."""
    for model, seed in study.models(opened.study):
        yield model, seed, *study.model_vectors(opened.study, model, seed=seed)
    photos, _ = opened.study.split("test")
    for name, (model, seeds) in others.items():
        for seed in seeds:
            yield name, seed, photos, trunk_vectors(opened, model, seed=seed)
