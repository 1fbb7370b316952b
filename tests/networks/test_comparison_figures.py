"""The comparison's charts show what stands in their tables, and set untrained networks apart."""

import numpy as np
import pandas as pd
import pytest
from comparison_tables import (
    NETWORKS,
    PRECISION,
    REAL,
    intervals_table,
    latency_table,
    networks_table,
    precision_of,
    retraining_log,
    retrieval_table,
    sizes_table,
    variants,
)
from legible import assert_legible, caption, words
from matplotlib.colors import same_color, to_hex
from matplotlib.figure import Figure

from solesearch.core.errors import InputError
from solesearch.core.model_names import published_networks
from solesearch.core.published import published_row
from solesearch.cost import cost_figures
from solesearch.figures import drawing, figures
from solesearch.networks import comparison_figures
from solesearch.pipeline import charts

OF_NO_NETWORK = {"photos_per_class", "loss_curves", "checkpoint_curve", "recall_speed"}
NO_WEIGHTS = "untrained (no ImageNet weights here)"
FROM_TABLES = [
    "photos_per_class",
    "loss_curves",
    "checkpoint_curve",
    "precision_bars",
    "class_precision",
    "precision_comparison",
    "retraining",
    "retraining_curves",
    "preprocessing",
    "time_bars",
    "throughput_bars",
    "time_comparison",
    "size_comparison",
    "recall_speed",
    "accuracy_parameters",
]


def names(figure: Figure) -> list[str]:
    return [label.get_text() for label in figure.axes[0].get_yticklabels()]


def bars(figure: Figure, panel: int) -> dict[str, object]:
    """Name -> bar of one panel; the names stand at the first one."""
    places = dict(zip(figure.axes[0].get_yticks(), names(figure), strict=True))
    return {places[round(bar.get_y() + 0.36, 6)]: bar for bar in figure.axes[panel].patches}


def column(figure: Figure, panel: int, head: str) -> list[str]:
    """The texts right of a panel whose right edge is that of the column `head`."""
    axes = figure.axes[panel]
    texts = [text for text in axes.texts if text.get_ha() == "right"]
    [top] = [text for text in texts if text.get_text() == head]
    edge = top.get_window_extent().x1
    mine = [text for text in texts if abs(text.get_window_extent().x1 - edge) < 1 and text is not top]
    return [text.get_text() for text in sorted(mine, key=lambda text: -text.get_window_extent().y0)]


# --- precision beside P's --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def compared() -> Figure:
    table = retrieval_table()
    return comparison_figures.precision_comparison(
        table, networks_table(), profile="zappos", intervals=intervals_table(table)
    )


def test_precision_comparison_shows_the_table_beside_the_printed_values(compared: Figure) -> None:
    assert [axes.get_title("left") for axes in compared.axes] == ["Naive gallery", "Product-excluded gallery"]
    for panel, off in enumerate((0, 0.025)):
        drawn = {name: bar.get_width() for name, bar in bars(compared, panel).items()}
        expected = {model: precision_of(model) - off for model in [*NETWORKS, "MobileNet-0.25"]}
        expected |= {"InfoGAN (proposed)": 0.85 - off, "HOG": 0.953 - off}
        assert drawn == pytest.approx(expected)
    [diamonds] = [line for line in compared.axes[0].lines if line.get_marker() == "D"]
    places = dict(zip(compared.axes[0].get_yticks(), names(compared), strict=True))
    printed = {places[y]: x for x, y in diamonds.get_xydata()}
    assert printed.pop("InfoGAN (proposed)") == 0.84
    assert printed == {model: published_row(model)["precision"] for model in NETWORKS}
    assert not [line for line in compared.axes[1].lines if line.get_marker() == "D"]


def test_networks_stand_in_groups_best_first_and_untrained_ones_hollow(compared: Figure) -> None:
    order = names(compared)
    assert order[:4] == ["InfoGAN (proposed)", "HOG", "MobileNetV2", "MobileNet-0.25"]
    assert order[4:] == sorted(set(NETWORKS) - {"MobileNetV2"}, key=precision_of, reverse=True)
    places = compared.axes[0].get_yticks()
    assert np.diff(places).round(6).tolist() == [1, 1.6, 1, 1.6] + [1] * 10
    for panel in (0, 1):
        for name, bar in bars(compared, panel).items():
            hollow = same_color(bar.get_facecolor(), "white")
            assert hollow == (name in NETWORKS and name not in REAL)
            if name in REAL:
                assert to_hex(bar.get_facecolor()) == drawing.ORANGE
    italics = [
        label.get_text() for label in compared.axes[0].get_yticklabels() if label.get_style() == "italic"
    ]
    assert italics == order[4:]
    assert {NO_WEIGHTS, "ImageNet weights", "printed in P Table II", "95 % interval"} <= set(words(compared))


def test_precision_comparison_says_n_of_every_row(compared: Figure) -> None:
    compared.draw_without_rendering()
    assert column(compared, 0, "n") == ["1,440"] * 4 + ["400"] * 11
    assert column(compared, 0, "here")[:3] == ["0.850", "0.953", "0.931"]
    assert column(compared, 0, "P")[:2] == ["0.84", "0.73"]
    assert "seeds 1, 2 · HOG: the best control · n = 400 to 1,440 queries · a smaller n" in caption(compared)
    assert_legible(compared)


def test_whiskers_are_the_intervals_of_the_mean_over_the_seeds(compared: Figure) -> None:
    table = intervals_table(retrieval_table())
    table = table[(table["gallery"] == "naive") & table["model"].isin(["infogan", "hog", *NETWORKS, *REAL])]
    table = table[(table["seed"] == "all")]
    drawn = [segment[:, 0] for bars in compared.axes[0].collections for segment in bars.get_segments()]
    np.testing.assert_allclose(
        sorted(map(tuple, drawn)), sorted(zip(table["low"], table["high"], strict=True))
    )
    assert len(drawn) == 15


def test_interval_of_a_single_row_counts_and_other_seeds_do_not() -> None:
    rows = [
        ("a", 0, 0.1, 0.2),
        ("b", 1, 0.0, 0.9),
        ("b", 2, 0.0, 0.9),
        ("b", "all", 0.4, 0.5),
        ("c", 1, 0, 1),
    ]
    rows += [("c", 2, 0, 1)]
    table = pd.DataFrame(rows, columns=["model", "seed", "low", "high"]).assign(gallery="naive", k=5)
    assert drawing.interval_bounds(table, gallery="naive", k=5) == {"a": (0.1, 0.2), "b": (0.4, 0.5)}
    assert drawing.interval_bounds(table, gallery="naive", k=1) == {}
    both = pd.concat([table.assign(metric="precision"), table.assign(metric="map", low=0.0)])
    found = drawing.interval_bounds(both, gallery="naive", k=5)
    assert found == {"a": (0.1, 0.2), "b": (0.4, 0.5)}
    assert drawing.interval_bounds(None, gallery="naive", k=5) == {}
    with pytest.raises(InputError, match="table intervals: low of row 2 is nan"):
        drawing.interval_bounds(table.assign(low=[0, np.nan, 0, 0, 0, 0]), gallery="naive", k=5)


def test_the_plain_chart_is_the_same_with_and_without_networks_and_takes_the_intervals() -> None:
    table = retrieval_table()
    plain = table[~table["model"].isin(variants())]
    pictures = [figures.precision_bars(rows, profile="zappos")._repr_png_() for rows in (table, plain)]
    assert pictures[0] == pictures[1]
    figure = figures.precision_bars(plain, profile="zappos", intervals=intervals_table(plain))
    assert "whisker: 95 % interval" in caption(figure)
    segments = [
        segment[:, 0].tolist() for bars in figure.axes[0].collections for segment in bars.get_segments()
    ]
    assert len(segments) == 6
    half = 0.5 / 1440**0.5
    assert [0.953 - half, 0.953 + half] in [pytest.approx(segment) for segment in segments]
    assert_legible(figure)


def test_ten_thousand_queries_and_weights_for_all_stay_legible() -> None:
    everything = [*NETWORKS, "MobileNet-0.25"]
    table = retrieval_table(real=everything, whole=10000)
    figure = comparison_figures.precision_comparison(table, networks_table(real=everything), profile="paper")
    assert NO_WEIGHTS not in words(figure) and "95 % interval" not in words(figure)
    assert "n = 10,000 queries · P:" in caption(figure)
    assert_legible(figure)


def test_the_heat_map_pales_untrained_networks_and_leaves_variants_out() -> None:
    figure = figures.class_precision(retrieval_table(), profile="zappos", networks=networks_table())
    order = names(figure)
    assert len(order) == 7 + 13 and set(order[9:]) == set(NETWORKS) - {"MobileNetV2"}
    pale = [text for text in figure.axes[0].texts if same_color(text.get_color(), drawing.QUIET)]
    assert len(pale) == 11 * 3
    [veil] = figure.axes[0].patches
    assert (veil.get_y(), veil.get_y() + veil.get_height()) == (9, 20)
    assert f"pale, names in italics: {NO_WEIGHTS}" in caption(figure)
    assert "boots\nn ≤ 480" in words(figure)
    assert_legible(figure)


# --- retraining and input scaling ------------------------------------------------------------------------


def test_retraining_shows_the_three_heads_of_each_network() -> None:
    figure = comparison_figures.retraining(
        retrieval_table(), networks_table(), profile="zappos", gallery="naive"
    )
    assert names(figure) == ["MobileNetV2", "MobileNet-0.25", "VGG16"]
    figure.draw_without_rendering()
    for head, suffix in (("none", ""), ("one\nunit", "+one_unit"), ("classes", "+classes")):
        expected = [f"{precision_of(network + suffix):.3f}" for network in names(figure)]
        assert column(figure, 0, head) == expected
    points = {line.get_xdata()[0]: line for line in figure.axes[0].lines}
    for network in names(figure):
        for suffix in ("", "+one_unit", "+classes"):
            line = points[precision_of(network + suffix)]
            assert same_color(line.get_markerfacecolor(), "white") == (network == "VGG16")
    assert column(figure, 0, "n") == ["1,440", "1,440", "400"]
    assert f"hollow: {NO_WEIGHTS}" in words(figure)
    assert_legible(figure)


def test_preprocessing_shows_the_printed_means_and_the_scalings_of_real_weights() -> None:
    table = retrieval_table(variants(rescaled=[*REAL, "VGG16"]))
    figure = comparison_figures.preprocessing(
        table, networks_table(variants(rescaled=[*REAL, "VGG16"])), profile="zappos"
    )
    assert {"mean 0.79", "mean 0.58", "mean 0.60"} <= set(words(figure))
    above, below = figure.axes
    assert [label.get_text() for label in below.get_yticklabels()] == ["MobileNetV2", "MobileNet-0.25"]
    printed = sorted(x for line in above.lines for x in line.get_xdata())
    assert printed == sorted(published_row(model)["precision"] for model in NETWORKS)
    drawn = {line.get_xdata()[0]: line for line in below.lines}
    expected = {f"{network}{at}" for network in REAL for at in ("", "@caffe", "@torch", "@none")}
    assert sorted(drawn) == sorted(precision_of(model) for model in expected)
    for model in expected:
        native = "@" not in model
        assert same_color(drawn[precision_of(model)].get_markeredgecolor(), "black") == native
    assert "measured: n = 1,440 queries" in caption(figure) and "black edge" in caption(figure)
    assert_legible(figure)


def test_a_named_native_scaling_on_the_same_photos_goes_before_the_plain_row() -> None:
    models = ["MobileNetV2", "MobileNetV2@tf", "MobileNetV2@caffe"]
    table = retrieval_table(models)
    table.loc[table["model"].str.contains("@"), "n"] = 300
    figure = comparison_figures.preprocessing(table, networks_table(models), profile="zappos")
    drawn = sorted(line.get_xdata()[0] for line in figure.axes[1].lines)
    assert drawn == sorted(precision_of(model) for model in models[1:])
    assert "measured: n = 300 queries" in caption(figure)


def test_preprocessing_without_other_scalings_is_the_printed_panel() -> None:
    figure = comparison_figures.preprocessing(
        retrieval_table(NETWORKS), networks_table(NETWORKS), profile="sample"
    )
    assert len(figure.axes) == 1
    assert "k not stated" in caption(figure) and "measured" not in caption(figure)
    assert_legible(figure)


# --- time, size, accuracy --------------------------------------------------------------------------------


def test_time_comparison_sets_measured_ratios_beside_both_readings() -> None:
    figure = cost_figures.time_comparison(latency_table(), profile="zappos")
    [axes] = figure.axes
    order = names(figure)
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
    figure = cost_figures.time_comparison(table[table["runtime"] != "ONNX Runtime"], profile="zappos")
    assert "measured, ONNX Runtime" not in words(figure)
    with pytest.raises(InputError, match="table latency: no ImageNet network beside infogan"):
        cost_figures.time_comparison(latency_table([]).query("runtime != 'ONNX Runtime'"), profile="zappos")


def test_all_runtimes_of_time_and_throughput_are_shown() -> None:
    table = latency_table()
    for draw, value, batch in (
        (cost_figures.time_bars, "median_ms", 1),
        (cost_figures.throughput_bars, "images_per_s", 32),
    ):
        figure = draw(table, profile="zappos")
        drawn = [bar.get_width() for bar in figure.axes[0].patches if np.isfinite(bar.get_width())]
        assert sorted(drawn) == sorted(table.loc[table["batch"] == batch, value])
        assert {"Pillow", "ONNX Runtime", "Decode, resize to 64 × 96", "ResNet152"} <= set(words(figure))
        assert_legible(figure)


def test_size_comparison_explains_both_columns() -> None:
    figure = cost_figures.size_comparison(sizes_table(), profile="zappos")
    figure.draw_without_rendering()
    order = names(figure)
    found = dict(zip(order, column(figure, 0, "embed-\nding"), strict=True))
    assert (found["VGG16"], found["InfoGAN (proposed)"], found["MobileNet-0.25"]) == ("58.9", "1.73", "0.874")
    assert column(figure, 0, "check-\npoint") == ["23.1"]
    marks = {line.get_marker(): line.get_xdata() for line in figure.axes[0].lines}
    at = order.index("VGG19")
    assert [marks[mark][at] for mark in "osD"] == pytest.approx([20024384 * 4 / 1e6, 549, 549])
    assert marks["^"][order.index("InfoGAN (proposed)")] == 23.1
    assert_legible(figure)


def test_accuracy_parameters_are_keras_published_values() -> None:
    figure = cost_figures.accuracy_parameters(networks_table(), profile="zappos")
    points = sorted((x, y) for line in figure.axes[0].lines for x, y in line.get_xydata())
    cited = published_networks()
    assert points == sorted(zip(cited["parameters"] / 1e6, cited["top1"], strict=True))
    assert set(NETWORKS) <= set(words(figure)) and "MobileNet-0.25" not in words(figure)
    assert "cited, not measured" in caption(figure) and "n = 12 networks" in caption(figure)
    assert_legible(figure)


@pytest.mark.parametrize("width", ["MobileNet-0.25", "MobileNetV2-0.35"])
@pytest.mark.parametrize("chart", sorted({*FROM_TABLES} - OF_NO_NETWORK))
def test_a_width_alone_has_all_charts(chart: str, width: str) -> None:
    """Keras's table and P's have no row for it: its own numbers are drawn without theirs."""
    shape = {"MobileNet-0.25": width}
    alone = ["MobileNet-0.25", "MobileNet-0.25+classes", "MobileNet-0.25@none"]
    tables = {
        "retrieval": retrieval_table([*PRECISION, *alone]),
        "networks": networks_table(alone),
        "latency": latency_table(["MobileNet-0.25"])
        .query("runtime != 'ONNX Runtime' or model == 'infogan'")
        .copy(),
        "sizes": sizes_table().query("model in ('infogan', 'MobileNet-0.25')").copy(),
        "retraining": retraining_log().assign(model="MobileNet-0.25+classes"),
    }
    for table in tables.values():
        table["model"] = table["model"].replace(shape, regex=True)
    registered = charts.CHARTS[chart]
    beside = {name: tables[name] for name in registered.beside if name in tables}
    figure = registered.draw(*(tables[name] for name in registered.tables), profile="zappos", **beside)
    if chart != "retraining_curves":  # its legend of one network is checked elsewhere
        assert_legible(figure)
    if chart == "accuracy_parameters":
        assert f"Keras publishes no accuracy for {width}" in words(figure)
        assert "n = 0 networks" in caption(figure)


def test_accuracy_without_any_network_is_refused() -> None:
    with pytest.raises(InputError, match="none of the networks"):
        cost_figures.accuracy_parameters(networks_table().head(1).assign(model="hog"), profile="zappos")


# --- faults and files ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["precision_comparison", "retraining", "preprocessing"])
def test_a_network_that_networks_csv_does_not_name_is_refused(name: str) -> None:
    with pytest.raises(InputError, match="table networks: no row for VGG16"):
        charts.CHARTS[name].draw(retrieval_table(), networks_table(["MobileNetV2"]), profile="zappos")


def test_tables_without_rows_for_a_chart_are_named() -> None:
    plain, networks = retrieval_table([]), networks_table()
    with pytest.raises(InputError, match="table retrieval: no ImageNet network yet"):
        comparison_figures.precision_comparison(plain, networks, profile="zappos")
    with pytest.raises(InputError, match="table retrieval: no network retrained with a head yet"):
        comparison_figures.retraining(retrieval_table(NETWORKS), networks, profile="zappos")
    with pytest.raises(InputError, match="table sizes: no row with model infogan"):
        cost_figures.size_comparison(sizes_table().query("model != 'infogan'"), profile="zappos")
    with pytest.raises(InputError, match="table sizes: megabytes must be above 0"):
        cost_figures.size_comparison(sizes_table().assign(megabytes=0), profile="zappos")
    with pytest.raises(InputError, match="table networks: column scaling is missing"):
        comparison_figures.retraining(retrieval_table(), networks.drop(columns="scaling"), profile="zappos")


def test_redraw_uses_the_optional_tables_where_they_are(workspace, monkeypatch) -> None:
    folder = workspace / "results" / "zappos"
    folder.mkdir(parents=True)
    table = retrieval_table(NETWORKS)
    table.to_csv(folder / "retrieval.csv", index=False)
    wanted = {name: charts.CHARTS[name] for name in ("precision_bars", "retraining")}
    monkeypatch.setattr(charts, "CHARTS", wanted)
    lines: list[str] = []
    charts.redraw("zappos", report=lines.append)
    assert [line.partition(":")[0] for line in lines if "skipped" in line] == ["retraining skipped"]
    assert "networks.csv: not there yet" in lines[-1]
    before = (workspace / "figures/zappos/precision_bars.png").read_bytes()
    intervals_table(table).to_csv(folder / "intervals.csv", index=False)
    assert figures.draw_chart("precision_bars", profile="zappos")._repr_png_() != before
