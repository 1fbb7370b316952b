"""Charts of the ImageNet networks: precision beside P's, retraining, input scaling (C Fig 8.5, C 8.3.1.2).

A network without ImageNet weights here is drawn hollow and grey, its name in italics, in a group of its own.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from solesearch.core.errors import InputError
from solesearch.core.model_names import (
    CONTROLS,
    HEADS,
    NO_WEIGHTS_WORDS,
    PRIOR,
    PROPOSED,
    is_plain_network,
    model_name,
    network_row,
    published_networks,
    untrained_networks,
)
from solesearch.core.published import published_by_scaling, published_row
from solesearch.figures.drawing import (
    BLUE,
    DASHED,
    FAINT,
    GALLERIES,
    GREEN,
    NEUTRAL,
    ORANGE,
    PIPELINE,
    VERMILION,
    WIDTH,
    Chart,
    add_caption,
    add_column,
    bar_looks,
    checked,
    counted,
    forest,
    galleries_of,
    interval_bounds,
    name_models,
    named_seeds,
    select,
    select_all_queries,
    stricter_gallery,
)
from solesearch.figures.registry import chart

K = 5
PRINTED = {"marker": "D", "markersize": 4.5, "color": "white", "markeredgecolor": "black"}
GROUP_GAP = 0.6  # rows between the groups of a chart
ROW, STEP = 0.34, 0.18  # inches a network with several marks; rows from one mark to the next
ABOVE = {"ha": "center", "va": "bottom", "fontsize": 7}  # a word over its line
MARKS = {  # head or input scaling -> its words in the legend, mark, colour
    "head": {
        "none": ("not retrained", "o", NEUTRAL),
        "one_unit": ("one unit (C 8.3.1.2)", "^", VERMILION),
        "classes": ("classes", "s", GREEN),
    },
    "scaling": {
        "caffe": ("caffe: BGR less mean", "o", BLUE),
        "tf": ("tf: -1 to 1", "s", ORANGE),
        "torch": ("torch: mean, deviation", "^", GREEN),
        "none": ("none: 0 to 255", "v", VERMILION),
    },
}
LINES = ("-", "--", ":", "-.")
STEP_PANELS = {
    "loss": "Loss (nats)",
    "gradient_norm": "Gradient norm below the head",
    "mean_probability": "Probability, right answer",
}
FLOOR = 1e-6  # one unit's loss and gradient fall to nothing at all, which no logarithmic axis shows


def placed(groups: Sequence[Sequence[str]]) -> dict[str, float]:
    """Return model -> place on the y axis: groups from top to bottom, a gap between them."""
    places, place = {}, 0.0
    for group in filter(None, groups):
        places |= {model: place + number for number, model in enumerate(group)}
        place += len(group) + GROUP_GAP
    return places


def apart(models: Iterable[str], untrained: Collection[str]) -> list[list[str]]:
    """Return two groups: the models with weights, then those without."""
    return [[model for model in models if (model in untrained) == late] for late in (False, True)]


def _height(places: Mapping[str, float]) -> float:
    return max(places.values()) + 1


def _name_rows(axes: Axes, places: Mapping[str, float], *, untrained: Collection[str]) -> None:
    axes.set_ylim(_height(places) - 0.4, -0.6)
    name_models(axes, list(places), places=list(places.values()), untrained=untrained)


def _counted(counts: pd.Series) -> list[str]:
    few = counts.min() < 0.9 * counts.max()
    words = ["a smaller n: part of the test photos, so fewer that can be found"] if few else []
    return [counted(counts, "queries"), *words]


def _legend(figure: Figure, handles: list) -> None:
    figure.legend(handles=handles, loc="outside upper left", ncols=len(handles), columnspacing=1.4)


# --- precision beside P's --------------------------------------------------------------------------------


@chart("retrieval", "networks", beside=("intervals",))
def precision_comparison(
    retrieval: pd.DataFrame,
    networks: pd.DataFrame,
    *,
    profile: str,
    intervals: pd.DataFrame | None = None,
) -> Figure:
    """Draw precision@5 of the proposed model and the ImageNet networks beside P's (C Fig 8.5, left).

    A panel a gallery: the proposed model and the best control, then the networks with ImageNet weights, best
    first, then those without. P's values stand in the naive gallery, which is P's. `networks`: networks.csv.
    Raises InputError naming the table.
    """
    rows = select_all_queries(retrieval, k=K)
    checked(networks, name="networks", columns="model weights", numbers="")
    plain = [model for model in rows["model"].unique() if is_plain_network(model)]
    if not plain:
        raise InputError(f"table retrieval: no ImageNet network yet; {PIPELINE} writes them")
    untrained, galleries = untrained_networks(networks, plain), galleries_of(rows)
    strict = rows[rows["gallery"] == galleries[-1]]
    means = strict.groupby("model")["value"].mean().sort_values(ascending=False, kind="stable")
    top = [model for model in (PROPOSED, *means.index.intersection(CONTROLS)[:1]) if model in means]
    places = placed([top, *apart(means.index.intersection(plain), untrained)])
    shown = rows[rows["model"].isin(places)]
    figure = Chart(figsize=(WIDTH, 1.35 + 0.2 * _height(places)), layout="constrained")
    panels = figure.subplots(1, len(galleries), sharey=True, squeeze=False)[0]
    for axes, gallery in zip(panels, galleries, strict=True):
        bounds = interval_bounds(intervals, gallery=gallery, k=K)
        _comparison_panel(axes, rows[rows["gallery"] == gallery], places, bounds, untrained)
    handles = [Patch(facecolor=ORANGE, label="ImageNet weights")] if set(plain) - untrained else []
    if untrained:
        handles.append(Patch(facecolor="white", edgecolor=FAINT, label=NO_WEIGHTS_WORDS))
    handles.append(Line2D([], [], linestyle="none", label="printed in P Table II", **PRINTED))
    if intervals is not None:
        handles.append(Line2D([], [], color="black", linewidth=0.8, label="95 % interval"))
    _legend(figure, handles)
    best = [f"{model_name(model)}: the best control" for model in CONTROLS if model in places]
    parts = [named_seeds(shown["seed"]), *best, *_counted(shown["n"])]
    add_caption(figure, profile=profile, parts=[*parts, "P: other photos, k not stated"])
    return figure


def _comparison_panel(
    axes: Axes, rows: pd.DataFrame, places: Mapping[str, float], bounds: pd.DataFrame, untrained: set[str]
) -> None:
    """Draw one gallery: bars with whiskers, P's values where it is P's; numbers in columns at the right."""
    gallery, models = rows["gallery"].iloc[0], rows.groupby("model").agg({"value": "mean", "n": "min"})
    table = models.loc[list(places)].join(bounds).reset_index().assign(place=places.values())
    for row in table.itertuples():
        axes.barh(row.place, row.value, height=0.72, **bar_looks(row.model, untrained=untrained))
    forest(axes, table.dropna(subset="low").assign(marker=""))
    columns = {"here": table["value"].map("{:.3f}".format), "n": table["n"].map("{:,.0f}".format)}
    if gallery == "naive":
        found = [published_row(model) for model in table["model"]]
        printed = pd.Series([np.nan if row is None else row["precision"] for row in found]).dropna()
        axes.plot(printed, table["place"][printed.index], linestyle="none", zorder=5, **PRINTED)
        columns["P"] = printed.map("{:.2f}".format)
    for head, cells in columns.items():
        at = {"here": 0.36, "P": 0.68, "n": 1.14 if gallery == "naive" else 0.82}[head]
        add_column(axes, cells.set_axis(table["place"][cells.index]).to_dict(), head=head, at=at)
    if PRIOR in models.index:
        prior = models.loc[PRIOR, "value"]
        axes.axvline(prior, color=VERMILION, **DASHED)
        above = {"transform": axes.get_xaxis_transform(), "color": VERMILION, **ABOVE}
        axes.text(prior, 1.01, f"random {prior:.3f}", **above)
    axes.set(xlabel=f"Precision@{K}", xlim=(0, 1), xticks=np.linspace(0, 1, 6))
    axes.set_title(GALLERIES[gallery], pad=16)
    _name_rows(axes, places, untrained=untrained)


# --- several marks a network: heads, input scalings ------------------------------------------------------


def variant_rows(retrieval: pd.DataFrame, networks: pd.DataFrame, *, gallery: str) -> pd.DataFrame:
    """Return the networks' rows of one gallery: model, network, head, scaling, native, untrained, value, n.

    `scaling` comes from networks.csv where the name says none; `native` tells whether it is the one that the
    weights were made with. Raises InputError naming the table.
    """
    checked(networks, name="networks", columns="model weights scaling", numbers="")
    rows = select(select_all_queries(retrieval, k=K), name="retrieval", gallery=gallery)
    parsed = rows["model"].map(network_row).dropna()
    rows, untrained = rows.loc[parsed.index], untrained_networks(networks, rows.loc[parsed.index, "model"])
    known, published = networks.drop_duplicates("model").set_index("model"), published_networks()
    rows = rows.assign(
        network=[row.network for row in parsed],
        head=[row.head for row in parsed],
        rescaled=[bool(row.scaling) for row in parsed],
        scaling=[row.scaling or known["scaling"][row.name] for row in parsed],
        untrained=rows["model"].isin(untrained),
    )
    return rows.assign(native=rows["scaling"] == [published["scaling"][row.published_name] for row in parsed])


@chart("retrieval", "networks", beside=("intervals",))
def retraining(
    retrieval: pd.DataFrame,
    networks: pd.DataFrame,
    *,
    profile: str,
    intervals: pd.DataFrame | None = None,
) -> Figure:
    """Draw precision@5 of each network as it is and retrained with either head (C section 8.3.1.2).

    In the stricter gallery of the table. Raises InputError naming the table, also when no network was
    retrained.
    """
    gallery = stricter_gallery(retrieval)
    rows = variant_rows(retrieval, networks, gallery=gallery)
    retrained = set(rows.loc[rows["head"] != "none", "network"])
    rows = rows[~rows["rescaled"] & rows["network"].isin(retrained)]
    if rows.empty:
        raise InputError(f"table retrieval: no network retrained with a head yet; {PIPELINE} writes them")
    places = _variant_places(rows)
    figure = Chart(figsize=(WIDTH, 1.4 + ROW * _height(places)), layout="constrained")
    axes, bounds = figure.subplots(), interval_bounds(intervals, gallery=gallery, k=K)
    _variant_panel(axes, rows.join(bounds, on="model"), by="head", places=places)
    axes.set(xlabel=f"Precision@{K}", title=GALLERIES.get(gallery, gallery))
    axes.title.set_position((0, 1))
    _variant_legend(figure, rows, by="head")
    parts = [*_counted(rows["n"]), "the head is removed again before embedding"]
    add_caption(
        figure, profile=profile, parts=[*parts, "95\N{NO-BREAK SPACE}% intervals" if len(bounds) else ""]
    )
    return figure


@chart("retrieval", "networks", beside=("intervals",))
def preprocessing(
    retrieval: pd.DataFrame,
    networks: pd.DataFrame,
    *,
    profile: str,
    intervals: pd.DataFrame | None = None,
) -> Figure:
    """Draw P's printed precision by Keras's input scaling, and the networks under other scalings here.

    Top: the twelve printed values, grouped by the scaling that the weights were made with, and each group's
    mean. Below, where the table has such variants: networks with ImageNet weights under several scalings, in
    P's own gallery. Raises InputError naming the table.
    """
    rows, printed = _rescaled_rows(variant_rows(retrieval, networks, gallery="naive")), published_by_scaling()
    above = placed([group["model"].tolist() for _, group in printed.groupby("scaling")])
    below = _variant_places(rows) if len(rows) else None
    heights = [0.2 * _height(above), *([ROW * _height(below)] if below else [])]  # inches
    figure = Chart(figsize=(WIDTH, 0.9 + 0.45 * len(heights) + sum(heights)), layout="constrained")
    panels = figure.subplots(len(heights), 1, sharex=True, squeeze=False, height_ratios=heights)[:, 0]
    _printed_panel(panels[0], printed, places=above)
    panels[-1].set_xlabel(f"Precision{f'@{K}' if below else ''}")
    parts = ["printed: P Table II, k not stated"]
    if below:
        bounds = interval_bounds(intervals, gallery="naive", k=K)
        _variant_panel(panels[1], rows.join(bounds, on="model"), by="scaling", places=below)
        panels[1].set_title("Measured here, networks with ImageNet weights, naive gallery", pad=14)
        number, *few = _counted(rows["n"])
        parts += [f"measured: {number}", *few]
        parts += ["black edge: the scaling that the weights were made with"]
        parts += ["95\N{NO-BREAK SPACE}% intervals"] if len(bounds) else []
    every = pd.concat([rows, printed.assign(untrained=False)])
    _variant_legend(figure, every, by="scaling")
    add_caption(figure, profile=profile, parts=parts)
    return figure


def _rescaled_rows(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of networks with ImageNet weights, not retrained, that ran under several scalings."""
    rows = rows[(rows["head"] == "none") & ~rows["untrained"]]
    # The variant that names its scaling goes before the plain row: its n is that of the other variants.
    rows = rows.sort_values("rescaled", ascending=False, kind="stable")
    rows = rows.drop_duplicates(["network", "scaling"])
    return rows[rows.groupby("network")["scaling"].transform("nunique") > 1]


def _variant_places(rows: pd.DataFrame) -> dict[str, float]:
    best = rows.groupby("network")["value"].max().sort_values(ascending=False, kind="stable").index
    return placed(apart(best, set(rows.loc[rows["untrained"], "network"])))


def _variant_panel(axes: Axes, rows: pd.DataFrame, *, by: str, places: Mapping[str, float]) -> None:
    """Draw a mark a variant on its network's line, its values and n in columns at the right.

    `by`: head or scaling. A network without ImageNet weights is hollow, the scaling of the weights ringed.
    """
    marks, untrained = MARKS[by], rows["untrained"].to_numpy()
    used = [variant for variant in marks if variant in set(rows[by])]
    across = {"transform": axes.get_yaxis_transform(), "color": "#e6e6e6", "lw": 0.6, "zorder": 0.5}
    axes.hlines(list(places.values()), 0, 1, **across)
    colour = rows[by].map(lambda variant: marks[variant][2]).to_numpy()
    ringed = rows["native"] & (by == "scaling")
    off = STEP * (rows[by].map(used.index) - (len(used) - 1) / 2)
    looks = {
        "place": rows["network"].map(places) + off,
        "marker": [marks[variant][1] for variant in rows[by]],
    }
    looks["colour"] = np.select([untrained, ringed], [FAINT, "black"], colour)
    looks["face"] = np.where(untrained, "white", colour)
    forest(axes, rows.assign(**looks))
    for number, variant in enumerate(used, start=1):
        values = rows[rows[by] == variant].set_index("network")["value"]
        cells = {places[network]: f"{value:.3f}" for network, value in values.items()}
        add_column(axes, cells, head=variant.replace("_", "\n"), at=0.42 * number)
    counts = rows.groupby("network")["n"].agg(["min", "max"]).astype(int)
    ends = {network: dict.fromkeys(f"{n:,}" for n in pair) for network, *pair in counts.itertuples()}
    cells = {places[network]: "–".join(pair) for network, pair in ends.items()}
    at = 0.42 * len(used) + 0.12 + 0.07 * max(map(len, cells.values()))  # inches a digit
    add_column(axes, cells, head="n", at=at)
    _name_rows(axes, places, untrained=set(rows.loc[untrained, "network"]))


def _variant_legend(figure: Figure, rows: pd.DataFrame, *, by: str) -> None:
    handles = [
        Line2D([], [], linestyle="none", marker=marker, color=colour, label=label)
        for variant, (label, marker, colour) in MARKS[by].items()
        if variant in set(rows[by])
    ]
    if rows["untrained"].any():
        looks = {"markerfacecolor": "white", "markeredgecolor": FAINT, "marker": "o", "linestyle": "none"}
        handles.append(Line2D([], [], label=f"hollow: {NO_WEIGHTS_WORDS}", **looks))
    _legend(figure, handles)


def _printed_panel(axes: Axes, printed: pd.DataFrame, *, places: Mapping[str, float]) -> None:
    for scaling, group in printed.groupby("scaling"):
        _, marker, colour = MARKS["scaling"][scaling]
        rows, mean = group["model"].map(places), group["precision"].mean()
        axes.vlines(mean, rows.min() - 0.45, rows.max() + 0.45, color=colour, linewidth=1.2, zorder=1)
        axes.plot(group["precision"], rows, marker, color=colour, markersize=5)
        above = {"color": colour, "ha": "center", "va": "bottom", "fontsize": 7}
        axes.text(mean, rows.min() - 0.5, f"mean {mean:.2f}", **above)
    cells = {places[row.model]: f"{row.precision:.2f}" for row in printed.itertuples()}
    add_column(axes, cells, head="P", at=0.42)
    axes.set_title("Printed in P Table II, by the scaling that Keras's weights were made with", pad=14)
    _name_rows(axes, places, untrained=())


# --- how they were retrained -----------------------------------------------------------------------------


@chart("retraining")
def retraining_curves(retraining: pd.DataFrame, *, profile: str) -> Figure:
    """Draw loss, gradient norm and the right answer's probability over the steps; a line a retrained network.

    `retraining`: model, step and the three measures. A colour a head, a line style a network; loss and norm
    are on logarithmic axes, which end at `FLOOR`. Raises InputError naming the table.
    """
    checked(retraining, name="retraining", columns="model", numbers=f"step {' '.join(STEP_PANELS)}")
    figure, styles = Chart(figsize=(WIDTH, 2.7), layout="constrained"), {}
    panels = figure.subplots(1, 3, sharex=True)
    for model, rows in retraining.groupby("model", sort=False):
        row = network_row(model)
        if row is None or row.head == "none":
            raise InputError(f"table retraining: {model!r} is no retrained network")
        style = styles.setdefault(row.network, LINES[len(styles) % len(LINES)])
        label = f"{row.network}, {HEADS[row.head].removeprefix('retrained, ')}"
        looks = {"linestyle": style, "color": f"C{list(HEADS).index(row.head)}", "label": label}
        for axes, measure in zip(panels, STEP_PANELS, strict=True):
            axes.plot(rows["step"], rows[measure].clip(lower=FLOOR), **looks)
    for axes, (measure, title) in zip(panels, STEP_PANELS.items(), strict=True):
        axes.set(xlabel="Step", yscale="linear" if measure == "mean_probability" else "log")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=5))
        axes.set_title(title, fontsize=8)
    panels[-1].set_ylim(0, 1.03)
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper left", ncols=4)
    below = (retraining[["loss", "gradient_norm"]] < FLOOR).any(axis=None)
    parts = [counted(retraining.groupby("model")["step"].nunique(), "steps")]
    parts += ["one unit: every photo's right answer is 1"]
    parts += [f"what is below {FLOOR:.0e} is drawn there"] if below else []
    add_caption(figure, profile=profile, parts=parts)
    return figure
