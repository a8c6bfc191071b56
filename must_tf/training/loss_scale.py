"""Loss scaling for float16, by Keras' `LossScaleOptimizer`.

The smallest positive float16 is 6e-8, and many gradients are smaller. So the loss is multiplied by a scale, and the
gradients, once they are float32, are divided by it. A scale that is too large makes gradients infinite: such a step
changes no weight and halves the scale. After 2,000 steps in a row without that, the scale doubles.

Source: Micikevicius et al. 2018, "Mixed Precision Training", section 3.2. Other precisions have no scale.
"""

from __future__ import annotations

from collections.abc import Mapping

import tensorflow as tf
import tf_keras
from official.core.config_definitions import RuntimeConfig

from must_tf.common.errors import UserError

PRECISION = "float16"
DYNAMIC = "dynamic"  # a scale that changes as above; a number stays
SMALLEST = 1.0  # of a scale that changes
LARGEST = 1e38  # the scaled loss is float32
SHOWN = 40  # characters of a wrong scale
LOGGED = "loss_scale"  # in metrics.jsonl
REMEDY = (
    "The last checkpoint is kept. Leave out runtime.loss_scale, so that the scale falls by itself, or use bfloat16."
)


def check(runtime: RuntimeConfig) -> None:
    """Raises UserError if the scale is no scale, or does not fit the precision or the device."""
    scale, precision = runtime.loss_scale, runtime.mixed_precision_dtype
    if precision == PRECISION and runtime.distribution_strategy == "tpu":
        raise UserError("runtime.mixed_precision_dtype=float16 does not run on a TPU. Set it to 'bfloat16'.")
    if scale is not None and precision != PRECISION:
        raise UserError(
            f"runtime.loss_scale={scale!r} needs runtime.mixed_precision_dtype=float16; other precisions need no scale."
        )
    if scale not in (None, DYNAMIC) and not (isinstance(scale, (int, float)) and SMALLEST <= scale <= LARGEST):
        given = repr(scale)[:SHOWN]
        raise UserError(f"runtime.loss_scale={given} must be {DYNAMIC!r} (the default) or a number from 1 to 1e38.")


def is_used() -> bool:
    """Returns true if this process computes in float16."""
    return bool(tf_keras.mixed_precision.global_policy().compute_dtype == PRECISION)


def inner(optimizer: tf_keras.optimizers.Optimizer) -> tf_keras.optimizers.Optimizer:
    """Returns the optimizer without its scale."""
    return getattr(optimizer, "inner_optimizer", optimizer)


def multiplied(optimizer: tf_keras.optimizers.Optimizer, loss: tf.Tensor) -> tf.Tensor:
    """Returns the loss times the scale."""
    return optimizer.get_scaled_loss(loss) if _scales(optimizer) else loss


def divided(optimizer: tf_keras.optimizers.Optimizer, gradients: list[tf.Tensor | None]) -> list[tf.Tensor | None]:
    """Returns the gradients divided by the scale."""
    return optimizer.get_unscaled_gradients(gradients) if _scales(optimizer) else gradients


def admits(optimizer: tf_keras.optimizers.Optimizer, norm: tf.Tensor) -> tf.Tensor:
    """Returns true, bool [], if the step need not end the run: its gradient is finite, or the scale can be halved.

    Args:
      optimizer: of the run.
      norm: of the whole gradient, [].
    """
    finite = tf.math.is_finite(norm)
    return finite | (optimizer.loss_scale > SMALLEST) if _scales(optimizer) and optimizer.dynamic else finite


def logged(
    optimizer: tf_keras.optimizers.Optimizer, norms: Mapping[str, tf.Tensor]
) -> dict[str, tuple[tf.Tensor, tf.Tensor]]:
    """Returns the norms for the log with how much each counts, and the scale.

    Infinite norms count only if they should end the run: where steps are compiled, only the log can do that.
    """
    if not _scales(optimizer):
        return {name: (norm, tf.constant(1.0)) for name, norm in norms.items()}
    is_fatal = ~admits(optimizer, norms["gradient_norm/all"])
    counts = {name: tf.cast(tf.math.is_finite(norm) | is_fatal, tf.float32) for name, norm in norms.items()}
    values = {name: (tf.math.multiply_no_nan(norm, counts[name]), counts[name]) for name, norm in norms.items()}
    return values | {LOGGED: (tf.identity(optimizer.loss_scale), tf.constant(1.0))}


def _scales(optimizer: tf_keras.optimizers.Optimizer) -> bool:
    return isinstance(optimizer, tf_keras.mixed_precision.LossScaleOptimizer)
