"""The reader of ONNX tensors, on messages that Google's protobuf wrote."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from asr.audio.vad.onnx_tensors import read_float_tensors

Field = descriptor_pb2.FieldDescriptorProto
ONNX = {  # message: field: number, type (a name: that message), repeated
    "Tensor": {
        "dims": (1, Field.TYPE_INT64, True),
        "data_type": (2, Field.TYPE_INT32, False),
        "float_data": (4, Field.TYPE_FLOAT, True),
        "name": (8, Field.TYPE_STRING, False),
        "raw_data": (9, Field.TYPE_BYTES, False),
        "double_data": (10, Field.TYPE_DOUBLE, True),
    },
    "Graph": {"name": (2, Field.TYPE_STRING, False), "initializer": (5, "Tensor", True)},
    "Model": {"ir_version": (1, Field.TYPE_INT64, False), "graph": (7, "Graph", False)},
}


def onnx_messages(packed: bool) -> dict[str, Any]:
    """Message classes with those fields of onnx.proto; lists of numbers packed into one field, or a field each."""
    file = descriptor_pb2.FileDescriptorProto(name="onnx.proto", package="onnx", syntax="proto2")
    for message, fields in ONNX.items():
        described = file.message_type.add(name=message)
        for name, (number, kind, repeated) in fields.items():
            label = Field.LABEL_REPEATED if repeated else Field.LABEL_OPTIONAL
            if isinstance(kind, str):
                described.field.add(
                    name=name, number=number, label=label, type=Field.TYPE_MESSAGE, type_name=f".onnx.{kind}"
                )
            else:
                field = described.field.add(name=name, number=number, label=label, type=kind)
                if repeated:
                    field.options.packed = packed
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"onnx.{name}")) for name in ONNX}


MESSAGES = {packed: onnx_messages(packed) for packed in (True, False)}
float_arrays = arrays(np.float32, array_shapes(min_dims=0, max_dims=2, min_side=0, max_side=150), fill=st.just(1.5))


def write_model(path: Path, tensors: dict[str, np.ndarray], raw: bool, packed: bool) -> bytes:
    model = MESSAGES[packed]["Model"](ir_version=8)
    model.graph.name = "main"
    model.graph.initializer.add(dims=[1], data_type=11, name="a double", double_data=[3.0])
    for name, values in tensors.items():
        tensor = model.graph.initializer.add(dims=values.shape, data_type=1, name=name)
        if raw:
            tensor.raw_data = values.tobytes()
        else:
            tensor.float_data.extend(values.ravel().tolist())
    written = model.SerializeToString()
    path.write_bytes(written)
    return bytes(written)


@given(tensors=st.dictionaries(st.text(max_size=5), float_arrays, max_size=3), raw=st.booleans(), packed=st.booleans())
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_float_tensors_come_back(tmp_path: Path, tensors: dict[str, np.ndarray], raw: bool, packed: bool) -> None:
    write_model(tmp_path / "model.onnx", tensors, raw, packed)
    found = read_float_tensors(tmp_path / "model.onnx")
    assert found.keys() == tensors.keys()
    for name, values in tensors.items():
        np.testing.assert_array_equal(found[name], values, strict=True)


def test_a_file_that_breaks_off_is_a_value_error(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    written = write_model(path, {"weight": np.ones((2, 5), dtype=np.float32)}, raw=True, packed=True)
    for length in range(1, len(written)):
        path.write_bytes(written[:length])
        if length == 2:  # the model's version alone is a whole message
            assert read_float_tensors(path) == {}
        else:
            with pytest.raises(ValueError, match=r"breaks off|a field of"):
                read_float_tensors(path)


@given(content=st.binary(max_size=60))
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_is_no_model_is_a_value_error_or_empty(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    with suppress(ValueError):
        assert read_float_tensors(path) == {}
