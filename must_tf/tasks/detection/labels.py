"""Record format of objects: the lists `image/object/...`, one value per object.

| key | value |
|---|---|
| `bbox/ymin`, `xmin`, `ymax`, `xmax` | float32, normalised |
| `class/label` | int64; the first class is 1, because 0 is background |
| `score` | float32, the teacher's; 1.0 if real. All boxes above `model.FLOOR` are written |
| `is_crowd` | int64, 0 or 1; COCO's crowds and VOC's difficult objects |
| `area` | float32, pixels of the original image |

Precision: float32. Thresholds on the score apply on reading, see `rules.py`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from must_tf.data import assertions, geometry, manifest, record
from must_tf.data.geometry import Warp
from must_tf.data.manifest import Manifest
from must_tf.spec import Features, ImageInfo, Labels, TaskConfig, Tensors
from must_tf.tasks.detection import rules
from must_tf.tasks.detection.config import Config

CORNERS = ("ymin", "xmin", "ymax", "xmax")
LABEL = "image/object/class/label"
AREA = "image/object/area"
CROWD = "image/object/is_crowd"
SCORE = "image/object/score"
TOLERANCE = 1e-3  # of the image, by which boxes of other tools may stick out
WRONG = "detection: a box outside of the image, an unknown class id or score, or a list not as long as the others"
MOST_CLASSES = 2**31 - 1  # the targets are int32
# Smaller parts of objects that a crop leaves over are dropped. Mask R-CNN's smallest proposal has the same size.
SMALLEST_SIDE = 1.0  # pixels of the network input


def corner_key(corner: str) -> str:
    """Returns Model Garden's key of one side of the boxes."""
    return f"image/object/bbox/{corner}"


def features(config: TaskConfig) -> dict[str, Any]:
    """Returns the parsing spec of the objects' keys."""
    del config
    spec = {corner_key(corner): tf.io.VarLenFeature(tf.float32) for corner in CORNERS}
    spec[LABEL] = tf.io.VarLenFeature(tf.int64)
    spec[AREA] = tf.io.VarLenFeature(tf.float32)
    spec[CROWD] = tf.io.VarLenFeature(tf.int64)
    spec[SCORE] = tf.io.VarLenFeature(tf.float32)
    return spec


def read(parsed: Tensors, size: tf.Tensor, config: TaskConfig) -> Tensors:
    """Returns N objects: boxes [N, 4], classes [N], scores [N], is_crowd [N], area [N]; asserts that they are valid."""
    boxes = tf.stack([tf.sparse.to_dense(parsed[corner_key(corner)]) for corner in CORNERS], axis=-1)
    ids, scores, crowd, area = (tf.sparse.to_dense(parsed[key]) for key in (LABEL, SCORE, CROWD, AREA))
    count = tf.shape(boxes)[0]
    # NaN is not inside either. The ids are compared before they are cast: 2^32 + 1 would become 1.
    inside = tf.reduce_all((boxes >= -TOLERANCE) & (boxes <= 1 + TOLERANCE))
    last = len(config.classes) or MOST_CLASSES
    known = tf.reduce_all((ids >= 1) & (ids <= last)) & tf.equal(tf.size(ids), count)
    valid = inside & known & tf.reduce_all((scores >= 0) & (scores <= 1)) & complete(count, scores, crowd, area)
    boxes = assertions.required(boxes, valid, WRONG, ids)
    pixels = tf.cast(tf.reduce_prod(size), tf.float32)
    box_area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]) * pixels
    return {
        "boxes": boxes,
        "classes": tf.cast(ids, tf.int32),
        "scores": or_default(scores, tf.ones([count])),
        "is_crowd": or_default(crowd, tf.zeros([count], tf.int64)) > 0,
        "area": or_default(area, box_area),
    }


def complete(count: tf.Tensor, *lists: tf.Tensor) -> tf.Tensor:
    """Tests if each list has one value per object, or none: bool []."""
    lengths = tf.stack([tf.size(one) for one in lists])
    return tf.reduce_all(tf.equal(lengths, 0) | tf.equal(lengths, count))


def or_default(values: tf.Tensor, default: tf.Tensor) -> tf.Tensor:
    """Returns the record's values, or the default: other tools may not write scores, areas and crowd flags."""
    return tf.cond(tf.equal(tf.size(values), tf.size(default)), lambda: values, lambda: default)


def write(labels: Labels, info: ImageInfo) -> dict[str, tf.train.Feature]:
    """Writes all keys; empty lists without objects."""
    del info
    boxes = np.asarray(labels["boxes"], np.float32).reshape(-1, 4)
    written = {corner_key(corner): record.float_feature(boxes[:, i]) for i, corner in enumerate(CORNERS)}
    written[LABEL] = record.int_feature(labels["classes"])
    written[AREA] = record.float_feature(labels["area"])
    written[CROWD] = record.int_feature(labels["is_crowd"])
    written[SCORE] = record.float_feature(labels["scores"])
    return written


def cannot_learn(config: Config, manifests: Mapping[str, Manifest]) -> str:
    """Returns an error message if the design has an RPN and no image has all classes annotated; otherwise ""."""
    images = sum(manifest.labelled_images(one, "detection") for one in manifests.values())
    partial = sum(manifest.limited_images(one, "detection", "partial") for one in manifests.values())
    if config.design != "maskrcnn" or not images or partial < images:
        return ""
    return (
        f"{', '.join(manifests)}: none of {images} images with boxes is annotated for all classes, so the RPN cannot "
        "learn background. Set task.tasks.detection.design=retinanet, or add fully annotated images."
    )


def restrict(labels: Labels, annotated: tuple[int, ...]) -> Labels:
    """Returns the objects of these classes; works for masks too, whose crops are a list."""
    wanted = np.isin(labels["classes"], annotated)
    return {
        key: [one for one, is_wanted in zip(values, wanted, strict=True) if is_wanted]
        if isinstance(values, list)
        else values[wanted]
        for key, values in labels.items()
    }


def select(labels: Tensors, warp: Warp, wanted: tf.Tensor, most: int) -> tuple[tf.Tensor, tf.Tensor]:
    """Selects those of the `wanted` [N] boxes that are visible in the input; at most `most`, highest scores first.

    Returns:
      Their indices [K] and the boxes [K, 4] in pixels, clipped to the input.
    """
    boxes = geometry.clip(geometry.warp_boxes(labels["boxes"], warp), warp)
    sides = boxes[:, 2:] - boxes[:, :2]
    wanted &= tf.reduce_min(sides, axis=-1) >= SMALLEST_SIDE
    order = tf.argsort(labels["scores"], direction="DESCENDING", stable=True)
    indices = tf.boolean_mask(order, tf.gather(wanted, order))[:most]
    return indices, tf.gather(boxes, indices)


def pad(values: tf.Tensor, count: int, fill: float) -> tf.Tensor:
    """Pads [K, ...] to [count, ...] with `fill`."""
    missing = count - tf.shape(values)[0]
    padding = [[0, missing]] + [[0, 0]] * (values.shape.rank - 1)
    padded = tf.pad(values, padding, constant_values=tf.cast(fill, values.dtype))
    return tf.ensure_shape(padded, [count, *values.shape[1:]])


def count(features: Features) -> Counter[int]:
    """Counts the objects by class id."""
    return Counter(features[LABEL].int64_list.value)


def recode(features: Features, ids: Mapping[int, int], classes: int) -> None:
    """Rewrites the objects' class ids."""
    del classes
    labels = features[LABEL].int64_list.value
    labels[:] = [ids[class_id] for class_id in labels]


def targets(parsed: Tensors, size: tf.Tensor, warp: Warp, config: Config) -> Tensors:
    """Returns `boxes` float32 [M, 4] in pixels of the input, `classes` int32 [M], and `ignored` float32 [M', 4], the
    ignore regions. All are padded with -1.
    """
    labels = read(parsed, size, config)
    believed = rules.believed(labels, config)
    indices, boxes = select(labels, warp, believed, config.max_objects)
    beyond = tf.tensor_scatter_nd_update(believed, indices[:, None], tf.zeros_like(indices, tf.bool))
    _, regions = select(labels, warp, rules.ignored(labels, config) | beyond, config.max_ignored)
    return {
        "boxes": pad(boxes, config.max_objects, -1.0),
        "classes": pad(tf.gather(labels["classes"], indices), config.max_objects, -1),
        "ignored": pad(regions, config.max_ignored, -1.0),
    }
