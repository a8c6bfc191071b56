"""A run directory of train.py as a teacher."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import NamedTuple

import tensorflow as tf

from must_tf.common import run_files
from must_tf.common.errors import UserError
from must_tf.data import input as input_lib
from must_tf.model import forward
from must_tf.model.student import enabled
from must_tf.runs import checkpoints, fingerprint, init_weights, restore, trained_on
from tfrecords_tools.teachers import About, check_tasks
from tfrecords_tools.teachers.trained import TrainedTeacher, class_names, facts

LOOKED_FOR = f"{{path}}/{run_files.PARAMS} (a run, the --model_dir of train.py)"


class RunDirectory(NamedTuple):
    """The newest checkpoint of a run."""

    about: About

    def load(self) -> TrainedTeacher:
        """Loads the model and its weights.

        Raises:
          UserError: the run has a newer checkpoint than when it was described.
        """
        trained = restore.load(self.about.path)
        if trained.id != self.about.id:
            raise UserError(
                f"{self.about.path}: the run has trained on since labelling began. "
                "Wait until it has ended, and label into another --out."
            )
        return TrainedTeacher(self.about, forward.of(trained.model), enabled(trained.config), trained.config.input_size)


def is_here(path: str) -> bool:
    """Returns True if `path` is a run directory."""
    return bool(tf.io.gfile.exists(os.path.join(path, run_files.PARAMS)))


def describe(path: str, tasks: Sequence[str]) -> RunDirectory:
    """Describes the run at its newest checkpoint.

    Raises:
      UserError: it is not a run of this project, has no checkpoint, or was not trained for these tasks.
    """
    config = restore.read_config(path)
    configs = enabled(config)
    check_tasks(path, tasks, list(configs), "run")
    learned = trained_on.counted(config)
    step = checkpoints.step_of(init_weights.checkpoint_path(path))
    known = facts("run directory", step, config.input_size, {task: configs[task] for task in tasks})
    known["trained_on"] = {task: learned[task] for task in tasks if task in learned}
    known["licence"] = "; ".join(fingerprint.licences(path))
    domain = tuple(input_lib.patterns(config.validation_data.input_path))
    about = About(path, tuple(tasks), restore.identity(path, config), class_names(configs, tasks), known, domain)
    return RunDirectory(about)
