"""Milvus, the engine to outgrow one machine with: an embedded file by default, a cluster by another address.

The code path is the same for both. A name (Milvus calls it an alias) points to the collection that counts,
and `build` moves it when the new collection is complete. Nothing here needs TensorFlow.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
import secrets
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

VARIABLE = "MILVUS_URI"
SENT_AT_ONCE = 2000  # vectors: 2,000 of 1,536 floats are 12 MB, a request may hold 64
LONGEST_ID = 512  # bytes
KEY_DIGITS = 32
NAME = re.compile(r"[A-Za-z_]\w{0,99}")


class VectorDatabase(VectorIndex):
    """One Milvus collection {key, photo, vector}, in Milvus Lite's folder or on a cluster."""

    engine = "milvus"

    def __init__(self, client: Any, *, name: str, index: str, where: str):
        """Wrap a pymilvus.MilvusClient; use `build` or `open`."""
        self._client, self.name, self._index, self._where = client, name, index, where
        self._dimensions = 0
        self._photos: dict[str, None] = {}

    @classmethod
    def connect(cls, uri: str | Path | None = None, *, name: str = "photos", index: str = "FLAT") -> Self:
        """Return a database at `uri` ($MILVUS_URI) without reading it: a file's path ending in .db, or http://.

        `index` is Milvus's kind: FLAT, HNSW, IVF_FLAT, IVF_PQ, AUTOINDEX. Raises InputError when it is away.
        """
        uri = str(uri or os.environ.get(VARIABLE, ""))
        if not uri:
            raise InputError(
                f"no Milvus is named: give the path of a file that ends in .db, or set {VARIABLE}"
            )
        if not NAME.fullmatch(name):
            raise InputError(f"collection {name!r}: letters, digits and _ only")
        embedded = "://" not in uri
        if embedded and not uri.endswith(".db"):
            raise InputError(f"{uri}: Milvus Lite takes a path that ends in .db")
        if embedded:
            Path(uri).parent.mkdir(parents=True, exist_ok=True)
        where = uri if embedded else "the Milvus cluster"  # its address may hold a password
        with speaking(where):
            from pymilvus import MilvusClient

            logging.getLogger("pymilvus").setLevel(
                logging.CRITICAL
            )  # it logs what it raises, traceback and all
            client = MilvusClient(uri, timeout=10)
        return cls(client, name=name, index=index, where=where)

    @classmethod
    def build(cls, embedding: Embedding, *, uri: str | Path | None = None, **options: str) -> Self:
        """Store every vector in a new collection, then let the name point to it and drop the old one."""
        check_embedding(embedding)
        _check_ids(embedding.ids)
        store = cls.connect(uri, **options)
        store._dimensions = embedding.vectors.shape[1]
        with speaking(store._where):
            old = store._target()
            fresh = f"{store.name}_{secrets.token_hex(4)}"
            store._create(fresh)
            # Released while it fills: else Milvus Lite 3.2 builds its index beside the loading: they collide.
            store._client.release_collection(fresh)
            store._send(fresh, embedding)
            store._client.load_collection(fresh)
            point = store._client.alter_alias if old else store._client.create_alias
            point(collection_name=fresh, alias=store.name)
            for other in store._client.list_collections():
                if other != fresh and re.fullmatch(rf"{store.name}_[0-9a-f]{{8}}", other):
                    store._client.drop_collection(other)
        store._photos = dict.fromkeys(embedding.ids)
        return store

    @classmethod
    def open(cls, uri: str | Path | None = None, **options: str) -> Self:
        """Return the collection that is there; raises InputError when there is none."""
        store = cls.connect(uri, **options)
        with speaking(store._where):
            if not store._target():
                raise InputError(f"{store._where}: holds no collection {store.name!r}; build one")
            fields = store._client.describe_collection(store.name)["fields"]
            store._dimensions = next(int(f["params"]["dim"]) for f in fields if f["name"] == "vector")
            store._client.load_collection(store.name)
            store._photos = dict.fromkeys(store._read_ids())
        return store

    @property
    def ids(self) -> list[str]:
        """The photos in the collection."""
        return list(self._photos)

    @property
    def dimensions(self) -> int:
        """Length of the vectors."""
        return self._dimensions

    @property
    def description(self) -> str:
        """Milvus's kind of index."""
        return self._index

    @property
    def server(self) -> str:
        """Which server answers, for the record."""
        from importlib.metadata import version

        if "cluster" in self._where:
            with speaking(self._where):
                return f"Milvus {self._client.get_server_version()}"
        return f"Milvus Lite {version('milvus-lite')}"

    def __len__(self) -> int:
        """Number of photos in the collection."""
        return len(self._photos)

    def __contains__(self, photo: object) -> bool:
        """Tell whether the collection knows a photo."""
        return photo in self._photos

    def vector(self, photo: str) -> np.ndarray:
        """Return the vector of a photo, float32 [d]."""
        self._known([photo])
        with speaking(self._where):
            found = self._client.get(self.name, ids=[key_of(photo)], output_fields=["vector"])
        if not found:
            raise InputError(f"{photo}: was removed from Milvus by somebody else; open the collection again")
        return np.array(found[0]["vector"], dtype=np.float32)

    def _answer(self, vectors: np.ndarray, k: int) -> list[list[Neighbour]]:
        with speaking(self._where):
            hits = self._client.search(
                self.name, data=list(vectors), anns_field="vector", limit=k, output_fields=["photo"]
            )
        # Milvus's L2 is the squared distance.
        return [[Neighbour(hit["photo"], max(hit["distance"], 0.0) ** 0.5) for hit in one] for one in hits]

    def _insert(self, embedding: Embedding) -> None:
        _check_ids(embedding.ids)
        with speaking(self._where):
            self._send(self.name, embedding)
        self._photos |= dict.fromkeys(embedding.ids)

    def _delete(self, photos: Sequence[str]) -> None:
        with speaking(self._where):
            for start in range(0, len(photos), SENT_AT_ONCE):
                part = list(photos[start : start + SENT_AT_ONCE])
                self._client.delete(self.name, ids=[key_of(photo) for photo in part])
                for photo in part:
                    del self._photos[photo]

    def _target(self) -> str | None:
        """Return the collection that the name points to; None where there is none."""
        for collection in self._client.list_collections():
            if self.name in self._client.list_aliases(collection_name=collection).get("aliases", []):
                return collection
        return None

    def _create(self, collection: str) -> None:
        from pymilvus import DataType, MilvusClient

        schema = MilvusClient.create_schema(auto_id=False, enable_dynamic_field=False)
        schema.add_field("key", DataType.VARCHAR, max_length=KEY_DIGITS, is_primary=True)
        schema.add_field("photo", DataType.VARCHAR, max_length=LONGEST_ID)
        schema.add_field("vector", DataType.FLOAT_VECTOR, dim=self._dimensions)
        indexes = self._client.prepare_index_params()
        indexes.add_index("vector", index_type=self._index, metric_type="L2", params={})
        self._client.create_collection(
            collection, schema=schema, index_params=indexes, consistency_level="Strong"
        )

    def _send(self, collection: str, embedding: Embedding) -> None:
        """Write vectors; sent twice, a photo is still there once. Unflushed, searches would be slow."""
        for start in range(0, len(embedding.ids), SENT_AT_ONCE):
            part = slice(start, start + SENT_AT_ONCE)
            pairs = zip(embedding.ids[part], embedding.vectors[part], strict=True)
            rows = [{"key": key_of(photo), "photo": photo, "vector": vector} for photo, vector in pairs]
            self._client.upsert(collection, data=rows)
        self._client.flush(collection)

    def _read_ids(self) -> Iterator[str]:
        pages = self._client.query_iterator(self.name, batch_size=SENT_AT_ONCE, output_fields=["photo"])
        try:
            while page := pages.next():
                yield from (row["photo"] for row in page)
        finally:
            pages.close()

    def bytes_per_vector(self) -> float:
        """Return the bytes of Milvus Lite's files for a photo; for a cluster, the vector's alone."""
        if not Path(self._where).is_dir():
            return 4.0 * self.dimensions
        written = (path.stat().st_size for path in Path(self._where).rglob("*") if path.is_file())
        return sum(written) / len(self)

    def save(self, folder: Path) -> None:
        """Write where the collection is into `folder`, without the address: it may hold a password."""
        facts = {"engine": self.engine, "dimensions": self.dimensions}
        files.write_json(folder / DESCRIPTION, {**facts, "name": self.name, "index": self._index})

    @classmethod
    def load(cls, folder: Path, *, uri: str | Path | None = None) -> Self:
        """Open the collection that `save` described, at `uri` ($MILVUS_URI)."""
        facts = read_description(folder, engine=cls.engine)
        try:
            return cls.open(uri, name=facts["name"], index=facts["index"])
        except KeyError as error:
            raise InputError(f"{folder / DESCRIPTION}: lacks {error}; build the collection again") from error

    def close(self) -> None:
        """Close the connection; Milvus Lite lets go of its file."""
        self._client.close()


def key_of(photo: str) -> str:
    """Return a photo's primary key; pymilvus pastes keys into filters, which a quote would break."""
    return hashlib.sha256(photo.encode()).hexdigest()[:KEY_DIGITS]


def _check_ids(photos: Sequence[str]) -> None:
    for photo in photos:
        if len(photo.encode()) > LONGEST_ID:
            raise InputError(f"{photo[:40]}...: an id of more than {LONGEST_ID} bytes; rename that photo")


@contextmanager
def speaking(where: str) -> Iterator[None]:
    """Turn what pymilvus and gRPC raise into one line that names the place."""
    import grpc
    from pymilvus.exceptions import MilvusException

    try:
        yield
    except InputError:
        raise
    except (MilvusException, grpc.RpcError, ConnectionError, OSError, ValueError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        raise InputError(
            f"{where}: Milvus did not do it ({reason}); see that it runs and try again: a photo that is sent "
            "twice is stored once"
        ) from error
