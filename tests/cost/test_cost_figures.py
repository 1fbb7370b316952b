"""Charts of time show the medians and tails of latency.csv."""

import numpy as np
import pandas as pd
import pytest
from legible import caption, words

from solesearch.core.errors import InputError
from solesearch.cost import cost_figures


def latency_table(*, models=("infogan", "hog", "VGG16"), machine="Some CPU, 2 cores") -> pd.DataFrame:
    rows = []
    for number, model in enumerate(models):
        for runtime, factor in (("compiled", 1.0), ("model.predict", 9.0))[: 1 if model == "hog" else 2]:
            milliseconds = 1.7 * factor * 1.4**number
            for batch in (1, 32):
                row = (model, runtime, batch, milliseconds * batch, milliseconds * batch * 1.3)
                rows.append((*row, 100.0, 1000, 1.7, machine))
    columns = "model runtime batch median_ms p95_ms images_per_s parameters file_mb machine"
    return pd.DataFrame(rows, columns=columns.split())


def test_time_bars_end_at_the_median_and_whiskers_at_the_95th_percentile() -> None:
    table = latency_table()
    figure = cost_figures.time_bars(table, profile="zappos")
    [axes] = figure.axes
    rows = table[table["batch"] == 1].sort_values("median_ms")
    drawn = [bar for bar in axes.patches if np.isfinite(bar.get_width())]
    assert sorted(bar.get_width() for bar in drawn) == rows["median_ms"].tolist()
    tails = [segment[:, 0].tolist() for bars in axes.collections for segment in bars.get_segments()]
    expected = rows[["median_ms", "p95_ms"]].to_numpy()
    np.testing.assert_allclose(sorted(tails), expected, rtol=1e-12)
    assert axes.get_xscale() == "log"
    assert [label.get_text() for label in axes.get_yticklabels()] == ["InfoGAN (proposed)", "HOG", "VGG16"]
    assert {"compiled", "model.predict"} <= set(words(figure))
    assert "Some CPU, 2 cores" in caption(figure)


def test_times_of_two_machines_are_told_apart() -> None:
    table = pd.concat([latency_table(), latency_table(machine="Other CPU")])
    figure = cost_figures.time_bars(table, profile="zappos")
    assert {"compiled, Other CPU", "compiled, Some CPU, 2 cores"} <= set(words(figure))
    assert len([bar for bar in figure.axes[0].patches if np.isfinite(bar.get_width())]) == 10


def test_faults_are_named() -> None:
    table = latency_table()
    with pytest.raises(InputError, match="table latency: a median"):
        cost_figures.time_bars(table.assign(p95_ms=0.1), profile="smoke")
    with pytest.raises(InputError, match="table latency: median_ms of row 1 is nan, not a number"):
        cost_figures.time_bars(table.assign(median_ms=np.nan), profile="smoke")
    with pytest.raises(InputError, match="table latency: column images_per_s is missing"):
        cost_figures.throughput_bars(table.drop(columns="images_per_s"), profile="smoke")
