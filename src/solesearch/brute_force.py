"""Exact search without an index: a matrix of vectors, and either NumPy or scikit-learn to go through it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

import numpy as np

from solesearch import files
from solesearch.embedding import Embedding
from solesearch.errors import InputError
from solesearch.retrieval import squared_distances
from solesearch.vector_index import RowIndex, check_embedding

BLOCK = 64  # queries at a time: 64 x 157,000 distances are 40 MB
SPARE = 11  # candidates beyond k that are checked in double precision


def screened_neighbours(
    queries: np.ndarray, gallery: np.ndarray, *, k: int, lengths: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Return exact distances, float64 [q, k], and rows [q, k] of the k nearest; ties by row.

    A single-precision product finds candidates, double precision ranks them. Where the bound on the product's
    rounding (Higham 2002, section 3.1: d * 2^-24 * |a| |b|) cannot rule out the photos left aside, that query
    is done in double precision throughout. Takes float32 [q, d] and [n, d]; `lengths` are the gallery's
    squared ones, float32 [n], where the caller has them.
    """
    lengths = squared_lengths(gallery) if lengths is None else lengths
    blocks = [
        _screened_block(queries[start : start + BLOCK], gallery, lengths, k)
        for start in range(0, len(queries), BLOCK)
    ]
    return np.concatenate([block[0] for block in blocks]), np.concatenate([block[1] for block in blocks])


def squared_lengths(vectors: np.ndarray) -> np.ndarray:
    """Return the squared Euclidean lengths of vectors [n, d], float32 [n]."""
    return np.einsum("nd,nd->n", vectors, vectors, dtype=np.float32)


def _screened_block(
    queries: np.ndarray, gallery: np.ndarray, lengths: np.ndarray, k: int
) -> tuple[np.ndarray, np.ndarray]:
    rough = queries @ gallery.T
    rough *= -2
    rough += lengths  # squared distances less |query|^2, which ranks the same
    kept = min(k + SPARE, len(gallery))
    candidates = _smallest(rough, kept)
    exact = np.stack(
        [
            ((gallery[rows].astype(np.float64) - query) ** 2).sum(axis=1)
            for query, rows in zip(queries.astype(np.float64), candidates, strict=True)
        ]
    )
    order = np.lexsort((candidates, exact), axis=1)[:, :k]
    distances, rows = (np.take_along_axis(array, order, axis=1) for array in (exact, candidates))
    if kept < len(gallery):
        for doubtful in np.flatnonzero(~_certain(rough, candidates, queries, lengths, k)):
            squares = squared_distances(queries[doubtful : doubtful + 1], gallery)[0]
            rows[doubtful] = np.argsort(squares, kind="stable")[:k]
            distances[doubtful] = squares[rows[doubtful]]
    return np.sqrt(distances), rows


def _smallest(rough: np.ndarray, count: int) -> np.ndarray:
    if count == rough.shape[1]:
        return np.tile(np.arange(count), (len(rough), 1))
    return np.argpartition(rough, count - 1, axis=1)[:, :count]


def _certain(
    rough: np.ndarray, candidates: np.ndarray, queries: np.ndarray, lengths: np.ndarray, k: int
) -> np.ndarray:
    """Tell for which queries no photo outside the candidates can be among the k nearest, bool [q]."""
    near = np.sort(np.take_along_axis(rough, candidates, axis=1), axis=1)
    unit, d = 2.0**-24, queries.shape[1]
    longest = float(lengths.max())
    rounding = (d + 4) * unit * (2 * np.sqrt(squared_lengths(queries) * longest) + longest)
    return near[:, -1] - near[:, k - 1] > 2 * rounding


class NumpyIndex(RowIndex):
    """Brute force with NumPy: a matrix product finds candidates, double precision ranks them."""

    engine = "numpy"
    suffix = ".npy"
    description = "brute force"

    def __init__(self, vectors: np.ndarray, ids: list[str]):
        """Take vectors float32 [n, d] and the photo of each row."""
        if len(vectors) != len(ids):
            raise InputError(f"the index holds {len(vectors)} vectors but {len(ids)} ids; build it again")
        super().__init__(vectors.shape[1], ids, {})
        self._take(vectors)

    @classmethod
    def build(cls, embedding: Embedding) -> Self:
        """Keep the vectors of an embedding; raises InputError when one is not finite."""
        check_embedding(embedding)
        return cls(np.ascontiguousarray(embedding.vectors), list(embedding.ids))

    def vector(self, photo: str) -> np.ndarray:
        """Return the vector of a photo, float32 [d]."""
        self._known([photo])
        return self._vectors[self._row[photo]]

    def _take(self, vectors: np.ndarray) -> None:
        self._vectors, self._lengths = vectors, squared_lengths(vectors)

    def _find(self, vectors: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        return screened_neighbours(vectors, self._vectors, k=k, lengths=self._lengths)

    def _append(self, vectors: np.ndarray) -> None:
        self._take(np.concatenate([self._vectors, vectors]))

    def _drop(self, rows: np.ndarray) -> bool:
        self._take(np.delete(self._vectors, rows, axis=0))
        return True

    def _write(self, path: Path) -> None:
        np.save(path, self._vectors, allow_pickle=False)

    @classmethod
    def _read(cls, path: Path, ids: list[str], facts: dict[str, Any]) -> Self:
        return cls(files.read_array(path, made_by="stage index"), ids)


class ScikitIndex(NumpyIndex):
    """Brute force with scikit-learn's NearestNeighbors, which sums in double precision."""

    engine = "scikit-learn"

    def _take(self, vectors: np.ndarray) -> None:
        from sklearn.neighbors import NearestNeighbors

        self._vectors = vectors
        self._searcher = NearestNeighbors(algorithm="brute", metric="euclidean").fit(vectors)

    def _find(self, vectors: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        return self._searcher.kneighbors(vectors, n_neighbors=k)
