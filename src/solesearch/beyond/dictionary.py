"""A dictionary of gradient patches, learned without labels: k-means instead of a network.

Coates, Lee and Ng 2011 ("An Analysis of Single-Layer Networks in Unsupervised Feature Learning") cluster
whitened patches of pixels and describe an image by how near its patches are to each centre. Here the patches
are of oriented gradients (gradient_trunk.py), because edges say more of a catalogue's shoes than pixels do.
Two convolutions compute it, so it is a trunk like the others: it goes through the same methods of
post-processing and into the same kind of file.
"""

from __future__ import annotations

import time
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf
from sklearn.cluster import MiniBatchKMeans

from solesearch.beyond.gradient_trunk import DIRECTIONS, TrunkOutput, oriented_gradients
from solesearch.beyond.variants import DictionarySettings
from solesearch.core import files
from solesearch.core.errors import InputError
from solesearch.gan.embedder import in_batches
from solesearch.gan.trainer import TrainingFolder
from solesearch.photos.photo import to_signed

FLAT = 0.5  # Euclidean length below which a patch shows no edge; one that does has about 3


class Dictionary(NamedTuple):
    """What was learned, float32; d is the number of values of a patch, k that of the centres."""

    mean: np.ndarray  # [d]
    whitening: np.ndarray  # [d, d], symmetric
    centres: np.ndarray  # [k, d], of whitened patches


class DictionaryTrunk(keras.Model):
    """Oriented gradients, their patches whitened, and the nearness of each to every centre."""

    fixed_layers = 0  # the cells take no weights, the code those of both convolutions

    def __init__(self, settings: DictionarySettings):
        """Take the side of a patch in cells and the number of centres."""
        super().__init__(name="dictionary_trunk")
        values = settings.patch**2 * DIRECTIONS
        self.whiten = keras.layers.Conv2D(values, settings.patch, name="whiten")
        self.compare = keras.layers.Conv2D(settings.centres, 1, name="compare")
        self.convolutions, self.norms = [self.whiten, self.compare], []

    def call(self, images: tf.Tensor, training: bool = False) -> TrunkOutput:
        """Return the cells and the code [b, h, w, k] of images [b, h', w', 3] in [-1, 1].

        A code is max(0, mean distance to the centres less the distance to this one), the "triangle" of Coates
        et al.; its mean over each quarter of the photo is the vector that they classify by.
        """
        cells = oriented_gradients(images)
        patches = self.whiten(cells)
        lengths = tf.reduce_sum(tf.square(patches), axis=3, keepdims=True)
        distances = tf.sqrt(tf.nn.relu(self.compare(tf.concat([patches, lengths], axis=3))))
        centres = distances.shape[3]
        mean = tf.matmul(distances, tf.fill((centres, 1), 1.0 / centres))  # half the time of reduce_mean
        code = tf.nn.relu(mean - distances)
        _, height, width, depth = code.shape
        rows = [code[:, : height // 2], code[:, height // 2 :]]
        quarters = [part for row in rows for part in (row[:, :, : width // 2], row[:, :, width // 2 :])]
        features = tf.stack([tf.reduce_mean(quarter, axis=(1, 2)) for quarter in quarters], axis=1)
        return TrunkOutput(tf.reshape(features, (-1, 4 * depth)), (cells, code))

    def load(self, learned: Dictionary) -> DictionaryTrunk:
        """Take a dictionary: |x|^2 - 2 x . c + |c|^2, a squared distance, is the second convolution."""
        side = self.whiten.kernel.shape[0]
        kernel = learned.whitening.reshape(side, side, DIRECTIONS, -1)
        self.whiten.set_weights([kernel, -learned.mean @ learned.whitening])
        kernel = np.concatenate([-2 * learned.centres.T, np.ones((1, len(learned.centres)))])
        self.compare.set_weights([kernel[None, None], (learned.centres**2).sum(axis=1)])
        return self


def build_dictionary_trunk(
    image_size: tuple[int, int], settings: DictionarySettings, *, seed: int
) -> DictionaryTrunk:
    """Return a trunk for images of (height, width) with centres drawn from `seed` and nothing whitened."""
    trunk = DictionaryTrunk(settings)
    trunk(tf.zeros((1, *image_size, 3)))
    values = settings.patch**2 * DIRECTIONS
    centres = np.random.default_rng(seed).standard_normal((settings.centres, values))
    return trunk.load(Dictionary(np.zeros(values), np.eye(values), centres))


def draw_patches(pixels: np.ndarray, settings: DictionarySettings, *, seed: int) -> np.ndarray:
    """Return patches of oriented gradients, float32 [p, d], of photos uint8 [n, h, w, 3], drawn from `seed`.

    p is at most `settings.patches`. Raises InputError where too few of them show an edge.
    """
    draw, side = np.random.default_rng(seed), settings.patch
    kept = np.sort(draw.permutation(len(pixels))[: settings.photos or None])
    cells = in_batches(lambda batch: oriented_gradients(to_signed(batch)).numpy(), pixels[kept])
    windows = np.lib.stride_tricks.sliding_window_view(np.concatenate(cells), (side, side), axis=(1, 2))
    places = [draw.integers(length, size=2 * settings.patches) for length in windows.shape[:3]]
    patches = windows[tuple(places)].transpose(0, 2, 3, 1).reshape(len(places[0]), -1)
    patches = patches[np.linalg.norm(patches, axis=1) > FLAT][: settings.patches]
    if len(patches) < settings.centres:
        raise InputError(
            f"ladder.dictionary.centres: {settings.centres} of {len(patches)} patches that show an edge; "
            "lower it, or raise patches or photos"
        )
    return patches


def learn_dictionary(
    patches: np.ndarray, settings: DictionarySettings, *, seed: int
) -> tuple[Dictionary, float]:
    """Return the dictionary of patches [p, d] and its loss: the mean squared distance to the nearest centre.

    Whitened by ZCA (Bell and Sejnowski 1997) with `shrinkage` of the mean variance added to each.
    """
    mean = patches.mean(axis=0, dtype=np.float64)
    variances, axes = np.linalg.eigh(np.cov(patches - mean, rowvar=False))
    scales = 1 / np.sqrt(variances + settings.shrinkage * variances.mean())
    whitening = (axes * scales) @ axes.T
    whitened = ((patches - mean) @ whitening).astype(np.float32)
    means = MiniBatchKMeans(
        settings.centres,
        batch_size=min(settings.batch_size, len(patches)),
        max_iter=settings.epochs,
        max_no_improvement=None,  # its stop looks at a sum that threads add up in any order
        n_init=1,
        random_state=seed,
    ).fit(whitened)
    learned = (mean, whitening, means.cluster_centers_)
    return Dictionary(*(array.astype(np.float32) for array in learned)), means.inertia_ / len(whitened)


def learned_trunk(
    pixels: np.ndarray, settings: DictionarySettings, *, seed: int
) -> tuple[DictionaryTrunk, float]:
    """Return a trunk learned from training photos, uint8 [n, h, w, 3], and its loss; a minute at 64x96."""
    learned, loss = learn_dictionary(draw_patches(pixels, settings, seed=seed), settings, seed=seed)
    return build_dictionary_trunk(pixels.shape[1:3], settings, seed=seed).load(learned), loss


def train_dictionary(
    pixels: np.ndarray, settings: DictionarySettings, *, folder: TrainingFolder, seed: int
) -> DictionaryTrunk:
    """Learn from training photos, uint8 [n, h, w, 3], and log it in `folder` as one step."""
    started = time.monotonic()
    trunk, loss = learned_trunk(pixels, settings, seed=seed)
    with folder.opened_log(after=0) as log:
        log(settings.epochs, {"squared_distance": loss})
    files.write_json(folder.seconds_file, round(time.monotonic() - started, 1))
    return trunk
