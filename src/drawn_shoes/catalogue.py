"""The drawn catalogue: plan it, draw one photo, draw them all into a folder."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from drawn_shoes.assembly import build
from drawn_shoes.classes import STYLES
from drawn_shoes.colourways import Look, colour_names, colours_of
from drawn_shoes.design import Design, draw_design
from drawn_shoes.materials import Grain
from drawn_shoes.painting import painter
from drawn_shoes.render import Camera, render

CLASSES: tuple[str, ...] = tuple(STYLES)
LABELS_FILE, LABELS_COLUMNS = "labels.csv", ("file", "label", "product", "colour")
JPEG_QUALITY = 90


@dataclass(frozen=True)
class DrawnPhoto:
    """One photo of the catalogue."""

    file: str  # below the folder
    label: str
    product: str
    colour: str
    colourway: int  # the colour's place among those of the product, from 0


def draw_photo(*, label: str, product: int, colourway: int, seed: int) -> Image.Image:
    """Return one photo, RGB 136 x 102: a shoe with its toe to the left, or a bag, on white.

    The same arguments give the same pixels. `product` counts from 1, `colourway` from 0; a product has
    1 to 4 colourways.
    """
    design, colours, shared = _product(label, product, seed)
    own = np.random.default_rng([seed, CLASSES.index(label), product, colourway])
    camera = _camera(design, shared, own)
    look = Look(design, colours_of(design, colours[colourway], own), Grain(shared))
    return render(build(design), painter(look), camera)


def plan_catalogue(*, photos: int, seed: int) -> list[DrawnPhoto]:
    """Return `photos` photos to draw, spread evenly over CLASSES, in the order of classes and products.

    Product numbers are unique over all classes and do not depend on `photos`. Raises ValueError for fewer
    photos than classes.
    """
    if photos < len(CLASSES):
        raise ValueError(
            f"photos = {photos} is fewer than the {len(CLASSES)} classes; ask for at least one each"
        )
    share, rest = divmod(photos, len(CLASSES))
    return [
        photo
        for place, label in enumerate(CLASSES)
        for photo in _plan_class(label, share + (place < rest), seed)
    ]


def draw_catalogue(
    folder: Path, *, photos: int, seed: int, spread: Callable[..., Iterable[None]] = map
) -> Iterator[DrawnPhoto]:
    """Draw a catalogue into a new `folder`, labels.csv (LABELS_COLUMNS) last; yield each photo when drawn.

    `spread` calls a function for each photo: `map`, or an executor's; the files are the same. Raises
    ValueError for what plan_catalogue refuses.
    """
    plan = plan_catalogue(photos=photos, seed=seed)
    for label in CLASSES:
        (folder / label).mkdir(parents=True)
    for photo, _ in zip(plan, spread(partial(_write_photo, folder, seed), plan), strict=True):
        yield photo
    with (folder / LABELS_FILE).open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(LABELS_COLUMNS)
        writer.writerows([getattr(photo, name) for name in LABELS_COLUMNS] for photo in plan)


def _product(label: str, product: int, seed: int) -> tuple[Design, list[str], np.random.Generator]:
    """Return what all colourways of a product share: its design, its colours, and where its noise goes on."""
    generator = np.random.default_rng([seed, CLASSES.index(label), product])
    design = draw_design(STYLES[label], generator)
    return design, colour_names(design, generator), generator


def _camera(design: Design, shared: np.random.Generator, own: np.random.Generator) -> Camera:
    """Return the view: a product's photos are taken alike, but not from quite the same place."""
    bag = design.handles != "none"
    tall = shared.uniform(0.80, 0.90)
    return Camera(
        yaw=(shared.uniform(0.10, 0.6) if bag else shared.uniform(0.29, 0.68)) + own.normal(0, 0.02),
        pitch=shared.uniform(0.12, 0.25) if bag else shared.uniform(0.21, 0.46),
        roll=shared.normal(0, 0.03) + own.normal(0, 0.01),
        fill_width=shared.uniform(0.81, 0.94),
        fill_height=tall,
        ground=shared.uniform(tall + 0.02, 0.94),
        shift=own.normal(0, 1.6),
        exposure=shared.uniform(0.92, 1.1),
        shadow=shared.uniform(0.0, 0.35),
    )


def _plan_class(label: str, photos: int, seed: int) -> Iterator[DrawnPhoto]:
    left, product = photos, CLASSES.index(label) + 1
    while left > 0:
        _, colours, _ = _product(label, product, seed)
        for colourway, colour in enumerate(colours[:left]):
            yield DrawnPhoto(
                f"{label}/{product:04d}-{colour}.jpg", label, f"{product:04d}", colour, colourway
            )
        left -= len(colours)
        product += len(CLASSES)  # so that no two classes share a number


def _write_photo(folder: Path, seed: int, photo: DrawnPhoto) -> None:
    image = draw_photo(label=photo.label, product=int(photo.product), colourway=photo.colourway, seed=seed)
    image.save(folder / photo.file, quality=JPEG_QUALITY)
