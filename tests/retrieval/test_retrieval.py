"""Measures against numbers worked by hand and against plain loops."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from solesearch.core.errors import InputError
from solesearch.retrieval.exact_search import ranking
from solesearch.retrieval.retrieval import (
    GALLERIES,
    answers,
    average_precision,
    evaluate,
    evaluate_each,
    excluded_pairs,
    precision_at,
    summarise,
)


def table(labels, groups=None, positions=None) -> pd.DataFrame:
    n = len(labels)
    return pd.DataFrame(
        {
            "id": [f"{i:03d}.jpg" for i in range(n)],
            "label": labels,
            "group": groups if groups is not None else [str(i) for i in range(n)],
            "position": positions if positions is not None else [0] * n,
        }
    )


def loop_measures(vectors, photos, *, k, excluded) -> tuple[list[float], list[float]]:
    """Return precision@k and average precision of every photo as a query, by plain loops; NaN: not judged."""
    precision, average = [], []
    for i in range(len(photos)):
        ranked = sorted(
            (float(((vectors[i].astype(float) - vectors[j].astype(float)) ** 2).sum()), j)
            for j in range(len(photos))
            if not excluded[i][j]
        )
        hits = [photos["label"][j] == photos["label"][i] for _, j in ranked]
        precision.append(sum(hits[:k]) / k if len(ranked) >= k else float("nan"))
        at_hits = [sum(hits[: r + 1]) / (r + 1) for r, hit in enumerate(hits) if hit]
        average.append(sum(at_hits) / len(at_hits) if at_hits else float("nan"))
    return precision, average


def may_not_answer(photos: pd.DataFrame, gallery: str) -> list[list[bool]]:
    """Return the mask of `excluded_pairs` with a window of 1, by plain loops."""
    near = [
        [
            photos["group"][i] == photos["group"][j]
            and abs(photos["position"][i] - photos["position"][j]) <= 1
            for j in range(len(photos))
        ]
        for i in range(len(photos))
    ]
    stricter = gallery == "product_excluded"
    return [[i == j or (stricter and own) for j, own in enumerate(row)] for i, row in enumerate(near)]


def test_precision_by_hand() -> None:
    # four photos on a line at 0, 1, 2, 10: a a b a
    vectors = np.array([[0], [1], [2], [10]], dtype=np.float32)
    judged = evaluate(vectors, table(["a", "a", "b", "a"]), gallery="naive", window=0, ks=[1, 2])
    # the second is equally far from the first and the third: the photos' order decides
    assert judged["precision_1"].tolist() == [1, 1, 0, 0]
    assert judged["precision_2"].tolist() == [0.5, 0.5, 0, 0.5]


def test_average_precision_by_hand() -> None:
    relevant = np.array([[1, 0, 1, 0], [0, 0, 0, 1], [0, 0, 0, 0]], dtype=bool)
    assert average_precision(relevant)[:2].tolist() == [(1 + 2 / 3) / 2, 0.25]
    assert np.isnan(average_precision(relevant)[2])


def test_too_few_allowed_photos_is_not_a_zero() -> None:
    relevant, allowed = np.array([[True, False]]), np.array([[True, False]])
    assert precision_at(relevant, allowed, k=1).tolist() == [1.0]
    assert np.isnan(precision_at(relevant, allowed, k=2)).all()


def test_query_is_excluded_by_id_not_by_rank() -> None:
    """An exact copy of the query stands at distance 0, too; dropping rank 0 might drop the copy."""
    vectors = np.zeros((3, 2), dtype=np.float32)
    vectors[2] = 5
    judged = evaluate(vectors, table(["a", "a", "b"]), gallery="naive", window=0, ks=[1])
    assert judged["precision_1"].tolist() == [1, 1, 0]


def test_product_and_window_exclusion() -> None:
    photos = table(["a"] * 4, groups=["g", "g", "g", "h"], positions=[1, 3, 9, 1])
    mask = excluded_pairs(photos, queries=np.arange(4), gallery="product_excluded", window=2)
    assert mask.tolist() == [
        [True, True, False, False],
        [True, True, False, False],
        [False, False, True, False],
        [False, False, False, True],
    ]
    naive = excluded_pairs(photos, queries=np.array([2]), gallery="naive", window=2)
    assert naive.tolist() == [[False, False, True, False]]


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10_000), n=st.integers(8, 30), k=st.integers(1, 5), block=st.sampled_from([7, 512])
)
def test_measures_equal_plain_loops_in_both_galleries(seed: int, n: int, k: int, block: int) -> None:
    draw = np.random.default_rng(seed)
    photos = table(
        draw.choice(list("abc"), n), groups=draw.choice(list("pqrs"), n), positions=draw.integers(0, 9, n)
    )
    vectors = draw.integers(0, 4, (n, 3)).astype(np.float32)  # many ties
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("solesearch.retrieval.retrieval.QUERY_BLOCK", block)
        both = evaluate_each(vectors, photos, galleries=["naive", "product_excluded"], window=1, ks=[k])
    for gallery, judged in both.items():
        wanted = loop_measures(vectors, photos, k=k, excluded=may_not_answer(photos, gallery))
        np.testing.assert_allclose(judged[f"precision_{k}"], wanted[0])
        np.testing.assert_allclose(judged["average_precision"], wanted[1])


@pytest.mark.parametrize("apart", [False, True])
def test_answers_equal_plain_loops(monkeypatch: pytest.MonkeyPatch, apart: bool) -> None:
    """Photos answer each other, or those of another table do; too few of other products: -1."""
    monkeypatch.setattr("solesearch.retrieval.retrieval.QUERY_BLOCK", 7)
    draw, tables = np.random.default_rng(4), []
    for n in (20, 9):
        photos = table(["a"] * n, groups=draw.choice(list("pq"), n), positions=draw.integers(0, 6, n))
        tables.append((draw.integers(0, 4, (n, 2)).astype(np.float32), photos))
    (vectors, asked), (others, answering) = tables if apart else (tables[1], tables[1])
    among, whole = (others, answering) if apart else None, pd.concat([asked, answering], ignore_index=True)
    options = {"galleries": GALLERIES, "window": 1}
    for gallery, found in answers(vectors, asked, k=4, among=among, **options).items():
        excluded = may_not_answer(whole if apart else asked, gallery)
        for i in range(len(asked)):
            mask = excluded[i][-len(answering) :]
            allowed = [j for j in range(len(answering)) if not mask[j]]
            allowed.sort(key=lambda j, i=i: (((others[j] - vectors[i]) ** 2).sum(), j))
            assert found[i].tolist() == (allowed[:4] if len(allowed) >= 4 else [-1] * 4)
    assert all((found == -1).all() for found in answers(vectors, asked, k=30, **options).values())


def test_answers_of_several_galleries_come_from_one_ranking(monkeypatch: pytest.MonkeyPatch) -> None:
    ranked = []

    def counted(*given):
        ranked.append(given)
        return ranking(*given)

    monkeypatch.setattr("solesearch.retrieval.retrieval.ranking", counted)
    vectors, photos = np.array([[0], [1], [3]], np.float32), table(list("abc"), groups=list("ppq"))
    found = answers(vectors, photos, k=1, galleries=GALLERIES, window=0)
    assert found["naive"].ravel().tolist() == [1, 0, 1]
    assert found["product_excluded"].ravel().tolist() == [2, 2, 1]
    assert len(ranked) == 1


def test_summary_micro_and_macro_by_hand() -> None:
    queries = pd.DataFrame(
        {"id": list("wxyz"), "label": ["a", "a", "a", "b"], "precision_1": [1, 1, 1, 0.0],
         "average_precision": [1, 0.5, np.nan, 0.5]}
    )  # fmt: skip
    queries = queries.assign(model="m", seed=0, gallery="naive")
    rows = summarise(queries).set_index(["metric", "class"])
    assert rows.loc[("precision", "all"), "value"] == 0.75
    assert rows.loc[("precision", "macro"), "value"] == 0.5
    assert rows.loc[("precision", "b"), "n"] == 1
    assert rows.loc[("map", "all"), "n"] == 3  # the query without a possible answer is left out
    assert rows.loc[("map", "all"), "value"] == pytest.approx(2 / 3)


@pytest.mark.parametrize(
    ("vectors", "ks", "words"),
    [
        (np.zeros((3, 2), np.float32), [1], "3 vectors for 4 photos"),
        (np.full((4, 2), np.nan, np.float32), [1], "000.jpg is not finite"),
        (np.zeros((4, 2), np.float32), [4], "k must lie between 1 and 3"),
    ],
)
def test_bad_input_names_the_way_out(vectors, ks, words) -> None:
    with pytest.raises(InputError, match=words):
        evaluate(vectors, table(["a"] * 4), gallery="naive", window=0, ks=ks)


def test_unknown_gallery() -> None:
    with pytest.raises(InputError, match="product_excluded"):
        excluded_pairs(table(["a"]), queries=np.array([0]), gallery="other", window=0)
