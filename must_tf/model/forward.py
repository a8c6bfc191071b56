"""The network as a function: what is compiled for predictions, exported and labelled with. Needs TensorFlow only."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import tensorflow as tf

from must_tf.spec import Tensors

if TYPE_CHECKING:
    import tf_keras

# image uint8 [B, S, S, 3], image_shape float32 [B, 2] -> {task: {name: [B, ...]}} in the network's frame
Forward = Callable[[tf.Tensor, tf.Tensor], dict[str, Tensors]]


def of(model: tf_keras.Model) -> Forward:
    """Returns the predictions of a student as a function for batches of any size, to be compiled.

    If the model has fused batch normalisation, a lone image is predicted twice, and the copy is dropped: TensorFlow
    joins it with the convolution before it, for which oneDNN has fast code for batches of two or more only. One image
    takes 4 to 10 times as much processor time as two. Synchronised batch normalisation is not fused.
    """
    is_fused = any(getattr(module, "fused", False) for module in model.submodules)

    def run(image: tf.Tensor, image_shape: tf.Tensor) -> dict[str, Tensors]:
        count = tf.shape(image)[0]
        copies = tf.cast(tf.equal(count, 1) & is_fused, tf.int32)
        inputs = {
            "image": tf.concat([image, image[:copies]], axis=0),
            "image_shape": tf.concat([image_shape, image_shape[:copies]], axis=0),
        }
        predictions = model(inputs, training=False)["predictions"]
        return tf.nest.map_structure(lambda x: x[:count], predictions)

    return run
