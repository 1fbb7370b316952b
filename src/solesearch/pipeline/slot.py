"""The slot for one's own photographs: links a folder to data/<profile>, and puts a profile to work.

`make zappos DATA=FOLDER` calls `python -m solesearch.pipeline.slot zappos FOLDER` first; so with `chapter`.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

import yaml

from solesearch.core import files
from solesearch.core.errors import InputError, exit_status
from solesearch.core.paths import Paths
from solesearch.core.settings import check_known, load_parameters, load_section
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

    The list may be written in any form that YAML knows. Raises InputError for a profile without a section,
    or where the list cannot be added to without changing something else.
    """
    check_known([profile])
    parameters = load_parameters()
    listed = parameters.get("profiles") or []
    path = Paths.of(profile).root / "params.yaml"
    if not isinstance(listed, list):
        raise InputError(f"{path}: `profiles` is no list; write the names one a line, {profile} among them")
    if profile in listed:
        return False
    text = path.read_bytes().decode("utf-8")  # bytes, since reading as text would change line ends
    changed = with_profile(text, [*listed, profile])
    if yaml.safe_load(changed) != {**parameters, "profiles": [*listed, profile]}:
        raise InputError(f"{path}: `profiles` is written in an unusual way; add {profile} yourself")
    files.write_text(path, changed)
    return True


def with_profile(text: str, wanted: list[str]) -> str:
    """Return params.yaml's text with the last name of `wanted` added to its list `profiles`."""
    words = [yaml.safe_dump(name).splitlines()[0] for name in wanted]  # in quotes where YAML needs them
    found = [(key, value) for key, value in yaml.compose(text).value if key.value == "profiles"]
    if not found:
        return f"profiles: [{words[-1]}]\n{text}"
    [(key, value)] = found
    alias_of_above = value.start_mark.index < key.start_mark.index
    if len(wanted) == 1 or alias_of_above:
        colon = text.index(":", key.end_mark.index) + 1
        alias = re.compile(r"\s*\*\S+").match(text, colon)
        end = alias.end() if alias else max(value.end_mark.index, colon)
        return f"{text[:colon]} [{', '.join(words)}]{text[end:]}"
    last = value.value[-1]
    if value.flow_style:
        return f"{text[: last.end_mark.index]}, {words[-1]}{text[last.end_mark.index :]}"
    dash = text[last.start_mark.index - last.start_mark.column : last.start_mark.index]
    line_end = text.find("\n", last.end_mark.index)
    if line_end < 0:
        return f"{text}\n{dash}{words[-1]}\n"
    ends = "\r\n" if text[line_end - 1] == "\r" else "\n"
    return f"{text[: line_end + 1]}{dash}{words[-1]}{ends}{text[line_end + 1 :]}"


def fill_slot(profile: str, folder: Path) -> None:
    """Link the photographs, and say what was done."""
    slot = link_photographs(profile, folder)
    print(f"{slot} -> {slot.resolve()}")


def main() -> int:
    """`python -m solesearch.pipeline.slot PROFILE FOLDER`: link the photographs."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("profile")
    parser.add_argument("folder", type=Path)
    arguments = parser.parse_args()
    return exit_status(lambda: fill_slot(arguments.profile, arguments.folder))


if __name__ == "__main__":
    sys.exit(main())
