"""Names in an ONNX network: the same bytes whatever they were, and the same arithmetic."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from solesearch.core.errors import InputError
from solesearch.cost.onnx_model import OnnxModel
from solesearch.cost.plain_onnx import with_plain_names


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
    graph = helper.make_graph(nodes, first, ends[:1], ends[1:], weights[::-1] if swapped else weights)
    opset = [helper.make_opsetid("", 17)]
    return helper.make_model(graph, opset_imports=opset, ir_version=8).SerializeToString()


def test_the_same_bytes_whatever_the_names_were() -> None:
    plain = with_plain_names(network(first="fold_97", second="fold_105", swapped=False))
    assert plain == with_plain_names(network(first="fold_210", second="a", swapped=True))
    assert plain != with_plain_names(plain.replace(np.float32(5).tobytes(), np.float32(6).tobytes()))
    onnx.checker.check_model(onnx.ModelProto.FromString(plain))
    found = OnnxModel(plain, threads=1).embed(np.array([[0, 1, 2]], dtype=np.float32))
    assert found.tolist() == [[5, 7, 9]]


def test_branches_are_refused() -> None:
    inner = helper.make_graph([], "inner", [], [])
    node = helper.make_node("If", ["x"], ["y"], then_branch=inner, else_branch=inner)
    graph = helper.make_graph([node], "outer", [], [])
    with pytest.raises(InputError, match="branches or loops"):
        with_plain_names(helper.make_model(graph).SerializeToString())
