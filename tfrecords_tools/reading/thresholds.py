"""From which score on a task's pseudo labels are believed, class by class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import yaml

from must_tf import tasks
from must_tf.common.errors import Mistakes, UserError, nearest
from must_tf.config import validate
from must_tf.shared import thresholds
from tfrecords_tools.reading import recordset


class Levels(NamedTuple):
    """`classes`: float32 [C], see `of`. `mask`: the score from which on a mask is believed, beside its box's."""

    classes: np.ndarray
    mask: float = 0.0


def levels(config: Any) -> Levels:
    """All that decides what is believed of a task's labels. Raises UserError as `of`."""
    return Levels(of(config), getattr(config, "mask_score_threshold", 0.0))


def of(config: Any) -> np.ndarray:
    """float32 [C] of a task's config: its threshold, or the class's own; 0 where the task has none.

    Raises:
      UserError: `class_thresholds` names a class that does not exist.
    """
    usual = getattr(config, "score_threshold", getattr(config, "confidence_threshold", 0.0))
    own = thresholds.named(getattr(config, "class_thresholds", ()))
    for name in own:
        if name not in config.classes:
            raise UserError(f"class_thresholds: no class {name!r}.{nearest(name, config.classes)}")
    return np.array([own.get(name, usual) for name in config.classes], np.float32)


def configs(classes: Mapping[str, Sequence[str]], given: Sequence[str]) -> dict[str, Any]:
    """{task: its config} with these class names and the settings that are `given` as TASK.NAME=VALUE.

    What a task takes over from others, as masks do boxes' thresholds, it has taken over.

    Raises:
      UserError: a task, name or value that does not fit; all of them.
    """
    found, mistakes = recordset.configs_of(classes), Mistakes()
    for text in given:
        place, _, value = text.partition("=")
        task, _, name = place.partition(".")
        if task not in found:
            mistakes.problems.append(
                f"--set {text}: no task {task!r}.{nearest(task, found)} Write detection.score_threshold=0.3"
            )
            continue
        try:
            good, wrong = validate.sift(found[task], {name: yaml.safe_load(value)})
        except yaml.YAMLError:
            good, wrong = {}, [f"{value!r} is no value"]
        mistakes.problems += [f"--set {task}.{one}" for one in wrong]
        found[task].override(good, is_strict=True)
    mistakes.raise_all()
    for task, config in found.items():
        tasks.discover()[task].settle(config, found)  # as before training; `of` says what is wrong with these
    return found
