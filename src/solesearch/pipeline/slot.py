"""The slot for photographs: links what is named or fetched to data/<profile>, and puts a profile to work.

`make photos DATA=FOLDER` does both before it runs the profile; so do `make chapter` and `make paper`, which
without DATA fetches UT-Zap50K.
"""

from __future__ import annotations

import os
import re
import sys
import zipfile
from functools import partial
from pathlib import Path

import yaml

from solesearch.core import files
from solesearch.core.errors import InputError
from solesearch.core.paths import Paths
from solesearch.core.progress import tell
from solesearch.core.settings import active_profiles, check_known, load_section
from solesearch.photos.download import TERMS, check_metadata, check_photos, download, partial_of
from solesearch.photos.metadata import META_ZIP
from solesearch.photos.sources import (
    LABELS_FILE,
    OFFICIAL_FOLDERS,
    OFFICIAL_PHOTOS,
    OFFICIAL_SUBCATEGORIES,
    find_tree,
    is_junk,
)


class TermsNotAcceptedError(InputError):
    """Nobody accepted the terms of the photographs, so nothing was fetched."""


def link_photographs(profile: str, given: Path) -> Path:
    """Link `given` to data/<profile> and return the link; a link that was there is replaced.

    Raises InputError when `given` is not what the profile's source reads (class folders, a CSV that names the
    photos, UT-Zap50K's tree or zip), or when data/<profile> is a folder of its own with something in it
    (nothing of the user's is ever overwritten).
    """
    slot, given = Paths.of(profile).data, given.expanduser().resolve()
    _stop_unless_photographs(given, source=load_section(profile, "catalog")["source"])
    return slot if given == slot.resolve() else _put_link(slot, given)


def _put_link(slot: Path, given: Path) -> Path:
    _stop_unless_free(slot)
    if slot.is_dir() and not slot.is_symlink():
        slot.rmdir()
    slot.parent.mkdir(parents=True, exist_ok=True)
    slot.unlink(missing_ok=True)
    slot.symlink_to(given)
    return slot


def _stop_unless_free(slot: Path) -> None:
    if not slot.is_symlink() and (slot.is_file() or (slot.is_dir() and any(slot.iterdir()))):
        raise InputError(f"{slot}: already holds files; move them away, or leave out DATA to use them")


def _stop_unless_photographs(given: Path, *, source: str) -> None:
    if source == "official":
        zips = [given] if given.is_file() else sorted(given.glob("[!.]*.zip"))
        if not (find_tree(given) or any(map(zipfile.is_zipfile, zips))):
            raise InputError(
                f"{given}: no UT-Zap50K there; name the folder that holds {OFFICIAL_FOLDERS[0]}/, or its zip"
            )
        return
    manifest = source == "manifest"
    if not given.is_dir():
        what = f"{LABELS_FILE} and the photos it names" if manifest else "a folder for each class"
        raise InputError(f"{given}: no such folder; name the one that holds {what}")
    if manifest and not any(given.glob("*.csv")):
        raise InputError(
            f"{given}: holds no {LABELS_FILE}; write one with the columns file and label (data/README.md)"
        )
    if not manifest and not any(child.is_dir() for child in given.iterdir()):
        raise InputError(f"{given}: holds no folders; the photos of each class belong into one of their own")


def fetch_photographs(
    profile: str,
    *,
    accepted: bool = False,
    source: str = "",
    photos: int = OFFICIAL_PHOTOS,
    subcategories: int = OFFICIAL_SUBCATEGORIES,
) -> Path:
    """Return data/<profile>, filled: with what lies there, or with UT-Zap50K from its official page.

    Address and place are those of data.dvc; `source` is another folder of the web that holds the two zips,
    of the photographs and their attributes. The terms are shown and asked about once, unless `accepted`.
    Raises TermsNotAcceptedError, and InputError when the zip cannot be fetched, or holds other than so many
    `photos` in `subcategories`. Without attributes the run goes on, and a line says so.
    """
    slot = Paths.of(profile).data
    address, zipped = _official_address(slot.parents[1])
    fetched = slot.is_symlink() and slot.resolve() == zipped.parent.resolve()
    if _is_filled(slot) and not fetched:
        return slot
    if slot.is_symlink() and not fetched:
        where = slot.readlink()
        raise InputError(
            f"{slot}: links to {where}, which is empty or not there; bring it back, or delete the link"
        )
    _stop_unless_free(slot)
    source = (source or address.rpartition("/")[0]).rstrip("/")
    if not zipped.is_file():
        if not (accepted or partial_of(zipped).exists()):  # what broke off had been accepted
            _ask_for_terms(source)
        check = partial(check_photos, photos=photos, subcategories=subcategories)
        download(f"{source}/{zipped.name}", zipped, check=check)
    if not (metadata := zipped.with_name(META_ZIP)).is_file():
        try:
            download(f"{source}/{META_ZIP}", metadata, check=check_metadata)
        except InputError as error:
            why = str(error).partition("; ")[0]
            tell(f"going on without attributes ({why}); they count once {META_ZIP} lies in {metadata.parent}")
    return slot if fetched else _put_link(slot, Path(os.path.relpath(zipped.parent, slot.parent)))


def _official_address(root: Path) -> tuple[str, Path]:
    """Return the zip's address and where it is put, as data.dvc tells DVC."""
    described = yaml.safe_load((root / "data.dvc").read_text(encoding="utf-8"))
    return described["deps"][0]["path"], root / described["outs"][0]["path"]


def _is_filled(slot: Path) -> bool:
    return slot.is_file() or (slot.is_dir() and not all(is_junk(entry.name) for entry in slot.iterdir()))


def _ask_for_terms(source: str) -> None:
    way_out = "make paper ACCEPT=yes accepts them; make paper DATA=/path/to/folder uses photographs you have"
    if not sys.stdin.isatty():
        raise TermsNotAcceptedError(
            f"UT-Zap50K is not fetched before somebody accepts its terms (data/README.md): {way_out}"
        )
    print(f"{TERMS}\n291 MB from {source}")
    try:
        answer = input("Do you accept these terms? [yes/no] ")
    except EOFError:
        answer = ""
    if answer.strip().lower() not in ("y", "yes"):
        raise TermsNotAcceptedError(f"the terms were not accepted, nothing is fetched: {way_out}")


def activate(profile: str) -> bool:
    """Add `profile` to the list `profiles` in params.yaml, all else kept; return whether it was missing.

    Raises InputError for a profile without a section, or a list that is not written one name a line.
    """
    check_known([profile])
    if profile in active_profiles():
        return False
    path = Paths.of(profile).root / "params.yaml"
    text = path.read_bytes().decode("utf-8")  # bytes, since reading as text would change line ends
    listed = re.search(
        r"(?m)^profiles:[^\n\[]*\n(?: *#[^\n]*\n|(?P<dash> *- )[^\r\n]*(?P<ends>\r?\n))+", text
    )
    if listed is None or listed["dash"] is None:
        raise InputError(f"{path}: add {profile} to `profiles` yourself, one name a line")
    line = f"{listed['dash']}{profile}{listed['ends']}"
    files.write_text(path, f"{text[: listed.end()]}{line}{text[listed.end() :]}")
    return True
