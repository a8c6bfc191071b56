"""Ways to train a pretrained model on little data: frozen batch normalisation, and a slower backbone."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

import tensorflow as tf
import tf_keras

NORMALIZATIONS = (tf_keras.layers.BatchNormalization, tf_keras.layers.experimental.SyncBatchNormalization)


def freeze_batch_norm(module: tf.Module) -> None:
    """Makes every batch normalisation in a module normalise by its moving statistics, which no longer change.

    Gamma and beta are not trained either.
    """
    for layer in module.submodules:
        if isinstance(layer, NORMALIZATIONS):
            layer.trainable = False


@contextlib.contextmanager
def slower(variables: Sequence[tf.Variable], factor: float) -> Iterator[None]:
    """Multiplies what the block adds to these variables by a factor.

    An optimizer's step in the block then is one with that factor on the learning rate, because the change of a weight
    is proportional to it: w <- w + factor (w' - w), where w' is the optimizer's new weight. That also holds for
    adaptive optimizers, which would undo a factor on the gradient, and for momentum and decoupled weight decay.
    """
    if factor == 1.0:
        yield
        return
    before = [tf.identity(variable) for variable in variables]
    yield
    for variable, old in zip(variables, before, strict=True):
        variable.assign(old + factor * (variable - old))
