"""The twelve ImageNet CNNs of P Table II (keras.applications): what they are, and how they embed a photo."""

from __future__ import annotations

import tempfile
import warnings
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import h5py
import numpy as np
from pydantic import AfterValidator, Field, model_validator

from solesearch.core.errors import InputError
from solesearch.core.model_names import NetworkRow, published_networks
from solesearch.core.settings import Section

FEWEST = 20  # photos: below this a precision@10 means nothing
SMALLEST = 75  # pixels: below this the Inceptions cannot be built
# network -> width -> how Keras spells it in the file's name, and the values without classifier
WIDTHS = {
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
    width: float  # Keras's alpha; 1 for all that have none
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
    known = {str(alpha): alpha for alpha in WIDTHS.get(builder, {}) if alpha != 1.0}
    if width not in known and name != builder:
        offered = ", ".join(f"{builder}-{alpha}" for alpha in known) or f"only {builder}"
        raise InputError(f"network {name!r}: no such width; there is {offered}")
    row, alpha = table.loc[builder], known.get(width, 1.0)
    spelled, values = WIDTHS.get(builder, {}).get(alpha, ("", int(row["values"])))
    facts = {key: row[key] for key in ("scaling", "last_convolution", "folder", "md5")}
    file = row["file"].format(alpha=spelled)
    return Network(name, builder, alpha, input_size=int(row["input_size"]), values=values, file=file, **facts)


def known_network(name: str) -> str:
    """Return `name`; raises InputError when there is no such network."""
    return find_network(name).name


def each_once(names: list[str]) -> list[str]:
    """Return `names`; raises InputError when one occurs twice."""
    if len(set(names)) < len(names):
        raise InputError("name each once")
    return names


def zero_or_from(least: int) -> AfterValidator:
    """Return the check of a number that is 0 (all of them, the network's own) or at least `least`."""

    def check(value: int) -> int:
        if value != 0 and value < least:
            raise InputError(f"0, or {least} and more")
        return value

    return AfterValidator(check)


NetworkName = Annotated[str, AfterValidator(known_network)]
NetworkNames = Annotated[list[NetworkName], AfterValidator(each_once)]
Scaling = Literal["caffe", "tf", "torch", "none"]  # what they mean says `scale`
Photos, Pixels = Annotated[int, zero_or_from(FEWEST)], Annotated[int, zero_or_from(SMALLEST)]


class NetworkSettings(Section, section="networks"):
    """Which networks take part and how they see a photo; `params.yaml` holds the values and their sources."""

    names: Annotated[NetworkNames, Field(min_length=1)]
    whole_catalogue: NetworkNames  # those that embed every photo; the others embed test photos
    photos: Photos  # how many test photos, drawn from `seed`; 0: all of them
    untrained_photos: Photos  # the same, for a network without ImageNet weights
    weights_folder: Annotated[str, Field(min_length=1)]  # of the user's own weight files
    download: bool  # whether missing weights are fetched
    layers: dict[NetworkName, str]  # network -> layer, where it is not the last convolution
    pooling: Literal["average", "max", "flatten"]
    preprocess: Literal["native", "shared"]
    shared_scaling: Scaling  # the one scaling of `preprocess: shared`
    other_scalings: list[Scaling]  # further input scalings, tried on the networks that have ImageNet weights
    input_size: Pixels  # square; 0: each network's own
    untrained_input_size: Pixels  # the same, for a network without ImageNet weights
    seed: Annotated[int, Field(ge=0)]  # draws the weights of a network that has no ImageNet weights here
    batch: Annotated[int, Field(ge=1)]  # photos a pass

    @model_validator(mode="after")
    def whole_catalogue_takes_part(self) -> Self:
        """Refuse a network that embeds the whole catalogue and does not take part."""
        if foreign := set(self.whole_catalogue) - set(self.names):
            raise InputError(f"whole_catalogue: {', '.join(sorted(foreign))} is not among `names`")
        return self

    def size_of(self, network: Network, *, trained: bool) -> int:
        """Return the side of the square that `network` sees, in pixels."""
        return (self.input_size if trained else self.untrained_input_size) or network.input_size

    def scaling_of(self, variant: NetworkRow) -> str:
        """Return how the input of `variant` is scaled: caffe, tf, torch or none."""
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


def build_network(network: Network, *, size: int | None, seed: int, weights: Path | None = None):
    """Return the Keras model without classifier for images [b, size, size, 3]; None: of any size.

    Its weights are those of a file, or drawn from `seed`, and its layers are named as in a fresh process:
    Keras counts those without a name of their own (InceptionV3's conv2d_93) over all that it has built.
    Raises InputError when the file does not fit.
    """
    import keras

    keras.utils.clear_session(free_memory=False)
    keras.utils.set_random_seed(seed)
    width = {"alpha": network.width} if network.builder in WIDTHS else {}
    builder = getattr(keras.applications, network.builder)
    model = builder(weights=None, include_top=False, input_shape=(size, size, 3), **width)
    if weights is not None:
        load_weights(model, weights, network)
    return model


def feature_model(model, network: Network, *, layer: str = "", pooling: str = "average"):
    """Return the part of `model` up to `layer` (default: the last convolution), pooled to [b, d].

    Raises InputError when the network has no such layer.
    """
    import keras

    name = layer or network.last_convolution
    if name not in {one.name for one in model.layers}:
        raise InputError(f"params.yaml, networks.layers: {network.name} has no layer {name!r}")
    pools = {
        "average": keras.layers.GlobalAveragePooling2D,
        "max": keras.layers.GlobalMaxPooling2D,
        "flatten": keras.layers.Flatten,
    }
    pooled = pools[pooling](name="embedding")(model.get_layer(name).output)
    return keras.Model(model.input, pooled, name=network.builder.lower())


class NetworkEmbedder:
    """A network compiled once: uint8 photos in, features out, scaling included.

    It takes photos of one size, or of any where `sides` are None.
    """

    def __init__(
        self,
        variant: NetworkRow,
        settings: NetworkSettings,
        *,
        weights: Path | None,
        any_size: bool = False,
    ):
        """Build the network and load `weights`; None leaves it untrained.

        `any_size` lets it be timed at another size than it embeds. A MobileNet stays built for one, since V2
        pads by whether a side is even, and so does one whose map of vectors is kept (pooling: flatten).

        `whole` is the network without classifier, which may be trained further before it first embeds.
        Raises InputError when the file does not fit the network.
        """
        import tensorflow as tf

        tf.get_logger().setLevel("ERROR")  # it takes the networks, each traced once, for one traced anew
        self.network, self.batch = find_network(variant.network), settings.batch
        self.size = settings.size_of(self.network, trained=weights is not None)
        one_size = not any_size or self.network.builder in WIDTHS or settings.pooling == "flatten"
        self.sides = self.size if one_size else None
        self.whole = build_network(self.network, size=self.sides, seed=settings.seed, weights=weights)
        layer = settings.layers.get(self.network.name, "")
        self.model = feature_model(self.whole, self.network, layer=layer, pooling=settings.pooling)
        self.trained, self.scaling = weights is not None, settings.scaling_of(variant)
        self.features = tf.function(
            lambda images: self.model(scale(images, scaling=self.scaling), training=False),
            input_signature=[tf.TensorSpec((None, self.sides, self.sides, 3), tf.uint8)],
        )

    def embed(self, pixels: np.ndarray) -> np.ndarray:
        """Return the features, float32 [n, d], of uint8 pixels [n, size, size, 3], some photos at a time."""
        starts = range(0, len(pixels), self.batch)
        return np.concatenate([self.features(pixels[at : at + self.batch]).numpy() for at in starts])


@cache
def kept_embedders() -> dict[tuple, NetworkEmbedder]:
    """Return the networks that this process keeps from embedding until they are timed."""
    return {}


def kept_embedder(name: str, settings: str, weights: Path | None) -> NetworkEmbedder:
    """Return a network as it is, of any size, built once in this process; `settings` are NetworkSettings.

    They come as JSON. Whoever trains a network further builds one of his own; `kept_embedders` is where one
    is dropped when nobody needs it any more.
    """
    kept, key = kept_embedders(), (name, settings, weights)
    if key not in kept:
        known = NetworkSettings.model_validate_json(settings)
        kept[key] = NetworkEmbedder(NetworkRow(name), known, weights=weights, any_size=True)
    return kept[key]


def check_weight_file(path: Path, network: Network) -> None:
    """Raise InputError when an HDF5 file cannot hold the network's weights; needs no TensorFlow.

    Keras passes over layers that a file lacks with a warning, so the values are counted.
    """
    sizes: list[int] = []
    try:
        with h5py.File(path, "r") as file:
            file.visititems(lambda _, item: sizes.append(getattr(item, "size", 0)))  # a group has none
    except (OSError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[0]
        raise InputError(f"{path}: not a whole HDF5 file ({reason}); delete it or copy it again") from error
    if sum(sizes) != network.values:
        more = "; it seems to hold the classifier, too" if sum(sizes) > network.values else ""
        raise InputError(
            f"{path}: not the weights of {network.name} without classifier: it holds {sum(sizes):,} values, "
            f"wanted are {network.values:,}{more}. Take Keras's file {network.file}, or delete it"
        )


def load_weights(model, path: Path, network: Network) -> None:
    """Load an HDF5 weight file of Keras 2 or 3 into `model`; raises InputError when it does not fit.

    Keras tells its two formats apart by the ending, so the file is given to it under the right one.
    """
    check_weight_file(path, network)
    with h5py.File(path, "r") as file:
        ending = ".h5" if "layer_names" in file.attrs else ".weights.h5"
    try:
        with warnings.catch_warnings(), tempfile.TemporaryDirectory() as folder:
            warnings.filterwarnings("ignore", message="Skipping nested container")
            link = Path(folder) / f"link{ending}"
            link.symlink_to(path.resolve())
            model.load_weights(link)
    except (ValueError, OSError, KeyError, TypeError, AttributeError) as error:
        reason = str(error).strip().splitlines()[0]
        raise InputError(
            f"{path}: not the weights of {network.name} without classifier ({reason}); delete it"
        ) from error
