"""Cross-entropy against a distribution. Real labels are one-hot, pseudo labels are soft.

    L = -sum_c p_c log softmax(z)_c,  mean over labelled images

A pseudo label is used as it is ("soft") or made one-hot at its likeliest class ("hard").

Source: MuST, https://arxiv.org/abs/2108.11353 (soft labels for classification); with label smoothing e,
p <- (1 - e) p + e / C, https://arxiv.org/abs/1512.00567.
"""

from __future__ import annotations

import tensorflow as tf

from must_tf.shared.masked_losses import per_image, visible
from must_tf.spec import Tensors, Term
from must_tf.tasks.classification.config import Config


def terms(config: Config) -> tuple[str, ...]:
    """Returns the name of the only term."""
    del config
    return ("cross_entropy",)


def loss(raw: Tensors, targets: Tensors, config: Config) -> dict[str, Term]:
    """Compares logits [B, C] with probability [B, C]; counts labelled images."""
    raw, targets = visible(raw, targets["weight"]), visible(targets, targets["weight"])
    classes = raw["logits"].shape[-1]
    probability = targets["probability"]
    if config.cross_entropy == "hard":
        probability = tf.one_hot(tf.argmax(probability, axis=-1), classes)
    smoothed = (1.0 - config.label_smoothing) * probability + config.label_smoothing / classes
    values = tf.nn.softmax_cross_entropy_with_logits(labels=smoothed, logits=raw["logits"])  # [B]
    return {"cross_entropy": per_image(values, targets["weight"])}
