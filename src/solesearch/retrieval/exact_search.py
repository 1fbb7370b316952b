"""Exact nearest neighbours by matrix products: the evaluation's own path.

Three steps of rising precision, each for what the one before leaves open, so that the order is that of double
precision at the price of a product in single precision:

1. A product in single precision finds candidates, by FAISS or NumPy, whichever is faster on this machine.
   A bound on its rounding tells for which queries no other photo can be nearer.
2. Differences in single precision order the candidates. Their rounding is relative to the distance, not to
   the vectors' lengths, and so some thousand times smaller.
3. Double precision, where two distances agree within that rounding, or where too many photos are candidates.

FAISS's Flat index is the arbiter, in the tests. Ties are broken by row.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import cache

import numpy as np

DISTANCES = 20_000_000  # at a time, 80 MB
BLOCK = (64, 512)  # queries at a time, at least and at most: products of few rows waste time on the gallery
SPARE = 11  # candidates beyond those wanted, at least,
CROWDED = (
    4000  # and one for so many photos: their distances lie closer, and sorting out costs less beside them
)
MORE = 8  # times as many candidates at the next attempt
MANY = 1 / 32  # of the gallery as candidates: a product in double precision is faster
SLICE = 16_384  # photos of the gallery converted to double precision at a time: 200 MB at 1,536-D
VALUES = 100_000  # of vectors at a time in double precision, .8 MB: they stay in the processor's cache
GROUP = 32  # photos side by side in the gallery, whose smallest distance stands for them
PART = 2048  # photos of the gallery in one product, whose result stays in the processor's cache
TRIAL = (100, 12_000_000, 3)  # queries, values of the gallery (50 MB) and runs: which product is faster
LARGE = 3e8  # multiplications, some 4 ms: from here on the product is chosen by a trial of some 300 ms
UNIT, DOUBLE_UNIT = 2.0**-24, 2.0**-53  # rounding of single and of double precision
TINY = 1e-30  # squared distances below it are no longer rounded relative to themselves, but to 1e-45


def squared_distances(queries: np.ndarray, gallery: np.ndarray) -> np.ndarray:
    """Return squared Euclidean distances, float64 [q, n], of vectors [q, d] and [n, d].

    Expanded as |a|^2 - 2ab + |b|^2 in double precision, since the ranking of close neighbours must not
    depend on cancellation.
    """
    first, second = queries.astype(np.float64), gallery.astype(np.float64)
    cross = first @ second.T
    lengths = (first**2).sum(axis=1)[:, None] + (second**2).sum(axis=1)[None, :]
    return np.maximum(lengths - 2 * cross, 0)


def squared_lengths(vectors: np.ndarray) -> np.ndarray:
    """Return the squared Euclidean lengths of vectors [n, d], float32 [n]."""
    return np.einsum("nd,nd->n", vectors, vectors, dtype=np.float32)


Product = Callable[[np.ndarray, np.ndarray, np.ndarray, int], tuple[np.ndarray, np.ndarray]]


def nearest(
    queries: np.ndarray,
    gallery: np.ndarray,
    *,
    k: int,
    lengths: np.ndarray | None = None,
    product: Product | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Return distances, float64 [q, k], and rows int64 [q, k] of the k nearest, k at most n; ties by row.

    Takes float32 [q, d] and [n, d]; `lengths` are the gallery's squared ones, float32 [n], where the caller
    has them; `product` is by_faiss or by_numpy, by default the one that `chosen_product` returns. The rows
    are exact; the distances are off by at most (d + 4) 2^-25 of themselves.
    """
    queries, gallery = (np.ascontiguousarray(vectors, np.float32) for vectors in (queries, gallery))
    lengths = squared_lengths(gallery) if lengths is None else lengths
    product = product or chosen_product(len(queries), *gallery.shape)
    squares, rows = _nearest(product, queries, gallery, lengths, k, k + max(SPARE, len(gallery) // CROWDED))
    return np.sqrt(squares), rows


def nearest_rows(queries: np.ndarray, gallery: np.ndarray, *, k: int) -> np.ndarray:
    """Return the rows, int64 [q, k], of the k nearest, as `nearest` does, without their distances."""
    return nearest(queries, gallery, k=k)[1]


def ranking(queries: np.ndarray, gallery: np.ndarray, *, head: int) -> np.ndarray:
    """Return all rows of the gallery, int64 [q, n], nearest first; the first `head` of each are exact.

    The tail is ranked in single precision: photos whose distances agree to about six digits may be swapped
    there, which precision@k never sees and average precision in its sixth digit. Ties in the head by row.
    Takes float32 [q, d] and [n, d].
    """
    queries, gallery = (np.ascontiguousarray(vectors, np.float32) for vectors in (queries, gallery))
    lengths, ranked = squared_lengths(gallery), []
    kept = min(head + SPARE, len(gallery))
    for block, rough in _rough_blocks(queries, gallery, lengths):
        order = np.argsort(rough, axis=1, kind="stable")
        limits = rough[np.arange(len(block)), order[:, min(head, kept) - 1]] + _margins(block, lengths)
        _, order[:, :kept] = _ordered(block, gallery, order[:, :kept], head)
        within = (rough <= limits[:, None]).sum(axis=1)
        for number in np.flatnonzero((within > kept) & (within <= len(gallery) * MANY)):
            one, few = slice(number, number + 1), within[number]
            order[one, :few] = _ordered(block[one], gallery, order[one, :few], head)[1]
        many = within > max(kept, len(gallery) * MANY)
        if many.any():
            order[many] = _exactly(block[many], gallery, head)[1]
        ranked.append(order)
    return np.concatenate(ranked)


# --- candidates in single precision ------------------------------------------------------------------------


def _nearest(
    product: Product, queries: np.ndarray, gallery: np.ndarray, lengths: np.ndarray, k: int, count: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return squared distances, float64 [q, k], and rows of the k nearest among `count` candidates or more.

    Queries whose candidates may miss one of the nearest are asked again with more, and in the end exactly.
    """
    count = min(count, len(gallery))
    values, rows = product(queries, gallery, lengths, count)
    limits = values[:, k - 1] + _margins(queries, lengths)
    complete = (rows >= 0).all(axis=1) & ((limits < values[:, -1]) | (count == len(gallery)))
    squares, ordered = np.empty((len(queries), k)), np.empty((len(queries), k), np.int64)
    found = _ordered(queries[complete], gallery, rows[complete], k)
    squares[complete], ordered[complete] = (whole[:, :k] for whole in found)
    if complete.all():
        return squares, ordered
    again, most = queries[~complete], int(len(gallery) * MANY)
    if count < most:
        found = _nearest(product, again, gallery, lengths, k, min(MORE * count, most))
    else:
        found = _exactly(again, gallery, k)
    squares[~complete], ordered[~complete] = (whole[:, :k] for whole in found)
    return squares, ordered


def chosen_product(queries: int, photos: int, dimensions: int) -> Product:
    """Return the product for so many queries and photos: either leads to the same neighbours.

    FAISS's where the work is over before a trial would be.
    """
    if queries * photos * dimensions < LARGE:
        return by_faiss
    return faster_product(dimensions)


@cache
def faster_product(dimensions: int) -> Product:
    """Return the faster product on this machine, tried once a process and length of vectors.

    Which it is depends on the kernels that the OpenBLAS of each package knows: FAISS's may take a processor
    for an old one and be four times slower, or for the right one and save a pass over the gallery.
    """
    asked, values, runs = TRIAL
    photos = max(2 * asked, values // dimensions)
    vectors = np.random.default_rng(0).random((photos, dimensions), dtype=np.float32)
    lengths, seconds = squared_lengths(vectors), {by_faiss: np.inf, by_numpy: np.inf}
    for product in [*seconds] * runs:
        start = time.perf_counter()
        product(vectors[:asked], vectors, lengths, SPARE)
        seconds[product] = min(seconds[product], time.perf_counter() - start)
    return min(seconds, key=seconds.__getitem__)


def by_faiss(
    queries: np.ndarray, gallery: np.ndarray, lengths: np.ndarray, count: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the `count` smallest rough squared distances, float32 [q, count] ascending, and their rows.

    As IndexFlatL2 does it, except that the gallery's lengths are not computed anew at every call. A row is -1
    where FAISS found none, which only numbers beyond single precision's range do.
    """
    import faiss  # not at the top: where a process has TensorFlow, that comes first

    values = np.empty((len(queries), count), np.float32)
    rows, pointer = np.empty(values.shape, np.int64), faiss.swig_ptr
    sizes = (gallery.shape[1], len(queries), len(gallery), count)
    faiss.knn_L2sqr(pointer(queries), pointer(gallery), *sizes, *map(pointer, (values, rows, lengths)))
    return values, rows


def by_numpy(
    queries: np.ndarray, gallery: np.ndarray, lengths: np.ndarray, count: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the same as `by_faiss`, the values less |query|^2: they rank the same."""
    found, size = [], _block_size(gallery)
    for start in range(0, len(queries), size):
        rough, minima = _rough_columns(queries[start : start + size], gallery, lengths)
        members = _members(minima, count, len(gallery))
        values = rough[members, np.arange(rough.shape[1])[:, None]]
        order = _smallest(values, count)
        found.append([np.take_along_axis(some, order, axis=1) for some in (values, members)])
    values, rows = (np.concatenate(blocks) for blocks in zip(*found, strict=True))
    return values, rows


def _rough_blocks(
    queries: np.ndarray, gallery: np.ndarray, lengths: np.ndarray
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield queries [b, d] and their squared distances less |query|^2, float32 [b, n]: it ranks the same."""
    size = _block_size(gallery)
    for start in range(0, len(queries), size):
        block = queries[start : start + size]
        rough = (-2 * block) @ gallery.T
        rough += lengths
        yield block, rough


def _block_size(gallery: np.ndarray) -> int:
    return int(np.clip(DISTANCES // len(gallery), *BLOCK))


def _rough_columns(
    queries: np.ndarray, gallery: np.ndarray, lengths: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return squared distances less |query|^2, float32 [m, b], a column a query, and the groups' smallest.

    m is n rounded up to whole groups; what is beyond n is infinite. The gallery goes through in parts, so
    that each product is worked on while it lies in the cache.
    """
    groups, b = -(-len(gallery) // GROUP), len(queries)
    rough, minima = np.empty((groups * GROUP, b), np.float32), np.empty((groups, b), np.float32)
    rough[len(gallery) :] = np.inf
    scaled = np.ascontiguousarray(-2 * queries.T)
    for start in range(0, len(gallery), PART):
        photos = slice(start, min(start + PART, len(gallery)))
        product = np.matmul(gallery[photos], scaled, out=rough[photos])
        product += lengths[photos, None]
        whole = rough[start : start + PART].reshape(-1, GROUP, b)
        np.min(whole, axis=1, out=minima[start // GROUP : start // GROUP + len(whole)])
    return rough, minima


def _members(minima: np.ndarray, count: int, n: int) -> np.ndarray:
    """Return the rows in the `count` groups of the smallest minima, int64 [b, c]: the nearest are there."""
    groups, b = minima.shape
    if groups <= count:
        return np.tile(np.arange(n), (b, 1))
    best = np.argpartition(minima.T, count - 1, axis=1)[:, :count]
    return (best[:, :, None] * GROUP + np.arange(GROUP)).reshape(b, -1)


def _smallest(values: np.ndarray, count: int) -> np.ndarray:
    """Return the columns of the `count` smallest of each row, smallest first, int64 [b, count]."""
    some = np.argpartition(values, count - 1, axis=1)[:, :count]
    order = np.argsort(np.take_along_axis(values, some, axis=1), axis=1)
    return np.take_along_axis(some, order, axis=1)


def _margins(queries: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Return how far apart two rough distances of a query make their order certain, float32 [q].

    Rounding of a product of d terms: at most d * 2^-24 * |a| |b|, in whatever order they are summed (Higham,
    Accuracy and Stability of Numerical Algorithms, 2002, section 3.1); so |a|^2 - 2ab + |b|^2 is off by at
    most (d + 4) * 2^-24 * (|a| + |b|)^2, for each of the two.
    """
    longest = np.sqrt(float(lengths.max()))
    largest = np.maximum((np.sqrt(squared_lengths(queries)) + longest) ** 2, TINY)
    return 2 * (queries.shape[1] + 4) * UNIT * largest


# --- their order -------------------------------------------------------------------------------------------


def _ordered(
    queries: np.ndarray, gallery: np.ndarray, rows: np.ndarray, first: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return squared distances, float64 [q, c], and the candidates [q, c], nearest first.

    The `first` places are exact; ties by row.
    """
    squares, ordered = _sorted_pairs(_squares_apart(queries, gallery, rows), rows)
    rounding = 2 * (queries.shape[1] + 4) * UNIT * np.maximum(squares, TINY)
    certain = np.diff(squares[:, : first + 1], axis=1) > rounding[:, 1 : first + 1]
    limits = (squares + rounding)[:, min(first, rows.shape[1]) - 1]
    for number in np.flatnonzero(~certain.all(axis=1)):
        count = np.searchsorted(squares[number], limits[number], side="right")
        few = ordered[number, :count]
        exact = _exact_squares(queries[number], gallery, few)
        squares[number, :count], ordered[number, :count] = _sorted_pairs(exact, few)
    return squares, ordered


def _sorted_pairs(squares: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    order = np.lexsort((rows, squares), axis=-1)
    return np.take_along_axis(squares, order, axis=-1), np.take_along_axis(rows, order, axis=-1)


def _squares_apart(queries: np.ndarray, gallery: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Return squared distances summed from differences in single precision, float64 [q, c]; inf for row -1.

    Off by at most (d + 2) * 2^-24 of themselves: every term is positive, so nothing cancels.
    """
    import faiss  # as above

    squares, rows = np.full(rows.shape, np.inf, np.float32), np.ascontiguousarray(rows)
    pointers = map(faiss.swig_ptr, (squares, queries, gallery, rows))
    faiss.fvec_L2sqr_by_idx(*pointers, gallery.shape[1], *rows.shape)
    return squares.astype(np.float64)


def _exact_squares(query: np.ndarray, gallery: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Return squared distances summed from differences in double precision, float64 [c], of one query."""
    size, wide = max(1, VALUES // gallery.shape[1]), query.astype(np.float64)
    apart = (gallery[rows[start : start + size]] - wide for start in range(0, len(rows), size))
    return np.concatenate([np.einsum("cd,cd->c", some, some) for some in apart])


def _exactly(queries: np.ndarray, gallery: np.ndarray, first: int) -> tuple[np.ndarray, np.ndarray]:
    """Return squared distances, float64 [q, n], and all rows, nearest first; ties in the `first` by row.

    By products in double precision, from the gallery's mean so that photos a hair apart keep their digits;
    where these round by more than two distances differ, by differences.
    """
    centre = gallery.mean(axis=0, dtype=np.float64)
    moved, found, longest = queries - centre, [], 0.0
    for start in range(0, len(gallery), SLICE):
        part = gallery[start : start + SLICE] - centre
        found.append(squared_distances(moved, part))
        longest = max(longest, float(np.einsum("nd,nd->n", part, part).max()))
    squares = np.concatenate(found, axis=1)
    order = np.argsort(squares, axis=1, kind="stable")
    squares = np.take_along_axis(squares, order, axis=1)
    longer = (np.sqrt(np.einsum("qd,qd->q", moved, moved)) + np.sqrt(longest)) ** 2
    margins = 2 * (queries.shape[1] + 8) * DOUBLE_UNIT * longer
    certain = np.diff(squares[:, : first + 1], axis=1) > margins[:, None]
    for number in np.flatnonzero(~certain.all(axis=1)):
        last = squares[number, min(first, len(gallery)) - 1] + margins[number]
        few = order[number, : np.searchsorted(squares[number], last, side="right")]
        exact = _exact_squares(queries[number], gallery, few)
        squares[number, : len(few)], order[number, : len(few)] = _sorted_pairs(exact, few)
    return squares, order
