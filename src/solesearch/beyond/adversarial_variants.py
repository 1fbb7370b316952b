"""The InfoGAN of the papers with one idea changed at a time, for the ablation.

`Recipe` is the papers' training step cut into the pieces that an idea may replace; unchanged it gives the
numbers of `infogan.InfoGan`, bit for bit. Each class below it replaces one piece. The networks stay those of
P Table I throughout.
"""

from __future__ import annotations

from typing import ClassVar, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from solesearch.beyond.augmentation import TURNS, diff_augment, turn
from solesearch.beyond.contrastive import contrastive_loss, projection_head, two_views
from solesearch.beyond.variants import VariantSettings
from solesearch.core.settings import GanSettings
from solesearch.gan.infogan import (
    DiscriminatorOutput,
    InfoGan,
    adversarial_loss,
    information_loss,
    sample_latent,
    update,
)

REAL_SEED, FAKE_SEED, TURN_SEED, LABEL_SEED = (2**27 + offset for offset in (0, 2**24, 2**25, 2**26))
FIRST_ITERATIONS = 20  # of the power method before training; later one a step, since weights change slowly


class LabelledPhotos(NamedTuple):
    """The share of training photos whose labels one idea may see."""

    pixels: np.ndarray  # uint8 [m, h, w, 3]
    classes: np.ndarray  # int32 [m], from 0


class Recipe(InfoGan):
    """The papers' recipe. Subclasses replace single pieces of its step."""

    codes: ClassVar[bool] = True  # whether the code head takes part
    further: ClassVar[str] = ""  # name of one more loss of D; key `<name>_weight` of ladder.ideas weighs it

    def __init__(
        self,
        settings: GanSettings,
        *,
        seed: int,
        values: VariantSettings,
        labelled: LabelledPhotos | None = None,
    ):
        """Build both networks from `seed`; `labelled` is for the one idea that uses labels."""
        super().__init__(settings, seed=seed)
        self.values, self.labelled = values, labelled

    def train_step(self, images: tf.Tensor) -> dict[str, tf.Tensor]:
        """Update D, Q and G once on real images [b, h, w, 3]; return the losses by name, each []."""
        latent, code = sample_latent(self.settings, count=tf.shape(images)[0], seed=self.step_seed())
        with tf.GradientTape(persistent=True) as tape:
            fake = self.generator(latent, training=True)
            on_real = self.look(self.shown(images, seed=self.draw(REAL_SEED)))
            on_fake = self.look(self.shown(fake, seed=self.draw(FAKE_SEED)))
            losses = self.adversarial_losses(on_real.logit, on_fake.logit)
            if self.codes:
                information = information_loss(self.settings, code=code, prediction=on_fake.code)
                losses["mutual_information"] = information
            if self.further:
                losses[self.further] = self.further_loss(images)
            d_total, g_total = self.totals(losses)
        update(tape, d_total, self.discriminator_variables(), self.discriminator_optimizer)
        update(tape, g_total, self.generator.trainable_variables, self.generator_optimizer)
        self.steps_done.assign_add(1)
        return losses

    def draw(self, offset: int) -> tf.Tensor:
        """Return a seed [2] for a draw of this step that is independent of those with other offsets."""
        return self.step_seed() + tf.constant([0, offset])

    def shown(self, images: tf.Tensor, *, seed: tf.Tensor) -> tf.Tensor:
        """Return what the discriminator gets to see of real or generated images."""
        return images

    def look(self, images: tf.Tensor) -> DiscriminatorOutput:
        """Run the discriminator in training mode."""
        return self.discriminator(images, training=True)

    def adversarial_losses(self, real: tf.Tensor, fake: tf.Tensor) -> dict[str, tf.Tensor]:
        """Return d_real, d_fake and generator, each [], from logits [b, 1]: the non-saturating losses."""
        return {
            "d_real": adversarial_loss(real, real=True),
            "d_fake": adversarial_loss(fake, real=False),
            "generator": adversarial_loss(fake, real=True),
        }

    def totals(self, losses: dict[str, tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
        """Return what the discriminator and what the generator minimise (P eqs. 1-3)."""
        discriminator, generator = losses["d_real"] + losses["d_fake"], losses["generator"]
        if self.codes:
            information = self.settings.information_weight * losses["mutual_information"]
            discriminator, generator = discriminator + information, generator + information
        if self.further:
            discriminator += getattr(self.values.ideas, f"{self.further}_weight") * losses[self.further]
        return discriminator, generator

    def discriminator_variables(self) -> list[keras.Variable]:
        """Return the weights that the discriminator's update changes."""
        idle = [] if self.codes else [id(variable) for variable in self.discriminator.code_head.variables]
        return [one for one in self.discriminator.trainable_variables if id(one) not in idle]

    def trunk(self) -> list[np.ndarray]:
        """Return the values that a plain Discriminator takes over, in the order of its variables."""
        return [variable.numpy() for variable in self.discriminator.variables]


# --- other games -----------------------------------------------------------------------------------------


class WithoutCodes(Recipe):
    """No code head in the losses: all of the latent is noise (DCGAN; Radford et al. 2016)."""

    codes = False


class Minimax(WithoutCodes):
    """The game of Goodfellow et al. (2014, eq. 1) as written: G minimises log(1 - D(G(z)))."""

    def adversarial_losses(self, real: tf.Tensor, fake: tf.Tensor) -> dict[str, tf.Tensor]:
        losses = super().adversarial_losses(real, fake)
        return losses | {"generator": -losses["d_fake"]}


# --- steadier discriminators -----------------------------------------------------------------------------


class Averaged(Recipe):
    """The trunk that is kept is an exponential moving average of D's weights over the steps.

    Averaged generators are usual (Yazici et al. 2019); here D's features matter, so D is averaged, its moving
    statistics, too. Early on the average forgets faster: decay min(ema_decay, (1 + t) / (10 + t)).
    """

    def __init__(self, settings: GanSettings, **options):
        super().__init__(settings, **options)
        floats = [one for one in self.discriminator.variables if "float" in one.dtype]
        self.averages = [(one, keras.Variable(one.numpy(), trainable=False)) for one in floats]

    def state_variables(self) -> list[keras.Variable]:
        return [*super().state_variables(), *(average for _, average in self.averages)]

    def train_step(self, images: tf.Tensor) -> dict[str, tf.Tensor]:
        losses = super().train_step(images)
        step = tf.cast(self.steps_done.value, tf.float32)
        decay = tf.minimum(self.values.ideas.ema_decay, (1 + step) / (10 + step))
        for variable, average in self.averages:
            average.assign(decay * average.value + (1 - decay) * variable.value)
        return losses

    def trunk(self) -> list[np.ndarray]:
        kept = {id(variable): average for variable, average in self.averages}
        return [kept.get(id(one), one).numpy() for one in self.discriminator.variables]


def spectral_value(kernel: tf.Tensor, right: tf.Tensor) -> tf.Tensor:
    """Return the power method's estimate [] of the largest singular value of a kernel [..., outputs].

    The kernel counts as a matrix [product of the rest, outputs], as in Miyato et al. (2018); `right`
    [outputs] is the current right singular vector, a constant to the gradient.
    """
    return tf.norm(tf.linalg.matvec(tf.reshape(kernel, (-1, kernel.shape[-1])), tf.stop_gradient(right)))


def power_iteration(kernel: tf.Tensor, right: tf.Tensor) -> tf.Tensor:
    """Return the right singular vector [outputs], one iteration further."""
    matrix = tf.reshape(kernel, (-1, kernel.shape[-1]))
    left = tf.math.l2_normalize(tf.linalg.matvec(matrix, right))
    return tf.math.l2_normalize(tf.linalg.matvec(matrix, left, transpose_a=True))


class SpectralHinge(Recipe):
    """Spectral normalisation of D's convolutions and real/fake head, and the hinge loss (Miyato et al. 2018).

    D computes with each kernel over its largest singular value, and gradients flow through the division. P's
    batch normalisation stays, which undoes part of the bound; dropping it would be a second change.
    """

    def __init__(self, settings: GanSettings, **options):
        super().__init__(settings, **options)
        layers = (*self.discriminator.convolutions, self.discriminator.real_head)
        self.kernels = [layer.kernel for layer in layers]
        self.right_vectors = []
        for number, kernel in enumerate(self.kernels):
            right = tf.random.stateless_normal((kernel.shape[-1],), [self.seed, number])
            for _ in range(FIRST_ITERATIONS):
                right = power_iteration(kernel.value, right)
            self.right_vectors.append(keras.Variable(right.numpy(), trainable=False))

    def state_variables(self) -> list[keras.Variable]:
        return [*super().state_variables(), *self.right_vectors]

    def train_step(self, images: tf.Tensor) -> dict[str, tf.Tensor]:
        self.follow_kernels()
        return super().train_step(images)

    def follow_kernels(self) -> None:
        """Move the singular vectors on by one power iteration."""
        for kernel, right in zip(self.kernels, self.right_vectors, strict=True):
            right.assign(power_iteration(kernel.value, right.value))

    def normalised(self) -> list[tuple[keras.Variable, tf.Tensor]]:
        """Return each kernel's variable with its normalised value."""
        return [
            (kernel, kernel.value / spectral_value(kernel.value, right.value))
            for kernel, right in zip(self.kernels, self.right_vectors, strict=True)
        ]

    def look(self, images: tf.Tensor) -> DiscriminatorOutput:
        """Run the discriminator with normalised kernels; moving statistics and dropout's seeds move on."""
        with keras.StatelessScope(self.normalised()) as scope:
            output = self.discriminator(images, training=True)
        kernels = {id(kernel) for kernel in self.kernels}
        for variable in self.discriminator.variables:
            value = scope.get_current_value(variable)
            if value is not None and id(variable) not in kernels:
                variable.assign(value)
        return output

    def adversarial_losses(self, real: tf.Tensor, fake: tf.Tensor) -> dict[str, tf.Tensor]:
        """Return the hinge losses (Miyato et al. 2018, eqs. 16 and 17)."""
        d_real, d_fake = tf.reduce_mean(tf.nn.relu(1 - real)), tf.reduce_mean(tf.nn.relu(1 + fake))
        return {"d_real": d_real, "d_fake": d_fake, "generator": -tf.reduce_mean(fake)}

    def trunk(self) -> list[np.ndarray]:
        """Return the weights with normalised kernels, so that a plain Discriminator computes the same."""
        self.follow_kernels()
        baked = {id(kernel): value.numpy() for kernel, value in self.normalised()}
        return [baked.get(id(one), one.numpy()) for one in self.discriminator.variables]


class DiffAugmented(Recipe):
    """D sees shifted, recoloured, cut copies of real and of generated images (Zhao et al. 2020)."""

    def shown(self, images: tf.Tensor, *, seed: tf.Tensor) -> tf.Tensor:
        return diff_augment(images, seed=seed)


# --- further tasks for the discriminator -----------------------------------------------------------------


class WithHead(Recipe):
    """The recipe with one more head on the discriminator's features, trained together with D."""

    def __init__(self, settings: GanSettings, **options):
        super().__init__(settings, **options)
        self.head = self.build_head(features=self.discriminator.real_head.kernel.shape[0])
        self.discriminator_optimizer = keras.optimizers.Adam(
            settings.discriminator_learning_rate, beta_1=settings.beta_1
        )
        self.discriminator_optimizer.build(self.discriminator_variables())

    def discriminator_variables(self) -> list[keras.Variable]:
        return [*super().discriminator_variables(), *self.head.trainable_variables]

    def state_variables(self) -> list[keras.Variable]:
        return [*super().state_variables(), *self.head.variables]


class Rotation(WithHead):
    """D also tells how real photos were turned about (SSGAN; Chen et al. 2019).

    The turns fit 64x96 (`augmentation.turn`); each photo is turned once a step, and the generator gets no
    such task (SSGAN gives it one of weight .2): that would cost another pass through both networks.
    """

    further = "rotation"

    def build_head(self, *, features: int) -> keras.Model:
        keras.utils.set_random_seed(self.seed)
        return keras.Sequential([keras.Input((features,)), keras.layers.Dense(TURNS)])

    def further_loss(self, images: tf.Tensor) -> tf.Tensor:
        """Return the cross-entropy [] of the turns; ln 4 means guessing."""
        turned, turns = turn(images, seed=self.draw(TURN_SEED))
        logits = self.head(self.look(turned).features)
        return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(turns, logits))


class ContrastiveHead(WithHead):
    """D also brings two views of a real photo together (ContraD; Jeong and Shin 2021).

    ContraD trains D's trunk by that loss alone; here it is added to the papers' losses: one change.
    """

    further = "contrastive"

    def build_head(self, *, features: int) -> keras.Model:
        return projection_head(self.values.contrastive, features=features, seed=self.seed)

    def further_loss(self, images: tf.Tensor) -> tf.Tensor:
        settings = self.values.contrastive
        features = self.look(two_views(images, settings, seed=self.step_seed())).features
        return contrastive_loss(self.head, features, settings)


class CodeSupervision(Recipe):
    """A small share of labels teaches the categorical code on real photos (ss-InfoGAN; Spurr et al. 2017).

    The settings bring one categorical code with a value for each class, beside the continuous ones.
    """

    further = "supervision"

    def further_loss(self, images: tf.Tensor) -> tf.Tensor:
        """Return the code head's cross-entropy [] on as many labelled photos as the batch has."""
        rows = tf.random.stateless_uniform(
            (tf.shape(images)[0],), self.draw(LABEL_SEED), 0, len(self.labelled.classes), tf.int32
        )
        photos = tf.cast(tf.gather(tf.constant(self.labelled.pixels), rows), tf.float32) / 127.5 - 1
        logits = self.look(photos).code[:, self.settings.continuous_codes :]
        classes = tf.gather(tf.constant(self.labelled.classes), rows)
        return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(classes, logits))
