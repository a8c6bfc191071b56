"""Costs of the steps of a plan, estimated from measurements on a few images.

| step | estimated from |
|---|---|
| convert, merge | the conversion or the writing of a few images, and the start of a command |
| train | the steps of a short training, and its evaluations |
| label, evaluate | the forward pass of each teacher: a third of a training step; two for a confidence by comparison |
| transfer | the training of the task's teacher, or else of the student, for each row and seed |
| export | an export of the student |
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from must_tf.loop import disk, trainings
from must_tf.loop.pace import FORWARD, Measured, Pace
from must_tf.loop.plan import Plan
from must_tf.loop.plan_rules import VALIDATION
from must_tf.loop.run import Expected
from must_tf.loop.steps import Step
from must_tf.loop.teachers import Teacher
from tfrecords_tools.label import confidence
from tfrecords_tools.writing import worker_pool

EVALUATIONS = 4  # of a run


class Cost(NamedTuple):
    """Minutes of a step, the gigabytes that it writes, and its memory in GB; None if it could not be measured."""

    minutes: float | None = None
    disk: float | None = None
    memory: float | None = None


def costs(expected: Expected, measured: Measured) -> dict[str, Cost]:
    """Returns {step: its cost} of all steps in order."""
    return Estimates(expected, measured).costs()


def total(all_costs: Sequence[Cost]) -> Cost:
    """Returns the minutes and gigabytes of all steps together, and the largest memory."""
    minutes, written, memory = zip(*all_costs, strict=True)
    return Cost(sum(filter(None, minutes)), sum(filter(None, written)), max(filter(None, memory), default=None))


def planned_minutes(plan: Plan) -> dict[str, float]:
    """Returns {step: minutes} of the trainings that the plan's `hours` limit."""
    if not plan.student.hours:
        return {}
    names = [
        trainings.STUDENT,
        *(f"student {name}" for name, one in plan.compare.items() if not one.run.steps),
    ]
    return dict.fromkeys(names, plan.student.hours * 60)


class Estimates:
    """The costs of the steps of a plan."""

    def __init__(self, expected: Expected, measured: Measured):
        self._expected, self._measured = expected, measured
        self._trainings = disk.without_hours(expected.trainings)
        self._plan = self._trainings.plan
        self._kinds = {
            "convert": self._conversion,
            "merge": self._merge,
            "label": self._predictions,
            "evaluate": self._predictions,
            "train": self._training,
            "transfer": self._transfers,
            "export": self._export,
        }

    def costs(self) -> dict[str, Cost]:
        """Returns {step: its cost}."""
        steps = [*self._expected.records, *self._trainings.steps()]
        sizes = disk.written(self._trainings, steps, self._expected.folders, self._checkpoint)
        found = {step.name: self._kinds[step.words[0]](step) for step in steps}
        found = {name: cost._replace(disk=sizes[name] / 1e9) if cost.minutes else cost for name, cost in found.items()}
        if self._measured.export and "export" in found:
            found["export"] = found["export"]._replace(disk=self._measured.export.written / 1e9)
        for name, minutes in planned_minutes(self._expected.trainings.plan).items():
            found[name] = found[name]._replace(minutes=minutes)
        found[trainings.PACE_STEP] = self._pace_step()
        return {step.name: found[step.name] for step in self._expected.steps}

    def _checkpoint(self, name: str) -> float:
        """Returns the bytes of a checkpoint of this training; of the largest if it was not measured."""
        paces = self._measured.paces
        return paces[name].checkpoint if name in paces else max((one.checkpoint for one in paces.values()), default=0.0)

    def _conversion(self, step: Step) -> Cost:
        name = os.path.basename(step.output)
        facts = self._expected.facts.get(name) or self._expected.facts[name.removesuffix(VALIDATION)]
        seconds = step.images * facts.seconds / worker_pool.default_count(step.images)
        return self._command(seconds)

    def _merge(self, step: Step) -> Cost:
        folders = (*self._expected.folders.train, *self._expected.folders.validation)
        return self._command(
            self._measured.writing * sum(one.facts.images for one in folders if one.folder in step.needs)
        )

    def _command(self, seconds: float) -> Cost:
        """Returns the cost of a command that works for these seconds, after its start, without a network."""
        return Cost((self._measured.command.seconds + seconds) / 60, 0.0, self._measured.command.memory)

    def _predictions(self, step: Step) -> Cost:
        """Returns the cost of running teachers on images."""
        folders = (*self._trainings.folders.train, *self._trainings.folders.validation)
        images = sum(one.facts.images for one in folders if one.folder in step.needs)
        used = [
            one.name for one in self._trainings.teachers() if _uses(step, one.path) for _ in range(_passes(step, one))
        ]
        paces = [self._measured.paces[name] for name in used if name in self._measured.paces]
        if len(paces) < len(used):
            return Cost()
        start = self._measured.command.seconds / 60
        minutes = start + FORWARD * sum(pace.minutes(images) for pace in paces)
        return Cost(minutes, 0.0, max(pace.memory for pace in paces))

    def _training(self, step: Step) -> Cost:
        pace = self._measured.paces.get(step.name)
        validated = sum(one.facts.images for one in self._trainings.folders.validation)
        return _trained(pace, disk.config_of(step), validated) if pace else Cost()

    def _pace_step(self) -> Cost:
        """Returns the cost of measuring the pace of a student whose hours are given."""
        pace = self._measured.paces.get(trainings.STUDENT)
        if not pace:
            return Cost()
        (student,) = (step for step in self._trainings.steps() if step.name == trainings.STUDENT)
        batch = disk.config_of(student)["task"]["train_data"]["global_batch_size"]
        return Cost(pace.minutes(trainings.PACE_STEPS * batch), pace.checkpoint / 1e9, pace.memory)

    def _transfers(self, step: Step) -> Cost:
        teachers = {task: one.name for one in self._trainings.teachers() for task in one.tasks if one.is_run}
        configs = {os.path.basename(path): make for path, make in step.files.items()}
        validation = {one.name: one.facts.images for one in self._trainings.folders.transfer}
        cells: list[Cost] = []
        for name, column in disk.columns(step).items():
            paces = self._measured.paces
            pace = paces.get(teachers.get(column["task"], "")) or paces.get(trainings.STUDENT)
            if not pace:
                return Cost()
            validated = validation.get(f"{name.removesuffix('-' + column['task'])}{VALIDATION}", 0)
            cost = _trained(pace, configs[column["config_file"][0]](), validated)
            cells += [cost] * (len(column["rows"]) * column["seeds"])
        return total(cells)

    def _export(self, step: Step) -> Cost:
        del step
        export = self._measured.export
        return Cost(export.seconds / 60, 0.0, export.memory) if export else Cost()


def _trained(pace: Pace, values: Mapping[str, Any], validated: int) -> Cost:
    """Returns the cost of a training; an evaluated image costs a forward pass."""
    images = values["trainer"]["train_steps"] * values["task"]["train_data"]["global_batch_size"]
    return Cost(pace.minutes(images + EVALUATIONS * FORWARD * validated), 0.0, pace.memory)


def _passes(step: Step, teacher: Teacher) -> int:
    """Returns how often a step shows each image to this teacher."""
    return 2 if "--confidence" in step.words and confidence.compared(teacher.tasks) else 1


def _uses(step: Step, model: str) -> bool:
    """Returns whether a step that labels or evaluates runs this model."""
    return any(word.partition("=")[2] == model for word in step.words)
