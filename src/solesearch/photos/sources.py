"""Where photos and labels come from: UT-Zap50K's own tree or zip, class folders, a CSV manifest."""

from __future__ import annotations

import errno
import os
import re
import stat
import unicodedata
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from urllib.parse import unquote

import pandas as pd

from solesearch.core.errors import InputError
from solesearch.photos.archives import STAMP, extract_photos
from solesearch.photos.labels_file import (
    UNPRINTABLE,
    class_name,
    plain,
    read_labels,
    stop_when_row,
    unprintable,
)
from solesearch.photos.photo import NOT_TAKEN, SUFFIXES
from solesearch.photos.splits import UNLABELLED

LEFT_OUT = "left out"
PASSED_OVER = "passed over"
MISSING = "missing"
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
LABELS_FILE = "labels.csv"
MANIFEST_COLUMNS = ("file", "label", "product", "position")  # the catalogue's own; the rest are attributes
FILLED_BY_MAKE = ("zappos", "chapter")  # profiles that `make PROFILE DATA=folder` links photographs to

OFFICIAL_FOLDERS = ("ut-zap50k-images", "ut-zap50k-images-square")
OFFICIAL_CATEGORIES = ("Boots", "Sandals", "Shoes", "Slippers")
OFFICIAL_DEPTH = 4  # Category/Subcategory/Brand/product.colour.jpg
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
    photos: pd.DataFrame  # id, label, product ("" unknown), place (int); sorted by id
    problems: list[tuple[str, str, str]] = field(default_factory=list)  # file, problem, action
    places_given: bool = False  # a `position` column said which photos are neighbours
    unique_products: bool = False  # one product has one name in all classes
    attributes: pd.DataFrame | None = None  # a manifest's further columns (colour, ...) by id; None: none


def existing_data(folder: Path, *, profile: str, archives: bool) -> Path:
    """Return `folder`, which may be a zip if `archives`; raises InputError with the way to get photos."""
    if (archives and folder.is_file()) or (
        folder.is_dir() and any(not _is_junk(p.name) for p in folder.iterdir())
    ):
        return folder
    raise no_photographs(folder, profile=profile)


def no_photographs(folder: Path, *, profile: str) -> InputError:
    """Return the error for an empty or missing slot, with the way to fill it."""
    link = (
        f"`make {profile} DATA=/path/to/folder` links them"
        if profile in FILLED_BY_MAKE
        else "put or link them there"
    )
    return InputError(
        f"{folder}: no photographs there; {link}, data/README.md says what is wanted. "
        f"Or take {profile} off the list `profiles` in params.yaml"
    )


def walk_photos(folder: Path) -> tuple[list[str], list[tuple[str, str, str]]]:
    """Return the sorted posix paths of all photos below `folder`, and a problem for every other file.

    Hidden files and what systems leave behind cost one line a kind. Linked folders are followed, each once.
    Nothing is opened.
    """
    names, problems, seen, systems = [], [], set(), Counter()

    def unreadable(error: OSError) -> None:
        problems.append((os.path.relpath(error.filename, folder), "folder cannot be read", LEFT_OUT))

    for place, subfolders, entries in os.walk(folder, onerror=unreadable, followlinks=True):
        real = os.path.realpath(place)
        if real in seen:
            subfolders[:] = []
            continue
        seen.add(real)
        left = [name for name in (*subfolders, *entries) if _is_junk(name) and name != STAMP]
        systems.update("._*" if name.startswith("._") else name for name in left)
        subfolders[:] = sorted(name for name in subfolders if not _is_junk(name))
        below = PurePosixPath(Path(place).relative_to(folder).as_posix())
        problems += [
            (printable(str(below / name)), "a folder, not a photo", "its photos are read")
            for name in subfolders
            if name.lower().endswith(SUFFIXES)
        ]
        for entry in entries:
            name = str(below / entry)
            if _is_junk(entry):
                continue
            if problem := _name_problem(name) or file_problem(Path(place, entry)):
                problems.append((printable(name), problem, LEFT_OUT))
            else:
                names.append(name)
    problems += [
        (printable(name), "a system's own" + f", {count} such" * (count > 1), PASSED_OVER)
        for name, count in systems.items()
    ]
    return sorted(names), problems


def file_problem(path: Path) -> str | None:
    """Return why `path` is no file that can be opened; None for one. Opening a pipe would wait for ever."""
    try:
        mode = path.stat().st_mode
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ELOOP) and path.is_symlink():
            return "a link that leads nowhere"
        absent = (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG)
        return MISSING if error.errno in absent else f"unreadable: {error.strerror}"
    if stat.S_ISDIR(mode):
        return "a folder, not a photo"
    return None if stat.S_ISREG(mode) else "a pipe, socket or device, not a file"


def _name_problem(name: str) -> str | None:
    if unprintable(name):
        return "name with control characters or not UTF-8"
    suffix = PurePosixPath(name).suffix
    if suffix.lower() in (".heic", ".heif"):
        return f"{NOT_TAKEN}: a HEIC photo; convert it to JPEG or PNG"
    if not name.lower().endswith(SUFFIXES):
        return f"not a photo ({suffix or 'no suffix'})"
    return None


def printable(name: str) -> str:
    """Return a file's name with control characters and undecodable bytes escaped, the rest as it is."""
    return "".join(
        ascii(letter)[1:-1] if unicodedata.category(letter) in UNPRINTABLE else letter for letter in name
    )


def _is_junk(name: str) -> bool:
    return name.startswith(".") or name.lower() in JUNK


def list_folders(folder: Path) -> Listing:
    """List a folder of class folders: the label is the top folder's name in lower case, the place the number
    of the file in its class, from 1, by name. Names that read the same are one class.

    Raises InputError when there is no class folder, one without photos, and when the folders are the parts
    of a data set (train, test) or one folder around the classes.
    """
    names, problems = walk_photos(folder)
    tops = {entry.name for entry in folder.iterdir() if entry.is_dir() and not _is_junk(entry.name)}
    with_photos = {name.split("/")[0] for name in names if "/" in name}
    tops = {name for name in tops if name in with_photos or not name.lower().endswith(SUFFIXES)}
    if not tops:
        raise InputError(f"{folder}: holds no class folders; wanted one folder a class, with photos in it")
    problems = [problem for problem in problems if problem[0] != LABELS_FILE]
    problems += [(name, "lies in no class folder", LEFT_OUT) for name in names if "/" not in name]
    problems += _about_class_folders(folder, tops, names)
    rows = [(name, class_name(name.split("/")[0]), "") for name in names if "/" in name]
    problems += [(name, "its folder's name is blank", LEFT_OUT) for name, label, _ in rows if not label]
    rows = [row for row in rows if row[1]]
    wanted = {class_name(name) for name in tops} - {""}
    stop_when_class_empty(wanted, (label for _, label, _ in rows), where=folder)
    return Listing(folder, _photo_table(rows), problems)


def _about_class_folders(folder: Path, tops: set[str], names: Iterable[str]) -> list[tuple[str, str, str]]:
    """Return what is odd about class folders; raises InputError when they cannot be the classes."""
    inner: dict[str, set[str]] = {top: set() for top in sorted(tops)}
    for top, *below in (name.split("/") for name in names if "/" in name):
        inner[top].add(below[0] if len(below) > 1 else "")  # "": a photo lies in the top folder itself
    parts = [top for top in inner if PART_OF_DATA.fullmatch(plain(top))]
    classes = ", ".join(sorted(set().union(*inner.values()) - {""})[:4]) or "one folder a class"
    if parts and (len(parts) > 1 or len(tops) == 1):
        raise InputError(
            f"{folder}: {', '.join(parts)} are parts of a data set, not classes, and which photos are tested "
            f"is decided here (catalog.split); put their class folders ({classes}) side by side into one "
            f"folder, or name each photo's class in {LABELS_FILE} (source: manifest)"
        )
    first, *others = inner.values()
    if not others and len(first - {""}) > 1 and "" not in first:
        raise InputError(f"{folder}: holds one folder, {min(tops)}, around {classes}; give that one")
    problems = []
    if all(first == other for other in others) and len(first) > 1 and "" not in first:
        words = f"each of the {len(inner)} class folders holds the same folders ({classes})"
        problems.append((min(tops), words, "the outer folder is the class"))
    for label, same in _by_class(inner).items():
        words = f"reads as class {label}, as {printable(same[0])!r} does"
        problems += [(printable(top), words, "one class") for top in same[1:]]
    return problems


def _by_class(tops: Iterable[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for top in tops:
        found.setdefault(class_name(top), []).append(top)
    return found


def stop_when_class_empty(wanted: Iterable[str], found: Iterable[str], *, where: Path) -> None:
    """Raise InputError that names the classes which have no photo."""
    empty = sorted(set(wanted) - set(found))
    if empty:
        raise InputError(
            f"{where}: no usable photo in class {', '.join(empty)}; add photos or take the class away"
        )


def folders_of(ids: pd.Series) -> pd.Series:
    """Return the folder of each id, at most two levels deep: `Shoes/Oxfords` of an official photo."""
    return ids.map(lambda name: "/".join(name.split("/")[:-1][:2]) or ".")


def _photo_table(rows: Iterable[tuple[str, str, str]], places: list[int] | None = None) -> pd.DataFrame:
    """Return columns id, label, product, place, sorted by id; without places they are counted per label."""
    table = pd.DataFrame(rows, columns=["id", "label", "product"], dtype=object)
    if places is not None:
        table["place"] = places
    reserved = sorted(set(table["label"]) & set(RESERVED_LABELS))
    if reserved:
        raise InputError(
            f"class {reserved[0]!r}: the name is taken by a row of the results; rename the class"
        )
    table = table.sort_values("id", ignore_index=True)
    if places is None:
        table["place"] = table.groupby("label").cumcount() + 1
    return table


# --- the official tree -----------------------------------------------------------------------------------


def list_official(folder: Path, *, label_map: str, unpack_to: Path) -> Listing:
    """List UT-Zap50K's official tree or zip: Category/Subcategory/Brand/product.colour.jpg.

    `folder` is the tree, or holds it or its zip (unpacked to `unpack_to`; a tree is preferred). Names are
    taken as they lie on disk. `label_map`: `papers` (eight classes, the rest UNLABELLED), `subcategories`
    or `categories`. The product is the number before the first dot. Raises InputError when there is no
    such tree, or a class without photos.
    """
    root = _official_root(folder, unpack_to)
    names, problems = walk_photos(root)
    rows = []
    for name in names:
        parts = PurePosixPath(name).parts
        if len(parts) != OFFICIAL_DEPTH or parts[0] not in OFFICIAL_CATEGORIES:
            problems.append((name, "is not Category/Subcategory/Brand/product.colour.jpg", LEFT_OUT))
            continue
        number = parts[-1].split(".")[0]
        label = official_label(parts[0], parts[1], label_map=label_map)
        rows.append((name, label, number if number.isdecimal() else ""))
    wanted = _official_classes(root, label_map)
    stop_when_class_empty(wanted, (label for _, label, _ in rows), where=root)
    return Listing(root, _photo_table(rows), problems, unique_products=True)


def official_label(category: str, subcategory: str, *, label_map: str) -> str:
    """Return the class of a photo in Category/Subcategory; UNLABELLED where the papers' eight have none."""
    subcategory = unquote(subcategory)
    if label_map == "categories":
        return category.lower()
    if label_map == "subcategories":
        return f"{category} {subcategory}".lower().replace(" ", "_").replace("-", "_")
    whole = CLASS_OF_SUBCATEGORY.get((category, "*"), UNLABELLED)
    return CLASS_OF_SUBCATEGORY.get((category, subcategory), whole)


def _official_classes(root: Path, label_map: str) -> set[str]:
    """Return the classes that must have photos: the papers' eight, or one for each folder that is there."""
    if label_map == "papers":
        return set(PAPER_CLASSES)
    inside = [(root / name).glob("*") for name in OFFICIAL_CATEGORIES]
    folders = [path for paths in inside for path in paths if path.is_dir() and not _is_junk(path.name)]
    return {official_label(path.parent.name, path.name, label_map=label_map) for path in folders}


def _official_root(folder: Path, unpack_to: Path) -> Path:
    tree = find_tree(folder) if folder.is_dir() else None
    if tree:
        return tree
    inside = sorted(path for path in folder.glob("*.zip") if not _is_junk(path.name) and path.is_file())
    zips = [folder] if folder.is_file() else inside
    if len(zips) > 1:
        raise InputError(f"{folder}: holds {len(zips)} zips ({zips[0].name}, {zips[1].name}, ...); leave one")
    if zips:
        extract_photos(zips[0], unpack_to, suffixes=SUFFIXES)
        tree = find_tree(unpack_to)
    if not tree:
        raise InputError(
            f"{zips[0] if zips else folder}: no UT-Zap50K tree; wanted {OFFICIAL_FOLDERS[0]}/ with "
            f"{', '.join(OFFICIAL_CATEGORIES)}, or its zip"
        )
    return tree


def find_tree(folder: Path) -> Path | None:
    """Return the folder inside `folder` (or itself) that holds UT-Zap50K's categories; None without one."""
    candidates = [*(folder / name for name in OFFICIAL_FOLDERS), folder]
    found = [path for path in candidates if any((path / name).is_dir() for name in OFFICIAL_CATEGORIES)]
    return found[0] if found else None


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
    path = _manifest_path(folder)
    table, notes = read_labels(path)
    names, problems = _on_disk(folder, table["file"], listed_in=path.name)
    present = table[[name in names for name in table["file"]]]
    if present.empty:
        raise InputError(
            f"{path}: none of its {len(table)} files is below {folder}, for one {table['file'].iloc[0]}"
        )
    stop_when_class_empty(table["label"], present["label"], where=path)
    present = present.assign(file=present["file"].map(names))
    stop_when_row(present["file"].duplicated(), present["file"], path, "names a file for the second time")
    problems += [(path.name, *note) for note in notes]
    rows = present[["file", "label", "product"]].itertuples(index=False, name=None)
    given = "position" in present
    places = present["position"].tolist() if given else None
    attributes = _attributes(present)
    return Listing(folder, _photo_table(rows, places), problems, places_given=given, attributes=attributes)


def _on_disk(
    folder: Path, listed: Iterable[str], *, listed_in: str
) -> tuple[dict[str, str], list[tuple[str, str, str]]]:
    """Return listed name -> the name on disk, and a problem for every other.

    Zips made on a Mac hold accents in another Unicode form than most keyboards write.
    """
    wrong = {name: file_problem(folder / name) for name in listed}
    spelled: dict[str, list[str]] = {}
    if MISSING in wrong.values():
        for name in walk_photos(folder)[0]:
            spelled.setdefault(_spelling(name), []).append(name)
    names, problems, respelled = {}, [], 0
    for name, problem in wrong.items():
        likely = spelled.get(_spelling(name), []) if problem == MISSING else []
        if problem is None or len(likely) == 1:
            names[name] = likely[0] if likely else name
            respelled += bool(likely)
            continue
        several = f", and {len(likely)} files there are spelled like it" if likely else ""
        problems.append((name, f"{problem}, but listed in {listed_in}{several}", LEFT_OUT))
    if respelled:
        words = f"{respelled} files are there in another Unicode form or with outer spaces"
        problems.append((listed_in, words, "kept"))
    return names, problems


def _spelling(name: str) -> str:
    """Return a path by which names that look the same are the same."""
    return "/".join(plain(part) for part in name.split("/"))


def _attributes(table: pd.DataFrame) -> pd.DataFrame | None:
    """Return id and a manifest's further columns (text), sorted by id; None without such columns."""
    further = [name for name in table if name not in MANIFEST_COLUMNS]
    if not further:
        return None
    found = table[["file", *further]].rename(columns={"file": "id"})
    return found.sort_values("id", ignore_index=True)


def _manifest_path(folder: Path) -> Path:
    found = sorted(path for path in folder.glob("*.csv") if not _is_junk(path.name) and path.is_file())
    named = [path for path in found if path.name == LABELS_FILE] or found
    if len(named) != 1:
        have = f"holds {len(named)} CSV files" if named else "holds no CSV file"
        raise InputError(f"{folder}: {have}; wanted {LABELS_FILE} with the columns file and label")
    return named[0]
