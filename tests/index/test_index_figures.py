"""The index's chart and tables say what stands in index.csv; projections follow their formulas."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.text import Text

from solesearch.core.errors import InputError
from solesearch.index import index_figures
from solesearch.index.benchmark import COLUMNS

# (engine, index) -> the numbers MEASURED of n vectors
KINDS = {
    ("faiss", "Flat"): lambda n: (0.1, n / 1000, 2e5 / n, 1.0, 256.0),
    ("numpy", "brute force"): lambda n: (0.1, n / 800, 1e5 / n, 1.0, 256.0),
    ("faiss", "HNSW32 efSearch=32"): lambda n: (n / 1000, 0.2, 4000.0, 0.98, 530.0),
    ("faiss", "IVF32,Flat nprobe=8"): lambda n: (n / 9000, 0.5, 2000.0, 0.96, 264.0),
    ("faiss", "PCA32,IVF32,PQ16np nprobe=8"): lambda n: (9.0, 0.3, 3000.0, 0.7, 30.0),
    ("annoy", "20 trees search_k=2000"): lambda n: (3.0, 1.0, 900.0, 0.9, 300.0),
}
MEASURED = ["build_s", "query_ms_median", "queries_per_s_batch", "recall_at_5", "bytes_per_vector"]


def table() -> pd.DataFrame:
    sizes = ((1000, "real", KINDS), (100_000, "perturbed copies", KINDS))
    alone = {("mongodb", "brute force on read"): lambda n: (2.0, 80.0, 20.0, 1.0, 900.0)}
    rows = [
        (*name, n, kind, *numbers(n))
        for n, kind, kinds in (*sizes, (100, "real", alone))
        for name, numbers in kinds.items()
    ]
    made = pd.DataFrame(rows, columns=["engine", "index", "n", "vectors", *MEASURED])
    made["server"] = np.where(made["engine"] == "mongodb", "nx-27017 0.8.1", None)
    same = {"dim": 64, "threads": 1, "kernel": "Zen (OpenBLAS 0.3.15)", "batch_times_flat": np.nan}
    return made.assign(**same, query_ms_p95=made["query_ms_median"] * 1.1)[COLUMNS]


def test_chart_shows_every_row_at_its_place() -> None:
    made = table()
    # such rows are no longer measured
    older = made.head(1).assign(kernel="ZEN (named)", query_ms_median=0.01)
    figure = index_figures.recall_speed(pd.concat([made, older]), profile="paper")
    assert len(figure.axes) == 2  # MongoDB's 100 vectors have no panel
    for axes, photos in zip(figure.axes, (1000, 100_000), strict=True):
        points = [line for line in axes.lines if line.get_marker() != "None"]
        shown = sorted((float(line.get_xdata()[0]), float(line.get_ydata()[0])) for line in points)
        rows = made[made["n"] == photos]
        expected = sorted(zip(1000 / rows["query_ms_median"], rows["recall_at_5"], strict=True))
        np.testing.assert_allclose(shown, expected)
    text = " ".join(" ".join(text.get_text() for text in figure.findobj(Text) if text.get_visible()).split())
    said = ("1,000 vectors, all real", "perturbed copies", "(fewer vectors): MongoDB", "FAISS IVF,Flat")
    assert all(words in text for words in said)


def test_choice_takes_the_best_measured_row() -> None:
    chosen = index_figures.choice(table()).set_index("when")
    assert chosen["take"].tolist() == [
        *("FAISS Flat", "FAISS HNSW32 efSearch=32", "FAISS IVF32,Flat nprobe=8"),
        *("FAISS PCA32,IVF32,PQ16np nprobe=8", "MongoDB brute force on read"),
    ]
    mongodb = "nx-27017 0.8.1, 100 vectors: 80 ms, recall 1.000, 900 bytes, built in 2 s"
    assert chosen["because"].iloc[-1] == mongodb


def test_projection_follows_its_formulas_and_says_so() -> None:
    projected = index_figures.projection(table(), sizes=(10_000_000,)).set_index("index")
    assert projected.loc["Flat", "query_ms"] == pytest.approx(100 * 100)
    assert projected.loc["Flat", "gigabytes"] == pytest.approx(2.56)
    assert projected.loc["HNSW32 efSearch=32", "query_ms"] == pytest.approx(0.2 * 7 / 5)
    assert projected.loc["HNSW32 efSearch=32", "build_hours"] == pytest.approx(100 * 100 * 7 / 5 / 3600)
    assert projected.loc["IVF32,Flat nprobe=8", "query_ms"] == pytest.approx(0.5 * 10)
    assert projected.loc["PCA32,IVF32,PQ16np nprobe=8", "build_hours"] == pytest.approx(9.0 * 1000 / 3600)
    assert projected["rule"].str.startswith("projected: ").all()
    fixed = table().assign(bytes_per_vector=lambda made: 100 + 5_000_000 / made["n"])
    without = index_figures.projection(fixed, sizes=(10_000_000,)).set_index("index")
    assert without.loc["Flat", "gigabytes"] == pytest.approx(1.0)  # without the 5 MB that do not grow


def test_faulty_tables_are_named() -> None:
    with pytest.raises(InputError, match="table index: column recall_at_5 is missing"):
        index_figures.choice(table().drop(columns="recall_at_5"))
    with pytest.raises(InputError, match="query_ms_median of row 1 is nan"):
        index_figures.recall_speed(table().assign(query_ms_median=np.nan), profile="sample")
    with pytest.raises(InputError, match="recall is a fraction"):
        index_figures.projection(table().assign(recall_at_5=98))
    with pytest.raises(InputError, match="no size with three engines"):
        index_figures.recall_speed(table().head(2), profile="sample")
    for reader in (index_figures.choice, index_figures.projection):
        with pytest.raises(InputError, match=r"table index: engine 'redis' is none of faiss, .*, milvus; "):
            reader(table().replace({"engine": {"annoy": "redis"}}))


def test_an_engine_of_many_kinds_starts_its_marks_again() -> None:
    kinds = len(index_figures.MARKERS) + 1
    rows = pd.DataFrame({"engine": "faiss", "index": [f"PQ{kind}" for kind in range(kinds)]})
    marks = [look["marker"] for look in index_figures.series_looks(rows).values()]
    assert marks == [*index_figures.MARKERS, index_figures.MARKERS[0]]
