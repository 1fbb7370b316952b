"""The chart of likeness shows the table's numbers, and the picture the measures of its answers."""

import numpy as np
import pandas as pd
import pytest
from legible import assert_legible, caption, words
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from test_likeness import measured, photo

from solesearch.beyond.likeness import COLUMNS, SHARES, held_values, pair_likeness
from solesearch.beyond.likeness_figures import MEASURE_NAMES, likeness, likeness_rows
from solesearch.core.errors import InputError
from solesearch.figures.drawing import PURPLE

VALUES = {"infogan": 0.7, "untrained_discriminator": 0.65, "hog": 0.8, "VGG16": 0.9, "random": 0.3}
NETWORKS = pd.DataFrame({"model": ["VGG16"], "weights": ["untrained"]})
BAGS = ("all", "without_bags", "bags_only")


def table(*, galleries: tuple[str, ...] = ("all",), measures: tuple[str, ...] = tuple(MEASURE_NAMES)):
    """One row a model, gallery, measure and class: `all` as in VALUES, less by .01 a gallery and measure."""
    rows = [
        (model, "all", gallery, measure, label, value - 0.01 * (g + m), value - 0.1, value + 0.05, 100 - g)
        for model, value in VALUES.items()
        for g, gallery in enumerate(galleries)
        for m, measure in enumerate(measures)
        for label in ("all", "heels")
    ]
    return pd.DataFrame(rows, columns=COLUMNS)


def test_discs_lie_at_the_values_and_lines_at_the_intervals() -> None:
    figure = likeness(table(), profile="paper", networks=NETWORKS)
    assert [axes.get_title(loc="left") for axes in figure.axes] == list(MEASURE_NAMES.values())
    names = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert names == ["VGG16", "Discriminator, untrained", "InfoGAN (proposed)", "HOG"]  # no weights: lowest
    shown = {model: value for model, value in VALUES.items() if model != "random"}
    for number, axes in enumerate(figure.axes):
        for (disc, _, [whisker]), value in zip(axes.containers, shown.values(), strict=True):
            assert disc.get_xdata() == pytest.approx(value - 0.01 * number)
            assert whisker.get_segments()[0][:, 0] == pytest.approx([value - 0.1, value + 0.05])
    text = "\n".join(words(figure))
    assert "random 0.30" in text and "random 0.28" in text and "n = 100 queries" in text


def discs(axes: Axes) -> list[Line2D]:
    """The discs of a panel, from the lowest row upwards."""
    return sorted((mark[0] for mark in axes.containers), key=lambda disc: disc.get_ydata()[0])


def attributes(*names: str) -> pd.DataFrame:
    """attributes.csv: values as in VALUES, the chance .25 for every model."""
    rows = [
        (model, name, 5, 90, value, value - 0.1, value + 0.05, 0.25, 10, 0.1)
        for model, value in VALUES.items()
        for name in names
    ]
    return pd.DataFrame(rows, columns=SHARES)


def test_attributes_have_panels_of_their_own_and_their_chance() -> None:
    names = ("gender", "heel", "closure", "material", "toe", "colour")
    figure = likeness(table(), profile="paper", networks=NETWORKS, attributes=attributes(*names))
    titles = [axes.get_title(loc="left") for axes in figure.axes if axes.axison]
    assert titles[4:] == ["Gender", "Heel", "Closure", "Material", "Toe", "Colour's name"]
    for axes in figure.axes[4:]:
        assert [disc.get_xdata()[0] for disc in discs(axes)] == [0.9, 0.65, 0.7, 0.8]
        assert "random 0.25" in [text.get_text() for text in axes.texts]
        assert not axes.get_legend_handles_labels()[1][1:]
    assert "n = 100 queries · n = 90 of known attribute" in caption(figure)
    assert_legible(figure)
    without = likeness(table(), profile="paper", networks=NETWORKS, attributes=attributes())
    assert len(without.axes) == 4  # a catalogue that names nothing: a table without rows


def test_the_ablations_models_have_a_colour_and_the_caption_says_who_they_are() -> None:
    rows = table()
    for number, model in enumerate(("infogan_short", "vanilla", "dcgan", "finalist_1")):
        more = rows[rows["model"] == "hog"].assign(model=model)
        rows = pd.concat([rows, more.assign(value=more["value"] - 0.01 * number)])
    ladder = pd.DataFrame({"finalist": [np.nan, 1, 1], "title": ["A", "contrastive, whitened", "again"]})
    figure = likeness(rows, profile="paper", networks=NETWORKS, ladder=ladder)
    names = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert {"InfoGAN, short", "Vanilla GAN, short", "DCGAN, short", "Best without labels"} < set(names)
    marks = zip(names, discs(figure.axes[0]), strict=True)
    colours = {name: disc.get_color() for name, disc in marks}
    assert colours["DCGAN, short"] == colours["Best without labels"] == PURPLE != colours["HOG"]
    assert "Best without labels: contrastive, whitened" in caption(figure)
    assert "again" not in caption(figure)


def test_galleries_with_and_without_bags_have_marks_of_their_own() -> None:
    figure = likeness(table(galleries=BAGS), profile="sample", networks=NETWORKS)
    assert {"all photos", "without bags", "bags only"} <= set(words(figure))
    assert len(figure.axes[0].containers) == 4 * len(BAGS)  # a mark a model and gallery
    assert_legible(figure)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rows: rows.drop(columns="low"), "column low is missing"),
        (lambda rows: rows.assign(value=1.4), "from 0 to 1; found 1.4"),
        (lambda rows: rows[rows["measure"] != "class"], "no row with measure class"),
    ],
)
def test_faults_of_the_table_are_named(change, message: str) -> None:
    with pytest.raises(InputError, match=f"table likeness: .*{message}"):
        likeness(change(table()), profile="paper", networks=NETWORKS)


def test_networks_of_unknown_weights_are_refused() -> None:
    with pytest.raises(InputError, match="table networks: no row for VGG16"):
        likeness(table(), profile="paper")


def test_the_picture_shows_each_answers_figures() -> None:
    photos = np.stack([photo(), photo(heel=True), photo(colour=(30, 150, 90))])
    seen = measured(*photos, labels=["a", "a", "b"])
    seen |= held_values(pd.DataFrame({"heel": ["Flat", "", "flat;1in"]}), ["heel"])
    answers = {"untrained_discriminator": np.array([1, 2]), "infogan": np.array([2, 1])}
    figure = likeness_rows(photos, seen, query=0, answers=answers, profile="sample", title="Title")
    text = "\n".join(words(figure))
    assert "InfoGAN (proposed)" in text and "Title" in text
    assert all(name in text for name in MEASURE_NAMES.values())
    shape = pair_likeness(seen, np.array([0]), np.array([[1]]))["shape"].item()
    assert f"1.00\n1.00\n{shape:.2f}" in text and "\nheel" in text
    assert text.count("\nunknown") == 2 and text.count("\n0.50") == 2  # the second photo's heel, the third's
    assert_legible(figure)


def test_a_picture_without_answers_is_refused() -> None:
    with pytest.raises(InputError, match="no answers to draw"):
        likeness_rows(np.zeros((1, 4, 6, 3), np.uint8), {}, query=0, answers={}, profile="sample")
