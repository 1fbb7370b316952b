"""Contrastive training: two views of a photo should lie near each other, views of other photos far away.

The loss is NT-Xent of SimCLR (Chen et al. 2020, "A simple framework for contrastive learning of visual
representations", eq. 1), or VICReg's (Bardes, Ponce and LeCun 2022), which holds no view against other
photos, so that small batches do. `ContrastiveTrunk` trains the discriminator's convolutions with it and no
generator at all, so that the ablation shows what the adversary adds; it trains other trunks as well.
"""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf

from solesearch.beyond.augmentation import view
from solesearch.beyond.variants import ContrastiveSettings
from solesearch.core.settings import GanSettings
from solesearch.gan.infogan import update

VIEW_SEEDS = (2**28, 2**29)  # beside the latent's draws, which use 0 and 2**30
FAR = 1e9  # taken off a view's similarity to itself
VICREG_FLOOR = 1e-4  # added to a variance before its root, as there


def nt_xent(first: tf.Tensor, second: tf.Tensor, *, temperature: float) -> tf.Tensor:
    """Return the mean NT-Xent loss [] of projections [b, p]; row i of both comes from photo i.

    Each of the 2b projections, at unit length, must pick its partner among the other 2b - 1 by cosine over
    `temperature`. ln(2b - 1) means that nothing was learned.
    """
    both = tf.math.l2_normalize(tf.concat([first, second], axis=0), axis=1)
    count = tf.shape(both)[0]
    similarity = tf.matmul(both, both, transpose_b=True) / temperature - FAR * tf.eye(count)
    partner = tf.math.floormod(tf.range(count) + count // 2, count)
    return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(partner, similarity))


def vicreg(first: tf.Tensor, second: tf.Tensor) -> tf.Tensor:
    """Return VICReg's loss [] of projections [b, p] (eq. 6, weights as there); row i of both is one photo's.

    Views agree (invariance), each value spreads by 1 at least (variance), no two tell the same (covariance).
    """
    invariance = tf.reduce_mean(tf.square(first - second))
    count, values = tf.cast(tf.shape(first)[0], tf.float32), first.shape[1]
    variance = covariance = 0.0
    for projected in (first, second):
        centred = projected - tf.reduce_mean(projected, axis=0)
        table = tf.matmul(centred, centred, transpose_a=True) / (count - 1)  # [p, p]
        spread = tf.sqrt(tf.linalg.diag_part(table) + VICREG_FLOOR)
        variance += tf.reduce_mean(tf.nn.relu(1 - spread)) / 2
        covariance += tf.reduce_sum(tf.square(tf.linalg.set_diag(table, tf.zeros(values)))) / values
    return 25 * invariance + 25 * variance + covariance


def projection_head(settings: ContrastiveSettings, *, features: int, seed: int) -> keras.Sequential:
    """Return the head [b, features] -> [b, projection] that only training uses (SimCLR, section 2.1)."""
    keras.utils.set_random_seed(seed)
    hidden = keras.layers.Dense(settings.hidden, activation="relu")
    return keras.Sequential([keras.Input((features,)), hidden, keras.layers.Dense(settings.projection)])


def two_views(images: tf.Tensor, settings: ContrastiveSettings, *, seed: tf.Tensor) -> tf.Tensor:
    """Return two views of each image, [2b, h, w, 3]: all first ones, then all second ones."""
    seeds = (seed + tf.constant([0, offset]) for offset in VIEW_SEEDS)
    return tf.concat([view(images, settings, seed=one) for one in seeds], axis=0)


def contrastive_loss(
    head, features: tf.Tensor, settings: ContrastiveSettings, *, name: str = "nt_xent"
) -> tf.Tensor:
    """Return the loss [] called `name` of the features [2b, d] of `two_views`, projected by `head`."""
    first, second = tf.split(head(features), 2)
    return (
        vicreg(first, second)
        if name == "vicreg"
        else nt_xent(first, second, temperature=settings.temperature)
    )


class ContrastiveTrunk:
    """A trunk with a projection head, and nothing else, trained on views of photos."""

    def __init__(
        self,
        settings: GanSettings,
        contrastive: ContrastiveSettings,
        *,
        trunk,
        seed: int,
        loss: str = "nt_xent",
    ):
        """Take the trunk, whose call gives `.features`; the head's weights are drawn from `seed`.

        It may be a discriminator: its two heads are left as they are. `loss`: nt_xent or vicreg.
        """
        self.settings, self.contrastive, self.seed, self.network = settings, contrastive, seed, trunk
        self.loss = loss
        for norm in trunk.norms:
            norm.momentum = contrastive.norm_momentum
        features = trunk(tf.zeros((1, *settings.image_size, 3))).features.shape[1]
        self.head = projection_head(contrastive, features=features, seed=seed)
        cosine = keras.optimizers.schedules.CosineDecay(contrastive.learning_rate, contrastive.steps)
        self.optimizer = keras.optimizers.Adam(cosine)  # SimCLR: LARS, for batches of thousands
        self.steps_done = keras.Variable(0, dtype="int32", trainable=False, name="steps_done")
        layers = (*trunk.convolutions, *trunk.norms, self.head)
        self.trained = [variable for layer in layers for variable in layer.trainable_variables]
        self.optimizer.build(self.trained)

    def state_variables(self) -> list[keras.Variable]:
        """Return every variable a resumed run needs."""
        return [self.steps_done, *self.network.variables, *self.head.variables, *self.optimizer.variables]

    def train_step(self, images: tf.Tensor) -> dict[str, tf.Tensor]:
        """Update the trunk once on real images [b, h, w, 3] in [-1, 1]; return the loss []."""
        seed = tf.stack([self.seed, tf.cast(self.steps_done.value, tf.int32)])
        views = two_views(images, self.contrastive, seed=seed)
        with tf.GradientTape() as tape:
            features = self.network(views, training=True).features
            loss = contrastive_loss(self.head, features, self.contrastive, name=self.loss)
        update(tape, loss, self.trained, self.optimizer)
        self.steps_done.assign_add(1)
        return {"contrastive": loss}

    def trunk(self) -> list[np.ndarray]:
        """Return the values of the trunk's variables, in their order."""
        return [variable.numpy() for variable in self.network.variables]
