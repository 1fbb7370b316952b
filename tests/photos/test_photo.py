"""One photo: cut down to what it shows (fit: object), whatever its size, frame and format."""

import hashlib
import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFilter, ImageOps

from solesearch.core.errors import InputError
from solesearch.photos.photo import (
    FORMATS,
    IMAGE_SIZES,
    PhotoRefusedError,
    border_colour,
    decode_photos,
    find_object,
    fit_to,
    load_pixels,
    open_checked,
    small_jpeg,
    to_pixels,
    to_signed,
)

SIZE = (64, 96)  # height, width
LIMITS = {"min_side": 16, "max_pixels": 10**6}


def shoe(
    frame: tuple[int, int] = (168, 224),
    *,
    at: tuple[int, int] = (40, 90),
    ground: tuple[int, int, int] = (255, 255, 255),
    colour: tuple[int, int, int] = (120, 60, 20),
) -> Image.Image:
    """A shape of 80 x 50 pixels, its top left corner `at`, in a frame (width, height)."""
    image = Image.new("RGB", frame, ground)
    draw, (x, y) = ImageDraw.Draw(image), at
    draw.polygon([(x, y + 49), (x, y), (x + 30, y), (x + 79, y + 30), (x + 79, y + 49)], fill=colour)
    return image


def fitted(image: Image.Image, size: tuple[int, int] = SIZE) -> np.ndarray:
    return fit_to(image, size=size, fit="object")


def test_the_box_is_the_shape() -> None:
    assert find_object(shoe()) == ((40, 90, 120, 140), (255, 255, 255))


@pytest.mark.parametrize("size", [*IMAGE_SIZES.values(), (16, 200), (200, 16)])
def test_size_margin_and_proportions(size: tuple[int, int]) -> None:
    pixels = fitted(shoe(), size)
    assert pixels.shape == (*size, 3) and pixels.dtype == np.uint8
    dark = (pixels < 200).any(axis=2)
    rows, columns = np.flatnonzero(dark.any(axis=1)), np.flatnonzero(dark.any(axis=0))
    high, wide = rows[-1] - rows[0] + 1, columns[-1] - columns[0] + 1
    assert abs(wide - high * 80 / 50) <= 2.5  # 80 x 50, each end rounded
    free = [round(0.04 * side) for side in size]
    assert rows[0] >= free[0] and size[0] - 1 - rows[-1] >= free[0]
    assert columns[0] >= free[1] and size[1] - 1 - columns[-1] >= free[1]
    assert high >= size[0] - 2 * free[0] - 2 or wide >= size[1] - 2 * free[1] - 2  # it fills one direction


@pytest.mark.parametrize("at", [(1, 1), (0, 0), (88, 174), (20, 60)])
def test_place_and_frame_do_not_matter(at: tuple[int, int]) -> None:
    wanted = fitted(shoe())
    assert np.array_equal(fitted(shoe(at=at)), wanted)  # also where it touches the border
    assert np.array_equal(fitted(shoe(frame=(400, 300), at=at)), wanted)
    turned = fitted(shoe(at=at).transpose(Image.Transpose.FLIP_LEFT_RIGHT))
    assert np.abs(turned[:, ::-1].astype(int) - wanted).mean() < 2


@pytest.mark.parametrize("ground", [(255, 255, 255), (12, 12, 14), (128, 128, 128), (200, 30, 90)])
def test_any_even_background(ground: tuple[int, int, int]) -> None:
    image = shoe(ground=ground)
    assert find_object(image) == ((40, 90, 120, 140), ground)
    assert (fitted(image)[:3] == ground).all()  # what is added has the background's colour


def test_transparency_counts_as_white(tmp_path: Path) -> None:
    image = shoe(ground=(0, 0, 0)).convert("RGBA")
    pixels = np.array(image)
    pixels[(pixels[..., :3] == 0).all(axis=2), 3] = 0
    Image.fromarray(pixels).save(tmp_path / "shoe.png")
    assert np.array_equal(load_pixels(tmp_path / "shoe.png", size=SIZE, fit="object"), fitted(shoe()))


def test_noise_dust_and_faint_shadows_do_not_count() -> None:
    image = shoe(at=(40, 60))
    shadow = Image.new("L", image.size, 0)
    ImageDraw.Draw(shadow).ellipse((20, 150, 150, 175), fill=10)  # a shade of 10, clear of the shape
    pixels = np.array(image).astype(int) - np.array(shadow.filter(ImageFilter.GaussianBlur(3)))[..., None]
    pixels += np.random.default_rng(1).integers(-5, 6, pixels.shape)
    pixels[10, 10] = pixels[210, 5] = 0  # single black pixels
    noisy = Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
    assert find_object(noisy)[0] == (40, 60, 120, 110)


def test_pale_objects_are_whole() -> None:
    """A white shoe on white: pale inside, a clear edge; the pale part that hangs on it counts."""
    image = shoe(colour=(238, 238, 238))
    draw = ImageDraw.Draw(image)
    draw.rectangle((40, 138, 119, 139), fill=(150, 150, 150))  # the sole
    assert find_object(image)[0] == (40, 90, 120, 140)


@pytest.mark.parametrize(
    "image",
    [
        Image.new("RGB", (168, 224), (245, 246, 244)),
        ImageOps.expand(Image.new("RGB", (10, 10), "black"), 90, "white"),  # a dot
        Image.fromarray(np.random.default_rng(0).integers(248, 256, (224, 168, 3), dtype=np.uint8)),
        Image.new("RGB", (1, 1), "black"),
        Image.fromarray(np.random.default_rng(3).integers(0, 256, (224, 168, 3), dtype=np.uint8)),
    ],
)
def test_nothing_to_see_keeps_the_whole_photo(image: Image.Image) -> None:
    assert find_object(image)[0] == (0, 0, *image.size)
    assert fitted(image).shape == (*SIZE, 3)


def test_large_photos_are_cut_like_small_ones() -> None:
    """A photo is looked at with at most 512 pixels a side; the box may be off by one of those."""
    large = shoe().resize((1680, 2240), Image.Resampling.NEAREST)
    box, _ = find_object(large)
    assert np.abs(np.array(box) - [400, 900, 1200, 1400]).max() <= 2 * 2240 / 512


def test_a_border_mostly_covered_by_one_side_of_the_object() -> None:
    image = shoe()
    ImageDraw.Draw(image).rectangle((0, 140, 167, 223), fill=(120, 60, 20))  # three sides are touched
    assert border_colour(np.asarray(image)).tolist() == [255, 255, 255]
    assert find_object(image)[0] == (0, 90, 168, 224)


@pytest.mark.parametrize(
    ("fit", "digest"),
    [("stretch", "bb2dc5b49ad38b30"), ("pad", "521452676a5ae6d0")],
)
def test_the_other_fits_give_the_bytes_they_always_gave(fit: str, digest: str) -> None:
    pixels = fit_to(shoe(), size=SIZE, fit=fit)
    assert hashlib.sha256(pixels.tobytes()).hexdigest()[:16] == digest


# --- long and thin photos --------------------------------------------------------------------------------


@pytest.mark.parametrize("fit", ["stretch", "pad", "object"])
@pytest.mark.parametrize("photo", [(7000, 16), (16, 7000), (7000, 1), (1, 7000), (1, 1)])
def test_no_photo_is_too_thin(photo: tuple[int, int], fit: str) -> None:
    for size in IMAGE_SIZES.values():
        assert fit_to(Image.new("RGB", photo, "white"), size=size, fit=fit).shape == (*size, 3)


def test_a_thin_object_is_seen() -> None:
    photo = Image.new("RGB", (7000, 200), "white")
    photo.paste("black", (10, 90, 6990, 110))
    pixels = fit_to(photo, size=(64, 96), fit="object")
    assert pixels.shape == (64, 96, 3) and pixels.min() < 150 < pixels.max()
    assert 80 <= find_object(photo)[0][1] < 100


def test_a_frame_without_a_colour_of_its_own() -> None:
    pixels = np.array([[[0, 0, 15], [0, 15, 0], [15, 0, 0]]], np.uint8)
    assert border_colour(pixels).max() <= 15


# --- formats ---------------------------------------------------------------------------------------------


def encoded(kind: str, **options) -> bytes:
    written = io.BytesIO()
    Image.effect_noise((40, 30), 80).convert("RGB").save(written, kind, **options)
    return written.getvalue()


def with_chunk(png: bytes, name: bytes, content: bytes, *, last: bool) -> bytes:
    """Put a chunk behind the header of a PNG, or before its end."""
    chunk = struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
    place = len(png) - 12 if last else 33
    return png[:place] + chunk + png[place:]


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize(
    ("name", "head"),
    [
        (b"zTXt", b"Raw profile type xmp\0\0"),
        (b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0"),
        (b"iCCP", b"ICC\0\0"),
    ],
)
def test_photoshops_large_texts_change_nothing(name: bytes, head: bytes, last: bool) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    png = encoded("PNG", exif=exif)
    large = zlib.compress(b"x" * (2 << 20))  # twice what Pillow takes by itself
    wanted, _ = open_checked(png, **LIMITS)
    found, remarks = open_checked(with_chunk(png, name, head + large, last=last), **LIMITS)
    assert remarks == [("EXIF orientation 6", "turned upright")]
    np.testing.assert_array_equal(np.asarray(found), np.asarray(wanted))


def box(brand: bytes) -> bytes:
    return b"\0\0\0\x1cftyp" + brand + b"\0\0\0\0mif1miaf" + b"\0" * 200


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (box(b"heic"), "a HEIC photo; convert it to JPEG"),
        (box(b"mif1"), "a HEIC photo; convert it to JPEG"),
        (box(b"mp42"), "a film"),
        (b"\xff\x0a" + b"\0" * 90, "a JPEG XL picture"),
        (b"\0\0\0\x0cjP  \r\n\x87\n" + b"\0" * 90, "a JPEG 2000 picture"),
        (b"8BPS\0\1" + b"\0" * 90, "a Photoshop file"),
        (b"%PDF-1.7\n", "a PDF"),
        (b"\n <!DOCTYPE HTML><html>404", "a web page"),
        (b"\xef\xbb\xbf<html>", "a web page"),
        (b'<svg xmlns="http://www.w3.org/2000/svg"/>', "an SVG drawing"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "a pointer of Git LFS"),
        (b"", "an empty file"),
        (b"not a photo", "unreadable: no JPEG, PNG"),
        (encoded("JPEG")[:500], "unreadable"),
    ],
)
def test_what_is_no_photo_is_named_for_what_it_is(content: bytes, words: str) -> None:
    with pytest.raises(PhotoRefusedError, match=words):
        open_checked(content, **LIMITS)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "MPO", "AVIF"])
def test_every_format_is_read(kind: str) -> None:
    if kind in FORMATS or kind == "MPO":
        several = {"save_all": True, "append_images": [Image.new("RGB", (40, 30))]} if kind == "MPO" else {}
        assert open_checked(encoded(kind, **several), **LIMITS)[0].size == (40, 30)


def test_pixels_and_signed_images_are_each_others_inverse() -> None:
    pixels = np.arange(256, dtype=np.uint8)
    assert to_signed(pixels)[[0, 255]].tolist() == [-1, 1]
    np.testing.assert_array_equal(to_pixels(to_signed(pixels)), pixels)


# --- many photos at a network's input size ---------------------------------------------------------------


def test_photos_come_in_the_order_asked_for(tmp_path: Path) -> None:
    colours = {"a/red.png": (255, 0, 0), "b/green.png": (0, 255, 0), "b/blue.png": (0, 0, 255)}
    for name, colour in colours.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.new("RGB", (136, 102), colour).save(tmp_path / name)
    asked = ["b/blue.png", "a/red.png", "b/green.png"]
    pixels = decode_photos(asked, folder=tmp_path, size=(224, 224), fit="stretch")
    assert pixels.shape == (3, 224, 224, 3) and pixels.dtype == np.uint8
    assert [tuple(photo[112, 112]) for photo in pixels] == [colours[name] for name in asked]
    padded = decode_photos(asked, folder=tmp_path, size=(224, 224), fit="pad")
    assert tuple(padded[0, 0, 0]) == (255, 255, 255), "the proportions are kept on white"
    (tmp_path / "a/red.png").write_bytes((tmp_path / "a/red.png").read_bytes()[:60])
    (tmp_path / "b/green.png").unlink()
    for name in ("a/red.png", "b/green.png"):  # changed since
        with pytest.raises(InputError, match=rf"{name}: could be read by stage prepare, not now"):
            decode_photos([name], folder=tmp_path, size=(96, 96), fit="stretch")


def test_small_photos_carry_no_metadata() -> None:
    image = shoe()
    image.info["comment"] = b"a camera"  # which Pillow would write into the new file
    small = small_jpeg(image, side=112)
    with Image.open(io.BytesIO(small)) as shown:
        assert shown.size == (84, 112)
    assert b"a camera" not in small
    assert small == small_jpeg(np.asarray(image), side=112)
