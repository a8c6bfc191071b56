"""The results of labelling, task by task: computed from the manifests before and after, so that it does not matter
which process or machine did the work."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from must_tf.common.errors import UserError
from must_tf.data import manifest, record
from must_tf.tasks import discover
from tfrecords_tools.label.arguments import LabelRequest
from tfrecords_tools.label.job import EMPTY


class TaskResult(NamedTuple):
    """Numbers of images, for one task that was asked for.

    Attributes:
      labelled: by the teacher, in this folder; in `empty` of them it found nothing.
      replaced: those of `labelled` that had another teacher's labels before.
      real: have real labels.
      partial: had labels of some classes only, real or not, and were left as they are.
      others: have labels of other teachers, or had this teacher's before.
      left: have no labels; `why` gives the reason.
    """

    labelled: int
    empty: int
    replaced: int
    real: int
    partial: int
    others: int
    left: int
    why: str


def require_work(source: manifest.Manifest, request: LabelRequest) -> None:
    """Raises UserError if no image can get labels of any task: the output would be a copy."""
    origins = request.origins
    if not source.records or any(_is_open(source, task, request) for task in origins):
        return
    done = [task for task in origins if manifest.labelled_images(source, task) >= source.records]
    counted = "; ".join(f"{task}: {_shown(source.origins[task])}" for task in done)
    reasons = [f"all {source.records} images already have {', '.join(done)} labels ({counted})"] if done else []
    reasons += [f"no image can get {task}, because {_why(task)}" for task in origins if task not in done]
    raise UserError(
        f"{request.directory}: nothing to do: {'; '.join(reasons)}. "
        "Real labels are never replaced; use --replace TASK for another teacher's."
    )


def _is_open(source: manifest.Manifest, task: str, request: LabelRequest) -> bool:
    """Returns True if some image may get labels of this task, as far as the counts tell."""
    own = request.origins[task]
    return _has_room(source, task, request, own) and all(_has_room(source, tied, request) for tied in _tied(task))


def _has_room(source: manifest.Manifest, task: str, request: LabelRequest, own: str = "") -> bool:
    """Returns True if some image has no labels of this task, or has some that may be replaced.

    Labels of the origin `own` do not count as replaceable: the teacher would find the same again.
    """
    others = [origin for origin in source.origins.get(task, {}) if record.is_pseudo(origin) and origin != own]
    return manifest.labelled_images(source, task) < source.records or (task in request.replace and bool(others))


def _tied(task: str) -> list[str]:
    """Returns the tasks with the same objects. If an image has labels of one of these, it cannot get this task's."""
    return [*discover()[task].needs, *(name for name, spec in discover().items() if task in spec.needs)]


def _why(task: str) -> str:
    """Returns why an image that has no labels of this task gets none."""
    needs = discover()[task].needs
    if needs:
        return f"its {needs[0]} labels come from another source"
    return f"it has {_tied(task)[0]} from another source" if _tied(task) else ""


def per_task(source: manifest.Manifest, result: manifest.Manifest, request: LabelRequest) -> dict[str, TaskResult]:
    """Returns the results of the tasks that were asked for.

    Args:
      source: the manifest of the input.
      result: the manifest of the labelled records.
      request: which teachers labelled.
    """
    partly = {task for teacher in request.teachers for task in teacher.about.annotated}
    return {
        task: _task_result(task, origin, (source, result), task in partly) for task, origin in request.origins.items()
    }


def _task_result(
    task: str, own: str, manifests: tuple[manifest.Manifest, manifest.Manifest], is_partial: bool
) -> TaskResult:
    """Returns a task's result; `is_partial` if the teacher labels some of the classes only."""
    source, result = manifests
    before, after = source.origins.get(task, {}), result.origins.get(task, {})
    real = sum(count for origin, count in after.items() if not record.is_pseudo(origin))
    labelled = after.get(own, 0) - before.get(own, 0)
    left = result.records - sum(after.values())
    return TaskResult(
        labelled=labelled,
        empty=result.notes.get(EMPTY.format(task=task), {}).get("count", 0),
        replaced=sum(count - after.get(origin, 0) for origin, count in before.items() if origin != own),
        real=real,
        partial=manifest.limited_images(result, task, "partial") - (labelled if is_partial else 0),
        others=sum(after.values()) - real - labelled,
        left=left,
        why=_why(task) if left else "",
    )


def lines(results: Mapping[str, TaskResult], request: LabelRequest) -> list[str]:
    """Returns a line per task, for people."""
    paths = {task: teacher.about.path for teacher in request.teachers for task in teacher.about.tasks}
    nothing = [
        f"WARNING: {paths[task]} has labelled no image for {task}, and {result.left} have no label. Either they show "
        "none of its classes, or it is not used as it was trained; try it with must evaluate."
        for task, result in results.items()
        if not result.labelled and not result.others and result.left and not result.why
    ]
    return [*(f"  {task} by {paths[task]}: {_line(result)}" for task, result in results.items()), *nothing]


def _line(result: TaskResult) -> str:
    empty = f", {result.empty} of them empty" if result.empty else ""
    parts = [f"{result.labelled} images labelled{empty}"]
    if result.replaced:
        parts.append(f"{result.replaced} of them replace another teacher's labels")
    if result.real:
        parts.append(f"{result.real} have real labels")
    if result.partial:
        parts.append(f"{result.partial} have labels of some classes only and were left as they are")
    if result.others:
        parts.append(f"{result.others} already had a teacher's labels")
    if result.left:
        why = f", because {result.why}" if result.why else ""
        parts.append(f"{result.left} left without labels{why}")
    return "; ".join(parts)


def content(results: Mapping[str, TaskResult]) -> dict[str, dict[str, Any]]:
    """Returns the results as JSON objects, for programs."""
    return {task: result._asdict() for task, result in results.items()}


def teacher_notes(request: LabelRequest) -> dict[str, list[str]]:
    """Returns {path: notes} of the teachers whose descriptions were repaired."""
    notes = {teacher.about.path: list(teacher.about.facts.get("notes", ())) for teacher in request.teachers}
    return {path: of_path for path, of_path in notes.items() if of_path}


def _shown(origins: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {origin}" for origin, count in origins.items())
