"""Milvus, the engine to outgrow one machine with: an embedded file, or a cluster by its address."""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

import numpy as np

from solesearch.core.errors import InputError
from solesearch.index.engines import STORES, Engine

VARIABLE, NAME = "MILVUS_URI", "benchmark"  # of the collection
SENT_AT_ONCE = 2000  # vectors: 2,000 of 1,536 floats are 12 MB, a request may hold 64
# Queries. Milvus Lite holds their differences from all vectors: for each of them 120 MB of 10,000 photos.
LITE_AT_ONCE = 8


class Milvus(Engine):
    """One collection {id: row, vector} of the server at $MILVUS_URI, say http://host:19530.

    Without an address, in Milvus Lite's file, which lasts until `close`. The code is the same for both.
    """

    name, needs, way_out = "milvus", "pymilvus", STORES

    def __init__(self, *, index: str = "FLAT"):
        """Connect; `index` is Milvus's kind: FLAT, HNSW, IVF_FLAT, IVF_PQ, AUTOINDEX."""
        super().__init__()
        from pymilvus import MilvusClient

        logging.getLogger("pymilvus").setLevel(logging.CRITICAL)  # it logs what it raises, traceback and all
        self.description = index
        self._folder = tempfile.TemporaryDirectory(prefix="milvus-")
        uri = os.environ.get(VARIABLE)
        self._at_once = SENT_AT_ONCE if uri else LITE_AT_ONCE
        with clear_errors():
            self._client = MilvusClient(uri or f"{self._folder.name}/vectors.db", timeout=10)
            server = self._client.get_server_version() if uri else f"Lite {version('milvus-lite')}"
        self.server = f"Milvus {server}"

    def fit(self, vectors: np.ndarray) -> None:
        from pymilvus import DataType, MilvusClient

        schema = MilvusClient.create_schema(auto_id=False)
        schema.add_field("id", DataType.INT64, is_primary=True)
        schema.add_field("vector", DataType.FLOAT_VECTOR, dim=vectors.shape[1])
        kind = MilvusClient.prepare_index_params("vector", index_type=self.description, metric_type="L2")
        client = self._client
        with clear_errors():
            client.drop_collection(NAME)
            client.create_collection(NAME, schema=schema, index_params=kind, consistency_level="Strong")
            # Released while it fills: else Milvus Lite 3.2 builds its index beside the loading: they collide.
            client.release_collection(NAME)
            for start in range(0, len(vectors), SENT_AT_ONCE):
                part = vectors[start : start + SENT_AT_ONCE]
                client.upsert(NAME, [{"id": row, "vector": one} for row, one in enumerate(part, start)])
            client.flush(NAME)  # unflushed, searches would be slow
            client.load_collection(NAME)
        self._stored = vectors.shape

    def query(self, queries: np.ndarray, *, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Milvus's L2 is the squared distance."""
        answers = []
        with clear_errors():
            for start in range(0, len(queries), self._at_once):
                part = list(queries[start : start + self._at_once])
                answers += self._client.search(NAME, data=part, anns_field="vector", limit=k)
        squares = np.array([[hit["distance"] for hit in hits] for hits in answers])
        return np.sqrt(np.maximum(squares, 0)), np.array([[hit["id"] for hit in hits] for hits in answers])

    def bytes_per_vector(self) -> float:
        """Return the bytes of Milvus Lite's files for a vector; of a cluster, the vector's alone."""
        written = [path.stat().st_size for path in Path(self._folder.name).rglob("*") if path.is_file()]
        return sum(written) / self._stored[0] if written else 4.0 * self._stored[1]

    def close(self) -> None:
        self._client.close()
        self._folder.cleanup()


@contextmanager
def clear_errors() -> Iterator[None]:
    """Turn what pymilvus and gRPC raise into one line; addresses stay out of it, they may hold a password."""
    import grpc
    from pymilvus.exceptions import MilvusException

    try:
        yield
    except (MilvusException, grpc.RpcError, ConnectionError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        raise InputError(
            f"Milvus did not do it ({reason}); see that it runs and that {VARIABLE} names it"
        ) from error
