"""Feature recipes: how one trunk's activations become the vector of a photo. None of them sees a label.

The paper flattens the last convolution (P section 3). The others change what is done with the same weights:
length 1 (the Euclidean order is then the cosine's), PCA whitening fitted on training photos (Jegou and Chum
2012), several convolutions pooled to a grid and joined (DCGAN, Radford et al. 2016, section 5.1: maximum;
generalised mean: Radenovic et al. 2018), the mean over a photo and its mirror image (Krizhevsky et al. 2012).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.linalg

from solesearch.claims.readings import unit_length
from solesearch.core.errors import InputError
from solesearch.gan.embedder import BATCH
from solesearch.photos.photo import to_signed

FLAT, MAXIMUM, GENERALISED_MEAN, MEAN = "flat", "max", "gem", "mean"
POOLINGS = (MAXIMUM, GENERALISED_MEAN, MEAN)
CONVOLUTIONS = 6  # of P Table I's discriminator
GEM_FLOOR = 1e-6  # activations below it count as it: a power of a negative number is none
BYTES = 4  # of a float32

# (how, which convolution, 1 to 6, cells a side): ("max", 3, 4); ("flat", 6, 0) is the paper's vector
Part = tuple[str, int, int]
Parts = dict[Part, np.ndarray]  # each float32 [n, d]


@dataclass(frozen=True)
class Recipe:
    """What is done with a trunk's activations, in the order of the fields."""

    title: str  # words for tables and charts
    layers: tuple[int, ...] = ()  # convolutions pooled and joined, 1 to 6; (): the last one, flattened
    pooling: str = MAXIMUM
    grid: int = 4  # cells along each side, DCGAN's value
    power: float = 3.0  # of the generalised mean; Radenovic et al. start from 3
    flipped: bool = False  # mean over the photo and its mirror image
    whitened: int = 0  # principal components kept and scaled to variance 1; 0: none
    shrinkage: float = 0.0  # added to each variance, as a share of the mean of those kept
    exponent: float = (
        1.0  # 1: all components weigh the same; 0: PCA; between: scaled by variance^(-exponent/2)
    )
    normalised: bool = False  # each convolution's part, and the vector at the end, to length 1

    def __post_init__(self) -> None:
        """Raise InputError for a recipe that cannot be followed."""
        rules = {
            f"layers lie between 1 and {CONVOLUTIONS}": all(1 <= n <= CONVOLUTIONS for n in self.layers),
            f"pooling is one of {', '.join(POOLINGS)}": self.pooling in POOLINGS,
            "grid is at least 1": self.grid >= 1,
            "power is above 0": self.power > 0,
            "whitened and shrinkage are at least 0": self.whitened >= 0 and self.shrinkage >= 0,
            "exponent lies in [0, 1]": 0 <= self.exponent <= 1,
        }
        for rule, holds in rules.items():
            if not holds:
                raise InputError(f"recipe {self.title!r}: {rule}; got {self}")

    @property
    def parts(self) -> tuple[Part, ...]:
        """What the recipe takes from a trunk, in the vector's order."""
        pooled = tuple((self.pooling, layer, self.grid) for layer in self.layers)
        return pooled or ((FLAT, CONVOLUTIONS, 0),)


# --- pooling ---------------------------------------------------------------------------------------------


def cells(side: int, grid: int) -> list[tuple[int, int]]:
    """Return (first, beyond) of each of `grid` cells of a side; they overlap by one where it does not divide.

    Raises InputError for a side shorter than the grid.
    """
    if side < grid:
        raise InputError(f"a grid of {grid} does not fit into {side} activations; use larger images")
    return [(cell * side // grid, -(-(cell + 1) * side // grid)) for cell in range(grid)]


def _over_cells(activation, reduce, grid: int):
    """Reduce [b, h, w, c] to [b, grid, grid, c]: rows first, then columns, which gives the same."""
    import tensorflow as tf

    for axis in (1, 2):
        places = cells(activation.shape[axis], grid)
        slices = [
            activation[:, first:last] if axis == 1 else activation[:, :, first:last] for first, last in places
        ]
        activation = tf.stack([reduce(one, axis) for one in slices], axis=axis)
    return activation


def max_pooled(activation, *, grid: int):
    """Return the maximum of each cell, [b, grid, grid, c], of an activation [b, h, w, c]."""
    import tensorflow as tf

    return _over_cells(activation, lambda part, axis: tf.reduce_max(part, axis=axis), grid)


def gem_pooled(activation, *, grid: int, power: float):
    """Return the generalised mean of each cell, (mean of x^power)^(1/power), [b, grid, grid, c].

    power 1 is the mean, a large one nearly the maximum. Negative activations count as 0 (`GEM_FLOOR`).
    """
    import tensorflow as tf

    raised = tf.maximum(activation, GEM_FLOOR) ** power
    return _over_cells(raised, lambda part, axis: tf.reduce_mean(part, axis=axis), grid) ** (1 / power)


def mean_pooled(activation, *, grid: int):
    """Return the mean of each cell, [b, grid, grid, c], of an activation [b, h, w, c]."""
    import tensorflow as tf

    return _over_cells(activation, lambda part, axis: tf.reduce_mean(part, axis=axis), grid)


def part_of(output, part: Part, recipe: Recipe):
    """Return one part, a tensor [b, d], of what a discriminator gave (`infogan.DiscriminatorOutput`)."""
    import tensorflow as tf

    how, layer, grid = part
    if how == FLAT:
        return output.features
    activation = output.activations[layer - 1]
    if how == GENERALISED_MEAN:
        pooled = gem_pooled(activation, grid=grid, power=recipe.power)
    else:
        pooled = {MAXIMUM: max_pooled, MEAN: mean_pooled}[how](activation, grid=grid)
    return tf.reshape(pooled, (-1, pooled.shape[1] * pooled.shape[2] * pooled.shape[3]))


def photo_parts(network, pixels: np.ndarray, recipes: Iterable[Recipe], *, mirrored: bool = False) -> Parts:
    """Return every part that `recipes` take of uint8 pixels [n, h, w, 3], each float32 [n, d].

    `network` is an infogan.Discriminator, batch norm and dropout as at inference. Each batch is pooled at
    once: a photo's activations are 60 times as large as what is kept. The recipes share the power.
    """
    needed = {part: recipe for recipe in recipes for part in recipe.parts}
    blocks: dict[Part, list[np.ndarray]] = {part: [] for part in needed}
    for start in range(0, len(pixels), BATCH):
        images = pixels[start : start + BATCH]
        output = network(to_signed(images[:, :, ::-1] if mirrored else images), training=False)
        for part, recipe in needed.items():
            blocks[part].append(part_of(output, part, recipe).numpy())
    return {part: np.concatenate(block) for part, block in blocks.items()}


# --- from parts to vectors -------------------------------------------------------------------------------


def joined(parts: Parts, recipe: Recipe) -> np.ndarray:
    """Return a recipe's parts side by side, float32 [n, d]; each to length 1 where it says so."""
    chosen = [parts[part] for part in recipe.parts]
    return np.concatenate([unit_length(one) if recipe.normalised else one for one in chosen], axis=1)


def averaged(parts: Parts, mirrored: Parts | None, recipe: Recipe) -> np.ndarray:
    """Return the vectors before whitening, float32 [n, d]; InputError where mirror images are missing."""
    vectors = joined(parts, recipe)
    if not recipe.flipped:
        return vectors
    if mirrored is None:
        raise InputError(f"recipe {recipe.title!r} needs the mirrored photos' activations too")
    return (vectors + joined(mirrored, recipe)) / 2


def whitening(
    vectors: np.ndarray, *, dimensions: int, shrinkage: float, exponent: float = 1.0
) -> tuple[np.ndarray, np.ndarray]:
    """Return (mean float32 [d], projection float32 [d, dimensions]) fitted on vectors [n, d].

    (vectors - mean) @ projection has the identity as covariance where `shrinkage` is 0: principal components
    divided by the root of (variance + shrinkage * mean variance of those kept), raised to `exponent`: below 1
    large components keep a part of their weight. The smaller of covariance and Gram matrix is taken apart, in
    double precision. Raises InputError where n or d allow fewer dimensions.
    """
    count, width = vectors.shape
    if dimensions > min(count - 1, width):
        raise InputError(
            f"whitening to {dimensions} dimensions needs more training photos or longer vectors: "
            f"{count} photos of {width} values; lower ladder.judging.whitened_dimensions"
        )
    mean = vectors.mean(axis=0, dtype=np.float64)
    centred = vectors - mean
    tall = count > width
    square = (centred.T @ centred if tall else centred @ centred.T) / (count - 1)
    last = len(square) - 1
    variances, axes = scipy.linalg.eigh(square, subset_by_index=(last - dimensions + 1, last))
    variances, axes = variances[::-1], axes[:, ::-1]
    if variances[-1] <= 1e-12 * variances[0]:
        raise InputError(f"the training photos' vectors span fewer than {dimensions} dimensions; lower them")
    if not tall:  # from the Gram matrix: an axis in the space of photos becomes one in that of features
        axes = centred.T @ axes / np.sqrt(variances * (count - 1))
    scale = (variances + shrinkage * variances.mean()) ** (exponent / 2)
    return mean.astype(np.float32), (axes / scale).astype(np.float32)


@dataclass(frozen=True)
class FittedRecipe:
    """A recipe with what training photos gave it; without whitening there is nothing to fit."""

    recipe: Recipe
    mean: np.ndarray | None = None  # float32 [d]
    projection: np.ndarray | None = None  # float32 [d, k]

    def vectors(self, parts: Parts, mirrored: Parts | None = None) -> np.ndarray:
        """Return the vectors, float32 [n, k], of photos whose parts are given (`photo_parts`)."""
        vectors = averaged(parts, mirrored, self.recipe)
        if self.projection is not None:
            vectors = (vectors - self.mean) @ self.projection
        return unit_length(vectors) if self.recipe.normalised else vectors

    def megabytes(self, network) -> float:
        """Return the float32 size of what embedding needs: the trunk as deep as used, and the whitening."""
        layers = max(layer for _, layer, _ in self.recipe.parts)
        learned = layers - getattr(network, "fixed_layers", 0)
        used = [*network.convolutions[:learned], *network.norms[: layers - 1]]
        values = sum(layer.count_params() for layer in used)
        values += sum(array.size for array in (self.mean, self.projection) if array is not None)
        return values * BYTES / 1e6


def fit_recipe(recipe: Recipe, parts: Parts, mirrored: Parts | None = None) -> FittedRecipe:
    """Return `recipe` fitted on the parts of training photos; labels have no part in it."""
    if not recipe.whitened:
        return FittedRecipe(recipe)
    vectors = averaged(parts, mirrored, recipe)
    fitted = whitening(
        vectors, dimensions=recipe.whitened, shrinkage=recipe.shrinkage, exponent=recipe.exponent
    )
    return FittedRecipe(recipe, *fitted)


# --- trunk and recipe as one function --------------------------------------------------------------------


def embedding_function(network, fitted: FittedRecipe, *, image_size: tuple[int, int]):
    """Return a tf.function: images float32 [b, h, w, 3] in [-1, 1] -> the recipe's vectors [b, k].

    `onnx_model.export_features` makes one ONNX file of it; convolutions that the recipe leaves out are not
    in that file.
    """
    import tensorflow as tf

    signature = [tf.TensorSpec((None, *image_size, 3), tf.float32)]
    return tf.function(lambda images: _vectors(network, fitted, images), input_signature=signature)


def _vectors(network, fitted: FittedRecipe, images: Any):
    import tensorflow as tf

    recipe = fitted.recipe
    hidden = _joined(network(images, training=False), recipe)
    if recipe.flipped:
        mirrored = tf.reverse(images, axis=[2])
        hidden = (hidden + _joined(network(mirrored, training=False), recipe)) / 2
    if fitted.projection is not None:
        # (x - mean) @ projection, the constant taken out of the product
        hidden = hidden @ fitted.projection - fitted.mean @ fitted.projection
    return _unit_length(hidden) if recipe.normalised else hidden


def _joined(output, recipe: Recipe):
    import tensorflow as tf

    chosen = [part_of(output, part, recipe) for part in recipe.parts]
    return tf.concat([_unit_length(one) if recipe.normalised else one for one in chosen], axis=1)


def _unit_length(vectors):
    import tensorflow as tf

    return tf.math.divide_no_nan(vectors, tf.norm(vectors, axis=1, keepdims=True))


# --- the recipes of the ladder ---------------------------------------------------------------------------


def named_recipes(
    *,
    layers: Sequence[int],
    lower_layers: Sequence[int],
    first: tuple[Sequence[int], int],
    grid: int,
    power: float,
    dimensions: int,
    shrinkage: float,
    exponent: float,
) -> dict[str, Recipe]:
    """Return name -> recipe, single ideas first; the names are what params.yaml lists.

    `first` are the layers, and the grid, of recipes that pool them by their mean.
    """
    whitened = {"whitened": dimensions, "shrinkage": shrinkage}
    pooled = {"layers": tuple(layers), "grid": grid, "power": power, "normalised": True}
    partly = {"whitened": dimensions, "exponent": exponent}
    by_max, by_gem = {**pooled, "pooling": MAXIMUM}, {**pooled, "pooling": GENERALISED_MEAN}
    by_mean = {"layers": tuple(first[0]), "grid": first[1], "pooling": MEAN, "normalised": True}
    return {
        "plain": Recipe("plain (the paper)"),
        "normalised": Recipe("length 1", normalised=True),
        "whitened": Recipe("whitened", **whitened),
        "flipped": Recipe("mirror average", flipped=True),
        "layers_max": Recipe("layers, maximum", **by_max),
        "layers_gem": Recipe("layers, generalised mean", **by_gem),
        "normalised_whitened": Recipe("length 1, whitened", normalised=True, **whitened),
        "normalised_half_whitened": Recipe("length 1, half whitened", normalised=True, **partly),
        "layers_max_half_whitened": Recipe("layers (max), half whitened", **by_max, **partly),
        "lower_max_half_whitened": Recipe(
            "lower layers (max), half whitened", **{**by_max, "layers": tuple(lower_layers)}, **partly
        ),
        "first_mean_half_whitened": Recipe("first layers (mean), half whitened", **by_mean, **partly),
        "normalised_whitened_flipped": Recipe(
            "length 1, whitened, mirror average", normalised=True, flipped=True, **whitened
        ),
        "layers_max_whitened": Recipe("layers (max), whitened", **by_max, **whitened),
        "layers_gem_whitened": Recipe("layers (GeM), whitened", **by_gem, **whitened),
        "layers_max_whitened_flipped": Recipe(
            "layers (max), whitened, mirror average", flipped=True, **by_max, **whitened
        ),
        "layers_gem_whitened_flipped": Recipe(
            "layers (GeM), whitened, mirror average", flipped=True, **by_gem, **whitened
        ),
    }


SINGLE_IDEAS = ("normalised", "whitened", "flipped", "layers_max", "layers_gem")
