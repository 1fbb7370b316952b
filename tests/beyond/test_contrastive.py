"""Contrastive training: NT-Xent against a plain loop, and a trunk that learns to tell photos apart."""

import math

import numpy as np
import pytest
import tensorflow as tf

from solesearch.beyond import contrastive
from solesearch.beyond.variants import VariantSettings
from solesearch.core.errors import InputError
from solesearch.gan.infogan import build_discriminator
from solesearch.gan.training import load_gan


def plain_nt_xent(first: np.ndarray, second: np.ndarray, temperature: float) -> float:
    rows = [row / np.linalg.norm(row) for row in (*first, *second)]
    count, losses = len(first), []
    for i in range(2 * count):
        scores = {j: math.exp(rows[i] @ rows[j] / temperature) for j in range(2 * count) if j != i}
        losses.append(-math.log(scores[(i + count) % (2 * count)] / sum(scores.values())))
    return sum(losses) / len(losses)


def test_nt_xent_against_a_plain_loop_and_by_hand() -> None:
    """Two photos at right angles, both views equal: each picks its partner among e, 1 and 1."""
    first, second = np.random.default_rng(0).normal(size=(2, 6, 5)).astype(np.float32)
    for temperature in (0.1, 0.5):
        found = float(contrastive.nt_xent(first, second, temperature=temperature))
        assert found == pytest.approx(plain_nt_xent(first, second, temperature), rel=1e-4)
    views = tf.constant([[2.0, 0.0], [0.0, 3.0]])
    found = float(contrastive.nt_xent(views, views, temperature=1.0))
    assert found == pytest.approx(-math.log(math.e / (math.e + 2)), rel=1e-5)
    same = float(contrastive.nt_xent(tf.ones((4, 3)), tf.ones((4, 3)), temperature=0.2))
    assert same == pytest.approx(math.log(7), rel=1e-5)


def test_vicreg_against_plain_loops_and_by_hand() -> None:
    """Three terms over pairs, values and pairs of values; equal, spread and unrelated values cost nothing."""
    first, second = np.random.default_rng(0).normal(size=(2, 9, 4)).astype(np.float32) * 0.5
    invariance = np.mean([(a - b) ** 2 for a, b in zip(first.ravel(), second.ravel(), strict=True)])
    variance = covariance = 0.0
    for projected in (first, second):
        table = np.cov(projected.T)
        variance += np.mean([max(0, 1 - math.sqrt(table[i, i] + 1e-4)) for i in range(4)]) / 2
        covariance += sum(table[i, j] ** 2 for i in range(4) for j in range(4) if i != j) / 4
    found = float(contrastive.vicreg(tf.constant(first), tf.constant(second)))
    assert found == pytest.approx(25 * invariance + 25 * variance + covariance, rel=1e-4)
    spread = tf.constant([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])
    assert float(contrastive.vicreg(spread, spread)) == pytest.approx(0, abs=1e-6)
    assert float(contrastive.vicreg(0 * spread, 0 * spread)) == pytest.approx(25 * 0.99, rel=1e-4)


@pytest.fixture
def trunk(workspace) -> contrastive.ContrastiveTrunk:
    gan = load_gan("smoke", image_size=(16, 24))
    values = VariantSettings.load("smoke").contrastive
    values = values.replaced(steps=12, learning_rate=0.01, crop_area=[0.7, 1.0])
    gan = gan.replaced(discriminator_dropout=values.dropout)
    return contrastive.ContrastiveTrunk(gan, values, trunk=build_discriminator(gan, seed=1), seed=1)


def test_the_trunk_learns_and_its_idle_heads_do_not(trunk) -> None:
    blocks = tf.random.stateless_uniform((6, 2, 3, 3), [1, 2], -1, 1)
    images = tf.repeat(tf.repeat(blocks, 8, axis=1), 8, axis=2)
    before = [variable.numpy().copy() for variable in trunk.network.variables]
    losses = [float(trunk.train_step(images)["contrastive"]) for _ in range(12)]
    assert np.isfinite(losses).all()
    assert np.mean(losses[-4:]) < 0.8 * np.mean(losses[:2])
    for variable, old in zip(trunk.network.variables, before, strict=True):
        idle = variable.path.split("/")[-2] in ("real", "code")
        assert (np.abs(variable.numpy() - old).max() == 0) == idle, variable.path
    assert float(trunk.optimizer.learning_rate) == pytest.approx(0, abs=1e-6)  # the cosine's end


def test_values_that_make_no_view_are_refused(workspace) -> None:
    values = VariantSettings.load("smoke").contrastive
    for change, words in (
        ({"crop_area": [0.5, 0.4]}, "two ascending shares"),
        ({"optimizer": "lars"}, r"ladder\.contrastive\.optimizer: is no key here"),
        ({"temperature": 0.0}, r"ladder\.contrastive\.temperature: "),
    ):
        with pytest.raises(InputError, match=words):
            values.replaced(**change)
