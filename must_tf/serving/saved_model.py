"""The SavedModel: takes images of any size and returns all tasks in each original image's frame, as <task>/<name>.

| signature | input |
|---|---|
| `image_bytes` (also `serving_default`) | `image_bytes` string [B]: JPEG or PNG of any size, see `decoding` |
| `image_tensor` | `image_tensor` uint8 [B, H, W, 3] |
| `tf_example` | `tf_example` string [B]: serialised records, of which only the image is read |
| `fitted` | `image` uint8 [B, S, S, 3], `image_shape` float32 [B, 2]: fitted images; outputs in the network's frame |

Boxes are normalised. Maps have the pixels of the original image. `masks/probability` is a 28 x 28 grid over each of
`detection/boxes`, as Model Garden serves masks. In a batch of mixed sizes, maps are as large as the largest image, and
zero outside of each image's own size, which `image/size` int32 [B, 2] gives. Clients need only TensorFlow.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TypeAlias

import tensorflow as tf
import tf_keras

from must_tf.data import decoding, geometry, record
from must_tf.data.geometry import Frame
from must_tf.data.input import Reader
from must_tf.model.student import StudentConfig, enabled
from must_tf.spec import Tensors
from must_tf.tasks import discover

Outputs = dict[str, tf.Tensor]
Decode = Callable[[tf.Tensor], tf.Tensor]  # one item of a signature's input -> uint8 [h, w, 3]
ConcreteFunction: TypeAlias = tf.types.experimental.ConcreteFunction
NAME = "must_tf.json"  # beside the SavedModel; describes it for clients
FITTED = "fitted"  # the signature that labelling uses


class Server(tf.Module):
    """A student with the path from any image to its network's frame and back."""

    def __init__(self, model: tf_keras.Model, config: StudentConfig):
        super().__init__(name="server")
        # Only the variables are saved: for a Keras model, Keras would trace every layer again, in training mode too.
        self._variables = model.variables
        self._predict = functools.partial(model, training=False)
        self._size = config.input_size
        self._specs = {name: discover()[name] for name in enabled(config)}
        self._reader = Reader(self._specs, {}, config.input_size)

    def signatures(self) -> dict[str, ConcreteFunction]:
        """Returns the concrete functions by signature."""
        encoded = self._signature("image_bytes", tf.TensorSpec([None], tf.string), decoding.decode)
        tensor = self._signature("image_tensor", tf.TensorSpec([None, None, None, 3], tf.uint8), lambda image: image)
        example = self._signature("tf_example", tf.TensorSpec([None], tf.string), _image_of)
        signatures = {"serving_default": encoded, "image_bytes": encoded, "image_tensor": tensor, "tf_example": example}
        return signatures | {FITTED: self._fitted()}

    def _fitted(self) -> ConcreteFunction:
        """Returns the network only, for labelling, which fits images and restores predictions itself."""

        def run(image: tf.Tensor, image_shape: tf.Tensor) -> Outputs:
            predictions = self._predict({"image": image, "image_shape": image_shape})["predictions"]
            return {f"{task}/{key}": value for task, values in predictions.items() for key, value in values.items()}

        image = tf.TensorSpec([None, self._size, self._size, 3], tf.uint8, name="image")
        shape = tf.TensorSpec([None, 2], tf.float32, name="image_shape")
        return tf.function(run, autograph=False).get_concrete_function(image, shape)

    def _signature(self, name: str, spec: tf.TensorSpec, decode: Decode) -> ConcreteFunction:
        def serve(inputs: tf.Tensor) -> Outputs:
            return self._serve(inputs, decode)

        named = tf.TensorSpec(spec.shape, spec.dtype, name=name)
        return tf.function(serve, autograph=False).get_concrete_function(named)

    def _serve(self, inputs: tf.Tensor, decode: Decode) -> Outputs:
        def view(item: tf.Tensor) -> Outputs:
            image = decode(item)
            warp = geometry.fit(tf.shape(image)[:2], self._size)
            return self._reader.view(image, warp, tf.constant(0, tf.int64))

        size = self._size
        shapes = {
            "image": tf.TensorSpec([size, size, 3], tf.uint8),
            "image_info": tf.TensorSpec([4], tf.int32),
            "image_shape": tf.TensorSpec([2], tf.float32),
            "index": tf.TensorSpec([], tf.int64),
        }
        batch = tf.map_fn(view, inputs, fn_output_signature=shapes)
        predictions = self._predict(batch)["predictions"]
        return self._restored(predictions, batch["image_info"]) | {"image/size": batch["image_info"][:, :2]}

    def _restored(self, predictions: dict[str, Tensors], image_info: tf.Tensor) -> Outputs:
        """Returns every image's predictions in its own frame, with maps padded to the largest image of the batch."""
        largest = tf.reduce_max(image_info[:, :2], axis=0)

        def padded(arguments: tuple[dict[str, Tensors], tf.Tensor]) -> Outputs:
            return {name: _pad(value, largest) for name, value in self._restored_one(*arguments).items()}

        specs = self._output_specs(predictions)
        return tf.map_fn(padded, (predictions, image_info), fn_output_signature=specs)

    def _restored_one(self, predicted: dict[str, Tensors], info: tf.Tensor) -> Outputs:
        """Returns one image's outputs by <task>/<name>, without those that a task passes on from one in its `needs`."""
        frame = Frame(info[:2], info[2:], self._size)
        outputs: Outputs = {}
        for name, spec in self._specs.items():
            passed_on = {key for need in spec.needs for key in predicted[need]}
            restored = spec.restore(predicted[name], frame)
            outputs |= {f"{name}/{key}": value for key, value in restored.items() if key not in passed_on}
        return outputs

    def _output_specs(self, predictions: dict[str, Tensors]) -> dict[str, tf.TensorSpec]:
        """Returns the shapes and types of one restored image; sizes that depend on the image are None."""
        predicted = tf.nest.map_structure(lambda x: tf.TensorSpec(x.shape[1:], x.dtype), predictions)
        restore = tf.function(self._restored_one, autograph=False)
        outputs = restore.get_concrete_function(predicted, tf.TensorSpec([4], tf.int32)).structured_outputs
        return {name: tf.TensorSpec(value.shape, value.dtype) for name, value in outputs.items()}


def _pad(value: tf.Tensor, largest: tf.Tensor) -> tf.Tensor:
    """Pads [h, w, ...] to [largest, ...] if the first two sizes depend on the image; returns other tensors as is."""
    if value.shape.rank < 2 or value.shape[0] is not None:
        return value
    missing = largest - tf.shape(value)[:2]
    rest = tf.zeros([value.shape.rank - 2, 2], tf.int32)
    padding = tf.concat([tf.stack([tf.zeros_like(missing), missing], axis=1), rest], axis=0)
    return tf.pad(value, padding)


def _image_of(serialized: tf.Tensor) -> tf.Tensor:
    return record.decode_image(tf.io.parse_single_example(serialized, record.IMAGE_FEATURES)["image/encoded"])
