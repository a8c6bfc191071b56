"""Mask R-CNN's mask branch from Model Garden's layers: RoI align 14x14, 4 convs, upsampled to 28x28."""

from __future__ import annotations

import tensorflow as tf
import tf_keras

from must_tf.spec import Given, HeadSettings, Pyramid, Tensors
from must_tf.tasks.detection import sampling
from must_tf.tasks.detection.head import norm_settings
from must_tf.tasks.masks.config import SIDE, Config

CROP = 14


class MaskHead(tf_keras.layers.Layer):
    """Pyramid and detection's boxes -> one 28 x 28 map per box."""

    def __init__(self, config: Config, settings: HeadSettings):
        from official.vision.modeling.heads import instance_heads
        from official.vision.modeling.layers import roi_aligner

        super().__init__(name="masks")
        self._head = instance_heads.MaskHead(
            num_classes=len(config.classes) + 1,
            num_convs=4,
            num_filters=config.filters,
            **norm_settings(settings),
        )
        self._samples = config.sampled_rois
        self._align = roi_aligner.MultilevelROIAligner(crop_size=CROP)

    def create_variables(self, pyramid: Pyramid) -> None:
        """Builds the layers on one box."""
        self._logits(pyramid, tf.zeros([1, 1, 4]), tf.zeros([1, 1], tf.int32))

    def call(self, pyramid: Pyramid, given: Given, training: bool) -> Tensors:
        """Returns logits [B, K, 28, 28]; in training also classes [B, K], 0: no object, and mask_targets, as logits."""
        if training:
            return self._train(pyramid, given)
        found = given.predictions["detection"]
        return {"logits": self._logits(pyramid, found["boxes"], found["classes"])}

    def _train(self, pyramid: Pyramid, given: Given) -> Tensors:
        from official.vision.modeling.layers import mask_sampler

        targets = given.targets or {}
        # RetinaNet has no proposals; masks are then trained on the true boxes only.
        proposals = given.raw["detection"].get("rois", targets["boxes"])
        candidates = proposals.shape[1] + targets["boxes"].shape[1]
        samples = min(self._samples, candidates)
        noise = sampling.uniform(given.seeds, sampling.MASKS, candidates)
        # Foreground only: a proposal without an object has no mask.
        found = sampling.proposals(proposals, targets, noise, samples, 1.0)
        boxes = _by_centres(found["boxes"], targets["masks"].shape[-1])
        matched = (found["rois"], boxes, found["classes"], found["objects"])
        # In mixed precision the layer would cast the proposals.
        cut = mask_sampler.MaskSampler(mask_target_size=SIDE, num_sampled_masks=samples, dtype=tf.float32)
        rois, classes, masks = cut(*matched, tf.cast(targets["masks"], tf.float32) / 255.0)
        rois, classes, masks = (tf.stop_gradient(x) for x in (rois, classes, masks))
        return {"logits": self._logits(pyramid, rois, classes), "classes": classes, "mask_targets": masks}

    def _logits(self, pyramid: Pyramid, boxes: tf.Tensor, classes: tf.Tensor) -> tf.Tensor:
        return tf.cast(self._head([self._align(pyramid.levels, boxes), classes]), tf.float32)


def _by_centres(boxes: tf.Tensor, side: int) -> tf.Tensor:
    """Moves boxes [B, K, 4] by half a cell of their masks' grids, down and right.

    Model Garden's sampler takes the values of a mask to lie at the corners of its cells. They lie at the centres, and
    predictions are read that way: without this, masks are learned half a cell too far up and left, and blurred.
    """
    half = (boxes[..., 2:] - boxes[..., :2]) * (0.5 / side)
    return boxes + tf.concat([half, half], axis=-1)
