"""An exported network: the numbers of the one that was exported, the same bytes whatever its names were."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from solesearch.core.errors import InputError
from solesearch.cost.onnx_model import (
    OnnxModel,
    export_features,
    save_onnx,
    with_8_bit_weights,
    with_plain_names,
)
from solesearch.gan.embedder import Embedder
from solesearch.gan.training import load_gan
from solesearch.photos.photo import to_signed


def test_the_discriminator_in_onnx_runtime(tmp_path: Path) -> None:
    gan = load_gan("sample", image_size=(64, 96))
    embedder = Embedder(gan, seed=1)
    pixels = np.random.default_rng(0).integers(0, 256, (3, 64, 96, 3), dtype=np.uint8)
    path = tmp_path / "infogan.onnx"
    save_onnx(path, export_features(embedder.features))
    features = OnnxModel(path, threads=1).embed(to_signed(pixels))
    assert features.shape == (3, 1536) and features.dtype == np.float32
    np.testing.assert_allclose(features, embedder.embed(pixels), atol=1e-5)

    quantised = with_8_bit_weights(path.read_bytes())
    assert len(quantised) < 0.27 * len(path.read_bytes())
    rough = OnnxModel(quantised, threads=1).embed(to_signed(pixels))
    lengths = np.linalg.norm(features, axis=1) * np.linalg.norm(rough, axis=1)
    cosines = (features * rough).sum(axis=1) / lengths
    assert cosines.min() > 0.999 and not np.array_equal(rough, features)

    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(InputError, match=r"infogan\.onnx: no ONNX network"):
        OnnxModel(path, threads=1)
    with pytest.raises(InputError, match=r"nowhere\.onnx: not there yet"):
        OnnxModel(tmp_path / "nowhere.onnx", threads=1)


def network(*, first: str, second: str, swapped: bool) -> bytes:
    """Return x * 2 + 5 for x [b, 3], its tensors named and its weights ordered as asked."""
    weights = [
        numpy_helper.from_array(np.full(3, value, dtype=np.float32), name)
        for name, value in ((first, 2), (second, 5))
    ]
    nodes = [
        helper.make_node("Mul", ["x", first], [f"{first}_out"], name=f"{second}_node"),
        helper.make_node("Add", [f"{first}_out", second], ["y"], name=first),
    ]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [f"unk__{first}", 3]) for name in "xy"]
    weights = weights[::-1] if swapped else weights
    graph = helper.make_graph(nodes, first, ends[:1], ends[1:], weights, doc_string=f"converted from {first}")
    opset = [helper.make_opsetid("", 17)]
    return helper.make_model(graph, opset_imports=opset, ir_version=8).SerializeToString()


def test_the_same_bytes_whatever_the_names_were() -> None:
    plain = with_plain_names(network(first="fold_97", second="fold_105", swapped=False))
    assert plain == with_plain_names(network(first="fold_210", second="a", swapped=True))
    onnx.checker.check_model(onnx.ModelProto.FromString(plain))
    found = OnnxModel(plain, threads=1).embed(np.array([[0, 1, 2]], dtype=np.float32))
    assert found.tolist() == [[5, 7, 9]]
