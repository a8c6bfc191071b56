"""Cosine distance.

    L = 1 - <n, m>,  n the predicted and m the true unit vector; mean over the known pixels of the labelled images

Source: Bansal et al., Marr Revisited, https://arxiv.org/abs/1604.01347 (cosine loss for surface normals).
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from must_tf.heads import per_pixel, resize_to, visible
from must_tf.spec import Tensors, Term


def terms(config: Any) -> tuple[str, ...]:
    """One term."""
    del config
    return ("cosine",)


def loss(raw: Tensors, targets: Tensors, config: Any) -> dict[str, Term]:
    """map [B, R, R, 3] against normals [B, T, T, 3]; counts known pixels."""
    del config
    raw, targets = visible(raw, targets["weight"]), visible(targets, targets["weight"])
    normals = targets["normals"]
    known = tf.reduce_any(normals != 0.0, axis=-1)
    predicted = tf.math.l2_normalize(resize_to(raw["map"], normals.shape[1]), axis=-1)
    values = 1.0 - tf.reduce_sum(predicted * normals, axis=-1)
    return {"cosine": per_pixel(values, known, targets["weight"])}
