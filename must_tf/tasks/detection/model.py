"""The way from the raw output of either head to boxes in the image."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import tensorflow as tf

from must_tf.data import host_maps
from must_tf.data.geometry import Frame, restore_boxes
from must_tf.spec import Arrays, Given, HeadSettings, Ideal, TaskConfig, Tensors
from must_tf.tasks.detection.config import Config
from must_tf.tasks.detection.portable import Search, detections

if TYPE_CHECKING:
    import tf_keras

# The box head's targets are scaled by these, as in Fast R-CNN's code and Model Garden's.
REGRESSION_WEIGHTS = [10.0, 10.0, 5.0, 5.0]
# Predictions with lower scores are dropped before NMS, and never written to records (see pseudo.py).
FLOOR = 0.05
NMS_IOU = 0.5  # the default of Model Garden's generators


def head(config: Config, settings: HeadSettings) -> tf_keras.layers.Layer:
    """Returns the head of `config.design`."""
    from must_tf.tasks.detection.head import MaskRCNNHead, RetinaNetHead

    return RetinaNetHead(config, settings) if config.design == "retinanet" else MaskRCNNHead(config, settings)


def decode(raw: Tensors, given: Given, config: Config) -> Tensors:
    """Returns boxes [B, D, 4] in pixels of the input, classes int32 [B, D], scores [B, D], count int32 [B]."""
    from official.vision.modeling.layers import detection_generator

    settings = {
        "pre_nms_score_threshold": FLOOR,
        "nms_iou_threshold": NMS_IOU,
        "max_num_detections": config.max_detections,
        "nms_version": config.nms,
        "apply_nms": config.nms != "portable",
        "dtype": tf.float32,
    }
    if config.design == "retinanet":
        generator = detection_generator.MultilevelDetectionGenerator(**settings)
        found = generator(raw["level_deltas"], raw["level_scores"], raw["level_anchors"], given.image_shape)
    else:
        generator = detection_generator.DetectionGenerator(**settings)
        found = generator(raw["box_deltas"], raw["class_logits"], raw["rois"], given.image_shape, REGRESSION_WEIGHTS)
    if config.nms == "portable":
        search = Search(config.max_detections, NMS_IOU, FLOOR, given.image_size)
        found = detections(found["decoded_boxes"], found["decoded_box_scores"], search)
    return {
        "boxes": found["detection_boxes"],
        "classes": tf.cast(found["detection_classes"], tf.int32),
        "scores": unless_diverged(found["detection_scores"], raw),
        "count": found["num_detections"],
    }


def unless_diverged(scores: tf.Tensor, raw: Tensors) -> tf.Tensor:
    """Sets the scores [B, D] of images with NaN or infinite logits or deltas to NaN; NMS would return no objects."""
    finite = [tf.math.is_finite(tf.reduce_sum(tf.abs(raw[key]), [1, 2])) for key in ("class_logits", "box_deltas")]
    return tf.where((finite[0] & finite[1])[:, None], scores, float("nan"))


def ideal(targets: Arrays, config: TaskConfig) -> Ideal:
    """Returns the objects, each with score 1."""
    del config
    real = targets["classes"] > 0  # [B, M]
    return Ideal(
        {
            "boxes": np.where(real[..., None], targets["boxes"], 0.0).astype(np.float32),
            "classes": np.where(real, targets["classes"], 0).astype(np.int32),
            "scores": real.astype(np.float32),
            "count": real.sum(-1).astype(np.int32),
        }
    )


def restore(predictions: Tensors, frame: Frame) -> Tensors:
    """Returns the predictions of one image with normalised boxes."""
    restored = host_maps.restore_boxes if host_maps.is_host(predictions["boxes"]) else restore_boxes
    return predictions | {"boxes": restored(predictions["boxes"], frame)}
