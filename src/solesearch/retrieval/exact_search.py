"""Exact nearest neighbours by Euclidean distance: one matrix product in double precision, and a sort."""

from __future__ import annotations

import numpy as np

DECIMALS = 9  # of squared distances, relative to the query's largest: equal ones stay equal after rounding
BLOCK = 4096  # gallery photos converted to double precision at a time: 50 MB at 1,536-D


def squared_distances(queries: np.ndarray, gallery: np.ndarray) -> np.ndarray:
    """Return squared Euclidean distances, float64 [q, n], of float32 vectors [q, d] and [n, d].

    Expanded as |a|^2 - 2ab + |b|^2 around the gallery's mean, since vectors that lie close to each other and
    far from the origin would lose their digits. The mean is rounded to float32: subtracting it is then exact.
    """
    centre = gallery.mean(axis=0, dtype=np.float64).astype(np.float32).astype(np.float64)
    queries = queries - centre
    squares = np.empty((len(queries), len(gallery)))
    for start in range(0, len(gallery), BLOCK):
        block = gallery[start : start + BLOCK] - centre
        lengths = (queries**2).sum(axis=1)[:, None] + (block**2).sum(axis=1)
        squares[:, start : start + BLOCK] = lengths - 2 * queries @ block.T
    return np.maximum(squares, 0)


def ranking(queries: np.ndarray, gallery: np.ndarray) -> np.ndarray:
    """Return the gallery's rows, int64 [q, n], nearest first; ties in the gallery's order.

    Takes float32 [q, d] and [n, d]; holds [q, n] distances at once, so give it some hundred queries a time.
    """
    squares = squared_distances(queries, gallery)
    largest = squares.max(axis=1, keepdims=True)
    squares /= np.where(largest > 0, largest, 1)
    return np.argsort(squares.round(DECIMALS, out=squares), axis=1, kind="stable")


def nearest(queries: np.ndarray, gallery: np.ndarray, *, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the distances, float64 [q, k], and rows int64 [q, k] of the k nearest, as `ranking` orders them.

    The distances are those of the differences, so that a photo's distance to its copy is 0.
    """
    rows = ranking(queries, gallery)[:, :k]
    apart = gallery[rows].astype(np.float64) - queries[:, None]
    return np.sqrt((apart**2).sum(axis=2)), rows
