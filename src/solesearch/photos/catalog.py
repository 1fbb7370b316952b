"""The catalogue: every photo is read once, checked, hashed, decoded, and given its split."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import os
import shutil
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from PIL import Image

from solesearch.core import files
from solesearch.core.errors import InputError
from solesearch.core.paths import Paths
from solesearch.core.progress import Progress, tell
from solesearch.core.settings import fill, load_section
from solesearch.photos import sources
from solesearch.photos.duplicates import BITS, find_duplicates, perceptual_hash
from solesearch.photos.photo import (
    FITS,
    IMAGE_SIZES,
    PhotoLimits,
    PhotoRefusedError,
    fit_to,
    open_checked,
    read_file,
)
from solesearch.photos.photo_table import COLUMNS, read_photos
from solesearch.photos.splits import UNLABELLED, WAYS, assign_splits, exclusion_groups

SOURCES = ("drawn", "official", "folders", "manifest")
LABEL_MAPS = ("papers", "subcategories", "categories")
PROBLEM_COLUMNS = ("file", "problem", "action")
CHUNK = 512  # photos decoded ahead of the disk, so that memory does not grow with the catalogue
MOST_THREADS = 8
# What decides which photographs are in; a manifest made with other values says nothing about them.
SELECTING = ("source", "photos", "label_map", "train_on_unlabelled", "min_side", "max_pixels")


@dataclass(frozen=True)
class CatalogSettings:
    """Which photos, how decoded, how split; `params.yaml` holds the values and their sources."""

    source: str
    preset: str
    fit: str
    photos: int
    seed: int
    label_map: str
    train_on_unlabelled: bool
    split: str
    training_share: float
    validation_share: float
    test_photos: int
    duplicate_distance: int
    min_side: int
    max_pixels: int

    def __post_init__(self) -> None:
        """Raise InputError for a value of the wrong type or one that makes no catalogue."""
        kinds = {"str": str, "bool": bool, "int": int, "float": (int, float)}
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if not isinstance(value, kinds[field.type]) or (field.type != "bool" and isinstance(value, bool)):
                raise InputError(f"params.yaml, catalog.{field.name}: {value!r} is no {field.type}")
        maps = LABEL_MAPS if self.source == "official" else ("none",)
        self._stop_unless_one_of(source=SOURCES, preset=tuple(IMAGE_SIZES), fit=FITS, split=WAYS)
        self._stop_unless_one_of(label_map=maps)
        self._stop_unless_shares()
        least = 1 if self.source == "drawn" else 0
        for name, low, high in (
            ("photos", least, 10**9),
            ("seed", 0, 2**32 - 1),
            ("test_photos", 0, 10**9),
            ("duplicate_distance", 0, BITS),
        ):
            if not low <= getattr(self, name) <= high:
                raise InputError(
                    f"params.yaml, catalog.{name}: wanted {low} to {high}, got {getattr(self, name)}"
                )
        self.limits  # noqa: B018  raises InputError for limits that no photo meets

    def _stop_unless_one_of(self, **choices: tuple[str, ...]) -> None:
        for name, known in choices.items():
            if getattr(self, name) not in known:
                raise InputError(
                    f"params.yaml, catalog.{name}: {getattr(self, name)!r} is not {', '.join(known)}"
                    + (f" (source {self.source})" if name == "label_map" else "")
                )

    def _stop_unless_shares(self) -> None:
        training, validation = self.training_share, self.validation_share
        rest = training + validation <= 1 if self.test_photos else training + validation < 1
        if not (training > 0 and validation > 0 and rest):
            raise InputError(
                f"params.yaml, catalog.training_share {training} and validation_share {validation}: both "
                "above 0, and together below 1, since the rest is tested"
            )
        if self.test_photos and self.split != "photos":
            raise InputError(f"params.yaml, catalog.test_photos needs split: photos, not {self.split}")

    @property
    def image_size(self) -> tuple[int, int]:
        """Height and width that photos are decoded to, in pixels."""
        return IMAGE_SIZES[self.preset]

    @property
    def limits(self) -> PhotoLimits:
        """The sizes a photo must lie between."""
        return PhotoLimits(min_side=self.min_side, max_pixels=self.max_pixels)


def load_settings(profile: str, overrides: dict[str, Any] | None = None) -> CatalogSettings:
    """Return a profile's `catalog` section; raises InputError for values that make no catalogue."""
    return fill(CatalogSettings, load_section(profile, "catalog", overrides), where=f"{profile}.catalog")


class PreparedCatalogue(NamedTuple):
    """What stage prepare made; the same tables lie in runs/<profile>/catalogue."""

    photos: pd.DataFrame  # one row a photo, sorted by id: COLUMNS
    problems: pd.DataFrame  # file, problem, action
    duplicates: pd.DataFrame  # first, second, kind, distance, same_product
    paths: Paths


def prepare(profile: str, overrides: dict[str, Any] | None = None) -> PreparedCatalogue:
    """Read, check, decode and split a profile's photos; write photos.csv, pixels.npy and what was found.

    `overrides` are {"catalog.photos": 100, ...}. The same photos and settings give the same bytes. Raises
    InputError before anything is replaced: settings, missing data, an empty class, a class that misses
    from a split. Other photos than those of the last results are one line to the user.
    """
    paths, settings = Paths.of(profile), load_settings(profile, overrides)
    listing = chosen_photos(list_photos(paths, settings), settings)
    split_photos(listing.photos, listing, settings)  # what cannot be split fails before it is decoded
    with files.replacing(paths.pixels) as temporary:
        decoded = decode(listing, settings, temporary)
        photos = split_photos(decoded.photos, listing, settings)[list(COLUMNS)]
        wanted = settings.duplicate_distance
        duplicates, reported = find_duplicates(photos, decoded.hashes, distance=wanted)
        manifest = manifest_of(photos, settings)
        differs = []
        if reported < wanted:
            differs.append(("duplicates.csv", f"too many pairs at {wanted} bits", f"up to {reported} kept"))
        rows = sorted([*listing.problems, *decoded.problems, *differs])
        problems = pd.DataFrame(rows, columns=list(PROBLEM_COLUMNS))
    files.write_table(paths.problems, problems)
    files.write_table(paths.duplicates, duplicates)
    files.write_table(paths.photos, photos)
    write_attributes(paths, listing, photos, settings)
    files.write_json(paths.manifest, manifest)
    if difference := other_photographs(manifest, paths.results / "manifest.json"):
        tell(difference)
    return PreparedCatalogue(read_photos(paths), problems, duplicates, paths)


def write_attributes(
    paths: Paths, listing: sources.Listing, photos: pd.DataFrame, settings: CatalogSettings
) -> None:
    """Write the further columns of the user's manifest as attributes.csv, a row a photo of `photos`.

    No file where there are none; a drawn catalogue's own manifest lies among its photos already.
    """
    if listing.attributes is None or settings.source == "drawn":
        paths.attributes.unlink(missing_ok=True)
        return
    known = listing.attributes.set_index("id").loc[photos["id"]]
    files.write_table(paths.attributes, known.reset_index())


def read_attributes(paths: Paths) -> pd.DataFrame:
    """Return what a manifest tells of each photo beyond class and product: text columns, index id.

    No columns where the photographs came without any (class folders, the official tree).
    """
    options = {"dtype": str, "keep_default_na": False}
    if paths.attributes.is_file():
        return pd.read_csv(paths.attributes, **options).set_index("id")
    drawn = paths.drawn / sources.LABELS_FILE
    if not drawn.is_file():
        return pd.DataFrame(index=read_photos(paths)["id"])
    table = pd.read_csv(drawn, **options).rename(columns={"file": "id"}).set_index("id")
    return table.drop(columns=list(sources.MANIFEST_COLUMNS), errors="ignore")


# --- which photos ----------------------------------------------------------------------------------------


def list_photos(paths: Paths, settings: CatalogSettings) -> sources.Listing:
    """Return the photos that the profile's source names; a synthetic catalogue is drawn first."""
    if settings.source == "drawn":
        from drawn_shoes import draw_catalogue

        shutil.rmtree(paths.drawn, ignore_errors=True)  # photos of another seed would mix with these
        progress = Progress("drawing photos", total=settings.photos, unit="photo")
        draw_catalogue(
            paths.drawn,
            photos=settings.photos,
            seed=settings.seed,
            workers=os.cpu_count() or 1,
            progress=lambda done, _: progress.update(done),
        )
        return sources.list_manifest(paths.drawn)
    official = settings.source == "official"
    folder = sources.existing_data(paths.data, profile=paths.profile, archives=official)
    if official:
        unpack_to = paths.catalogue / "extracted"
        return sources.list_official(folder, label_map=settings.label_map, unpack_to=unpack_to)
    return sources.list_folders(folder) if settings.source == "folders" else sources.list_manifest(folder)


def chosen_photos(listing: sources.Listing, settings: CatalogSettings) -> sources.Listing:
    """Return the listing without photos that are not asked for.

    Those outside the label map go unless they are trained on; of the rest, `catalog.photos` are drawn with
    the seed where that is not 0 (a synthetic catalogue has as many already).
    """
    photos, outside = listing.photos, listing.photos["label"] == UNLABELLED
    action = "trained on without a label" if settings.train_on_unlabelled else sources.LEFT_OUT
    problems = [
        (folder, f"{count} photos outside the label map", action)
        for folder, count in sources.folders_of(photos["id"][outside]).value_counts().items()
    ]
    photos = photos if settings.train_on_unlabelled else photos[~outside]
    if settings.photos and settings.source != "drawn":
        photos = _drawn_sample(photos, settings)
    classes = set(listing.photos["label"]) - {UNLABELLED}
    sources.stop_when_class_empty(classes, photos["label"], where=listing.folder)
    if len(classes) < 2:
        raise InputError(f"{listing.folder}: one class, {', '.join(classes)}; similarity needs two or more")
    return dataclasses.replace(
        listing, photos=photos.reset_index(drop=True), problems=[*listing.problems, *problems]
    )


def _drawn_sample(photos: pd.DataFrame, settings: CatalogSettings) -> pd.DataFrame:
    if settings.photos > len(photos):
        raise InputError(
            f"params.yaml, catalog.photos: {settings.photos} wanted, there are {len(photos)}; 0 takes all"
        )
    random = np.random.default_rng([settings.seed, 1])  # not the stream that splits them
    return photos.iloc[np.sort(random.choice(len(photos), settings.photos, replace=False))]


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


class Decoded(NamedTuple):
    """The photos that could be decoded, in the listing's order; n of them."""

    photos: pd.DataFrame  # the listing's columns, width, height, sha256
    hashes: np.ndarray  # uint64 [n]
    problems: list[tuple[str, str, str]]


def examine(path: Path, settings: CatalogSettings) -> Examined:
    """Read a photo's file once: digest, checks, perceptual hash, pixels. Never raises for a bad photo."""
    try:
        data = read_file(path)
        image, remarks = open_checked(data, limits=settings.limits)
        pixels = fit_to(image, size=settings.image_size, fit=settings.fit)
        hashed = perceptual_hash(image)
    except PhotoRefusedError as error:
        return Examined([(str(error), sources.LEFT_OUT)])
    except OSError as error:
        return Examined([(f"unreadable: {error.strerror or error}", sources.LEFT_OUT)])
    except Exception as error:  # whatever Pillow and NumPy raise for one photo is that photo's line
        return Examined([(f"unreadable: {str(error) or type(error).__name__}", sources.LEFT_OUT)])
    facts = {"width": image.width, "height": image.height, "sha256": hashlib.sha256(data).hexdigest()}
    return Examined(remarks, facts, hashed, pixels)


def decode(listing: sources.Listing, settings: CatalogSettings, target: Path) -> Decoded:
    """Examine every listed photo; write the good ones' pixels to `target` as .npy, uint8 [n, h, w, 3].

    The array is mapped, so memory does not grow with it. Raises InputError when a class has no good photo
    and when the disk is too full.
    """
    listed, problems, kept, facts, hashes = listing.photos, [], [], [], []
    pixels = _mapped(target, shape=(len(listed), *settings.image_size, 3))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # max_pixels decides, and says so
        for row, (name, photo) in enumerate(zip(listed["id"], _examined(listing, settings), strict=True)):
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
        keep_rows(target, len(kept))
    photos = photos.join(pd.DataFrame(facts))
    return Decoded(photos, np.array(hashes, np.uint64), problems)


def _mapped(target: Path, *, shape: tuple[int, ...]) -> np.memmap:
    needed, free = math.prod(shape), shutil.disk_usage(target.parent).free
    if needed > free:  # writing to a mapped file on a full disk kills the process
        raise InputError(f"{target.parent}: pixels take {needed / 1e9:.1f} GB, {free / 1e9:.1f} GB are free")
    return np.lib.format.open_memmap(target, mode="w+", dtype=np.uint8, shape=shape)


def _examined(listing: sources.Listing, settings: CatalogSettings) -> Iterator[Examined]:
    """Yield each photo's examination in the listing's order; Pillow decodes outside Python's lock."""
    paths = [listing.folder / name for name in listing.photos["id"]]
    progress, done = Progress("decoding photos", total=len(paths), unit="photo"), 0
    with ThreadPoolExecutor(min(MOST_THREADS, os.cpu_count() or 1)) as pool:
        for start in range(0, len(paths), CHUNK):
            chunk = paths[start : start + CHUNK]
            for photo in pool.map(examine, chunk, [settings] * len(chunk)):
                done += 1
                progress.update(done)
                yield photo


def keep_rows(path: Path, rows: int) -> None:
    """Cut a .npy file to its first `rows` rows, in place.

    NumPy pads the header so that the first axis can change without moving the data.
    """
    array = np.load(path, mmap_mode="r", allow_pickle=False)
    header = {"descr": array.dtype.str, "fortran_order": False, "shape": (rows, *array.shape[1:])}
    end = array.offset + rows * array[0].nbytes
    with path.open("rb+") as file:
        np.lib.format.write_array_header_1_0(file, header)
        if file.tell() != array.offset:
            raise RuntimeError(f"{path}: the header's length changed from {array.offset} to {file.tell()}")
        file.truncate(end)


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
        "settings": dataclasses.asdict(settings),
    }


def _selecting(settings: dict[str, Any]) -> dict[str, Any]:
    """Return the values that decide which photographs are in; the seed does where only some are taken."""
    return {name: settings[name] for name in SELECTING} | {"seed": settings["photos"] and settings["seed"]}


def other_photographs(now: dict[str, Any], results: Path) -> str:
    """Compare a manifest with that of the last results, if there are any; return what differs, or nothing.

    Whose photographs they are is no fault: a user's own give the user's own results, and `make verify --full`
    alone holds them against the committed ones. Settings that ask for other photos make no comparison. Of a
    drawn catalogue the digest alone may differ, since another processor may round a pixel differently.
    """
    name = f"results/{results.parent.name}/{results.name}"
    try:
        then = _read_manifest(results) if results.is_file() else now
    except InputError:
        return f"{name}: damaged; nothing to compare the photographs with"
    if _selecting(then["settings"]) != _selecting(now["settings"]) or then["sha256"] == now["sha256"]:
        return ""
    labels = sorted({*then["classes"], *now["classes"]})
    counts = [(label, then["classes"].get(label, 0), now["classes"].get(label, 0)) for label in labels]
    changed = [f"{label} {before} -> {after}" for label, before, after in counts if before != after]
    what = ", ".join(changed) or "as many as before in each class, but other names or contents"
    return f"other photographs than those of {name}: {then['count']} then, {now['count']} now ({what})"


def _read_manifest(path: Path) -> dict[str, Any]:
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        manifest["classes"].items(), manifest["sha256"][:12], manifest["count"]  # what is read later
        _selecting(manifest["settings"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path}: damaged; delete it, or bring it back with `git checkout`") from error
    return manifest
