"""Exact nearest neighbours by matrix products: the evaluation's own path.

FAISS's Flat index is the arbiter, in the tests. A single-precision product takes half the time of a double
one but rounds: it finds candidates, and double precision ranks them. A bound on the product's rounding tells
when a few candidates are certain to suffice; where they are not, all photos within that bound are candidates,
and where those are many, the queries concerned are done in double precision throughout, together.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

DISTANCES = 10_000_000  # at a time, 40 MB
BLOCK = (64, 512)  # queries at a time, at least and at most: products of few rows waste time on the gallery
SPARE = 7  # candidates beyond those wanted that are checked in double precision
SLICE = 16_384  # photos of the gallery converted to double precision at a time: 200 MB at 1,536-D
MANY = 1 / 32  # of the gallery within the bound: a product in double precision is faster than candidates
GROUP = 32  # photos, spread over the gallery, whose smallest distance is looked at first


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
    lengths = squared_lengths(gallery) if lengths is None else lengths
    found = [
        _nearest_of_block(block, gallery, rough, lengths, k)
        for block, rough in _rough_blocks(queries, gallery, lengths)
    ]
    squares, rows = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return np.sqrt(squares), rows


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
                order[many], _ = _sorted_exactly(block[many], gallery)
        ranked.append(order)
    return np.concatenate(ranked)


def _rough_blocks(
    queries: np.ndarray, gallery: np.ndarray, lengths: np.ndarray
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield queries [b, d] and their squared distances less |query|^2, float32 [b, n]: it ranks the same."""
    size = int(np.clip(DISTANCES // len(gallery), *BLOCK))
    for start in range(0, len(queries), size):
        block = queries[start : start + size]
        rough = (-2 * block) @ gallery.T
        rough += lengths
        yield block, rough


def _nearest_of_block(
    queries: np.ndarray, gallery: np.ndarray, rough: np.ndarray, lengths: np.ndarray, k: int
) -> tuple[np.ndarray, np.ndarray]:
    kept = min(k + SPARE, len(gallery))
    candidates = _smallest(rough, kept)
    squares, order = _exact_order(queries, gallery, candidates)
    squares, rows = squares[:, :k], order[:, :k]
    if kept < len(gallery):
        near = np.partition(np.take_along_axis(rough, candidates, axis=1), k - 1, axis=1)
        limits = near[:, k - 1] + _margins(queries, lengths)
        unsure = np.flatnonzero(near.max(axis=1) <= limits)  # of the others, no candidate is missing
        within = [np.flatnonzero(rough[number] <= limits[number]) for number in unsure]
        some, many = _doubtful(np.array([len(few) for few in within], dtype=np.int64), 0, len(gallery))
        for number in some:
            one = slice(unsure[number], unsure[number] + 1)
            exact, found = _exact_order(queries[one], gallery, within[number][None, :])
            squares[one], rows[one] = exact[:, :k], found[:, :k]
        if len(many):
            found, exact = _sorted_exactly(queries[unsure[many]], gallery)
            rows[unsure[many]], squares[unsure[many]] = found[:, :k], exact[:, :k]
    return squares, rows


def _doubtful(within: np.ndarray, kept: int, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Return which queries have some, and which many, of n photos within their limit beyond the kept ones.

    `within` [q] counts the photos up to each limit.
    """
    most = max(kept, int(n * MANY))
    return np.flatnonzero((within > kept) & (within <= most)), np.flatnonzero(within > most)


def _sorted_exactly(queries: np.ndarray, gallery: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return all rows, int64 [q, n], nearest first, and their squared distances, in double precision."""
    parts = [gallery[start : start + SLICE] for start in range(0, len(gallery), SLICE)]
    squares = np.concatenate([squared_distances(queries, part) for part in parts], axis=1)
    order = np.argsort(squares, axis=1, kind="stable")
    return order, np.take_along_axis(squares, order, axis=1)


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


def _smallest(rough: np.ndarray, count: int) -> np.ndarray:
    """Return the columns of the `count` smallest of each row, in no order, int64 [q, count].

    The count-th smallest of the groups' minima bounds the count-th smallest of all, so only the few values up
    to it have to be sorted; a partition of whole rows takes ten times as long.
    """
    groups = rough.shape[1] // GROUP
    if groups <= count:
        return np.argsort(rough, axis=1, kind="stable")[:, :count]
    minima = rough[:, : groups * GROUP].reshape(len(rough), GROUP, groups).min(axis=1)
    bounds = np.partition(minima, count - 1, axis=1)[:, count - 1]
    chosen = np.empty((len(rough), count), dtype=np.int64)
    for number, (row, bound) in enumerate(zip(rough, bounds, strict=True)):
        few = np.flatnonzero(row <= bound)
        chosen[number] = few[np.argsort(row[few], kind="stable")[:count]]
    return chosen


def _margins(queries: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Return how far apart two rough distances of a query make their order certain, float32 [q].

    Rounding of a product of d terms: at most d * 2^-24 * |a| |b| (Higham, Accuracy and Stability of Numerical
    Algorithms, 2002, section 3.1), for each of the two.
    """
    unit, d, longest = 2.0**-24, queries.shape[1], float(lengths.max())
    rounding = (d + 4) * unit * (2 * np.sqrt(squared_lengths(queries) * longest) + longest)
    return 2 * rounding
