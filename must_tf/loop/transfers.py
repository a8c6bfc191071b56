"""The step that compares initial weights: each is fine-tuned on the datasets below a plan's `transfer`."""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from must_tf.loop.records import RecordFolder
from must_tf.loop.settings import RunFacts
from must_tf.loop.steps import Step, Values
from must_tf.runs import start
from must_tf.tasks import discover
from must_tf.transfers.table import SCRATCH

if TYPE_CHECKING:
    from must_tf.loop.trainings import Trainings

TRANSFERS = "transfers"


def steps(trainings: Trainings) -> list[Step]:
    """Returns the step of all transfers; none if the plan has none."""
    plan = trainings.plan
    if not plan.transfer:
        return []
    weights = _weights(trainings)
    table, out = plan.folder("configs", "transfers.yaml"), plan.folder(TRANSFERS)
    columns: dict[str, dict[str, Any]] = {}
    made: dict[str, Callable[[], Values]] = {table: lambda: {"columns": columns}}
    for name, task in ((name, task) for name, one in plan.transfer.items() for task in one.tasks):
        planned = plan.transfer[name]
        column = _column(name, task, planned.tasks)
        whole = [other for other in planned.tasks if task in discover()[other].needs]
        if whole:  # its runs learn this task too
            columns[column] = {"task": task, "runs_of": _column(name, whole[0], planned.tasks)}
            continue
        rows = [row for kind in weights for row in weights[kind] if {kind, row} & {*planned.rows}]
        config = f"transfer-{column}.yaml"
        rows = list(dict.fromkeys(rows))
        columns[column] = {"task": task, "config_file": [config], "rows": rows, "seeds": planned.seeds}
        made[plan.folder("configs", config)] = functools.partial(_values, trainings, name, task)
    wanted = {row for column in columns.values() for row in column.get("rows", ())}
    given = {row: path for group in weights.values() for row, path in group.items() if row in wanted}
    words = ["transfer", "--table", table, *(["--scratch"] if given.pop(SCRATCH, None) is not None else [])]
    words += [word for name, path in given.items() for word in ("--checkpoint", f"{name}={path}")]
    words += ["--gains_of", "student"] if "student" in given else []
    runs = (path for name, path in given.items() if name not in weights["start"])
    needs = (*runs, *(folder.folder for folder in trainings.folders.transfer))
    step = Step(TRANSFERS, (*words, "--out", out), out, made, needs, state=trainings.start_state, takes_jobs=True)
    return [dataclasses.replace(step, parts=_parts(trainings, given, weights["start"]))]


def _parts(trainings: Trainings, given: Mapping[str, str], from_start: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    """Returns the parts of the output by what they are made from: the rows of runs, and the columns of records.

    A row that is added to a finished table leaves the others as they are.

    Args:
      trainings: the plan's.
      given: {row: path of its weights}.
      from_start: those rows whose weights are the plan's `start`.
    """
    parts: dict[str, tuple[str, ...]] = {path: (name,) for name, path in given.items() if name not in from_start}
    for name, planned in trainings.plan.transfer.items():
        columns = tuple(os.path.join("*", _column(name, task, planned.tasks)) for task in planned.tasks)
        parts |= {folder.folder: columns for both in folders(trainings, name) for folder in both}
    return {**parts, "": tuple(name for name in from_start if name != SCRATCH)}


def _column(name: str, task: str, tasks: Sequence[str]) -> str:
    return name if len(tasks) == 1 else f"{name}-{task}"


def _weights(trainings: Trainings) -> dict[str, dict[str, str]]:
    """Returns {kind of row: {name of row: path of its weights}}; the path of random weights is empty."""
    plan = trainings.plan
    is_random = plan.start == start.RANDOM
    return {
        "random": {SCRATCH: ""},
        "start": {SCRATCH: ""} if is_random else {"start": plan.start},
        "teachers": {teacher.name: teacher.path for teacher in trainings.teachers() if teacher.is_run},
        "student": {"student": plan.folder("student")},
        "compare": {name: plan.folder("compare", name) for name in plan.compare},
    }


def folders(trainings: Trainings, name: str) -> tuple[list[RecordFolder], list[RecordFolder]]:
    """Returns the records of a transfer to train and to validate on."""
    train, validation = (
        [folder for folder in trainings.folders.transfer if folder.name == each] for each in (name, f"{name}-val")
    )
    return train, validation


def _values(trainings: Trainings, name: str, task: str) -> dict[str, Any]:
    """Returns the config values of a transfer's column. The rows name the weights to start from."""
    planned = trainings.plan.transfer[name]
    train, validation = folders(trainings, name)
    images = sum(folder.facts.labelled.get(task, 0) for folder in train)
    values = trainings.values(RunFacts("transfer", (task,), images), train, validation, planned.run)
    for key in ("init_checkpoint", "init_modules"):
        values["task"].pop(key, None)
    return values
