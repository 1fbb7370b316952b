"""Where photos and labels come from: UT-Zap50K's own tree or zip, class folders, a CSV manifest."""

from __future__ import annotations

import os
import unicodedata
import warnings
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from urllib.parse import unquote

import pandas as pd

from solesearch.archives import extract_photos
from solesearch.errors import InputError
from solesearch.photo import SUFFIXES
from solesearch.splits import UNLABELLED

LEFT_OUT = "left out"
JUNK = ("thumbs.db", "desktop.ini", "__macosx")  # and everything whose name starts with a dot
UNPRINTABLE = ("Cc", "Cs", "Zl", "Zp")  # control characters, undecodable bytes, line ends: no CSV holds them
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

    Hidden files and what macOS and Windows leave behind are passed over without a word. Linked folders are
    followed, each once.
    """
    names, problems, seen = [], [], set()

    def unreadable(error: OSError) -> None:
        problems.append((os.path.relpath(error.filename, folder), "folder cannot be read", LEFT_OUT))

    for place, subfolders, entries in os.walk(folder, onerror=unreadable, followlinks=True):
        real = os.path.realpath(place)
        subfolders[:] = sorted(name for name in subfolders if real not in seen and not _is_junk(name))
        wanted = [] if real in seen else [entry for entry in entries if not _is_junk(entry)]
        seen.add(real)
        for entry in wanted:
            name = Path(place, entry).relative_to(folder).as_posix()
            problem = _name_problem(name)
            if problem:
                problems.append((printable(name), problem, LEFT_OUT))
            else:
                names.append(name)
    return sorted(names), problems


def _name_problem(name: str) -> str | None:
    if any(unicodedata.category(letter) in UNPRINTABLE for letter in name):
        return "name with control characters or not UTF-8"
    if not name.lower().endswith(SUFFIXES):
        return f"not a photo ({PurePosixPath(name).suffix or 'no suffix'})"
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
    of the file in its class, from 1, by name.

    Raises InputError when there is no class folder, or one without photos.
    """
    names, problems = walk_photos(folder)
    classes = {entry.name for entry in folder.iterdir() if entry.is_dir() and not _is_junk(entry.name)}
    if not classes:
        raise InputError(f"{folder}: holds no class folders; wanted one folder a class, with photos in it")
    loose = [name for name in names if "/" not in name]
    problems = [problem for problem in problems if problem[0] != LABELS_FILE]
    problems += [(name, "lies in no class folder", LEFT_OUT) for name in loose]
    rows = [(name, name.split("/")[0].lower(), "") for name in names if "/" in name]
    stop_when_class_empty({name.lower() for name in classes}, (label for _, label, _ in rows), where=folder)
    return Listing(folder, _photo_table(rows), problems)


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
    zips = [folder] if folder.is_file() else sorted(folder.glob("*.zip"))
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
    are put in lower case; `product_id` serves as product where there is no such column. Further columns,
    say colour, become the listing's attributes, text as it stands there.

    Raises InputError for a CSV that is empty, not UTF-8 or lacks a column, a file named twice, absolute or
    outside the folder, an empty label, a position that is no integer, and when no file is there; single
    missing files are problems.
    """
    path = _manifest_path(folder)
    table = read_manifest(path)
    there = table["file"].map(lambda name: (folder / name).is_file())
    if not there.any():
        raise InputError(
            f"{path}: none of its {len(table)} files is below {folder}, for one {table['file'].iloc[0]}"
        )
    problems = [(name, f"missing, but listed in {path.name}", LEFT_OUT) for name in table["file"][~there]]
    present = table[there]
    stop_when_class_empty(table["label"], present["label"], where=path)
    rows = present[["file", "label", "product"]].itertuples(index=False, name=None)
    given = "position" in present
    places = present["position"].tolist() if given else None
    attributes = _attributes(present)
    return Listing(folder, _photo_table(rows, places), problems, places_given=given, attributes=attributes)


def _attributes(table: pd.DataFrame) -> pd.DataFrame | None:
    """Return id and a manifest's further columns (text), sorted by id; None without such columns."""
    further = [name for name in table if name not in MANIFEST_COLUMNS]
    if not further:
        return None
    found = table[["file", *further]].rename(columns={"file": "id"})
    return found.sort_values("id", ignore_index=True)


def _manifest_path(folder: Path) -> Path:
    found = sorted(path for path in folder.glob("*.csv") if not _is_junk(path.name))
    named = [path for path in found if path.name == LABELS_FILE] or found
    if len(named) != 1:
        have = f"holds {len(named)} CSV files" if named else "holds no CSV file"
        raise InputError(f"{folder}: {have}; wanted {LABELS_FILE} with the columns file and label")
    return named[0]


def read_manifest(path: Path) -> pd.DataFrame:
    """Return the rows of a manifest: file, label, product (text) and position (int), if it has one."""
    table = _read_csv(path)
    missing = [name for name in ("file", "label") if name not in table]
    if missing:
        commas = "; separate columns with commas" if any(";" in name for name in table) else ""
        raise InputError(f"{path}: lacks the columns {', '.join(missing)}; it has {', '.join(table)}{commas}")
    if table.empty:
        raise InputError(f"{path}: names no photos, it has nothing but its header")
    table = table.apply(lambda column: column.str.strip())
    for line, name in enumerate(table["file"], start=2):
        _stop_when_outside(name, where=f"{path}, row {line}")
    table["file"] = table["file"].map(lambda name: PurePosixPath(name).as_posix())
    table["label"] = table["label"].str.lower()
    _stop_when_row(table["label"] == "", table["label"], path, "has no label")
    _stop_when_row(table["file"].duplicated(), table["file"], path, "names a file for the second time")
    if "product" not in table:
        table = table.rename(columns={"product_id": "product"})
    if "product" not in table:
        table["product"] = ""
    if "position" in table:
        whole = table["position"].str.fullmatch(r"-?\d{1,15}")
        _stop_when_row(~whole, table["position"], path, "has a position that is no integer")
        table["position"] = table["position"].astype("int64")
    return table


def _read_csv(path: Path) -> pd.DataFrame:
    options = {"dtype": str, "keep_default_na": False, "encoding": "utf-8-sig", "index_col": False}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)  # rows longer than the header
            return pd.read_csv(path, **options).fillna("")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 ({error.reason} at byte {error.start}); save it so") from error
    except pd.errors.EmptyDataError as error:
        raise InputError(f"{path}: empty; wanted the columns file and label") from error
    except (pd.errors.ParserError, pd.errors.ParserWarning) as error:
        raise InputError(f"{path}: not a CSV ({str(error).strip()})") from error


def _stop_when_row(wrong: pd.Series, values: pd.Series, path: Path, what: str) -> None:
    if wrong.any():
        row = int(wrong.to_numpy().argmax())
        raise InputError(f"{path}, row {row + 2}: {what}: {values.iloc[row]!r}")


def _stop_when_outside(name: str, *, where: str) -> None:
    path = PurePosixPath(name)
    if not path.parts or path.is_absolute() or ".." in path.parts or "\\" in name or name[1:2] == ":":
        raise InputError(f"{where}: {name!r} is no path below the folder; write it like Boot/0001.jpg")
    if any(unicodedata.category(letter) in UNPRINTABLE for letter in name):
        raise InputError(f"{where}: {name!r} holds a control character or a line end")
