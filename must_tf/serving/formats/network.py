"""The network as TFLite and ONNX get it: one image at a time, weights as constants, portable operations.

Its inputs and outputs are those of the SavedModel's signature `fitted`, for a batch of one. The input `image_shape` is
missing if nothing depends on it: only detection clips its boxes to the image.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from must_tf.common import upstream
from must_tf.model.student import StudentConfig, enabled
from must_tf.runs.restore import Trained
from must_tf.serving import objects
from must_tf.tasks import discover

Arrays = dict[str, np.ndarray]
# image uint8 [1, S, S, 3], image_shape float32 [1, 2] -> {output: [1, ...]}
Runner = Callable[[np.ndarray, np.ndarray], Arrays]
IMAGE, SHAPE = "image", "image_shape"


class Network(NamedTuple):
    """Attributes:
    function: named inputs -> {output: tensor [1, ...]}.
    signature: of its inputs, by name.
    outputs: shape and type by name.
    """

    function: Any
    signature: dict[str, tf.TensorSpec]
    outputs: dict[str, tf.TensorSpec]


def frozen(trained: Trained, threshold: float = 0.0) -> Network:
    """Returns the network of a model, without the objects below a score."""
    side = trained.config.input_size
    specs = {IMAGE: tf.TensorSpec([1, side, side, 3], tf.uint8, IMAGE), SHAPE: tf.TensorSpec([1, 2], tf.float32, SHAPE)}

    def predict(image: tf.Tensor, image_shape: tf.Tensor) -> dict[str, tf.Tensor]:
        predictions = trained.model({IMAGE: image, SHAPE: image_shape}, training=False)["predictions"]
        return above(own(predictions), threshold)

    with _portable(trained.config):
        traced = tf.function(predict, autograph=False).get_concrete_function(*specs.values())
    constant = upstream.with_constant_weights(traced)
    names = sorted(traced.structured_outputs)  # tf.nest's order
    used = {spec.name: spec for spec, place in zip(specs.values(), constant.inputs, strict=True) if place.consumers()}

    def one(image: tf.Tensor) -> dict[str, tf.Tensor]:
        whole = tf.fill([1, 2], float(side))  # made here: a function's own tensors are constants, others are inputs
        return dict(zip(names, constant(image, whole), strict=True))

    def two(image: tf.Tensor, image_shape: tf.Tensor) -> dict[str, tf.Tensor]:
        return dict(zip(names, constant(image, image_shape), strict=True))

    function = tf.function(two if SHAPE in used else one, autograph=False)
    found = traced.structured_outputs
    outputs = {name: tf.TensorSpec(found[name].shape, found[name].dtype) for name in names}
    return Network(function, used, outputs)


def above(outputs: dict[str, tf.Tensor], threshold: float) -> dict[str, tf.Tensor]:
    """Clears the objects below a score, in a batch of one."""
    if threshold <= 0:
        return outputs
    kept = objects.above({name: value[0] for name, value in outputs.items()}, threshold)
    return {name: value[None] for name, value in kept.items()}


def own(predictions: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Returns predictions by <task>/<name>, without those that a task passes on from one in its `needs`."""
    found: dict[str, Any] = {}
    for task, values in predictions.items():
        passed_on = {key for need in discover()[task].needs for key in predictions[need]}
        found |= {f"{task}/{key}": value for key, value in values.items() if key not in passed_on}
    return found


def by_task(outputs: Arrays, config: StudentConfig) -> dict[str, Arrays]:
    """Returns the inverse of `own`: a task has those of the tasks in its `needs` again."""
    predictions: dict[str, Arrays] = {}
    for task in enabled(config):
        predictions[task] = {key: value for need in discover()[task].needs for key, value in predictions[need].items()}
        for name, value in outputs.items():
            owner, _, key = name.partition("/")
            if owner == task:
                predictions[task][key] = value
    return predictions


@contextlib.contextmanager
def _portable(config: StudentConfig) -> Iterator[None]:
    """Makes detection search by portable operations while the network is traced."""
    detection = config.tasks.detection
    before = detection.nms
    detection.nms = "portable"
    try:
        yield
    finally:
        detection.nms = before
