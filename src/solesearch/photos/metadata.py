"""What UT-Zap50K tells of a photo beyond its class: brand and colour in its path, the rest in a table.

The table is the official meta-data.csv (Yu and Grauman 2014), joined by its column CID: `100627-72` is the
photo `100627.72.jpg`; or a labels.csv beside the tree, joined by its column `path`.
"""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path, PurePosixPath
from typing import IO
from urllib.parse import unquote

import pandas as pd

from solesearch.core.errors import InputError
from solesearch.photos.labels_file import TAKEN

META_FILE, META_FOLDER, META_ZIP, LABELS_FILE = (
    *("meta-data.csv", "ut-zap50k-data", "ut-zap50k-data.zip", "labels.csv"),
)
PLACES = (f"{META_FOLDER}/{META_FILE}", META_FILE, META_ZIP, LABELS_FILE)  # the first that is there is read
# The official columns and the names they get here; Insole alone may be missing. Several values: `a;b`.
OFFICIAL_COLUMNS = {
    "Gender": "gender",
    "HeelHeight": "heel",
    "Closure": "closure",
    "Material": "material",
    "ToeStyle": "toe",
    "Insole": "insole",
}
IN_THE_PATH = ("category", "subcategory", "brand", "product", "label")  # which a labels.csv need not repeat
WAY_OUT = "take it anew from where it came, or take it away to go on without attributes"


def official_attributes(folder: Path, ids: pd.Series) -> tuple[pd.DataFrame, list[tuple[str, str, str]]]:
    """Return what is known of the photos `ids` (Category/Subcategory/Brand/product.colour.jpg), as text.

    One row an id, in its order and with its index; "" where nothing is known. Columns: those of the table in
    `folder` (PLACES; none without one), `brand` and `colour_number`, the shop's own number of a colour.
    Beside it the problems: (file, problem, action). Raises InputError for a table that cannot be read.
    """
    paths = [PurePosixPath(name) for name in ids]
    known = {
        "brand": [unquote(path.parts[2]) for path in paths],
        "colour_number": [path.stem.partition(".")[2] for path in paths],
    }
    attributes = pd.DataFrame(known, index=ids.index, dtype=object)
    place = next((folder / place for place in PLACES if (folder / place).is_file()), None)
    if place is None:
        return attributes, [(META_FILE, f"not there, nor {META_ZIP}", "no attributes but brand and colour")]
    by_path = place.name == LABELS_FILE
    keys = list(ids) if by_path else [path.stem.replace(".", "-", 1) for path in paths]
    table = _labels(place) if by_path else _official(place)
    problems = [(place.name, *note) for note in _notes(table.index, pd.Index(keys))]
    table = table[~table.index.duplicated()].reindex(keys, fill_value="").set_index(ids.index)
    if "colour" in table and table["colour"].isin(["", *known["colour_number"]]).all():
        table = table.drop(columns="colour")  # a number as well, and no name
    return table.join(attributes), problems


def _notes(rows: pd.Index, photos: pd.Index) -> list[tuple[str, str]]:
    """Return (problem, action) for rows without a photo, photos without a row, and rows that repeat one."""
    found = {
        "rows name no photo that is here": (~rows.isin(photos)).sum(),
        "rows name a photo again": rows.duplicated().sum(),
    }
    notes = [(f"{count:,} {words}", "passed over") for words, count in found.items() if count]
    without = (~photos.isin(rows)).sum()
    return [*notes, *([(f"{without:,} photos have no row", "empty attributes")] if without else [])]


def _official(place: Path) -> pd.DataFrame:
    table = _read(place, wanted=["CID", *list(OFFICIAL_COLUMNS)[:-1]]).set_index("CID")
    return table[[name for name in OFFICIAL_COLUMNS if name in table]].rename(columns=OFFICIAL_COLUMNS)


def _labels(place: Path) -> pd.DataFrame:
    table = _read(place, wanted=["path"]).set_index("path").rename(columns=str.lower)
    table = table.drop(columns=[name for name in IN_THE_PATH if name in table])
    taken = {name: f"given_{name}" for name in (*TAKEN, "colour_number") if name in table}
    return table.rename(columns=taken)


def _read(place: Path, *, wanted: list[str]) -> pd.DataFrame:
    """Return a CSV, or the meta-data.csv in a zip, as text; raises InputError where it is no such table."""
    try:
        if place.suffix != ".zip":
            return _table(place, place=place, wanted=wanted)
        with zipfile.ZipFile(place) as archive:
            inside = [name for name in archive.namelist() if PurePosixPath(name).name == META_FILE]
            if not inside:
                raise InputError(f"{place}: holds no {META_FILE}; {WAY_OUT}")
            with archive.open(inside[0]) as file:
                return _table(file, place=place, wanted=wanted)
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError) as error:
        raise InputError(f"{place}: cannot be read ({error}); {WAY_OUT}") from error


def _table(source: Path | IO[bytes], *, place: Path, wanted: list[str]) -> pd.DataFrame:
    options = {"dtype": str, "keep_default_na": False, "encoding": "utf-8-sig", "encoding_errors": "replace"}
    try:
        table = pd.read_csv(source, **options)
    except (pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise InputError(f"{place}: no table ({' '.join(str(error).split())}); {WAY_OUT}") from error
    if not isinstance(table.index, pd.RangeIndex):  # pandas took what the header does not name for an index
        raise InputError(f"{place}: its rows have more cells than its header; {WAY_OUT}")
    table = table.rename(columns=str.strip)
    if missing := [name for name in wanted if name not in table]:
        raise InputError(f"{place}: lacks the columns {', '.join(missing)}; {WAY_OUT}")
    return table.apply(lambda column: column.str.strip())
