"""The InfoGAN of P Table I and C Table 8.1: generator, discriminator with the code head Q, one training step.

Images are float32 in [-1, 1], shape [batch, height, width, 3]; heights come first everywhere.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import keras
import tensorflow as tf

from solesearch.core.settings import GanSettings

# (filters, stride) of the discriminator's 3x3 convolutions, P Table I.
DISCRIMINATOR_CONVOLUTIONS = ((16, 2), (32, 1), (64, 2), (128, 1), (256, 2), (16, 1))
# Filters of the generator's 3x3 transposed convolutions, P Table I; the last one makes the image.
GENERATOR_FILTERS = (128, 64, 32, 16, 16, 3)
GENERATOR_START_DEPTH = 256  # P Table I: dense 4 x 6 x 256
DOUBLINGS = 4  # from 4x6 to 64x96


class DiscriminatorOutput(NamedTuple):
    """All that one pass through the shared trunk gives; b is the batch size."""

    logit: tf.Tensor  # [b, 1], above 0: "real" (P prints a sigmoid; it lives in the loss)
    code: tf.Tensor  # [b, code_size]: continuous in (-1, 1) first, then categorical logits
    features: tf.Tensor  # [b, d]: the last convolution, flattened; d = 1536 at 64x96
    activations: tuple[tf.Tensor, ...]  # each convolution's block, [b, h_i, w_i, filters_i]


class Discriminator(keras.Model):
    """P Table I, discriminator column: six 3x3 convolutions, then a real/fake head and the code head Q.

    Each block is convolution, batch norm (not in the first), leaky ReLU, dropout (not after the last).
    """

    def __init__(self, *, continuous_codes: int, categorical_codes: int, leak: float, dropout: float):
        """Take the number of codes, leaky ReLU's slope in (0, 1) and the share dropped in [0, 1)."""
        super().__init__(name="discriminator")
        self.convolutions, self.norms, self.dropouts = [], [], []
        for number, (filters, stride) in enumerate(DISCRIMINATOR_CONVOLUTIONS, start=1):
            self.convolutions.append(
                keras.layers.Conv2D(filters, 3, stride, padding="same", name=f"convolution_{number}")
            )
            if number > 1:
                self.norms.append(keras.layers.BatchNormalization(name=f"norm_{number}"))
            if number < len(DISCRIMINATOR_CONVOLUTIONS):
                self.dropouts.append(keras.layers.Dropout(dropout, name=f"dropout_{number}"))
        self.leaky = keras.layers.LeakyReLU(negative_slope=leak, name="leaky")
        self.flatten = keras.layers.Flatten(name="features")
        self.real_head = keras.layers.Dense(1, dtype="float32", name="real")
        self.code_head = keras.layers.Dense(
            continuous_codes + categorical_codes, dtype="float32", name="code"
        )
        self.continuous_codes = continuous_codes

    def call(self, images: tf.Tensor, training: bool = False) -> DiscriminatorOutput:
        """Run the trunk and both heads on images [b, h, w, 3] in [-1, 1]."""
        hidden, activations = images, []
        for position, convolution in enumerate(self.convolutions):
            hidden = convolution(hidden)
            if position > 0:
                hidden = self.norms[position - 1](hidden, training=training)
            hidden = self.leaky(hidden)
            activations.append(hidden)
            if position < len(self.dropouts):
                hidden = self.dropouts[position](hidden, training=training)
        features = self.flatten(hidden)
        code = self.code_head(features)
        code = tf.concat(
            [tf.tanh(code[:, : self.continuous_codes]), code[:, self.continuous_codes :]], axis=1
        )
        return DiscriminatorOutput(self.real_head(features), code, features, tuple(activations))


def build_discriminator(settings: GanSettings, *, seed: int) -> Discriminator:
    """Return a discriminator with weights drawn from `seed`."""
    keras.utils.set_random_seed(seed)
    discriminator = Discriminator(
        continuous_codes=settings.continuous_codes,
        categorical_codes=settings.categorical_codes,
        leak=settings.leak,
        dropout=settings.discriminator_dropout,
    )
    discriminator(tf.zeros((1, *settings.image_size, 3)))
    return discriminator


class DoublingConvolution(keras.layers.Layer):
    """Nearest-neighbour doubling followed by a 3x3 stride-1 transposed convolution, in one pass.

    Doubling is itself a transposed convolution with a 2x2 kernel of ones and stride 2, and two linear maps
    in a row are one: the 3x3 kernel, summed over the four 2x2 shifts, gives a 4x4 kernel of stride 2 with
    the same output to rounding and 16 instead of 36 multiplications an input pixel.
    """

    def __init__(self, filters: int, *, name: str):
        """Take the number of output channels."""
        super().__init__(name=name)
        self.filters = filters

    def build(self, shape: tuple[int | None, ...]) -> None:
        """Make the 3x3 kernel for inputs [b, h, w, channels]."""
        self.kernel = self.add_weight(
            shape=(3, 3, self.filters, shape[-1]), initializer="glorot_uniform", name="kernel"
        )

    def call(self, hidden: tf.Tensor) -> tf.Tensor:
        """Map [b, h, w, channels] to [b, 2h, 2w, filters]."""
        padded = tf.pad(tf.convert_to_tensor(self.kernel), [[1, 1], [1, 1], [0, 0], [0, 0]])
        kernel = padded[1:, 1:] + padded[:-1, 1:] + padded[1:, :-1] + padded[:-1, :-1]
        shape = (tf.shape(hidden)[0], hidden.shape[1] * 2, hidden.shape[2] * 2, self.filters)
        return tf.nn.conv2d_transpose(hidden, kernel, shape, strides=2, padding="SAME")


def build_generator(settings: GanSettings, *, seed: int) -> keras.Model:
    """Return the generator: [b, noise + code] -> images [b, h, w, 3] in (-1, 1), P Table I.

    P prints "stride 1" throughout, which never grows a 4x6 map to an image. Two readings: `resize` doubles
    by nearest neighbour before each of the first four stride-1 convolutions (as the public implementation
    marcbelmont/gan-image-similarity does), `stride` gives those four a stride of 2.
    """
    keras.utils.set_random_seed(seed)
    height, width = settings.image_size
    grid = (math.ceil(height / 2**DOUBLINGS), math.ceil(width / 2**DOUBLINGS), GENERATOR_START_DEPTH)
    latent = keras.Input((settings.noise + settings.code_size,), name="latent")
    hidden = keras.layers.Dense(math.prod(grid), use_bias=False, name="dense")(latent)
    hidden = _generator_activation(hidden, settings, "start")
    hidden = keras.layers.Reshape(grid, name="grid")(hidden)
    for position, filters in enumerate(GENERATOR_FILTERS):
        hidden = _generator_block(hidden, settings, position=position, filters=filters)
    excess = (hidden.shape[1] - height, hidden.shape[2] - width)
    if any(excess):  # 207 is no multiple of 16: draw 208 and cut the last row and column
        hidden = keras.layers.Cropping2D(((0, excess[0]), (0, excess[1])), dtype="float32", name="crop")(
            hidden
        )
    return keras.Model(latent, hidden, name="generator")


def _generator_block(hidden, settings: GanSettings, *, position: int, filters: int):
    doubles, last, name = position < DOUBLINGS, filters == 3, f"transposed_{position + 1}"
    if doubles and settings.upsampling == "resize":
        hidden = DoublingConvolution(filters, name=name)(hidden)
    else:
        hidden = keras.layers.Conv2DTranspose(
            filters, 3, 2 if doubles else 1, padding="same", use_bias=last, name=name
        )(hidden)
    if last:  # P prints dropout after the output too; on an image that is noise, so none here
        return keras.layers.Activation("tanh", dtype="float32", name="image")(hidden)
    return _generator_activation(hidden, settings, str(position + 1))


def _generator_activation(hidden, settings: GanSettings, suffix: str):
    hidden = keras.layers.BatchNormalization(name=f"norm_{suffix}")(hidden)
    hidden = keras.layers.ReLU(name=f"relu_{suffix}")(hidden)
    if settings.generator_keep_probability < 1:
        rate = 1 - settings.generator_keep_probability
        hidden = keras.layers.Dropout(rate, name=f"dropout_{suffix}")(hidden)
    return hidden


def sample_latent(settings: GanSettings, *, count: int, seed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Draw noise ~ U(-1, 1) [count, noise] and code [count, code_size].

    `seed` is an int tensor [2]; the draw is stateless, so a resumed run continues with the same numbers.
    Continuous codes ~ U(-1, 1), the categorical code is one-hot and uniform (the prior is not in P; ours).
    """
    parts = [
        tf.random.stateless_uniform((count, settings.noise + settings.continuous_codes), seed, -1.0, 1.0)
    ]
    if settings.categorical_codes:
        classes = tf.random.stateless_uniform(
            (count,), seed + tf.constant([0, 2**30]), 0, settings.categorical_codes, tf.int32
        )
        parts.append(tf.one_hot(classes, settings.categorical_codes))
    latent = tf.concat(parts, axis=1)
    return latent, latent[:, settings.noise :]


def adversarial_loss(logit: tf.Tensor, *, real: bool) -> tf.Tensor:
    """Return the mean sigmoid cross-entropy [] of logits [b, 1] against "real" or "fake" (P eq. 1)."""
    labels = tf.ones_like(logit) if real else tf.zeros_like(logit)
    return tf.reduce_mean(tf.nn.sigmoid_cross_entropy_with_logits(labels=labels, logits=logit))


def information_loss(settings: GanSettings, *, code: tf.Tensor, prediction: tf.Tensor) -> tf.Tensor:
    """Return minus the mutual-information bound up to constants, [] (P eqs. 2-3, InfoGAN section 4).

    Continuous codes: mean squared error, a Gaussian Q of fixed variance; 1/3 means that Q knows nothing
    of a U(-1, 1) code. Categorical code: cross-entropy; ln(classes) means nothing.
    """
    split, loss = settings.continuous_codes, tf.constant(0.0)
    if settings.continuous_codes:
        loss += tf.reduce_mean(tf.square(code[:, :split] - prediction[:, :split]))
    if settings.categorical_codes:
        loss += tf.reduce_mean(
            tf.nn.softmax_cross_entropy_with_logits(labels=code[:, split:], logits=prediction[:, split:])
        )
    return loss


def make_optimizer(settings: GanSettings, learning_rate: float) -> keras.optimizers.Optimizer:
    """Return Adam, which in half precision takes the scale of the loss back out of its gradients."""
    adam = keras.optimizers.Adam(learning_rate, beta_1=settings.beta_1)
    return keras.optimizers.LossScaleOptimizer(adam) if settings.mixed_precision else adam


def update(tape: tf.GradientTape, loss: tf.Tensor, variables: list[keras.Variable], optimizer) -> None:
    """Let the optimiser take one step on `variables`, down the gradient of a loss that `tape` has watched."""
    optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))


@contextmanager
def computing_in(policy: str) -> Iterator[None]:
    """Let the layers that are built inside compute as a Keras policy says: float32 or mixed_float16."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


class InfoGan(keras.Model):
    """Both networks and their optimisers; `trainer.train` repeats `train_step`.

    One generator pass per step serves both updates (a plain loop makes the fakes twice): D's gradient
    treats them as data, G's flows through them. Losses are non-saturating (Goodfellow et al. 2014, 3).
    """

    def __init__(self, settings: GanSettings, *, seed: int):
        """Build both networks from `seed`; the same seed gives the same weights."""
        super().__init__(name="infogan")
        self.settings, self.seed = settings, seed
        with computing_in("mixed_float16" if settings.mixed_precision else "float32"):
            self.discriminator = build_discriminator(settings, seed=seed)
            self.generator = build_generator(settings, seed=seed)
        self.discriminator_optimizer = make_optimizer(settings, settings.discriminator_learning_rate)
        self.generator_optimizer = make_optimizer(settings, settings.generator_learning_rate)
        self.steps_done = self.add_weight(
            shape=(),
            initializer="zeros",
            dtype="int32",
            trainable=False,
            aggregation="only_first_replica",
            name="steps_done",
        )
        self.discriminator_optimizer.build(self.discriminator.trainable_variables)
        self.generator_optimizer.build(self.generator.trainable_variables)
        self.built = True

    def state_variables(self) -> list[keras.Variable]:
        """Return every variable a resumed run needs: weights, moving statistics, seeds, Adam's moments."""
        return [
            self.steps_done,
            *self.discriminator.variables,
            *self.generator.variables,
            *self.discriminator_optimizer.variables,
            *self.generator_optimizer.variables,
        ]

    def generate(self, *, count: int, seed: int) -> tf.Tensor:
        """Return `count` images [count, h, w, 3] in (-1, 1) from a latent drawn from `seed`."""
        latent, _ = sample_latent(self.settings, count=count, seed=tf.constant([seed, -1]))
        return self.generator(latent, training=False)

    def train_step(self, images: tf.Tensor) -> dict[str, tf.Tensor]:
        """Update D, Q and G once on real images [b, h, w, 3]; return the four losses, each []."""
        weight, replicas = self.settings.information_weight, self.distribute_strategy.num_replicas_in_sync
        latent, code = sample_latent(self.settings, count=tf.shape(images)[0], seed=self.step_seed())
        with tf.GradientTape(persistent=True) as tape:
            fake = self.generator(latent, training=True)
            on_real = self.discriminator(images, training=True)
            on_fake = self.discriminator(fake, training=True)
            d_real = adversarial_loss(on_real.logit, real=True)
            d_fake = adversarial_loss(on_fake.logit, real=False)
            generator = adversarial_loss(on_fake.logit, real=True)
            information = information_loss(self.settings, code=code, prediction=on_fake.code)
            # gradients are summed over replicas, so each brings its share of the mean
            d_total = (d_real + d_fake + weight * information) / replicas
            g_total = (generator + weight * information) / replicas
            # in half precision small gradients would vanish; in single precision nothing is scaled
            d_total = self.discriminator_optimizer.scale_loss(d_total)
            g_total = self.generator_optimizer.scale_loss(g_total)
        update(tape, d_total, self.discriminator.trainable_variables, self.discriminator_optimizer)
        update(tape, g_total, self.generator.trainable_variables, self.generator_optimizer)
        self.steps_done.assign_add(1)
        return {
            "d_real": d_real,
            "d_fake": d_fake,
            "generator": generator,
            "mutual_information": information,
        }

    def step_seed(self) -> tf.Tensor:
        """Return the seed [2] of the next step's draws: another one for each seed, GPU and step."""
        replica = tf.distribute.get_replica_context().replica_id_in_sync_group
        first = tf.cast(replica, tf.int32) * 100_003 + self.seed  # another draw on each GPU
        return tf.stack([first, tf.cast(self.steps_done.value, tf.int32)])
