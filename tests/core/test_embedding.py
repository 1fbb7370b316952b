"""Embedding files: order by id, never unpickled, ids and vectors that fit."""

import numpy as np
import pytest

from solesearch.core.embedding import Embedding, embedding_name, load_embedding, save_embedding
from solesearch.core.errors import InputError


def embedding() -> Embedding:
    vectors = np.random.default_rng(0).normal(size=(20, 6)).astype(np.float32)
    return Embedding([f"class/{i:03d}.jpg" for i in range(20)], vectors)


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
