"""Charts of the twelve ImageNet networks' precision beside the proposed model's (C Fig 8.5 left, C 8.3.1.2).

A network without ImageNet weights here is drawn hollow and grey, its name in italics, in a group of its own.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from solesearch.core.errors import InputError
from solesearch.core.model_names import (
    CONTROLS,
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
    add_interval,
    bar_looks,
    checked,
    counted,
    galleries_of,
    interval_bounds,
    name_models,
    named_seeds,
    select,
    select_all_queries,
    stricter_gallery,
)
from solesearch.figures.registry import chart

PRINTED = {"marker": "D", "markersize": 4.5, "color": "white", "markeredgecolor": "black"}
PRINTED_WORDS = "printed in P Table II"
SUBSET_WORDS = "a smaller n: part of the test photos, so fewer that can be found"
INTERVALS = "95\N{NO-BREAK SPACE}% intervals"
GROUP_GAP = 0.6  # rows between the groups of a chart
ROW, STEP = 0.34, 0.18  # inches a network with several marks; rows from one mark to the next
HEAD_MARKS = {
    "none": ("not retrained", "o", NEUTRAL),
    "one_unit": ("one unit (C 8.3.1.2)", "^", VERMILION),
    "classes": ("classes", "s", GREEN),
}
SCALING_MARKS = {
    "caffe": ("caffe: BGR less mean", "o", BLUE),
    "tf": ("tf: -1 to 1", "s", ORANGE),
    "torch": ("torch: mean, deviation", "^", GREEN),
    "none": ("none: 0 to 255", "v", VERMILION),
}


@dataclass(frozen=True)
class Layout:
    """Where the rows of a chart stand: groups from top to bottom, a gap between them."""

    places: dict[str, float]

    @classmethod
    def of(cls, groups: Sequence[Sequence[str]]) -> Layout:
        """Place the models of each group one below the other."""
        places, place = {}, 0.0
        for group in filter(None, groups):
            places |= {model: place + number for number, model in enumerate(group)}
            place += len(group) + GROUP_GAP
        return cls(places)

    @property
    def height(self) -> float:
        """Rows from the first to the last, gaps included."""
        return max(self.places.values()) + 1

    def apply(self, axes: Axes, *, untrained: Collection[str]) -> None:
        """Set the y axis: limits, and the models' names."""
        axes.set_ylim(self.height - 0.4, -0.6)
        name_models(axes, list(self.places), places=list(self.places.values()), untrained=untrained)


def _subset(counts: pd.Series) -> str:
    return SUBSET_WORDS if counts.min() < 0.9 * counts.max() else ""


@chart("retrieval", "networks", beside=("intervals",))
def precision_comparison(
    retrieval: pd.DataFrame,
    networks: pd.DataFrame,
    *,
    profile: str,
    k: int = 5,
    intervals: pd.DataFrame | None = None,
) -> Figure:
    """Draw precision@k of the proposed model and the ImageNet networks beside P's (C Fig 8.5, left).

    A panel a gallery: the proposed model and the best control, then the networks with ImageNet weights, best
    first, then those without. P's values stand in the naive gallery, which is P's. `networks`: networks.csv.
    Raises InputError naming the table.
    """
    rows = select_all_queries(retrieval, k=k)
    checked(networks, name="networks", columns="model weights", numbers="")
    plain = rows[rows["model"].map(is_plain_network)]
    if plain.empty:
        raise InputError(f"table retrieval: no ImageNet network yet; {PIPELINE} writes them")
    untrained = untrained_networks(networks, plain["model"])
    galleries = galleries_of(rows)
    layout = Layout.of(_comparison_groups(rows[rows["gallery"] == galleries[-1]], plain, untrained))
    shown = rows[rows["model"].isin(layout.places)]
    figure = Chart(figsize=(WIDTH, 1.35 + 0.2 * layout.height), layout="constrained")
    panels = figure.subplots(1, len(galleries), sharey=True, squeeze=False)[0]
    for axes, gallery in zip(panels, galleries, strict=True):
        bounds = interval_bounds(intervals, gallery=gallery, k=k)
        mine = rows[rows["gallery"] == gallery]
        _comparison_panel(axes, mine, layout=layout, bounds=bounds, untrained=untrained)
        axes.set(xlabel=f"Precision@{k}", xlim=(0, 1), xticks=np.linspace(0, 1, 6))
        axes.set_title(GALLERIES[gallery], pad=16)
        _printed_values(axes, layout if gallery == "naive" else None)
    _comparison_legend(figure, shown["model"], untrained, whiskers=intervals is not None)
    best = [f"{model_name(model)}: the best control" for model in CONTROLS if model in layout.places]
    parts = [named_seeds(shown["seed"]), *best, counted(shown["n"], "queries"), _subset(shown["n"])]
    parts.append("P: other photos, k not stated")
    add_caption(figure, profile=profile, parts=parts)
    return figure


def _comparison_groups(rows: pd.DataFrame, plain: pd.DataFrame, untrained: set[str]) -> list[list[str]]:
    means = rows.groupby("model")["value"].mean()
    controls = means[means.index.isin(CONTROLS)]
    top = [PROPOSED] * (PROPOSED in means) + ([controls.idxmax()] if len(controls) else [])
    ranked = means.reindex(plain["model"].unique()).sort_values(ascending=False, kind="stable")
    return [
        top,
        [model for model in ranked.index if model not in untrained],
        [model for model in ranked.index if model in untrained],
    ]


def _comparison_panel(
    axes: Axes, rows: pd.DataFrame, *, layout: Layout, bounds: Mapping, untrained: set[str]
) -> None:
    shown = rows[rows["model"].isin(layout.places)].groupby("model")
    for model, values in shown["value"]:
        place = layout.places[model]
        axes.barh(place, values.mean(), height=0.72, **bar_looks(model, untrained=untrained))
        add_interval(axes, bounds.get(model), place=place)
    prior = rows.loc[rows["model"] == PRIOR, "value"]
    if len(prior):
        axes.axvline(prior.mean(), color=VERMILION, **DASHED)
        above = {"transform": axes.get_xaxis_transform(), "ha": "center", "va": "bottom", "fontsize": 7}
        axes.text(prior.mean(), 1.01, f"random {prior.mean():.3f}", color=VERMILION, **above)
    means = {layout.places[model]: f"{value:.3f}" for model, value in shown["value"].mean().items()}
    counts = {layout.places[model]: f"{n:,.0f}" for model, n in shown["n"].min().items()}
    add_column(axes, means, head="here", at=0.36)
    add_column(axes, counts, head="n", at=1.14 if rows["gallery"].iloc[0] == "naive" else 0.82)
    layout.apply(axes, untrained=untrained)


def _printed_values(axes: Axes, layout: Layout | None) -> None:
    if layout is None:
        return
    printed = {model: published_row(model) for model in layout.places}
    places = {layout.places[model]: row["precision"] for model, row in printed.items() if row is not None}
    axes.plot(list(places.values()), list(places), linestyle="none", zorder=5, **PRINTED)
    add_column(axes, {place: f"{value:.2f}" for place, value in places.items()}, head="P", at=0.68)


def _comparison_legend(
    figure: Figure, models: Collection[str], untrained: set[str], *, whiskers: bool
) -> None:
    networks = [model for model in models if network_row(model)]
    handles = []
    if set(networks) - untrained:
        handles.append(Patch(facecolor=ORANGE, label="ImageNet weights"))
    if untrained:
        handles.append(Patch(facecolor="white", edgecolor=FAINT, label=NO_WEIGHTS_WORDS))
    handles.append(Line2D([], [], linestyle="none", label=PRINTED_WORDS, **PRINTED))
    if whiskers:
        handles.append(Line2D([], [], color="black", linewidth=0.8, label="95 % interval"))
    figure.legend(handles=handles, loc="outside upper left", ncols=len(handles), columnspacing=1.4)


def variant_rows(retrieval: pd.DataFrame, networks: pd.DataFrame, *, gallery: str, k: int) -> pd.DataFrame:
    """Return the networks' rows of one gallery: model, network, head, scaling, native, untrained, value, n.

    `scaling` comes from networks.csv where the name says none; `native` tells whether it is the one that the
    weights were made with. Raises InputError naming the table.
    """
    checked(networks, name="networks", columns="model weights scaling", numbers="")
    rows = select(select_all_queries(retrieval, k=k), name="retrieval", gallery=gallery)
    rows = rows[rows["model"].map(network_row).notna()].copy()
    untrained = untrained_networks(networks, rows["model"])
    named = rows["model"].map(network_row)
    scalings = networks.drop_duplicates("model").set_index("model")["scaling"]
    rows["network"] = [row.network for row in named]
    rows["head"] = [row.head for row in named]
    rows["scaling"] = [
        row.scaling or scalings[model] for row, model in zip(named, rows["model"], strict=True)
    ]
    published = published_networks()["scaling"]
    rows["native"] = [
        scaling == published[row.published_name] for row, scaling in zip(named, rows["scaling"], strict=True)
    ]
    rows["untrained"] = rows["model"].isin(untrained)
    return rows


@chart("retrieval", "networks", beside=("intervals",))
def retraining(
    retrieval: pd.DataFrame,
    networks: pd.DataFrame,
    *,
    profile: str,
    gallery: str | None = None,
    k: int = 5,
    intervals: pd.DataFrame | None = None,
) -> Figure:
    """Draw precision@k of each network as it is and retrained with either head (C section 8.3.1.2).

    `gallery` None is the stricter one in the table. Raises InputError naming the table, also when no network
    was retrained.
    """
    gallery = gallery or stricter_gallery(retrieval)
    rows = variant_rows(retrieval, networks, gallery=gallery, k=k)
    own = rows["model"].map(lambda model: not network_row(model).scaling)
    retrained = set(rows.loc[rows["head"] != "none", "network"])
    rows = rows[own & rows["network"].isin(retrained)]
    if rows.empty:
        raise InputError(f"table retrieval: no network retrained with a head yet; {PIPELINE} writes them")
    figure, axes, layout = _variant_figure(rows)
    bounds = interval_bounds(intervals, gallery=gallery, k=k)
    _variant_panel(axes, rows, by="head", marks=HEAD_MARKS, layout=layout, bounds=bounds)
    axes.set(xlabel=f"Precision@{k}", title=GALLERIES.get(gallery, gallery))
    axes.title.set_position((0, 1))
    _variant_legend(figure, rows, by="head", marks=HEAD_MARKS)
    parts = [counted(rows["n"], "queries"), _subset(rows["n"]), "the head is removed again before embedding"]
    add_caption(figure, profile=profile, parts=[*parts, INTERVALS if bounds else ""])
    return figure


def _variant_figure(rows: pd.DataFrame) -> tuple[Figure, Axes, Layout]:
    layout = _variant_layout(rows)
    figure = Chart(figsize=(WIDTH, 1.4 + ROW * layout.height), layout="constrained")
    return figure, figure.subplots(), layout


def _variant_layout(rows: pd.DataFrame) -> Layout:
    best = rows.groupby("network")["value"].max().sort_values(ascending=False, kind="stable")
    untrained = set(rows.loc[rows["untrained"], "network"])
    trained = [network for network in best.index if network not in untrained]
    return Layout.of([trained, [network for network in best.index if network in untrained]])


def _variant_panel(
    axes: Axes, rows: pd.DataFrame, *, by: str, marks: Mapping, layout: Layout, bounds: Mapping
) -> None:
    """Draw a mark a variant on its network's line, its values and n in columns at the right."""
    used = [variant for variant in marks if variant in set(rows[by])]
    axes.hlines(
        list(layout.places.values()),
        0,
        1,
        transform=axes.get_yaxis_transform(),
        color="#e6e6e6",
        lw=0.6,
        zorder=0.5,
    )
    for row in rows.to_dict("records"):
        _, marker, colour = marks[row[by]]
        place = layout.places[row["network"]] + STEP * (used.index(row[by]) - (len(used) - 1) / 2)
        add_interval(axes, bounds.get(row["model"]), place=place)
        face = "white" if row["untrained"] else colour
        edge = FAINT if row["untrained"] else "black" if row.get("ringed") else colour
        axes.plot(row["value"], place, marker, markersize=5, mfc=face, mec=edge, mew=1.1, zorder=5)
    for number, variant in enumerate(used, start=1):
        mine = rows[rows[by] == variant]
        values = dict(zip(mine["network"].map(layout.places), mine["value"], strict=True))
        cells = {place: f"{value:.3f}" for place, value in values.items()}
        add_column(axes, cells, head=variant.replace("_", "\n"), at=0.42 * number)
    counts = rows.groupby("network")["n"].agg(["min", "max"]).astype(int)
    cells = {layout.places[row.Index]: _range(row.min, row.max) for row in counts.itertuples()}
    longest = max(map(len, cells.values()))
    add_column(axes, cells, head="n", at=0.42 * len(used) + 0.12 + 0.07 * longest)  # inches a digit
    layout.apply(axes, untrained=set(rows.loc[rows["untrained"], "network"]))


def _range(low: int, high: int) -> str:
    return f"{low:,}" if low == high else f"{low:,}–{high:,}"


def _variant_legend(figure: Figure, rows: pd.DataFrame, *, by: str, marks: Mapping) -> None:
    used = [variant for variant in marks if variant in set(rows[by])]
    handles = [
        Line2D([], [], linestyle="none", marker=marks[one][1], color=marks[one][2], label=marks[one][0])
        for one in used
    ]
    if rows["untrained"].any():
        looks = {"markerfacecolor": "white", "markeredgecolor": FAINT, "marker": "o", "linestyle": "none"}
        handles.append(Line2D([], [], label=f"hollow: {NO_WEIGHTS_WORDS}", **looks))
    figure.legend(handles=handles, loc="outside upper left", ncols=len(handles), columnspacing=1.4)


@chart("retrieval", "networks", beside=("intervals",))
def preprocessing(
    retrieval: pd.DataFrame,
    networks: pd.DataFrame,
    *,
    profile: str,
    gallery: str = "naive",
    k: int = 5,
    intervals: pd.DataFrame | None = None,
) -> Figure:
    """Draw P's printed precision by Keras's input scaling, and the networks under other scalings here.

    Top: the twelve printed values, grouped by the scaling that the weights were made with, and each group's
    mean. Below, where the table has such variants: networks with ImageNet weights under several scalings.
    Raises InputError naming the table.
    """
    rows = _rescaled_rows(variant_rows(retrieval, networks, gallery=gallery, k=k))
    printed = published_by_scaling()
    above = Layout.of([group["model"].tolist() for _, group in printed.groupby("scaling")])
    below = _variant_layout(rows) if len(rows) else None
    heights = [0.2 * above.height, *([ROW * below.height] if below else [])]  # inches
    figure = Chart(figsize=(WIDTH, 0.9 + 0.45 * len(heights) + sum(heights)), layout="constrained")
    panels = figure.subplots(len(heights), 1, sharex=True, squeeze=False, height_ratios=heights)[:, 0]
    _printed_panel(panels[0], printed, layout=above)
    panels[-1].set_xlabel(f"Precision{f'@{k}' if below else ''}")
    parts = ["printed: P Table II, k not stated"]
    if below:
        bounds = interval_bounds(intervals, gallery=gallery, k=k)
        shown = rows.assign(ringed=rows["native"])
        _variant_panel(panels[1], shown, by="scaling", marks=SCALING_MARKS, layout=below, bounds=bounds)
        where = GALLERIES.get(gallery, gallery).lower()
        panels[1].set_title(f"Measured here, networks with ImageNet weights, {where}", pad=14)
        parts += [f"measured: {counted(rows['n'], 'queries')}", _subset(rows["n"])]
        parts += ["black edge: the scaling that the weights were made with", INTERVALS if bounds else ""]
    every = pd.concat([rows, printed.assign(untrained=False)])
    _variant_legend(figure, every, by="scaling", marks=SCALING_MARKS)
    add_caption(figure, profile=profile, parts=parts)
    return figure


def _rescaled_rows(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of networks with ImageNet weights, not retrained, that ran under several scalings."""
    rows = rows[(rows["head"] == "none") & ~rows["untrained"]]
    # The variant that names its scaling goes before the plain row: its n is that of the other variants.
    rows = rows.sort_values("model", key=lambda names: ~names.str.contains("@"), kind="stable")
    rows = rows.drop_duplicates(["network", "scaling"])
    return rows[rows.groupby("network")["scaling"].transform("nunique") > 1]


def _printed_panel(axes: Axes, printed: pd.DataFrame, *, layout: Layout) -> None:
    for scaling, group in printed.groupby("scaling"):
        _, marker, colour = SCALING_MARKS[scaling]
        places = group["model"].map(layout.places)
        mean = group["precision"].mean()
        axes.vlines(mean, places.min() - 0.45, places.max() + 0.45, color=colour, linewidth=1.2, zorder=1)
        axes.plot(group["precision"], places, marker, color=colour, markersize=5)
        axes.text(
            mean, places.min() - 0.5, f"mean {mean:.2f}", color=colour, ha="center", va="bottom", fontsize=7
        )
    cells = {layout.places[row.model]: f"{row.precision:.2f}" for row in printed.itertuples()}
    add_column(axes, cells, head="P", at=0.42)
    axes.set_title("Printed in P Table II, by the scaling that Keras's weights were made with", pad=14)
    layout.apply(axes, untrained=())
