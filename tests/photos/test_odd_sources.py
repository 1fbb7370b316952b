"""Photos, names and columns as they come: each costs a line at most, and none stops the rest."""

import io
import os
import shutil
import socket
import struct
import unicodedata
import zlib
from pathlib import Path

import numpy as np
import pytest
from official_tree import write_photo
from PIL import Image, features

from solesearch.core.errors import InputError
from solesearch.core.paths import Paths
from solesearch.page.uploads import PageSettings, read_upload, small_jpeg
from solesearch.photos import catalog
from solesearch.photos.catalog import prepare
from solesearch.photos.photo import FITS, IMAGE_SIZES, border_colour, find_object, fit_to, load_pixels
from solesearch.photos.sources import walk_photos

MANIFEST = {"catalog.source": "manifest"}
UPLOADS = PageSettings(upload_megabytes=10, upload_pixels=5_000_000, uploads=2, decoders=1, most_answers=20)


def lines_of(result: catalog.PreparedCatalogue) -> dict[str, tuple[str, str]]:
    return {file: (problem, action) for file, problem, action in result.problems.itertuples(index=False)}


def write_labels(folder: Path, head: str, row: str, *, encoding: str = "utf-8") -> None:
    """Write labels.csv with `row` for every photo; {file}, {label} and {n} are filled in."""
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.jpg"))
    rows = [row.format(file=name, label=name.split("/")[0], n=n) for n, name in enumerate(names)]
    (folder / "labels.csv").write_bytes("\n".join([head, *rows, ""]).encode(encoding))


# --- long and thin photos --------------------------------------------------------------------------------


def line_drawing(size: tuple[int, int]) -> Image.Image:
    """A dark bar, a pixel thin, along the longer side of a white photo (width, height)."""
    image = Image.new("RGB", size, "white")
    bar = (size[0] - 2, 1) if size[0] > size[1] else (1, size[1] - 2)
    image.paste((10, 20, 30), (min(1, size[0] // 3), min(1, size[1] // 3), bar[0], bar[1]))
    return image


@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize("photo", [(7000, 16), (16, 7000), (7000, 1), (1, 7000), (640, 1), (1, 1)])
def test_no_photo_is_too_thin(photo: tuple[int, int], fit: str) -> None:
    for size in IMAGE_SIZES.values():
        for image in (line_drawing(photo), Image.new("RGB", photo, "white")):
            assert fit_to(image, size=size, fit=fit).shape == (*size, 3)


def test_a_thin_object_is_seen() -> None:
    photo = Image.new("RGB", (7000, 200), "white")
    photo.paste("black", (10, 90, 6990, 110))
    pixels = fit_to(photo, size=(64, 96), fit="object")
    assert pixels.shape == (64, 96, 3) and pixels.min() < 150 < pixels.max()
    assert 80 <= find_object(photo)[0][1] < 100


def test_padding_is_what_it_was() -> None:
    """Only photos that Pillow would shrink to nothing are handled apart."""
    from PIL import ImageOps

    for size in ((136, 102), (102, 136), (6000, 64), (300, 7)):
        image = Image.effect_noise(size, 90).convert("RGB")
        wanted = ImageOps.pad(image, (96, 64), Image.Resampling.BILINEAR, color=(255, 255, 255))
        np.testing.assert_array_equal(fit_to(image, size=(64, 96), fit="pad"), np.asarray(wanted))


def test_a_frame_without_a_colour_of_its_own() -> None:
    pixels = np.array([[[0, 0, 15], [0, 15, 0], [15, 0, 0]]], np.uint8)
    assert border_colour(pixels).max() <= 15


@pytest.mark.parametrize("fit", ["object", "pad"])
def test_thin_photos_in_a_catalogue_and_as_uploads(shoes: Path, fit: str) -> None:
    line_drawing((7000, 16)).save(shoes / "Boot/belt.png")
    line_drawing((16, 7000)).save(shoes / "Shoe/lace.png")
    result = prepare("zappos", {"catalog.fit": fit})
    assert len(result.photos) == 22 and len(result.problems) == 0
    upload = read_upload((shoes / "Boot/belt.png").read_bytes(), UPLOADS)
    assert upload.pixels((64, 96), fit=fit).shape == (64, 96, 3)
    assert small_jpeg(upload.image, side=240)


def test_whatever_is_raised_for_one_photo_is_its_line(shoes: Path, monkeypatch) -> None:
    hashed = catalog.perceptual_hash
    mistakes = iter([ValueError("height and width must be > 0"), MemoryError(), ZeroDivisionError("by zero")])

    def fail_thrice(image: Image.Image) -> np.uint64:
        for mistake in mistakes:
            raise mistake
        return hashed(image)

    monkeypatch.setattr(catalog, "perceptual_hash", fail_thrice)
    result = prepare("zappos")
    assert len(result.photos) == 17
    wanted = {"unreadable: height and width must be > 0", "unreadable: MemoryError", "unreadable: by zero"}
    assert set(result.problems["problem"]) == wanted


# --- formats ---------------------------------------------------------------------------------------------


def encoded(kind: str, **options) -> bytes:
    written = io.BytesIO()
    Image.effect_noise((40, 30), 80).convert("RGB").save(written, kind, **options)
    return written.getvalue()


def with_chunk(png: bytes, name: bytes, content: bytes, *, last: bool = False) -> bytes:
    """Put a chunk behind the header of a PNG, or before its end."""
    chunk = struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
    place = len(png) - 12 if last else 33
    return png[:place] + chunk + png[place:]


LARGE = zlib.compress(b"x" * (2 << 20))  # twice what Pillow takes by itself


@pytest.mark.parametrize(
    ("name", "content"),
    [
        (b"zTXt", b"Raw profile type xmp\0\0" + LARGE),
        (b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + LARGE),
        (b"iCCP", b"Photoshop ICC profile\0\0" + LARGE),
    ],
)
@pytest.mark.parametrize("last", [False, True])
def test_photoshops_large_texts(shoes: Path, name: bytes, content: bytes, last: bool) -> None:
    plain = encoded("PNG")
    (shoes / "Boot/plain.png").write_bytes(plain)
    (shoes / "Boot/shop.png").write_bytes(with_chunk(plain, name, content, last=last))
    result = prepare("zappos")
    assert "Boot/shop.png" in set(result.photos["id"])
    assert "Boot/shop.png" not in lines_of(result)
    sizes = {"size": (64, 96), "fit": "stretch"}
    wanted = load_pixels(shoes / "Boot/plain.png", **sizes)
    np.testing.assert_array_equal(load_pixels(shoes / "Boot/shop.png", **sizes), wanted)
    upload = read_upload((shoes / "Boot/shop.png").read_bytes(), UPLOADS)
    np.testing.assert_array_equal(upload.pixels((64, 96), fit="stretch"), wanted)


def test_a_turned_photo_with_a_large_text_is_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    (tmp_path / "a.png").write_bytes(encoded("PNG", exif=exif))
    large = with_chunk((tmp_path / "a.png").read_bytes(), b"zTXt", b"Raw profile type xmp\0\0" + LARGE)
    (tmp_path / "b.png").write_bytes(large)
    first, second = (load_pixels(tmp_path / f"{name}.png", size=(64, 64), fit="pad") for name in "ab")
    np.testing.assert_array_equal(first, second)


def box(brand: bytes) -> bytes:
    return b"\0\0\0\x1cftyp" + brand + b"\0\0\0\0mif1miaf" + b"\0" * 200


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (box(b"heic"), "a HEIC photo; convert it to JPEG"),
        (box(b"mif1"), "a HEIC photo; convert it to JPEG"),
        (box(b"mp42"), "a film"),
        (b"\xff\x0a" + b"\0" * 90, "a JPEG XL picture"),
        (b"\0\0\0\x0cJXL \r\n\x87\n" + b"\0" * 90, "a JPEG XL picture"),
        (b"\0\0\0\x0cjP  \r\n\x87\n" + b"\0" * 90, "a JPEG 2000 picture"),
        (b"8BPS\0\1" + b"\0" * 90, "a Photoshop file"),
        (b"%PDF-1.7\n", "a PDF"),
        (b"\n <!DOCTYPE HTML><html>404", "a web page"),
        (b"\xef\xbb\xbf<html>", "a web page"),
        (b'<svg xmlns="http://www.w3.org/2000/svg"/>', "an SVG drawing"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "a pointer of Git LFS"),
        (b"", "an empty file"),
    ],
)
def test_what_is_no_photo_is_named_for_what_it_is(shoes: Path, content: bytes, words: str) -> None:
    (shoes / "Boot/x.jpg").write_bytes(content)
    problem, action = lines_of(prepare("zappos"))["Boot/x.jpg"]
    assert words in problem and action == "left out"
    if content:
        with pytest.raises(
            InputError, match=f"(?s)no photo that can be read.*{words.split(';', maxsplit=1)[0]}"
        ):
            read_upload(content, UPLOADS)


def test_a_heic_photo_under_its_own_name(shoes: Path) -> None:
    (shoes / "Boot/IMG_0001.HEIC").write_bytes(box(b"heic"))
    assert "HEIC photo; convert it to JPEG" in lines_of(prepare("zappos"))["Boot/IMG_0001.HEIC"][0]


def test_every_spelling_of_a_photos_suffix(shoes: Path) -> None:
    jpeg, mpo = encoded("JPEG"), encoded("MPO", save_all=True, append_images=[Image.new("RGB", (40, 30))])
    kept = {
        "a.jfif": jpeg,
        "b.jpe": jpeg,
        "c.JPG": jpeg,
        "d.mpo": mpo,
        "e.jpg": mpo,
        "f.webp": encoded("WEBP"),
    }
    kept |= {"g.bmp": encoded("BMP"), "h.tif": encoded("TIFF"), "i.jpg": encoded("PNG")}
    if features.check("avif"):
        kept |= {"j.avif": encoded("AVIF"), "k.jpg": encoded("AVIF")}
    for name, data in kept.items():
        (shoes / "Boot" / name).write_bytes(data)
    assert {f"Boot/{name}" for name in kept} <= set(prepare("zappos").photos["id"])


# --- what lies between the photos ------------------------------------------------------------------------


def test_systems_own_folders_are_no_classes(shoes: Path) -> None:
    folders = ("@eaDir", "lost+found", "$RECYCLE.BIN", "System Volume Information", ".ipynb_checkpoints")
    for name in (*folders, "__MACOSX", ".git", "Boot/@eaDir"):
        (shoes / name).mkdir()
        shutil.copy(shoes / "Boot/0001.jpg", shoes / name / "0001.jpg")
    for name in (".DS_Store", "Thumbs.db", "Boot/._0001.jpg", "Boot/._0002.jpg"):
        (shoes / name).write_bytes(b"\0")
    result = prepare("zappos")
    assert set(result.photos["label"]) == {"boot", "shoe"} and len(result.photos) == 20
    wanted = {name: ("a system's own", "passed over") for name in (*folders, "__MACOSX", ".git")}
    wanted |= {name: ("a system's own", "passed over") for name in (".DS_Store", "Thumbs.db")}
    wanted |= {name: ("a system's own, 2 such", "passed over") for name in ("@eaDir", "._*")}
    assert lines_of(result) == wanted


def test_what_is_no_regular_file_is_never_opened(shoes: Path) -> None:
    os.mkfifo(shoes / "Boot/pipe.jpg")
    os.mkfifo(shoes / "loose.jpg")
    (shoes / "Boot/gone.jpg").symlink_to("nowhere.jpg")
    (shoes / "Boot/loop.jpg").symlink_to("loop.jpg")
    (shoes / "Boot/device.jpg").symlink_to("/dev/zero")
    (shoes / "Boot/folder.jpg").mkdir()
    (shoes / "empty.jpg").mkdir()
    shutil.copy(shoes / "Boot/0001.jpg", shoes / "Boot/folder.jpg/inside.jpg")
    (shoes / "Boot/linked.jpg").symlink_to(shoes / "Shoe/0001.jpg")
    place = Path.cwd()
    with socket.socket(socket.AF_UNIX) as listening:
        os.chdir(shoes)  # a socket's whole path must be short
        try:
            listening.bind("Boot/socket.jpg")
        finally:
            os.chdir(place)
        result = prepare("zappos")
    special = ("a pipe, socket or device, not a file", "left out")
    wanted = {f"Boot/{name}.jpg": special for name in ("pipe", "socket", "device")} | {"loose.jpg": special}
    wanted |= {f"Boot/{name}.jpg": ("a link that leads nowhere", "left out") for name in ("gone", "loop")}
    for name in ("Boot/folder.jpg", "empty.jpg"):
        wanted[name] = ("a folder, not a photo", "its photos are read")
    assert lines_of(result) == wanted
    assert {"Boot/folder.jpg/inside.jpg", "Boot/linked.jpg"} <= set(result.photos["id"])


def test_what_a_manifest_names_is_never_opened_either(shoes: Path) -> None:
    os.mkfifo(shoes / "Boot/pipe.jpg")
    (shoes / "Boot/folder.jpg").mkdir()
    (shoes / "Boot/gone.jpg").symlink_to("nowhere.jpg")
    os.mkfifo(shoes / "pipe.csv")
    write_labels(shoes, "file,label", "{file},{label}")
    with (shoes / "labels.csv").open("a") as file:
        file.write(f"{'x' * 300}.jpg,boot\n")
    found = {file: problem for file, (problem, _) in lines_of(prepare("zappos", MANIFEST)).items()}
    assert found == {
        "Boot/pipe.jpg": "a pipe, socket or device, not a file, but listed in labels.csv",
        "Boot/folder.jpg": "a folder, not a photo, but listed in labels.csv",
        "Boot/gone.jpg": "a link that leads nowhere, but listed in labels.csv",
        f"{'x' * 300}.jpg": "missing, but listed in labels.csv",
    }


# --- folders that are no classes -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "parts", [("train", "test"), ("Training", "VAL", "testing"), ("train_set", "valid-1")]
)
def test_parts_of_a_data_set_are_no_classes(shoes: Path, parts: tuple[str, ...]) -> None:
    for part in parts:
        shutil.copytree(shoes / "Boot", shoes.parent / f"new/{part}/A")
        shutil.copytree(shoes / "Shoe", shoes.parent / f"new/{part}/B")
    shutil.rmtree(shoes)
    (shoes.parent / "new").rename(shoes)
    with pytest.raises(InputError, match=rf"{sorted(parts)[0]}.* parts of a data set, .*\(A, B\)"):
        prepare("zappos")
    assert not Paths.of("zappos").pixels.exists()


def test_parts_without_class_folders(shoes: Path) -> None:
    (shoes / "Boot").rename(shoes / "train")
    (shoes / "Shoe").rename(shoes / "test")
    with pytest.raises(InputError, match="parts of a data set"):
        prepare("zappos")


def test_a_class_may_be_called_like_a_part(shoes: Path) -> None:
    (shoes / "Boot").rename(shoes / "Train")  # toys, say
    assert set(prepare("zappos").photos["label"]) == {"train", "shoe"}


def test_one_folder_around_the_classes(shoes: Path) -> None:
    (shoes / "photos").mkdir()
    for name in ("Boot", "Shoe"):
        (shoes / name).rename(shoes / "photos" / name)
    with pytest.raises(InputError, match=r"one folder, photos, around Boot, Shoe; give that one"):
        prepare("zappos")


def test_the_same_folders_in_every_class_are_said(shoes: Path) -> None:
    for label in ("Boot", "Shoe"):
        for number, path in enumerate(sorted((shoes / label).iterdir())):
            target = shoes / label / ("women" if number % 2 else "men")
            target.mkdir(exist_ok=True)
            path.rename(target / path.name)
    result = prepare("zappos")
    assert set(result.photos["label"]) == {"boot", "shoe"}
    problem, action = lines_of(result)["Boot"]
    assert "each of the 2 class folders holds the same folders (men, women)" in problem
    assert action == "the outer folder is the class"


# --- Unicode and spaces ----------------------------------------------------------------------------------

COMPOSED, DECOMPOSED = (unicodedata.normalize(form, "Café") for form in ("NFC", "NFD"))


def test_names_that_read_the_same_are_one_class(shoes: Path) -> None:
    (shoes / "Boot").rename(shoes / COMPOSED)
    for folder in (DECOMPOSED, f"{COMPOSED} ", "CAFÉ"):
        (shoes / folder).mkdir()
        for number in range(3):
            write_photo(shoes / folder / f"more{number}.jpg", number=50 + number)
    result = prepare("zappos")
    assert result.photos["label"].value_counts().to_dict() == {"café": 19, "shoe": 10}
    assert result.photos["id"].is_unique
    merged = result.problems[result.problems["action"] == "one class"]
    assert len(merged) == 3 and merged["problem"].str.startswith("reads as class café").all()


def test_a_manifest_finds_files_in_another_unicode_form(shoes: Path) -> None:
    (shoes / "Boot").rename(shoes / DECOMPOSED)
    (shoes / "Shoe/0001.jpg").rename(shoes / f"Shoe/{DECOMPOSED}.jpg")
    (shoes / "Shoe/0002.jpg").rename(shoes / "Shoe/ 0002.jpg")
    write_labels(shoes, "file,label", "{file},{label}")
    text = unicodedata.normalize("NFC", (shoes / "labels.csv").read_text(encoding="utf-8"))
    (shoes / "labels.csv").write_text(text.replace("Shoe/ 0002", "Shoe/0002"), encoding="utf-8")
    result = prepare("zappos", MANIFEST)
    assert result.photos["label"].value_counts().to_dict() == {"café": 10, "shoe": 10}
    assert all((shoes / name).is_file() for name in result.photos["id"])
    words = "12 files are there in another Unicode form or with outer spaces"
    assert lines_of(result) == {"labels.csv": (words, "kept")}


def test_a_file_in_both_forms_is_taken_as_written(shoes: Path) -> None:
    for number, name in enumerate((COMPOSED, DECOMPOSED)):
        write_photo(shoes / f"Boot/{name}.jpg", number=70 + number)
    write_labels(shoes, "file,label", "{file},{label}")
    result = prepare("zappos", MANIFEST)
    assert {f"Boot/{COMPOSED}.jpg", f"Boot/{DECOMPOSED}.jpg"} <= set(result.photos["id"])
    assert len(result.problems) == 0


def test_a_file_that_could_be_two_is_left_out(shoes: Path) -> None:
    for number, name in enumerate((DECOMPOSED, f"{COMPOSED} ")):
        write_photo(shoes / f"Boot/{name}/x.jpg", number=70 + number)
    write_labels(shoes, "file,label", "{file},{label}")
    text = (shoes / "labels.csv").read_text(encoding="utf-8").splitlines()
    kept = [line for line in text if "/x.jpg" not in line] + [f"Boot/{COMPOSED}/x.jpg,boot"]
    (shoes / "labels.csv").write_text("\n".join(kept), encoding="utf-8")
    problem, action = lines_of(prepare("zappos", MANIFEST))[f"Boot/{COMPOSED}/x.jpg"]
    assert "2 files there are spelled like it" in problem and action == "left out"


# --- columns and cells of a labels.csv -------------------------------------------------------------------


def test_columns_with_names_of_the_catalogues_own(shoes: Path) -> None:
    head = "file,label,id,split,sha256,width,Height,colour,colour,,group"
    write_labels(shoes, head, "{file},{label},{n},train,abc,10,20,red,blue,note {n},g{n}")
    result = prepare("zappos", MANIFEST)
    table = catalog.read_attributes(result.paths)
    assert table.index.tolist() == result.photos["id"].tolist()
    assert table.columns.tolist() == [
        "given_id", "given_split", "given_sha256", "given_width", "given_height", "colour", "colour_9",
        "column_10", "given_group",
    ]  # fmt: skip
    assert table["given_id"].tolist() == [str(n) for n in range(20)]
    assert set(table["colour"]) == {"red"} and set(table["colour_9"]) == {"blue"}
    assert set(result.photos["split"]) == {"training", "validation", "test"}
    assert (result.problems["file"] == "labels.csv").all() and len(result.problems) == 8
    assert "column 3 (id) has a name that the catalogue uses itself" in set(result.problems["problem"])


@pytest.mark.parametrize(
    ("head", "words"),
    [
        ("file,label,label", "has the column label twice"),
        ("file, Label ,LABEL", "has the column label twice"),
        ("file,label,file", "has the column file twice"),
        (",,", "empty|lacks the columns"),
        ("name,class,x", "lacks the columns file, label; it has name, class, x"),
    ],
)
def test_columns_that_leave_it_open_which_counts(shoes: Path, head: str, words: str) -> None:
    write_labels(shoes, head, "{file},{label},x")
    with pytest.raises(InputError, match=words):
        prepare("zappos", MANIFEST)


def test_names_that_are_taken_by_other_columns(shoes: Path) -> None:
    write_labels(shoes, "file,label,id,given_id,given_id", "{file},{label},1,2,3")
    table = catalog.read_attributes(prepare("zappos", MANIFEST).paths)
    assert sorted(table.iloc[0]) == ["1", "2", "3"] and table.columns.is_unique
    assert table["given_id"].iloc[0] == "2"


SPREADSHEETS = {
    "spaces": ("file, label, position", "{file}, {label}, {n}", "utf-8"),
    "quotes after spaces": ('"file", "label", "position"', '"{file}", "{label}", "{n}"', "utf-8"),
    "numbers with a point": ("file,label,position", "{file},{label},{n}.0", "utf-8"),
    "semicolons": ("file;label;position", "{file};{label};{n}", "utf-8-sig"),
    "semicolons, German numbers": ("file;label;position", "{file};{label};{n},0", "utf-8"),
    "its own first line": ("sep=;\nfile;label;position", "{file};{label};{n}", "utf-8"),
    "tabs, UTF-16": ("file\tlabel\tposition", "{file}\t{label}\t{n}", "utf-16"),
    "CRLF": ("file,label,position\r", "{file},{label},{n}\r", "utf-8-sig"),
    "rows of commas": ("file,label,position,,\n,,,,", "{file},{label},{n},,\n , ,,,", "utf-8"),
    "blank lines first": ("\n,,\nfile,label,position", "{file},{label},{n}", "utf-8"),
    "capitals": ("FILE,Label,Position", "{file},{label},{n}", "utf-8"),
    "spaces inside and around": ("file,label,position", "{file} ,\u00a0{label}  , {n} ", "utf-8"),
}


@pytest.mark.parametrize("kind", SPREADSHEETS)
def test_what_spreadsheets_make_of_a_manifest(shoes: Path, kind: str) -> None:
    write_labels(shoes, "file,label,position", "{file},{label},{n}")
    wanted = prepare("zappos", MANIFEST).photos
    head, row, encoding = SPREADSHEETS[kind]
    write_labels(shoes, head, row, encoding=encoding)
    result = prepare("zappos", MANIFEST)
    assert result.photos.equals(wanted)
    assert len(result.problems) == 0
    assert not result.paths.attributes.exists()


def test_products_with_and_without_a_point_are_the_same(shoes: Path) -> None:
    """Beside a gap pandas makes 3.0 of 3; two spellings of one product would lie in two splits."""
    write_labels(shoes, "file,label,product", "{file},{label},{n}")
    lines = (shoes / "labels.csv").read_text().splitlines()
    half = [f"{line.rpartition(',')[0]},{n // 2}{'.0' * (n % 2)}" for n, line in enumerate(lines[1:])]
    (shoes / "labels.csv").write_text("\n".join([lines[0], *half]))
    photos = prepare("zappos", {**MANIFEST, "catalog.split": "photos"}).photos
    assert photos["product"].tolist() == [str(n // 2) for n in range(20)]
    (shoes / "labels.csv").write_text("\n".join([lines[0], *half[:-1], "Shoe/0010.jpg,Shoe,v1.0"]))
    assert "1.0" in set(prepare("zappos", {**MANIFEST, "catalog.split": "photos"}).photos["product"])


@pytest.mark.parametrize(("encoding", "folder"), [("cp1252", "Stövel"), ("utf-16-le", "Bot")])
def test_encodings_that_cannot_be_told(shoes: Path, encoding: str, folder: str) -> None:
    (shoes / "Boot").rename(shoes / folder)
    write_labels(shoes, "file,label", "{file},{label}", encoding=encoding)
    with pytest.raises(InputError, match=r"labels\.csv: not UTF-8 .*save it as UTF-8"):
        prepare("zappos", MANIFEST)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("file,label\n\nBoot/0001.jpg,\n", "row 3: has no label"),
        ('file,label\n"Boot/0001.jpg,boot\n', "not a CSV"),
        ("file,label\nBoot/0001.jpg,bo\x07ot\n", "row 2: has control characters in its label"),
        ("file,label\nBoot/0001.jpg,boot,extra\n", "row 2 has 3 cells, its header 2"),
        ("file;label\nBoot/0001.jpg;boot\nBoot/0001.jpg;boot\n", "row 3: names a file for the second time"),
    ],
)
def test_what_is_not_clear_names_its_row(shoes: Path, text: str, words: str) -> None:
    (shoes / "labels.csv").write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=words):
        prepare("zappos", MANIFEST)


def test_a_label_over_two_lines_is_one_name(shoes: Path) -> None:
    write_labels(shoes, "file,label", '{file},"{label}\n  high"')
    assert set(prepare("zappos", MANIFEST).photos["label"]) == {"boot high", "shoe high"}


def test_new_photos_are_walked_alike(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "@eaDir").mkdir()
    write_photo(tmp_path / "a.jfif", number=1)
    names, problems = walk_photos(tmp_path)
    assert names == ["a.jfif"]
    assert [action for *_, action in sorted(problems)] == ["passed over", "left out"]
