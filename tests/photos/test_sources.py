"""What lies in a user's folder: class folders, UT-Zap50K's tree or zip, the files that a labels.csv names."""

import os
import shutil
import socket
import stat
import unicodedata
import zipfile
from pathlib import Path

import pytest
from official_tree import write_official_tree, write_official_zip, write_photo

from solesearch.core.errors import InputError
from solesearch.photos.sources import (
    PAPER_CLASSES,
    Listing,
    list_folders,
    list_manifest,
    list_official,
    unpack,
    walk_photos,
)

COMPOSED, DECOMPOSED = (unicodedata.normalize(form, "Café") for form in ("NFC", "NFD"))


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    """Two class folders of three photos; nothing here is ever opened."""
    for name in ("Boot/1.jpg", "Boot/2.jpg", "Boot/3.jpg", "Shoe/1.jpg", "Shoe/2.jpg", "Shoe/3.jpg"):
        (tmp_path / "photos" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "photos" / name).touch()
    return tmp_path / "photos"


@pytest.fixture(scope="session")
def official(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small official tree; read only."""
    return write_official_tree(tmp_path_factory.mktemp("official"))


def problems_of(listing: Listing) -> dict[str, tuple[str, str]]:
    return {file: (problem, action) for file, problem, action in listing.problems}


# --- class folders ---------------------------------------------------------------------------------------


def test_the_label_is_the_folder_and_the_place_its_number(folders: Path) -> None:
    (folders / "stray.jpg").touch()
    (folders / "readme.txt").touch()
    listing = list_folders(folders)
    assert listing.photos.values.tolist() == [
        ["Boot/1.jpg", "boot", "", 1], ["Boot/2.jpg", "boot", "", 2], ["Boot/3.jpg", "boot", "", 3],
        ["Shoe/1.jpg", "shoe", "", 1], ["Shoe/2.jpg", "shoe", "", 2], ["Shoe/3.jpg", "shoe", "", 3],
    ]  # fmt: skip
    assert problems_of(listing) == {
        "readme.txt": ("not a photo (.txt)", "left out"),
        "stray.jpg": ("lies in no class folder", "left out"),
    }


def test_systems_own_folders_are_no_classes(folders: Path) -> None:
    for name in ("@eaDir", "lost+found", "$RECYCLE.BIN", "__MACOSX", ".git", "Boot/@eaDir"):
        (folders / name).mkdir()
        (folders / name / "0001.jpg").touch()
    for name in (".DS_Store", "Thumbs.db", "Boot/._0001.jpg", "Boot/._0002.jpg"):
        (folders / name).touch()
    listing = list_folders(folders)
    assert set(listing.photos["label"]) == {"boot", "shoe"} and len(listing.photos) == 6
    one, two = ("a system's own", "passed over"), ("a system's own, 2 such", "passed over")
    names = ("lost+found", "$RECYCLE.BIN", "__MACOSX", ".git", ".DS_Store", "Thumbs.db")
    assert problems_of(listing) == {**dict.fromkeys(names, one), **dict.fromkeys(("@eaDir", "._*"), two)}


def test_what_is_no_regular_file_is_never_opened(folders: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(folders / "Boot/pipe.jpg")
    (folders / "Boot/gone.jpg").symlink_to("nowhere.jpg")
    (folders / "Boot/device.jpg").symlink_to("/dev/zero")
    (folders / "Boot/linked.jpg").symlink_to(folders / "Shoe/1.jpg")
    (folders / "Boot/bell\a.jpg").touch()
    (folders / "Boot/IMG.HEIC").touch()
    monkeypatch.chdir(folders)  # a socket's whole path must be short
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("Boot/socket.jpg")
        names, problems = walk_photos(folders)
    special = "a pipe, socket or device, not a file"
    assert {file: problem for file, problem, _ in problems} == {
        "Boot/pipe.jpg": special,
        "Boot/device.jpg": special,
        "Boot/socket.jpg": special,
        "Boot/gone.jpg": "a link that leads nowhere",
        "Boot/bell\\x07.jpg": "name with control characters or not UTF-8",
        "Boot/IMG.HEIC": "not a photo that is read here: a HEIC photo; convert it to JPEG or PNG",
    }
    assert len(names) == 7 and "Boot/linked.jpg" in names


def test_linked_folders_are_followed_but_not_in_circles(folders: Path) -> None:
    shutil.move(folders / "Shoe", folders.parent / "elsewhere")
    (folders / "Shoe").symlink_to(folders.parent / "elsewhere")
    (folders / "Boot/again").symlink_to(folders)
    assert len(list_folders(folders).photos) == 6


@pytest.mark.parametrize("parts", [("train", "test"), ("Training", "VAL"), ("train_set", "valid-1")])
def test_parts_of_a_data_set_are_no_classes(folders: Path, parts: tuple[str, ...]) -> None:
    for part in parts:
        shutil.copytree(folders, folders.parent / f"new/{part}")
    with pytest.raises(InputError, match=rf"{sorted(parts)[0]}.* parts of a data set, .*\(Boot, Shoe\)"):
        list_folders(folders.parent / "new")
    (folders / "Boot").rename(folders / "Train")  # one class may be called so: toys, say
    assert set(list_folders(folders).photos["label"]) == {"train", "shoe"}


def test_folders_around_and_inside_the_classes_are_said(folders: Path) -> None:
    with pytest.raises(InputError, match="one folder, photos, around Boot, Shoe; give that one"):
        list_folders(folders.parent)
    shutil.copytree(folders, folders.parent / "more")
    listing = list_folders(folders.parent)
    words = "each of the 2 class folders holds the same folders (Boot, Shoe)"
    assert problems_of(listing) == {"more": (words, "the outer folder is the class")}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda folders: (folders / "Clog").mkdir(), "no usable photo in class clog"),
        (lambda folders: [shutil.rmtree(folders / name) for name in ("Boot", "Shoe")], "no class folders"),
        (lambda folders: [path.unlink() for path in folders.rglob("*.jpg")], "photo in class boot, shoe"),
        (lambda folders: (folders / "Boot").rename(folders / "All"), "class 'all': a row of the results"),
    ],
)
def test_folders_that_make_no_classes(folders: Path, change, words: str) -> None:
    change(folders)
    with pytest.raises(InputError, match=words):
        list_folders(folders)


def test_names_that_read_the_same_are_one_class(folders: Path) -> None:
    (folders / "Boot").rename(folders / COMPOSED)
    for name in (DECOMPOSED, f"{COMPOSED} ", "CAFÉ"):
        (folders / name).mkdir()
        (folders / name / "1.jpg").touch()
    listing = list_folders(folders)
    assert listing.photos["label"].value_counts().to_dict() == {"café": 6, "shoe": 3}
    merged = [problem for _, problem, action in listing.problems if action == "one class"]
    assert len(merged) == 3 and all(words.startswith("reads as class café") for words in merged)


# --- labels.csv ------------------------------------------------------------------------------------------


def write_labels(folder: Path, *rows: str, head: str = "file,label") -> None:
    (folder / "labels.csv").write_text("\n".join([head, *rows, ""]), encoding="utf-8")


def test_a_manifest_gives_labels_products_places_and_attributes(folders: Path) -> None:
    head = "file,label,product,position,colour"
    write_labels(folders, "Shoe/1.jpg,Clog,p1,7,red", "Boot/1.jpg,boot,,9,", head=head)
    listing = list_manifest(folders)
    assert listing.photos.values.tolist() == [
        ["Boot/1.jpg", "boot", "", 9, ""], ["Shoe/1.jpg", "clog", "p1", 7, "red"],
    ]  # fmt: skip
    assert listing.places_given and not listing.problems


def test_files_in_another_unicode_form_are_found(folders: Path) -> None:
    """Zips made on a Mac hold accents in another form than most keyboards write."""
    (folders / "Boot").rename(folders / DECOMPOSED)
    for name in (f"{DECOMPOSED}/x.jpg", f"{COMPOSED} /x.jpg"):
        (folders / name).parent.mkdir(exist_ok=True)
        (folders / name).touch()
    write_labels(folders, *(f"{COMPOSED}/{name}.jpg,boot" for name in ("1", "2", "x")), "Shoe/1.jpg,shoe")
    listing = list_manifest(folders)
    assert listing.photos["id"].tolist() == [f"{DECOMPOSED}/1.jpg", f"{DECOMPOSED}/2.jpg", "Shoe/1.jpg"]
    several = "missing, but listed in labels.csv, and 2 files there are spelled like it"
    assert problems_of(listing) == {
        f"{COMPOSED}/x.jpg": (several, "left out"),
        "labels.csv": ("2 files are there in another Unicode form or with outer spaces", "kept"),
    }


def test_what_a_manifest_names_is_never_opened_either(folders: Path) -> None:
    os.mkfifo(folders / "pipe.jpg")
    (folders / "folder.jpg").mkdir()
    names = ("pipe.jpg", "folder.jpg", "gone.jpg", "x" * 300 + ".jpg")
    write_labels(folders, *(f"{name},boot" for name in names), "Boot/1.jpg,boot")
    assert [problem.partition(",")[0] for problem, _ in problems_of(list_manifest(folders)).values()] == [
        "a pipe", "a folder", "missing", "missing",
    ]  # fmt: skip


def test_a_manifest_without_its_photos_several_and_none(folders: Path) -> None:
    with pytest.raises(InputError, match="holds no CSV file; wanted labels"):
        list_manifest(folders)
    write_labels(folders, "Boot/9999.jpg,boot", "Boot/9998.jpg,boot")
    with pytest.raises(InputError, match="none of its 2 files"):
        list_manifest(folders)
    write_labels(folders, "Boot/1.jpg,boot", "Boot/9998.jpg,clog")
    with pytest.raises(InputError, match="no usable photo in class clog"):
        list_manifest(folders)
    write_labels(folders, "Boot/1.jpg,boot")
    (folders / "labels.csv").rename(folders / "photos.csv")
    assert len(list_manifest(folders).photos) == 1
    (folders / "more.csv").touch()
    with pytest.raises(InputError, match="holds 2 CSV files"):
        list_manifest(folders)


# --- the official tree -----------------------------------------------------------------------------------


def test_the_papers_eight_classes_and_other_label_maps(official: Path, tmp_path: Path) -> None:
    """21 subcategories of 12 photos each; READING_THE_PAPERS says which make a class."""
    listing = list_official(official.parent, label_map="papers", unpack_to=tmp_path)
    assert listing.photos["label"].value_counts().to_dict() == {
        "heels": 12, "sandals": 36, "sports": 12, "boots": 36, "high_boots": 24, "loafers": 12,
        "slippers": 36, "flats": 12, "unlabelled": 72,
    }  # fmt: skip
    numbers = [name.rsplit("/", 1)[1].split(".")[0] for name in listing.photos["id"]]
    assert listing.photos["product"].tolist() == numbers and listing.unique_products
    assert {"L.A.M.B.", "B%C3%98RN"} <= {name.split("/")[2] for name in listing.photos["id"]}
    for label_map, count, example in (
        ("categories", 4, "sandals"),
        ("subcategories", 21, "shoes_sneakers_and_athletic_shoes"),
    ):
        labels = list_official(official, label_map=label_map, unpack_to=tmp_path).photos["label"]
        assert labels.nunique() == count and example in set(labels)


def test_the_zip_gives_what_the_tree_gives_and_is_unpacked_once(official: Path, tmp_path: Path) -> None:
    options, out = {"label_map": "papers", "unpack_to": tmp_path / "out"}, tmp_path / "out"
    tree = list_official(official, **options)
    write_official_zip(official, tmp_path / "photos.zip")
    for _ in range(2):
        listing = list_official(tmp_path, **options)
        assert listing.photos.equals(tree.photos) and listing.problems == tree.problems
        made = {path.stat().st_ino for path in out.rglob("*.jpg")}
    assert made == {path.stat().st_ino for path in out.rglob("*.jpg")}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            lambda tree: [shutil.rmtree(tree / name) for name in ("Boots", "Sandals", "Shoes")],
            "in slippers alone",
        ),
        (lambda tree: [shutil.rmtree(path) for path in tree.glob("*/*")], "in no class alone"),
        (lambda tree: tree.rename(tree.with_name("elsewhere")), "no UT-Zap50K tree"),
    ],
)
def test_trees_that_will_not_do(tmp_path: Path, official: Path, change, words: str) -> None:
    change(shutil.copytree(official, tmp_path / "data/ut-zap50k-images"))
    with pytest.raises(InputError, match=words):
        list_official(tmp_path / "data", label_map="papers", unpack_to=tmp_path / "out")


def test_photos_at_the_wrong_depth_are_reported(tmp_path: Path, official: Path) -> None:
    tree = shutil.copytree(official, tmp_path / "ut-zap50k-images")
    odd = {"8000001.1.jpg", "Shoes/Heels/8000001.1.jpg", "Bags/Totes/Brand/8000001.1.jpg"}
    for name in odd:
        write_photo(tree / name, number=1)
    listing = list_official(tree, label_map="papers", unpack_to=tmp_path / "unused")
    assert {name for name, (_, action) in problems_of(listing).items() if action == "left out"} == odd
    assert set(listing.photos["label"]) == {*PAPER_CLASSES, "unlabelled"}


def test_a_part_of_the_tree_is_used_and_said_to_be_one(tmp_path: Path, official: Path) -> None:
    tree = shutil.copytree(official, tmp_path / "ut-zap50k-images")
    shutil.rmtree(tree / "Slippers")
    shutil.rmtree(tree / "Shoes/Heels")
    listing = list_official(tmp_path, label_map="papers", unpack_to=tmp_path / "unused")
    assert set(listing.photos["label"]) == {*PAPER_CLASSES, "unlabelled"} - {"heels", "slippers"}
    words = "204 of UT-Zap50K's 50,025 photos, none in heels, slippers"
    assert problems_of(listing)["ut-zap50k-images"] == (words, "used as the part that it is")
    listing = list_official(tmp_path, label_map="categories", unpack_to=tmp_path / "unused")
    assert problems_of(listing)["ut-zap50k-images"][0] == "204 of UT-Zap50K's 50,025 photos"


# --- a zip -----------------------------------------------------------------------------------------------


def write_zip(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def below(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir()}


def test_nothing_is_written_outside_the_folder(tmp_path: Path) -> None:
    names = ("/etc/a.jpg", "../b.jpg", "a/../../c.jpg", "a./b%20.JPG", "__MACOSX/._d.jpg", "readme.txt")
    archive = write_zip(tmp_path / "photos.zip", dict.fromkeys(names, b"x"))
    with zipfile.ZipFile(archive, "a") as opened:
        link = zipfile.ZipInfo("link.jpg")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        opened.writestr(link, "/etc")
    unpack(archive, tmp_path / "in/out")
    assert below(tmp_path) == {"photos.zip", "in/out/.unpacked-from-sha256"} | {
        f"in/out/{name}" for name in ("etc/a.jpg", "b.jpg", "a/c.jpg", "a./b%20.JPG", "link.jpg")
    }
    assert not (tmp_path / "in/out/link.jpg").is_symlink()


@pytest.mark.parametrize("fault", ["cut", "flipped", "text"])
def test_damage_leaves_the_former_photos(tmp_path: Path, fault: str) -> None:
    archive, out = write_zip(tmp_path / "photos.zip", {"a.jpg": b"old"}), tmp_path / "out"
    unpack(archive, out)
    content = write_zip(archive, {"first.jpg": b"x", "a.jpg": bytes(range(256)) * 40}).read_bytes()
    middle = content.index(b"a.jpg") + 60
    flipped = content[:middle] + bytes([content[middle] ^ 0xFF]) + content[middle + 1 :]
    archive.write_bytes({"cut": content[:-30], "flipped": flipped, "text": b"no zip"}[fault])
    with pytest.raises(InputError, match=r"photos\.zip: cannot be unpacked"):
        unpack(archive, out)
    assert below(tmp_path) == {"out/.unpacked-from-sha256", "out/a.jpg", "photos.zip"}
    assert (out / "a.jpg").read_bytes() == b"old"
