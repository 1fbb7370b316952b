"""ONNX networks whose bytes are the same each time: tf2onnx numbers tensors as a set in memory has them."""

from __future__ import annotations

import onnx

from solesearch.core.errors import InputError


def with_plain_names(content: bytes) -> bytes:
    """Return an ONNX network with nodes and tensors named by their place; it computes the same.

    Raises InputError for a network with branches or loops, whose inner names would have to follow.
    """
    model = onnx.ModelProto.FromString(content)
    graph, names = model.graph, {}
    if any(attribute.HasField("g") for node in graph.node for attribute in node.attribute):
        raise InputError("a network with branches or loops; none of this project's has any")

    def renamed(name: str) -> str:
        return (
            names.setdefault(name, f"tensor_{len(names)}") if name else ""
        )  # "": an optional input left out

    for place, node in enumerate(graph.node):
        node.name = f"node_{place}"
        node.input[:] = [renamed(name) for name in node.input]
        node.output[:] = [renamed(name) for name in node.output]
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
    graph.name = "network"
    return model.SerializeToString(deterministic=True)
