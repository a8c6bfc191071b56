"""An export of this project (`must-export`) as a teacher. Its labels equal those of the exported run, bit by bit."""

from __future__ import annotations

import json
import os
from collections import defaultdict
from collections.abc import Sequence
from typing import Any, NamedTuple

import tensorflow as tf

from must_tf.common.errors import UserError
from must_tf.config import values as config_values
from must_tf.model.student import StudentConfig, enabled
from must_tf.serving import saved_model
from tfrecords_tools.teachers import About, Predictions, check_tasks
from tfrecords_tools.teachers.trained import TrainedTeacher, class_names, facts

LOOKED_FOR = "{path}/must_tf.json (an export of must-export)"
KEYS = ("teacher_id", "step", "input_size", "classes", "tasks", "trained_on")


class ExportedRun(NamedTuple):
    """A SavedModel of must-export."""

    about: About

    def load(self) -> TrainedTeacher:
        """Loads the network of the signature that takes fitted images."""
        path = self.about.path
        settings = _settings(path, _read(path))
        try:
            loaded = tf.saved_model.load(path)
        except (tf.errors.OpError, OSError, ValueError) as error:
            raise UserError(f"{path}: the export cannot be loaded ({error}). Export the run again.") from error

        def forward(image: tf.Tensor, image_shape: tf.Tensor) -> Predictions:
            predictions: dict[str, dict[str, tf.Tensor]] = defaultdict(dict)
            # Called through `loaded`, because a signature alone does not keep its variables alive.
            for name, value in loaded.signatures[saved_model.FITTED](image=image, image_shape=image_shape).items():
                task, _, key = name.partition("/")
                predictions[task][key] = value
            return predictions

        return TrainedTeacher(self.about, forward, enabled(settings), settings.input_size)


def is_here(path: str) -> bool:
    """Returns True if `path` is an export of this project."""
    return bool(tf.io.gfile.exists(os.path.join(path, saved_model.NAME)))


def describe(path: str, tasks: Sequence[str]) -> ExportedRun:
    """Describes the export. Its id is the run's.

    Raises:
      UserError: it was written by an older version, is damaged, or was not trained for these tasks.
    """
    content = _read(path)
    configs = enabled(_settings(path, content))
    check_tasks(path, tasks, list(configs), "export")
    known = facts("export", content["step"], content["input_size"], {task: configs[task] for task in tasks})
    known["trained_on"] = {task: content["trained_on"][task] for task in tasks if task in content["trained_on"]}
    return ExportedRun(About(path, tuple(tasks), content["teacher_id"], class_names(configs, tasks), known))


def _read(path: str) -> dict[str, Any]:
    name = os.path.join(path, saved_model.NAME)
    with tf.io.gfile.GFile(name) as file:
        try:
            content = json.loads(file.read())
        except ValueError as error:
            raise UserError(f"{name} is not valid JSON ({error}). Export the run again.") from None
    missing = [key for key in KEYS if key not in content]
    if missing:
        raise UserError(f"{name} lacks {', '.join(missing)}, because an older version wrote it. Export the run again.")
    return dict(content)


def _settings(path: str, content: dict[str, Any]) -> StudentConfig:
    settings = StudentConfig()
    values = {"input_size": content["input_size"], "tasks": content["tasks"]}
    config_values.apply(settings, values, os.path.join(path, saved_model.NAME))
    return settings
