"""One training of this project, and one of Model Garden's own task, with the same network, data and schedule.

Both use their own input, losses and loop. Both sides' predictions are measured by this project's `Evaluator`, whose
COCO metrics agree with pycocotools. Model Garden's task predicts every held-out image once, from its own input.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, TypeVar
from unittest import mock

import orbit
import tensorflow as tf
import tf_keras
import yaml
from official.core import base_task, base_trainer, config_definitions, task_factory, train_lib, train_utils

from benchmarks.rows.parity_settings import KINDS, RANDOM, Job, evaluation, our_settings, their_settings
from must_tf.cli import train
from must_tf.cli.flags import TrainFlags
from must_tf.evaluation import evaluator
from must_tf.model.trunk import DEVIATION, MEAN
from must_tf.runs.pretrained import weights
from must_tf.training.trainer import Trainer

TrainerT = TypeVar("TrainerT", bound=base_trainer.Trainer)


class Timing(NamedTuple):
    """One loop of steps: their number, and the seconds and processor seconds that they took, with their input."""

    steps: int
    seconds: float
    cpu_seconds: float


def ours(job: dict[str, Any], folder: str) -> dict[str, Any]:
    """Trains and measures this project's teacher with its own command. Called in its own process."""
    found, loops = Job(**job), list[Timing]()
    override = yaml.safe_dump(our_settings(found), default_flow_style=True, width=10**6)
    flags = TrainFlags(KINDS[found.kind].ours, f"{folder}/run", params_override=override, overwrite=True)
    with mock.patch.object(train, "Trainer", timed(Trainer, loops)):
        train.run(flags)
    return _result(found, evaluated(folder), loops)


def evaluated(folder: str) -> dict[str, float]:
    """Returns the metrics of the run's last evaluation."""
    last = evaluator.last(f"{folder}/run")
    assert last is not None  # the command evaluates at its end
    return last["figures"]


def model_gardens(job: dict[str, Any], folder: str) -> dict[str, Any]:
    """Trains Model Garden's task with its own loop, and measures it. Called in its own process."""
    found, loops = Job(**job), list[Timing]()
    params = their_settings(found)
    tf_keras.utils.set_random_seed(found.seed)
    strategy = tf.distribute.OneDeviceStrategy("CPU:0")
    with strategy.scope():
        task = _task(params, found)
        trainer = train_utils.create_trainer(params, task, True, False, trainer_cls=timed(base_trainer.Trainer, loops))
    if found.start != RANDOM:
        assign(weights.read(found.start), trainer.model.backbone)
    model, _ = train_lib.run_experiment(
        strategy, task, "train", params, f"{folder}/run", save_summary=False, trainer=trainer
    )
    return _result(found, measured(found, task, model), loops)


def timed(trainer: type[TrainerT], loops: list[Timing]) -> type[TrainerT]:
    """Returns a trainer that also adds the time of every loop of steps to `loops`."""

    def begin(self: Any) -> None:
        super(made, self).train_loop_begin()
        self.began = (int(self.global_step.numpy()), time.perf_counter(), time.process_time())

    def end(self: Any) -> Any:
        now = (int(self.global_step.numpy()), time.perf_counter(), time.process_time())
        loops.append(Timing(*(after - before for before, after in zip(self.began, now, strict=True))))
        return super(made, self).train_loop_end()

    made: Any = type("Timed", (trainer,), {"train_loop_begin": begin, "train_loop_end": end})
    return made


def _result(job: Job, figures: Mapping[str, float], loops: list[Timing]) -> dict[str, Any]:
    """Returns metrics and speed; the first loop, in which the step is traced, is not timed."""
    images = sum(each.steps for each in loops[1:]) * job.batch
    seconds, cpu = (sum(each[index] for each in loops[1:]) for index in (1, 2))
    return {
        "figures": {key: float(figures[key]) for key in KINDS[job.kind].metrics},
        "images_per_second": images / seconds,
        "cpu_ms": 1000 * cpu / images,
    }


def _task(params: config_definitions.ExperimentConfig, job: Job) -> base_task.Task:
    """Builds the task; its input is normalised as trained weights need it."""
    task = task_factory.get_task(params.task)
    if job.start != RANDOM:
        settings, own = weights.read(job.start).model["normalisation"], task.build_inputs
        factor = tf.constant(DEVIATION) / settings["deviation"]
        offset = (tf.constant(MEAN) - settings["mean"]) / settings["deviation"]
        task.build_inputs = lambda *given: own(*given).map(lambda images, labels: (images * factor + offset, labels))
    return task


def assign(trained: weights.Pretrained, backbone: tf_keras.Model) -> None:
    """Assigns trained weights to Model Garden's backbone, except for its convolution after the last stage."""
    stages = {level: backbone.output[level] for level in backbone.output_specs}
    weights.assign(trained.found, tf_keras.Model(backbone.inputs, stages))


def measured(job: Job, task: base_task.Task, model: tf_keras.Model) -> dict[str, float]:
    """Returns the metrics of Model Garden's model on this project's records."""
    measuring = evaluator.Evaluator(evaluation(job), job.images)
    for outputs in _predicted(job, task, model):
        measuring.add(outputs)
    return measuring.finish("", job.steps)


def _predicted(job: Job, task: base_task.Task, model: tf_keras.Model) -> Iterator[dict[str, Any]]:
    """Yields predictions of all images in the order of the records, as this project's validation step returns them."""

    @tf.function
    def forward(images: tf.Tensor, labels: Any) -> Any:
        return _frame(job, labels, tf.shape(images)[0]), predictions(job.kind, model, images, labels)

    dataset = orbit.utils.make_distributed_dataset(
        tf.distribute.get_strategy(), task.build_inputs, task.task_config.validation_data
    )
    done = 0
    for images, labels in dataset:
        info, found = forward(images, labels)
        yield {"index": tf.range(done, done + len(info)), "image_info": info, "predictions": found}
        done += len(info)


def _frame(job: Job, labels: Any, count: tf.Tensor) -> tf.Tensor:
    """Returns the sizes int32 [B, 4] of the images and of what shows them in the input; a class has no place."""
    if job.kind == "classification":
        return tf.fill([count, 4], job.side)
    info = labels["image_info"]  # [B, 4, 2] original size, input size, scale, offset
    return tf.cast(tf.round(tf.concat([info[:, 0], info[:, 0] * info[:, 2]], -1)), tf.int32)


def predictions(kind: str, model: tf_keras.Model, images: tf.Tensor, labels: Any) -> dict[str, dict[str, tf.Tensor]]:
    """Returns Model Garden's predictions in the form of this project's."""
    if kind in ("segmentation", "classification"):
        outputs = model(images, training=False)
        logits = outputs["logits"] if isinstance(outputs, dict) else outputs
        return {kind: {"probability": tf.nn.softmax(logits)}}
    shape, anchors = labels["image_info"][:, 1], labels["anchor_boxes"]
    found = model(images, image_shape=shape, anchor_boxes=anchors, training=False)
    boxes = {
        "boxes": found["detection_boxes"],
        "classes": tf.cast(found["detection_classes"], tf.int32),
        "scores": found["detection_scores"],
        "count": found["num_detections"],
    }
    masks = {"masks": boxes | {"probability": found["detection_masks"]}} if kind == "maskrcnn" else {}
    return {"detection": boxes} | masks
