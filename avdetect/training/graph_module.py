"""An ONNX graph of convolutions as a torch module, and the way back: an encoder of a bundle can be trained on.

The graph's nodes are interpreted, one torch call each. Weights of convolutions and of dense layers become parameters in
single precision, whatever the file stores them in; constants, such as the filters of a mel front end, stay as they are.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from torch import Tensor, nn
from torch.nn import functional

from avdetect.errors import BundleError

__all__ = ["GraphModule", "averaged", "with_weights"]

_WEIGHTED = ("Conv", "Gemm")
"""Operators whose constant inputs, all but the first, are learned."""


class _Step(NamedTuple):
    """One node."""

    operator: str
    inputs: tuple[str, ...]
    output: str
    attributes: dict[str, Any]


class GraphModule(nn.Module):
    """The graph of ``model``, with the weights of its convolutions and dense layers as parameters.

    The state dict has them as ``weights.0``, ``weights.1`` and so on, in the order in which the graph uses them;
    ``weights_by_name`` has them by the names that they have in the file.

    Args:
        model: one input and one output that matter: the first of each.

    Raises:
        BundleError: the graph has an operator that is not known here.
    """

    def __init__(self, model: onnx.ModelProto) -> None:
        super().__init__()
        graph = model.graph
        self.input_name = graph.input[0].name
        self.output_name = graph.output[0].name
        stored = {one.name: numpy_helper.to_array(one) for one in graph.initializer}
        learned = _learned(graph, stored)
        self._steps = tuple(_step(node) for node in graph.node)
        unknown = sorted({step.operator for step in self._steps} - _OPERATORS.keys())
        if unknown:
            raise BundleError(f"a graph with the operator {', '.join(unknown)} cannot be trained on.")
        self._producer = {step.output: index for index, step in enumerate(self._steps)}
        self._weight_names = learned
        self.weights = nn.ParameterList(
            [nn.Parameter(torch.tensor(stored[name], dtype=torch.float32)) for name in learned]
        )
        self._constant_names: tuple[str, ...] = tuple(name for name in stored if name not in set(learned))
        self._plans: dict[tuple[frozenset[str], str], tuple[_Step, ...]] = {}
        for index, name in enumerate(self._constant_names):
            # Buffers, so that they follow to a device, but not saved: the file has them.
            self.register_buffer(f"_constant_{index}", torch.tensor(stored[name]), persistent=False)

    @property
    def weights_by_name(self) -> dict[str, Tensor]:
        """Every weight by its name in the file."""
        return dict(zip(self._weight_names, self.weights, strict=True))

    @property
    def tensor_names(self) -> tuple[str, ...]:
        """What ``evaluate`` can give or be given, in the order of the graph."""
        return (self.input_name, *(step.output for step in self._steps))

    def forward(self, inputs: Tensor) -> Tensor:
        """The graph's output for its input."""
        return self.evaluate({self.input_name: inputs}, self.output_name)

    def evaluate(self, given: Mapping[str, Tensor], wanted: str) -> Tensor:
        """The tensor called ``wanted``, from the tensors ``given``; only the nodes between them are run.

        This is how a front end is run once without gradients, or how a picture that is prepared already enters after
        the graph's own preparation.
        """
        values: dict[str, Tensor] = self.weights_by_name
        values.update((name, getattr(self, f"_constant_{index}")) for index, name in enumerate(self._constant_names))
        values.update(given)
        for step in self._plan(frozenset(given), wanted):
            inputs = [values[name] for name in step.inputs if name]
            values[step.output] = _OPERATORS[step.operator](inputs, step.attributes)
        return values[wanted]

    def entry(self, num_layers: int = 0) -> str:
        """The name of the tensor that enters the layer after the first ``num_layers``.

        A layer is a convolution or a dense layer, in the order of the graph. All that comes later depends on the
        graph's input by this tensor alone.

        Raises:
            ValueError: there are not so many layers, or other tensors lead past this one.
        """
        layers = [step for step in self._steps if step.operator in _WEIGHTED]
        if num_layers >= len(layers):
            raise ValueError(f"the graph has {len(layers)} layers, and not all can be left out.")
        name = layers[num_layers].inputs[0]
        later = self._plan(frozenset((name,)), self.output_name)
        if any(self.input_name in step.inputs for step in later):
            raise ValueError(f"the graph cannot be cut after {num_layers} layers: a tensor leads past the cut.")
        return name

    def freeze_until(self, name: str) -> int:
        """Train no weight that is used before the tensor called ``name``; the answer is how many tensors these are."""
        steps = self._plan(frozenset((self.input_name,)), name)
        sources = {source for step in steps for source in step.inputs}
        frozen = [weight for known, weight in self.weights_by_name.items() if known in sources]
        for weight in frozen:
            weight.requires_grad_(False)
        return len(frozen)

    def _plan(self, given: frozenset[str], wanted: str) -> tuple[_Step, ...]:
        """The steps to ``wanted``, in order."""
        if (given, wanted) not in self._plans:
            needed: set[int] = set()
            open_names = [wanted]
            while open_names:
                name = open_names.pop()
                index = self._producer.get(name)
                if name in given or index is None or index in needed:
                    continue
                needed.add(index)
                open_names.extend(self._steps[index].inputs)
            self._plans[given, wanted] = tuple(self._steps[index] for index in sorted(needed))
        return self._plans[given, wanted]


def with_weights(model: onnx.ModelProto, weights: Mapping[str, Tensor]) -> onnx.ModelProto:
    """A copy of ``model`` with these weights, each in the precision in which the model stores it.

    Raises:
        ValueError: the model has no weight of such a name and shape.
    """
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    stored = {one.name: one for one in copy.graph.initializer}
    for name, weight in weights.items():
        if name not in stored or list(stored[name].dims) != list(weight.shape):
            raise ValueError(f"the model has no weight {name} of shape {tuple(weight.shape)}.")
        precision = numpy_helper.to_array(stored[name]).dtype
        array = np.ascontiguousarray(weight.detach().cpu().numpy().astype(precision))
        stored[name].CopyFrom(numpy_helper.from_array(array, name))
    return copy


def averaged(first: Mapping[str, Tensor], second: Mapping[str, Tensor], share: float) -> dict[str, Tensor]:
    """``share`` of the second weights and the rest of the first, weight by weight.

    Averaging a network that was trained on with the one it started from keeps what both can do (robust fine-tuning,
    arXiv 2109.01903).

    Raises:
        ValueError: they are not weights of the same network.
    """
    if first.keys() != second.keys():
        raise ValueError("only weights of the same network can be averaged.")
    return {name: torch.lerp(first[name].detach(), second[name].detach(), share) for name in first}


def _learned(graph: onnx.GraphProto, stored: Mapping[str, Any]) -> tuple[str, ...]:
    """Names of the initializers that are weights, in the order in which they are used."""
    cast_from = {node.output[0]: node.input[0] for node in graph.node if node.op_type == "Cast"}
    used = (cast_from.get(name, name) for node in graph.node if node.op_type in _WEIGHTED for name in node.input[1:])
    return tuple(dict.fromkeys(name for name in used if name in stored))


def _step(node: onnx.NodeProto) -> _Step:
    attributes = {one.name: onnx.helper.get_attribute_value(one) for one in node.attribute}
    return _Step(node.op_type, tuple(node.input), node.output[0], attributes)


_Attributes = Mapping[str, Any]
_Operator = Callable[[Sequence[Tensor], _Attributes], Tensor]


def _integers(tensor: Tensor) -> list[int]:
    return [int(value) for value in tensor.flatten().tolist()]


def _cast(inputs: Sequence[Tensor], attributes: _Attributes) -> Tensor:
    precision = onnx.helper.tensor_dtype_to_np_dtype(attributes["to"])
    return inputs[0].to(torch.from_numpy(np.empty(0, precision)).dtype)


def _padded(images: Tensor, pads: Sequence[int], fill: float = 0.0) -> tuple[Tensor, tuple[int, int]]:
    """The images, padded where the two sides differ, and what is left to pad on both."""
    top, left, bottom, right = pads
    if (top, left) == (bottom, right):
        return images, (top, left)
    return functional.pad(images, (left, right, top, bottom), value=fill), (0, 0)


def _conv(inputs: Sequence[Tensor], attributes: _Attributes) -> Tensor:
    images, padding = _padded(inputs[0], attributes.get("pads", (0, 0, 0, 0)))
    # Channels last: depthwise convolutions are several times as quick on a CPU. Once so, it stays so.
    images = images.contiguous(memory_format=torch.channels_last)
    return functional.conv2d(
        images,
        inputs[1],
        inputs[2] if len(inputs) > 2 else None,
        stride=tuple(attributes.get("strides", (1, 1))),
        padding=padding,
        dilation=tuple(attributes.get("dilations", (1, 1))),
        groups=attributes.get("group", 1),
    )


def _average_pool(inputs: Sequence[Tensor], attributes: _Attributes) -> Tensor:
    counted = bool(attributes.get("count_include_pad", 0))
    top, left, bottom, right = attributes.get("pads", (0, 0, 0, 0))
    if (top, left) != (bottom, right):
        raise BundleError("an average over a picture that is padded on one side cannot be trained on.")
    return functional.avg_pool2d(
        inputs[0],
        tuple(attributes["kernel_shape"]),
        tuple(attributes.get("strides", (1, 1))),
        (top, left),
        ceil_mode=bool(attributes.get("ceil_mode", 0)),
        count_include_pad=counted,
    )


def _clip(inputs: Sequence[Tensor], _: _Attributes) -> Tensor:
    return torch.clamp(inputs[0], float(inputs[1]), float(inputs[2]))


def _gather(inputs: Sequence[Tensor], attributes: _Attributes) -> Tensor:
    values, places = inputs
    axis = attributes.get("axis", 0)
    picked = values.index_select(axis, places.flatten())
    return picked.reshape(*values.shape[:axis], *places.shape, *values.shape[axis + 1 :])


def _gemm(inputs: Sequence[Tensor], attributes: _Attributes) -> Tensor:
    left = inputs[0].T if attributes.get("transA", 0) else inputs[0]
    right = inputs[1].T if attributes.get("transB", 0) else inputs[1]
    product = left @ right * float(attributes.get("alpha", 1.0))
    return product + inputs[2] * float(attributes.get("beta", 1.0)) if len(inputs) > 2 else product


def _flatten(inputs: Sequence[Tensor], attributes: _Attributes) -> Tensor:
    shape, axis = inputs[0].shape, attributes.get("axis", 1)
    return inputs[0].reshape(math.prod(shape[:axis]), -1)


def _reshape(inputs: Sequence[Tensor], attributes: _Attributes) -> Tensor:
    wanted = _integers(inputs[1])
    if not attributes.get("allowzero", 0):
        wanted = [inputs[0].shape[axis] if size == 0 else size for axis, size in enumerate(wanted)]
    return inputs[0].reshape(wanted)


def _slice(inputs: Sequence[Tensor], _: _Attributes) -> Tensor:
    values, starts, ends = inputs[0], _integers(inputs[1]), _integers(inputs[2])
    axes = _integers(inputs[3]) if len(inputs) > 3 else range(len(starts))
    steps = _integers(inputs[4]) if len(inputs) > 4 else [1] * len(starts)
    places = [slice(None)] * values.ndim
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        places[axis] = slice(start, end, step)
    return values[tuple(places)]


def _unsqueeze(inputs: Sequence[Tensor], attributes: _Attributes) -> Tensor:
    result = inputs[0]
    for axis in sorted(attributes["axes"] if "axes" in attributes else _integers(inputs[1])):
        result = result.unsqueeze(axis)
    return result


def _elementwise(function: Callable[..., Any]) -> _Operator:
    def run(inputs: Sequence[Tensor], _: _Attributes) -> Tensor:
        result: Tensor = function(*inputs)
        return result

    return run


_OPERATORS: dict[str, _Operator] = {
    "Add": _elementwise(torch.add),
    "AveragePool": _average_pool,
    "Cast": _cast,
    "Clip": _clip,
    "Concat": lambda inputs, attributes: torch.cat(list(inputs), attributes["axis"]),
    "Conv": _conv,
    "Div": _elementwise(torch.div),
    "Flatten": _flatten,
    "Gather": _gather,
    "Gemm": _gemm,
    "GlobalAveragePool": lambda inputs, _: inputs[0].mean((2, 3), keepdim=True),
    "Identity": lambda inputs, _: inputs[0],
    "Log": _elementwise(torch.log),
    "MatMul": _elementwise(torch.matmul),
    "Mul": _elementwise(torch.mul),
    "Relu": _elementwise(torch.relu),
    "Reshape": _reshape,
    "Sigmoid": _elementwise(torch.sigmoid),
    "Slice": _slice,
    "Sqrt": _elementwise(torch.sqrt),
    "Sub": _elementwise(torch.sub),
    "Transpose": lambda inputs, attributes: inputs[0].permute(*attributes["perm"]),
    "Unsqueeze": _unsqueeze,
}
