"""The slot for one's own photographs: links a folder to data/<profile> and puts the profile to work.

`python -m solesearch.slot zappos FOLDER` is what `make zappos DATA=FOLDER` calls first; so with `chapter`.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

from solesearch import files
from solesearch.errors import InputError, exit_status
from solesearch.paths import Paths
from solesearch.settings import load_parameters, load_section
from solesearch.sources import LABELS_FILE

PROFILES_LIST = re.compile(r"(?m)^profiles:[ \t]*\n(?:[ \t]+- .*\n)+")


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
    """Add `profile` to the list `profiles` in params.yaml, comments kept; return whether it was missing.

    Raises InputError for a profile without a section, or a list that is not written one name a line.
    """
    parameters = load_parameters()
    if not isinstance(parameters.get(profile), dict):
        raise InputError(f"params.yaml has no section for profile {profile!r}")
    if profile in parameters["profiles"]:
        return False
    path = Paths.of(profile).root / "params.yaml"
    text = path.read_text(encoding="utf-8")
    match = PROFILES_LIST.search(text)
    if match is None:
        raise InputError(f"{path}: write the list `profiles` one name a line, or add {profile} yourself")
    files.write_text(path, f"{text[: match.end()]}  - {profile}\n{text[match.end() :]}")
    return True


def fill_slot(profile: str, folder: Path) -> None:
    """Link the photographs, activate the profile, and say what was done."""
    slot = link_photographs(profile, folder)
    print(f"{slot} -> {slot.resolve()}")
    if activate(profile):
        print(f"params.yaml: added {profile} to profiles")


def main() -> int:
    """`python -m solesearch.slot PROFILE FOLDER`: link the photographs and activate the profile."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("profile")
    parser.add_argument("folder", type=Path)
    arguments = parser.parse_args()
    return exit_status(lambda: fill_slot(arguments.profile, arguments.folder))


if __name__ == "__main__":
    sys.exit(main())
