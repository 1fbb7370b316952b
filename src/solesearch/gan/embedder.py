"""The proposed model at work: photos in, the discriminator's features out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import numpy as np

from solesearch.core.checkpoints import load_variables
from solesearch.photos.photo import to_signed

BATCH = 64


def in_batches(function: Callable[[np.ndarray], Any], values: np.ndarray) -> list[Any]:
    """Return what `function` gives for each batch of at most BATCH of values [n, ...], in their order."""
    return [function(values[start : start + BATCH]) for start in range(0, len(values), BATCH)]


class Embedder:
    """A discriminator whose weights can be exchanged, compiled once: photos in, features out."""

    def __init__(self, settings, *, seed: int):
        """Build the network of `settings` (GanSettings) with the weights that `seed` draws."""
        import tensorflow as tf

        from solesearch.gan.infogan import build_discriminator

        self.discriminator = build_discriminator(settings, seed=seed)
        signature = [tf.TensorSpec((None, *settings.image_size, 3), tf.float32)]
        self.features = tf.function(
            lambda images: self.discriminator(images, training=False).features, input_signature=signature
        )

    def load(self, weights: Path) -> Self:
        """Take the weights of a checkpoint and return itself; raises InputError when they do not fit."""
        load_variables(weights, self.discriminator.variables)
        return self

    def embed(self, pixels: np.ndarray) -> np.ndarray:
        """Return the features, float32 [n, d], of uint8 pixels [n, h, w, 3]; batch norm as at inference."""
        return np.concatenate(in_batches(lambda batch: self.features(to_signed(batch)), pixels))
