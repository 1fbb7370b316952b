"""The 2019 system (P section 3): vectors as arrays in MongoDB documents, every one read for every search.

A photo's document counts only when the state document lists the batch it came with. That one document is
replaced last, and MongoDB replaces one document whole or not at all: a server that dies in the middle leaves
the store as it was. Nothing here needs TensorFlow.
"""

from __future__ import annotations

import os
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import numpy as np

from solesearch.core import files
from solesearch.core.embedding import Embedding
from solesearch.core.errors import InputError
from solesearch.index.vector_index import (
    DESCRIPTION,
    Neighbour,
    VectorIndex,
    check_embedding,
    read_description,
)

VARIABLE = "MONGODB_URI"
PATIENCE_MS = 3000  # until a server that does not answer counts as away
WRITTEN_AT_ONCE = 500  # documents: 500 vectors of 1,536 doubles are 11 MB, MongoDB takes 48
READ_AT_ONCE = 500
STATE = "state"
START_SECONDS = 20.0


class DocumentStore(VectorIndex):
    """Documents {batch, photo, vector: [float, ...]} in one collection; every search reads them all."""

    engine = "mongodb"
    description = "brute force on read"

    def __init__(self, client: Any, *, database: str, collection: str):
        """Wrap a pymongo.MongoClient; use `build` or `open`."""
        self._client, self._names = client, (database, collection)
        self._documents, self._states = client[database][collection], client[database][f"{collection}_states"]
        self._batches: list[str] = []
        self._dimensions = 0
        self._photos: dict[str, None] = {}

    @classmethod
    def connect(
        cls, uri: str | None = None, *, database: str = "solesearch", collection: str = "photos"
    ) -> Self:
        """Return a store on the server at `uri` ($MONGODB_URI), not read yet; raises InputError if away."""
        from pymongo import MongoClient

        uri = uri or os.environ.get(VARIABLE, "")
        if not uri:
            raise InputError(f"no MongoDB server is named: set {VARIABLE}, say mongodb://localhost:27017")
        with speaking():
            client = MongoClient(uri, serverSelectionTimeoutMS=PATIENCE_MS, socketTimeoutMS=60_000)
            client.admin.command("ping")
        return cls(client, database=database, collection=collection)

    @classmethod
    def build(cls, embedding: Embedding, *, uri: str | None = None, **names: str) -> Self:
        """Store every vector; what the collection held before is replaced when all are written."""
        check_embedding(embedding)
        store = cls.connect(uri, **names)
        store._dimensions = embedding.vectors.shape[1]
        store._commit([store._write(embedding)], dict.fromkeys(embedding.ids))
        return store

    @classmethod
    def open(cls, uri: str | None = None, **names: str) -> Self:
        """Return the store that the server holds; raises InputError when there is none."""
        store = cls.connect(uri, **names)
        with speaking():
            state = store._states.find_one({"_id": STATE})
        if not state:
            raise InputError(
                f"collection {'.'.join(store._names)}: holds no store of this project; build one"
            )
        store._batches, store._dimensions = list(state["batches"]), int(state["dimensions"])
        with speaking():
            found = [one["photo"] for one in store._documents.find(store._counting(), {"photo": 1})]
        store._photos = dict.fromkeys(found)
        return store

    @property
    def ids(self) -> list[str]:
        """The photos in the store."""
        return list(self._photos)

    @property
    def dimensions(self) -> int:
        """Length of the vectors."""
        return self._dimensions

    def __len__(self) -> int:
        """Number of photos in the store."""
        return len(self._photos)

    def __contains__(self, photo: object) -> bool:
        """Tell whether the store knows a photo."""
        return photo in self._photos

    def vector(self, photo: str) -> np.ndarray:
        """Return the vector of a photo, float32 [d]."""
        self._known([photo])
        with speaking():
            found = self._documents.find_one({"photo": photo, **self._counting()})
        if found is None:
            raise InputError(f"{photo}: was removed from the server by somebody else; open the store again")
        return np.array(found["vector"], dtype=np.float32)

    def _counting(self) -> dict[str, Any]:
        return {"batch": {"$in": self._batches}}

    def _answer(self, vectors: np.ndarray, k: int) -> list[list[Neighbour]]:
        ids, best = np.empty((len(vectors), 0), dtype=object), np.empty((len(vectors), 0))
        queries = vectors.astype(np.float64)
        for photos, block in self._blocks():
            far = np.stack([np.sqrt(((block - query) ** 2).sum(axis=1)) for query in queries])
            ids = np.concatenate([ids, np.tile(photos, (len(vectors), 1))], axis=1)
            best = np.concatenate([best, far], axis=1)
            order = np.argsort(best, axis=1, kind="stable")[:, :k]
            ids, best = np.take_along_axis(ids, order, axis=1), np.take_along_axis(best, order, axis=1)
        return [
            [Neighbour(photo, far) for photo, far in zip(names, distances.tolist(), strict=True)]
            for names, distances in zip(ids, best, strict=True)
        ]

    def _blocks(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        wanted = {"photo": 1, "vector": 1}
        with speaking():
            cursor = self._documents.find(self._counting(), wanted, batch_size=READ_AT_ONCE)
            read: list[Any] = []
            for document in cursor:
                read.append(document)
                if len(read) == READ_AT_ONCE:
                    yield _block(read)
                    read = []
            if read:
                yield _block(read)

    def _write(self, embedding: Embedding) -> str:
        """Insert documents that do not count yet; return the name of their batch."""
        batch = secrets.token_hex(8)
        with speaking():
            if self._batches:  # of an addition that was cut off
                self._documents.delete_many({"batch": {"$nin": self._batches}})
            for start in range(0, len(embedding.ids), WRITTEN_AT_ONCE):
                part = slice(start, start + WRITTEN_AT_ONCE)
                pairs = zip(embedding.ids[part], embedding.vectors[part].tolist(), strict=True)
                documents = [{"batch": batch, "photo": photo, "vector": vector} for photo, vector in pairs]
                self._documents.insert_many(documents)
        return batch

    def _commit(self, batches: list[str], photos: dict[str, None]) -> None:
        state = {"_id": STATE, "batches": batches, "dimensions": self._dimensions}
        with speaking():
            self._states.replace_one({"_id": STATE}, state, upsert=True)
        self._batches, self._photos = batches, photos
        with speaking():
            self._documents.delete_many({"batch": {"$nin": batches}})

    def _insert(self, embedding: Embedding) -> None:
        batch = self._write(embedding)
        self._commit([*self._batches, batch], self._photos | dict.fromkeys(embedding.ids))

    def _delete(self, photos: Sequence[str]) -> None:
        for start in range(0, len(photos), WRITTEN_AT_ONCE):
            part = list(photos[start : start + WRITTEN_AT_ONCE])
            with speaking():
                self._documents.delete_many({"photo": {"$in": part}, **self._counting()})
            for photo in part:
                del self._photos[photo]

    @property
    def server(self) -> str:
        """Which server answers, for the record."""
        return server_name(self._client)

    def bytes_per_vector(self) -> float:
        """Return the mean size of a photo's document as MongoDB keeps it (BSON), from a hundred of them."""
        import bson

        with speaking():
            read = list(self._documents.find(self._counting()).limit(100))
        return sum(len(bson.encode(document)) for document in read) / len(read)

    def save(self, folder: Path) -> None:
        """Write where the store is into `folder`, without the address: it may hold a password."""
        database, collection = self._names
        facts = {"engine": self.engine, "dimensions": self.dimensions}
        files.write_json(folder / DESCRIPTION, {**facts, "database": database, "collection": collection})

    @classmethod
    def load(cls, folder: Path, *, uri: str | None = None) -> Self:
        """Open the store that `save` described, on the server at `uri` ($MONGODB_URI)."""
        facts = read_description(folder, engine=cls.engine)
        try:
            return cls.open(uri, database=facts["database"], collection=facts["collection"])
        except KeyError as error:
            raise InputError(f"{folder / DESCRIPTION}: lacks {error}; build the store again") from error

    def close(self) -> None:
        """Close the connection."""
        self._client.close()


def _block(documents: list[Any]) -> tuple[np.ndarray, np.ndarray]:
    photos = np.array([document["photo"] for document in documents], dtype=object)
    return photos, np.array([document["vector"] for document in documents], dtype=np.float64)


@contextmanager
def speaking() -> Iterator[None]:
    """Turn what pymongo raises into one line; addresses stay out of it, they may hold a password."""
    from pymongo import errors

    try:
        yield
    except (errors.ConnectionFailure, errors.ConfigurationError) as error:
        raise InputError(
            f"the MongoDB server is away ({type(error).__name__}); start it or set {VARIABLE}, then try "
            "again: what was stored before is unharmed"
        ) from error
    except errors.PyMongoError as error:
        reason = str(error).splitlines()[0][:200]
        raise InputError(f"the MongoDB server refused: {reason}") from error


def server_name(client: Any) -> str:
    """Return which server answers, for the record: `MongoDB 7.0.2` or `nx-27017 0.8.1 (SQLite)`."""
    from importlib.metadata import PackageNotFoundError, version

    with speaking():
        facts = client.admin.command("buildInfo")
    if facts.get("process") != "nx_27017":
        return f"MongoDB {facts.get('version', 'of unknown version')}"
    try:
        return f"nx-27017 {version('nx-27017')} (SQLite)"
    except PackageNotFoundError:  # it runs elsewhere
        return "nx-27017 (SQLite)"


@contextmanager
def local_server(folder: Path) -> Iterator[tuple[str, subprocess.Popen]]:
    """Run nx-27017 (MongoDB's protocol over SQLite) on a free loopback port while the block lasts.

    Gives its address and its process, which is ended by its own id. Raises InputError when it is not
    installed or does not answer.
    """
    from importlib.util import find_spec

    if find_spec("nx_27017") is None:
        raise InputError(f"nx-27017 is not installed and {VARIABLE} names no server: pip install '.[stores]'")
    folder.mkdir(parents=True, exist_ok=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    places = {"db": "store.db", "log-file": "server.log", "pid-file": "server.pid"}
    named = [part for option, name in places.items() for part in (f"--{option}", str(folder / name))]
    command = [
        sys.executable,
        "-m",
        "nx_27017.nx_27017",
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
        "-j",
        "WAL",
        *named,
    ]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _wait(process, port)
        yield f"mongodb://127.0.0.1:{port}", process
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait(process: subprocess.Popen, port: int) -> None:
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            time.sleep(0.05)
    raise InputError("nx-27017 did not start; set MONGODB_URI to a server of yours instead")
