"""The figures of stage latent_codes: rows of generated shoes, charts of its table, and nearest photos.

The charts are drawn from results/<profile>/latent_codes.csv alone, with the conventions of figures.py. Rows
of generated shoes show no photograph, so they lie among the charts; what shows photos goes to galleries/.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from solesearch.beyond.code_probe import CHANCE, CODES, COMPONENTS, FEATURES, MAJORITY, UNTRAINED_CODES
from solesearch.beyond.latent_codes import CODES_REDRAWN, NOISE_REDRAWN, Traversal
from solesearch.beyond.sample_quality import (
    GENERATED,
    HALVES,
    NOISE,
    TRAINING,
    UNTRAINED,
    Nearest,
)
from solesearch.core.errors import InputError
from solesearch.figures.drawing import (
    BLUE,
    DASHED,
    NEUTRAL,
    ORANGE,
    QUIET,
    VERMILION,
    WHISKER,
    WIDTH,
    Chart,
    add_caption,
    checked,
    counted,
    named_seeds,
    select,
    styled,
)
from solesearch.figures.galleries import EDGE, FOOT, GAP, Sheet
from solesearch.figures.registry import chart, draw_chart  # noqa: F401

NAME, NUMBERS, LINE, HEAD = 0.55, 0.88, 0.03, 0.28  # inches: name, numbers, between rows, above the first
ALL_CODES = "all codes"
SPACES = {"hog": "HOG"}  # what a feature space is called, where its name in the table is another
PROBED = {CODES: "Q's codes", UNTRAINED_CODES: "Untrained Q's codes", COMPONENTS: "As many components",
          FEATURES: "All features"}  # fmt: skip
COMPARED = {GENERATED: "Generated", TRAINING: "Training photos", HALVES: "Halves of test photos",
            UNTRAINED: "Untrained generator", NOISE: "Plain noise"}  # fmt: skip


def checked_codes(table: pd.DataFrame) -> pd.DataFrame:
    """Return latent_codes.csv if it has its columns and no gap in the values; InputError names it."""
    return checked(
        table, name="latent_codes", columns="measure item low high unit note", numbers="seed value n"
    )


# --- charts of the table ---------------------------------------------------------------------------------


@chart("latent_codes")
def code_effects(table: pd.DataFrame, *, profile: str) -> Figure:
    """Draw what each code changes in the image, and what Q can read of it, a bar a seed.

    `table`: latent_codes.csv. Dashed: the change when all noise, or all codes, are drawn anew. InputError
    names the table.
    """
    rows = checked_codes(table)
    effects = select(rows, name="latent_codes", measure="effect")
    bounds = select(rows, name="latent_codes", measure="information_bound")
    redrawn = effects["item"].isin([NOISE_REDRAWN, CODES_REDRAWN])
    names = list(dict.fromkeys(effects.loc[~redrawn, "item"]))
    figure = Chart(figsize=(WIDTH, 1.45 + 0.27 * len(names)), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    _seed_bars(left, effects[~redrawn], names, digits=1)
    _seed_bars(right, bounds[bounds["item"] != ALL_CODES], names, digits=2)
    for item, value in effects[redrawn].groupby("item", sort=False)["value"].mean().items():
        left.axvline(value, color=VERMILION if item == NOISE_REDRAWN else QUIET, **DASHED, label=item)
    left.set(xlabel="Mean pixel change, grey levels of 255", xlim=(0, None), title="What a code changes")
    right.set(xlabel="Mutual-information bound, nats", title="What Q reads back (0: nothing)")
    right.axvline(0, color=QUIET, linewidth=0.7)
    left.set_yticks(range(len(names)), names)
    left.set_ylim(len(names) - 0.4, -0.6)
    for axes in (left, right):
        axes.grid(visible=False, axis="y")
    figure.legend(*left.get_legend_handles_labels(), loc="outside upper left", ncols=4)
    sums = bounds[bounds["item"] == ALL_CODES]
    total = ", ".join(
        f"{value:.2f} nats (seed {seed})" for seed, value in zip(sums["seed"], sums["value"], strict=True)
    )
    counts = counted(effects["n"], "latents"), counted(bounds["n"], "images")
    parts = [*counts, f"bound of all codes: {total}", "whiskers: 95 % over latents, over draws"]
    add_caption(figure, profile=profile, parts=parts)
    return figure


def _seed_bars(axes: Axes, rows: pd.DataFrame, names: Sequence[str], *, digits: int) -> None:
    """Draw a bar an item and seed with its interval, the number behind it."""
    seeds = sorted(rows["seed"].unique())
    height = 0.8 / len(seeds)
    for number, seed in enumerate(seeds):
        mine = rows[rows["seed"] == seed].set_index("item").reindex(names)
        places = np.arange(len(names)) + (number - (len(seeds) - 1) / 2) * height
        axes.barh(places, mine["value"], height=0.9 * height, color=f"C{number}", label=f"seed {seed:g}")
        _whiskers(axes, mine, places)
        for place, (value, high) in zip(places, mine[["value", "high"]].to_numpy(), strict=True):
            words = {"xytext": (3, 0), "textcoords": "offset points", "va": "center", "fontsize": 5.5}
            axes.annotate(f"{value:.{digits}f}", (np.nanmax([value, high, 0]), place), **words)


def _whiskers(axes: Axes, rows: pd.DataFrame, places: Sequence[float]) -> None:
    ends = [(rows["value"] - rows["low"]).clip(lower=0), (rows["high"] - rows["value"]).clip(lower=0)]
    axes.errorbar(rows["value"], places, xerr=np.nan_to_num(ends), **{**WHISKER, "capsize": 1.2})


@chart("latent_codes")
def code_probe(table: pd.DataFrame, *, profile: str) -> Figure:
    """Draw how often codes of real photos give their class away, on validation and on test photos.

    Dashed: the most frequent class, and chance. `table`: latent_codes.csv. InputError names the table.
    """
    rows = checked_codes(table)
    figure = Chart(figsize=(WIDTH, 2.5), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    for axes, part in zip(panels, ("validation", "test"), strict=True):
        found = select(rows, name="latent_codes", measure=f"probe_{part}")
        _probe_panel(axes, found)
        axes.set(title=f"{part.capitalize()} photos", xlabel="Share of photos whose class is found")
    panels[0].set_yticks(range(len(PROBED)), list(PROBED.values()))
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper left", ncols=4)
    test = select(rows, name="latent_codes", measure="probe_test")
    parts = [
        named_seeds(test["seed"]),
        counted(test["n"], "test photos"),
        "whiskers: 95 % over products or blocks",
    ]
    parts += ["logistic regression on training photos, the only use of labels"]
    add_caption(figure, profile=profile, parts=parts)
    return figure


def _probe_panel(axes: Axes, rows: pd.DataFrame) -> None:
    own = rows[rows["item"].isin(PROBED)]
    _seed_bars(axes, own, list(PROBED), digits=3)
    lines: dict[float, str] = {}
    for item in (CHANCE, MAJORITY):  # equal where all classes have as many photos
        value = float(select(rows, name="latent_codes", item=item)["value"].iloc[0])
        lines[value] = f"{lines[value]} and {item}" if value in lines else item
    for (value, item), colour in zip(lines.items(), (VERMILION, QUIET), strict=False):
        axes.axvline(value, color=colour, **DASHED, label=item, zorder=3)
    axes.set(xlim=(0, 1.12), ylim=(len(PROBED) - 0.4, -0.6), xticks=np.linspace(0, 1, 6))
    axes.grid(visible=False, axis="y")


@chart("latent_codes")
def kid_bars(table: pd.DataFrame, *, profile: str) -> Figure:
    """Draw KID of generated images and of the references against test photos, a panel a feature space.

    `table`: latent_codes.csv. InputError names it.
    """
    rows = checked_codes(table)
    rows = rows[rows["measure"].str.startswith("kid_")]
    if rows.empty:
        raise InputError("table latent_codes: no KID; run stage latent_codes again")
    spaces = list(dict.fromkeys(rows["measure"]))
    figure = Chart(figsize=(WIDTH, 2.6), layout="constrained")
    panels = figure.subplots(1, len(spaces), sharey=True, squeeze=False)[0]
    for axes, space in zip(panels, spaces, strict=True):
        _kid_panel(axes, rows[rows["measure"] == space])
        name = space.removeprefix("kid_")
        axes.set_title("HOG (no network)" if name == "hog" else f"ImageNet {name}")
    panels[0].set_yticks(range(len(COMPARED)), list(COMPARED.values()))
    generated = rows[rows["item"] == GENERATED]
    alone = "" if len(spaces) > 1 else "no ImageNet weights here: HOG alone"
    parts = [named_seeds(generated["seed"]), counted(generated["n"], "images of each kind")]
    parts += [
        "against test photos",
        "whiskers: middle 95 % of subsets",
        "not Inception: no published KID compares",
    ]
    add_caption(figure, profile=profile, parts=[*parts, alone])
    return figure


def _kid_panel(axes: Axes, rows: pd.DataFrame) -> None:
    low, high = min(0.0, rows["low"].min()), rows[["value", "high"]].max(axis=None)
    for place, item in enumerate(COMPARED):
        mine = rows[rows["item"] == item]
        heights = place + 0.3 * (np.arange(len(mine)) - (len(mine) - 1) / 2)
        colour = BLUE if item == GENERATED else (NEUTRAL if item in (TRAINING, HALVES) else ORANGE)
        axes.barh(heights, mine["value"], height=0.24 if len(mine) > 1 else 0.6, color=colour)
        _whiskers(axes, mine, heights)
        for height, (value, end) in zip(heights, mine[["value", "high"]].to_numpy(), strict=True):
            words = {"xytext": (4, 0), "textcoords": "offset points", "va": "center", "fontsize": 6.5}
            axes.annotate(f"{value:.2g}", (max(value, end, 0), height), **words)
    axes.axvline(0, color=QUIET, linewidth=0.7)
    axes.set(xlim=(1.1 * low, 1.2 * high), ylim=(len(COMPARED) - 0.4, -0.6))
    axes.set_xlabel("KID, MMD$^2$", parse_math=True)
    axes.grid(visible=False, axis="y")


# --- rows of generated shoes -----------------------------------------------------------------------------


@styled
def traversal_picture(
    rows: Mapping[int, Mapping[str, Traversal]], table: pd.DataFrame, *, profile: str
) -> Figure:
    """Draw a row of generated images for every seed and code, its effect and bound beside it.

    `rows`: seed -> code -> its row (latent_codes.traversals); `table`: latent_codes.csv. Values beyond
    [-1, 1], which training never drew, stand apart. Raises InputError where the table lacks a code.
    """
    numbers = checked_codes(table).set_index(["seed", "measure", "item"])["value"].to_dict()
    width = WIDTH - NAME - NUMBERS - 2 * EDGE
    shapes = [strip(one).shape for codes in rows.values() for one in codes.values()]
    height = max(width * shape[0] / shape[1] for shape in shapes)
    sheet = Sheet(0.05 + sum(HEAD + len(codes) * (height + LINE) for codes in rows.values()) + FOOT)
    top = 0.05
    for seed, codes in rows.items():
        _head(sheet, next(iter(codes.values())), seed=seed, top=top, width=width)
        for number, (name, one) in enumerate(codes.items()):
            place = top + HEAD + number * (height + LINE)
            words = _numbers(numbers, seed=seed, name=name)
            _traversal_row(sheet, one, name, words, top=place, width=width, height=height)
        top += HEAD + len(codes) * (height + LINE)
    parts = ["generated images, the same noise in every row, other codes at 0", "set apart: beyond [-1, 1]"]
    parts += ["change: mean of the pixels, grey levels of 255", "bound: mutual information, 0 is nothing"]
    add_caption(sheet.figure, profile=profile, parts=parts)
    return sheet.figure


def _numbers(numbers: Mapping[tuple[int, str, str], float], *, seed: int, name: str) -> str:
    wanted = [(seed, measure, name) for measure in ("effect", "information_bound")]
    if missing := [key for key in wanted if key not in numbers]:
        raise InputError(f"table latent_codes: no {missing[0]}; run stage latent_codes again")
    effect, bound = (numbers[key] for key in wanted)
    return f"{effect:.1f} · {bound:.2f} nats"


def _head(sheet: Sheet, one: Traversal, *, seed: int, top: float, width: float) -> None:
    sheet.write(f"Seed {seed}", left=EDGE, top=top + 0.12, va="center", fontsize=8.5, fontweight="bold")
    places, total = _columns(one.beyond)
    small = {"top": top + 0.16, "va": "center", "fontsize": 6.5}
    for label, beyond, place in zip(one.labels, one.beyond, places, strict=True):
        colour = VERMILION if beyond else "black"
        sheet.write(
            label, left=EDGE + NAME + (place + 0.5) / total * width, ha="center", color=colour, **small
        )
    sheet.write("change · bound", left=WIDTH - EDGE, ha="right", color=QUIET, **small)


def _traversal_row(
    sheet: Sheet, one: Traversal, name: str, numbers: str, *, top: float, width: float, height: float
) -> None:
    picture = strip(one)
    filled = width * picture.shape[1] / round(_columns(one.beyond)[1] * one.images.shape[2])
    axes = sheet.show(picture, left=EDGE + NAME, top=top, width=filled, height=height)
    axes.spines[:].set_visible(False)
    looks = {"top": top + height / 2, "ha": "right", "va": "center", "fontsize": 7}
    sheet.write(name, left=EDGE + NAME - 0.06, **looks)
    sheet.write(numbers, left=WIDTH - EDGE, **looks)


def _columns(beyond: Sequence[bool]) -> tuple[list[float], float]:
    """Return where each image begins and where the last one ends, in widths of an image.

    A third of an image sets those beyond [-1, 1] apart, a thirtieth all others.
    """
    gaps = [1 / 3 if one != after else 1 / 30 for one, after in pairwise(beyond)]
    places = np.arange(len(beyond)) + np.cumsum([0, *gaps])
    return places.tolist(), float(places[-1] + 1)


def strip(one: Traversal) -> np.ndarray:
    """Return a row's images side by side on white, uint8 [h, W, 3]; InputError without any."""
    if not len(one.images) or len(one.images) != len(one.beyond):
        raise InputError(f"traversal: {len(one.beyond)} values for {len(one.images)} images")
    _, height, width, _ = one.images.shape
    places, total = _columns(one.beyond)
    row = np.full((height, round(total * width), 3), 255, np.uint8)
    for place, image in zip(places, one.images, strict=True):
        left = min(round(place * width), row.shape[1] - width)
        row[:, left : left + width] = image
    return row


# --- nearest photos --------------------------------------------------------------------------------------


@styled
def nearest_picture(
    nearest: Mapping[str, Sequence[Nearest]], training: np.ndarray, *, profile: str, shown: int
) -> Figure:
    """Draw generated images above their nearest training photos, a block a seed, a row a feature space.

    `nearest`: space -> one entry a seed (latent_codes.copy_lines); `training` uint8 [n, h, w, 3]. The left
    `shown` images are those nearest to any training photo by the first space, the others the first drawn.
    """
    first = next(iter(nearest.values()))
    across = min(2 * shown, len(first[0].rows))
    width = (WIDTH - NAME - 2 * EDGE - GAP) / across
    height = width * training.shape[1] / training.shape[2]
    block = (1 + len(nearest)) * (height + LINE) + 0.26
    sheet = Sheet(0.05 + len(first) * block + FOOT)
    for number, one in enumerate(first):
        chosen, top = _chosen(one, across), 0.05 + number * block
        words = {"top": top + 0.1, "va": "center", "fontsize": 7.5}
        half = EDGE + NAME + GAP + across // 2 * width
        sheet.write(f"Seed {one.images.seed}: nearest of {len(one.rows):,}", left=EDGE + NAME, **words)
        sheet.write("the first ones drawn", left=half, **words)
        lines = {"generated": one.images.pixels[chosen]}
        lines |= {
            f"photo, by\n{SPACES.get(space, space)}": training[found[number].rows[chosen]]
            for space, found in nearest.items()
        }
        for line, (name, pictures) in enumerate(lines.items()):
            place = top + 0.22 + line * (height + LINE)
            _picture_row(sheet, name, pictures, top=place, width=width, height=height)
    parts = ["below each generated image: the training photo nearest to it"]
    add_caption(sheet.figure, profile=profile, parts=parts)
    return sheet.figure


def _picture_row(
    sheet: Sheet, name: str, pictures: np.ndarray, *, top: float, width: float, height: float
) -> None:
    looks = {"ha": "right", "va": "center", "fontsize": 6.5}
    sheet.write(name, left=EDGE + NAME - 0.06, top=top + height / 2, **looks)
    for column, picture in enumerate(pictures):
        left = EDGE + NAME + column * width + GAP * (column >= len(pictures) // 2)
        axes = sheet.show(picture, left=left, top=top, width=width - 0.02, height=height)
        axes.spines[:].set_visible(False)


def _chosen(one: Nearest, across: int) -> np.ndarray:
    """Return the rows of the images that are shown, int64 [across]: first the nearest, then others."""
    closest = np.argsort(one.distances, kind="stable")[: across // 2]
    others = np.setdiff1d(np.arange(len(one.rows)), closest)[: across - len(closest)]
    return np.concatenate([closest, others])


# Figures beside the charts that no table can give: they hold generated images.
PICTURES = ("traversals",)
