"""Linking one's own photographs: nothing of the user's is overwritten, comments in params.yaml survive."""

from pathlib import Path

import pytest

from solesearch.errors import InputError
from solesearch.settings import load_parameters
from solesearch.slot import activate, link_photographs, with_only


@pytest.fixture
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photographs")
    (folder / "Boot").mkdir()
    return folder


def test_link_and_relink(workspace: Path, photographs: Path, tmp_path_factory) -> None:
    assert link_photographs("zappos", photographs).resolve() == photographs.resolve()
    other = tmp_path_factory.mktemp("other")
    (other / "Shoe").mkdir()
    assert link_photographs("zappos", other).resolve() == other.resolve()
    assert (photographs / "Boot").is_dir()  # the first folder is untouched


def test_own_files_in_the_slot_are_left_alone(workspace: Path, photographs: Path) -> None:
    mine = workspace / "data" / "zappos" / "Boot" / "mine.jpg"
    mine.parent.mkdir(parents=True)
    mine.write_bytes(b"x")
    with pytest.raises(InputError, match="already holds files"):
        link_photographs("zappos", photographs)
    assert mine.read_bytes() == b"x"
    assert link_photographs("zappos", mine.parents[1]).is_dir()  # naming the slot itself is fine


def test_wrong_folders_are_named(workspace: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nowhere: no such folder"):
        link_photographs("zappos", tmp_path / "nowhere")
    (tmp_path / "flat").mkdir()
    with pytest.raises(InputError, match="holds no folders"):
        link_photographs("zappos", tmp_path / "flat")


def test_a_manifest_is_wanted_where_the_profile_reads_one(workspace: Path, photographs: Path) -> None:
    """Class folders alone will not do for `chapter`, nor photos without folders for `zappos`."""
    with pytest.raises(InputError, match=r"holds no labels.csv; .*data/README"):
        link_photographs("chapter", photographs)
    assert not (workspace / "data" / "chapter").exists()
    (photographs / "labels.csv").write_text("file,label\nBoot/1.jpg,boots\n")
    assert link_photographs("chapter", photographs).resolve() == photographs.resolve()
    with pytest.raises(InputError, match=r"nowhere: no such folder; name the one that holds labels\.csv"):
        link_photographs("chapter", photographs / "nowhere")


def test_photos_of_a_manifest_need_no_folders(workspace: Path, tmp_path_factory) -> None:
    flat = tmp_path_factory.mktemp("flat")
    (flat / "labels.csv").write_text("file,label\n1.jpg,boots\n")
    assert link_photographs("chapter", flat).resolve() == flat.resolve()
    with pytest.raises(InputError, match="holds no folders"):
        link_photographs("zappos", flat)


def test_activation_keeps_everything_else(workspace: Path) -> None:
    before = (workspace / "params.yaml").read_text()
    assert activate("zappos")
    assert not activate("zappos")
    after = (workspace / "params.yaml").read_text()
    assert load_parameters()["profiles"] == ["sample", "zappos"]
    assert after.replace("  - zappos\n", "", 1) == before


@pytest.mark.parametrize(
    ("written", "afterwards"),
    [
        ("profiles: [sample]", "profiles: [sample, zappos]"),
        ("profiles: [ 'smoke' , sample ] # mine", "profiles: [ 'smoke' , sample, zappos ] # mine"),
        ("profiles:\n  [\n  sample,\n  paper\n  ]", "profiles:\n  [\n  sample,\n  paper, zappos\n  ]"),
        ("profiles:\n- sample", "profiles:\n- sample\n- zappos"),  # as `dvc exp run -S` leaves it
        ("profiles:\n    - sample # the default\n\n    # mine:\n    - paper # slow",
         "profiles:\n    - sample # the default\n\n    # mine:\n    - paper # slow\n    - zappos"),
    ],
)  # fmt: skip
def test_every_form_of_the_list_takes_one_more(workspace: Path, written: str, afterwards: str) -> None:
    path = workspace / "params.yaml"
    text = path.read_text()
    path.write_text(text.replace("profiles:\n  - sample", written))
    assert activate("zappos")
    assert path.read_text() == text.replace("profiles:\n  - sample", afterwards)
    before = load_parameters()["profiles"]
    path.write_text(with_only(path.read_text(), "paper"))
    assert (before[-1], load_parameters()["profiles"]) == ("zappos", ["paper"])


def test_a_list_at_the_end_of_the_file_and_what_is_none(workspace: Path) -> None:
    path = workspace / "params.yaml"
    path.write_text("sample: {}\nzappos: {}\nprofiles:\n- sample")
    assert activate("zappos")
    assert load_parameters()["profiles"] == ["sample", "zappos"]
    with pytest.raises(InputError, match="no section for profile 'mine'; there are sample, zappos"):
        activate("mine")
    for written in ("profiles: sample", "profiles: []", "profiles:", "other: 1"):
        path.write_text(f"sample: {{}}\nzappos: {{}}\n{written}\n")
        with pytest.raises(InputError, match="`profiles` must list at least one profile"):
            activate("zappos")
