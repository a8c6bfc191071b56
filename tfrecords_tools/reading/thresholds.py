"""Configs of the tasks as the record tools use them, with thresholds given on the command line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from must_tf import tasks
from must_tf.common.errors import Mistakes, UserError, nearest
from must_tf.config import validate
from must_tf.shared import thresholds
from tfrecords_tools.reading import recordset


def check_names(config: Any) -> None:
    """Raises UserError if a task's `class_thresholds` name a class that does not exist."""
    for name in thresholds.named(getattr(config, "class_thresholds", ())):
        if name not in config.classes:
            raise UserError(f"class_thresholds: {name!r} is not a class.{nearest(name, config.classes)}")


def configs(classes: Mapping[str, Sequence[str]], settings: Sequence[str]) -> dict[str, Any]:
    """Returns {task: config} with these class names and the settings given as TASK.NAME=VALUE.

    Fields that a task takes over from others, like the masks' class thresholds, are filled in.

    Raises:
      UserError: unknown tasks or names, or invalid values; lists all of them.
    """
    by_task, mistakes = recordset.configs_of(classes), Mistakes()
    for text in settings:
        place, _, value = text.partition("=")
        task, _, name = place.partition(".")
        if task not in by_task:
            mistakes.problems.append(
                f"--set {text}: no task {task!r}.{nearest(task, by_task)} Write detection.score_threshold=0.3"
            )
            continue
        try:
            good, wrong = validate.sift(by_task[task], {name: yaml.safe_load(value)})
        except yaml.YAMLError:
            good, wrong = {}, [f"{name}={value}: not valid YAML"]
        mistakes.problems += [f"--set {task}.{one}" for one in wrong]
        by_task[task].override(good, is_strict=True)
    mistakes.raise_all()
    for task, config in by_task.items():
        tasks.discover()[task].settle(config, by_task)  # as before training; `check_names` reports what is wrong
    return by_task
