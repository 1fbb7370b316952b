"""The chart of training's speed, drawn from its committed table alone. Same conventions as figures.py."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from solesearch.cost.training_benchmark import BASELINE, FED, FUSED, ONE, PIPELINE
from solesearch.figures.drawing import (
    BLUE,
    DASHED,
    NEUTRAL,
    ORANGE,
    QUIET,
    WHISKER,
    WIDTH,
    Chart,
    add_caption,
    checked,
    select,
)
from solesearch.figures.registry import chart, draw_chart  # noqa: F401

BAR = 1.3  # times the plain loop: what the project asks of itself


@chart("training_speed")
def training_speed(table: pd.DataFrame, *, profile: str) -> Figure:
    """Draw images per second of every contender, its ratio to the plain loop beside it.

    `table`: columns of training_benchmark.COLUMNS. The input pipeline alone is far off the axis and stands in
    the caption. Dashed: 1.3 times the plain loop. Raises InputError naming the table.
    """
    numbers = "images_per_second low high steps batch processes threads"
    checked(
        table, name="training_speed", columns="what generator passes executor machine ratio", numbers=numbers
    )
    base = select(table, name="training_speed", what=BASELINE).iloc[0]
    pipeline = select(table, name="training_speed", what=PIPELINE).iloc[0]
    fed = select(table, name="training_speed", what=FED).iloc[0]
    rows = table[~table["what"].isin((PIPELINE, FED))].iloc[::-1]
    figure = Chart(figsize=(WIDTH, 1.2 + 0.3 * len(rows)), layout="constrained")
    axes = figure.add_subplot()
    for place, row in enumerate(rows.to_dict("records")):
        ours = row["generator"] == FUSED and row["passes"] == ONE
        colour = ORANGE if row["what"] == BASELINE else BLUE if ours else NEUTRAL
        value, ratio = row["images_per_second"], row["ratio"]
        axes.barh(place, value, height=0.62, facecolor=colour)
        ends = [[max(value - row["low"], 0)], [max(row["high"] - value, 0)]]
        axes.errorbar(value, place, xerr=ends, **WHISKER)
        words = f"{value:.0f}" + (f"  ({ratio:.2f}×)" if np.isfinite(ratio) else "")
        axes.annotate(
            words, (row["high"], place), xytext=(5, 0), textcoords="offset points", va="center", fontsize=7
        )
    axes.axvline(BAR * base["images_per_second"], color=QUIET, **DASHED)
    axes.set_yticks(range(len(rows)), [_name(row) for row in rows.to_dict("records")])
    axes.set(xlabel="Images per second", xlim=(0, 1.25 * rows["high"].max()), ylim=(-0.6, len(rows) - 0.4))
    axes.grid(visible=False, axis="y")
    axes.tick_params(axis="y", length=0)
    parts = [f"batch {base['batch']:,}", f"{base['steps']:,} steps each, in turns; whiskers: 10 to 90 %",
             f"dashed: {BAR:g} times the plain loop",
             f"input pipeline alone {pipeline['images_per_second']:,.0f} images/s, "
             f"{fed['waiting']:.1%} of a step waits for it", base["machine"]]  # fmt: skip
    add_caption(figure, profile=profile, parts=parts)
    return figure


def _name(row: dict) -> str:
    threads = f"{row['processes']} × {row['threads']}" if row["processes"] > 1 else str(row["threads"])
    unit = "thread" if threads == "1" else "threads"
    return f"{row['what'].removesuffix(', one thread')} [{threads} {unit}]"
