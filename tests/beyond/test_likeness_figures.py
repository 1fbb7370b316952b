"""The chart of likeness shows the table's numbers, and the picture the measures of its answers."""

import numpy as np
import pandas as pd
import pytest
from legible import assert_legible, words
from test_likeness import measured, photo

from solesearch.beyond.likeness import COLUMNS, pair_likeness
from solesearch.beyond.likeness_figures import MEASURE_NAMES, likeness, likeness_rows
from solesearch.core.errors import InputError

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
    seen = measured(*photos, labels=["a", "a", "b"], names=["brown", "", "green"])
    answers = {"untrained_discriminator": np.array([1, 2]), "infogan": np.array([2, 1])}
    figure = likeness_rows(photos, seen, query=0, answers=answers, profile="sample", title="Title")
    text = "\n".join(words(figure))
    assert "InfoGAN (proposed)" in text and "Title" in text
    assert all(name in text for name in MEASURE_NAMES.values())
    shape = pair_likeness(seen, np.array([0]), np.array([[1]]))["shape"].item()
    assert f"1.00\nunknown\n1.00\n{shape:.2f}" in text  # the second photo's colour has no name
    assert_legible(figure)


def test_a_picture_without_answers_is_refused() -> None:
    with pytest.raises(InputError, match="no answers to draw"):
        likeness_rows(np.zeros((1, 4, 6, 3), np.uint8), {}, query=0, answers={}, profile="sample")
