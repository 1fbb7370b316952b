"""One idea at a time: the recipe equals InfoGan bit for bit, and each idea changes what it says."""

import math

import numpy as np
import pytest
import tensorflow as tf

from solesearch.beyond import adversarial_variants as ideas
from solesearch.beyond.variants import VARIANTS, VariantSettings
from solesearch.gan import infogan
from solesearch.gan.training import load_gan

SIZE, BATCH = (16, 24), 4


@pytest.fixture
def images() -> tf.Tensor:
    return tf.random.stateless_uniform((BATCH, *SIZE, 3), [1, 2], -1, 1)


@pytest.fixture
def build(workspace):
    """Return a function that builds a variant by its name, with the changes that VARIANTS names."""
    values = VariantSettings.load("smoke")
    gan = load_gan("smoke", image_size=SIZE, batch_size=BATCH)
    pixels = np.random.default_rng(0).integers(0, 256, (6, *SIZE, 3), dtype=np.uint8)
    labelled = ideas.LabelledPhotos(pixels, np.array([0, 1, 2, 0, 1, 2], np.int32))

    def build_variant(name: str, seed: int = 1):
        variant = VARIANTS[name]
        changes = {**variant.gan, **({"categorical_codes": 3} if variant.needs_labels else {})}
        settings = gan.replaced(**changes)
        return getattr(ideas, variant.training)(settings, seed=seed, values=values, labelled=labelled)

    return build_variant


def test_the_recipe_is_infogan_to_the_bit(build, images) -> None:
    """With the 8-way code, whose loss has its own branch."""
    ours = build("categorical_code", seed=5)
    theirs = infogan.InfoGan(ours.settings, seed=5)
    for _ in range(2):
        one, other = ours.train_step(images), theirs.train_step(images)
        assert {name: float(one[name]) for name in one} == {name: float(other[name]) for name in other}
    for one, other in zip(ours.state_variables(), theirs.state_variables(), strict=True):
        np.testing.assert_array_equal(one.numpy(), other.numpy(), err_msg=one.path)


def check_step(training, images, *, idle_code: bool = False) -> dict[str, float]:
    """Take a step: finite losses, all kernels of D and some of G change, the trunk fits a Discriminator."""
    before = {id(one): one.numpy().copy() for one in training.state_variables()}
    trunk = training.trunk()
    losses = {key: float(value) for key, value in training.train_step(images).items()}
    assert all(math.isfinite(value) for value in losses.values()), losses
    wanted = {"d_real", "d_fake", "generator", training.further or "generator"}
    assert set(losses) == wanted | (set() if idle_code else {"mutual_information"})
    assert training.steps_done.numpy() == before[id(training.steps_done)] + 1
    changed = {id(one) for one in training.state_variables() if (one.numpy() != before[id(one)]).any()}
    kernels = [one for one in training.discriminator_variables() if "kernel" in one.path]
    assert all(id(one) in changed for one in kernels)
    code = training.discriminator.code_head.kernel
    assert (id(code) in changed) != idle_code
    assert any(id(one) in changed for one in training.generator.trainable_variables)
    variables = training.discriminator.variables
    assert [one.shape for one in training.trunk()] == [tuple(one.shape) for one in variables]
    assert any((one != other).any() for one, other in zip(training.trunk(), trunk, strict=True))
    return losses


@pytest.mark.parametrize(
    ("name", "loss", "chance"),
    [
        ("dcgan", "", 0),
        ("rotation", "rotation", math.log(4)),
        ("contrastive_head", "contrastive", math.log(2 * BATCH - 1)),
    ],
)
def test_a_step_changes_both_networks(build, images, name: str, loss: str, chance: float) -> None:
    losses = check_step(build(name), images, idle_code=name == "dcgan")
    if loss:  # to within untrained noise
        assert chance / 4 < losses[loss] < chance * 4


def test_minimax_and_lambda(build, images) -> None:
    losses = {"d_real": 0.5, "d_fake": 0.25, "generator": 2.0, "mutual_information": 0.125}
    assert build("infogan").totals(losses) == (0.875, 2.125)
    assert build("lambda_10").totals(losses) == (2.0, 3.25)
    training = build("vanilla")
    assert training.totals(losses) == (0.75, 2.0)
    logits = tf.constant([[0.3], [-1.2]])
    found = training.adversarial_losses(logits, logits)
    wanted = np.mean([math.log(1 - 1 / (1 + math.exp(-x))) for x in (0.3, -1.2)])  # log(1 - D)
    assert float(found["generator"]) == pytest.approx(wanted, rel=1e-5)
    check_step(training, images, idle_code=True)


def test_hinge_by_hand_and_saved_kernels_have_a_largest_singular_value_of_one(build, images) -> None:
    """Real logits 2 and -1 cost 0 and 2; generated ones .5 and -3 cost 1.5 and 0; G gets -(-1.25).

    A plain discriminator computes with the saved kernels what the normalised one did (dropout off).
    """
    training = build("spectral_hinge")
    found = training.adversarial_losses(tf.constant([[2.0], [-1.0]]), tf.constant([[0.5], [-3.0]]))
    assert [float(found[name]) for name in ("d_real", "d_fake", "generator")] == [1.0, 0.75, 1.25]
    for layer in training.discriminator.dropouts:
        layer.rate = 0.0
    means = [norm.moving_mean.numpy().copy() for norm in training.discriminator.norms]
    check_step(training, images)
    for norm, before in zip(training.discriminator.norms, means, strict=True):
        assert np.abs(norm.moving_mean.numpy() - before).max() > 0
    plain = infogan.build_discriminator(training.settings, seed=9)
    for layer in plain.dropouts:
        layer.rate = 0.0
    for variable, array in zip(plain.variables, training.trunk(), strict=True):
        variable.assign(array)
    raw = [singular_value(kernel) for kernel in training.kernels]
    assert max(raw) > 1.2, "nothing had to be normalised"
    saved = [singular_value(layer.kernel) for layer in (*plain.convolutions, plain.real_head)]
    np.testing.assert_allclose(saved, 1, atol=0.05)
    seen = training.look(images).features
    np.testing.assert_allclose(plain(images, training=True).features, seen, atol=1e-4)


def singular_value(kernel) -> float:
    """Return the largest singular value of a kernel [..., outputs]."""
    return float(np.linalg.norm(kernel.numpy().reshape(-1, kernel.shape[-1]), 2))


def test_the_spectral_estimate_has_the_gradient_of_a_singular_value() -> None:
    """The derivative of the largest singular value is its two singular vectors' outer product."""
    matrix = np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32)
    kernel, right = tf.constant(matrix), tf.ones(4)
    for _ in range(200):
        right = ideas.power_iteration(kernel, right)
    with tf.GradientTape() as tape:
        tape.watch(kernel)
        value = ideas.spectral_value(kernel, right)
    left, values, rights = np.linalg.svd(matrix)
    assert float(value) == pytest.approx(values[0], rel=1e-5)
    np.testing.assert_allclose(tape.gradient(value, kernel), np.outer(left[:, 0], rights[0]), atol=1e-4)


def test_averages_against_a_plain_loop(build, images) -> None:
    training = build("ema")
    kernel = training.discriminator.convolutions[0].kernel
    place = next(n for n, one in enumerate(training.discriminator.variables) if one is kernel)
    wanted = kernel.numpy().astype(float)
    for step in (1, 2):
        check_step(training, images)
        decay = min(0.99, (1 + step) / (10 + step))
        wanted = decay * wanted + (1 - decay) * kernel.numpy()
    np.testing.assert_allclose(training.trunk()[place], wanted, atol=1e-6)
    assert np.abs(training.trunk()[place] - kernel.numpy()).max() > 1e-5


@pytest.fixture
def watched(build, images):
    """Return a function that takes a step of a variant and gives it with what its discriminator saw."""

    def watch(name: str) -> tuple[ideas.Recipe, list[np.ndarray]]:
        training, seen = build(name), []
        look = training.look
        training.look = lambda shown: seen.append(shown.numpy()) or look(shown)
        check_step(training, images)
        return training, seen

    return watch


def test_both_kinds_of_images_are_augmented(watched, images) -> None:
    _, (real, fake) = watched("diff_augment")
    assert np.abs(real - images.numpy()).max() > 0.1
    assert (fake == 0).all(axis=3).any(axis=(1, 2)).all(), "a generated image without a cut box"


def test_supervision_sees_the_labelled_photos_and_no_others(watched) -> None:
    training, (_, _, labelled) = watched("code_supervision")
    shown = {photo.tobytes() for photo in labelled}
    known = {photo.tobytes() for photo in training.labelled.pixels.astype(np.float32) / 127.5 - 1}
    assert shown and shown <= known
