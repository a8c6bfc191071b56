"""Classes of several record sets, united by name: what is called the same is the same, and nothing else is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from must_tf.common.errors import UserError, nearest
from must_tf.spec import TaskSpec, first_id

Names = Mapping[str, Sequence[str]]  # task -> class names in id order


class United(NamedTuple):
    """The classes of the merged set.

    Attributes:
      names: {task: class names in id order}: the first set's, then what the next ones add.
      ids: for each set {task: {its id: the merged id}}, of the tasks whose ids are their own.
    """

    names: dict[str, tuple[str, ...]]
    ids: list[dict[str, dict[int, int]]]


def parse_same(values: Sequence[str], sets: Sequence[Names]) -> dict[str, str]:
    """["aeroplane=airplane", ...] -> {"aeroplane": "airplane"}.

    Raises:
      UserError: not of that form, or a name that no set has.
    """
    known = {name for names in sets for each in names.values() for name in each}
    same: dict[str, str] = {}
    for value in values:
        old, _, new = value.partition("=")
        for name in (old, new):
            if name not in known:
                raise UserError(f"--same {value}: no set has a class {name!r}.{nearest(name, known)} Write OLD=NEW.")
        if same.setdefault(old, new) != new:
            raise UserError(f"--same {old} is given twice; one new name each.")
    chained = sorted(same.keys() & set(same.values()))
    if chained:
        raise UserError(f"--same: {chained[0]!r} is both an old and a new name; give the last name at once.")
    return same


def unite(sets: Sequence[Names], same: Mapping[str, str], specs: Mapping[str, TaskSpec]) -> United:
    """The classes of all sets.

    Args:
      sets: of each set, as its manifest has them.
      same: names that are to be read as another.
      specs: `must_tf.tasks.discover()`.
    """
    united: dict[str, dict[str, None]] = {}
    for names in sets:
        for task in _ordered(names, specs):
            known = united.setdefault(owner(task, specs), {})
            known.update(dict.fromkeys(same.get(name, name) for name in names[task]))
    ids = [_ids(names, united, same, specs) for names in sets]
    tasks = dict.fromkeys(task for names in sets for task in _ordered(names, specs))
    return United({task: tuple(united[owner(task, specs)]) for task in tasks}, ids)


def _ordered(names: Names, specs: Mapping[str, TaskSpec]) -> list[str]:
    """The set's tasks in the contract's order, so that the result does not depend on a manifest's."""
    return [task for task in specs if names.get(task)]


def owner(task: str, specs: Mapping[str, TaskSpec]) -> str:
    """The task that a task's ids belong to: masks have their objects' ids, which are detection's."""
    while specs[task].needs and not ((ids := specs[task].class_ids) and ids.recode):
        task = specs[task].needs[0]
    return task


def _ids(
    names: Names, united: Mapping[str, dict[str, None]], same: Mapping[str, str], specs: Mapping[str, TaskSpec]
) -> dict[str, dict[int, int]]:
    found = {}
    for task in _ordered(names, specs):
        first = first_id(specs[task])
        places = {name: place for place, name in enumerate(united[owner(task, specs)])}
        found[task] = {first + old: first + places[same.get(name, name)] for old, name in enumerate(names[task])}
    return found


def mapping(sets: Sequence[Names], united: United) -> list[dict[str, dict[str, list[int]]]]:
    """For each set {task: {class name: [its id, the merged id]}}, for people and programs."""
    return [
        {task: {name: [old, ids[task][old]] for name, old in zip(names[task], ids[task], strict=True)} for task in ids}
        for names, ids in zip(sets, united.ids, strict=True)
    ]
