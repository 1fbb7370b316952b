"""Features that nobody trained, for every table: a learned feature that does not beat them learned nothing
useful for this measure. All take uint8 pixels [n, h, w, 3] and return float32 [n, d]."""

from __future__ import annotations

import numpy as np
from skimage.color import rgb2gray
from skimage.feature import hog

from solesearch.core.errors import InputError

BINS = 4  # per colour channel: 4 x 4 x 4 = 64 cells
RANDOM_DIMENSIONS = 16
BLOCK = 512  # photos at a time


def pixels(images: np.ndarray) -> np.ndarray:
    """Return the raw pixels in [0, 1], flattened: d = h * w * 3."""
    return images.reshape(len(images), -1).astype(np.float32) / 255


def mean_colour(images: np.ndarray) -> np.ndarray:
    """Return the mean of each colour channel in [0, 1]: d = 3."""
    return (images.mean(axis=(1, 2)) / 255).astype(np.float32)


def colour_histogram(images: np.ndarray) -> np.ndarray:
    """Return the share of pixels in each of 4 x 4 x 4 RGB cells: d = 64, rows sum to 1."""
    cells = (images // (256 // BINS)).astype(np.int64)
    codes = (cells[..., 0] * BINS + cells[..., 1]) * BINS + cells[..., 2]
    flat = codes.reshape(len(images), -1)
    counts = np.stack([np.bincount(row, minlength=BINS**3) for row in flat])
    return (counts / flat.shape[1]).astype(np.float32)


def histogram_of_gradients(images: np.ndarray) -> np.ndarray:
    """Return HOG (Dalal and Triggs 2005; scikit-image): 9 orientations, 8x8 cells, 2x2 blocks, L2-Hys."""
    grey = rgb2gray(images)
    return np.stack(
        [
            hog(image, orientations=9, pixels_per_cell=(8, 8), cells_per_block=(2, 2), block_norm="L2-Hys")
            for image in grey
        ]
    ).astype(np.float32)


def random_vectors(images: np.ndarray, *, seed: int) -> np.ndarray:
    """Return vectors that ignore the photo, d = 16: their ranking is a random one."""
    drawn = np.random.default_rng(seed).standard_normal((len(images), RANDOM_DIMENSIONS))
    return drawn.astype(np.float32)


CONTROLS = {
    "mean_colour": mean_colour,
    "colour_histogram": colour_histogram,
    "pixels": pixels,
    "hog": histogram_of_gradients,
}


def control_features(name: str, images: np.ndarray) -> np.ndarray:
    """Return the features of control `name` for uint8 images [n, h, w, 3]; raises InputError if unknown.

    Block by block, since what lies between photo and feature has up to 24 bytes a pixel's byte.
    """
    if name not in CONTROLS:
        raise InputError(f"control {name!r} is unknown; there are {', '.join(CONTROLS)}")
    starts = range(0, max(len(images), 1), BLOCK)
    return np.concatenate([CONTROLS[name](images[start : start + BLOCK]) for start in starts])
