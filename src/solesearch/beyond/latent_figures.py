"""The figures of stage latent_codes: charts of its table, rows of generated shoes, and nearest photos.

Generated shoes show no photograph, so they lie among the charts; what shows photos goes to galleries/.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from solesearch.beyond.code_probe import CHANCE, CODES, COMPONENTS, FEATURES, MAJORITY, UNTRAINED_CODES
from solesearch.beyond.sample_quality import (
    ALL_CODES,
    CLASS_CODE,
    CODES_REDRAWN,
    GENERATED,
    HALVES,
    NOISE,
    NOISE_REDRAWN,
    TRAINING,
    UNTRAINED,
    Nearest,
)
from solesearch.core.errors import InputError
from solesearch.figures.drawing import (
    DASHED,
    NEUTRAL,
    QUIET,
    VERMILION,
    WIDTH,
    Chart,
    add_caption,
    checked,
    counted,
    forest,
    named_seeds,
    select,
    styled,
)
from solesearch.figures.registry import chart

PROBED = {CODES: "Q's codes", UNTRAINED_CODES: "Untrained Q's codes", COMPONENTS: "As many components",
          FEATURES: "All features"}  # fmt: skip
COMPARED = {GENERATED: "Generated", TRAINING: "Training photos", HALVES: "Halves of test photos",
            UNTRAINED: "Untrained generator", NOISE: "Plain noise"}  # fmt: skip


def checked_codes(table: pd.DataFrame) -> pd.DataFrame:
    """Return latent_codes.csv if it has its columns and no gap in the values; InputError names it."""
    columns = "measure item low high unit note"
    return checked(table, name="latent_codes", columns=columns, numbers="seed value n")


# --- charts of the table ---------------------------------------------------------------------------------


@chart("latent_codes")
def code_effects(table: pd.DataFrame, *, profile: str) -> Figure:
    """Draw what each code changes in the image, and what Q can read of it, a mark a seed.

    `table`: latent_codes.csv. Dashed: the change when all noise, or all codes, are drawn anew.
    """
    rows = checked_codes(table)
    effects = select(rows, name="latent_codes", measure="effect")
    bounds = select(rows, name="latent_codes", measure="information_bound")
    redrawn = effects["item"].isin([NOISE_REDRAWN, CODES_REDRAWN])
    names = {name: name for name in effects.loc[~redrawn, "item"]}
    figure = Chart(figsize=(WIDTH, 1.45 + 0.27 * len(names)), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    _marks_by_seed(left, effects, names=names, numbers=".1f")
    _marks_by_seed(right, bounds, names=names, numbers=".2f")
    for item, value in effects[redrawn].groupby("item", sort=False)["value"].mean().items():
        left.axvline(value, color=VERMILION if item == NOISE_REDRAWN else QUIET, **DASHED, label=item)
    left.set(xlabel="Mean pixel change, grey levels of 255", xlim=(0, None), title="What a code changes")
    right.set(xlabel="Mutual-information bound, nats", title="What Q reads back (0: nothing)")
    right.locator_params(axis="x", nbins=5)
    figure.legend(*left.get_legend_handles_labels(), loc="outside upper left", ncols=4)
    sums = bounds[bounds["item"] == ALL_CODES]
    total = ", ".join(f"{row.value:.2f} nats (seed {row.seed})" for row in sums.itertuples())
    parts = [counted(effects["n"], "latents"), counted(bounds["n"], "images")]
    parts += [f"bound of all codes: {total}", "whiskers: 95 % over latents, over draws"]
    add_caption(figure, profile=profile, parts=parts)
    return figure


def _marks_by_seed(axes: Axes, rows: pd.DataFrame, *, names: Mapping[str, str], numbers: str) -> None:
    """Draw a mark an item of `names`, from the top, and seed with its interval; label the seeds."""
    rows = rows[rows["item"].isin(names)]
    by_item, seeds = rows.groupby("item")["seed"], sorted(set(rows["seed"]) - {0})
    colours = {0: NEUTRAL} | {seed: f"C{number}" for number, seed in enumerate(seeds)}
    apart = (by_item.cumcount() - (by_item.transform("size") - 1) / 2) * 0.8 / max(len(seeds), 1)
    places = rows["item"].map({name: place for place, name in enumerate(names)}) + apart
    forest(axes, rows.assign(place=places, colour=rows["seed"].map(colours)), numbers=numbers)
    axes.axvline(0, color=QUIET, linewidth=0.7, zorder=1)
    for seed in seeds:
        axes.plot([], [], "D", markersize=4.5, color=colours[seed], label=f"seed {seed:g}")
    axes.set_yticks(range(len(names)), names.values())
    axes.set_ylim(len(names) - 0.4, -0.6)


@chart("latent_codes")
def code_probe(table: pd.DataFrame, *, profile: str) -> Figure:
    """Draw how often codes of real photos give their class away, on validation and on test photos.

    Dashed: the most frequent class, and chance. `table`: latent_codes.csv.
    """
    rows = checked_codes(table)
    figure = Chart(figsize=(WIDTH, 2.5), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    for axes, part in zip(panels, ("validation", "test"), strict=True):
        found = select(rows, name="latent_codes", measure=f"probe_{part}")
        _marks_by_seed(axes, found, names=PROBED, numbers=".3f")
        guesses = found[found["item"].isin([CHANCE, MAJORITY])]
        equal = guesses.groupby("value", sort=False)["item"].agg(" and ".join)  # one where both are equal
        for (value, words), colour in zip(equal.items(), (VERMILION, QUIET), strict=False):
            axes.axvline(value, color=colour, **DASHED, label=words, zorder=1)
        axes.set(xlim=(0, 1.12), xticks=np.linspace(0, 1, 6))
        axes.set(title=f"{part.capitalize()} photos", xlabel="Share of photos whose class is found")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper left", ncols=4)
    parts = [named_seeds(found["seed"]), counted(found["n"], "test photos")]
    parts += ["whiskers: 95 % over products or blocks"]
    parts += ["logistic regression on training photos, the only use of labels"]
    add_caption(figure, profile=profile, parts=parts)
    return figure


@chart("latent_codes")
def kid_bars(table: pd.DataFrame, *, profile: str) -> Figure:
    """Draw KID of generated images and of the references against test photos, a panel a feature space.

    `table`: latent_codes.csv.
    """
    rows = checked_codes(table)
    rows = rows[rows["measure"].str.startswith("kid_")]
    if rows.empty:
        raise InputError("table latent_codes: no KID; run stage latent_codes again")
    spaces = rows["measure"].unique()
    figure = Chart(figsize=(WIDTH, 2.8), layout="constrained")
    panels = figure.subplots(1, len(spaces), sharey=True, squeeze=False)[0]
    for axes, space in zip(panels, spaces, strict=True):
        found, name = rows[rows["measure"] == space], space.removeprefix("kid_")
        _marks_by_seed(axes, found, names=COMPARED, numbers=".2g")
        reach = found[["value", "high"]].max(axis=None)
        axes.set_xlim(min(1.1 * found["low"].min(), -0.03 * reach), 1.2 * reach)
        axes.locator_params(axis="x", nbins=5)
        axes.set_title("HOG (no network)" if name == "hog" else f"ImageNet {name}")
        axes.set_xlabel("KID, MMD$^2$", parse_math=True)
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper left", ncols=4)
    generated = rows[rows["item"] == GENERATED]
    parts = [named_seeds(generated["seed"]), counted(generated["n"], "images of each kind")]
    parts += ["against test photos", "whiskers: middle 95 % of subsets"]
    parts += ["not Inception: no published KID compares"]
    parts += ["no ImageNet weights here: HOG alone"] * (len(spaces) == 1)
    add_caption(figure, profile=profile, parts=parts)
    return figure


# --- pictures --------------------------------------------------------------------------------------------


class ImageRow(NamedTuple):
    """One row of a picture: its name, images uint8 [n, h, w, 3], where gaps are, what stands around it."""

    name: str
    images: np.ndarray
    apart: Sequence[bool]  # [n]; where it changes from one image to the next there is a wide gap
    note: str = ""  # behind the row
    labels: Sequence[str] = ()  # [n] or none, above the images where the row is a block's first


def strip(row: ImageRow) -> tuple[np.ndarray, np.ndarray]:
    """Return a row's images side by side on white, uint8 [h, W, 3], and the middle of each, float [n].

    Gaps are a third of an image where `apart` changes, a thirtieth elsewhere.
    """
    _, height, width, _ = row.images.shape
    gaps = [width // 3 if one != after else max(1, width // 30) for one, after in pairwise(row.apart)]
    lefts = np.cumsum([0, *(width + gap for gap in gaps)])
    picture = np.full((height, lefts[-1] + width, 3), 255, np.uint8)
    for left, image in zip(lefts, row.images, strict=True):
        picture[:, left : left + width] = image
    return picture, lefts + width / 2


def _draw_rows(blocks: Mapping[str, Sequence[ImageRow]], *, profile: str, parts: Sequence[str]) -> Figure:
    """Draw each block's rows below its title, names on the left and notes on the right."""
    strips = [(title, row, *strip(row)) for title, rows in blocks.items() for row in rows]
    tall = 0.8 * WIDTH * max(picture.shape[0] / picture.shape[1] for *_, picture, _ in strips)
    heads = sum(0.4 if rows[0].labels else 0.22 for rows in blocks.values())
    height = (tall + 0.06) * len(strips) + heads + 0.3
    figure = Chart(figsize=(WIDTH, height), layout="constrained")
    figure.get_layout_engine().set(h_pad=0.015, hspace=0)
    panels = figure.subplots(len(strips), 1, squeeze=False)[:, 0]
    for axes, (title, row, picture, middles) in zip(panels, strips, strict=True):
        axes.imshow(picture, interpolation="lanczos")
        axes.set_yticks([picture.shape[0] / 2], [row.name])
        axes.set_xticks([])
        axes.spines[:].set_visible(False)
        axes.grid(visible=False)
        axes.tick_params(length=0, labelsize=7)
        beside = {"xytext": (4, 0), "textcoords": "offset points", "va": "center", "fontsize": 7}
        axes.annotate(row.note, (1, 0.5), xycoords="axes fraction", **beside)
        if row is blocks[title][0]:
            axes.xaxis.tick_top()
            axes.set_xticks(middles[: len(row.labels)], row.labels, fontsize=6.5)
            axes.set_title(title, fontweight="bold")
    add_caption(figure, profile=profile, parts=parts)
    return figure


@styled
def traversal_picture(
    rows: Mapping[int, Mapping[str, np.ndarray]],
    table: pd.DataFrame,
    *,
    values: Sequence[float],
    profile: str,
) -> Figure:
    """Draw a row of generated images for every seed and code, its effect and bound behind it.

    `rows`: seed -> code -> its images at the `values` (latent_codes.traversals); `table`: latent_codes.csv.
    Values beyond [-1, 1], which training never drew, stand apart; a class code's are its classes. Raises
    InputError where the table lacks a code.
    """
    numbers = checked_codes(table).set_index(["seed", "measure", "item"])["value"]
    blocks: dict[str, list[ImageRow]] = {}
    for seed, codes in rows.items():
        for name, images in codes.items():
            keys = [(seed, measure, name) for measure in ("effect", "information_bound")]
            if missing := [key for key in keys if key not in numbers]:
                raise InputError(f"table latent_codes: no {missing[0]}; run stage latent_codes again")
            note = f"{numbers[keys[0]]:.1f} · {numbers[keys[1]]:.2f} nats"
            apart, labels = _places(name, values, count=len(images))
            blocks.setdefault(f"Seed {seed}", []).append(ImageRow(name, images, apart, note, labels))
    parts = ["generated images, the same noise in every row, other codes at 0", "set apart: beyond [-1, 1]"]
    parts += ["behind: mean change of the pixels, grey levels of 255, and bound of mutual information"]
    return _draw_rows(blocks, profile=profile, parts=parts)


def _places(name: str, values: Sequence[float], *, count: int) -> tuple[list[bool], list[str]]:
    """Return which of a code's `count` images stand apart, and what stands above each: value or class."""
    if name == CLASS_CODE:
        return [False] * count, [f"class {number}" for number in range(count)]
    drawn = values[:count]
    return [abs(value) > 1 for value in drawn], [f"{value:+.3g}" if value else "0" for value in drawn]


@styled
def nearest_picture(
    nearest: Mapping[str, Sequence[Nearest]], training: np.ndarray, *, profile: str, shown: int
) -> Figure:
    """Draw generated images above their nearest training photos, a block a seed, a row a feature space.

    `nearest`: feature space -> one entry a seed (sample_quality.copy_rows); `training` uint8 [n, h, w, 3].
    The left `shown` images are those nearest to any training photo by the first space, the others the first
    drawn.
    """
    blocks, first = {}, next(iter(nearest.values()))
    for number, one in enumerate(first):
        chosen = shown_images(one, 2 * shown)
        apart = np.arange(len(chosen)) >= len(chosen) // 2
        rows = [ImageRow("generated", one.images.pixels[chosen], apart)]
        for space, found in nearest.items():
            rows.append(ImageRow(f"photo, by\n{space}", training[found[number].rows[chosen]], apart))
        blocks[f"Seed {one.images.seed}: nearest of {len(one.rows):,}, then the first ones drawn"] = rows
    parts = ["below each generated image: the training photo nearest to it"]
    return _draw_rows(blocks, profile=profile, parts=parts)


def shown_images(one: Nearest, across: int) -> np.ndarray:
    """Return the rows of the images that are shown, int64 [across]: first the nearest, then others."""
    closest = np.argsort(one.distances, kind="stable")[: min(across, len(one.rows)) // 2]
    others = np.setdiff1d(np.arange(len(one.rows)), closest)[: across - len(closest)]
    return np.concatenate([closest, others])
