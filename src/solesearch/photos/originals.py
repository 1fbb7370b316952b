"""The photos' own files, decoded again at another size: the ImageNet networks see more than 64x96 pixels."""

from __future__ import annotations

import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from solesearch.core.errors import InputError
from solesearch.core.paths import Paths
from solesearch.photos.catalog import CatalogSettings
from solesearch.photos.photo import load_pixels
from solesearch.photos.sources import find_tree


def photo_folder(paths: Paths, settings: CatalogSettings) -> Path:
    """Return the folder below which the ids of photos.csv are paths; raises InputError when it is gone."""
    folder = paths.drawn if settings.source == "drawn" else paths.data
    if settings.source == "official":
        folder = find_tree(paths.data) or find_tree(paths.catalogue / "extracted") or paths.data
    if not folder.is_dir():
        raise InputError(f"{folder}: the photographs are gone; put them back or run stage prepare again")
    return folder


def decode_photos(ids: Iterable[str], *, folder: Path, size: tuple[int, int], fit: str) -> np.ndarray:
    """Return photos as uint8 [n, height, width, 3] of `size`, upright and RGB, in the order of `ids`.

    `fit` as in `photo.fit_to`. Raises InputError that names a file which is gone or damaged by now: stage
    prepare could read it.
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
