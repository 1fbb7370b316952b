"""Every chart, drawn from the committed tables alone: `python -m solesearch.figures [PROFILE ...]`.

Each function takes a table, returns a matplotlib Figure, leaves no global state behind and needs no display;
the notebooks and the command line get the same bytes. Pictures that show photos are in galleries.py.
P Fig 3 / C Fig 8.4 are `loss_curves`, C Fig 8.5 is `precision_bars` and `time_bars`.
"""

from __future__ import annotations

import argparse
import functools
import io
import itertools
import math
import sys
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import IO, ParamSpec

import numpy as np
import pandas as pd
import seaborn
from matplotlib import pyplot, style
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator
from scipy.optimize import isotonic_regression

from solesearch import files
from solesearch.errors import InputError
from solesearch.paths import Paths, repository_root

Options = ParamSpec("Options")
STYLE = Path(__file__).with_name("solesearch.mplstyle")
WIDTH = 7.2  # inches: both columns of a page
BLUE, ORANGE, GREEN, VERMILION = (seaborn.color_palette("colorblind").as_hex()[i] for i in (0, 1, 2, 3))
NEUTRAL, QUIET = "#b0b0b0", "#5f5f5f"
DASHED = {"linestyle": (0, (4, 3)), "linewidth": 0.9}
BESIDE = {"xytext": (4, 0), "textcoords": "offset points", "va": "center"}  # a number after its bar
RUNTIME_COLOURS = (NEUTRAL, "C1", "C2", "C3", "C4", "C5")  # without blue, which means the proposed model
PROPOSED, UNTRAINED, PRIOR = "infogan", "untrained_discriminator", "random"
MODEL_NAMES = {
    PROPOSED: "InfoGAN (proposed)",
    UNTRAINED: "Discriminator, untrained",
    "pixels": "Raw pixels",
    "hog": "HOG",
    "colour_histogram": "Colour histogram",
    "mean_colour": "Mean colour",
    PRIOR: "Random",
}
GALLERIES = {"product_excluded": "Product-excluded gallery", "naive": "Naive gallery"}  # the stricter first
LOSSES = {
    "d_real": ("Discriminator, real photos", math.log(2), "ln 2: undecided"),
    "d_fake": ("Discriminator, generated images", math.log(2), "ln 2: undecided"),
    "generator": ("Generator", math.log(2), "ln 2: undecided discriminator"),
    "mutual_information": ("Mutual-information loss", 1 / 3, "1/3: Q knows nothing"),
}
IDEAL = (500, 2500)  # P: "500-2500 iterations are ideal"
IDEAL_WORDS = f"{IDEAL[0]} to {IDEAL[1]:,} iterations: ideal (P)"
SPLITS = ("training", "validation", "test")
DRAWN_PROFILES = ("sample", "smoke")
PIPELINE = "the pipeline (dvc repro)"


def model_name(model: str) -> str:
    """Return the name a reader sees; a name without an entry, say `VGG16`, is shown as it is."""
    return MODEL_NAMES.get(model, model)


class Chart(Figure):
    """A figure that notebooks show as the picture `save` writes; matplotlib's own needs pyplot for that."""

    def _repr_png_(self) -> bytes:
        picture = io.BytesIO()
        write_picture(self, picture, kind="png")
        return picture.getvalue()


def write_picture(figure: Figure, target: Path | IO[bytes], *, kind: str) -> None:
    """Write `figure` as png (150 dpi) or pdf, without date and version: equal figures give equal bytes."""
    nothing = {"png": ("Software",), "pdf": ("CreationDate", "Creator", "Producer")}[kind]
    with style.context(STYLE, after_reset=True):
        dpi = 150 if kind == "png" else 300  # of the photos and thin lines in the PDF; the rest is vectors
        figure.savefig(target, format=kind, dpi=dpi, metadata=dict.fromkeys(nothing))


def styled(draw: Callable[Options, Figure]) -> Callable[Options, Figure]:
    """Run `draw` under the project's style alone, whatever the caller's matplotlib settings are.

    The layout is settled here, once: settled anew at every drawing, it would creep, and a figure that a
    notebook showed before saving it would give other bytes.
    """

    @functools.wraps(draw)
    def drawn(*args: Options.args, **options: Options.kwargs) -> Figure:
        with style.context(STYLE, after_reset=True):
            figure = draw(*args, **options)
            if layout := figure.get_layout_engine():
                layout.execute(figure)
                figure.set_layout_engine("none")
            return figure

    return drawn


def checked(table: pd.DataFrame, *, name: str, columns: str, numbers: str) -> pd.DataFrame:
    """Return `table` if it has rows, the `columns` and `numbers` (space-separated) and no gap in the numbers.

    Raises InputError that names the table otherwise.
    """
    missing = [column for column in f"{columns} {numbers}".split() if column not in table.columns]
    if missing:
        raise InputError(f"table {name}: column {', '.join(missing)} is missing; {PIPELINE} writes it")
    if table.empty:
        raise InputError(f"table {name}: no rows; run {PIPELINE} again")
    for column in numbers.split():
        values = pd.to_numeric(table[column], errors="coerce").to_numpy(dtype=float)
        if not np.isfinite(values).all():
            place = int(np.flatnonzero(~np.isfinite(values))[0])
            raise InputError(
                f"table {name}: {column} of row {place + 1} is {table[column].iloc[place]}, not a number; "
                f"run {PIPELINE} again"
            )
    return table


def select(table: pd.DataFrame, *, name: str, **wanted) -> pd.DataFrame:
    """Return the rows whose columns equal `wanted`; raises InputError that says what there is instead."""
    for column, value in wanted.items():
        rows = table[table[column] == value]
        if rows.empty:
            there = ", ".join(map(str, sorted(table[column].unique())))
            raise InputError(f"table {name}: no row with {column} {value}; there are {there}")
        table = rows
    return table


def select_precision(table: pd.DataFrame, *, name: str, k: int, gallery: str | None = None) -> pd.DataFrame:
    """Return the precision@k rows of one gallery (None: of all); raises InputError outside 0..1."""
    where = {"metric": "precision", "k": k} | ({"gallery": gallery} if gallery else {})
    rows = select(table, name=name, **where)
    if not rows["value"].between(0, 1).all():
        raise InputError(f"table {name}: precision is a fraction, 0 to 1; found {rows['value'].max():g}")
    return rows


def stricter_gallery(table: pd.DataFrame) -> str:
    """Return the gallery to show when the caller names none: product_excluded where the table has it."""
    return next((gallery for gallery in GALLERIES if gallery in set(table["gallery"])), "naive")


def counted(numbers: Iterable[int], unit: str) -> str:
    """Return `n = 1,440 queries`, or `n = 1,402 to 1,440 queries` where they differ."""
    low, high = int(min(numbers := list(numbers))), int(max(numbers))
    return f"n = {low:,} {unit}" if low == high else f"n = {low:,} to {high:,} {unit}"


def named_seeds(seeds: Iterable[int]) -> str:
    """Return `seeds 1, 2`; seed 0 stands for "nothing random" and is not named."""
    drawn = sorted({int(seed) for seed in seeds} - {0})
    return f"seed{'s' * (len(drawn) > 1)} {', '.join(map(str, drawn))}" if drawn else ""


def add_caption(figure: Figure, *, profile: str, parts: Sequence[str]) -> None:
    """Put the profile and `parts` in one small line (or more) at the bottom of the figure."""
    drawn = ", synthetic catalogue" if profile in DRAWN_PROFILES else ""
    words = " · ".join([f"Profile {profile}{drawn}", *(part for part in parts if part)])
    lines = textwrap.fill(words, width=int(figure.get_figwidth() * 20), break_on_hyphens=False)
    figure.supxlabel(lines, x=0.008, ha="left", fontsize=6.5, color=QUIET, linespacing=1.3)


def name_models(axes: Axes, models: Sequence[str], *, places: Sequence[float]) -> None:
    """Put the models' names on the y axis, without lines, the proposed model's in bold blue."""
    axes.set_yticks(places, [model_name(model) for model in models], rotation=0)
    axes.grid(visible=False, axis="y")
    axes.tick_params(axis="y", length=0)
    for model, label in zip(models, axes.get_yticklabels(), strict=False):  # inner panels have no labels
        if model == PROPOSED:
            label.set(color=BLUE, fontweight="bold")


def bar_looks(model: str) -> dict[str, object]:
    """Return a bar's look: the proposed model in colour, its untrained twin hatched, the rest neutral."""
    if model == UNTRAINED:
        return {"facecolor": "white", "edgecolor": BLUE, "hatch": "////", "linewidth": 0.8}
    return {"facecolor": BLUE if model == PROPOSED else NEUTRAL}


@styled
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


@styled
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


def spread(places: Sequence[float], *, gap: float) -> np.ndarray:
    """Return ascending `places` moved apart to at least `gap`, with the smallest sum of squared moves.

    Distances of at least `gap` between neighbours are an ascending order once `gap` times the rank is taken
    off: scipy's isotonic regression.
    """
    ranks = gap * np.arange(len(places))
    return isotonic_regression(np.asarray(places, dtype=float) - ranks).x + ranks if len(places) else ranks


@styled
def precision_bars(retrieval: pd.DataFrame, *, profile: str, k: int = 5) -> Figure:
    """Draw precision@k of every model, a panel a gallery, sorted by the stricter one (C Fig 8.5, left).

    A bar is the mean over the seeds, a dot one seed, the vertical line the random prior. Raises InputError
    naming the table.
    """
    checked(retrieval, name="retrieval", columns="model gallery metric class", numbers="seed k value n")
    rows = select(select_precision(retrieval, name="retrieval", k=k), name="retrieval", **{"class": "all"})
    means = rows.groupby(["gallery", "model"])["value"].mean()
    galleries = [gallery for gallery in reversed(GALLERIES) if gallery in means.index]
    if not galleries:
        raise InputError(f"table retrieval: no gallery named {' or '.join(GALLERIES)}")
    order = means[galleries[-1]].drop(PRIOR, errors="ignore").sort_values(kind="stable").index.tolist()
    order = [model for model in means.index.unique("model") if model not in {PRIOR, *order}] + order
    figure = Chart(figsize=(WIDTH, 1.15 + 0.21 * len(order)), layout="constrained")
    panels = figure.subplots(1, len(galleries), sharey=True, squeeze=False)[0]
    for axes, gallery in zip(panels, galleries, strict=True):
        _precision_panel(axes, rows[rows["gallery"] == gallery], order=order)
        axes.set_title(GALLERIES[gallery], pad=14)
        axes.set_xlabel(f"Precision@{k}")
    meaning = "bar: mean, dot: one seed" + ", sorted by the right panel" * (len(galleries) > 1)
    add_caption(
        figure, profile=profile, parts=[named_seeds(rows["seed"]), meaning, counted(rows["n"], "queries")]
    )
    return figure


def _precision_panel(axes: Axes, rows: pd.DataFrame, *, order: Sequence[str]) -> None:
    places = {model: place for place, model in enumerate(order)}
    for model, values in rows[rows["model"].isin(places)].groupby("model")["value"]:
        axes.barh(places[model], values.mean(), height=0.72, **bar_looks(model))
        if len(values) > 1:
            dots = {"color": "black", "markersize": 3, "mew": 0.5, "mec": "white"}
            axes.plot(values, [places[model]] * len(values), "o", **dots)
        axes.text(values.max() + 0.025, places[model], f"{values.mean():.3f}", va="center", fontsize=7)
    prior = rows.loc[rows["model"] == PRIOR, "value"]
    if len(prior):
        axes.axvline(prior.mean(), color=VERMILION, **DASHED)
        above = {"transform": axes.get_xaxis_transform(), "ha": "center", "va": "bottom", "fontsize": 7}
        axes.text(prior.mean(), 1.01, f"random {prior.mean():.3f}", color=VERMILION, **above)
    axes.set(xlim=(0, 1.16), ylim=(-0.6, len(order) - 0.4), xticks=np.linspace(0, 1, 6))
    name_models(axes, order, places=range(len(order)))


@styled
def time_bars(latency: pd.DataFrame, *, profile: str) -> Figure:
    """Draw the time to embed one photo, a bar a model and runtime, fastest first (C Fig 8.5, right).

    Batch 1. A bar ends at the median in milliseconds, its whisker at the 95th percentile; the axis is
    logarithmic. Raises InputError naming the table.
    """
    checked(latency, name="latency", columns="model runtime machine", numbers="batch median_ms p95_ms")
    rows = select(latency, name="latency", batch=1)
    rows = rows.sort_values(["median_ms", "runtime"], kind="stable", ignore_index=True)
    if (rows["median_ms"] <= 0).any() or (rows["p95_ms"] < rows["median_ms"]).any():
        raise InputError(
            "table latency: a median is not above 0 or exceeds its 95th percentile; measure again"
        )
    machines = rows["machine"].astype(str).unique()
    series = rows["runtime"] if len(machines) == 1 else rows["runtime"] + ", " + rows["machine"].astype(str)
    height = 1.15 + 0.17 * len(rows) + 0.08 * rows["model"].nunique()
    figure = Chart(figsize=(WIDTH, height), layout="constrained")
    axes = figure.subplots()
    colours = dict(zip(sorted(series.unique()), itertools.cycle(RUNTIME_COLOURS), strict=False))
    models, centres, place = [], [], 0.0
    for model, group in rows.groupby("model", sort=False):
        places = place + np.arange(len(group))
        _time_group(axes, group, places=places, colours=[colours[series[index]] for index in group.index])
        models, centres, place = [*models, model], [*centres, places.mean()], places[-1] + 1.5
    name_models(axes, models, places=centres)
    axes.set_xscale("log")
    axes.set(ylim=(place - 0.9, -0.6), xlabel="Milliseconds a photo, batch 1 (log scale)")
    axes.set_xlim(rows["median_ms"].min() / 2, rows["p95_ms"].max() * 1.9)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    handles = [axes.barh(0, np.nan, color=colour, label=name) for name, colour in colours.items()]
    figure.legend(handles=handles, loc="outside upper left", ncols=min(4, len(handles)))
    parts = ["bar: median, whisker: 95th percentile", f"measured on {' | '.join(sorted(machines))}"]
    add_caption(figure, profile=profile, parts=parts)
    return figure


def _time_group(axes: Axes, group: pd.DataFrame, *, places: np.ndarray, colours: Sequence[str]) -> None:
    tail = np.stack([np.zeros(len(group)), group["p95_ms"] - group["median_ms"]])
    axes.barh(places, group["median_ms"], height=0.82, color=colours)
    whisker = {"fmt": "none", "ecolor": "black", "elinewidth": 0.8, "capsize": 1.8, "capthick": 0.8}
    axes.errorbar(group["median_ms"], places, xerr=tail, **whisker)
    for place, median, end in zip(places, group["median_ms"], group["p95_ms"], strict=True):
        axes.annotate(f"{median:.3g}", (end, place), fontsize=6.5, **BESIDE)


@styled
def class_precision(
    retrieval: pd.DataFrame, *, profile: str, gallery: str | None = None, k: int = 5
) -> Figure:
    """Draw precision@k of every model and class as a heat map, means over the seeds, best model first.

    `gallery` None is the stricter one in the table. Raises InputError naming the table.
    """
    checked(retrieval, name="retrieval", columns="model gallery metric class", numbers="seed k value n")
    gallery = gallery or stricter_gallery(retrieval)
    rows = select_precision(retrieval, name="retrieval", k=k, gallery=gallery)
    rows = rows[~rows["class"].isin(["all", "macro"])]
    if rows.empty:
        raise InputError(f"table retrieval: no single class for gallery {gallery}; run {PIPELINE} again")
    values = rows.pivot_table(index="model", columns="class", values="value", aggfunc="mean")
    values = values.loc[values.mean(axis=1).sort_values(ascending=False, kind="stable").index]
    queries = rows.groupby("class")["n"].max()
    figure = Chart(figsize=(WIDTH, 1.5 + 0.22 * len(values)), layout="constrained")
    axes = figure.subplots()
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
        xticklabels=[f"{label}\nn = {queries[label]:,.0f}" for label in values.columns],
        cbar_kws={"label": f"Precision@{k}", "pad": 0.015, "aspect": 30},
    )
    axes.set(xlabel="", ylabel="", title=GALLERIES.get(gallery, gallery))
    axes.tick_params(axis="x", length=0, rotation=0 if len(queries) <= 9 else 90)
    name_models(axes, list(values.index), places=np.arange(len(values)) + 0.5)
    parts = [named_seeds(rows["seed"]), counted([queries.sum()], "queries")]
    add_caption(figure, profile=profile, parts=parts)
    return figure


@styled
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


# Every chart that the committed tables alone can give, and the table it is drawn from.
CHARTS: dict[str, tuple[Callable[..., Figure], str]] = {
    "photos_per_class": (photos_per_class, "catalogue"),
    "loss_curves": (loss_curves, "training"),
    "checkpoint_curve": (checkpoint_curve, "checkpoints"),
    "precision_bars": (precision_bars, "retrieval"),
    "class_precision": (class_precision, "retrieval"),
    "time_bars": (time_bars, "latency"),
}


def save(figure: Figure, stem: Path) -> list[Path]:
    """Write <stem>.png (150 dpi) and <stem>.pdf, each whole or not at all; close the figure.

    Returns the two files. Neither carries a date or a version: the same figure gives the same bytes.
    """
    written = [stem.with_name(f"{stem.name}.{kind}") for kind in ("png", "pdf")]
    for path in written:
        with files.replacing(path) as temporary:
            write_picture(figure, temporary, kind=path.suffix[1:])
    pyplot.close(figure)
    return written


def read_result(paths: Paths, name: str) -> pd.DataFrame:
    """Return a committed table; raises InputError when it is missing or damaged.

    Empty cells alone are gaps: a class may be called "None", and a NaN in a number must not pass unseen.
    """
    path = paths.result(name)
    try:
        return files.read_table(path, made_by=PIPELINE, keep_default_na=False, na_values=[""])
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: damaged ({error}); restore it or run {PIPELINE} again") from error


def draw_chart(name: str, *, profile: str) -> Figure:
    """Draw chart `name` of a profile from its results table, save it to figures/<profile>/ and return it.

    Notebook and `redraw` both come through here, so a redrawn chart has the same bytes. Raises InputError
    for an unknown name, or a missing or faulty table.
    """
    if name not in CHARTS:
        raise InputError(f"chart {name!r} is unknown; there are {', '.join(CHARTS)}")
    draw, table = CHARTS[name]
    paths = Paths.of(profile)
    figure = draw(read_result(paths, table), profile=profile)
    save(figure, paths.figures / name)
    return figure


def redraw(profile: str, *, report: Callable[[str], None] = print) -> list[Path]:
    """Draw every chart of a profile from results/<profile>/*.csv alone and return the files.

    `report` gets one line a file; a chart whose table is missing or faulty costs one line, the rest is drawn.
    """
    paths, written = Paths.of(profile), []
    for name in CHARTS:
        try:
            draw_chart(name, profile=profile)
        except InputError as error:
            report(f"{name} skipped: {error}")
            continue
        new = [paths.figures / f"{name}.{suffix}" for suffix in ("png", "pdf")]
        for path in new:
            report(str(path.relative_to(paths.root)))
        written += new
    return written


def profiles_with_tables() -> list[str]:
    """Return the folders below results/ that hold tables, sorted; raises InputError when there is none."""
    folder = repository_root() / "results"
    found = sorted({path.parent.name for path in folder.glob("*/*.csv")})
    if not found:
        raise InputError(f"{folder}: no tables yet; {PIPELINE} writes them")
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Redraw the charts from the committed tables: no photos, no training, seconds."""
    parser = argparse.ArgumentParser(prog="python -m solesearch.figures", description=main.__doc__)
    parser.add_argument("profiles", nargs="*", metavar="PROFILE", help="default: all with tables in results/")
    try:
        profiles = parser.parse_args(arguments).profiles or profiles_with_tables()
        written = [path for profile in profiles for path in redraw(profile)]
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0 if written else 1


if __name__ == "__main__":
    sys.exit(main())
