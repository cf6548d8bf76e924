"""Tests."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from avdetect.runtime.bundle_files import default_bundle_path, external_data_locations


def outside(name: str, location: str) -> TensorProto:
    tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=[4], data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value=location)
    tensor.external_data.add(key="offset", value="0")
    return tensor


def model(nodes: list[onnx.NodeProto], initializers: list[TensorProto]) -> bytes:
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [4])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [4])
    return helper.make_model(helper.make_graph(nodes, "g", [x], [y], initializers)).SerializeToString()


def test_a_graph_that_holds_its_weights_refers_to_nothing() -> None:
    weights = numpy_helper.from_array(np.arange(4, dtype=np.float32), "w")
    assert external_data_locations(model([helper.make_node("Add", ["x", "w"], ["y"])], [weights])) == set()


def test_an_initializer_outside_is_found() -> None:
    graph = model([helper.make_node("Add", ["x", "w"], ["y"])], [outside("w", "../../etc/passwd")])
    assert external_data_locations(graph) == {"../../etc/passwd"}


def test_a_constant_inside_a_branch_of_a_node_is_found() -> None:
    y = helper.make_tensor_value_info("c", TensorProto.FLOAT, [4])
    branch = helper.make_graph([helper.make_node("Constant", [], ["c"], value=outside("v", "deep.bin"))], "b", [], [y])
    node = helper.make_node("If", ["x"], ["y"], then_branch=branch, else_branch=branch)
    assert external_data_locations(model([node], [])) == {"deep.bin"}


def test_a_sparse_initializer_outside_is_found() -> None:
    built = onnx.ModelProto()
    built.ParseFromString(model([helper.make_node("Relu", ["x"], ["y"])], []))
    built.graph.sparse_initializer.add().values.CopyFrom(outside("s", "sparse.bin"))
    assert external_data_locations(built.SerializeToString()) == {"sparse.bin"}


def test_every_field_that_can_hold_a_tensor_is_walked() -> None:
    """The table of field numbers is held against onnx's own schema."""
    from avdetect.runtime.bundle_files import _MESSAGES

    kinds = {"Model", "Graph", "Function", "Node", "Attribute", "SparseTensor", "Tensor"}
    for kind, children in _MESSAGES.items():
        descriptor = getattr(onnx, f"{kind}Proto").DESCRIPTOR
        found = {
            field.number: field.message_type.name.removesuffix("Proto").removeprefix("StringString")
            for field in descriptor.fields
            if field.message_type is not None and field.message_type.name.removesuffix("Proto") in kinds
        }
        if kind == "Tensor":
            found[descriptor.fields_by_name["external_data"].number] = "Entry"
        assert children == found, kind


def test_the_default_bundle_keeps_its_weights_to_itself() -> None:
    for graph in default_bundle_path().glob("*.onnx"):
        assert external_data_locations(graph.read_bytes()) == set()


@given(st.binary(max_size=200))
def test_any_bytes_are_walked_or_refused_in_words(data: bytes) -> None:
    try:
        external_data_locations(data)
    except ValueError as error:
        assert str(error)  # noqa: PT017


def test_a_cut_model_is_refused() -> None:
    whole = model([helper.make_node("Relu", ["x"], ["y"])], [])
    with pytest.raises(ValueError, match="past the end|does not end"):
        external_data_locations(whole[:-3])
