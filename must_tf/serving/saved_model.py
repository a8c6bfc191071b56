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

`image/status` string [B] is "ok", or the reason why an image is not served, see `screening.py`. All other outputs of
such a row are zero. A batch without images has outputs without rows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import tensorflow as tf

from must_tf.data import geometry
from must_tf.data.geometry import Frame
from must_tf.data.input import Reader
from must_tf.model import forward
from must_tf.model.head_configs import HeadsConfig, enabled
from must_tf.serving import objects, screening
from must_tf.serving.limits import Limits
from must_tf.serving.screening import Source
from must_tf.spec import Tensors
from must_tf.tasks import discover

if TYPE_CHECKING:
    import tf_keras

Outputs = dict[str, tf.Tensor]
ConcreteFunction: TypeAlias = tf.types.experimental.ConcreteFunction
NAME = "must_tf.json"  # beside the SavedModel; describes it for clients
FITTED = "fitted"  # the signature that labelling uses
SIZE = "image/size"


class Settings(NamedTuple):
    """Choices of an export that do not change the network.

    Attributes:
      limits: the largest images and batches.
      threshold: lowest score of the detected objects.
      masks: "box": a grid of probabilities over each box; "full": a PNG of the image's size.
    """

    limits: Limits = Limits()
    threshold: float = 0.0
    masks: objects.MaskFormat = "box"


DEFAULTS = Settings()


class Server(tf.Module):
    """A student with the path from any image to its network's frame and back."""

    def __init__(self, model: tf_keras.Model, config: HeadsConfig, settings: Settings = DEFAULTS):
        super().__init__(name="server")
        # Only the variables are saved: for a Keras model, Keras would trace every layer again, in training mode too.
        self._variables = model.variables
        self._size = config.input_size
        self._settings = settings
        self._specs = {name: discover()[name] for name in enabled(config)}
        self._reader = Reader(self._specs, {}, config.input_size)
        # All signatures call the same two functions: the network and its way back are traced, saved and loaded once.
        image = tf.TensorSpec([None, self._size, self._size, 3], tf.uint8, name="image")
        shape = tf.TensorSpec([None, 2], tf.float32, name="image_shape")
        self._network = tf.function(forward.of(model), input_signature=[image, shape], autograph=False)
        self._restore = tf.function(self._restored, autograph=False, reduce_retracing=True)

    def signatures(self) -> dict[str, ConcreteFunction]:
        """Returns the concrete functions by signature."""
        encoded = self._signature(screening.encoded())
        signatures = {"serving_default": encoded, "image_bytes": encoded}
        signatures["image_tensor"] = self._signature(screening.pixels())
        signatures["tf_example"] = self._signature(screening.records())
        return signatures | {FITTED: self._fitted()}

    def _fitted(self) -> ConcreteFunction:
        """Returns the network only, for labelling, which fits images and restores predictions itself."""

        def run(image: tf.Tensor, image_shape: tf.Tensor) -> Outputs:
            predictions = self._network(image, image_shape)
            return {f"{task}/{key}": value for task, values in predictions.items() for key, value in values.items()}

        return tf.function(run, autograph=False).get_concrete_function(*self._network.input_signature)

    def _signature(self, source: Source) -> ConcreteFunction:
        def serve(inputs: tf.Tensor) -> Outputs:
            return self._serve(inputs, source)

        return tf.function(serve, autograph=False).get_concrete_function(source.spec)

    def _serve(self, inputs: tf.Tensor, source: Source) -> Outputs:
        limits = self._settings.limits
        count = tf.shape(inputs)[0]
        # The layers need at least one row, which is cut off again at the end.
        rows = tf.cond(count > 0, lambda: inputs, lambda: _one_row(inputs))

        def view(item: tf.Tensor) -> Outputs:
            image, status = screening.decoded(item, source, limits.image)
            warp = geometry.fit(tf.shape(image)[:2], self._size)
            return self._reader.view(image, warp, tf.constant(0, tf.int64)) | {"status": status}

        batch = tf.map_fn(view, tf.ensure_shape(rows, source.spec.shape), fn_output_signature=self._view_specs())
        info = batch["image_info"]
        status, largest = screening.admitted(info[:, :2], batch.pop("status"), limits.batch)
        is_ok = tf.equal(status, screening.OK)
        predictions = self._network(batch["image"], batch["image_shape"])
        outputs = self._restore(predictions, info, is_ok, largest)
        outputs |= {SIZE: tf.where(is_ok[:, None], info[:, :2], 0), screening.STATUS: status}
        return {name: value[:count] for name, value in outputs.items()}

    def _view_specs(self) -> dict[str, tf.TensorSpec]:
        """Returns the shapes and types of one image's part of the network's input, and of its status."""
        return {
            "image": tf.TensorSpec([self._size, self._size, 3], tf.uint8),
            "image_info": tf.TensorSpec([4], tf.int32),
            "image_shape": tf.TensorSpec([2], tf.float32),
            "index": tf.TensorSpec([], tf.int64),
            "status": tf.TensorSpec([], tf.string),
        }

    def _restored(
        self, predictions: dict[str, Tensors], image_info: tf.Tensor, is_ok: tf.Tensor, largest: tf.Tensor
    ) -> Outputs:
        """Returns the predictions of the images that are ok in their own frames, with maps padded to the largest one.

        All outputs of the other images are zero.
        """
        specs = self._output_specs(predictions)

        def padded(arguments: tuple[dict[str, Tensors], tf.Tensor, tf.Tensor]) -> Outputs:
            predicted, info, is_served = arguments

            def served() -> Outputs:
                return {name: _pad(value, largest) for name, value in self._restored_one(predicted, info).items()}

            return tf.cond(is_served, served, lambda: {name: _zeros(spec, largest) for name, spec in specs.items()})

        return tf.map_fn(padded, (predictions, image_info, is_ok), fn_output_signature=specs)

    def _restored_one(self, predicted: dict[str, Tensors], info: tf.Tensor) -> Outputs:
        """Returns one image's outputs by <task>/<name>, without those that a task passes on from one in its `needs`."""
        frame = Frame(info[:2], info[2:], self._size)
        outputs: Outputs = {}
        for name, spec in self._specs.items():
            passed_on = {key for need in spec.needs for key in predicted[need]}
            restored = spec.restore(predicted[name], frame)
            outputs |= {f"{name}/{key}": value for key, value in restored.items() if key not in passed_on}
        outputs = objects.above(outputs, self._settings.threshold)
        return objects.with_full_masks(outputs, info[:2]) if self._settings.masks == "full" else outputs

    def _output_specs(self, predictions: dict[str, Tensors]) -> dict[str, tf.TensorSpec]:
        """Returns the shapes and types of one restored image; sizes that depend on the image are None."""
        predicted = tf.nest.map_structure(lambda x: tf.TensorSpec(x.shape[1:], x.dtype), predictions)
        restore = tf.function(self._restored_one, autograph=False)
        outputs = restore.get_concrete_function(predicted, tf.TensorSpec([4], tf.int32)).structured_outputs
        return {name: tf.TensorSpec(value.shape, value.dtype) for name, value in outputs.items()}


def is_map(shape: tf.TensorShape) -> bool:
    """Returns True if the first two sizes of an image's output depend on the image."""
    return (shape.rank or 0) >= 2 and shape[0] is None


def _one_row(inputs: tf.Tensor) -> tf.Tensor:
    """Returns a batch [1, ...] of zeros or empty strings, like an empty batch."""
    return tf.zeros(tf.concat([[1], tf.shape(inputs)[1:]], 0), inputs.dtype)


def _zeros(spec: tf.TensorSpec, largest: tf.Tensor) -> tf.Tensor:
    """Returns the output of an image that is not served."""
    if not is_map(spec.shape):
        return tf.zeros(spec.shape, spec.dtype)
    return tf.zeros(tf.concat([largest, tf.constant(spec.shape[2:].as_list(), tf.int32)], 0), spec.dtype)


def _pad(value: tf.Tensor, largest: tf.Tensor) -> tf.Tensor:
    """Pads a map [h, w, ...] to [largest, ...]; returns other tensors as is."""
    if not is_map(value.shape):
        return value
    missing = largest - tf.shape(value)[:2]
    rest = tf.zeros([value.shape.rank - 2, 2], tf.int32)
    padding = tf.concat([tf.stack([tf.zeros_like(missing), missing], axis=1), rest], axis=0)
    return tf.pad(value, padding)
