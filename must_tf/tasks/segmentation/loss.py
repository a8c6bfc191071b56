"""Cross-entropy per pixel, with hard labels.

    L = -c log softmax(z)_y,  mean over the known pixels of the labelled images

    weighting   c
    equal       1
    confidence  the teacher's probability of y; 1 if the label is real. The mean is not divided by the sum of c, so an
                image with low confidence counts less.

Sources: Long et al., https://arxiv.org/abs/1411.4038; for weights by confidence cf. Feng et al. (DMT),
https://arxiv.org/abs/2004.08514. Pixels are ignored as in Model Garden's segmentation loss. That loss also returns 0
for ids beyond the classes; here they stop the run when they are read.
"""

from __future__ import annotations

import tensorflow as tf

from must_tf.shared.masked_losses import per_pixel, resize_to, visible, without_hardest
from must_tf.spec import Tensors, Term
from must_tf.tasks.segmentation.config import Config
from must_tf.tasks.segmentation.labels import IGNORE


def terms(config: Config) -> tuple[str, ...]:
    """Returns the name of the only term."""
    del config
    return ("cross_entropy",)


def loss(raw: Tensors, targets: Tensors, config: Config) -> dict[str, Term]:
    """Compares map [B, R, R, C] with class_bytes [B, T, T], weighted by confidence [B, T, T]; counts known pixels."""
    raw, targets = visible(raw, targets["weight"]), visible(targets, targets["weight"])
    classes = tf.cast(targets["class_bytes"], tf.int32)
    known = classes != IGNORE
    logits = resize_to(raw["map"], classes.shape[1])
    values = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=tf.where(known, classes, 0), logits=logits)
    known = without_hardest(values, known, targets["pseudo"], config.ignore_hardest)
    if config.weighting == "confidence":
        values *= targets["confidence"]
    return {"cross_entropy": per_pixel(values, known, targets["weight"])}
