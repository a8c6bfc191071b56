"""Outputs as JSON, NumPy files and PNG."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from typing import Any

import cv2
import numpy as np
import orjson

from must_tf.serving.server.batching import Row
from must_tf.serving.server.models import Output
from must_tf.tasks import discover

NPY, PNG = "application/x-npy", "image/png"
BYTES = "_bytes"  # ends the names of strings that JSON holds as base64, as in TensorFlow Serving


def stacked(rows: Sequence[Row], outputs: Mapping[str, Output]) -> dict[str, np.ndarray]:
    """Joins rows to a batch. Maps are padded to the largest with zeros, as the model itself does."""
    return {name: _stack([row[name] for row in rows], output) for name, output in outputs.items()}


def _stack(values: Sequence[np.ndarray], output: Output) -> np.ndarray:
    if not values:
        return np.zeros([0, *(size or 0 for size in output.shape)], output.dtype)
    if len(values) == 1:
        return values[0][None]
    if not output.is_map:
        return np.stack(values)
    largest = np.max([value.shape[:2] for value in values], axis=0)
    joined = np.zeros([len(values), *largest, *values[0].shape[2:]], values[0].dtype)
    for place, value in enumerate(values):
        joined[place, : value.shape[0], : value.shape[1]] = value
    return joined


def plain(name: str, value: np.ndarray) -> Any:
    """Returns an array as JSON holds it. NaN and infinity become null."""
    if value.dtype != object:
        return np.ascontiguousarray(value) if value.ndim else value[()]  # ascontiguousarray adds an axis to a number
    if name.endswith(BYTES):
        return _texts(value.tolist(), lambda data: {"b64": base64.b64encode(data).decode()})
    return _texts(value.tolist(), lambda data: data.decode(errors="replace"))


def _texts(value: Any, convert: Any) -> Any:
    return [_texts(one, convert) for one in value] if isinstance(value, list) else convert(value)


def to_json(content: Any) -> bytes:
    """Encodes a structure of plain values and arrays."""
    return bytes(orjson.dumps(content, option=orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS))


def npy(value: np.ndarray) -> bytes:
    """Encodes an array as a NumPy file."""
    file = io.BytesIO()
    np.save(file, value, allow_pickle=False)
    return file.getvalue()


def png(name: str, value: np.ndarray) -> bytes:
    """Encodes one image's map as the PNG that `must predict` writes for it.

    Raises:
      ValueError: no PNG is defined for the output.
    """
    task, _, key = name.partition("/")
    try:
        (pixels,) = discover()[task].summary.pngs({key: value}).values()
    except (KeyError, ValueError, AttributeError):
        raise ValueError(f"{name} has no PNG. Ask for {NPY}") from None
    return cv2.imencode(".png", pixels[..., ::-1] if pixels.ndim == 3 else pixels)[1].tobytes()
