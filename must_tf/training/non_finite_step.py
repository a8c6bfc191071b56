"""After a step whose loss or gradient is no finite number: which task, which images, and the batch itself.

The order of the images is a function of (seed, epoch, index), and a step that fails changes no weight: so the batch
can be made once more, and looked at task by task.
"""

from __future__ import annotations

import contextlib
import io
import os
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from must_tf.common import files, run_files
from must_tf.common.text import listed
from must_tf.data import input as input_lib
from must_tf.data import record
from must_tf.tasks import discover
from must_tf.training import loss_weights
from must_tf.training.trainer import REMEDY

SHOWN = 8  # ids in the message; all are in the saved files


class Found(NamedTuple):
    """What is known of a bad step."""

    tasks: list[str]  # whose loss, or else gradient, is no finite number
    source_ids: list[str]  # of the whole batch, in its order
    bad_ids: list[str]  # those that are bad alone; may be empty


def explain(trainer: Any, model_dir: str) -> str:
    """What is to be said about the step after the trainer's last whole one. Saves the batch under `model_dir`."""
    done, task = int(trainer.global_step.numpy()), trainer.task
    start = input_lib.Start(done * task.task_config.train_data.global_batch_size, task.start.epoch)
    directory = os.path.join(model_dir, run_files.FAILED, run_files.step_name(done + 1))
    return f"{message(find(task, trainer.model, start, directory), done + 1, directory)} {REMEDY}"


def find(task: Any, model: Any, start: input_lib.Start, directory: str) -> Found:
    """Makes the batch at `start` once more, looks at every task, and saves the batch under `directory`.

    Args:
      task: the run's StudentTask.
      model: with the weights from before the step.
      start: the place of the batch in the training order.
      directory: gets batch.npz (what the network saw), records.tfrecord (the originals) and found.json.
    """
    data = task.task_config.train_data
    serialized = _records(data, start)
    ids = [record.info_of(tf.train.Example.FromString(one)).source_id for one in serialized]
    batch = _batch(task, data, start)
    found = Found([], ids, [])
    _save(directory, batch, serialized, found)
    with contextlib.suppress(tf.errors.OpError):  # the batch of all replicas may be too large for one
        _look(task, model(batch, training=True), batch, found)
    files.write_json(os.path.join(directory, run_files.FAILED_REPORT), found._asdict())
    return found


def _look(task: Any, outputs: Any, batch: Any, found: Found) -> None:
    """Adds what is bad to what is found."""
    for name in task.configs:
        bad = _rows(task, name, outputs, batch)
        if bad is not None:
            found.tasks.append(name)
            found.bad_ids.extend(found.source_ids[row] for row in bad if found.source_ids[row] not in found.bad_ids)


def message(found: Found, step: int, directory: str) -> str:
    """One sentence each: what, which images, where the batch is."""
    what = f"the loss of {', '.join(found.tasks)}" if found.tasks else "the gradient"
    ids = found.bad_ids or found.source_ids
    which = "because of the images" if found.bad_ids else "on a batch with the images"
    return (
        f"in step {step} {what} is no finite number, {which} {listed(ids, SHOWN)}. The weights are those of "
        f"step {step - 1}; the batch is saved in {directory}."
    )


def _records(data: input_lib.Data, start: input_lib.Start) -> list[bytes]:
    records = input_lib.records_from(data, start).take(data.global_batch_size)
    return list(records.as_numpy_iterator())


def _batch(task: Any, data: input_lib.Data, start: input_lib.Start) -> dict[str, Any]:
    reader = input_lib.Reader(
        {name: discover()[name] for name in task.configs}, task.configs, task.task_config.input_size
    )
    return next(iter(input_lib.training(reader, data, start, None)))


def _rows(task: Any, name: str, outputs: Any, batch: Any) -> list[int] | None:
    """The images whose loss is bad; none of them alone: []; the task is fine: None."""
    if _finite(task, name, outputs, batch["targets"][name]):
        return None
    weight = batch["targets"][name]["weight"]
    bad = []
    for row in range(weight.shape[0]):
        alone = tf.one_hot(row, weight.shape[0]) * weight
        if not _finite(task, name, outputs, batch["targets"][name] | {"weight": alone}):
            bad.append(row)
    return bad


def _finite(task: Any, name: str, outputs: Any, targets: Any) -> bool:
    terms = discover()[name].loss(outputs["raw"][name], targets, task.configs[name])
    return all(bool(np.isfinite(loss_weights.mean(term).numpy())) for term in terms.values())


def _save(directory: str, batch: Any, serialized: list[bytes], found: Found) -> None:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **{"/".join(map(str, path)): value.numpy() for path, value in _leaves(batch)})
    files.write_whole(os.path.join(directory, run_files.FAILED_BATCH), buffer.getvalue())
    with tf.io.TFRecordWriter(os.path.join(directory, run_files.FAILED_RECORDS)) as writer:
        for one in serialized:
            writer.write(one)
    files.write_json(os.path.join(directory, run_files.FAILED_REPORT), found._asdict())


def _leaves(tree: Any, path: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], tf.Tensor]]:
    if not isinstance(tree, dict):
        return [(path, tree)]
    return [leaf for key, value in tree.items() for leaf in _leaves(value, (*path, key))]
