"""Retraining an ImageNet network on the catalogue (C section 8.3.1.2): a dense head on top, removed again.

C retrains with a dense layer of *one* unit for "shoe". Every photo is a shoe, so every label is 1: the loss
falls to nothing by raising that unit's bias, and the gradient that reaches the network falls with it. The
head `classes`, one unit a class, is the usual way; it needs labels, which the proposed model does not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from solesearch.core.errors import InputError
from solesearch.core.progress import Progress
from solesearch.core.repeatable import batch_rows, repeatable_execution
from solesearch.networks.networks import HEADS, Network, Variant, feature_model, find_network, scale

LOG_COLUMNS = ["model", "step", "loss", "gradient_norm", "mean_probability"]


@dataclass(frozen=True)
class RetrainingSettings:
    """How networks are retrained; `params.yaml` holds the values and their sources."""

    networks: list[str]
    heads: list[str]
    trainable: str  # all, head (nothing below it learns), or the first layer that learns
    dropout: float
    learning_rate: float
    steps: int
    batch: int
    seed: int

    def __post_init__(self) -> None:
        """Raise InputError for a network or head that does not exist, or an impossible number."""
        for name in self.networks:
            find_network(name)
        checks = {
            f"heads: of {', '.join(HEADS)}, each once": set(self.heads) <= set(HEADS)
            and len(set(self.heads)) == len(self.heads),
            "networks: name each network once": len(set(self.networks)) == len(self.networks),
            "trainable: all, head, or a layer's name": bool(self.trainable),
            "dropout must lie in [0, 1)": 0 <= self.dropout < 1,
            "learning_rate must lie above 0": self.learning_rate > 0,
            "steps and batch must be at least 1": min(self.steps, self.batch) >= 1,
        }
        for rule, holds in checks.items():
            if not holds:
                raise InputError(f"params.yaml, retraining.{rule}; got {self}")

    def variants(self) -> list[Variant]:
        """Return what is to be made: each network with each head."""
        return [Variant(network, head=head) for network in self.networks for head in self.heads]


def targets(labels: np.ndarray, *, head: str) -> tuple[np.ndarray, int]:
    """Return what the head shall answer, int64 [n], and its number of units.

    one_unit: always 1, since every photo shows what the catalogue sells. classes: the class's number.
    Raises InputError for a head `classes` with fewer than two classes.
    """
    if head == "one_unit":
        return np.ones(len(labels), dtype=np.int64), 1
    numbers, names = pd.factorize(labels, sort=True)
    if len(names) < 2:
        raise InputError(
            f"retraining.heads: `classes` needs photos of two classes or more; there is only {names[0]}"
        )
    return numbers.astype(np.int64), len(names)


def learning_variables(model, settings: RetrainingSettings, *, name: str) -> list:
    """Return the variables below the head that learn; raises InputError for a layer that does not exist."""
    if settings.trainable == "head":
        return []
    if settings.trainable == "all":
        return model.trainable_variables
    layers = [layer.name for layer in model.layers]
    if settings.trainable not in layers:
        raise InputError(f"params.yaml, retraining.trainable: {name} has no layer {settings.trainable!r}")
    first = layers.index(settings.trainable)
    return [variable for layer in model.layers[first:] for variable in layer.trainable_variables]


class Retraining:
    """One network with a fresh head, and the compiled step that trains both."""

    def __init__(
        self,
        whole,
        network: Network,
        settings: RetrainingSettings,
        *,
        units: int,
        scaling: str,
        trained: bool,
    ):
        """Take the network without classifier; its features are pooled by average, as when it embeds.

        A `trained` network's batch norm keeps ImageNet's statistics, as is usual for so few photos; random
        weights come without any, and features would vanish through their depth.
        """
        import keras

        keras.utils.set_random_seed(settings.seed)
        self.units, self.scaling, self.fresh_statistics = units, scaling, not trained
        self.features = feature_model(whole, network)
        self.head = keras.Sequential([keras.layers.Dropout(settings.dropout), keras.layers.Dense(units)])
        self.head.build((None, self.features.output.shape[-1]))
        self.below = learning_variables(whole, settings, name=network.name)
        self.variables = [*self.below, *self.head.trainable_variables]
        self.optimizer = keras.optimizers.Adam(settings.learning_rate)
        self.optimizer.build(self.variables)

    def step(self, images: Any, wanted: Any) -> tuple[Any, Any, Any]:
        """Update once on images [b, h, w, 3] of 0..255; return loss, gradient norm and mean probability, [].

        The norm is that of the gradient which reaches the network, or the head where nothing below it learns.
        """
        import tensorflow as tf

        with tf.GradientTape() as tape:
            seen = self.features(scale(images, scaling=self.scaling), training=self.fresh_statistics)
            logits = self.head(seen, training=True)
            if self.units == 1:
                answer = tf.sigmoid(logits[:, 0])
                losses = tf.nn.sigmoid_cross_entropy_with_logits(tf.cast(wanted, tf.float32), logits[:, 0])
            else:
                answer = tf.gather(tf.nn.softmax(logits), wanted, batch_dims=1)
                losses = tf.nn.sparse_softmax_cross_entropy_with_logits(wanted, logits)
            loss = tf.reduce_mean(losses)
        gradients = tape.gradient(loss, self.variables)
        reached = [gradient for gradient in gradients[: len(self.below) or None] if gradient is not None]
        self.optimizer.apply_gradients(
            (gradient, variable)
            for gradient, variable in zip(gradients, self.variables, strict=True)
            if gradient is not None  # layers above the pooled one
        )
        return loss, tf.linalg.global_norm(reached), tf.reduce_mean(answer)


def retrain(
    whole,
    variant: Variant,
    settings: RetrainingSettings,
    *,
    pixels: np.ndarray,
    labels: np.ndarray,
    scaling: str,
    trained: bool,
) -> pd.DataFrame:
    """Train the network `whole` in place with the head of `variant`; the head is dropped afterwards.

    Takes uint8 pixels [n, size, size, 3] and labels [n] of the training photos; `trained` tells whether the
    network has ImageNet weights. Returns one row a step:
    model, step, loss (nats), gradient_norm, mean_probability (of the right answer). Raises InputError when
    the photos do not fill a batch or a loss is not finite.
    """
    import tensorflow as tf

    wanted, units = targets(labels, head=variant.head)
    if len(pixels) < settings.batch:
        raise InputError(
            f"{len(pixels)} training photos make no batch of {settings.batch}; lower retraining.batch"
        )
    work = Retraining(
        whole, find_network(variant.network), settings, units=units, scaling=scaling, trained=trained
    )
    step = tf.function(work.step, reduce_retracing=True)
    progress, rows = Progress(f"retraining {variant.name}", total=settings.steps, unit="step"), []
    drawn = batch_rows(len(pixels), size=settings.batch, seed=settings.seed, first=0, last=settings.steps)
    with repeatable_execution():
        for number, chosen in enumerate(drawn, start=1):
            values = [float(value) for value in step(pixels[chosen], wanted[chosen])]
            if not np.isfinite(values).all():
                raise InputError(
                    f"{variant.name}, step {number}: the loss is not finite; lower retraining.learning_rate"
                )
            rows.append((variant.name, number, *values))
            progress.update(number)
    return pd.DataFrame(rows, columns=LOG_COLUMNS)
