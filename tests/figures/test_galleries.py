"""Galleries show what they were given: photos, distances, classes, and generated images."""

import numpy as np
import pytest
from legible import assert_legible, caption, words
from matplotlib.colors import to_hex

from solesearch.core.errors import InputError
from solesearch.figures import drawing, galleries
from solesearch.figures.galleries import GalleryRow, Neighbour


def photo(shade: int, *, height: int = 32, width: int = 48) -> np.ndarray:
    return np.full((height, width, 3), shade, np.uint8)


def gallery_row(name: str = "infogan", labels: str = "boot shoe boot") -> GalleryRow:
    found = [Neighbour(photo(10 * k), label, 0.5 + k, f"{k}.jpg") for k, label in enumerate(labels.split())]
    return GalleryRow(name, photo(200), "boot", found)


def test_gallery_marks_the_class_by_frame_and_sign() -> None:
    rows = [gallery_row(), gallery_row("hog", "shoe boot")]
    figure = galleries.neighbour_gallery(rows, profile="sample", title="Unseen photos")
    figure.draw_without_rendering()
    frames = [to_hex(axes.spines["left"].get_edgecolor()) for axes in figure.axes]
    same, other, query = drawing.GREEN, drawing.VERMILION, "#000000"
    assert frames == [query, same, other, same, query, other, same]
    assert [[text.get_text() for text in axes.texts] for axes in figure.axes] == [
        [], ["✓"], ["✗"], ["✓"], [], ["✗"], ["✓"],
    ]  # fmt: skip
    below = [axes.get_xlabel() for axes in figure.axes[:4]]
    assert below == ["query\nboot", "0.500\nboot", "1.50\nshoe", "2.50\nboot"]
    assert {"InfoGAN\n(proposed)", "HOG", "Unseen photos"} <= set(words(figure))
    boxes = [axes.get_window_extent() for axes in figure.axes[:4]]
    assert [box.x0 for box in boxes] == sorted(box.x0 for box in boxes)
    for axes, box, shade in zip(figure.axes, boxes, (200, 0, 10, 20), strict=False):
        assert (axes.images[0].get_array() == shade).all()
        assert box.width / box.height == pytest.approx(48 / 32, rel=0.01)
    assert "synthetic catalogue" in caption(figure)
    assert "n = 1 query, top 3" in caption(figure)
    assert_legible(figure)


def test_own_products_are_marked_where_there_are_some() -> None:
    row = gallery_row()
    own = Neighbour(photo(1), "boot", 0.1, "own.jpg", same_product=True)
    rows = [GalleryRow("hog", photo(2), "boot", [own, *row.neighbours])]
    figure = galleries.neighbour_gallery(rows, profile="sample", title="")
    assert [sorted(text.get_text() for text in axes.texts) for axes in figure.axes[:3]] == [
        [], ["=", "✓"], ["✓"],
    ]  # fmt: skip
    assert "=\N{NO-BREAK SPACE}blue: the query's own product" in caption(figure)
    assert "own product" not in caption(galleries.neighbour_gallery([row], profile="sample", title=""))
    assert_legible(figure)


def test_gallery_of_mixed_shapes_and_many_neighbours_stays_legible() -> None:
    tall = Neighbour(photo(9, height=90, width=30), "a very long class name", 1234.5, "tall.jpg")
    rows = [GalleryRow("InceptionResNetV2", photo(1), "shoe", [tall, *gallery_row().neighbours] * 2)]
    figure = galleries.neighbour_gallery(rows, profile="paper", title="")
    figure.draw_without_rendering()
    box = figure.axes[1].get_window_extent()
    assert box.height / box.width == pytest.approx(3, rel=0.01)
    assert figure.axes[1].get_xlabel().startswith("1,234\na very")
    assert figure.get_figheight() < 2.5
    assert_legible(figure)


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0, "0"), (0.00412, "0.00412"), (0.5, "0.500"), (11, "11.0"), (123.4, "123"), (5432, "5,432")],
)
def test_distances_have_three_digits(value: float, shown: str) -> None:
    assert galleries.three_digits(value) == shown


def sample_grid(step: int) -> np.ndarray:
    """A grid of 4 x 8 images, each of one shade: 8 * row + column + step / 250."""
    shades = (np.arange(32) + step // 250).astype(np.uint8).reshape(4, 8)
    return np.repeat(np.repeat(shades, 16, axis=0), 24, axis=1)[..., None].repeat(3, axis=2)


def test_the_grid_is_the_one_that_training_keeps() -> None:
    from solesearch.gan.trainer import SAMPLE_COLUMNS, SAMPLE_ROWS

    assert (galleries.SAMPLE_ROWS, galleries.SAMPLE_COLUMNS) == (SAMPLE_ROWS, SAMPLE_COLUMNS)


def test_generated_samples_show_the_first_row_of_each_step() -> None:
    figure = galleries.generated_samples({s: sample_grid(s) for s in (500, 0, 250)}, profile="paper", seed=4)
    assert words(figure)[:3] == ["untrained", "iteration 250", "iteration 500"]
    for axes, step in zip(figure.axes, (0, 250, 500), strict=True):
        shown = axes.images[0].get_array()
        assert shown.shape == (16, 8 * 25, 3)  # a white line after each
        for column in range(8):
            assert (shown[:, 25 * column : 25 * column + 24] == column + step // 250).all()
            assert (shown[:, 25 * column + 24] == 255).all()
    assert "seed 4" in caption(figure) and "n = 8" in caption(figure)
    assert_legible(figure)


def test_nothing_to_draw_is_said() -> None:
    many = GalleryRow("hog", photo(1), "boot", gallery_row().neighbours * 20)
    for rows, message in (
        ([], "gallery: nothing to draw"),
        ([GalleryRow("hog", photo(1), "boot", [])], "gallery: nothing to draw"),
        ([many], "60 neighbours do not fit"),
    ):
        with pytest.raises(InputError, match=message):
            galleries.neighbour_gallery(rows, profile="paper", title="")
    with pytest.raises(InputError, match="no grid"):
        galleries.generated_samples({}, profile="paper", seed=1)
