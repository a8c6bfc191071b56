"""Scale-invariant logarithmic error (SILog).

    d_i = log p_i - log y_i over the n known pixels of one image
    L   = mean(d^2) - lambda * mean(d)^2,  mean over the labelled images

Source: Eigen et al., Depth Map Prediction from a Single Image, https://arxiv.org/abs/1406.2283, eq. 4 (lambda = 0.5).
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from must_tf.heads import per_image, resize_to, visible
from must_tf.spec import Tensors, Term


def terms(config: Any) -> tuple[str, ...]:
    """One term."""
    del config
    return ("silog",)


def loss(raw: Tensors, targets: Tensors, config: Any) -> dict[str, Term]:
    """map [B, R, R, 1] (log metres) against metres [B, T, T]; counts labelled images that know a pixel."""
    raw, targets = visible(raw, targets["weight"]), visible(targets, targets["weight"])
    metres = targets["metres"]
    known = metres > 0
    log_metres = tf.math.log(tf.where(known, metres, 1.0))
    predicted = resize_to(raw["map"], metres.shape[1])[..., 0]
    difference = tf.where(known, predicted - log_metres, 0.0)  # d
    count = tf.reduce_sum(tf.cast(known, tf.float32), axis=[1, 2])  # [B] n
    mean = tf.math.divide_no_nan(tf.reduce_sum(difference, axis=[1, 2]), count)
    mean_square = tf.math.divide_no_nan(tf.reduce_sum(difference**2, axis=[1, 2]), count)
    values = mean_square - config.variance_focus * mean**2
    return {"silog": per_image(values, tf.where(count > 0, targets["weight"], 0.0))}
