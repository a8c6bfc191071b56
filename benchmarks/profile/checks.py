"""The processor time that the checks of a record take, as a share of the input's, and of each check.

A check is all that `assertions.required` asks with one message.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any
from unittest import mock

import numpy as np
import tensorflow as tf

from benchmarks.harness import apart
from benchmarks.harness.table import BenchmarkSettings
from benchmarks.rows import inputs
from must_tf.data import assertions, geometry, record

IMAGES, ROUNDS = 32, 25
INPUT, CHECKED, UNCHECKED = "input", "labels", "labels without checks"  # the other readers have one check each

required = assertions.required


def share(glob: str, tasks: Sequence[str], classes: Mapping[str, Sequence[str]], size: int) -> dict[str, Any]:
    """Returns "checks", "input" and "each" check in processor milliseconds per image. Called in its own process.

    The checks are the difference between reading the labels of an image with and without them, one after the other and
    many times: what else the machine does slows down both. Files are not decoded for that difference, because their
    noise is larger than the checks.
    """
    serialized = list(tf.data.TFRecordDataset(sorted(tf.io.gfile.glob(glob))).take(IMAGES))
    element = _element(tasks, classes, size)
    readers = {INPUT: _traced(element, serialized)}
    with _without_decoding(size):
        messages: set[str] = set()
        with _only(None, messages):
            readers[CHECKED] = _traced(element, serialized)
        for what in (UNCHECKED, *sorted(messages)):
            with _only({what}):
                readers[what] = _traced(element, serialized)
    taken = _taken(readers, serialized)

    def cost(what: str, without: str = "") -> float:
        more = taken[what] - (taken[without] if without else 0.0)
        return float(np.median(more, axis=0).mean())  # [rounds, images] -> [images] -> []

    each = {what: cost(what, UNCHECKED) for what in messages}
    return {"checks": cost(CHECKED, UNCHECKED), "input": cost(INPUT), "each": each}


def of(arguments: Mapping[str, Any], settings: BenchmarkSettings) -> dict[str, Any]:
    """Calls `share` in its own process."""
    return apart.call("benchmarks.profile.checks:share", arguments, settings.work)


def _element(
    tasks: Sequence[str], classes: Mapping[str, Sequence[str]], size: int
) -> Callable[[tf.Tensor], dict[str, Any]]:
    reader = inputs.reader(tasks, classes, size)

    def element(serialized: tf.Tensor) -> dict[str, Any]:
        def warp_of(shape: tf.Tensor) -> geometry.Warp:
            return geometry.random_warp(shape, size, inputs.AUGMENTATION, tf.constant([1, 2], tf.int64))

        return reader.element(serialized, tf.constant(0, tf.int64), warp_of)

    return element


@contextlib.contextmanager
def _only(wanted: set[str] | None, seen: set[str] | None = None) -> Iterator[None]:
    """Leaves out all checks but those with the `wanted` messages, None: none; adds all messages to `seen`."""

    def some(values: tf.Tensor, condition: tf.Tensor, message: str, *shown: tf.Tensor) -> tf.Tensor:
        if seen is not None:
            seen.add(message)
        return required(values, condition, message, *shown) if wanted is None or message in wanted else values

    with mock.patch.object(assertions, "required", some):
        yield


@contextlib.contextmanager
def _without_decoding(size: int) -> Iterator[None]:
    """Makes images and maps black. Their sizes come from the headers."""

    def black(encoded: tf.Tensor) -> tf.Tensor:
        return tf.zeros(tf.concat([tf.io.extract_jpeg_shape(encoded)[:2], [3]], 0), tf.uint8)

    def empty(encoded: tf.Tensor, channels: int, dtype: tf.DType = tf.uint8) -> tf.Tensor:
        return tf.zeros(tf.concat([assertions.png_sizes(encoded)[0], [channels]], 0), dtype)

    def warped(image: tf.Tensor, warp: geometry.Warp) -> tf.Tensor:
        del image, warp
        return tf.zeros([size, size, 3], tf.uint8)

    with (
        mock.patch.object(record, "decode_image", black),
        mock.patch.object(geometry, "warp_image", warped),
        mock.patch.object(tf.io, "decode_png", empty),
    ):
        yield


def _traced(element: Callable[[tf.Tensor], Any], serialized: Sequence[tf.Tensor]) -> Callable[[tf.Tensor], Any]:
    """Returns the function that reads a record, warm. Only a number leaves each: handing tensors over costs as much.

    The number needs a value of each tensor: sizes are known without computing anything.
    """

    def values(one: tf.Tensor) -> tf.Tensor:
        firsts = [tf.reshape(each, [-1])[:1] for each in tf.nest.flatten(element(one))]
        return tf.add_n([tf.reduce_sum(tf.cast(first, tf.float32)) for first in firsts])

    traced = tf.function(values, autograph=False, input_signature=[tf.TensorSpec([], tf.string)])
    for each in serialized:
        traced(each)
    return traced


def _taken(readers: Mapping[str, Callable[[tf.Tensor], Any]], serialized: Sequence[tf.Tensor]) -> dict[str, np.ndarray]:
    """Returns the processor milliseconds [rounds, images] of each reader, called in one order and the other in turn."""
    taken = {what: np.zeros([ROUNDS, len(serialized)]) for what in readers}
    for turn in range(ROUNDS):
        for image, each in enumerate(serialized):
            for what in sorted(readers, reverse=bool(turn % 2)):
                start = time.process_time()
                readers[what](each)
                taken[what][turn, image] = 1000 * (time.process_time() - start)
    return taken
