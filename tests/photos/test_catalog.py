"""The catalogue: the three sources, every kind of odd photo, the manifest, and what fails before any work."""

import dataclasses
import json
import re
import shutil
import struct
import sys
import types
import warnings
import zlib
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from official_tree import SUBCATEGORIES, write_official_tree, write_official_zip, write_photo
from PIL import Image

from solesearch.core import files
from solesearch.core.errors import InputError
from solesearch.core.paths import Paths
from solesearch.photos import catalog, sources
from solesearch.photos.catalog import CatalogSettings, keep_rows, prepare
from solesearch.photos.photo import FORMATS, IMAGE_SIZES, load_pixels
from solesearch.photos.photo_table import class_counts, read_photos

OUTPUTS = ("photos.csv", "problems.csv", "duplicates.csv", "manifest.json", "pixels.npy")


@pytest.fixture(scope="session")
def official(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small official tree; read only."""
    return write_official_tree(tmp_path_factory.mktemp("official"))


def write_labels(folder: Path, text: str) -> None:
    (folder / "labels.csv").write_text(text, encoding="utf-8")


def labels_of(folder: Path, *, columns: str = "file,label", value=lambda number: "") -> str:
    """Return a labels.csv for the photos below `folder`; `value` makes the third field."""
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.jpg"))
    lines = [f"{name},{name.split('/')[0]}{value(number)}" for number, name in enumerate(names)]
    return "\n".join([columns, *lines]) + "\n"


def digests(profile: str) -> dict[str, str]:
    return {name: files.digest(Paths.of(profile).catalogue / name) for name in OUTPUTS}


# --- class folders and manifests -------------------------------------------------------------------------


def test_folders_in_blocks(shoes: Path) -> None:
    result = prepare("zappos")
    photos = read_photos(result.paths)
    assert photos.equals(result.photos)
    assert photos["id"].tolist() == sorted(p.relative_to(shoes).as_posix() for p in shoes.rglob("*.jpg"))
    assert photos["label"].tolist() == ["boot"] * 10 + ["shoe"] * 10
    assert photos["position"].tolist() == [*range(1, 11)] * 2
    assert photos["group"].tolist() == photos["label"].tolist()
    assert photos["split"].tolist() == (["training"] * 6 + ["validation"] + ["test"] * 3) * 2
    assert set(photos["width"]) == {136} and set(photos["height"]) == {102}
    assert photos["sha256"].tolist() == [files.digest(shoes / name) for name in photos["id"]]
    assert len(result.problems) == 0


def test_pixels_are_those_of_the_one_decoder(shoes: Path) -> None:
    result = prepare("zappos")
    pixels = np.load(result.paths.pixels, allow_pickle=False)
    size = IMAGE_SIZES["paper-64x96"]
    expected = [load_pixels(shoes / name, size=size, fit="stretch") for name in result.photos["id"]]
    assert pixels.dtype == np.uint8
    np.testing.assert_array_equal(pixels, np.stack(expected))


def test_a_manifest_gives_the_same_table_as_its_folders(shoes: Path) -> None:
    folders = prepare("zappos").photos
    write_labels(shoes, labels_of(shoes, columns="file,label,position", value=lambda n: f",{n % 10 + 1}"))
    assert prepare("zappos").photos.equals(folders)  # labels.csv is no stray file
    assert prepare("zappos", {"catalog.source": "manifest"}).photos.equals(folders)


def test_same_photos_same_bytes(shoes: Path) -> None:
    (shoes / "Boot/0003.jpg").write_bytes(b"damaged")
    prepare("zappos")
    first = digests("zappos")
    shutil.rmtree(Paths.of("zappos").catalogue)
    prepare("zappos")
    assert digests("zappos") == first


def test_products_of_a_manifest(shoes: Path) -> None:
    write_labels(shoes, labels_of(shoes, columns="file,label,product", value=lambda n: f",p{n % 10 // 2}"))
    options = {"catalog.source": "manifest", "catalog.split": "products", "catalog.validation_share": 0.2}
    photos = prepare("zappos", options).photos
    assert set(photos["group"]) == {f"{label}/p{n}" for label in ("boot", "shoe") for n in range(5)}
    assert (photos.groupby("group")["split"].nunique() == 1).all()
    assert set(photos["position"]) == {0}
    counts = class_counts(photos)
    assert counts["split"].tolist() == ["training", "validation", "test"] * 2
    assert counts["photos"].tolist() == [6, 2, 2] * 2
    assert counts["products"].tolist() == [3, 1, 1] * 2


def test_positions_make_series_and_without_them_each_photo_stands_alone(shoes: Path) -> None:
    options = {"catalog.source": "manifest", "catalog.split": "photos", "catalog.validation_share": 0.2}
    write_labels(shoes, labels_of(shoes))
    photos = prepare("zappos", options).photos
    assert photos["group"].tolist() == photos["id"].tolist()
    write_labels(shoes, labels_of(shoes, columns="file,label,position", value=lambda n: f",{7 * n}"))
    photos = prepare("zappos", options).photos
    assert photos["group"].tolist() == photos["label"].tolist()
    assert photos["position"].tolist() == [7 * n for n in range(20)]


def test_further_columns_of_a_manifest_are_kept_beside_the_catalogue(shoes: Path) -> None:
    """photos.csv has the same bytes with and without them; product_id serves as product."""
    manifest = {"catalog.source": "manifest", "catalog.split": "products"}
    write_labels(shoes, labels_of(shoes, columns="file,label,product", value=lambda n: f",{n:03d}"))
    prepare("zappos", manifest)
    plain, paths = digests("zappos"), Paths.of("zappos")
    assert not paths.attributes.exists()
    assert catalog.read_attributes(paths).columns.tolist() == []
    value = lambda n: f",{n:03d},{('Red', ' Navy Blue', '')[n % 3]},NA"  # noqa: E731
    text = labels_of(shoes, columns="file,label,product_id,colour,gender", value=value)
    write_labels(shoes, text.replace("Boot/0001.jpg,", "Boot/gone.jpg,boot,,,\nBoot/0001.jpg,", 1))
    prepared = prepare("zappos", manifest)
    found = {name: digest for name, digest in digests("zappos").items() if name != "problems.csv"}
    assert found == {name: digest for name, digest in plain.items() if name != "problems.csv"}
    attributes = catalog.read_attributes(paths)
    assert attributes.index.tolist() == prepared.photos["id"].tolist()
    assert attributes["colour"].tolist()[:3] == ["Red", "Navy Blue", ""]
    assert set(attributes["gender"]) == {"NA"}  # text, not a gap
    write_labels(shoes, labels_of(shoes, columns="file,label,product", value=lambda n: f",{n:03d}"))
    prepare("zappos", manifest)
    assert not paths.attributes.exists()  # what an earlier manifest told is forgotten


def test_small_classes_are_split_or_named(shoes: Path) -> None:
    manifest = {"catalog.source": "manifest", "catalog.split": "products"}
    names = sorted(path.relative_to(shoes).as_posix() for path in shoes.rglob("*.jpg"))
    labels = ["boot"] * 9 + ["shoe"] * 11
    rows = [f"{name},{label},{name}" for name, label in zip(names, labels, strict=True)]
    write_labels(shoes, "\n".join(["file,label,product", *rows]) + "\n")
    counts = class_counts(prepare("zappos", manifest).photos).set_index(["label", "split"])["photos"]
    assert counts["boot"].to_dict() == {"training": 5, "validation": 1, "test": 3}
    write_labels(shoes, "\n".join(["file,label,product", *rows]).replace("boot", "shoe", 7) + "\n")
    with pytest.raises(InputError, match="class boot: 2 photos are too few, none is left for"):
        prepare("zappos", manifest)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "labels.csv: empty"),
        ("file,label\n", "names no photos"),
        ("name,class\nBoot/0001.jpg,boot\n", "lacks the columns file, label; it has name, class"),
        ("file,label\nBoot/0001.jpg,boot\nBoot/0001.jpg,shoe\n", "row 3: .* second time: 'Boot/0001.jpg'"),
        ("file,label\nBoot/0001.jpg,boot\n./Boot/0001.jpg,shoe\n", "row 3: .* second time"),
        ("file,label\n/etc/passwd,boot\n", "row 2: '/etc/passwd' is no path below"),
        ("file,label\nBoot/../../x.jpg,boot\n", "is no path below the folder"),
        ("file,label\nBoot\\0001.jpg,boot\n", "is no path below the folder"),
        ("file,label\nC:/x.jpg,boot\n", "is no path below the folder"),
        ("file,label\n,boot\n", "is no path below the folder"),
        ("file,label\nBoot/0001.jpg, \n", "row 2: has no label"),
        ("file,label\nBoot/0001.jpg\n", "row 2: has no label"),
        ("file,label\nBoot/0001.jpg,all\n", "class 'all': the name is taken"),
        ("file,label,position\nBoot/0001.jpg,boot,1.5\n", "row 2: .* no integer: '1.5'"),
        ("file,label\nBoot/0001.jpg,boot,3\n", "not a CSV"),
        ("file,label\nBoot/0001.jpg,boot\nBoot/0002.jpg,boot,3\n", "not a CSV"),
        ("file,label\nBoot/9999.jpg,boot\nBoot/9998.jpg,boot\n", "none of its 2 files"),
        ("file,label\nBoot/0001.jpg,boot\nBoot/9998.jpg,clog\n", "no usable photo in class clog"),
        ("file,label\nBoot/0001.jpg,boot\nBoot/0002.jpg,boot\n", "one class, boot"),
    ],
)
def test_manifest_faults(shoes: Path, text: str, words: str) -> None:
    write_labels(shoes, text)
    with pytest.raises(InputError, match=words):
        prepare("zappos", {"catalog.source": "manifest"})
    assert not Paths.of("zappos").pixels.exists()


def test_a_manifest_in_another_encoding(shoes: Path) -> None:
    (shoes / "labels.csv").write_bytes("file,label\nBoot/Größe.jpg,boot\n".encode("latin-1"))
    with pytest.raises(InputError, match=r"labels\.csv: not UTF-8"):
        prepare("zappos", {"catalog.source": "manifest"})
    (shoes / "labels.csv").write_bytes(labels_of(shoes).encode("utf-8-sig"))  # as spreadsheets save it
    assert len(prepare("zappos", {"catalog.source": "manifest"}).photos) == 20


def test_files_missing_from_a_manifest_are_reported(shoes: Path) -> None:
    write_labels(shoes, labels_of(shoes))
    (shoes / "Boot/0004.jpg").unlink()
    result = prepare("zappos", {"catalog.source": "manifest"})
    assert result.problems.values.tolist() == [
        ["Boot/0004.jpg", "missing, but listed in labels.csv", "left out"]
    ]
    assert len(result.photos) == 19


def test_several_csv_files_and_none(shoes: Path) -> None:
    with pytest.raises(InputError, match="holds no CSV file; wanted labels"):
        prepare("zappos", {"catalog.source": "manifest"})
    (shoes / "photos.csv").write_text(labels_of(shoes))
    assert len(prepare("zappos", {"catalog.source": "manifest"}).photos) == 20
    (shoes / "more.csv").write_text("file,label\n")
    with pytest.raises(InputError, match="holds 2 CSV files"):
        prepare("zappos", {"catalog.source": "manifest"})


# --- missing and empty -----------------------------------------------------------------------------------


def test_missing_data_names_the_way_to_get_it(workspace: Path) -> None:
    for _ in range(2):  # not there, then empty but for what a desktop leaves
        with pytest.raises(InputError, match=r"data/zappos: no photographs .*make zappos DATA=.*data/README"):
            prepare("zappos")
        (workspace / "data/zappos").mkdir(parents=True, exist_ok=True)
        (workspace / "data/zappos/.DS_Store").touch()


def test_an_empty_class_folder(shoes: Path) -> None:
    (shoes / "Clog").mkdir()
    (shoes / "Clog/._0001.jpg").touch()
    with pytest.raises(InputError, match="no usable photo in class clog"):
        prepare("zappos")


def test_a_class_of_which_no_photo_can_be_read(shoes: Path) -> None:
    (shoes / "Clog").mkdir()
    for number in range(10):
        (shoes / f"Clog/{number}.jpg").write_bytes(b"nothing")
    with pytest.raises(InputError, match="no usable photo in class clog"):
        prepare("zappos")
    assert list(Paths.of("zappos").catalogue.iterdir()) == []


def test_photos_without_class_folders(workspace: Path) -> None:
    write_photo(workspace / "data/zappos/0001.jpg", number=1)
    with pytest.raises(InputError, match="holds no class folders"):
        prepare("zappos")


def test_a_class_too_small_for_three_splits_fails_before_decoding(shoes: Path, monkeypatch) -> None:
    for path in sorted((shoes / "Shoe").iterdir())[2:]:
        path.unlink()
    monkeypatch.setattr(catalog, "examine", lambda *_: pytest.fail("a photo was decoded"))
    with pytest.raises(InputError, match="class shoe: 2 photos are too few"):
        prepare("zappos")


def test_products_are_asked_for_but_unknown(shoes: Path) -> None:
    with pytest.raises(InputError, match="no products known"):
        prepare("zappos", {"catalog.split": "products"})


def test_a_failed_run_leaves_the_former_one(shoes: Path) -> None:
    prepare("zappos")
    before = digests("zappos")
    for path in (shoes / "Shoe").iterdir():
        path.write_bytes(b"damaged")
    with pytest.raises(InputError, match="no usable photo in class shoe"):
        prepare("zappos")
    assert digests("zappos") == before
    assert sorted(path.name for path in Paths.of("zappos").catalogue.iterdir()) == sorted(OUTPUTS)


# --- odd photos ------------------------------------------------------------------------------------------


def noise(size: tuple[int, int] = (40, 30)) -> Image.Image:
    return Image.effect_noise(size, 80).convert("RGB")


def write_png_header(path: Path, *, width: int, height: int) -> None:
    """Write a PNG that states a size and ends before its pixels."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk + b"\0\0\0\x10IDAT")


def write_odd_photos(folder: Path) -> dict[str, list[tuple[str, str]]]:
    """Write one photo of each odd kind; return what must be said of each."""
    folder.mkdir(parents=True)
    frames = [Image.new("RGB", (40, 30), colour) for colour in ("red", "blue", "lime")]
    frames[0].save(folder / "animated.webp", save_all=True, append_images=frames[1:], lossless=True)
    noise().convert("CMYK").save(folder / "cmyk.jpg")
    noise().save(folder / "phone.jpg", "MPO", save_all=True, append_images=[noise()])
    Image.new("RGBA", (40, 30), (255, 0, 0, 0)).save(folder / "transparent.png")
    Image.new("RGBA", (40, 30), (0, 200, 0, 255)).save(folder / "opaque.png")
    Image.new("P", (40, 30)).save(folder / "palette.png")
    Image.fromarray(np.full((30, 40), 128 * 256 + 7, np.uint16)).save(folder / "deep.png")
    exif = Image.Exif()
    exif[0x0112] = 6
    noise().save(folder / "turned.jpg", exif=exif)
    noise((15, 300)).save(folder / "tiny.png")
    noise().save(folder / "cut.png")
    whole = (folder / "cut.png").read_bytes()
    (folder / "cut.png").write_bytes(whole[: len(whole) // 2])
    (folder / "empty.jpg").touch()
    (folder / "text.jpg").write_text("not a photo")
    (folder / "notes.txt").write_text("not a photo")
    (folder / "bell\a.jpg").write_bytes(whole)
    write_png_header(folder / "huge.png", width=9000, height=9000)  # decoding it would find it unreadable
    unread = f"unreadable: no {', '.join(FORMATS[:-1])} or {FORMATS[-1]}"
    return {
        "animated.webp": [("animated: 3 frames", "first frame used")],
        "bell\\x07.jpg": [("name with control characters or not UTF-8", "left out")],
        "cmyk.jpg": [("CMYK", "converted to RGB")],
        "cut.png": [("unreadable: ", "left out")],
        "deep.png": [("16 bits a pixel", "reduced to 8")],
        "empty.jpg": [("unreadable: an empty file", "left out")],
        "huge.png": [("huge: 9000 x 9000 pixels, max_pixels is 50000000", "left out")],
        "notes.txt": [("not a photo (.txt)", "left out")],
        "palette.png": [("palette", "converted to RGB")],
        "text.jpg": [(unread, "left out")],
        "phone.jpg": [("animated: 2 frames", "first frame used")],
        "tiny.png": [("tiny: 15 x 300 pixels, min_side is 16", "left out")],
        "transparent.png": [("transparent", "laid on white")],
        "turned.jpg": [("EXIF orientation 6", "turned upright")],
    }


@pytest.fixture
def odd(shoes: Path) -> tuple[catalog.PreparedCatalogue, dict[str, list[tuple[str, str]]]]:
    expected = write_odd_photos(shoes / "Odd")
    return prepare("zappos"), expected


def test_every_odd_photo_gets_its_line_and_the_rest_goes_on(odd) -> None:
    result, expected = odd
    found: dict[str, list[tuple[str, str]]] = {}
    for file, problem, action in result.problems.itertuples(index=False):
        words = "unreadable: " if file.endswith("cut.png") else problem
        assert problem.startswith(words)
        found.setdefault(file.removeprefix("Odd/"), []).append((words, action))
    assert found == expected
    kept = {name.removeprefix("Odd/") for name in result.photos["id"] if name.startswith("Odd/")}
    left_out = {name for name, lines in expected.items() if lines[0][1] == "left out"}
    assert kept == (set(expected) - left_out) | {"opaque.png"}
    assert len(result.photos) == 20 + len(kept)


def test_odd_photos_are_decoded_to_what_a_viewer_shows(odd) -> None:
    result, _ = odd
    pixels = np.load(result.paths.pixels, allow_pickle=False)
    rows = {name.removeprefix("Odd/"): row for row, name in enumerate(result.photos["id"])}
    assert len(pixels) == len(rows)
    for name, colour in {
        "transparent.png": [255, 255, 255],
        "animated.webp": [255, 0, 0],
        "opaque.png": [0, 200, 0],
        "deep.png": [128, 128, 128],
    }.items():
        assert pixels[rows[name]].reshape(-1, 3).tolist() == [colour] * (64 * 96), name
    turned = result.photos.iloc[rows["turned.jpg"]]
    assert (turned["width"], turned["height"]) == (30, 40)
    path = result.paths.data / "Odd/turned.jpg"
    upright = np.asarray(Image.open(path).transpose(Image.Transpose.ROTATE_270).resize((96, 64), 2))
    np.testing.assert_array_equal(pixels[rows["turned.jpg"]], upright)


def test_no_state_of_pillow_is_touched(shoes: Path) -> None:
    before = Image.MAX_IMAGE_PIXELS
    write_png_header(shoes / "Boot/large.png", width=9500, height=9500)  # above the limit Pillow warns at
    write_png_header(shoes / "Boot/larger.png", width=14000, height=13000)  # above twice, where it raises
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        problems = prepare("zappos").problems
    assert heard == []
    assert problems["problem"].str.startswith("huge: ").tolist() == [True, True]
    assert before == Image.MAX_IMAGE_PIXELS


def test_a_file_that_may_not_be_read(shoes: Path, monkeypatch) -> None:
    read = Path.read_bytes

    def refuse(path: Path) -> bytes:
        if path.name == "0003.jpg":
            raise PermissionError(13, "Permission denied", str(path))
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", refuse)
    result = prepare("zappos")
    assert set(result.problems["problem"]) == {"unreadable: Permission denied"}
    assert len(result.photos) == 18


def test_files_beside_the_class_folders(shoes: Path) -> None:
    write_photo(shoes / "stray.jpg", number=99)
    (shoes / "readme.txt").touch()
    problems = prepare("zappos").problems
    assert problems.values.tolist() == [
        ["readme.txt", "not a photo (.txt)", "left out"],
        ["stray.jpg", "lies in no class folder", "left out"],
    ]


def test_linked_folders_are_followed_but_not_in_circles(shoes: Path) -> None:
    shutil.move(shoes / "Shoe", shoes.parent / "elsewhere")
    (shoes / "Shoe").symlink_to(shoes.parent / "elsewhere")
    (shoes / "Boot/again").symlink_to(shoes)
    assert len(prepare("zappos").photos) == 20


def test_a_gap_stays_a_gap(shoes: Path) -> None:
    (shoes / "Boot/0002.jpg").write_bytes(b"damaged")
    photos = prepare("zappos").photos
    assert photos[photos["label"] == "boot"]["position"].tolist() == [1, 3, 4, 5, 6, 7, 8, 9, 10]


def test_duplicates_are_reported_and_kept(shoes: Path) -> None:
    shutil.copy(shoes / "Boot/0001.jpg", shoes / "Shoe/0004.jpg")
    result = prepare("zappos")
    assert result.duplicates.values.tolist() == [["Boot/0001.jpg", "Shoe/0004.jpg", "exact", 0, False]]
    assert len(result.photos) == 20


@pytest.mark.parametrize("rows", [0, 1, 9, 10])
def test_a_cut_array_has_the_bytes_of_one_saved_so(tmp_path: Path, rows: int) -> None:
    array = np.arange(10 * 2 * 3 * 3, dtype=np.uint8).reshape(10, 2, 3, 3)
    np.save(tmp_path / "long.npy", array)
    np.save(tmp_path / "short.npy", array[:rows])
    keep_rows(tmp_path / "long.npy", rows)
    assert (tmp_path / "long.npy").read_bytes() == (tmp_path / "short.npy").read_bytes()


def test_a_full_disk_is_noticed_beforehand(shoes: Path, monkeypatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: types.SimpleNamespace(free=1000))
    with pytest.raises(InputError, match=r"pixels take 0\.0 GB, 0\.0 GB are free"):
        prepare("zappos")


# --- the official tree -----------------------------------------------------------------------------------

# READING_THE_PAPERS: the eight classes and where they come from; 21 subcategories of 12 photos each.
PAPER_COUNTS = {
    "heels": 12,
    "sandals": 36,
    "sports": 12,
    "boots": 36,
    "high_boots": 24,
    "loafers": 12,
    "slippers": 36,
    "flats": 12,
    "unlabelled": 72,
}
PAPER = {"catalog.test_photos": 60, "catalog.validation_share": 0.3, "catalog.training_share": 0.7}


@pytest.fixture
def paper(workspace: Path, official: Path) -> Path:
    """The workspace with the official tree as the paper profile's data."""
    (workspace / "data").mkdir()
    (workspace / "data/paper").symlink_to(official.parent)
    return workspace


def test_the_papers_profile(paper: Path, official: Path) -> None:
    result = prepare("paper", PAPER)
    photos = result.photos
    assert Counter(photos["label"]) == PAPER_COUNTS
    assert photos["id"].tolist() == sorted(
        p.relative_to(official).as_posix() for p in official.rglob("*.jpg")
    )
    labelled = photos["label"] != "unlabelled"
    assert Counter(photos["split"][labelled]) == {"test": 60, "validation": 36, "training": 84}
    assert set(photos["split"][~labelled]) == {"training"}
    assert (photos["group"] == photos["product"]).all()
    numbers = [name.rsplit("/", 1)[1].split(".")[0] for name in photos["id"]]
    assert photos["product"].tolist() == numbers
    assert {"L.A.M.B.", "B%C3%98RN"} <= {name.split("/")[2] for name in photos["id"]}
    assert photos.groupby("product").size().max() > 2  # two colours, one of them twice


def test_a_colour_twice_is_an_exact_duplicate_of_the_same_product(paper: Path) -> None:
    duplicates = prepare("paper", PAPER).duplicates
    exact = duplicates[duplicates["kind"] == "exact"]
    assert len(exact) == 21
    assert exact["same_product"].all()


def test_what_lies_outside_the_label_map_is_said(paper: Path) -> None:
    expected = [f"Shoes/{name}" for name in SUBCATEGORIES["Shoes"]]
    expected = [name for name in expected if name.split("/")[1] not in ("Flats", "Heels", "Loafers")][:-1]
    trained = prepare("paper", PAPER)
    assert trained.problems["file"].tolist() == expected
    assert set(trained.problems["action"]) == {"trained on without a label"}
    dropped = prepare("paper", {**PAPER, "catalog.train_on_unlabelled": False})
    assert set(dropped.problems["action"]) == {"left out"}
    assert len(dropped.photos) == 180


@pytest.mark.parametrize(
    ("label_map", "count", "example"),
    [("categories", 4, "sandals"), ("subcategories", 21, "shoes_sneakers_and_athletic_shoes")],
)
def test_other_label_maps(paper: Path, label_map: str, count: int, example: str) -> None:
    options = {"catalog.test_photos": 0, "catalog.split": "positions", "catalog.label_map": label_map}
    shares = {"catalog.training_share": 0.5, "catalog.validation_share": 0.25}
    labels = prepare("paper", {**options, **shares}).photos["label"]
    assert labels.nunique() == count
    assert example in set(labels)


def test_products_of_the_tree_stay_whole(paper: Path) -> None:
    options = {"catalog.test_photos": 0, "catalog.split": "products"}
    shares = {"catalog.training_share": 0.4, "catalog.validation_share": 0.3}
    photos = prepare("paper", {**options, **shares}).photos
    assert (photos.groupby("product")["split"].nunique() == 1).all()


def test_the_zip_gives_what_the_tree_gives(paper: Path, official: Path) -> None:
    tree = prepare("paper", PAPER).photos
    (paper / "data/paper").unlink()
    (paper / "data/paper").mkdir()
    write_official_zip(official, paper / "data/paper/ut-zap50k-images.zip")
    assert prepare("paper", PAPER).photos.equals(tree)
    unpacked = Paths.of("paper").catalogue / "extracted/ut-zap50k-images"
    first = next(unpacked.rglob("*.jpg"))
    made = first.stat().st_ino
    prepare("paper", PAPER)
    assert first.stat().st_ino == made  # not unpacked again


def test_a_damaged_zip(workspace: Path, official: Path) -> None:
    (workspace / "data/paper").mkdir(parents=True)
    target = write_official_zip(official, workspace / "data/paper/ut-zap50k-images.zip")
    target.write_bytes(target.read_bytes()[:-1000])
    with pytest.raises(InputError, match=r"ut-zap50k-images\.zip: cannot be unpacked"):
        prepare("paper", PAPER)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda tree: shutil.rmtree(tree / "Shoes/Heels"), "no usable photo in class heels"),
        (lambda tree: shutil.rmtree(tree / "Slippers"), "no usable photo in class slippers"),
        (lambda tree: tree.rename(tree.with_name("elsewhere")), "no UT-Zap50K tree"),
    ],
)
def test_incomplete_trees(workspace: Path, official: Path, change, words: str) -> None:
    change(shutil.copytree(official, workspace / "data/paper/ut-zap50k-images"))
    with pytest.raises(InputError, match=words):
        prepare("paper", PAPER)


def test_photos_at_the_wrong_depth_are_reported(workspace: Path, official: Path) -> None:
    tree = shutil.copytree(official, workspace / "data/paper/ut-zap50k-images")
    write_photo(tree / "Shoes/Heels/8000001.1.jpg", number=1)
    write_photo(tree / "Bags/Totes/Brand/8000001.1.jpg", number=2)
    listing = sources.list_official(tree, label_map="papers", unpack_to=workspace / "unused")
    assert {problem[0] for problem in listing.problems} == {
        "Shoes/Heels/8000001.1.jpg",
        "Bags/Totes/Brand/8000001.1.jpg",
    }


# --- a drawn catalogue, a part of the photos -------------------------------------------------------------


@pytest.fixture
def drawing(monkeypatch) -> list[dict]:
    """A stand-in for the drawing module; returns the list of its calls."""
    calls = []

    def draw_catalogue(folder: Path, *, photos: int, seed: int, progress, workers: int = 1) -> Path:
        shutil.rmtree(folder, ignore_errors=True)
        calls.append({"photos": photos, "seed": seed})
        rows = ["file,label,product,colour"]
        for number in range(photos):
            label, product = ("boots", "heels")[number % 2], number // 4
            write_photo(folder / f"{label}/{number:04d}.jpg", number=1000 * seed + number)
            rows.append(f"{label}/{number:04d}.jpg,{label},{product},black")
            progress(number + 1, photos)
        write_labels(folder, "\n".join(rows) + "\n")
        return folder / "labels.csv"

    module = types.ModuleType("drawn_shoes")
    module.draw_catalogue = draw_catalogue
    monkeypatch.setitem(sys.modules, "drawn_shoes", module)
    return calls


def test_a_drawn_catalogue(workspace: Path, drawing: list[dict]) -> None:
    photos = prepare("smoke", {"catalog.photos": 80}).photos
    assert drawing == [{"photos": 80, "seed": 7}]
    assert len(photos) == 80
    assert set(photos["group"]) == {f"{label}/{n}" for label in ("boots", "heels") for n in range(20)}


def test_a_seeded_part_of_the_photos(shoes: Path) -> None:
    options = {"catalog.photos": 14, "catalog.training_share": 0.5, "catalog.validation_share": 0.2}
    part = [prepare("zappos", {**options, "catalog.seed": seed}).photos for seed in (1, 1, 2)]
    assert part[0].equals(part[1])
    assert set(part[0]["id"]) != set(part[2]["id"])
    assert len(part[0]) == 14
    whole = {f"{label}/{n:04d}.jpg": n for label in ("Boot", "Shoe") for n in range(1, 11)}
    assert part[0]["position"].tolist() == [whole[name] for name in part[0]["id"]]  # numbers of the whole
    with pytest.raises(InputError, match="21 wanted, there are 20"):
        prepare("zappos", {"catalog.photos": 21})


# --- the manifest ----------------------------------------------------------------------------------------


def commit_manifest(profile: str) -> Path:
    paths = Paths.of(profile)
    paths.results.mkdir(parents=True, exist_ok=True)
    return Path(shutil.copy(paths.manifest, paths.results / "manifest.json"))


def test_the_manifest_of_known_photos(shoes: Path) -> None:
    result = prepare("zappos")
    manifest = json.loads(result.paths.manifest.read_text())
    assert (manifest["count"], manifest["classes"]) == (20, {"boot": 10, "shoe": 10})
    assert manifest["settings"]["split"] == "positions"
    commit_manifest("zappos")
    assert len(prepare("zappos").problems) == 0


def change_one_bit(shoes: Path) -> None:
    path = shoes / "Boot/0005.jpg"
    path.write_bytes(path.read_bytes() + b"\0")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (change_one_bit, "20 then, 20 now .as many as before in each class, but other"),
        (lambda shoes: (shoes / "Boot/0005.jpg").unlink(), r"20 then, 19 now \(boot 10 -> 9\)"),
        (lambda shoes: write_photo(shoes / "Shoe/x.jpg", number=77), r"20 .*, 21 .*\(shoe 10 -> 11\)"),
        (lambda shoes: (shoes / "Boot/0005.jpg").rename(shoes / "Boot/x.jpg"), "other names or contents"),
    ],
)
def test_other_photos_than_the_committed_ones(shoes: Path, change, words: str, capsys) -> None:
    prepare("zappos")
    commit_manifest("zappos")
    before = digests("zappos")
    change(shoes)
    assert prepare("zappos").problems.empty  # the same photos give the same bytes, whatever was there before
    said = capsys.readouterr().out
    assert re.search(r"than those of results/zappos/manifest\.json: .*" + words, said)
    assert digests("zappos") != before


def test_settings_that_ask_for_other_photos_make_no_comparison(shoes: Path, capsys) -> None:
    prepare("zappos")
    commit_manifest("zappos")
    assert len(prepare("zappos", {"catalog.photos": 18}).photos) == 18
    prepare("zappos", {"catalog.seed": 8, "catalog.duplicate_distance": 0})
    assert "other photographs" not in capsys.readouterr().out
    change_one_bit(shoes)
    prepare("zappos", {"catalog.seed": 8, "catalog.duplicate_distance": 0})
    assert "other photographs" in capsys.readouterr().out  # another seed selects nothing here


def test_drawn_photos_may_differ_in_a_pixel(workspace: Path, drawing: list[dict], capsys) -> None:
    prepare("smoke", {"catalog.photos": 60})
    committed = commit_manifest("smoke")
    manifest = json.loads(committed.read_text())
    files.write_json(committed, {**manifest, "sha256": "0" * 64})
    prepare("smoke", {"catalog.photos": 60})
    assert "60 then, 60 now (as many as before in each class" in capsys.readouterr().out
    files.write_json(committed, {**manifest, "sha256": "0" * 64, "classes": {"boots": 60}})
    prepare("smoke", {"catalog.photos": 60})
    assert "boots 60 -> 30, heels 0 -> 30" in capsys.readouterr().out


@pytest.mark.parametrize("text", ["", "<<<<<<< ours", "[]", '{"count": 3}'])
def test_a_damaged_committed_manifest(shoes: Path, text: str, capsys) -> None:
    prepare("zappos")
    commit_manifest("zappos").write_text(text)
    prepare("zappos")
    assert "results/zappos/manifest.json: damaged; nothing to compare" in capsys.readouterr().out


# --- settings --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"source": "folder"}, "'folder' is not drawn, official, folders, manifest"),
        ({"preset": "paper"}, "catalog.preset: 'paper' is not paper-64x96"),
        ({"fit": "crop"}, "'crop' is not stretch, pad"),
        ({"split": "random"}, "'random' is not products, positions, photos"),
        ({"label_map": "papers"}, r"'papers' is not none \(source folders\)"),
        ({"source": "official"}, r"'none' is not papers, .* \(source official\)"),
        ({"photos": -1}, "catalog.photos: wanted 0 to"),
        ({"photos": "many"}, "catalog.photos: 'many' is no int"),
        ({"photos": 1.5}, "catalog.photos: 1.5 is no int"),
        ({"seed": True}, "catalog.seed: True is no int"),
        ({"train_on_unlabelled": 1}, "1 is no bool"),
        ({"source": "drawn"}, "catalog.photos: wanted 1 to"),
        ({"training_share": 0.9, "validation_share": 0.1}, "together below 1"),
        ({"validation_share": 0}, "both above 0"),
        ({"training_share": float("nan")}, "both above 0"),
        ({"test_photos": 5}, "test_photos needs split: photos, not positions"),
        ({"duplicate_distance": 65}, "duplicate_distance: wanted 0 to 64, got 65"),
        ({"min_side": 0}, "min_side 0 and max_pixels"),
        ({"max_pixels": 10**9}, "Pillow's limit"),
    ],
)
def test_settings_that_make_no_catalogue(workspace: Path, options: dict, words: str) -> None:
    with pytest.raises(InputError, match=words):
        catalog.load_settings("zappos", {f"catalog.{key}": value for key, value in options.items()})


@pytest.mark.parametrize("profile", ["smoke", "sample", "zappos", "paper"])
def test_every_profile_has_valid_settings(workspace: Path, profile: str) -> None:
    settings = catalog.load_settings(profile)
    assert {field.name for field in dataclasses.fields(CatalogSettings)} == set(dataclasses.asdict(settings))
    assert settings.image_size == IMAGE_SIZES[settings.preset]


def test_reading_photos_before_they_are_prepared(workspace: Path) -> None:
    with pytest.raises(InputError, match=r"photos\.csv: not there yet; stage prepare writes it"):
        read_photos(Paths.of("zappos"))


def test_products_keep_their_text(workspace: Path) -> None:
    paths = Paths.of("zappos")
    table = pd.DataFrame([["a", "NA", "0012", "x", 0, "test", 1, 1, "ff"]], columns=list(catalog.COLUMNS))
    files.write_table(paths.photos, table)
    photos = read_photos(paths)
    assert photos[["label", "product"]].values.tolist() == [["NA", "0012"]]
