"""The constant tensors of an ONNX file, read without the onnx package.

An ONNX file is one protocol buffer message (protobuf.dev/programming-guides/encoding): a row of fields, each a key
(field number and wire type) and a value. Field numbers are those of onnx.proto.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5  # wire types
MODEL_GRAPH = 7
GRAPH_INITIALIZER = 5
TENSOR_DIMS, TENSOR_DATA_TYPE, TENSOR_FLOATS, TENSOR_NAME, TENSOR_RAW_DATA = 1, 2, 4, 8, 9
FLOAT = 1  # TensorProto.DataType
MAX_SIDE = 1 << 31  # of a tensor; more is damage


def read_float_tensors(path: Path) -> dict[str, np.ndarray]:
    """The float32 initializers of the graph, by name. ValueError where the file is no ONNX model; OSError."""
    tensors = {}
    for number, graph in _fields(memoryview(path.read_bytes())):
        if number == MODEL_GRAPH and isinstance(graph, memoryview):
            for inner_number, tensor in _fields(graph):
                if inner_number == GRAPH_INITIALIZER and isinstance(tensor, memoryview):
                    name, values = _tensor(tensor)
                    if values is not None:
                        tensors[name] = values
    return tensors


def _tensor(message: memoryview) -> tuple[str, np.ndarray | None]:
    """Name and values; None for another type than float32."""
    name, data_type, values = "", 0, b""
    shape: list[int] = []
    for number, value in _fields(message):
        if number == TENSOR_DATA_TYPE and isinstance(value, int):
            data_type = value
        elif number == TENSOR_DIMS:
            shape += [value] if isinstance(value, int) else _varints(value)
        elif number == TENSOR_NAME and isinstance(value, memoryview):
            name = str(value, "utf-8")
        elif number in (TENSOR_RAW_DATA, TENSOR_FLOATS) and isinstance(value, memoryview):
            values += value  # little-endian, both
    if data_type != FLOAT:
        return name, None
    if math.prod(shape) * 4 != len(values) or max(shape, default=0) >= MAX_SIDE:
        raise ValueError(f"tensor '{name}' of shape {shape} has {len(values)} bytes")
    return name, np.frombuffer(values, dtype="<f4").reshape(shape)


def _fields(message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Number and value of each field; ValueError for what breaks off or is no message."""
    place = 0
    while place < len(message):
        key, place = _varint(message, place)
        number, wire_type = key >> 3, key & 7
        if wire_type == VARINT:
            value, place = _varint(message, place)
            yield number, value
            continue
        if wire_type == BYTES:
            length, place = _varint(message, place)
        elif wire_type in (FIXED64, FIXED32):
            length = 8 if wire_type == FIXED64 else 4
        else:
            raise ValueError(f"wire type {wire_type} at byte {place}")
        if place + length > len(message):
            raise ValueError(f"a field of {length} bytes at byte {place} of {len(message)}")
        yield number, message[place : place + length]
        place += length


def _varints(message: memoryview) -> list[int]:
    values, place = [], 0
    while place < len(message):
        value, place = _varint(message, place)
        values.append(value)
    return values


def _varint(message: memoryview, place: int) -> tuple[int, int]:
    """A number of seven bits a byte, lowest first, and the place after it."""
    value = shift = 0
    while place < len(message):
        byte = message[place]
        value |= (byte & 0x7F) << shift
        place, shift = place + 1, shift + 7
        if byte < 0x80:
            return value, place
    raise ValueError("the file breaks off")
