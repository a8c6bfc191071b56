"""Sums, measures and clips the gradients of a step before they change a weight."""

from __future__ import annotations

import tensorflow as tf
import tf_keras

from must_tf.training import loss_scale

Gradients = list[tf.Tensor | None]  # in the order of the trainable variables; None if the loss does not depend on one


def summed(gradients: Gradients) -> Gradients:
    """Returns the sum of the gradients over all replicas, the same on each of them."""
    there = [gradient for gradient in gradients if gradient is not None]
    totals = iter(tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, there) if there else [])
    return [None if gradient is None else next(totals) for gradient in gradients]


def norms(model: tf_keras.Model, gradients: Gradients) -> dict[str, tf.Tensor]:
    """Returns L2 norms, [] each: of all gradients, and by module.

    A head's norm depends on its own task only.
    """
    pairs = zip(model.trainable_variables, gradients, strict=True)
    # Half the sum of squares of each gradient, computed once for all modules.
    halves = {v.ref(): tf.nn.l2_loss(g) for v, g in pairs if g is not None}
    modules: dict[str, tf_keras.layers.Layer] = {
        "all": model,
        "backbone": model.trunk.backbone,
        "decoder": model.trunk.decoder,
    }
    logged = {}
    for name, module in (modules | model.heads).items():
        own = [halves[v.ref()] for v in module.trainable_variables if v.ref() in halves]
        logged[f"gradient_norm/{name}"] = tf.sqrt(2.0 * tf.reduce_sum(tf.stack(own))) if own else tf.constant(0.0)
    return logged


def clipped(optimizer: tf_keras.optimizers.Optimizer, gradients: Gradients, norm_of_all: tf.Tensor) -> Gradients:
    """Clips the gradients, whose norm together is `norm_of_all` [], to the norm that Model Garden's AdamW is given.

    AdamW clips only if it also sums the gradients over the replicas, and then clips each replica's own gradients. The
    other optimizers always clip by themselves.
    """
    norm = getattr(loss_scale.inner(optimizer), "gradient_clip_norm", 0.0)
    return tf.clip_by_global_norm(gradients, norm, norm_of_all)[0] if norm > 0.0 else gradients
