"""The FAISS index of a catalogue (C section 8.3.2): exact or approximate, chosen by a factory string.

FAISS numbers vectors by their row; the photos' ids are kept beside it. With faiss-gpu and a GPU a copy there
is searched (Flat and IVF); what is built, changed and saved stays the processor's. faiss is imported with
this module and nowhere at the top of another: imported before TensorFlow it has crashed for others.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np

from solesearch.core import files
from solesearch.core.embedding import Embedding
from solesearch.core.errors import InputError

os.environ.setdefault(
    "OMP_WAIT_POLICY", "passive"
)  # else its threads wait by spinning: slow on a busy machine
import faiss

EXACT_UP_TO = 200_000  # photos; P and C have 67,000 to 290,000
GRAPH_UP_TO = 5_000_000  # HNSW keeps whole vectors in memory: 5 million of 1,536 floats are 31 GB
LONG = 4096  # dimensions above this are reduced first (C's 12,544)
REDUCED = 256  # to so many
DESCRIPTION = "index.json"  # names the file of the vectors; replaced last, so it decides what counts


class Neighbour(NamedTuple):
    """One answer: a photo's id and its Euclidean distance to the query."""

    id: str
    distance: float


def default_factory(photos: int, dimensions: int) -> str:
    """Return the factory string for a catalogue of `photos` vectors of `dimensions` floats.

    Exact while that is quick, a graph while memory holds whole vectors, beyond that lists of compressed ones
    (after FAISS's own "Guidelines to choose an index"). Long vectors are reduced first, but never for Flat.
    """
    if photos <= EXACT_UP_TO:
        return "Flat"
    if photos <= GRAPH_UP_TO:
        return f"PCA{REDUCED},HNSW32" if dimensions > LONG else "HNSW32"
    lists = 2 ** int(np.ceil(np.log2(4 * photos**0.5)))
    width = min(REDUCED, dimensions // 64 * 64)
    # np: without polysemous codes, whose training takes minutes and which nothing here uses
    return f"OPQ64_{width},IVF{lists}_HNSW32,PQ64np" if width else f"IVF{lists}_HNSW32,SQ8"


def trained_index(vectors: np.ndarray, *, factory: str, effort: str = "") -> faiss.Index:
    """Return FAISS's index of float32 vectors [n, d]: Flat, HNSW32, "IVF256,Flat", "PCA128,IVF256,PQ64np".

    `effort` are FAISS's own search parameters, say "nprobe=16" or "efSearch=64". Raises InputError for an
    unknown string, fewer vectors than it needs for training, or search parameters that the index has not.
    """
    try:
        index = faiss.index_factory(vectors.shape[1], factory)
        index.train(vectors)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).strip().splitlines()[-1].strip()
        raise InputError(
            f"FAISS cannot make {factory!r} of {vectors.shape[0]} vectors of {vectors.shape[1]}: {reason}"
        ) from error
    index.add(vectors)
    try:
        if effort:
            faiss.ParameterSpace().set_index_parameters(index, effort)
    except RuntimeError as error:
        raise InputError(f"FAISS does not know the search parameters {effort!r} for this index") from error
    return index


def on_gpus(index: faiss.Index) -> faiss.Index:
    """Return a copy of the index on every GPU, which share the queries; the index itself where none can be.

    So it is without faiss-gpu or a GPU, for kinds that FAISS has for the processor alone (HNSW), and, with a
    line that says so, where the GPUs' memory does not hold it.
    """
    exact_or_lists = isinstance(index, faiss.IndexFlat) or faiss.try_extract_index_ivf(index)
    if not (exact_or_lists and faiss.get_num_gpus()):
        return index
    try:
        return faiss.index_cpu_to_all_gpus(index)
    except RuntimeError as error:
        _say_processor(error)
        return index


def _say_processor(error: RuntimeError) -> None:
    print(f"FAISS searches on the processor, the GPU did not ({str(error).strip().splitlines()[-1].strip()})")


class FaissIndex:
    """A catalogue's nearest photos by Euclidean distance, known by their ids."""

    def __init__(self, index: faiss.Index, ids: list[str], *, factory: str, effort: str = ""):
        """Wrap an index whose row i is photo ids[i] ("": removed)."""
        if index.ntotal != len(ids):
            raise InputError(f"the index holds {index.ntotal} vectors but {len(ids)} ids; build it again")
        self._index, self._ids, self.factory, self.effort = index, list(ids), factory, effort
        self._row = {photo: row for row, photo in enumerate(ids) if photo}
        self._searched: faiss.Index | None = None  # the index or its copy on GPUs, made by the first search

    @classmethod
    def build(cls, embedding: Embedding, *, factory: str = "", effort: str = "") -> Self:
        """Index every vector of an embedding; factory "" chooses by size (see `default_factory`).

        Raises InputError for vectors that are not finite, and as `trained_index` does.
        """
        _check_vectors(embedding.vectors)
        factory = factory or default_factory(*embedding.vectors.shape)
        index = trained_index(np.ascontiguousarray(embedding.vectors), factory=factory, effort=effort)
        return cls(index, embedding.ids, factory=factory, effort=effort)

    @property
    def ids(self) -> list[str]:
        """The photos in the index, oldest first."""
        return list(self._row)

    @property
    def description(self) -> str:
        """The factory string and the search effort: `IVF256,Flat nprobe=16`."""
        return f"{self.factory} {self.effort}".strip()

    def __len__(self) -> int:
        """Number of photos in the index."""
        return len(self._row)

    def search(self, vector: np.ndarray, *, k: int) -> list[Neighbour]:
        """Return the k photos nearest to `vector` float32 [d], nearest first; see `search_batch`."""
        return self.search_batch(np.asarray(vector)[None], k=k)[0]

    def search_batch(self, vectors: np.ndarray, *, k: int) -> list[list[Neighbour]]:
        """Return the k nearest photos of each of vectors float32 [q, d]; approximate indexes may give fewer.

        Raises InputError for a wrong length, values that are not finite, or a k beyond the index.
        """
        vectors = np.ascontiguousarray(vectors, dtype=np.float32)
        _check_vectors(vectors, dimensions=self._index.d)
        if not 1 <= k <= len(self):
            raise InputError(f"k must lie between 1 and {len(self)} (photos in the index); got {k}")
        removed = len(self._ids) - len(self)  # their rows may stand in front
        squares, rows = self._squares_and_rows(vectors, k + removed)
        distances = np.sqrt(np.maximum(squares, 0)).tolist()
        return [
            [Neighbour(self._ids[row], far) for row, far in found if row >= 0 and self._ids[row]][:k]
            for found in map(zip, rows.tolist(), distances)
        ]

    def _squares_and_rows(self, vectors: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Return FAISS's own answer: squared distances float32 and rows int64, [q, k] both."""
        if self._searched is None:
            self._searched = on_gpus(self._index)
        try:
            return self._searched.search(vectors, k)
        except RuntimeError as error:  # its memory is full, or k beyond the 2,048 that a GPU sorts
            if self._searched is self._index:
                raise
            _say_processor(error)
            self._searched = self._index
            return self._index.search(vectors, k)

    def search_by_id(self, photo: str, *, k: int) -> list[Neighbour]:
        """Return the k photos nearest to photo `photo`, itself left out by its id.

        Never by dropping rank 0: an exact duplicate of the query may stand there instead of the query.
        """
        vector = self.vector(photo)
        if not 1 <= k < len(self):
            raise InputError(f"k must lie between 1 and {len(self) - 1}; got {k}")
        return [found for found in self.search(vector, k=k + 1) if found.id != photo][:k]

    def vector(self, photo: str) -> np.ndarray:
        """Return the stored vector of a photo, float32 [d]; what is left of it where the index compresses."""
        self._check_known([photo])
        if inverted := faiss.try_extract_index_ivf(self._index):
            inverted.make_direct_map()
        try:
            return self._index.reconstruct(self._row[photo])
        except RuntimeError as error:
            raise InputError(f"an index {self.factory!r} cannot give vectors back") from error

    def add(self, embedding: Embedding) -> None:
        """Put more photos in without building the rest anew; raises InputError and adds none on bad input."""
        _check_vectors(embedding.vectors, dimensions=self._index.d)
        if known := [photo for photo in embedding.ids if photo in self._row]:
            raise InputError(f"{known[0]}: is in the index already ({len(known)} are); remove it first")
        self._index.add(np.ascontiguousarray(embedding.vectors))
        self._searched = None
        self._row |= {photo: row for row, photo in enumerate(embedding.ids, start=len(self._ids))}
        self._ids += embedding.ids

    def remove(self, photos: Iterable[str]) -> None:
        """Take photos out of every answer; their rows stay, since a graph cannot drop a node.

        Raises InputError and removes none when one is unknown or none would be left.
        """
        photos = set(photos)
        self._check_known(photos)
        if len(photos) == len(self):
            raise InputError("that would leave an empty index; build a new one instead")
        for photo in photos:
            self._ids[self._row.pop(photo)] = ""

    def save(self, folder: Path) -> None:
        """Write the vectors under a name that their content gives, then index.json, which names that file.

        Whatever a kill leaves behind, index.json names a whole file: the old one or the new one.
        """
        incoming = folder / "incoming.faiss"
        with files.replacing(incoming) as temporary:
            faiss.write_index(self._index, str(temporary))
        digest = files.digest(incoming)
        vectors = incoming.replace(folder / f"vectors-{digest[:12]}.faiss")
        facts = {"factory": self.factory, "effort": self.effort, "ids": self._ids}
        files.write_json(folder / DESCRIPTION, {**facts, "vectors": vectors.name, "sha256": digest})
        for old in folder.glob("vectors-*"):
            if old != vectors:
                old.unlink()

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote; raises InputError when it is missing, truncated or foreign."""
        path = folder / DESCRIPTION
        if not path.is_file():
            raise InputError(f"{folder}: holds no index yet; stage index writes it: run `make repro`")
        try:
            facts = json.loads(path.read_text(encoding="utf-8"))
            vectors = folder / Path(facts["vectors"]).name  # the name alone: never a file elsewhere
            if files.digest(vectors) != facts["sha256"]:
                raise ValueError(f"{vectors.name} is truncated or changed since it was saved")
            index = faiss.read_index(str(vectors))
            return cls(index, facts["ids"], factory=facts["factory"], effort=facts["effort"])
        except (OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
            reason = str(error).splitlines()[0]
            raise InputError(
                f"{folder}: not a whole index ({reason}); delete it and run stage index again"
            ) from error

    def _check_known(self, photos: Iterable[str]) -> None:
        for photo in photos:
            if photo not in self._row:
                raise InputError(f"{photo}: no photo of that id is in the index ({len(self)} are)")


def _check_vectors(vectors: np.ndarray, *, dimensions: int | None = None) -> None:
    if not vectors.size:
        raise InputError("there are no vectors; run stage embed again")
    if dimensions and vectors.shape[1:] != (dimensions,):
        raise InputError(f"the index holds {dimensions} dimensions; these vectors have shape {vectors.shape}")
    if not np.isfinite(vectors).all():
        raise InputError("the vectors hold values that are not finite; run stage embed again")
