"""The trunk on oriented gradients: its fixed layer against plain loops, and what it must not notice."""

import math

import numpy as np
import pytest

from solesearch.beyond import gradient_trunk
from solesearch.beyond.gradient_trunk import CELL, DIRECTIONS, FAINT, QUIET, oriented_gradients


def plain_cells(image: np.ndarray) -> np.ndarray:
    """Return oriented gradients of one image [h, w, 3], pixel by pixel."""
    height, width, _ = image.shape
    grey = np.pad((image.mean(axis=2) + 1) / 2, 1, mode="reflect")
    cells = np.zeros((height // CELL, width // CELL, DIRECTIONS))
    for row, column, number in np.ndindex(height, width, DIRECTIONS):
        across = grey[row + 1, column + 2] - grey[row + 1, column]
        down = grey[row + 2, column + 1] - grey[row, column + 1]
        strength, angle = math.sqrt(across**2 + down**2 + FAINT), math.pi * number / DIRECTIONS
        cosine = (across * math.cos(angle) + down * math.sin(angle)) / strength
        cells[row // CELL, column // CELL, number] += strength * cosine**8 / CELL**2
    scaled = np.zeros_like(cells)
    for row, column in np.ndindex(cells.shape[:2]):
        around = cells[max(0, row - 1) : row + 2, max(0, column - 1) : column + 2]
        scaled[row, column] = cells[row, column] / math.sqrt((around**2).sum(axis=2).mean() + QUIET)
    return scaled


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    return np.random.default_rng(1).uniform(-1, 1, (16, 24, 3)).astype(np.float32)


def test_cells_are_those_of_plain_loops(image: np.ndarray) -> None:
    np.testing.assert_allclose(oriented_gradients(image[None])[0], plain_cells(image), rtol=1e-4, atol=1e-5)


def test_an_upright_edge_falls_into_the_first_direction() -> None:
    upright = np.ones((1, 16, 16, 3), np.float32)
    upright[:, :, :8] = -1
    found = oriented_gradients(upright).numpy()[0].sum(axis=(0, 1))
    assert found.argmax() == 0
    assert found[4] < 0.01 * found[0]  # 80 degrees off


def test_turning_dark_and_light_changes_nothing_and_a_white_photo_gives_nothing(image: np.ndarray) -> None:
    np.testing.assert_allclose(oriented_gradients(image[None]), oriented_gradients(-image[None]), atol=1e-5)
    assert oriented_gradients(np.ones((1, 16, 24, 3), np.float32)).numpy().max() < 0.01


def test_equal_seeds_give_equal_trunks_and_all_blocks_are_returned(image: np.ndarray) -> None:
    first, again, other = (
        gradient_trunk.build_gradient_trunk((16, 24), leak=0.2, norm_momentum=0.9, seed=seed)(image[None])
        for seed in (1, 1, 2)
    )
    shapes = [one.shape[1:] for one in first.activations]
    assert shapes == [(4, 6, 9), (4, 6, 64), (2, 3, 128), (2, 3, 192), (1, 2, 256)]
    assert first.features.shape == (1, 512)
    assert np.array_equal(first.features, again.features)
    assert not np.array_equal(first.features, other.features)
