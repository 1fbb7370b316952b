"""The charts of stage claims, drawn from its committed tables alone."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, StrMethodFormatter

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
    galleries_of,
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
    galleries = galleries_of(rows)
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
def precision_intervals(intervals: pd.DataFrame, *, profile: str) -> Figure:
    """Draw precision@5 of every model with its interval, a panel a gallery; dots are single training seeds.

    `intervals`: model, seed, gallery, metric, k, value, low, high, n (uncertainty.py). InputError names it.
    """
    checked(intervals, name="intervals", columns="model seed gallery metric", numbers="k value low high n")
    rows = select_precision(intervals, name="intervals", k=K)
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
        axes.set(xlim=(0, 1.14), xticks=np.linspace(0, 1, 6), xlabel=f"Precision@{K}")
    parts = ["bar: 95 % interval over products", "dot: one training seed", counted(means["n"], "queries")]
    add_caption(figure, profile=profile, parts=parts)
    return figure


@chart("differences")
def differences(table: pd.DataFrame, *, profile: str) -> Figure:
    """Draw each model's paired difference from the proposed one with its interval, a panel a gallery.

    The pale band is the spread of the training seeds, within which nothing is claimed. `table`: model,
    gallery, metric, k, difference, low, high, seed_spread, conclusion. Models not compared are named below.
    """
    checked(table, name="differences", columns="model gallery metric conclusion", numbers="k")
    rows = select(table, name="differences", metric="precision", k=K)
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
        axes.set_xlabel(f"Precision@{K} less that of the proposed model")
    mark = {"ls": "", "marker": "D"}
    handles = [Line2D([], [], color=colour, label=name, **mark) for name, colour in CONCLUSIONS.items()]
    figure.legend(handles=handles, loc="outside upper left", ncols=3)
    names = rows.loc[rows["conclusion"] == "not compared", "model"].drop_duplicates().map(model_name)
    left_out = f"not compared: {', '.join(names)}" if len(names) else ""
    band = "pale band: spread of the training seeds"
    parts = ["bar: 95 % interval over products, Holm-corrected test", band, left_out]
    add_caption(figure, profile=profile, parts=parts)
    return figure


@chart("oracle")
def oracle_curve(oracle: pd.DataFrame, *, profile: str) -> Figure:
    """Draw precision@5 of every checkpoint on validation and on test photos, a panel a training seed.

    The test curve was never used for a choice. A ring marks the step that validation chose, a star the one
    that choosing on test photos would have taken. `oracle`: columns of leakage.beside_validation.
    """
    numbers = "seed step k validation test n_validation n_test"
    checked(oracle, name="oracle", columns="gallery chosen oracle", numbers=numbers)
    rows = select(oracle, name="oracle", gallery="naive", k=K)
    seeds = sorted(rows["seed"].unique())
    figure = Chart(figsize=(WIDTH, 2.9), layout="constrained")
    panels = figure.subplots(1, len(seeds), sharey=True, squeeze=False)[0]
    for axes, seed in zip(panels, seeds, strict=True):
        _oracle_panel(axes, rows[rows["seed"] == seed].sort_values("step"))
    panels[0].set_ylabel(f"Precision@{K}")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper left", ncols=4)
    photos = [counted(rows["n_validation"], "validation"), counted(rows["n_test"], "test queries")]
    never = "the test curve was never used for a choice"
    add_caption(figure, profile=profile, parts=[GALLERIES["naive"], *photos, never])
    return figure


def _oracle_panel(axes: Axes, rows: pd.DataFrame) -> None:
    axes.plot(rows["step"], rows["validation"], "--", color=QUIET, label="validation photos")
    axes.plot(rows["step"], rows["test"], "o-", color=BLUE, label="test photos")
    chosen, best = rows[rows["chosen"]], rows[rows["oracle"]]
    ring = {"facecolors": "none", "edgecolors": "black", "linewidths": 1.3, "zorder": 5}
    axes.scatter(chosen["step"], chosen["test"], s=110, label="chosen on validation", **ring)
    axes.plot(best["step"], best["test"], "*", color=VERMILION, markersize=9, label="best on test", zorder=6)
    gain = best["test"].item() - chosen["test"].item()
    title = f"Seed {rows['seed'].iloc[0]}: choosing on test would buy {gain:.3f}"
    axes.set(xlabel="Iteration", title=title)
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))


@chart("readings")
def readings(table: pd.DataFrame, *, profile: str) -> Figure:
    """Draw the precision that each reading of an ambiguous choice gives; the default reading is filled.

    Readings that were not run are left out and counted below. `table`: columns of readings.readings.
    """
    checked(table, name="readings", columns="choice reading default value", numbers="k")
    rows, left_out = table.dropna(subset=["value"]), int(table["value"].isna().sum())
    if rows.empty:
        raise InputError("table readings: none was run; run stage claims again")
    rank = pd.Series(pd.factorize(rows["choice"])[0], index=rows.index)
    rows = rows.assign(rank=rank).sort_values("rank", kind="stable")
    figure = Chart(figsize=(WIDTH, 1.0 + 0.17 * len(rows)), layout="constrained")
    axes = figure.subplots()
    looks = {"colour": BLUE, "face": np.where(rows["default"], BLUE, "white"), "marker": "o"}
    forest(axes, rows.assign(low=np.nan, high=np.nan, **looks), numbers=".3f")
    paper = published_row(PROPOSED)["precision"]
    axes.axvline(paper, color=VERMILION, **DASHED, label=f"P prints {paper:.2f}")
    axes.set_yticks(range(len(rows)), rows["choice"] + ": " + rows["reading"], fontsize=6.5)
    for edge in np.flatnonzero(np.diff(rows["rank"])):
        axes.axhline(edge + 0.5, color="#d0d0d0", linewidth=0.6)
    axes.set(xlabel="Precision", xlim=(0, 1.08), ylim=(len(rows) - 0.4, -0.6))
    axes.legend(loc="lower left")
    missing = f"{left_out} readings not run here" if left_out else ""
    parts = ["filled: the default reading", "one choice changed at a time", missing]
    add_caption(figure, profile=profile, parts=parts)
    return figure
