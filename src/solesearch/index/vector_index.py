"""One small interface for every store of vectors: build, search, add, remove, save, load.

Photos are named by their ids; distances are Euclidean everywhere, whatever an engine returns itself. Bad
input is refused here, once, before an engine sees it: some accept vectors with NaN and answer nonsense.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np

from solesearch.core import files
from solesearch.core.embedding import Embedding
from solesearch.core.errors import InputError

REAL, COPIES = "real", "perturbed copies"  # what a benchmark's vectors are

DESCRIPTION = "index.json"  # names the other files of a saved index; replaced last, so it decides what counts
DIGEST_DIGITS = 12


@dataclass(frozen=True)
class Neighbour:
    """One answer: a photo's id and its Euclidean distance to the query."""

    id: str
    distance: float


class VectorIndex(ABC):
    """Nearest neighbours by Euclidean distance among vectors float32 [n, d] that are known by photo ids."""

    engine: ClassVar[str]  # its name in params.yaml and index.csv

    @classmethod
    @abstractmethod
    def build(cls, embedding: Embedding, **options: Any) -> Self:
        """Index every vector of an embedding; options are the engine's own."""

    @classmethod
    @abstractmethod
    def load(cls, folder: Path) -> Self:
        """Open what `save` wrote; raises InputError when it is missing, truncated or foreign."""

    @abstractmethod
    def save(self, folder: Path) -> None:
        """Write the index into `folder`; a kill on the way leaves what was there whole."""

    @property
    @abstractmethod
    def ids(self) -> list[str]:
        """The photos in the index."""

    @property
    @abstractmethod
    def dimensions(self) -> int:
        """Length of the vectors."""

    @property
    def description(self) -> str:
        """The kind of index, as index.csv shows it."""
        return self.engine

    @abstractmethod
    def __len__(self) -> int:
        """Number of photos in the index."""

    @abstractmethod
    def __contains__(self, photo: object) -> bool:
        """Tell whether the index knows a photo."""

    @abstractmethod
    def vector(self, photo: str) -> np.ndarray:
        """Return the stored vector of a photo, float32 [d] (a compressing engine gives what it kept)."""

    @abstractmethod
    def _answer(self, vectors: np.ndarray, k: int) -> list[list[Neighbour]]: ...

    @abstractmethod
    def _insert(self, embedding: Embedding) -> None: ...

    @abstractmethod
    def _delete(self, photos: Sequence[str]) -> None: ...

    def close(self) -> None:  # noqa: B027 - most engines have nothing to close
        """Let go of a connection, where there is one."""

    def search(self, vector: np.ndarray, *, k: int) -> list[Neighbour]:
        """Return the k photos nearest to `vector` float32 [d], nearest first.

        An approximate engine may return fewer. Raises InputError for a wrong length, NaN or a k beyond the
        index.
        """
        vector = np.asarray(vector, dtype=np.float32)
        if vector.shape != (self.dimensions,):
            raise InputError(
                f"the index holds {self.dimensions} dimensions; the query has shape {vector.shape}"
            )
        return self.search_batch(vector[None, :], k=k)[0]

    def search_batch(self, vectors: np.ndarray, *, k: int) -> list[list[Neighbour]]:
        """Return `search`'s answer for each of vectors float32 [q, d]."""
        vectors = np.ascontiguousarray(vectors, dtype=np.float32)
        if vectors.ndim != 2 or vectors.shape[1] != self.dimensions:
            raise InputError(
                f"the index holds {self.dimensions} dimensions; the queries have shape {vectors.shape}"
            )
        if not np.isfinite(vectors).all():
            raise InputError("the query vector holds values that are not finite")
        if not 1 <= k <= len(self):
            raise InputError(f"k must lie between 1 and {len(self)} (photos in the index); got {k}")
        return self._answer(vectors, k)

    def search_by_id(self, photo: str, *, k: int, leave_out: frozenset[str] = frozenset()) -> list[Neighbour]:
        """Return the k photos nearest to photo `photo`, itself and those in `leave_out` excluded by id.

        Never by dropping rank 0: an exact duplicate of the query may stand there instead of the query.
        """
        self._known([photo])
        unwanted = {photo} | {other for other in leave_out if other in self}
        if not 1 <= k <= len(self) - len(unwanted):
            raise InputError(f"k must lie between 1 and {len(self) - len(unwanted)}; got {k}")
        found = self.search(self.vector(photo), k=k + len(unwanted))
        return [neighbour for neighbour in found if neighbour.id not in unwanted][:k]

    def add(self, embedding: Embedding) -> None:
        """Put more photos in without building the rest anew; raises InputError and adds none on bad input."""
        check_embedding(embedding)
        if embedding.vectors.shape[1] != self.dimensions:
            raise InputError(
                f"the index holds {self.dimensions} dimensions; the new vectors have "
                f"{embedding.vectors.shape[1]}"
            )
        known = [photo for photo in embedding.ids if photo in self]
        if known:
            raise InputError(f"{known[0]}: is in the index already ({len(known)} are); remove it first")
        self._insert(embedding)

    def remove(self, photos: Iterable[str]) -> None:
        """Take photos out; raises InputError and removes none when one is unknown."""
        photos = list(dict.fromkeys(photos))
        self._known(photos)
        if len(photos) == len(self):
            raise InputError("that would leave an empty index; build a new one instead")
        self._delete(photos)

    def _known(self, photos: Sequence[str]) -> None:
        for photo in photos:
            if photo not in self:
                raise InputError(f"{photo}: no photo of that id is in the index ({len(self)} are)")


def check_embedding(embedding: Embedding) -> None:
    """Raise InputError for an embedding that no engine can take: empty, not finite, unusable ids."""
    if not len(embedding.ids) or not embedding.vectors.shape[1]:
        raise InputError("the embedding is empty; run stage embed again")
    if not np.isfinite(embedding.vectors).all():
        raise InputError("the embedding holds values that are not finite; run stage embed again")
    for photo in embedding.ids:
        if not photo or "\n" in photo or "\r" in photo:
            raise InputError(f"id {photo!r}: empty or with a line break; rename that photo")


class RowIndex(VectorIndex):
    """An index that numbers its vectors 0, 1, 2, ... as they come, and keeps the ids of those rows itself.

    A removed row stays where an engine cannot drop it: it is then skipped in every answer.
    """

    suffix: ClassVar[str]  # of the file with the vectors

    def __init__(self, dimensions: int, ids: Sequence[str], options: dict[str, Any]):
        """Take the vectors' length, the id of each row ("" for a removed one) and the engine's options."""
        self._dimensions, self._photos, self.options = dimensions, list(ids), options
        self._row = {photo: row for row, photo in enumerate(self._photos) if photo}

    @abstractmethod
    def _find(self, vectors: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Return Euclidean distances and rows [q, k], nearest first; row -1 where the engine found none."""

    @abstractmethod
    def _append(self, vectors: np.ndarray) -> None:
        """Add vectors as the next rows."""

    def _drop(self, rows: np.ndarray) -> bool:
        """Drop rows and renumber those behind; False where the engine cannot."""
        return False

    @abstractmethod
    def _write(self, path: Path) -> None: ...

    @classmethod
    @abstractmethod
    def _read(cls, path: Path, ids: list[str], facts: dict[str, Any]) -> Self: ...

    @property
    def ids(self) -> list[str]:
        """The photos in the index, oldest first."""
        return list(self._row)

    @property
    def dimensions(self) -> int:
        """Length of the vectors."""
        return self._dimensions

    def __len__(self) -> int:
        """Number of photos in the index; removed ones do not count."""
        return len(self._row)

    def __contains__(self, photo: object) -> bool:
        """Tell whether the index knows a photo."""
        return photo in self._row

    def _answer(self, vectors: np.ndarray, k: int) -> list[list[Neighbour]]:
        wanted, most = k, len(self._photos)
        while True:
            distances, rows = self._find(vectors, wanted)
            found = [self._named(*pair, k) for pair in zip(distances, rows, strict=True)]
            enough = [len(one) == k or -1 in row for one, row in zip(found, rows, strict=True)]
            if all(enough) or wanted == most:
                return found
            wanted = min(2 * wanted, most)  # removed rows stood in front: ask for more

    def _named(self, distances: np.ndarray, rows: np.ndarray, k: int) -> list[Neighbour]:
        photos = self._photos
        pairs = zip(rows.tolist(), distances.tolist(), strict=True)
        return [Neighbour(photos[row], far) for row, far in pairs if row >= 0 and photos[row]][:k]

    def _insert(self, embedding: Embedding) -> None:
        self._append(np.ascontiguousarray(embedding.vectors))
        for photo in embedding.ids:
            self._row[photo] = len(self._photos)
            self._photos.append(photo)

    def _delete(self, photos: Sequence[str]) -> None:
        rows = np.array(sorted(self._row[photo] for photo in photos), dtype=np.int64)
        if self._drop(rows):
            gone = set(rows.tolist())
            self._photos = [photo for row, photo in enumerate(self._photos) if row not in gone]
            self._row = {photo: row for row, photo in enumerate(self._photos) if photo}
            return
        for photo in photos:
            self._photos[self._row.pop(photo)] = ""

    def save(self, folder: Path) -> None:
        """Write vectors-<digest> and ids-<digest> into `folder`, then index.json, which names the two.

        Whatever a kill leaves behind, index.json names a whole pair: the old one or the new one.
        """
        vectors = _store(folder, "vectors", self.suffix, self._write)
        text = "".join(f"{photo}\n" for photo in self._photos)
        ids = _store(folder, "ids", ".txt", lambda path: path.write_text(text, encoding="utf-8"))
        facts = {"engine": self.engine, "dimensions": self.dimensions, "options": self.options}
        files.write_json(folder / DESCRIPTION, {**facts, "vectors": vectors, "ids": ids})
        for path in (*folder.glob("vectors-*"), *folder.glob("ids-*")):
            if path.name not in (vectors["file"], ids["file"]):
                path.unlink()

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote; raises InputError when it is missing, truncated or foreign."""
        facts = read_description(folder, engine=cls.engine)
        vectors, ids = (_fetch(folder, facts.get(part)) for part in ("vectors", "ids"))
        photos = ids.read_text(encoding="utf-8").splitlines()
        try:
            return cls._read(vectors, photos, facts)
        except (RuntimeError, ValueError, KeyError, TypeError, OSError) as error:
            if isinstance(error, InputError):
                raise
            raise InputError(
                f"{vectors}: not a whole {cls.engine} index; delete {folder} and run stage index again"
            ) from error


def _store(folder: Path, part: str, suffix: str, write: Any) -> dict[str, str]:
    """Write one file under a name that its content gives; return that name and the sha256."""
    with files.replacing(folder / f"incoming-{part}{suffix}") as temporary:
        write(temporary)
    written = folder / f"incoming-{part}{suffix}"
    digest = files.digest(written)
    name = f"{part}-{digest[:DIGEST_DIGITS]}{suffix}"
    written.replace(folder / name)
    return {"file": name, "sha256": digest}


def _fetch(folder: Path, entry: Any) -> Path:
    """Return a file that index.json names, its content checked: some engines crash on a damaged one."""
    way_out = f"delete {folder} and run stage index again"
    if not isinstance(entry, dict) or not {"file", "sha256"} <= entry.keys():
        raise InputError(f"{folder / DESCRIPTION}: names no files of an index; {way_out}")
    path = folder / Path(str(entry["file"])).name  # the name alone: never a file elsewhere
    if not path.is_file():
        raise InputError(f"{path}: named by {DESCRIPTION} but gone; {way_out}")
    if files.digest(path) != entry["sha256"]:
        raise InputError(f"{path}: truncated or changed since it was saved; {way_out}")
    return path


def read_description(folder: Path, *, engine: str) -> dict[str, Any]:
    """Return index.json of a saved index; raises InputError when it is missing or another engine's."""
    path = folder / DESCRIPTION
    if not path.is_file():
        raise InputError(f"{folder}: holds no index yet; stage index writes it: run `make repro`")
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
        found, facts["dimensions"] = facts["engine"], int(facts["dimensions"])
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{path}: not the description of an index; delete {folder} and run stage index again"
        ) from error
    if found != engine:
        raise InputError(f"{path}: an index of engine {found!r}, not of {engine!r}; load it with that one")
    return facts
