"""What happens to the gradients of a step before they change a weight."""

from __future__ import annotations

from typing import Any

import tensorflow as tf
import tf_keras


def norms(model: tf_keras.Model, gradients: list[tf.Tensor | None]) -> dict[str, Any]:
    """L2 norms, each with a count of 1: of all gradients, and by module. A head's is its task's alone."""
    pairs = zip(model.trainable_variables, gradients, strict=True)
    halves = {v.ref(): tf.nn.l2_loss(g) for v, g in pairs if g is not None}  # sum of squares / 2, once for all modules
    modules: dict[str, Any] = {"all": model, "backbone": model.trunk.backbone, "decoder": model.trunk.decoder}
    found = {}
    for name, module in (modules | model.heads).items():
        mine = [halves[v.ref()] for v in module.trainable_variables if v.ref() in halves]
        norm = tf.sqrt(2.0 * tf.reduce_sum(tf.stack(mine))) if mine else tf.constant(0.0)
        found[f"gradient_norm/{name}"] = (norm, tf.constant(1.0))
    return found


def clipped(optimizer: Any, gradients: list[tf.Tensor | None]) -> list[tf.Tensor | None]:
    """Clipped to the global norm that Model Garden's AdamW asks for.

    It clips by itself only where it also adds up the replicas' gradients, and then each replica's for itself. The
    other optimizers clip whatever they are given.
    """
    norm = getattr(optimizer, "gradient_clip_norm", 0.0)
    return tf.clip_by_global_norm(gradients, norm)[0] if norm > 0.0 else gradients
