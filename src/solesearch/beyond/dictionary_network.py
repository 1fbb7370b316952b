"""A network that starts from the dictionary: its code stays, and two convolutions on top of it learn.

They learn from views of photos with VICReg (contrastive.py). What that adds shows the same network with the
two convolutions as drawn.
"""

from __future__ import annotations

import keras
import tensorflow as tf

from solesearch.beyond.dictionary import DictionaryTrunk
from solesearch.beyond.gradient_trunk import TrunkOutput

CONVOLUTIONS = ((64, 1), (128, 2))  # (filters, stride), 3x3; our choice


class DictionaryNetwork(keras.Model):
    """A dictionary's cells and code, then two 3x3 convolutions, each with batch norm and leaky ReLU."""

    fixed_layers = 0  # cells take no weights, the code those of two convolutions

    def __init__(self, dictionary: DictionaryTrunk, *, leak: float, norm_momentum: float):
        """Take the dictionary, which is trained no further, leaky ReLU's slope and the norms' momentum."""
        super().__init__(name="dictionary_network")
        dictionary.trainable = False
        self.dictionary, self.learned, self.norms = dictionary, [], []
        for filters, stride in CONVOLUTIONS:
            self.learned.append(keras.layers.Conv2D(filters, 3, stride, padding="same", use_bias=False))
            self.norms.append(keras.layers.BatchNormalization(momentum=norm_momentum))
        self.convolutions = [*dictionary.convolutions, *self.learned]
        self.leaky, self.flatten = keras.layers.LeakyReLU(negative_slope=leak), keras.layers.Flatten()

    def call(self, images: tf.Tensor, training: bool = False) -> TrunkOutput:
        """Run the network on images [b, h, w, 3] in [-1, 1]; features are its last block, flattened."""
        activations = [*self.dictionary(images).activations]
        for convolution, norm in zip(self.learned, self.norms, strict=True):
            activations.append(self.leaky(norm(convolution(activations[-1]), training=training)))
        return TrunkOutput(self.flatten(activations[-1]), tuple(activations))


def build_dictionary_network(
    dictionary: DictionaryTrunk, image_size: tuple[int, int], *, leak: float, norm_momentum: float, seed: int
) -> DictionaryNetwork:
    """Return a network for images of (height, width), its two convolutions drawn from `seed`."""
    keras.utils.set_random_seed(seed)
    network = DictionaryNetwork(dictionary, leak=leak, norm_momentum=norm_momentum)
    network(tf.zeros((1, *image_size, 3)))
    return network
