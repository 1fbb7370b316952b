"""Uploads: what is taken, what is refused and in which words, against files made for each case."""

import io
import zlib
from pathlib import Path

import numpy as np
import pytest
from page_world import draw_photo, encoded, png
from PIL import Image, ImageFile

from solesearch.core.errors import InputError
from solesearch.page.uploads import LARGEST_SIDE, PageSettings, Upload, UploadStore, read_upload
from solesearch.photos.photo import fit_to, load_pixels, small_jpeg

SETTINGS = PageSettings(upload_megabytes=1, upload_pixels=1_000_000, uploads=2, decoders=1, most_answers=20)
UNREADABLE = "no photo that can be read"


def test_a_catalogue_photo_gives_the_catalogues_pixels(tmp_path: Path) -> None:
    photo = draw_photo("boots", 5)
    (tmp_path / "a.png").write_bytes(png(photo))
    upload = read_upload(png(photo), SETTINGS)
    for size, fit in (((64, 96), "stretch"), ((224, 224), "pad")):
        expected = load_pixels(tmp_path / "a.png", size=size, fit=fit)
        np.testing.assert_array_equal(fit_to(upload.image, size=size, fit=fit), expected)
    assert upload.remarks == ()


def rotated() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: the stored picture lies on its side
    return encoded(Image.fromarray(np.rot90(draw_photo("boots", 0)).copy()), "PNG", exif=exif)


def moving() -> bytes:
    first, second = (Image.fromarray(draw_photo(label, 0)) for label in ("boots", "sandals"))
    return encoded(first, "WEBP", save_all=True, append_images=[second], lossless=True)


@pytest.mark.parametrize(
    ("data", "remark"),
    [
        (rotated(), "EXIF orientation 6: turned upright"),
        (moving(), "animated: 2 frames: first frame used"),
    ],
)
def test_what_is_odd_is_put_right_and_named(data: bytes, remark: str) -> None:
    upload = read_upload(data, SETTINGS)
    np.testing.assert_array_equal(np.asarray(upload.image), draw_photo("boots", 0))
    assert upload.remarks == (remark,)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "file is empty"),
        (b"x" * 1_000_001, "larger than 1 MB"),
        (png(draw_photo("boots", 0)[:15]), "too small: at least 16 pixels"),
        (png(draw_photo("boots", 0))[:60], UNREADABLE),
        (encoded(Image.fromarray(draw_photo("boots", 0)), "JPEG")[:-200], UNREADABLE),
        (b"GIF89a", UNREADABLE),
        # Pillow would run Ghostscript
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 50 50\nshowpage\n", UNREADABLE),
        (b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>', UNREADABLE),
    ],
)
def test_what_is_no_whole_photo_is_refused(data: bytes, words: str) -> None:
    with pytest.raises(InputError, match=words):
        read_upload(data, SETTINGS)


def test_a_bomb_is_refused_by_its_header(monkeypatch: pytest.MonkeyPatch) -> None:
    """PNGs of many pixels in a few bytes, above our limit and above Pillow's: no pixel is decoded."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        size, check = len(content).to_bytes(4), zlib.crc32(kind + content).to_bytes(4)
        return size + kind + content + check

    def claiming(side: int) -> bytes:
        header = chunk(b"IHDR", side.to_bytes(4) * 2 + bytes([8, 2, 0, 0, 0]))
        data = chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
        return b"\x89PNG\r\n\x1a\n" + header + data

    decoded, load = [], ImageFile.ImageFile.load
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda image: decoded.append(image.size) or load(image))
    for side in (1_001, 30_000):
        with pytest.raises(InputError, match="more than 1 megapixels"):
            read_upload(claiming(side), SETTINGS)
    assert decoded == []
    with pytest.raises(InputError, match=UNREADABLE):
        read_upload(claiming(1_000), SETTINGS)
    assert set(decoded) == {(1_000, 1_000)}  # what may be decoded is, and was seen here


def test_large_photos_are_kept_small_and_previews_carry_no_metadata() -> None:
    exif = Image.Exif()
    exif[0x010F] = "a camera"
    sent = encoded(Image.new("RGB", (1200, 600), (10, 20, 30)), "JPEG", exif=exif)
    upload = read_upload(sent, SETTINGS)
    assert upload.image.size == (LARGEST_SIDE, LARGEST_SIDE // 2)
    shown = small_jpeg(upload.image, side=240)
    with Image.open(io.BytesIO(shown)) as preview:
        assert preview.size == (240, 120) and dict(preview.getexif()) == {}
    assert b"a camera" in sent and b"a camera" not in shown


def test_the_oldest_upload_is_forgotten() -> None:
    store = UploadStore(kept=2)
    uploads = [Upload(Image.new("RGB", (16, 16), (shade, 0, 0)), ()) for shade in range(3)]
    tokens = [store.put(upload) for upload in uploads]
    assert len(set(tokens)) == 3 and min(map(len, tokens)) >= 20
    assert store.get(tokens[2]) is uploads[2]
    for unknown in (tokens[0], "", "../../etc/passwd"):
        with pytest.raises(InputError, match="upload it again"):
            store.get(unknown)


def test_no_limit_above_what_can_be_decoded(workspace: Path) -> None:
    with pytest.raises(InputError, match=r"params\.yaml, sample\.page\.upload_pixels"):
        PageSettings.load("sample", upload_pixels=10**9)
