"""A run directory of train.py as a teacher."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, NamedTuple

import tensorflow as tf

from must_tf.common import run_files
from must_tf.common.errors import UserError
from must_tf.model.student import enabled
from must_tf.runs import checkpoints, init_weights, restore, trained_on
from tfrecords_tools.teachers import About, check_tasks
from tfrecords_tools.teachers.trained import TrainedTeacher, classes, facts

LOOKED_FOR = f"{{path}}/{run_files.PARAMS} (a run, the --model_dir of train.py)"


class RunDirectory(NamedTuple):
    """The newest checkpoint of a run."""

    about: About

    def load(self) -> TrainedTeacher:
        """The model with its weights."""
        trained = restore.load(self.about.path)
        if trained.id != self.about.id:
            raise UserError(
                f"{self.about.path} was trained on while it labelled. Label when it has ended; take another --out."
            )

        def forward(image: tf.Tensor, image_shape: tf.Tensor) -> Any:
            return trained.model({"image": image, "image_shape": image_shape}, training=False)["predictions"]

        return TrainedTeacher(self.about, forward, enabled(trained.config), trained.config.input_size)


def is_here(path: str) -> bool:
    """Whether a run lies at `path`."""
    return bool(tf.io.gfile.exists(os.path.join(path, run_files.PARAMS)))


def describe(path: str, tasks: Sequence[str]) -> RunDirectory:
    """The run's tasks, classes and id.

    Raises:
      UserError: no run of this project, no checkpoint, or not trained for these tasks.
    """
    config = restore.read_config(path)
    configs = enabled(config)
    check_tasks(path, tasks, list(configs), "that run was not trained for")
    asked = {task: configs[task] for task in tasks}
    learned = trained_on.counted(config)
    step = checkpoints.step_of(init_weights.checkpoint_path(path))
    known = facts("run directory", step, config.input_size, asked)
    known["trained_on"] = {task: learned[task] for task in tasks if task in learned}
    return RunDirectory(About(path, tuple(tasks), restore.identity(path, config), classes(configs, tasks), known))
