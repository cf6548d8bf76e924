from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from avdetect.errors import BundleError
from avdetect.runtime.bundle_files import default_bundle_path
from avdetect.training.graph_module import GraphModule, averaged, with_weights


def shipped(part: str) -> onnx.ModelProto:
    return onnx.load(Path(default_bundle_path()) / f"{part}.onnx")


def inputs_of(part: str) -> NDArray[np.generic]:
    random = np.random.default_rng(0)
    if part == "audio":
        return (0.2 * random.standard_normal((3, 15600))).astype(np.float32)
    return random.integers(0, 256, (3, 160, 160, 3), dtype=np.uint8)


def run(model: onnx.ModelProto, values: NDArray[np.generic]) -> NDArray[np.float32]:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (result,) = session.run(None, {session.get_inputs()[0].name: values})
    return np.asarray(result, np.float32)


def model_of(
    nodes: list[onnx.NodeProto], weights: dict[str, NDArray[np.generic]], shape: list[int | str]
) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.mark.parametrize("part", ["audio", "visual"])
def test_a_shipped_graph_computes_what_onnxruntime_computes(part: str) -> None:
    model, values = shipped(part), inputs_of(part)
    with torch.no_grad():
        ours = GraphModule(model)(torch.from_numpy(values)).numpy()
    assert np.abs(ours - run(model, values)).max() < 2e-3 * max(1.0, np.abs(ours).max())


@pytest.mark.parametrize("part", ["audio", "visual"])
def test_weights_come_back_into_the_graph_as_they_were(part: str) -> None:
    model = shipped(part)
    again = with_weights(model, GraphModule(model).weights_by_name)
    assert again.SerializeToString(deterministic=True) == model.SerializeToString(deterministic=True)


def test_changed_weights_change_the_graph_as_they_change_the_module() -> None:
    model, values = shipped("audio"), inputs_of("audio")
    module = GraphModule(model)
    with torch.no_grad():
        for weight in module.weights:
            weight.mul_(1.02)
        ours = module(torch.from_numpy(values)).numpy()
    theirs = run(with_weights(model, module.weights_by_name), values)
    assert np.abs(ours - run(model, values)).max() > 0.1  # they did change something
    assert np.abs(ours - theirs).max() < 1e-2 * np.abs(ours).max()


def test_weights_keep_the_precision_they_are_stored_in() -> None:
    model = shipped("audio")
    again = with_weights(model, {name: 2 * one for name, one in GraphModule(model).weights_by_name.items()})
    before = {one.name: one.data_type for one in model.graph.initializer}
    assert {one.name: one.data_type for one in again.graph.initializer} == before
    assert TensorProto.FLOAT16 in before.values()


def test_every_weight_of_a_convolution_gets_a_gradient_and_the_front_end_has_none() -> None:
    module = GraphModule(shipped("audio"))
    module(torch.from_numpy(inputs_of("audio"))).square().mean().backward()
    assert len(module.weights) == 2 * 27  # a kernel and a bias each
    assert all(weight.grad is not None and weight.grad.any() for weight in module.weights)


def test_a_part_of_the_graph_can_be_run_from_a_tensor_in_its_middle() -> None:
    module = GraphModule(shipped("audio"))
    waveform = torch.from_numpy(inputs_of("audio"))
    with torch.no_grad():
        log_mel = module.evaluate({module.input_name: waveform}, "log12")
        assert log_mel.shape == (3, 96, 64)
        torch.testing.assert_close(module.evaluate({"log12": log_mel}, "embedding"), module(waveform))


def test_frozen_weights_are_those_before_the_tensor() -> None:
    module = GraphModule(shipped("audio"))
    assert module.freeze_until("relu19") == 4
    assert [weight.requires_grad for weight in module.weights[:6]] == [False] * 4 + [True] * 2


def test_the_state_dict_restores_a_module_whose_names_hold_dots() -> None:
    weights = {"layer.0.weight": np.ones((2, 3), np.float32), "layer.0.bias": np.zeros(2, np.float32)}
    nodes = [helper.make_node("Gemm", ["x", "layer.0.weight", "layer.0.bias"], ["y"], transB=1)]
    model = model_of(nodes, weights, ["N", 3])
    module = GraphModule(model)
    with torch.no_grad():
        module.weights[0].fill_(3.0)
    restored = GraphModule(model)
    restored.load_state_dict(module.state_dict())
    assert restored(torch.ones(1, 3)).tolist() == [[9.0, 9.0]]
    assert module.weights_by_name.keys() == weights.keys()


def test_the_other_operators_compute_what_onnxruntime_computes() -> None:
    integers = {
        "shape": [0, -1, 2],
        "starts": [1],
        "ends": [99],
        "axes": [2],
        "steps": [2],
        "where": [1, 0],
        "last": [3],
    }
    nodes = [
        helper.make_node("AveragePool", ["x"], ["pooled"], kernel_shape=[2, 2], strides=[2, 1], pads=[1, 1, 1, 1]),
        helper.make_node("Slice", ["pooled", "starts", "ends", "axes", "steps"], ["sliced"]),
        helper.make_node("Gather", ["sliced", "where"], ["gathered"], axis=1),
        helper.make_node("Transpose", ["gathered"], ["transposed"], perm=[0, 2, 3, 1]),
        helper.make_node("Reshape", ["transposed", "shape"], ["reshaped"]),
        helper.make_node("Clip", ["reshaped", "low", "high"], ["clipped"]),
        helper.make_node("Sigmoid", ["reshaped"], ["sigmoid"]),
        helper.make_node("Div", ["sigmoid", "high"], ["divided"]),
        helper.make_node("Concat", ["clipped", "divided"], ["together"], axis=2),
        helper.make_node("Unsqueeze", ["together", "last"], ["y"]),
    ]
    weights: dict[str, NDArray[np.generic]] = {name: np.array(value, np.int64) for name, value in integers.items()}
    weights |= {"low": np.array(-0.5, np.float32), "high": np.array(0.5, np.float32)}
    model = model_of(nodes, weights, ["N", 2, 8, 6])
    values = np.random.default_rng(1).standard_normal((2, 2, 8, 6)).astype(np.float32)
    np.testing.assert_allclose(GraphModule(model)(torch.from_numpy(values)).numpy(), run(model, values), atol=1e-6)


def test_an_average_lies_between_the_two() -> None:
    first, second = {"a": torch.tensor([0.0, 2.0])}, {"a": torch.tensor([10.0, 2.0])}
    torch.testing.assert_close(averaged(first, second, 0.3), {"a": torch.tensor([3.0, 2.0])})
    with pytest.raises(ValueError, match="same network"):
        averaged(first, {"b": torch.zeros(2)}, 0.3)


def test_a_weight_of_another_shape_is_refused() -> None:
    with pytest.raises(ValueError, match=r"no weight c7 of shape \(2,\)"):
        with_weights(shipped("audio"), {"c7": torch.zeros(2)})


def test_an_unknown_operator_is_named() -> None:
    model = model_of([helper.make_node("Tanh", ["x"], ["y"])], {}, ["N", 2])
    with pytest.raises(BundleError, match="operator Tanh"):
        GraphModule(model)
