"""Engines that find nearest neighbours, behind `fit` and `query` as in ann-benchmarks.

Vectors are known by their row, and distances are Euclidean, whatever a library returns itself. Libraries are
imported where they are used: Annoy and hnswlib are compiled when they are installed, and may be missing.
"""

from __future__ import annotations

import tempfile
from abc import ABC, abstractmethod
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from solesearch.core.errors import InputError
from solesearch.retrieval.exact_search import nearest

LOCKED = "run `make` to install requirements.lock"
COMPILED = "it is compiled when it is installed, so it needs a C++ compiler: pip install '.[peers]'"
STORES = "pip install '.[stores]'"


class Engine(ABC):
    """Nearest neighbours among float32 vectors [n, d]."""

    name: ClassVar[str]  # in params.yaml and index.csv
    needs: ClassVar[str]  # the package it is made with,
    way_out: ClassVar[str] = LOCKED  # and how that is installed
    description = "brute force"  # the kind of index, as index.csv shows it
    server = ""  # which server answers, where one does
    threads = 1  # while building; FAISS and NumPy take those of their process

    def __init__(self) -> None:
        """Raise InputError where the engine's package is not installed."""
        if find_spec(self.needs) is None:
            raise InputError(f"{self.name}: not installed; {self.way_out}")

    @abstractmethod
    def fit(self, vectors: np.ndarray) -> None:
        """Index vectors float32 [n, d]."""

    @abstractmethod
    def query(self, queries: np.ndarray, *, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Return Euclidean distances and rows int64, [q, k] each, nearest first; row -1: none found."""

    @abstractmethod
    def bytes_per_vector(self) -> float:
        """Return what the engine keeps for one vector, by the file it saves where it has one."""

    def close(self) -> None:  # noqa: B027 - most engines have nothing to close
        """Let go of a connection, where there is one."""


class Faiss(Engine):
    """Whatever FAISS's factory string names; {lists} stands for the power of two next to the root of n."""

    name, needs = "faiss", "faiss"

    def __init__(self, *, factory: str, effort: str = ""):
        """Take FAISS's strings, say "IVF{lists},Flat" and "nprobe=8"."""
        super().__init__()
        self.factory, self.effort = factory, effort

    def fit(self, vectors: np.ndarray) -> None:
        from solesearch.index.faiss_index import trained_index

        factory = self.factory.format(lists=2 ** round(np.log2(len(vectors) ** 0.5)))
        self.description = f"{factory} {self.effort}".strip()
        self._index = trained_index(vectors, factory=factory, effort=self.effort)

    def query(self, queries: np.ndarray, *, k: int) -> tuple[np.ndarray, np.ndarray]:
        squares, rows = self._index.search(queries, k)  # squared distances
        return np.sqrt(np.maximum(squares, 0)), rows

    def bytes_per_vector(self) -> float:
        import faiss

        return file_size(lambda path: faiss.write_index(self._index, path)) / self._index.ntotal


class Evaluation(Engine):
    """The evaluation's exact search, made for many queries at once: a product in double precision, a sort."""

    name, needs = "evaluation", "numpy"

    def fit(self, vectors: np.ndarray) -> None:
        self._vectors = vectors

    def query(self, queries: np.ndarray, *, k: int) -> tuple[np.ndarray, np.ndarray]:
        return nearest(queries, self._vectors, k=k)

    def bytes_per_vector(self) -> float:
        return self._vectors.nbytes / len(self._vectors)


class Numpy(Evaluation):
    """Brute force with NumPy in single precision: one product, and a sort of the k smallest alone."""

    name = "numpy"

    def fit(self, vectors: np.ndarray) -> None:
        self._vectors, self._lengths = vectors, (vectors**2).sum(axis=1)

    def query(self, queries: np.ndarray, *, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Expand |a - b|^2 as |a|^2 - 2ab + |b|^2."""
        squares = (queries**2).sum(axis=1)[:, None] - 2 * queries @ self._vectors.T + self._lengths
        rows = np.argpartition(squares, k - 1, axis=1)[:, :k]
        found = np.take_along_axis(squares, rows, axis=1)
        order = np.argsort(found, axis=1, kind="stable")
        distances = np.sqrt(np.maximum(np.take_along_axis(found, order, axis=1), 0))
        return distances, np.take_along_axis(rows, order, axis=1)


class ScikitLearn(Evaluation):
    """Brute force with scikit-learn's NearestNeighbors, which sums in double precision."""

    name, needs = "scikit-learn", "sklearn"

    def fit(self, vectors: np.ndarray) -> None:
        from sklearn.neighbors import NearestNeighbors

        self._vectors = vectors
        self._searcher = NearestNeighbors(algorithm="brute", metric="euclidean").fit(vectors)

    def query(self, queries: np.ndarray, *, k: int) -> tuple[np.ndarray, np.ndarray]:
        return self._searcher.kneighbors(queries, n_neighbors=k)


class Annoy(Engine):
    """C's first peer of FAISS: a forest of random cuts."""

    name, needs, way_out = "annoy", "annoy", COMPILED

    def __init__(self, *, trees: int = 50, effort: int = 2000):
        """Grow `trees` trees; a search looks at `effort` vectors (Annoy's search_k)."""
        super().__init__()
        self.trees, self.effort = trees, effort
        self.description = f"{trees} trees search_k={effort}"

    def fit(self, vectors: np.ndarray) -> None:
        """Grow the forest; the cuts are random, by one seed, so that two forests answer alike."""
        from annoy import AnnoyIndex

        self._forest: Any = AnnoyIndex(vectors.shape[1], "euclidean")
        self._forest.set_seed(1)
        for row, vector in enumerate(vectors):
            self._forest.add_item(row, vector)
        self._forest.build(self.trees, n_jobs=self.threads)

    def query(self, queries: np.ndarray, *, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Annoy answers one query at a time, and may find fewer than k."""
        distances, rows = np.full((len(queries), k), np.inf), np.full((len(queries), k), -1)
        for place, vector in enumerate(queries):
            found, far = self._forest.get_nns_by_vector(
                vector, k, search_k=self.effort, include_distances=True
            )
            rows[place, : len(found)], distances[place, : len(found)] = found, far
        return distances, rows

    def bytes_per_vector(self) -> float:
        return file_size(self._forest.save) / self._forest.get_n_items()


class Hnswlib(Engine):
    """C's second peer, by NMSLIB's own authors: a graph of near neighbours (HNSW)."""

    name, needs, way_out = "hnswlib", "hnswlib", COMPILED

    def __init__(self, *, links: int = 16, build_effort: int = 100, effort: int = 64):
        """Link each vector to `links` others; the efforts are hnswlib's ef_construction and ef."""
        super().__init__()
        self.links, self.build_effort, self.effort = links, build_effort, effort
        self.description = f"M={links} efConstruction={build_effort} ef={effort}"

    def fit(self, vectors: np.ndarray) -> None:
        """Link the vectors; searches use one thread."""
        import hnswlib

        self._graph = hnswlib.Index("l2", vectors.shape[1])
        self._graph.init_index(len(vectors), M=self.links, ef_construction=self.build_effort, random_seed=1)
        self._graph.add_items(vectors, num_threads=self.threads)
        self._graph.set_num_threads(1)

    def query(self, queries: np.ndarray, *, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Like FAISS, hnswlib returns squared distances."""
        self._graph.set_ef(max(self.effort, k))
        rows, squares = self._graph.knn_query(queries, k=k)
        return np.sqrt(np.maximum(squares, 0)), rows.astype(np.int64)

    def bytes_per_vector(self) -> float:
        return file_size(self._graph.save_index) / self._graph.get_current_count()


def file_size(save: Callable[[str], object]) -> int:
    """Return the bytes of the file that `save` writes to the path it is given."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "index"
        save(str(path))
        return path.stat().st_size
