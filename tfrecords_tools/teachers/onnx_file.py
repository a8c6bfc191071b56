"""ONNX files of other projects, run by onnxruntime (`pip install 'must-tf[onnx]'`), see `networks.py`."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from must_tf.common.errors import UserError
from tfrecords_tools.teachers import network
from tfrecords_tools.teachers.recipe import Recipe, Shape, Signature

ENDING = ".onnx"
NAME = "serving_default"  # in messages; ONNX files have one way to be called
TYPES = {"float": "float32", "double": "float64"}  # those whose names differ from TensorFlow's
ERRORS_ONLY = 3  # onnxruntime's level of its log


def find(path: str) -> str:
    """Returns `path` if it is an ONNX file, else ""."""
    return path if path.endswith(ENDING) and tf.io.gfile.exists(path) and not tf.io.gfile.isdir(path) else ""


def read_signature(model: str, name: str) -> Signature:
    """Reads the inputs and outputs.

    Raises:
      UserError: the file is damaged, uses operations that onnxruntime does not have, or onnxruntime is not installed.
    """
    del name
    session = _session(model)
    return Signature(NAME, _described(session.get_inputs()), _described(session.get_outputs()))


def _session(model: str) -> Any:
    try:
        import onnxruntime
    except ImportError:
        raise UserError(f"{model}: ONNX files need onnxruntime. Run pip install 'must-tf[onnx]'.") from None
    options = onnxruntime.SessionOptions()
    # One thread, so that sums do not depend on the number of cores.
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = ERRORS_ONLY
    try:
        # By its path if it has one: PyTorch writes the weights into a file beside the model.
        return onnxruntime.InferenceSession(
            _content(model) if "://" in model else model, options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:  # onnxruntime's own classes have no common base
        raise UserError(f"{model}: the ONNX file cannot be loaded ({_line(error)}). Export the model again.") from None


def _content(model: str) -> bytes:
    with tf.io.gfile.GFile(model, "rb") as file:
        return file.read()


def _line(error: Exception) -> str:
    return " ".join(str(error).split()).rstrip(".")


def _described(tensors: Any) -> dict[str, tuple[Shape, tf.DType]]:
    found = {}
    for one in tensors:
        word = one.type.removeprefix("tensor(").removesuffix(")")
        shape = tuple(side if isinstance(side, int) else -1 for side in one.shape or ())
        found[one.name] = (shape, tf.as_dtype(TYPES.get(word, word)))
    return found


def load(recipe: Recipe, batch: int) -> network.Network:
    """Loads the file, see `networks.load`."""
    session, used = _session(recipe.model), sorted(network.used(recipe))
    normalise, inputs = network.normaliser(recipe, batch), recipe.input

    def run(images: np.ndarray, sizes: np.ndarray) -> dict[str, np.ndarray]:
        second = {inputs.size_name: sizes} if inputs.size_name else {}
        try:
            outputs = session.run(used, {inputs.name: normalise(images)} | second)
        except Exception as error:  # onnxruntime's own classes have no common base
            raise network.Failure(_line(error)) from error
        return dict(zip(used, outputs, strict=True))

    return run
