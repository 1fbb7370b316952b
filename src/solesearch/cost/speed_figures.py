"""The chart of training's speed, drawn from its committed table alone. Same conventions as figures.py."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from solesearch.figures.drawing import (
    BESIDE,
    BLUE,
    DASHED,
    NEUTRAL,
    ORANGE,
    QUIET,
    WIDTH,
    Chart,
    add_caption,
    checked,
    forest,
    select,
)
from solesearch.figures.registry import chart

# what the rows of training_speed.csv are called
FUSED, PLAIN = "fused", "resize, then convolution"
ONE, TWO = "one, shared", "two"
BASELINE = "plain two-tape loop"
PIPELINE = "input pipeline alone"
FED = "InfoGan.train_step, one thread, fed by the pipeline"
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
    ours = (rows["generator"] == FUSED) & (rows["passes"] == ONE)
    colours = np.where(rows["what"] == BASELINE, ORANGE, np.where(ours, BLUE, NEUTRAL))
    axes.barh(range(len(rows)), rows["images_per_second"], height=0.62, color=colours)
    forest(axes, rows.rename(columns={"images_per_second": "value"}).assign(marker=""))
    for place, row in enumerate(rows.itertuples()):
        words = f"{row.images_per_second:.0f}" + (f"  ({row.ratio:.2f}×)" if np.isfinite(row.ratio) else "")
        axes.annotate(words, (row.high, place), fontsize=7, **BESIDE)
    axes.axvline(BAR * base["images_per_second"], color=QUIET, **DASHED)
    axes.set_yticks(range(len(rows)), [_name(row) for row in rows.to_dict("records")])
    axes.set(xlabel="Images per second", xlim=(0, 1.25 * rows["high"].max()), ylim=(-0.6, len(rows) - 0.4))
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
