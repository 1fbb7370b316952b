"""What a query and its answers have in common: class, colour, shape, texture, the catalogue's attributes.

C judges results by colour, shape and texture (section 8.4) and prints no figure. Here each is measured on
the object's own pixels, without labels but for the class. Beside them stands what the catalogue says of the
photos, where it does: heel, closure, material and the like. Every figure is a likeness from 0 to 1, 1 for
equal photos, so that more is always more alike; what two random photos reach differs from one to the next,
and the random model, or the exact chance, says how much that is.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

import numpy as np
import pandas as pd
from pydantic import Field
from scipy.ndimage import binary_erosion, binary_fill_holes, find_objects, gaussian_filter
from skimage.color import rgb2lab
from skimage.feature import local_binary_pattern

from solesearch.core.settings import Section
from solesearch.photos.photo import object_mask
from solesearch.retrieval.retrieval import excluded_pairs
from solesearch.retrieval.uncertainty import Resampling, means_with_intervals, with_seed_means

GALLERIES = ("all", "without_bags", "bags_only")  # which photos ask and answer
COLUMNS = ["model", "seed", "gallery", "measure", "class", "value", "low", "high", "n"]
SHARES = [
    *("model", "attribute", "k", "n", "value", "low", "high", "chance"),
    *("queries_unknown", "answers_unknown"),
]
EVERY = "all"  # as a class: every query; as a seed: the mean over the seeds
LIGHTNESS, CHROMA = (0.0, 100.0), (-110.0, 110.0)  # CIELAB's L*, and a* and b*, of what sRGB can show
QUERY_BLOCK = 256  # queries at a time: with 5 answers and 2,197 cells of colour 23 MB


class LikenessSettings(Section, section="likeness"):
    """How likeness is measured."""

    k: int = Field(ge=1)
    colour_cells: int = Field(ge=2)
    colour_smoothing: float = Field(ge=0, lt=10)
    silhouette_side: int = Field(ge=8)
    texture_points: int = Field(ge=4)
    texture_radius: int = Field(ge=1)
    attributes: list[str]


# --- one photo -------------------------------------------------------------------------------------------


def object_pixels(photo: np.ndarray) -> np.ndarray:
    """Return where a photo uint8 [h, w, 3] shows its object, bool [h, w]; everywhere if nothing is seen."""
    mask, _ = object_mask(photo)
    return mask if mask.any() else np.ones_like(mask)


def colour_histogram(photo: np.ndarray, mask: np.ndarray, *, cells: int, smoothing: float) -> np.ndarray:
    """Return the shares of the object's pixels in cells of CIELAB, float64 [cells ** 3], summing to 1.

    `smoothing`: standard deviation, in cells, of the Gaussian that spreads each share over its neighbours,
    since two near colours may lie on both sides of a cell's wall.
    """
    counts, _ = np.histogramdd(rgb2lab(photo[mask]), bins=cells, range=(LIGHTNESS, CHROMA, CHROMA))
    spread = gaussian_filter(counts, smoothing, mode="constant") if smoothing else counts
    return (spread / spread.sum()).ravel()


def silhouette(mask: np.ndarray, *, side: int) -> np.ndarray:
    """Return the object's outline, filled, bool [side, side]: its box brought to the square's size, centred.

    Proportions are kept, place and size in the photo are not. Holes are filled, the opening of a handle too,
    since white leather on white looks like a hole.
    """
    filled = binary_fill_holes(mask)
    box = filled[find_objects(filled.astype(int))[0]]
    high, wide = (max(1, round(length * side / max(box.shape))) for length in box.shape)
    lengths = zip((high, wide), box.shape, strict=True)
    rows, columns = (((np.arange(new) + 0.5) * old / new).astype(int) for new, old in lengths)  # nearest
    square, top, left = np.zeros((side, side), dtype=bool), (side - high) // 2, (side - wide) // 2
    square[top : top + high, left : left + wide] = box[np.ix_(rows, columns)]
    return square


def texture_histogram(photo: np.ndarray, mask: np.ndarray, *, points: int, radius: int) -> np.ndarray:
    """Return the shares of uniform local binary patterns inside the object, float64 [p * (p - 1) + 3], sum 1.

    Ojala, Pietikaeinen and Maeenpaeae 2002; not made invariant to turning, as Ahonen, Hadid and Pietikaeinen
    2006 use them, since catalogue photos share a pose (scikit-image). A pattern says which of p neighbours on
    a circle are at least as bright as the middle, however much brighter. Brightness is the sum of the
    channels, so that channels changed round change nothing. Pixels whose circle leaves the object do not
    count, unless all do.
    """
    inside = binary_erosion(mask, np.ones((2 * radius + 1, 2 * radius + 1), dtype=bool))
    patterns = local_binary_pattern(photo.sum(axis=2, dtype=np.int64), points, radius, method="nri_uniform")
    counted = patterns[inside if inside.any() else mask].astype(np.int64)
    return np.bincount(counted, minlength=points * (points - 1) + 3) / len(counted)


# --- pairs of photos -------------------------------------------------------------------------------------


def equal(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return 1.0 where labels agree, 0.0 where not, and NaN where either is unknown (""), float."""
    return np.where((first != "") & (second != ""), first == second, np.nan).astype(float)


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


def in_common(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return the share of the values of either photo that both hold, bool [..., v] each; NaN: unknown.

    The overlap of two sets: {buckle, ankle strap} and {buckle} have half in common. Where both hold one value
    it is 1 or 0. Not "at least one in common", since some values are in most lists (closed toe, leather).
    """
    known = first.any(axis=-1) & second.any(axis=-1)
    return np.where(known, overlap(first, second), np.nan)


# What is compared, and how; the catalogue's attributes by `in_common`.
MEASURES: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "class": equal,
    "colour": hellinger_likeness,
    "shape": overlap,
    "texture": hellinger_likeness,
}
Measured = dict[str, np.ndarray]  # measure -> [n] or [n, d], a row a photo; histograms as roots of shares


def measure_photos(pixels: np.ndarray, *, labels: Collection[str], settings: LikenessSettings) -> Measured:
    """Measure photos uint8 [n, h, w, 3] of the given classes."""
    rows: dict[str, list[np.ndarray]] = {"colour": [], "shape": [], "texture": []}
    colour = {"cells": settings.colour_cells, "smoothing": settings.colour_smoothing}
    texture = {"points": settings.texture_points, "radius": settings.texture_radius}
    for photo in pixels:
        mask = object_pixels(photo)
        rows["colour"].append(np.sqrt(colour_histogram(photo, mask, **colour)))
        rows["shape"].append(silhouette(mask, side=settings.silhouette_side).ravel())
        rows["texture"].append(np.sqrt(texture_histogram(photo, mask, **texture)))
    classes = {"class": np.array(list(labels), dtype=object)}
    return classes | {name: np.stack(values) for name, values in rows.items()}


def held_values(attributes: pd.DataFrame, names: Sequence[str]) -> Measured:
    """Return attribute -> bool [n, v], which of its v values each photo holds; no row: unknown.

    `attributes`: a row a photo, text, several values separated by `;`, letters' case aside. Those of `names`
    that the catalogue does not have, or of no photo, are left out.
    """
    held = {}
    for name in names:
        if name in attributes:
            lists = attributes[name].fillna("").str.casefold().str.replace(r"\s*;\s*", ";", regex=True)
            table = lists.str.strip().str.get_dummies(";").drop(columns="", errors="ignore")
            held[name] = table.to_numpy(bool)
    return {name: values for name, values in held.items() if values.any()}


def pair_likeness(measured: Measured, queries: np.ndarray, answers: np.ndarray) -> dict[str, np.ndarray]:
    """Return measure -> likeness, float [q, k], of queries int64 [q] and answers int64 [q, k] (rows)."""
    return {
        name: MEASURES.get(name, in_common)(values[queries[:, None]], values[answers])
        for name, values in measured.items()
    }


# --- queries and answers ---------------------------------------------------------------------------------


def mean_likeness(measured: Measured, answers: np.ndarray) -> pd.DataFrame:
    """Return each photo's mean likeness with its answers int64 [n, k], a column a measure, float [n].

    NaN where the answers are -1, and for an attribute that is unknown on one side of every pair.
    """
    judged, blocks = np.flatnonzero((answers >= 0).all(axis=1)), []
    for start in range(0, len(judged), QUERY_BLOCK):
        queries = judged[start : start + QUERY_BLOCK]
        likeness = pair_likeness(measured, queries, answers[queries])
        means = {name: pd.DataFrame(values).mean(axis=1).to_numpy() for name, values in likeness.items()}
        blocks.append(pd.DataFrame(means, index=queries))
    nothing = pd.DataFrame(columns=list(measured), dtype=float)
    return pd.concat(blocks or [nothing]).reindex(range(len(answers)))


def gallery_rows(labels: pd.Series, bag_labels: Collection[str]) -> dict[str, np.ndarray]:
    """Return gallery -> rows int64 of the photos that ask and answer in it; `all` alone without both kinds.

    Letters' case makes no difference in the names of `bag_labels`.
    """
    bags = labels.str.casefold().isin({name.casefold() for name in bag_labels}).to_numpy()
    rows = {"all": np.arange(len(labels))}
    if bags.any() and not bags.all():
        rows |= {"without_bags": np.flatnonzero(~bags), "bags_only": np.flatnonzero(bags)}
    return rows


def chances(held: Measured, photos: pd.DataFrame, *, window: int) -> pd.DataFrame:
    """Return what each photo has in common with a random one that may answer it, a column an attribute.

    Exactly, from the counts of every list of values: over all others of the product-excluded gallery whose
    value is known. float [n]; NaN where the photo's own is not, or nobody's. `photos` as in excluded_pairs.
    """
    rows, rule, pairs = np.arange(len(photos)), {"gallery": "product_excluded", "window": window}, []
    for start in range(0, len(photos), QUERY_BLOCK):
        block = rows[start : start + QUERY_BLOCK]
        query, excluded = np.nonzero(excluded_pairs(photos, queries=block, **rule))
        pairs.append((block[query], excluded))
    queries, others = np.concatenate(pairs, axis=1)
    table = pd.DataFrame(index=rows)
    for name, values in held.items():
        lists, of, counts = np.unique(values, axis=0, return_inverse=True, return_counts=True)
        alike, known = in_common(lists[:, None], lists[None]), lists.any(axis=1)
        excluded = np.bincount(queries, np.nan_to_num(alike[of[queries], of[others]]), len(rows))
        total = (np.nan_to_num(alike) @ counts)[of] - excluded
        answering = counts[known].sum() - np.bincount(queries, known[of[others]], len(rows))
        table[name] = np.where(known[of] & (answering > 0), total / np.maximum(answering, 1), np.nan)
    return table


def attribute_queries(
    held: Measured, photos: pd.DataFrame, answers: np.ndarray, *, window: int
) -> pd.DataFrame:
    """Return a row an attribute and photo with answers, int64 [n, k] in the product-excluded gallery.

    Columns id, attribute, value, chance, unknown. `value`: mean share in common with the answers whose value
    is known, NaN where none is, or the photo's own is not. `unknown`: the share of a known photo's answers
    that are left out so. `chance` as `chances` returns it.
    """
    means, chance = mean_likeness(held, answers), chances(held, photos, window=window)
    judged, blocks = (answers >= 0).all(axis=1), []
    for name, values in held.items():
        known = values.any(axis=1)
        block = photos[["id"]].assign(attribute=name, value=means[name], chance=chance[name])
        block["unknown"] = np.where(known, 1 - known[answers].mean(axis=1), np.nan)
        blocks.append(block[judged])
    nothing = pd.DataFrame(columns=["id", "attribute", "value", "chance", "unknown"])
    return pd.concat(blocks, ignore_index=True) if blocks else nothing


# --- the tables ------------------------------------------------------------------------------------------


def attribute_table(
    queries: pd.DataFrame, units: pd.Series, resampling: Resampling, *, k: int
) -> pd.DataFrame:
    """Return attributes.csv (columns SHARES), a row a model and attribute: the mean over the seeds.

    `queries`: rows of `attribute_queries` with model and seed; `units` as in `likeness_table`. chance is
    the mean over the queries that count, n. queries_unknown: how many do not, because their own value is
    unknown or that of all their answers; answers_unknown: the share of answers left out of the others.
    """
    if queries.empty:
        return pd.DataFrame(columns=SHARES)
    keys, counted = ["attribute", "model"], queries.dropna(subset="value")
    wide = with_seed_means(queries.pivot(index="id", columns=[*keys, "seed"], values="value"))
    means = means_with_intervals(wide.xs("all", axis=1, level=2), units, resampling).rename_axis(keys)
    of_query = counted.drop_duplicates([*keys, "id"]).groupby(keys)["chance"].mean()
    asked = queries.groupby(keys).agg(asked=("id", "nunique"), answers_unknown=("unknown", "mean"))
    table = means.join(of_query).join(asked).dropna(subset="value").reset_index()
    table = queries[["model", "attribute"]].drop_duplicates().merge(table)  # in the order of the models
    return table.assign(k=k, queries_unknown=table["asked"] - table["n"])[SHARES]


def likeness_table(queries: pd.DataFrame, units: pd.Series, resampling: Resampling) -> pd.DataFrame:
    """Return likeness.csv (columns COLUMNS): means with intervals of every model, seed, gallery and class.

    `queries`: a row a query, model, seed and gallery with id, label and `mean_likeness`; `units` (photo id ->
    product) from uncertainty.resampling_units. Seed `all` is the mean over the seeds, query by query.
    """
    blocks, measures = [], [name for name in MEASURES if name in queries]
    for gallery, rows in queries.groupby("gallery", sort=False):
        every = with_seed_means(rows.pivot(index=["label", "id"], columns=["model", "seed"], values=measures))
        for label in (EVERY, *sorted(rows["label"].unique())):
            wide = every.droplevel("label") if label == EVERY else every.loc[label]
            means = means_with_intervals(wide, units, resampling).rename_axis(["measure", "model", "seed"])
            blocks.append(means.reset_index().assign(gallery=gallery, **{"class": label}))
    table = pd.concat(blocks, ignore_index=True).dropna(subset="value")  # what is too small to be judged
    order = pd.Index(
        [*queries["model"].unique(), *GALLERIES, *MEASURES]
    )  # seeds, classes: by name, EVERY first
    ranks = dict.fromkeys(("model", "gallery", "measure"), order.get_loc)
    ranks["class"] = lambda label: "" if label == EVERY else label
    by = ["model", "seed", "gallery", "measure", "class"]
    ranked = table.sort_values(by, kind="stable", key=lambda column: column.map(ranks.get(column.name, str)))
    return ranked[COLUMNS].reset_index(drop=True)
