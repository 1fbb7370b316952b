"""Every chart of stage claims is drawn from its table and shows what it should, in the same bytes twice."""

import numpy as np
import pandas as pd
import pytest
from small_world import difference_rows, interval_rows

from solesearch.claims import claim_figures
from solesearch.claims.leakage import ORACLE
from solesearch.claims.readings import COLUMNS
from solesearch.core import files
from solesearch.core.errors import InputError
from solesearch.core.paths import Paths
from solesearch.figures.registry import CHARTS, draw_chart

CURVES = [
    (seed, step, "naive", 5, 0.7, 0.8 + step / 10_000 * seed, 50, 100, step == 250, step == 500)
    for seed in (1, 2)
    for step in (0, 250, 500)
]
READINGS = [
    ("k", "5", True, "naive", 5, 0.8, 0.0, 10, ""),
    ("k", "1", False, "naive", 1, 0.9, 0.1, 10, ""),
    ("input size", "128x128", False, "naive", 5, np.nan, np.nan, 0, "not run here"),
]
GAPS = {"hog": (0.06, "higher"), "pixels": (0.0, "undecided"), "VGG16": (0.1, "not compared")}
INTERVALS = interval_rows({"infogan": 0.84, "hog": 0.9}, half=0.02)
GAIN = "Seed 2: choosing on test would buy 0.050"
# chart -> (its one table, what it must say, a fault of the table)
CASES = {
    "precision_intervals": (INTERVALS, ["HOG", "0.840"], {"low": np.nan}),
    "differences": (
        difference_rows(GAPS),
        ["not compared: VGG16", "HOG"],
        {"conclusion": "not compared"},
    ),
    "oracle_curve": (
        pd.DataFrame(CURVES, columns=ORACLE),
        ["never used for a choice", GAIN],
        {"test": np.inf},
    ),
    "readings": (
        pd.DataFrame(READINGS, columns=COLUMNS),
        ["1 readings not run here", "k: 1", "P prints 0.84"],
        {"value": np.nan},
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_chart_says_what_it_shows_in_the_same_bytes_twice_and_names_a_faulty_table(
    workspace, name: str
) -> None:
    table, words, fault = CASES[name]
    files.write_table(Paths.of("smoke").result(*CHARTS[name].tables), table)
    figure = draw_chart(name, profile="smoke")
    assert figure._repr_png_() == draw_chart(name, profile="smoke")._repr_png_()
    texts = figure.findobj(lambda one: hasattr(one, "get_text"))
    said = " ".join(text.get_text() for text in texts).replace("\n", " ")
    assert all(word in said for word in words)
    with pytest.raises(InputError, match=f"table {CHARTS[name].tables[0]}"):
        CHARTS[name].draw(table.assign(**fault), profile="smoke")


def test_intervals_show_their_ends() -> None:
    figure = claim_figures.precision_intervals(INTERVALS, profile="smoke")
    bars = [line for axes in figure.axes for one in axes.collections for line in one.get_segments()]
    ends = {(round(float(line[0][0]), 3), round(float(line[1][0]), 3)) for line in bars if len(line) == 2}
    assert (0.82, 0.86) in ends and (0.88, 0.92) in ends
