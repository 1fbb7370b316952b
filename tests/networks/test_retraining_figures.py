"""The chart of retraining: one line a retrained network and head, and clear words for a wrong table."""

import numpy as np
import pandas as pd
import pytest

from solesearch.core.errors import InputError
from solesearch.networks.retraining_figures import retraining_curves


def log(*models: str, steps: int = 5) -> pd.DataFrame:
    rows = [
        (model, step, 1 / step, 2 / step, 1 - 0.5 / step) for model in models for step in range(1, steps + 1)
    ]
    return pd.DataFrame(rows, columns=["model", "step", "loss", "gradient_norm", "mean_probability"])


def test_a_line_a_model_in_each_panel() -> None:
    table = log("MobileNetV2+one_unit", "MobileNetV2+classes", "MobileNet-0.25+classes")
    figure = retraining_curves(table, profile="smoke")
    loss, norm, probability = figure.axes
    assert [len(axes.lines) for axes in figure.axes] == [3, 3, 3]
    np.testing.assert_allclose(norm.lines[0].get_ydata(), table["gradient_norm"][:5])
    assert (loss.get_yscale(), probability.get_yscale()) == ("log", "linear")
    colours = [line.get_color() for line in loss.lines]
    styles = [line.get_linestyle() for line in loss.lines]
    assert colours[1] == colours[2] != colours[0], "a colour a head"
    assert styles[0] == styles[1] != styles[2], "a style a network"
    assert "synthetic" in figure._supxlabel.get_text()


def test_a_loss_of_nothing_stays_on_the_axis_and_is_said() -> None:
    table = log("MobileNetV2+one_unit").assign(loss=[1, 0.1, 1e-9, 0, 0], gradient_norm=0.0)
    figure = retraining_curves(table, profile="smoke")
    assert figure.axes[0].lines[0].get_ydata().min() == pytest.approx(1e-6)
    assert "below 1e-06 is drawn there" in figure._supxlabel.get_text().replace("\n", " ")
    assert "drawn there" not in retraining_curves(log("VGG16+classes"), profile="smoke")._supxlabel.get_text()


@pytest.mark.parametrize(
    ("table", "words"),
    [
        (log("MobileNetV2"), "'MobileNetV2' is no retrained network"),
        (log("hog"), "'hog' is no retrained network"),
        (log("VGG16+classes").drop(columns="loss"), "column loss is missing"),
        (log("VGG16+classes").iloc[:0], "no rows"),
        (log("VGG16+classes").assign(loss=np.nan), "not a number"),
    ],
)
def test_wrong_tables_are_named(table: pd.DataFrame, words: str) -> None:
    with pytest.raises(InputError, match=f"retraining: .*{words}"):
        retraining_curves(table, profile="smoke")
