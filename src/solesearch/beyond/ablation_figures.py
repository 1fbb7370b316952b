"""The chart of the ablation, drawn from its committed table alone."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from solesearch.beyond.effects import PAPER, UNTRAINED, is_control
from solesearch.beyond.methods import PLAIN
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
    forest,
    select,
)
from solesearch.figures.registry import chart

ROW = 0.19  # inches a row
OWN = (PAPER, UNTRAINED)  # trained and untrained weights of the paper's network share a row
SECTIONS = ("the paper's recipe", "one recipe idea", "recipe ideas together", "other trainings")
LINES = {  # drawn through, with the post-processing that is best for each on validation photos, and how
    "hog": ("HOG", VERMILION, (0, (4, 2))),
    "MobileNetV2": ("ImageNet MobileNetV2", "black", (0, (1, 1.5))),
    "MobileNet": ("ImageNet MobileNet", QUIET, (0, (1, 1.5))),
}
SPLITS = {"validation": "Validation photos: every idea", "test": "Test photos: the finalists, once"}


@chart("ladder")
def ladder(table: pd.DataFrame, *, profile: str) -> Figure:
    """Draw the precision of every model with its interval; controls are lines through all of them.

    Above the validation photos, by which models were chosen, below the test photos. Blue: the paper's
    network, hollow: its weights before any training; orange: other trainings, grey: with labels. A line is a
    control with its best post-processing. A circle is the plain vector, a diamond another method, of other
    trainings their best on validation photos; small dots are single seeds. `table`: ladder.csv.
    """
    text = "rung variant recipe title seed split gallery needs_labels finalist"
    checked(table, name="ladder", columns=text, numbers="k value low high n")
    labelled = table["needs_labels"].astype(str).str.lower() == "true"
    rows = table.assign(
        seed=table["seed"].astype(str), recipe=table["recipe"].fillna(""), needs_labels=labelled
    )
    parts = {split: select(rows, name="ladder", split=split) for split in SPLITS}
    lines = best_of_each(rows[rows["variant"].isin(LINES)])
    models = rows[~rows["variant"].map(is_control)]
    panels = {split: with_places(models[models["split"] == split], split=split) for split in parts}
    heights = [1.75 + placed["place"].max() for placed in panels.values()]
    figure = Chart(figsize=(WIDTH, 1.5 + ROW * sum(heights)), layout="constrained")
    axes = figure.subplots(len(panels), 1, sharex=True, height_ratios=heights)
    for panel, (split, placed) in zip(axes, panels.items(), strict=True):
        _draw_models(panel, placed)
        _name_rows(panel, placed)
        _draw_controls(panel, lines[lines["split"] == split])
        panel.set_title(SPLITS[split], loc="left")
    axes[-1].set_xlabel(f"Precision@{int(table['k'].iloc[0])}")
    figure.legend(handles=_legend(rows), loc="outside upper left", ncols=4)
    caption = [
        GALLERIES.get(table["gallery"].iloc[0], table["gallery"].iloc[0]),
        *(counted(part["n"], f"{split} queries") for split, part in parts.items()),
        "bar: 95 % interval over products",
        "small dot: one training seed",
        "of other trainings the plain vector and their best recipe on validation photos; lines likewise",
    ]
    add_caption(figure, profile=profile, parts=caption)
    return figure


def with_places(rows: pd.DataFrame, *, split: str) -> pd.DataFrame:
    """Return the rows to draw with `section`, `name` and `place`, counted downwards; a gap between sections.

    On test photos a row is a model, the finalists first. On validation photos trained and untrained share the
    row of a method, and a training's plain vector and its best other method share the training's.
    """
    if split == "test":
        order = pd.to_numeric(rows["finalist"], errors="coerce").fillna(np.inf)
        rows = rows.assign(section="", name=rows["title"], order=order)
    else:
        means = rows[(rows["seed"] == "all") & (rows["recipe"] != PLAIN)].sort_values(
            "value", ascending=False
        )
        best = means.drop_duplicates("variant").set_index("variant")["recipe"]
        own = rows["variant"].isin(OWN)
        rows = rows[own | (rows["recipe"] == PLAIN) | (rows["recipe"] == rows["variant"].map(best))]
        own, words = rows["variant"].isin(OWN), rows["title"].str.partition(": ")
        section = rows["rung"].where(own, SECTIONS[-1]).mask(own & (rows["recipe"] == PLAIN), SECTIONS[0])
        name = words[0].mask(own, words[2].replace("", "plain (the paper)"))
        rows = rows.assign(section=section, name=name, order=section.map(SECTIONS.index))
    rows = rows.sort_values("order", kind="stable")
    lines = rows[["section", "name"]].drop_duplicates()
    steps = np.where(lines["section"] == lines["section"].shift(), 1.0, 2.0)
    return rows.merge(lines.assign(place=np.cumsum(steps) - 2), on=["section", "name"])


def _draw_models(axes: Axes, placed: pd.DataFrame) -> None:
    own, untrained = placed["variant"].isin(OWN), placed["variant"] == UNTRAINED
    shift = np.where(placed["split"] == "validation", np.where(own, np.where(untrained, 0.16, -0.16), 0), 0)
    colour = np.where(placed["needs_labels"], QUIET, np.where(own, BLUE, ORANGE))
    marker = np.where(placed["recipe"] == PLAIN, "o", "D")
    face = np.where(untrained, "white", colour)
    marks = placed.assign(place=placed["place"] + shift, colour=colour, face=face, marker=marker)
    means = marks["seed"] == "all"
    forest(axes, marks[means])
    seeds = marks[~means]
    axes.scatter(seeds["value"], seeds["place"] + 0.2, s=3, c=seeds["colour"], linewidths=0)


def _name_rows(axes: Axes, placed: pd.DataFrame) -> None:
    names = placed.drop_duplicates("place")
    axes.set_yticks(names["place"], names["name"], fontsize=7)
    axes.set_ylim(names["place"].max() + 0.8, -0.95)
    for section, place in placed.groupby("section", sort=False)["place"].min().items():
        if place > 0:
            axes.axhline(place - 1.05, color="#d0d0d0", linewidth=0.6)
        words = {"fontsize": 6.5, "fontstyle": "italic", "color": QUIET, "va": "center"}
        axes.text(0.004, place - 0.62, section, transform=axes.get_yaxis_transform(), **words)


def best_of_each(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows (seed `all`, both splits) of each variant's best recipe by validation photos."""
    means = rows[rows["seed"] == "all"]
    ranked = means[means["split"] == "validation"].sort_values("value", ascending=False, kind="stable")
    best = ranked.drop_duplicates("variant").set_index("variant")["recipe"]
    return means[means["recipe"] == means["variant"].map(best)]


def _draw_controls(axes: Axes, lines: pd.DataFrame) -> None:
    for row in lines.itertuples():
        _, colour, style = LINES[row.variant]
        axes.axvline(row.value, color=colour, linestyle=style, linewidth=1.0, zorder=1)


def _legend(rows: pd.DataFrame) -> list[Line2D]:
    marks = [
        ("o", BLUE, BLUE, "the paper's network"),
        ("o", "white", BLUE, "the same, untrained"),
        ("o", ORANGE, ORANGE, "another training"),
        ("D", "white", "black", "diamond: another recipe"),
    ]
    marks += [("o", QUIET, QUIET, "needs labels")] * bool(
        (rows["needs_labels"] & ~rows["variant"].map(is_control)).any()
    )
    dot = {"linestyle": "none", "markersize": 5, "markeredgewidth": 1.1}
    handles = [
        Line2D([], [], marker=marker, color=face, markeredgecolor=edge, label=words, **dot)
        for marker, face, edge, words in marks
    ]
    return handles + [
        Line2D([], [], color=colour, linestyle=style, linewidth=1.0, label=words)
        for variant, (words, colour, style) in LINES.items()
        if variant in set(rows["variant"])
    ]
