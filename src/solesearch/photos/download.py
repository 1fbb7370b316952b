"""UT-Zap50K from its official page: fetched under its terms, gone on with after a break-off, then checked."""

from __future__ import annotations

import errno
import http.client
import json
import shutil
import urllib.error
import urllib.request
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any

from solesearch.core import files
from solesearch.core.errors import InputError
from solesearch.core.progress import Progress
from solesearch.photos.metadata import META_FILE
from solesearch.photos.photo import SUFFIXES
from solesearch.photos.sources import OFFICIAL_CATEGORIES, OFFICIAL_FOLDERS, is_junk

TERMS = """UT-Zap50K, catalogue photographs of shoes collected by Aron Yu and Kristen Grauman.
Given for non-commercial research use; the photographs stay their owners'. Whoever uses it cites
  A. Yu and K. Grauman. Fine-Grained Visual Comparisons with Local Learning. CVPR 2014."""
BY_HAND = "or get the zip by hand and say where it is: make paper DATA=/path/to/zip"
GO_ON = "the same command goes on where it stopped"
BLOCK, MEGABYTE = 2**18, 10**6
PATIENCE = 60.0  # seconds that a server may stay silent
NO_SPACE = (errno.ENOSPC, errno.EDQUOT)


def download(address: str, target: Path, *, check: Callable[[Path], None]) -> None:
    """Fetch `address` to `target`, whole and checked or not at all.

    What has come lies in `target`.partial and is gone on with (HTTP Range), if the file at `address` is still
    the same (If-Range); `check` raises InputError for a whole file that is not what was wanted. Proxies and
    certificates are those of the environment (urllib). Raises InputError in one line: no answer, refused, a
    page instead of a zip, broken off, no space.
    """
    partial = partial_of(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        _fetch(address, partial)
    except InputError:
        raise
    except urllib.error.HTTPError as error:
        raise InputError(f"{address}: the server says {error.code} {error.reason}; {BY_HAND}") from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        if getattr(error, "errno", None) in NO_SPACE:
            raise InputError(f"{partial}: no space left; make room, {GO_ON}") from error
        why = " ".join(str(getattr(error, "reason", "") or error).split()) or type(error).__name__
        raise InputError(f"{address}: not fetched ({why}); {GO_ON}, {BY_HAND}") from error
    try:
        check(partial)
    except InputError as error:
        _forget(partial)
        raise InputError(f"{address}: {error}; {BY_HAND}") from error
    partial.replace(target)
    _forget(partial)


def partial_of(target: Path) -> Path:
    """Return where a download lies until it is whole; DVC ignores such names."""
    return target.with_name(f"{target.name}.partial")


def _note_of(partial: Path) -> Path:
    return partial.with_name(f"{partial.name}.json")


def _forget(partial: Path) -> None:
    partial.unlink(missing_ok=True)
    _note_of(partial).unlink(missing_ok=True)


def _fetch(address: str, partial: Path) -> None:
    """Bring `partial` to its whole length; raises InputError when the server ends before that."""
    note = _read_note(partial, address)
    have = partial.stat().st_size if note else 0
    if note and have == note["size"]:
        return
    answer, have = _ask(address, have=have, unchanged=note.get("unchanged", ""))
    with answer:
        length = answer.headers["Content-Length"]
        size = have + int(length) if length else None
        if have and size != note["size"]:
            _forget(partial)
            raise InputError(f"{address}: is another file than before; the same command fetches it anew")
        if not have:
            _start(answer, address, partial, size=size)
        _write(answer, partial, have=have, size=size)
    if size is not None and partial.stat().st_size < size:
        came = f"{partial.stat().st_size / MEGABYTE:.1f} of {size / MEGABYTE:.1f} MB"
        raise InputError(f"{address}: broke off after {came}; {GO_ON}")


def _read_note(partial: Path, address: str) -> dict[str, Any]:
    """Return what was noted of a download that broke off: address, size, unchanged; {} without one."""
    try:
        note = json.loads(_note_of(partial).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return note if partial.is_file() and note.get("address") == address else {}


def _ask(address: str, *, have: int, unchanged: str) -> tuple[Any, int]:
    """Return the server's answer, and after how many bytes it begins: `have`, or 0 where it starts anew."""
    named = {"User-Agent": "solesearch"}
    if have and unchanged:
        rest = {**named, "Range": f"bytes={have}-", "If-Range": unchanged}
        try:
            answer = urllib.request.urlopen(urllib.request.Request(address, headers=rest), timeout=PATIENCE)
        except urllib.error.HTTPError as error:
            if error.code != http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
                raise
        else:
            begins = (answer.headers["Content-Range"] or "").startswith(f"bytes {have}-")
            if answer.status == http.HTTPStatus.OK or begins:
                return answer, have if begins else 0
            answer.close()
    return urllib.request.urlopen(urllib.request.Request(address, headers=named), timeout=PATIENCE), 0


def _start(answer: Any, address: str, partial: Path, *, size: int | None) -> None:
    """Empty `partial` and note what it will be, once it is clear that there is room for it."""
    if "html" in (answer.headers["Content-Type"] or ""):
        raise InputError(f"{address}: the server sent a web page and no zip; {BY_HAND}")
    free = shutil.disk_usage(partial.parent).free
    if size is not None and size > free:
        needed = f"{size / MEGABYTE:.0f} MB are needed, {free / MEGABYTE:.0f} MB are free"
        raise InputError(f"{partial.parent}: {needed}; make room, or link it to a disk that has some")
    partial.write_bytes(b"")  # first, so that no note is ever beside the bytes of another file
    tag = answer.headers["ETag"] or ""
    unchanged = tag if tag.startswith('"') else answer.headers["Last-Modified"] or ""  # no weak tag
    files.write_json(_note_of(partial), {"address": address, "size": size, "unchanged": unchanged})


def _write(answer: Any, partial: Path, *, have: int, size: int | None) -> None:
    name, total = partial.name.removesuffix(".partial"), (size or 0) // MEGABYTE
    progress = Progress(f"fetching {name}", total=total, unit="MB", done=have // MEGABYTE)
    with partial.open("ab") as file:
        while block := answer.read(BLOCK):
            file.write(block)
            if (have + len(block)) // MEGABYTE > have // MEGABYTE:
                progress.update((have + len(block)) // MEGABYTE)
            have += len(block)


# --- is it what was wanted? ------------------------------------------------------------------------------


def check_photos(archive: Path, *, photos: int, subcategories: int) -> None:
    """Raise InputError unless `archive` is a sound zip of UT-Zap50K's tree with so many of both."""
    names = [PurePosixPath(name).parts for name in _sound(archive)]
    found = [
        parts
        for parts in names
        if len(parts) == 5 and parts[0] in OFFICIAL_FOLDERS and parts[1] in OFFICIAL_CATEGORIES
        if parts[-1].lower().endswith(SUFFIXES) and not is_junk(parts[-1])
    ]
    counts = (len(found), len({parts[1:3] for parts in found}))
    if counts != (photos, subcategories):
        raise InputError(
            f"the zip holds {counts[0]:,} photos in {counts[1]} subcategories of UT-Zap50K, "
            f"not {photos:,} in {subcategories}"
        )


def check_metadata(archive: Path) -> None:
    """Raise InputError unless `archive` is a sound zip with a meta-data.csv."""
    if META_FILE not in {PurePosixPath(name).name for name in _sound(archive)}:
        raise InputError(f"the zip holds no {META_FILE}")


def _sound(archive: Path) -> list[str]:
    """Return the names in a zip whose every member can be read; raises InputError for any other file."""
    try:
        with zipfile.ZipFile(archive) as opened:
            if (damaged := opened.testzip()) is None:
                return opened.namelist()
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError) as error:
        raise InputError(f"what came is no zip that can be read ({error})") from error
    raise InputError(f"what came is a damaged zip ({damaged})")
