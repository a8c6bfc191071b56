"""Explains a step whose loss or gradient was NaN or infinite: which task, which images, and the batch itself.

The order of the images is a function of (seed, epoch, index), and a failed step changes no weight. So the batch can be
made again and examined task by task.
"""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
import tf_keras

from must_tf.common import files, run_files
from must_tf.common.text import listed
from must_tf.data import input as input_lib
from must_tf.data import record
from must_tf.spec import Tensors
from must_tf.tasks import discover
from must_tf.training import loss_scale, loss_weights
from must_tf.training.task import StudentTask
from must_tf.training.trainer import Trainer
from must_tf.training.training_log import REMEDY

SHOWN = 8  # ids in the message; the saved files have all

Batch = dict[str, Any]  # of `data.input.training`
Outputs = dict[str, dict[str, Tensors]]  # of `Student.call`


class NonFiniteStep(NamedTuple):
    """A failed step, as it is saved in found.json."""

    tasks: list[str]  # whose loss is not finite; empty if only the gradient is not
    source_ids: list[str]  # of the whole batch, in its order
    bad_ids: list[str]  # of the images whose own loss is not finite; may be empty


def explain(trainer: Trainer, model_dir: str) -> str:
    """Returns an error message about the step after the trainer's last good one. Saves its batch under `model_dir`."""
    task: StudentTask = trainer.task
    done = int(trainer.global_step.numpy())
    start = input_lib.Start(done * task.task_config.train_data.global_batch_size, task.start.images_per_epoch)
    directory = os.path.join(model_dir, run_files.FAILED, run_files.step_name(done + 1))
    failed = find(task, trainer.model, start, directory)
    remedy = loss_scale.REMEDY if loss_scale.is_used() and not failed.tasks else REMEDY
    return f"{message(failed, done + 1, directory)} {remedy}"


def find(task: StudentTask, model: tf_keras.Model, start: input_lib.Start, directory: str) -> NonFiniteStep:
    """Makes the batch at `start` again, examines every task, and saves the batch.

    Args:
      task: the run's task.
      model: with the weights from before the step.
      start: the place of the batch in the training order.
      directory: gets batch.npz (what the network saw), records.tfrecord (the original records) and found.json.
    """
    data = task.task_config.train_data
    serialized = _records(data, start)
    ids = [record.info_of(tf.train.Example.FromString(example)).source_id for example in serialized]
    batch = _batch(task, data, start)
    failed = NonFiniteStep([], ids, [])
    _save(directory, batch, serialized, failed)  # first, because the model may fail on the batch
    with contextlib.suppress(tf.errors.OpError):  # the batch of all replicas may be too large for one device
        rows = len(ids) // task.task_config.accumulate_steps
        for first in range(0, len(ids), rows):
            part = tf.nest.map_structure(lambda x, first=first: x[first : first + rows], batch)
            _examine(task, model(part, training=True), part, failed, ids[first : first + rows])
    files.write_json(os.path.join(directory, run_files.FAILED_REPORT), failed._asdict())
    return failed


def _examine(
    task: StudentTask, outputs: Outputs, batch: Batch, failed: NonFiniteStep, source_ids: Sequence[str]
) -> None:
    """Adds the tasks and images with a loss that is not finite."""
    for name in task.configs:
        rows = _bad_rows(task, name, outputs, batch)
        if rows is None:
            continue
        if name not in failed.tasks:
            failed.tasks.append(name)
        ids = [source_ids[row] for row in rows]
        failed.bad_ids.extend(source_id for source_id in ids if source_id not in failed.bad_ids)


def message(failed: NonFiniteStep, step: int, directory: str) -> str:
    """Returns the step, the task, the images, and where the batch is saved."""
    loss = f"the loss of {', '.join(failed.tasks)}" if failed.tasks else "the gradient"
    ids = failed.bad_ids or failed.source_ids
    images = "images" if failed.bad_ids else "in a batch with the images"
    return (
        f"step {step}: {loss} is NaN or infinite ({images} {listed(ids, SHOWN)}). The weights are unchanged since step "
        f"{step - 1}; the batch is saved in {directory}."
    )


def _records(data: input_lib.Data, start: input_lib.Start) -> list[bytes]:
    records = input_lib.records_from(data, start).take(data.global_batch_size)
    return list(records.as_numpy_iterator())


def _batch(task: StudentTask, data: input_lib.Data, start: input_lib.Start) -> Batch:
    specs = {name: discover()[name] for name in task.configs}
    reader = input_lib.Reader(specs, task.configs, task.task_config.input_size)
    return next(iter(input_lib.training(reader, data, start, None)))


def _bad_rows(task: StudentTask, name: str, outputs: Outputs, batch: Batch) -> list[int] | None:
    """Returns the images whose loss is not finite, possibly none; None if the task's loss is finite."""
    targets = batch["targets"][name]
    if _is_finite(task, name, outputs, targets):
        return None
    weight = targets["weight"]
    rows = []
    for row in range(weight.shape[0]):
        only_this = tf.one_hot(row, weight.shape[0]) * weight
        if not _is_finite(task, name, outputs, targets | {"weight": only_this}):
            rows.append(row)
    return rows


def _is_finite(task: StudentTask, name: str, outputs: Outputs, targets: Tensors) -> bool:
    terms = discover()[name].loss(outputs["raw"][name], targets, task.configs[name])
    return all(bool(np.isfinite(loss_weights.mean(term).numpy())) for term in terms.values())


def _save(directory: str, batch: Batch, serialized: list[bytes], failed: NonFiniteStep) -> None:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **{"/".join(map(str, path)): value.numpy() for path, value in _leaves(batch)})
    files.write_whole(os.path.join(directory, run_files.FAILED_BATCH), buffer.getvalue())
    with tf.io.TFRecordWriter(os.path.join(directory, run_files.FAILED_RECORDS)) as writer:
        for example in serialized:
            writer.write(example)
    files.write_json(os.path.join(directory, run_files.FAILED_REPORT), failed._asdict())


def _leaves(tree: Any, path: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], tf.Tensor]]:
    if not isinstance(tree, dict):
        return [(path, tree)]
    return [leaf for key, value in tree.items() for leaf in _leaves(value, (*path, key))]
