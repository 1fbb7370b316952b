"""The FAISS index (C section 8.3.2): exact or approximate, chosen by a factory string.

faiss is imported here and, at first use, in exact_search: importing it before TensorFlow has crashed for
others.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

import faiss
import numpy as np

from solesearch.core.embedding import Embedding
from solesearch.core.errors import InputError
from solesearch.index.vector_index import Neighbour, RowIndex, check_embedding

__all__ = ["FaissIndex", "FlatIndex", "Neighbour", "default_factory"]

EXACT_UP_TO = 200_000  # photos; P and C have 67,000 to 290,000
GRAPH_UP_TO = 5_000_000  # HNSW keeps whole vectors in memory: 5 million of 1,536 floats are 31 GB
LONG = 4096  # dimensions above this are reduced first (C's 12,544)
REDUCED = 256  # to so many


def default_factory(
    photos: int, dimensions: int, *, exact_up_to: int = EXACT_UP_TO, graph_up_to: int = GRAPH_UP_TO
) -> str:
    """Return the factory string for a catalogue of `photos` vectors of `dimensions` floats.

    Exact while that is quick, a graph while memory holds whole vectors, beyond that lists of compressed ones
    (after FAISS's own "Guidelines to choose an index"). Long vectors are reduced first, but never for Flat.
    """
    if photos <= exact_up_to:
        return "Flat"
    if photos <= graph_up_to:
        return f"PCA{REDUCED},HNSW32" if dimensions > LONG else "HNSW32"
    lists = 2 ** int(np.ceil(np.log2(4 * photos**0.5)))
    width = min(REDUCED, dimensions // 64 * 64)
    # np: without polysemous codes, whose training takes minutes and which nothing here uses
    return f"OPQ64_{width},IVF{lists}_HNSW32,PQ64np" if width else f"IVF{lists}_HNSW32,SQ8"


class FaissIndex(RowIndex):
    """Any index that `faiss.index_factory` can make: Flat, HNSW32, IVF256,Flat, PCA128,IVF256,PQ64np, SQ8."""

    engine = "faiss"
    suffix = ".faiss"

    def __init__(self, index: faiss.Index, ids: list[str], *, factory: str, effort: str = ""):
        """Wrap a FAISS index whose row i is photo ids[i] ("": removed); `effort` as in `build`."""
        if index.ntotal != len(ids):
            raise InputError(
                f"the index holds {index.ntotal} vectors but {len(ids)} ids; run stage index again"
            )
        super().__init__(index.d, ids, {"factory": factory, "effort": effort})
        self._index = index
        self._set_effort(effort)

    @classmethod
    def build(cls, embedding: Embedding, *, factory: str = "", effort: str = "") -> Self:
        """Train and fill the index of `factory` (FAISS's string; "" chooses by size, see default_factory).

        `effort` are FAISS's own search parameters, say "nprobe=16" or "efSearch=64". Raises InputError for
        vectors that are not finite, an unknown string, or fewer photos than the string needs for training.
        """
        check_embedding(embedding)
        vectors = np.ascontiguousarray(embedding.vectors)
        factory = factory or default_factory(*vectors.shape)
        try:
            index = faiss.index_factory(vectors.shape[1], factory)
            index.train(vectors)
        except (RuntimeError, AssertionError) as error:
            reason = str(error).strip().splitlines()[-1].strip()
            raise InputError(
                f"FAISS cannot make {factory!r} of {vectors.shape[0]} vectors of {vectors.shape[1]}: {reason}"
            ) from error
        index.add(vectors)
        return cls(index, list(embedding.ids), factory=factory, effort=effort)

    @property
    def description(self) -> str:
        """The factory string and the search effort: `IVF256,Flat nprobe=16`."""
        return " ".join(filter(None, (self.options["factory"], self.options["effort"])))

    def vector(self, photo: str) -> np.ndarray:
        """Return the stored vector of a photo, float32 [d]; what is left of it where the index compresses."""
        self._known([photo])
        if inverted := faiss.try_extract_index_ivf(self._index):
            inverted.make_direct_map()
        try:
            return self._index.reconstruct(self._row[photo])
        except RuntimeError as error:
            raise InputError(f"an index {self.options['factory']!r} cannot give vectors back") from error

    def on_gpu(self) -> Self:
        """Return a copy on the first GPU; the exact index stays the yardstick on the CPU.

        Raises InputError where this FAISS has no GPU code, sees no GPU, or cannot move this kind.
        """
        if not hasattr(faiss, "StandardGpuResources"):
            raise InputError(
                "faiss-cpu is installed, which has no GPU code; environment.yml says how to swap"
            )
        if not faiss.get_num_gpus():
            raise InputError("FAISS sees no GPU here; the index stays on the CPU")
        try:
            moved = faiss.index_cpu_to_gpu(faiss.StandardGpuResources(), 0, self._index)
        except RuntimeError as error:
            raise InputError(f"FAISS has no GPU version of {self.options['factory']!r}") from error
        return type(self)(moved, list(self._photos), factory=self.options["factory"])

    def _set_effort(self, effort: str) -> None:
        try:
            if effort:
                faiss.ParameterSpace().set_index_parameters(self._index, effort)
        except RuntimeError as error:
            raise InputError(
                f"FAISS does not know the search parameters {effort!r} for this index"
            ) from error

    def _find(self, vectors: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        squares, rows = self._index.search(vectors, k)  # FAISS returns squared distances
        return np.sqrt(np.maximum(squares, 0)), rows

    def _append(self, vectors: np.ndarray) -> None:
        self._index.add(vectors)

    def _drop(self, rows: np.ndarray) -> bool:
        if not isinstance(self._index, faiss.IndexFlat):
            return False  # graphs cannot drop a node; lists would keep a gap in their numbering
        self._index.remove_ids(faiss.IDSelectorBatch(rows))
        return True

    def _write(self, path: Path) -> None:
        faiss.write_index(self._index, str(path))

    @classmethod
    def _read(cls, path: Path, ids: list[str], facts: dict[str, Any]) -> Self:
        index = faiss.read_index(str(path))
        if index.d != facts["dimensions"]:
            raise InputError(f"{path}: {index.d} dimensions where index.json says {facts['dimensions']}")
        return cls(index, ids, **facts["options"])


class FlatIndex(FaissIndex):
    """Exact nearest neighbours (`IndexFlatL2`), always on the CPU: the yardstick of every other index."""

    @classmethod
    def build(cls, embedding: Embedding) -> Self:
        """Index every vector of an embedding; raises InputError when one is not finite."""
        return super().build(embedding, factory="Flat")
