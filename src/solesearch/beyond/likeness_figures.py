"""Charts of likeness: every model by every measure, and one query with the figures of its answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from solesearch.beyond.likeness import Looks, answers_of, pair_likeness
from solesearch.core.errors import InputError
from solesearch.core.model_names import (
    PRIOR,
    PROPOSED,
    is_plain_network,
    model_name,
    network_row,
    untrained_networks,
)
from solesearch.figures.drawing import (
    BLUE,
    DASHED,
    GREEN,
    NEUTRAL,
    ORANGE,
    QUIET,
    VERMILION,
    WIDTH,
    Chart,
    add_caption,
    checked,
    counted,
    name_models,
    select,
    styled,
)
from solesearch.figures.galleries import Sheet
from solesearch.figures.registry import chart, draw_chart  # noqa: F401

if TYPE_CHECKING:
    from solesearch.evaluation.study import Study

SHOWN = (PROPOSED, "hog", "colour_histogram")  # in the picture of one query
MEASURE_NAMES = {
    "class": "Class",
    "named_colour": "Colour's name",
    "colour": "Colour",
    "shape": "Shape",
    "texture": "Texture",
}
# gallery -> (mark, colour or "" for the model's own, words)
MARKS = {
    "all": ("o", "", "all photos"),
    "without_bags": (">", ORANGE, "without bags"),
    "bags_only": ("s", GREEN, "bags only"),
}
SIDE, LINE = 1.0, 0.125  # inches: a photo in the picture, a line of text


@chart("likeness", beside=("networks",))
def likeness(table: pd.DataFrame, *, profile: str, networks: pd.DataFrame | None = None) -> Figure:
    """Draw the likeness of queries and their answers, a panel a measure, a row a model, best class first.

    `table`: likeness.csv. A disc is the mean over the seeds with its 95 % interval; where the catalogue holds
    bags and shoes, two small marks show it without bags and for bags alone. The dashed line is the random
    model's mean over all photos. ImageNet networks stand there as they are, without their variants;
    `networks` (networks.csv) says which of them are untrained. Raises InputError naming the table.
    """
    checked(table, name="likeness", columns="model seed gallery measure class", numbers="value low high n")
    rows = table[(table["class"] == "all") & (table["seed"].astype(str) == "all")]
    rows = select(rows[[_shown(model) for model in rows["model"]]], name="likeness")
    if not rows["value"].between(0, 1).all():
        raise InputError(f"table likeness: likeness lies from 0 to 1; found {rows['value'].max():g}")
    measures = [measure for measure in MEASURE_NAMES if measure in set(rows["measure"])]
    whole = select(rows, name="likeness", gallery="all")
    order = select(whole, name="likeness", measure="class").sort_values("value", kind="stable")
    untrained = untrained_networks(networks, order["model"])
    ranked = sorted(order["model"], key=lambda model: model not in untrained)  # those without weights lowest
    models = [model for model in ranked if model != PRIOR]
    figure = Chart(figsize=(WIDTH, 1.5 + 0.24 * len(models)), layout="constrained")
    panels = figure.subplots(1, len(measures), sharey=True, squeeze=False)[0]
    for axes, measure in zip(panels, measures, strict=True):
        _panel(axes, rows[rows["measure"] == measure], models=models)
        axes.set_title(MEASURE_NAMES[measure], pad=14)
    name_models(panels[0], models, places=range(len(models)), untrained=untrained)
    handles, labels = panels[0].get_legend_handles_labels()
    if len(labels) > 1:
        figure.legend(handles, labels, loc="outside upper left", ncols=len(labels))
    parts = [
        "likeness of a query and its answers, 1: equal",
        "disc: mean, line: 95 % interval, dashed: random answers",
    ]
    add_caption(figure, profile=profile, parts=[*parts, counted(whole["n"], "queries")])
    return figure


def _shown(model: str) -> bool:
    return network_row(model) is None or is_plain_network(model)


def _panel(axes: Axes, rows: pd.DataFrame, *, models: Sequence[str]) -> None:
    places = {model: place for place, model in enumerate(models)}
    kinds = [name for name in MARKS if name in set(rows["gallery"])]
    lifts = dict(zip(kinds, (0.0, 0.22, -0.22), strict=False))  # the small marks above and below the disc
    for gallery in kinds:
        mark, colour, words = MARKS[gallery]
        found = rows[(rows["gallery"] == gallery) & rows["model"].isin(places)]
        heights = np.array([places[model] for model in found["model"]]) + lifts[gallery]
        colours = [colour or (BLUE if model == PROPOSED else QUIET) for model in found["model"]]
        if gallery == "all":
            axes.hlines(heights, found["low"], found["high"], colors=colours, linewidth=1.4, zorder=2)
        size = 22 if gallery == "all" else 11
        looks = {"marker": mark, "s": size, "c": colours, "linewidths": 0, "zorder": 3}
        axes.scatter(found["value"], heights, label=words, **looks)
    random = rows.loc[(rows["model"] == PRIOR) & (rows["gallery"] == "all"), "value"]
    if len(random):
        axes.axvline(random.mean(), color=VERMILION, zorder=1, **DASHED)
        above = {"transform": axes.get_xaxis_transform(), "ha": "center", "va": "bottom", "fontsize": 6.5}
        axes.text(random.mean(), 1.01, f"random {random.mean():.2f}", color=VERMILION, **above)
    axes.set_ylim(-0.6, len(models) - 0.4)
    axes.margins(x=0.12)
    axes.locator_params(axis="x", nbins=4)
    axes.tick_params(axis="x", labelsize=6.5)
    for place in range(len(models)):
        axes.axhline(place, color="#ececec", linewidth=0.5, zorder=0)
    axes.grid(visible=False, axis="y")
    axes.tick_params(axis="y", length=0)


# --- one query, with its answers' figures ----------------------------------------------------------------


@dataclass(frozen=True)
class MeasuredRow:
    """One model's answers to one query: uint8 photos [h, w, 3], nearest first, and their likeness with it."""

    model: str
    query: np.ndarray
    answers: list[np.ndarray]
    likeness: Mapping[str, np.ndarray]  # measure -> float [k]


def measured_rows(
    study: Study, photos: pd.DataFrame, looks: Looks, *, query: str, k: int
) -> list[MeasuredRow]:
    """Return the rows of the proposed model and two controls for one test photo's id.

    `photos` and `looks` are the test photos; other photos of the query's product do not answer.
    """
    from solesearch.evaluation.study import model_vectors

    (_, pixels), window = study.split("test"), study.evaluation.exclusion_window
    row, rows = int(np.flatnonzero(photos["id"] == query)[0]), []
    for model in SHOWN:
        _, vectors = model_vectors(study, model, seed=study.seeds[0] if model == PROPOSED else 0)
        answers = answers_of(vectors, photos, k=k, window=window)[row]
        if (answers >= 0).all():
            rows.append(measured_row(model, pixels, looks, query=row, answers=answers))
    return rows


def measured_row(
    model: str, pixels: np.ndarray, looks: Looks, *, query: int, answers: np.ndarray
) -> MeasuredRow:
    """Return the row of photo `query` and its `answers` int64 [k]: rows of pixels [n, h, w, 3], `looks`."""
    likeness = pair_likeness(looks, np.array([query]), answers[None, :])
    shown = {measure: values[0] for measure, values in likeness.items()}
    return MeasuredRow(model, pixels[query], [pixels[row] for row in answers], shown)


@styled
def likeness_rows(rows: Sequence[MeasuredRow], *, profile: str, title: str = "") -> Figure:
    """Draw a query once a row, with a model's answers beside it and each answer's likeness by every measure.

    Raises InputError without rows or answers.
    """
    if not rows or not all(row.answers for row in rows):
        raise InputError("likeness picture: no answers to draw; choose at least one query")
    measures = [measure for measure in MEASURE_NAMES if measure in rows[0].likeness]
    side = min(SIDE, (WIDTH - 1.4) / (len(rows[0].answers) + 1) - 0.1)
    tall = side * min(1.5, max(row.query.shape[0] / row.query.shape[1] for row in rows))
    step, head = tall + LINE * len(measures) + 0.3, 0.45 if title else 0.2
    sheet = Sheet(head + len(rows) * step + 0.15)
    if title:
        sheet.write(title, left=0.08, top=0.08, va="top", fontsize=9)
    for number, row in enumerate(rows):
        _draw_measured(sheet, row, top=head + number * step, side=side, tall=tall, measures=measures)
    parts = [f"top {len(rows[0].answers)}, other products only", "1: equal to the query in that respect"]
    add_caption(sheet.figure, profile=profile, parts=parts)
    return sheet.figure


def _draw_measured(
    sheet: Sheet, row: MeasuredRow, *, top: float, side: float, tall: float, measures: Sequence[str]
) -> None:
    looks = {"color": BLUE, "fontweight": "bold"} if row.model == PROPOSED else {}
    sheet.write(model_name(row.model), left=0.08, top=top - 0.03, va="bottom", fontsize=7, **looks)
    places = [1.2 + number * (side + 0.1) for number in range(len(row.answers) + 1)]
    places[0] = 0.1  # the query stands apart; the measures' names lie between it and the answers
    for place, photo in zip(places, [row.query, *row.answers], strict=True):
        axes = sheet.show(photo, left=place, top=top, width=side, height=tall)
        axes.spines[:].set(visible=True, linewidth=0.8, color=NEUTRAL if place > places[0] else "black")
    sheet.write(
        "query", left=places[0] + side / 2, top=top + tall + 0.05, va="top", ha="center", fontsize=6.5
    )
    for line, measure in enumerate(measures):
        at = top + tall + 0.05 + line * LINE
        words = {"top": at, "va": "top", "fontsize": 6.5}
        sheet.write(MEASURE_NAMES[measure], left=places[1] - 0.1, ha="right", color=QUIET, **words)
        for place, value in zip(places[1:], row.likeness[measure], strict=True):
            shown = "unknown" if np.isnan(value) else f"{value:.2f}"
            sheet.write(shown, left=place + side / 2, ha="center", **words)
