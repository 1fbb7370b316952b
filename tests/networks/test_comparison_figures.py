"""The networks' charts show what stands in their tables, and set untrained networks apart."""

import numpy as np
import pandas as pd
import pytest
from comparison_tables import (
    NETWORKS,
    PRECISION,
    REAL,
    intervals_table,
    networks_table,
    precision_of,
    retraining_log,
    retrieval_table,
    variants,
)
from legible import assert_legible, caption, column, row_names, words
from matplotlib.colors import same_color, to_hex
from matplotlib.figure import Figure

from solesearch.core.errors import InputError
from solesearch.core.published import published_row
from solesearch.figures import drawing
from solesearch.networks import comparison_figures

NO_WEIGHTS = "untrained (no ImageNet weights here)"
WITH_NETWORKS = ("precision_comparison", "retraining", "preprocessing")


def bars(figure: Figure, panel: int) -> dict[str, object]:
    """Name -> bar of one panel; the names stand at the first one."""
    places = dict(zip(figure.axes[0].get_yticks(), row_names(figure), strict=True))
    return {places[round(bar.get_y() + 0.36, 6)]: bar for bar in figure.axes[panel].patches}


def dots(axes) -> dict[float, object]:
    """Value -> the mark that is drawn there; whiskers' ends are none."""
    return {line.get_xdata()[0]: line for line in axes.lines if line.get_marker() in tuple("o^sv")}


@pytest.fixture(scope="module")
def compared() -> Figure:
    table = retrieval_table()
    return comparison_figures.precision_comparison(
        table, networks_table(), profile="paper", intervals=intervals_table(table)
    )


def test_precision_comparison_shows_the_table_beside_the_printed_values(compared: Figure) -> None:
    assert [axes.get_title("left") for axes in compared.axes] == ["Naive gallery", "Product-excluded gallery"]
    for panel, off in enumerate((0, 0.025)):
        drawn = {name: bar.get_width() for name, bar in bars(compared, panel).items()}
        expected = {model: precision_of(model) - off for model in [*NETWORKS, "MobileNet-0.25"]}
        expected |= {"InfoGAN (proposed)": 0.85 - off, "HOG": 0.953 - off}
        assert drawn == pytest.approx(expected)
    [diamonds] = [line for line in compared.axes[0].lines if line.get_marker() == "D"]
    places = dict(zip(compared.axes[0].get_yticks(), row_names(compared), strict=True))
    printed = {places[y]: x for x, y in diamonds.get_xydata()}
    assert printed.pop("InfoGAN (proposed)") == 0.84
    assert printed == {model: published_row(model)["precision"] for model in NETWORKS}
    assert not [line for line in compared.axes[1].lines if line.get_marker() == "D"]


def test_networks_stand_in_groups_best_first_and_untrained_ones_hollow(compared: Figure) -> None:
    order = row_names(compared)
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


def test_retraining_shows_the_three_heads_of_each_network() -> None:
    figure = comparison_figures.retraining(naive(retrieval_table()), networks_table(), profile="paper")
    assert row_names(figure) == ["MobileNetV2", "MobileNet-0.25", "VGG16"]
    figure.draw_without_rendering()
    for head, suffix in (("none", ""), ("one\nunit", "+one_unit"), ("classes", "+classes")):
        expected = [f"{precision_of(network + suffix):.3f}" for network in row_names(figure)]
        assert column(figure, 0, head) == expected
    points = dots(figure.axes[0])
    for network in row_names(figure):
        for suffix in ("", "+one_unit", "+classes"):
            line = points[precision_of(network + suffix)]
            assert same_color(line.get_markerfacecolor(), "white") == (network == "VGG16")
    assert column(figure, 0, "n") == ["1,440", "1,440", "400"]
    assert f"hollow: {NO_WEIGHTS}" in words(figure)
    assert_legible(figure)


def test_preprocessing_shows_the_printed_means_and_the_scalings_of_real_weights() -> None:
    table = retrieval_table(variants(rescaled=[*REAL, "VGG16"]))
    figure = comparison_figures.preprocessing(
        table, networks_table(variants(rescaled=[*REAL, "VGG16"])), profile="paper"
    )
    assert {"mean 0.79", "mean 0.58", "mean 0.60"} <= set(words(figure))
    above, below = figure.axes
    assert [label.get_text() for label in below.get_yticklabels()] == ["MobileNetV2", "MobileNet-0.25"]
    printed = sorted(x for line in above.lines for x in line.get_xdata())
    assert printed == sorted(published_row(model)["precision"] for model in NETWORKS)
    drawn = dots(below)
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
    figure = comparison_figures.preprocessing(table, networks_table(models), profile="paper")
    assert sorted(dots(figure.axes[1])) == sorted(precision_of(model) for model in models[1:])
    assert "measured: n = 300 queries" in caption(figure)


def test_preprocessing_without_other_scalings_is_the_printed_panel() -> None:
    figure = comparison_figures.preprocessing(
        retrieval_table(NETWORKS), networks_table(NETWORKS), profile="sample"
    )
    assert len(figure.axes) == 1
    assert "k not stated" in caption(figure) and "measured" not in caption(figure)
    assert_legible(figure)


def naive(table: pd.DataFrame) -> pd.DataFrame:
    return table[table["gallery"] == "naive"]


# --- how they were retrained, and faults -----------------------------------------------------------------


def test_a_line_a_retrained_network_in_each_panel() -> None:
    models = ("MobileNetV2+one_unit", "MobileNetV2+classes", "MobileNet-0.25+classes")
    table = pd.concat(retraining_log().assign(model=model) for model in models)
    figure = comparison_figures.retraining_curves(table, profile="smoke")
    loss, norm, probability = figure.axes
    assert [len(axes.lines) for axes in figure.axes] == [3, 3, 3]
    np.testing.assert_allclose(norm.lines[0].get_ydata(), table["gradient_norm"][:5])
    assert (loss.get_yscale(), probability.get_yscale()) == ("log", "linear")
    one, two, three = loss.lines
    assert two.get_color() == three.get_color() != one.get_color(), "a colour a head"
    assert one.get_linestyle() == two.get_linestyle() != three.get_linestyle(), "a style a network"
    assert "synthetic" in caption(figure) and "drawn there" not in caption(figure)


def test_a_loss_of_nothing_stays_on_the_axis_and_is_said() -> None:
    table = retraining_log().assign(loss=[1, 0.1, 1e-9, 0, 0], gradient_norm=0.0)
    figure = comparison_figures.retraining_curves(table, profile="smoke")
    assert figure.axes[0].lines[0].get_ydata().min() == pytest.approx(1e-6)
    assert "below 1e-06 is drawn there" in caption(figure)


def test_a_width_alone_has_all_charts() -> None:
    """Keras's table and P's have no row for it: its own numbers are drawn without theirs."""
    alone = ["MobileNet-0.25", "MobileNet-0.25+classes", "MobileNet-0.25@none"]
    table, networks = retrieval_table([*PRECISION, *alone]), networks_table(alone)
    for name in WITH_NETWORKS:
        assert_legible(getattr(comparison_figures, name)(table, networks, profile="paper"))


def test_wrong_tables_are_named() -> None:
    table, networks = retrieval_table(), networks_table()
    for name in WITH_NETWORKS:
        with pytest.raises(InputError, match="table networks: no row for VGG16"):
            draw(name, table, networks_table(["MobileNetV2"]))
    for name, tables, words_ in (
        ("precision_comparison", (retrieval_table([]), networks), "retrieval: no ImageNet network yet"),
        ("retraining", (retrieval_table(NETWORKS), networks), "retrieval: no network retrained with a head"),
        ("retraining", (table, networks.drop(columns="scaling")), "networks: column scaling is missing"),
        ("retraining_curves", (retraining_log().assign(model="hog"),), "retraining: 'hog' is no retrained"),
        ("retraining_curves", (retraining_log().drop(columns="loss"),), "column loss is missing"),
    ):
        with pytest.raises(InputError, match=f"table .*{words_}"):
            draw(name, *tables)


def draw(name: str, *tables: pd.DataFrame) -> Figure:
    return getattr(comparison_figures, name)(*tables, profile="paper")
