"""The ladder's committed tables: precision with intervals, effects, goals, and what a model costs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from solesearch.beyond.feature_recipes import SINGLE_IDEAS, FittedRecipe, embedding_function, fit_recipe
from solesearch.beyond.ladder import RIVAL, Ladder, both_ways, control_names, tested_models
from solesearch.beyond.ladder_effects import (
    FINALIST,
    HIGHER,
    PAPER,
    PLAIN,
    UNTRAINED,
    UNTRAINED_EDGES,
    Key,
    effects,
    tested_comparisons,
    untrained_twin,
    validation_comparisons,
)
from solesearch.core import files
from solesearch.core.model_names import model_name
from solesearch.core.paths import Paths
from solesearch.cost.latency import time_calls
from solesearch.evaluation.study import read_chosen
from solesearch.gan.trainer import TrainingFolder
from solesearch.retrieval.controls import CONTROLS, control_features
from solesearch.retrieval.uncertainty import Resampling, bootstrap_intervals, resampling_units

SPLITS = ("validation", "test")
QUERIES = ["variant", "recipe", "seed", "split", "id", "value"]
MODELS = ["variant", "recipe", "dimensions", "megabytes"]
LADDER = [
    *("rung", "group", "variant", "recipe", "title", "seed", "split", "gallery", "k", "value", "low", "high"),
    *("n", "dimensions", "seconds", "megabytes", "ms_per_photo", "needs_labels", "finalist"),
]
EFFECTS = [
    *("rung", "split", "variant", "recipe", "against", "against_recipe", "gallery", "k", "difference", "low"),
    *("high", "p", "p_holm", "seeds", "seed_low", "seed_high", "n", "units", "verdict", "reason"),
]
GOALS = ["goal", "model", "wanted", "measured", "low", "high", "reached", "note"]


# --- what a model costs ----------------------------------------------------------------------------------


def export(ladder: Ladder, key: Key, *, seed: int) -> tuple[bytes, FittedRecipe, Any]:
    """Return a trunk with a fitted recipe as one ONNX file, with the recipe and the network it came from."""
    from solesearch.cost.onnx_model import export_features

    network, recipe = ladder.trunk(key.variant, seed), ladder.recipes[key.recipe]
    training = ({}, None)
    if recipe.whitened:
        training = both_ways(network, ladder.fitting_pixels, [recipe])
    fitted = fit_recipe(recipe, *training)
    size = ladder.study.gan.image_size
    return export_features(embedding_function(network, fitted, image_size=size)), fitted, network


def measure_costs(ladder: Ladder, keys: Sequence[Key], *, best: Key) -> pd.DataFrame:
    """Return variant, recipe, megabytes of the ONNX file and milliseconds a photo (batch 1, median).

    Weights do not change either, so each recipe is exported and timed once for each kind of trunk. The file
    of `best` is kept: runs/<profile>/ladder/best.onnx.
    """
    from solesearch.cost.onnx_model import save_onnx
    from solesearch.cost.plain_onnx import with_plain_names

    seeds, found = ladder.training.finalist_seeds, {}
    ordered = sorted(dict.fromkeys(keys), key=lambda key: key != best)  # the best one's file is the kept one
    for key in ordered:
        kind = (untrained_twin(key.variant), key.recipe)
        if kind not in found:
            seed = ladder.study.seeds[0] if key.variant == PAPER else seeds[0]
            content, *_ = export(ladder, key, seed=seed)
            if key == best:
                save_onnx(best_file(ladder.study.paths), with_plain_names(content))
            found[kind] = (len(content) / 1e6, milliseconds(ladder, content))
    rows = [(*key, *found[untrained_twin(key.variant), key.recipe]) for key in dict.fromkeys(keys)]
    return pd.DataFrame(rows, columns=["variant", "recipe", "megabytes", "ms_per_photo"])


def best_file(paths: Paths) -> Path:
    """Return where the best finalist's ONNX file is kept."""
    return paths.ladder / "best.onnx"


def milliseconds(ladder: Ladder, content: bytes) -> float:
    """Return the median milliseconds of one photo in ONNX Runtime, by the protocol of section `latency`."""
    from solesearch.cost.onnx_model import OnnxModel
    from solesearch.photos.photo import to_signed

    model, timing = OnnxModel(content, threads=ladder.latency.threads), ladder.latency
    photo = to_signed(np.asarray(ladder.study.pixels[:1]))
    seconds = time_calls(lambda: model.embed(photo), warm_up=timing.warm_up, runs=timing.runs)
    return float(np.median(seconds)) * 1000


def control_costs(ladder: Ladder, names: Sequence[str]) -> pd.DataFrame:
    """Return the controls' megabytes and milliseconds: hand-made ones timed here, networks by latency.csv.

    A network's time is ONNX Runtime's where it was measured there, else empty.
    """
    path, timing, rows = ladder.study.paths.result("latency"), ladder.latency, []
    known = files.read_table(path, made_by="stage networks")
    known = known[(known["runtime"] == "ONNX Runtime") & (known["batch"] == 1)].set_index("model")
    photo = np.asarray(ladder.study.pixels[:1])
    for name in names:
        if name in CONTROLS:
            seconds = time_calls(
                lambda name=name: control_features(name, photo), warm_up=timing.warm_up, runs=timing.runs
            )
            rows.append((name, "", 0.0, float(np.median(seconds)) * 1000))
        elif name in known.index:
            rows.append((name, "", known["file_mb"][name], known["median_ms"][name]))
    return pd.DataFrame(rows, columns=["variant", "recipe", "megabytes", "ms_per_photo"])


# --- the tables ------------------------------------------------------------------------------------------


def rung_of(key: Key) -> tuple[str, str]:
    """Return (rung, group) of a model."""
    if key.recipe == "" or key == Key(UNTRAINED, PLAIN):
        return "controls", "control"
    if key == Key(PAPER, PLAIN):
        return "the paper's recipe", "paper"
    if key.variant in (PAPER, UNTRAINED):
        alone = key.recipe in SINGLE_IDEAS
        return ("one recipe idea", "post-hoc") if alone else ("recipe ideas together", "together")
    return ("one training idea", "training") if key.recipe == PLAIN else ("training and recipe", "together")


def ladder_table(
    ladder: Ladder,
    queries: pd.DataFrame,
    *,
    trained: pd.DataFrame,
    costs: pd.DataFrame,
    finalists: Sequence[Key],
) -> pd.DataFrame:
    """Return ladder.csv: a row a model, seed (`all`: their mean, query by query) and split; columns LADDER.

    megabytes is the ONNX file where one was made, else the numbers in float32. `finalist` is the place by
    validation, empty for all others.
    """
    units = resampling_units(ladder.study.photos, window=ladder.study.evaluation.exclusion_window)
    table = pd.concat(
        [
            interval_rows(rows, units, ladder.resampling).assign(split=split)
            for split, rows in queries.groupby("split", sort=False)
        ],
        ignore_index=True,
    )
    models = queries.drop_duplicates(["variant", "recipe"])[MODELS]
    table = table.merge(models, on=["variant", "recipe"]).merge(
        costs, on=["variant", "recipe"], how="left", suffixes=("", "_file")
    )
    table["megabytes"] = table["megabytes_file"].fillna(table["megabytes"])
    keys = [Key(*pair) for pair in zip(table["variant"], table["recipe"], strict=True)]
    seconds = training_seconds(ladder, trained)
    place = {key: str(number) for number, key in enumerate(finalists, start=1)}
    rule = ladder.study.evaluation
    return table.assign(
        rung=[rung_of(key)[0] for key in keys],
        group=[rung_of(key)[1] for key in keys],
        title=[ladder.title(key) for key in keys],
        gallery=rule.choose_gallery,
        k=rule.choose_k,
        seconds=[seconds.get(pair, np.nan) for pair in zip(table["variant"], table["seed"], strict=True)],
        needs_labels=[ladder.needs_labels(key.variant) for key in keys],
        finalist=[place.get(key, "") for key in keys],
    )[LADDER]


def interval_rows(queries: pd.DataFrame, units: pd.Series, settings: Resampling) -> pd.DataFrame:
    """Return variant, recipe, seed (str), value, low, high, n of every column of one split's queries."""
    wide = queries.pivot_table(index="id", columns=["variant", "recipe", "seed"], values="value", sort=False)
    means = wide.T.groupby(level=["variant", "recipe"], sort=False).mean().T
    columns = [(*column[:2], str(column[2])) for column in wide] + [(*column, "all") for column in means]
    values = np.concatenate([wide.to_numpy(), means.to_numpy()], axis=1)
    low, high = bootstrap_intervals(
        values,
        pd.factorize(units[wide.index].to_numpy())[0],
        resamples=settings.resamples,
        confidence=settings.confidence,
        seed=settings.seed,
    )
    table = pd.DataFrame(columns, columns=["variant", "recipe", "seed"])
    return table.assign(
        value=np.nanmean(values, axis=0), low=low, high=high, n=np.isfinite(values).sum(axis=0)
    )


def training_seconds(ladder: Ladder, trained: pd.DataFrame) -> dict[tuple[str, str], float]:
    """Return (variant, seed or `all`) -> seconds of training; 0 for what nobody trained.

    Stage train's seconds count up to the chosen checkpoint, as a share of its steps.
    """
    rows = [(row.variant, str(int(row.seed)), float(row.seconds)) for row in trained.itertuples()]
    steps, paths = read_chosen(ladder.study.paths), ladder.study.paths
    for seed in ladder.study.seeds:
        if seconds := TrainingFolder(paths, paths.gan_seed(seed)).seconds:
            rows.append((PAPER, str(seed), seconds * steps[seed] / ladder.study.gan.steps))
    drawn = {seed for split in SPLITS for seed in ladder.untrained_seeds(split)}
    rows += [(name, str(seed), 0.0) for name in (UNTRAINED, UNTRAINED_EDGES) for seed in sorted(drawn)]
    rows += [(name, "0", 0.0) for name in CONTROLS]
    table = pd.DataFrame(rows, columns=["variant", "seed", "seconds"])
    found = table.drop_duplicates(["variant", "seed"], keep="last").set_index(["variant", "seed"])["seconds"]
    return {
        **found.to_dict(),
        **{(name, "all"): value for name, value in found.groupby("variant").mean().items()},
    }


def goals(ladder: Ladder, table: pd.DataFrame, compared: pd.DataFrame, *, best: Key) -> pd.DataFrame:
    """Return ladder_goals.csv (columns GOALS): how far the best finalist got, a row a goal.

    A difference is reached when its verdict is `higher`; size and time when they are at most what is wanted.
    """
    rule, mine = ladder.judging, compared[(compared["split"] == "test") & (compared["rung"] == FINALIST)]
    mine = mine[(mine["variant"] == best.variant) & (mine["recipe"] == best.recipe)].set_index("against")
    rows = [_difference_goal(mine, name, ladder.title(best)) for name in ("hog", RIVAL)]
    made = table[(table["variant"] == best.variant) & (table["recipe"] == best.recipe)].iloc[0]
    limits = [
        ("embedding file", f"at most {rule.most_megabytes:g} MB", made["megabytes"], rule.most_megabytes),
        ("time of a photo", f"at most {rule.most_ms:g} ms", made["ms_per_photo"], rule.most_ms),
    ]
    for goal, wanted, measured, most in limits:
        reached = "yes" if measured <= most else "no"
        rows.append((goal, ladder.title(best), wanted, measured, np.nan, np.nan, reached, ""))
    return pd.DataFrame(rows, columns=GOALS)


def _difference_goal(mine: pd.DataFrame, rival: str, title: str) -> tuple:
    goal, wanted = f"precision above {model_name(rival)}", "a difference above 0"
    if rival not in mine.index:
        why = "no ImageNet weights here, or not all test photos embedded"
        return (goal, title, wanted, np.nan, np.nan, np.nan, "not testable here", why)
    row = mine.loc[rival]
    reached = "yes" if row["verdict"] == HIGHER else "no"
    return (goal, title, wanted, row["difference"], row["low"], row["high"], reached, row["reason"])


def write_ladder(
    ladder: Ladder, queries: pd.DataFrame, *, trained: pd.DataFrame, finalists: Sequence[Key], best: str
) -> dict[str, pd.DataFrame]:
    """Write ladder.csv, ladder_effects.csv and ladder_goals.csv of a profile; return them by name.

    `queries` holds both splits, `trained` the training table, `best` the recipe that validation chose.
    """
    paths, first = ladder.study.paths, finalists[0]
    tested = [key for key in tested_models(finalists, best)]
    costs = pd.concat(
        [
            measure_costs(ladder, [*tested, Key(PAPER, PLAIN)], best=first),
            control_costs(ladder, control_names(ladder, split="test")),
        ],
        ignore_index=True,
    )
    table = ladder_table(ladder, queries, trained=trained, costs=costs, finalists=finalists)
    compared = [
        *validation_comparisons(queries, best=best),
        *tested_comparisons(queries, finalists, best=best),
    ]
    units = resampling_units(ladder.study.photos, window=ladder.study.evaluation.exclusion_window)
    rule = ladder.study.evaluation
    found = effects(queries, compared, units, ladder.resampling)
    found = found.assign(gallery=rule.choose_gallery, k=rule.choose_k)[EFFECTS]
    tables = {
        "ladder": table,
        "ladder_effects": found,
        "ladder_goals": goals(ladder, table, found, best=first),
    }
    for name, one in tables.items():
        files.write_table(paths.result(name), one)
    files.write_table(paths.ladder / "queries.csv", queries[QUERIES])
    return tables
