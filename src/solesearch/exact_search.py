"""Exact nearest neighbours by matrix products: the evaluation's own path.

FAISS's Flat index is the arbiter, in the tests. A single-precision product takes half the time of a double
one but rounds: it finds candidates, and double precision ranks them. A bound on the product's rounding tells
when a few candidates are certain to suffice; where they are not, all photos within that bound are candidates,
and where those are many, the queries concerned are done in double precision throughout, together.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

DISTANCES = 20_000_000  # at a time, 80 MB
BLOCK = (64, 512)  # queries at a time, at least and at most: products of few rows waste time on the gallery
SPARE = 7  # candidates beyond those wanted that are checked in double precision
SLICE = 16_384  # photos of the gallery converted to double precision at a time: 200 MB at 1,536-D
MANY = 1 / 32  # of the gallery within the bound: a product in double precision is faster than candidates
GROUP = 32  # photos side by side in the gallery, whose smallest distance stands for them
VALUES = 500_000  # of candidates at a time in double precision, 4 MB
PART = 2048  # photos of the gallery in one product, whose result stays in the processor's cache


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


def nearest(
    queries: np.ndarray, gallery: np.ndarray, *, k: int, lengths: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Return exact distances, float64 [q, k], and rows int64 [q, k] of the k nearest; ties by row.

    Takes float32 [q, d] and [n, d]; `lengths` are the gallery's squared ones, float32 [n], where the caller
    has them.
    """
    rows = nearest_rows(queries, gallery, k=k, lengths=lengths)
    squares = _pairwise(queries, gallery, np.repeat(np.arange(len(queries)), rows.shape[1]), rows.ravel())
    return np.sqrt(squares).reshape(rows.shape), rows


def nearest_rows(
    queries: np.ndarray, gallery: np.ndarray, *, k: int, lengths: np.ndarray | None = None
) -> np.ndarray:
    """Return the rows, int64 [q, k], of the k nearest, as `nearest` does, without their distances."""
    lengths = squared_lengths(gallery) if lengths is None else lengths
    size = _block_size(gallery)
    blocks = [queries[start : start + size] for start in range(0, len(queries), size)]
    return np.concatenate([_nearest_of_block(block, gallery, lengths, k) for block in blocks])


def ranking(queries: np.ndarray, gallery: np.ndarray, *, head: int) -> np.ndarray:
    """Return all rows of the gallery, int64 [q, n], nearest first; the first `head` of each are exact.

    The tail is ranked in single precision: photos whose distances agree to about six digits may be swapped
    there, which precision@k never sees and average precision in its sixth digit. Ties in the head by row.
    Takes float32 [q, d] and [n, d].
    """
    lengths, ranked = squared_lengths(gallery), []
    for block, rough in _rough_blocks(queries, gallery, lengths):
        order = np.argsort(rough, axis=1, kind="stable")
        kept = min(head + SPARE, len(gallery))
        limits = rough[np.arange(len(block)), order[:, min(head, kept) - 1]] + _margins(block, lengths)
        _, order[:, :kept] = _exact_order(block, gallery, order[:, :kept])
        if kept < len(gallery):
            within = (rough <= limits[:, None]).sum(axis=1)
            some, many = _doubtful(within, kept, len(gallery))
            for number in some:
                one, few = slice(number, number + 1), within[number]
                order[one, :few] = _exact_order(block[one], gallery, order[one, :few])[1]
            if len(many):
                order[many] = _sorted_exactly(block[many], gallery)
        ranked.append(order)
    return np.concatenate(ranked)


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


def _nearest_of_block(queries: np.ndarray, gallery: np.ndarray, lengths: np.ndarray, k: int) -> np.ndarray:
    rough, minima = _rough_columns(queries, gallery, lengths)
    members, bounds = _members(minima, k + SPARE, len(gallery))
    values = rough[members, np.arange(len(queries))[:, None]]
    margins = _margins(queries, lengths)
    order = _smallest(values, min(k + 1, values.shape[1]))
    rows = np.take_along_axis(members, order[:, :k], axis=1)
    first = np.take_along_axis(values, order, axis=1)
    limits = first[:, k - 1] + margins
    complete = limits < bounds  # no photo within the limit is missing among the members
    wanted = values <= limits[:, None]
    few = complete & (wanted.sum(axis=1) <= k + SPARE)
    checked = few & ~(np.diff(first, axis=1) > margins[:, None]).all(axis=1)
    rows[checked] = _first_exactly(queries[checked], gallery, members[checked], wanted[checked], k)
    unsure = np.flatnonzero(~few)
    rows[unsure] = _all_within(queries[unsure], gallery, rough[: len(gallery), unsure], limits[unsure], k)
    return rows


def _all_within(
    queries: np.ndarray, gallery: np.ndarray, rough: np.ndarray, limits: np.ndarray, k: int
) -> np.ndarray:
    """Return the rows, int64 [b, k], of the nearest among all photos up to each limit; rough [n, b]."""
    rows = np.empty((len(queries), k), np.int64)
    within = [np.flatnonzero(column <= limit) for column, limit in zip(rough.T, limits, strict=True)]
    some, many = _doubtful(np.array([len(few) for few in within], dtype=np.int64), 0, len(gallery))
    for number in some:
        one = slice(number, number + 1)
        rows[one] = _exact_order(queries[one], gallery, within[number][None, :])[1][:, :k]
    if len(many):
        rows[many] = _sorted_exactly(queries[many], gallery)[:, :k]
    return rows


def _smallest(values: np.ndarray, count: int) -> np.ndarray:
    """Return the columns of the `count` smallest of each row, smallest first, int64 [b, count]."""
    some = np.argpartition(values, count - 1, axis=1)[:, :count]
    order = np.argsort(np.take_along_axis(values, some, axis=1), axis=1)
    return np.take_along_axis(some, order, axis=1)


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


def _members(minima: np.ndarray, count: int, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows in the `count` groups of the smallest minima, int64 [b, c], and each query's bound [b].

    Every photo nearer than the bound, the largest of these minima, is among them; infinite where all are.
    """
    groups, b = minima.shape
    if groups <= count:
        return np.tile(np.arange(n), (b, 1)), np.full(b, np.inf, np.float32)
    best = np.argpartition(minima.T, count - 1, axis=1)[:, :count]
    bounds = np.take_along_axis(minima.T, best, axis=1).max(axis=1)
    members = (best[:, :, None] * GROUP + np.arange(GROUP)).reshape(b, -1)
    return members, bounds


def _first_exactly(
    queries: np.ndarray, gallery: np.ndarray, members: np.ndarray, wanted: np.ndarray, k: int
) -> np.ndarray:
    """Return the rows, int64 [b, k], of the nearest among each query's wanted members, at least k."""
    number, place = np.nonzero(wanted)
    rows = members[number, place]
    order = np.lexsort((rows, _pairwise(queries, gallery, number, rows), number))
    first = np.searchsorted(number, np.arange(len(queries)))[:, None] + np.arange(k)
    return rows[order][first]


def _pairwise(queries: np.ndarray, gallery: np.ndarray, number: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Return squared distances, float64 [p], of queries[number] and gallery[rows], both int64 [p]."""
    squares, size = np.empty(len(rows)), max(1, VALUES // gallery.shape[1])
    for start in range(0, len(rows), size):
        some = slice(start, start + size)
        apart = gallery[rows[some]].astype(np.float64) - queries[number[some]]
        squares[some] = np.einsum("pd,pd->p", apart, apart)
    return squares


def _doubtful(within: np.ndarray, kept: int, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Return which queries have some, and which many, of n photos within their limit beyond the kept ones.

    `within` [q] counts the photos up to each limit.
    """
    most = max(kept, int(n * MANY))
    return np.flatnonzero((within > kept) & (within <= most)), np.flatnonzero(within > most)


def _sorted_exactly(queries: np.ndarray, gallery: np.ndarray) -> np.ndarray:
    """Return all rows, int64 [q, n], nearest first, by squared distances in double precision."""
    parts = [gallery[start : start + SLICE] for start in range(0, len(gallery), SLICE)]
    squares = np.concatenate([squared_distances(queries, part) for part in parts], axis=1)
    return np.argsort(squares, axis=1, kind="stable")


def _exact_order(
    queries: np.ndarray, gallery: np.ndarray, candidates: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return squared distances, float64 [q, c], and rows of the candidates [q, c], nearest first."""
    exact = np.stack(
        [
            ((gallery[rows].astype(np.float64) - query) ** 2).sum(axis=1)
            for query, rows in zip(queries.astype(np.float64), candidates, strict=True)
        ]
    )
    order = np.lexsort((candidates, exact), axis=1)
    return np.take_along_axis(exact, order, axis=1), np.take_along_axis(candidates, order, axis=1)


def _margins(queries: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Return how far apart two rough distances of a query make their order certain, float32 [q].

    Rounding of a product of d terms: at most d * 2^-24 * |a| |b| (Higham, Accuracy and Stability of Numerical
    Algorithms, 2002, section 3.1), for each of the two.
    """
    unit, d, longest = 2.0**-24, queries.shape[1], float(lengths.max())
    rounding = (d + 4) * unit * (2 * np.sqrt(squared_lengths(queries) * longest) + longest)
    return 2 * rounding
