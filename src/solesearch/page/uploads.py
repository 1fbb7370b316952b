"""Photos that visitors send: judged by their bytes alone, decoded as the catalogue was, kept in memory."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from threading import Lock

from PIL import Image
from pydantic import Field

from solesearch.core.errors import InputError
from solesearch.core.settings import Section
from solesearch.photos.photo import (
    MOST_PIXELS,
    NOT_TAKEN,
    PhotoRefusedError,
    open_checked,
)

SMALLEST_SIDE = 16  # pixels, as in the catalogue: below is a thumbnail or a spacer
LARGEST_SIDE = 640  # what is kept of an upload, pixels; the networks see 299 at most
PREVIEW_SIDE = 240  # pixels
TOKEN_BYTES = 16
MEGABYTE = 1_000_000
ASKED = "Please choose a JPEG, PNG or WebP file."


class PageSettings(Section, section="page"):
    """What a visitor may send and ask; `params.yaml` says why."""

    upload_megabytes: int = Field(ge=1)
    upload_pixels: int = Field(ge=SMALLEST_SIDE**2, le=MOST_PIXELS)
    uploads: int = Field(ge=1)
    decoders: int = Field(ge=1)
    most_answers: int = Field(ge=1)

    @property
    def too_large(self) -> str:
        """The sentence for a file of too many bytes."""
        return f"The file is larger than {self.upload_megabytes} MB. Please choose a smaller photo."


@dataclass(frozen=True)
class Upload:
    """An upload that was accepted: upright RGB, no side above LARGEST_SIDE, and what was odd about it."""

    image: Image.Image
    remarks: tuple[str, ...]


def read_upload(data: bytes, settings: PageSettings) -> Upload:
    """Decode an upload's bytes.

    The size is judged by the header, before a pixel is decoded. Of an animated file the first frame counts,
    as in the catalogue; `remarks` say so. Raises InputError, in words for the visitor, for what is empty, too
    large, truncated or no image.
    """
    if not data:
        raise InputError("The file is empty. Please choose a photo.")
    if len(data) > settings.upload_megabytes * MEGABYTE:
        raise InputError(settings.too_large)
    try:
        image, remarks = open_checked(data, min_side=SMALLEST_SIDE, max_pixels=settings.upload_pixels)
    except PhotoRefusedError as error:
        kind, _, what = str(error).partition(":")
        megapixels = f"{settings.upload_pixels / 1e6:g} megapixels"
        sentences = {
            NOT_TAKEN: f"This is no photo that can be read here, but{what.partition(';')[0]}. {ASKED}",
            "huge": f"The photo has more than {megapixels}. Please choose a smaller.",
            "tiny": f"The photo is too small: at least {SMALLEST_SIDE} pixels on each side are needed.",
        }
        unreadable = f"This is no photo that can be read, or it is damaged. {ASKED}"
        raise InputError(sentences.get(kind, unreadable)) from error
    image.thumbnail((LARGEST_SIDE, LARGEST_SIDE), Image.Resampling.BOX, reducing_gap=None)
    return Upload(image, tuple(f"{problem}: {action}" for problem, action in remarks))


class UploadStore:
    """The uploads of all visitors, by a token that cannot be guessed; the oldest make room for new ones."""

    def __init__(self, *, kept: int):
        """Take how many uploads are held at most."""
        self._kept, self._lock = kept, Lock()
        self._uploads: dict[str, Upload] = {}

    def put(self, upload: Upload) -> str:
        """Keep an upload and return its token."""
        token = secrets.token_urlsafe(TOKEN_BYTES)
        with self._lock:
            self._uploads[token] = upload
            if len(self._uploads) > self._kept:
                del self._uploads[next(iter(self._uploads))]
        return token

    def get(self, token: str) -> Upload:
        """Return an upload; raises InputError when it has been forgotten."""
        if upload := self._uploads.get(token):
            return upload
        raise InputError("Your photo is no longer held here. Please upload it again.")
