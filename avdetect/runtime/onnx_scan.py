"""Which files an ONNX graph refers to, read from its protobuf wire format.

onnxruntime opens whatever path an *external data* entry names. The runtime does not depend on the ``onnx``
package, so the few fields that can hold such an entry are walked by hand; tensors' bytes are stepped over, not
read.
"""

from __future__ import annotations

from collections.abc import Iterator

__all__ = ["external_data_locations"]

_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5

# Field numbers of onnx.proto through which a TensorProto can be reached.
_MESSAGES = {
    "Model": {7: "Graph", 25: "Function"},
    "Graph": {1: "Node", 5: "Tensor", 15: "SparseTensor"},
    "Function": {7: "Node", 11: "Attribute"},
    "Node": {5: "Attribute"},
    "Attribute": {5: "Tensor", 6: "Graph", 10: "Tensor", 11: "Graph", 22: "SparseTensor", 23: "SparseTensor"},
    "SparseTensor": {1: "Tensor", 2: "Tensor"},
    "Tensor": {13: "Entry"},
}


def external_data_locations(model: bytes) -> set[str]:
    """The ``location`` of every tensor that is kept outside the model file.

    Raises:
        ValueError: ``model`` is not an ONNX model.
    """
    return set(_locations(memoryview(model), "Model"))


def _locations(message: memoryview, kind: str) -> Iterator[str]:
    if kind == "Entry":  # StringStringEntryProto: 1 key, 2 value
        entry = {number: bytes(value) for number, value in _fields(message)}
        if entry.get(1) == b"location":
            yield entry.get(2, b"").decode("utf-8", "replace")
        return
    children = _MESSAGES[kind]
    for number, value in _fields(message):
        child = children.get(number)
        if child is not None:
            yield from _locations(value, child)


def _fields(message: memoryview) -> Iterator[tuple[int, memoryview]]:
    """The length-delimited fields of a message; numbers are stepped over."""
    position, end = 0, len(message)
    while position < end:
        key, position = _varint(message, position)
        wire = key & 7
        if wire == _VARINT:
            _, position = _varint(message, position)
        elif wire == _FIXED64:
            position += 8
        elif wire == _FIXED32:
            position += 4
        elif wire == _LENGTH:
            length, position = _varint(message, position)
            if position + length > end:
                raise ValueError("a field reaches past the end of its message")
            yield key >> 3, message[position : position + length]
            position += length
        else:
            raise ValueError(f"wire type {wire} is not in use")
    if position != end:
        raise ValueError("a field reaches past the end of its message")


def _varint(message: memoryview, position: int) -> tuple[int, int]:
    value = shift = 0
    while position < len(message) and shift < 70:
        byte = message[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7
    raise ValueError("a number does not end")
