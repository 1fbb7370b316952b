"""The chart of the ablation ladder, drawn from its committed table alone.

Same conventions as figures.py: it takes a table, returns a Figure, and equal tables give equal bytes.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from solesearch.beyond.ladder_effects import PAPER, PLAIN, UNTRAINED
from solesearch.figures.drawing import (
    BLUE,
    GALLERIES,
    ORANGE,
    QUIET,
    VERMILION,
    WIDTH,
    Chart,
    add_caption,
    checked,
    counted,
    select,
)
from solesearch.figures.registry import chart, draw_chart  # noqa: F401

ROW = 0.19  # inches a row
# rung as ladder.csv names it -> what a row of it is called by
RUNGS = {
    "the paper's recipe": "recipe",
    "one recipe idea": "recipe",
    "recipe ideas together": "recipe",
    "one training idea": "variant",
    "training and recipe": "variant",
}
LINES = {  # controls drawn through, and how
    "hog": ("HOG", VERMILION, (0, (4, 2))),
    "MobileNetV2": ("ImageNet MobileNetV2", "black", (0, (1, 1.5))),
    UNTRAINED: ("untrained, plain", BLUE, (0, (6, 2, 1, 2))),
}
SPLITS = {"validation": "Validation photos: every idea", "test": "Test photos: the finalists, once"}


@chart("ladder")
def ladder(table: pd.DataFrame, *, profile: str) -> Figure:
    """Draw the precision of every rung with its interval; controls are lines through all of them.

    Above the validation photos, by which models were chosen, below the test photos. Blue: the paper's
    network, hollow: its weights before any training; orange: other trainings, grey: with labels. A
    circle is the plain vector, a diamond another recipe, of other trainings their best on validation photos;
    small dots are single seeds. `table`: ladder.csv.
    """
    text = "rung variant recipe title seed split gallery needs_labels finalist"
    checked(table, name="ladder", columns=text, numbers="k value low high n")
    rows = table.assign(seed=table["seed"].astype(str), recipe=table["recipe"].fillna(""))
    panels = [(split, _places(select(rows, name="ladder", split=split), split=split)) for split in SPLITS]
    heights = [1.75 + placed["place"].max() for _, placed in panels]
    figure = Chart(figsize=(WIDTH, 1.5 + ROW * sum(heights)), layout="constrained")
    axes = figure.subplots(len(panels), 1, sharex=True, height_ratios=heights)
    for one, (split, placed) in zip(axes, panels, strict=True):
        _panel(one, placed)
        _control_lines(one, rows[(rows["split"] == split) & (rows["seed"] == "all")])
        one.set_title(SPLITS[split], loc="left")
    axes[-1].set_xlabel(f"Precision@{int(table['k'].iloc[0])}")
    figure.legend(handles=_legend(rows), loc="outside upper left", ncols=4)
    parts = [
        GALLERIES.get(table["gallery"].iloc[0], table["gallery"].iloc[0]),
        *(counted(rows.loc[rows["split"] == split, "n"], f"{split} queries") for split in SPLITS),
        "bar: 95 % interval over products",
        "small dot: one training seed",
        "of other trainings the plain vector and their best recipe on validation photos",
    ]
    add_caption(figure, profile=profile, parts=parts)
    return figure


def _places(rows: pd.DataFrame, *, split: str) -> pd.DataFrame:
    """Return the rows to draw with `name` and `place`, counted downwards; a gap between rungs.

    On test photos a row is a model, the finalists first; on validation photos trained and untrained share
    the row of a recipe, and a training's plain vector and its other recipes share the training's.
    """
    rows = rows[(rows["recipe"] != "")]
    if split == "test":
        order = pd.to_numeric(rows["finalist"], errors="coerce").fillna(np.inf)
        rows = rows.assign(name=rows["title"], section="", order=order).sort_values("order", kind="stable")
    else:
        rows = _without_lesser(rows)
        rows = rows.assign(
            section=[_section(row) for row in rows.itertuples()],
            name=[_row_name(row) for row in rows.itertuples()],
        )
        known = {name: number for number, name in enumerate(dict.fromkeys(map(_title, RUNGS)))}
        rows = rows.assign(order=rows["section"].map(known)).sort_values("order", kind="stable")
    places, at, last = {}, 0.0, None
    for row in rows.itertuples():
        if (row.section, row.name) not in places:
            at += 0.0 if last is None else (1.0 if row.section == last else 2.0)
            places[row.section, row.name], last = at, row.section
    return rows.assign(place=[places[row.section, row.name] for row in rows.itertuples()])


def _without_lesser(rows: pd.DataFrame) -> pd.DataFrame:
    """Leave out all recipes of another training but `plain` and the best one: two marks a row."""
    means = rows[(rows["seed"] == "all") & (rows["recipe"] != PLAIN)].sort_values("value", ascending=False)
    best = means.drop_duplicates("variant").set_index("variant")["recipe"]
    ready = rows["variant"].isin([PAPER, UNTRAINED]) | (rows["recipe"] == PLAIN)
    return rows[ready | (rows["recipe"] == rows["variant"].map(best))]


def _title(rung: str) -> str:
    return "other trainings" if RUNGS[rung] == "variant" else rung


def _section(row) -> str:
    if row.variant in (PAPER, UNTRAINED) and row.recipe == PLAIN:
        return "the paper's recipe"
    return _title(row.rung)


def _row_name(row) -> str:
    words = str(row.title)
    if row.variant in (PAPER, UNTRAINED):
        return words.partition(": ")[2] or "plain (the paper)"
    return words.partition(": ")[0]


def _names(placed: pd.DataFrame) -> dict[float, str]:
    return dict(zip(placed["place"], placed["name"], strict=True))


def _looks(row) -> dict[str, object]:
    colour = ORANGE if row.variant not in (PAPER, UNTRAINED) else BLUE
    colour = QUIET if str(row.needs_labels).lower() == "true" else colour
    face = "white" if row.variant == UNTRAINED else colour
    return {
        "marker": "o" if row.recipe == PLAIN else "D",
        "color": face,
        "markeredgecolor": colour,
        "markeredgewidth": 1.1,
        "markersize": 5,
        "linestyle": "none",
        "zorder": 4,
    }


def _panel(axes: Axes, placed: pd.DataFrame) -> None:
    for row in placed.itertuples():
        looks = _looks(row)
        below = {PAPER: -0.16, UNTRAINED: 0.16}.get(row.variant, 0.0) * (row.split == "validation")
        if row.seed != "all":
            axes.plot(row.value, row.place + below + 0.2, ".", color=looks["markeredgecolor"], markersize=2.5)
            continue
        ends = [[max(row.value - row.low, 0)], [max(row.high - row.value, 0)]]
        axes.errorbar(
            row.value,
            row.place + below,
            xerr=ends,
            fmt="none",
            ecolor=looks["markeredgecolor"],
            elinewidth=0.9,
            zorder=3,
        )
        axes.plot(row.value, row.place + below, **looks)
    names = _names(placed)
    axes.set_yticks(list(names), list(names.values()), fontsize=7)
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=False, axis="y")
    axes.set_ylim(max(names) + 0.8, -0.95)
    _section_lines(axes, placed)


def _section_lines(axes: Axes, placed: pd.DataFrame) -> None:
    firsts = placed.groupby("section", sort=False)["place"].min()
    for section, place in firsts.items():
        if place > 0:
            axes.axhline(place - 1.05, color="#d0d0d0", linewidth=0.6)
        across = axes.get_yaxis_transform()
        words = {"transform": across, "fontsize": 6.5, "fontstyle": "italic", "color": QUIET}
        axes.text(0.004, place - 0.62, section, va="center", **words)


def _control_lines(axes: Axes, means: pd.DataFrame) -> None:
    for variant, (_, colour, style) in LINES.items():
        rows = means[(means["variant"] == variant) & means["recipe"].isin(["", PLAIN])]
        if not rows.empty:
            axes.axvline(rows["value"].iloc[0], color=colour, linestyle=style, linewidth=1.0, zorder=1)


def _legend(rows: pd.DataFrame) -> Sequence[Line2D]:
    dot = {"linestyle": "none", "markersize": 5, "markeredgewidth": 1.1}
    handles = [
        Line2D([], [], marker="o", color=BLUE, label="the paper's network", **dot),
        Line2D([], [], marker="o", color="white", mec=BLUE, label="the same, untrained", **dot),
        Line2D([], [], marker="o", color=ORANGE, label="another training", **dot),
        Line2D([], [], marker="D", color="white", mec="black", label="diamond: another recipe", **dot),
    ]
    if rows["needs_labels"].astype(str).str.lower().eq("true").where(rows["recipe"] != "", False).any():
        handles.append(Line2D([], [], marker="o", color=QUIET, label="needs labels", **dot))
    there = set(rows["variant"])
    return handles + [
        Line2D([], [], color=colour, linestyle=style, linewidth=1.0, label=name)
        for variant, (name, colour, style) in LINES.items()
        if variant in there
    ]


# Every chart of the stage, and the table it is drawn from.
