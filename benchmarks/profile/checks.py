"""The processor time that the checks of a record take, as a share of the input's, and of each check.

A check is all that `assertions.required` asks with one message.
"""

from __future__ import annotations

import contextlib
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any
from unittest import mock

import tensorflow as tf

from benchmarks.harness import apart
from benchmarks.harness.table import BenchmarkSettings
from benchmarks.rows import inputs
from must_tf.data import assertions, geometry, record

IMAGES, ROUNDS = 32, 40
INPUT, CHECKED, UNCHECKED = "input", "labels", "labels without checks"  # the other passes have one check each

required = assertions.required


def share(glob: str, tasks: Sequence[str], classes: Mapping[str, Sequence[str]], size: int) -> dict[str, Any]:
    """Returns "share" of the input, and "checks", "input" and "each" check in processor milliseconds per image.

    All passes are made in turn, many times. The checks are the difference between reading the labels of the same images
    with and without them, divided by the whole input of the same round: what else the machine does slows down both.
    Images are not decoded for that difference, because their noise is larger than the checks. Called in its own
    process.
    """
    serialized = list(tf.data.TFRecordDataset(sorted(tf.io.gfile.glob(glob))).take(IMAGES).as_numpy_iterator())
    element = _element(tasks, classes, size)
    passes = {INPUT: _pass(element, serialized)}
    with _without_image(size):
        messages: set[str] = set()
        with _only(None, messages):
            passes[CHECKED] = _pass(element, serialized)
        for what in (UNCHECKED, *sorted(messages)):
            with _only({what}):
                passes[what] = _pass(element, serialized)
    rounds = [_round(passes, turn) for turn in range(ROUNDS)]
    checks = [one[CHECKED] - one[UNCHECKED] for one in rounds]
    each = {what: statistics.median(one[what] - one[UNCHECKED] for one in rounds) for what in messages}
    return {
        "share": statistics.median(taken / one[INPUT] for taken, one in zip(checks, rounds, strict=True)),
        "checks": statistics.median(checks),
        "input": statistics.median(one[INPUT] for one in rounds),
        "each": each,
    }


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
def _without_image(size: int) -> Iterator[None]:
    """Makes images black: the photo's size comes from its header."""

    def black(encoded: tf.Tensor) -> tf.Tensor:
        return tf.zeros(tf.concat([tf.io.extract_jpeg_shape(encoded)[:2], [3]], 0), tf.uint8)

    def warped(image: tf.Tensor, warp: geometry.Warp) -> tf.Tensor:
        del image, warp
        return tf.zeros([size, size, 3], tf.uint8)

    with mock.patch.object(record, "decode_image", black), mock.patch.object(geometry, "warp_image", warped):
        yield


def _pass(element: Callable[[tf.Tensor], Any], serialized: Sequence[bytes]) -> Callable[[], Any]:
    """Returns a call that reads all records, in one thread. Only a number leaves each: copying would cost as much.

    The number needs a value of each tensor: sizes are known without computing anything.
    """

    def values(one: tf.Tensor) -> tf.Tensor:
        firsts = [tf.reshape(each, [-1])[:1] for each in tf.nest.flatten(element(one))]
        return tf.add_n([tf.reduce_sum(tf.cast(first, tf.float32)) for first in firsts])

    records = tf.data.Dataset.from_tensor_slices(serialized).repeat()
    read = records.map(tf.autograph.experimental.do_not_convert(values)).batch(len(serialized))
    options = tf.data.Options()
    options.threading.private_threadpool_size = 1
    passes = iter(record.without_autotune(read.with_options(options)))  # nothing is read ahead
    next(passes)
    return lambda: next(passes)


def _round(passes: Mapping[str, Callable[[], Any]], turn: int) -> dict[str, float]:
    """Returns the processor milliseconds per image of each pass, made in one order and the other in turn."""
    taken = {}
    for what in sorted(passes, reverse=bool(turn % 2)):
        start = time.process_time()
        passes[what]()
        taken[what] = 1000 * (time.process_time() - start) / IMAGES
    return taken
