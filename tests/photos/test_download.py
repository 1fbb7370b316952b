"""A zip from a server: gone on with after a break-off, begun anew where it changed, kept whole and right."""

import errno
import json
import os
import shutil
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from official_tree import SUBCATEGORIES, write_official_zip
from pipeline_runs import environment
from web_folder import WebFolder, served

from solesearch.core.errors import InputError
from solesearch.photos import download as downloads
from solesearch.photos.download import check_metadata, check_photos, download, partial_of

NAME, PHOTOS = "ut-zap50k-images.zip", 42


@pytest.fixture(scope="module")
def zipped(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The official names, two files a subcategory; nothing here decodes one."""
    root = tmp_path_factory.mktemp("tree") / "ut-zap50k-images"
    for category, subcategories in SUBCATEGORIES.items():
        for number, subcategory in enumerate(subcategories):
            for colour in (1, 2):
                path = root / category / subcategory / "Brand" / f"{number}.{colour}.jpg"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(os.urandom(3000))
    return write_official_zip(root, root.parent / NAME).read_bytes()


@pytest.fixture
def web(zipped: bytes) -> Iterator[WebFolder]:
    with served(files={NAME: zipped}) as folder:
        yield folder


def fetch(web: WebFolder, target: Path, *, photos: int = PHOTOS, subcategories: int = 21) -> None:
    check = partial(check_photos, photos=photos, subcategories=subcategories)
    download(f"{web.address}/{NAME}", target, check=check)


def beside(target: Path) -> list[str]:
    return sorted(path.name for path in target.parent.iterdir())


def test_a_whole_download(web: WebFolder, zipped: bytes, tmp_path: Path) -> None:
    target = tmp_path / "new" / NAME
    fetch(web, target)
    assert target.read_bytes() == zipped and beside(target) == [NAME]
    assert web.asked == [(NAME, "")]


def test_what_broke_off_is_gone_on_with(web: WebFolder, zipped: bytes, tmp_path: Path) -> None:
    web.cut_after = 50_000
    for come in (50_000, 100_000):
        with pytest.raises(
            InputError, match=rf"broke off after {come / 1e6:.1f} of 0.1 MB; the same command"
        ):
            fetch(web, tmp_path / NAME)
        assert partial_of(tmp_path / NAME).stat().st_size == come and not (tmp_path / NAME).exists()
    web.cut_after = None
    fetch(web, tmp_path / NAME)
    assert (tmp_path / NAME).read_bytes() == zipped and beside(tmp_path / NAME) == [NAME]
    assert [asked for _, asked in web.asked] == ["", "bytes=50000-", "bytes=100000-"]


KILLED = """
import sys; from pathlib import Path
from solesearch.photos.download import download
download(sys.argv[1], Path(sys.argv[2]), check=lambda path: None)
"""


def test_what_was_killed_is_gone_on_with(web: WebFolder, zipped: bytes, tmp_path: Path) -> None:
    web.pause_after, target = 60_000, tmp_path / NAME
    command = [sys.executable, "-c", KILLED, f"{web.address}/{NAME}", str(target)]
    process = subprocess.Popen(command, env=environment(Path(downloads.__file__).parents[3]))
    assert web.reached.wait(60)
    while not downloads._note_of(partial_of(target)).is_file():
        time.sleep(0.05)
    process.kill()
    process.wait()
    assert not target.exists()
    come = partial_of(target).stat().st_size
    web.pause_after = None
    web.release.set()
    fetch(web, target)
    assert target.read_bytes() == zipped and beside(target) == [NAME]
    assert web.asked[1:] == [(NAME, f"bytes={come}-" if come else "")]


def test_whole_but_killed_before_its_name_was_given(web: WebFolder, zipped: bytes, tmp_path: Path) -> None:
    def die(path: Path) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        download(f"{web.address}/{NAME}", tmp_path / NAME, check=die)
    fetch(web, tmp_path / NAME)
    assert (tmp_path / NAME).read_bytes() == zipped and len(web.asked) == 1


@pytest.mark.parametrize("fault", ["no ranges", "no tag", "another file", "a shorter file", "damaged note"])
def test_where_it_cannot_go_on_it_starts_anew(
    web: WebFolder, zipped: bytes, tmp_path: Path, fault: str
) -> None:
    web.tags, web.cut_after, target = fault != "no tag", 50_000, tmp_path / NAME
    with pytest.raises(InputError, match="broke off"):
        fetch(web, target)
    web.cut_after, web.ranges = None, fault != "no ranges"
    if fault == "another file":  # as long as before
        web.files[NAME] = zipped[:-1] + b"x"
    if fault == "a shorter file":
        web.files[NAME] = zipped[:40_000]
    if fault == "damaged note":
        downloads._note_of(partial_of(target)).write_text("{")
    download(f"{web.address}/{NAME}", target, check=lambda path: None)
    assert target.read_bytes() == web.files[NAME] and beside(target) == [NAME]


def test_another_address_is_another_file(web: WebFolder, zipped: bytes, tmp_path: Path) -> None:
    web.cut_after = 50_000
    with pytest.raises(InputError, match="broke off"):
        fetch(web, tmp_path / NAME)
    web.cut_after = None
    web.address += "/mirror"
    fetch(web, tmp_path / NAME)
    assert web.asked[-1] == (NAME, "") and (tmp_path / NAME).read_bytes() == zipped


# --- what is not kept ------------------------------------------------------------------------------------


def other_zip(path: Path, names: list[str]) -> bytes:
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.writestr(name, b"x")
    return path.read_bytes()


@pytest.mark.parametrize(
    ("content", "kind", "words"),
    [
        (b"<html>moved</html>", "text/html; charset=utf-8", "the server sent a web page and no zip"),
        (b"<html>moved</html>", "application/zip", "what came is no zip that can be read"),
        (b"", "application/zip", "what came is no zip that can be read"),
        (["Boots/1.jpg"], "application/zip", "holds 0 photos in 0 subcategories of UT-Zap50K, not 42 in 21"),
        (
            [f"ut-zap50k-images/Boots/Ankle/B/{n}.1.jpg" for n in range(42)],
            "application/zip",
            "holds 42 photos in 1 subcategories of UT-Zap50K, not 42 in 21",
        ),
    ],
)
def test_what_is_no_such_zip_is_not_kept(
    web: WebFolder, tmp_path: Path, content: bytes | list[str], kind: str, words: str
) -> None:
    web.kind = kind
    web.files[NAME] = content if isinstance(content, bytes) else other_zip(tmp_path / "other.zip", content)
    with pytest.raises(InputError, match=rf"{web.address}/{NAME}: .*{words}.*make paper DATA="):
        fetch(web, tmp_path / "in" / NAME)
    assert beside(tmp_path / "in" / NAME) == []


def test_a_zip_whose_bytes_were_turned_is_not_kept(web: WebFolder, zipped: bytes, tmp_path: Path) -> None:
    middle = len(zipped) // 2
    web.files[NAME] = zipped[:middle] + bytes([zipped[middle] ^ 0xFF]) + zipped[middle + 1 :]
    with pytest.raises(InputError, match=r"damaged zip \(ut-zap50k-images/"):
        fetch(web, tmp_path / NAME)
    assert beside(tmp_path / NAME) == []


def test_a_server_that_refuses_or_is_not_there(web: WebFolder, tmp_path: Path) -> None:
    web.files.clear()
    with pytest.raises(InputError, match=rf"{NAME}: the server says 404 .*make paper DATA="):
        fetch(web, tmp_path / NAME)
    for address, why in (("http://127.0.0.1:9", "refused"), ("nowhere", "unknown url type")):
        web.address = address
        with pytest.raises(
            InputError, match=rf"{address}/{NAME}: not fetched \(.*{why}.*\); the same"
        ) as told:
            fetch(web, tmp_path / NAME)
        assert "\n" not in str(told.value)
    assert beside(tmp_path / NAME) == []


def test_a_disk_too_small_is_named_before_and_one_that_fills_keeps_what_came(
    web: WebFolder, zipped: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(1, 1, 10))
    with pytest.raises(InputError, match="0 MB are needed, 0 MB are free; make room"):
        fetch(web, tmp_path / NAME)
    assert beside(tmp_path / NAME) == []
    monkeypatch.undo()
    write = downloads._write

    def full(answer, path: Path, **options) -> None:
        path.write_bytes(answer.read(1000))
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(downloads, "_write", full)
    with pytest.raises(InputError, match=r"\.partial: no space left; make room, the same command goes on"):
        fetch(web, tmp_path / NAME)
    monkeypatch.setattr(downloads, "_write", write)
    fetch(web, tmp_path / NAME)
    assert web.asked[-1] == (NAME, "bytes=1000-") and (tmp_path / NAME).read_bytes() == zipped


def test_the_proxy_of_the_user_is_asked(
    web: WebFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name that no server has, so that only the proxy can have answered."""
    monkeypatch.setenv("http_proxy", web.address.rpartition("/")[0])
    monkeypatch.setattr("urllib.request._opener", None)  # urllib reads the environment once
    download(f"http://zips.invalid/{NAME}", tmp_path / NAME, check=lambda path: None)
    assert web.asked == [(NAME, "")]


def test_attributes_are_looked_for_in_their_zip(tmp_path: Path) -> None:
    other_zip(tmp_path / "a.zip", ["ut-zap50k-data/meta-data.csv"])
    check_metadata(tmp_path / "a.zip")
    other_zip(tmp_path / "b.zip", ["ut-zap50k-data/readme.txt"])
    with pytest.raises(InputError, match=r"holds no meta-data\.csv"):
        check_metadata(tmp_path / "b.zip")


def test_progress_is_told_in_megabytes(web: WebFolder, tmp_path: Path, capsys) -> None:
    web.files[NAME] = bytes(3_400_000)
    download(f"{web.address}/{NAME}", tmp_path / NAME, check=lambda path: None)
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == f"fetching {NAME}: MB 3 of 3" and lines.count(lines[-1]) == 1


def test_a_note_tells_what_is_fetched(web: WebFolder, zipped: bytes, tmp_path: Path) -> None:
    web.cut_after = 100
    with pytest.raises(InputError):
        fetch(web, tmp_path / NAME)
    note = json.loads(downloads._note_of(partial_of(tmp_path / NAME)).read_text())
    assert note["size"] == len(zipped) and note["address"] == f"{web.address}/{NAME}"
