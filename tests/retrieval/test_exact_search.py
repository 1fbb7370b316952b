"""Exact search against plain sorting and FAISS's Flat index, on vectors made to mislead it."""

import faiss
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from solesearch.retrieval import exact_search
from solesearch.retrieval.exact_search import nearest, ranking, squared_distances


def sorted_rows(queries: np.ndarray, gallery: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return distances and rows, nearest first, one query at a time by differences; ties by row."""
    squares = np.stack(
        [((gallery.astype(float) - query) ** 2).sum(axis=1) for query in queries.astype(float)]
    )
    order = np.argsort(squares, axis=1, kind="stable")
    return np.sqrt(np.take_along_axis(squares, order, axis=1)), order


def test_distances_by_hand_far_from_the_origin() -> None:
    vectors = np.array([[1000.0], [1000.25], [1001.0]], dtype=np.float32)
    assert squared_distances(vectors, vectors)[0].tolist() == pytest.approx([0.0, 0.0625, 1.0], abs=1e-15)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    n=st.integers(3, 2000),
    levels=st.sampled_from([2, 5, 1000]),  # few levels: many ties
    k=st.integers(1, 12),
)
def test_ranks_as_a_sort_does(seed: int, n: int, levels: int, k: int) -> None:
    draw = np.random.default_rng(seed)
    gallery = draw.integers(0, levels, (n, 3)).astype(np.float32)
    queries = draw.integers(0, levels, (5, 3)).astype(np.float32)
    distances, rows = sorted_rows(queries, gallery)
    assert ranking(queries, gallery).tolist() == rows.tolist()
    found_distances, found = nearest(queries, gallery, k=k)
    assert found.tolist() == rows[:, :k].tolist()
    np.testing.assert_allclose(found_distances, distances[:, :k], rtol=1e-12)


@pytest.mark.parametrize("block", [3, 512])
def test_excluded_photos_come_last_at_no_distance(monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    monkeypatch.setattr(exact_search, "QUERY_BLOCK", block)
    draw = np.random.default_rng(6)
    vectors = draw.integers(0, 4, (8, 2)).astype(np.float32)
    excluded = draw.random((8, 8)) < 0.5
    distances, rows = nearest(vectors, vectors, k=5, excluded=excluded)
    _, order = sorted_rows(vectors, vectors)
    for query, mask in enumerate(excluded):
        allowed = [row for row in order[query] if not mask[row]][:5]
        assert rows[query, : len(allowed)].tolist() == allowed
        assert np.isfinite(distances[query]).sum() == len(allowed)


def tight(random: np.random.Generator) -> np.ndarray:
    """Far from the origin and near each other: single precision alone ranks them wrongly."""
    return 1000 + random.normal(size=(1500, 1024)) * 0.01


def copies(random: np.random.Generator) -> np.ndarray:
    return np.repeat(random.normal(size=(40, 100)), 40, axis=0)[random.permutation(1600)]


def histograms(random: np.random.Generator) -> np.ndarray:
    return (
        np.stack([random.multinomial(6144, share) for share in random.dirichlet(np.ones(64) / 9, 900)]) / 6144
    )


def a_digit_apart(random: np.random.Generator) -> np.ndarray:
    """As by a network that answers the same for every photo."""
    steps = random.integers(0, 3, (200, 256)) * (random.random((200, 256)) < 0.01)
    one = random.random(256, dtype=np.float32) * 0.1
    return (one.view(np.int32) + steps.astype(np.int32)).view(np.float32)


@pytest.mark.parametrize("make", [tight, copies, histograms, a_digit_apart])
def test_vectors_that_mislead_a_product_are_ranked_by_their_distance(make) -> None:
    gallery = make(np.random.default_rng(1)).astype(np.float32)
    distances, rows = sorted_rows(gallery[:150], gallery)
    found_distances, found = nearest(gallery[:150], gallery, k=20)
    assert found.tolist() == rows[:, :20].tolist()
    np.testing.assert_allclose(found_distances, distances[:, :20], rtol=1e-9)


@pytest.mark.parametrize("size", [0, 1e25, 1e-22])
def test_numbers_beyond_single_precision_are_still_ranked(size: float) -> None:
    """Their squares overflow or vanish in single precision; all alike, the gallery's order counts."""
    gallery = (np.random.default_rng(7).normal(size=(50, 4)) * size).astype(np.float32)
    assert ranking(gallery, gallery).tolist() == sorted_rows(gallery, gallery)[1].tolist()


def test_faiss_finds_the_same() -> None:
    random = np.random.default_rng(2)
    gallery, queries = (random.normal(size=(n, 64)).astype(np.float32) for n in (5000, 100))
    assert nearest(queries, gallery, k=5)[1].tolist() == faiss.knn(queries, gallery, 5)[1].tolist()
