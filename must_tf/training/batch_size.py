"""Chooses the batch size of a run if `task.train_data.global_batch_size` is 0: from the memory of the devices.

Of a training step's memory, one part is the same for any batch (weights, gradients, optimizer) and one grows with each
image. Two traced steps, of one and of two images, give both. The batch is the largest power of two on each device whose
step fits into SHARE of the free memory, with limits: at least 1 on each device, at most MOST in all, and not more than
there are training images.
"""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf
from official.core.config_definitions import ExperimentConfig, RuntimeConfig
from official.modeling import performance

from must_tf.common import devices, upstream
from must_tf.common.errors import UserError
from must_tf.runs import checkpoints
from must_tf.runs import directory as run_directory
from must_tf.training import memory_estimate, preflight
from must_tf.training.task import StudentTask

KEY = "task.train_data.global_batch_size"
AUTO = 0
MOST = 64  # images: more at once learn little better, and small datasets would be done in few steps
# The estimate leaves out temporary buffers, fragmentation and TensorFlow itself.
SHARE = 0.5
ONE_HOST = ("one_device", "mirrored", "off")


class Devices(NamedTuple):
    """The devices of a run: how many, and the free bytes of the one that has the least."""

    number: int
    free: int


def is_auto(params: ExperimentConfig) -> bool:
    """Returns true if the batch size is still to be chosen."""
    return bool(params.task.train_data.global_batch_size == AUTO)


def adopt(params: ExperimentConfig, model_dir: str) -> None:
    """Takes the number from the run in this directory, if one was trained there."""
    if run_directory.is_run(model_dir) and checkpoints.listed(model_dir):
        started = run_directory.started_with(model_dir)
        params.task.train_data.global_batch_size = started.task.train_data.global_batch_size


def check(runtime: RuntimeConfig) -> None:
    """Raises UserError if a batch size cannot be chosen on these devices."""
    if runtime.distribution_strategy not in ONE_HOST:
        raise UserError(
            f"{KEY}={AUTO} (automatic) needs the GPUs or the CPU of one machine, not "
            f"runtime.distribution_strategy={runtime.distribution_strategy}. Give a number."
        )


def choose(params: ExperimentConfig, images: preflight.Images) -> None:
    """Sets the batch size, and prints it with the estimate.

    Args:
      params: the completed config.
      images: number of images in the datasets.
    """
    found = _devices(params.runtime)
    if params.runtime.mixed_precision_dtype:
        performance.set_mixed_precision_policy(params.runtime.mixed_precision_dtype)
    task, data = StudentTask(params.task), params.task.train_data
    optimizer = task.create_optimizer(params.trainer.optimizer_config)
    spec = task.build_inputs(data.replace(global_batch_size=1)).element_spec
    with tf.device("CPU:0"):  # nothing runs, but the weights are made
        one, two = memory_estimate.estimates(task, optimizer, spec, (1, 2))
    averages = one.parameters if params.trainer.optimizer_config.ema else 0
    image = two.total - one.total
    rows = fitting(found, one.total - image + averages, image, images.train)
    data.global_batch_size = rows * found.number
    print(_report(found, rows, one.total + averages + (rows - 1) * image), flush=True)


def fitting(found: Devices, fixed: int, image: int, most: int) -> int:
    """Returns the images for each device.

    Args:
      found: the devices.
      fixed: bytes of a step whatever the batch.
      image: bytes for each image.
      most: images in the dataset.
    """
    limit, rows = min(MOST, most), 1
    while 2 * rows * found.number <= limit and fixed + 2 * rows * image <= SHARE * found.free:
        rows *= 2
    return rows


def _devices(runtime: RuntimeConfig) -> Devices:
    if runtime.num_gpus:
        memory = upstream.gpu_memory()[: runtime.num_gpus]
        return Devices(len(memory), min(memory))
    return Devices(1, devices.free_memory())


def _report(found: Devices, rows: int, needed: int) -> str:
    each = f" on each of {found.number} GPUs" if found.number > 1 else ""
    fits = "" if needed <= SHARE * found.free else ", MORE than it should: lower task.input_size if memory runs out"
    return (
        f"{KEY}: chose {rows * found.number}. A step needs at least {needed / 1e9:.2f} GB{each}, "
        f"{needed / found.free:.0%} of the free {found.free / 1e9:.2f} GB{fits}"
    )
