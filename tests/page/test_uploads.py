"""Uploads: what is taken, what is refused and in which words, against files made for each case."""

import io
import zlib
from pathlib import Path

import numpy as np
import pytest
from page_world import draw_photo, encoded, png
from PIL import Image

from solesearch.core.errors import InputError
from solesearch.page.uploads import LARGEST_SIDE, PageSettings, Upload, UploadStore, read_upload, small_jpeg
from solesearch.photos.photo import load_pixels

SETTINGS = PageSettings(upload_megabytes=1, upload_pixels=1_000_000, uploads=2, decoders=1, most_answers=20)
UNREADABLE = "no photo that can be read"


def test_a_catalogue_photo_gives_the_catalogues_pixels(tmp_path: Path) -> None:
    photo = draw_photo("boots", 5)
    (tmp_path / "a.png").write_bytes(png(photo))
    upload = read_upload(png(photo), SETTINGS)
    for size, fit in (((64, 96), "stretch"), ((224, 224), "pad")):
        expected = load_pixels(tmp_path / "a.png", size=size, fit=fit)
        np.testing.assert_array_equal(upload.pixels(size, fit=fit), expected)
    assert upload.remarks == ()


def test_exif_rotation_is_honoured() -> None:
    upright = draw_photo("heels", 0)
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: the stored picture lies on its side
    upload = read_upload(encoded(Image.fromarray(np.rot90(upright).copy()), "PNG", exif=exif), SETTINGS)
    np.testing.assert_array_equal(np.asarray(upload.image), upright)
    assert upload.remarks == ("EXIF orientation 6: turned upright",)


@pytest.mark.parametrize(
    "data",
    [
        png(draw_photo("boots", 0))[:60],
        encoded(Image.fromarray(draw_photo("boots", 0)), "JPEG")[:-200],
        b"GIF89a",
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 50 50\nshowpage\n",  # Pillow would run Ghostscript
        b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>',
    ],
)
def test_what_is_no_whole_image_is_refused(data: bytes) -> None:
    with pytest.raises(InputError, match=UNREADABLE):
        read_upload(data, SETTINGS)


def test_empty_large_and_tiny() -> None:
    with pytest.raises(InputError, match="file is empty"):
        read_upload(b"", SETTINGS)
    with pytest.raises(InputError, match=r"larger than 1 MB"):
        read_upload(b"x" * 1_000_001, SETTINGS)
    with pytest.raises(InputError, match="too small: at least 16 pixels"):
        read_upload(png(draw_photo("boots", 0)[:15]), SETTINGS)


def test_a_bomb_is_refused_by_its_header(monkeypatch: pytest.MonkeyPatch) -> None:
    """A PNG of 30,000 x 30,000 pixels in a few bytes: refused, and no pixel is decoded."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        size, check = len(content).to_bytes(4), zlib.crc32(kind + content).to_bytes(4)
        return size + kind + content + check

    side = (30_000).to_bytes(4)
    header = chunk(b"IHDR", side + side + bytes([8, 2, 0, 0, 0]))
    bomb = b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    monkeypatch.setattr(Image.Image, "load", lambda _: pytest.fail("a pixel was decoded"))
    with pytest.raises(InputError, match="more than 1 megapixels"):
        read_upload(bomb, SETTINGS)
    monkeypatch.undo()
    with pytest.raises(InputError, match="more than 1 megapixels"):  # between Pillow's limit and ours
        read_upload(encoded(Image.new("L", (1001, 1000)), "PNG"), SETTINGS)


def test_of_an_animation_the_first_frame_counts_and_is_named() -> None:
    first, second = (Image.fromarray(draw_photo(label, 0)) for label in ("boots", "sandals"))
    moving = encoded(first, "WEBP", save_all=True, append_images=[second], lossless=True)
    upload = read_upload(moving, SETTINGS)
    np.testing.assert_array_equal(np.asarray(upload.image), np.asarray(first))
    assert upload.remarks == ("animated: 2 frames: first frame used",)


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


def test_the_shelf_forgets_the_oldest() -> None:
    store = UploadStore(kept=2)
    uploads = [Upload(Image.new("RGB", (16, 16), (shade, 0, 0)), ()) for shade in range(3)]
    tokens = [store.put(upload) for upload in uploads]
    assert len(set(tokens)) == 3 and min(map(len, tokens)) >= 20
    assert store.get(tokens[2]) is uploads[2]
    for unknown in (tokens[0], "", "../../etc/passwd"):
        with pytest.raises(InputError, match="upload it again"):
            store.get(unknown)


def test_settings(workspace: Path) -> None:
    assert PageSettings.load("sample").upload_pixels == 40_000_000
    with pytest.raises(InputError, match=r"params\.yaml, sample\.page\.upload_pixels"):
        PageSettings.load("sample", upload_pixels=10**9)
