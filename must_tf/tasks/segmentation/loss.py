"""Cross-entropy per pixel.

    L = -log softmax(z)_y,  mean over the known pixels of the labelled images

Source: Long et al., https://arxiv.org/abs/1411.4038; ignored pixels as in Model Garden's segmentation loss, which
however turns ids beyond the classes into a loss of 0: those end the run when they are read.
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from must_tf.heads import per_pixel, resize_to, visible
from must_tf.spec import Tensors, Term
from must_tf.tasks.segmentation.labels import IGNORE


def terms(config: Any) -> tuple[str, ...]:
    """One term."""
    del config
    return ("cross_entropy",)


def loss(raw: Tensors, targets: Tensors, config: Any) -> dict[str, Term]:
    """map [B, R, R, C] against classes [B, T, T]; counts known pixels."""
    del config
    raw, targets = visible(raw, targets["weight"]), visible(targets, targets["weight"])
    classes = targets["classes"]
    known = classes != IGNORE
    logits = resize_to(raw["map"], classes.shape[1])
    values = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=tf.where(known, classes, 0), logits=logits)
    return {"cross_entropy": per_pixel(values, known, targets["weight"])}
