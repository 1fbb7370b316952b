"""What every chart shares: style, checked tables, captions, names on the axis, bytes that stay the same."""

from __future__ import annotations

import functools
import io
import textwrap
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import IO, ParamSpec

import numpy as np
import pandas as pd
import seaborn
from matplotlib import pyplot, style
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.transforms import offset_copy

from solesearch.core import files
from solesearch.core.errors import InputError
from solesearch.core.measures import DRAWN
from solesearch.core.model_names import PROPOSED, UNTRAINED, model_name, network_row
from solesearch.figures.lettering import letter, mark_powers

Options = ParamSpec("Options")
STYLE = Path(__file__).with_name("solesearch.mplstyle")
WIDTH = 7.2  # inches: both columns of a page
BLUE, ORANGE, GREEN, VERMILION, PURPLE = seaborn.color_palette("colorblind").as_hex()[:5]
NEUTRAL, QUIET, FAINT = "#b0b0b0", "#5f5f5f", "#9a9a9a"
DASHED = {"linestyle": (0, (4, 3)), "linewidth": 0.9}
WHISKER = {"fmt": "none", "ecolor": "black", "elinewidth": 0.9, "capsize": 2, "capthick": 0.9, "zorder": 3}
MARK = {"colour": "black", "face": "", "marker": "D", "size": 4.5}  # of a row in a forest plot
BESIDE = {"xytext": (4, 0), "textcoords": "offset points", "va": "center"}  # a number after its bar
GALLERIES = {"product_excluded": "Product-excluded gallery", "naive": "Naive gallery"}  # the stricter first
PIPELINE = "the pipeline (dvc repro)"


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
            letter(figure)
            mark_powers(figure)
            if layout := figure.get_layout_engine():
                layout.execute(figure)
                figure.set_layout_engine("none")
                mark_powers(figure)  # another width may have brought other numbers
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


def select_all_queries(retrieval: pd.DataFrame, *, k: int) -> pd.DataFrame:
    """Return retrieval.csv's precision@k rows over all queries; raises InputError naming the table."""
    checked(retrieval, name="retrieval", columns="model gallery metric class", numbers="seed k value n")
    rows = select_precision(retrieval, name="retrieval", k=k)
    return select(rows, name="retrieval", **{"class": "all"})


def galleries_of(rows: pd.DataFrame) -> list[str]:
    """Return the galleries that `rows` hold, the stricter one last; raises InputError when there is none."""
    found = [gallery for gallery in reversed(GALLERIES) if gallery in set(rows["gallery"])]
    if not found:
        raise InputError(f"table retrieval: no gallery named {' or '.join(GALLERIES)}")
    return found


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
    drawn = ", synthetic catalogue" if profile in DRAWN else ""
    words = " · ".join([f"Profile {profile}{drawn}", *(part for part in parts if part)])
    lines = textwrap.fill(words, width=int(figure.get_figwidth() * 20), break_on_hyphens=False)
    figure.supxlabel(lines, x=0.008, ha="left", fontsize=6.5, color=QUIET, linespacing=1.3)


def name_models(
    axes: Axes, models: Sequence[str], *, places: Sequence[float], untrained: Collection[str] = ()
) -> None:
    """Put the models' names on the y axis: the proposed in bold blue, `untrained` in grey italics."""
    axes.set_yticks(places, [model_name(model) for model in models], rotation=0)
    axes.grid(visible=False, axis="y")
    axes.tick_params(axis="y", length=0)
    for model, label in zip(models, axes.get_yticklabels(), strict=False):  # inner panels have no labels
        if model == PROPOSED:
            label.set(color=BLUE, fontweight="bold")
        if model in untrained:
            label.set(color=QUIET, fontstyle="italic")


def bar_looks(model: str, *, untrained: Collection[str] = ()) -> dict[str, object]:
    """Return a bar's look: the proposed model blue, its untrained twin hatched, ImageNet networks orange.

    A network in `untrained` is a hollow grey bar, every other model a grey one.
    """
    if model == UNTRAINED:
        return {"facecolor": "white", "edgecolor": BLUE, "hatch": "////", "linewidth": 0.8}
    if model in untrained:
        return {"facecolor": "white", "edgecolor": FAINT, "linewidth": 0.8}
    if network_row(model):
        return {"facecolor": ORANGE}
    return {"facecolor": BLUE if model == PROPOSED else NEUTRAL}


def add_column(axes: Axes, cells: Mapping[float, str], *, head: str, at: float) -> None:
    """Write texts {place on the y axis: text} as a column right of the axes, its right edge `at` inches."""
    beyond = offset_copy(axes.get_yaxis_transform(), axes.figure, x=at)
    for place, text in cells.items():
        axes.text(1, place, text, transform=beyond, ha="right", va="center", fontsize=7)
    above = offset_copy(axes.transAxes, axes.figure, x=at, y=0.03)
    axes.text(1, 1, head, transform=above, ha="right", va="bottom", fontsize=7, color=QUIET, linespacing=1)


def forest(axes: Axes, table: pd.DataFrame, *, numbers: str = "") -> None:
    """Draw a forest plot: each row of `table` a mark at its value, with a whisker from low to high.

    `table`: value, low, high (NaN: no whisker) and, where wanted, place (on the y axis; else 0, 1, ...
    upwards), colour (of whisker and mark; else black), face (the mark's filling; else its colour), marker
    (else a diamond; "" beside a bar: the whisker alone) and size (points). `numbers`, say ".3f", writes each
    value after its whisker.
    """
    rows = table.assign(**{name: look for name, look in MARK.items() if name not in table})
    if "place" not in table:
        rows["place"] = np.arange(len(rows))
    for row in rows.itertuples():
        ends = np.nan_to_num(np.maximum([[row.value - row.low], [row.high - row.value]], 0))
        looks = {"color": row.colour, "markerfacecolor": row.face or row.colour, "markersize": row.size}
        looks = {**WHISKER, **looks, "fmt": row.marker or "none", "ecolor": row.colour}
        axes.errorbar(row.value, row.place, xerr=ends, **looks)
        if numbers:
            end = max(row.value, np.nan_to_num(row.high))
            axes.annotate(f"{row.value:{numbers}}", (end, row.place), fontsize=7, **BESIDE)
    axes.grid(visible=False, axis="y")
    axes.tick_params(axis="y", length=0)


def interval_bounds(intervals: pd.DataFrame | None, *, gallery: str, k: int) -> pd.DataFrame:
    """Return low and high of the 95 % interval of each model's mean over the seeds; no rows without a table.

    `intervals`: model, seed (`all` is the mean over the seeds), gallery, k, low, high. A model with one row
    has that row's interval. The index is the model.
    """
    if intervals is None:
        return pd.DataFrame(columns=["low", "high"], dtype=float)
    checked(intervals, name="intervals", columns="model seed gallery", numbers="k low high")
    rows = intervals[(intervals["gallery"] == gallery) & (intervals["k"] == k)]
    rows = rows[rows["metric"] == "precision"] if "metric" in rows else rows
    alone = rows.groupby("model")["seed"].transform("size") == 1
    return rows[alone | (rows["seed"].astype(str) == "all")].set_index("model")[["low", "high"]]


def save(figure: Figure, stem: Path, *, kinds: Sequence[str] = ("png",)) -> list[Path]:
    """Write <stem>.png (150 dpi), or the `kinds` named (png, pdf), each whole or not at all; close it.

    Returns the files. None carries a date or a version: the same figure gives the same bytes.
    """
    written = [stem.with_name(f"{stem.name}.{kind}") for kind in kinds]
    for path in written:
        with files.replacing(path) as temporary:
            write_picture(figure, temporary, kind=path.suffix[1:])
    pyplot.close(figure)
    return written
