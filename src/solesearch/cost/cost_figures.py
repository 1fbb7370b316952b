"""Charts of what the models cost: time, throughput, size, parameters (C Figs 8.2 and 8.5 right).

ImageNet weights change none of these, so no row is set apart for lacking them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, NullLocator

from solesearch.core.errors import InputError
from solesearch.core.measures import ONNX, QUANTISED, TENSORFLOW, time_ratios
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
    forest,
    name_models,
    select,
)
from solesearch.figures.registry import chart

RUNTIME_COLOURS = {
    "NumPy / scikit-image": NEUTRAL,
    TENSORFLOW: ORANGE,
    ONNX: GREEN,
    QUANTISED: BLUE,
    "Pillow": "C5",
}
EMBEDDING, CLASSIFIER, CHECKPOINT = "embedding", "with classifier", "training checkpoint"
IN_PAPER = {"marker": "D", "markerfacecolor": "none", "markeredgecolor": "black", "markeredgewidth": 0.9}
# column of a table of dots -> its words in the legend, its look
TIME_MARKS = {
    "paper": ("P (proposed: 0.004 s)", {**IN_PAPER, "markersize": 5.5}),
    "chapter": ('C (proposed: "around 0.04 s")', {**IN_PAPER, "markeredgecolor": FAINT, "marker": "s"}),
    "onnx": ("measured, ONNX Runtime", {"marker": "^", "color": GREEN, "markersize": 5.5}),
    "measured": ("measured, TensorFlow", {"marker": "o", "color": ORANGE, "markersize": 5.5}),
}
SIZE_MARKS = {
    EMBEDDING: (EMBEDDING, {"marker": "o", "color": ORANGE, "markersize": 5.5}),
    CLASSIFIER: (CLASSIFIER, {"marker": "s", "color": GREEN, "markersize": 5.5}),
    CHECKPOINT: (CHECKPOINT, {"marker": "^", "color": VERMILION, "markersize": 5.5}),
    "paper": ("P Table II", {**IN_PAPER, "markersize": 8}),
}
SIZE_HEADS = {
    EMBEDDING: "embed-\nding",
    CLASSIFIER: "with clas-\nsifier",
    CHECKPOINT: "check-\npoint",
    "paper": "P",
}
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


def machines(rows: pd.DataFrame) -> str:
    """Return the words that say where times were measured."""
    return f"measured on {' | '.join(sorted(set(rows['machine'].astype(str))))}"


@chart("latency")
def time_bars(latency: pd.DataFrame, *, profile: str) -> Figure:
    """Draw the time to embed one photo, a bar a model and runtime, fastest first.

    Batch 1. A bar ends at the median in milliseconds, its whisker at the 95th percentile; the axis is
    logarithmic. Raises InputError naming the table.
    """
    rows = timed(latency, batch=1)
    rows = rows.assign(value=rows["median_ms"], high=rows["p95_ms"])
    label, meaning = "Milliseconds a photo, batch 1 (log scale)", "bar: median, whisker: 95th percentile"
    return _runtime_bars(rows, label=label, meaning=meaning, profile=profile)


@chart("latency")
def throughput_bars(latency: pd.DataFrame, *, profile: str) -> Figure:
    """Draw the photos a second that each model embeds in batches of 32, a bar a model and runtime.

    Fastest first; the axis is logarithmic. Raises InputError naming the table.
    """
    rows = timed(latency, batch=32)
    rows = rows.assign(value=rows["images_per_s"], high=np.nan)
    label, meaning = "Photos a second, batch 32 (log scale)", "decoded photos, 32 at a time"
    return _runtime_bars(rows, label=label, meaning=meaning, profile=profile)


def _runtime_bars(rows: pd.DataFrame, *, label: str, meaning: str, profile: str) -> Figure:
    """Draw a bar a row to its `value`, a model's bars side by side, and a whisker to `high`, if any."""
    order = {model: place for place, model in enumerate(rows["model"].unique())}
    group, inside = rows["model"].map(order), rows.groupby("model").cumcount()
    before = rows["model"].map(lambda model: (group < order[model]).sum())
    rows = rows.assign(place=before + inside + 0.5 * group, low=rows["value"], marker="")
    figure = Chart(figsize=(WIDTH, 1.15 + 0.17 * len(rows) + 0.08 * len(order)), layout="constrained")
    axes, ends = figure.subplots(), rows[["value", "high"]].max(axis=1)
    for runtime, mine in rows.groupby("runtime"):
        colour = RUNTIME_COLOURS.get(runtime, VERMILION)
        axes.barh(mine["place"], mine["value"], height=0.82, color=colour, label=runtime)
    forest(axes, rows.dropna(subset="high"))
    for place, end, value in zip(rows["place"], ends, rows["value"], strict=True):
        words = f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
        axes.annotate(words, (end, place), fontsize=6.5, **BESIDE)
    middle = rows.groupby("model")["place"].mean()
    name_models(axes, list(order), places=middle[list(order)].to_numpy())
    axes.set(xscale="log", xlabel=label, ylim=(rows["place"].max() + 0.6, -0.6))
    axes.set_xlim(rows["value"].min() / 2, ends.max() * 1.9)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
    figure.legend(loc="outside upper left", ncols=4)
    add_caption(figure, profile=profile, parts=[meaning, machines(rows)])
    return figure


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
    heads = {"measured": "measured", "paper": "P"}
    figure, axes = _dots(ratios, TIME_MARKS, joined=list(heads), heads=heads, form="{:.3g}×".format)
    axes.axvline(1, color=BLUE, linewidth=0.8, zorder=1)
    axes.set(xlabel="Time of one photo, as a multiple of the proposed model's (log scale)")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}×"))
    parts = ["batch 1, medians, each runtime against the proposed model in it", machines(rows)]
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
    select(sizes, name="sizes", model=PROPOSED)
    rows = sizes[sizes["model"].map(lambda model: model == PROPOSED or is_plain_network(model))]
    table = rows.pivot_table(index="model", columns="what", values="megabytes")
    printed = {model: published_row(model) for model in table.index}
    table["paper"] = [np.nan if row is None else row["size_mb"] for row in printed.values()]
    table = table.reindex(columns=list(SIZE_MARKS)).sort_values(EMBEDDING, kind="stable")
    figure, axes = _dots(table, SIZE_MARKS, joined=list(SIZE_MARKS), heads=SIZE_HEADS, form="{:.3g}".format)
    axes.set(xlabel="Megabytes (log scale)")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    parts = ["embedding: float32 weights of what embeds a photo"]
    parts += ["with classifier: the file that Keras publishes"]
    if table[CHECKPOINT].notna().any():
        parts += ["training checkpoint: all networks and the optimisers' state"]
    add_caption(figure, profile=profile, parts=parts)
    return figure


def _dots(
    table: pd.DataFrame,
    marks: Mapping[str, tuple[str, dict]],
    *,
    joined: list[str],
    heads: Mapping[str, str],
    form: Callable[[float], str],
) -> tuple[Figure, Axes]:
    """Draw one row a model and a mark a column of `marks`; a line joins some, `heads` stand in numbers."""
    figure = Chart(figsize=(WIDTH, 1.2 + 0.21 * len(table)), layout="constrained")
    axes, places, handles = figure.subplots(), np.arange(len(table)), []
    spans, used = table[joined], [column for column in table if table[column].notna().any()]
    axes.hlines(places, spans.min(axis=1), spans.max(axis=1), color="#d0d0d0", linewidth=1.2, zorder=1)
    for column, (label, look) in marks.items():
        if column in used:
            axes.plot(table[column], places, linestyle="none", zorder=3, **look)
            handles.append(Line2D([], [], linestyle="none", label=label, **look))
    for number, column in enumerate((column for column in heads if column in used), start=1):
        cells = {place: form(value) for place, value in enumerate(table[column]) if np.isfinite(value)}
        add_column(axes, cells, head=heads[column], at=0.52 * number)
    name_models(axes, list(table.index), places=places)
    axes.set(xscale="log", ylim=(len(table) - 0.5, -0.5))
    figure.legend(handles=handles, loc="outside upper left", ncols=len(handles), columnspacing=1.4)
    return figure, axes


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
        place, side = (row["parameters"] / 1e6, row["top1"]), SIDES[LABEL_SIDES.get(name, "right")]
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
