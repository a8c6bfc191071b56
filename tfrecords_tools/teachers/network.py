"""A loaded network of another project, of whatever kind of file: how it is called, and what goes into it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from tfrecords_tools.teachers.recipe import InputFormat, Recipe

# Takes images (uint8 [B, H, W, 3], or files [B]) and sizes [B, 2], which only some models use. Returns the outputs that
# the recipe uses, [B, ...] each. May be called from several threads at once. Raises `Failure`.
Network = Callable[[np.ndarray, np.ndarray], dict[str, np.ndarray]]


class Failure(Exception):
    """The network fails on its input. The message is one line."""


def used(recipe: Recipe) -> set[str]:
    """Returns the names of the outputs that the recipe uses."""
    return {name for output in recipe.outputs.values() for name in output.uses()} | {recipe.resize_output} - {""}


def normalised(pixels: tf.Tensor, pixel_format: InputFormat) -> tf.Tensor:
    """Converts uint8 [B, H, W, 3] to the numbers and the layout that the network takes."""
    if pixel_format.blue_first:
        pixels = pixels[..., ::-1]
    if pixel_format.dtype != "uint8":
        low, high = pixel_format.range
        values = low + (high - low) / 255.0 * tf.cast(pixels, tf.float32)
        values = (values - tf.constant(pixel_format.mean)) / tf.constant(pixel_format.std)
        pixels = tf.cast(values, pixel_format.dtype)
    return tf.transpose(pixels, [0, 3, 1, 2]) if pixel_format.channels_first else pixels


def normaliser(recipe: Recipe, batch: int) -> Callable[[np.ndarray], np.ndarray]:
    """Returns `normalised` as a compiled function from NumPy to NumPy."""
    spec = tf.TensorSpec([batch, recipe.frame.height, recipe.frame.width, 3], tf.uint8)
    graph = tf.function(lambda pixels: normalised(pixels, recipe.input), input_signature=[spec], autograph=False)
    return lambda pixels: np.asarray(graph(tf.constant(pixels)))
