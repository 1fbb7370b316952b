"""A trunk that starts from oriented gradients: HOG's first step as a fixed layer, then learned convolutions.

On catalogue photos a descriptor of edges, HOG (Dalal and Triggs 2005), beats every network of this size that
starts from pixels (notebook 06). This trunk is given what HOG sees, the strength of edges of nine directions
in cells of 4x4 pixels, each cell scaled by its neighbours, and learns from there. Images are in [-1, 1].
"""

from __future__ import annotations

import math
from typing import NamedTuple

import keras
import tensorflow as tf

DIRECTIONS = 9  # over 180 degrees, as HOG; a dark edge on white and a white one on dark are the same
CELL = 4  # pixels; HOG here has 8, but convolutions follow that widen what a unit sees
CONVOLUTIONS = ((64, 1), (128, 2), (192, 1), (256, 2))  # (filters, stride), 3x3; our choice
LAYERS = 1 + len(CONVOLUTIONS)  # of which methods of post-processing may pool: the cells are the first one
FAINT = 1e-8  # squared gradient below which a direction means nothing
QUIET = 1e-4  # squared strength of a neighbourhood that is taken for empty


class TrunkOutput(NamedTuple):
    """What `infogan.DiscriminatorOutput` gives, without its heads; b is the batch size."""

    features: tf.Tensor  # [b, d]: the last convolution, flattened; d = 6144 at 64x96
    activations: tuple[tf.Tensor, ...]  # the cells, then each convolution's block, [b, h_i, w_i, filters_i]


def oriented_gradients(images: tf.Tensor) -> tf.Tensor:
    """Return the edges of images [b, h, w, 3] by direction, float32 [b, ceil(h/4), ceil(w/4), 9].

    A gradient at an angle a off a direction counts by cos(a)^8, so that it falls smoothly into one or two of
    the nine. Each cell is divided by the root of the strength in its 3x3 cells.
    """
    grey = tf.reduce_mean((images + 1) / 2, axis=3, keepdims=True)
    grey = tf.pad(grey, [[0, 0], [1, 1], [1, 1], [0, 0]], mode="REFLECT")
    across = grey[:, 1:-1, 2:] - grey[:, 1:-1, :-2]
    down = grey[:, 2:, 1:-1] - grey[:, :-2, 1:-1]
    squared = tf.square(across) + tf.square(down) + FAINT
    angles = [math.pi * number / DIRECTIONS for number in range(DIRECTIONS)]
    axes = tf.constant([[[[math.cos(angle) for angle in angles], [math.sin(angle) for angle in angles]]]])
    along = tf.nn.conv2d(tf.concat([across, down], axis=3), axes, 1, "SAME")  # [b, h, w, 9]
    agreement = tf.square(tf.square(along) / squared)  # cos(a)^4
    cells = tf.nn.avg_pool2d(tf.sqrt(squared) * tf.square(agreement), CELL, CELL, "SAME")
    strength = tf.nn.avg_pool2d(tf.reduce_sum(tf.square(cells), axis=3, keepdims=True), 3, 1, "SAME")
    return cells / tf.sqrt(strength + QUIET)


class GradientTrunk(keras.Model):
    """Oriented gradients, then four 3x3 convolutions, each with batch norm and leaky ReLU; no heads."""

    fixed_layers = 1  # at the start of `activations`, which no convolution made

    def __init__(self, *, leak: float, norm_momentum: float):
        """Take leaky ReLU's slope in (0, 1) and the batch norms' momentum in [0, 1)."""
        super().__init__(name="gradient_trunk")
        self.convolutions, self.norms = [], []
        for filters, stride in CONVOLUTIONS:  # in turn, which is the order of the variables in a file
            self.convolutions.append(keras.layers.Conv2D(filters, 3, stride, padding="same", use_bias=False))
            self.norms.append(keras.layers.BatchNormalization(momentum=norm_momentum))
        self.leaky, self.flatten = keras.layers.LeakyReLU(negative_slope=leak), keras.layers.Flatten()

    def call(self, images: tf.Tensor, training: bool = False) -> TrunkOutput:
        """Run the trunk on images [b, h, w, 3] in [-1, 1]."""
        hidden = oriented_gradients(images)
        activations = [hidden]
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            hidden = self.leaky(norm(convolution(hidden), training=training))
            activations.append(hidden)
        return TrunkOutput(self.flatten(hidden), tuple(activations))


def build_gradient_trunk(
    image_size: tuple[int, int], *, leak: float, norm_momentum: float, seed: int
) -> GradientTrunk:
    """Return a trunk for images of (height, width) with weights drawn from `seed`."""
    keras.utils.set_random_seed(seed)
    trunk = GradientTrunk(leak=leak, norm_momentum=norm_momentum)
    trunk(tf.zeros((1, *image_size, 3)))
    return trunk
