"""The plan file of `must run`.

| key | value |
|---|---|
| `out` | folder of all results |
| `title` | of the page |
| `datasets` | {name: dataset} |
| `teachers` | {task: {`model`: path} or run settings}; other tasks get a teacher if images lack their labels |
| `start` | weights to start from: `random`, the name of published weights, a run, a checkpoint or a weight file |
| `student` | run settings, and `hours`: the time that training may take |
| `compare` | {name: other student}: trained as the student, but for the keys below |
| `transfer` | {name: dataset with `task`, one or a list}: compare fine-tuning the start, the teachers and the student |
| `export` | true: export the student at the end |
| `settings` | config values for every run, or a YAML file of them |

A dataset has `format`, the options of `must-records convert FORMAT` with `_` for `-`, and

| key | value |
|---|---|
| `validation` | a share (0.1), the options that differ for its validation data ({split: val}), or false for none |
| `train` | false: only its validation data is used |

Without `validation`, a tenth of a dataset with labels is set apart. A photo is set apart by its content, so it is on
the same side in every dataset. `format: records` with `records: DIR` names a dataset that is converted already; it is
not divided.

A student to compare has run settings, `tasks` (it learns only these), `datasets` (it is trained only on these), and
`labels: false`: without pseudo labels.

Run settings are `steps`, `settings` (config values for this run) and, for a transfer, `seeds` and `rows`: which of
random weights (`random`), `start`, `teachers`, `student` and `compare` (all students to compare, or their names) to
fine-tune, by default all but random weights.

Paths are relative to the current folder, as in every command. `$NAME` in a text stands for an environment variable.
"""

from __future__ import annotations

import dataclasses
import math
import os
import re
from collections.abc import Collection, Mapping
from typing import Any, TypeVar

from must_tf.common.errors import Mistakes, nearest
from must_tf.config import values as config_values
from must_tf.loop import formats, plan_rules, variables
from must_tf.runs import start
from must_tf.tasks import discover

KEYS = ("out", "title", "datasets", "teachers", "start", "student", "compare", "transfer", "export", "settings")
DATASET_KEYS = ("format", "validation", "train")
RUN_KEYS = ("steps", "settings")
ROWS = ("random", "start", "teachers", "student", "compare")  # the weights that a transfer begins with
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")  # names are also folders
KINDS = {str: "a text", bool: "true or false", int: "a whole number above 0", float: "a number above 0"}  # of a value
VALIDATION_SHARE = 0.1

T = TypeVar("T", bool, int, float, str)


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
    """

    name: str
    form: str
    options: Mapping[str, Any]
    validation: Mapping[str, Any] | None = None
    share: float = -1.0
    is_trained_on: bool = True


@dataclasses.dataclass(frozen=True)
class RunSettings:
    """Settings of one training run. `steps` 0: from the data; `hours` 0: no limit; `settings`: config values."""

    steps: int = 0
    hours: float = 0.0
    settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class PlannedTeacher:
    """A task's teacher: a model that exists (`model`: its path), or a run to train."""

    model: str = ""
    run: RunSettings = RunSettings()


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
    """A checked plan file; the fields are its keys."""

    path: str
    out: str
    title: str
    datasets: Mapping[str, PlannedDataset]
    teachers: Mapping[str, PlannedTeacher] = dataclasses.field(default_factory=dict)
    start: str = "random"
    student: RunSettings = RunSettings()
    compare: Mapping[str, ComparedStudent] = dataclasses.field(default_factory=dict)
    transfer: Mapping[str, PlannedTransfer] = dataclasses.field(default_factory=dict)
    export: bool = False
    settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def folder(self, *parts: str) -> str:
        """Returns a path below `out`."""
        return os.path.join(self.out, *parts)


def read(path: str, out: str = "") -> Plan:
    """Reads a plan file.

    Args:
      path: of the YAML file.
      out: used instead of the file's `out`, unless empty.

    Raises:
      UserError: all mistakes in the file, each with its key.
    """
    content = config_values.read_yaml(path)
    mistakes = Mistakes()
    expanded = variables.expanded(content, path, mistakes)
    mistakes.raise_all()
    return Reader(path, expanded).plan(out)


class Reader:
    """Turns the content of a plan file into a Plan and collects the mistakes."""

    def __init__(self, path: str, content: Mapping[str, Any]):
        self._path, self._content = path, content
        self._mistakes = Mistakes()

    def plan(self, out: str = "") -> Plan:
        """Returns the plan. Raises UserError with all mistakes."""
        content = self._content
        self._keys(content, KEYS, self._path)
        datasets = {
            name: self._dataset(f"datasets.{name}", name, entry)
            for name, entry in self._named("datasets", required=True).items()
        }
        plan = Plan(
            path=self._path,
            out=out or self._value(content, "out", "") or self._missing("out", "runs/home"),
            title=self._value(content, "title", os.path.splitext(os.path.basename(self._path))[0]),
            datasets=datasets,
            teachers={task: self._teacher(task, entry) for task, entry in self._named("teachers").items()},
            start=self._value(content, "start", start.RANDOM),
            student=self._run("student", self._group(content.get("student"), "student"), hours=True),
            compare={name: self._compared(name, entry, datasets) for name, entry in self._named("compare").items()},
            transfer={
                name: self._transfer(name, entry, self._group(content.get("compare"), "compare"))
                for name, entry in self._named("transfer").items()
            },
            export=self._value(content, "export", False),
            settings=self._settings(content.get("settings"), "settings"),
        )
        for problem in plan_rules.name_problems(datasets, plan.transfer):
            self._wrong(problem)
        if "://" in plan.out:
            self._wrong(f"out: {plan.out} must be a local folder, or a mounted one.")
        self._mistakes.raise_all()
        return plan

    def _wrong(self, problem: str) -> None:
        self._mistakes.problems.append(problem if problem.startswith(self._path) else f"{self._path}: {problem}")

    def _missing(self, key: str, example: str) -> str:
        self._wrong(f"{key!r} is missing. Write for instance {key}: {example}")
        return ""

    def _keys(self, content: Mapping[str, Any], known: Collection[str], where: str) -> None:
        for key in content:
            if key not in known:
                self._wrong(f"{where}: no such key: {key}.{nearest(str(key), known)} Known: {', '.join(known)}.")

    def _group(self, value: Any, where: str) -> Mapping[str, Any]:
        if value is None:
            return {}
        if not isinstance(value, dict):
            self._wrong(f"{where} must be a group of keys, like {{steps: 1000}}, not {value!r}.")
            return {}
        return value

    def _named(self, key: str, required: bool = False) -> Mapping[str, Any]:
        """Returns the entries of a group whose keys are names."""
        entries = self._group(self._content.get(key), key)
        if required and not entries:
            self._missing(key, "{photos: {format: images, root: photos}}")
        for name in entries:
            if not isinstance(name, str) or not NAME.fullmatch(name):
                self._wrong(f"{key}: {name!r} is also the name of a folder. Use letters, digits, '.', '_' and '-'.")
        return {str(name): entry for name, entry in entries.items()}

    def _value(self, content: Mapping[str, Any], key: str, default: T, where: str = "") -> T:
        """Returns the value of a key, which has the type of the default; `where` ends with a dot."""
        value, kind = content.get(key, default), type(default)
        fits = isinstance(value, (int, float) if kind is float else kind) and isinstance(value, bool) == (kind is bool)
        if fits and kind in (int, float) and key in content:
            fits = 0 < value < math.inf
        if not fits:
            self._wrong(f"{where}{key} must be {KINDS[kind]}, not {value!r}.")
        return value if fits else default

    def _settings(self, value: Any, where: str) -> Mapping[str, Any]:
        given = value if isinstance(value, str) else self._group(value, where)
        return plan_rules.settings(given, f"{self._path}: {where}", self._mistakes)

    def _run(
        self, where: str, entry: Mapping[str, Any], more: Collection[str] = (), hours: bool = False
    ) -> RunSettings:
        """Returns a run's settings. `more`: keys that the caller reads."""
        self._keys(entry, (*RUN_KEYS, *(["hours"] if hours else []), *more), f"{self._path}: {where}")
        run = RunSettings(
            self._value(entry, "steps", 0, f"{where}."),
            self._value(entry, "hours", 0.0, f"{where}.") if hours else 0.0,
            self._settings(entry.get("settings"), f"{where}.settings"),
        )
        if run.steps and run.hours:
            self._wrong(f"{where} has both steps and hours. Give one of them.")
        return run

    def _teacher(self, task: str, entry: Any) -> PlannedTeacher:
        where = f"teachers.{task}"
        self._check_task(where, task)
        group = self._group(entry, where)
        model = self._value(group, "model", "", f"{where}.")
        if model and len(group) > 1:
            self._wrong(f"{where}: a model that exists is not trained. Remove {', '.join(set(group) - {'model'})}.")
        return PlannedTeacher(model, self._run(where, group, more=("model",)))

    def _check_task(self, where: str, task: str) -> None:
        if task not in discover():
            self._wrong(f"{where}: {task!r} is not a task.{nearest(task, discover())} Known: {', '.join(discover())}.")

    def _dataset(self, where: str, name: str, entry: Any, more: Collection[str] = ()) -> PlannedDataset:
        """Returns a dataset. `more`: keys that the caller reads."""
        group = self._group(entry, where)
        form = group.get("format", "")
        own = {key: value for key, value in group.items() if key not in (*DATASET_KEYS, *more)}
        for problem in formats.problems(where, form, own):
            self._wrong(problem)
        validation, share = self._validation(where, group.get("validation", VALIDATION_SHARE), "validation" in group)
        if validation is not None and form in (*formats.formats(), formats.RECORDS):
            whole = validation if form == formats.RECORDS else {**own, **validation}
            for problem in formats.problems(f"{where}.validation", form, whole):
                self._wrong(problem)
        if form == formats.RECORDS and validation is None:
            if share > 0:
                self._wrong(f"{where}: records are not divided. Write validation: {{records: DIR}}, or false.")
            share = 0.0
        is_trained_on = self._value(group, "train", True, f"{where}.")
        if not is_trained_on and validation is None:
            self._wrong(f"{where}: train: false leaves only its validation data; say which: validation: {{...}}.")
        if is_trained_on and validation == {}:
            self._wrong(f"{where}: validation: {{}} leaves no photo to train on. Change an option, or give a share.")
        return PlannedDataset(name, str(form), own, validation, share, is_trained_on)

    def _validation(self, where: str, value: Any, given: bool) -> tuple[Mapping[str, Any] | None, float]:
        """Returns the options of the validation data, and the share to set apart."""
        if isinstance(value, dict):
            return value, 0.0
        if value is False:
            return None, 0.0
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < 1:
            self._wrong(
                f"{where}.validation must be a share between 0 and 1, a group of options that differ, or false, "
                f"not {value!r}."
            )
            return None, 0.0
        return None, float(value) if given else -1.0

    def _compared(self, name: str, entry: Any, datasets: Collection[str]) -> ComparedStudent:
        where = f"compare.{name}"
        group = self._group(entry, where)
        tasks, chosen = self._list(group, "tasks", where), self._list(group, "datasets", where)
        for task in tasks:
            self._check_task(f"{where}.tasks", task)
        for dataset in chosen:
            if dataset not in datasets:
                known = f"{nearest(dataset, datasets)} Known: {', '.join(datasets)}."
                self._wrong(f"{where}.datasets: {dataset!r} is not a dataset of the plan.{known}")
        if name in (*ROWS, "scratch") or name.startswith("teacher-"):
            self._wrong(f"{where}: this name has a meaning of its own. Give another one.")
        run = self._run(where, group, more=("tasks", "datasets", "labels"))
        return ComparedStudent(run, tasks, chosen, self._value(group, "labels", True, f"{where}."))

    def _list(self, group: Mapping[str, Any], key: str, where: str) -> tuple[str, ...]:
        """Returns the value of a key that is a list of texts, or one text."""
        value = group.get(key, [])
        texts = value if isinstance(value, list) else [value]
        if not all(isinstance(text, str) for text in texts):
            self._wrong(f"{where}.{key} must be a list of names, not {value!r}.")
            return ()
        return tuple(texts)

    def _transfer(self, name: str, entry: Any, compared: Collection[str]) -> PlannedTransfer:
        where = f"transfer.{name}"
        own = ("task", "seeds", "rows", *RUN_KEYS)
        group = self._group(entry, where)
        tasks = self._list(group, "task", where)
        if not tasks:
            self._wrong(f"{where}: 'task' is missing. Write for instance task: depth, or task: [depth, normals]")
        for task in tasks:
            self._check_task(f"{where}.task", task)
        dataset = self._dataset(where, name, entry, own)
        run = self._run(where, {key: group[key] for key in RUN_KEYS if key in group})
        seeds = self._value(group, "seeds", 1, f"{where}.")
        rows = self._list(group, "rows", where) or PlannedTransfer.rows
        known = (*ROWS, *compared)
        for row in rows:
            if row not in known:
                self._wrong(f"{where}.rows: no such row: {row}.{nearest(row, known)} Known: {', '.join(known)}.")
        return PlannedTransfer(dataset, tasks, run, seeds, rows)
