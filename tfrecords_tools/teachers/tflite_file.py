"""TFLite files of other projects, see `networks.py`.

An interpreter serves one thread at a time, so each thread gets its own. Quantised outputs are turned into the numbers
that they stand for. An input of type uint8 gets the pixels as they are; for one of type int8, pixels are normalised
first, and quantised then.
"""

from __future__ import annotations

import queue
from typing import Any

import numpy as np
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter

from must_tf.common.errors import UserError
from tfrecords_tools.teachers import network
from tfrecords_tools.teachers.recipe import Recipe, Shape, Signature

ENDING = ".tflite"
NAME = "serving_default"  # in messages; TFLite files have one way to be called


def find(path: str) -> str:
    """Returns `path` if it is a TFLite file, else ""."""
    return path if path.endswith(ENDING) and tf.io.gfile.exists(path) and not tf.io.gfile.isdir(path) else ""


def read_signature(model: str, name: str) -> Signature:
    """Reads the inputs and outputs. Their names are those of the file's tensors.

    Raises:
      UserError: the file is damaged, or uses operations that the interpreter does not have.
    """
    del name
    interpreter = _interpreter(model)
    inputs, outputs = interpreter.get_input_details(), interpreter.get_output_details()
    return Signature(NAME, _described(inputs), _described(outputs))


def _interpreter(model: str) -> Interpreter:
    with tf.io.gfile.GFile(model, "rb") as file:
        content = file.read()
    try:
        # One thread, so that sums do not depend on the number of cores.
        return Interpreter(model_content=content, num_threads=1)
    except (ValueError, RuntimeError) as error:
        raise UserError(
            f"{model}: the TFLite file cannot be loaded ({_line(error)}). Convert the model again."
        ) from None


def _line(error: Exception) -> str:
    return " ".join(str(error).split()).rstrip(".")


def _described(details: list[dict[str, Any]]) -> dict[str, tuple[Shape, tf.DType]]:
    """Returns {name: (shape, type)}; the type is that of the numbers before they are quantised."""
    found = {}
    for one in details:
        is_number = bool(one["quantization"][0]) and one["dtype"] != np.uint8
        dtype = tf.float32 if is_number else tf.as_dtype(one["dtype"])
        found[one["name"]] = (tuple(int(side) for side in one["shape_signature"]), dtype)
    return found


def load(recipe: Recipe, batch: int) -> network.Network:
    """Loads the file, see `networks.load`."""
    free: queue.SimpleQueue[Interpreter] = queue.SimpleQueue()
    free.put(_allocated(recipe, batch))
    normalise = network.normaliser(recipe, batch)

    def run(images: np.ndarray, sizes: np.ndarray) -> dict[str, np.ndarray]:
        try:
            interpreter = free.get_nowait()
        except queue.Empty:
            interpreter = _allocated(recipe, batch)
        try:
            return _outputs(interpreter, recipe, normalise(images), sizes)
        except (ValueError, RuntimeError) as error:
            raise network.Failure(_line(error)) from error
        finally:
            free.put(interpreter)

    return run


def _allocated(recipe: Recipe, batch: int) -> Interpreter:
    """Returns an interpreter for inputs of the recipe's size."""
    interpreter = _interpreter(recipe.model)
    sides = [recipe.frame.height, recipe.frame.width]
    wanted = [batch, 3, *sides] if recipe.input.channels_first else [batch, *sides, 3]
    try:
        for detail in interpreter.get_input_details():
            shape = wanted if detail["name"] == recipe.input.name else [batch, 2]
            if list(detail["shape"]) != shape:
                interpreter.resize_tensor_input(detail["index"], shape)
        interpreter.allocate_tensors()
    except (ValueError, RuntimeError) as error:
        raise UserError(
            f"{recipe.model}: the TFLite file does not take an input of {wanted} ({_line(error)}). Correct input.size."
        ) from None
    return interpreter


def _outputs(interpreter: Interpreter, recipe: Recipe, pixels: np.ndarray, sizes: np.ndarray) -> dict[str, np.ndarray]:
    for detail in interpreter.get_input_details():
        value = pixels if detail["name"] == recipe.input.name else sizes
        interpreter.set_tensor(detail["index"], _quantised(value, detail))
    interpreter.invoke()
    used = network.used(recipe)
    return {
        detail["name"]: _numbers(interpreter.get_tensor(detail["index"]), detail)
        for detail in interpreter.get_output_details()
        if detail["name"] in used
    }


def _quantised(values: np.ndarray, detail: dict[str, Any]) -> np.ndarray:
    """Returns an input's values as the interpreter takes them."""
    scale, zero = detail["quantization"]
    if not scale or values.dtype == detail["dtype"]:
        return values
    bounds = np.iinfo(detail["dtype"])
    return np.clip(np.rint(values / scale + zero), bounds.min, bounds.max).astype(detail["dtype"])


def _numbers(values: np.ndarray, detail: dict[str, Any]) -> np.ndarray:
    """Returns the numbers that an output's values stand for."""
    scale, zero = detail["quantization"]
    if not scale:
        return values
    return ((values.astype(np.float32) - zero) * np.float32(scale)).astype(np.float32)
