"""Sampling of the anchors and proposals to train on: a random subset, balanced between objects and background.

Model Garden's samplers use a stateful generator and unroll over the images of a batch. Here the samples depend only on
the image's seed, so that a resumed run repeats those of an uninterrupted one, and one op samples for all images.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import tensorflow as tf

from must_tf.spec import Tensors
from must_tf.tasks.detection.ignored import spared_proposals

# Streams of one image's seed, so that draws are independent; augmentation is stream 0.
RPN, ROIS, MASKS = 1, 2, 3
STREAM_STRIDE = 1_000_003  # a prime: seeds that users choose are small and close to each other
LOW_BITS = 0x7FFFFF  # 23, as many as a float32 between 1 and 2 has
ROI_HIGH = 0.5  # IoU from which a proposal shows an object, Model Garden's default


class Sampled(NamedTuple):
    """Sampled indices: positives, then negatives, then fill-ups that are not `used`."""

    indices: tf.Tensor  # [B, K] int32
    used: tf.Tensor  # [B, K] bool


def uniform(seeds: tf.Tensor, stream: int, count: int) -> tf.Tensor:
    """Draws [B, count] in [0, 1); each row depends only on its image's seeds [B, 2] and the stream, on every device."""

    def row(seed: tf.Tensor) -> tf.Tensor:
        # The generator is named because the default differs between devices. So does what a device makes of the
        # bits when floats are asked for: TensorFlow's kernels take the low 23, XLA the high ones.
        bits = tf.random.stateless_uniform([count], seed, minval=None, maxval=None, dtype=tf.int32, alg="philox")
        return tf.cast(bits & LOW_BITS, tf.float32) * 2.0**-23

    shift = tf.constant([stream * STREAM_STRIDE, 0], tf.int64)
    return tf.map_fn(row, tf.cast(seeds, tf.int64) + shift, fn_output_signature=tf.TensorSpec([count], tf.float32))


def balanced(
    positive: tf.Tensor, negative: tf.Tensor, noise: tf.Tensor, samples: int, positive_fraction: float
) -> Sampled:
    """Samples up to `positive_fraction` positives and fills up with negatives, each uniformly.

    Args:
      positive, negative: [B, N] bool, never both.
      noise: [B, N] in 0..1, random.
      samples: K, at most N.
      positive_fraction: share of the samples that may be positive.
    """
    most = max(1, int(samples * positive_fraction))
    drawn_positive, positives = tf.nn.top_k(tf.where(positive, noise, -1.0), most)
    drawn_negative, negatives = tf.nn.top_k(tf.where(negative, noise, -1.0), samples)
    rank = tf.concat([tf.where(drawn_positive >= 0.0, 2, 0), tf.where(drawn_negative >= 0.0, 1, 0)], axis=1)
    best, places = tf.nn.top_k(rank, samples)  # stable: the first of equal values
    indices = tf.gather(tf.concat([positives, negatives], axis=1), places, batch_dims=1)
    return Sampled(indices, best > 0)


def proposals(
    rois: tf.Tensor, targets: Mapping[str, tf.Tensor], noise: tf.Tensor, samples: int, positive_fraction: float
) -> Tensors:
    """Adds the objects to the proposals, matches at IoU 0.5 and samples; without gradient.

    Args:
      rois: [B, R, 4] pixels.
      targets: boxes [B, M, 4] pixels and classes [B, M], padded with -1; if it has ignored [B, M', 4], no
        background is sampled there.
      noise: [B, R + M] in 0..1.
      samples: K, at most R + M.
      positive_fraction: see `balanced`.

    Returns:
      rois [B, K, 4]; boxes [B, K, 4] and classes [B, K] of the matched objects (0 = background); objects [B, K], the
      index among the M objects, -1 for background; used bool [B, K], false for places that could not be filled.
    """
    from official.vision.modeling.layers import roi_sampler

    # Model Garden's layer, used for its matching only. In mixed precision it would cast the boxes.
    match = roi_sampler.ROISampler(foreground_iou_threshold=ROI_HIGH, skip_subsampling=True, dtype=tf.float32)
    boxes, matched_boxes, classes, objects = match(rois, targets["boxes"], targets["classes"])
    real = tf.reduce_max(boxes, axis=-1) > 0.0  # padding is neither object nor background
    background = real & (classes <= 0)
    if "ignored" in targets:
        background &= ~spared_proposals(boxes, targets["ignored"], ROI_HIGH)
    indices, used = balanced(real & (classes > 0), background, noise, samples, positive_fraction)
    found = {"rois": boxes, "boxes": matched_boxes, "classes": classes, "objects": objects}
    drawn = {key: tf.stop_gradient(tf.gather(value, indices, batch_dims=1)) for key, value in found.items()}
    return drawn | {"used": used}
