"""One photograph: opened, checked, turned upright, put on white, resized. One decoder for index and query."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

WHITE = (255, 255, 255)


def upright_rgb(image: Image.Image) -> Image.Image:
    """Return the first frame as RGB: EXIF rotation applied, transparency laid on white, CMYK converted."""
    image = ImageOps.exif_transpose(image)
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        image = image.convert("RGBA")
        ground = Image.new("RGBA", image.size, (*WHITE, 255))
        image = Image.alpha_composite(ground, image)
    return image.convert("RGB")


def fit_to(image: Image.Image, *, size: tuple[int, int], fit: str) -> np.ndarray:
    """Return an RGB image as uint8 [height, width, 3] of `size` (height, width).

    `stretch` resizes both sides freely (as P's 136x102 to 96x64 must), `pad` keeps the proportions and
    fills with white. Bilinear with anti-aliasing, as Pillow does when it reduces.
    """
    height, width = size
    if fit == "pad":
        image = ImageOps.pad(image, (width, height), Image.Resampling.BILINEAR, color=WHITE)
    else:
        image = image.resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(image, dtype=np.uint8)


def load_pixels(path: Path, *, size: tuple[int, int], fit: str) -> np.ndarray:
    """Return the photo at `path` as uint8 [height, width, 3]; Pillow's errors pass through."""
    with Image.open(path) as image:
        return fit_to(upright_rgb(image), size=size, fit=fit)


def to_signed(pixels: np.ndarray) -> np.ndarray:
    """Map uint8 pixels to float32 in [-1, 1], the range of the generator's tanh."""
    return pixels.astype(np.float32) / 127.5 - 1.0


def to_pixels(signed: np.ndarray) -> np.ndarray:
    """Map float images in [-1, 1] to uint8, rounded."""
    return np.clip(np.rint((np.asarray(signed) + 1.0) * 127.5), 0, 255).astype(np.uint8)
