"""The networks: shapes at every preset, ranges, losses by hand, one training step."""

import math

import keras
import numpy as np
import pytest
import tensorflow as tf

from solesearch.core.errors import InputError
from solesearch.gan import infogan
from solesearch.gan.training import load_gan
from solesearch.photos.photo import IMAGE_SIZES

FEATURES = {"paper-64x96": 1536, "paper-128x128": 4096, "chapter-224": 12544, "chapter-207": 10816}


@pytest.fixture
def settings(workspace) -> infogan.GanSettings:
    return load_gan("smoke", image_size=(64, 96))


@pytest.mark.parametrize(
    ("preset", "upsampling"),
    [*((preset, "resize") for preset in FEATURES), ("paper-64x96", "stride"), ("chapter-207", "stride")],
)
def test_images_and_features_of_each_reading(settings, preset: str, upsampling: str) -> None:
    """P prints 1 x 1536, C 1 x 12,544; the other two follow from the printed input sizes."""
    settings = settings.replaced(image_size=IMAGE_SIZES[preset], upsampling=upsampling)
    generator = infogan.build_generator(settings, seed=1)
    images = generator(tf.random.stateless_uniform((2, 108), [1, 2], -1, 1))
    assert images.shape == (2, *IMAGE_SIZES[preset], 3)
    assert -1 <= float(tf.reduce_min(images)) <= float(tf.reduce_max(images)) <= 1
    output = infogan.build_discriminator(settings, seed=1)(images)
    assert output.features.shape == (2, FEATURES[preset])
    assert (output.logit.shape, output.code.shape) == ((2, 1), (2, 8))


def test_activations_follow_table_one(settings) -> None:
    output = infogan.build_discriminator(settings, seed=1)(tf.zeros((1, 64, 96, 3)))
    shapes = [tuple(a.shape[1:]) for a in output.activations]
    assert shapes == [
        (32, 48, 16), (32, 48, 32), (16, 24, 64), (16, 24, 128), (8, 12, 256), (8, 12, 16),
    ]  # fmt: skip
    np.testing.assert_array_equal(tf.reshape(output.activations[-1], (1, -1)), output.features)


def test_doubling_convolution_is_resize_then_convolution() -> None:
    layer = infogan.DoublingConvolution(5, name="doubling")
    hidden = tf.random.stateless_normal((2, 4, 6, 7), [1, 2])
    fused = layer(hidden)
    doubled = tf.repeat(tf.repeat(hidden, 2, axis=1), 2, axis=2)
    plain = tf.nn.conv2d_transpose(doubled, tf.convert_to_tensor(layer.kernel), (2, 8, 12, 5), 1, "SAME")
    np.testing.assert_allclose(fused, plain, atol=1e-5)


def test_continuous_codes_are_bounded_and_categorical_ones_are_not(settings) -> None:
    settings = settings.replaced(continuous_codes=2, categorical_codes=3)
    discriminator = infogan.build_discriminator(settings, seed=1)
    code = discriminator(1000 * tf.random.stateless_normal((4, 64, 96, 3), [1, 2])).code.numpy()
    assert np.abs(code[:, :2]).max() <= 1
    assert np.abs(code[:, 2:]).max() > 1


def test_latent_is_uniform_repeats_and_ends_in_the_code(settings) -> None:
    settings = settings.replaced(categorical_codes=4)
    latent, code = infogan.sample_latent(settings, count=2000, seed=tf.constant([3, 5]))
    again, _ = infogan.sample_latent(settings, count=2000, seed=tf.constant([3, 5]))
    np.testing.assert_array_equal(latent, again)
    np.testing.assert_array_equal(latent[:, 100:], code)
    continuous, categorical = code.numpy()[:, :8], code.numpy()[:, 8:]
    assert continuous.min() >= -1 and continuous.max() < 1
    assert abs(continuous.var() - 1 / 3) < 0.01
    assert (categorical.sum(axis=1) == 1).all() and categorical.mean(axis=0) == pytest.approx(0.25, abs=0.05)


def test_losses_by_hand(settings) -> None:
    assert float(infogan.adversarial_loss(tf.zeros((3, 1)), real=True)) == pytest.approx(math.log(2))
    logit = tf.constant([[2.0]])
    assert float(infogan.adversarial_loss(logit, real=False)) == pytest.approx(math.log(1 + math.exp(2)))
    settings = settings.replaced(continuous_codes=2, categorical_codes=2)
    code = tf.constant([[0.5, -0.5, 1.0, 0.0]])
    guess = tf.constant([[0.0, 0.0, 0.0, 0.0]])
    loss = float(infogan.information_loss(settings, code=code, prediction=guess))
    assert loss == pytest.approx(0.25 + math.log(2))


def test_a_step_moves_every_kernel_of_both_networks(settings) -> None:
    """Biases before batch norm need not move."""
    gan = infogan.InfoGan(settings, seed=1)
    weights = (*gan.generator.trainable_variables, *gan.discriminator.trainable_variables)
    before = {one.path: one.numpy().copy() for one in weights if one.path.endswith("kernel")}
    assert len(before) == 15  # dense and six transposed convolutions; six convolutions and two heads
    losses = gan.train_step(tf.zeros((4, 64, 96, 3)))
    assert set(losses) == {"d_real", "d_fake", "generator", "mutual_information"}
    assert all(math.isfinite(float(loss)) for loss in losses.values())
    assert all((one.numpy() != before[one.path]).any() for one in weights if one.path in before)
    assert int(gan.steps_done.numpy()) == 1


def test_shared_pass_has_the_gradients_of_two_passes(settings) -> None:
    """One persistent tape over one generator pass must give what two separate tapes give."""
    settings = settings.replaced(discriminator_dropout=0.0)
    gan = infogan.InfoGan(settings, seed=2)
    latent, code = infogan.sample_latent(settings, count=4, seed=tf.constant([2, 0]))
    with tf.GradientTape() as tape:
        output = gan.discriminator(gan.generator(latent, training=True), training=True)
        loss = infogan.adversarial_loss(output.logit, real=True) + infogan.information_loss(
            settings, code=code, prediction=output.code
        )
    wanted = tape.gradient(loss, gan.generator.trainable_variables)
    seen = []
    gan.generator_optimizer.apply_gradients = lambda pairs: seen.extend(g for g, _ in pairs)
    gan.train_step(tf.random.stateless_uniform((4, 64, 96, 3), [1, 1], -1, 1))
    for one, other in zip(seen, wanted, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


def test_same_seed_same_weights(settings) -> None:
    one, again, other = (infogan.InfoGan(settings, seed=seed) for seed in (5, 5, 6))
    for a, b in zip(one.state_variables(), again.state_variables(), strict=True):
        np.testing.assert_array_equal(a, b)
    assert (np.asarray(other.generator.weights[0]) != np.asarray(one.generator.weights[0])).any()


def test_dropout_is_off_at_inference_and_missing_where_not_wanted(settings) -> None:
    discriminator = infogan.build_discriminator(settings, seed=1)
    images = tf.random.stateless_uniform((2, 64, 96, 3), [1, 1], -1, 1)
    np.testing.assert_array_equal(discriminator(images).features, discriminator(images).features)
    kept = infogan.build_generator(settings.replaced(generator_keep_probability=0.6), seed=1)
    rates = [layer.rate for layer in kept.layers if isinstance(layer, keras.layers.Dropout)]
    assert rates == [pytest.approx(0.4)] * 6  # none after the output image
    none = infogan.build_generator(settings, seed=1)
    assert not [layer for layer in none.layers if isinstance(layer, keras.layers.Dropout)]


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("upsampling", "deconv", r"smoke\.gan\.upsampling: .*'resize' or 'stride'"),
        ("checkpoint_every", 3, "checkpoint_every must divide steps"),
        ("continuous_codes", 0, "at least one code"),
        ("seeds", [1, 1], r"name each seed once; got \[1, 1\]"),
    ],
)
def test_impossible_settings_are_refused(workspace, key, value, words) -> None:
    with pytest.raises(InputError, match=words):
        load_gan("smoke", image_size=(64, 96), **{key: value})
