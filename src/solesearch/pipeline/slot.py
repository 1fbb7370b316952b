"""The slot for one's own photographs: links a folder to data/<profile>, and puts a profile to work.

`make zappos DATA=FOLDER` does both before it runs the profile; so does `make chapter`.
"""

from __future__ import annotations

import re
from pathlib import Path

from solesearch.core import files
from solesearch.core.errors import InputError
from solesearch.core.paths import Paths
from solesearch.core.settings import active_profiles, check_known, load_section
from solesearch.photos.sources import LABELS_FILE


def link_photographs(profile: str, folder: Path) -> Path:
    """Link `folder` to data/<profile> and return the link; a link that was there is replaced.

    Raises InputError when `folder` is not what the profile's source reads (class folders, or a CSV that
    names the photos), or when data/<profile> is a folder of its own with something in it (nothing of the
    user's is ever overwritten).
    """
    slot, folder = Paths.of(profile).data, folder.expanduser().resolve()
    _stop_unless_photographs(folder, source=load_section(profile, "catalog")["source"])
    if folder == slot.resolve():
        return slot
    if slot.is_dir() and not slot.is_symlink():
        if any(slot.iterdir()):
            raise InputError(f"{slot}: already holds files; move them away, or leave out DATA to use them")
        slot.rmdir()
    slot.parent.mkdir(parents=True, exist_ok=True)
    slot.unlink(missing_ok=True)
    slot.symlink_to(folder, target_is_directory=True)
    return slot


def _stop_unless_photographs(folder: Path, *, source: str) -> None:
    manifest = source == "manifest"
    if not folder.is_dir():
        what = f"{LABELS_FILE} and the photos it names" if manifest else "a folder for each class"
        raise InputError(f"{folder}: no such folder; name the one that holds {what}")
    if manifest and not any(folder.glob("*.csv")):
        raise InputError(
            f"{folder}: holds no {LABELS_FILE}; write one with the columns file and label (data/README.md)"
        )
    if not manifest and not any(child.is_dir() for child in folder.iterdir()):
        raise InputError(f"{folder}: holds no folders; the photos of each class belong into one of their own")


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
