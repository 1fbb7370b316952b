"""MongoDB over a real socket: against $MONGODB_URI where it is set, else against nx-27017 on loopback."""

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from engine_checks import catalogue, check_answers

from solesearch.core.embedding import Embedding
from solesearch.core.errors import InputError

pytest.importorskip("pymongo", reason="pymongo is not installed: pip install '.[stores]'")

from solesearch.index.document_store import VARIABLE, DocumentStore, local_server


@pytest.fixture(scope="module")
def uri(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a server: the user's, or one of our own that ends with the tests."""
    if os.environ.get(VARIABLE):
        yield os.environ[VARIABLE]
        return
    with local_server(tmp_path_factory.mktemp("mongodb")) as (address, _):
        yield address


@pytest.fixture
def names(request: pytest.FixtureRequest) -> dict[str, str]:
    return {"database": "solesearch_tests", "collection": request.node.name.partition("[")[0][:40]}


def test_answers_changes_and_round_trip(uri: str, names, tmp_path: Path) -> None:
    made = catalogue()
    store = DocumentStore.build(Embedding(made.ids[:30], made.vectors[:30]), uri=uri, **names)
    store.add(Embedding(made.ids[30:], made.vectors[30:]))
    check_answers(store, made)
    np.testing.assert_array_equal(store.vector(made.ids[4]), made.vectors[4])
    store.remove(made.ids[:3])
    store.save(tmp_path)
    assert "mongodb://" not in (tmp_path / "index.json").read_text()
    loaded = DocumentStore.load(tmp_path, uri=uri)
    assert sorted(loaded.ids) == sorted(made.ids[3:])
    check_answers(loaded, made, without=tuple(made.ids[:3]))
    assert loaded.search_by_id(made.ids[9], k=1)[0].id != made.ids[9]
    assert 6 * 8 < store.bytes_per_vector() < 1000
    assert store.server.startswith(("nx-27017", "MongoDB"))


def test_a_second_build_replaces_the_first(uri: str, names) -> None:
    DocumentStore.build(catalogue(), uri=uri, **names)
    small = Embedding(["only"], np.ones((1, 3), np.float32))
    assert DocumentStore.build(small, uri=uri, **names).ids == ["only"]
    again = DocumentStore.open(uri, **names)
    assert (again.ids, again.dimensions) == (["only"], 3)


def test_documents_of_an_addition_that_was_cut_off_do_not_count(uri: str, names) -> None:
    """Written but not committed, as after a kill between the two: not found, and cleared by the next one."""
    made = catalogue()
    store = DocumentStore.build(Embedding(made.ids[:30], made.vectors[:30]), uri=uri, **names)
    store._write(Embedding(made.ids[30:], made.vectors[30:]))
    fresh = DocumentStore.open(uri, **names)
    assert len(fresh) == 30
    check_answers(fresh, made, without=tuple(made.ids[30:]))
    fresh.add(Embedding(made.ids[30:], made.vectors[30:]))
    check_answers(fresh, made)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda s: s.search(np.zeros(5, np.float32), k=1), "6 dimensions"),
        (lambda s: s.search(np.full(6, np.nan, np.float32), k=1), "not finite"),
        (lambda s: s.search(np.zeros(6, np.float32), k=41), "between 1 and 40"),
        (lambda s: s.add(catalogue()), "in the index already"),
        (lambda s: s.remove(["nobody"]), "nobody: no photo"),
        (lambda s: s.vector("nobody"), "nobody: no photo"),
    ],
)
def test_bad_input_is_refused(uri: str, names, call, words) -> None:
    store = DocumentStore.build(catalogue(), uri=uri, **names)
    with pytest.raises(InputError, match=words):
        call(store)
    assert len(DocumentStore.open(uri, **names)) == 40


def test_a_server_that_dies_is_one_line_and_the_store_is_unharmed(names, tmp_path: Path, monkeypatch) -> None:
    """SIGKILL in the middle of an addition; a new server on the same files holds the old store, whole."""
    monkeypatch.setattr("solesearch.index.document_store.WRITTEN_AT_ONCE", 5)
    made = catalogue()
    rest = Embedding(made.ids[30:], made.vectors[30:])
    with local_server(tmp_path) as (address, process):
        store = DocumentStore.build(Embedding(made.ids[:30], made.vectors[:30]), uri=address, **names)
        insert = store._documents.insert_many

        class DyingAfterTheFirstPart:
            def __getattr__(self, name):
                return getattr(documents, name)

            def insert_many(self, rows):
                insert(rows)
                process.kill()
                process.wait()

        documents, store._documents = store._documents, DyingAfterTheFirstPart()
        with pytest.raises(InputError, match=r"the MongoDB server is away .* unharmed"):
            store.add(rest)
        assert len(store) == 30
        with pytest.raises(InputError, match="the MongoDB server is away"):
            store.search(made.vectors[0], k=1)
    with local_server(tmp_path) as (address, _):
        again = DocumentStore.open(address, **names)
        assert len(again) == 30
        check_answers(again, made, without=tuple(made.ids[30:]))
        again.add(rest)
        check_answers(again, made)


def test_no_server_and_no_store_are_one_line(uri: str, monkeypatch) -> None:
    with pytest.raises(InputError, match="the MongoDB server is away"):
        DocumentStore.open(
            "mongodb://user:secret@127.0.0.1:1/?connectTimeoutMS=200&serverSelectionTimeoutMS=300"
        )
    with pytest.raises(InputError, match="holds no store"):
        DocumentStore.open(uri, collection="nobody_was_here")
    monkeypatch.delenv(VARIABLE, raising=False)
    with pytest.raises(InputError, match="no MongoDB server is named"):
        DocumentStore.open()
