"""A teacher whose classes are matched with those of the records, by name.

| class of | labels of the teacher |
|---|---|
| both | get the records' id |
| the teacher only | boxes are left out, pixels are ignored, and images that most likely show it are not classified |
| the records only | stay unknown: the images count as annotated for the other classes |

A "background" means none of a teacher's classes. If the teacher lacks classes of the records it may be any of these, so
its pixels are ignored, too.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from must_tf.common.errors import Mistakes
from must_tf.common.text import listed
from must_tf.spec import Labels, TaskConfig, first_id
from must_tf.tasks import discover
from tfrecords_tools.reading.class_table import REST, ClassTable
from tfrecords_tools.teachers import About, Description, Predictions, Teacher
from tfrecords_tools.teachers.frames import InputFrame

TaskNames = Mapping[str, Sequence[str]]  # {task: class names in id order}


def matched(description: Description, classes: TaskNames) -> Description:
    """Returns the teacher with the classes of records; the same one if it has them.

    Args:
      description: of the teacher.
      classes: of the records. Tasks without any keep the teacher's.

    Raises:
      UserError: it has none of the classes of a task, or classes are spelled alike and differ.
    """
    about, tables = description.about, {}
    problems: list[str] = []
    for task, names in about.classes.items():
        wanted = next((classes[each] for each in (task, *discover()[task].needs) if classes.get(each)), names)
        if list(wanted) != list(names):
            problems += problems_of(about, task, wanted)
            tables[task] = _table(task, names, wanted)
    Mistakes(dict.fromkeys(problems)).raise_all()
    return Matched(description, tables) if tables else description


def problems_of(about: About, task: str, wanted: Sequence[str]) -> Iterator[str]:
    """Yields why a teacher's classes of a task cannot be matched with those of records, `wanted`."""
    path, names = about.path, about.classes.get(task, ())
    alike = {_letters(name): name for name in wanted if name not in names}
    pairs = {name: alike[_letters(name)] for name in names if name not in wanted and _letters(name) in alike}
    if pairs:
        shown = listed((f"{own!r} and {other!r}" for own, other in pairs.items()), separator="; ")
        (own, other), *_ = pairs.items()
        yield (
            f"{path} and the records spell classes differently: {shown}. Give the teacher's the records' names in its "
            f"adapter file, as in `classes: {{rename: [\"{own}={other}\"]}}`, or the records' the teacher's with "
            f"must merge --same."
        )
    elif names and not {*names} & {*wanted}:
        yield (
            f"{path} has no {task} class of the records. It has {listed(names)}; they have {listed(wanted)}. Rename "
            "classes, in an adapter file with `classes: {rename: [OLD=NEW]}`, or use another teacher."
        )


def _letters(name: str) -> str:
    """Returns a name without what is often written in several ways: case, blanks and signs."""
    return "".join(letter for letter in name.casefold() if letter.isalnum()) or name


def _table(task: str, names: Sequence[str], wanted: Sequence[str]) -> ClassTable:
    lacks = {*wanted} - {*names}
    usable = [name if not (lacks and name == REST.get(task)) else "" for name in names]
    return ClassTable.by_name(usable, wanted)


class Matched(NamedTuple):
    """A teacher with the classes of records. `tables` are by task, for those whose classes differ."""

    description: Description
    tables: dict[str, ClassTable]

    @property
    def about(self) -> About:
        """See `teachers.Description`."""
        about = self.description.about
        classes = about.classes | {task: list(table.names) for task, table in self.tables.items()}
        annotated = {}
        for task, table in self.tables.items():
            known = sorted(place for place in table.places if place >= 0)
            if len(known) < len(table.names):
                annotated[task] = tuple(place + first_id(discover()[task]) for place in known)
        notes = [*about.facts.get("notes", ()), *self._notes()]
        return about._replace(classes=classes, annotated=annotated, facts=about.facts | {"notes": notes})

    def _notes(self) -> Iterator[str]:
        """Yields what does not match, for people."""
        for task, table in self.tables.items():
            names = self.description.about.classes[task]
            unused = [name for name, place in zip(names, table.places, strict=True) if place < 0]
            used = len(names) - len(unused)
            if unused:
                yield f"{task}: {used} of its {len(names)} classes are the records'; left out: {listed(unused)}"
            unknown = [name for place, name in enumerate(table.names) if place not in table.places]
            if unknown:
                yield f"{task}: of the records' classes, it does not know {listed(unknown)}"

    def load(self) -> Teacher:
        """See `teachers.Description`."""
        return MatchedTeacher(self.description.load(), self)


class MatchedTeacher:
    """A loaded teacher with the classes of records."""

    def __init__(self, teacher: Teacher, matched_classes: Matched):
        self._teacher, self._tables = teacher, matched_classes.tables
        self.about = matched_classes.about
        self.configs = {task: self._config(task, config) for task, config in teacher.configs.items()}

    def _config(self, task: str, config: TaskConfig) -> TaskConfig:
        if task not in self._tables:
            return config
        config = copy.copy(config)
        config.classes = self._tables[task].names
        return config

    @property
    def frame(self) -> InputFrame:
        """See `teachers.Teacher`."""
        return self._teacher.frame

    def forward(self, pixels: np.ndarray, info: np.ndarray) -> Predictions:
        """See `teachers.Teacher`."""
        return self._teacher.forward(pixels, info)

    def labels(self, predictions: Predictions, info: np.ndarray, source_id: str, step: int = 1) -> dict[str, Labels]:
        """See `teachers.Teacher`."""
        found = self._teacher.labels(predictions, info, source_id, step)
        return {task: new for task, labels in found.items() if (new := self._matched(task, labels)) is not None}

    def _matched(self, task: str, labels: Labels) -> Labels | None:
        """Returns labels with the records' ids; None if the image most likely shows none of their classes."""
        if task not in self._tables:
            return labels
        table = self._tables[task]
        if "probability" in labels and table.places[int(np.argmax(labels["probability"]))] < 0:
            return None
        return table.relabelled(labels, first_id(discover()[task]))

    def notes(self, predictions: Predictions) -> list[str]:
        """See `teachers.Teacher`."""
        return self._teacher.notes(predictions)
