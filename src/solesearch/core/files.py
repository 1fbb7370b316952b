"""Writing without half-written files: everything goes to a temporary neighbour first, then replaces."""

from __future__ import annotations

import hashlib
import json
import os
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from solesearch.core.errors import InputError, not_made_yet

if TYPE_CHECKING:
    import pandas as pd  # the notebook runner, a process a stage, writes no table and should not wait for it


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path`; it takes `path`'s place when the block ends well.

    A kill, a full disk or an exception inside leaves the old file as it was. The temporary name keeps the
    suffix, because savers choose a format by it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.partial{path.suffix}")
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write `text` to `path` as UTF-8, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON with sorted keys."""
    write_text(path, json.dumps(value, indent=2, sort_keys=True) + "\n")


def write_table(path: Path, table: pd.DataFrame) -> None:
    """Write a table as CSV without its index; floats with six significant digits, so diffs stay readable."""
    write_text(path, table.to_csv(index=False, float_format="%.6g", lineterminator="\n"))


def read_table(path: Path, *, made_by: str, **options: Any) -> pd.DataFrame:
    """Return a CSV as a table; raises InputError that names the stage which writes the file."""
    import pandas as pd

    if not path.is_file():
        raise not_made_yet(path, made_by=made_by)
    return pd.read_csv(path, **options)


def read_result(path: Path) -> pd.DataFrame:
    """Return a results table; raises InputError when it is missing or damaged.

    Empty cells alone are gaps: a class may be called "None", and a NaN in a number must not pass unseen.
    """
    import pandas as pd

    try:
        return read_table(path, made_by="the pipeline", keep_default_na=False, na_values=[""])
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: damaged ({error}); restore it or run the pipeline again") from error


def write_array(path: Path, array: np.ndarray) -> None:
    """Write one array as .npy (no pickle)."""
    with replacing(path) as temporary:
        np.save(temporary, array, allow_pickle=False)


def read_array(path: Path, *, made_by: str, memory_map: bool = False) -> np.ndarray:
    """Return a .npy array, mapped instead of read on demand; never unpickles.

    Raises InputError that names the file when it is missing or damaged.
    """
    if not path.is_file():
        raise not_made_yet(path, made_by=made_by)
    try:
        return np.load(path, mmap_mode="r" if memory_map else None, allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise InputError(f"{path}: damaged ({error}); delete it and run {made_by} again") from error


def write_arrays(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """Write named arrays as .npz (no pickle; the same arrays give the same bytes)."""
    with replacing(path) as temporary:
        np.savez(temporary, allow_pickle=False, **arrays)


def read_arrays(path: Path, names: Sequence[str] | None = None) -> dict[str, np.ndarray]:
    """Return the arrays of an .npz, or those of `names`; InputError names the file when it is damaged."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in names or archive.files}
    except (ValueError, EOFError, OSError, KeyError, zipfile.BadZipFile) as error:
        raise InputError(
            f"{path}: damaged or missing ({error}); delete it and run the stage again"
        ) from error


def digest(path: Path) -> str:
    """Return the sha256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
