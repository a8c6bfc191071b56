"""The bytes that the steps of a plan write: records, pseudo labels, checkpoints and exports.

Records and labels are as large as those of a few images that were converted. A checkpoint holds every parameter once,
once more if weights are averaged, and twice more for AdamW.
"""

from __future__ import annotations

import dataclasses
import os
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from must_tf.common.errors import UserError
from must_tf.config import values as config_values
from must_tf.experiments import experiment_config
from must_tf.loop.facts import Facts
from must_tf.loop.records import Folders, RecordFolder
from must_tf.loop.steps import Step
from must_tf.loop.trainings import STUDENT, Trainings
from must_tf.model import student
from tfrecords_tools.label import arguments, confidence

FLOAT = 4  # bytes
SLOTS = 2  # values that AdamW keeps of each parameter
KEPT = 3  # checkpoints of a run, besides the best
LARGEST = 200e6  # parameters; no network of Model Garden's with all heads has more
GRAPH = 10e6  # bytes of an export besides its weights
HALVED = 171 / 476  # of the bytes of whole maps that half maps take: PNG shrinks them less well. benchmarks/RESULTS.md

Checkpoint = Callable[[str], float]  # name of a training -> bytes of one of its checkpoints


def written(trainings: Trainings, steps: Sequence[Step], folders: Folders, checkpoint: Checkpoint) -> dict[str, float]:
    """Returns {step: bytes that it writes}.

    Args:
      trainings: of the plan.
      steps: all steps.
      folders: those that the plan's conversions write.
      checkpoint: the bytes of a checkpoint.
    """
    known = (*folders.train, *folders.validation, *folders.transfer, *trainings.folders.train)
    sizes = {one.folder: one.facts.images * one.facts.bytes for one in (*known, *trainings.folders.validation)}
    labelled = {f"label {one.name}": _labelled(one, trainings) for one in trainings.folders.train}
    found = {step.name: labelled.get(step.name, sizes.get(step.output, 0.0)) for step in steps}
    for step in steps:
        if step.words[0] == "train":
            found[step.name] = checkpoint(step.name) * _checkpoints(config_of(step))
        elif step.words[0] == "transfer":
            cells = sum(len(column["rows"]) * column["seeds"] for column in columns(step).values())
            found[step.name] = cells * checkpoint(STUDENT) * (KEPT + 1)
        elif step.words[0] == "export":
            found[step.name] = checkpoint(STUDENT) / (1 + SLOTS) + GRAPH
    return found


def without_hours(trainings: Trainings) -> Trainings:
    """Returns the trainings with steps that follow from the data, because the pace is not known yet."""
    run = dataclasses.replace(trainings.plan.student, hours=0.0)
    return dataclasses.replace(trainings, plan=dataclasses.replace(trainings.plan, student=run))


def config_of(step: Step) -> dict[str, Any]:
    """Returns the config values of a training."""
    (make,) = step.files.values()
    return dict(make())


def columns(step: Step) -> Mapping[str, Mapping[str, Any]]:
    """Returns the columns of the transfers' table that have runs of their own."""
    table = next(iter(step.files.values()))()["columns"]
    return {name: column for name, column in table.items() if "runs_of" not in column}


def _checkpoints(values: Mapping[str, Any]) -> int:
    """Returns the number of checkpoints that a run keeps: the last ones, the best of each task, and of all tasks."""
    trainer = values["trainer"]
    saved = max(-(-trainer["train_steps"] // trainer["checkpoint_interval"]), 1)
    tasks = sum(task["enabled"] for task in values["task"]["tasks"].values())
    best = tasks + (tasks > 1) if values["task"]["validation_data"]["input_path"] else 0
    return min(saved, trainer.get("max_to_keep", KEPT)) + best


def _labelled(folder: RecordFolder, trainings: Trainings) -> float:
    """Returns the bytes of a folder's records with the labels that they lack."""
    facts = folder.facts
    labels = [one.facts for one in trainings.folders.train]
    lacking = trainings.lacking(folder)
    each = {task: _label(task, labels, facts.side) for task in lacking}
    for task in confidence.compared(lacking) if trainings.plan.confidence else ():
        each[task] += facts.side**2  # a byte per pixel
    for task in arguments.with_maps(lacking) if trainings.plan.half_maps else ():
        each[task] *= HALVED
    added = sum((facts.images - facts.labelled.get(task, 0)) * size for task, size in each.items())
    return facts.images * facts.bytes + added


def _label(task: str, known: list[Facts], side: int) -> float:
    """Returns the bytes of an image's labels of a task, as in the other datasets; without any, a byte per pixel."""
    found = [facts.labels[task] for facts in known if task in facts.labels]
    return max(found, default=float(side * side))


def parameters(trainings: Trainings, values: Mapping[str, Any]) -> int:
    """Builds the student, which is the largest network of a plan, and returns the number of its parameters.

    Args:
      trainings: of the plan.
      values: config values of the student.
    """
    config = experiment_config.load("must_student")
    config_values.apply(config, dict(values), "student")
    classes = {name: names for one in trainings.folders.train for name, names in one.facts.classes.items()}
    for name, names in classes.items():
        getattr(config.task.tasks, name).classes = names
    return int(sum(variable.shape.num_elements() for variable in student.build(config.task).variables))


def check(trainings: Trainings, records: Iterable[Step], folders: Folders) -> None:
    """Raises UserError if what a plan still has to write does not fit on the disk of its folder.

    The network is built only if its size may matter: that takes seconds.

    Args:
      trainings: of the plan.
      records: the steps that write its records.
      folders: those that its conversions write.
    """
    trainings = without_hours(trainings)
    steps = [*records, *trainings.steps()]
    (values,) = (config_of(step) for step in steps if step.name == STUDENT)
    plan = trainings.plan
    there = next(parent for parent in [Path(plan.out), *Path(plan.out).absolute().parents] if parent.exists())
    free = shutil.disk_usage(there).free
    copies = 1 + SLOTS + bool(values["trainer"]["optimizer_config"].get("ema"))

    def needed(count: float) -> dict[str, float]:
        sizes = written(trainings, steps, folders, lambda _: copies * FLOAT * count)
        return {step.name: sizes[step.name] for step in steps if not os.path.exists(step.output)}

    if sum(needed(LARGEST).values()) <= free:
        return
    sizes = needed(0)
    if sum(sizes.values()) <= free:
        sizes = needed(parameters(trainings, values))
    total = sum(sizes.values())
    if total > free:
        largest = max(sizes, key=lambda name: sizes[name])
        raise UserError(
            f"{plan.path}: the plan needs about {total / 1e9:.1f} GB, {sizes[largest] / 1e9:.1f} of them for the step "
            f"{largest!r}, but {free / 1e9:.1f} GB are free at {plan.out}. Give --out on a larger disk."
        )
