"""Record format of masks. The objects' other keys are detection's, one list for both tasks.

`image/object/mask_crop`   one PNG per object (1 bit: 0 or 255), cropped to the pixels that its box touches; exact
`image/object/mask_score`  float32, one per object: the mean probability of its mask's pixels; 1 if the mask is real,
                           -1 if the object has none. Only if some score is below 1

Model Garden's targets are full-image masks in float32, which slows down its input and fills memory in its evaluation.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np
import tensorflow as tf

from must_tf.data import assertions, geometry, record
from must_tf.data.geometry import Warp
from must_tf.shared import thresholds
from must_tf.spec import Features, ImageInfo, Labels, TaskConfig, Tensors
from must_tf.tasks.detection import labels as objects
from must_tf.tasks.detection import rules
from must_tf.tasks.masks.config import Config

CROP = "image/object/mask_crop"
MASK_SCORE = "image/object/mask_score"
OWN = ("crops", "mask_scores")  # keys of a label; the others are detection's
NO_MASK = -1.0  # the mask score of an object without a mask; no pixel of its crop is set
FULL = "image/object/mask"  # Model Garden's key for full-image PNGs; optional, not read here

# On COCO's masks a third smaller than 8 bits at OpenCV's defaults, and as fast to write and read.
ONE_BIT = [cv2.IMWRITE_PNG_BILEVEL, 1, cv2.IMWRITE_PNG_COMPRESSION, 1]


def features(config: Config) -> dict[str, Any]:
    """Returns the parsing spec of detection's keys, the crops and their scores."""
    return objects.features(config) | {
        CROP: tf.io.VarLenFeature(tf.string),
        MASK_SCORE: tf.io.VarLenFeature(tf.float32),
    }


def read(parsed: Tensors, size: tf.Tensor, config: Config) -> Tensors:
    """Returns detection's labels, `mask_scores` [N] and `crops` [N].

    Crops are PNG strings in the graph, and uint8 arrays [ch, cw] in {0, 1} as NumPy.
    """
    labels = objects.read(parsed, size, config)
    crops, scores = (tf.sparse.to_dense(parsed[key]) for key in (CROP, MASK_SCORE))
    complete = objects.complete(tf.shape(labels["boxes"])[0], crops, scores)
    count = tf.size(crops)
    labels["crops"] = assertions.required(crops, complete, "masks: neither no mask nor one per object", count)
    labels["mask_scores"] = objects.or_default(scores, tf.ones_like(labels["scores"]))
    # Objects without masks are labels of detection only.
    return {key: value[:count] for key, value in labels.items()}


def write(labels: Labels, info: ImageInfo) -> dict[str, tf.train.Feature]:
    """Writes detection's keys, one PNG per object, and the masks' scores if any is below 1."""
    written = objects.write(labels, info) | {CROP: record.bytes_feature([encode(crop) for crop in labels["crops"]])}
    if np.min(labels.get("mask_scores", ()), initial=1.0) < 1.0:
        written[MASK_SCORE] = record.float_feature(labels["mask_scores"])
    return written


def write_full(labels: Labels, info: ImageInfo) -> dict[str, tf.train.Feature]:
    """Writes Model Garden's key for its decoders: one full-image PNG (0 or 1) per object.

    Its format cannot say that an object has no mask: the mask fills the box.
    """
    known = zip(labels["crops"], has_mask(labels), strict=True)
    crops = [crop if known_mask else np.ones_like(crop) for crop, known_mask in known]
    full = paste(labels | {"crops": crops}, info.height, info.width).astype(np.uint8)
    return {FULL: record.bytes_feature([cv2.imencode(".png", mask)[1].tobytes() for mask in full])}


def encode(crop: np.ndarray) -> bytes:
    """Encodes a mask uint8 [ch, cw] in {0, 1} as a PNG with 1 bit per pixel, which decoders return as 0 and 255."""
    return cv2.imencode(".png", np.asarray(crop, np.uint8) * 255, ONE_BIT)[1].tobytes()


def cut(mask: np.ndarray, box: np.ndarray) -> np.ndarray:
    """Crops a full mask [h, w] to the pixels that the normalised box touches: uint8 [ch, cw]."""
    top, left, bottom, right = geometry.crop_window(box, *mask.shape)
    return np.ascontiguousarray(mask[top:bottom, left:right]).astype(np.uint8)


def paste(labels: Labels, height: int, width: int) -> np.ndarray:
    """Pastes the crops into full masks: bool [N, h, w]."""
    full = np.zeros([len(labels["crops"]), height, width], bool)
    for mask, box, crop in zip(full, labels["boxes"], labels["crops"], strict=True):
        top, left, bottom, right = geometry.crop_window(box, height, width)
        mask[top:bottom, left:right] = crop
    return full


def count(features: Features) -> Counter[int]:
    """Counts the objects with masks by class id."""
    classes = features[objects.LABEL].int64_list.value
    if len(features[CROP].bytes_list.value) != len(classes):
        return Counter()
    scores = features[MASK_SCORE].float_list.value if MASK_SCORE in features else ()
    return Counter(class_id for class_id, score in itertools.zip_longest(classes, scores) if score != NO_MASK)


def has_mask(labels: Mapping[str, Any]) -> Any:
    """Tests which objects have a mask: bool [N], NumPy or tensors. Of the others, only the box is known."""
    if "mask_scores" in labels:
        return labels["mask_scores"] != NO_MASK
    return np.ones(len(labels["boxes"]), bool)


def believed(labels: Mapping[str, Any], config: Config) -> Any:
    """Tests which masks are trained on: bool [N], NumPy or tensors. Both box and mask must reach their thresholds."""
    return rules.believed(labels, config) & is_sure(labels, config)


def is_sure(labels: Mapping[str, Any], config: Config) -> Any:
    """Tests which masks reach their own threshold: bool [N], whatever the scores of their boxes.

    An object without a mask never does: `NO_MASK` is below all thresholds.
    """
    return labels["mask_scores"] >= config.mask_score_threshold


def settle(config: Config, configs: Mapping[str, TaskConfig]) -> list[str]:
    """Takes over detection's `class_thresholds` if it has none; otherwise checks their names."""
    if not config.class_thresholds and "detection" in configs:
        config.class_thresholds = configs["detection"].class_thresholds
        return []  # detection reports mistakes in them
    return thresholds.unknown("masks", config)


def targets(parsed: Tensors, size: tf.Tensor, warp: Warp, config: Config) -> Tensors:
    """Returns detection's targets and `masks` uint8 [M, side, side], 0 to 255, each over its box in the input.

    As float32 they were the largest part of a batch, and most of the time for a batch went into copying them.
    """
    labels = read(parsed, size, config)
    indices, boxes = objects.select(labels, warp, believed(labels, config), config.max_objects)
    side = config.target_side

    def warped_mask(png_and_view: tuple[tf.Tensor, geometry.CropView]) -> tf.Tensor:
        png, view = png_and_view
        crop = tf.cast(tf.io.decode_png(png, channels=1) == 255, tf.uint8)
        return tf.cast(tf.round(geometry.warp_crop(crop, view, warp, side) * 255.0), tf.uint8)

    views = geometry.crop_view(tf.gather(labels["boxes"], indices), warp)
    pngs = tf.gather(labels["crops"], indices)
    fit = tf.reduce_all(assertions.png_sizes(pngs) <= size)
    pngs = assertions.required(pngs, fit, "masks: a mask is larger than the image")
    masks = tf.map_fn(warped_mask, (pngs, views), fn_output_signature=tf.TensorSpec([side, side], tf.uint8))
    return {
        "boxes": objects.pad(boxes, config.max_objects, -1.0),
        "classes": objects.pad(tf.gather(labels["classes"], indices), config.max_objects, -1),
        "masks": objects.pad(tf.ensure_shape(masks, [None, side, side]), config.max_objects, 0.0),
    }
