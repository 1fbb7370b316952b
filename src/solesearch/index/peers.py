"""C's "peers" of FAISS in memory: Annoy (trees of random cuts) and hnswlib (a graph, as in NMSLIB).

Both are compiled when they are installed, so a machine without a C++ compiler may lack them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

import numpy as np

from solesearch.core.embedding import Embedding
from solesearch.core.errors import InputError
from solesearch.index.vector_index import RowIndex, check_embedding


class AnnoyForest(RowIndex):
    """Annoy's forest. It is static: more photos mean new trees, and a removed photo is skipped in answers."""

    engine = "annoy"
    suffix = ".annoy"

    def __init__(
        self, forest: Any, ids: list[str], *, trees: int, effort: int, threads: int, dimensions: int
    ):
        """Wrap an annoy.AnnoyIndex whose item i is photo ids[i]; the rest as in `build`."""
        if forest.get_n_items() != len(ids):
            raise InputError(
                f"the index holds {forest.get_n_items()} vectors but {len(ids)} ids; build it again"
            )
        super().__init__(dimensions, ids, {"trees": trees, "effort": effort, "threads": threads})
        self._forest = forest

    @classmethod
    def build(cls, embedding: Embedding, *, trees: int = 50, effort: int = 2000, threads: int = 1) -> Self:
        """Grow `trees` trees; a search looks at `effort` vectors (Annoy's search_k)."""
        check_embedding(embedding)
        forest = _grown(embedding.vectors, trees=trees, threads=threads)
        dimensions = embedding.vectors.shape[1]
        return cls(forest, embedding.ids, trees=trees, effort=effort, threads=threads, dimensions=dimensions)

    @property
    def description(self) -> str:
        """`50 trees search_k=2000`."""
        return f"{self.options['trees']} trees search_k={self.options['effort']}"

    def vector(self, photo: str) -> np.ndarray:
        """Return the vector of a photo, float32 [d]."""
        self._known([photo])
        return np.array(self._forest.get_item_vector(self._row[photo]), dtype=np.float32)

    def _find(self, vectors: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        distances, rows = np.full((len(vectors), k), np.inf), np.full((len(vectors), k), -1, dtype=np.int64)
        effort = max(self.options["effort"], k)
        for place, vector in enumerate(vectors):
            found, far = self._forest.get_nns_by_vector(vector, k, search_k=effort, include_distances=True)
            rows[place, : len(found)], distances[place, : len(found)] = found, far
        return distances, rows

    def _append(self, vectors: np.ndarray) -> None:
        old = [self._forest.get_item_vector(row) for row in range(len(self._photos))]
        everything = np.concatenate([np.array(old, dtype=np.float32), vectors])
        self._forest = _grown(everything, trees=self.options["trees"], threads=self.options["threads"])

    def _write(self, path: Path) -> None:
        self._forest.save(
            str(path)
        )  # Annoy goes on with the file it wrote, by its open handle: a new name is fine

    @classmethod
    def _read(cls, path: Path, ids: list[str], facts: dict[str, Any]) -> Self:
        from annoy import AnnoyIndex

        forest = AnnoyIndex(facts["dimensions"], "euclidean")
        forest.load(str(path))
        return cls(forest, ids, dimensions=facts["dimensions"], **facts["options"])


def _grown(vectors: np.ndarray, *, trees: int, threads: int) -> Any:
    from annoy import AnnoyIndex

    forest = AnnoyIndex(vectors.shape[1], "euclidean")
    forest.set_seed(1)  # the cuts are random; one seed, so that two builds answer alike
    for row, vector in enumerate(vectors):
        forest.add_item(row, vector)
    forest.build(trees, n_jobs=threads)
    return forest


class HnswlibGraph(RowIndex):
    """hnswlib's graph; photos can be added, and a removed one is skipped in answers."""

    engine = "hnswlib"
    suffix = ".hnsw"

    def __init__(
        self, graph: Any, ids: list[str], *, links: int, build_effort: int, effort: int, threads: int
    ):
        """Wrap an hnswlib.Index whose label i is photo ids[i]; the rest as in `build`."""
        if graph.get_current_count() != len(ids):
            raise InputError(
                f"the index holds {graph.get_current_count()} vectors but {len(ids)} ids; build it again"
            )
        options = {"links": links, "build_effort": build_effort, "effort": effort, "threads": threads}
        super().__init__(graph.dim, ids, options)
        self._graph = graph
        graph.set_num_threads(1)

    @classmethod
    def build(
        cls,
        embedding: Embedding,
        *,
        links: int = 16,
        build_effort: int = 100,
        effort: int = 64,
        threads: int = 1,
    ) -> Self:
        """Link each vector to `links` others; efforts are hnswlib's ef_construction and ef."""
        import hnswlib

        check_embedding(embedding)
        graph = hnswlib.Index("l2", embedding.vectors.shape[1])
        graph.init_index(len(embedding.ids), M=links, ef_construction=build_effort, random_seed=1)
        graph.add_items(embedding.vectors, num_threads=threads)
        return cls(
            graph, embedding.ids, links=links, build_effort=build_effort, effort=effort, threads=threads
        )

    @property
    def description(self) -> str:
        """`M=16 efConstruction=100 ef=64`."""
        options = self.options
        return f"M={options['links']} efConstruction={options['build_effort']} ef={options['effort']}"

    def vector(self, photo: str) -> np.ndarray:
        """Return the vector of a photo, float32 [d]."""
        self._known([photo])
        return np.array(self._graph.get_items([self._row[photo]])[0], dtype=np.float32)

    def _find(self, vectors: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        self._graph.set_ef(max(self.options["effort"], k))
        try:
            rows, squares = self._graph.knn_query(vectors, k=k)
        except RuntimeError:  # it raises where its search reaches fewer than k; only then is ef widened
            self._graph.set_ef(len(self._photos))
            rows, squares = self._graph.knn_query(vectors, k=k)
        return np.sqrt(np.maximum(squares, 0)), rows.astype(np.int64)

    def _append(self, vectors: np.ndarray) -> None:
        count = len(self._photos)
        self._graph.resize_index(count + len(vectors))
        self._graph.add_items(vectors, np.arange(count, count + len(vectors)))

    def _write(self, path: Path) -> None:
        self._graph.save_index(str(path))

    @classmethod
    def _read(cls, path: Path, ids: list[str], facts: dict[str, Any]) -> Self:
        import hnswlib

        graph = hnswlib.Index("l2", facts["dimensions"])
        graph.load_index(str(path))
        return cls(graph, ids, **facts["options"])
