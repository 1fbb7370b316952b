"""The catalogue: every photo is read once, checked, hashed, decoded, and given its split."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import os
import shutil
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import repeat
from pathlib import Path
from typing import Any, Literal, NamedTuple, Self

import numpy as np
import pandas as pd
from pydantic import Field, model_validator

from solesearch.core import files
from solesearch.core.errors import InputError
from solesearch.core.paths import Paths
from solesearch.core.progress import Progress, tell
from solesearch.core.settings import Section
from solesearch.core.workers import process_pool
from solesearch.photos import sources
from solesearch.photos.duplicates import BITS, find_duplicates, perceptual_hash
from solesearch.photos.photo import (
    IMAGE_SIZES,
    MOST_PIXELS,
    PhotoRefusedError,
    fit_to,
    open_checked,
    read_file,
)
from solesearch.photos.photo_table import COLUMNS, read_photos
from solesearch.photos.splits import UNLABELLED, assign_splits, exclusion_groups

PROBLEM_COLUMNS = ("file", "problem", "action")
CHUNK = 512  # photos decoded ahead of the disk, so that memory does not grow with the catalogue
MOST_THREADS = 8
EXTRACTED = "extracted"  # where the official zip is unpacked, below runs/<profile>/catalogue
# What decides which photographs are in; a manifest made with other values says nothing about them.
SELECTING = ("source", "photos", "label_map", "train_on_unlabelled", "min_side", "max_pixels")


class CatalogSettings(Section, section="catalog"):
    """Which photos, how decoded, how split; `params.yaml` holds the values and their sources."""

    source: Literal["drawn", "official", "folders", "manifest"]
    preset: Literal[tuple(IMAGE_SIZES)]
    fit: Literal["stretch", "pad", "object"]
    photos: int = Field(ge=0)
    seed: int = Field(ge=0, lt=2**32)
    label_map: Literal["papers", "subcategories", "categories", "none"]
    train_on_unlabelled: bool
    split: Literal["products", "positions", "photos"]
    training_share: float = Field(gt=0)
    validation_share: float = Field(gt=0)
    test_photos: int = Field(ge=0)
    duplicate_distance: int = Field(ge=0, le=BITS)
    min_side: int = Field(ge=1)
    max_pixels: int = Field(ge=1, le=MOST_PIXELS)

    @model_validator(mode="after")
    def _agree(self) -> Self:
        """Raise ValueError for values that make no catalogue together."""
        from drawn_shoes import CLASSES

        if (self.source == "official") == (self.label_map == "none"):
            raise ValueError(
                "label_map is papers, subcategories or categories for source official, else none"
            )
        if self.source == "drawn" and self.photos < len(CLASSES):
            raise ValueError(f"photos = {self.photos} is fewer than the {len(CLASSES)} classes drawn")
        if self.training_share + self.validation_share >= 1:
            raise ValueError("training_share and validation_share must leave a rest, which is tested")
        if self.min_side**2 > self.max_pixels:
            raise ValueError(f"min_side {self.min_side} and max_pixels {self.max_pixels} refuse every photo")
        return self

    @property
    def image_size(self) -> tuple[int, int]:
        """Height and width that photos are decoded to, in pixels."""
        return IMAGE_SIZES[self.preset]


class PreparedCatalogue(NamedTuple):
    """What stage prepare made; the same tables lie in runs/<profile>/catalogue."""

    photos: pd.DataFrame  # one row a photo, sorted by id: COLUMNS
    problems: pd.DataFrame  # file, problem, action
    duplicates: pd.DataFrame  # first, second, kind, distance, same_product
    paths: Paths


def prepare(profile: str, settings: CatalogSettings | None = None) -> PreparedCatalogue:
    """Read, check, decode and split a profile's photos; write photos.csv, pixels.npy and what was found.

    `settings` None: as in params.yaml. The same photos and settings give the same bytes. Raises InputError
    before anything is replaced: missing data, an empty class, a class that misses from a split. Other photos
    than those of the last results are one line to the user.
    """
    paths, settings = Paths.of(profile), settings or CatalogSettings.load(profile)
    listing = chosen_photos(list_photos(paths, settings), settings)
    for what, words, action in listing.problems:
        if action == sources.PARTIAL:
            tell(f"{what}: {words}")
    split_photos(listing.photos, listing, settings)  # what cannot be split fails before it is decoded
    with files.replacing(paths.pixels) as temporary:
        decoded, hashes, problems = decode(listing, settings, temporary)
        photos = split_photos(decoded, listing, settings)[list(COLUMNS)]
        wanted = settings.duplicate_distance
        duplicates, reported = find_duplicates(photos, hashes, distance=wanted)
    rows = [*listing.problems, *problems]
    if reported < wanted:
        rows.append(("duplicates.csv", f"too many pairs at {wanted} bits", f"up to {reported} kept"))
    problems = pd.DataFrame(sorted(rows), columns=list(PROBLEM_COLUMNS))
    manifest = manifest_of(photos, settings)
    files.write_table(paths.problems, problems)
    files.write_table(paths.duplicates, duplicates)
    files.write_table(paths.photos, photos)
    paths.attributes.unlink(missing_ok=True)
    attributes = listing.photos.drop(columns=sources.COLUMNS[1:])  # further columns
    if attributes.shape[1] > 1:
        files.write_table(paths.attributes, attributes[attributes["id"].isin(photos["id"])])
    files.write_json(paths.manifest, manifest)
    if difference := other_photographs(manifest, paths.photo_manifest):
        tell(difference)
    return PreparedCatalogue(read_photos(paths), problems, duplicates, paths)


def read_attributes(paths: Paths) -> pd.DataFrame:
    """Return what is told of each photo beyond class and product: text columns, index id.

    A manifest's further columns, or UT-Zap50K's (`metadata.official_attributes`); none of class folders.
    """
    if not paths.attributes.is_file():
        return pd.DataFrame(index=read_photos(paths)["id"])
    return pd.read_csv(paths.attributes, dtype=str, keep_default_na=False, index_col="id")


def photo_folder(paths: Paths, settings: CatalogSettings) -> Path:
    """Return the folder below which the ids of photos.csv are paths; raises InputError when it is gone."""
    folder = paths.drawn if settings.source == "drawn" else paths.data
    if settings.source == "official":
        folder = sources.find_tree(paths.data) or sources.find_tree(paths.catalogue / EXTRACTED) or paths.data
    if not folder.is_dir():
        raise InputError(f"{folder}: the photographs are gone; put them back or run stage prepare again")
    return folder


# --- which photos ----------------------------------------------------------------------------------------


def list_photos(paths: Paths, settings: CatalogSettings) -> sources.Listing:
    """Return the photos that the profile's source names; a synthetic catalogue is drawn first."""
    if settings.source == "drawn":
        draw(paths.drawn, photos=settings.photos, seed=settings.seed)
        return sources.list_manifest(paths.drawn)
    official = settings.source == "official"
    folder = sources.existing_data(paths.data, profile=paths.profile, archives=official)
    if official:
        unpack_to = paths.catalogue / EXTRACTED
        return sources.list_official(folder, label_map=settings.label_map, unpack_to=unpack_to)
    return sources.list_folders(folder) if settings.source == "folders" else sources.list_manifest(folder)


def draw(folder: Path, *, photos: int, seed: int) -> None:
    """Draw a synthetic catalogue into `folder`, in place of an older one."""
    from drawn_shoes import draw_catalogue

    shutil.rmtree(folder, ignore_errors=True)  # photos of another seed would mix with these
    progress = Progress("drawing photos", total=photos, unit="photo")
    with process_pool(os.cpu_count() or 1) as pool:
        spread = partial(pool.map, chunksize=16)
        for done, _ in enumerate(draw_catalogue(folder, photos=photos, seed=seed, spread=spread), start=1):
            progress.update(done)


def chosen_photos(listing: sources.Listing, settings: CatalogSettings) -> sources.Listing:
    """Return the listing without photos that are not asked for.

    Those outside the label map go unless they are trained on, and where products are kept apart also those
    of a product that has a class, since it may be tested; of the rest, `catalog.photos` are drawn with the
    seed where that is not 0 (a synthetic catalogue has as many already).
    """
    photos, outside = listing.photos, listing.photos["label"] == UNLABELLED
    shown = outside & photos["product"].isin(set(photos.loc[~outside, "product"]) - {""})
    twice = shown & (settings.train_on_unlabelled and settings.split == "products")
    action = "trained on without a label" if settings.train_on_unlabelled else sources.LEFT_OUT
    folders = photos.loc[outside & ~twice, "id"].str.split("/").str[:2].str.join("/")  # Shoes/Oxfords
    problems = [
        (folder, f"{count} photos outside the label map", action)
        for folder, count in folders.value_counts().items()
    ]
    words = "outside the label map, and its product has a class"
    problems += [(name, words, sources.LEFT_OUT) for name in photos.loc[twice, "id"]]
    photos = photos[~(twice if settings.train_on_unlabelled else outside)]
    if settings.photos > len(photos):
        raise InputError(
            f"params.yaml, catalog.photos: {settings.photos} wanted, there are {len(photos)}; 0 takes all"
        )
    if settings.photos and settings.source != "drawn":
        random = np.random.default_rng([settings.seed, 1])  # not the stream that splits them
        photos = photos.iloc[np.sort(random.choice(len(photos), settings.photos, replace=False))]
    classes = set(listing.photos["label"]) - {UNLABELLED}
    sources.stop_when_class_empty(classes, photos["label"], where=listing.folder)
    if len(classes) < 2:
        raise InputError(f"{listing.folder}: one class, {', '.join(classes)}; similarity needs two or more")
    photos = photos.reset_index(drop=True)
    return dataclasses.replace(listing, photos=photos, problems=[*listing.problems, *problems])


def split_photos(photos: pd.DataFrame, listing: sources.Listing, settings: CatalogSettings) -> pd.DataFrame:
    """Return the photo table with group, position and split; raises InputError when no product is known
    but the split asks for products, and when a class misses from a split."""
    if settings.split == "products" and not (photos["product"] != "").any():
        raise InputError(
            f"{listing.folder}: no products known, so catalog.split: products cannot work; name them in a "
            "column product of labels.csv (source: manifest), or split by positions or photos"
        )
    positions = listing.places_given or settings.split == "positions"
    photos = exclusion_groups(photos, positions=positions, unique_products=listing.unique_products)
    split = assign_splits(
        photos,
        way=settings.split,
        seed=settings.seed,
        shares=(settings.training_share, settings.validation_share),
        test_photos=settings.test_photos,
    )
    return photos.assign(split=split)


# --- reading them once -----------------------------------------------------------------------------------


class Examined(NamedTuple):
    """What one reading of a photo's file gives; all but `remarks` is None for a photo that is left out."""

    remarks: list[tuple[str, str]]  # problem, action
    facts: dict[str, Any] | None = None  # width, height (pixels, upright), sha256
    hash: np.uint64 | None = None
    pixels: np.ndarray | None = None  # uint8 [height, width, 3]


def examine(path: Path, settings: CatalogSettings) -> Examined:
    """Read a photo's file once: digest, checks, perceptual hash, pixels. Never raises for a bad photo."""
    try:
        data = read_file(path)
        image, remarks = open_checked(data, min_side=settings.min_side, max_pixels=settings.max_pixels)
        pixels = fit_to(image, size=settings.image_size, fit=settings.fit)
        hashed = perceptual_hash(image)
    except PhotoRefusedError as error:
        return Examined([(str(error), sources.LEFT_OUT)])
    except Exception as error:  # whatever Pillow and NumPy raise for one photo is that photo's line
        why = getattr(error, "strerror", None) or str(error) or type(error).__name__
        return Examined([(f"unreadable: {why}", sources.LEFT_OUT)])
    facts = {"width": image.width, "height": image.height, "sha256": hashlib.sha256(data).hexdigest()}
    return Examined(remarks, facts, hashed, pixels)


def examine_all(folder: Path, names: Iterable[str], settings: CatalogSettings) -> Iterator[Examined]:
    """Yield each file's examination in the order of `names`; Pillow decodes outside Python's lock."""
    paths = [folder / name for name in names]
    progress = Progress("decoding photos", total=len(paths), unit="photo")
    with ThreadPoolExecutor(min(MOST_THREADS, os.cpu_count() or 1)) as pool:
        for start in range(0, len(paths), CHUNK):
            chunk = paths[start : start + CHUNK]
            for done, photo in enumerate(pool.map(examine, chunk, repeat(settings)), start=start + 1):
                progress.update(done)
                yield photo


def decode(
    listing: sources.Listing, settings: CatalogSettings, target: Path
) -> tuple[pd.DataFrame, np.ndarray, list[sources.Problem]]:
    """Examine every listed photo; write the good ones' pixels to `target` as .npy, uint8 [n, h, w, 3].

    Returns their rows of the listing with width, height and sha256, their hashes uint64 [n], and problems.
    The array is mapped, so memory does not grow with it. Raises InputError when a class has no good photo
    and when the disk is too full.
    """
    listed, problems, kept, facts, hashes = listing.photos, [], [], [], []
    shape = (len(listed), *settings.image_size, 3)
    needed, free = math.prod(shape), shutil.disk_usage(target.parent).free
    if needed > free:  # writing to a mapped file on a full disk kills the process
        raise InputError(f"{target.parent}: pixels take {needed / 1e9:.1f} GB, {free / 1e9:.1f} GB are free")
    pixels = np.lib.format.open_memmap(target, mode="w+", dtype=np.uint8, shape=shape)
    examined = examine_all(listing.folder, listed["id"], settings)
    for row, (name, photo) in enumerate(zip(listed["id"], examined, strict=True)):
        problems += [(name, *remark) for remark in photo.remarks]
        if photo.facts is not None:
            pixels[len(kept)] = photo.pixels
            kept.append(row)
            facts.append(photo.facts)
            hashes.append(photo.hash)
    pixels.flush()
    photos = listed.iloc[kept].reset_index(drop=True)
    sources.stop_when_class_empty(listed["label"], photos["label"], where=listing.folder)
    if len(kept) < len(listed):
        files.write_array(target, pixels[: len(kept)])
    return photos.join(pd.DataFrame(facts)), np.array(hashes, np.uint64), problems


# --- are they still the same photographs? ----------------------------------------------------------------


def manifest_of(photos: pd.DataFrame, settings: CatalogSettings) -> dict[str, Any]:
    """Return count, photos per class, the settings, and one digest over all photos.

    The digest is the sha256 of the sorted lines "sha256  id", so neither order nor time enters.
    """
    lines = sorted(f"{digest}  {name}\n" for digest, name in zip(photos["sha256"], photos["id"], strict=True))
    return {
        "count": len(photos),
        "classes": {label: int(count) for label, count in photos["label"].value_counts().items()},
        "sha256": hashlib.sha256("".join(lines).encode()).hexdigest(),
        "settings": settings.model_dump(),
    }


def other_photographs(now: dict[str, Any], results: Path) -> str:
    """Compare a manifest with that of the last results, if there are any; return what differs, or nothing.

    Whose photographs they are is no fault: a user's own give the user's own results, and `make verify --full`
    alone holds them against the committed ones. Settings that ask for other photos make no comparison. Of a
    drawn catalogue the digest alone may differ, since another processor may round a pixel differently.
    """
    name = "/".join(results.parts[-4:])  # results/<profile>/evaluate/manifest.json
    if not results.is_file():
        return ""
    try:
        then = json.loads(results.read_text(encoding="utf-8"))
        if _selecting(then["settings"]) != _selecting(now["settings"]) or then["sha256"] == now["sha256"]:
            return ""
        counts = pd.DataFrame({"then": then["classes"], "now": now["classes"]}).fillna(0).astype(int)
        total = f"{then['count']} then, {now['count']} now"
    except (ValueError, KeyError, TypeError, AttributeError):
        return f"{name}: damaged; nothing to compare the photographs with"
    changed = counts[counts["then"] != counts["now"]]
    what = ", ".join(f"{row.Index} {row.then} -> {row.now}" for row in changed.itertuples())
    what = what or "as many as before in each class, but other names or contents"
    return f"other photographs than those of {name}: {total} ({what})"


def _selecting(settings: dict[str, Any]) -> dict[str, Any]:
    """Return the values that decide which photographs are in; the seed does where only some are taken."""
    return {name: settings[name] for name in SELECTING} | {"seed": settings["photos"] and settings["seed"]}
