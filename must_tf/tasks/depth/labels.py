"""Record format of depth.

`image/depth/encoded`             16-bit PNG [h, w], 0 = unknown
`image/depth/scale`               float32, the size of one unit
`image/depth/kind`                text, see the table
`image/depth/confidence/encoded`  see `shared/pixel_confidence.py`

| kind | a unit is | precision |
|---|---|---|
| `metric` (or missing) | metres | half a unit; a unit is 1 mm up to 65 m and max / 65535 beyond |
| `relative` | inverse depth, a / z + b | half a unit; a unit is max / 65535 |
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from must_tf.data import assertions, geometry, manifest, map_png, record
from must_tf.data.geometry import Warp
from must_tf.data.manifest import Manifest
from must_tf.shared import pixel_confidence
from must_tf.spec import ImageInfo, Labels, Tensors
from must_tf.tasks.depth.config import Config

DEPTH = "image/depth/encoded"
SCALE = "image/depth/scale"
KIND = "image/depth/kind"
CONFIDENCE = "image/depth/confidence/encoded"
METRIC, RELATIVE = "metric", "relative"
MILLIMETRE = 1e-3
LARGEST = 65535  # of 16 bits
AT_ONCE = 1_000_000  # pixels that are written at once


def features(config: Config) -> dict[str, Any]:
    """Returns the parsing spec of the PNG, its scale and its kind, and of the confidence."""
    del config
    return {
        DEPTH: tf.io.FixedLenFeature([], tf.string, ""),
        SCALE: tf.io.FixedLenFeature([], tf.float32, MILLIMETRE),
        KIND: tf.io.FixedLenFeature([], tf.string, METRIC),
        CONFIDENCE: tf.io.FixedLenFeature([], tf.string, ""),
    }


def read(parsed: Tensors, size: tf.Tensor, config: Config) -> Tensors:
    """Returns `metres` and `inverse_depth` float32 [h, w], 0 = unknown; one of them is all 0. And the `confidence`."""
    del config
    confidence = pixel_confidence.read(parsed[CONFIDENCE], size)
    return _in_units(_stored(parsed, size, False), parsed) | {pixel_confidence.CONFIDENCE: confidence}


def _stored(parsed: Tensors, size: tf.Tensor, as_stored: bool) -> tf.Tensor:
    """Returns the map in stored units, uint16 [h, w], after checking kind and scale. See `record.decode_map`."""
    known = tf.reduce_any(parsed[KIND] == tf.constant([METRIC, RELATIVE]))
    known &= (parsed[SCALE] > 0) & (parsed[SCALE] < float("inf"))
    message = "depth: a kind that is not known, or a scale that is not positive"
    encoded = assertions.required(parsed[DEPTH], known, message, parsed[KIND], parsed[SCALE])
    return record.decode_map(encoded, size, 1, tf.uint16, 0, as_stored)[..., 0]


def _in_units(stored: tf.Tensor, parsed: Tensors) -> Tensors:
    """Converts stored values to both maps; one of them is all 0."""
    units, relative = tf.cast(stored, tf.float32), parsed[KIND] == RELATIVE
    # The factor is selected once, not per pixel, which would take longer than reading the map.
    scale, none = parsed[SCALE], tf.zeros([])
    return {
        "metres": units * tf.where(relative, none, scale),
        "inverse_depth": units * tf.where(relative, scale, none),
    }


def write(labels: Labels, info: ImageInfo) -> dict[str, tf.train.Feature]:
    """Writes the map that has known pixels, or an empty metric map. The map of the other kind may be missing.

    Known depth never rounds to unknown. Negative, infinite and NaN pixels become unknown.

    Raises:
      ValueError: both maps have known pixels.
    """
    maps = [np.asarray(labels.get(key, 0.0)) for key in ("metres", "inverse_depth")]
    farthest, largest_inverse = map(_largest, maps)
    if farthest and largest_inverse:
        raise ValueError(f"{info.source_id}: depth is metric or relative, not both.")
    relative = bool(largest_inverse)
    scale = (largest_inverse if relative else farthest) / LARGEST
    scale = float(np.float32(scale if relative else max(MILLIMETRE, scale)))
    values = maps[relative] if maps[relative].ndim else maps[not relative]
    units = np.zeros(values.shape, np.uint16)
    for rows in _parts(units.shape):
        units[rows] = _in_units_of(scale, values[rows])
    return {
        DEPTH: record.bytes_feature([map_png.encode(units)]),
        SCALE: record.float_feature([scale]),
        KIND: record.bytes_feature([(RELATIVE if relative else METRIC).encode()]),
    } | pixel_confidence.write(labels, CONFIDENCE)


def _largest(values: np.ndarray) -> float:
    """Returns the largest positive, finite number; 0 if there is none."""
    largest = float(values.max(initial=0.0))
    if np.isfinite(largest):
        return largest
    return float(
        max(np.max(values[rows], initial=0.0, where=np.isfinite(values[rows])) for rows in _parts(values.shape))
    )


def _in_units_of(scale: float, values: np.ndarray) -> np.ndarray:
    """Returns whole units, uint16 of the same shape; 0 for anything but positive, finite numbers."""
    known = (values > 0) & (values < np.inf)
    if not known.all():
        values = np.where(known, values, 0)
    units = np.divide(values, scale, dtype=np.float64)
    np.rint(units, out=units)
    return np.clip(units, 1, LARGEST, out=units).astype(np.uint16) * known


def _parts(shape: tuple[int, ...]) -> list[slice]:
    """Returns which rows of a map are converted at once: in float64, several copies of a large one take gigabytes."""
    rows = max(AT_ONCE // max(shape[1], 1), 1)
    return [slice(top, top + rows) for top in range(0, max(shape[0], 1), rows)]


def targets(parsed: Tensors, size: tf.Tensor, warp: Warp, config: Config) -> Tensors:
    """Returns `metres`, or `inverse_depth` for the loss "ssi": float32 [S / stride, S / stride], 0 = unknown.

    In a view enlarged by z, metres are divided by z; inverse depth does not change (see the package's docstring).
    If pixels are weighted by confidence, also returns `confidence` float32 of the same shape.
    """
    sure, weights = pixel_confidence.targets(parsed[CONFIDENCE], size, warp, config)
    # Only the pixels that end up in the targets are converted.
    stored = geometry.warp_nearest(_stored(parsed, size, True), warp, 0, config.stride)
    labels = _in_units(pixel_confidence.only(stored, sure), parsed)
    if config.loss == "ssi":
        inverse = tf.math.divide_no_nan(1.0, labels["metres"]) + labels["inverse_depth"]  # one is 0
        return {"inverse_depth": inverse} | weights
    return {"metres": labels["metres"] / geometry.enlargement(warp)} | weights


def limit(example: tf.train.Example) -> str:
    """Returns "relative" for relative depth, otherwise ""."""
    return RELATIVE if example.features.feature[KIND].bytes_list.value == [RELATIVE.encode()] else ""


def cannot_learn(config: Config, manifests: Mapping[str, Manifest]) -> str:
    """Returns an error message if the loss needs metres and these datasets have relative depth; otherwise ""."""
    relative = {folder: manifest.limited_images(one, "depth", RELATIVE) for folder, one in manifests.items()}
    images = sum(manifest.labelled_images(one, "depth") for one in manifests.values())
    count, places = sum(relative.values()), ", ".join(folder for folder, number in relative.items() if number)
    if not count or config.loss == "ssi" or (config.relative_labels == "ignore" and count < images):
        return ""
    way = "" if count == images else ", or task.tasks.depth.relative_labels=ignore to leave out their depth"
    return (
        f"{places}: {count} of {images} images with depth have relative depth, but loss={config.loss} needs metres. "
        f"Set task.tasks.depth.loss=ssi to learn relative depth from all labels{way}."
    )
