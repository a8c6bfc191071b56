"""A model of must_tf as a teacher, whether its weights come from a run or from an export."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from must_tf.common.errors import UserError
from must_tf.common.finite import is_finite
from must_tf.data import label_reader
from must_tf.evaluation.predictions import Restorer, kept
from must_tf.spec import ImageInfo, Labels, TaskConfig
from must_tf.tasks import discover
from tfrecords_tools.teachers import About, Predictions, Teacher
from tfrecords_tools.teachers.frames import InputFrame

# image uint8 [B, S, S, 3], shape float32 [B, 2] -> {task: {name: [B, ...]}}
Forward = Callable[[tf.Tensor, tf.Tensor], Predictions]


class TrainedTeacher:
    """A student's network that labels some of its tasks."""

    def __init__(self, about: About, forward: Forward, configs: Mapping[str, TaskConfig], size: int):
        self.about = about
        self.frame = InputFrame(size, size)
        self.configs = configs
        self._restorer = Restorer({task: discover()[task] for task in about.tasks}, configs, size)

        def run(pixels: tf.Tensor, shape: tf.Tensor) -> Predictions:
            predictions = forward(pixels, shape)
            return {task: predictions[task] for task in about.tasks}  # the other heads are pruned from the graph

        self._forward = tf.function(run, autograph=False)

    def forward(self, pixels: np.ndarray, info: np.ndarray) -> Predictions:
        """See `teachers.Teacher`."""
        predictions = self._forward(tf.constant(pixels), tf.constant(info[:, 2:], tf.float32))
        return tf.nest.map_structure(np.asarray, predictions)  # unlike `numpy`, it does not copy

    def labels(self, predictions: Predictions, info: np.ndarray, source_id: str, step: int = 1) -> dict[str, Labels]:
        """See `teachers.Teacher`."""
        restored = self._restorer.restored(predictions, info, step)
        check_finite(self.about, restored, source_id)
        return kept(restored, ImageInfo(source_id, int(info[0]), int(info[1])), self.configs)

    def notes(self, predictions: Predictions) -> list[str]:
        """See `teachers.Teacher`. Nothing is repaired."""
        del predictions
        return []


def parts(teacher: Teacher, predictions: Predictions, info: ImageInfo) -> list[Predictions]:
    """Returns an image's predictions in the parts whose labels are made and used one after the other.

    The maps of all tasks of a large image may take many gigabytes. A task stays with the one that it needs.
    """
    network = getattr(teacher, "inner", teacher)  # of a `matching.MatchedTeacher`
    if info.height * info.width <= label_reader.LARGE or not isinstance(network, TrainedTeacher):
        return [predictions]
    made: list[dict[str, Any]] = []
    for task, spec in discover().items():
        if task in predictions:
            home = next((part for part in made if {*spec.needs} & {*part}), None)
            if home is None:
                made.append(home := {})
            home[task] = predictions[task]
    return list(made)


def check_finite(about: About, restored: Mapping[str, Mapping[str, Any]], source_id: str) -> None:
    """Raises UserError if a prediction is NaN or infinite."""
    for task, predictions in restored.items():
        if not is_finite(predictions):
            raise UserError(
                f"--teacher {task}={about.path}: {task} of image {source_id!r} is NaN or infinite. This shard was not "
                "written. Use another checkpoint of the teacher, or label without it."
            )


def facts(kind: str, step: int | None, size: int | list[int], configs: Mapping[str, TaskConfig]) -> dict[str, Any]:
    """Returns `About.facts`. "trained_on" is empty; the caller fills it in if it knows."""
    specs = {task: discover()[task] for task in configs}
    units = {task: spec.summary.unit(configs[task]) for task, spec in specs.items()}
    return {
        "kind": kind,
        "step": step,
        "input_size": size,
        "floors": {task: spec.summary.floor for task, spec in specs.items() if spec.summary.floor},
        "units": {task: unit for task, unit in units.items() if unit},
        "trained_on": {},
        "licence": "",
        "notes": [],
    }


def class_names(configs: Mapping[str, TaskConfig], tasks: Sequence[str]) -> dict[str, list[str]]:
    """Returns the class names of those tasks that have some."""
    return {task: list(configs[task].classes) for task in tasks if discover()[task].class_ids}
