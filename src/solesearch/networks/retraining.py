"""Retraining an ImageNet network on the catalogue (C section 8.3.1.2): a dense head on top, removed again.

C retrains with a dense layer of *one* unit for "shoe". Every photo is a shoe, so every label is 1: the loss
falls to nothing by raising that unit's bias, and the gradient that reaches the network falls with it. The
head `classes`, one unit a class, is the usual way; it needs labels, which the proposed model does not.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal

import numpy as np
import pandas as pd
from pydantic import AfterValidator, Field

from solesearch.core.errors import InputError
from solesearch.core.model_names import NetworkRow
from solesearch.core.repeatable import batch_rows, repeatable_execution
from solesearch.core.settings import Section
from solesearch.networks.networks import (
    NetworkEmbedder,
    NetworkNames,
    each_once,
    feature_model,
    scale,
)

LOG_COLUMNS = ["model", "step", "loss", "gradient_norm", "mean_probability"]


class RetrainingSettings(Section, section="retraining"):
    """How networks are retrained; `params.yaml` holds the values and their sources."""

    networks: NetworkNames
    heads: Annotated[list[Literal["one_unit", "classes"]], AfterValidator(each_once)]
    trainable: Annotated[str, Field(min_length=1)]  # all, head (nothing below it), or the first layer
    dropout: Annotated[float, Field(ge=0, lt=1)]
    learning_rate: Annotated[float, Field(gt=0)]
    steps: Annotated[int, Field(ge=1)]
    batch: Annotated[int, Field(ge=1)]
    seed: Annotated[int, Field(ge=0)]

    def variants(self) -> list[NetworkRow]:
        """Return what is to be made: each network with each head."""
        return [NetworkRow(network, head=head) for network in self.networks for head in self.heads]


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
    """One network with a fresh head, and the step that trains both."""

    def __init__(self, embedder: NetworkEmbedder, settings: RetrainingSettings, *, units: int):
        """Take the network without classifier; its features are pooled by average, as when it embeds.

        A trained network's batch norm keeps ImageNet's statistics, as is usual for so few photos; random
        weights come without any, and features would vanish through their depth.
        """
        import keras

        keras.utils.set_random_seed(settings.seed)
        self.units, self.scaling, self.fresh_statistics = units, embedder.scaling, not embedder.trained
        self.features = feature_model(embedder.whole, embedder.network)
        self.head = keras.Sequential([keras.layers.Dropout(settings.dropout), keras.layers.Dense(units)])
        self.head.build((None, self.features.output.shape[-1]))
        self.below = learning_variables(embedder.whole, settings, name=embedder.network.name)
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
    embedder: NetworkEmbedder,
    variant: NetworkRow,
    settings: RetrainingSettings,
    *,
    photos: Callable[[np.ndarray], np.ndarray],
    labels: np.ndarray,
) -> pd.DataFrame:
    """Train the network of `embedder` in place with the head of `variant`; the head is dropped afterwards.

    `photos` gives the training photos of the rows of a batch, uint8 [b, size, size, 3], so that they need
    not lie in the memory; `labels` [n] are those of all. Returns one row a step: model, step, loss (nats),
    gradient_norm, mean_probability (of the right answer). Raises InputError when the photos do not fill a
    batch or a loss is not finite.
    """
    import tensorflow as tf

    wanted, units = targets(labels, head=variant.head)
    if len(labels) < settings.batch:
        raise InputError(
            f"{len(labels)} training photos make no batch of {settings.batch}; lower retraining.batch"
        )
    work = Retraining(embedder, settings, units=units)
    step, rows = tf.function(work.step, reduce_retracing=True), []
    drawn = batch_rows(len(labels), size=settings.batch, seed=settings.seed, first=0, last=settings.steps)
    with repeatable_execution():
        for number, chosen in enumerate(drawn, start=1):
            values = [float(value) for value in step(photos(chosen), wanted[chosen])]
            if not np.isfinite(values).all():
                raise InputError(
                    f"{variant.name}, step {number}: the loss is not finite; lower retraining.learning_rate"
                )
            rows.append((variant.name, number, *values))
    return pd.DataFrame(rows, columns=LOG_COLUMNS)
