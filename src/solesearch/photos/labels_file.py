"""A labels.csv as people, spreadsheets and other programs write it: read as text, or refused in one line."""

from __future__ import annotations

import codecs
import csv
import io
import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import pandas as pd

from solesearch.core.errors import InputError
from solesearch.photos.photo import read_file

UNPRINTABLE = ("Cc", "Cs", "Zl", "Zp")  # control characters, undecodable bytes, line ends: no CSV holds them
READ = ("file", "label", "product", "product_id", "position")  # the columns that decide something
READ_LATER = ("colour",)
TAKEN = ("id", "group", "split", "width", "height", "sha256")  # the catalogue's own columns
SEPARATORS = ",;\t|"
WHOLE = r"-?\d{1,15}([.,]0+)?"  # 3, and the 3.0 that pandas makes of it beside a gap


class Labels(NamedTuple):
    """What a labels.csv says."""

    table: pd.DataFrame  # file, label, product (text), position (int), if it has one; further columns (text)
    notes: list[tuple[str, str]]  # what was odd about its columns: problem, action


def plain(text: str) -> str:
    """Return a name as it reads: in Unicode's composed form (NFC), without outer or repeated spaces."""
    return " ".join(unicodedata.normalize("NFC", text).split())


def class_name(text: str) -> str:
    """Return the class that a folder's name or a cell means: `plain`, in lower case."""
    return unicodedata.normalize("NFC", plain(text).lower())


def unprintable(text: str) -> bool:
    """Tell whether a text holds a control character, an undecodable byte or a line end."""
    return any(unicodedata.category(letter) in UNPRINTABLE for letter in text)


def read_labels(path: Path) -> Labels:
    """Read a labels.csv: UTF-8 or UTF-16, separated by commas, semicolons or tabs; blank rows are skipped.

    Names of columns may differ in case and outer spaces. Further columns whose name is missing, taken or
    there twice get another one, and a note. Raises InputError for all that `sources.list_manifest` lists.
    """
    (_, header), *records = _records(path)
    filled = [any(cells[place : place + 1] != [""] for _, cells in records) for place in range(len(header))]
    names, notes = _column_names(header, filled=filled, path=path)
    if not records:
        raise InputError(f"{path}: names no photos, it has nothing but its header")
    rows = [number for number, _ in records]
    table = pd.DataFrame([cells for _, cells in records], columns=names, index=rows, dtype=str)
    return Labels(_checked(table[[name for name in names if name]], path), notes)


def _records(path: Path) -> list[tuple[int, list[str]]]:
    """Return (row, cells) of all rows that are not blank, the header first, each as long as the header."""
    text = _text(path)
    lines, separator = io.StringIO(text, newline=""), _separator(text)
    reader = csv.reader(lines, delimiter=separator, skipinitialspace=True, strict=True)
    try:
        found = [(number, [cell.strip() for cell in cells]) for number, cells in enumerate(reader, start=1)]
    except csv.Error as error:
        raise InputError(f"{path}: not a CSV ({error} in line {reader.line_num})") from error
    found = [(number, cells) for number, cells in found if any(cells) and not _names_separator(cells)]
    if not found:
        raise InputError(f"{path}: empty; wanted the columns file and label")
    width = len(found[0][1])
    for number, cells in found:
        if any(cells[width:]):
            raise InputError(f"{path}: not a CSV (row {number} has {len(cells)} cells, its header {width})")
    return [(number, [*cells, *[""] * width][:width]) for number, cells in found]


def _names_separator(cells: Sequence[str]) -> bool:
    return re.fullmatch(r"sep=.?", cells[0].lower()) is not None  # Excel's own first line


def _text(path: Path) -> str:
    try:
        data = read_file(path)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    wide = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    way = "save it as UTF-8 (a spreadsheet's `CSV UTF-8`)"
    try:
        text = data.decode("utf-16" if wide else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 ({error.reason} at byte {error.start}); {way}") from error
    if "\0" in text:
        raise InputError(f"{path}: not UTF-8 (NUL at byte {data.index(0)}); {way}")
    return text


def _separator(text: str) -> str:
    """Return the first separator by which a row among the first five names file and label; else a comma."""
    for separator in SEPARATORS:
        for line in text.splitlines()[:5]:
            if {"file", "label"} <= {cell.strip(' "').lower() for cell in line.split(separator)}:
                return separator
    return ","


def _column_names(
    header: Sequence[str], *, filled: Sequence[bool], path: Path
) -> tuple[list[str], list[tuple[str, str]]]:
    """Return a name for each column, "" for one without name and content, and what had to be changed."""
    heads = [
        plain(head).lower() if plain(head).lower() in READ + READ_LATER else plain(head) for head in header
    ]
    missing = [name for name in ("file", "label") if name not in heads]
    if missing:
        has = ", ".join(filter(None, heads))
        raise InputError(f"{path}: lacks the columns {', '.join(missing)}; it has {has}")
    names, notes = [], []
    for place, head in enumerate(heads):
        if head in READ and head in names:
            raise InputError(f"{path}: has the column {head} twice; delete one")
        if not head and not filled[place]:
            names.append("")
            continue
        name, why = head, ""
        if not head:
            name, why = f"column_{place + 1}", "has no name"
        elif head.lower() in TAKEN:
            name, why = f"given_{head.lower()}", "has a name that the catalogue uses itself"
        while name in names or (name != head and name in heads):
            name, why = f"{name}_{place + 1}", why or "is there twice"
        names.append(name)
        notes += [(f"column {place + 1} ({head}) {why}", f"kept as {name}")] if why else []
    return names, notes


def _checked(table: pd.DataFrame, path: Path) -> pd.DataFrame:
    for row, name in table["file"].items():
        _stop_when_outside(name, where=f"{path}, row {row}")
    table["file"] = table["file"].map(lambda name: PurePosixPath(name).as_posix())
    table["label"] = _as_written(table["label"].map(class_name))
    stop_when_row(table["label"] == "", table["label"], path, "has no label")
    stop_when_row(
        table["label"].map(unprintable), table["label"], path, "has control characters in its label"
    )
    stop_when_row(table["file"].duplicated(), table["file"], path, "names a file for the second time")
    if "product" not in table:
        table = table.rename(columns={"product_id": "product"})
    table["product"] = _as_written(table["product"].map(plain)) if "product" in table else ""
    if "position" in table:
        whole = table["position"].str.fullmatch(WHOLE)
        stop_when_row(~whole, table["position"], path, "has a position that is no integer")
        table["position"] = table["position"].str.replace(r"[.,]0+$", "", regex=True).astype("int64")
    return table


def _as_written(column: pd.Series) -> pd.Series:
    """Return 3 for 3.0 where every cell is a whole number or blank: a program wrote the point, no person."""
    whole = column.str.fullmatch(r"\d+(\.0+)?") | (column == "")
    return column.str.replace(r"\.0+$", "", regex=True) if whole.all() else column


def stop_when_row(wrong: pd.Series, values: pd.Series, path: Path, what: str) -> None:
    """Raise InputError that names the first row of `wrong` (by its index) and its value."""
    if wrong.any():
        place = int(wrong.to_numpy().argmax())
        raise InputError(f"{path}, row {wrong.index[place]}: {what}: {values.iloc[place]!r}")


def _stop_when_outside(name: str, *, where: str) -> None:
    path = PurePosixPath(name)
    if not path.parts or path.is_absolute() or ".." in path.parts or "\\" in name or name[1:2] == ":":
        raise InputError(f"{where}: {name!r} is no path below the folder; write it like Boot/0001.jpg")
    if unprintable(name):
        raise InputError(f"{where}: {name!r} holds a control character or a line end")
