"""fit: object cuts a photo down to what it shows, whatever its frame; stretch and pad stay as they were."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFilter

from solesearch.photos.photo import (
    IMAGE_SIZES,
    PhotoLimits,
    border_colour,
    find_object,
    fit_to,
    load_pixels,
    object_mask,
    open_checked,
)

SIZE = (64, 96)  # height, width


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


def test_a_shadow_that_touches_widens_the_box_by_its_clear_part_alone() -> None:
    pixels = np.array(shoe()).astype(int)
    fade = np.linspace(60, 0, 60).astype(int)  # a shadow that runs out to the right of the sole
    pixels[130:140, 120:168] -= fade[:48, None]
    box, _ = find_object(Image.fromarray(pixels.astype(np.uint8)))
    first_faint = 120 + int(np.argmax(fade <= 12))
    assert box == (40, 90, first_faint, 140)


def test_pale_objects_are_whole() -> None:
    """A white shoe on white: pale inside, a clear edge; the pale part that hangs on it counts."""
    image = shoe(colour=(238, 238, 238))
    draw = ImageDraw.Draw(image)
    draw.rectangle((40, 138, 119, 139), fill=(150, 150, 150))  # the sole
    assert find_object(image)[0] == (40, 90, 120, 140)


def test_two_shoes_are_one_object() -> None:
    image = shoe(frame=(300, 300), at=(20, 40))
    image.paste(shoe(frame=(80, 50), at=(0, 0)), (200, 200))
    assert find_object(image)[0] == (20, 40, 280, 250)


@pytest.mark.parametrize(
    "image",
    [
        Image.new("RGB", (168, 224), "white"),
        Image.new("RGB", (168, 224), (245, 246, 244)),
        Image.fromarray(np.random.default_rng(0).integers(248, 256, (224, 168, 3), dtype=np.uint8)),
        Image.new("RGB", (1, 1), "black"),
        Image.new("RGB", (3, 300), "black"),
    ],
)
def test_nothing_to_see_keeps_the_whole_photo(image: Image.Image) -> None:
    assert find_object(image)[0] == (0, 0, *image.size)
    assert fitted(image).shape == (*SIZE, 3)


def test_a_dot_is_no_object() -> None:
    image = Image.new("RGB", (168, 224), "white")
    ImageDraw.Draw(image).rectangle((80, 80, 90, 90), fill="black")
    assert find_object(image)[0] == (0, 0, 168, 224)


def test_without_an_even_background_everything_stays() -> None:
    pixels = np.random.default_rng(3).integers(0, 256, (224, 168, 3), dtype=np.uint8)
    assert find_object(Image.fromarray(pixels))[0] == (0, 0, 168, 224)


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


def test_the_mask_is_the_shape() -> None:
    pixels = np.asarray(shoe())
    mask, background = object_mask(pixels)
    assert np.array_equal(mask, (pixels != 255).any(axis=2))
    assert background.tolist() == [255, 255, 255] and background.dtype == np.uint8


def test_a_damaged_photo_is_refused_before_it_is_fitted(tmp_path: Path) -> None:
    shoe().save(tmp_path / "shoe.jpg")
    data = (tmp_path / "shoe.jpg").read_bytes()
    with pytest.raises(ValueError, match="unreadable"):
        open_checked(data[: len(data) // 2], limits=PhotoLimits(min_side=16, max_pixels=10**6))


@pytest.mark.parametrize(
    ("fit", "digest"),
    [("stretch", "bb2dc5b49ad38b30"), ("pad", "521452676a5ae6d0")],
)
def test_the_other_fits_give_the_bytes_they_always_gave(fit: str, digest: str) -> None:
    pixels = fit_to(shoe(), size=SIZE, fit=fit)
    assert hashlib.sha256(pixels.tobytes()).hexdigest()[:16] == digest
