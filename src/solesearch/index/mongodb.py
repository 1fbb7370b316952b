"""The 2019 store (P section 3): vectors as arrays in MongoDB's documents, every one read for every search."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib.metadata import version
from importlib.util import find_spec
from typing import Any

import numpy as np

from solesearch.core.errors import InputError
from solesearch.index.engines import STORES, Engine
from solesearch.retrieval.exact_search import nearest

VARIABLE = "MONGODB_URI"
WRITTEN_AT_ONCE = 500  # documents: 500 vectors of 1,536 doubles are 11 MB, MongoDB takes 48


class MongoDB(Engine):
    """Documents {_id: row, vector: [float, ...]} in one collection of the server at $MONGODB_URI.

    Without an address, nx-27017 (MongoDB's protocol over SQLite) runs on this machine until `close`.
    """

    name, needs, way_out = "mongodb", "pymongo", STORES
    description = "brute force on read"

    def __init__(self) -> None:
        """Connect; raises InputError where no server answers."""
        super().__init__()
        self._opened = ExitStack()
        self._photos = self._opened.enter_context(opened_collection("benchmark"))
        facts = self._photos.database.client.admin.command("buildInfo")
        self.server = f"MongoDB {facts['version']}"
        if facts.get("process") == "nx_27017":
            self.server = f"nx-27017 {version('nx-27017')} (SQLite)"

    def fit(self, vectors: np.ndarray) -> None:
        with clear_errors():
            self._photos.drop()
            for start in range(0, len(vectors), WRITTEN_AT_ONCE):
                part = enumerate(vectors[start : start + WRITTEN_AT_ONCE].tolist(), start)
                self._photos.insert_many({"_id": row, "vector": vector} for row, vector in part)

    def query(self, queries: np.ndarray, *, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Read every document and compute Euclidean distances, as P does."""
        with clear_errors():
            read = [(photo["_id"], np.array(photo["vector"], np.float32)) for photo in self._photos.find()]
        rows, vectors = (np.array(column) for column in zip(*read, strict=True))
        distances, order = nearest(queries, vectors, k=k)
        return distances, rows[order]

    def bytes_per_vector(self) -> float:
        """Return the mean size of a document as MongoDB keeps it (BSON), from a hundred of them."""
        import bson

        with clear_errors():
            return float(np.mean([len(bson.encode(photo)) for photo in self._photos.find().limit(100)]))

    def close(self) -> None:
        self._opened.close()  # a server of our own ends


@contextmanager
def opened_collection(name: str) -> Iterator[Any]:
    """Give a pymongo collection of the server at $MONGODB_URI, or of one that runs while the block lasts."""
    from pymongo import MongoClient

    with ExitStack() as stack, clear_errors():
        uri, patience_s = os.environ.get(VARIABLE), 3
        if not uri:
            uri, patience_s = stack.enter_context(local_server()), 20  # it takes a moment to start
        client = stack.enter_context(MongoClient(uri, serverSelectionTimeoutMS=patience_s * 1000))
        client.admin.command("ping")
        yield client["solesearch"][name]


@contextmanager
def local_server() -> Iterator[str]:
    """Give the address of an nx-27017 on a free loopback port, which ends with the block."""
    if find_spec("nx_27017") is None:
        raise InputError(f"nx-27017 is not installed and {VARIABLE} names no server: {STORES}")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory() as scratch:
        command = [sys.executable, "-m", "nx_27017.nx_27017", f"--port={port}"]
        command += ["--db=store.db", "--log-file=server.log", "--pid-file=server.pid"]
        process = subprocess.Popen(command, cwd=scratch, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            yield f"mongodb://127.0.0.1:{port}"
        finally:
            process.kill()  # its files are thrown away
            process.wait()


@contextmanager
def clear_errors() -> Iterator[None]:
    """Turn what pymongo raises into one line; addresses stay out of it, they may hold a password."""
    from pymongo import errors

    try:
        yield
    except errors.ConnectionFailure as error:
        raise InputError(f"the MongoDB server is away; start it or set {VARIABLE}") from error
    except errors.PyMongoError as error:
        raise InputError(f"the MongoDB server refused: {str(error).splitlines()[0][:200]}") from error
