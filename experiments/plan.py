"""A loop of trainings, described: its record sets, teachers, student and transfers."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Sequence
from typing import Any

from must_tf.common import run_files


@dataclasses.dataclass(frozen=True)
class Run:
    """One training: a teacher, the student or a transfer.

    Attributes:
      name: of its folder.
      experiment: the registered experiment.
      train, validation: names of record sets.
      tasks: those whose figures are reported.
      override: as for --params_override.
      config: YAML files beside this one.
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
    """A loop.

    Attributes:
      folder: where everything goes.
      title: of the report.
      records: {set: arguments of `must-records convert`, without --out}.
      teachers: in order.
      label: {set: names of the teachers that complete it}; the results are named <set>-labelled.
      student: trained on completed and other sets.
      transfers: trained from the student's trunk; those named *-scratch are not.
    """

    folder: str
    title: str
    records: dict[str, list[str]]
    teachers: tuple[Run, ...]
    label: dict[str, tuple[str, ...]]
    student: Run
    transfers: tuple[Run, ...] = ()

    def path(self, *parts: str) -> str:
        """A path in the loop's folder."""
        return os.path.join(self.folder, *parts)

    def globs(self, sets: Sequence[str]) -> str:
        """The record files of these sets, as YAML."""
        return "[" + ", ".join(f"'{self.path('records', name)}/*.tfrecord'" for name in sets) + "]"


def steps(count: int) -> tuple[str, ...]:
    """A run of this many steps, evaluated and saved at its end."""
    return (
        f"trainer.train_steps={count}",
        f"trainer.checkpoint_interval={count}",
        f"trainer.validation_interval={count}",
        f"trainer.optimizer_config.learning_rate.cosine.decay_steps={count}",
    )


def evaluation(plan: Plan, run: str) -> dict[str, Any]:
    """What a run's last evaluation measured."""
    with open(plan.path(run, run_files.EVALUATION)) as file:
        return json.load(file)
