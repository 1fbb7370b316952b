"""How generated images differ from photographs: KID, coverage, copies, collapse. Needs no TensorFlow.

Everything here works on vectors of one feature space, float [n, d]; which space, the caller says. KID and not
FID: FID's estimate from n images is biased by about 1 / n and needs a covariance of d dimensions, d above n
here, while KID's is unbiased at any n (Binkowski et al. 2018, "Demystifying MMD GANs").
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from sklearn.metrics.pairwise import polynomial_kernel

from solesearch.core.errors import InputError
from solesearch.retrieval.exact_search import squared_distances
from solesearch.retrieval.uncertainty import Resampling, bootstrap_intervals

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


def middle(values: list[float]) -> tuple[float, float]:
    """Return the ends of the middle 95 % of some values."""
    low, high = np.quantile(values, [0.025, 0.975])
    return float(low), float(high)


# --- coverage --------------------------------------------------------------------------------------------


def density_and_coverage(images: np.ndarray, photos: np.ndarray, *, k: int) -> tuple[float, float]:
    """Return (density, coverage) of images [m, d] against photos [n, d] (Naeem et al. 2020, eqs. 3 and 4).

    Around each photo lies a ball that reaches to its k-th nearest other photo. Density: in how many balls an
    image lies, over k; 1 is expected of real photos, more is possible. Coverage: the share of balls that hold
    an image. Raises InputError where there are no k other photos.
    """
    if not 1 <= k < len(photos):
        raise InputError(f"params.yaml, latent_codes.neighbours: from 1 to {len(photos) - 1}; got {k}")
    among = squared_distances(photos, photos)
    np.fill_diagonal(among, np.inf)
    radii = np.partition(among, k - 1, axis=1)[:, k - 1]
    inside = squared_distances(images, photos) < radii
    return float(inside.sum() / (k * len(images))), float(inside.any(axis=0).mean())


# --- copies and collapse ---------------------------------------------------------------------------------


def nearest_photos(
    queries: np.ndarray, pixels: np.ndarray, *, features: Callable[[np.ndarray], np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Return (row of the nearest photo int64 [q], its Euclidean distance float64 [q]); ties by row.

    `queries` are features [q, d]; `pixels` uint8 [n, h, w, 3], whose `features` are made a slice at a time,
    since those of a whole catalogue may not fit into memory.
    """
    rows, best = np.zeros(len(queries), np.int64), np.full(len(queries), np.inf)
    for start in range(0, len(pixels), SLICE):
        squares = squared_distances(queries, features(pixels[start : start + SLICE]))
        nearer = squares.min(axis=1) < best
        rows[nearer] = start + squares.argmin(axis=1)[nearer]
        best = np.minimum(best, squares.min(axis=1))
    return rows, np.sqrt(best)


def distances_among(vectors: np.ndarray) -> tuple[float, np.ndarray]:
    """Return the mean distance of two different ones, and each one's distance to its nearest other [n]."""
    distances = np.sqrt(squared_distances(vectors, vectors))
    np.fill_diagonal(distances, 0)
    mean = float(distances.sum() / (len(vectors) * (len(vectors) - 1)))
    np.fill_diagonal(distances, np.inf)
    return mean, distances.min(axis=1)


def share_below(distances: np.ndarray, reference: np.ndarray, *, quantile: float) -> float:
    """Return the share of `distances` below that quantile of `reference`: `quantile` itself if alike."""
    return float((distances < np.quantile(reference, quantile)).mean())


# --- tables ----------------------------------------------------------------------------------------------

COLUMNS = ["seed", "measure", "item", "value", "low", "high", "n", "unit", "note"]
GENERATED, UNTRAINED, NOISE = "generated", "untrained generator", "noise"
TEST, TRAINING, HALVES = "test photos", "training photos", "split halves of test photos"
SPREAD = "low, high: middle 95 % of the subsets"


@dataclass(frozen=True)
class ImageSet:
    """Images of one kind, uint8 [n, h, w, 3], and the training seed that made them; 0: none did."""

    name: str
    seed: int
    pixels: np.ndarray


@dataclass(frozen=True)
class Space:
    """A feature space: its name in the table, what it is, uint8 images [n, h, w, 3] -> float [n, d]."""

    name: str
    words: str
    features: Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class QualityRules:
    """How images are compared; `params.yaml`, section `latent_codes`, holds the values and their reasons."""

    subset: int
    subsets: int
    neighbours: int
    quantile: float
    seed: int


Row = dict[str, object]  # one line of latent_codes.csv, by the names of COLUMNS


def row(seed: int, measure: str, item: str, found: Estimate, *, unit: str, note: str = "") -> Row:
    """Return one line of latent_codes.csv."""
    return {"seed": seed, "measure": measure, "item": item, **found._asdict(), "unit": unit, "note": note}


def mean_with_interval(values: np.ndarray, units: np.ndarray, resampling: Resampling) -> Estimate:
    """Return the mean of values [n] with its bootstrap interval over units int [n] (uncertainty.py)."""
    low, high = bootstrap_intervals(
        np.asarray(values, float)[:, None],
        units,
        resamples=resampling.resamples,
        confidence=resampling.confidence,
        seed=resampling.seed,
    )[:, 0]
    return Estimate(float(np.mean(values)), float(low), float(high), len(values))


def distance_rows(sets: Sequence[ImageSet], space: Space, rules: QualityRules) -> list[Row]:
    """Return KID, density and coverage of every set against the test photos in one feature space.

    `sets` holds the test photos under TEST; their own KID is that of halves.
    """
    vectors = [(one, space.features(one.pixels)) for one in sets]
    [photos] = [found for one, found in vectors if one.name == TEST]
    draws = {"subset": rules.subset, "subsets": rules.subsets, "seed": rules.seed}
    kid = {"unit": "MMD^2", "note": f"{space.words}; {SPREAD}"}
    rows = [row(0, f"kid_{space.name}", HALVES, split_half_distance(photos, **draws), **kid)]
    for one, found in vectors:
        if one.name == TEST:
            continue
        distance = kernel_inception_distance(found, photos, **draws)
        density, coverage = density_and_coverage(found, photos, k=rules.neighbours)
        rows.append(row(one.seed, f"kid_{space.name}", one.name, distance, **kid))
        for measure, value, unit in (("density", density, "ratio"), ("coverage", coverage, "share")):
            words, estimate = f"{space.words}; k = {rules.neighbours}", Estimate(value, n=len(found))
            rows.append(row(one.seed, f"{measure}_{space.name}", one.name, estimate, unit=unit, note=words))
    return rows


@dataclass(frozen=True)
class Nearest:
    """The nearest training photo of each image of a set in one space: rows int64 [n], distances [n]."""

    images: ImageSet
    rows: np.ndarray
    distances: np.ndarray


def copy_rows(
    sets: Sequence[ImageSet], training: np.ndarray, space: Space, rules: QualityRules
) -> tuple[list[Row], list[Nearest]]:
    """Return what speaks of copies and collapse, and the nearest of `training`, uint8 [n, h, w, 3].

    `sets` holds the test photos under TEST: the reference for what photos that nobody copied look like.
    """
    vectors = [space.features(one.pixels) for one in sets]
    rows, distances = nearest_photos(np.concatenate(vectors), training, features=space.features)
    cuts = np.cumsum([len(found) for found in vectors])[:-1]
    parts = zip(sets, np.split(rows, cuts), np.split(distances, cuts), strict=True)
    nearest = [Nearest(*part) for part in parts]
    among = [distances_among(found) for found in vectors]
    reference = next(i for i, one in enumerate(sets) if one.name == TEST)
    lines = []
    for one, (mean, others) in zip(nearest, among, strict=True):
        copied = share_below(one.distances, nearest[reference].distances, quantile=rules.quantile)
        twins = share_below(others, among[reference][1], quantile=rules.quantile)
        lines += _copy_lines(one, space, rules, mean=mean, copied=copied, twins=twins)
    return lines, nearest


def _copy_lines(
    one: Nearest, space: Space, rules: QualityRules, *, mean: float, copied: float, twins: float
) -> list[Row]:
    near = f"nearer than {rules.quantile:g} of the test photos are to"
    apart = "Euclidean distance"
    found = (
        ("distinct_nearest", len(set(one.rows.tolist())) / len(one.rows), "share", "nearest training photos"),
        ("nearest_distance", float(np.median(one.distances)), apart, "median, to the nearest training photo"),
        ("copies", copied, "share", f"{near} their nearest training photo"),
        ("pairwise_distance", mean, apart, "mean of all pairs in the set"),
        ("near_twins", twins, "share", f"{near} another test photo"),
    )
    return [
        row(one.images.seed, f"{name}_{space.name}", one.images.name, Estimate(value, n=len(one.rows)),
            unit=unit, note=f"{space.words}; {note}")
        for name, value, unit, note in found
    ]  # fmt: skip
