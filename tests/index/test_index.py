"""Embedding files and the FAISS index: exact, by id, and safe against damaged files."""

import json

import numpy as np
import pytest

from solesearch.core import files
from solesearch.core.embedding import Embedding, embedding_name, load_embedding, save_embedding
from solesearch.core.errors import InputError
from solesearch.index.index import FlatIndex


def embedding(n: int = 20, d: int = 6) -> Embedding:
    vectors = np.random.default_rng(0).normal(size=(n, d)).astype(np.float32)
    return Embedding([f"class/{i:03d}.jpg" for i in range(n)], vectors)


def test_distances_are_euclidean_not_squared() -> None:
    made = Embedding(["a", "b"], np.array([[0, 0], [3, 4]], dtype=np.float32))
    found = FlatIndex.build(made).search(np.zeros(2, np.float32), k=2)
    assert [(n.id, n.distance) for n in found] == [("a", 0.0), ("b", 5.0)]


def test_agrees_with_plain_loops() -> None:
    made = embedding()
    index = FlatIndex.build(made)
    for row, photo in enumerate(made.ids):
        distances = [np.linalg.norm(made.vectors[row] - other) for other in made.vectors]
        wanted = [made.ids[j] for j in np.argsort(distances, kind="stable") if j != row][:5]
        assert [n.id for n in index.search_by_id(photo, k=5)] == wanted


def test_query_is_left_out_by_id_even_behind_a_copy() -> None:
    made = Embedding(["copy", "query", "far"], np.array([[1, 1], [1, 1], [9, 9]], dtype=np.float32))
    found = FlatIndex.build(made).search_by_id("query", k=2)
    assert [n.id for n in found] == ["copy", "far"]


def test_leave_out_of_products() -> None:
    made = embedding()
    index = FlatIndex.build(made)
    nearest = index.search_by_id(made.ids[0], k=3)
    rest = index.search_by_id(made.ids[0], k=3, leave_out=frozenset([nearest[0].id, "not in the index"]))
    assert [n.id for n in rest[:2]] == [n.id for n in nearest[1:]]


def test_index_round_trip(tmp_path) -> None:
    index = FlatIndex.build(embedding())
    index.save(tmp_path)
    loaded = FlatIndex.load(tmp_path)
    assert loaded.search_by_id("class/003.jpg", k=4) == index.search_by_id("class/003.jpg", k=4)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda i: i.search(np.zeros(5, np.float32), k=1), "6 dimensions"),
        (lambda i: i.search(np.full(6, np.nan, np.float32), k=1), "not finite"),
        (lambda i: i.search(np.zeros(6, np.float32), k=21), "between 1 and 20"),
        (lambda i: i.search_by_id("nobody", k=1), "nobody: no photo"),
        (lambda i: i.search_by_id("class/000.jpg", k=20), "between 1 and 19"),
    ],
)
def test_bad_queries(call, words) -> None:
    with pytest.raises(InputError, match=words):
        call(FlatIndex.build(embedding()))


def test_damaged_index_is_named(tmp_path) -> None:
    """A foreign file whose digest was written by hand: FAISS itself must refuse it."""
    FlatIndex.build(embedding()).save(tmp_path)
    [path] = tmp_path.glob("vectors-*.faiss")
    path.write_bytes(b"something else entirely")
    description = tmp_path / "index.json"
    facts = json.loads(description.read_text())
    facts["vectors"]["sha256"] = files.digest(path)
    description.write_text(json.dumps(facts))
    with pytest.raises(InputError, match=r"vectors-\w+\.faiss: not a whole faiss index"):
        FlatIndex.load(tmp_path)


def test_ids_and_vectors_must_fit(tmp_path) -> None:
    FlatIndex.build(embedding()).save(tmp_path)
    [ids] = tmp_path.glob("ids-*.txt")
    ids.write_text("only one\n")
    description = tmp_path / "index.json"
    facts = json.loads(description.read_text())
    facts["ids"]["sha256"] = files.digest(ids)
    description.write_text(json.dumps(facts))
    with pytest.raises(InputError, match="20 vectors but 1 ids"):
        FlatIndex.load(tmp_path)
    with pytest.raises(InputError, match="no index yet"):
        FlatIndex.load(tmp_path / "nowhere")


def test_embedding_round_trip_and_order(tmp_path) -> None:
    made = embedding()
    save_embedding(tmp_path, "infogan-seed-1", made)
    loaded = load_embedding(tmp_path, "infogan-seed-1")
    assert loaded.ids == made.ids
    wanted = [made.ids[7], made.ids[2]]
    np.testing.assert_array_equal(loaded.of(wanted), made.vectors[[7, 2]])
    with pytest.raises(InputError, match="stranger has no embedding"):
        loaded.of(["stranger"])


def test_embedding_is_never_unpickled(tmp_path) -> None:
    save_embedding(tmp_path, "model", embedding())
    np.save(tmp_path / "model.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(InputError, match="damaged"):
        load_embedding(tmp_path, "model")


@pytest.mark.parametrize(
    ("ids", "vectors", "words"),
    [
        (["a"], np.zeros((2, 3), np.float32), "1 ids for 2 vectors"),
        (["a", "a"], np.zeros((2, 3), np.float32), "occurs twice"),
        (["a"], np.zeros((1, 3)), "must be float32"),
    ],
)
def test_embedding_checks_itself(ids, vectors, words) -> None:
    with pytest.raises(InputError, match=words):
        Embedding(ids, vectors)


def test_names() -> None:
    assert embedding_name("infogan", 2) == "infogan-seed-2"
    assert embedding_name("hog", 0) == "hog"
