"""Filling the slot: links, downloads under their terms; nothing of the user's is overwritten."""

import io
import os
import pty
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from official_tree import SUBCATEGORIES, write_official_tree, write_official_zip
from pipeline_runs import environment, run
from web_folder import WebFolder, served

from solesearch.core.errors import InputError
from solesearch.photos.sources import list_official
from solesearch.pipeline import slot as slots
from solesearch.pipeline.slot import (
    TermsNotAcceptedError,
    activate,
    fetch_photographs,
    link_photographs,
)


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


# --- UT-Zap50K -------------------------------------------------------------------------------------------


IMAGES, DATA = "ut-zap50k-images.zip", "ut-zap50k-data.zip"


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small official tree with two photos a subcategory; read only."""
    return write_official_tree(tmp_path_factory.mktemp("official"), per_subcategory=2)


@pytest.fixture
def web(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebFolder]:
    archive = write_official_zip(tree, tmp_path_factory.mktemp("zip") / IMAGES)
    table = io.BytesIO()
    with zipfile.ZipFile(table, "w") as opened:
        head = "CID,Category,SubCategory,HeelHeight,Insole,Closure,Gender,Material,ToeStyle"
        cid = min(tree.rglob("*.jpg")).stem.replace(".", "-")
        opened.writestr("ut-zap50k-data/meta-data.csv", f"{head}\n{cid},,,,,Zipper,Women,,\n")
    with served(files={IMAGES: archive.read_bytes(), DATA: table.getvalue()}) as folder:
        yield folder


@pytest.fixture
def described(workspace: Path, repository: Path) -> Path:
    """A project with the committed data.dvc."""
    shutil.copy(repository / "data.dvc", workspace)
    return workspace


def fetch(web: WebFolder, **options: object) -> Path:
    return fetch_photographs("paper", source=web.address, photos=42, subcategories=21, **options)


def closures(slot: Path) -> set[str]:
    listing = list_official(slot, label_map="papers", unpack_to=slot.parents[1] / "unpacked")
    return set(listing.photos["closure"]) if "closure" in listing.photos else set()


def test_what_is_fetched_is_linked_and_fetched_once(described: Path, web: WebFolder, capsys) -> None:
    for _ in range(2):
        slot = fetch(web, accepted=True)
        assert slot.readlink() == Path("ut-zap50k")  # relative, so that the project may be moved
        assert sorted(path.name for path in slot.iterdir()) == [DATA, IMAGES]
    assert [name for name, _ in web.asked] == [IMAGES, DATA]
    assert closures(slot) == {"", "Zipper"} and capsys.readouterr().out == ""


def test_without_attributes_it_goes_on_and_says_so(described: Path, web: WebFolder, capsys) -> None:
    del web.files[DATA]
    slot = fetch(web, accepted=True)
    [said] = capsys.readouterr().out.splitlines()
    assert said.startswith("going on without attributes (") and "the server says 404 Not Found);" in said
    assert closures(slot) == set() and (slot / IMAGES).is_file()


def test_photographs_that_lie_there_are_taken_and_nobody_is_asked(described: Path, web: WebFolder) -> None:
    slot = described / "data/paper"
    (slot / "ut-zap50k-images/Boots").mkdir(parents=True)
    assert fetch(web) == slot and web.asked == []
    shutil.rmtree(slot)
    slot.symlink_to(described / "gone")
    with pytest.raises(InputError, match=r"data/paper: links to .*gone, which is empty or not there"):
        fetch(web, accepted=True)
    assert web.asked == [] and slot.is_symlink()


def test_a_slot_with_other_things_is_named_before_anything_is_fetched(
    described: Path, web: WebFolder
) -> None:
    (described / "data/paper").mkdir(parents=True)
    (described / "data/paper/.DS_Store").touch()
    with pytest.raises(InputError, match=r"data/paper: already holds files; move them away"):
        fetch(web, accepted=True)
    assert web.asked == []


def test_another_zip_leaves_no_link(described: Path, web: WebFolder) -> None:
    with pytest.raises(InputError, match=r"holds 42 photos in 21 subcategories .*, not 50,025 in 21"):
        fetch_photographs("paper", source=web.address, accepted=True)
    assert not (described / "data/paper").is_symlink()
    assert list((described / "data/ut-zap50k").iterdir()) == []


@pytest.mark.parametrize(("answer", "accepted"), [("yes", True), ("Y", True), ("no", False), ("", False)])
def test_the_terms_are_shown_and_asked_about_once(
    described: Path, web: WebFolder, monkeypatch: pytest.MonkeyPatch, capsys, answer: str, accepted: bool
) -> None:
    asked: list[str] = []
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("builtins.input", lambda words: asked.append(words) or answer)
    if not accepted:
        with pytest.raises(TermsNotAcceptedError, match=r"nothing is fetched: make paper ACCEPT=yes"):
            fetch(web)
        assert web.asked == [] and not (described / "data").exists()
    else:
        web.cut_after = 5_000
        with pytest.raises(InputError, match="broke off"):
            fetch(web)
        web.cut_after = None
        fetch(web)
    said = capsys.readouterr().out
    assert "non-commercial research use" in said and "Yu and K. Grauman" in said and web.address in said
    assert asked == ["Do you accept these terms? [yes/no] "]


def repro(root: Path, *options: str, **how: object) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "solesearch.pipeline.repro", "paper", *options]
    where = {**environment(Path(slots.__file__).parents[3]), "SOLESEARCH_ROOT": str(root)}
    return subprocess.run(command, cwd=root, env=where, capture_output=True, text=True, check=False, **how)


def test_without_a_terminal_nobody_has_accepted(described: Path, web: WebFolder) -> None:
    ended = repro(described, "--fetch", "--from", web.address, stdin=subprocess.DEVNULL)
    assert ended.returncode == 2 and web.asked == []
    [said] = ended.stderr.splitlines()
    assert said.startswith("error: UT-Zap50K is not fetched before somebody accepts its terms")
    assert "make paper ACCEPT=yes" in said and "make paper DATA=" in said


def test_at_a_terminal_no_is_no(described: Path, web: WebFolder) -> None:
    ours, theirs = pty.openpty()
    os.write(ours, b"no\n")
    ended = repro(described, "--fetch", "--from", web.address, stdin=theirs)
    assert ended.returncode == 2 and web.asked == []
    assert "Do you accept these terms? [yes/no]" in ended.stdout and "not accepted" in ended.stderr


def test_the_official_zip_or_tree_is_linked(workspace: Path, tree: Path, tmp_path_factory) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    archive = write_official_zip(tree, elsewhere / "any name.zip")
    for given in (tree.parent, tree, archive, elsewhere):
        slot = link_photographs("paper", given)
        assert slot.resolve() == given.resolve()
        listing = list_official(slot, label_map="papers", unpack_to=workspace / "unpacked")
        assert len(listing.photos) == 2 * sum(map(len, SUBCATEGORIES.values()))
    (elsewhere / "empty").mkdir()
    (elsewhere / "text.zip").write_text("no zip")
    for name in ("empty", "text.zip", "nowhere"):
        with pytest.raises(InputError, match=rf"{name}: no UT-Zap50K there; name the folder that holds"):
            link_photographs("paper", elsewhere / name)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_dvc_updates_the_zip_and_nothing_else_of_it_fetches(
    described: Path, web: WebFolder, tree: Path
) -> None:
    """The committed data.dvc, its address alone turned to this machine; the slot fresh, linked, fetched."""
    described_by = described / "data.dvc"
    text = described_by.read_text()
    [dep] = yaml.safe_load(text)["deps"]
    described_by.write_text(text.replace(dep["path"], f"{web.address}/{IMAGES}"))
    stage = {"cmd": "echo > count", "deps": ["data/paper"], "outs": [{"count": {"cache": False}}]}
    other = {"cmd": "echo > other", "outs": [{"other": {"cache": False}}]}
    (described / "dvc.yaml").write_text(yaml.safe_dump({"stages": {"prepare": stage, "other": other}}))
    run(described, "dvc", "init", "--no-scm")
    run(described, "dvc", "repro", "other")
    assert "data.dvc" in run(described, "dvc", "dag", "data.dvc").stdout
    link_photographs("paper", tree.parent)
    run(described, "dvc", "repro")
    assert web.asked == [] and not list(tree.parent.glob("*.zip"))
    run(described, "dvc", "update", "data.dvc")
    assert (described / "data/ut-zap50k" / IMAGES).read_bytes() == web.files[IMAGES]
    assert "up to date" in run(described, "dvc", "status").stdout
    (described / "data/paper").unlink()
    slot = fetch(web)  # nothing to accept: it is there
    assert slot.readlink() == Path("ut-zap50k")
    run(described, "dvc", "repro")
    assert "up to date" in run(described, "dvc", "status").stdout
    web.files[IMAGES] += b"more"
    run(described, "dvc", "update", "data.dvc")
    assert (slot / IMAGES).read_bytes() == web.files[IMAGES]
    assert "desc: |-" in described_by.read_text()  # DVC keeps the words
