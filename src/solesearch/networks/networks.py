"""The twelve ImageNet CNNs of P Table II (keras.applications): what they are, and how they embed a photo."""

from __future__ import annotations

import contextlib
import dataclasses
import tempfile
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from solesearch.core.errors import InputError
from solesearch.core.model_names import published_networks

POOLINGS = ("average", "max", "flatten")
PREPROCESSINGS = ("native", "shared")
SCALINGS = ("caffe", "tf", "torch", "none")  # keras.applications.imagenet_utils; none: 0..255 as they are
HEADS = ("one_unit", "classes")  # C section 8.3.1.2: what a network is retrained with
FEWEST = 20  # photos: below this a precision@10 means nothing
SMALLEST = 75  # pixels: below this the Inceptions cannot be built
# network -> width -> how Keras spells it in the file's name, and the values without classifier
ALPHAS = {
    "MobileNet": {0.25: ("2_5", 218544), 0.5: ("5_0", 829536), 0.75: ("7_5", 1832976), 1.0: ("1_0", 3228864)},
    "MobileNetV2": {
        0.35: ("0.35", 410208),
        0.5: ("0.5", 706224),
        0.75: ("0.75", 1382064),
        1.0: ("1.0", 2257984),
        1.3: ("1.3", 3766048),
        1.4: ("1.4", 4363712),
    },
}


@dataclass(frozen=True)
class Network:
    """One network as Keras publishes it, at one width."""

    name: str  # as in every table: VGG16, MobileNet, MobileNet-0.25
    builder: str  # the function in keras.applications
    alpha: float  # width multiplier; 1 for all that have none
    scaling: str  # how its input was scaled in training: caffe, tf, torch (keras.applications)
    input_size: int  # pixels, square
    last_convolution: str  # the layer whose activation is pooled
    values: int  # weights of the network without classifier, batch norm's statistics included
    folder: str  # below the address of Keras's weight files
    file: str  # the published file without classifier
    md5: str  # of that file; "" where Keras checks none (the MobileNets)


def find_network(name: str) -> Network:
    """Return the network called `name`: a name of P Table II, or MobileNet-0.25 for a width of 0.25.

    Raises InputError for an unknown network or width.
    """
    builder, _, width = name.partition("-")
    table = published_networks()
    if builder not in table.index:
        raise InputError(f"network {name!r} is unknown; there are {', '.join(table.index)}")
    row, alpha = table.loc[builder], _width(name, builder, width)
    spelled, values = ALPHAS.get(builder, {}).get(alpha, ("", int(row["values"])))
    return Network(
        name=name,
        builder=builder,
        alpha=alpha,
        scaling=row["scaling"],
        input_size=int(row["input_size"]),
        last_convolution=row["last_convolution"],
        values=values,
        folder=row["folder"],
        file=row["file"].format(alpha=spelled),
        md5=row["md5"],
    )


def _width(name: str, builder: str, width: str) -> float:
    if not width:
        return 1.0
    known = [alpha for alpha in ALPHAS.get(builder, {}) if alpha != 1.0]
    if width not in map(str, known):
        offered = ", ".join(f"{builder}-{alpha}" for alpha in known) or f"only {builder}"
        raise InputError(f"network {name!r}: no such width; there is {offered}")
    return float(width)


@dataclass(frozen=True)
class Variant:
    """A network as one row of a table: as it is, retrained with a head, or under another input scaling."""

    network: str
    head: str = "none"
    scaling: str = ""  # "": as the settings say

    @property
    def name(self) -> str:
        """Return `MobileNetV2`, `MobileNetV2+classes` or `MobileNetV2@caffe`."""
        head = "" if self.head == "none" else f"+{self.head}"
        return f"{self.network}{head}{'@' if self.scaling else ''}{self.scaling}"


@dataclass(frozen=True)
class NetworkSettings:
    """Which networks take part and how they see a photo; `params.yaml` holds the values and their sources."""

    names: list[str]
    whole_catalogue: list[str]  # those that embed every photo; the others embed test photos
    photos: int  # how many test photos, drawn from `seed`; 0: all of them
    untrained_photos: int  # the same, for a network without ImageNet weights
    weights_folder: str  # where the user's own weight files lie, below the repository or absolute
    download: bool  # whether missing weights are fetched
    layers: dict[str, str]  # network -> layer, where it is not the last convolution
    pooling: str
    preprocess: str
    shared_scaling: str  # the one scaling of `preprocess: shared`
    other_scalings: list[str]  # further input scalings, tried on the networks that have ImageNet weights
    input_size: int  # pixels, square; 0: each network's own
    untrained_input_size: int  # the same, for a network without ImageNet weights
    seed: int  # draws the weights of a network that has no ImageNet weights here
    batch: int  # photos a pass

    def __post_init__(self) -> None:
        """Raise InputError for a network, pooling or scaling that does not exist."""
        for name in (*self.names, *self.layers):
            find_network(name)
        checks = {
            "names: name each network once, and at least one": 0 < len(set(self.names)) == len(self.names),
            "whole_catalogue: name networks of `names`": set(self.whole_catalogue) <= set(self.names),
            f"pooling: one of {', '.join(POOLINGS)}": self.pooling in POOLINGS,
            f"preprocess: one of {', '.join(PREPROCESSINGS)}": self.preprocess in PREPROCESSINGS,
            f"shared_scaling, other_scalings: of {', '.join(SCALINGS)}": (
                {self.shared_scaling, *self.other_scalings} <= set(SCALINGS)
            ),
            f"photos and untrained_photos: 0 (all test photos), or {FEWEST} and more": all(
                count == 0 or count >= FEWEST for count in (self.photos, self.untrained_photos)
            ),
            "download: true or false": isinstance(self.download, bool),
            "weights_folder: name a folder": isinstance(self.weights_folder, str) and self.weights_folder,
            f"input_size and untrained_input_size: 0, or {SMALLEST} pixels and more": all(
                size == 0 or size >= SMALLEST for size in (self.input_size, self.untrained_input_size)
            ),
            "batch must be at least 1": self.batch >= 1,
        }
        for rule, holds in checks.items():
            if not holds:
                raise InputError(f"params.yaml, networks.{rule}; got {self}")

    def at_published_size(self) -> NetworkSettings:
        """Return these settings with every network at the input size that it was published with."""
        return dataclasses.replace(self, input_size=0, untrained_input_size=0)

    def size_of(self, network: Network, *, trained: bool) -> int:
        """Return the side of the square that `network` sees, in pixels."""
        return (self.input_size if trained else self.untrained_input_size) or network.input_size

    def scaling_of(self, variant: Variant) -> str:
        """Return how the input of `variant` is scaled: one of SCALINGS."""
        native = find_network(variant.network).scaling
        return variant.scaling or (native if self.preprocess == "native" else self.shared_scaling)


def scale(images: Any, *, scaling: str) -> Any:
    """Return RGB images [b, h, w, 3] of 0..255 as float32, scaled as `scaling` says.

    caffe: BGR minus ImageNet's mean; tf: to [-1, 1]; torch: to [0, 1], then ImageNet's mean and deviation
    (keras.applications.imagenet_utils); none: left as they are.
    """
    import tensorflow as tf
    from keras.applications.imagenet_utils import preprocess_input

    values = tf.cast(images, tf.float32)
    return (
        values if scaling == "none" else preprocess_input(values, data_format="channels_last", mode=scaling)
    )


def build_network(network: Network, *, size: int, seed: int, classifier: bool = False):
    """Return the Keras model for images [b, size, size, 3], with weights drawn from `seed`."""
    import keras

    keras.utils.set_random_seed(seed)
    width = {"alpha": network.alpha} if network.builder in ALPHAS else {}
    builder = getattr(keras.applications, network.builder)
    return builder(weights=None, include_top=classifier, input_shape=(size, size, 3), **width)


def feature_model(model, network: Network, *, layer: str = "", pooling: str = "average"):
    """Return the part of `model` up to `layer` (default: the last convolution), pooled to [b, d].

    Raises InputError when the network has no such layer.
    """
    import keras

    name = layer or network.last_convolution
    if name not in {one.name for one in model.layers}:
        raise InputError(f"params.yaml, networks.layers: {network.name} has no layer {name!r}")
    hidden = model.get_layer(name).output
    pools = {
        "average": keras.layers.GlobalAveragePooling2D,
        "max": keras.layers.GlobalMaxPooling2D,
        "flatten": keras.layers.Flatten,
    }
    return keras.Model(model.input, pools[pooling](name="embedding")(hidden), name=network.builder.lower())


class NetworkEmbedder:
    """A network compiled once: uint8 photos in, features out, scaling included."""

    def __init__(
        self,
        variant: Variant,
        settings: NetworkSettings,
        *,
        weights: Path | None,
        retrained: Path | None = None,
    ):
        """Build the network and load `weights`; None leaves it untrained. `retrained` holds what retraining
        made of them (retraining.py).

        Raises InputError when a file does not fit the network.
        """
        import tensorflow as tf

        from solesearch.core.checkpoints import (
            load_variables,  # only here: the stage weights starts without it
        )

        network = find_network(variant.network)
        self.network, self.batch = network, settings.batch
        self.size = settings.size_of(network, trained=weights is not None)
        whole = prepared_network(network, size=self.size, seed=settings.seed, weights=weights)
        if retrained is not None:
            load_variables(retrained, whole.variables)
        layer = settings.layers.get(network.name, "")
        self.model = feature_model(whole, network, layer=layer, pooling=settings.pooling)
        scaling = settings.scaling_of(variant)
        self.features = tf.function(
            lambda images: self.model(scale(images, scaling=scaling), training=False),
            input_signature=[tf.TensorSpec((None, self.size, self.size, 3), tf.uint8)],
        )

    def embed(self, pixels: np.ndarray) -> np.ndarray:
        """Return the features, float32 [n, d], of uint8 pixels [n, size, size, 3]."""
        starts = range(0, len(pixels), self.batch)
        blocks = [self.features(pixels[start : start + self.batch]).numpy() for start in starts]
        return np.concatenate(blocks)


def prepared_network(network: Network, *, size: int, seed: int, weights: Path | None):
    """Return the network without classifier, with the weights of a file or, for None, drawn from `seed`."""
    whole = build_network(network, size=size, seed=seed)
    if weights is not None:
        load_weights(whole, weights, name=network.name)
    return whole


def check_weight_file(path: Path, network: Network) -> None:
    """Raise InputError when an HDF5 file cannot hold the network's weights; needs no TensorFlow.

    Keras passes over layers that a file lacks with a warning, so the values are counted.
    """
    try:
        held = _count_values(path)
    except (OSError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[0]
        raise InputError(f"{path}: not a whole HDF5 file ({reason}); delete it or copy it again") from error
    if held != network.values:
        more = "; it seems to hold the classifier, too" if held > network.values else ""
        raise InputError(
            f"{path}: not the weights of {network.name} without classifier: it holds {held:,} values, wanted "
            f"are {network.values:,}{more}. Take Keras's file {network.file}, or delete it"
        )


def load_weights(model, path: Path, *, name: str) -> None:
    """Load an HDF5 weight file of Keras 2 or 3 into `model`; raises InputError when it does not fit."""
    check_weight_file(path, find_network(name))
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Skipping nested container")
            with _named_by_content(path) as named:
                model.load_weights(named)
    except (ValueError, OSError, KeyError, TypeError, AttributeError) as error:
        reason = str(error).strip().splitlines()[0]
        raise InputError(
            f"{path}: not the weights of {name} without classifier ({reason}); delete it"
        ) from error


@contextlib.contextmanager
def _named_by_content(path: Path) -> Iterator[Path]:
    """Give a path to the same file under the ending by which Keras tells its two formats apart.

    Keras 2 lists `layer_names` in the file's attributes and ends in .h5, Keras 3 does not and ends in
    .weights.h5; a user who renamed a file need not know.
    """
    with h5py.File(path, "r") as file:
        ending = ".h5" if "layer_names" in file.attrs else ".weights.h5"
    if path.name.endswith(".weights.h5") == (ending == ".weights.h5"):
        yield path
        return
    with tempfile.TemporaryDirectory() as folder:
        link = Path(folder) / f"renamed{ending}"
        link.symlink_to(path.resolve())
        yield link


def _count_values(path: Path) -> int:
    sizes = []
    with h5py.File(path, "r") as file:
        file.visititems(lambda _, item: sizes.append(item.size) if isinstance(item, h5py.Dataset) else None)
    return sum(sizes)
