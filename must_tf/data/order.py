"""The order in which records are trained on: a function of (seed, epoch) that never depends on thread timing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import tensorflow as tf

READ_AT_ONCE = 16  # interleaved files: enough to mix, few enough to keep open


class Part(NamedTuple):
    """Record files, `images` in all, and how many times an epoch has each of them."""

    paths: tuple[str, ...]
    times: int = 1
    images: int = 0  # is used only if there are several parts


class Start(NamedTuple):
    """The position in the training order at which a run begins or resumes."""

    images: int = 0  # that were trained on before
    images_per_epoch: int = 0  # 0: unknown


def records_from(parts: Sequence[Part], buffer: int, seed: int, start: Start) -> tf.data.Dataset:
    """Returns an endless dataset of serialised records from `start` on. Completed epochs are skipped without reading
    them.

    Every epoch has each record as often as its part says. The parts are mixed evenly over the epoch, each in an order
    of its own; a record comes again only when all of its part have been seen.

    Args:
      parts: the files.
      buffer: records in the shuffle buffer of each part.
      seed: of the order.
      start: where to begin.
    """
    if start.images_per_epoch:
        epochs, images = divmod(start.images, start.images_per_epoch)
    else:
        epochs, images = 0, start.images

    @tf.autograph.experimental.do_not_convert
    def epoch(number: tf.Tensor) -> tf.data.Dataset:
        whole = [_part(part, buffer, seed, number) for part in parts]
        if len(whole) == 1:
            return whole[0]
        counts = [part.images * part.times for part in parts]
        turns = tf.repeat(tf.range(len(parts), dtype=tf.int64), counts)
        turns = tf.random.experimental.stateless_shuffle(turns, seed=[seed, number])
        # A count that is too low would lose records, and one that is too high would end here.
        return tf.data.Dataset.choose_from_datasets(whole, tf.data.Dataset.from_tensor_slices(turns), False)

    return tf.data.Dataset.range(epochs, 2**31 - 1).flat_map(epoch).skip(images)


def _part(part: Part, buffer: int, seed: int, epoch: tf.Tensor) -> tf.data.Dataset:
    """Returns the records of a part in one epoch."""
    if part.times == 1:
        return _once(part.paths, buffer, seed, epoch)
    copies = tf.data.Dataset.range(part.times)
    return copies.flat_map(lambda copy: _once(part.paths, buffer, seed, epoch * part.times + copy))


def _once(paths: Sequence[str], buffer: int, seed: int, number: tf.Tensor) -> tf.data.Dataset:
    """Returns each record once, in an order that is drawn from (seed, number)."""
    names = tf.constant(list(paths))
    order = tf.random.experimental.stateless_shuffle(tf.range(len(paths)), seed=[seed, number])
    records = tf.data.Dataset.from_tensor_slices(tf.gather(names, order)).interleave(
        tf.data.TFRecordDataset, cycle_length=min(READ_AT_ONCE, len(paths))
    )
    return records.shuffle(buffer, seed=seed + number, reshuffle_each_iteration=False)
