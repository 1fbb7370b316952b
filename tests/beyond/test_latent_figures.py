"""The figures of the codes: charts of the table, and rows of images where they belong."""

import numpy as np
import pandas as pd
import pytest
from legible import assert_legible, words

from solesearch.beyond import latent_figures
from solesearch.beyond.sample_quality import (
    ALL_CODES,
    CLASS_CODE,
    CODES_REDRAWN,
    COLUMNS,
    GENERATED,
    NOISE_REDRAWN,
    ImageSet,
    Nearest,
)
from solesearch.core.errors import InputError


def code_table() -> pd.DataFrame:
    """Two seeds, two codes of which the second is dead, every measure that the charts draw."""
    lines = []
    for seed in (1, 2):
        effects = {"code 1": 20.0, "code 2": 0.0, NOISE_REDRAWN: 40.0, CODES_REDRAWN: 42.0}
        values = [("effect", item, value) for item, value in effects.items()]
        bounds = {"code 1": 1.5, "code 2": 0.0, ALL_CODES: 1.5}
        values += [("information_bound", item, value) for item, value in bounds.items()]
        values += [
            (f"probe_{part}", item, 0.6) for part in ("validation", "test") for item in latent_figures.PROBED
        ]
        values += [("kid_hog", item, 0.02) for item in (GENERATED, "untrained generator")]
        lines += [(seed, measure, item, value, value - 0.1, value + 0.1) for measure, item, value in values]
    guesses = [
        (f"probe_{part}", item) for part in ("validation", "test") for item in ("chance", "majority class")
    ]
    lines += [(0, *guess, 0.25, np.nan, np.nan) for guess in guesses]
    kids = (("noise", 3.0), ("training photos", 0.001), ("split halves of test photos", -1e-5))
    lines += [(0, "kid_hog", item, value, value - 1e-3, value + 1e-3) for item, value in kids]
    return pd.DataFrame([(*line, 50, "", "") for line in lines], columns=COLUMNS)


@pytest.mark.parametrize(
    ("chart", "measure"), [("code_effects", "effect"), ("code_probe", "probe_test"), ("kid_bars", "kid_hog")]
)
def test_charts_can_be_read_and_say_what_is_missing(chart: str, measure: str) -> None:
    table, draw = code_table(), getattr(latent_figures, chart)
    assert_legible(draw(table, profile="smoke"))
    with pytest.raises(InputError, match="table latent_codes: no"):
        draw(table[table["measure"] != measure], profile="smoke")


def test_equal_guesses_share_a_line() -> None:
    assert "chance and majority class" in words(latent_figures.code_probe(code_table(), profile="smoke"))


def images_of(count: int) -> np.ndarray:
    return np.stack([np.full((6, 30, 3), 10 * n, np.uint8) for n in range(count)])


def test_strip_sets_images_beyond_apart() -> None:
    """Three images of 30 pixels: a gap of 10 where the range ends, of 1 within."""
    row = latent_figures.ImageRow("", images_of(3), [True, False, False])
    picture, middles = latent_figures.strip(row)
    assert picture.shape == (6, 101, 3) and middles.tolist() == [15, 55, 86]
    assert picture[0, [0, 29, 35, 40, 69, 70, 71, 100], 0].tolist() == [0, 0, 255, 10, 10, 255, 20, 20]


def test_traversal_picture_names_every_code_with_its_numbers() -> None:
    rows = {seed: {f"code {n}": images_of(3) for n in (1, 2)} for seed in (1, 2)}
    options = {"values": [-1.5, -1, 0.25], "profile": "smoke"}
    figure = latent_figures.traversal_picture(rows, code_table(), **options)
    found = words(figure)
    assert len(figure.axes) == 4 and found.count("20.0 · 1.50 nats") == found.count("0.0 · 0.00 nats") == 2
    assert found.count("-1.5") == found.count("+0.25") == 2, "above each seed's rows"
    assert figure.axes[0].images[0].get_array().shape == (6, 101, 3), "the first image is set apart"
    assert_legible(figure)
    rows[1]["code 9"] = rows[1]["code 1"]
    with pytest.raises(InputError, match="code 9"):
        latent_figures.traversal_picture(rows, code_table(), **options)


def test_traversal_picture_of_a_class_code_alone_names_the_classes() -> None:
    """Eight classes and eleven values: the only row, so the first one, has fewer images than values."""
    tall = images_of(8).repeat(4, axis=1)  # 24 by 30 pixels
    rows, table = {1: {CLASS_CODE: tall}}, code_table().replace({"item": {"code 1": CLASS_CODE}})
    figure = latent_figures.traversal_picture(rows, table, values=list(np.linspace(-1, 1, 11)), profile="x")
    [axes] = figure.axes
    assert [label.get_text() for label in axes.get_xticklabels()] == [f"class {n}" for n in range(8)]
    assert axes.images[0].get_array().shape[1] == 8 * 30 + 7, "no image is set apart"
    assert_legible(figure)


def test_nearest_picture_shows_the_nearest_and_the_first() -> None:
    images = ImageSet(GENERATED, 1, np.stack([np.full((4, 6, 3), n, np.uint8) for n in range(8)]))
    one = Nearest(images, np.arange(8)[::-1], np.array([5, 4, 3, 2, 1, 0.5, 9, 9]))
    assert latent_figures.shown_images(one, 4).tolist() == [5, 4, 0, 1]
    training = np.stack([np.full((4, 6, 3), 100 + n, np.uint8) for n in range(8)])
    nearest = {"pixels": [one], "hog": [one]}
    figure = latent_figures.nearest_picture(nearest, training, profile="smoke", shown=2)
    shown = [axes.images[0].get_array() for axes in figure.axes]
    for row, values in zip(shown, ([5, 4, 0, 1], [102, 103, 107, 106], [102, 103, 107, 106]), strict=True):
        assert (
            set(values) <= set(np.unique(row)) and row[0, 0, 0] == values[0] and row[0, -1, 0] == values[-1]
        )
    assert_legible(figure)
