"""The processor time that the checks of a record take, as a share of the input's."""

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
from must_tf.data import geometry, record

IMAGES, PAIRS = 32, 60


def share(glob: str, tasks: Sequence[str], classes: Mapping[str, Sequence[str]], size: int) -> dict[str, float]:
    """Returns "checks" and "input", processor milliseconds per image. Called in its own process.

    The checks are the difference between reading labels with and without them, in turn many times. Decoding and warping
    the image are left out of both, because their noise is larger than the checks. Of 2 % that would hide all.
    """
    serialized = list(tf.data.TFRecordDataset(sorted(tf.io.gfile.glob(glob))).take(IMAGES))
    element = _element(tasks, classes, size)
    whole = _traced(element, serialized)
    with _without_image(size):
        checked = _traced(element, serialized)
        with mock.patch.object(record, "required", lambda values, *_: tf.identity(values)):
            unchecked = _traced(element, serialized)
    differences = [_cpu_ms(checked, serialized) - _cpu_ms(unchecked, serialized) for _ in range(PAIRS)]
    total = statistics.median(_cpu_ms(whole, serialized) for _ in range(PAIRS // 10))
    return {"checks": statistics.median(differences), "input": total}


def of(arguments: Mapping[str, Any], settings: BenchmarkSettings) -> dict[str, float]:
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
def _without_image(size: int) -> Iterator[None]:
    """Makes images black: the photo's size comes from its header."""

    def black(encoded: tf.Tensor) -> tf.Tensor:
        return tf.zeros(tf.concat([tf.io.extract_jpeg_shape(encoded)[:2], [3]], 0), tf.uint8)

    def warped(image: tf.Tensor, warp: geometry.Warp) -> tf.Tensor:
        del image, warp
        return tf.zeros([size, size, 3], tf.uint8)

    with mock.patch.object(record, "decode_image", black), mock.patch.object(geometry, "warp_image", warped):
        yield


def _traced(element: Callable[[tf.Tensor], Any], serialized: Sequence[tf.Tensor]) -> Callable[[tf.Tensor], Any]:
    """Returns the traced function, warm. Only a number leaves it: handing tensors to Python takes as long as reading.

    The number needs a value of each tensor: sizes are known without computing anything.
    """

    def values(one: tf.Tensor) -> tf.Tensor:
        firsts = [tf.reshape(each, [-1])[:1] for each in tf.nest.flatten(element(one))]
        return tf.add_n([tf.reduce_sum(tf.cast(first, tf.float32)) for first in firsts])

    traced = tf.function(values, autograph=False, input_signature=[tf.TensorSpec([], tf.string)])
    for each in serialized:
        traced(each)
    return traced


def _cpu_ms(traced: Callable[[tf.Tensor], Any], serialized: Sequence[tf.Tensor]) -> float:
    start = time.process_time()
    for each in serialized:
        traced(each)
    return 1000 * (time.process_time() - start) / len(serialized)
