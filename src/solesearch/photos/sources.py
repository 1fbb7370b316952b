"""Where photos and labels come from: UT-Zap50K's own tree or zip, class folders, a CSV manifest."""

from __future__ import annotations

import os
import re
import shutil
import unicodedata
import zipfile
import zlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from urllib.parse import unquote

import pandas as pd

from solesearch.core import files
from solesearch.core.errors import InputError
from solesearch.photos.labels_file import (
    UNPRINTABLE,
    class_name,
    plain,
    read_labels,
    stop_when_row,
    unprintable,
)
from solesearch.photos.metadata import LABELS_FILE, META_FILE, META_FOLDER, META_ZIP, official_attributes
from solesearch.photos.photo import NOT_TAKEN, SUFFIXES
from solesearch.photos.splits import UNLABELLED

Problem = tuple[str, str, str]  # file, problem, action

LEFT_OUT, PASSED_OVER, MISSING = "left out", "passed over", "missing"
# What Windows, macOS, Linux and network drives leave among photos; so is all whose name starts with a dot.
JUNK = (
    *("thumbs.db", "ehthumbs.db", "desktop.ini", "$recycle.bin", "recycler", "system volume information"),
    *("__macosx", "lost+found", "@eadir", "@recycle", "#recycle", "#snapshot", "@__thumb"),
)
# Folders that divide a data set; they are nobody's classes.
PART_OF_DATA = re.compile(
    r"(train(ing)?|val(id(ation)?)?|test(ing)?|dev|eval(uation)?|hold-?out|query|queries|gallery)"
    r"([ _-]?(set|data|images?|img|photos?|split|\d+))?",
    re.IGNORECASE,
)
RESERVED_LABELS = ("all", "macro")  # rows of results/<profile>/retrieval.csv
COLUMNS = ["id", "label", "product", "place"]  # of a listing
FILLED_BY_MAKE = ("paper", "chapter", "photos")  # that `make PROFILE DATA=folder` links photographs to
FETCHED_BY_MAKE = ("paper",)  # and those that `make PROFILE` fetches, once their terms are accepted

OFFICIAL_FOLDERS = ("ut-zap50k-images", "ut-zap50k-images-square")
OFFICIAL_CATEGORIES = ("Boots", "Sandals", "Shoes", "Slippers")
OFFICIAL_PHOTOS, OFFICIAL_SUBCATEGORIES = 50_025, 21  # Yu and Grauman 2014
PARTIAL = "used as the part that it is"
UNPACKED_FROM = ".unpacked-from-sha256"
# P names eight classes that UT-Zap50K does not have; this is the reading taken. "*": every subcategory.
PAPER_CLASSES = {
    "heels": (("Shoes", "Heels"),),
    "sandals": (("Sandals", "*"),),
    "sports": (("Shoes", "Sneakers and Athletic Shoes"),),
    "boots": (("Boots", "Ankle"), ("Boots", "Mid-Calf"), ("Boots", "Prewalker Boots")),
    "high_boots": (("Boots", "Knee High"), ("Boots", "Over the Knee")),
    "loafers": (("Shoes", "Loafers"),),
    "slippers": (("Slippers", "*"),),
    "flats": (("Shoes", "Flats"),),
}
CLASS_OF_SUBCATEGORY = {pair: label for label, pairs in PAPER_CLASSES.items() for pair in pairs}


@dataclass(frozen=True)
class Listing:
    """The photos a source names, before any of them is opened."""

    folder: Path  # ids are paths below it
    photos: pd.DataFrame  # COLUMNS (product "": unknown; place int), then text attributes; sorted by id
    problems: list[Problem] = field(default_factory=list)
    places_given: bool = False  # a `position` column said which photos are neighbours
    unique_products: bool = False  # one product has one name in all classes


def existing_data(folder: Path, *, profile: str, archives: bool) -> Path:
    """Return `folder`, which may be a zip if `archives`; raises InputError with the way to get photos."""
    if folder.is_dir() and not all(is_junk(entry.name) for entry in folder.iterdir()):
        return folder
    if archives and folder.is_file():
        return folder
    raise no_photographs(folder, profile=profile)


def no_photographs(folder: Path, *, profile: str) -> InputError:
    """Return the error for an empty or missing slot, with the way to fill it."""
    make = f"`make {profile} DATA=/path/to/folder` links them" if profile in FILLED_BY_MAKE else ""
    fetch = f"`make {profile}` fetches them, " if profile in FETCHED_BY_MAKE else ""
    return InputError(
        f"{folder}: no photographs there; {fetch}{make or 'put or link them there'}, "
        f"data/README.md says what is wanted. Or take {profile} off the list `profiles` in params.yaml"
    )


# --- what lies in a folder -------------------------------------------------------------------------------


def is_junk(name: str) -> bool:
    """Tell whether a file or folder is hidden or a system's own."""
    return name.startswith(".") or name.lower() in JUNK


def walk_photos(folder: Path) -> tuple[list[str], list[Problem]]:
    """Return the sorted posix paths of all photos below `folder`, and a problem for every other file.

    Hidden files and what systems leave behind cost one line a kind. Linked folders are followed, each once.
    Nothing is opened.
    """
    names, problems, seen, systems = [], [], set(), Counter()

    def unreadable(error: OSError) -> None:
        problems.append((os.path.relpath(error.filename, folder), "folder cannot be read", LEFT_OUT))

    for place, subfolders, entries in os.walk(folder, onerror=unreadable, followlinks=True):
        if os.path.realpath(place) in seen:
            subfolders.clear()
            continue
        seen.add(os.path.realpath(place))
        junk = [name for name in (*subfolders, *entries) if is_junk(name) and name != UNPACKED_FROM]
        systems.update("._*" if name.startswith("._") else name for name in junk)
        subfolders[:] = sorted(name for name in subfolders if not is_junk(name))
        below = PurePosixPath(Path(place).relative_to(folder).as_posix())
        for name in (str(below / entry) for entry in entries if not is_junk(entry)):
            if problem := _name_problem(name) or file_problem(folder / name):
                problems.append((printable(name), problem, LEFT_OUT))
            else:
                names.append(name)
    for name, count in systems.items():
        many = f", {count} such" if count > 1 else ""
        problems.append((printable(name), f"a system's own{many}", PASSED_OVER))
    return sorted(names), problems


def _name_problem(name: str) -> str | None:
    suffix = PurePosixPath(name).suffix.lower()
    if unprintable(name):
        return "name with control characters or not UTF-8"
    if suffix in (".heic", ".heif"):
        return f"{NOT_TAKEN}: a HEIC photo; convert it to JPEG or PNG"
    return None if suffix in SUFFIXES else f"not a photo ({suffix or 'no suffix'})"


def file_problem(path: Path) -> str | None:
    """Return why `path` is no file that can be opened; None for one. Opening a pipe would wait for ever."""
    try:
        if path.is_file():
            return None
        if not path.exists():
            return "a link that leads nowhere" if path.is_symlink() else MISSING
    except OSError:  # say, a name that is too long
        return MISSING
    return "a folder, not a photo" if path.is_dir() else "a pipe, socket or device, not a file"


def printable(name: str) -> str:
    """Return a file's name with control characters and undecodable bytes escaped, the rest as it is."""
    odd = (unicodedata.category(letter) in UNPRINTABLE for letter in name)
    return "".join(
        ascii(letter)[1:-1] if escape else letter for letter, escape in zip(name, odd, strict=True)
    )


def stop_when_class_empty(wanted: Iterable[str], found: Iterable[str], *, where: Path) -> None:
    """Raise InputError that names the classes which have no photo."""
    if empty := sorted(set(wanted) - set(found)):
        raise InputError(
            f"{where}: no usable photo in class {', '.join(empty)}; add photos or take the class away"
        )


def _photo_table(photos: pd.DataFrame) -> pd.DataFrame:
    """Return COLUMNS, then all others, sorted by id; without places they are counted per label."""
    if reserved := sorted(set(photos["label"]) & set(RESERVED_LABELS)):
        raise InputError(f"class {reserved[0]!r}: a row of the results has that name; rename the class")
    photos = photos.sort_values("id", ignore_index=True)
    if "place" not in photos:
        photos["place"] = photos.groupby("label").cumcount() + 1
    return photos[[*COLUMNS, *photos.columns.drop(COLUMNS)]]


def _read_tree(root: Path, read: Callable[..., tuple[str, str] | str]) -> tuple[pd.DataFrame, list[Problem]]:
    """Return id, label and product of the photos below `root`, and a problem for every other file.

    `read` tells label and product by the parts of a photo's path, or in words why it is left out.
    """
    names, problems = walk_photos(root)
    told = {name: read(*name.split("/")) for name in names}
    problems += [(name, why, LEFT_OUT) for name, why in told.items() if isinstance(why, str)]
    rows = [(name, *pair) for name, pair in told.items() if not isinstance(pair, str)]
    return pd.DataFrame(rows, columns=["id", "label", "product"]), problems


# --- class folders ---------------------------------------------------------------------------------------


def list_folders(folder: Path) -> Listing:
    """List a folder of class folders: the label is the top folder's name in lower case, the place the number
    of the file in its class, from 1, by name. Names that read the same are one class.

    Raises InputError when there is no class folder, one without photos, and when the folders are the parts
    of a data set (train, test) or one folder around the classes.
    """

    def read(top: str, *below: str) -> tuple[str, str] | str:
        return (class_name(top), "") if below and class_name(top) else "lies in no class folder"

    photos, problems = _read_tree(folder, read)
    tops = sorted(entry.name for entry in folder.iterdir() if entry.is_dir() and not is_junk(entry.name))
    if not tops:
        raise InputError(f"{folder}: holds no class folders; wanted one folder a class, with photos in it")
    problems = [problem for problem in problems if problem[0] != LABELS_FILE]
    problems += _about_class_folders(folder, tops, photos["id"].tolist())
    stop_when_class_empty(filter(None, map(class_name, tops)), photos["label"], where=folder)
    return Listing(folder, _photo_table(photos), problems)


def _about_class_folders(folder: Path, tops: list[str], names: list[str]) -> list[Problem]:
    """Return what is odd about class folders; raises InputError when they cannot be the classes."""
    inner: dict[str, set[str]] = defaultdict(set)  # folders inside a class's; "": photos lie in it themselves
    for top, *below in (name.split("/") for name in names):
        inner[top].add(below[0] if len(below) > 1 else "")
    parts = [top for top in sorted(inner) if PART_OF_DATA.fullmatch(plain(top))]
    classes = ", ".join(sorted(set().union(*inner.values()) - {""})[:4]) or "one folder a class"
    if len(parts) > 1 or (parts and len(tops) == 1):
        raise InputError(
            f"{folder}: {', '.join(parts)} are parts of a data set, not classes, and which photos are tested "
            f"is decided here (catalog.split); put their class folders ({classes}) side by side into one "
            f"folder, or name each photo's class in {LABELS_FILE} (source: manifest)"
        )
    alike = all(found == inner[min(inner)] and len(found) > 1 and "" not in found for found in inner.values())
    if alike and len(tops) == 1:
        raise InputError(f"{folder}: holds one folder, {tops[0]}, around {classes}; give that one")
    problems = []
    if alike and len(inner) > 1:
        words = f"each of the {len(inner)} class folders holds the same folders ({classes})"
        problems.append((tops[0], words, "the outer folder is the class"))
    spellings: dict[str, list[str]] = defaultdict(list)
    for top in sorted(inner):
        spellings[class_name(top)].append(top)
    for label, (first, *others) in spellings.items():
        words = f"reads as class {label}, as {printable(first)!r} does"
        problems += [(printable(top), words, "one class") for top in others]
    return problems


# --- the official tree -----------------------------------------------------------------------------------


def list_official(folder: Path, *, label_map: str, unpack_to: Path) -> Listing:
    """List UT-Zap50K's official tree or zip: Category/Subcategory/Brand/product.colour.jpg.

    `folder` is the tree, or holds it or its zip (unpacked to `unpack_to`; a tree is preferred). Names are
    taken as they lie on disk. `label_map`: `papers` (eight classes, the rest UNLABELLED), `subcategories`
    or `categories`. The product is the number before the first dot; attributes as `official_attributes`
    finds them. A part of the tree serves, and a problem says so. Raises InputError when there is no such
    tree, or its photos make fewer than two classes.
    """
    root = _official_root(folder, unpack_to)

    def read(*parts: str) -> tuple[str, str] | str:
        if len(parts) != 4 or parts[0] not in OFFICIAL_CATEGORIES:
            return "is not Category/Subcategory/Brand/product.colour.jpg"
        number = parts[-1].split(".")[0]
        return official_label(*parts[:2], label_map=label_map), number if number.isdecimal() else ""

    photos, problems = _read_tree(root, read)
    if root == folder:  # what may lie beside the photos is no photo that was left out
        beside = (META_FILE, META_ZIP, LABELS_FILE, META_FOLDER)
        problems = [problem for problem in problems if problem[0].split("/")[0] not in beside]
    classes = set(photos["label"]) - {UNLABELLED}
    if len(classes) < 2:
        raise InputError(f"{root}: has photos in {_listed(classes)} alone; similarity needs two classes")
    if len(photos) < OFFICIAL_PHOTOS:
        missing = set(PAPER_CLASSES) - classes if label_map == "papers" else ()
        words = f"{len(photos):,} of UT-Zap50K's {OFFICIAL_PHOTOS:,} photos"
        problems.append((root.name, f"{words}, none in {_listed(missing)}" if missing else words, PARTIAL))
    attributes, notes = official_attributes(folder, photos["id"])
    photos = _photo_table(photos.join(attributes))
    return Listing(root, photos, [*problems, *notes], unique_products=True)


def _listed(classes: Iterable[str]) -> str:
    return ", ".join(sorted(classes)) or "no class"


def official_label(category: str, subcategory: str, *, label_map: str) -> str:
    """Return the class of a photo in Category/Subcategory; UNLABELLED where the papers' eight have none."""
    subcategory = unquote(subcategory)
    if label_map == "categories":
        return category.lower()
    if label_map == "subcategories":
        return f"{category} {subcategory}".lower().replace(" ", "_").replace("-", "_")
    whole = CLASS_OF_SUBCATEGORY.get((category, "*"), UNLABELLED)
    return CLASS_OF_SUBCATEGORY.get((category, subcategory), whole)


def find_tree(folder: Path) -> Path | None:
    """Return the folder inside `folder` (or itself) that holds UT-Zap50K's categories; None without one."""
    for tree in (*(folder / name for name in OFFICIAL_FOLDERS), folder):
        if any((tree / name).is_dir() for name in OFFICIAL_CATEGORIES):
            return tree
    return None


def _official_root(folder: Path, unpack_to: Path) -> Path:
    if tree := find_tree(folder):
        return tree
    zips = [folder] if folder.is_file() else sorted(folder.glob("[!.]*.zip"))
    zips = [path for path in zips if path.name != META_ZIP]
    if len(zips) > 1:
        raise InputError(f"{folder}: holds {len(zips)} zips ({zips[0].name}, {zips[1].name}, ...); leave one")
    if zips:
        unpack(zips[0], unpack_to)
    if tree := find_tree(unpack_to) if zips else None:
        return tree
    raise InputError(
        f"{zips[0] if zips else folder}: no UT-Zap50K tree; wanted {OFFICIAL_FOLDERS[0]}/ with "
        f"{', '.join(OFFICIAL_CATEGORIES)}, or its zip"
    )


def unpack(archive: Path, folder: Path) -> None:
    """Unpack a zip's photos into `folder`, whole or not at all; kept when it came from the same bytes.

    Nothing is written elsewhere: zipfile takes `..` and roots out of names and makes no links. Raises
    InputError for a zip that is damaged or encrypted.
    """
    digest, stamp = files.digest(archive), folder / UNPACKED_FROM
    if stamp.is_file() and stamp.read_text(encoding="ascii") == digest:
        return
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)  # left by a run that was killed
    try:
        with zipfile.ZipFile(archive) as opened:
            for name in opened.namelist():
                if name.lower().endswith(SUFFIXES) and not is_junk(PurePosixPath(name).name):
                    opened.extract(name, partial)
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError, ValueError) as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise InputError(f"{archive}: cannot be unpacked ({error}); is it whole, is there space?") from error
    files.write_text(partial / UNPACKED_FROM, digest)
    shutil.rmtree(folder, ignore_errors=True)
    partial.replace(folder)


# --- a CSV manifest --------------------------------------------------------------------------------------


def list_manifest(folder: Path) -> Listing:
    """List the photos that a CSV names: columns file, label, optional product, optional integer position.

    The CSV is `labels.csv` in `folder`, or the only one there; files are posix paths below `folder`, labels
    are put in lower case; `product_id` serves as product where there is no such column. A file that is there
    in another Unicode form, or with outer spaces, is taken. Further columns, say colour, become the listing's
    attributes, text as it stands there.

    Raises InputError for a CSV that is empty, in another encoding or lacks a column, a column that is there
    twice, a file named twice, absolute or outside the folder, an empty label, a position that is no integer,
    and when no file is there; single missing files are problems.
    """
    found = sorted(path for path in folder.glob("[!.]*.csv") if path.is_file())
    found = [path for path in found if path.name == LABELS_FILE] or found
    if len(found) != 1:
        have = f"holds {len(found)} CSV files" if found else "holds no CSV file"
        raise InputError(f"{folder}: {have}; wanted {LABELS_FILE} with the columns file and label")
    [path] = found
    table, notes = read_labels(path)
    names, problems = _on_disk(folder, table["file"], listed_in=path.name)
    present = table.assign(id=table["file"].map(names)).dropna(subset="id").drop(columns="file")
    if present.empty:
        example = table["file"].iloc[0]
        raise InputError(f"{path}: none of its {len(table)} files is below {folder}, for one {example}")
    stop_when_class_empty(table["label"], present["label"], where=path)
    stop_when_row(present["id"].duplicated(), present["id"], path, "names a file for the second time")
    problems += [(path.name, *note) for note in notes]
    photos = _photo_table(present.rename(columns={"position": "place"}))
    return Listing(folder, photos, problems, places_given="position" in table)


def _on_disk(folder: Path, listed: Iterable[str], *, listed_in: str) -> tuple[dict[str, str], list[Problem]]:
    """Return listed name -> the name on disk, and a problem for every other.

    Zips made on a Mac hold accents in another Unicode form than most keyboards write.
    """
    wrong = {name: file_problem(folder / name) for name in listed}
    names = {name: name for name, problem in wrong.items() if problem is None}
    spelled: dict[str, list[str]] = defaultdict(list)
    if MISSING in wrong.values():
        for name in walk_photos(folder)[0]:
            spelled[_spelling(name)].append(name)
    problems, respelled = [], 0
    for name, problem in wrong.items():
        likely = spelled[_spelling(name)] if problem == MISSING else []
        if len(likely) == 1:
            names[name], respelled = likely[0], respelled + 1
        elif problem:
            several = f", and {len(likely)} files there are spelled like it" if likely else ""
            problems.append((name, f"{problem}, but listed in {listed_in}{several}", LEFT_OUT))
    if respelled:
        words = f"{respelled} files are there in another Unicode form or with outer spaces"
        problems.append((listed_in, words, "kept"))
    return names, problems


def _spelling(name: str) -> str:
    """Return a path by which names that look the same are the same."""
    return "/".join(plain(part) for part in name.split("/"))
