"""The chart of likeness shows the table's numbers, and the picture the measures of its answers."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from legible import assert_legible
from matplotlib.figure import Figure
from test_likeness import looks, photo

from solesearch.beyond.likeness import COLUMNS
from solesearch.beyond.likeness_figures import (
    MEASURE_NAMES,
    MeasuredRow,
    draw_chart,
    likeness,
    likeness_rows,
    measured_row,
)
from solesearch.core import files
from solesearch.core.errors import InputError
from solesearch.core.paths import Paths
from solesearch.pipeline import charts

VALUES = {"infogan": 0.7, "untrained_discriminator": 0.65, "hog": 0.8, "VGG16": 0.9, "random": 0.3}
NETWORKS = pd.DataFrame({"model": ["VGG16"], "weights": ["untrained"]})


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


def texts(figure: Figure) -> str:
    found = [text.get_text() for axes in figure.axes for text in axes.texts]
    found += [text.get_text() for text in figure.texts]
    found += [label.get_text() for axes in figure.axes for label in axes.get_yticklabels()]
    found += [text.get_text() for legend in figure.legends for text in legend.get_texts()]
    supxlabel = figure._supxlabel  # where captions stand
    return "\n".join([*found, supxlabel.get_text() if supxlabel else ""])


def test_discs_lie_at_the_values_and_lines_at_the_intervals() -> None:
    figure = likeness(table(), profile="zappos", networks=NETWORKS)
    assert [axes.get_title(loc="left") for axes in figure.axes] == list(MEASURE_NAMES.values())
    names = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert names == ["VGG16", "Discriminator, untrained", "InfoGAN (proposed)", "HOG"]  # no weights: lowest
    for number, axes in enumerate(figure.axes):
        places = axes.collections[1].get_offsets()
        assert list(places[:, 0]) == pytest.approx(
            [v - 0.01 * number for m, v in VALUES.items() if m != "random"]
        )
        ends = sorted(line[:, 0].tolist() for line in axes.collections[0].get_segments())
        assert ends == [pytest.approx([v - 0.1, v + 0.05]) for v in sorted(VALUES.values()) if v != 0.3]
    assert "random 0.30" in texts(figure) and "random 0.28" in texts(figure)
    assert "n = 100 queries" in texts(figure)


def test_galleries_with_and_without_bags_have_marks_of_their_own() -> None:
    figure = likeness(
        table(galleries=("all", "without_bags", "bags_only")), profile="chapter", networks=NETWORKS
    )
    assert all(words in texts(figure) for words in ("all photos", "without bags", "bags only"))
    assert len(figure.axes[0].collections) == 4  # lines, and a mark a gallery
    bags = figure.axes[0].collections[3].get_offsets()[:, 0]
    assert list(bags) == pytest.approx([v - 0.02 for m, v in VALUES.items() if m != "random"])


def test_no_text_is_cut_or_overlaps() -> None:
    assert_legible(
        likeness(table(galleries=("all", "without_bags", "bags_only")), profile="sample", networks=NETWORKS)
    )
    photos = [photo()] * 6
    row = measured_row(
        "untrained_discriminator", np.stack(photos), looks(*photos), query=0, answers=np.arange(1, 6)
    )
    assert_legible(
        likeness_rows([row, row, row], profile="sample", title="What answers share with their query")
    )


def test_measures_that_are_missing_have_no_panel() -> None:
    figure = likeness(table(measures=("class", "colour")), profile="zappos", networks=NETWORKS)
    assert len(figure.axes) == 2


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda rows: rows.drop(columns="low"), "column low is missing"),
        (lambda rows: rows[:0], "no rows"),
        (lambda rows: rows.assign(value=np.nan), "value of row 1"),
        (lambda rows: rows.assign(value=1.4), "from 0 to 1; found 1.4"),
        (lambda rows: rows[rows["measure"] != "class"], "no row with measure class"),
    ],
)
def test_faults_of_the_table_are_named(change, words: str) -> None:
    with pytest.raises(InputError, match=f"table likeness: .*{words}"):
        likeness(change(table()), profile="zappos", networks=NETWORKS)


def test_networks_of_unknown_weights_are_refused() -> None:
    with pytest.raises(InputError, match="table networks: no row for VGG16"):
        likeness(table(), profile="zappos")


def test_the_registry_draws_the_same_bytes_twice(workspace: Path) -> None:
    paths = Paths.of("smoke")
    files.write_table(paths.result("likeness"), table())
    files.write_table(paths.result("networks"), NETWORKS)
    draw_chart("likeness", profile="smoke")
    first = (paths.figures / "likeness.png").read_bytes(), (paths.figures / "likeness.pdf").read_bytes()
    assert "likeness" in charts.CHARTS
    draw_chart("likeness", profile="smoke")
    assert first == (
        (paths.figures / "likeness.png").read_bytes(),
        (paths.figures / "likeness.pdf").read_bytes(),
    )


def test_the_picture_shows_each_answers_figures() -> None:
    photos = [photo(), photo(heel=True), photo(colour=(30, 150, 90))]
    seen = looks(*photos, labels=["a", "a", "b"], names=["brown", "", "green"])
    row = measured_row("infogan", np.stack(photos), seen, query=0, answers=np.array([1, 2]))
    words = texts(likeness_rows([row], profile="sample", title="Title"))
    assert "InfoGAN (proposed)" in words and "Title" in words
    for name in MEASURE_NAMES.values():
        assert name in words
    assert "unknown" in words  # the second photo's colour has no name
    assert f"{row.likeness['shape'][0]:.2f}" in words and "1.00" in words and "0.00" in words


def test_a_picture_without_answers_is_refused() -> None:
    with pytest.raises(InputError, match="no answers to draw"):
        likeness_rows([], profile="sample")
    with pytest.raises(InputError, match="no answers to draw"):
        likeness_rows([MeasuredRow("infogan", photo(), [], {})], profile="sample")
