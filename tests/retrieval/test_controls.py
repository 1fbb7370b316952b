"""The untrained features: shapes, ranges, worked numbers."""

import numpy as np
import pytest

from solesearch.core.errors import InputError
from solesearch.retrieval import controls
from solesearch.retrieval.controls import CONTROLS, control_features, random_vectors


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (3, 64, 96, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    ("name", "dimensions"),
    [("mean_colour", 3), ("colour_histogram", 64), ("pixels", 18432), ("hog", 7 * 11 * 36)],
)
def test_shape_and_range(images: np.ndarray, name: str, dimensions: int) -> None:
    before = images.copy()
    features = control_features(name, images)
    assert (images == before).all()
    assert features.shape == (3, dimensions)
    assert features.dtype == np.float32
    assert features.min() >= 0 and features.max() <= 1


def test_mean_colour_by_hand() -> None:
    image = np.zeros((1, 2, 2, 3), dtype=np.uint8)
    image[0, 0, :, 0] = 255  # half of the pixels are red
    assert control_features("mean_colour", image)[0].tolist() == [0.5, 0, 0]


def test_histogram_by_hand() -> None:
    image = np.array([[[[0, 0, 63], [64, 0, 0]]]], dtype=np.uint8)
    histogram = control_features("colour_histogram", image)[0]
    assert histogram[0] == 0.5  # 63 is still in the lowest quarter of blue
    assert histogram[16] == 0.5  # 64 is in the second quarter of red
    assert histogram.sum() == 1


def test_hog_ignores_brightness_offset(images: np.ndarray) -> None:
    dark = (images // 2).astype(np.uint8)
    np.testing.assert_allclose(control_features("hog", dark), control_features("hog", dark + 40), atol=1e-3)


def test_random_vectors_repeat_by_seed(images: np.ndarray) -> None:
    assert (random_vectors(images, seed=1) == random_vectors(images, seed=1)).all()
    assert (random_vectors(images, seed=1) != random_vectors(images, seed=2)).any()


def test_unknown_control() -> None:
    with pytest.raises(InputError, match="mean_colour"):
        control_features("sift", np.zeros((1, 8, 8, 3), np.uint8))


@pytest.mark.parametrize("name", CONTROLS)
def test_blocks_of_photos_change_nothing(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    photos = np.random.default_rng(1).integers(0, 256, (9, 16, 24, 3), dtype=np.uint8)
    whole = control_features(name, photos)
    monkeypatch.setattr(controls, "BLOCK", 4)
    assert (control_features(name, photos) == whole).all()
