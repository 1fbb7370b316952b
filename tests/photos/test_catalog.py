"""The catalogue as stage prepare makes it: splits, odd photos, the manifest, what fails before any work."""

import json
import re
import shutil
import struct
import zlib
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from official_tree import write_official_tree, write_photo
from PIL import Image

import drawn_shoes
from solesearch.core import files
from solesearch.core.errors import InputError
from solesearch.core.paths import Paths
from solesearch.photos import catalog
from solesearch.photos.catalog import CatalogSettings, PreparedCatalogue, photo_folder, prepare
from solesearch.photos.photo import FORMATS, IMAGE_SIZES, load_pixels
from solesearch.photos.photo_table import COLUMNS, class_counts, read_photos

OUTPUTS = ("photos.csv", "problems.csv", "duplicates.csv", "manifest.json", "pixels.npy")


def prepared(profile: str = "photos", **changed) -> PreparedCatalogue:
    """Prepare a profile with some values of its section `catalog` changed."""
    return prepare(profile, CatalogSettings.load(profile, **changed))


def write_labels(folder: Path, text: str) -> None:
    (folder / "labels.csv").write_text(text, encoding="utf-8")


def labels_of(folder: Path, *, columns: str = "file,label", value=lambda number: "") -> str:
    """Return a labels.csv for the photos below `folder`; `value` makes the further fields."""
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.jpg"))
    lines = [f"{name},{name.split('/')[0]}{value(number)}" for number, name in enumerate(names)]
    return "\n".join([columns, *lines]) + "\n"


def digests(profile: str = "photos") -> dict[str, str]:
    return {name: files.digest(Paths.of(profile).catalogue / name) for name in OUTPUTS}


# --- class folders and manifests -------------------------------------------------------------------------


def test_folders_in_blocks(shoes: Path) -> None:
    result = prepared()
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
    pixels = np.load(result.paths.pixels, allow_pickle=False)
    size = IMAGE_SIZES["paper-64x96"]
    expected = [load_pixels(shoes / name, size=size, fit="stretch") for name in photos["id"]]
    np.testing.assert_array_equal(pixels, np.stack(expected))


def test_same_photos_same_bytes_from_folders_and_a_manifest(shoes: Path) -> None:
    (shoes / "Boot/0003.jpg").write_bytes(b"damaged")
    photos, first = prepared().photos, digests()
    assert photos[photos["label"] == "boot"]["position"].tolist() == [1, 2, 4, 5, 6, 7, 8, 9, 10]
    shutil.rmtree(Paths.of("photos").catalogue)
    prepared()
    assert digests() == first
    write_labels(shoes, labels_of(shoes, columns="file,label,position", value=lambda n: f",{n % 10 + 1}"))
    assert prepared(source="manifest").photos.equals(photos)


def test_products_of_a_manifest_stay_whole(shoes: Path) -> None:
    write_labels(shoes, labels_of(shoes, columns="file,label,product", value=lambda n: f",p{n % 10 // 2}"))
    photos = prepared(source="manifest", split="products", validation_share=0.2).photos
    assert set(photos["group"]) == {f"{label}/p{n}" for label in ("boot", "shoe") for n in range(5)}
    assert (photos.groupby("group")["split"].nunique() == 1).all()
    counts = class_counts(photos)
    assert counts["split"].tolist() == ["training", "validation", "test"] * 2
    assert counts["photos"].tolist() == [6, 2, 2] * 2
    assert counts["products"].tolist() == [3, 1, 1] * 2


def test_further_columns_of_a_manifest_are_kept_beside_the_catalogue(shoes: Path) -> None:
    manifest, paths = {"source": "manifest", "split": "products"}, Paths.of("photos")
    value = lambda n: f",{n:03d},{('Red', ' Navy Blue', '')[n % 3]},NA"  # noqa: E731
    text = labels_of(shoes, columns="file,label,product_id,colour,gender", value=value)
    write_labels(shoes, text.replace("Boot/0001.jpg,", "Boot/gone.jpg,boot,,,\nBoot/0001.jpg,", 1))
    result, attributes = prepared(**manifest), catalog.read_attributes(paths)
    missing = ["Boot/gone.jpg", "missing, but listed in labels.csv", "left out"]
    assert result.problems.values.tolist() == [missing]
    assert attributes.index.tolist() == result.photos["id"].tolist()
    assert attributes["colour"].tolist()[:3] == ["Red", "Navy Blue", ""]
    assert set(attributes["gender"]) == {"NA"}  # text, not a gap
    write_labels(shoes, labels_of(shoes, columns="file,label,product", value=lambda n: f",{n:03d}"))
    assert prepared(**manifest).photos.equals(result.photos)
    assert not paths.attributes.exists()  # what an earlier manifest told is forgotten
    assert catalog.read_attributes(paths).columns.tolist() == []


def test_the_papers_profile_on_the_official_tree(workspace: Path) -> None:
    tree = write_official_tree(workspace / "data/paper")
    options = {"split": "photos", "test_photos": 60, "validation_share": 0.15, "training_share": 0.35}
    result = prepared("paper", **options)
    photos = result.photos
    assert photos["id"].tolist() == sorted(p.relative_to(tree).as_posix() for p in tree.rglob("*.jpg"))
    labelled = photos["label"] != "unlabelled"
    assert Counter(photos["split"][labelled]) == {"test": 60, "validation": 36, "training": 84}
    assert set(photos["split"][~labelled]) == {"training"}
    assert (photos["group"] == photos["product"]).all()
    outside = result.problems[result.problems["action"] == "trained on without a label"]
    assert len(outside) == 6 and len(result.problems) == 8 and "Shoes/Oxfords" in set(result.problems["file"])
    exact = result.duplicates[result.duplicates["kind"] == "exact"]
    assert len(exact) == 21 and exact["same_product"].all()  # a colour twice, under another brand
    dropped = prepared("paper", train_on_unlabelled=False, **options)
    assert Counter(dropped.problems["action"])["left out"] == 6 and len(dropped.photos) == 180


def test_attributes_of_the_official_tree_are_kept_and_a_part_of_it_is_told(workspace: Path, capsys) -> None:
    tree = write_official_tree(workspace / "data/paper")
    shutil.rmtree(tree / "Slippers")
    name = min(tree.glob("Shoes/Heels/*/*.jpg")).relative_to(tree).as_posix()
    (workspace / "data/paper/labels.csv").write_text(f"path,gender\n{name},Men;Women\n")
    result = prepared("paper", validation_share=0.2)
    assert "ut-zap50k-images: 216 of UT-Zap50K's 50,025 photos, none in slippers" in capsys.readouterr().out
    assert ("ut-zap50k-images", "used as the part that it is") in set(
        result.problems[["file", "action"]].itertuples(index=False, name=None)
    )
    attributes = catalog.read_attributes(result.paths)
    assert attributes.index.tolist() == result.photos["id"].tolist()
    assert attributes.columns.tolist() == ["gender", "brand", "colour_number"]
    assert attributes.loc[name, "gender"] == "Men;Women" and Counter(attributes["gender"])[""] == 215


def test_a_tested_product_is_not_trained_on_without_its_label(workspace: Path) -> None:
    tree = write_official_tree(workspace / "data/paper")
    product = next(tree.glob("Shoes/Heels/*/*.jpg")).name.split(".")[0]
    other = tree / "Shoes/Oxfords/Elsewhere" / f"{product}.999.jpg"
    write_photo(other, number=999)
    name = other.relative_to(tree).as_posix()
    apart, mixed = (prepared("paper", split=way, validation_share=0.3) for way in ("products", "photos"))
    assert name not in set(apart.photos["id"]) and name in set(mixed.photos["id"])
    [why] = apart.problems.query("file == @name")["problem"]
    assert why == "outside the label map, and its product has a class"
    assert apart.photos.groupby("product")["split"].nunique().max() == 1


# --- what fails before any work --------------------------------------------------------------------------


def test_missing_data_names_the_way_to_get_it(workspace: Path) -> None:
    for _ in range(2):  # not there, then empty but for what a desktop leaves
        with pytest.raises(InputError, match=r"data/photos: no photographs .*make photos DATA=.*data/README"):
            prepared()
        (workspace / "data/photos").mkdir(parents=True, exist_ok=True)
        (workspace / "data/photos/.DS_Store").touch()


def test_a_class_too_small_for_three_splits_fails_before_decoding(shoes: Path, monkeypatch) -> None:
    monkeypatch.setattr(catalog, "examine", lambda *_: pytest.fail("a photo was decoded"))
    with pytest.raises(InputError, match="no products known"):
        prepared(split="products")
    with pytest.raises(InputError, match="21 wanted, there are 20"):
        prepared(photos=21)
    for path in sorted((shoes / "Shoe").iterdir())[2:]:
        path.unlink()
    with pytest.raises(InputError, match="class shoe: 2 photos are too few"):
        prepared()
    shutil.rmtree(shoes / "Shoe")
    with pytest.raises(InputError, match="one class, boot"):
        prepared()


def test_a_failed_run_leaves_the_former_one(shoes: Path) -> None:
    prepared()
    before = digests()
    for path in (shoes / "Shoe").iterdir():
        path.write_bytes(b"damaged")
    with pytest.raises(InputError, match="no usable photo in class shoe"):
        prepared()
    assert digests() == before
    assert sorted(path.name for path in Paths.of("photos").catalogue.iterdir()) == sorted(OUTPUTS)


# --- odd photos ------------------------------------------------------------------------------------------


def noise(size: tuple[int, int] = (40, 30)) -> Image.Image:
    return Image.effect_noise(size, 80).convert("RGB")


def write_png_header(path: Path, *, width: int, height: int) -> None:
    """Write a PNG that states a size and ends before its pixels."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk + b"\0\0\0\x10IDAT")


def write_odd_photos(folder: Path) -> dict[str, tuple[str, str]]:
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
    write_png_header(folder / "huge.png", width=9500, height=9500)  # above what Pillow warns at
    write_png_header(folder / "larger.png", width=14000, height=13000)  # above twice that, where it raises
    unread = f"unreadable: no {', '.join(FORMATS[:-1])} or {FORMATS[-1]}"
    return {
        "animated.webp": ("animated: 3 frames", "first frame used"),
        "bell\\x07.jpg": ("name with control characters or not UTF-8", "left out"),
        "cmyk.jpg": ("CMYK", "converted to RGB"),
        "cut.png": ("unreadable: ", "left out"),
        "deep.png": ("16 bits a pixel", "reduced to 8"),
        "empty.jpg": ("unreadable: an empty file", "left out"),
        "huge.png": ("huge: 9500 x 9500 pixels, max_pixels is 50000000", "left out"),
        "larger.png": ("huge: more than 178956970 pixels", "left out"),
        "notes.txt": ("not a photo (.txt)", "left out"),
        "palette.png": ("palette", "converted to RGB"),
        "text.jpg": (unread, "left out"),
        "phone.jpg": ("animated: 2 frames", "first frame used"),
        "tiny.png": ("tiny: 15 x 300 pixels, min_side is 16", "left out"),
        "transparent.png": ("transparent", "laid on white"),
        "turned.jpg": ("EXIF orientation 6", "turned upright"),
    }


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")  # as photo.py does by itself
def test_every_odd_photo_gets_its_line_and_the_rest_is_what_a_viewer_shows(shoes: Path) -> None:
    expected = write_odd_photos(shoes / "Odd")
    result = prepared()
    found = {file.removeprefix("Odd/"): line for file, *line in result.problems.itertuples(index=False)}
    found["cut.png"][0] = found["cut.png"][0][: len("unreadable: ")]
    assert {name: tuple(line) for name, line in found.items()} == expected
    kept = {name for name, (_, action) in expected.items() if action != "left out"} | {"opaque.png"}
    rows = {name.removeprefix("Odd/"): row for row, name in enumerate(result.photos["id"])}
    assert kept == {name for name in rows if "/" not in name} and len(rows) == 20 + len(kept)
    pixels = np.load(result.paths.pixels, allow_pickle=False)
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
    path = shoes / "Odd/turned.jpg"
    upright = np.asarray(Image.open(path).transpose(Image.Transpose.ROTATE_270).resize((96, 64), 2))
    np.testing.assert_array_equal(pixels[rows["turned.jpg"]], upright)


def test_whatever_is_raised_for_one_photo_is_its_line(shoes: Path, monkeypatch) -> None:
    mistakes = [ValueError("height and width must be > 0"), MemoryError(), OSError(13, "Permission denied")]
    hashes = iter([*mistakes, *(np.uint64(2**n - 1) for n in range(17))])

    def hashed(_image: Image.Image) -> np.uint64:
        if isinstance(found := next(hashes), Exception):
            raise found
        return found

    monkeypatch.setattr(catalog, "perceptual_hash", hashed)
    result = prepared()
    assert len(result.photos) == 17
    wanted = {"height and width must be > 0", "MemoryError", "Permission denied"}
    assert set(result.problems["problem"]) == {f"unreadable: {words}" for words in wanted}


def test_duplicates_are_reported_and_kept(shoes: Path) -> None:
    shutil.copy(shoes / "Boot/0001.jpg", shoes / "Shoe/0004.jpg")
    result = prepared()
    assert result.duplicates.values.tolist() == [["Boot/0001.jpg", "Shoe/0004.jpg", "exact", 0, False]]
    assert len(result.photos) == 20


# --- a drawn catalogue, a part of the photos -------------------------------------------------------------


def test_a_drawn_catalogue(workspace: Path) -> None:
    photos = prepared("smoke", photos=90, training_share=0.4, validation_share=0.3).photos
    assert photos["label"].value_counts().to_dict() == dict.fromkeys(drawn_shoes.CLASSES, 10)
    assert (photos.groupby("group")["split"].nunique() == 1).all()
    assert set(catalog.read_attributes(Paths.of("smoke")).columns) == {"colour"}


def test_a_seeded_part_of_the_photos(shoes: Path) -> None:
    options = {"photos": 14, "training_share": 0.5, "validation_share": 0.2}
    part = [prepared(seed=seed, **options).photos for seed in (1, 1, 2)]
    assert part[0].equals(part[1])
    assert set(part[0]["id"]) != set(part[2]["id"])
    assert len(part[0]) == 14
    whole = {f"{label}/{n:04d}.jpg": n for label in ("Boot", "Shoe") for n in range(1, 11)}
    assert part[0]["position"].tolist() == [whole[name] for name in part[0]["id"]]  # numbers of the whole


# --- the manifest ----------------------------------------------------------------------------------------


@pytest.fixture
def committed(shoes: Path) -> Path:
    """The manifest of the last results, made from `shoes` as they are."""
    paths = prepared().paths
    paths.photo_manifest.parent.mkdir(parents=True)
    return Path(shutil.copy(paths.manifest, paths.photo_manifest))


def change_one_bit(shoes: Path) -> None:
    path = shoes / "Boot/0005.jpg"
    path.write_bytes(path.read_bytes() + b"\0")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (change_one_bit, "20 then, 20 now .as many as before in each class, but other"),
        (lambda shoes: (shoes / "Boot/0005.jpg").unlink(), r"20 then, 19 now \(boot 10 -> 9\)"),
        (lambda shoes: (shoes / "Boot/0005.jpg").rename(shoes / "Boot/x.jpg"), "other names or contents"),
    ],
)
def test_other_photos_than_the_committed_ones(shoes: Path, committed: Path, change, words, capsys) -> None:
    manifest = json.loads(committed.read_text(encoding="utf-8"))
    assert (manifest["count"], manifest["classes"]) == (20, {"boot": 10, "shoe": 10})
    prepared(photos=18)  # settings that ask for others make no comparison
    assert "other photographs" not in capsys.readouterr().out
    change(shoes)
    assert prepared().problems.empty
    assert re.search(
        r"than those of results/photos/evaluate/manifest\.json: .*" + words, capsys.readouterr().out
    )


@pytest.mark.parametrize("text", ["", "<<<<<<< ours", "[]", '{"count": 3}'])
def test_a_damaged_committed_manifest(committed: Path, text: str, capsys) -> None:
    committed.write_text(text, encoding="utf-8")
    prepared()
    assert "results/photos/evaluate/manifest.json: damaged; nothing to compare" in capsys.readouterr().out


# --- settings, tables, folders ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"source": "folder"}, "photos.catalog.source: .*'drawn', 'official', 'folders' or 'manifest'"),
        ({"label_map": "papers"}, "label_map is papers, subcategories or categories for source official"),
        ({"source": "drawn", "photos": 8}, "photos = 8 is fewer than the 9 classes"),
        ({"training_share": 0.9, "validation_share": 0.1}, "must leave a rest"),
        ({"min_side": 0}, "min_side: .*, got 0"),
        ({"min_side": 10_000}, "min_side 10000 and max_pixels 50000000 refuse every photo"),
        ({"max_pixels": 10**9}, "max_pixels: .* 89478485, got"),
    ],
)
def test_settings_that_make_no_catalogue(workspace: Path, changed: dict, words: str) -> None:
    with pytest.raises(InputError, match=words):
        CatalogSettings.load("photos", **changed)


def test_the_photo_table_keeps_its_text(workspace: Path) -> None:
    paths = Paths.of("photos")
    table = pd.DataFrame([["a", "NA", "0012", "x", 0, "test", 1, 1, "ff"]], columns=list(COLUMNS))
    files.write_table(paths.photos, table)
    assert read_photos(paths)[["label", "product"]].values.tolist() == [["NA", "0012"]]


def test_every_source_has_its_folder(workspace: Path) -> None:
    paths, settings = Paths.of("smoke"), CatalogSettings.load("smoke")
    with pytest.raises(InputError, match="the photographs are gone"):
        photo_folder(paths, settings)
    unpacked, tree = (folder / "ut-zap50k-images" for folder in (paths.catalogue / "extracted", paths.data))
    for source, made, folder in (
        ("drawn", paths.drawn, paths.drawn),
        ("official", unpacked / "Shoes", unpacked),
        ("official", tree / "Boots", tree),
        ("folders", paths.data, paths.data),
    ):
        made.mkdir(parents=True, exist_ok=True)
        assert photo_folder(paths, settings.model_copy(update={"source": source})) == folder
