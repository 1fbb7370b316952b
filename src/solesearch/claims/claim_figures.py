"""The charts of stage claims, drawn from its committed tables alone."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator

from solesearch.core.errors import InputError
from solesearch.core.model_names import PROPOSED, model_name
from solesearch.core.published import published_row
from solesearch.figures.drawing import (
    BLUE,
    DASHED,
    GALLERIES,
    GREEN,
    NEUTRAL,
    QUIET,
    VERMILION,
    WIDTH,
    Chart,
    add_caption,
    checked,
    counted,
    forest,
    name_models,
    select,
    select_precision,
)
from solesearch.figures.registry import chart

K = 5
CONCLUSIONS = {"higher": GREEN, "lower": VERMILION, "undecided": NEUTRAL}


def _panels(rows: pd.DataFrame, *, sort: str, height: float) -> tuple[Figure, list[Axes], pd.DataFrame]:
    """Return a figure with a panel a gallery and its axes; and `rows` with the panel and place of each.

    A line a model, in the order of `sort` in the stricter gallery.
    """
    galleries = [name for name in reversed(GALLERIES) if name in set(rows["gallery"])]
    order = rows[rows["gallery"] == galleries[-1]].sort_values(sort, kind="stable")["model"].tolist()
    figure = Chart(figsize=(WIDTH, height), layout="constrained")
    panels = list(figure.subplots(1, len(galleries), sharey=True, squeeze=False)[0])
    for axes, gallery in zip(panels, galleries, strict=True):
        axes.set(title=GALLERIES[gallery], ylim=(-0.6, len(order) - 0.4))
        name_models(axes, order, places=range(len(order)))
    rows = rows[rows["model"].isin(order)]
    places = {"panel": rows["gallery"].map(galleries.index), "place": rows["model"].map(order.index)}
    return figure, panels, rows.assign(**places)


@chart("intervals")
def precision_intervals(intervals: pd.DataFrame, *, profile: str, k: int = K) -> Figure:
    """Draw precision@k of every model with its interval, a panel a gallery; dots are single training seeds.

    `intervals`: model, seed, gallery, metric, k, value, low, high, n (uncertainty.py). InputError names it.
    """
    checked(intervals, name="intervals", columns="model seed gallery metric", numbers="k value low high n")
    rows = select_precision(intervals, name="intervals", k=k)
    rows = rows.assign(colour=np.where(rows["model"] == PROPOSED, BLUE, "black"))
    alone = rows["seed"].astype(str) != "all"
    figure, panels, means = _panels(rows[~alone], sort="value", height=1.1 + 0.21 * rows["model"].nunique())
    place = means.set_index("model")["place"].to_dict()
    for number, axes in enumerate(panels):
        mine = means[means["panel"] == number]
        forest(axes, mine, numbers=".3f")
        for seed in rows[alone & rows["gallery"].isin(mine["gallery"])].itertuples():
            dot = {"color": seed.colour, "markersize": 2, "alpha": 0.7}
            axes.plot(seed.value, place[seed.model] - 0.22, "o", **dot)
        axes.set(xlim=(0, 1.14), xticks=np.linspace(0, 1, 6), xlabel=f"Precision@{k}")
    parts = ["bar: 95 % interval over products", "dot: one training seed", counted(means["n"], "queries")]
    add_caption(figure, profile=profile, parts=parts)
    return figure


@chart("differences")
def differences(table: pd.DataFrame, *, profile: str, k: int = K) -> Figure:
    """Draw each model's paired difference from the proposed one with its interval, a panel a gallery.

    The pale band is the spread of the training seeds, within which nothing is claimed. `table`: model,
    gallery, metric, k, difference, low, high, seed_spread, conclusion. Models not compared are named below.
    """
    checked(table, name="differences", columns="model gallery metric conclusion", numbers="k")
    rows = select(table, name="differences", metric="precision", k=k)
    compared = rows[rows["conclusion"] != "not compared"]
    if compared.empty:
        raise InputError("table differences: nothing was compared; run stage claims again")
    compared = compared.assign(value=compared["difference"], face=compared["conclusion"].map(CONCLUSIONS))
    height = 1.25 + 0.22 * compared["model"].nunique()
    figure, panels, compared = _panels(compared, sort="difference", height=height)
    for number, axes in enumerate(panels):
        mine = compared[compared["panel"] == number]
        band = mine["seed_spread"].fillna(0)
        axes.barh(mine["place"], 2 * band, left=-band, height=0.7, color=BLUE, alpha=0.13)
        forest(axes, mine)
        axes.axvline(0, color=BLUE, **DASHED)
        axes.xaxis.set_major_locator(MaxNLocator(nbins=6))
        axes.set_xlabel(f"Precision@{k} less that of the proposed model")
    handles = [
        Line2D([], [], ls="", marker="D", color=colour, label=name) for name, colour in CONCLUSIONS.items()
    ]
    figure.legend(handles=handles, loc="outside upper left", ncols=3)
    names = dict.fromkeys(rows.loc[rows["conclusion"] == "not compared", "model"])
    left_out = f"not compared: {', '.join(map(model_name, names))}" if names else ""
    band = "pale band: spread of the training seeds"
    parts = ["bar: 95 % interval over products, Holm-corrected test", band, left_out]
    add_caption(figure, profile=profile, parts=parts)
    return figure


@chart("oracle")
def oracle_curve(oracle: pd.DataFrame, *, profile: str, gallery: str = "naive", k: int = K) -> Figure:
    """Draw precision@k of every checkpoint on validation and on test photos, a panel a training seed.

    The test curve was never used for a choice. A ring marks the step that validation chose, a star the one
    that choosing on test photos would have taken. `oracle`: columns of leakage.beside_validation.
    """
    numbers = "seed step k validation test n_validation n_test"
    checked(oracle, name="oracle", columns="gallery chosen oracle", numbers=numbers)
    rows = select(oracle, name="oracle", gallery=gallery, k=k)
    seeds = sorted(rows["seed"].unique())
    figure = Chart(figsize=(WIDTH, 2.9), layout="constrained")
    panels = figure.subplots(1, len(seeds), sharey=True, squeeze=False)[0]
    for axes, seed in zip(panels, seeds, strict=True):
        _oracle_panel(axes, rows[rows["seed"] == seed].sort_values("step"))
        axes.set_xlabel("Iteration")
        axes.xaxis.set_major_formatter(FuncFormatter(lambda step, _: f"{step:,.0f}"))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
    panels[0].set_ylabel(f"Precision@{k}")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper left", ncols=4)
    photos = [counted(rows["n_validation"], "validation"), counted(rows["n_test"], "test queries")]
    never = "the test curve was never used for a choice"
    add_caption(figure, profile=profile, parts=[GALLERIES.get(gallery, gallery), *photos, never])
    return figure


def _oracle_panel(axes: Axes, rows: pd.DataFrame) -> None:
    axes.plot(rows["step"], rows["validation"], "--", color=QUIET, label="validation photos")
    axes.plot(rows["step"], rows["test"], "o-", color=BLUE, label="test photos")
    chosen, best = (rows[rows[mark].astype(str).str.lower() == "true"] for mark in ("chosen", "oracle"))
    ring = {"facecolors": "none", "edgecolors": "black", "linewidths": 1.3, "zorder": 5}
    axes.scatter(chosen["step"], chosen["test"], s=110, label="chosen on validation", **ring)
    axes.plot(best["step"], best["test"], "*", color=VERMILION, markersize=9, label="best on test", zorder=6)
    gain = float(best["test"].iloc[0] - chosen["test"].iloc[0])
    axes.set_title(f"Seed {int(rows['seed'].iloc[0])}: choosing on test would buy {gain:.3f}")


@chart("readings")
def readings(table: pd.DataFrame, *, profile: str) -> Figure:
    """Draw the precision that each reading of an ambiguous choice gives; the default reading is filled.

    Readings that were not run are left out and counted below. `table`: columns of readings.readings.
    """
    checked(table, name="readings", columns="choice reading default", numbers="k")
    values = pd.to_numeric(table["value"], errors="coerce")
    rows, left_out = table[values.notna()], int(values.isna().sum())
    if rows.empty:
        raise InputError("table readings: none was run; run stage claims again")
    choices = list(dict.fromkeys(rows["choice"]))
    rows = rows.assign(rank=rows["choice"].map(choices.index)).sort_values("rank", kind="stable")
    figure = Chart(figsize=(WIDTH, 1.0 + 0.17 * len(rows)), layout="constrained")
    axes = figure.subplots()
    filled = rows["default"].astype(str).str.lower() == "true"
    for place, (value, default) in enumerate(zip(rows["value"], filled, strict=True)):
        colour = BLUE if default else "white"
        axes.plot(value, place, "o", markersize=5, mew=1.2, mec=BLUE, color=colour)
        words = {"xytext": (7, 0), "textcoords": "offset points", "va": "center", "fontsize": 6.5}
        axes.annotate(f"{value:.3f}", (value, place), **words)
    paper = published_row(PROPOSED)["precision"]
    axes.axvline(paper, color=VERMILION, **DASHED, label=f"P prints {paper:.2f}")
    names = [f"{choice}: {reading}" for choice, reading in zip(rows["choice"], rows["reading"], strict=True)]
    axes.set_yticks(range(len(rows)), names, fontsize=6.5)
    for edge in np.flatnonzero(np.diff(rows["rank"])):
        axes.axhline(edge + 0.5, color="#d0d0d0", linewidth=0.6)
    axes.grid(visible=False, axis="y")
    axes.set(xlabel="Precision", xlim=(0, 1.08), ylim=(len(rows) - 0.4, -0.6))
    axes.legend(loc="lower left")
    missing = f"{left_out} readings not run here" if left_out else ""
    parts = ["filled: the default reading", "one choice changed at a time", missing]
    add_caption(figure, profile=profile, parts=parts)
    return figure
