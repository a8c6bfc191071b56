"""Averages the weights over the steps of a training (EMA). A run that does so means the averaged weights.

After step t, the average a of a variable w becomes

    a <- w + d (a - w)
    d = average_decay;  with dynamic_decay at most (1 + n) / (10 + n), where n = t - start_step;  0 before start_step

An average starts as the initial weight. Source of the growing d: `tf.train.ExponentialMovingAverage`.

All weights are averaged, also the moving mean and variance of batch normalisation: these describe the weights of the
last 1 / (1 - norm_momentum) steps, and their averages describe the averaged weights just as well. With
`trainable_weights_only` they are those of the trained weights.

Training never reads the averages, and evaluation runs on a second model that has them. Model Garden's
`ExponentialMovingAverage` instead swaps the two by sums and differences, which rounds the trained weights at every
evaluation, and starts from 0. Only its settings are used.
"""

from __future__ import annotations

import dataclasses

import tensorflow as tf
import tf_keras
from official.modeling import optimization


@dataclasses.dataclass
class AveragesConfig(optimization.EMAConfig):
    """`ema` of the optimizer's settings: Model Garden's, but statistics are averaged by default."""

    trainable_weights_only: bool = False


@dataclasses.dataclass
class OptimizationConfig(optimization.OptimizationConfig):
    """Model Garden's settings of the optimizer with these averages."""

    ema: AveragesConfig | None = None


class Averages:
    """The averages of a model's weights.

    Attributes:
      model: a model like the trained one, with the averaged weights.
    """

    def __init__(self, config: optimization.EMAConfig, trained: tf_keras.Model, model: tf_keras.Model):
        """Takes two models that were built in the same way, in the scope of the distribution strategy."""
        self.model = model
        self._config = config
        self._pairs = list(zip(model.variables, trained.variables, strict=True))
        learned = {variable.ref() for variable in trained.trainable_variables}
        self._copied = {
            variable.ref()
            for variable in trained.variables
            if not variable.dtype.is_floating or (config.trainable_weights_only and variable.ref() not in learned)
        }

    def start(self) -> None:
        """Sets every average to its variable's value."""
        for average, variable in self._pairs:
            average.assign(variable)

    def decay(self, step: tf.Tensor) -> tf.Tensor:
        """Returns d, float32 [], of the step with this number; the first is 1."""
        after = tf.cast(step - self._config.start_step, tf.float32)
        decay = tf.constant(self._config.average_decay, tf.float32)
        if self._config.dynamic_decay:
            decay = tf.minimum(decay, (1.0 + after) / (10.0 + after))
        return tf.where(after < 0.0, 0.0, decay)

    def update(self, decay: tf.Tensor) -> None:
        """Moves every average towards its variable. Each replica does this for its own copies."""
        for average, variable in self._pairs:
            if variable.ref() in self._copied:
                average.assign(variable)
            else:
                average.assign(variable + decay * (average - variable))
