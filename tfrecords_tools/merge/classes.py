"""Unites the classes of several record sets by name: classes with the same name are the same class, others are not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from must_tf.common.errors import UserError, nearest
from must_tf.spec import TaskSpec, first_id
from must_tf.tasks import naming_task

TaskNames = Mapping[str, Sequence[str]]  # task -> class names in id order


class UnitedClasses(NamedTuple):
    """The classes of the merged set.

    Attributes:
      names: {task: class names in id order}: the first set's, then those that each further set adds.
      ids: for each set {task: {its id: the merged id}}.
    """

    names: dict[str, tuple[str, ...]]
    ids: list[dict[str, dict[int, int]]]


def parse_same(values: Sequence[str], sets: Sequence[TaskNames]) -> dict[str, str]:
    """Parses the values of --same: ["aeroplane=airplane", ...] -> {"aeroplane": "airplane"}.

    Raises:
      UserError: a value has another form, contains a class that no set has, or contradicts another value.
    """
    known = {name for task_names in sets for names in task_names.values() for name in names}
    same: dict[str, str] = {}
    for value in values:
        old, _, new = value.partition("=")
        for name in (old, new):
            if name not in known:
                raise UserError(f"--same {value}: no set has a class {name!r}.{nearest(name, known)} Write OLD=NEW.")
        if same.setdefault(old, new) != new:
            raise UserError(f"--same {old} is given twice with different new names. Give one.")
    chained = sorted(same.keys() & set(same.values()))
    if chained:
        raise UserError(f"--same: {chained[0]!r} is both an old and a new name. Give the final name for both classes.")
    return same


def unite(sets: Sequence[TaskNames], same: Mapping[str, str], specs: Mapping[str, TaskSpec]) -> UnitedClasses:
    """Unites the classes of all sets.

    Args:
      sets: the class names of each set, from its manifest.
      same: {old name: new name}.
      specs: `must_tf.tasks.discover()`.
    """
    united: dict[str, dict[str, None]] = {}
    for names in sets:
        for task in _ordered(names, specs):
            known = united.setdefault(naming_task(task), {})
            known.update(dict.fromkeys(same.get(name, name) for name in names[task]))
    ids = [_ids(names, united, same, specs) for names in sets]
    tasks = dict.fromkeys(task for names in sets for task in _ordered(names, specs))
    return UnitedClasses({task: tuple(united[naming_task(task)]) for task in tasks}, ids)


def _ordered(names: TaskNames, specs: Mapping[str, TaskSpec]) -> list[str]:
    """Returns the set's tasks in the contract's order, so that the result does not depend on a manifest's order."""
    return [task for task in specs if names.get(task)]


def _ids(
    names: TaskNames, united: Mapping[str, dict[str, None]], same: Mapping[str, str], specs: Mapping[str, TaskSpec]
) -> dict[str, dict[int, int]]:
    ids = {}
    for task in _ordered(names, specs):
        first = first_id(specs[task])
        places = {name: place for place, name in enumerate(united[naming_task(task)])}
        ids[task] = {first + old: first + places[same.get(name, name)] for old, name in enumerate(names[task])}
    return ids


def mapping(sets: Sequence[TaskNames], united: UnitedClasses) -> list[dict[str, dict[str, list[int]]]]:
    """Returns for each set {task: {class name: [its id, the merged id]}}, for people and programs."""
    return [
        {task: {name: [old, ids[task][old]] for name, old in zip(names[task], ids[task], strict=True)} for task in ids}
        for names, ids in zip(sets, united.ids, strict=True)
    ]
