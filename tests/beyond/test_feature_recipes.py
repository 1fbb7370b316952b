"""Recipes against plain loops and worked numbers; trunk and recipe in one ONNX file give the same vectors."""

import numpy as np
import pytest

from solesearch.beyond import feature_recipes as recipes
from solesearch.beyond.feature_recipes import FLAT, Recipe, fit_recipe
from solesearch.core.errors import InputError

DRAW = np.random.default_rng(3)


def loop_pooled(activation: np.ndarray, grid: int, reduce) -> np.ndarray:
    """Pool cell by cell, photo by photo: rows and columns from floor(i n / g) to ceil((i + 1) n / g)."""
    count, height, width, depth = activation.shape
    pooled = np.empty((count, grid, grid, depth))
    for photo in range(count):
        for row in range(grid):
            for column in range(grid):
                tops = [y for y in range(height) if row * height // grid <= y < (row + 1) * height / grid]
                lefts = [x for x in range(width) if column * width // grid <= x < (column + 1) * width / grid]
                cell = activation[photo][np.ix_(tops, lefts)].reshape(-1, depth)
                pooled[photo, row, column] = reduce(cell)
    return pooled


@pytest.mark.parametrize("size", [(8, 12), (7, 10), (4, 4)])  # divided by 4, not divided by 4, one each
def test_pooling_against_a_loop(size: tuple[int, int]) -> None:
    activation = DRAW.standard_normal((2, *size, 3)).astype(np.float32)
    found = recipes.max_pooled(activation, grid=4).numpy()
    np.testing.assert_array_equal(found, loop_pooled(activation, 4, lambda cell: cell.max(axis=0)))
    mean = recipes.mean_pooled(activation, grid=4).numpy()
    np.testing.assert_allclose(
        mean, loop_pooled(activation, 4, lambda cell: cell.mean(axis=0)), rtol=1e-4, atol=1e-6
    )
    mean = recipes.gem_pooled(activation, grid=4, power=3.0).numpy()

    def reduce(cell: np.ndarray) -> np.ndarray:
        return (np.maximum(cell, recipes.GEM_FLOOR).astype(float) ** 3).mean(axis=0) ** (1 / 3)

    np.testing.assert_allclose(mean, loop_pooled(activation, 4, reduce), rtol=1e-4, atol=1e-6)


def test_generalised_mean_lies_between_mean_and_maximum() -> None:
    activation = np.array([1, 2, 3, 6], np.float32).reshape(1, 2, 2, 1)
    pooled = [
        recipes.gem_pooled(activation, grid=1, power=power).numpy().item() for power in (1.0, 3.0, 30.0)
    ]
    assert pooled[0] == pytest.approx(3) and pooled[1] == pytest.approx(63 ** (1 / 3))  # (1+8+27+216)/4 = 63
    assert 5.7 < pooled[2] < 6


def test_a_grid_larger_than_the_activation_is_refused() -> None:
    with pytest.raises(InputError, match="a grid of 4 does not fit into 3 activations"):
        recipes.max_pooled(np.zeros((1, 3, 8, 1), np.float32), grid=4)


@pytest.mark.parametrize("shape", [(60, 12), (12, 60)])  # more photos than values; fewer
def test_whitened_training_vectors_have_the_identity_as_covariance(shape: tuple[int, int]) -> None:
    vectors = (DRAW.standard_normal(shape) * np.geomspace(1, 50, shape[1]) + 7).astype(np.float32)
    mean, projection = recipes.whitening(vectors, dimensions=6, shrinkage=0.0)
    white = (vectors - mean) @ projection
    assert projection.dtype == np.float32 and white.shape == (shape[0], 6)
    np.testing.assert_allclose(np.cov(white.T), np.eye(6), atol=2e-4)
    np.testing.assert_allclose(white.mean(axis=0), 0, atol=1e-4)
    directions = np.linalg.svd(vectors - mean, full_matrices=False)[2][
        :6
    ]  # the strongest six, by another way
    assert np.abs(projection.T @ directions.T).argmax(axis=1).tolist() == list(range(6))


def test_shrinkage_worked_by_hand() -> None:
    vectors = np.array([[3, 0], [-3, 0], [0, 1], [0, -1]], np.float32)  # variances 18/3 = 6 and 2/3
    _, projection = recipes.whitening(vectors, dimensions=2, shrinkage=0.3)  # 0.3 * (6 + 2/3) / 2 = 1
    assert np.abs(projection).tolist() == pytest.approx(
        np.array([[1 / np.sqrt(7), 0], [0, 1 / np.sqrt(5 / 3)]]), abs=1e-6
    )


def test_whitening_to_more_than_there_is_names_the_setting() -> None:
    with pytest.raises(InputError, match=r"whitening to 5 .* 5 photos of 9 values; lower ladder\.judging"):
        recipes.whitening(np.eye(5, 9, dtype=np.float32), dimensions=5, shrinkage=0.0)
    flat = np.outer(np.arange(9), np.ones(4)).astype(np.float32)  # all on one line
    with pytest.raises(InputError, match="span fewer than 2 dimensions"):
        recipes.whitening(flat, dimensions=2, shrinkage=0.0)


def test_parts_are_joined_each_with_length_one_and_averaged_with_the_mirror_image() -> None:
    parts = {
        ("max", 2, 4): np.array([[3.0, 4.0]], np.float32),
        ("max", 3, 4): np.array([[0.0, 2.0]], np.float32),
    }
    mirrored = {name: one[:, ::-1].copy() for name, one in parts.items()}
    recipe = Recipe("two layers", layers=(2, 3), normalised=True)
    assert recipes.joined(parts, recipe).tolist() == [pytest.approx([0.6, 0.8, 0, 1])]
    assert fit_recipe(recipe, parts).vectors(parts)[0] == pytest.approx(
        np.array([0.6, 0.8, 0, 1]) / np.sqrt(2)
    )
    both = Recipe("two layers, mirror", layers=(2, 3), flipped=True)
    assert fit_recipe(both, {}).vectors(parts, mirrored).tolist() == [[3.5, 3.5, 1, 1]]
    with pytest.raises(InputError, match="needs the mirrored photos"):
        fit_recipe(both, {}).vectors(parts)


def test_first_layers_have_a_grid_of_their_own() -> None:
    numbers = {"layers": [2, 3], "grid": 4, "power": 3.0, "dimensions": 8, "shrinkage": 0.0, "exponent": 0.5}
    named = recipes.named_recipes(lower_layers=[1, 2], first=([1], 6), **numbers)
    assert named["first_mean_half_whitened"].parts == (("mean", 1, 6),)
    assert named["lower_max_half_whitened"].parts == (("max", 1, 4), ("max", 2, 4))


def test_a_recipe_that_cannot_be_followed_is_refused() -> None:
    with pytest.raises(InputError, match="layers lie between 1 and 6"):
        Recipe("none", layers=(0,))
    with pytest.raises(InputError, match="pooling is one of max, gem, mean"):
        Recipe("none", layers=(1,), pooling="median")


@pytest.fixture(scope="module")
def network():
    """The paper's discriminator; 4 does not divide its last 6 x 9 activations; batch norms were moved."""
    from solesearch.gan.infogan import build_discriminator
    from solesearch.gan.training import load_gan

    settings = load_gan("smoke", image_size=(48, 72))
    made = build_discriminator(settings, seed=2)
    for norm in made.norms:  # as after training: moving statistics that are no identity
        norm.moving_mean.assign(DRAW.uniform(-0.2, 0.2, norm.moving_mean.shape))
        norm.moving_variance.assign(DRAW.uniform(0.5, 2, norm.moving_variance.shape))
    return made


@pytest.fixture(scope="module")
def pixels() -> np.ndarray:
    return DRAW.integers(0, 256, (70, 48, 72, 3), dtype=np.uint8)  # more than a batch


def test_photo_parts_are_the_networks_own_activations(network, pixels: np.ndarray) -> None:
    from solesearch.photos.photo import to_signed

    pooled = Recipe("pooled", layers=(3, 6))
    parts = recipes.photo_parts(network, pixels, [Recipe("plain"), pooled])
    output = network(to_signed(pixels), training=False)
    assert set(parts) == {(FLAT, 6, 0), ("max", 3, 4), ("max", 6, 4)}
    np.testing.assert_allclose(parts[FLAT, 6, 0], output.features.numpy(), rtol=1e-4, atol=1e-5)
    third = loop_pooled(output.activations[2].numpy()[:2], 4, lambda cell: cell.max(axis=0))
    np.testing.assert_allclose(parts["max", 3, 4][:2], third.reshape(2, -1), rtol=1e-4, atol=1e-5)
    mirrored = recipes.photo_parts(network, pixels[:, :, ::-1], [Recipe("plain")], mirrored=True)
    np.testing.assert_allclose(mirrored[FLAT, 6, 0], parts[FLAT, 6, 0], rtol=1e-4, atol=1e-5)


def test_trunk_and_recipe_in_one_onnx_file(network, pixels: np.ndarray) -> None:
    """All that a recipe can hold, in one graph; the file leaves the sixth convolution out."""
    from solesearch.cost.onnx_model import OnnxModel, export_features
    from solesearch.photos.photo import to_signed

    recipe = Recipe(
        "everything", layers=(2, 4), pooling="gem", flipped=True, whitened=8, shrinkage=0.1, normalised=True
    )
    sides = [recipes.photo_parts(network, pixels, [recipe], mirrored=one) for one in (False, True)]
    fitted = fit_recipe(recipe, *sides)
    content = export_features(recipes.embedding_function(network, fitted, image_size=(48, 72)))
    found = OnnxModel(content, threads=1).embed(to_signed(pixels))
    assert found.shape == (70, 8) and np.linalg.norm(found, axis=1) == pytest.approx(np.ones(70), abs=1e-5)
    np.testing.assert_allclose(found, fitted.vectors(*sides), atol=2e-4)
    megabytes = fitted.megabytes(network)
    assert len(content) / 1e6 == pytest.approx(megabytes, rel=0.1)
    by_hand = 4 * (3 * 9 * 16 + 16 + 16 * 9 * 32 + 32 + 32 * 9 * 64 + 64 + 64 * 9 * 128 + 128)  # convolutions
    by_hand += 4 * 4 * (32 + 64 + 128) + 4 * 16 * (32 + 128) * (8 + 1)  # norms; mean and projection
    assert megabytes == pytest.approx(by_hand / 1e6)
