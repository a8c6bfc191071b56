"""Pipelines from records to batches: this project's, Model Garden's Mask R-CNN input, and JPEG decoding only."""

from __future__ import annotations

import functools
import os
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import tensorflow as tf

from benchmarks.data import input_data
from benchmarks.harness import apart, table
from benchmarks.harness.table import BenchmarkSettings, Figure
from benchmarks.rows import same_network
from must_tf.data import geometry
from must_tf.data import input as input_lib
from must_tf.tasks import discover

BATCH = 8  # this project's default; Model Garden's is for a TPU pod
SHUFFLED = 1000  # records, this project's default; Model Garden's 10,000 would only take longer to fill
SCALE_MIN, SCALE_MAX = 0.5, 2.0
AUGMENTATION = geometry.Augmentation(flip=True, scale_min=SCALE_MIN, scale_max=SCALE_MAX)
WARM = 0.5  # as a share of the measured time: by then, tf.data has tuned its numbers of threads
MASKS = ("detection", "masks")
SIX = ("classification", "detection", "masks", "segmentation", "depth", "normals")


def ours(
    glob: str,
    tasks: Sequence[str],
    classes: Mapping[str, Sequence[str]],
    size: int,
    max_objects: int = 100,
    start: Sequence[int] = (0, 0),
) -> tf.data.Dataset:
    """Makes training batches as the student gets them; `start`: images already seen, and images per epoch."""
    data = input_lib.Data(
        input_path=glob,
        global_batch_size=BATCH,
        is_training=True,
        shuffle_buffer=SHUFFLED,
        augmentation=AUGMENTATION,
    )
    return input_lib.training(reader(tasks, classes, size, max_objects), data, input_lib.Start(*start), None)


def reader(
    tasks: Sequence[str], classes: Mapping[str, Sequence[str]], size: int, max_objects: int = 100
) -> input_lib.Reader:
    """Returns the function that makes an element of a record."""
    configs = input_data.task_configs(tuple(tasks), {name: tuple(each) for name, each in classes.items()})
    for config in configs.values():
        if hasattr(config, "max_objects"):
            config.max_objects = max_objects
    return input_lib.Reader({name: discover()[name] for name in configs}, configs, size)


def model_gardens(glob: str, size: int, own_pyramid: bool = False) -> tf.data.Dataset:
    """Makes training batches of Model Garden's Mask R-CNN, by its own task and config.

    Either for the student's pyramid or for its own. It matches anchors on the host, and its own pyramid has four times
    as many.
    """
    from official.vision.configs import maskrcnn as configs
    from official.vision.tasks import maskrcnn

    parser = configs.Parser(aug_rand_hflip=True, aug_scale_min=SCALE_MIN, aug_scale_max=SCALE_MAX)
    data = configs.DataConfig(
        input_path=glob,
        is_training=True,
        global_batch_size=BATCH,
        shuffle_buffer_size=SHUFFLED,
        parser=parser,
        dtype="float32",  # as in the steps; its default, bfloat16, would add a cast
    )
    model = configs.MaskRCNN(num_classes=91, input_size=[size, size, 3], include_mask=True)
    if not own_pyramid:
        model.min_level, model.max_level = same_network.MIN_LEVEL, same_network.MAX_LEVEL
        model.anchor.anchor_size = same_network.ANCHOR_SIZE
    return maskrcnn.MaskRCNNTask(configs.MaskRCNNTask(model=model, train_data=data)).build_inputs(data)


def decoded(glob: str) -> tf.data.Dataset:
    """Decodes the JPEGs on all cores and does nothing else: a floor for anything that reads photos."""

    def one(serialized: tf.Tensor) -> tf.Tensor:
        spec = {"image/encoded": tf.io.FixedLenFeature([], tf.string)}
        image = tf.io.decode_jpeg(tf.io.parse_single_example(serialized, spec)["image/encoded"], channels=3)
        return tf.shape(image)

    records = tf.data.TFRecordDataset(sorted(tf.io.gfile.glob(glob))).repeat()
    return records.map(one, num_parallel_calls=tf.data.AUTOTUNE).batch(BATCH).prefetch(tf.data.AUTOTUNE)


SIDES: dict[str, Callable[..., tf.data.Dataset]] = {
    "ours": ours,
    "model_gardens": model_gardens,
    "model_gardens_own": functools.partial(model_gardens, own_pyramid=True),
    "decoded": decoded,
}


def timed(side: str, seconds: float, arguments: dict[str, Any]) -> dict[str, float]:
    """Returns images/s and processor time of one side once warm, the seconds to its first batch, and its number of
    images. Called in its own process.
    """
    start = time.monotonic()
    batches = iter(SIDES[side](**arguments))
    next(batches)
    first = time.monotonic() - start
    warm = _pull(batches, WARM * seconds) * BATCH
    start, before = time.monotonic(), os.times()
    images = _pull(batches, seconds) * BATCH
    passed, after = time.monotonic() - start, os.times()
    cpu = after.user + after.system - before.user - before.system
    found = {"images_per_second": images / passed, "cpu_ms": 1000 * cpu / images, "first_batch": first}
    return found | {"images": BATCH + warm + images}


def _pull(batches: Any, seconds: float) -> int:
    """Takes batches for the given time, at least two; returns how many."""
    end, count = time.monotonic() + seconds, 0
    while time.monotonic() < end or count < 2:
        next(batches)
        count += 1
    return count


def rounds(sides: dict[str, dict[str, Any]], settings: BenchmarkSettings) -> dict[str, Figure]:
    """Runs every side in turn, as often as asked."""
    found: dict[str, list[dict[str, float]]] = {side: [] for side in sides}
    for _ in range(settings.rounds):
        for side, arguments in sides.items():
            called = {"side": side, "seconds": settings.seconds, "arguments": arguments}
            found[side].append(apart.call("benchmarks.rows.inputs:timed", called, settings.work))
    return {
        side: table.median([one["images_per_second"] for one in each], [one["cpu_ms"] for one in each])
        for side, each in found.items()
    }
