"""The arguments of `must label`, all checked before any weights are loaded."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import tensorflow as tf

from must_tf.common.errors import Mistakes, UserError, nearest
from must_tf.common.files import matched_by
from must_tf.common.text import listed
from must_tf.data import manifest, record
from must_tf.tasks import discover
from tfrecords_tools import teachers
from tfrecords_tools.label import confidence
from tfrecords_tools.reading import recordset
from tfrecords_tools.teachers import matching


class LabelRequest(NamedTuple):
    """A request that teachers label a record set.

    Attributes:
      teachers: at most one per task.
      files: input shards, sorted.
      directory: of the input shards.
      replace: tasks for which labels of other teachers are replaced.
      with_confidence, half_maps: see `pipeline.labelled`.
    """

    teachers: list[teachers.Description]
    files: list[str]
    directory: str
    replace: frozenset[str] = frozenset()
    with_confidence: bool = False
    half_maps: bool = False

    @property
    def origins(self) -> dict[str, str]:
        """{task: the origin of its teacher's labels}."""
        return {task: teacher.about.origin for teacher in self.teachers for task in teacher.about.tasks}


def parse_teachers(values: Sequence[str], mistakes: Mistakes) -> dict[str, list[str]]:
    """Parses ["depth=runs/a", ...] to {path: tasks}, each task once. Problems are added to `mistakes`."""
    parsed: dict[str, list[str]] = {}
    for value in values:
        task, _, path = value.partition("=")
        if task not in discover():
            hint = nearest(task, discover())
            mistakes.problems.append(f"--teacher {value}: there is no task {task!r}.{hint} Write TASK=PATH.")
        elif not path:
            mistakes.problems.append(f"--teacher {value}: the path is missing. Write {task}=PATH.")
        elif any(task in tasks for tasks in parsed.values()):
            mistakes.problems.append(f"--teacher {task} is given twice. Give one teacher per task.")
        else:
            parsed.setdefault(path.rstrip("/"), []).append(task)
    if not values:
        mistakes.problems.append("--teacher is missing. Give at least one TASK=PATH.")
    return parsed


def with_maps(tasks: Iterable[str]) -> list[str]:
    """Returns those of the tasks whose labels are maps."""
    specs = {task: discover()[task] for task in tasks}
    return [task for task, one in specs.items() if any(key.endswith("/encoded") for key in one.features(one.Config()))]


def parse_request(
    records: str,
    teacher_values: Sequence[str],
    replace: Sequence[str] = (),
    with_confidence: bool = False,
    half_maps: bool = False,
    classes_of: Sequence[str] = (),
) -> LabelRequest:
    """Checks the command line and describes the teachers, before any weights are loaded.

    Args:
      records: a glob.
      teacher_values: of --teacher.
      replace: of --replace.
      with_confidence, half_maps: --confidence, --half-maps are given.
      classes_of: of --classes-of.

    Raises:
      UserError: one line per mistake.
    """
    mistakes = Mistakes()
    files = matched_by(records)
    directory = _one_directory(records, files, mistakes)
    parsed = parse_teachers(teacher_values, mistakes)
    _check_replaced(replace, {task for tasks in parsed.values() for task in tasks}, mistakes)
    if directory is not None:
        with mistakes.collected():
            _check_whole(directory, files)
            _check_dependents(directory, replace)
    asked = {task for tasks in parsed.values() for task in tasks}
    described = _described(parsed, _classes(directory, classes_of, asked, mistakes), mistakes)
    if with_confidence:
        with mistakes.collected():
            confidence.require(asked)
    if half_maps and asked and not with_maps(asked):
        known = ", ".join(with_maps(discover()))
        mistakes.problems.append(f"--half-maps: it is for {known}, and no --teacher labels these. Leave it out.")
    mistakes.raise_all()
    return LabelRequest(described, files, directory or "", frozenset(replace), with_confidence, half_maps)


def _one_directory(records: str, files: Sequence[str], mistakes: Mistakes) -> str | None:
    """Returns the directory of all files; None, with a mistake noted, if there is not exactly one."""
    directories = {os.path.dirname(path) for path in files}
    if not files:
        mistakes.problems.append(
            f"--records={records!r} matches no file. Check the path, and put the pattern in quotes."
        )
    elif len(files) == 1 and tf.io.gfile.isdir(files[0]):
        mistakes.problems.append(
            f"--records={records!r} is a folder. Give its files, in quotes: {shlex.quote(f'{records}/*.tfrecord')}"
        )
    elif len(directories) > 1:
        mistakes.problems.append(
            f"--records={records!r} matches files in {len(directories)} folders. Label one record set at a time."
        )
    else:
        return directories.pop()
    return None


def _described(
    parsed: Mapping[str, Sequence[str]], classes: Mapping[str, Sequence[str]], mistakes: Mistakes
) -> list[teachers.Description]:
    """Returns the teachers with the classes of the records."""
    descriptions = []
    for path, tasks in parsed.items():
        _check_needs(path, tasks, mistakes)
        with mistakes.collected():
            descriptions.append(matching.matched(teachers.describe(path, tasks), classes))
    return descriptions


def _classes(
    directory: str | None, classes_of: Sequence[str], asked: Iterable[str], mistakes: Mistakes
) -> dict[str, list[str]]:
    """Returns the class names that the labelled records will have, for the tasks whose names do not come from teachers:
    those of the records, or else, for the tasks that are asked for, of the first of `classes_of` that has some.
    """
    tied = {each for task in asked for each in matching.same_names(task)}
    others: dict[str, list[str]] = {}
    for pattern in classes_of:
        with mistakes.collected():
            named = recordset.opened(pattern, "--classes-of").manifest.classes
            known = {task: list(names) for task, names in named.items() if names and task in tied}
            if not known and tied:
                mistakes.problems.append(
                    f"--classes-of: {pattern} has no class names of {listed(sorted(tied))}. Give records with such "
                    "labels, or leave it out."
                )
            others = known | others
    own: dict[str, list[str]] = {}
    with mistakes.collected():
        named = manifest.read(directory).classes if directory is not None else {}
        own = {task: list(names) for task, names in named.items() if names}
    for task, names in others.items():
        if any(own.get(each, names) != names for each in matching.same_names(task)):
            mistakes.problems.append(
                f"--classes-of: {directory} has other {task} classes, which its labels keep. Leave --classes-of out, "
                "or unite the classes of both sets with must merge first."
            )
    return others | own


def _check_needs(path: str, tasks: Sequence[str], mistakes: Mistakes) -> None:
    for task in tasks:
        missing = [need for need in discover()[task].needs if need not in tasks]
        if missing:
            mistakes.problems.append(
                f"--teacher {task}={path}: {task} need the {missing[0]} of the same teacher. "
                f"Add --teacher {shlex.quote(f'{missing[0]}={path}')}"
            )


def _check_replaced(replace: Sequence[str], labelled: set[str], mistakes: Mistakes) -> None:
    for task in replace:
        if task not in labelled:
            hint = nearest(task, labelled)
            mistakes.problems.append(f"--replace {task}: there is no --teacher for {task!r}.{hint}")
            continue
        mistakes.problems += [
            f"--replace {task}: {task} need the {need} of the same teacher. Add --replace {need}"
            for need in discover()[task].needs
            if need not in replace
        ]


def _check_dependents(directory: str, replace: Sequence[str]) -> None:
    """Raises UserError if objects would be replaced, but not the labels that belong to them."""
    origins = manifest.read(directory).origins
    for task, spec in discover().items():
        replaced = [need for need in spec.needs if need in replace and task not in replace]
        if replaced and any(record.is_pseudo(origin) for origin in origins.get(task, {})):
            raise UserError(
                f"--replace {replaced[0]}: {directory} has {task} of another teacher, which would not fit the new "
                f"{replaced[0]}. Add --teacher {task}=... and --replace {task}."
            )


def _check_whole(directory: str, paths: Sequence[str]) -> None:
    listed = {shard["file"] for shard in manifest.read(directory).shards}
    matched = {os.path.basename(path) for path in paths}
    if listed != matched:
        raise UserError(
            f"{directory}: manifest.json lists {len(listed)} shards, but --records matches {len(matched & listed)} of "
            f"them and {len(matched - listed)} other files. Label whole record sets: "
            f"{shlex.quote(f'{directory}/*.tfrecord')}"
        )
