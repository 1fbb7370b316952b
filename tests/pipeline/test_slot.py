"""Linking one's own photographs: nothing of the user's is overwritten, comments in params.yaml survive."""

from pathlib import Path

import pytest

from solesearch.core.errors import InputError
from solesearch.pipeline.slot import activate, link_photographs


@pytest.fixture
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photographs")
    (folder / "Boot").mkdir()
    return folder


def test_link_and_relink(workspace: Path, photographs: Path, tmp_path_factory) -> None:
    assert link_photographs("photos", photographs).resolve() == photographs.resolve()
    other = tmp_path_factory.mktemp("other")
    (other / "Shoe").mkdir()
    assert link_photographs("photos", other).resolve() == other.resolve()
    assert (photographs / "Boot").is_dir()  # the first folder is untouched


def test_own_files_in_the_slot_are_left_alone(workspace: Path, photographs: Path) -> None:
    mine = workspace / "data" / "photos" / "Boot" / "mine.jpg"
    mine.parent.mkdir(parents=True)
    mine.write_bytes(b"x")
    with pytest.raises(InputError, match="already holds files"):
        link_photographs("photos", photographs)
    assert mine.read_bytes() == b"x"
    assert link_photographs("photos", mine.parents[1]).is_dir()  # naming the slot itself is fine


def test_wrong_folders_are_named(workspace: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nowhere: no such folder"):
        link_photographs("photos", tmp_path / "nowhere")
    (tmp_path / "flat").mkdir()
    with pytest.raises(InputError, match="holds no folders"):
        link_photographs("photos", tmp_path / "flat")


def test_a_manifest_is_wanted_where_the_profile_reads_one(workspace: Path, photographs: Path) -> None:
    """Class folders alone will not do for `chapter`, nor photos without folders for `photos`."""
    with pytest.raises(InputError, match=r"holds no labels.csv; .*data/README"):
        link_photographs("chapter", photographs)
    assert not (workspace / "data" / "chapter").exists()
    (photographs / "labels.csv").write_text("file,label\nBoot/1.jpg,boots\n")
    assert link_photographs("chapter", photographs).resolve() == photographs.resolve()
    with pytest.raises(InputError, match=r"nowhere: no such folder; name the one that holds labels\.csv"):
        link_photographs("chapter", photographs / "nowhere")


FORMS = {
    "no indentation": ("profiles:\n- sample\n", "profiles:\n- sample\n- photos\n"),
    "comments": (
        "profiles:  # what runs\n   # first\n   - sample  # mine\n",
        "profiles:  # what runs\n   # first\n   - sample  # mine\n   - photos\n",
    ),
    "Windows": ("profiles:\r\n  - sample\r\n", "profiles:\r\n  - sample\r\n  - photos\r\n"),
}


@pytest.mark.parametrize("form", FORMS)
def test_the_list_grows_and_all_else_stays_to_the_last_byte(workspace: Path, form: str) -> None:
    before, after = (f"# top\n{text}photos: {{a: 1}}\n" for text in FORMS[form])
    (workspace / "params.yaml").write_bytes(before.encode())
    assert activate("photos")
    assert (workspace / "params.yaml").read_bytes().decode() == after
    assert not activate("photos")


@pytest.mark.parametrize("text", ["profiles: [sample]\n", "profiles: sample\n", ""])
def test_what_is_written_otherwise_is_left_to_the_user(workspace: Path, text: str) -> None:
    text += "photos: {a: 1}\n"
    (workspace / "params.yaml").write_text(text)
    with pytest.raises(InputError, match=r"`profiles`"):
        activate("photos")
    assert (workspace / "params.yaml").read_text() == text
    with pytest.raises(InputError, match="no section for profile 'nosuch'"):
        activate("nosuch")
