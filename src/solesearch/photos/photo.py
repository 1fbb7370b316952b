"""One photograph: opened, checked, turned upright, put on white, resized. One decoder for index and query."""

from __future__ import annotations

import errno
import io
import math
import os
import re
import stat
import warnings
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, PngImagePlugin, UnidentifiedImageError, features

from solesearch.core.errors import InputError

WHITE = (255, 255, 255)

# Input size (height, width) of each reading of the papers' contradictory sizes.
IMAGE_SIZES = {
    "paper-64x96": (64, 96),  # P's printed vector, 1 x 1536 = 8 * 12 * 16
    "paper-128x128": (128, 128),  # P's printed input; 4096 features
    "chapter-224": (224, 224),  # C's printed vector, 1 x 12,544 = 28 * 28 * 16
    "chapter-207": (207, 207),  # C's printed input; 10,816 features
}

# What `object` takes for the object: all of it our choice, tried on real catalogue photographs.
BORDER = 0.02  # of the shorter side: the frame from which the background's colour is taken
FAINT, CLEAR = 12, 32  # differences from the background, of 255: if joined to something clear, and by itself
SPECK = 0.0005  # of the photo's area; what is smaller is dust
LEAST_OBJECT = 0.125  # of the photo's longer side; what is smaller is not the product
MARGIN = 0.04  # of the fitted picture, left free around the object on every side
SEEN_SIDE = 512  # pixels; larger photos are reduced before the object is looked for

# What photographs are stored as. Pillow can open far more (PostScript runs a program): it is not asked to.
# Phones' JPEGs with several pictures (MPO) come in as JPEG. Not every Pillow is built with AVIF.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", *(["AVIF"] if features.check("avif") else []))
SUFFIXES = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".webp", ".gif", ".bmp"),
    *(".tif", ".tiff", ".avif"),
)
# What a file of another kind begins with, by which a refusal can name it.
FOREIGN = {
    rb"....ftyp(hei[cxms]|hev[cx]|mif1|msf1)": "a HEIC photo",
    rb"....ftypavi[fs]": "an AVIF photo",
    rb"....ftyp": "a film",
    rb"\xff\x0a|....JXL ": "a JPEG XL picture",
    rb"\xff\x4f\xff\x51|....jP  ": "a JPEG 2000 picture",
    rb"8BPS": "a Photoshop file",
    rb"%PDF": "a PDF",
    rb"(\xef\xbb\xbf)?\s*<svg": "an SVG drawing",
    rb"(\xef\xbb\xbf)?\s*<\?xml": "a text in XML, such as an SVG drawing",
    rb"(\xef\xbb\xbf)?\s*<(!doctype html|html)": "a web page",
    rb"version https://git-lfs": "a pointer of Git LFS, not the photo itself",
}
NOT_TAKEN = "not a photo that is read here"
# Photoshop writes megabytes of history into a PNG. Pillow's bound on all texts of a file together stays.
PngImagePlugin.MAX_TEXT_CHUNK = PngImagePlugin.MAX_TEXT_MEMORY
# Pillow warns above this number of pixels and refuses twice as many; no limit of ours may lie higher.
MOST_PIXELS = 89_478_485
warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # max_pixels decides, and says so
JPEG_QUALITY = 85  # of the small photos on pages: about 2 kB at 128 pixels
ORIENTATION = 0x0112  # EXIF tag: 1 upright, 2 to 8 turned or mirrored


def _to_eight_bits(image: Image.Image) -> Image.Image:
    """Return a grey photo of 16 bits with 8; Pillow's own conversion clips at 255, which whitens it."""
    if image.mode.startswith("I;16"):
        return Image.fromarray((np.asarray(image).astype(np.uint16) >> 8).astype(np.uint8))
    if image.mode in ("I", "F"):
        raise ValueError("32 bits a pixel, of unknown range; save it with 8")
    return image


def upright_rgb(image: Image.Image) -> Image.Image:
    """Return the first frame as RGB: EXIF rotation applied, transparency laid on white, CMYK converted.

    Grey photos of 16 bits lose the lower eight; raises ValueError for 32-bit and floating-point ones, and
    Pillow's errors for damaged ones.
    """
    image = _to_eight_bits(ImageOps.exif_transpose(image))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        ground = Image.new("RGBA", image.size, (*WHITE, 255))
        image = Image.alpha_composite(ground, image)
    return image.convert("RGB")


def fit_to(image: Image.Image, *, size: tuple[int, int], fit: str) -> np.ndarray:
    """Return an RGB image as uint8 [height, width, 3] of `size` (height, width).

    `stretch` resizes both sides freely (as P's 136x102 to 96x64 must), `pad` keeps the proportions and
    fills with white, `object` cuts the photo down to what is on it first and fills with its background's
    colour. Bilinear with anti-aliasing, as Pillow does when it reduces.
    """
    height, width = size
    if fit == "object":
        return _fit_object(image, size=size)
    if fit == "pad":
        image = _padded(image, (width, height), colour=WHITE)
    else:
        image = image.resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(image, dtype=np.uint8)


def _fit_object(image: Image.Image, *, size: tuple[int, int]) -> np.ndarray:
    (height, width), (box, background) = size, find_object(image)
    free = round(MARGIN * height), round(MARGIN * width)
    inside = (max(1, width - 2 * free[1]), max(1, height - 2 * free[0]))
    shown = _padded(image.crop(box), inside, colour=background)
    canvas = Image.new("RGB", (width, height), background)
    canvas.paste(shown, ((width - inside[0]) // 2, (height - inside[1]) // 2))
    return np.asarray(canvas, dtype=np.uint8)


def _padded(image: Image.Image, size: tuple[int, int], *, colour: tuple[int, int, int]) -> Image.Image:
    """Return `image` inside `size` (width, height), its proportions kept, on `colour`.

    Pillow rounds the shorter side of a very long photo to no pixel at all and fails; here it keeps one.
    """
    width, height = size
    if round(image.height / image.width * width) < 1:
        image = image.resize((width, 1), Image.Resampling.BILINEAR)
    elif round(image.width / image.height * height) < 1:
        image = image.resize((1, height), Image.Resampling.BILINEAR)
    return ImageOps.pad(image, size, Image.Resampling.BILINEAR, color=colour)


def find_object(image: Image.Image) -> tuple[tuple[int, int, int, int], tuple[int, int, int]]:
    """Return the box (left, top, right, bottom; pixels, the last two exclusive) of what an RGB image shows
    before its background, and the background's colour.

    The whole photo where nothing is seen: a blank photo, one without an even background, one whose object
    is a dot.
    """
    seen = image.copy()
    seen.thumbnail((SEEN_SIDE, SEEN_SIDE), Image.Resampling.BILINEAR)  # never enlarges
    mask, background = object_mask(np.asarray(seen, dtype=np.uint8))
    whole, colour = (0, 0, image.width, image.height), tuple(int(value) for value in background)
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return whole, colour
    across, down = image.width / seen.width, image.height / seen.height
    left, right = math.floor(columns[0] * across), math.ceil((columns[-1] + 1) * across)
    top, bottom = math.floor(rows[0] * down), math.ceil((rows[-1] + 1) * down)
    if max(right - left, bottom - top) < LEAST_OBJECT * max(image.size):
        return whole, colour
    return (left, top, min(right, image.width), min(bottom, image.height)), colour


def object_mask(pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return where a photo uint8 [h, w, 3] differs from its background, bool [h, w], and the background's
    colour, uint8 [3].

    A pixel belongs to the object when a channel differs by more than FAINT and its connected patch (eight
    neighbours) differs by more than CLEAR somewhere (hysteresis, Canny 1986) and is no speck. So a pale edge
    counts as far as it hangs together with something clear; so does the shadow that touches it, while a
    shadow alone, noise and dust do not.
    """
    from scipy import ndimage  # half a second that only this needs

    background = border_colour(pixels)
    difference = np.abs(pixels.astype(np.int16) - background.astype(np.int16)).max(axis=2)
    patches, count = ndimage.label(difference > FAINT, structure=np.ones((3, 3), int))
    clear = np.bincount(patches[difference > CLEAR], minlength=count + 1) > 0
    large = np.bincount(patches.ravel(), minlength=count + 1) >= max(2.0, SPECK * difference.size)
    kept = clear & large
    kept[0] = False  # patch 0 is the background
    return kept[patches], background


def border_colour(pixels: np.ndarray) -> np.ndarray:
    """Return the most frequent colour, uint8 [3], of the frame around a photo uint8 [h, w, 3].

    The fullest of 16 x 16 x 16 cells of colour, then the median of all the frame's pixels near that cell's:
    an object that touches the border changes nothing while it covers less of it than the background.
    """
    width = max(1, round(BORDER * min(pixels.shape[:2])))
    inside = np.zeros(pixels.shape[:2], dtype=bool)
    inside[width:-width, width:-width] = True
    frame = pixels[~inside].astype(np.int64)
    cells = (frame // 16) @ np.array([256, 16, 1])
    fullest = np.bincount(cells).argmax()
    middle = np.median(frame[cells == fullest], axis=0)
    near = (np.abs(frame - middle) <= FAINT).all(axis=1)
    near |= ~near.any()  # a frame of a few pixels, none of them near the median of each channel
    return np.median(frame[near], axis=0).astype(np.uint8)


def read_file(path: Path) -> bytes:
    """Return a file's content; raises OSError for what is no regular file (opening a pipe would wait)."""
    if not stat.S_ISREG(path.stat().st_mode):
        raise OSError(errno.EINVAL, "no regular file", str(path))
    return path.read_bytes()


def load_photo(path: Path) -> Image.Image:
    """Return the photo at `path` as upright RGB, as `open_checked` does; Pillow's errors pass through."""
    with Image.open(io.BytesIO(read_file(path)), formats=FORMATS) as image:
        return upright_rgb(image)


def load_pixels(path: Path, *, size: tuple[int, int], fit: str) -> np.ndarray:
    """Return the photo at `path` as uint8 [height, width, 3]; Pillow's errors pass through."""
    return fit_to(load_photo(path), size=size, fit=fit)


def decode_photos(ids: Iterable[str], *, folder: Path, size: tuple[int, int], fit: str) -> np.ndarray:
    """Return photos below `folder` as uint8 [n, height, width, 3] of `size`, in the order of `ids`.

    Raises InputError that names a file which is gone or damaged by now: stage prepare could read it.
    """

    def decode(name: str) -> np.ndarray:
        try:
            return load_pixels(folder / name, size=size, fit=fit)
        except (OSError, ValueError, SyntaxError) as error:
            raise InputError(
                f"{folder / name}: could be read by stage prepare, not now ({error}); run it again"
            ) from error

    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:  # Pillow decodes outside Python's lock
        return np.stack(list(pool.map(decode, ids)))


class PhotoRefusedError(ValueError):
    """A photo that is left out; the text says why, in a few words and without the file's name."""


def open_checked(data: bytes, *, min_side: int, max_pixels: int) -> tuple[Image.Image, list[tuple[str, str]]]:
    """Return a photo file's content as upright RGB, and what was odd about it: [(problem, what was done)].

    Size is judged by the header, so a huge photo costs no memory. Raises PhotoRefusedError for what is
    unreadable, truncated, tiny (a side below `min_side`) or huge (more than `max_pixels`).
    """
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            width, height = image.size
            if min(image.size) < min_side:
                raise PhotoRefusedError(f"tiny: {width} x {height} pixels, min_side is {min_side}")
            if width * height > max_pixels:
                raise PhotoRefusedError(f"huge: {width} x {height} pixels, max_pixels is {max_pixels}")
            remarks = _remarks(image)
            return upright_rgb(image), remarks
    except PhotoRefusedError:
        raise
    except UnidentifiedImageError as error:  # its text holds a memory address, which differs on each run
        raise PhotoRefusedError(_named(data)) from error
    except Image.DecompressionBombError as error:
        raise PhotoRefusedError(f"huge: more than {2 * MOST_PIXELS} pixels") from error
    except Exception as error:  # Pillow's decoders raise a dozen kinds; one bad photo must not stop the rest
        raise PhotoRefusedError(f"unreadable: {str(error) or type(error).__name__}") from error


def _named(data: bytes) -> str:
    """Return why Pillow does not know a file, by what its first bytes say it is."""
    if not data:
        return "unreadable: an empty file"
    for start, what in FOREIGN.items():
        if re.match(start, data, re.DOTALL | re.IGNORECASE):
            return f"{NOT_TAKEN}: {what}; convert it to JPEG or PNG"
    return f"unreadable: no {', '.join(FORMATS[:-1])} or {FORMATS[-1]}"


def _remarks(image: Image.Image) -> list[tuple[str, str]]:
    frames, orientation = getattr(image, "n_frames", 1), image.getexif().get(ORIENTATION, 1)
    remarks = {
        ("CMYK", "converted to RGB"): image.mode == "CMYK",
        ("palette", "converted to RGB"): image.mode in ("P", "PA"),
        ("16 bits a pixel", "reduced to 8"): image.mode.startswith("I;16"),
        (f"animated: {frames} frames", "first frame used"): frames > 1,
        ("transparent", "laid on white"): _shows_ground(image),
        (f"EXIF orientation {orientation}", "turned upright"): orientation in range(2, 9),
    }
    return [remark for remark, holds in remarks.items() if holds]


def _shows_ground(image: Image.Image) -> bool:
    """Tell whether any pixel is not opaque; an alpha channel alone makes no difference."""
    if not image.has_transparency_data or image.mode.startswith("I"):
        return False
    return image.convert("RGBA").getchannel("A").getextrema()[0] < 255


def small_jpeg(image: Image.Image | np.ndarray, *, side: int) -> bytes:
    """Return an RGB image, or uint8 [h, w, 3], as JPEG without metadata, no side above `side` pixels."""
    small, written = Image.fromarray(np.asarray(image)), io.BytesIO()
    small.thumbnail((side, side), Image.Resampling.LANCZOS)
    small.save(written, "JPEG", quality=JPEG_QUALITY, optimize=True)
    return written.getvalue()


def to_signed(pixels: np.ndarray) -> np.ndarray:
    """Map uint8 pixels to float32 in [-1, 1], the range of the generator's tanh."""
    return pixels.astype(np.float32) / 127.5 - 1.0


def to_pixels(signed: np.ndarray) -> np.ndarray:
    """Map float images in [-1, 1] to uint8, rounded."""
    return np.clip(np.rint((np.asarray(signed) + 1.0) * 127.5), 0, 255).astype(np.uint8)
