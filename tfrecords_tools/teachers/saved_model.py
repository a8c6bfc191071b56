"""SavedModels of other projects, see `networks.py`."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf
from google.protobuf.message import DecodeError
from tensorflow.core.protobuf import saved_model_pb2

from must_tf.common.errors import UserError, nearest
from tfrecords_tools.teachers import network
from tfrecords_tools.teachers.recipe import Recipe, Shape, Signature

EXAMPLE_PARSERS = {"ParseExample", "ParseExampleV2", "ParseSingleExample"}
# Lines of a TensorFlow error that do not name the cause: headings, where a node was defined (indented), the node, and
# the number of failures. "(0)" is the first cause.
AROUND_CAUSE = re.compile(r"\s+(?!\s|\(0\))|Graph execution error|Detected at node|<stack traces|Node: |\d+ root error")


def find(path: str) -> str:
    """Returns the folder of the SavedModel: `path` or `path`/saved_model; "" if neither holds one."""
    folders = (path, os.path.join(path, "saved_model"))
    return next((folder for folder in folders if tf.io.gfile.exists(os.path.join(folder, "saved_model.pb"))), "")


def read_signature(model: str, name: str) -> Signature:
    """Reads the inputs and outputs of a signature, without the weights.

    Raises:
      UserError: the SavedModel is damaged, or has no such signature.
    """
    content = saved_model_pb2.SavedModel()
    path = os.path.join(model, "saved_model.pb")
    try:
        with tf.io.gfile.GFile(path, "rb") as file:
            content.ParseFromString(file.read())
        graph = content.meta_graphs[0]
    except (DecodeError, IndexError) as error:
        raise UserError(f"{path} is damaged ({error}). Export the model again.") from None
    known = [key for key in graph.signature_def if not key.startswith("__")]
    if name not in known:
        raise UserError(
            f"{model}: the SavedModel has no signature {name!r}.{nearest(name, known)} "
            f"Its signatures: {', '.join(known) or 'none'}."
        )
    signature = graph.signature_def[name]
    bodies = [graph.graph_def.node, *(function.node_def for function in graph.graph_def.library.function)]
    parses = any(node.op in EXAMPLE_PARSERS for body in bodies for node in body)
    return Signature(name, _described(signature.inputs), _described(signature.outputs), parses)


def _described(tensors: Mapping[str, Any]) -> dict[str, tuple[Shape, tf.DType]]:
    return {
        name: (tuple(int(axis.size) for axis in info.tensor_shape.dim), tf.as_dtype(info.dtype))
        for name, info in sorted(tensors.items())
    }


def load(recipe: Recipe, batch: int) -> network.Network:
    """Compiles the network together with the normalisation of its input, see `networks.load`."""
    graph = _graph(recipe, batch)

    def run(images: np.ndarray, sizes: np.ndarray) -> dict[str, np.ndarray]:
        try:
            return {name: np.asarray(tensor) for name, tensor in graph(tf.constant(images), tf.constant(sizes)).items()}
        except (tf.errors.NotFoundError, tf.errors.ResourceExhaustedError):
            raise  # missing files and lack of memory are reported by `label.job.write_shard`
        except tf.errors.OpError as error:
            raise network.Failure(root_cause(error)) from error

    return run


def _graph(recipe: Recipe, batch: int) -> Any:
    """Returns the compiled network: (pixels or files, sizes) -> {name: the outputs that are used}."""
    try:
        loaded = tf.saved_model.load(recipe.model)
    except (tf.errors.OpError, OSError, ValueError) as error:
        raise UserError(f"{recipe.model}: the SavedModel cannot be loaded ({error}). Export it again.") from error
    used, pixel_format, frame = network.used(recipe), recipe.input, recipe.frame
    spec = tf.TensorSpec([batch], tf.string)
    if pixel_format.encoding == "tensor":
        spec = tf.TensorSpec([batch, frame.height, frame.width, 3], tf.uint8)

    def run(images: tf.Tensor, sizes: tf.Tensor) -> dict[str, tf.Tensor]:
        value = network.normalised(images, pixel_format) if pixel_format.encoding == "tensor" else images
        second = {pixel_format.size_name: sizes} if pixel_format.size_name else {}
        # Called through `loaded`, because a signature alone does not keep its variables alive.
        outputs = loaded.signatures[recipe.signature](**{pixel_format.name: value}, **second)
        return {name: output for name, output in outputs.items() if name in used}

    of_sizes = tf.TensorSpec([batch, 2], pixel_format.size_dtype)
    return tf.function(run, input_signature=[spec, of_sizes], autograph=False)


def root_cause(error: tf.errors.OpError) -> str:
    """Returns the line of a TensorFlow error that says what went wrong; in a graph's error it is not the first."""
    lines = [line for line in error.message.splitlines() if line and not AROUND_CAUSE.match(line)]
    return (lines[0] if lines else error.message).strip().rstrip(".")
