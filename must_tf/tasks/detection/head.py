"""Both designs from Model Garden's layers, connected as in its own Mask R-CNN and RetinaNet models.

Mask R-CNN design: RPN (2 hidden convs) -> proposals -> RoI align 7x7 -> 4 convs + 1 fc. RetinaNet: 4 convs per branch.
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf
import tf_keras

from must_tf.spec import Given, HeadSettings, Pyramid, Tensors
from must_tf.tasks.detection import anchors, proposals, sampling
from must_tf.tasks.detection.config import Config

ROI_FOREGROUND = 0.25  # share of the sampled proposals, https://arxiv.org/abs/1504.08083


def norm_settings(settings: HeadSettings) -> dict[str, Any]:
    """Returns the arguments that all of Model Garden's heads share."""
    return {
        "activation": settings.activation,
        "use_sync_bn": settings.use_sync_bn,
        "norm_momentum": settings.norm_momentum,
        "norm_epsilon": settings.norm_epsilon,
        "kernel_regularizer": settings.regularizer,
    }


def tiled(levels: dict[str, tf.Tensor], batch: tf.Tensor) -> dict[str, tf.Tensor]:
    """Repeats the anchors for every image of the batch, as Model Garden's generators need them."""
    return {level: tf.tile(boxes[None], [batch, 1, 1, 1]) for level, boxes in levels.items()}


class MaskRCNNHead(tf_keras.layers.Layer):
    """Pyramid -> proposals and, per proposal, class logits and box deltas."""

    def __init__(self, config: Config, settings: HeadSettings):
        from official.vision.modeling.heads import dense_prediction_heads, instance_heads
        from official.vision.modeling.layers import roi_aligner, roi_generator

        super().__init__(name="detection")
        self._config, self._settings = config, settings
        common = norm_settings(settings)
        self._rpn = dense_prediction_heads.RPNHead(
            min_level=settings.min_level,
            max_level=settings.max_level,
            num_anchors_per_location=anchors.per_location(config),
            num_convs=2,
            num_filters=config.filters,
            **common,
        )
        self._box_head = instance_heads.DetectionHead(
            num_classes=len(config.classes) + 1,
            num_convs=4,
            num_filters=config.filters,
            num_fcs=1,
            fc_dims=config.fc,
            **common,
        )
        self._proposals = roi_generator.MultilevelROIGenerator(
            num_proposals=config.proposals, test_num_proposals=config.proposals
        )
        self._align = roi_aligner.MultilevelROIAligner(crop_size=7)

    def create_variables(self, pyramid: Pyramid) -> None:
        """Builds the layers on one proposal. Model Garden's search for proposals takes seconds outside a graph."""
        self._rpn(pyramid.levels)
        self._box_head(self._align(pyramid.levels, tf.zeros([1, 1, 4])))

    def call(self, pyramid: Pyramid, given: Given, training: bool) -> Tensors:
        """Returns rpn_scores [B, A, 1], rpn_deltas [B, A, 4], anchors [A, 4], rois [B, R, 4] pixels, class_logits
        [B, R, C + 1], box_deltas [B, R, (C + 1) * 4]; in training also roi_classes [B, R] and roi_boxes [B, R, 4],
        the match of each sampled proposal (0 = background, -1 = unused), and rpn_draw [B, A] in 0..1, by which the loss
        samples anchors.
        """
        boxes = anchors.multilevel(self._config, self._settings, given.image_size)
        # Coordinates are float32 from here on: beyond 256, bfloat16 resolves only every second pixel.
        scores, deltas = tf.nest.map_structure(lambda x: tf.cast(x, tf.float32), self._rpn(pyramid.levels))
        raw = {
            "rpn_scores": anchors.flatten(scores, 1),
            "rpn_deltas": anchors.flatten(deltas, 4),
            "anchors": anchors.flat_boxes(boxes),
        }
        sizes = [boxes[level].shape.num_elements() // 4 for level in sorted(boxes, key=int)]
        limits = proposals.limits(self._proposals.get_config(), training)
        if self._config.nms == "batched":
            rois = proposals.batched(raw, sizes, given.image_shape, limits)
        elif self._config.nms == "portable":
            rois = proposals.portable(raw, sizes, given.image_shape, limits, given.image_size)
        else:
            tiles = tiled(boxes, tf.shape(pyramid.c5)[0])
            rois, _ = self._proposals(deltas, scores, tiles, given.image_shape, training)
        rois = tf.stop_gradient(rois)
        if training:
            rois, sampled = self._sample(rois, given, raw["rpn_scores"].shape[1])
            raw |= sampled
        logits, box_deltas = self._box_head(self._align(pyramid.levels, rois))
        raw["rois"] = rois
        raw["class_logits"] = tf.cast(logits, tf.float32)
        raw["box_deltas"] = tf.cast(box_deltas, tf.float32)
        return raw

    def _sample(self, rois: tf.Tensor, given: Given, anchor_count: int) -> tuple[tf.Tensor, Tensors]:
        """Adds the objects to the proposals and samples, with up to a quarter foreground."""
        candidates = rois.shape[1] + self._config.max_objects
        noise = sampling.uniform(given.seeds, sampling.ROIS, candidates)
        samples = min(self._config.sampled_rois, candidates)
        found = sampling.proposals(rois, given.targets or {}, noise, samples, ROI_FOREGROUND)
        draw = sampling.uniform(given.seeds, sampling.RPN, anchor_count)
        classes = tf.where(found["used"], found["classes"], -1)
        return found["rois"], {"roi_boxes": found["boxes"], "roi_classes": classes, "rpn_draw": draw}


class RetinaNetHead(tf_keras.layers.Layer):
    """Pyramid -> per anchor class logits and box deltas."""

    def __init__(self, config: Config, settings: HeadSettings):
        from official.vision.modeling.heads import dense_prediction_heads

        super().__init__(name="detection")
        self._config, self._settings = config, settings
        self._dense = dense_prediction_heads.RetinaNetHead(
            min_level=settings.min_level,
            max_level=settings.max_level,
            num_classes=len(config.classes) + 1,
            num_anchors_per_location=anchors.per_location(config),
            num_convs=4,
            num_filters=config.filters,
            **norm_settings(settings),
        )

    def call(self, pyramid: Pyramid, given: Given, training: bool) -> Tensors:
        """Returns class_logits [B, A, C + 1], box_deltas [B, A, 4], anchors [A, 4], and these per level to decode."""
        del training
        # float32 as in the other design. A sigmoid in bfloat16 is 1 for all logits above 6.2.
        scores, deltas = tf.nest.map_structure(lambda x: tf.cast(x, tf.float32), self._dense(pyramid.levels)[:2])
        boxes = anchors.multilevel(self._config, self._settings, given.image_size)
        return {
            "class_logits": anchors.flatten(scores, len(self._config.classes) + 1),
            "box_deltas": anchors.flatten(deltas, 4),
            "anchors": anchors.flat_boxes(boxes),
            "level_scores": scores,
            "level_deltas": deltas,
            "level_anchors": tiled(boxes, tf.shape(pyramid.c5)[0]),
        }
