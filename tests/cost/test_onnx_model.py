"""An exported network gives the numbers of the one that was exported; damaged files are named."""

from pathlib import Path

import numpy as np
import pytest

from solesearch.core.errors import InputError
from solesearch.cost.onnx_model import OnnxModel, export_features, save_onnx
from solesearch.gan.embedder import Embedder
from solesearch.gan.training import load_gan
from solesearch.photos.photo import to_signed


def test_the_discriminator_in_onnx_runtime(tmp_path: Path) -> None:
    gan = load_gan("smoke", image_size=(64, 96))
    embedder = Embedder(gan, seed=1)
    pixels = np.random.default_rng(0).integers(0, 256, (3, 64, 96, 3), dtype=np.uint8)
    path = tmp_path / "infogan.onnx"
    save_onnx(path, export_features(embedder.features))
    features = OnnxModel(path, threads=1).embed(to_signed(pixels))
    assert features.shape == (3, 1536) and features.dtype == np.float32
    np.testing.assert_allclose(features, embedder.embed(pixels), atol=1e-5)

    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(InputError, match=r"infogan\.onnx: no ONNX network"):
        OnnxModel(path, threads=1)
    with pytest.raises(InputError, match=r"nowhere\.onnx: not there yet"):
        OnnxModel(tmp_path / "nowhere.onnx", threads=1)
