"""What a query and its answers have in common: class, named colour, colour, outline, texture; a figure each.

C judges results by colour, shape and texture (section 8.4) and prints no figure. Here each is measured on
the object's own pixels, without labels but for the class and, where a manifest gives one, the colour's name.
Every figure is a likeness from 0 to 1, 1 for equal photos, so that more is always more alike; what two random
photos reach differs from measure to measure, and the random model beside the others says how much that is.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from solesearch.core import files
from solesearch.core.errors import InputError
from solesearch.core.progress import Progress
from solesearch.core.settings import fill, load_gallery_settings, load_section
from solesearch.photos.catalog import read_attributes
from solesearch.photos.photo import object_mask
from solesearch.retrieval.exact_search import ranking
from solesearch.retrieval.retrieval import excluded_pairs
from solesearch.retrieval.uncertainty import (
    Resampling,
    bootstrap_intervals,
    load_resampling,
    resampling_units,
)

if TYPE_CHECKING:
    from solesearch.evaluation.study import Study

MEASURES = ("class", "named_colour", "colour", "shape", "texture")
GALLERIES = ("all", "without_bags", "bags_only")  # which photos ask and answer
COLUMNS = ["model", "seed", "gallery", "measure", "class", "value", "low", "high", "n"]
EVERY = "all"  # as a class: every query; as a seed: the mean over the seeds
LIGHTNESS, CHROMA = (0.0, 100.0), (-110.0, 110.0)  # CIELAB's L*, and a* and b*, of what sRGB can show
QUERY_BLOCK = 256  # queries at a time: with 5 answers and 2,197 cells of colour 23 MB


@dataclass(frozen=True)
class LikenessSettings:
    """How likeness is measured; `params.yaml`, section `likeness`, holds the values."""

    k: int
    colour_cells: int
    colour_smoothing: float
    silhouette_side: int
    texture_points: int
    texture_radius: int

    def __post_init__(self) -> None:
        """Raise InputError for a value of the wrong type or one that measures nothing."""
        least = {"k": 1, "colour_cells": 2, "silhouette_side": 8, "texture_points": 4, "texture_radius": 1}
        for name, low in least.items():
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < low:
                raise InputError(f"params.yaml, likeness.{name}: a whole number from {low}; got {value!r}")
        smoothing = self.colour_smoothing
        if not isinstance(smoothing, int | float) or isinstance(smoothing, bool) or not 0 <= smoothing < 10:
            raise InputError(f"params.yaml, likeness.colour_smoothing: 0 to 10 cells; got {smoothing!r}")


def load_likeness(profile: str, overrides: dict[str, Any] | None = None) -> LikenessSettings:
    """Return section `likeness` of a profile; raises InputError for a missing or impossible value."""
    return fill(LikenessSettings, load_section(profile, "likeness", overrides), where=f"{profile}.likeness")


# --- one photo -------------------------------------------------------------------------------------------


def object_pixels(pixels: np.ndarray) -> np.ndarray:
    """Return where a photo uint8 [h, w, 3] shows its object, bool [h, w]; everywhere if nothing is seen."""
    mask, _ = object_mask(pixels)
    return mask if mask.any() else np.ones_like(mask)


def colour_histogram(pixels: np.ndarray, mask: np.ndarray, *, cells: int, smoothing: float) -> np.ndarray:
    """Return the shares of the object's pixels in cells of CIELAB, float64 [cells ** 3], summing to 1.

    `smoothing`: standard deviation, in cells, of the Gaussian that spreads each share over its neighbours,
    since two near colours may lie on both sides of a cell's wall.
    """
    from scipy.ndimage import gaussian_filter
    from skimage.color import rgb2lab

    ranges = (LIGHTNESS, CHROMA, CHROMA)
    counts, _ = np.histogramdd(rgb2lab(pixels[mask]), bins=cells, range=ranges)
    spread = gaussian_filter(counts, smoothing, mode="constant") if smoothing else counts
    return (spread / spread.sum()).ravel()


def silhouette(mask: np.ndarray, *, side: int) -> np.ndarray:
    """Return the object's outline, filled, bool [side, side]: its box brought to the square's size, centred.

    Proportions are kept, place and size in the photo are not. Holes are filled, the opening of a handle too,
    since white leather on white looks like a hole.
    """
    from scipy.ndimage import binary_fill_holes

    filled = binary_fill_holes(mask)
    rows, columns = np.flatnonzero(filled.any(axis=1)), np.flatnonzero(filled.any(axis=0))
    cut = filled[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    high, wide = (max(1, round(length * side / max(cut.shape))) for length in cut.shape)
    shown = cut[_places(high, cut.shape[0])][:, _places(wide, cut.shape[1])]
    square, top, left = np.zeros((side, side), dtype=bool), (side - high) // 2, (side - wide) // 2
    square[top : top + high, left : left + wide] = shown
    return square


def _places(wanted: int, there: int) -> np.ndarray:
    """Return the rows, int64 [wanted], of `there` that lie nearest to the middles of `wanted` ones."""
    return ((np.arange(wanted) + 0.5) * there / wanted).astype(np.int64)


def texture_histogram(pixels: np.ndarray, mask: np.ndarray, *, points: int, radius: int) -> np.ndarray:
    """Return the shares of uniform local binary patterns inside the object, float64 [p * (p - 1) + 3], sum 1.

    Ojala, Pietikaeinen and Maeenpaeae 2002; not made invariant to turning, as Ahonen, Hadid and Pietikaeinen
    2006 use them, since catalogue photos share a pose (scikit-image). A pattern says which of p neighbours on
    a circle are at least as bright as the middle, however much brighter. Brightness is the sum of the
    channels, so that channels changed round change nothing. Pixels whose circle leaves the object do not
    count, unless all do.
    """
    from scipy.ndimage import binary_erosion
    from skimage.feature import local_binary_pattern

    inside = binary_erosion(mask, np.ones((2 * radius + 1, 2 * radius + 1), dtype=bool))
    patterns = local_binary_pattern(pixels.sum(axis=2, dtype=np.int64), points, radius, method="nri_uniform")
    counted = patterns[inside if inside.any() else mask].astype(np.int64)
    return np.bincount(counted, minlength=points * (points - 1) + 3) / len(counted)


# --- many photos -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Looks:
    """What is measured of n photos, a row each; histograms as the roots of their shares."""

    labels: np.ndarray  # object [n]
    names: np.ndarray | None  # object [n], the colour's name, "" unknown; None where the manifest has none
    colours: np.ndarray  # float64 [n, cells ** 3]
    silhouettes: np.ndarray  # bool [n, side ** 2]
    textures: np.ndarray  # float64 [n, points * (points - 1) + 3]

    def take(self, rows: np.ndarray) -> Looks:
        """Return the looks of some rows, in their order."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return Looks(**{name: None if value is None else value[rows] for name, value in values.items()})

    @property
    def measures(self) -> list[str]:
        """The measures that these photos allow."""
        return [name for name in MEASURES if name != "named_colour" or self.names is not None]


def looks_of(
    pixels: np.ndarray, *, labels: Collection[str], names: Collection[str] | None, settings: LikenessSettings
) -> Looks:
    """Measure photos uint8 [n, h, w, 3] of the given classes and, where known, names of colours."""
    colours, silhouettes, textures = [], [], []
    progress = Progress("measuring photos", total=len(pixels), unit="photo")
    texture = {"points": settings.texture_points, "radius": settings.texture_radius}
    colour = {"cells": settings.colour_cells, "smoothing": settings.colour_smoothing}
    for number, photo in enumerate(pixels, start=1):
        mask = object_pixels(photo)
        colours.append(np.sqrt(colour_histogram(photo, mask, **colour)))
        silhouettes.append(silhouette(mask, side=settings.silhouette_side).ravel())
        textures.append(np.sqrt(texture_histogram(photo, mask, **texture)))
        progress.update(number)
    named = None if names is None else np.array(list(names), dtype=object)
    measured = (np.stack(part) for part in (colours, silhouettes, textures))
    return Looks(np.array(list(labels), dtype=object), named, *measured)


def hellinger_likeness(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return 1 minus the Hellinger distance of histograms given as roots of shares, [..., d] each, in [0, 1].

    The distance is the root of 1 - sum of root(p q): a metric, 0 for equal shares, 1 where no cell is shared
    (Comaniciu, Ramesh and Meer 2003 compare colour histograms by it).
    """
    shared = np.einsum("...d,...d->...", first, second)
    return 1 - np.sqrt(np.clip(1 - shared, 0, 1))


def overlap(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return the intersection over union (Jaccard) of silhouettes, bool [..., d] each, in [0, 1]."""
    return (first & second).sum(axis=-1) / np.maximum((first | second).sum(axis=-1), 1)


def pair_likeness(looks: Looks, queries: np.ndarray, answers: np.ndarray) -> dict[str, np.ndarray]:
    """Return for each measure the likeness of queries int64 [q] and their answers int64 [q, k], float [q, k].

    Both are rows of `looks`. NaN for a named colour where either has none.
    """
    asked, found = looks.take(queries[:, None]), looks.take(answers)
    likeness = {
        "class": (asked.labels == found.labels).astype(float),
        "colour": hellinger_likeness(asked.colours, found.colours),
        "shape": overlap(asked.silhouettes, found.silhouettes),
        "texture": hellinger_likeness(asked.textures, found.textures),
    }
    if looks.names is not None:
        known = (asked.names != "") & (found.names != "")
        likeness["named_colour"] = np.where(known, asked.names == found.names, np.nan).astype(float)
    return {name: likeness[name] for name in looks.measures}


# --- queries and answers ---------------------------------------------------------------------------------


def answers_of(vectors: np.ndarray, photos: pd.DataFrame, *, k: int, window: int) -> np.ndarray:
    """Return the rows of the k photos nearest to each of `photos`, int64 [n, k], other products only.

    Takes vectors float32 [n, d] and n rows with group and position. A row of -1 where fewer than k photos
    of other products are there: that query cannot be judged.
    """
    found = []
    for start in range(0, len(photos), QUERY_BLOCK):
        queries = np.arange(start, min(start + QUERY_BLOCK, len(photos)))
        out = excluded_pairs(photos, queries=queries, gallery="product_excluded", window=window)
        rows = ranking(vectors[queries], vectors)[:, : k + int(out.sum(axis=1).max())]
        left_out = np.take_along_axis(out, rows, axis=1)
        rows = np.take_along_axis(rows, np.argsort(left_out, axis=1, kind="stable"), axis=1)
        block = np.full((len(queries), k), -1, dtype=np.int64)
        enough = (~out).sum(axis=1) >= k
        if enough.any():
            block[enough] = rows[enough, :k]
        found.append(block)
    return np.concatenate(found)


def mean_likeness(looks: Looks, answers: np.ndarray) -> pd.DataFrame:
    """Return each photo's mean likeness with its answers int64 [n, k], a column a measure, float [n].

    NaN where the answers are -1, and for a named colour that is unknown on one side of every pair.
    """
    table = pd.DataFrame(np.nan, index=range(len(answers)), columns=looks.measures)
    judged = np.flatnonzero((answers >= 0).all(axis=1))
    for start in range(0, len(judged), QUERY_BLOCK):
        queries = judged[start : start + QUERY_BLOCK]
        for name, values in pair_likeness(looks, queries, answers[queries]).items():
            known = np.isfinite(values).sum(axis=1)
            total = np.nansum(values, axis=1)
            means = np.divide(total, known, out=np.full(len(total), np.nan), where=known > 0)
            table.loc[queries, name] = means
    return table


def gallery_rows(labels: pd.Series, bag_labels: Collection[str]) -> dict[str, np.ndarray]:
    """Return gallery -> rows int64 of the photos that ask and answer in it; `all` alone without both kinds.

    Letters' case makes no difference in the names of `bag_labels`.
    """
    wanted = {name.casefold() for name in bag_labels}
    bags = labels.str.casefold().isin(wanted).to_numpy()
    rows = {"all": np.arange(len(labels))}
    if bags.any() and not bags.all():
        rows |= {"without_bags": np.flatnonzero(~bags), "bags_only": np.flatnonzero(bags)}
    return rows


def test_looks(study: Study, settings: LikenessSettings) -> tuple[pd.DataFrame, Looks]:
    """Return the test photos and their looks, in the same order."""
    photos, pixels = study.split("test")
    attributes = read_attributes(study.paths)
    names = None
    if "colour" in attributes:
        names = attributes["colour"].reindex(photos["id"]).fillna("").str.strip().str.casefold()
    return photos, looks_of(pixels, labels=photos["label"], names=names, settings=settings)


def query_likeness(
    study: Study,
    photos: pd.DataFrame,
    looks: Looks,
    *,
    settings: LikenessSettings,
    bag_labels: Collection[str],
) -> pd.DataFrame:
    """Return a row a query, model, seed and gallery: id, label, and its mean likeness by each measure.

    `photos` and `looks` are the test photos. An ImageNet network that embedded some of them answers from
    these.
    """
    from solesearch.evaluation.study import model_vectors, models

    wanted, blocks = models(study), []
    row_of = pd.Series(np.arange(len(photos)), index=photos["id"])
    progress = Progress("measuring answers", total=len(wanted), unit="model")
    for number, (model, seed) in enumerate(wanted, start=1):
        embedded, vectors = model_vectors(study, model, seed=seed)
        mine = looks.take(row_of[embedded["id"]].to_numpy())
        for gallery, rows in gallery_rows(embedded["label"], bag_labels).items():
            inside, window = embedded.iloc[rows], study.evaluation.exclusion_window
            answers = answers_of(vectors[rows], inside, k=settings.k, window=window)
            values = mean_likeness(mine.take(rows), answers).set_index(inside.index)
            block = inside[["id", "label"]].join(values)
            blocks.append(block.assign(model=model, seed=seed, gallery=gallery))
        progress.update(number)
    return pd.concat(blocks, ignore_index=True)


# --- the table -------------------------------------------------------------------------------------------


def likeness_table(queries: pd.DataFrame, units: pd.Series, resampling: Resampling) -> pd.DataFrame:
    """Return the means with their intervals (columns COLUMNS), of every model, seed, gallery and class.

    `queries` as from `query_likeness`, `units` (photo id -> product) from uncertainty.resampling_units. Seed
    `all` is the mean over the seeds, query by query. All models are resampled by the same draws.
    """
    measures = [name for name in MEASURES if name in queries]
    blocks = [
        _interval_rows(wide, units, resampling).assign(gallery=gallery, **{"class": label})
        for gallery, label, wide in _classes(queries, measures)
        if wide.notna().any(axis=None)  # a gallery or class too small to be judged has no rows
    ]
    table = pd.concat(blocks, ignore_index=True)
    order = {name: number for number, name in enumerate([*dict.fromkeys(queries["model"]), *GALLERIES])}
    keys = {name: table[name].map(order) for name in ("model", "gallery")}
    keys |= {"measure": table["measure"].map({name: n for n, name in enumerate(measures)})}
    sorting = table.assign(**{f"_{name}": values for name, values in keys.items()})
    sorting["_class"] = table["class"].where(table["class"] != EVERY, "")
    ranked = sorting.sort_values(["_model", "seed", "_gallery", "_measure", "_class"], kind="stable")
    return ranked[COLUMNS].reset_index(drop=True)


def _classes(queries: pd.DataFrame, measures: list[str]) -> Iterator[tuple[str, str, pd.DataFrame]]:
    """Yield gallery, class and a table: a row a query, columns (measure, model, seed) and the mean seed."""
    for gallery, rows in queries.groupby("gallery", sort=False):
        wide = rows.pivot(index=["label", "id"], columns=["model", "seed"], values=measures)
        wide.columns = pd.MultiIndex.from_tuples(
            [(measure, model, str(seed)) for measure, model, seed in wide.columns]
        )
        means = wide.T.groupby(level=[0, 1], sort=False).mean().T
        means.columns = pd.MultiIndex.from_tuples([(*column, EVERY) for column in means.columns])
        wide = pd.concat([wide, means], axis=1)
        wide = wide.loc[:, wide.notna().any()]
        yield str(gallery), EVERY, wide.droplevel("label")
        for label in sorted(rows["label"].unique()):
            yield str(gallery), label, wide.loc[label]


def _interval_rows(wide: pd.DataFrame, units: pd.Series, resampling: Resampling) -> pd.DataFrame:
    """Return measure, model, seed, value, low, high, n of a table of queries, a row a column that has any."""
    wide = wide.loc[:, wide.notna().any()]
    values = wide.to_numpy(float)
    low, high = bootstrap_intervals(
        values,
        pd.factorize(units[wide.index].to_numpy())[0],
        resamples=resampling.resamples,
        confidence=resampling.confidence,
        seed=resampling.seed,
    )
    found = pd.DataFrame(list(wide.columns), columns=["measure", "model", "seed"])
    count = np.isfinite(values).sum(axis=0)
    return found.assign(value=np.nanmean(values, axis=0), low=low, high=high, n=count)


def write_likeness(study: Study, overrides: dict[str, Any] | None = None) -> pd.DataFrame:
    """Measure every model of a profile, write results/<profile>/likeness.csv and return it."""
    profile = study.paths.profile
    settings, gallery = load_likeness(profile, overrides), load_gallery_settings(profile, overrides)
    photos, looks = test_looks(study, settings)
    queries = query_likeness(study, photos, looks, settings=settings, bag_labels=gallery.bag_labels)
    units = resampling_units(photos, window=study.evaluation.exclusion_window)
    table = likeness_table(queries, units, load_resampling(profile, overrides))
    files.write_table(study.paths.result("likeness"), table)
    return table


def overview(table: pd.DataFrame, *, gallery: str = EVERY, label: str = EVERY) -> pd.DataFrame:
    """Return likeness.csv as models by measures, means over the seeds, the best class agreement first."""
    rows = table[(table["gallery"] == gallery) & (table["class"] == label) & (table["seed"] == EVERY)]
    wide = rows.pivot(index="model", columns="measure", values="value")
    return wide[[name for name in MEASURES if name in wide]].sort_values("class", ascending=False)


def by_kind(table: pd.DataFrame, models: Collection[str], *, bag_labels: Collection[str]) -> pd.DataFrame:
    """Return measures by (model, asked, answering) of some models, means over the seeds.

    `asked` are all test photos, shoes or bags (everything that is no bag counts as a shoe); `answering` are
    all of them or their own kind. A catalogue of one kind has a single row a model: all, all.
    """
    rows = table[(table["seed"] == EVERY) & table["model"].isin(list(models))]
    bag = rows["class"].str.casefold().isin({name.casefold() for name in bag_labels})
    own = rows["gallery"] != EVERY
    rows = rows.assign(
        asked=np.where(rows["class"] == EVERY, EVERY, np.where(bag, "bags", "shoes")),
        answering=np.where(own, "own kind", EVERY),
        weighted=rows["value"] * rows["n"],
    )
    every = rows["asked"] == EVERY
    rows = rows[~every | ~own] if own.any() else rows[every]
    sums = rows.groupby(["model", "asked", "answering", "measure"])[["weighted", "n"]].sum()
    wide = (sums["weighted"] / sums["n"]).unstack("measure")
    known = {name: number for number, name in enumerate([*models, EVERY, "shoes", "bags", "own kind"])}
    ordered = sorted(wide.index, key=lambda keys: [known[key] for key in keys])
    return wide.loc[ordered, [name for name in MEASURES if name in wide]]
