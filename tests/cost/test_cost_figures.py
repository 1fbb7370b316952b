"""The charts of what models cost show what stands in their tables."""

import numpy as np
import pytest
from comparison_tables import NETWORKS, latency_table, networks_table, sizes_table
from legible import assert_legible, caption, column, row_names, words

from solesearch.core.errors import InputError
from solesearch.core.model_names import published_networks
from solesearch.cost import cost_figures


def test_time_bars_end_at_the_median_and_whiskers_at_the_95th_percentile() -> None:
    table = latency_table()
    figure = cost_figures.time_bars(table, profile="paper")
    [axes] = figure.axes
    tails = [segment[:, 0].tolist() for bars in axes.collections for segment in bars.get_segments()]
    rows = table[table["batch"] == 1].sort_values("median_ms")
    np.testing.assert_allclose(sorted(tails), rows[["median_ms", "p95_ms"]].to_numpy(), rtol=1e-12)
    assert axes.get_xscale() == "log" and "Some CPU, 2 cores" in caption(figure)
    drawn = [label.get_text() for label in axes.get_yticklabels()]
    assert drawn[:2] == ["Raw pixels", "Decode, resize to 64 × 96"] and drawn[-1] == "VGG19", "fastest first"


def test_time_comparison_sets_measured_ratios_beside_both_readings() -> None:
    figure = cost_figures.time_comparison(latency_table(), profile="paper")
    [axes] = figure.axes
    order = row_names(figure)
    assert order[0] == "InfoGAN (proposed)" and order[-1] == "VGG19"
    series = {line.get_marker(): line.get_xdata() for line in axes.lines if line.get_marker() != "None"}
    at = order.index("InceptionResNetV2")
    # 157 ms / 2.1 ms; .06 s / .004 s; .06 s / .04 s
    assert [series[mark][at] for mark in "oDs"] == pytest.approx([157 / 2.1, 15, 1.5])
    assert np.isfinite(series["^"]).sum() == 3
    assert axes.get_xscale() == "log"
    figure.draw_without_rendering()
    assert column(figure, 0, "measured")[at] == "74.8×"
    assert "Some CPU, 2 cores" in caption(figure)
    assert_legible(figure)


def test_time_comparison_without_onnx_or_networks() -> None:
    table = latency_table()
    figure = cost_figures.time_comparison(table[table["runtime"] != "ONNX Runtime"], profile="paper")
    assert "measured, ONNX Runtime" not in words(figure)
    with pytest.raises(InputError, match="table latency: no ImageNet network beside infogan"):
        cost_figures.time_comparison(latency_table([]).query("runtime != 'ONNX Runtime'"), profile="paper")


def test_all_runtimes_of_time_and_throughput_are_shown() -> None:
    table = latency_table()
    for draw, value, batch in (
        (cost_figures.time_bars, "median_ms", 1),
        (cost_figures.throughput_bars, "images_per_s", 32),
    ):
        figure = draw(table, profile="paper")
        drawn = [bar.get_width() for bar in figure.axes[0].patches if np.isfinite(bar.get_width())]
        assert sorted(drawn) == sorted(table.loc[table["batch"] == batch, value])
        assert {"Pillow", "ONNX Runtime", "Decode, resize to 64 × 96", "ResNet152"} <= set(words(figure))
        assert_legible(figure)


def test_size_comparison_explains_both_columns() -> None:
    figure = cost_figures.size_comparison(sizes_table(), profile="paper")
    figure.draw_without_rendering()
    order = row_names(figure)
    found = dict(zip(order, column(figure, 0, "embed-\nding"), strict=True))
    assert (found["VGG16"], found["InfoGAN (proposed)"], found["MobileNet-0.25"]) == ("58.9", "1.73", "0.874")
    assert column(figure, 0, "check-\npoint") == ["23.1"]
    marks = {line.get_marker(): line.get_xdata() for line in figure.axes[0].lines}
    at = order.index("VGG19")
    assert [marks[mark][at] for mark in "osD"] == pytest.approx([20024384 * 4 / 1e6, 549, 549])
    assert marks["^"][order.index("InfoGAN (proposed)")] == 23.1
    assert_legible(figure)


def test_accuracy_parameters_are_keras_published_values() -> None:
    figure = cost_figures.accuracy_parameters(networks_table(), profile="paper")
    points = sorted((x, y) for line in figure.axes[0].lines for x, y in line.get_xydata())
    cited = published_networks()
    assert points == sorted(zip(cited["parameters"] / 1e6, cited["top1"], strict=True))
    assert set(NETWORKS) <= set(words(figure)) and "MobileNet-0.25" not in words(figure)
    assert "cited, not measured" in caption(figure) and "n = 12 networks" in caption(figure)
    assert_legible(figure)


@pytest.mark.parametrize("width", ["MobileNet-0.25", "MobileNetV2-0.35"])
def test_a_width_alone_has_all_charts(width: str) -> None:
    """Keras's table and P's have no row for it: its own numbers are drawn without theirs."""
    models = {"MobileNet-0.25": width}
    latency = latency_table(["MobileNet-0.25"]).query("model not in ('MobileNet', 'MobileNetV2')")
    sizes = sizes_table().query("model in ('infogan', 'MobileNet-0.25')")
    for draw, table in (
        (cost_figures.time_bars, latency),
        (cost_figures.throughput_bars, latency),
        (cost_figures.time_comparison, latency),
        (cost_figures.size_comparison, sizes),
        (cost_figures.accuracy_parameters, networks_table(["MobileNet-0.25"])),
    ):
        figure = draw(table.replace({"model": models}), profile="paper")
        assert_legible(figure)
    assert f"Keras publishes no accuracy for {width}" in words(figure)
    assert "n = 0 networks" in caption(figure)


def test_wrong_tables_are_named() -> None:
    without = sizes_table().query("model != 'infogan'")
    for draw, table, expected in (
        (
            cost_figures.size_comparison,
            without,
            "no row with model infogan",
        ),
        (cost_figures.size_comparison, sizes_table().assign(megabytes=0), "megabytes must be above 0"),
        (cost_figures.accuracy_parameters, networks_table().assign(model="hog"), "none of the networks"),
        (cost_figures.time_bars, latency_table().assign(p95_ms=0.1), "a median is not above 0 or exceeds"),
    ):
        with pytest.raises(InputError, match=f"table .*{expected}"):
            draw(table, profile="paper")
