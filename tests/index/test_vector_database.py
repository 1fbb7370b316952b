"""Milvus: the embedded file, and the same code over a socket to a server of its own."""

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from engine_checks import catalogue, check_answers

from solesearch.core.embedding import Embedding
from solesearch.core.errors import InputError

pytest.importorskip("pymilvus", reason="pymilvus is not installed: pip install '.[stores]'")
pytest.importorskip("milvus_lite", reason="milvus-lite is not installed: pip install '.[stores]'")

from solesearch.index.vector_database import VectorDatabase


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("milvus") / "photos.db"


def test_answers_changes_and_round_trip(file: Path, tmp_path: Path) -> None:
    made = catalogue()
    store = VectorDatabase.build(Embedding(made.ids[:30], made.vectors[:30]), uri=file)
    store.add(Embedding(made.ids[30:], made.vectors[30:]))
    check_answers(store, made)
    np.testing.assert_array_equal(store.vector(made.ids[4]), made.vectors[4])
    store.remove(made.ids[:3])
    store.save(tmp_path)
    assert str(file) not in (tmp_path / "index.json").read_text()
    store.close()
    loaded = VectorDatabase.load(tmp_path, uri=file)
    assert sorted(loaded.ids) == sorted(made.ids[3:])
    check_answers(loaded, made, without=tuple(made.ids[:3]))
    assert loaded.server.startswith("Milvus Lite")
    for call, words in (
        (lambda: loaded.search(np.zeros(5, np.float32), k=1), "6 dimensions"),
        (lambda: loaded.search(np.full(6, np.nan, np.float32), k=1), "not finite"),
        (lambda: loaded.search(np.zeros(6, np.float32), k=38), "between 1 and 37"),
        (lambda: loaded.add(Embedding([made.ids[9]], made.vectors[:1])), "in the index already"),
        (lambda: loaded.add(Embedding(["x" * 600], made.vectors[:1])), "more than 512 bytes"),
        (lambda: loaded.remove(["nobody"]), "nobody: no photo"),
    ):
        with pytest.raises(InputError, match=words):
            call()
    assert len(loaded) == 37
    loaded.close()


def test_a_second_build_replaces_the_first(file: Path) -> None:
    small = Embedding(["only"], np.ones((1, 3), np.float32))
    store = VectorDatabase.build(small, uri=file)
    assert len(store._client.list_collections()) == 1
    assert store.search(np.zeros(3, np.float32), k=1)[0].distance == pytest.approx(3**0.5)
    store.close()


def test_a_build_that_fails_leaves_the_old_collection(file: Path, monkeypatch) -> None:
    VectorDatabase.build(Embedding(["old"], np.ones((1, 3), np.float32)), uri=file).close()

    def failing(self, collection, embedding):
        raise ConnectionError("cut off")

    monkeypatch.setattr(VectorDatabase, "_send", failing)
    with pytest.raises(InputError, match=r"photos\.db: Milvus did not do it \(cut off\)"):
        VectorDatabase.build(catalogue(), uri=file)
    monkeypatch.undo()
    store = VectorDatabase.open(file)
    assert store.ids == ["old"]
    store.close()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[str, subprocess.Popen]]:
    """Milvus Lite as a server of its own on a free loopback port: what a cluster looks like to the code."""
    code = (
        "import sys, time\nfrom milvus_lite.adapter.grpc.server import start_server_in_thread\n"
        "kept = start_server_in_thread(sys.argv[1], port=0)\n"
        "print(kept[2], flush=True)\ntime.sleep(600)"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "server")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    named = process.stdout.readline().strip()
    assert named, "Milvus Lite did not start as a server"
    yield f"http://127.0.0.1:{named}", process
    process.kill()
    process.wait()
    process.stdout.close()


def test_the_same_code_by_address_and_a_server_that_dies(server, tmp_path: Path) -> None:
    address, process = server
    made = catalogue()
    store = VectorDatabase.build(made, uri=address)
    check_answers(store, made)
    store.save(tmp_path / "description")
    process.kill()
    process.wait()
    start = time.monotonic()
    with pytest.raises(InputError, match="the Milvus cluster: Milvus did not do it"):
        store.search(made.vectors[0], k=1)
    assert time.monotonic() - start < 60


def test_bad_addresses_are_one_line(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.delenv("MILVUS_URI", raising=False)
    with pytest.raises(InputError, match="no Milvus is named"):
        VectorDatabase.open()
    with pytest.raises(InputError, match=r"path that ends in \.db"):
        VectorDatabase.open(tmp_path / "photos.txt")
    with pytest.raises(InputError, match="the Milvus cluster: Milvus did not do it"):
        VectorDatabase.open("http://127.0.0.1:1")
    (tmp_path / "foreign.db").write_text("no database")
    with pytest.raises(InputError, match=r"foreign\.db: Milvus did not do it"):
        VectorDatabase.open(tmp_path / "foreign.db")
    with pytest.raises(InputError, match="letters, digits"):
        VectorDatabase.open(tmp_path / "a.db", name="two words")
