"""A network's other poolings: against the network itself, kept, made anew when settings change."""

from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image

from solesearch.beyond import network_maps
from solesearch.beyond.methods import JudgingSettings
from solesearch.beyond.network_maps import NetworkMaps
from solesearch.core import files
from solesearch.core.model_names import NetworkRow
from solesearch.core.paths import Paths
from solesearch.networks.comparison import Comparison
from solesearch.networks.networks import NetworkEmbedder, build_network, find_network, scale
from solesearch.networks.weights import collect

NAME = "MobileNet-0.25"


@pytest.fixture
def opened(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> NetworkMaps:
    """20 random photos, and weights of our own."""
    monkeypatch.setenv("KERAS_HOME", str(workspace / "keras"))
    parameters = yaml.safe_load((workspace / "params.yaml").read_text())
    parameters["smoke"]["networks"].update(names=[NAME], whole_catalogue=[NAME], batch=8)
    (workspace / "params.yaml").write_text(yaml.safe_dump(parameters))
    paths, rows = Paths.of("smoke"), []
    paths.drawn.mkdir(parents=True, exist_ok=True)
    for number in range(20):
        drawn = np.random.default_rng(number).integers(0, 256, (60, 80, 3), dtype=np.uint8)
        Image.fromarray(drawn).save(paths.drawn / f"{number:02d}.png")
        rows.append((f"{number:02d}.png", f"digest-{number}", "a", "training", str(number), 0))
    columns = ["id", "sha256", "label", "split", "group", "position"]
    files.write_table(paths.photos, pd.DataFrame(rows, columns=columns))
    whole = build_network(find_network(NAME), size=75, seed=5)
    for layer in whole.layers:
        layer.momentum = (
            0.0  # of batch norms: random weights let every signal die out, so they learn its size
        )
    whole(np.random.default_rng(1).uniform(-1, 1, (8, 75, 75, 3)).astype(np.float32), training=True)
    (workspace / "weights").mkdir()
    whole.save_weights(workspace / "weights" / f"{NAME}.weights.h5")
    collect("smoke", report=lambda _: None)
    return NetworkMaps(Comparison.open("smoke"), JudgingSettings.load("smoke"))


def test_poolings_are_the_networks_own_and_kept(opened: NetworkMaps, monkeypatch) -> None:
    """Maximum and generalised mean of the network's own last map, whose mean stage networks keeps."""
    comparison, photos = opened.comparison, opened.comparison.photos
    weights = comparison.weights[NAME].path
    embedder = NetworkEmbedder(NetworkRow(NAME), comparison.networks, weights=weights)
    pixels = comparison.decode(photos, size=75)
    found = {pooling: opened.vectors(NAME, pooling, photos) for pooling in network_maps.POOLINGS}
    layer = embedder.whole.get_layer(embedder.network.last_convolution)
    seen = keras.Model(embedder.whole.input, layer.output)(
        scale(pixels, scaling="tf"), training=False
    ).numpy()
    np.testing.assert_allclose(seen.mean(axis=(1, 2)), embedder.embed(pixels), rtol=0.01, atol=2e-4)
    np.testing.assert_allclose(found["max"], seen.max(axis=(1, 2)), rtol=0.01, atol=2e-4)
    cubes = (np.maximum(seen, 1e-6) ** 3.0).mean(axis=(1, 2)) ** (1 / 3)
    np.testing.assert_allclose(found["gem"], cubes, rtol=0.01, atol=2e-4)

    monkeypatch.setattr(network_maps, "NetworkEmbedder", None)  # nothing may be computed again
    assert np.array_equal(opened.vectors(NAME, "max", photos), found["max"])
    other = NetworkMaps(comparison, opened.judging.replaced(gem_power=4.0))
    with pytest.raises(TypeError, match="not callable"):
        other.vectors(NAME, "gem", photos)
