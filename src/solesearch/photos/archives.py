"""Unpacking a zip that came from elsewhere: checked first, then whole or not at all."""

from __future__ import annotations

import shutil
import stat
import zipfile
import zlib
from pathlib import Path, PurePosixPath

from solesearch.core import files
from solesearch.core.errors import InputError
from solesearch.core.progress import Progress

MOST_BYTES = 8 * 2**30  # UT-Zap50K unpacks to 0.3 GB, its square variant to 0.6 GB
STAMP = ".unpacked-from-sha256"
# Every way in which a damaged, encrypted or exotic archive fails in zipfile.
DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError, NotImplementedError, ValueError)


def extract_photos(archive: Path, folder: Path, *, suffixes: tuple[str, ...], most: int = MOST_BYTES) -> None:
    """Unpack the members of a zip whose names end in `suffixes` into `folder`, replacing what was there.

    Nothing is written before every name and size is checked, and `folder` appears at once when all is
    unpacked; it is kept when it came from the same bytes (sha256). Files of macOS (`__MACOSX`, `._*`) are
    left out. Raises InputError for a damaged or encrypted zip, a name that leaves the folder, a link, a
    name listed twice, and more than `most` bytes.
    """
    digest, stamp = files.digest(archive), folder / STAMP
    if stamp.is_file() and stamp.read_text(encoding="ascii") == digest:
        return
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)  # left by a run that was killed
    try:
        with zipfile.ZipFile(archive) as opened:
            members = _checked_members(opened, archive, suffixes=suffixes, most=most)
            _unpack(opened, members, partial)
    except DAMAGE as error:
        shutil.rmtree(partial, ignore_errors=True)
        if isinstance(error, InputError):
            raise
        raise InputError(f"{archive}: cannot be unpacked ({error}); is it whole, is there space?") from error
    files.write_text(partial / STAMP, digest)
    shutil.rmtree(folder, ignore_errors=True)
    partial.replace(folder)


def _checked_members(
    opened: zipfile.ZipFile, archive: Path, *, suffixes: tuple[str, ...], most: int
) -> list[zipfile.ZipInfo]:
    every = [member for member in opened.infolist() if not member.is_dir()]
    for member in every:
        _stop_when_unsafe(member, archive)
    members = [member for member in every if _is_photo(member.filename, suffixes)]
    names = {member.filename for member in members}
    total = sum(member.file_size for member in members)  # zipfile reads no member beyond its stated size
    if not members:
        raise InputError(f"{archive}: holds no photos")
    if len(names) < len(members):
        raise InputError(f"{archive}: lists {len(members) - len(names)} names twice; fetch the zip again")
    if total > most:
        raise InputError(f"{archive}: unpacks to {total} bytes, more than {most}; unpack it yourself")
    return members


def _stop_when_unsafe(member: zipfile.ZipInfo, archive: Path) -> None:
    name, kind = member.filename, stat.S_IFMT(member.external_attr >> 16)
    path = PurePosixPath(name)
    leaves = path.is_absolute() or ".." in path.parts or "\\" in name or ":" in name.split("/")[0]
    if leaves or kind not in (0, stat.S_IFREG):
        what = "leaves its folder" if leaves else "is a link or a device"
        raise InputError(f"{archive}: {name!r} {what}; nothing was unpacked")


def _is_photo(name: str, suffixes: tuple[str, ...]) -> bool:
    parts = PurePosixPath(name).parts
    return parts[0] != "__MACOSX" and not parts[-1].startswith(".") and name.lower().endswith(suffixes)


def _unpack(opened: zipfile.ZipFile, members: list[zipfile.ZipInfo], folder: Path) -> None:
    progress = Progress("unpacking photos", total=len(members), unit="photo")
    folder.mkdir(parents=True)
    for done, member in enumerate(members, start=1):
        target = folder / member.filename
        target.parent.mkdir(parents=True, exist_ok=True)
        with opened.open(member) as source, target.open("wb") as copy:
            shutil.copyfileobj(source, copy)
        progress.update(done)
