"""Sigmoid cross-entropy per mask pixel of the sampled foreground proposals.

    L = mean over the 28 x 28 pixels, mean over the proposals with an object of the labelled images

Source: Mask R-CNN, https://arxiv.org/abs/1703.06870; equals Model Garden's MaskrcnnLoss if all images are labelled.
"""

from __future__ import annotations

import tensorflow as tf

from must_tf.shared.masked_losses import visible
from must_tf.spec import Tensors, Term
from must_tf.tasks.masks.config import Config


def terms(config: Config) -> tuple[str, ...]:
    """Returns the name of the only term."""
    del config
    return ("cross_entropy",)


def loss(raw: Tensors, targets: Tensors, config: Config) -> dict[str, Term]:
    """Compares logits [B, K, 28, 28] with mask_targets [B, K, 28, 28]; counts proposals with an object."""
    del config
    raw = visible(raw, targets["weight"])
    weight = targets["weight"][:, None]  # [B, 1]
    values = tf.nn.sigmoid_cross_entropy_with_logits(labels=raw["mask_targets"], logits=raw["logits"])
    values = tf.reduce_mean(values, axis=[2, 3])  # [B, K]
    counted = tf.logical_and(raw["classes"] > 0, weight > 0)
    total = tf.reduce_sum(tf.where(counted, values, 0.0) * weight, axis=1)
    return {"cross_entropy": Term(total, tf.reduce_sum(tf.cast(counted, tf.float32), axis=1))}
