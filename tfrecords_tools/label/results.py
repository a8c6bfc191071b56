"""What labelling came to, task by task, from the manifests before and after: the same whoever did the work."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from must_tf.common.errors import UserError
from must_tf.data import manifest, record
from must_tf.tasks import discover
from tfrecords_tools.label.arguments import Asked
from tfrecords_tools.label.job import EMPTY


class TaskResult(NamedTuple):
    """Images, of one task that was asked for.

    Attributes:
      labelled: by the teacher, in this folder; `empty` of them show nothing.
      replaced: of these had another teacher's labels before.
      real: have real labels; `partial` have labels of some of the classes only, which were left as they are.
      others: have labels of other teachers, or had this one's before.
      left: have none; `why`.
    """

    labelled: int
    empty: int
    replaced: int
    real: int
    partial: int
    others: int
    left: int
    why: str


def require_work(source: manifest.Manifest, what: Asked) -> None:
    """Raises UserError where no image can get labels of any task: all that was written would be a copy."""
    tasks = _tasks(what)
    if not source.records or any(_open(source, task, origin, what) for task, origin in tasks.items()):
        return
    whole = [task for task in tasks if manifest.labelled(source, task) >= source.records]
    counted = "; ".join(f"{task}: {_shown(source.origins[task])}" for task in whole)
    said = [f"all {source.records} images are labelled for {', '.join(whole)} already ({counted})"] if whole else []
    said += [f"none of {source.records} images can get {task}: {_why(task)}" for task in tasks if task not in whole]
    raise UserError(
        f"{what.directory}: {'; '.join(said)}. There is nothing to do: real labels are never replaced, other "
        "teachers' by --replace TASK. Use these records."
    )


def _open(source: manifest.Manifest, task: str, origin: str, what: Asked) -> bool:
    """Whether some image may get labels of this task, as far as the counts tell."""
    return _has_room(source, task, what, origin) and all(_has_room(source, one, what) for one in _tied(task))


def _has_room(source: manifest.Manifest, task: str, what: Asked, but: str = "") -> bool:
    """Whether some image has no labels of this task, or none that stay. A teacher finds again what it found: those of
    origin `but` are no reason to look."""
    others = [each for each in source.origins.get(task, {}) if record.is_pseudo(each) and each != but]
    return manifest.labelled(source, task) < source.records or (task in what.replace and bool(others))


def _tied(task: str) -> list[str]:
    """The tasks with the same objects: where somebody has labelled one of these, this one comes no more."""
    return [*discover()[task].needs, *(name for name, spec in discover().items() if task in spec.needs)]


def _why(task: str) -> str:
    """Why an image that has no labels of this task gets none."""
    needs = discover()[task].needs
    if needs:
        return f"their {needs[0]} is somebody else's"
    return f"somebody else's {_tied(task)[0]} lie on them" if _tied(task) else ""


def of(source: manifest.Manifest, result: manifest.Manifest, what: Asked) -> dict[str, TaskResult]:
    """{task: its figures} of the tasks that were asked for.

    Args:
      source: the manifest of what was labelled.
      result: the manifest of the labelled records.
      what: who labelled what.
    """
    return {task: _of(task, origin, source, result) for task, origin in _tasks(what).items()}


def _of(task: str, origin: str, source: manifest.Manifest, result: manifest.Manifest) -> TaskResult:
    before, after = source.origins.get(task, {}), result.origins.get(task, {})
    real = sum(count for each, count in after.items() if not record.is_pseudo(each))
    labelled = after.get(origin, 0) - before.get(origin, 0)
    left = result.records - sum(after.values())
    return TaskResult(
        labelled=labelled,
        empty=result.notes.get(EMPTY.format(task=task), {}).get("count", 0),
        replaced=sum(count - after.get(each, 0) for each, count in before.items() if each != origin),
        real=real,
        partial=manifest.limited(result, task, "partial"),
        others=sum(after.values()) - real - labelled,
        left=left,
        why=_why(task) if left else "",
    )


def lines(results: Mapping[str, TaskResult], what: Asked) -> list[str]:
    """A line per task."""
    paths = {task: one.about.path for one in what.teachers for task in one.about.tasks}
    return [f"  {task} by {paths[task]}: {_line(found)}" for task, found in results.items()]


def _line(found: TaskResult) -> str:
    said = [f"{found.labelled} images labelled" + (f", {found.empty} of them empty" if found.empty else "")]
    said += [f"{found.replaced} of them instead of another teacher's"] if found.replaced else []
    said += [f"{found.real} real"] if found.real else []
    said += [f"{found.partial} with some classes only, left as they are"] if found.partial else []
    said += [f"{found.others} by teachers before"] if found.others else []
    said += [f"{found.left} images left without" + (f": {found.why}" if found.why else "")] if found.left else []
    return "; ".join(said)


def content(results: Mapping[str, TaskResult]) -> dict[str, dict[str, Any]]:
    """For programs."""
    return {task: found._asdict() for task, found in results.items()}


def _tasks(what: Asked) -> dict[str, str]:
    """{task: the origin of its teacher}."""
    return {task: one.about.origin for one in what.teachers for task in one.about.tasks}


def _shown(origins: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {origin}" for origin, count in origins.items())
