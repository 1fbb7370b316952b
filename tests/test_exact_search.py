"""Exact search against FAISS's Flat index, plain sorting, and vectors made to mislead it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from solesearch import exact_search
from solesearch.embedding import Embedding
from solesearch.exact_search import nearest, ranking
from solesearch.index import FlatIndex


def sorted_rows(queries: np.ndarray, gallery: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return all rows nearest first and their distances, one query at a time, ties by row."""
    squares = np.stack(
        [((gallery.astype(float) - query) ** 2).sum(axis=1) for query in queries.astype(float)]
    )
    order = np.argsort(squares, axis=1, kind="stable")
    return order, np.sqrt(np.take_along_axis(squares, order, axis=1))


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    n=st.integers(3, 2000),
    levels=st.sampled_from([2, 5, 1000]),  # few levels: many ties
    k=st.integers(1, 12),
)
def test_nearest_and_the_head_of_a_ranking_are_those_of_a_sort(
    seed: int, n: int, levels: int, k: int
) -> None:
    draw = np.random.default_rng(seed)
    gallery = draw.integers(0, levels, (n, 3)).astype(np.float32)
    queries = draw.integers(0, levels, (5, 3)).astype(np.float32)
    k = min(k, n)
    rows, distances = sorted_rows(queries, gallery)
    found_distances, found = nearest(queries, gallery, k=k)
    assert found.tolist() == rows[:, :k].tolist()
    np.testing.assert_allclose(found_distances, distances[:, :k], atol=1e-9)
    whole = ranking(queries, gallery, head=k)
    assert whole[:, :k].tolist() == rows[:, :k].tolist()
    assert (np.sort(whole, axis=1) == np.arange(n)).all()


def test_exact_where_single_precision_is_not() -> None:
    """Vectors far from the origin and near each other: float32's rounding hides their distances."""
    random = np.random.default_rng(1)
    gallery = (1000 + random.normal(size=(200, 32)) * 0.01).astype(np.float32)
    queries = gallery[:10]
    rows, wanted = sorted_rows(queries, gallery)
    distances, found = nearest(queries, gallery, k=3)
    assert found.tolist() == rows[:, :3].tolist()
    np.testing.assert_allclose(distances, wanted[:, :3], atol=1e-4)
    assert ranking(queries, gallery, head=3)[:, :3].tolist() == rows[:, :3].tolist()


def test_without_its_bound_the_misleading_vectors_would_be_ranked_wrongly(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    random = np.random.default_rng(1)
    gallery = (1000 + random.normal(size=(200, 32)) * 0.01).astype(np.float32)
    monkeypatch.setattr(exact_search, "_margins", lambda queries, _: np.zeros(len(queries), np.float32))
    assert nearest(gallery, gallery, k=3)[1].tolist() != sorted_rows(gallery, gallery)[0][:, :3].tolist()


def test_many_doubtful_candidates_are_ranked_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """One by one, each would convert the whole gallery to double precision: minutes for raw pixels."""
    random, calls, real = np.random.default_rng(1), [], exact_search.squared_distances
    gallery = (1000 + random.normal(size=(200, 32)) * 0.01).astype(np.float32)
    monkeypatch.setattr(
        exact_search, "squared_distances", lambda *pair: calls.append(len(pair[0])) or real(*pair)
    )
    nearest(gallery, gallery, k=3)
    ranking(gallery, gallery, head=3)
    assert len(calls) == 2 and min(calls) > 100


def test_a_few_doubtful_candidates_are_checked_without_the_whole_gallery(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Forty photos a hair apart, in a gallery where all else is far: only those forty are looked at again."""
    random = np.random.default_rng(3)
    close = np.full((40, 32), 100.0) + random.normal(size=(40, 32)) * 1e-4
    gallery = np.concatenate([random.normal(size=(2000, 32)) * 100, close]).astype(np.float32)
    gallery = gallery[random.permutation(len(gallery))]
    query = np.full((1, 32), 100, dtype=np.float32)
    rows, wanted = sorted_rows(query, gallery)
    monkeypatch.setattr(exact_search, "squared_distances", lambda *_: pytest.fail("the whole gallery"))
    distances, found = nearest(query, gallery, k=5)
    assert found.tolist() == rows[:, :5].tolist()
    np.testing.assert_allclose(distances, wanted[:, :5], atol=1e-9)
    assert ranking(query, gallery, head=5)[:, :5].tolist() == rows[:, :5].tolist()


def test_an_order_beyond_doubt_is_not_checked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Photos on a line, a step apart: single precision is certain of their order, so nothing else is done."""
    gallery = np.arange(500, dtype=np.float32)[:, None] + np.zeros(8, dtype=np.float32)
    gallery = gallery[np.random.default_rng(4).permutation(500)] - 250
    query = np.full((1, 8), 0.25, dtype=np.float32)
    rows, _ = sorted_rows(query, gallery)
    monkeypatch.setattr(exact_search, "_pairwise", lambda *_: pytest.fail("checked again"))
    monkeypatch.setattr(exact_search, "_first_exactly", lambda q, g, m, w, k: np.empty((len(q), k)))
    assert exact_search.nearest_rows(query, gallery, k=5).tolist() == rows[:, :5].tolist()


def test_faiss_finds_the_same() -> None:
    random = np.random.default_rng(2)
    gallery, queries = (random.normal(size=(n, 64)).astype(np.float32) for n in (3000, 100))
    arbiter = FlatIndex.build(Embedding([str(row) for row in range(3000)], gallery)).search_batch(
        queries, k=5
    )
    _, rows = nearest(queries, gallery, k=5)
    assert [[str(row) for row in one] for one in rows] == [[found.id for found in one] for one in arbiter]
