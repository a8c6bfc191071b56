"""The plan of a study: its datasets, teachers and student."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Sequence
from typing import Any

from must_tf.common import run_files

CONFIG = ("quickstart/scenes.yaml",)  # settings of runs on generated scenes


@dataclasses.dataclass(frozen=True)
class PlannedRun:
    """One training run: a teacher or the student.

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
    """A study's trainings.

    Attributes:
      folder: the folder of all results.
      records: {dataset: arguments of `must-records convert`, without --out}.
      teachers: in training order.
      label: {dataset: names of the teachers that label it}; the results are named <dataset>-labelled.
      student: trained on labelled and other datasets.
    """

    folder: str
    records: dict[str, list[str]]
    teachers: tuple[PlannedRun, ...]
    label: dict[str, tuple[str, ...]]
    student: PlannedRun

    def path(self, *parts: str) -> str:
        """Returns a path in the loop's folder."""
        return os.path.join(self.folder, *parts)

    def globs(self, sets: Sequence[str]) -> str:
        """Returns the record files of these datasets, as YAML."""
        return "[" + ", ".join(f"'{self.path('records', name)}/*.tfrecord'" for name in sets) + "]"


def scenes(domain: str, count: int, seed: int, *more: str) -> list[str]:
    """Returns arguments of `must-records convert scenes`."""
    return ["scenes", "--domain", domain, "--count", str(count), "--seed", str(seed), *more]


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
