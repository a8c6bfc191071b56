"""The plan file of `must run`.

| key | value |
|---|---|
| `out` | folder of all results |
| `title` | of the page |
| `datasets` | {name: dataset} |
| `teachers` | {task: {`model`: path} or run settings}; other tasks get a teacher if images lack their labels |
| `teachers.TASK.labels` | the only datasets that this teacher labels; by default all that lack its labels |
| `teachers.all` | run settings of every teacher that has none of its own |
| `confidence` | true: give labels of depth and normals a confidence, see `must label --confidence` |
| `half_maps` | true: store maps of pseudo labels in half of the photos' height and width, see `must label` |
| `start` | weights to start from: `random`, the name of published weights, a run, a checkpoint or a weight file |
| `student` | run settings, and `hours`: the time that training may take |
| `compare` | {name: other student}: trained as the student, but for the keys below |
| `transfer` | {name: dataset with `task`, one or a list}: compare fine-tuning the start, the teachers and the student |
| `export` | true: export the student at the end |
| `settings` | config values for every run, or a YAML file of them |

A dataset has `format`, the options of `must convert FORMAT` with `_` for `-`, and

| key | value |
|---|---|
| `validation` | a share (0.1), the options that differ for its validation data ({split: val}), or false for none |
| `train` | false: only its validation data is used, with `validation: {}` all of it |

Without `validation`, a tenth of a dataset with labels is set apart. A photo is set apart by its content, so it is on
the same side in every dataset. `format: records` with `records: DIR` names a dataset that is converted already; it is
not divided.

A student to compare has run settings, `tasks` (it learns only these), `datasets` (it is trained only on these), and
`labels: false`: without pseudo labels.

Run settings are `steps`, `settings` (config values for this run) and, for a transfer, `seeds` and `rows`: which of
random weights (`random`), `start`, `teachers`, `student` and `compare` (all students to compare, or their names) to
fine-tune, by default all but random weights. `teachers` are those that the plan trains.

Paths are relative to the current folder, as in every command; those in an adapter file, to that file. `$NAME` in a text
stands for an environment variable.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Collection, Mapping
from typing import Any

KEYS = (
    "out",
    "title",
    "datasets",
    "teachers",
    "confidence",
    "half_maps",
    "start",
    "student",
    "compare",
    "transfer",
    "export",
    "settings",
)
DATASET_KEYS = ("format", "validation")
TRAINED_KEYS = ("train", "repeat")  # of a dataset that is not a transfer's
RUN_KEYS = ("steps", "settings")
ALL = "all"  # below `teachers`: every teacher
ROWS = ("random", "start", "teachers", "student", "compare")  # the weights that a transfer begins with
VALIDATION_SHARE = 0.1
MOST = {"steps": 1_000_000_000, "hours": 100_000, "seeds": 1000, "repeat": 1000}


@dataclasses.dataclass(frozen=True)
class PlannedDataset:
    """A dataset of the plan.

    Attributes:
      name: its name in the plan.
      form: its format.
      options: of its conversion.
      validation: options of its validation data that differ; None if there are none of its own.
      share: the share of its images that is set apart for validation; 0: none. -1: a tenth if it has labels.
      is_trained_on: false if only its validation data is used.
      repeat: how often an epoch of a student has each of its images.
    """

    name: str
    form: str
    options: Mapping[str, Any]
    validation: Mapping[str, Any] | None = None
    share: float = -1.0
    is_trained_on: bool = True
    repeat: int = 1


@dataclasses.dataclass(frozen=True)
class RunSettings:
    """Settings of one training run. `steps` 0: from the data; `hours` 0: no limit; `settings`: config values."""

    steps: int = 0
    hours: float = 0.0
    settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class PlannedTeacher:
    """A task's teacher: a model that exists (`model`: its path), or a run to train.

    `labels`: the datasets that it labels; None: all.
    """

    model: str = ""
    run: RunSettings = RunSettings()
    labels: tuple[str, ...] | None = None


@dataclasses.dataclass(frozen=True)
class ComparedStudent:
    """Another student. `tasks` and `datasets` empty: those of the student. `labels`: with those of the teachers."""

    run: RunSettings
    tasks: tuple[str, ...] = ()
    datasets: tuple[str, ...] = ()
    labels: bool = True


@dataclasses.dataclass(frozen=True)
class PlannedTransfer:
    """A dataset to fine-tune on, for each task apart, with the number of seeds.

    `rows` are the initial weights: of `ROWS`, and names of students to compare.
    """

    dataset: PlannedDataset
    tasks: tuple[str, ...]
    run: RunSettings
    seeds: int = 1
    rows: tuple[str, ...] = ROWS[1:]


@dataclasses.dataclass(frozen=True)
class Plan:
    """A plan file; the fields are its keys, and:

    Attributes:
      every_teacher: the run settings below `teachers.all`.
      settings_files: {key of settings: the file that they were read from}.
      is_whole: false if parts with mistakes were left out, so that the other parts can be checked.
    """

    path: str
    out: str
    title: str
    datasets: Mapping[str, PlannedDataset]
    teachers: Mapping[str, PlannedTeacher] = dataclasses.field(default_factory=dict)
    every_teacher: RunSettings = RunSettings()
    confidence: bool = False
    half_maps: bool = False
    start: str = "random"
    student: RunSettings = RunSettings()
    compare: Mapping[str, ComparedStudent] = dataclasses.field(default_factory=dict)
    transfer: Mapping[str, PlannedTransfer] = dataclasses.field(default_factory=dict)
    export: bool = False
    settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    settings_files: Mapping[str, str] = dataclasses.field(default_factory=dict)
    is_whole: bool = True

    def left_out(self, datasets: Collection[str]) -> set[str]:
        """Returns the tasks whose teachers do not label these datasets."""
        limited = {task: {*one.labels} for task, one in self.teachers.items() if one.labels is not None}
        return {task for task, labelled in limited.items() if not labelled >= {*datasets}}

    def folder(self, *parts: str) -> str:
        """Returns a path below `out`."""
        return os.path.join(self.out, *parts)
