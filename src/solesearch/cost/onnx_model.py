"""An embedding network as an ONNX file: it runs without TensorFlow, in about half the time for one photo.

The file holds weights and arithmetic alone, no code; ONNX Runtime reads it (onnxruntime.ai).
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnxruntime

from solesearch.core import files
from solesearch.core.errors import InputError, not_made_yet

OPSET = 17  # of 2022: every operation that is used here, and old enough for any runtime


def export_features(features) -> bytes:
    """Return the ONNX file of a compiled TensorFlow function: images [b, h, w, 3] -> features [b, d].

    `features` is a `tf.function` with an input signature (`Embedder.features`, `NetworkEmbedder.features`).
    """
    import tf2onnx

    model, _ = tf2onnx.convert.from_function(
        features, input_signature=list(features.input_signature), opset=OPSET
    )
    return model.SerializeToString()


def with_8_bit_weights(content: bytes) -> bytes:
    """Return an ONNX network whose convolutions keep 8-bit weights: a quarter of the size.

    Dynamic-range quantisation (ONNX Runtime's `quantize_dynamic`): the range of what flows between the layers
    is taken photo by photo, so no photos are needed to fit it. Unsigned, since signed weights have no fast
    convolution on processors.
    """
    import onnx
    from onnxruntime.quantization import QuantType, quant_pre_process, quantize_dynamic

    with tempfile.TemporaryDirectory() as folder:
        shaped, path = (Path(folder) / name for name in ("shaped.onnx", "quantised.onnx"))
        steps = {"skip_optimization": True, "skip_symbolic_shape": True}  # shapes alone; weights stay apart
        quant_pre_process(onnx.ModelProto.FromString(content), shaped, **steps)
        quantize_dynamic(shaped, path, weight_type=QuantType.QUInt8)
        return path.read_bytes()


def save_onnx(path: Path, content: bytes, *, metadata: Mapping[str, str] | None = None) -> None:
    """Write an exported network, whole or not at all; the same network gives the same bytes.

    `metadata`: texts that stand in the file itself, by their keys.
    """
    with files.replacing(path) as temporary:
        temporary.write_bytes(with_plain_names(content, metadata=metadata or {}))


def with_plain_names(content: bytes, *, metadata: Mapping[str, str] | None = None) -> bytes:
    """Return an ONNX network with nodes and tensors named by their place; it computes the same.

    tf2onnx numbers tensors as a set in memory has them, so two exports of one network differ in names. Raises
    InputError for a network with branches or loops, whose inner names would have to follow.
    """
    import onnx

    model = onnx.ModelProto.FromString(content)
    graph, names = model.graph, {"": ""}  # "": an optional input left out
    if any(attribute.HasField("g") for node in graph.node for attribute in node.attribute):
        raise InputError("a network with branches or loops; none of this project's has any")

    def renamed(name: str) -> str:
        return names.setdefault(name, f"tensor_{len(names) - 1}")

    for place, node in enumerate(graph.node):
        node.name = f"node_{place}"
        node.input[:], node.output[:] = map(renamed, node.input), map(renamed, node.output)
    for tensor in (*graph.input, *graph.output, *graph.initializer):
        tensor.name = renamed(tensor.name)
    for tensor in (*graph.input, *graph.output):
        for place, side in enumerate(tensor.type.tensor_type.shape.dim):
            if not side.HasField("dim_value"):
                side.dim_param = f"any_{place}"
    weights = sorted(graph.initializer, key=lambda tensor: int(tensor.name.rpartition("_")[2]))
    kept = [onnx.TensorProto.FromString(tensor.SerializeToString()) for tensor in weights]
    del graph.initializer[:], graph.value_info[:]
    graph.initializer.extend(kept)
    onnx.helper.set_model_props(model, dict(metadata or {}))
    graph.name, graph.doc_string = "network", ""  # the second tells TensorFlow's number of the function
    return model.SerializeToString(deterministic=True)


class OnnxModel:
    """A network in ONNX Runtime, on processors only, with a fixed number of threads."""

    def __init__(self, model: bytes | Path, *, threads: int):
        """Load an exported network from its bytes or its file.

        Raises InputError that names a file which is missing or no ONNX network.
        """
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        options.log_severity_level = 3
        if isinstance(model, Path) and not model.is_file():
            raise not_made_yet(model, made_by="stage embed")
        try:
            self.session = onnxruntime.InferenceSession(
                model if isinstance(model, bytes) else str(model), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # ONNX Runtime raises classes of its own that share no other base
            raise InputError(
                f"{model if isinstance(model, Path) else 'the network'}: no ONNX network; make it anew"
            ) from error
        self.input, self.output = self.session.get_inputs()[0].name, self.session.get_outputs()[0].name

    def embed(self, images: np.ndarray) -> np.ndarray:
        """Return features float32 [b, d] of images [b, h, w, 3], of the type that was exported."""
        return self.session.run([self.output], {self.input: images})[0]
