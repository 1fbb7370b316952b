"""Photos that visitors send: judged by their bytes alone, decoded as the catalogue was, kept in memory."""

from __future__ import annotations

import io
import secrets
from collections import OrderedDict
from dataclasses import dataclass
from threading import Lock

import numpy as np
from PIL import Image

from solesearch.core.errors import InputError
from solesearch.photos.photo import NOT_TAKEN, PhotoLimits, PhotoRefusedError, fit_to, open_checked

SMALLEST_SIDE = 16  # pixels, as in the catalogue: below is a thumbnail or a spacer
LARGEST_SIDE = 640  # what is kept of an upload, pixels; the networks see 299 at most
PREVIEW_SIDE = 240  # pixels
TOKEN_BYTES = 16
MEGABYTE = 1_000_000


@dataclass(frozen=True)
class UploadLimits:
    """What is taken from a visitor, and how many uploads are kept at a time (params.yaml, page)."""

    most_bytes: int
    most_pixels: int
    kept: int

    def __post_init__(self) -> None:
        """Raise InputError for limits that no upload can meet."""
        if self.most_bytes < 1 or self.kept < 1:
            raise InputError("params.yaml, page: upload_megabytes and uploads must be at least 1")
        self.photo_limits  # noqa: B018  raises InputError for an impossible number of pixels

    @property
    def photo_limits(self) -> PhotoLimits:
        """The sizes an upload must lie between, in pixels."""
        return PhotoLimits(min_side=SMALLEST_SIDE, max_pixels=self.most_pixels)


@dataclass(frozen=True)
class Upload:
    """An upload that was accepted: upright RGB, no side above LARGEST_SIDE, and what was odd about it."""

    image: Image.Image
    remarks: tuple[str, ...]

    def pixels(self, size: tuple[int, int], *, fit: str) -> np.ndarray:
        """Return it as uint8 [height, width, 3] of `size` (height, width), fitted as the catalogue was."""
        return fit_to(self.image, size=size, fit=fit)

    def preview(self) -> bytes:
        """Return a small JPEG of it, at most PREVIEW_SIDE pixels on a side."""
        return small_jpeg(self.image, side=PREVIEW_SIDE)


def small_jpeg(image: Image.Image, *, side: int, quality: int = 88) -> bytes:
    """Return an RGB image as JPEG with no side above `side` pixels; no metadata goes along."""
    small, written = image.copy(), io.BytesIO()
    small.thumbnail((side, side), Image.Resampling.LANCZOS)
    bare = Image.new("RGB", small.size)
    bare.paste(small)
    bare.save(written, "JPEG", quality=quality)
    return written.getvalue()


def read_upload(data: bytes, *, limits: UploadLimits) -> Upload:
    """Decode an upload's bytes.

    The size is judged by the header, before a pixel is decoded. Of an animated file the first frame counts,
    as in the catalogue; `remarks` say so. Raises InputError, in words for the visitor, for what is empty, too
    large, truncated or no image. Pillow's warning about large images is the caller's to silence.
    """
    if not data:
        raise InputError("The file is empty. Please choose a photo.")
    if len(data) > limits.most_bytes:
        raise InputError(too_large(limits))
    try:
        image, remarks = open_checked(data, limits=limits.photo_limits)
    except PhotoRefusedError as error:
        raise InputError(refusal(str(error), limits)) from error
    image.thumbnail((LARGEST_SIDE, LARGEST_SIDE), Image.Resampling.BOX, reducing_gap=None)
    return Upload(image, tuple(f"{problem}: {action}" for problem, action in remarks))


def too_large(limits: UploadLimits) -> str:
    """Return the sentence for a file of too many bytes."""
    return f"The file is larger than {limits.most_bytes / MEGABYTE:g} MB. Please choose a smaller photo."


def refusal(reason: str, limits: UploadLimits) -> str:
    """Return the visitor's sentence for a reason of `photo.PhotoRefusedError`."""
    kind, _, what = reason.partition(":")
    sentences = {
        NOT_TAKEN: f"This is no photo that can be read here, but{what.partition(';')[0]}. "
        "Please choose a JPEG, PNG or WebP file.",
        "huge": f"The photo has more than {limits.most_pixels / 1e6:g} megapixels. Please choose a smaller.",
        "tiny": f"The photo is too small: at least {SMALLEST_SIDE} pixels on each side are needed.",
    }
    unreadable = (
        "This is no photo that can be read, or it is damaged. Please choose a JPEG, PNG or WebP file."
    )
    return sentences.get(kind, unreadable)


class UploadShelf:
    """The uploads of all visitors, by a token that cannot be guessed; the oldest make room for new ones."""

    def __init__(self, *, kept: int):
        """Take how many uploads are held at most."""
        self._kept, self._lock = kept, Lock()
        self._uploads: OrderedDict[str, Upload] = OrderedDict()

    def put(self, upload: Upload) -> str:
        """Keep an upload and return its token."""
        token = secrets.token_urlsafe(TOKEN_BYTES)
        with self._lock:
            self._uploads[token] = upload
            while len(self._uploads) > self._kept:
                self._uploads.popitem(last=False)
        return token

    def get(self, token: str) -> Upload:
        """Return an upload; raises InputError when it has been forgotten."""
        with self._lock:
            if token in self._uploads:
                return self._uploads[token]
        raise InputError("Your photo is no longer held here. Please upload it again.")
