"""Linking one's own photographs: nothing of the user's is overwritten, comments in params.yaml survive."""

from pathlib import Path

import pytest

from solesearch.core.errors import InputError
from solesearch.core.settings import load_parameters
from solesearch.pipeline.slot import activate, link_photographs


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


FORMS = {
    "flow": ("profiles: [sample]\n", "profiles: [sample, zappos]\n"),
    "flow in lines": ("profiles: [\n  sample,  # mine\n]\n", "profiles: [\n  sample, zappos,  # mine\n]\n"),
    "no indentation": ("profiles:\n- sample\n", "profiles:\n- sample\n- zappos\n"),
    "comments": (
        "profiles:  # what runs\n\n   # first\n   - sample  # mine\n   # last\n",
        "profiles:  # what runs\n\n   # first\n   - sample  # mine\n   - zappos\n   # last\n",
    ),
    "quotes": ('"profiles":\n  - "sample"\n', '"profiles":\n  - "sample"\n  - zappos\n'),
    "Windows": ("profiles:\r\n  - sample\r\n", "profiles:\r\n  - sample\r\n  - zappos\r\n"),
    "empty": ("profiles: []  # none\n", "profiles: [zappos]  # none\n"),
    "nothing": ("profiles:\n", "profiles: [zappos]\n"),
    "null": ("profiles: null\n", "profiles: [zappos]\n"),
    "anchored": ("profiles: &p [sample]\n", "profiles: &p [sample, zappos]\n"),
    "an alias": (
        "mine: &m [sample]\nprofiles: *m  # as above\n",
        "mine: &m [sample]\nprofiles: [sample, zappos]  # as above\n",
    ),
    "missing": ("", "profiles: [zappos]\n"),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_the_list(workspace: Path, form: str) -> None:
    """Everything but the list stays as it is, to the last byte."""
    before, after = (f"# top\n{text}" for text in FORMS[form])
    rest = "smoke: {a: 1}  # one\nzappos: &z\n  b: [1, 2]\n"
    if form == "missing":
        before, after = rest, f"profiles: [zappos]\n{rest}"
    else:
        before, after = before + rest, after + rest
    (workspace / "params.yaml").write_bytes(before.encode())
    assert activate("zappos")
    assert (workspace / "params.yaml").read_bytes().decode() == after
    assert not activate("zappos")


def test_the_list_at_the_end_of_a_file_without_a_last_line_end(workspace: Path) -> None:
    (workspace / "params.yaml").write_text("zappos: {a: 1}\nprofiles:\n  - sample")
    assert activate("zappos")
    assert load_parameters()["profiles"] == ["sample", "zappos"]


def test_what_dvc_exp_run_leaves(workspace: Path) -> None:
    """`dvc exp run -S 'profiles=[smoke]'` writes params.yaml anew by this function."""
    from dvc.utils.hydra import apply_overrides

    apply_overrides(workspace / "params.yaml", ["profiles=[smoke]"])
    assert activate("zappos") and activate("chapter")
    assert load_parameters()["profiles"] == ["smoke", "zappos", "chapter"]


@pytest.mark.parametrize("text", ["profiles: sample\n", "profiles: {a: 1}\n", "profiles: 3\n"])
def test_what_is_no_list_is_left_to_the_user(workspace: Path, text: str) -> None:
    text += "zappos: {a: 1}\n"
    (workspace / "params.yaml").write_text(text)
    with pytest.raises(InputError, match=r"params\.yaml: `profiles` is no list; .* zappos among them"):
        activate("zappos")
    assert (workspace / "params.yaml").read_text() == text
    with pytest.raises(InputError, match="no section for profile 'nosuch'"):
        activate("nosuch")
