"""Reads the file of a plan. Nothing here needs TensorFlow, so mistakes in the file are found at once."""

from __future__ import annotations

import dataclasses
import os
import re
import sys
from collections.abc import Callable, Collection, Mapping
from typing import Any, TypeVar

from must_tf.common import run_files
from must_tf.common.errors import Mistakes, nearest
from must_tf.common.text import BRIEF, brief
from must_tf.config import yaml_files
from must_tf.loop import formats, plan_rules, variables
from must_tf.loop.plan import (
    ALL,
    DATASET_KEYS,
    KEYS,
    MOST,
    ROWS,
    RUN_KEYS,
    TRAINED_KEYS,
    VALIDATION_SHARE,
    ComparedStudent,
    Plan,
    PlannedDataset,
    PlannedTeacher,
    PlannedTransfer,
    RunSettings,
)
from must_tf.runs import start
from must_tf.tasks import names

LARGEST = sys.float_info.max
LONGEST = 100  # letters of a name
NAME = re.compile(rf"[A-Za-z0-9][A-Za-z0-9_.-]{{0,{LONGEST - 1}}}")  # names are also folders
KINDS = {str: "a text", bool: "true or false", int: "a whole number above 0", float: "a number above 0"}  # of a value

T = TypeVar("T", bool, int, float, str)
Entry = TypeVar("Entry")


def read(path: str, out: str = "") -> Plan:
    """Reads a plan file and checks its settings, too.

    Args:
      path: of the YAML file.
      out: used instead of the file's `out`, unless empty.

    Raises:
      UserError: all mistakes in the file, each with its key.
    """
    plan, mistakes = parse(path, out)
    plan_rules.check_settings(plan, mistakes)
    mistakes.raise_all()
    return plan


def parse(path: str, out: str = "") -> tuple[Plan, Mistakes]:
    """Reads a plan file without TensorFlow, so config values are not checked yet.

    Returns:
      The plan without the parts that have mistakes, and the mistakes.

    Raises:
      UserError: the file does not exist, or is not YAML.
    """
    content = yaml_files.read_yaml(path)
    mistakes = Mistakes()
    expanded = variables.expanded(content, path, mistakes)
    return Reader(path, expanded, mistakes).plan(out), mistakes


class Reader:
    """Turns the content of a plan file into a Plan and collects the mistakes."""

    def __init__(self, path: str, content: Mapping[str, Any], mistakes: Mistakes):
        self._path, self._content = path, content
        self._mistakes = mistakes
        self._files: dict[str, str] = {}  # key of settings -> the file that they are in

    def plan(self, out: str = "") -> Plan:
        """Returns the plan without the parts that have mistakes."""
        content = self._content
        self._keys(content, KEYS, self._path)
        given = self._named("datasets", required=True)
        compared, teachers = self._group(content.get("compare"), "compare"), self._named("teachers")
        plan = Plan(
            path=self._path,
            out=out or self._value(content, "out", "") or self._missing("out", "runs/home"),
            title=self._value(content, "title", os.path.splitext(os.path.basename(self._path))[0]),
            datasets=self._sound(given, lambda name, entry: self._dataset(f"datasets.{name}", name, entry)),
            teachers=self._sound(
                {task: one for task, one in teachers.items() if task != ALL},
                lambda task, entry: self._teacher(task, entry, given),
            ),
            every_teacher=self._run(f"teachers.{ALL}", self._group(teachers.get(ALL), f"teachers.{ALL}")),
            confidence=self._value(content, "confidence", False),
            half_maps=self._value(content, "half_maps", False),
            start=self._value(content, "start", start.RANDOM),
            student=self._run("student", self._group(content.get("student"), "student"), hours=True),
            compare=self._sound(self._named("compare"), lambda name, entry: self._compared(name, entry, given)),
            transfer=self._sound(self._named("transfer"), lambda name, entry: self._transfer(name, entry, compared)),
            export=self._value(content, "export", False),
            settings=self._settings(content.get("settings"), "settings"),
        )
        for problem in plan_rules.name_problems(given, self._group(content.get("transfer"), "transfer")):
            self._wrong(problem)
        if "://" in plan.out:
            self._wrong(f"out: {plan.out} must be a local folder, or a mounted one.")
        elif problem := run_files.pattern_problem(plan.out):
            self._wrong(f"out: {problem}")
        return dataclasses.replace(plan, settings_files=self._files, is_whole=not self._mistakes.problems)

    def _sound(self, entries: Mapping[str, Any], make: Callable[[str, Any], Entry]) -> dict[str, Entry]:
        """Returns what is made of the entries, without those that have mistakes."""
        sound: dict[str, Entry] = {}
        for name, entry in entries.items():
            before = len(self._mistakes.problems)
            made = make(name, entry)
            if len(self._mistakes.problems) == before and not variables.unset(entry):
                sound[name] = made
        return sound

    def _wrong(self, problem: str) -> None:
        self._mistakes.problems.append(problem if problem.startswith(self._path) else f"{self._path}: {problem}")

    def _missing(self, key: str, example: str) -> str:
        self._wrong(f"{key!r} is missing. Write for instance {key}: {example}")
        return ""

    def _keys(self, content: Mapping[str, Any], known: Collection[str], where: str) -> None:
        for key in content:
            if key not in known:
                name = str(key)[:BRIEF]
                self._wrong(f"{where}: no such key: {name}.{nearest(name, known)} Known: {', '.join(known)}.")

    def _group(self, value: Any, where: str) -> Mapping[str, Any]:
        if value is None:
            return {}
        if not isinstance(value, dict):
            self._wrong(f"{where} must be a group of keys, like {{steps: 1000}}, not {brief(value)}.")
            return {}
        return value

    def _named(self, key: str, required: bool = False) -> Mapping[str, Any]:
        """Returns the entries of a group whose keys are names."""
        entries = self._group(self._content.get(key), key)
        if required and not entries:
            self._missing(key, "{photos: {format: images, root: photos}}")
        for name in entries:
            if not isinstance(name, str) or not NAME.fullmatch(name):
                self._wrong(
                    f"{key}: {brief(name)} is also the name of a folder. Use letters, digits, '.', '_' and '-', at "
                    f"most {LONGEST} of them."
                )
        return {str(name)[:LONGEST]: entry for name, entry in entries.items()}

    def _value(self, content: Mapping[str, Any], key: str, default: T, where: str = "") -> T:
        """Returns the value of a key, which has the type of the default; `where` ends with a dot."""
        value, kind = content.get(key, default), type(default)
        fits = isinstance(value, (int, float) if kind is float else kind) and isinstance(value, bool) == (kind is bool)
        if fits and kind in (int, float) and key in content:
            fits = 0 < value <= MOST.get(key, LARGEST)
        if not fits:
            most = f" and at most {MOST[key]:,}" if key in MOST else ""
            self._wrong(f"{where}{key} must be {KINDS[kind]}{most}, not {brief(value)}.")
        return value if fits else default

    def _settings(self, value: Any, where: str) -> Mapping[str, Any]:
        if not isinstance(value, str):
            return self._group(value, where)
        self._files[where] = value
        with self._mistakes.collected(), formats.named(f"{self._path}: {where}"):
            return yaml_files.read_yaml(value)
        return {}

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

    def _teacher(self, task: str, entry: Any, datasets: Collection[str]) -> PlannedTeacher:
        where = f"teachers.{task}"
        self._check_task(where, task)
        group = self._group(entry, where)
        model = self._value(group, "model", "", f"{where}.")
        trained = sorted({*group} - {"model", "labels"})
        if model and trained:
            self._wrong(f"{where}: a model that exists is not trained. Remove {', '.join(trained)}.")
        labels = self._datasets(group, "labels", where, datasets) if "labels" in group else None
        return PlannedTeacher(model, self._run(where, group, more=("model", "labels")), labels)

    def _check_task(self, where: str, task: str) -> None:
        if task not in names():
            self._wrong(f"{where}: {brief(task)} is not a task.{nearest(task, names())} Known: {', '.join(names())}.")

    def _dataset(self, where: str, name: str, entry: Any, more: Collection[str] = ()) -> PlannedDataset:
        """Returns a dataset. `more`: the keys of a transfer."""
        group = self._group(entry, where)
        form = group.get("format", "")
        keys = (*DATASET_KEYS, *(more or TRAINED_KEYS))
        own = {key: value for key, value in group.items() if key not in keys}
        for problem in formats.problems(where, form, own, keys):
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
            self._wrong(
                f"{where}: train: false leaves only its validation data; say which: validation: {{...}}, or {{}}: all."
            )
        if is_trained_on and validation == {}:
            self._wrong(f"{where}: validation: {{}} leaves no photo to train on. Change an option, or give a share.")
        repeat = self._value(group, "repeat", 1, f"{where}.")
        if repeat > 1 and not is_trained_on:
            self._wrong(f"{where}.repeat: it is for datasets that a student is trained on. Leave it out.")
        return PlannedDataset(name, str(form), own, validation, share, is_trained_on, repeat)

    def _validation(self, where: str, value: Any, given: bool) -> tuple[Mapping[str, Any] | None, float]:
        """Returns the options of the validation data, and the share to set apart."""
        if isinstance(value, dict):
            return value, 0.0
        if value is False:
            return None, 0.0
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < 1:
            self._wrong(
                f"{where}.validation must be a share between 0 and 1, a group of options that differ, or false, "
                f"not {brief(value)}."
            )
            return None, 0.0
        return None, float(value) if given else -1.0

    def _compared(self, name: str, entry: Any, datasets: Collection[str]) -> ComparedStudent:
        where = f"compare.{name}"
        group = self._group(entry, where)
        tasks, chosen = self._list(group, "tasks", where), self._datasets(group, "datasets", where, datasets)
        for task in tasks:
            self._check_task(f"{where}.tasks", task)
        if name in (*ROWS, "scratch") or name.startswith("teacher-"):
            self._wrong(f"{where}: this name has a meaning of its own. Give another one.")
        run = self._run(where, group, more=("tasks", "datasets", "labels"))
        return ComparedStudent(run, tasks, chosen, self._value(group, "labels", True, f"{where}."))

    def _datasets(self, group: Mapping[str, Any], key: str, where: str, datasets: Collection[str]) -> tuple[str, ...]:
        """Returns the value of a key that lists datasets of the plan."""
        chosen = self._list(group, key, where)
        for dataset in chosen:
            if dataset not in datasets:
                known = f"{nearest(dataset, datasets)} Known: {', '.join(datasets)}."
                self._wrong(f"{where}.{key}: {brief(dataset)} is not a dataset of the plan.{known}")
        return chosen

    def _list(self, group: Mapping[str, Any], key: str, where: str) -> tuple[str, ...]:
        """Returns the value of a key that is a list of texts, or one text."""
        value = group.get(key, [])
        texts = value if isinstance(value, list) else [value]
        if not all(isinstance(text, str) for text in texts):
            self._wrong(f"{where}.{key} must be a list of names, not {brief(value)}.")
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
                self._wrong(
                    f"{where}.rows: no such row: {row[:BRIEF]}.{nearest(row, known)} Known: {', '.join(known)}."
                )
        return PlannedTransfer(dataset, tasks, run, seeds, rows)
