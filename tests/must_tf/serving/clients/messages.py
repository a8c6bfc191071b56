"""TensorFlow Serving's messages for predictions, after its public schema (tensorflow_serving/apis/*.proto).

The package with the generated code is not needed: protobuf builds the messages from this table.
"""

from __future__ import annotations

import functools
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, wrappers_pb2
from tensorflow.core.framework import tensor_pb2

PACKAGE = "tensorflow.serving"
TENSOR, INT64 = ".tensorflow.TensorProto", ".google.protobuf.Int64Value"
Field = descriptor_pb2.FieldDescriptorProto
# message -> field -> number, type ("*": repeated, "map": from text)
SCHEMA: dict[str, dict[str, tuple[int, str]]] = {
    "ModelSpec": {"name": (1, "string"), "version": (2, INT64), "signature_name": (3, "string")},
    "PredictRequest": {
        "model_spec": (1, f".{PACKAGE}.ModelSpec"),
        "inputs": (2, f"map {TENSOR}"),
        "output_filter": (3, "* string"),
    },
    "PredictResponse": {"outputs": (1, f"map {TENSOR}"), "model_spec": (2, f".{PACKAGE}.ModelSpec")},
    "PredictLog": {"request": (1, f".{PACKAGE}.PredictRequest"), "response": (2, f".{PACKAGE}.PredictResponse")},
    "PredictionLog": {"predict_log": (6, f".{PACKAGE}.PredictLog")},
}


@functools.cache
def messages() -> dict[str, Any]:
    """Returns the message classes by name."""
    pool = descriptor_pool.DescriptorPool()
    for module in (wrappers_pb2, tensor_pb2):
        _add(pool, module.DESCRIPTOR)
    file = descriptor_pb2.FileDescriptorProto(name="serving_subset.proto", package=PACKAGE, syntax="proto3")
    file.dependency.extend([wrappers_pb2.DESCRIPTOR.name, tensor_pb2.DESCRIPTOR.name])
    for name, fields in SCHEMA.items():
        message = file.message_type.add(name=name)
        for field, (number, kind) in fields.items():
            _define(message, field, number, kind)
    pool.Add(file)
    return {name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{PACKAGE}.{name}")) for name in SCHEMA}


def _add(pool: descriptor_pool.DescriptorPool, file: Any) -> None:
    """Adds a file and those that it imports."""
    for imported in file.dependencies:
        _add(pool, imported)
    described = descriptor_pb2.FileDescriptorProto()
    file.CopyToProto(described)
    pool.Add(described)


def _define(message: Any, name: str, number: int, kind: str) -> None:
    repeated = kind.startswith(("*", "map"))
    label = Field.LABEL_REPEATED if repeated else Field.LABEL_OPTIONAL
    kind = kind.rpartition(" ")[2] if repeated else kind
    if kind == "string":
        message.field.add(name=name, number=number, label=label, type=Field.TYPE_STRING)
        return
    if repeated:
        entry = message.nested_type.add(name=f"{name.capitalize()}Entry")
        entry.options.map_entry = True
        entry.field.add(name="key", number=1, label=Field.LABEL_OPTIONAL, type=Field.TYPE_STRING)
        _define(entry, "value", 2, kind)
        kind = f".{PACKAGE}.{message.name}.{entry.name}"
    message.field.add(name=name, number=number, label=label, type=Field.TYPE_MESSAGE, type_name=kind)
