"""Exact search against FAISS's Flat index, plain sorting, and vectors made to mislead it."""

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from solesearch.core.embedding import Embedding
from solesearch.index.index import FlatIndex
from solesearch.retrieval import exact_search
from solesearch.retrieval.exact_search import nearest, ranking


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
    gallery = far_and_close()
    queries = gallery[:10]
    rows, wanted = sorted_rows(queries, gallery)
    distances, found = nearest(queries, gallery, k=3)
    assert found.tolist() == rows[:, :3].tolist()
    np.testing.assert_allclose(distances, wanted[:, :3], atol=1e-4)
    assert ranking(queries, gallery, head=3)[:, :3].tolist() == rows[:, :3].tolist()


PRODUCTS = [exact_search.by_faiss, exact_search.by_numpy]


def far_and_close() -> np.ndarray:
    """Return vectors far from the origin and near each other; fewer or shorter ones FAISS subtracts."""
    return (1000 + np.random.default_rng(1).normal(size=(150, 1024)) * 0.01).astype(np.float32)


@pytest.mark.parametrize("product", PRODUCTS)
def test_a_product_alone_would_rank_misleading_vectors_wrongly_but_keeps_its_bound(
    product: exact_search.Product,
) -> None:
    gallery = far_and_close()
    lengths = exact_search.squared_lengths(gallery)
    rows, distances = sorted_rows(gallery, gallery)
    values, found = product(gallery, gallery, lengths, 50)
    assert found[:, :3].tolist() != rows[:, :3].tolist()
    exact = np.take_along_axis(distances, np.argsort(rows, axis=1), axis=1) ** 2
    exact = np.take_along_axis(exact, found, axis=1)
    apart = np.abs(np.diff(values - exact, axis=1))  # differences: NumPy's lack the query's own length
    assert 0 < apart.max() <= exact_search._margins(gallery, lengths).min()


@pytest.mark.parametrize("product", PRODUCTS)
@pytest.mark.parametrize("k", [1, 3, 150])
def test_either_product_leads_to_the_same_neighbours(product: exact_search.Product, k: int) -> None:
    random = np.random.default_rng(5)
    plain = random.normal(size=(600, 1024)).astype(np.float32)
    twins = np.concatenate([plain[:300], plain[:300]])[random.permutation(600)]
    for gallery in (far_and_close(), plain, twins):
        queries = gallery[:140]
        rows, wanted = sorted_rows(queries, gallery)
        distances, found = nearest(queries, gallery, k=k, product=product)
        assert found.tolist() == rows[:, :k].tolist()
        np.testing.assert_allclose(distances, wanted[:, :k], rtol=1e-5, atol=1e-9)
        assert (np.diff(distances, axis=1) >= 0).all()


def test_thefaster_product_is_taken_where_the_work_pays_for_a_trial(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exact_search, "TRIAL", (30, 3500, 2))
    exact_search.faster_product.cache_clear()
    quick = exact_search.by_numpy

    def slow(*arguments: object) -> tuple[np.ndarray, np.ndarray]:
        time.sleep(0.2)
        return quick(*arguments)

    monkeypatch.setattr(exact_search, "by_faiss", slow)
    assert exact_search.chosen_product(30, 500, 7) is slow
    monkeypatch.setattr(exact_search, "LARGE", 1000)
    assert exact_search.chosen_product(30, 500, 7) is quick
    exact_search.faster_product.cache_clear()


def test_queries_with_too_few_candidates_are_asked_again_with_more_and_at_last_exactly() -> None:
    """A thousand photos on a spot that single precision cannot tell apart, and 9,000 elsewhere."""
    calls: list[tuple[int, int]] = []

    def product(queries: np.ndarray, *rest: object) -> tuple[np.ndarray, np.ndarray]:
        calls.append((len(queries), rest[-1]))
        return exact_search.by_faiss(queries, *rest)

    random = np.random.default_rng(6)
    spot = 100 + random.normal(size=(1000, 8)) * 1e-4
    gallery = np.concatenate([random.normal(size=(9000, 8)) * 30, spot]).astype(np.float32)
    queries = gallery[[5, 6, 9500]]
    rows, _ = sorted_rows(queries, gallery)
    assert nearest(queries, gallery, k=2, product=product)[1].tolist() == rows[:, :2].tolist()
    assert calls == [(3, 13), (1, 104), (1, 312)]


@pytest.mark.parametrize("size", [1e25, 1e-22])
@pytest.mark.parametrize("n", [50, 12])  # more than the candidates, or all are
def test_numbers_beyond_single_precision_are_still_ranked(size: float, n: int) -> None:
    """Their squares overflow, where FAISS finds nothing at all, or vanish."""
    gallery = (np.random.default_rng(7).normal(size=(n, 4)) * size).astype(np.float32)
    gallery.flags.writeable = False  # as a file that is mapped
    rows, _ = sorted_rows(gallery, gallery)
    with np.errstate(over="ignore", invalid="ignore"):
        assert nearest(gallery, gallery, k=4)[1].tolist() == rows[:, :4].tolist()
        assert ranking(gallery, gallery, head=4)[:, :4].tolist() == rows[:, :4].tolist()


def test_vectors_a_last_digit_apart_are_ranked_by_their_differences() -> None:
    """As by a network that answers the same for every photo: |a|^2 - 2ab + |b|^2 is noise in double, too."""
    random = np.random.default_rng(8)
    one = random.random(256, dtype=np.float32) * 0.1
    steps = random.integers(0, 3, (200, 256)) * (random.random((200, 256)) < 0.01)
    gallery = (one.view(np.int32) + steps.astype(np.int32)).view(np.float32)
    rows, distances = sorted_rows(gallery, gallery)
    assert 0 < distances.max() < 1e-6
    found_distances, found = nearest(gallery, gallery, k=20)
    assert found.tolist() == rows[:, :20].tolist()
    np.testing.assert_allclose(found_distances, distances[:, :20], rtol=1e-5)
    assert ranking(gallery, gallery, head=20)[:, :20].tolist() == rows[:, :20].tolist()


def test_many_doubtful_candidates_are_ranked_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """One by one, each would convert the whole gallery to double precision: minutes for raw pixels."""
    calls, real, gallery = [], exact_search.squared_distances, far_and_close()
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
    real = exact_search._sorted_pairs
    monkeypatch.setattr(exact_search, "_exactly", lambda *_: pytest.fail("the whole gallery"))
    sorts: list[int] = []
    monkeypatch.setattr(exact_search, "_sorted_pairs", lambda *pair: sorts.append(1) or real(*pair))
    assert exact_search.nearest_rows(query, gallery, k=5).tolist() == rows[:, :5].tolist()
    assert len(sorts) == 1


def test_faiss_finds_the_same() -> None:
    random = np.random.default_rng(2)
    gallery, queries = (random.normal(size=(n, 64)).astype(np.float32) for n in (3000, 100))
    arbiter = FlatIndex.build(Embedding([str(row) for row in range(3000)], gallery)).search_batch(
        queries, k=5
    )
    _, rows = nearest(queries, gallery, k=5)
    assert [[str(row) for row in one] for one in rows] == [[found.id for found in one] for one in arbiter]
