"""Charts of what the models cost: time, throughput, size, parameters (C Figs 8.2 and 8.5 right).

ImageNet weights change none of these, so no row is set apart for lacking them.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, NullLocator

from solesearch.core.errors import InputError
from solesearch.core.measures import ONNX, TENSORFLOW, time_ratios
from solesearch.core.model_names import PROPOSED, is_plain_network, network_row, published_networks
from solesearch.core.published import published_row
from solesearch.figures.drawing import (
    BESIDE,
    BLUE,
    FAINT,
    GREEN,
    NEUTRAL,
    ORANGE,
    PIPELINE,
    VERMILION,
    WIDTH,
    Chart,
    add_caption,
    add_column,
    checked,
    name_models,
    select,
)
from solesearch.figures.registry import chart

RUNTIME_COLOURS = {"NumPy / scikit-image": NEUTRAL, TENSORFLOW: ORANGE, ONNX: GREEN, "Pillow": "C5"}
OTHER_COLOURS = ("C3", "C4", "C6", "C8", "C9")  # without blue, which means the proposed model
EMBEDDING, CLASSIFIER, CHECKPOINT = "embedding", "with classifier", "training checkpoint"
SIZES = {EMBEDDING: ("o", ORANGE), CLASSIFIER: ("s", GREEN), CHECKPOINT: ("^", VERMILION)}
IN_PAPER = {"marker": "D", "markerfacecolor": "none", "markeredgecolor": "black", "markeredgewidth": 0.9}
FAMILIES = {  # of C Fig 8.2's points
    "VGG": ("o", "C0"),
    "ResNet": ("s", "C1"),
    "Inception": ("^", "C2"),
    "MobileNet": ("v", "C3"),
    "DenseNet": ("P", "C4"),
}
LABEL_SIDES = {"VGG16": "left", "InceptionResNetV2": "left", "ResNet101": "below"}
SIDES = {
    "right": {"xytext": (6, 0), "ha": "left", "va": "center"},
    "left": {"xytext": (-6, 0), "ha": "right", "va": "center"},
    "below": {"xytext": (0, -6), "ha": "center", "va": "top"},
}


def timed(latency: pd.DataFrame, *, batch: int) -> pd.DataFrame:
    """Return latency.csv at one batch size, fastest first; raises InputError for impossible times."""
    numbers = "batch median_ms p95_ms images_per_s"
    checked(latency, name="latency", columns="model runtime machine", numbers=numbers)
    rows = select(latency, name="latency", batch=batch)
    rows = rows.sort_values(["median_ms", "runtime"], kind="stable", ignore_index=True)
    if (rows["median_ms"] <= 0).any() or (rows["p95_ms"] < rows["median_ms"]).any():
        raise InputError(
            "table latency: a median is not above 0 or exceeds its 95th percentile; measure again"
        )
    return rows


@chart("latency")
def time_bars(latency: pd.DataFrame, *, profile: str) -> Figure:
    """Draw the time to embed one photo, a bar a model and runtime, fastest first.

    Batch 1. A bar ends at the median in milliseconds, its whisker at the 95th percentile; the axis is
    logarithmic. Raises InputError naming the table.
    """
    rows = timed(latency, batch=1)
    figure, axes, groups = _runtime_chart(
        rows, profile=profile, meaning="bar: median, whisker: 95th percentile"
    )
    for group, places, colours in groups:
        _time_group(axes, group, places=places, colours=colours)
    axes.set(xscale="log", xlabel="Milliseconds a photo, batch 1 (log scale)")
    axes.set_xlim(rows["median_ms"].min() / 2, rows["p95_ms"].max() * 1.9)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    return figure


@chart("latency")
def throughput_bars(latency: pd.DataFrame, *, profile: str, batch: int = 32) -> Figure:
    """Draw the photos a second that each model embeds in batches, a bar a model and runtime, fastest first.

    The axis is logarithmic. Raises InputError naming the table.
    """
    rows = timed(latency, batch=batch)
    figure, axes, groups = _runtime_chart(rows, profile=profile, meaning=f"decoded photos, {batch} at a time")
    for group, places, colours in groups:
        axes.barh(places, group["images_per_s"], height=0.82, color=colours)
        for place, value in zip(places, group["images_per_s"], strict=True):
            axes.annotate(_three_digits(value), (value, place), fontsize=6.5, **BESIDE)
    axes.set(xscale="log", xlabel=f"Photos a second, batch {batch} (log scale)")
    axes.set_xlim(rows["images_per_s"].min() / 2, rows["images_per_s"].max() * 1.9)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
    return figure


def _runtime_chart(rows: pd.DataFrame, *, profile: str, meaning: str) -> tuple[Figure, Axes, list[tuple]]:
    """Return a figure, its axes with the models' names, and for each model (rows, places, colours)."""
    machines = rows["machine"].astype(str).unique()
    series = rows["runtime"] if len(machines) == 1 else rows["runtime"] + ", " + rows["machine"].astype(str)
    height = 1.15 + 0.17 * len(rows) + 0.08 * rows["model"].nunique()
    figure = Chart(figsize=(WIDTH, height), layout="constrained")
    axes = figure.subplots()
    others = itertools.cycle(OTHER_COLOURS)
    colours = {name: RUNTIME_COLOURS.get(name) or next(others) for name in sorted(series.unique())}
    groups, place = [], 0.0
    for _, group in rows.groupby("model", sort=False):
        places = place + np.arange(len(group))
        groups.append((group, places, [colours[series[index]] for index in group.index]))
        place = places[-1] + 1.5
    models = [group["model"].iloc[0] for group, *_ in groups]
    name_models(axes, models, places=[places.mean() for _, places, _ in groups])
    axes.set_ylim(place - 0.9, -0.6)
    handles = [axes.barh(0, np.nan, color=colour, label=name) for name, colour in colours.items()]
    figure.legend(handles=handles, loc="outside upper left", ncols=min(4, len(handles)))
    parts = [meaning, f"measured on {' | '.join(sorted(machines))}"]
    add_caption(figure, profile=profile, parts=parts)
    return figure, axes, groups


def _time_group(axes: Axes, group: pd.DataFrame, *, places: np.ndarray, colours: Sequence[str]) -> None:
    tail = np.stack([np.zeros(len(group)), group["p95_ms"] - group["median_ms"]])
    axes.barh(places, group["median_ms"], height=0.82, color=colours)
    whisker = {"fmt": "none", "ecolor": "black", "elinewidth": 0.8, "capsize": 1.8, "capthick": 0.8}
    axes.errorbar(group["median_ms"], places, xerr=tail, **whisker)
    for place, median, end in zip(places, group["median_ms"], group["p95_ms"], strict=True):
        axes.annotate(f"{median:.3g}", (end, place), fontsize=6.5, **BESIDE)


def _three_digits(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


@chart("latency")
def time_comparison(latency: pd.DataFrame, *, profile: str) -> Figure:
    """Draw each network's time as a multiple of the proposed model's beside the papers' (C Fig 8.5, right).

    Measured at batch 1, logarithmic axis; each runtime against the proposed model in that runtime. Raises
    InputError naming the table.
    """
    rows = timed(latency, batch=1)
    ratios = time_ratios(rows)
    if ratios.empty:
        raise InputError(
            f"table latency: no ImageNet network beside {PROPOSED} in {TENSORFLOW}; {PIPELINE} times them"
        )
    marks = {
        "paper": ("P (proposed: 0.004 s)", {**IN_PAPER, "markersize": 5.5}),
        "chapter": ('C (proposed: "around 0.04 s")', {**IN_PAPER, "markeredgecolor": FAINT, "marker": "s"}),
        "onnx": ("measured, ONNX Runtime", {"marker": "^", "color": GREEN, "markersize": 5.5}),
        "measured": ("measured, TensorFlow", {"marker": "o", "color": ORANGE, "markersize": 5.5}),
    }
    marks = {column: look for column, look in marks.items() if ratios[column].notna().any()}
    figure, axes = _dot_chart(ratios, marks=marks, joined=["measured", "paper"])
    axes.axvline(1, color=BLUE, linewidth=0.8, zorder=1)
    axes.set(xscale="log", xlabel="Time of one photo, as a multiple of the proposed model's (log scale)")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}×"))
    heads = {"measured": "measured", "paper": "P"}
    _number_columns(axes, ratios, heads=heads, form=lambda value: f"{value:.3g}×")
    machines = " | ".join(sorted(set(rows["machine"].astype(str))))
    parts = ["batch 1, medians, each runtime against the proposed model in it", f"measured on {machines}"]
    add_caption(figure, profile=profile, parts=parts)
    return figure


@chart("sizes")
def size_comparison(sizes: pd.DataFrame, *, profile: str) -> Figure:
    """Draw each model's megabytes: embedding, with classifier, training checkpoint, and P's column.

    `sizes`: model, what (embedding, with classifier, training checkpoint), parameters, megabytes. Raises
    InputError naming the table.
    """
    checked(sizes, name="sizes", columns="model what", numbers="megabytes")
    if (sizes["megabytes"] <= 0).any():
        raise InputError("table sizes: megabytes must be above 0; run the pipeline (dvc repro) again")
    rows = sizes[sizes["model"].map(lambda model: model == PROPOSED or is_plain_network(model))]
    rows = select(rows if len(rows) else sizes, name="sizes", model=PROPOSED).index.union(rows.index)
    table = sizes.loc[rows].pivot_table(index="model", columns="what", values="megabytes")
    table = table.reindex(columns=list(SIZES))
    printed = {model: published_row(model) for model in table.index}
    table["paper"] = [np.nan if row is None else row["size_mb"] for row in printed.values()]
    table = table.sort_values(EMBEDDING, kind="stable")
    marks = {what: (what, {"marker": m, "color": c, "markersize": 5.5}) for what, (m, c) in SIZES.items()}
    marks = {what: look for what, look in marks.items() if table[what].notna().any()}
    marks["paper"] = ("P Table II", {**IN_PAPER, "markersize": 8})
    figure, axes = _dot_chart(table, marks=marks, joined=list(marks))
    axes.set(xscale="log", xlabel="Megabytes (log scale)")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    heads = {
        EMBEDDING: "embed-\nding",
        CLASSIFIER: "with clas-\nsifier",
        CHECKPOINT: "check-\npoint",
        "paper": "P",
    }
    heads = {what: head for what, head in heads.items() if what in marks}
    _number_columns(axes, table, heads=heads, form=lambda value: f"{value:.3g}")
    parts = [
        "embedding: float32 weights of what embeds a photo",
        "with classifier: the file that Keras publishes",
    ]
    parts += ["training checkpoint: all networks and the optimisers' state"] if CHECKPOINT in marks else []
    add_caption(figure, profile=profile, parts=parts)
    return figure


def _dot_chart(
    table: pd.DataFrame, *, marks: Mapping[str, tuple[str, dict]], joined: list[str]
) -> tuple[Figure, Axes]:
    """Draw one row a model and one mark a column of `marks`; a thin line joins the columns `joined`."""
    figure = Chart(figsize=(WIDTH, 1.2 + 0.21 * len(table)), layout="constrained")
    axes = figure.subplots()
    places = np.arange(len(table))
    spans = table[joined]
    axes.hlines(places, spans.min(axis=1), spans.max(axis=1), color="#d0d0d0", linewidth=1.2, zorder=1)
    handles = []
    for column, (label, look) in marks.items():
        axes.plot(table[column], places, linestyle="none", zorder=3, **look)
        handles.append(Line2D([], [], linestyle="none", label=label, **look))
    name_models(axes, list(table.index), places=places)
    axes.set_ylim(len(table) - 0.5, -0.5)
    figure.legend(handles=handles, loc="outside upper left", ncols=len(handles), columnspacing=1.4)
    return figure, axes


def _number_columns(axes: Axes, table: pd.DataFrame, *, heads: Mapping[str, str], form) -> None:
    for number, (column, head) in enumerate(heads.items(), start=1):
        cells = {place: form(value) for place, value in enumerate(table[column]) if np.isfinite(value)}
        add_column(axes, cells, head=head, at=0.52 * number)


@chart("networks")
def accuracy_parameters(networks: pd.DataFrame, *, profile: str) -> Figure:
    """Draw ImageNet top-1 accuracy against parameters for the networks of networks.csv (C Fig 8.2).

    Both are Keras's published values with the classifier, cited, not measured. Widths for which Keras
    publishes no accuracy are left out. Raises InputError naming the table.
    """
    checked(networks, name="networks", columns="model", numbers="")
    compared = {row.network for row in map(network_row, networks["model"]) if row}
    cited = published_networks()
    cited = cited[cited.index.isin(compared)]
    if not compared:
        raise InputError("table networks: none of the networks of Keras's published table")
    figure = Chart(figsize=(WIDTH, 3.4), layout="constrained")
    axes = figure.subplots()
    for family, (marker, colour) in FAMILIES.items():
        mine = cited[cited.index.str.startswith(family)]
        axes.plot(mine["parameters"] / 1e6, mine["top1"], marker, color=colour, markersize=6, label=family)
    for name, row in cited.iterrows():
        side = SIDES[LABEL_SIDES.get(name, "right")]
        place = (row["parameters"] / 1e6, row["top1"])
        axes.annotate(name, place, textcoords="offset points", fontsize=7, **side)
    if cited.empty:  # MobileNet-0.25 alone, say
        words = f"Keras publishes no accuracy for {', '.join(sorted(compared))}"
        axes.text(0.5, 0.5, words, transform=axes.transAxes, ha="center", va="center")
    axes.set(xscale="log", xlim=(2.5, 260), ylim=(0.69, 0.815))
    axes.set(xlabel="Parameters with classifier, millions (log scale)", ylabel="ImageNet top-1 accuracy")
    axes.set_xticks([3, 5, 10, 20, 50, 100, 200], [3, 5, 10, 20, 50, 100, 200])
    axes.xaxis.set_minor_locator(NullLocator())
    parts = ["cited, not measured: Keras's published table (keras.io, Keras Applications)"]
    add_caption(figure, profile=profile, parts=[*parts, f"n = {len(cited)} networks"])
    return figure
