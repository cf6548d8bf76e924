"""A thin, deterministic layer over ``onnx.helper``: what every graph of a bundle is written with.

Names are counted up, nothing depends on time, hashing or a tracer, so the same weights give the same bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

__all__ = ["IR_VERSION", "OPSET", "GraphBuilder"]

OPSET = 18
IR_VERSION = 9
"""The newest that onnxruntime 1.20, TensorRT 10 and every later release read."""

Attribute = int | float | str | Sequence[int] | Sequence[float]
Dimension = int | str


class GraphBuilder:
    """Builds one graph; a value of the graph is its name."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._nodes: list[onnx.NodeProto] = []
        self._inputs: list[onnx.ValueInfoProto] = []
        self._outputs: list[onnx.ValueInfoProto] = []
        self._initialisers: list[TensorProto] = []
        self._constants: dict[tuple[str, tuple[int, ...], bytes, bool], str] = {}

    def input(self, name: str, dtype: str, shape: Sequence[Dimension]) -> str:
        """Declare an input; a dimension that is a word is dynamic. ``dtype`` is numpy's name of it."""
        self._inputs.append(_value_info(name, dtype, shape))
        return name

    def output(self, name: str, value: str, dtype: str, shape: Sequence[Dimension]) -> None:
        """Declare ``value`` as the output ``name``."""
        self._nodes.append(helper.make_node("Identity", [value], [name], name=name))
        self._outputs.append(_value_info(name, dtype, shape))

    def constant(self, array: NDArray[Any] | float, *, half: bool = False) -> str:
        """A constant; equal ones are stored once. A bare float is a float32 scalar.

        ``half`` stores it in float16, and a Cast that onnxruntime folds away when it opens the graph makes it
        float32 again.
        """
        value = np.ascontiguousarray(np.float32(array) if isinstance(array, float) else array)
        if isinstance(array, float):
            value = value.reshape(())
        key = (value.dtype.str, value.shape, value.tobytes(), half)
        if key not in self._constants:
            name = f"c{len(self._initialisers)}"
            stored = value.astype(np.float16) if half else value
            self._initialisers.append(numpy_helper.from_array(stored, name))
            self._constants[key] = self.op("Cast", name, to=TensorProto.FLOAT) if half else name
        return self._constants[key]

    def integers(self, *values: int) -> str:
        """A constant int64 vector: axes, shapes, paddings."""
        return self.constant(np.array(values, np.int64))

    def op(self, op_type: str, *inputs: str, **attributes: Attribute) -> str:
        """Add a node with one output; the attributes are those of the ONNX operator."""
        value = f"{op_type.lower()}{len(self._nodes)}"
        node = helper.make_node(op_type, list(inputs), [value], name=value)
        node.attribute.extend(helper.make_attribute(key, item) for key, item in sorted(attributes.items()))
        self._nodes.append(node)
        return value

    def as_float(self, value: str) -> str:
        """Cast to float32."""
        return self.op("Cast", value, to=TensorProto.FLOAT)

    def slice(self, value: str, axis: int, start: int, stop: int | None = None) -> str:
        """``value[start:stop]`` along ``axis``."""
        end = np.iinfo(np.int64).max if stop is None else stop
        bounds = (self.integers(start), self.integers(end), self.integers(axis))
        return self.op("Slice", value, *bounds)

    def reduce(self, op_type: str, value: str, *axes: int, keepdims: bool = True) -> str:
        """ReduceMean, ReduceSum or ReduceMax over ``axes``."""
        return self.op(op_type, value, self.integers(*axes), keepdims=int(keepdims))

    def reshape(self, value: str, *shape: int) -> str:
        """Reshape to ``shape``: 0 keeps the dimension, -1 is what is left."""
        return self.op("Reshape", value, self.integers(*shape))

    def unsqueeze(self, value: str, *axes: int) -> str:
        """Insert axes of length one."""
        return self.op("Unsqueeze", value, self.integers(*axes))

    def build(self) -> onnx.ModelProto:
        """The checked model."""
        graph = helper.make_graph(self._nodes, self._name, self._inputs, self._outputs, self._initialisers)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)])
        model.ir_version = IR_VERSION
        model.producer_name = "avdetect"
        onnx.checker.check_model(model, full_check=True)
        return model


def _value_info(name: str, dtype: str, shape: Sequence[Dimension]) -> onnx.ValueInfoProto:
    element = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    return helper.make_tensor_value_info(name, element, list(shape))
