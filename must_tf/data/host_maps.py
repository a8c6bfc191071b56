"""Restores maps and boxes to the original image on the host, with NumPy arrays, outside of a graph: see `geometry`.

Where each prediction is fetched from the network anyway, as in labelling and evaluation, this takes a third of the time
of a graph. All numbers are the same, bit for bit: what rounds in a way of its own is still computed by TensorFlow.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import cv2
import numpy as np
import tensorflow as tf

from must_tf.data import geometry
from must_tf.data.geometry import Frame

Planes = Callable[[slice], list[np.ndarray]]  # rows -> one plane per channel, float32 [w, rows]


def is_host(values: Any) -> bool:
    """Returns True if predictions are arrays, so that their task restores them without a graph."""
    return isinstance(values, np.ndarray)


def restore_planes(values: np.ndarray, frame: Frame) -> Planes:
    """Maps predictions per cell [S / stride, S / stride, C] back to the original, see `geometry.restore_planes`."""
    stride = frame.size // len(values)
    return planes(visible(values, frame, stride), frame, stride)


def restore_boxes(boxes: np.ndarray, frame: Frame) -> np.ndarray:
    """Maps boxes [N, 4] back to normalised boxes, see `geometry.restore_boxes`."""
    return np.clip(boxes / np.tile(np.asarray(frame.scaled, np.float32), 2), np.float32(0), np.float32(1))


def visible(values: np.ndarray, frame: Frame, stride: int) -> np.ndarray:
    """Returns the cells that show the image, see `geometry.visible_cells`."""
    scaled = np.asarray(frame.scaled, np.float32)
    rows, columns = np.ceil(scaled / np.float32(stride) - np.float32(1e-3)).astype(int).tolist()
    return values[:rows, :columns]


def planes(values: np.ndarray, frame: Frame, stride: int) -> Planes:
    """Maps the visible cells [gh, gw, C] back to the original."""
    if frame.step > 1:  # the centre of the last pixels may be on the border, where resampling gives 0
        values = np.pad(values, [(0, 1), (0, 1), (0, 0)], mode="edge")
    (cells, width, channels), (height, wide) = values.shape, np.asarray(frame.map_size).tolist()
    scale = np.asarray(frame.original, np.float32) / np.asarray(frame.scaled, np.float32)
    scale *= np.float32(stride / frame.step)
    flat = np.asarray(values, np.float32).transpose(0, 2, 1).reshape(1, cells, channels * width)
    columns = cv2.transpose(_bilinear(flat, height, scale[0])[0]).reshape(channels, width, height)

    def band(rows: slice) -> list[np.ndarray]:
        return list(_bilinear(columns[..., rows], wide, scale[1]))

    return band


def _bilinear(values: np.ndarray, count: int, scale: np.float32) -> np.ndarray:
    """Resamples rows, float32 [B, h, K] -> [B, count, K]."""
    scaled = tf.raw_ops.ScaleAndTranslate(
        images=values[:, :, None, :],
        size=tf.constant([count, 1]),
        scale=np.array([scale, 1.0], np.float32),
        translation=np.zeros([2], np.float32),
        kernel_type="triangle",
        antialias=False,
    )
    return np.asarray(scaled)[:, :, 0, :]


def in_bands(frame: Frame, band: Callable[[slice], Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Makes restored maps of an image, some rows at a time if it is large: `geometry.in_bands` on the host.

    Args:
      frame: the image's.
      band: returns these rows of every map.
    """
    height, width = np.asarray(frame.map_size).tolist()
    parts = geometry.bands(height, width)
    if len(parts) == 1:
        return dict(band(parts[0]))
    maps: dict[str, np.ndarray] = {}
    for part in parts:
        for name, values in band(part).items():
            if name not in maps:
                maps[name] = np.empty([height, *values.shape[1:]], values.dtype)
            maps[name][part] = values
    return maps
