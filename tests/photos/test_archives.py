"""Unpacking: what is unsafe or damaged is refused whole, and nothing is left behind."""

import stat
import zipfile
from pathlib import Path

import pytest

from solesearch.core.errors import InputError
from solesearch.photos.archives import extract_photos

SUFFIXES = (".jpg",)


def write_zip(path: Path, members: dict[str, bytes], *, link: str = "") -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
        if link:
            member = zipfile.ZipInfo(link)
            member.external_attr = (stat.S_IFLNK | 0o777) << 16
            archive.writestr(member, "/etc")
    return path


def below(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_photos_are_unpacked_and_leftovers_are_not(tmp_path: Path) -> None:
    members = {"a./b%20.JPG": b"one", "a./c.jpg": b"two", "__MACOSX/a./._c.jpg": b"x", "a./._c.jpg": b"x"}
    archive = write_zip(tmp_path / "photos.zip", {**members, "readme.txt": b"x"})
    extract_photos(archive, tmp_path / "out", suffixes=SUFFIXES)
    assert below(tmp_path / "out") == [".unpacked-from-sha256", "a./b%20.JPG", "a./c.jpg"]
    assert (tmp_path / "out/a./b%20.JPG").read_bytes() == b"one"


def test_the_same_zip_is_unpacked_once_and_another_replaces_it(tmp_path: Path) -> None:
    archive, out = write_zip(tmp_path / "photos.zip", {"a.jpg": b"one"}), tmp_path / "out"
    extract_photos(archive, out, suffixes=SUFFIXES)
    made = (out / "a.jpg").stat().st_ino
    extract_photos(archive, out, suffixes=SUFFIXES)
    assert (out / "a.jpg").stat().st_ino == made
    extract_photos(write_zip(archive, {"b.jpg": b"two"}), out, suffixes=SUFFIXES)
    assert below(out) == [".unpacked-from-sha256", "b.jpg"]


@pytest.mark.parametrize(
    "name", ["/etc/a.jpg", "../a.jpg", "a/../../b.jpg", "C:/a.jpg", "a\\..\\b.jpg", "../readme.txt"]
)
def test_names_that_leave_the_folder(tmp_path: Path, name: str) -> None:
    archive = write_zip(tmp_path / "photos.zip", {"fine.jpg": b"x", name: b"x"})
    with pytest.raises(InputError, match="leaves its folder; nothing was unpacked"):
        extract_photos(archive, tmp_path / "in" / "out", suffixes=SUFFIXES)
    assert below(tmp_path) == ["photos.zip"]


def test_links_are_refused(tmp_path: Path) -> None:
    archive = write_zip(tmp_path / "photos.zip", {"fine.jpg": b"x"}, link="folder")
    with pytest.raises(InputError, match="'folder' is a link"):
        extract_photos(archive, tmp_path / "out", suffixes=SUFFIXES)
    assert below(tmp_path) == ["photos.zip"]


def test_a_bomb_is_refused_by_its_stated_size(tmp_path: Path) -> None:
    archive = write_zip(tmp_path / "photos.zip", {"a.jpg": bytes(600_000), "b.jpg": bytes(600_000)})
    assert archive.stat().st_size < 10_000
    with pytest.raises(InputError, match="unpacks to 1200000 bytes"):
        extract_photos(archive, tmp_path / "out", suffixes=SUFFIXES, most=1_000_000)
    assert below(tmp_path) == ["photos.zip"]


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_name_listed_twice(tmp_path: Path) -> None:
    archive = write_zip(tmp_path / "photos.zip", {"a.jpg": b"x"})
    with zipfile.ZipFile(archive, "a") as opened:
        opened.writestr("a.jpg", b"another")
    with pytest.raises(InputError, match="1 names twice"):
        extract_photos(archive, tmp_path / "out", suffixes=SUFFIXES)


def test_no_photos(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no photos"):
        extract_photos(write_zip(tmp_path / "a.zip", {"a.txt": b"x"}), tmp_path / "out", suffixes=SUFFIXES)


@pytest.mark.parametrize("fault", ["cut", "flipped", "text", "file under a file"])
def test_damage_leaves_the_former_photos(tmp_path: Path, fault: str) -> None:
    archive, out = write_zip(tmp_path / "photos.zip", {"a.jpg": b"old"}), tmp_path / "out"
    extract_photos(archive, out, suffixes=SUFFIXES)
    content = write_zip(archive, {"first.jpg": b"x", "a.jpg": bytes(range(256)) * 40}).read_bytes()
    if fault == "file under a file":
        write_zip(archive, {"a.jpg": b"x", "a.jpg/b.jpg": b"x"})
    else:
        middle = content.index(b"a.jpg") + 60
        flipped = content[:middle] + bytes([content[middle] ^ 0xFF]) + content[middle + 1 :]
        archive.write_bytes({"cut": content[:-30], "flipped": flipped, "text": b"no zip"}[fault])
    with pytest.raises(InputError, match=r"photos\.zip: cannot be unpacked"):
        extract_photos(archive, out, suffixes=SUFFIXES)
    assert below(tmp_path) == ["out/.unpacked-from-sha256", "out/a.jpg", "photos.zip"]
    assert (out / "a.jpg").read_bytes() == b"old"
