"""The chart of how the networks were retrained (C section 8.3.1.2): loss and gradient, head by head."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from solesearch.core.errors import InputError
from solesearch.core.model_names import HEADS, network_row
from solesearch.figures.drawing import WIDTH, Chart, add_caption, checked, counted
from solesearch.figures.registry import chart

PANELS = {
    "loss": "Loss (nats)",
    "gradient_norm": "Gradient norm below the head",
    "mean_probability": "Probability, right answer",
}
LINES = ("-", "--", ":", "-.")
FLOOR = 1e-6  # one unit's loss and gradient fall to nothing at all, which no logarithmic axis shows


@chart("retraining")
def retraining_curves(retraining: pd.DataFrame, *, profile: str) -> Figure:
    """Draw loss, gradient norm and the right answer's probability over the steps; a line a retrained network.

    `retraining`: model, step and the three measures. A colour a head, a line style a network; loss and norm
    are on logarithmic axes, which end at `FLOOR`. Raises InputError naming the table.
    """
    checked(retraining, name="retraining", columns="model", numbers=f"step {' '.join(PANELS)}")
    figure = Chart(figsize=(WIDTH, 2.7), layout="constrained")
    panels = figure.subplots(1, 3, sharex=True)
    networks = list(dict.fromkeys(_row(model).network for model in retraining["model"]))
    for axes, (measure, title) in zip(panels, PANELS.items(), strict=True):
        axes.set_yscale("linear" if measure == "mean_probability" else "log")
        for model, rows in retraining.groupby("model", sort=False):
            row = _row(model)
            style = LINES[networks.index(row.network) % len(LINES)]
            colour = f"C{list(HEADS).index(row.head)}"
            words = f"{row.network}, {HEADS[row.head].removeprefix('retrained, ')}"
            axes.plot(
                rows["step"], rows[measure].clip(lower=FLOOR), linestyle=style, color=colour, label=words
            )
        axes.set(xlabel="Step", ylim=(0, 1.03) if measure == "mean_probability" else None)
        axes.set_yscale("linear" if measure == "mean_probability" else "log")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=5))
        axes.set_title(title, fontsize=8)
    panels[-1].set_ylim(0, 1.03)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper left", ncols=4)
    steps = counted(retraining.groupby("model")["step"].nunique(), "steps")
    below = (retraining[["loss", "gradient_norm"]] < FLOOR).any(axis=None)
    floor = f"what is below {FLOOR:.0e} is drawn there" if below else ""
    parts = [steps, "one unit: every photo's right answer is 1", floor]
    add_caption(figure, profile=profile, parts=parts)
    return figure


def _row(model: str):
    row = network_row(model)
    if row is None or row.head == "none":
        raise InputError(f"table retraining: {model!r} is no retrained network")
    return row
