"""Post-processing: how one trunk's activations become the vector of a photo. No method sees a label.

The paper flattens the last convolution (P section 3). The others change what is done with the same weights:
length 1 (the Euclidean order is then the cosine's), PCA whitening fitted on training photos (Jegou and Chum
2012), components oriented by neighbours (`oriented_components`), several convolutions pooled to a grid and
joined (DCGAN, Radford et al. 2016, section 5.1: maximum; generalised mean: Radenovic et al. 2018), the mean
over a photo and its mirror image (Krizhevsky et al. 2012).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.linalg
import tensorflow as tf
from scipy.sparse import triu
from sklearn.decomposition import PCA
from sklearn.neighbors import kneighbors_graph

from solesearch.beyond.methods import CONVOLUTIONS, Method
from solesearch.core.errors import InputError
from solesearch.gan.embedder import in_batches
from solesearch.photos.photo import to_signed

GEM_FLOOR = 1e-6  # activations below it count as it: a power of a negative number is none
BYTES = 2  # of a weight in a model's file


def pooled(activation: tf.Tensor, method: Method) -> tf.Tensor:
    """Return a grid's cells of an activation [b, h, w, c], side by side: [b, grid * grid * c].

    Cells overlap by one row or column where the grid does not divide h or w. The generalised mean is
    (mean of x^power)^(1/power), negative activations counting as 0: power 1 is the mean, a large one nearly
    the maximum. Raises InputError for an activation smaller than the grid.
    """
    _, height, width, depth = activation.shape
    grid = method.grid
    if min(height, width) < grid:
        where = f"{height}x{width} activations"
        raise InputError(f"a grid of {grid} does not fit into {where}; use larger images")
    if method.pooling == "max":
        return tf.reshape(_largest(activation, grid), (-1, grid * grid * depth))
    gem = method.pooling == "gem"
    cells = tf.maximum(activation, GEM_FLOOR) ** method.power if gem else activation
    # two products with matrices: 36 means of slices take longer
    rows = tf.matmul(_averaging(height, grid), tf.reshape(cells, (-1, height, width * depth)))
    cells = tf.matmul(_averaging(width, grid), tf.reshape(rows, (-1, grid, width, depth)))
    cells = cells ** (1 / method.power) if gem else cells
    return tf.reshape(cells, (-1, grid * grid * depth))


def _edges(length: int, grid: int) -> list[tuple[int, int]]:
    """Return where each of `grid` cells begins and ends, in rows or columns."""
    return [(cell * length // grid, -(-(cell + 1) * length // grid)) for cell in range(grid)]


def _averaging(length: int, grid: int) -> np.ndarray:
    """Return the matrix, float32 [grid, length], that takes each cell's mean along one axis."""
    weights = np.zeros((grid, length), np.float32)
    for cell, (first, last) in enumerate(_edges(length, grid)):
        weights[cell, first:last] = 1 / (last - first)
    return weights


def _largest(cells: tf.Tensor, grid: int) -> tf.Tensor:
    """Return the maximum of each cell, [b, grid, grid, c]: rows first, then columns, which gives the same."""
    for axis in (1, 2):
        parts = [cells[:, a:b] if axis == 1 else cells[:, :, a:b] for a, b in _edges(cells.shape[axis], grid)]
        cells = tf.stack([tf.reduce_max(part, axis=axis) for part in parts], axis=axis)
    return cells


def unit_length(vectors: tf.Tensor) -> tf.Tensor:
    """Return vectors [b, d] scaled to length 1; a zero vector stays."""
    return tf.math.divide_no_nan(vectors, tf.norm(vectors, axis=1, keepdims=True))


def scaled(vectors: tf.Tensor, method: Method) -> tf.Tensor:
    """Return vectors [b, d] as a method scales them before whitening: by the root, then to length 1."""
    vectors = tf.convert_to_tensor(vectors)
    if method.root:
        vectors = tf.sign(vectors) * tf.sqrt(tf.abs(vectors))
    return unit_length(vectors) if method.normalised else vectors


def joined(output, method: Method) -> tf.Tensor:
    """Return a method's parts of what a trunk gave (`infogan.DiscriminatorOutput`) side by side, [b, d]."""
    parts = [pooled(output.activations[layer - 1], method) for layer in method.layers] or [output.features]
    return tf.concat([scaled(part, method) for part in parts], axis=1)


def unwhitened(network, images: tf.Tensor, methods: Sequence[Method]) -> list[tf.Tensor]:
    """Return each method's vectors [b, d] before whitening, of images [b, h, w, 3] in [-1, 1].

    `network` is an infogan.Discriminator or GradientTrunk, batch norm and dropout as at inference. All
    methods share one pass, and those with mirror images a second one.
    """
    output, mirrored = network(images, training=False), None
    if any(method.flipped for method in methods):
        mirrored = network(tf.reverse(images, axis=[2]), training=False)
    return [
        (joined(output, method) + joined(mirrored, method)) / 2 if method.flipped else joined(output, method)
        for method in methods
    ]


def photo_vectors(network, pixels: np.ndarray, methods: Sequence[Method]) -> dict[Method, np.ndarray]:
    """Return `before_whitening` -> vectors float32 [n, d] of uint8 pixels [n, h, w, 3], for all `methods`.

    Each batch is pooled at once: a photo's activations are 60 times as large as what is kept.
    """
    kept = list(dict.fromkeys(method.before_whitening for method in methods))
    batches = in_batches(lambda batch: unwhitened(network, to_signed(batch), kept), pixels)
    return dict(zip(kept, map(np.concatenate, zip(*batches, strict=True)), strict=True))


def principal_components(
    vectors: np.ndarray, *, dimensions: int, solver: str = "arpack"
) -> tuple[np.ndarray, ...]:
    """Return (mean [d], components [d, k], variances [k]) of vectors [n, d], strongest first.

    Solvers are scikit-learn's: "arpack" in float64; "randomized" in float32, in a tenth of the time where k
    is some hundreds. Raises InputError where n or d allow fewer than k = `dimensions`.
    """
    if dimensions >= min(vectors.shape):
        raise InputError(
            f"whitening to {dimensions} dimensions needs more training photos or longer vectors: "
            f"{len(vectors)} photos of {vectors.shape[1]} values; lower ladder.judging.whitened_dimensions"
        )
    pca = PCA(dimensions, svd_solver=solver, copy=False, random_state=0)
    exact = np.float64 if solver == "arpack" else np.float32
    pca.fit(vectors.astype(exact))  # a copy that it may centre: of raw pixels half a gigabyte
    if pca.explained_variance_[-1] <= 1e-12 * pca.explained_variance_[0]:
        raise InputError(f"the training photos' vectors span fewer than {dimensions} dimensions; lower them")
    return pca.mean_, pca.components_.T, pca.explained_variance_


def mutual_neighbours(vectors: np.ndarray, *, count: int) -> np.ndarray:
    """Return pairs of rows, int [p, 2] ascending, of vectors [n, d] among each other's `count` nearest.

    The nearest pair of all is always one. Where fewer photos are there, all others count.
    """
    graph = kneighbors_graph(vectors, min(count, len(vectors) - 1))
    return np.unique(np.stack(triu(graph.minimum(graph.T)).nonzero(), axis=1), axis=0)


def oriented_components(
    vectors: np.ndarray, *, dimensions: int, among: int, neighbours: int, shrinkage: float
) -> tuple[np.ndarray, ...]:
    """Return (mean [d], components [d, k], variances [k]): directions that part photos, not neighbours.

    Neighbours are photos that name each other among their `neighbours` nearest (Qin et al. 2011) by
    half-whitened principal components; such pairs stand in for a label, as in locality preserving projections
    (He and Niyogi 2003) and, for networks, in NNCLR (Dwibedi et al. 2021). Along the components, pairs have
    variance 1, and the photos the `variances`, largest first: oriented principal components (Diamantaras and
    Kung 1996), a linear discriminant without classes. They are sought `among` so many principal components,
    at most as many as there can be, and `shrinkage` of the pairs' mean variance is added to each.
    """
    among = max(min(among, *(side - 1 for side in vectors.shape)), dimensions)
    mean, axes, variances = principal_components(vectors, dimensions=among, solver="randomized")
    reduced = ((vectors - mean) @ axes).astype(np.float64)
    half_whitened = reduced[:, :dimensions] / variances[:dimensions] ** 0.25
    first, second = mutual_neighbours(half_whitened, count=neighbours).T
    changes = (reduced[first] - reduced[second]) / np.sqrt(2)
    within = changes.T @ changes / len(changes)
    within += shrinkage * np.trace(within) / among * np.eye(among)
    ratios, directions = scipy.linalg.eigh(np.diag(variances), within)
    strongest = np.argsort(ratios)[::-1][:dimensions]
    return mean, axes @ directions[:, strongest], ratios[strongest]


@dataclass(frozen=True)
class FittedMethod:
    """A method with what training photos gave it; without whitening there is nothing to fit."""

    method: Method
    mean: np.ndarray | None = None  # float32 [d]
    projection: np.ndarray | None = None  # float32 [d, k]

    def finish(self, vectors) -> tf.Tensor:
        """Return the method's vectors, float32 [n, k], from those before whitening, [n, d]."""
        if self.projection is not None:
            vectors = (vectors - self.mean) @ tf.constant(self.projection)
        return unit_length(vectors) if self.method.normalised else tf.convert_to_tensor(vectors)

    def megabytes(self, network=None) -> float:
        """Return the size of what embedding takes, in half precision: trunk as deep as used, whitening."""
        values = sum(array.size for array in (self.mean, self.projection) if array is not None)
        if network is not None:
            depth = max(self.method.layers, default=CONVOLUTIONS)
            learned = depth - getattr(network, "fixed_layers", 0)
            used = [*network.convolutions[:learned], *network.norms[: depth - 1]]
            values += sum(layer.count_params() for layer in used)
        return values * BYTES / 1e6


def fit_method(
    method: Method,
    training: np.ndarray | None = None,
    *,
    known: dict[Method, tuple[np.ndarray, ...]] | None = None,
) -> FittedMethod:
    """Return `method` fitted on training photos' vectors before whitening, [n, d]; no label has a part in it.

    With principal components, (x - mean) @ projection has the identity as covariance where shrinkage is 0 and
    the exponent 1. `known` keeps the components found, by `Method.directions`, for the next method of the
    same photos and network.
    """
    if not method.whitened:
        return FittedMethod(method)
    known = {} if known is None else known
    if method.directions not in known:
        rules = {"dimensions": method.whitened}
        if method.oriented:
            rules |= {"among": method.oriented, "shrinkage": method.shrinkage}
            known[method.directions] = oriented_components(training, neighbours=method.neighbours, **rules)
        else:
            known[method.directions] = principal_components(training, **rules)
    mean, components, variances = known[method.directions]
    weights = variances if method.oriented else variances + method.shrinkage * variances.mean()
    scale = weights ** (method.exponent / 2)
    return FittedMethod(method, mean.astype(np.float32), (components / scale).astype(np.float32))


def fit_methods(network, methods: Sequence[Method], training: np.ndarray) -> list[FittedMethod]:
    """Return `methods`, each fitted on the training photos, uint8 [n, h, w, 3], as `network` sees them."""
    whitened = [method for method in methods if method.whitened]
    vectors = photo_vectors(network, training, whitened) if whitened else {}
    known: dict[Method, tuple[np.ndarray, ...]] = {}
    return [fit_method(method, vectors.get(method.before_whitening), known=known) for method in methods]


def embedding_function(network, fitted: FittedMethod, *, image_size: tuple[int, int]):
    """Return a tf.function: photos uint8 [b, h, w, 3] -> the method's vectors float32 [b, k].

    `onnx_model.export_features` makes one file of it, without the convolutions that the method leaves out.
    """

    def vectors(pixels: tf.Tensor) -> tf.Tensor:
        images = tf.cast(pixels, tf.float32) / 127.5 - 1.0  # photo.to_signed
        return fitted.finish(unwhitened(network, images, [fitted.method])[0])

    return tf.function(vectors, input_signature=[tf.TensorSpec((None, *image_size, 3), tf.uint8)])
