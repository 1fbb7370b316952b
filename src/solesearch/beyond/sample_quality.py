"""How generated images differ from photographs: KID, coverage, copies, collapse. Needs no TensorFlow.

Everything here works on vectors of one feature space, float [n, d]; which space, the caller says. KID and not
FID: FID's estimate from n images is biased by about 1 / n and needs a covariance of d dimensions, d above n
here, while KID's is unbiased at any n (Binkowski et al. 2018, "Demystifying MMD GANs").
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from sklearn.metrics import pairwise_distances_argmin_min
from sklearn.metrics.pairwise import euclidean_distances, polynomial_kernel
from sklearn.neighbors import NearestNeighbors

from solesearch.core.errors import InputError
from solesearch.retrieval.uncertainty import Resampling, means_with_intervals

NOT_KNOWN = float("nan")
SLICE = 1000  # photos whose features are held at a time


class Estimate(NamedTuple):
    """A measured value, the interval or spread that belongs to it (NaN: none), and from how many."""

    value: float
    low: float = NOT_KNOWN
    high: float = NOT_KNOWN
    n: int = 0


# --- KID -------------------------------------------------------------------------------------------------


def kid_kernel(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return KID's kernel (x . y / d + 1)^3, float64 [n, m], of features [n, d] and [m, d]."""
    return polynomial_kernel(first.astype(np.float64), second.astype(np.float64), degree=3, coef0=1)


def squared_discrepancy(within_x: np.ndarray, within_y: np.ndarray, between: np.ndarray) -> float:
    """Return the unbiased MMD^2 of kernel matrices [n, n], [m, m], [n, m] (Gretton et al. 2012, eq. 3).

    The diagonals, a point with itself, are left out. So the estimate may be negative, and is 0 on average
    where both samples come from one distribution. Raises InputError for fewer than two of either.
    """
    n, m = between.shape
    if min(n, m) < 2:
        raise InputError(f"KID: {n} and {m} images; two of each are needed")
    x = (within_x.sum() - np.trace(within_x)) / (n * (n - 1))
    y = (within_y.sum() - np.trace(within_y)) / (m * (m - 1))
    return float(x + y - 2 * between.mean())


def kernel_inception_distance(
    images: np.ndarray, photos: np.ndarray, *, subset: int, subsets: int, seed: int
) -> Estimate:
    """Return KID between features [n, d] and [m, d], with the spread over subsets of `subset` of each.

    The value takes all images. low and high enclose 95 % of the subsets, which are smaller and scatter more:
    a spread, wider than a confidence interval. InputError where a subset is larger than a sample.
    """
    _check_subset(subset, most=min(len(images), len(photos)))
    xx, yy, xy = kid_kernel(images, images), kid_kernel(photos, photos), kid_kernel(images, photos)
    random, found = np.random.default_rng(seed), []
    for _ in range(subsets):
        i = random.choice(len(images), subset, replace=False)
        j = random.choice(len(photos), subset, replace=False)
        found.append(squared_discrepancy(xx[np.ix_(i, i)], yy[np.ix_(j, j)], xy[np.ix_(i, j)]))
    return Estimate(squared_discrepancy(xx, yy, xy), *middle(found), n=len(images))


def split_half_distance(photos: np.ndarray, *, subset: int, subsets: int, seed: int) -> Estimate:
    """Return KID between two halves of the same features [n, d]: what a perfect generator would get.

    Each subset draws two disjoint halves of at most `subset`; the value is their mean.
    """
    size = min(subset, len(photos) // 2)
    _check_subset(size, most=len(photos) // 2)
    kernel, random, found = kid_kernel(photos, photos), np.random.default_rng(seed), []
    for _ in range(subsets):
        order = random.permutation(len(photos))
        i, j = order[:size], order[size : 2 * size]
        found.append(squared_discrepancy(*(kernel[np.ix_(a, b)] for a, b in ((i, i), (j, j), (i, j)))))
    return Estimate(float(np.mean(found)), *middle(found), n=2 * size)


def _check_subset(subset: int, *, most: int) -> None:
    if not 2 <= subset <= most:
        rule = f"from 2 to the {most} images there are"
        raise InputError(f"params.yaml, latent_codes.subset: {rule}; got {subset}")


def middle(values: Sequence[float]) -> tuple[float, float]:
    """Return the ends of the middle 95 % of some values."""
    low, high = np.quantile(values, [0.025, 0.975])
    return float(low), float(high)


# --- coverage, copies and collapse -----------------------------------------------------------------------


def density_and_coverage(images: np.ndarray, photos: np.ndarray, *, k: int) -> tuple[float, float]:
    """Return (density, coverage) of images [m, d] against photos [n, d] (Naeem et al. 2020, eqs. 3 and 4).

    Around each photo lies a ball that reaches to its k-th nearest other photo. Density: in how many balls an
    image lies, over k; 1 is expected of real photos, more is possible. Coverage: the share of balls that hold
    an image. Raises InputError where there are no k other photos.
    """
    if not 1 <= k < len(photos):
        raise InputError(f"params.yaml, latent_codes.neighbours: from 1 to {len(photos) - 1}; got {k}")
    radii = to_others(photos, k=k)
    inside = euclidean_distances(images, photos) < radii
    return float(inside.sum() / (k * len(images))), float(inside.any(axis=0).mean())


def to_others(vectors: np.ndarray, *, k: int = 1) -> np.ndarray:
    """Return the Euclidean distance of each of vectors [n, d] to its k-th nearest other one, [n]."""
    return NearestNeighbors(n_neighbors=k).fit(vectors).kneighbors()[0][:, -1]


def nearest_photos(
    queries: np.ndarray, pixels: np.ndarray, *, features: Callable[[np.ndarray], np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Return (row of the nearest photo int64 [q], its Euclidean distance float64 [q]); ties by row.

    `queries` are features [q, d]; `pixels` uint8 [n, h, w, 3], whose `features` are made a slice at a time,
    since those of a whole catalogue may not fit into memory.
    """
    rows, best = np.zeros(len(queries), np.int64), np.full(len(queries), np.inf)
    for start in range(0, len(pixels), SLICE):
        photos = features(pixels[start : start + SLICE]).astype(np.float64)
        row, distance = pairwise_distances_argmin_min(queries, photos)
        nearer = distance < best
        rows[nearer], best[nearer] = start + row[nearer], distance[nearer]
    return rows, best


def mean_distance(vectors: np.ndarray) -> float:
    """Return the mean Euclidean distance of two different ones of vectors [n, d]."""
    distances = euclidean_distances(vectors)
    return float((distances.sum() - np.trace(distances)) / (len(vectors) * (len(vectors) - 1)))


def share_below(distances: np.ndarray, reference: np.ndarray, *, quantile: float) -> float:
    """Return the share of `distances` below that quantile of `reference`: `quantile` itself if alike."""
    return float((distances < np.quantile(reference, quantile)).mean())


# --- rows of latent_codes.csv ----------------------------------------------------------------------------

COLUMNS = ["seed", "measure", "item", "value", "low", "high", "n", "unit", "note"]
GENERATED, UNTRAINED, NOISE = "generated", "untrained generator", "noise"
NOISE_REDRAWN, CODES_REDRAWN = "noise redrawn", "all codes redrawn"
CLASS_CODE, ALL_CODES = "class code", "all codes"
TEST, TRAINING, HALVES = "test photos", "training photos", "split halves of test photos"
Row = dict[str, object]  # by the names of COLUMNS


class ImageSet(NamedTuple):
    """Images of one kind, uint8 [n, h, w, 3], and the training seed that made them; 0: none did."""

    name: str
    seed: int
    pixels: np.ndarray


class Space(NamedTuple):
    """A feature space: its name in the table, what it is, uint8 images [n, h, w, 3] -> float [n, d]."""

    name: str
    words: str
    features: Callable[[np.ndarray], np.ndarray]


class Nearest(NamedTuple):
    """The nearest training photo of each image of a set in one space: rows int64 [n], distances [n]."""

    images: ImageSet
    rows: np.ndarray
    distances: np.ndarray


def row(seed: int, measure: str, item: str, found: Estimate, *, unit: str, note: str = "") -> Row:
    """Return one row of latent_codes.csv."""
    return {"seed": seed, "measure": measure, "item": item, **found._asdict(), "unit": unit, "note": note}


def mean_with_interval(values: np.ndarray, units: np.ndarray, resampling: Resampling) -> Estimate:
    """Return the mean of values [n] with its bootstrap interval over units int [n] (uncertainty.py)."""
    table = means_with_intervals(pd.DataFrame({0: values}, dtype=float), pd.Series(units), resampling)
    value, low, high, count = table[["value", "low", "high", "n"]].iloc[0].tolist()
    return Estimate(value, low, high, int(count))


def distance_rows(
    sets: Sequence[ImageSet], space: Space, *, neighbours: int, subsets: Mapping[str, int]
) -> list[Row]:
    """Return KID, density and coverage of every set against the test photos in one feature space.

    `sets` holds the test photos under TEST; their own KID is that of halves. `subsets`: subset, subsets and
    seed of KID's spread.
    """
    vectors = [(images, space.features(images.pixels).astype(np.float64)) for images in sets]
    photos = next(found for images, found in vectors if images.name == TEST)
    kid = {"unit": "MMD^2", "note": f"{space.words}; low, high: middle 95 % of the subsets"}
    rows = [row(0, f"kid_{space.name}", HALVES, split_half_distance(photos, **subsets), **kid)]
    for (name, seed, _), found in vectors:
        if name == TEST:
            continue
        distance = kernel_inception_distance(found, photos, **subsets)
        rows.append(row(seed, f"kid_{space.name}", name, distance, **kid))
        density, coverage = density_and_coverage(found, photos, k=neighbours)
        for measure, value, unit in (("density", density, "ratio"), ("coverage", coverage, "share")):
            words, estimate = f"{space.words}; k = {neighbours}", Estimate(value, n=len(found))
            rows.append(row(seed, f"{measure}_{space.name}", name, estimate, unit=unit, note=words))
    return rows


def copy_rows(
    sets: Sequence[ImageSet], training: np.ndarray, space: Space, *, quantile: float
) -> tuple[list[Row], list[Nearest]]:
    """Return what speaks of copies and collapse, and the nearest of `training`, uint8 [n, h, w, 3].

    `sets` holds the test photos under TEST: the reference for what photos that nobody copied look like.
    """
    vectors = [space.features(images.pixels).astype(np.float64) for images in sets]
    rows, distances = nearest_photos(np.concatenate(vectors), training, features=space.features)
    cuts = np.cumsum([len(found) for found in vectors])[:-1]
    parts = zip(sets, np.split(rows, cuts), np.split(distances, cuts), strict=True)
    nearest = [Nearest(*part) for part in parts]
    twins = [to_others(found) for found in vectors]
    photos = [images.name for images in sets].index(TEST)
    near, apart = f"nearer than {quantile:g} of the test photos are to", "Euclidean distance"
    lines = []
    for one, found, others in zip(nearest, vectors, twins, strict=True):
        copied = share_below(one.distances, nearest[photos].distances, quantile=quantile)
        doubled = share_below(others, twins[photos], quantile=quantile)
        distinct = len(np.unique(one.rows)) / len(one.rows)
        typical = float(np.median(one.distances))
        for name, value, unit, note in (
            ("distinct_nearest", distinct, "share", "nearest training photos"),
            ("nearest_distance", typical, apart, "median, to the nearest training photo"),
            ("copies", copied, "share", f"{near} their nearest training photo"),
            ("pairwise_distance", mean_distance(found), apart, "mean of all pairs in the set"),
            ("near_twins", doubled, "share", f"{near} another test photo"),
        ):
            estimate, words = Estimate(value, n=len(one.rows)), f"{space.words}; {note}"
            measure = f"{name}_{space.name}"
            lines.append(row(one.images.seed, measure, one.images.name, estimate, unit=unit, note=words))
    return lines, nearest
