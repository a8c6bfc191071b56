"""How to label with a model of another project: its input, its outputs, and how they are used."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import tensorflow as tf

from tfrecords_tools.teachers import About
from tfrecords_tools.teachers.detections import DetectedObjects
from tfrecords_tools.teachers.frames import InputFrame
from tfrecords_tools.teachers.names import ClassNames
from tfrecords_tools.teachers.outputs import Output

Shape = tuple[int, ...]  # -1: any
WEIGHTS = re.compile(r"[._]data\w*")  # ending of a file of weights beside an ONNX file
ANY_RANK: Shape = ()  # of images: the model does not tell the rank of its input


class Signature(NamedTuple):
    """The inputs and outputs of a model: {name: (shape, dtype)}."""

    name: str
    inputs: dict[str, tuple[Shape, tf.DType]]
    outputs: dict[str, tuple[Shape, tf.DType]]
    parses_examples: bool = False  # somewhere in the graph


class InputFormat(NamedTuple):
    """How pixels enter the network.

    Either as numbers, (range[0] + (range[1] - range[0]) * pixel / 255 - mean) / std, or as encoded images.

    Attributes:
      name: of the signature's input.
      encoding: "tensor", "image" (files), or "example" (serialised tf.train.Examples).
      dtype: name of the tensor's type.
      batch: number of images that it takes; 0: any.
      channels_first: NCHW.
      range, mean, std: see above; mean and std are per channel, in the order in which the network takes them.
      blue_first: BGR.
      size_name: of a second input [B, 2], the size of each image; empty if there is none.
      size_of: "input", "shown" or "image", see `adapter_file.InputSection`.
      width_first: that size is [width, height].
      size_dtype: name of its type.
    """

    name: str
    encoding: str = "tensor"
    dtype: str = "uint8"
    batch: int = 0
    channels_first: bool = False
    range: tuple[float, ...] = (0.0, 255.0)
    mean: tuple[float, ...] = (0.0, 0.0, 0.0)
    std: tuple[float, ...] = (1.0, 1.0, 1.0)
    blue_first: bool = False
    size_name: str = ""
    size_of: str = "input"
    width_first: bool = False
    size_dtype: str = "int64"


# The names of renamed classes in a teacher's id. Ids are stored with the labels, so these names never change.
NAMES_IN_ID: dict[type, str] = {
    InputFrame: "Frame",
    InputFormat: "Entry",
    ClassNames: "Names",
    DetectedObjects: "Objects",
}
# The number of fields that were always part of an id. Later ones are left out of it while they have their defaults.
FIRST_FIELDS: dict[type, int] = {InputFrame: 5, InputFormat: 8, DetectedObjects: 8, ClassNames: 1}


class Recipe(NamedTuple):
    """Everything that is needed to label with a model. `outputs` and `names` are by task."""

    about: About
    model: str  # folder of a SavedModel, or file
    signature: str
    frame: InputFrame
    input: InputFormat
    outputs: dict[str, Output]
    names: dict[str, ClassNames]
    depth_loss: str = "silog"  # "ssi": its depth is relative
    resize_output: str = ""  # Model Garden's output that tells how much the export itself has resized


def teacher_id(model: str, meaning: object) -> str:
    """Returns 12 hex digits over the graph, the weights, and `meaning`: how they are used. Paths play no part."""
    result = hashlib.sha256(id_text(meaning).encode())
    for relative_path in _files(model) if tf.io.gfile.isdir(model) else ["", *_weights(model)]:
        result.update(relative_path.encode())
        with tf.io.gfile.GFile(model + relative_path, "rb") as file:
            while chunk := file.read(1 << 20):
                result.update(chunk)
    return result.hexdigest()[:12]


def _files(folder: str) -> list[str]:
    """Returns the files of a SavedModel, as the rest of their path, sorted."""
    return sorted(
        os.path.join(parent, name)[len(folder) :]
        for parent, _, names in tf.io.gfile.walk(folder)
        for name in names
        if name == "saved_model.pb" or os.path.basename(parent) in ("variables", "assets")
    )


def _weights(model: str) -> list[str]:
    """Returns the files of weights beside an ONNX file, as the rest of their path: `.data` of x.onnx.data."""
    folder, name = os.path.split(model)
    rests = (other.removeprefix(name) for other in tf.io.gfile.listdir(folder or ".") if other.startswith(name))
    return sorted(rest for rest in rests if WEIGHTS.fullmatch(rest))


def id_text(value: Any) -> str:
    """Returns `repr(value)` with the class names of `NAMES_IN_ID` and the fields of `FIRST_FIELDS`."""
    if dataclasses.is_dataclass(value) or hasattr(value, "_fields"):
        name = NAMES_IN_ID.get(type(value), type(value).__name__)
        return f"{name}({', '.join(f'{field}={id_text(getattr(value, field))}' for field in _fields(value))})"
    if isinstance(value, list):
        return f"[{', '.join(map(id_text, value))}]"
    if isinstance(value, tuple):
        comma = "," if len(value) == 1 else ""
        return f"({', '.join(map(id_text, value))}{comma})"
    return repr(value)


def _fields(value: Any) -> Iterator[str]:
    """Yields the fields of a named tuple or dataclass that are part of an id."""
    if dataclasses.is_dataclass(value):
        defaults = {field.name: field.default for field in dataclasses.fields(value)}
    else:
        defaults = dict.fromkeys(value._fields) | value._field_defaults
    for place, (field, default) in enumerate(defaults.items()):
        is_new = place >= FIRST_FIELDS.get(type(value), len(defaults))
        if not is_new or getattr(value, field) != default:
            yield field
