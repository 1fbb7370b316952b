"""The charts of training, precision, time and size, drawn from the committed tables alone.

Each function takes tables, returns a matplotlib Figure, leaves no global state behind and needs no display;
the notebooks and the command line get the same bytes. Pictures that show photos are in galleries.py, what
every chart shares in drawing.py. P Fig 3 / C Fig 8.4 are `loss_curves`; C Fig 8.5 is `precision_comparison`
and `time_comparison`, C Fig 8.2 `accuracy_parameters` (comparison_figures.py, cost_figures.py).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import seaborn
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from solesearch.core.errors import InputError
from solesearch.core.model_names import (
    NO_WEIGHTS_WORDS,
    PRIOR,
    PROPOSED,
    is_plain_network,
    model_name,
    network_row,
    untrained_networks,
)
from solesearch.figures.drawing import (
    BESIDE,
    BLUE,
    DASHED,
    GALLERIES,
    GREEN,
    ORANGE,
    PIPELINE,
    QUIET,
    VERMILION,
    WIDTH,
    Chart,
    add_caption,
    add_interval,
    bar_looks,
    checked,
    counted,
    galleries_of,
    interval_bounds,
    name_models,
    named_seeds,
    select,
    select_all_queries,
    select_precision,
    spread,
    stricter_gallery,
)
from solesearch.figures.lettering import LONGEST
from solesearch.figures.registry import chart, draw_chart  # noqa: F401

LOSSES = {
    "d_real": ("Discriminator, real photos", math.log(2), "ln 2: undecided"),
    "d_fake": ("Discriminator, generated images", math.log(2), "ln 2: undecided"),
    "generator": ("Generator", math.log(2), "ln 2: undecided discriminator"),
    "mutual_information": ("Mutual-information loss", 1 / 3, "1/3: Q knows nothing"),
}
IDEAL = (500, 2500)  # P: "500-2500 iterations are ideal"
IDEAL_WORDS = f"{IDEAL[0]} to {IDEAL[1]:,} iterations: ideal (P)"
SPLITS = ("training", "validation", "test")


@chart("training")
def loss_curves(training: pd.DataFrame, *, profile: str) -> Figure:
    """Draw the four losses over the iterations, one panel each, all seeds (P Fig 3, C Fig 8.4).

    `training`: seed, step and the four losses (nats; mutual_information: mean squared error). Thin
    lines are single iterations, bold ones a running median. Raises InputError naming the table.
    """
    checked(training, name="training", columns="", numbers=f"seed step {' '.join(LOSSES)}")
    first, last = int(training["step"].min()), int(training["step"].max())
    window = max(5, (last - first + 1) // 50) | 1  # odd, so that it is centred
    figure = Chart(figsize=(WIDTH, 4.3), layout="constrained")
    panels = figure.subplots(2, 2, sharex=True)
    for axes, loss in zip(panels.flat, LOSSES, strict=True):
        _loss_panel(axes, training, loss=loss, window=window)
        axes.set_xlim(0, last)
        if last > IDEAL[0]:
            axes.axvspan(*IDEAL, color=GREEN, alpha=0.09, linewidth=0, label=IDEAL_WORDS, zorder=0)
    for axes in panels[:, 0]:
        axes.set_ylabel("Loss")
    for axes in panels[1]:
        axes.set_xlabel("Iteration")
        axes.xaxis.set_major_formatter(FuncFormatter(lambda step, _: f"{step:,.0f}"))
    handles, labels = panels[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper left", ncols=min(7, len(handles)))
    smoothed = f"bold: running median of {window} iterations"
    logged = counted(training.groupby("seed")["step"].nunique(), "iterations a seed")
    add_caption(figure, profile=profile, parts=[named_seeds(training["seed"]), logged, smoothed])
    return figure


def _loss_panel(axes: Axes, training: pd.DataFrame, *, loss: str, window: int) -> None:
    title, reference, meaning = LOSSES[loss]
    for number, (seed, rows) in enumerate(training.sort_values("step").groupby("seed")):
        median = rows[loss].rolling(window, center=True, min_periods=1).median()
        axes.plot(rows["step"], rows[loss], color=f"C{number}", alpha=0.3, linewidth=0.5, rasterized=True)
        axes.plot(rows["step"], median, color=f"C{number}", label=f"seed {int(seed)}")
    axes.axhline(reference, color=QUIET, **DASHED)
    # A few early spikes would flatten everything else, so the axis ends above all but 0.5 % of the points.
    top = 1.12 * max(training[loss].quantile(0.995), 1.1 * reference)
    above = int((training[loss] > top).sum())
    axes.set_ylim(0, top)
    axes.set_title(title)
    axes.set_title(f"– –  {meaning}", loc="right", fontsize=7, color=QUIET)
    if above:
        words = f"↑ {above} point{'s' * (above > 1)} above"
        axes.text(0.99, 0.97, words, transform=axes.transAxes, ha="right", va="top", fontsize=6.5)


@chart("checkpoints")
def checkpoint_curve(
    checkpoints: pd.DataFrame,
    *,
    profile: str,
    gallery: str | None = None,
    k: int = 5,
    references: Mapping[str, float] | None = None,
) -> Figure:
    """Draw precision@k on the validation photos against the iteration, a line a seed, the chosen step ringed.

    `references` ({model: precision@k on the same photos}) become dashed lines; None takes the other models
    in the table. One far below the curves is named in the caption instead. `gallery` None is the stricter
    one in the table. Raises InputError naming the table.
    """
    checked(checkpoints, name="checkpoints", columns="gallery metric chosen", numbers="seed step k value n")
    if "model" not in checkpoints:
        checkpoints = checkpoints.assign(model=PROPOSED)
    gallery = gallery or stricter_gallery(checkpoints)
    judged = select_precision(checkpoints, name="checkpoints", k=k, gallery=gallery)
    rows = select(judged, name="checkpoints", model=PROPOSED).sort_values("step")
    if references is None:
        references = judged[judged["model"] != PROPOSED].groupby("model")["value"].mean().to_dict()
    figure = Chart(figsize=(WIDTH, 3.4), layout="constrained")
    axes = figure.subplots()
    for number, (seed, line) in enumerate(rows.groupby("seed")):
        axes.plot(line["step"], line["value"], "o-", color=f"C{number}", label=f"seed {int(seed)}")
    _ring_chosen(axes, rows, chosen=checkpoints[checkpoints["chosen"].astype(str).str.lower() == "true"])
    below = _reference_lines(axes, references, lowest=rows["value"].min())
    axes.set(xlabel="Iteration", ylabel=f"Precision@{k} on validation photos")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=11, steps=[1, 2, 2.5, 5, 10]))
    zero = "0\nuntrained" if (rows["step"] == 0).any() else "0"
    axes.xaxis.set_major_formatter(FuncFormatter(lambda step, _: f"{step:,.0f}" if step else zero))
    axes.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=6)
    axes.set_title(GALLERIES.get(gallery, gallery))
    parts = [named_seeds(rows["seed"]), counted(rows["n"], "validation queries"), below]
    add_caption(figure, profile=profile, parts=parts)
    return figure


def _ring_chosen(axes: Axes, rows: pd.DataFrame, *, chosen: pd.DataFrame) -> None:
    # A step is chosen once a seed, on one gallery and k; the ring shows it on the others too.
    ringed = rows.merge(chosen[["seed", "step"]].drop_duplicates(), on=["seed", "step"])
    looks = {"facecolors": "none", "edgecolors": "black", "linewidths": 1.3, "zorder": 5}
    if not ringed.empty:
        axes.scatter(ringed["step"], ringed["value"], s=110, label="chosen", **looks)


def _reference_lines(axes: Axes, references: Mapping[str, float], *, lowest: float) -> str:
    """Draw the references in reach of the curves, labelled at the right; return the words for the others."""
    ordered = sorted(references.items(), key=lambda item: item[1])
    reach = lowest - max(0.05, max([lowest, *references.values()]) - lowest)
    far = [f"{model_name(model)} {value:.3f}" for model, value in reversed(ordered) if value < reach]
    near = [(model, value) for model, value in ordered if value >= reach]
    for _, value in near:
        axes.axhline(value, color=QUIET, zorder=1, **DASHED)
    low, high = axes.get_ylim()
    places = spread([(value - low) / (high - low) for _, value in near], gap=0.055)
    looks = {"textcoords": "axes fraction", "va": "center", "fontsize": 7, "color": QUIET}
    looks["arrowprops"] = {"arrowstyle": "-", "color": QUIET, "linewidth": 0.5, "shrinkA": 1, "shrinkB": 0}
    for (model, value), place in zip(near, places, strict=True):
        words, end = f"{model_name(model)} {value:.3f}", axes.get_yaxis_transform()
        axes.annotate(words, xy=(1, value), xycoords=end, xytext=(1.03, place), **looks)
    return f"below the axis: {', '.join(far)}" if far else ""


@chart("retrieval", beside=("intervals",))
def precision_bars(
    retrieval: pd.DataFrame, *, profile: str, k: int = 5, intervals: pd.DataFrame | None = None
) -> Figure:
    """Draw precision@k of the proposed model and its controls, a panel a gallery, sorted by the stricter one.

    A bar is the mean over the seeds, a dot one seed, a whisker the 95 % interval where `intervals` has one,
    the vertical line the random prior. ImageNet networks have charts of their own (`precision_comparison`,
    `retraining`, `preprocessing`). Raises InputError naming the table.
    """
    rows = select_all_queries(retrieval, k=k)
    rows = rows[rows["model"].map(network_row).isna()]
    galleries = galleries_of(rows)
    means = rows.groupby(["gallery", "model"])["value"].mean()
    order = means[galleries[-1]].drop(PRIOR, errors="ignore").sort_values(kind="stable").index.tolist()
    order = [model for model in means.index.unique("model") if model not in {PRIOR, *order}] + order
    figure = Chart(figsize=(WIDTH, 1.15 + 0.21 * len(order)), layout="constrained")
    panels = figure.subplots(1, len(galleries), sharey=True, squeeze=False)[0]
    whiskers = ""
    for axes, gallery in zip(panels, galleries, strict=True):
        bounds = interval_bounds(intervals, gallery=gallery, k=k)
        whiskers = ", whisker: 95 % interval" if bounds else whiskers
        _precision_panel(axes, rows[rows["gallery"] == gallery], order=order, bounds=bounds)
        axes.set_title(GALLERIES[gallery], pad=14)
        axes.set_xlabel(f"Precision@{k}")
    meaning = f"bar: mean, dot: one seed{whiskers}" + ", sorted by the right panel" * (len(galleries) > 1)
    add_caption(
        figure, profile=profile, parts=[named_seeds(rows["seed"]), meaning, counted(rows["n"], "queries")]
    )
    return figure


def _precision_panel(
    axes: Axes, rows: pd.DataFrame, *, order: Sequence[str], bounds: Mapping[str, tuple[float, float]]
) -> None:
    places = {model: place for place, model in enumerate(order)}
    for model, values in rows[rows["model"].isin(places)].groupby("model")["value"]:
        axes.barh(places[model], values.mean(), height=0.72, **bar_looks(model))
        add_interval(axes, bounds.get(model), place=places[model])
        if len(values) > 1:
            dots = {"color": "black", "markersize": 3, "mew": 0.5, "mec": "white"}
            axes.plot(values, [places[model]] * len(values), "o", **dots)
        end = max([values.max(), *bounds.get(model, ())])
        axes.text(end + 0.025, places[model], f"{values.mean():.3f}", va="center", fontsize=7)
    prior = rows.loc[rows["model"] == PRIOR, "value"]
    if len(prior):
        axes.axvline(prior.mean(), color=VERMILION, **DASHED)
        above = {"transform": axes.get_xaxis_transform(), "ha": "center", "va": "bottom", "fontsize": 7}
        axes.text(prior.mean(), 1.01, f"random {prior.mean():.3f}", color=VERMILION, **above)
    axes.set(xlim=(0, 1.16), ylim=(-0.6, len(order) - 0.4), xticks=np.linspace(0, 1, 6))
    name_models(axes, order, places=range(len(order)))


@chart("retrieval", beside=("networks",))
def class_precision(
    retrieval: pd.DataFrame,
    *,
    profile: str,
    gallery: str | None = None,
    k: int = 5,
    networks: pd.DataFrame | None = None,
) -> Figure:
    """Draw precision@k of every model and class as a heat map, means over the seeds, best model first.

    `gallery` None is the stricter one in the table. ImageNet networks stand there as they are, without their
    variants; `networks` (networks.csv) says which of them are untrained. Raises InputError naming the table.
    """
    checked(retrieval, name="retrieval", columns="model gallery metric class", numbers="seed k value n")
    gallery = gallery or stricter_gallery(retrieval)
    rows = select_precision(retrieval, name="retrieval", k=k, gallery=gallery)
    plain = rows["model"].map(network_row).isna() | rows["model"].map(is_plain_network)
    rows = rows[plain & ~rows["class"].isin(["all", "macro"])]
    if rows.empty:
        raise InputError(f"table retrieval: no single class for gallery {gallery}; run {PIPELINE} again")
    values = rows.pivot_table(index="model", columns="class", values="value", aggfunc="mean")
    untrained = untrained_networks(networks, values.index)
    ranked = values.mean(axis=1).sort_values(ascending=False, kind="stable").index
    values = values.loc[sorted(ranked, key=lambda model: model in untrained)]
    longest = min(LONGEST, max(len(str(name)) for name in values.columns))
    upright = values.shape[1] > 9 or values.shape[1] * longest > 110  # letters that fit side by side
    height = 1.5 + 0.22 * len(values) + 0.06 * upright * max(0, longest - 20)
    figure = Chart(figsize=(WIDTH, height), layout="constrained")
    axes = figure.subplots()
    _heat_map(axes, values, queries=rows.groupby("class")["n"].agg(["min", "max"]), label=f"Precision@{k}")
    _fade_rows(axes, first=len(values) - len(untrained), last=len(values))
    axes.set(xlabel="", ylabel="", title=GALLERIES.get(gallery, gallery))
    axes.tick_params(axis="x", length=0, rotation=90 if upright else 0)
    name_models(axes, list(values.index), places=np.arange(len(values)) + 0.5, untrained=untrained)
    parts = [named_seeds(rows["seed"]), counted(rows.groupby(["model", "seed"])["n"].sum(), "queries")]
    parts += [f"pale, names in italics: {NO_WEIGHTS_WORDS}"] if untrained else []
    add_caption(figure, profile=profile, parts=parts)
    return figure


def _heat_map(axes: Axes, values: pd.DataFrame, *, queries: pd.DataFrame, label: str) -> None:
    signs = ["=" if low == high else "≤" for low, high in queries.itertuples(index=False)]
    classes = zip(values.columns, signs, queries["max"], strict=True)
    seaborn.heatmap(
        values,
        ax=axes,
        vmin=math.floor(values.min(axis=None) * 10) / 10,
        vmax=1,
        cmap="crest",
        annot=True,
        fmt=".2f",
        annot_kws={"fontsize": 7},
        linewidths=1,
        xticklabels=False,  # seaborn would measure the names before they are made readable (lettering.py)
        cbar_kws={"label": label, "pad": 0.015, "aspect": 30},
    )
    names = [f"{name}\nn {sign} {most:,.0f}" for name, sign, most in classes]
    axes.set_xticks(np.arange(len(names)) + 0.5, names)


def _fade_rows(axes: Axes, *, first: int, last: int) -> None:
    if first == last:
        return
    axes.axhspan(first, last, color="white", alpha=0.65, linewidth=0, zorder=2)
    for text in axes.texts:
        if text.get_position()[1] > first:
            text.set_color(QUIET)


@chart("catalogue")
def photos_per_class(catalogue: pd.DataFrame, *, profile: str) -> Figure:
    """Draw the photos of each class as bars stacked by split (training, validation, test).

    Raises InputError naming the table.
    """
    checked(catalogue, name="catalogue", columns="label split", numbers="photos")
    unknown = sorted(set(catalogue["split"]) - set(SPLITS))
    if unknown:
        raise InputError(f"table catalogue: split {unknown[0]!r} is none of {', '.join(SPLITS)}")
    counts = catalogue.assign(label=catalogue["label"].astype(str))  # a folder may be called 12
    counts = counts.pivot_table(index="label", columns="split", values="photos", aggfunc="sum", fill_value=0)
    counts = counts.reindex(columns=SPLITS, fill_value=0)
    total = counts.sum(axis=1)
    figure = Chart(figsize=(WIDTH, 1.2 + 0.26 * len(counts)), layout="constrained")
    axes = figure.subplots()
    left = np.zeros(len(counts))
    looks = zip(SPLITS, (BLUE, ORANGE, GREEN), ("white", "black", "white"), strict=True)
    for split, colour, ink in looks:
        bars = axes.barh(counts.index, counts[split], left=left, color=colour, edgecolor="white", label=split)
        fits = [f"{count:,.0f}" if count > 0.05 * total.max() else "" for count in counts[split]]
        axes.bar_label(bars, fits, label_type="center", color=ink, fontsize=7)
        left += counts[split].to_numpy()
    for place, count in enumerate(total):
        axes.annotate(f"{count:,.0f}", (count, place), fontsize=7, **BESIDE)
    axes.set(xlabel="Photos", xlim=(0, total.max() * 1.08), ylim=(len(counts) - 0.5, -0.5))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda count, _: f"{count:,.0f}"))
    axes.grid(visible=False, axis="y")
    axes.tick_params(axis="y", length=0)
    figure.legend(loc="outside upper left", ncols=3)
    add_caption(figure, profile=profile, parts=[f"{len(counts)} classes", counted([total.sum()], "photos")])
    return figure
