"""The benchmark: vectors and queries as announced, recall by hand, complete rows, missing engines named."""

import time
from types import SimpleNamespace

import numpy as np
import pytest
import yaml

from solesearch.core.errors import InputError
from solesearch.index import index_benchmark as benchmark
from solesearch.retrieval import exact_search

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


def settings(**changes) -> benchmark.IndexSettings:
    return benchmark.IndexSettings(**{**VALUES, **changes})


def vectors(n: int = 120, d: int = 24) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(n, d)).astype(np.float32)


def test_queries_are_taken_out_and_every_vector_is_used_once() -> None:
    rest, queries = benchmark.split_queries(vectors(), queries=10, seed=1)
    assert (rest.shape, queries.shape) == ((110, 24), (10, 24))
    together = np.concatenate([rest, queries])
    assert sorted(map(tuple, together)) == sorted(map(tuple, vectors()))
    with pytest.raises(InputError, match="too few for 118 queries"):
        benchmark.split_queries(vectors(), queries=118, seed=1)


def test_real_vectors_come_first_and_copies_carry_the_covariance_of_the_real_ones() -> None:
    flat = vectors(n=500) * np.array(
        [5.0] * 2 + [0.0] * 22, np.float32
    )  # photos differ in two directions alone
    made = benchmark.enlarged(flat, size=1400, perturbation=0.5, seed=1)
    assert made.shape == (1400, 24) and made.dtype == np.float32
    np.testing.assert_array_equal(made[:500], flat)
    moved = np.concatenate([made[500:1000] - flat, made[1000:] - flat[:400]])
    assert (moved[:, 2:] == 0).all()
    np.testing.assert_allclose(moved[:, :2].std(axis=0), 0.5 * flat[:, :2].std(axis=0), rtol=0.1)
    np.testing.assert_array_equal(benchmark.enlarged(flat, size=7, perturbation=0.5, seed=1), flat[:7])


def test_recall_by_hand() -> None:
    found = [[SimpleNamespace(id=photo) for photo in row] for row in ("abcde", "abxyz", "")]
    assert benchmark.recall(found, [set("edcba"), set("abcde"), set("abcde")]) == pytest.approx(7 / 15)


def test_slow_calls_are_made_three_times_and_quick_ones_as_often_as_asked() -> None:
    seen = []
    quick = benchmark.timed(seen.append, warm_up=2, runs=5, longest_s=60)
    assert len(quick) == 5 and seen == [0, 1, 0, 1, 2, 3, 4]
    assert len(benchmark.timed(lambda _: np.linalg.svd(vectors()), warm_up=0, runs=50, longest_s=1e-9)) == 3


def test_rows_are_complete_and_say_what_they_are() -> None:
    lines = []
    table = benchmark.run_all(vectors(), settings(), report=lines.append)
    assert lines == []
    assert list(table.columns) == benchmark.COLUMNS
    assert table.groupby("n").size().to_dict() == {50: 1, 110: 4, 300: 4}
    assert set(table.loc[table["n"] <= 110, "vectors"]) == {"real"}
    assert set(table.loc[table["n"] == 300, "vectors"]) == {"perturbed copies"}
    exact = table[table["index"].isin(["Flat", "brute force", "float64 product"])]
    assert (exact["recall_at_5"] == 1).all() and len(exact) == 7
    assert (exact["bytes_per_vector"].round() >= 24 * 4).all()
    assert "IVF16,Flat nprobe=16" in set(table["index"])  # 16 is the power of two next to the root of 300
    assert (table["query_ms_median"] <= table["query_ms_p95"]).all()
    assert table.loc[table["index"] == "Flat", "kernel"].str.contains("OpenBLAS").all()
    beside = table["engine"].isin(["evaluation", "numpy", "scikit-learn"])
    assert (table.loc[beside, "batch_times_flat"] > 0).all() and table.loc[
        ~beside, "batch_times_flat"
    ].isna().all()


def test_a_batch_is_timed_in_turn_with_the_exact_index() -> None:
    """An engine that sleeps half as long as Flat is twice as fast, whenever it is asked."""
    asked: list[str] = []

    def engine(name: str, seconds: float) -> SimpleNamespace:
        def search_batch(queries: object, k: int) -> None:
            asked.append(name)
            time.sleep(seconds)

        return SimpleNamespace(search_batch=search_batch)

    setup = SimpleNamespace(flat=engine("flat", 0.04), queries=None)
    found = benchmark.times_flat(engine("other", 0.02), setup, longest_s=60)
    assert 1.6 < found < 2.4
    assert asked == ["flat", "other"] * benchmark.BATCH_RUNS
    asked.clear()
    benchmark.times_flat(engine("other", 0.02), setup, longest_s=0.01)
    assert asked == ["flat", "other"] * benchmark.LEAST_RUNS


def test_the_evaluation_says_whose_product_it_took(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small work goes to FAISS without a trial; otherwise the winner's name stands before its kernel."""
    options = settings(sizes=[100], candidates=[{"engine": "evaluation"}, {"engine": "numpy"}])
    for product, package in ((exact_search.by_faiss, "faiss"), (exact_search.by_numpy, "numpy")):
        monkeypatch.setattr(benchmark, "chosen_product", lambda *_, product=product: product)
        table = benchmark.run_all(vectors(), options, report=print).set_index("engine")
        assert table.loc["evaluation", "kernel"] == f"{package}'s {benchmark.openblas_kernel(package)}"
        assert table.loc["numpy", "kernel"] == benchmark.openblas_kernel("numpy")


def test_an_engine_that_is_missing_costs_one_line(monkeypatch) -> None:
    monkeypatch.setattr(
        "solesearch.index.engines.find_spec", lambda name: None if name == "annoy" else object()
    )
    candidates = [{"engine": "annoy"}, {"engine": "numpy"}]
    lines = []
    table = benchmark.run_all(vectors(), settings(candidates=candidates), report=lines.append)
    assert len(lines) == 1 and lines[0].startswith("annoy left out: annoy: not installed")
    assert set(table["engine"]) == {"numpy"}


def test_a_named_kernel_is_in_the_row() -> None:
    table = benchmark.run_all(vectors(), settings(sizes=[100]), report=print, kernel="HASWELL (named)")
    assert table[["engine", "index", "kernel"]].to_numpy().tolist() == [["faiss", "Flat", "HASWELL (named)"]]


@pytest.mark.parametrize(
    "change",
    [{"runs": 0}, {"queries": 0}, {"sizes": []}, {"sizes": ["all"]}, {"sizes": [5]}, {"candidates": [{}]}],
)
def test_protocols_that_measure_nothing_are_refused(change) -> None:
    with pytest.raises(InputError, match=r"params\.yaml, index: "):
        settings(**change)


def test_every_profile_has_a_protocol(repository) -> None:
    profiles = yaml.safe_load((repository / "params.yaml").read_text())
    for name in ("smoke", "sample", "zappos", "paper"):
        benchmark.IndexSettings(**profiles[name]["index"])
    assert profiles["zappos"]["index"]["sizes"] == [10_000, 100_000, 157_000]
    engines = {candidate["engine"] for candidate in profiles["sample"]["index"]["candidates"]}
    assert engines == {*benchmark.OPENBLAS, "evaluation", "annoy", "hnswlib", "mongodb", "milvus"}


@pytest.mark.slow
def test_the_command_measures_in_processes_of_its_own(repository, tmp_path, monkeypatch) -> None:
    """As shipped first, then FAISS with the kernel named."""
    monkeypatch.setenv("SOLESEARCH_ROOT", str(repository))
    np.save(tmp_path / "vectors.npy", vectors(n=200))
    lines = []
    table = benchmark.measure_apart(
        "smoke", target=tmp_path / "index.csv", vectors=tmp_path / "vectors.npy", report=lines.append
    )
    assert (tmp_path / "index.csv").is_file()
    assert {"faiss", "numpy", "scikit-learn"} <= set(table["engine"])
    assert set(table["n"]) == {180, 300}
    named = table[table["kernel"].str.contains("named")]
    assert len(named) == 2 or any("named kernel left out" in line for line in lines)
    with pytest.raises(InputError, match=r"the benchmark failed: error: .*nowhere"):
        benchmark.measure_apart("smoke", target=tmp_path / "x.csv", vectors=tmp_path / "nowhere.npy")
