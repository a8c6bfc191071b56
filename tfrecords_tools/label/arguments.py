"""What the command line of `must-records label` asks for, checked as a whole before any weights are loaded."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import NamedTuple

import tensorflow as tf

from must_tf.common.errors import Mistakes, UserError, nearest
from must_tf.data import manifest, record
from must_tf.tasks import discover
from tfrecords_tools import teachers


class Asked(NamedTuple):
    """What the command line asks for."""

    teachers: list[teachers.Description]
    files: list[str]  # input shards, sorted
    directory: str  # that they all lie in
    replace: frozenset[str] = frozenset()  # tasks whose labels by other teachers are replaced


def parse_teachers(values: Sequence[str], mistakes: Mistakes) -> dict[str, list[str]]:
    """["depth=runs/a", ...] -> {path: tasks}, each task once; what is wrong goes to `mistakes`."""
    parsed: dict[str, list[str]] = {}
    for value in values:
        task, _, path = value.partition("=")
        if task not in discover():
            hint = nearest(task, discover())
            mistakes.found.append(f"--teacher {value}: no task {task!r}.{hint} Write TASK=PATH.")
        elif not path:
            mistakes.found.append(f"--teacher {value}: no path. Write {task}=PATH.")
        elif any(task in tasks for tasks in parsed.values()):
            mistakes.found.append(f"--teacher {task} is given twice; one teacher per task.")
        else:
            parsed.setdefault(path.rstrip("/"), []).append(task)
    if not values:
        mistakes.found.append("no --teacher; give at least one TASK=PATH.")
    return parsed


def asked(records: str, given: Sequence[str], replace: Sequence[str] = ()) -> Asked:
    """Checks the command line and the teachers, all of it, before any weights are loaded.

    Args:
      records: a glob.
      given: of --teacher.
      replace: of --replace.

    Raises:
      UserError: one line per mistake.
    """
    mistakes = Mistakes()
    files = sorted(tf.io.gfile.glob(records))
    directories = {os.path.dirname(path) for path in files}
    if len(files) == 1 and tf.io.gfile.isdir(files[0]):
        mistakes.found.append(f"--records={records!r} is a folder; give its files in quotes: '{records}/*.tfrecord'")
        directories = set()
    if not files:
        mistakes.found.append(f"--records={records!r} matches no file. Is the path right, and in quotes?")
    if len(directories) > 1:
        mistakes.found.append(
            f"--records={records!r} spans {len(directories)} folders; label one record set at a time."
        )
    parsed = parse_teachers(given, mistakes)
    _check_replaced(replace, {task for tasks in parsed.values() for task in tasks}, mistakes)
    for directory in directories if len(directories) == 1 else ():
        with mistakes.noted():
            _check_whole(directory, files)
            _check_dependents(directory, replace)
    described = _described(parsed, mistakes)
    mistakes.end()
    return Asked(described, files, directories.pop(), frozenset(replace))


def _described(parsed: dict[str, list[str]], mistakes: Mistakes) -> list[teachers.Description]:
    found = []
    for path, tasks in parsed.items():
        _check_needs(path, tasks, mistakes)
        with mistakes.noted():
            found.append(teachers.describe(path, tasks))
    return found


def _check_needs(path: str, tasks: Sequence[str], mistakes: Mistakes) -> None:
    for task in tasks:
        missing = [need for need in discover()[task].needs if need not in tasks]
        if missing:
            mistakes.found.append(
                f"--teacher {task}={path}: {task} belong to the {missing[0]} of the same teacher. "
                f"Add --teacher {missing[0]}={path}"
            )


def _check_replaced(replace: Sequence[str], labelled: set[str], mistakes: Mistakes) -> None:
    for task in replace:
        if task not in labelled:
            hint = nearest(task, labelled)
            mistakes.found.append(f"--replace {task}: no --teacher labels {task!r}.{hint}")
            continue
        mistakes.found += [
            f"--replace {task}: {task} belong to their {need}. Add --replace {need}"
            for need in discover()[task].needs
            if need not in replace
        ]


def _check_dependents(directory: str, replace: Sequence[str]) -> None:
    """What belongs to replaced objects must not stay behind."""
    origins = manifest.read(directory).origins
    for task, spec in discover().items():
        lost = [need for need in spec.needs if need in replace and task not in replace]
        if lost and any(record.is_pseudo(origin) for origin in origins.get(task, {})):
            raise UserError(
                f"--replace {lost[0]}: {directory} has a teacher's {task} on them, which fit no others. "
                f"Give --teacher {task}=... and --replace {task} as well."
            )


def _check_whole(directory: str, paths: Sequence[str]) -> None:
    listed = {shard["file"] for shard in manifest.read(directory).shards}
    found = {os.path.basename(path) for path in paths}
    if listed != found:
        raise UserError(
            f"{directory}: the manifest lists {len(listed)} shards, --records matches {len(found & listed)} of "
            "them. Label whole record sets: DIR/*.tfrecord"
        )
