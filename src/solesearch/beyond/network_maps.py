"""What the ImageNet networks see of photos, pooled in more ways than in stage networks.

Whatever is done to the label-free models is done to these controls, too: notebook 10. Vectors are kept in
runs/<profile>/ladder/networks with what decided them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import keras
import numpy as np
import pandas as pd
import tensorflow as tf

from solesearch.beyond.methods import JudgingSettings, Method
from solesearch.beyond.post_processing import pooled
from solesearch.core.embedding import Embedding
from solesearch.core.model_names import NetworkRow
from solesearch.core.progress import Progress
from solesearch.core.provenance import code_digest
from solesearch.networks.comparison import Comparison, NetworkFolder
from solesearch.networks.networks import NetworkEmbedder, scale

POOLINGS = ("max", "gem")  # of methods.Method; stage networks takes the mean


@dataclass(frozen=True)
class NetworkMaps:
    """The networks of one profile, asked for other poolings of their last convolution."""

    comparison: Comparison
    judging: JudgingSettings

    @cached_property
    def store(self) -> NetworkFolder:
        """Where the vectors are kept."""
        return NetworkFolder(self.comparison.paths.ladder / "networks")

    def vectors(self, network: str, pooling: str, photos: pd.DataFrame) -> np.ndarray:
        """Return vectors [n, d] of photos [n] by one of POOLINGS; computed once.

        Raises InputError where the network's weights do not fit any more.
        """
        kept = {name: f"{network}-{name}-{photos['split'].iloc[0]}" for name in POOLINGS}
        wanted = self._wanted(network, photos)
        if not all(self.store.holds(name, wanted) for name in kept.values()):
            parts = list(self._seen(network, photos))
            for name, found in zip(kept.values(), zip(*parts, strict=True), strict=True):
                embedding = Embedding(photos["id"].tolist(), np.concatenate(found))
                self.store.save(embedding, wanted=wanted, overview={"model": name})
        return self.store.load(kept[pooling]).vectors

    def _wanted(self, network: str, photos: pd.DataFrame) -> dict[str, Any]:
        table = photos[["id", "sha256"]].to_csv(index=False)
        return {
            **self.comparison.wanted(NetworkRow(network)),
            "code": code_digest("solesearch.beyond.network_maps"),
            "photos": hashlib.sha256(table.encode()).hexdigest(),
            "gem_power": self.judging.gem_power,
        }

    def _seen(self, network: str, photos: pd.DataFrame) -> Iterator[list[np.ndarray]]:
        """Yield one array a pooling of POOLINGS for each batch of photos."""
        comparison, settings = self.comparison, self.comparison.networks
        weights = comparison.weights[network].path
        embedder = NetworkEmbedder(NetworkRow(network), settings, weights=weights)
        layer = settings.layers.get(network, "") or embedder.network.last_convolution
        places = keras.Model(embedder.whole.input, embedder.whole.get_layer(layer).output)
        see = tf.function(lambda images: places(scale(images, scaling=embedder.scaling), training=False))
        power = self.judging.gem_power
        whole_map = [Method("", pooling=name, grid=1, power=power) for name in POOLINGS]
        title = f"{network} sees {photos['split'].iloc[0]} photos"
        progress = Progress(title, total=len(photos), unit="photo")
        for first in range(0, len(photos), settings.batch):
            rows = photos.iloc[first : first + settings.batch]
            activation = see(comparison.decode(rows, size=embedder.size))
            yield [pooled(activation, method).numpy() for method in whole_map]
            progress.update(first + len(rows))
