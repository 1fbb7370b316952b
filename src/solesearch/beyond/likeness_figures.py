"""Charts of likeness: every model by every measure, and one query with the figures of its answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from solesearch.beyond.effects import finalist_rows
from solesearch.beyond.likeness import Measured, pair_likeness
from solesearch.core.errors import InputError
from solesearch.core.model_names import (
    ABLATION_NAMES,
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
    PURPLE,
    QUIET,
    VERMILION,
    WIDTH,
    Chart,
    add_caption,
    checked,
    counted,
    forest,
    name_models,
    select,
    styled,
)
from solesearch.figures.registry import chart

ROWS, MOST_PANELS = (0.21, 0.17), 6  # inches a model where one line of panels is drawn, or more; in a line
MEASURE_NAMES = {
    "class": "Class",
    "colour": "Colour",
    "shape": "Shape",
    "texture": "Texture",
}
ATTRIBUTE_NAMES = {"colour": "Colour's name"}  # the others are called as the catalogue calls them
COLOURS = {PROPOSED: BLUE, **dict.fromkeys(ABLATION_NAMES, PURPLE)}  # of the models; the others' is QUIET
# gallery -> (mark, colour or "" for the model's own, how far above the row, points, words)
MARKS = {
    "all": ("o", "", 0.0, 4.7, "all photos"),
    "without_bags": (">", ORANGE, 0.22, 3.3, "without bags"),
    "bags_only": ("s", GREEN, -0.22, 3.3, "bags only"),
}


@chart("likeness", beside=("attributes", "ladder", "networks"))
def likeness(
    table: pd.DataFrame,
    *,
    profile: str,
    attributes: pd.DataFrame | None = None,
    ladder: pd.DataFrame | None = None,
    networks: pd.DataFrame | None = None,
) -> Figure:
    """Draw the likeness of queries and their answers, a panel a measure, a row a model, best class first.

    `table`: likeness.csv. A disc is the mean over the seeds with its 95 % interval; where the catalogue holds
    bags and shoes, two small marks show it without bags and for bags alone. The dashed line is the random
    model's mean over all photos. `attributes` (attributes.csv) brings a panel an attribute of the catalogue,
    its dashed line the chance. Of the ablation's models, in purple, `ladder` (ladder.csv) says who the
    finalists are. ImageNet networks stand there as they are, without their variants; `networks`
    (networks.csv) says which of them are untrained. Raises InputError naming the table.
    """
    checked(table, name="likeness", columns="model seed gallery measure class", numbers="value low high n")
    rows = table[(table["class"] == "all") & (table["seed"].astype(str) == "all")]
    rows = rows[[network_row(model) is None or is_plain_network(model) for model in rows["model"]]]
    whole = select(rows, name="likeness", gallery="all")
    if not rows["value"].between(0, 1).all():
        raise InputError(f"table likeness: likeness lies from 0 to 1; found {rows['value'].max():g}")
    order = select(whole, name="likeness", measure="class").sort_values("value", kind="stable")["model"]
    untrained = untrained_networks(networks, order)
    models = sorted(order[order != PRIOR], key=lambda model: model not in untrained)  # without weights lowest
    titles = {measure: words for measure, words in MEASURE_NAMES.items() if measure in set(whole["measure"])}
    panels = [(words, rows[rows["measure"] == measure]) for measure, words in titles.items()]
    panels += _attribute_panels(attributes)
    lines = -(-len(panels) // MOST_PANELS)
    columns = -(-len(panels) // lines)
    row = ROWS[lines > 1]
    figure = Chart(figsize=(WIDTH, 0.9 + lines * (0.5 + row * len(models))), layout="constrained")
    grid = figure.subplots(lines, columns, sharey=True, squeeze=False)
    for axes, (words, measured) in zip(grid.flat, panels, strict=False):
        _draw_measure(axes, measured, models=models)
        axes.set_title(words, pad=14)
    for line in grid:
        name_models(line[0], models, places=range(len(models)), untrained=untrained)
    for axes in grid.flat[len(panels) :]:
        axes.set_axis_off()
    handles, labels = grid[0, 0].get_legend_handles_labels()
    if len(labels) > 1:
        figure.legend(handles, labels, loc="outside upper left", ncols=len(labels))
    words = ["likeness of a query and its answers, 1: equal"]
    words += ["disc: mean, line: 95 % interval, dashed: random answers", counted(whole["n"], "queries")]
    if len(panels) > len(titles):
        words.append(counted(attributes["n"], "of known attribute"))
    add_caption(figure, profile=profile, parts=[*words, *_ablation_words(ladder, models)])
    return figure


def _attribute_panels(attributes: pd.DataFrame | None) -> list[tuple[str, pd.DataFrame]]:
    """Return (title, rows as likeness.csv's) of each attribute; the random model's value is the chance."""
    if attributes is None or attributes.empty:
        return []
    numbers = "value low high chance n"
    rows = checked(attributes, name="attributes", columns="model attribute", numbers=numbers)
    value = rows["value"].where(rows["model"] != PRIOR, rows["chance"])
    rows = rows.assign(gallery="all", value=value)
    return [
        (ATTRIBUTE_NAMES.get(name, name.capitalize()), rows[rows["attribute"] == name])
        for name in rows["attribute"].unique()
    ]


def _ablation_words(ladder: pd.DataFrame | None, models: Sequence[str]) -> list[str]:
    """Return what the caption says of the ablation's models, if there are any."""
    if not set(models) & set(ABLATION_NAMES):
        return []
    words = ["purple: of the ablation, short: on its schedule"]
    if ladder is None:
        return words
    rows = finalist_rows(ladder).itertuples()
    named = ((model_name(f"finalist_{int(row.finalist)}"), row.title) for row in rows)
    return words + [f"{place}: {title}" for place, title in named]


def _draw_measure(axes: Axes, rows: pd.DataFrame, *, models: Sequence[str]) -> None:
    places = {model: place for place, model in enumerate(models)}
    for gallery, (marker, colour, above, size, words) in MARKS.items():
        marks = rows[(rows["gallery"] == gallery) & rows["model"].isin(places)]
        if marks.empty:
            continue
        marks = marks.assign(place=marks["model"].map(places) + above, marker=marker, size=size)
        marks["colour"] = [colour or COLOURS.get(model, QUIET) for model in marks["model"]]
        forest(axes, marks if gallery == "all" else marks.assign(low=np.nan, high=np.nan))
        axes.plot([], [], marker, markersize=size, color=colour or QUIET, label=words)
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


@styled
def likeness_rows(
    pixels: np.ndarray,
    measured: Measured,
    *,
    query: int,
    answers: Mapping[str, np.ndarray],
    profile: str,
    title: str = "",
) -> Figure:
    """Draw a query once a model, the model's answers beside it, and below each answer what the two share.

    `query` and `answers` (model -> int64 [k], nearest first) are rows of pixels uint8 [n, h, w, 3] and of
    `measured`. Raises InputError without answers.
    """
    if not answers or not all(len(rows) for rows in answers.values()):
        raise InputError("likeness picture: no answers to draw; choose at least one query")
    count = max(len(rows) for rows in answers.values())
    tall = WIDTH / (count + 1) * pixels.shape[1] / pixels.shape[2] + 0.125 * len(measured) + 0.3
    figure = Chart(figsize=(WIDTH, 0.5 + len(answers) * tall), layout="constrained")
    for line, (model, rows) in zip(
        figure.subplots(len(answers), count + 1, squeeze=False), answers.items(), strict=True
    ):
        for axes, photo in zip(line, pixels[[query, *rows]], strict=True):
            axes.imshow(photo)
            axes.set(xticks=[], yticks=[])
            axes.spines[:].set(visible=True, linewidth=0.8, color="black" if axes is line[0] else NEUTRAL)
        shared = pair_likeness(measured, np.array([query]), rows[None, :])
        looks = {"color": BLUE, "fontweight": "bold"} if model == PROPOSED else {}
        line[0].set_title(model_name(model), loc="left", fontsize=7, **looks)
        names = "\n".join(MEASURE_NAMES.get(measure, measure) for measure in shared)
        line[0].set_xlabel(names, x=1, ha="right", fontsize=6.5, color=QUIET)
        for number, axes in enumerate(line[1:]):
            values = [likeness[0, number] for likeness in shared.values()]
            words = ["unknown" if np.isnan(value) else f"{value:.2f}" for value in values]
            axes.set_xlabel("\n".join(words), fontsize=6.5)
    figure.suptitle(title, x=0.01, ha="left", fontsize=9)
    parts = [f"left the query, then its top {count}, other products only", "1: equal in that respect"]
    add_caption(figure, profile=profile, parts=parts)
    return figure
