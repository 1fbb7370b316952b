"""The drawn catalogue: plan it, draw one photo, draw them all into a folder."""

from __future__ import annotations

import csv
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import astuple, dataclass, fields
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
LABELS_FILE = "labels.csv"
JPEG_QUALITY = 90


@dataclass(frozen=True)
class DrawnPhoto:
    """One photo of the catalogue: its file below the folder, class, product and colour."""

    file: str
    label: str
    product: str
    colour: str


@dataclass(frozen=True)
class _Product:
    """What all colourways of a product share."""

    design: Design
    colours: tuple[str, ...]
    generator: np.random.Generator


def draw_photo(*, label: str, product: int, colourway: int, seed: int) -> Image.Image:
    """Return one photo, RGB 136 x 102: a shoe with its toe to the left, or a bag, on white.

    The same arguments give the same pixels. `product` counts from 1, `colourway` from 0; a product has
    1 to 4 colourways. Raises ValueError for an unknown class, a negative seed, a product or colourway
    that does not exist.
    """
    _check_seed(seed)
    if label not in CLASSES:
        raise ValueError(f"class {label!r} is unknown; choose from {', '.join(CLASSES)}")
    if product < 1:
        raise ValueError(f"product {product} does not exist; products count from 1")
    traits = _product(label, product, seed)
    if not 0 <= colourway < len(traits.colours):
        last = len(traits.colours) - 1
        raise ValueError(f"colourway {colourway} of {label} {product} does not exist; choose 0 to {last}")
    own = np.random.default_rng([seed, CLASSES.index(label), product, colourway])
    camera = _camera(traits.design, traits.generator, own)
    colours = colours_of(traits.design, traits.colours[colourway], own)
    look = Look(traits.design, colours, Grain(traits.generator))
    return render(build(traits.design), painter(look), camera)


def plan_catalogue(*, photos: int, seed: int, classes: Sequence[str] = CLASSES) -> list[DrawnPhoto]:
    """Return `photos` photos to draw, spread evenly over `classes`, in the order of classes and products.

    Product numbers are unique over all classes and do not depend on `photos` or `classes`. Raises
    ValueError for an unknown class, a negative seed, or fewer photos than classes.
    """
    _check_seed(seed)
    unknown = [label for label in classes if label not in CLASSES]
    if unknown or not classes:
        raise ValueError(
            f"class {', '.join(unknown) or '(none)'} is unknown; choose from {', '.join(CLASSES)}"
        )
    if photos < len(classes):
        raise ValueError(
            f"photos = {photos} is fewer than the {len(classes)} classes; ask for at least one each"
        )
    share, rest = divmod(photos, len(classes))
    return [
        photo
        for place, label in enumerate(classes)
        for photo in _plan_class(label, share + (place < rest), seed)
    ]


def draw_catalogue(
    folder: Path,
    *,
    photos: int,
    seed: int,
    spread: Callable[..., Iterable[None]] = map,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Draw a catalogue into `folder` and return its labels.csv (file, label, product, colour).

    `spread` calls a function for each photo: `map`, or an executor's; the files are the same. `progress` is
    called with photos done and photos in all. The folder appears as a whole at the end and replaces an older
    drawn catalogue. Raises ValueError for what plan_catalogue refuses and a folder that holds anything else.
    """
    plan = plan_catalogue(photos=photos, seed=seed)
    _check_replaceable(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial_folder = folder.with_name(f".{folder.name}.partial-{os.getpid()}")
    try:
        for done, _ in enumerate(_write_photos(partial_folder, plan, seed, spread), start=1):
            if progress is not None:
                progress(done, photos)
        _write_labels(partial_folder / LABELS_FILE, plan)
        _replace(partial_folder, folder)
    finally:
        shutil.rmtree(partial_folder, ignore_errors=True)
    return folder / LABELS_FILE


def _check_seed(seed: int) -> None:
    if seed < 0:
        raise ValueError(f"seed = {seed} is negative; choose 0 or more")


def _check_replaceable(folder: Path) -> None:
    """Raise ValueError rather than delete what is not a drawn catalogue."""
    if (
        folder.exists()
        and not (folder / LABELS_FILE).is_file()
        and (folder.is_file() or any(folder.iterdir()))
    ):
        raise ValueError(f"{folder}: exists and is no drawn catalogue; name another folder or remove it")


def _product(label: str, product: int, seed: int) -> _Product:
    generator = np.random.default_rng([seed, CLASSES.index(label), product])
    design = draw_design(STYLES[label], generator)
    return _Product(design, tuple(colour_names(design, generator)), generator)


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
    place = CLASSES.index(label)
    left, product = photos, place + 1
    while left > 0:
        for colour in _product(label, product, seed).colours[:left]:
            yield DrawnPhoto(f"{label}/{product:04d}-{colour}.jpg", label, f"{product:04d}", colour)
            left -= 1
        product += len(CLASSES)  # so that no two classes share a number


def _write_photos(
    folder: Path, plan: list[DrawnPhoto], seed: int, spread: Callable[..., Iterable[None]]
) -> Iterable[None]:
    for label in CLASSES:
        (folder / label).mkdir(parents=True)
    jobs = list(zip(plan, _colourways(plan), strict=True))
    return spread(partial(_write_photo, folder, seed), jobs)


def _colourways(plan: list[DrawnPhoto]) -> Iterator[int]:
    """Yield each photo's place among the colourways of its product."""
    seen: Counter[str] = Counter()
    for photo in plan:
        yield seen[photo.product]
        seen[photo.product] += 1


def _write_photo(folder: Path, seed: int, job: tuple[DrawnPhoto, int]) -> None:
    photo, colourway = job
    image = draw_photo(label=photo.label, product=int(photo.product), colourway=colourway, seed=seed)
    image.save(folder / photo.file, quality=JPEG_QUALITY)


def _write_labels(path: Path, plan: list[DrawnPhoto]) -> None:
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow([field.name for field in fields(DrawnPhoto)])
        writer.writerows(astuple(photo) for photo in plan)


def _replace(new: Path, folder: Path) -> None:
    """Put `new` in the place of `folder`; an older catalogue is moved aside first, then deleted."""
    old = folder.with_name(f".{folder.name}.old-{os.getpid()}")
    if folder.exists():
        folder.replace(old)
    new.replace(folder)
    shutil.rmtree(old, ignore_errors=True)
