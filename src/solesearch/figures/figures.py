"""The charts of training, precision and the catalogue, drawn from the committed tables alone.

A chart takes tables and returns a matplotlib Figure; it leaves no global state behind and needs no display. P
Fig 3 / C Fig 8.4 are `loss_curves`. Charts of other rooms stand there; pictures that show photos are in
galleries.py, what every chart shares in drawing.py.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
import seaborn
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

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
    bar_looks,
    checked,
    counted,
    forest,
    galleries_of,
    interval_bounds,
    name_models,
    named_seeds,
    select,
    select_all_queries,
    select_precision,
    stricter_gallery,
)
from solesearch.figures.lettering import LONGEST
from solesearch.figures.registry import chart

LOSSES = {
    "d_real": ("Discriminator, real photos", math.log(2), "ln 2: undecided"),
    "d_fake": ("Discriminator, generated images", math.log(2), "ln 2: undecided"),
    "generator": ("Generator", math.log(2), "ln 2: undecided discriminator"),
    "mutual_information": ("Mutual-information loss", 1 / 3, "1/3: Q knows nothing"),
}
IDEAL = (500, 2500)  # P: "500-2500 iterations are ideal"
SPLITS = {"training": BLUE, "validation": ORANGE, "test": GREEN}


@chart("training")
def loss_curves(training: pd.DataFrame, *, profile: str) -> Figure:
    """Draw the four losses over the iterations, one panel each, all seeds (P Fig 3, C Fig 8.4).

    `training`: seed, step and the four losses (nats; mutual_information: mean squared error). Thin lines are
    single iterations, bold ones a running median; each axis ends above all but 0.5 % of the points, since a
    few early spikes would flatten the rest.
    """
    checked(training, name="training", columns="", numbers=f"seed step {' '.join(LOSSES)}")
    last = int(training["step"].max())
    window = max(5, last // 50) | 1  # odd, so that it is centred
    figure = Chart(figsize=(WIDTH, 4.3), layout="constrained")
    panels = figure.subplots(2, 2, sharex=True)
    for axes, (loss, (title, reference, meaning)) in zip(panels.flat, LOSSES.items(), strict=True):
        for number, (seed, rows) in enumerate(training.sort_values("step").groupby("seed")):
            median = rows[loss].rolling(window, center=True, min_periods=1).median()
            axes.plot(rows["step"], rows[loss], color=f"C{number}", alpha=0.3, linewidth=0.5, rasterized=True)
            axes.plot(rows["step"], median, color=f"C{number}", label=f"seed {seed}")
        axes.axhline(reference, color=QUIET, **DASHED)
        axes.set(xlim=(0, last), ylim=(0, 1.12 * max(training[loss].quantile(0.995), 1.1 * reference)))
        axes.set_title(title)
        axes.set_title(f"– –  {meaning}", loc="right", fontsize=7, color=QUIET)
        if last > IDEAL[0]:
            label = f"{IDEAL[0]} to {IDEAL[1]:,} iterations: ideal (P)"
            axes.axvspan(*IDEAL, color=GREEN, alpha=0.09, linewidth=0, label=label, zorder=0)
    figure.supylabel("Loss", fontsize=8)
    for axes in panels[1]:
        axes.set_xlabel("Iteration")
        axes.xaxis.set_major_formatter("{x:,.0f}")
    handles, labels = panels[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper left", ncols=len(handles))
    logged = counted(training.groupby("seed")["step"].nunique(), "iterations a seed")
    parts = [named_seeds(training["seed"]), logged, f"bold: running median of {window} iterations"]
    add_caption(figure, profile=profile, parts=parts)
    return figure


@chart("checkpoints")
def checkpoint_curve(checkpoints: pd.DataFrame, *, profile: str, k: int = 5) -> Figure:
    """Draw precision@k on the validation photos against the iteration, a line a seed, the chosen step ringed.

    The other models of the table are dashed lines; one far below the curves is named in the legend alone.
    Drawn is the stricter gallery of the table.
    """
    numbers = "seed step k value n"
    checked(checkpoints, name="checkpoints", columns="model gallery metric chosen", numbers=numbers)
    gallery = stricter_gallery(checkpoints)
    judged = select_precision(checkpoints, name="checkpoints", k=k, gallery=gallery)
    rows = select(judged, name="checkpoints", model=PROPOSED).sort_values("step")
    others = judged[judged["model"] != PROPOSED]
    references = others.groupby("model")["value"].mean().sort_values(ascending=False)
    figure = Chart(figsize=(WIDTH, 3.4), layout="constrained")
    axes = figure.subplots()
    for number, (seed, line) in enumerate(rows.groupby("seed")):
        axes.plot(line["step"], line["value"], "o-", color=f"C{number}", label=f"seed {seed}")
    # a step is chosen once a seed, on one gallery and k; the ring shows it on the others too
    chosen = checkpoints[checkpoints["chosen"].astype(str).str.lower() == "true"]
    ringed = rows.merge(chosen[["seed", "step"]].drop_duplicates(), on=["seed", "step"])
    axes.plot(ringed["step"], ringed["value"], "o", color="black", mfc="none", markersize=10, label="chosen")
    lowest = rows["value"].min()
    reach = lowest - max(0.05, references.max() - lowest) if len(references) else lowest
    for number, (model, value) in enumerate(references.items(), start=rows["seed"].nunique()):
        looks = {"color": f"C{number}", "zorder": 1, **DASHED}
        if value >= reach:
            axes.axhline(value, label=f"{model_name(model)} {value:.3f}", **looks)
        else:
            axes.plot([], [], label=f"{model_name(model)} {value:.3f}, below", **looks)
    axes.set(xlabel="Iteration", ylabel=f"Precision@{k} on validation photos", title=GALLERIES[gallery])
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=11, steps=[1, 2, 2.5, 5, 10]))
    zero = "0\nuntrained" if (rows["step"] == 0).any() else "0"
    axes.xaxis.set_major_formatter(lambda step, _: f"{step:,.0f}" if step else zero)
    figure.legend(loc="outside right upper")
    parts = [named_seeds(rows["seed"]), counted(rows["n"], "validation queries")]
    add_caption(figure, profile=profile, parts=parts)
    return figure


@chart("retrieval", beside=("intervals",))
def precision_bars(
    retrieval: pd.DataFrame, *, profile: str, k: int = 5, intervals: pd.DataFrame | None = None
) -> Figure:
    """Draw precision@k of the proposed model and its controls, a panel a gallery, sorted by the stricter one.

    A bar is the mean over the seeds, a dot one seed, a whisker the 95 % interval where `intervals` has one,
    the vertical line the random prior. ImageNet networks have charts of their own (`precision_comparison`,
    `retraining`, `preprocessing`).
    """
    rows = select_all_queries(retrieval, k=k)
    rows = rows[rows["model"].map(network_row).isna()]
    galleries = galleries_of(rows)
    means = rows.pivot_table(index="model", columns="gallery", values="value")
    order = means.drop(PRIOR, errors="ignore").sort_values(galleries[-1], kind="stable").index
    figure = Chart(figsize=(WIDTH, 1.15 + 0.21 * len(order)), layout="constrained")
    panels = figure.subplots(1, len(galleries), sharey=True, squeeze=False)[0]
    for axes, gallery in zip(panels, galleries, strict=True):
        judged = rows[rows["gallery"] == gallery]
        _precision_panel(axes, judged, order=order, bounds=interval_bounds(intervals, gallery=gallery, k=k))
        axes.set_title(GALLERIES[gallery], pad=14)
        axes.set_xlabel(f"Precision@{k}")
    whisker = ", whisker: 95 % interval" if intervals is not None else ""
    meaning = f"bar: mean, dot: one seed{whisker}" + ", sorted by the right panel" * (len(galleries) > 1)
    parts = [named_seeds(rows["seed"]), meaning, counted(rows["n"], "queries")]
    add_caption(figure, profile=profile, parts=parts)
    return figure


def _precision_panel(axes: Axes, rows: pd.DataFrame, *, order: Sequence[str], bounds: pd.DataFrame) -> None:
    means = rows.groupby("model")["value"].mean().reindex(order)
    for place, (model, value) in enumerate(means.items()):
        seeds = rows.loc[rows["model"] == model, "value"]
        axes.barh(place, value, height=0.72, **bar_looks(model))
        if len(seeds) > 1:
            axes.plot(seeds, [place] * len(seeds), "o", color="black", markersize=3, mew=0.5, mec="white")
        end = max(*seeds, bounds["high"].get(model, value))
        axes.annotate(f"{value:.3f}", (end, place), fontsize=7, **BESIDE)
    whiskers = means.to_frame().assign(place=range(len(means)), marker="").join(bounds, how="inner")
    forest(axes, whiskers)
    prior = rows.loc[rows["model"] == PRIOR, "value"].mean()
    if not math.isnan(prior):
        axes.axvline(prior, color=VERMILION, **DASHED)
        above = {"transform": axes.get_xaxis_transform(), "ha": "center", "va": "bottom", "fontsize": 7}
        axes.text(prior, 1.01, f"random {prior:.3f}", color=VERMILION, **above)
    axes.set(xlim=(0, 1.16), ylim=(-0.6, len(order) - 0.4), xticks=np.linspace(0, 1, 6))
    name_models(axes, order, places=range(len(order)))


@chart("retrieval", beside=("networks",))
def class_precision(
    retrieval: pd.DataFrame, *, profile: str, k: int = 5, networks: pd.DataFrame | None = None
) -> Figure:
    """Draw precision@k of every model and class as a heat map, means over the seeds, best model first.

    Drawn is the stricter gallery of the table. ImageNet networks stand there as they are, without their
    variants; `networks` (networks.csv) says which of them are untrained: they come last, pale.
    """
    checked(retrieval, name="retrieval", columns="model gallery metric class", numbers="seed k value n")
    gallery = stricter_gallery(retrieval)
    rows = select_precision(retrieval, name="retrieval", k=k, gallery=gallery)
    plain = rows["model"].map(network_row).isna() | rows["model"].map(is_plain_network)
    rows = rows[plain & ~rows["class"].isin(["all", "macro"])]
    if rows.empty:
        raise InputError(f"table retrieval: no single class for gallery {gallery}; run {PIPELINE} again")
    values = rows.pivot_table(index="model", columns="class", values="value")
    untrained = untrained_networks(networks, values.index)
    ranked = values.mean(axis=1).sort_values(ascending=False, kind="stable").index
    values = values.loc[sorted(ranked, key=lambda model: model in untrained)]
    longest = min(LONGEST, max(map(len, values.columns)))
    upright = values.shape[1] > 9 or values.shape[1] * longest > 110  # letters that fit side by side
    height = 1.5 + 0.22 * len(values) + 0.06 * upright * max(0, longest - 20)
    figure = Chart(figsize=(WIDTH, height), layout="constrained")
    axes = figure.subplots()
    looks = {"cmap": "crest", "annot": True, "fmt": ".2f", "annot_kws": {"fontsize": 7}, "linewidths": 1}
    bar = {"label": f"Precision@{k}", "pad": 0.015, "aspect": 30}
    lowest = math.floor(values.min(axis=None) * 10) / 10
    seaborn.heatmap(values, ax=axes, vmin=lowest, vmax=1, xticklabels=False, cbar_kws=bar, **looks)
    if untrained:
        _fade_rows(axes, first=len(values) - len(untrained), last=len(values))
    queries = rows.groupby("class")["n"].max()
    names = [f"{name}\nn ≤ {queries[name]:,.0f}" for name in values]
    axes.set_xticks(np.arange(len(names)) + 0.5, names, rotation=90 if upright else 0)
    axes.set(xlabel="", ylabel="", title=GALLERIES[gallery])
    axes.tick_params(axis="x", length=0)
    name_models(axes, values.index, places=np.arange(len(values)) + 0.5, untrained=untrained)
    parts = [named_seeds(rows["seed"]), counted(rows.groupby(["model", "seed"])["n"].sum(), "queries")]
    parts += [f"pale, names in italics: {NO_WEIGHTS_WORDS}"] if untrained else []
    add_caption(figure, profile=profile, parts=parts)
    return figure


def _fade_rows(axes: Axes, *, first: int, last: int) -> None:
    axes.axhspan(first, last, color="white", alpha=0.65, linewidth=0, zorder=2)
    for text in axes.texts:
        if text.get_position()[1] > first:
            text.set_color(QUIET)


@chart("catalogue")
def photos_per_class(catalogue: pd.DataFrame, *, profile: str) -> Figure:
    """Draw the photos of each class as bars stacked by split (training, validation, test)."""
    checked(catalogue, name="catalogue", columns="label split", numbers="photos")
    counts = catalogue.assign(label=catalogue["label"].astype(str))  # a folder may be called 12
    counts = counts.pivot_table(index="label", columns="split", values="photos", aggfunc="sum", fill_value=0)
    counts = counts.reindex(columns=list(SPLITS), fill_value=0)
    total = counts.sum(axis=1)
    figure = Chart(figsize=(WIDTH, 1.2 + 0.26 * len(counts)), layout="constrained")
    axes = figure.subplots()
    counts.plot.barh(stacked=True, color=SPLITS, edgecolor="white", ax=axes, legend=False, width=0.8)
    for bars, ink in zip(axes.containers, ("white", "black", "white"), strict=True):
        widths = [bar.get_width() for bar in bars]
        fits = [f"{width:,.0f}" if width > 0.05 * total.max() else "" for width in widths]
        axes.bar_label(bars, fits, label_type="center", color=ink, fontsize=7)
    axes.bar_label(axes.containers[-1], [f"{count:,.0f}" for count in total], padding=4, fontsize=7)
    axes.set(xlabel="Photos", ylabel="", xlim=(0, total.max() * 1.08))
    axes.invert_yaxis()
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.grid(visible=False, axis="y")
    axes.tick_params(axis="y", length=0)
    figure.legend(loc="outside upper left", ncols=3)
    add_caption(figure, profile=profile, parts=[f"{len(counts)} classes", counted([total.sum()], "photos")])
    return figure
