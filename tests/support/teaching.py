"""Hand-made SavedModels and ONNX files with known answers, and images on which a mirrored answer would show."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
import yaml

from must_tf.data import record
from must_tf.spec import ImageInfo
from tests.support.tiny import image_bytes

Outputs = dict[str, tf.Tensor]
FLOAT, INT64 = 1, 7  # TensorProto.DataType of ONNX
INT, INTS = 2, 7  # AttributeProto.AttributeType of ONNX
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Model(tf.Module):
    """`answer` as the signature of a SavedModel with one variable."""

    def __init__(self, answer: Callable[[tf.Tensor], Outputs], weight: float = 1.0):
        super().__init__()
        self.weight = tf.Variable(weight)
        self._answer = answer

    def call(self, image: tf.Tensor) -> Outputs:
        """Returns the answer; float outputs are multiplied by the weight."""
        outputs = self._answer(image)
        return {name: value * self.weight if value.dtype == tf.float32 else value for name, value in outputs.items()}


def save(
    folder: Path,
    answer: Callable[[tf.Tensor], Outputs],
    shape: Sequence[int | None],
    dtype: Any = tf.float32,
    weight: float = 1.0,
) -> str:
    """Writes a SavedModel with one input, `image`."""
    model = Model(answer, weight)
    signature = tf.function(model.call).get_concrete_function(tf.TensorSpec(shape, dtype, name="image"))
    tf.saved_model.save(model, str(folder), signatures=signature)
    return str(folder)


def write_adapter(path: Path, content: dict[str, Any]) -> str:
    """Writes an adapter file and returns its path."""
    path.write_text(yaml.safe_dump(content))
    return str(path)


def red_slope(height: int, width: int) -> np.ndarray:
    """Returns uint8 [h, w, 3]: red grows by 100 levels downwards and by 120 to the right, the rest is constant."""
    down = np.linspace(0, 100, height)[:, None]
    right = np.linspace(0, 120, width)[None, :]
    image = np.full([height, width, 3], 90, np.uint8)
    image[..., 0] = np.rint(20 + down + right)
    return image


def unlabelled(index: int, image: np.ndarray) -> bytes:
    """Returns a record without labels."""
    return record.encode(image_bytes(image), ImageInfo(f"photo-{index}", *image.shape[:2]), {}, {})


def midas(folder: Path, weight: float = 1.0) -> str:
    """Writes a model with the signature of MiDaS: a normalised NCHW image in, inverse depth out. Redder is nearer."""

    def answer(image: tf.Tensor) -> Outputs:
        return {"default": 700.0 * (image[:, 0] * STD[0] + MEAN[0]) - 50.0}

    return save(folder, answer, [1, 3, 256, 256], weight=weight)


class OnnxNode(NamedTuple):
    """An operation; `attributes` are integers or lists of them."""

    op: str
    inputs: Sequence[str]
    output: str
    attributes: Mapping[str, int | list[int]] = {}


class OnnxValue(NamedTuple):
    """An input or output; a side of 0 is any."""

    name: str
    dtype: int
    shape: Sequence[int]


def write_onnx(
    path: Path,
    nodes: Sequence[OnnxNode],
    inputs: Sequence[OnnxValue],
    outputs: Sequence[OnnxValue],
    weight: tuple[str, float] | None = None,
) -> str:
    """Writes an ONNX file for operator set 11 and returns its path. The name and value of `weight` are a constant that
    is stored in a file beside it.

    It is written byte by byte, because the package that writes such files is large and used for nothing else. The
    format is that of onnx.proto: protocol buffers, https://protobuf.dev/programming-guides/encoding.
    """
    graph = b"".join(_bytes(1, _node(node)) for node in nodes) + _bytes(2, b"graph")
    if weight:
        beside = path.with_name(f"{path.name}.data")
        beside.write_bytes(np.float32(weight[1]).tobytes())
        location = _bytes(13, _bytes(1, b"location") + _bytes(2, beside.name.encode()))
        tensor = _int(1, 1) + _int(2, 1) + _bytes(8, weight[0].encode()) + location + _int(14, 1)
        graph += _bytes(5, tensor)
    graph += b"".join(_bytes(11, _value(value)) for value in inputs)
    graph += b"".join(_bytes(12, _value(value)) for value in outputs)
    path.write_bytes(_int(1, 7) + _bytes(7, graph) + _bytes(8, _bytes(1, b"") + _int(2, 11)))
    return str(path)


def _node(node: OnnxNode) -> bytes:
    attributes = b"".join(_bytes(5, _attribute(name, value)) for name, value in node.attributes.items())
    names = b"".join(_bytes(1, name.encode()) for name in node.inputs) + _bytes(2, node.output.encode())
    return names + _bytes(4, node.op.encode()) + attributes


def _attribute(name: str, value: int | list[int]) -> bytes:
    if isinstance(value, int):
        return _bytes(1, name.encode()) + _int(3, value) + _int(20, INT)
    return _bytes(1, name.encode()) + b"".join(_int(8, one) for one in value) + _int(20, INTS)


def _value(value: OnnxValue) -> bytes:
    sides = b"".join(_bytes(1, _int(1, side) if side else _bytes(2, b"any")) for side in value.shape)
    return _bytes(1, value.name.encode()) + _bytes(2, _bytes(1, _int(1, value.dtype) + _bytes(2, sides)))


def _int(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _bytes(field: int, value: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(value)) + value


def _varint(value: int) -> bytes:
    parts = []
    while value > 127:
        parts.append(value & 127 | 128)
        value >>= 7
    return bytes([*parts, value])
