"""Post-processing against plain loops and worked numbers; trunk and method in one ONNX file agree."""

import itertools
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf

from solesearch.beyond import post_processing
from solesearch.beyond.export import with_half_weights
from solesearch.beyond.post_processing import (
    GEM_FLOOR,
    Method,
    fit_method,
    fit_methods,
    photo_vectors,
    principal_components,
)
from solesearch.core.errors import InputError
from solesearch.gan.infogan import build_discriminator
from solesearch.gan.training import load_gan
from solesearch.photos.photo import to_signed

DRAW = np.random.default_rng(3)


def loop_pooled(activation: np.ndarray, grid: int, reduce) -> np.ndarray:
    """Pool cell by cell, photo by photo: rows and columns from floor(i n / g) to ceil((i + 1) n / g)."""
    count, height, width, depth = activation.shape
    pooled = np.empty((count, grid, grid, depth))
    for photo, row, column in np.ndindex(count, grid, grid):
        tops = [y for y in range(height) if row * height // grid <= y < (row + 1) * height / grid]
        lefts = [x for x in range(width) if column * width // grid <= x < (column + 1) * width / grid]
        pooled[photo, row, column] = reduce(activation[photo][np.ix_(tops, lefts)].reshape(-1, depth))
    return pooled.reshape(count, -1)


def generalised_mean(cell: np.ndarray) -> np.ndarray:
    return (np.maximum(cell, GEM_FLOOR).astype(float) ** 3).mean(axis=0) ** (1 / 3)


@pytest.mark.parametrize("size", [(8, 12), (7, 10), (4, 4)])  # divided by 4, not divided by 4, one each
@pytest.mark.parametrize(
    ("pooling", "reduce"),
    [
        ("max", lambda cell: cell.max(axis=0)),
        ("mean", lambda cell: cell.mean(axis=0)),
        ("gem", generalised_mean),
    ],
)
def test_pooling_against_a_loop(size: tuple[int, int], pooling: str, reduce) -> None:
    activation = DRAW.standard_normal((2, *size, 3)).astype(np.float32)
    found = post_processing.pooled(tf.constant(activation), Method("", pooling=pooling)).numpy()
    np.testing.assert_allclose(found, loop_pooled(activation, 4, reduce), rtol=1e-4, atol=1e-6)


def test_what_a_trunk_cannot_give_is_refused() -> None:
    with pytest.raises(InputError, match="a grid of 4 does not fit into 3x8 activations"):
        post_processing.pooled(np.zeros((1, 3, 8, 1), np.float32), Method(""))


@pytest.mark.parametrize("shape", [(60, 12), (12, 60)])  # more photos than values; fewer
def test_whitened_training_vectors_have_the_identity_as_covariance(shape: tuple[int, int]) -> None:
    vectors = (DRAW.standard_normal(shape) * np.geomspace(1, 50, shape[1]) + 7).astype(np.float32)
    fitted = fit_method(Method("", whitened=6), vectors)
    white = fitted.finish(vectors).numpy()
    assert fitted.projection.dtype == np.float32 and white.shape == (shape[0], 6)
    np.testing.assert_allclose(np.cov(white.T), np.eye(6), atol=2e-4)
    np.testing.assert_allclose(white.mean(axis=0), 0, atol=1e-4)
    directions = np.linalg.svd(vectors - fitted.mean, full_matrices=False)[2][
        :6
    ]  # the strongest, another way
    assert np.abs(fitted.projection.T @ directions.T).argmax(axis=1).tolist() == list(range(6))


def test_shrinkage_and_exponent_worked_by_hand() -> None:
    vectors = np.array([[3, 0, 0], [-3, 0, 0], [0, 1, 0], [0, -1, 0]], np.float32)  # variances 18/3, 2/3
    mean, components, variances = principal_components(vectors, dimensions=2)
    assert mean.tolist() == [0, 0, 0] and variances == pytest.approx([6, 2 / 3])
    np.testing.assert_allclose(np.abs(components), [[1, 0], [0, 1], [0, 0]], atol=1e-9)
    shrunk = fit_method(Method("", whitened=2, shrinkage=0.3), vectors)  # 0.3 * (6 + 2/3) / 2 = 1
    assert np.abs(shrunk.projection[[0, 1], [0, 1]]) == pytest.approx([1 / np.sqrt(7), 1 / np.sqrt(5 / 3)])
    half = fit_method(Method("", whitened=2, exponent=0.5), vectors)
    assert np.abs(half.projection[0, 0]) == pytest.approx(6**-0.25)


def test_whitening_to_more_than_there_is_names_the_setting() -> None:
    with pytest.raises(InputError, match=r"whitening to 5 .* 5 photos of 9 values; lower ladder\.judging"):
        principal_components(np.eye(5, 9), dimensions=5)
    flat = np.outer(np.arange(9), np.ones(4))  # all on one line
    with pytest.raises(InputError, match="span fewer than 2 dimensions"):
        principal_components(flat, dimensions=2)


def test_parts_are_joined_each_with_length_one_and_averaged_with_the_mirror_image() -> None:
    """A trunk whose second block is the photo's red and green, its third blue twice over."""

    def network(images, *, training: bool):
        blocks = (None, tf.constant(images[..., :2]), tf.constant(images[..., 2:] * 2))
        return SimpleNamespace(activations=blocks)

    image = np.array([[[[3, 4, 0.5], [1, 2, 0.5]]]], np.float32)  # [1, 1, 2, 3]
    rules = {"layers": (2, 3), "grid": 1}
    [joined] = post_processing.unwhitened(network, image, [Method("", normalised=True, **rules)])
    assert joined.numpy().tolist() == [pytest.approx([0.6, 0.8, 1])]
    finished = fit_method(Method("", normalised=True, **rules)).finish(joined).numpy()
    assert finished[0] == pytest.approx(np.array([0.6, 0.8, 1]) / np.sqrt(2))
    flat = lambda images, training: SimpleNamespace(features=np.reshape(images, (1, -1)))  # noqa: E731
    [flat] = post_processing.unwhitened(flat, image, [Method("", flipped=True)])
    assert flat.numpy().tolist() == [[2, 3, 0.5, 2, 3, 0.5]]


@pytest.fixture(scope="module")
def network():
    """The paper's discriminator; 4 does not divide its last 6 x 9 activations; batch norms were moved."""
    settings = load_gan("sample", image_size=(48, 72))
    made = build_discriminator(settings, seed=2)
    for norm in made.norms:  # as after training: moving statistics that are no identity
        norm.moving_mean.assign(DRAW.uniform(-0.2, 0.2, norm.moving_mean.shape))
        norm.moving_variance.assign(DRAW.uniform(0.5, 2, norm.moving_variance.shape))
    return made


@pytest.fixture(scope="module")
def pixels() -> np.ndarray:
    return DRAW.integers(0, 256, (70, 48, 72, 3), dtype=np.uint8)  # more than a batch


def test_photo_vectors_are_the_networks_own_activations(network, pixels: np.ndarray) -> None:
    plain, pooled = Method("plain"), Method("pooled", layers=(3,), whitened=5)
    vectors = photo_vectors(network, pixels, [plain, pooled, Method("again", layers=(3,))])
    output = network(to_signed(pixels), training=False)
    assert list(vectors) == [
        plain.before_whitening,
        pooled.before_whitening,
    ]
    np.testing.assert_allclose(vectors[plain.before_whitening], output.features.numpy(), rtol=1e-4, atol=1e-5)
    third = loop_pooled(output.activations[2].numpy()[:2], 4, lambda cell: cell.max(axis=0))
    np.testing.assert_allclose(vectors[pooled.before_whitening][:2], third, rtol=1e-4, atol=1e-5)


def test_trunk_and_method_in_one_onnx_file(network, pixels: np.ndarray) -> None:
    """All that a method can hold, in one graph; the file leaves the sixth convolution out."""
    from solesearch.cost.onnx_model import OnnxModel, export_features

    method = Method(
        "everything",
        layers=(2, 4),
        pooling="gem",
        root=True,
        flipped=True,
        whitened=8,
        shrinkage=0.1,
        normalised=True,
    )
    vectors = photo_vectors(network, pixels, [method])[method.before_whitening]
    fitted = fit_method(method, vectors)
    whole = export_features(post_processing.embedding_function(network, fitted, image_size=(48, 72)))
    content = with_half_weights(whole)
    assert len(content) < 0.6 * len(whole)
    exact, found = (OnnxModel(one, threads=1).embed(pixels) for one in (whole, content))
    assert (exact * found).sum(axis=1).min() > 0.99999  # cosines
    assert found.shape == (70, 8) and np.linalg.norm(found, axis=1) == pytest.approx(np.ones(70), abs=1e-5)
    np.testing.assert_allclose(exact, fitted.finish(vectors), atol=2e-4)
    megabytes = fitted.megabytes(network)
    assert len(content) / 1e6 == pytest.approx(megabytes, rel=0.15)
    by_hand = 2 * (3 * 9 * 16 + 16 + 16 * 9 * 32 + 32 + 32 * 9 * 64 + 64 + 64 * 9 * 128 + 128)  # convolutions
    by_hand += 2 * 4 * (32 + 64 + 128) + 2 * 16 * (32 + 128) * (8 + 1)  # norms; mean and projection
    assert megabytes == pytest.approx(by_hand / 1e6)


def test_mutual_neighbours_by_hand() -> None:
    """On a line: 0 and 1 name each other, 1 is nearest to 3 as well, but has a nearer one."""
    line = np.array([0.0, 1.0, 3.0, 10.0, 10.5])[:, None]
    assert post_processing.mutual_neighbours(line, count=1).tolist() == [[0, 1], [3, 4]]
    assert post_processing.mutual_neighbours(line, count=9).tolist() == list(
        map(list, itertools.combinations(range(5), 2))
    )
    vectors = DRAW.standard_normal((40, 3))
    distances = np.linalg.norm(vectors[:, None] - vectors, axis=2) + np.diag([np.inf] * 40)
    near = [set(np.argsort(row)[:4]) for row in distances]
    plain = [[i, j] for i in range(40) for j in range(i + 1, 40) if i in near[j] and j in near[i]]
    assert post_processing.mutual_neighbours(vectors, count=4).tolist() == plain


def test_oriented_components_keep_what_parts_photos_and_leaves_neighbours_together() -> None:
    """Twenty tight heaps: what parts the heaps is weak, what differs within each of them is strong."""
    heaps = np.repeat(DRAW.standard_normal((20, 2)) * (3, 2), 20, axis=0)
    within = DRAW.standard_normal((400, 2)) * 0.05
    loud = DRAW.standard_normal((400, 1)) * 2.5  # differs between neighbours as much as between any two
    signals = np.concatenate([heaps + within, loud], axis=1)
    turned = np.linalg.qr(DRAW.standard_normal((5, 5)))[0][:3]  # in five dimensions, along no axis
    vectors = signals @ turned + 3
    rules = {"dimensions": 3, "among": 3, "neighbours": 5, "shrinkage": 1e-9}
    mean, components, ratios = post_processing.oriented_components(vectors, **rules)
    reduced = (vectors - mean) @ components
    np.testing.assert_allclose(np.cov(reduced.T), np.diag(ratios), atol=0.01 * ratios[0])
    towards = np.abs(np.linalg.pinv(components) @ turned.T)  # [components, signals]
    assert towards[2].argmax() == 2, "the loud signal comes last, though its variance is the second"
    _, axes, variances = post_processing.principal_components(vectors, dimensions=3)
    near = (vectors - mean) @ axes / variances**0.25
    first, second = post_processing.mutual_neighbours(near, count=5).T
    squares = (reduced[first] - reduced[second]) ** 2
    np.testing.assert_allclose(squares.mean(axis=0) / 2, 1, rtol=1e-6)


def test_an_oriented_method_is_fitted_on_neighbours(network, pixels: np.ndarray) -> None:
    rules = {"whitened": 4, "oriented": 20, "neighbours": 3, "shrinkage": 0.1}
    method = Method("", layers=(2,), **rules, exponent=0.5)
    [fitted] = fit_methods(network, [method], pixels)
    vectors = photo_vectors(network, pixels, [method])[method.before_whitening]
    mean, components, ratios = post_processing.oriented_components(
        vectors, dimensions=4, among=20, neighbours=3, shrinkage=0.1
    )
    np.testing.assert_allclose(fitted.projection, components / ratios**0.25, rtol=1e-4, atol=1e-5)
    found = fitted.finish(vectors)
    np.testing.assert_allclose(found, (vectors - mean) @ fitted.projection, rtol=1e-3, atol=1e-3)


def test_components_are_found_once_for_methods_that_only_weigh_them_otherwise(
    network, pixels, monkeypatch
) -> None:
    """Three weights of the same principal components, two of the same oriented ones: two eigenproblems."""
    rules = {"layers": (2,), "whitened": 4}
    methods = [Method("", **rules), Method("", **rules, shrinkage=0.5), Method("", **rules, exponent=0.5)]
    methods += [
        Method("", **rules, oriented=9, neighbours=3, shrinkage=0.1, exponent=one) for one in (0.0, 0.5)
    ]
    alone = [fit_methods(network, [method], pixels)[0].projection for method in methods]
    solved, solve = [], post_processing.principal_components
    monkeypatch.setattr(
        post_processing,
        "principal_components",
        lambda *given, **rules: solved.append(1) or solve(*given, **rules),
    )
    together = [fitted.projection for fitted in fit_methods(network, methods, pixels)]
    assert len(solved) == 2
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)
    assert len({projection.tobytes() for projection in together}) == len(methods)
