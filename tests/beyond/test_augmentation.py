"""Changed copies of photos: worked crops and shifts, white that stays white, ranges, gradients, seeds."""

import numpy as np
import pytest
import tensorflow as tf

from solesearch.beyond import augmentation
from solesearch.beyond.variants import ContrastiveSettings, VariantSettings

SEED = tf.constant([3, 4])


@pytest.fixture
def settings(workspace) -> ContrastiveSettings:
    return VariantSettings.load("smoke").contrastive


@pytest.fixture
def images() -> tf.Tensor:
    return tf.random.stateless_uniform((5, 16, 24, 3), [1, 2], -1, 1)


def colours(*values: float) -> list[tf.Tensor]:
    return [tf.fill((1,), float(value)) for value in values]


def test_views_keep_shape_and_range_and_repeat(settings, images) -> None:
    first = augmentation.view(images, settings, seed=SEED)
    assert first.shape == images.shape
    assert -1 <= float(tf.reduce_min(first)) < float(tf.reduce_max(first)) <= 1
    np.testing.assert_array_equal(first, augmentation.view(images, settings, seed=SEED))
    other = augmentation.view(images, settings, seed=SEED + 1).numpy()
    assert (np.abs(first.numpy() - other).reshape(5, -1).max(axis=1) > 0).all()
    off = dict.fromkeys(("brightness", "contrast", "saturation", "channel_gain", "grey", "flip"), 0.0)
    settings = settings.replaced(crop_area=[1.0, 1.0], crop_aspect=1.0, **off)
    np.testing.assert_allclose(augmentation.view(images, settings, seed=SEED), images, atol=1e-5)


def test_a_crop_is_read_off_by_hand(images) -> None:
    """All of it, mirrored; the right half, 12 columns of 24 stretched over 24; white beyond the photo."""
    whole = images[:1]
    mirrored, half, beyond = (
        augmentation.crop(whole, tf.constant([box]))
        for box in ([0.0, 1.0, 1.0, 0.0], [0.0, 12 / 23, 1.0, 1.0], [-0.3, -0.2, 1.4, 1.2])
    )
    np.testing.assert_array_equal(mirrored, whole[:, :, ::-1])
    np.testing.assert_allclose(half[0, :, 0], whole[0, :, 12], atol=1e-5)
    np.testing.assert_allclose(half[0, :, -1], whole[0, :, 23], atol=1e-5)
    edges = (beyond[:, 0], beyond[:, -1], beyond[:, :, 0], beyond[:, :, -1])
    assert all((edge.numpy() == 1).all() for edge in edges) and float(beyond[0, 8, 12, 0]) < 1


def test_boxes_lie_inside_or_hold_the_photo(settings) -> None:
    draws = augmentation.draws(SEED, count=200, numbers=4)
    names = ("area", "aspect", "top", "left")
    for low, high in ((0.2, 0.6), (2.0, 3.0)):
        changed = settings.replaced(crop_area=[low, high], crop_aspect=1.25)
        boxes = augmentation.crop_boxes(changed, **dict(zip(names, draws, strict=True))).numpy()
        sides = boxes[:, 2:] - boxes[:, :2]
        area, ratio = sides.prod(axis=1), sides[:, 0] / sides[:, 1]
        assert low - 1e-4 <= area.min() < area.max() <= high + 1e-4
        assert 1 / 1.25 - 1e-4 <= ratio.min() < 0.95 and 1.05 < ratio.max() <= 1.25 + 1e-4
        inside = (boxes >= -1e-5) & (boxes <= 1 + 1e-5)
        assert inside.all() if high < 1 else not inside.any()


def test_jitter_against_a_plain_pixel(settings) -> None:
    """Draws of 1 take each factor to its end: light 1.4, spread 1.4, colour 1.4, gains 1.2."""
    image = np.full((1, 2, 2, 3), -0.5, np.float32)
    image[0, 0, 0] = (0.1, -0.3, -0.6)
    found = augmentation.jitter(tf.constant(image), settings, colours=colours(1, 1, 1, 1, 1, 1, 1))
    shares = (image.astype(float) + 1) / 2
    middle = shares.mean()
    pixel = shares[0, 0, 0]
    saturated = 1.4 * pixel - 0.4 * pixel.mean()
    wanted = np.clip(1.4 * 1.2 * (1.4 * saturated - 0.4 * middle), 0, 1) * 2 - 1
    np.testing.assert_allclose(found[0, 0, 0], wanted, atol=1e-5)


def test_grey_views_have_no_colour(settings, images) -> None:
    settings = settings.replaced(grey=1.0, channel_gain=0.0)
    view = augmentation.view(images, settings, seed=SEED).numpy()
    np.testing.assert_allclose(view.max(axis=3), view.min(axis=3), atol=1e-5)


def test_shift_moves_by_whole_pixels_and_uncovers_white() -> None:
    image = tf.reshape(tf.range(16 * 24 * 3, dtype=tf.float32), (1, 16, 24, 3))
    least, still, most = tf.zeros(1), tf.fill((1,), 0.5), tf.fill((1,), 0.999)
    np.testing.assert_array_equal(augmentation.shift(image, down=still, right=still), image)
    moved = augmentation.shift(image, down=least, right=most).numpy()  # 2 of 16 rows, 3 of 24 columns
    np.testing.assert_array_equal(moved[:, 2:, :-3], image[:, :-2, 3:])
    assert (moved[:, :2] == 1).all() and (moved[:, :, -3:] == 1).all()


def test_a_cut_box_has_half_the_sides_and_may_hang_over() -> None:
    image = tf.ones((3, 16, 24, 3))
    draw = tf.constant([0.0, 0.5, 0.999])
    kept = augmentation.cut_out(image, top=draw, left=draw).numpy()[..., 0]
    assert [int((one == 0).sum()) for one in kept] == [4 * 6, 8 * 12, 4 * 6]
    assert (kept[1, 4:12, 6:18] == 0).all() and kept[0, 0, 0] == 0 and kept[2, -1, -1] == 0


def test_recolour_against_a_plain_loop(images) -> None:
    draws = augmentation.draws(SEED, count=5, numbers=3)
    found = augmentation.recolour(images, *draws).numpy()
    for image, light, colour, spread, seen in zip(
        images.numpy().astype(float), *(one.numpy() for one in draws), found, strict=True
    ):
        wanted = image + light - 0.5
        grey = wanted.mean(axis=2, keepdims=True)
        wanted = (wanted - grey) * 2 * colour + grey
        wanted = (wanted - wanted.mean()) * (0.5 + spread) + wanted.mean()
        np.testing.assert_allclose(seen, wanted, atol=1e-5)


def test_gradients_flow_through_diff_augment(images) -> None:
    """Shift, colours and cut are linear in the image: the gradient tells which pixels are seen."""
    with tf.GradientTape() as tape:
        tape.watch(images)
        shown = augmentation.diff_augment(images, seed=SEED)
        total = tf.reduce_sum(shown**2)
    gradient = tape.gradient(total, images).numpy()
    assert np.isfinite(gradient).all() and (shown.numpy() == 0).any()
    for one in np.abs(gradient).max(axis=3):
        assert 0 < (one > 1e-3).mean() < 1, "all pixels are seen, or none"


def test_photos_are_turned_in_all_four_ways(images) -> None:
    many = tf.tile(images[:1], (64, 1, 1, 1))
    turned, turns = augmentation.turn(many, seed=SEED)
    photo = images[0].numpy()
    wanted = [photo, photo[:, ::-1], photo[::-1], photo[::-1, ::-1]]
    assert set(turns.numpy()) == {0, 1, 2, 3}
    for image, way in zip(turned.numpy(), turns.numpy(), strict=True):
        np.testing.assert_array_equal(image, wanted[way])
    np.testing.assert_array_equal(wanted[3], np.rot90(photo, 2))
