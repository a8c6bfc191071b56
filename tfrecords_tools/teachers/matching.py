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
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from must_tf.common.errors import Mistakes
from must_tf.common.text import listed
from must_tf.spec import Labels, TaskConfig, first_id
from must_tf.tasks import discover, naming_task
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
        wanted = next((classes[each] for each in same_names(task) if classes.get(each)), names)
        if list(wanted) != list(names):
            problems += problems_of(about, task, wanted) if is_owner(about, task) else ()
            tables[task] = _table(task, names, wanted)
    Mistakes(problems).raise_all()
    return Matched(description, tables) if tables else description


def same_names(task: str) -> tuple[str, ...]:
    """Returns the task and those whose class names are the same, because they share their objects."""
    name = naming_task(task)
    return (task, *(each for each in discover() if each != task and naming_task(each) == name))


def is_owner(about: About, task: str) -> bool:
    """Returns False for a task whose class names are said already, because the teacher labels what it needs, too."""
    name = naming_task(task)
    return name == task or name not in about.classes


def problems_of(about: About, task: str, wanted: Sequence[str]) -> Iterator[str]:
    """Yields why a teacher's classes of a task cannot be matched with those of records, `wanted`."""
    path, names = about.path, about.classes.get(task, ())
    alike = {_letters(name): name for name in wanted if name not in names}
    pairs = {name: alike[_letters(name)] for name in names if name not in wanted and _letters(name) in alike}
    if pairs:
        shown = listed((f"{own!r} and {other!r}" for own, other in pairs.items()), separator="; ")
        (own, other), *_ = pairs.items()
        unknown = [name for name in wanted if name not in names and name not in pairs.values()]
        more = f" Of the records' classes, it does not know {quoted(unknown)} either." if unknown else ""
        yield (
            f"{path} and the records spell classes differently: {shown}. Give the teacher's the records' names in an "
            f"adapter file, as in `classes: {{rename: [\"{own}={other}\"]}}`, or the records' the teacher's: convert "
            f'their dataset with --rename "{other}={own}".{more}'
        )
    elif names and not {*_usable(task, names, wanted)} & {*wanted}:
        yield (
            f"{path} has no {task} class of the records. It has {quoted(names)}; they have {quoted(wanted)}. Rename "
            "classes, the teacher's in an adapter file with `classes: {rename: [OLD=NEW]}` or the records' with must "
            "convert --rename, or use another teacher."
        )


def quoted(names: Sequence[str]) -> str:
    """Lists class names, which may contain commas."""
    return listed(map(repr, names))


def _letters(name: str) -> str:
    """Returns a name without what is often written in several ways: case, blanks and signs."""
    letters = unicodedata.normalize("NFKC", name).casefold()
    # Vowels of some scripts are marks: they are part of the word.
    return "".join(one for one in letters if one.isalnum() or unicodedata.category(one).startswith("M")) or name


def _usable(task: str, names: Sequence[str], wanted: Sequence[str]) -> list[str]:
    """Returns a teacher's names, with "" for a background that may be a class which the teacher lacks."""
    lacks = {*wanted} - {*names}
    return [name if not (lacks and name == REST.get(task)) else "" for name in names]


def _table(task: str, names: Sequence[str], wanted: Sequence[str]) -> ClassTable:
    return ClassTable.by_name(_usable(task, names, wanted), wanted)


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
        learned = {task: self._learned(task, counts) for task, counts in about.facts.get("trained_on", {}).items()}
        facts = about.facts | {"notes": notes, "trained_on": learned}
        return about._replace(classes=classes, annotated=annotated, facts=facts)

    def _learned(self, task: str, counts: Mapping[str, Any]) -> dict[str, Any]:
        """Returns `trained_on` of a task for the classes that are used: labels are judged by the objects per image."""
        if task not in self.tables or counts.get("objects") is None:
            return dict(counts)
        used = {self.tables[task].names[place] for place in self.tables[task].places if place >= 0}
        classes = {name: count for name, count in counts["classes"].items() if name in used}
        return dict(counts) | {"objects": sum(classes.values()), "classes": classes}

    def _notes(self) -> Iterator[str]:
        """Yields what does not match, for people."""
        own = self.description.about
        for task, table in ((task, table) for task, table in self.tables.items() if is_owner(own, task)):
            names = own.classes[task]
            unused = [name for name, place in zip(names, table.places, strict=True) if place < 0]
            used = len(names) - len(unused)
            if unused:
                yield f"{task}: {used} of its {len(names)} classes are the records'; left out: {quoted(unused)}"
            unknown = [name for place, name in enumerate(table.names) if place not in table.places]
            if unknown:
                yield f"{task}: of the records' classes, it does not know {quoted(unknown)}"

    def load(self) -> Teacher:
        """See `teachers.Description`."""
        return MatchedTeacher(self.description.load(), self)


class MatchedTeacher:
    """A loaded teacher with the classes of records."""

    def __init__(self, teacher: Teacher, matched_classes: Matched):
        self.inner, self._tables = teacher, matched_classes.tables
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
        return self.inner.frame

    def forward(self, pixels: np.ndarray, info: np.ndarray) -> Predictions:
        """See `teachers.Teacher`."""
        return self.inner.forward(pixels, info)

    def labels(self, predictions: Predictions, info: np.ndarray, source_id: str, step: int = 1) -> dict[str, Labels]:
        """See `teachers.Teacher`."""
        found = self.inner.labels(predictions, info, source_id, step)
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
        return self.inner.notes(predictions)
