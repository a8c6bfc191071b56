"""The teachers of a plan, and what their results tell the student."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence

from must_tf.common import files, run_files
from must_tf.config import values as config_values
from must_tf.tasks import discover
from tfrecords_tools.teachers import describe


@dataclasses.dataclass(frozen=True)
class Teacher:
    """A teacher of some tasks: a run of this plan, or a model that exists (`is_run` false).

    Attributes:
      name: of its step and folder.
      tasks: that it labels.
      path: of the model.
      evaluation: the JSON file of its last evaluation on the validation data.
    """

    name: str
    tasks: tuple[str, ...]
    path: str
    is_run: bool
    evaluation: str

    def state(self) -> str:
        """Returns the id of a model that exists, which changes with its weights; "" for a run."""
        return "" if self.is_run else describe(self.path, self.tasks).about.id


def groups(tasks: Sequence[str]) -> list[tuple[str, ...]]:
    """Groups tasks with those that they need: one teacher has both heads."""
    needed = {need for task in tasks for need in discover()[task].needs}
    return [(*discover()[task].needs, task) for task in tasks if task not in needed]


def headline(path: str, task: str) -> float:
    """Returns the headline metric in the JSON file of an evaluation; 0 if it has none."""
    if not os.path.exists(path):
        return 0.0
    content = files.read_json(path, ["figures"])
    files.require_numbers(content, "figures", path)
    return float(content["figures"].get(f"{task}/{discover()[task].Metric.headline}") or 0.0)


def trained_with(run: str) -> dict[str, float]:
    """Returns the batch size and the learning rate of a run, as the paper's rule for loss weights needs them."""
    path = os.path.join(run, run_files.PARAMS)
    if not os.path.exists(path):
        return {}
    params = config_values.read_yaml(path)
    rate = params["trainer"]["optimizer_config"]["learning_rate"]
    return {
        "teacher_batch_size": params["task"]["train_data"]["global_batch_size"],
        "teacher_learning_rate": rate[rate["type"]]["initial_learning_rate"],
    }
