"""The models' names: as readers see them, and what the name of an ImageNet network's row says.

A row of a results table is called VGG16, MobileNet-0.25 (a width), MobileNet+classes (retrained with that
head) or MobileNet@caffe (under that input scaling).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pandas as pd

from solesearch.core.errors import InputError

PROPOSED, UNTRAINED, PRIOR = "infogan", "untrained_discriminator", "random"
BEST = "finalist_1"  # of the ablation, the best without labels on validation photos
CONTROLS = ("hog", "pixels", "colour_histogram", "mean_colour")
MODEL_NAMES = {
    PROPOSED: "InfoGAN (proposed)",
    UNTRAINED: "Discriminator, untrained",
    "hog": "HOG",
    "pixels": "Raw pixels",
    "colour_histogram": "Colour histogram",
    "mean_colour": "Mean colour",
    PRIOR: "Random",
}
# Of the ablation, in the tables of likeness; all GANs on its short schedule.
ABLATION_NAMES = {
    "infogan_short": "InfoGAN, short",
    "vanilla": "Vanilla GAN, short",
    "dcgan": "DCGAN, short",
    BEST: "Best without labels",
    "finalist_2": "Second of the ablation",
}
HEADS = {"none": "not retrained", "one_unit": "retrained, one unit", "classes": "retrained, classes"}
DECODING = "decode_and_resize_"  # latency.csv: from a file to pixels, apart from every network
NO_WEIGHTS = "untrained"  # networks.csv and weights.csv: no ImageNet weights were to be had
NO_WEIGHTS_WORDS = "untrained (no ImageNet weights here)"


@cache
def published_networks() -> pd.DataFrame:
    """Return Keras's table, a row a network: size with classifier [MB], ImageNet accuracy, parameters, file.

    Source: keras.io, "Keras Applications" (accuracy, size, parameters) and the hashes that
    keras.applications itself checks.
    """
    table = pd.read_csv(Path(__file__).with_name("imagenet_networks.csv"), keep_default_na=False)
    return table.set_index("network", drop=False)


@dataclass(frozen=True)
class NetworkRow:
    """An ImageNet network as one row of a table: as it is, retrained, or under another input scaling."""

    network: str  # with its width: VGG16, MobileNet-0.25
    head: str = "none"  # none, one_unit or classes
    scaling: str = ""  # "": as the settings say

    @property
    def name(self) -> str:
        """Return `MobileNetV2`, `MobileNetV2+classes` or `MobileNetV2@caffe`."""
        head = "" if self.head == "none" else f"+{self.head}"
        return f"{self.network}{head}{'@' if self.scaling else ''}{self.scaling}"

    @property
    def published_name(self) -> str:
        """Return the name in Keras's and P's tables, which know one width: MobileNet for MobileNet-0.25."""
        return self.network.partition("-")[0]

    @property
    def plain(self) -> bool:
        """Tell whether this is the network as it is: neither retrained nor under another scaling."""
        return self.head == "none" and not self.scaling


def network_row(model: str) -> NetworkRow | None:
    """Return what a row's name says; None for a model that is none of the ImageNet networks."""
    name, _, scaling = model.partition("@")
    network, _, head = name.partition("+")
    row = NetworkRow(network, head or "none", scaling)
    return row if row.published_name in published_networks().index else None


def is_plain_network(model: str) -> bool:
    """Tell whether `model` is an ImageNet network as it is."""
    row = network_row(model)
    return row is not None and row.plain


def model_name(model: str) -> str:
    """Return the name a reader sees; a name without an entry, say `VGG16`, is shown as it is."""
    if model.startswith(DECODING):
        return f"Decode, resize to {model.removeprefix(DECODING).replace('x', ' × ')}"
    row = network_row(model)
    if row is None or row.plain:
        return {**MODEL_NAMES, **ABLATION_NAMES}.get(model, model)
    changes = [HEADS.get(row.head, row.head)] if row.head != "none" else []
    changes += [f"scaling {row.scaling}"] if row.scaling else []
    return f"{row.network}, {', '.join(changes)}"


def untrained_networks(networks: pd.DataFrame | None, models: Iterable[str]) -> set[str]:
    """Return those of `models` that are ImageNet networks without ImageNet weights here.

    `networks` is networks.csv (columns model, weights). Raises InputError when it says nothing of a network:
    a row that is not known to have weights must not stand among those that have.
    """
    wanted = [model for model in dict.fromkeys(models) if network_row(model)]
    sources = {} if networks is None else dict(zip(networks["model"], networks["weights"], strict=True))
    unknown = [model for model in wanted if model not in sources]
    if unknown:
        raise InputError(
            f"table networks: no row for {unknown[0]}, so nobody knows whether it has ImageNet weights; "
            "the pipeline (dvc repro) writes it"
        )
    return {model for model in wanted if sources[model] == NO_WEIGHTS}
