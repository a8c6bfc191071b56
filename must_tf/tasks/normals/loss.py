"""Losses of unit vectors, n the predicted and m the true one; mean over the known pixels of the labelled images.

    cosine  1 - <n, m>, between 0 and 2
    l1      |n_x - m_x| + |n_y - m_y| + |n_z - m_z|, between 0 and 2 sqrt(3)

If `weighting` is "confidence", a pixel's loss is multiplied by its confidence, which is 1 for real labels. The mean is
not divided by the sum of the confidences, so an image with low confidence counts less.

Sources: Bansal et al., Marr Revisited, https://arxiv.org/abs/1604.01347 (cosine loss for surface normals); Eftekhar et
al., Omnidata, https://arxiv.org/abs/2110.04994 (their teachers of normals learn by L1 and cosine).
"""

from __future__ import annotations

import tensorflow as tf

from must_tf.shared.masked_losses import per_pixel, resize_to, visible, without_hardest
from must_tf.shared.pixel_confidence import CONFIDENCE
from must_tf.spec import Tensors, Term
from must_tf.tasks.normals import labels
from must_tf.tasks.normals.config import Config


def terms(config: Config) -> tuple[str, ...]:
    """Returns the name of the configured loss."""
    return (config.loss,)


def loss(raw: Tensors, targets: Tensors, config: Config) -> dict[str, Term]:
    """Compares map [B, R, R, 3] with normal_colours [B, T, T, 3] and mirrored [B]; counts known pixels."""
    raw, targets = visible(raw, targets["weight"]), visible(targets, targets["weight"])
    normals = labels.seen(targets)
    known = tf.reduce_any(normals != 0.0, axis=-1)
    predicted = tf.math.l2_normalize(resize_to(raw["map"], normals.shape[1]), axis=-1)
    values = {"cosine": cosine, "l1": l1}[config.loss](predicted, normals)
    known = without_hardest(values, known, targets["pseudo"], config.ignore_hardest)
    if config.weighting == CONFIDENCE:
        values *= targets[CONFIDENCE]
    return {config.loss: per_pixel(values, known, targets["weight"])}


def cosine(predicted: tf.Tensor, normals: tf.Tensor) -> tf.Tensor:
    """Returns 1 - <n, m> of unit vectors [..., 3] -> [...]."""
    return 1.0 - tf.reduce_sum(predicted * normals, axis=-1)


def l1(predicted: tf.Tensor, normals: tf.Tensor) -> tf.Tensor:
    """Returns sum |n - m| of unit vectors [..., 3] -> [...]."""
    return tf.reduce_sum(tf.abs(predicted - normals), axis=-1)
