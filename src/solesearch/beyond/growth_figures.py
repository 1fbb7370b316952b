"""The chart of stage growth, drawn from its committed table alone. Same conventions as figures.py."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from solesearch.beyond.growth_experiment import TITLES
from solesearch.core.errors import InputError
from solesearch.figures.drawing import (
    BLUE,
    DASHED,
    GALLERIES,
    NEUTRAL,
    QUIET,
    VERMILION,
    WIDTH,
    Chart,
    add_caption,
    checked,
    counted,
    forest,
    select,
    stricter_gallery,
)
from solesearch.figures.registry import chart

COLOURS = {"before": "black", "added": BLUE, "retrained": BLUE, "stale": VERMILION}  # the rest are controls
NUMBERS = "precision low high n new_share old_photos new_photos"


@chart("growth")
def growth(table: pd.DataFrame, *, profile: str) -> Figure:
    """Draw precision@5 of every way to let the catalogue grow, a panel a part of the queries.

    `table`: growth.csv; the stricter gallery is drawn. Dashed: before growing, of the same network. Raises
    InputError naming the table.
    """
    checked(table, name="growth", columns="experiment queries gallery way", numbers=NUMBERS)
    if not table["precision"].between(0, 1).all() or not set(table["way"]) <= set(TITLES):
        raise InputError(
            "table growth: a precision outside 0 to 1, or an unknown way; run stage growth again"
        )
    rows = select(table, name="growth", gallery=stricter_gallery(table))
    panels = list(rows.groupby(["experiment", "queries"], sort=False))
    order = [name for name in reversed(TITLES) if name in set(rows["way"])]
    figure = Chart(figsize=(WIDTH, 1.2 + 0.27 * len(order)), layout="constrained")
    for axes, ((experiment, queries), part) in zip(
        figure.subplots(1, len(panels), sharey=True, squeeze=False)[0], panels, strict=True
    ):
        _panel(axes, part.set_index("way"), order=order)
        old, new = part["old_photos"].max(), part["new_photos"].max()
        asked = "all queries" if queries == "all" else f"queries: {queries}"
        axes.set_title(f"{experiment.capitalize()}\n{old:,} + {new:,} photos\n{asked}", fontsize=8)
    figure.axes[0].set_yticks(range(len(order)), [TITLES[name] for name in order])
    gallery = GALLERIES[rows["gallery"].iloc[0]].lower()
    parts = [counted(rows["n"], "queries"), gallery, "whiskers: 95 % intervals over products",
             "test photos ask, others answer: not the leave-one-out of precision_bars"]  # fmt: skip
    add_caption(figure, profile=profile, parts=parts)
    return figure


def _panel(axes: Axes, rows: pd.DataFrame, *, order: list[str]) -> None:
    marks = rows.loc[order].rename(columns={"precision": "value"})
    marks["colour"] = [COLOURS.get(name, NEUTRAL) for name in order]
    marks["face"] = ["white" if name.endswith("before") else "" for name in order]
    forest(axes, marks, numbers=".3f")
    axes.axvline(rows.loc["before", "precision"], color=QUIET, **DASHED)
    low, high = rows["low"].min(), rows["high"].max()
    reach = max(high - low, 0.2)
    axes.set_xlim(max(low - 0.06 * reach, -0.05), high + 0.35 * reach)  # room for the numbers
    axes.set(ylim=(-0.6, len(order) - 0.3), xlabel="Precision@5")
    axes.locator_params(axis="x", nbins=4)
