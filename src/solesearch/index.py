"""The FAISS index (C section 8.3.2): exact Euclidean search over an embedding, queried by vector or by id.

faiss is imported here and nowhere else: importing it before TensorFlow has crashed for others.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Self

import faiss
import numpy as np

from solesearch import files
from solesearch.embedding import Embedding
from solesearch.errors import InputError


@dataclass(frozen=True)
class Neighbour:
    """One answer: a photo's id and its Euclidean distance to the query (FAISS returns the square)."""

    id: str
    distance: float


class FlatIndex:
    """Exact nearest neighbours (`IndexFlatL2`) that know the ids of their photos."""

    def __init__(self, index: faiss.Index, ids: list[str]):
        """Wrap a FAISS index whose row i is photo ids[i]."""
        if index.ntotal != len(ids):
            raise InputError(
                f"the index holds {index.ntotal} vectors but {len(ids)} ids; run stage index again"
            )
        self._index, self.ids = index, ids
        self._row = {photo: row for row, photo in enumerate(ids)}

    @classmethod
    def build(cls, embedding: Embedding) -> Self:
        """Index every vector of an embedding; raises InputError when one is not finite."""
        if not np.isfinite(embedding.vectors).all():
            raise InputError("the embedding holds values that are not finite; run stage embed again")
        index = faiss.IndexFlatL2(embedding.vectors.shape[1])
        index.add(np.ascontiguousarray(embedding.vectors))
        return cls(index, list(embedding.ids))

    @property
    def dimensions(self) -> int:
        """Length of the vectors."""
        return self._index.d

    def search(self, vector: np.ndarray, *, k: int) -> list[Neighbour]:
        """Return the k photos nearest to `vector` float32 [d], nearest first."""
        vector = np.asarray(vector, dtype=np.float32)
        if vector.shape != (self.dimensions,):
            raise InputError(
                f"the index holds {self.dimensions} dimensions; the query has shape {vector.shape}"
            )
        if not np.isfinite(vector).all():
            raise InputError("the query vector holds values that are not finite")
        if not 1 <= k <= len(self.ids):
            raise InputError(f"k must lie between 1 and {len(self.ids)} (photos in the index); got {k}")
        squares, rows = self._index.search(vector[None, :], k)
        distances = np.sqrt(np.maximum(squares[0], 0))
        return [Neighbour(self.ids[row], float(d)) for row, d in zip(rows[0], distances, strict=True)]

    def search_by_id(self, photo: str, *, k: int, leave_out: frozenset[str] = frozenset()) -> list[Neighbour]:
        """Return the k photos nearest to photo `photo`, itself and those in `leave_out` excluded by id.

        Never by dropping rank 0: an exact duplicate of the query may stand there instead of the query.
        """
        if photo not in self._row:
            raise InputError(f"{photo}: no photo of that id is in the index ({len(self.ids)} are)")
        unwanted = {photo} | (leave_out & self._row.keys())
        if not 1 <= k <= len(self.ids) - len(unwanted):
            raise InputError(f"k must lie between 1 and {len(self.ids) - len(unwanted)}; got {k}")
        found = self.search(self._index.reconstruct(self._row[photo]), k=k + len(unwanted))
        return [neighbour for neighbour in found if neighbour.id not in unwanted][:k]

    def save(self, folder: Path) -> None:
        """Write vectors.faiss and ids.txt into `folder`, each atomically."""
        with files.replacing(folder / "vectors.faiss") as temporary:
            faiss.write_index(self._index, str(temporary))
        files.write_text(folder / "ids.txt", "".join(f"{photo}\n" for photo in self.ids))

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote; raises InputError when it is missing, truncated or foreign."""
        path = folder / "vectors.faiss"
        if not path.is_file() or not (folder / "ids.txt").is_file():
            raise InputError(f"{folder}: holds no index yet; stage index writes it")
        try:
            index = faiss.read_index(str(path))
        except RuntimeError as error:
            raise InputError(
                f"{path}: not a whole FAISS index; delete it and run stage index again"
            ) from error
        return cls(index, (folder / "ids.txt").read_text(encoding="utf-8").splitlines())
