"""The plan of a loop: its datasets, teachers, student and transfers."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Sequence
from typing import Any

from must_tf.common import run_files


@dataclasses.dataclass(frozen=True)
class PlannedRun:
    """One training run: a teacher, the student or a transfer.

    Attributes:
      name: the name of its folder.
      experiment: the registered experiment.
      train, validation: names of datasets in the plan.
      tasks: the tasks whose metrics are reported.
      override: settings as for --params_override.
      config: YAML files in this folder.
    """

    name: str
    experiment: str
    train: tuple[str, ...]
    validation: tuple[str, ...]
    tasks: tuple[str, ...]
    override: tuple[str, ...] = ()
    config: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Plan:
    """A loop of trainings.

    Attributes:
      folder: the folder of all results.
      title: the report's title.
      records: {dataset: arguments of `must-records convert`, without --out}.
      teachers: in training order.
      label: {dataset: names of the teachers that label it}; the results are named <dataset>-labelled.
      student: trained on labelled and other datasets.
      transfers: runs that start from the student's trunk, except those named *-scratch.
    """

    folder: str
    title: str
    records: dict[str, list[str]]
    teachers: tuple[PlannedRun, ...]
    label: dict[str, tuple[str, ...]]
    student: PlannedRun
    transfers: tuple[PlannedRun, ...] = ()

    def path(self, *parts: str) -> str:
        """Returns a path in the loop's folder."""
        return os.path.join(self.folder, *parts)

    def globs(self, sets: Sequence[str]) -> str:
        """Returns the record files of these datasets, as YAML."""
        return "[" + ", ".join(f"'{self.path('records', name)}/*.tfrecord'" for name in sets) + "]"


def steps(count: int) -> tuple[str, ...]:
    """Returns overrides for a run of this many steps that is evaluated and saved at its end."""
    return (
        f"trainer.train_steps={count}",
        f"trainer.checkpoint_interval={count}",
        f"trainer.validation_interval={count}",
        f"trainer.optimizer_config.learning_rate.cosine.decay_steps={count}",
    )


def evaluation(plan: Plan, run: str) -> dict[str, Any]:
    """Returns a run's last evaluation."""
    with open(plan.path(run, run_files.EVALUATION)) as file:
        return json.load(file)
