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

IMAGES, ROUNDS = 16, 24
SELDOM = 4  # rounds for the whole input and for single checks: only the sum of all checks needs more
OF_IMAGE = "image is too large"  # the one check that is no task's
ALL, NONE = "all", "none"

required = assertions.required
Read = Callable[[tf.Tensor], Any]


def share(glob: str, tasks: Sequence[str], classes: Mapping[str, Sequence[str]], size: int) -> dict[str, Any]:
    """Returns "checks", "input" and "each" check in processor milliseconds per image, and "halves", the checks in the
    first and in the second half of the rounds. Called in its own process.

    The checks are differences between reading a task's labels with and without them, one after the other and many
    times: what else the machine does slows down both. What two tasks check of the same label counts for both. Files
    are neither decoded nor resampled for the differences, because the noise of that is larger than the checks.
    """
    serialized = list(tf.data.TFRecordDataset(sorted(tf.io.gfile.glob(glob))).take(IMAGES))
    whole = {ALL: _traced(_element(tasks, classes, size), serialized)}
    taken, each = np.zeros([ROUNDS, len(serialized)]), dict[str, float]()
    with _without_decoding(size):
        for part in ([], *([task] for task in tasks)):
            readers = _readers(_element(part, classes, size), not part, serialized)
            often = _taken({what: readers[what] for what in (ALL, NONE)}, serialized, ROUNDS)
            taken += often[ALL] - often[NONE]
            for message, cost in _single(readers, serialized).items():
                each[message] = each.get(message, 0.0) + cost
    halves = [_cost(half) for half in np.split(taken, 2)]
    spent = _cost(_taken(whole, serialized, SELDOM)[ALL])
    return {"checks": _cost(taken), "input": spent, "each": each, "halves": halves}


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


def _readers(element: Callable[[tf.Tensor], Any], of_image: bool, serialized: Sequence[tf.Tensor]) -> dict[str, Read]:
    """Returns functions that read a part of a record, by their checks: `ALL`, `NONE`, or the only one's message.

    Args:
      element: reads the part, and the image.
      of_image: with the image's check; every part would have it.
      serialized: the records.
    """
    messages: set[str] = set()
    with _only(set(), messages):
        readers = {NONE: _traced(element, serialized)}
    messages -= set() if of_image else {OF_IMAGE}
    for what, wanted in {ALL: messages, **{message: {message} for message in messages}}.items():
        with _only(wanted):
            readers[what] = _traced(element, serialized)
    return readers


def _single(readers: Mapping[str, Read], serialized: Sequence[tf.Tensor]) -> dict[str, float]:
    """Returns the cost of each check by its message."""
    taken = _taken({what: read for what, read in readers.items() if what != ALL}, serialized, SELDOM)
    return {what: _cost(one - taken[NONE]) for what, one in taken.items() if what != NONE}


def _cost(taken: np.ndarray) -> float:
    """Returns the mean over images of the median over rounds: [rounds, images] -> [images] -> []."""
    return float(np.median(taken, axis=0).mean())


@contextlib.contextmanager
def _only(wanted: set[str], seen: set[str] | None = None) -> Iterator[None]:
    """Leaves out all checks but those with the `wanted` messages; adds all messages to `seen`."""

    def some(values: tf.Tensor, condition: tf.Tensor, message: str, *shown: tf.Tensor) -> tf.Tensor:
        if seen is not None:
            seen.add(message)
        return required(values, condition, message, *shown) if message in wanted else values

    with mock.patch.object(assertions, "required", some):
        yield


@contextlib.contextmanager
def _without_decoding(size: int) -> Iterator[None]:
    """Makes images, maps and masks black and resamples nothing. Sizes come from the headers."""

    def black(encoded: tf.Tensor) -> tf.Tensor:
        return tf.zeros(tf.concat([tf.io.extract_jpeg_shape(encoded)[:2], [3]], 0), tf.uint8)

    def empty(encoded: tf.Tensor, channels: int, dtype: tf.DType = tf.uint8) -> tf.Tensor:
        return tf.zeros(tf.concat([assertions.png_sizes(encoded)[0], [channels]], 0), dtype)

    def warped(image: tf.Tensor, warp: geometry.Warp) -> tf.Tensor:
        del image, warp
        return tf.zeros([size, size, 3], tf.uint8)

    def one_value(values: tf.Tensor, warp: geometry.Warp, fill: float, stride: int = 1) -> tf.Tensor:
        del warp, fill
        side = size // stride
        return tf.fill([side, side, *values.shape[2:]], tf.reshape(values, [-1])[0])

    def cut(crop: tf.Tensor, view: geometry.CropView, warp: geometry.Warp, side: int) -> tf.Tensor:
        del crop, view, warp
        return tf.zeros([side, side])

    with (
        mock.patch.object(record, "decode_image", black),
        mock.patch.object(geometry, "warp_image", warped),
        mock.patch.object(geometry, "warp_nearest", one_value),
        mock.patch.object(geometry, "warp_crop", cut),
        mock.patch.object(tf.io, "decode_png", empty),
    ):
        yield


def _traced(element: Callable[[tf.Tensor], Any], serialized: Sequence[tf.Tensor]) -> Read:
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


def _taken(readers: Mapping[str, Read], serialized: Sequence[tf.Tensor], rounds: int) -> dict[str, np.ndarray]:
    """Returns the processor milliseconds [rounds, images] of each reader, called in an order that is drawn anew."""
    taken = {what: np.zeros([rounds, len(serialized)]) for what in readers}
    rng = np.random.default_rng(0)
    for turn in range(rounds):
        for image, each in enumerate(serialized):
            for what in rng.permutation(sorted(readers)):
                start = time.process_time()
                readers[what](each)
                taken[what][turn, image] = 1000 * (time.process_time() - start)
    return taken
