"""Every chart of stage claims is drawn from its table, shows what it should, in the same bytes twice."""

import numpy as np
import pandas as pd
import pytest
from small_world import difference_rows, interval_rows

from solesearch.claims import claim_figures
from solesearch.core import files
from solesearch.core.errors import InputError
from solesearch.core.paths import Paths
from solesearch.figures import registry
from solesearch.figures.registry import drawn


def oracle_rows() -> pd.DataFrame:
    rows = [
        (seed, step, "naive", 5, 0.7, 0.8 + step / 10_000 * seed, 50, 100, step == 250, step == 500)
        for seed in (1, 2)
        for step in (0, 250, 500)
    ]
    names = [
        "seed",
        "step",
        "gallery",
        "k",
        "validation",
        "test",
        "n_validation",
        "n_test",
        "chosen",
        "oracle",
    ]
    return pd.DataFrame(rows, columns=names)


def reading_rows() -> pd.DataFrame:
    rows = [
        ("k", "5", True, "naive", 5, 0.8, 0.0, 10, ""), ("k", "1", False, "naive", 1, 0.9, 0.1, 10, ""),
        ("input size", "128x128", False, "naive", 5, np.nan, np.nan, 0, "not run here"),
    ]  # fmt: skip
    names = ["choice", "reading", "default", "gallery", "k", "value", "change", "n", "note"]
    return pd.DataFrame(rows, columns=names)


TABLES = {
    "intervals": interval_rows({"infogan": 0.84, "hog": 0.9}, half=0.02),
    "differences": difference_rows(
        {"hog": (0.06, "higher"), "pixels": (0.0, "undecided"), "VGG16": (0.1, "not compared")}
    ),
    "oracle": oracle_rows(),
    "readings": reading_rows(),
}  # fmt: skip


def texts(figure) -> str:
    return " ".join(text.get_text() for text in figure.findobj(lambda one: hasattr(one, "get_text")))


@pytest.mark.parametrize("name", ["precision_intervals", "differences", "oracle_curve", "readings"])
def test_chart_gives_the_same_bytes_twice(workspace, name: str) -> None:
    [table] = registry.CHARTS[name].tables
    paths = Paths.of("smoke")
    files.write_table(paths.result(table), TABLES[table])
    figure = claim_figures.draw_chart(name, profile="smoke")
    again = drawn(registry.CHARTS[name], paths)
    assert figure._repr_png_() == again._repr_png_() == (paths.figures / f"{name}.png").read_bytes()
    assert (paths.figures / f"{name}.pdf").stat().st_size > 1000


def test_intervals_show_their_ends() -> None:
    figure = claim_figures.precision_intervals(TABLES["intervals"], profile="smoke")
    bars = [line for axes in figure.axes for one in axes.collections for line in one.get_segments()]
    ends = {(round(float(line[0][0]), 3), round(float(line[1][0]), 3)) for line in bars if len(line) == 2}
    assert (0.82, 0.86) in ends and (0.88, 0.92) in ends


def test_differences_name_what_is_not_compared() -> None:
    figure = claim_figures.differences(TABLES["differences"], profile="smoke")
    words = texts(figure).replace("\n", " ")
    assert "not compared: VGG16" in words
    assert "HOG" in words and "seed" in words


def test_oracle_says_that_it_chose_nothing_and_what_it_would_buy() -> None:
    words = texts(claim_figures.oracle_curve(TABLES["oracle"], profile="smoke"))
    assert "never used for a choice" in words.replace("\n", " ")
    assert "Seed 2: choosing on test would buy 0.050" in words


def test_readings_count_what_was_not_run() -> None:
    words = texts(claim_figures.readings(TABLES["readings"], profile="smoke")).replace("\n", " ")
    assert "1 readings not run here" in words and "k: 1" in words and "P prints 0.84" in words


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("intervals", {"low": np.nan}),
        ("differences", {"conclusion": "not compared"}),
        ("readings", {"value": np.nan}),
        ("oracle", {"test": np.inf}),
    ],
)
def test_faulty_table_is_named(name: str, change: dict) -> None:
    [draw] = [chart.draw for chart in registry.CHARTS.values() if chart.tables == (name,)]
    with pytest.raises(InputError, match=f"table {name}"):
        draw(TABLES[name].assign(**change), profile="smoke")
