"""Exact search without an index: a matrix of vectors, and three ways to go through it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

import numpy as np

from solesearch.core import files
from solesearch.core.embedding import Embedding
from solesearch.core.errors import InputError
from solesearch.index.vector_index import RowIndex, check_embedding
from solesearch.retrieval.exact_search import by_numpy, nearest, squared_lengths


class ExactIndex(RowIndex):
    """The evaluation's own exact search, by FAISS's product or NumPy's, whichever is faster here."""

    engine = "evaluation"
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
        return nearest(vectors, self._vectors, k=k, lengths=self._lengths)

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


class NumpyIndex(ExactIndex):
    """Brute force with NumPy alone: its product finds the candidates on every machine."""

    engine = "numpy"

    def _find(self, vectors: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        return nearest(vectors, self._vectors, k=k, lengths=self._lengths, product=by_numpy)


class ScikitIndex(ExactIndex):
    """Brute force with scikit-learn's NearestNeighbors, which sums in double precision."""

    engine = "scikit-learn"

    def _take(self, vectors: np.ndarray) -> None:
        from sklearn.neighbors import NearestNeighbors

        self._vectors = vectors
        self._searcher = NearestNeighbors(algorithm="brute", metric="euclidean").fit(vectors)

    def _find(self, vectors: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        return self._searcher.kneighbors(vectors, n_neighbors=k)
