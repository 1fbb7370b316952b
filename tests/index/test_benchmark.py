"""The benchmark: vectors and queries as announced, recall by hand, complete rows, missing engines named."""

import time

import numpy as np
import pytest
from test_engines import vectors

from solesearch.core.errors import InputError
from solesearch.index import benchmark
from solesearch.index.benchmark import COLUMNS, IndexSettings, Trial

VALUES = {
    "factory": "", "effort": "", "sizes": ["catalogue", 300], "queries": 10, "warm_up": 1, "runs": 3,
    "longest_s": 5, "threads": 1, "build_threads": 1, "perturbation": 0.3, "seed": 1,
    "candidates": [
        {"engine": "faiss", "factory": "Flat"},
        {"engine": "numpy"},
        {"engine": "evaluation"},
        {"engine": "faiss", "factory": "IVF{lists},Flat", "effort": "nprobe=16"},
        {"engine": "scikit-learn", "most": 50},
    ],
}  # fmt: skip


def settings(**changes) -> IndexSettings:
    return IndexSettings.checked({**VALUES, **changes}, where="smoke.index")


def test_queries_are_taken_out_and_every_vector_is_used_once() -> None:
    every = vectors(n=120, d=24)
    rest, queries = benchmark.split_queries(every, queries=10, seed=1)
    assert (rest.shape, queries.shape) == ((110, 24), (10, 24))
    assert sorted(map(tuple, np.concatenate([rest, queries]))) == sorted(map(tuple, every))
    with pytest.raises(InputError, match="too few for 118 queries"):
        benchmark.split_queries(every, queries=118, seed=1)


def test_real_vectors_come_first_and_copies_carry_the_covariance_of_the_real_ones() -> None:
    two_directions = np.array([5.0] * 2 + [0.0] * 22, np.float32)
    flat = vectors(n=500, d=24) * two_directions
    made = benchmark.enlarged(flat, size=1400, perturbation=0.5, seed=1)
    assert made.shape == (1400, 24) and made.dtype == np.float32
    np.testing.assert_array_equal(made[:500], flat)
    moved = np.concatenate([made[500:1000] - flat, made[1000:] - flat[:400]])
    assert (moved[:, 2:] == 0).all()
    np.testing.assert_allclose(moved[:, :2].std(axis=0), 0.5 * flat[:, :2].std(axis=0), rtol=0.1)
    np.testing.assert_array_equal(benchmark.enlarged(flat, size=7, perturbation=0.5, seed=1), flat[:7])


def test_recall_by_hand() -> None:
    found = [[5, 4, 3, 2, 1], [1, 2, 7, 8, 9], [-1, -1, -1, -1, -1]]
    exact = [[1, 2, 3, 4, 5]] * 3
    assert benchmark.recall(np.array(found), np.array(exact)) == pytest.approx(7 / 15)


def test_a_batch_is_timed_in_turn_with_the_exact_index(monkeypatch: pytest.MonkeyPatch) -> None:
    """An engine that sleeps half as long as Flat is twice as fast, whenever it is asked."""
    trial = Trial.of(vectors(), vectors(n=6, seed=1), kind="real")
    other = benchmark.new_engine(benchmark.Candidate(engine="numpy"))
    asked: list[str] = []
    for engine, seconds in ((trial.flat, 0.04), (other, 0.02)):
        monkeypatch.setattr(
            engine, "query", lambda queries, k, e=engine, s=seconds: (asked.append(e.name), time.sleep(s))
        )
    assert 1.6 < benchmark.times_flat(other, trial, longest_s=60) < 2.4
    assert asked == ["faiss", "numpy"] * benchmark.BATCH_RUNS


def test_rows_are_complete_and_say_what_they_are() -> None:
    lines = []
    table = benchmark.measure_all(vectors(n=120, d=24), settings(), report=lines.append)
    assert lines == []
    assert list(table.columns) == COLUMNS
    assert table.groupby("n").size().to_dict() == {50: 1, 110: 4, 300: 4}
    assert set(table.loc[table["n"] <= 110, "vectors"]) == {"real"}
    assert set(table.loc[table["n"] == 300, "vectors"]) == {"perturbed copies"}
    exact = table[table["index"].isin(["Flat", "brute force"])]
    assert (exact["recall_at_5"] == 1).all() and len(exact) == 7
    assert (exact["bytes_per_vector"].round() >= 24 * 4).all()
    assert "IVF16,Flat nprobe=16" in set(table["index"])
    assert (table["query_ms_median"] <= table["query_ms_p95"]).all()
    assert table.loc[table["index"] == "Flat", "kernel"].str.contains("OpenBLAS").all()
    beside = table["engine"].isin(["evaluation", "numpy", "scikit-learn"])
    assert (table["batch_times_flat"] > 0).tolist() == beside.tolist()


def test_an_engine_that_is_missing_costs_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    found = {"annoy": None}
    monkeypatch.setattr("solesearch.index.engines.find_spec", lambda name: found.get(name, name))
    candidates, lines = [{"engine": "annoy"}, {"engine": "numpy"}], []
    table = benchmark.measure_all(vectors(n=120), settings(candidates=candidates), report=lines.append)
    assert len(lines) == 1 and lines[0].startswith("annoy left out: annoy: not installed")
    assert set(table["engine"]) == {"numpy"}


@pytest.mark.parametrize(
    "change",
    [
        {"runs": 0},
        {"sizes": ["all"]},
        {"sizes": [5]},
        {"candidates": []},
        {"candidates": [{"engine": "lucene"}]},
    ],
)
def test_protocols_that_measure_nothing_are_refused(change) -> None:
    with pytest.raises(InputError, match=f"smoke.index.{next(iter(change))}"):
        settings(**change)
