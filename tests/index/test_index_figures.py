"""The index's chart and tables say what stands in index.csv; projections follow their formulas."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.text import Text

from solesearch.core.errors import InputError
from solesearch.figures import drawing
from solesearch.index import index_figures
from solesearch.index.index_benchmark import COLUMNS


def table() -> pd.DataFrame:
    rows = []
    for n, kind in ((1000, "real"), (100_000, "perturbed copies")):
        rows += [
            (
                "faiss",
                "Flat",
                n,
                64,
                0.1,
                n / 1000,
                n / 900,
                2e5 / n,
                1.0,
                256.0,
                1,
                "Zen (OpenBLAS 0.3.15)",
                kind,
                "",
            ),
            (
                "numpy",
                "brute force",
                n,
                64,
                0.1,
                n / 800,
                n / 700,
                1e5 / n,
                1.0,
                256.0,
                1,
                "Haswell",
                kind,
                "",
            ),
            (
                "faiss",
                "HNSW32 efSearch=32",
                n,
                64,
                n / 1000,
                0.2,
                0.3,
                4000.0,
                0.98,
                530.0,
                1,
                "Zen",
                kind,
                "",
            ),
            (
                "faiss",
                "IVF32,Flat nprobe=8",
                n,
                64,
                n / 9000,
                0.5,
                0.6,
                2000.0,
                0.96,
                264.0,
                1,
                "Zen",
                kind,
                "",
            ),
            (
                "faiss",
                "PCA32,IVF32,PQ16np nprobe=8",
                n,
                64,
                9.0,
                0.3,
                0.4,
                3000.0,
                0.7,
                30.0,
                1,
                "Zen",
                kind,
                "",
            ),
            ("annoy", "20 trees search_k=2000", n, 64, 3.0, 1.0, 2.0, 900.0, 0.9, 300.0, 1, "", kind, ""),
            ("faiss", "Flat", n, 64, 0.1, n / 2000, n / 900, 9e5 / n, 1.0, 256.0, 1, "ZEN (named)", kind, ""),
        ]
    rows.append(
        (
            "mongodb",
            "brute force on read",
            100,
            64,
            2.0,
            80.0,
            90.0,
            20.0,
            1.0,
            900.0,
            1,
            "",
            "real",
            "nx-27017 0.8.1",
        )
    )
    made = pd.DataFrame(rows, columns=[name for name in COLUMNS if name != "batch_times_flat"])
    return made.assign(batch_times_flat=np.where(made["engine"] == "numpy", 0.8, np.nan))[COLUMNS]


def words(figure) -> str:
    shown = (text.get_text() for text in figure.findobj(Text) if text.get_visible())
    return " ".join(" ".join(shown).split())  # captions are wrapped


def test_chart_shows_every_row_as_shipped_at_its_place(tmp_path) -> None:
    made = table()
    figure = index_figures.recall_speed(made, profile="zappos")
    assert len(figure.axes) == 2  # MongoDB's 100 vectors have no panel
    for axes, photos in zip(figure.axes, (1000, 100_000), strict=True):
        shown = sorted(
            (float(line.get_xdata()[0]), float(line.get_ydata()[0]))
            for line in axes.lines
            if line.get_marker() != "None"
        )
        rows = made[(made["n"] == photos) & ~made["kernel"].str.contains("named")]
        wanted = sorted(zip(1000 / rows["query_ms_median"], rows["recall_at_5"], strict=True))
        np.testing.assert_allclose(shown, wanted)
    text = words(figure)
    for word in (
        "1,000 vectors, all real",
        "perturbed copies",
        "not drawn (fewer vectors): MongoDB",
        "Annoy",
        "FAISS HNSW32",
        "FAISS IVF,Flat",
    ):
        assert word in text
    first = [path.read_bytes() for path in drawing.save(figure, tmp_path / "a")]
    again = index_figures.recall_speed(table(), profile="zappos")
    assert [path.read_bytes() for path in drawing.save(again, tmp_path / "b")] == first


def test_comparison_divides_by_the_exact_index_as_shipped() -> None:
    compared = index_figures.comparison(table())
    row = compared.query("n == 100000 and index == 'HNSW32 efSearch=32'").iloc[0]
    assert row["times_faster_single"] == pytest.approx(100 / 0.2)
    assert row["times_faster_batch"] == pytest.approx(4000 / 2)
    by_turns = compared[compared["engine"] == "numpy"]
    np.testing.assert_allclose(by_turns["times_faster_batch"], 0.8)  # its rows say 0.5: another moment
    named = compared[compared["kernel"] == "ZEN (named)"]
    np.testing.assert_allclose(named["times_faster_single"], 2)
    assert "mongodb" not in set(compared["engine"])  # no exact index of its size


def test_choice_takes_the_best_measured_row() -> None:
    chosen = index_figures.choice(table()).set_index("when")["take"]
    assert chosen["a page that answers one query at a time"] == "FAISS HNSW32 efSearch=32"
    assert chosen["the catalogue changes every hour"] == "FAISS IVF32,Flat nprobe=8"
    assert chosen["memory is short"] == "FAISS PCA32,IVF32,PQ16np nprobe=8"
    assert chosen.iloc[0] == "FAISS Flat"
    assert "MongoDB" in set(chosen) and "Milvus" not in set(chosen)


def test_projection_follows_its_formulas_and_says_so() -> None:
    projected = index_figures.projection(table(), sizes=(10_000_000,)).set_index("index")
    assert projected.loc["Flat", "query_ms"] == pytest.approx(100 * 100)
    assert projected.loc["Flat", "gigabytes"] == pytest.approx(2.56)
    assert projected.loc["HNSW32 efSearch=32", "query_ms"] == pytest.approx(0.2 * 7 / 5)
    assert projected.loc["HNSW32 efSearch=32", "build_hours"] == pytest.approx(100 * 100 * 7 / 5 / 3600)
    assert projected.loc["IVF32,Flat nprobe=8", "query_ms"] == pytest.approx(0.5 * 10)
    assert projected.loc["PCA32,IVF32,PQ16np nprobe=8", "build_hours"] == pytest.approx(9.0 * 1000 / 3600)
    fixed = table().assign(bytes_per_vector=lambda made: 100 + 5_000_000 / made["n"])
    without = index_figures.projection(fixed, sizes=(10_000_000,)).set_index("index")
    assert without.loc["Flat", "gigabytes"] == pytest.approx(
        1.0
    )  # the 5 MB that do not grow are not scaled up
    assert projected["rule"].str.startswith("projected: ").all()


def test_faulty_tables_are_named() -> None:
    with pytest.raises(InputError, match="table index: column recall_at_5 is missing"):
        index_figures.choice(table().drop(columns="recall_at_5"))
    with pytest.raises(InputError, match="query_ms_median of row 1 is nan"):
        index_figures.recall_speed(table().assign(query_ms_median=np.nan), profile="sample")
    with pytest.raises(InputError, match="recall is a fraction"):
        index_figures.comparison(table().assign(recall_at_5=98))
    with pytest.raises(InputError, match="no size with three engines"):
        index_figures.recall_speed(table().head(2), profile="sample")
