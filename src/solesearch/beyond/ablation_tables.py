"""The ablation's committed tables: precision with intervals, what a model costs, and the goals."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np
import pandas as pd

from solesearch.beyond.ablation import AS_IT_IS, Ablation, needs_labels
from solesearch.beyond.effects import (
    GOAL,
    PAPER,
    UNTRAINED,
    UNTRAINED_TRUNKS,
    Model,
    is_control,
    untrained_twin,
)
from solesearch.beyond.export import PAPERS_MODEL, model_file
from solesearch.beyond.methods import PLAIN
from solesearch.core import files
from solesearch.cost.latency import LatencySettings, time_one
from solesearch.cost.onnx_model import OnnxModel
from solesearch.evaluation.study import Study, read_chosen
from solesearch.gan.trainer import TrainingFolder
from solesearch.retrieval.controls import CONTROLS, control_features
from solesearch.retrieval.uncertainty import HIGHER, Resampling, means_with_intervals, with_seed_means

RIVALS = ("hog", "MobileNetV2", "MobileNet")  # the goals name them
AVERAGES = {"micro": "", "macro": ", classes alike"}
SINGLE_IDEAS = ("normalised", "whitened", "flipped", "layers_max", "layers_gem")
COSTS = ["variant", "recipe", "megabytes", "ms_per_photo"]
LADDER = [
    *("rung", "group", "variant", "recipe", "title", "seed", "split", "gallery", "k", "value", "low", "high"),
    *("macro", "macro_low", "macro_high", "n", "dimensions", "seconds", "megabytes", "ms_per_photo"),
    *("needs_labels", "finalist"),
]
GOALS = ["goal", "model", "wanted", "measured", "low", "high", "reached", "note"]


# --- what a model costs ----------------------------------------------------------------------------------


def model_costs(ablation: Ablation, models: Sequence[Model], timing: LatencySettings) -> pd.DataFrame:
    """Return the ONNX file's megabytes and the milliseconds a photo of each model (columns COSTS).

    Weights change neither, so each method is exported and timed once for each kind of trunk.
    """
    photo, costs = np.asarray(ablation.study.pixels[:1]), {}
    for model in models:
        kind = untrained_twin(model.variant), model.recipe
        if kind not in costs:
            content, _ = model_file(ablation, model, seed=ablation.seeds(model.variant, split="test")[0])
            onnx = OnnxModel(content, threads=timing.threads)
            costs[kind] = len(content) / 1e6, milliseconds(partial(onnx.embed, photo), timing)
    rows = [(*model, *costs[untrained_twin(model.variant), model.recipe]) for model in models]
    return pd.DataFrame(rows, columns=COSTS)


def milliseconds(call, timing: LatencySettings) -> float:
    """Return the median milliseconds of a call, by the protocol of section `latency`."""
    return float(np.median(time_one(call, timing))) * 1000


def control_costs(study: Study, names: Sequence[str], timing: LatencySettings) -> pd.DataFrame:
    """Return the controls' costs (columns COSTS): hand-made ones timed here, networks by latency.csv.

    A network's time is ONNX Runtime's where it was measured there, else it has no row.
    """
    known = files.read_table(study.paths.result("latency"), made_by="stage networks")
    known = known[(known["runtime"] == "ONNX Runtime") & (known["batch"] == 1)].set_index("model")
    photo, rows = np.asarray(study.pixels[:1]), []
    for name in names:
        if name in CONTROLS:
            rows.append((name, "", 0.0, milliseconds(partial(control_features, name, photo), timing)))
        elif name in known.index:
            rows.append((name, "", known["file_mb"][name], known["median_ms"][name]))
    return pd.DataFrame(rows, columns=COSTS)


def training_seconds(ablation: Ablation, trained: pd.DataFrame) -> dict[tuple[str, str], float]:
    """Return (variant, seed or `all`) -> seconds of training; 0 for what nobody trained.

    Stage train's seconds count up to the chosen checkpoint, as a share of its steps.
    """
    study, paths = ablation.study, ablation.study.paths
    seconds = {(row.variant, str(int(row.seed))): float(row.seconds) for row in trained.itertuples()}
    for seed, step in read_chosen(paths).items():
        if taken := TrainingFolder(paths, paths.gan_seed(seed)).seconds:
            seconds[PAPER, str(seed)] = taken * step / study.gan.steps
    drawn = {seed for split in ("validation", "test") for seed in ablation.seeds(UNTRAINED, split=split)}
    seconds |= {(name, str(seed)): 0.0 for name in UNTRAINED_TRUNKS for seed in drawn}
    seconds |= {(name, "0"): 0.0 for name in CONTROLS}
    means = pd.Series(seconds).groupby(level=0).mean()
    return seconds | {(name, "all"): value for name, value in means.items()}


# --- the tables ------------------------------------------------------------------------------------------


def rung_of(model: Model) -> tuple[str, str]:
    """Return (rung, group) of a model: what kind of idea it is, as ladder.csv names it."""
    if is_control(model.variant) or model == Model(UNTRAINED, PLAIN):
        return "controls", "control"
    if model == Model(PAPER, PLAIN):
        return "the paper's recipe", "paper"
    if model.variant in (PAPER, UNTRAINED):
        alone = model.recipe in SINGLE_IDEAS
        return ("one recipe idea", "post-hoc") if alone else ("recipe ideas together", "together")
    return ("one training idea", "training") if model.recipe == PLAIN else ("training and recipe", "together")


def precision_table(
    ablation: Ablation,
    queries: pd.DataFrame,
    *,
    trained: pd.DataFrame,
    costs: pd.DataFrame,
    finalists: Sequence[Model],
    units: pd.Series,
    resampling: Resampling,
) -> pd.DataFrame:
    """Return ladder.csv: a row a model, seed (`all`: their mean, query by query) and split; columns LADDER.

    `value` is the mean over queries, `macro` that of the classes' means, each with its interval. megabytes is
    the ONNX file where one was made (`costs`), else the numbers in float32. `finalist` is the place by
    validation, empty for all others.
    """
    blocks, keys = [], ["variant", "recipe", "seed"]
    classes = ablation.study.photos.set_index("id")["label"]
    for split, rows in queries.groupby("split", sort=False):
        wide = rows.pivot_table(index="id", columns=keys, values="value", sort=False)
        wide = with_seed_means(wide)
        macro = means_with_intervals(wide, units, resampling, classes=classes)[["value", "low", "high"]]
        macro.columns = ["macro", "macro_low", "macro_high"]
        means = means_with_intervals(wide, units, resampling).join(macro)
        blocks.append(means.rename_axis(keys).reset_index().assign(split=split))
    models = queries.drop_duplicates(keys[:2])[[*keys[:2], "dimensions", "megabytes"]]
    table = pd.concat(blocks, ignore_index=True).merge(models, on=keys[:2])
    table = table.merge(costs, on=keys[:2], how="left", suffixes=("", "_file"))
    named = [Model(*key) for key in zip(table["variant"], table["recipe"], strict=True)]
    rungs, groups = zip(*map(rung_of, named), strict=True)
    seconds, rule = training_seconds(ablation, trained), ablation.study.evaluation
    place = {model: str(number) for number, model in enumerate(finalists, start=1)}
    return table.assign(
        rung=rungs,
        group=groups,
        title=[ablation.title(model) for model in named],
        gallery=rule.choose_gallery,
        k=rule.choose_k,
        seconds=[seconds.get(key, np.nan) for key in zip(table["variant"], table["seed"], strict=True)],
        megabytes=table["megabytes_file"].fillna(table["megabytes"]),
        needs_labels=[needs_labels(model.variant) for model in named],
        finalist=[place.get(model, "") for model in named],
    )[LADDER]


def goals(
    ablation: Ablation,
    table: pd.DataFrame,
    compared: pd.DataFrame,
    *,
    best: Model,
    controls: Mapping[str, str],
) -> pd.DataFrame:
    """Return ladder_goals.csv (columns GOALS): how far the best finalist got, a row a goal.

    A rival is a control with the recipe that `controls` gives, its best on validation photos. A difference is
    reached when its verdict is `higher`; size and time when they are at most what is wanted. The time also
    counts as reached where it is at most `most_of_papers` of the papers' model's in the same run.
    """
    rule, title = ablation.judging, ablation.title(best)
    mine = compared[(compared["split"] == "test") & (compared["rung"] == GOAL)]
    mine = mine[(mine["variant"] == best.variant) & (mine["recipe"] == best.recipe)]
    mine, rows = mine.set_index(["against", "against_recipe", "average"]), []
    for rival, (average, words) in itertools.product(RIVALS, AVERAGES.items()):
        rival_title = ablation.title(Model(rival, controls.get(rival, AS_IT_IS)))
        goal = (f"precision above {rival_title}{words}", title, "a difference above 0")
        if rival in controls:
            found = mine.loc[(rival, controls[rival], average)]
            reached = "yes" if found["verdict"] == HIGHER else "no"
            rows.append((*goal, *found[["difference", "low", "high"]], reached, found["reason"]))
        else:
            why = "no ImageNet weights here, or not all test photos embedded"
            rows.append((*goal, np.nan, np.nan, np.nan, "not testable here", why))
    costs = table.drop_duplicates(["variant", "recipe"]).set_index(["variant", "recipe"])
    mine, papers = costs.loc[tuple(best)], costs.loc[tuple(PAPERS_MODEL)]
    most_ms = max(rule.most_ms, rule.most_of_papers * papers["ms_per_photo"])
    for goal, most, unit, measured in (
        ("embedding file", rule.most_megabytes, "MB", mine["megabytes"]),
        ("time of a photo", most_ms, "ms", mine["ms_per_photo"]),
    ):
        reached = "yes" if measured <= most else "no"
        rows.append((goal, title, f"at most {most:.2g} {unit}", measured, np.nan, np.nan, reached, ""))
    return pd.DataFrame(rows, columns=GOALS)
