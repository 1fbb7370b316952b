"""Changed copies of photos: views for contrastive training, DiffAugment, and photos turned about.

Images are float32 in [-1, 1], [b, h, w, 3]. Catalogue photos lie on white, so what a crop or shift uncovers
is white, too. Every draw is stateless, from an int tensor `seed` [2]: the same seed gives the same copy, and
a resumed training sees what the uninterrupted one would have seen. All work on a whole batch at once.
"""

from __future__ import annotations

import math

import tensorflow as tf

from solesearch.beyond.variants import ContrastiveSettings

WHITE = 1.0
TURNS = 4  # as photographed, mirrored left-right, mirrored top-bottom, both (turned by 180 degrees)
LARGEST_SHIFT = 1 / 8  # DiffAugment: of height and width
CUTOUT = 1 / 2  # DiffAugment: of height and width


def draws(seed: tf.Tensor, *, count: tf.Tensor | int, numbers: int) -> list[tf.Tensor]:
    """Return `numbers` uniform draws in [0, 1) for each of `count` images, each float32 [count]."""
    return tf.unstack(tf.random.stateless_uniform((count, numbers), seed), num=numbers, axis=1)


def between(draw: tf.Tensor, low: float, high: float) -> tf.Tensor:
    """Map draws in [0, 1) to [low, high)."""
    return low + (high - low) * draw


def _per_image(values: tf.Tensor) -> tf.Tensor:
    return values[:, None, None, None]


# --- views -----------------------------------------------------------------------------------------------


def view(images: tf.Tensor, settings: ContrastiveSettings, *, seed: tf.Tensor) -> tf.Tensor:
    """Return a view of each image, [b, h, w, 3] in [-1, 1]: crop, mirror, colours (SimCLR, section 3)."""
    area, aspect, top, left, mirror, *colours = draws(seed, count=tf.shape(images)[0], numbers=12)
    boxes = crop_boxes(settings, area=area, aspect=aspect, top=top, left=left)
    boxes = tf.where((mirror < settings.flip)[:, None], tf.gather(boxes, [0, 3, 2, 1], axis=1), boxes)
    return jitter(crop(images, boxes), settings, colours=colours)


def crop_boxes(
    settings: ContrastiveSettings, *, area: tf.Tensor, aspect: tf.Tensor, top: tf.Tensor, left: tf.Tensor
) -> tf.Tensor:
    """Return boxes [b, 4]: top, left, bottom, right as shares of the photo, from draws in [0, 1), each [b].

    A box smaller than the photo lies inside it; a larger one holds it, with white around.
    """
    stretch = tf.exp(between(aspect, -1.0, 1.0) * (math.log(settings.crop_aspect) / 2))
    side = tf.sqrt(between(area, *settings.crop_area))
    height, width = side * stretch, side / stretch
    first_row, first_column = top * (1 - height), left * (1 - width)
    return tf.stack([first_row, first_column, first_row + height, first_column + width], axis=1)


def crop(images: tf.Tensor, boxes: tf.Tensor) -> tf.Tensor:
    """Cut boxes [b, 4] out of images [b, h, w, 3] and resize them bilinearly to h x w; white outside.

    A box whose left lies right of its right gives the mirror image, at no further cost.
    """
    height, width = images.shape[1:3]
    rows = tf.range(tf.shape(images)[0])
    return tf.image.crop_and_resize(images, boxes, rows, (height, width), extrapolation_value=WHITE)


def jitter(images: tf.Tensor, settings: ContrastiveSettings, *, colours: list[tf.Tensor]) -> tf.Tensor:
    """Change brightness, contrast, saturation and the channels' gains of each image, clipped to [-1, 1].

    `colours` are seven draws in [0, 1), each [b]: brightness, contrast, saturation, the three gains, and
    whether the image turns grey. All are linear in the pixels, so the three sums below do them at once.
    """
    brightness, contrast, saturation, *gains, becomes_grey = colours
    light = _per_image(between(brightness, 1 - settings.brightness, 1 + settings.brightness))
    spread = _per_image(between(contrast, 1 - settings.contrast, 1 + settings.contrast))
    colour = between(saturation, 1 - settings.saturation, 1 + settings.saturation)
    colour = _per_image(tf.where(becomes_grey < settings.grey, tf.zeros_like(colour), colour))
    gain = between(tf.stack(gains, axis=1), 1 - settings.channel_gain, 1 + settings.channel_gain)
    shares = (images + 1) / 2  # the usual range of these changes
    grey = tf.reduce_mean(shares, axis=3, keepdims=True)
    middle = tf.reduce_mean(grey, axis=(1, 2), keepdims=True)
    changed = spread * (colour * shares + (1 - colour) * grey) + (1 - spread) * middle
    return tf.clip_by_value(light * gain[:, None, None, :] * changed, 0, 1) * 2 - 1


# --- DiffAugment -----------------------------------------------------------------------------------------


def diff_augment(images: tf.Tensor, *, seed: tf.Tensor) -> tf.Tensor:
    """Return images shifted, changed in colour and with a box cut out; gradients flow through all of it.

    DiffAugment with the policies colour, translation, cutout (Zhao et al. 2020), whose ranges these are.
    Shifted first, so that the uncovered edge, white here, takes part in the change of colour. As published,
    nothing is clipped: values reach beyond [-1, 1], and no gradient is lost there.
    """
    down, right, *colours, top, left = draws(seed, count=tf.shape(images)[0], numbers=7)
    return cut_out(recolour(shift(images, down=down, right=right), *colours), top=top, left=left)


def shift(images: tf.Tensor, *, down: tf.Tensor, right: tf.Tensor) -> tf.Tensor:
    """Move each image by up to LARGEST_SHIFT of its size, by draws `down`, `right` in [0, 1), each [b]."""
    moved = images
    for axis, draw in ((1, down), (2, right)):
        size = images.shape[axis]
        most = round(size * LARGEST_SHIFT)
        padding = [[most, most] if number == axis else [0, 0] for number in range(4)]
        first = tf.cast(tf.floor(draw * (2 * most + 1)), tf.int32)
        places = first[:, None] + tf.range(size)[None, :]
        moved = tf.gather(tf.pad(moved, padding, constant_values=WHITE), places, axis=axis, batch_dims=1)
    return moved


def recolour(
    images: tf.Tensor, brightness: tf.Tensor, saturation: tf.Tensor, contrast: tf.Tensor
) -> tf.Tensor:
    """Add -.5 to .5, scale the distance from grey by 0 to 2 and that from the image's mean by .5 to 1.5."""
    changed = images + _per_image(between(brightness, -0.5, 0.5))
    grey = tf.reduce_mean(changed, axis=3, keepdims=True)
    changed = (changed - grey) * _per_image(between(saturation, 0.0, 2.0)) + grey
    middle = tf.reduce_mean(changed, axis=(1, 2, 3), keepdims=True)
    return (changed - middle) * _per_image(between(contrast, 0.5, 1.5)) + middle


def cut_out(images: tf.Tensor, *, top: tf.Tensor, left: tf.Tensor) -> tf.Tensor:
    """Set a box of CUTOUT of height and width to 0 (grey); its centre may lie anywhere on the image."""
    inside = []
    for axis, draw in ((1, top), (2, left)):
        size = images.shape[axis]
        length = round(size * CUTOUT)
        first = tf.floor(draw * (size + 1 - length % 2)) - length // 2
        places = tf.range(size, dtype=tf.float32)[None, :] - first[:, None]
        inside.append((places >= 0) & (places < length))
    box = inside[0][:, :, None] & inside[1][:, None, :]
    return images * tf.cast(~box, images.dtype)[..., None]


# --- turned about ----------------------------------------------------------------------------------------


def turn(images: tf.Tensor, *, seed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Return the images turned about at random [b, h, w, 3], and how: int32 [b], below TURNS.

    Each is turned by 180 degrees, mirrored left-right or top-bottom, or left as it is.

    Chen et al. (2019) turn by 0, 90, 180 and 270 degrees; a quarter turn does not fit 64x96, and padding to a
    square would show the network another shape. Shoes of a catalogue all point to one side, so all four can
    be told apart; handbags look alike mirrored, and half of the task is guessing there.
    """
    turns = tf.random.stateless_uniform((tf.shape(images)[0],), seed, 0, TURNS, tf.int32)
    mirrored = tf.where(_per_image(turns % 2 == 1), tf.reverse(images, [2]), images)
    return tf.where(_per_image(turns >= 2), tf.reverse(mirrored, [1]), mirrored), turns
