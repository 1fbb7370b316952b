"""Exact nearest neighbours by Euclidean distance: one matrix product in double precision, and a sort."""

from __future__ import annotations

import numpy as np

DECIMALS = 9  # of squared distances, relative to the query's largest: equal ones stay equal after rounding
BLOCK = 4096  # gallery photos converted to double precision at a time: 50 MB at 1,536-D
QUERY_BLOCK = 512  # queries ranked at a time: 512 x 10,000 distances are 40 MB


def squared_distances(queries: np.ndarray, gallery: np.ndarray) -> np.ndarray:
    """Return squared Euclidean distances, float64 [q, n], of float32 vectors [q, d] and [n, d].

    Expanded as |a|^2 - 2ab + |b|^2 around the gallery's mean, since vectors that lie close to each other and
    far from the origin would lose their digits. The mean is rounded to float32: subtracting it is then exact.
    """
    centre = gallery.mean(axis=0, dtype=np.float64).astype(np.float32).astype(np.float64)
    queries = queries - centre
    lengths, doubled = (queries**2).sum(axis=1)[:, None], 2 * queries
    squares = np.empty((len(queries), len(gallery)))
    for start in range(0, len(gallery), BLOCK):
        block = gallery[start : start + BLOCK] - centre
        squares[:, start : start + BLOCK] = lengths + (block**2).sum(axis=1) - doubled @ block.T
    return np.maximum(squares, 0, out=squares)


def ranking(queries: np.ndarray, gallery: np.ndarray, *, excluded: np.ndarray | None = None) -> np.ndarray:
    """Return the gallery's rows, int64 [q, n], nearest first; ties in the gallery's order.

    Takes float32 [q, d] and [n, d]; `excluded`, a mask [q, n], moves photos to the end. Holds [q, n]
    distances at once, so give it some hundred queries a time.
    """
    squares = squared_distances(queries, gallery)
    largest = squares.max(axis=1, keepdims=True)
    squares /= np.where(largest > 0, largest, 1)
    squares.round(DECIMALS, out=squares)
    if excluded is not None:
        squares[excluded] = np.inf
    return np.argsort(squares, axis=1, kind="stable")


def nearest(
    queries: np.ndarray, gallery: np.ndarray, *, k: int, excluded: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Return the distances, float64 [q, k], and rows int64 [q, k] of the k nearest, as `ranking` orders them.

    The distances are those of the differences, so that a photo's distance to its copy is 0; infinite for a
    photo that the mask `excluded` [q, n] leaves out: fewer than k may answer. A gallery of fewer than k gives
    all it has.
    """
    rows = np.empty((len(queries), min(k, len(gallery))), np.int64)
    distances = np.empty(rows.shape)
    for start in range(0, len(queries), QUERY_BLOCK):
        part = slice(start, start + QUERY_BLOCK)
        mask = None if excluded is None else excluded[part]
        rows[part] = ranking(queries[part], gallery, excluded=mask)[:, :k]
        apart = gallery[rows[part]].astype(np.float64) - queries[part, None]
        distances[part] = np.sqrt((apart**2).sum(axis=2))
    if excluded is not None:
        distances[np.take_along_axis(excluded, rows, axis=1)] = np.inf
    return distances, rows
