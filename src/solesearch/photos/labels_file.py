"""A labels.csv as people and spreadsheets write it: read as text, or refused in one line."""

from __future__ import annotations

import codecs
import csv
import io
import unicodedata
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd

from solesearch.core.errors import InputError
from solesearch.photos.photo import read_file

UNPRINTABLE = ("Cc", "Cs", "Zl", "Zp")  # control characters, undecodable bytes, line ends: no CSV holds them
DECIDING = ("file", "label", "product", "product_id", "position")
MEANT = (*DECIDING, "colour")  # whose capitals do not matter
TAKEN = ("id", "place", "group", "split", "width", "height", "sha256")  # the catalogue's own columns
SEPARATORS = ",;\t|"
WAY_OUT = "save it as UTF-8 (a spreadsheet's `CSV UTF-8`)"


def plain(text: str) -> str:
    """Return a name as it reads: in Unicode's composed form (NFC), without outer or repeated spaces."""
    return " ".join(unicodedata.normalize("NFC", text).split())


def class_name(text: str) -> str:
    """Return the class that a folder's name or a cell means: `plain`, in lower case."""
    return unicodedata.normalize("NFC", plain(text).lower())


def unprintable(text: str) -> bool:
    """Tell whether a text holds a control character, an undecodable byte or a line end."""
    return any(unicodedata.category(letter) in UNPRINTABLE for letter in text)


def read_labels(path: Path) -> tuple[pd.DataFrame, list[tuple[str, str]]]:
    """Return a labels.csv as a table, and what was odd about its columns: [(problem, what was done)].

    UTF-8 or UTF-16, separated by commas, semicolons or tabs; blank rows are skipped. Columns: file, label,
    product ("" unknown), position (int64) if there is one, further ones as text; one whose name is missing,
    taken or there twice gets another. The index is the row in the file. Raises InputError for all that
    `sources.list_manifest` lists.
    """
    rows = _rows(path)
    if not rows:
        raise InputError(f"{path}: empty; wanted the columns file and label")
    head, *body = rows
    if not body:
        raise InputError(f"{path}: names no photos, it has nothing but its header")
    width = len(rows[head])
    for number in body:
        if any(rows[number][width:]):
            raise InputError(f"{path}: not a CSV (row {number} has more cells than its header, {width})")
    cells = [(rows[number] + [""] * width)[:width] for number in body]
    table = pd.DataFrame(cells, index=body, dtype=object)
    named = (table != "").any().to_numpy() | (np.array(rows[head]) != "")
    names, notes = _column_names(np.array(rows[head])[named], path)
    return _checked(table.loc[:, named].set_axis(names, axis="columns"), path), notes


def _rows(path: Path) -> dict[int, list[str]]:
    """Return the rows that are not blank, by their number in the file, the header first."""
    text = _text(path)
    header = next((line for line in text.splitlines() if "file" in line.lower()), "")
    separator, lines = max(SEPARATORS, key=header.count), io.StringIO(text, newline="")
    try:
        read = list(csv.reader(lines, delimiter=separator, skipinitialspace=True, strict=True))
    except csv.Error as error:
        raise InputError(f"{path}: not a CSV ({error})") from error
    stripped = enumerate(([cell.strip() for cell in row] for row in read), start=1)
    rows = {number: row for number, row in stripped if any(row)}
    if rows and rows[first := min(rows)][0].lower().startswith("sep="):  # Excel's own first line
        del rows[first]
    return rows


def _text(path: Path) -> str:
    try:
        data = read_file(path)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    wide = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        text = data.decode("utf-16" if wide else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 ({error.reason} at byte {error.start}); {WAY_OUT}") from error
    if "\0" in text:
        raise InputError(f"{path}: not UTF-8 (NUL at byte {data.index(0)}); {WAY_OUT}")
    return text


def _column_names(header: Iterable[str], path: Path) -> tuple[list[str], list[tuple[str, str]]]:
    """Return a name for each column, and which had to be changed."""
    heads = [plain(head).lower() if plain(head).lower() in MEANT else plain(head) for head in header]
    if missing := [name for name in ("file", "label") if name not in heads]:
        raise InputError(f"{path}: lacks the columns {', '.join(missing)}; it has {', '.join(heads)}")
    names, notes = [], []
    for place, head in enumerate(heads, start=1):
        if head in DECIDING and head in names:
            raise InputError(f"{path}: has the column {head} twice; delete one")
        name = f"given_{head.lower()}" if head.lower() in TAKEN else head or "column"
        names.append(name if head and name not in names else f"{name}_{place}")
        if names[-1] != head:
            notes.append((f"column {place} ({head}): its name is taken or missing", f"kept as {names[-1]}"))
    return names, notes


def _checked(table: pd.DataFrame, path: Path) -> pd.DataFrame:
    """Return the table with file, label, product and position as the catalogue reads them."""
    names, labels = table["file"], table["label"].map(class_name)
    stop_when_row(~names.map(_lies_inside), names, path, "is no path below the folder, like Boot/0001.jpg")
    names = names.map(lambda name: PurePosixPath(name).as_posix())
    stop_when_row(names.duplicated(), names, path, "names a file for the second time")
    stop_when_row(labels == "", labels, path, "has no label")
    stop_when_row(labels.map(unprintable), labels, path, "has control characters in its label")
    if "product" not in table:
        table = table.rename(columns={"product_id": "product"})
    products = _as_written(table["product"].map(plain)) if "product" in table else ""
    table = table.assign(file=names, label=_as_written(labels), product=products)
    if "position" in table:
        # 3, and the 3.0 or 3,0 of spreadsheets
        whole = table["position"].str.fullmatch(r"-?\d{1,15}([.,]0+)?")
        stop_when_row(~whole, table["position"], path, "has a position that is no integer")
        table["position"] = table["position"].str.replace(r"[.,]0+$", "", regex=True).astype("int64")
    return table


def _as_written(column: pd.Series) -> pd.Series:
    """Return 3 for 3.0 where every cell is a whole number or blank: a program wrote the point, no person.

    Beside a gap pandas writes 3.0 for 3, and two spellings of one product could come into two splits.
    """
    whole = column.str.fullmatch(r"\d+(\.0+)?") | (column == "")
    return column.str.replace(r"\.0+$", "", regex=True) if whole.all() else column


def stop_when_row(wrong: pd.Series, values: pd.Series, path: Path, what: str) -> None:
    """Raise InputError that names the first row of `wrong` (by its index) and its value."""
    if wrong.any():
        row = wrong.idxmax()
        raise InputError(f"{path}, row {row}: {what}: {values[row]!r}")


def _lies_inside(name: str) -> bool:
    path = PurePosixPath(name)
    leaves = path.is_absolute() or ".." in path.parts or "\\" in name or name[1:2] == ":"
    return bool(path.parts) and not leaves and not unprintable(name)
