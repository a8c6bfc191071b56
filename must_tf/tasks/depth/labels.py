"""`image/depth/encoded`: 16-bit PNG [h, w], 0 = unknown; `image/depth/scale`: what one unit is; `image/depth/kind`.

| kind | a unit is | precision |
|---|---|---|
| `metric` (or no such key) | metres | half a unit, which is 1 mm up to 65 m and max / 65535 beyond |
| `relative` | inverse depth, a / z + b | half a unit, which is max / 65535 |
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from must_tf.data import geometry, manifest, record
from must_tf.data.geometry import Warp
from must_tf.data.manifest import Manifest
from must_tf.spec import ImageInfo, Labels, Tensors

if TYPE_CHECKING:
    from must_tf.tasks.depth import Config


DEPTH = "image/depth/encoded"
SCALE = "image/depth/scale"
KIND = "image/depth/kind"
METRIC, RELATIVE = "metric", "relative"
MILLIMETRE = 1e-3
LARGEST = 65535  # of 16 bits


def features(config: Config) -> dict[str, Any]:
    """The parsing spec of the PNG, its scale and its kind."""
    del config
    return {
        DEPTH: tf.io.FixedLenFeature([], tf.string, ""),
        SCALE: tf.io.FixedLenFeature([], tf.float32, MILLIMETRE),
        KIND: tf.io.FixedLenFeature([], tf.string, METRIC),
    }


def read(parsed: Tensors, size: tf.Tensor, config: Config) -> Tensors:
    """Labels: `metres` and `inverse_depth` float32 [h, w], 0 = unknown; one of them is all 0."""
    del config
    return _in_units(_stored(parsed, size), parsed)


def _stored(parsed: Tensors, size: tf.Tensor) -> tf.Tensor:
    """The map as it is in the record, uint16 [h, w]; its kind is one that is known."""
    known = tf.reduce_any(parsed[KIND] == tf.constant([METRIC, RELATIVE]))
    with tf.control_dependencies([tf.debugging.Assert(known, ["depth: a kind that is not known", parsed[KIND]])]):
        return record.decode_map(parsed[DEPTH], size, 1, tf.uint16, 0)[..., 0]


def _in_units(stored: tf.Tensor, parsed: Tensors) -> Tensors:
    """What its numbers mean, pixel by pixel."""
    units, relative = tf.cast(stored, tf.float32), parsed[KIND] == RELATIVE
    # The choice is made once and not per pixel, which would take longer than reading the map.
    scale, none = parsed[SCALE], tf.zeros([])
    return {
        "metres": units * tf.where(relative, none, scale),
        "inverse_depth": units * tf.where(relative, scale, none),
    }


def write(labels: Labels, info: ImageInfo) -> dict[str, tf.train.Feature]:
    """The map that knows a pixel; without any, metric. A label may lack the map of the other kind.

    Known depth never rounds to unknown. Negative and infinite: unknown.
    """
    metres, inverse = (_known(labels.get(key)) for key in ("metres", "inverse_depth"))
    if metres.any() and inverse.any():
        raise ValueError(f"{info.source_id}: depth is metric or relative, not both.")
    relative = bool(inverse.any())
    values = inverse if relative else metres
    scale = values.max(initial=0.0) / LARGEST
    scale = float(np.float32(scale if relative else max(MILLIMETRE, scale)))
    units = np.where(values > 0, np.clip(np.rint(values / scale), 1, LARGEST), 0)
    return {
        DEPTH: record.bytes_feature([record.encode_map(units.astype(np.uint16))]),
        SCALE: record.float_feature([scale]),
        KIND: record.bytes_feature([(RELATIVE if relative else METRIC).encode()]),
    }


def _known(values: Any) -> np.ndarray:
    """float64 [h, w], 0 where it is no positive number."""
    values = np.asarray(0.0 if values is None else values, np.float64)
    return np.where(np.isfinite(values) & (values > 0), values, 0.0)


def targets(parsed: Tensors, size: tf.Tensor, warp: Warp, config: Config) -> Tensors:
    """`metres`, or for the loss "ssi" `inverse_depth`: float32 [S / stride, S / stride], 0 = unknown.

    A view enlarged by z shows a wall as a camera would that stands at 1/z of the distance, so its metres are
    divided by z; inverse depth up to scale stays as it is (see the package's docstring).
    """
    # Only what a cell shows is worth a calculation.
    labels = _in_units(geometry.warp_nearest(_stored(parsed, size), warp, 0, config.stride), parsed)
    if config.loss == "ssi":
        return {"inverse_depth": tf.math.divide_no_nan(1.0, labels["metres"]) + labels["inverse_depth"]}  # one is 0
    return {"metres": labels["metres"] / geometry.enlargement(warp)}


def limit(example: tf.train.Example) -> str:
    """ "relative", or nothing."""
    return RELATIVE if example.features.feature[KIND].bytes_list.value == [RELATIVE.encode()] else ""


def unfit(config: Config, manifests: Mapping[str, Manifest]) -> str:
    """Why metres cannot be learned from these sets; empty where they can, or need not be."""
    relative = {folder: manifest.limited_images(one, "depth", RELATIVE) for folder, one in manifests.items()}
    images = sum(manifest.labelled_images(one, "depth") for one in manifests.values())
    count, places = sum(relative.values()), ", ".join(folder for folder, number in relative.items() if number)
    if not count or config.loss == "ssi" or (config.relative_labels == "ignore" and count < images):
        return ""
    way = "" if count == images else ", or task.tasks.depth.relative_labels=ignore to leave these images' depth out"
    return (
        f"{places}: {count} of {images} images with depth have relative depth, of which loss={config.loss} cannot "
        f"learn metres. Set task.tasks.depth.loss=ssi to learn relative depth from all labels{way}."
    )
