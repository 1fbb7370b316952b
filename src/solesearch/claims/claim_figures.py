"""The charts of stage claims, drawn from its committed tables alone.

Same conventions as figures.py: each takes a table, returns a Figure, and equal tables give equal bytes.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
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
    WHISKER,
    WIDTH,
    Chart,
    add_caption,
    checked,
    counted,
    name_models,
    select,
    select_precision,
)
from solesearch.figures.registry import chart, draw_chart  # noqa: F401

K = 5
CONCLUSIONS = {"higher": GREEN, "lower": VERMILION, "undecided": NEUTRAL}


@chart("intervals")
def precision_intervals(intervals: pd.DataFrame, *, profile: str, k: int = K) -> Figure:
    """Draw precision@k of every model with its interval, a panel a gallery; dots are single training seeds.

    `intervals`: model, seed, gallery, metric, k, value, low, high, n (uncertainty.py). InputError names it.
    """
    checked(intervals, name="intervals", columns="model seed gallery metric", numbers="k value low high n")
    rows = select_precision(intervals, name="intervals", k=k).assign(
        seed=lambda table: table["seed"].astype(str)
    )
    means = rows[rows["seed"] == "all"]
    galleries = [name for name in reversed(GALLERIES) if name in set(means["gallery"])]
    sorting = means[means["gallery"] == galleries[-1]].sort_values("value", kind="stable")
    order = sorting["model"].tolist()
    figure = Chart(figsize=(WIDTH, 1.1 + 0.21 * len(order)), layout="constrained")
    panels = figure.subplots(1, len(galleries), sharey=True, squeeze=False)[0]
    for axes, gallery in zip(panels, galleries, strict=True):
        _interval_panel(axes, rows[rows["gallery"] == gallery], order=order)
        axes.set_title(GALLERIES[gallery])
        axes.set_xlabel(f"Precision@{k}")
    parts = ["bar: 95 % interval over products", "dot: one training seed", counted(means["n"], "queries")]
    add_caption(figure, profile=profile, parts=parts)
    return figure


def _interval_panel(axes: Axes, rows: pd.DataFrame, *, order: Sequence[str]) -> None:
    places = {model: place for place, model in enumerate(order)}
    for row in rows[rows["model"].isin(places)].to_dict("records"):
        place, colour = places[row["model"]], BLUE if row["model"] == PROPOSED else "black"
        if row["seed"] != "all":
            axes.plot(row["value"], place - 0.22, "o", color=colour, markersize=2, alpha=0.7)
            continue
        ends = [[row["value"] - row["low"]], [row["high"] - row["value"]]]
        axes.errorbar(row["value"], place, xerr=np.maximum(ends, 0), **{**WHISKER, "ecolor": colour})
        axes.plot(row["value"], place, "D", color=colour, markersize=4)
        axes.text(row["high"] + 0.02, place, f"{row['value']:.3f}", va="center", fontsize=7)
    axes.set(xlim=(0, 1.14), ylim=(-0.6, len(order) - 0.4), xticks=np.linspace(0, 1, 6))
    name_models(axes, order, places=range(len(order)))


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
    galleries = [name for name in reversed(GALLERIES) if name in set(compared["gallery"])]
    sorting = compared[compared["gallery"] == galleries[-1]].sort_values("difference", kind="stable")
    order = sorting["model"].tolist()
    figure = Chart(figsize=(WIDTH, 1.25 + 0.22 * len(order)), layout="constrained")
    panels = figure.subplots(1, len(galleries), sharey=True, squeeze=False)[0]
    for axes, gallery in zip(panels, galleries, strict=True):
        _difference_panel(axes, compared[compared["gallery"] == gallery], order=order)
        axes.set_title(GALLERIES[gallery])
        axes.set_xlabel(f"Precision@{k} less that of the proposed model")
    names = list(dict.fromkeys(rows.loc[rows["conclusion"] == "not compared", "model"]))
    left_out = f"not compared: {', '.join(map(model_name, names))}" if names else ""
    band = "pale band: spread of the training seeds"
    parts = ["bar: 95 % interval over products, Holm-corrected test", band, left_out]
    handles = [
        panels[0].plot([], [], "D", color=colour, label=name)[0] for name, colour in CONCLUSIONS.items()
    ]
    figure.legend(handles=handles, loc="outside upper left", ncols=3)
    add_caption(figure, profile=profile, parts=parts)
    return figure


def _difference_panel(axes: Axes, rows: pd.DataFrame, *, order: Sequence[str]) -> None:
    places = {model: place for place, model in enumerate(order)}
    for row in rows[rows["model"].isin(places)].to_dict("records"):
        place, colour = places[row["model"]], CONCLUSIONS[row["conclusion"]]
        if np.isfinite(row["seed_spread"]):
            axes.barh(
                place, 2 * row["seed_spread"], left=-row["seed_spread"], height=0.7, color=BLUE, alpha=0.13
            )
        ends = [[row["difference"] - row["low"]], [row["high"] - row["difference"]]]
        axes.errorbar(row["difference"], place, xerr=np.maximum(ends, 0), **WHISKER)
        axes.plot(row["difference"], place, "D", color=colour, markersize=5, mec="black", mew=0.5, zorder=4)
    axes.axvline(0, color=BLUE, **DASHED)
    axes.set_ylim(-0.6, len(order) - 0.4)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=6))
    name_models(axes, order, places=range(len(order)))


@chart("oracle")
def oracle_curve(oracle: pd.DataFrame, *, profile: str, gallery: str = "naive", k: int = K) -> Figure:
    """Draw precision@k of every checkpoint on validation and on test photos, a panel a training seed.

    The test curve was never used for a choice. A ring marks the step that validation chose, a star the one
    that choosing on test photos would have taken. `oracle`: columns of leakage.oracle_curve.
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
    order = list(dict.fromkeys(rows["choice"]))
    rows = rows.assign(rank=rows["choice"].map(order.index)).sort_values("rank", kind="stable")
    figure = Chart(figsize=(WIDTH, 1.0 + 0.17 * len(rows)), layout="constrained")
    axes = figure.subplots()
    for place, row in enumerate(rows.to_dict("records")):
        default = str(row["default"]).lower() == "true"
        looks = {"color": BLUE} if default else {"color": "white", "mec": BLUE}
        axes.plot(row["value"], place, "o", markersize=5, mew=1.2, **{"mec": BLUE, **looks})
        axes.annotate(f"{row['value']:.3f}", (row["value"], place), xytext=(7, 0), textcoords="offset points",
                      va="center", fontsize=6.5)  # fmt: skip
    paper = published_row(PROPOSED)["precision"]
    axes.axvline(paper, color=VERMILION, **DASHED, label=f"P prints {paper:.2f}")
    names = [f"{row['choice']}: {row['reading']}" for row in rows.to_dict("records")]
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


# Every chart of the stage, and the table it is drawn from.
