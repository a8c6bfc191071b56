"""The steps of a plan after its records: teachers, labels, student, transfers and export."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable, Sequence
from typing import Any

from must_tf.common import run_files
from must_tf.common.errors import UserError
from must_tf.config import values as config_values
from must_tf.loop import settings, transfers
from must_tf.loop.facts import missing
from must_tf.loop.plan import Plan, RunSettings
from must_tf.loop.plan_rules import LABELLED
from must_tf.loop.records import Folders, RecordFolder
from must_tf.loop.settings import Machine, RunFacts, combined
from must_tf.loop.steps import Step, Values
from must_tf.loop.teachers import Teacher, groups, headline, trained_with
from must_tf.runs import init_weights, rate
from must_tf.tasks import discover
from tfrecords_tools.label import arguments, confidence

CONFIGS, STUDENT, EXPORT, PACE = "configs", "student", "export", "pace"
COMPARE = "compare"  # folder of the other students
PACE_STEP = "measure the student's pace"
PACE_STEPS = 3 * settings.LOOP  # steps to measure the time of one; the first loop warms up
SHARE_OF_TIME = 0.9  # of the student's hours for its steps; the rest is for evaluations


@dataclasses.dataclass(frozen=True)
class Trainings:
    """Everything after the records of a plan.

    Attributes:
      plan: the plan.
      folders: its records.
      start: config values of the initial weights.
      machine: the devices.
      force: whether labels that the gate refuses are trained on.
      labels: false to train the student on the records as they are.
    """

    plan: Plan
    folders: Folders
    start: Values
    machine: Machine = Machine()
    force: bool = False
    labels: bool = True

    def steps(self) -> list[Step]:
        """Returns the steps in order."""
        # Those with two heads, which take longest, first: another one runs beside them to their end.
        teachers = sorted(self.teachers(), key=lambda teacher: -len(teacher.tasks))
        evaluated = [self._evaluate(teacher) for teacher in teachers if not teacher.is_run]
        labelled = [self._label(folder) for folder in self.folders.train]
        return [
            *(step for step in evaluated if step),
            *(self._teacher(teacher) for teacher in teachers if teacher.is_run),
            *(step for step in labelled if step),
            *self._student(),
            *map(self._compared, self.plan.compare),
            *transfers.steps(self),
            *([self._export()] if self.plan.export else []),
        ]

    def tasks(self) -> tuple[str, ...]:
        """Returns the student's tasks: those with real labels, and those that a model of the plan labels."""
        real = self.folders.tasks()
        return tuple(task for task in discover() if task in real or self.model(task))

    def model(self, task: str) -> str:
        """Returns the path of the plan's model for this task; "" if there is none."""
        planned = self.plan.teachers.get(task)
        return planned.model if planned else ""

    def lacking(self, folder: RecordFolder) -> list[str]:
        """Returns the tasks that teachers label in this folder."""
        return missing(folder.facts, self.tasks(), self.plan.left_out(folder.members))

    def teachers(self) -> list[Teacher]:
        """Returns the teachers of the tasks that some images lack labels for."""
        tasks = self.tasks()
        lacking = {task for folder in self.folders.train for task in self.lacking(folder)}
        teachers: list[Teacher] = []
        for group in groups(tasks):
            if not lacking & set(group):
                continue
            models = {self.model(task) for task in group} - {""}
            if models:
                model = next(iter(models))
                own = tuple(task for task in group if self.model(task))
                name = f"teacher-{own[-1]}"
                teachers.append(Teacher(name, own, model, False, self.plan.folder(f"{name}.json")))
            else:
                name = f"teacher-{group[-1]}"
                run = self.plan.folder(name)
                teachers.append(Teacher(name, group, run, True, os.path.join(run, run_files.EVALUATION)))
        return teachers

    def _evaluate(self, teacher: Teacher) -> Step | None:
        """Returns the step that measures a model that exists; None if no validation images have its labels."""
        validation = self._validation(teacher.tasks)
        if not validation:
            return None
        config = self.plan.folder(CONFIGS, f"{teacher.name}.yaml")
        given = [word for folder in validation for word in ("--records", folder.pattern)]
        given += [word for task in teacher.tasks for word in ("--teacher", f"{task}={teacher.path}")]
        words = ("evaluate", *given, "--config-file", config, "--out", teacher.evaluation)
        # The settings of its metrics are the student's.
        heads = combined(self.plan.settings, self.plan.student.settings).get("task", {}).get("tasks", {})
        own = {task: heads[task] for task in teacher.tasks if task in heads}
        needs = tuple(folder.folder for folder in validation)
        return Step(
            f"evaluate {teacher.name}",
            words,
            teacher.evaluation,
            {config: lambda: {"task": {"tasks": own}}},
            needs,
            state=teacher.state,
        )

    def _teacher(self, teacher: Teacher) -> Step:
        """Returns the training of a teacher on the records that have its labels."""
        train = [folder for folder in self.folders.train if any(map(folder.facts.labelled.get, teacher.tasks))]
        images = sum(max(folder.facts.labelled.get(task, 0) for task in teacher.tasks) for folder in train)
        own = self.own_settings(teacher.tasks)
        return self._run(
            RunFacts("teacher", teacher.tasks, images),
            teacher.name,
            f"must_teacher_{teacher.tasks[-1]}",
            train,
            own[-1] if own else self.plan.every_teacher,
        )

    def own_settings(self, tasks: Sequence[str]) -> list[RunSettings]:
        """Returns the settings that the plan gives for the teacher of these tasks, below one or several of them."""
        planned = [self.plan.teachers[task].run for task in tasks if task in self.plan.teachers]
        return [run for run in planned if run != RunSettings()]

    def _label(self, folder: RecordFolder) -> Step | None:
        """Returns the step that adds the labels that this folder lacks; None if it has all."""
        lacking = self.lacking(folder)
        teachers = [teacher for teacher in self.teachers() if set(teacher.tasks) & set(lacking)]
        if not teachers:
            return None
        wanted = [(task, teacher.path) for teacher in teachers for task in teacher.tasks if task in lacking]
        given = [word for task, path in wanted for word in ("--teacher", f"{task}={path}")]
        others = self._with_classes(folder, [teacher for teacher in teachers if not teacher.is_run])
        given += [word for other in others for word in ("--classes-of", other.pattern)]
        needs = (folder.folder, *(teacher.path for teacher in teachers), *(other.folder for other in others))
        is_ours = folder.folder.startswith(os.path.join(self.plan.out, ""))
        out = (folder.folder if is_ours else self.plan.folder("records", folder.name)) + LABELLED
        is_compared = self.plan.confidence and confidence.compared(task for task, _ in wanted)
        halved = self.plan.half_maps and arguments.with_maps(task for task, _ in wanted)
        asked = {"--confidence": is_compared, "--half-maps": halved, "--force": self.force}
        flags = [flag for flag, is_given in asked.items() if is_given]
        words = ("label", "--records", folder.pattern, *given, "--out", out, *flags)
        name = f"label {folder.name}"
        # One process: it has all teachers in memory.
        return Step(name, words, out, {}, needs, state=lambda: repr([one.state() for one in teachers]), processes=1)

    def _with_classes(self, folder: RecordFolder, models: Iterable[Teacher]) -> list[RecordFolder]:
        """Returns the folders whose class names models use that label one without names: they may have others.

        Only validation data may have names of a task. The student cannot be measured on it with others.
        """
        known = (*self.folders.train, *self.folders.validation)
        named = [
            next((each for each in known if each.facts.classes.get(task)), folder)
            for task in dict.fromkeys(task for model in models for task in model.tasks)
            if not folder.facts.classes.get(task)
        ]
        return list({each.folder: each for each in named if each != folder}.values())

    def _labelled(self) -> list[RecordFolder]:
        """Returns the folders that the student is trained on."""
        if not self.labels:
            return list(self.folders.train)
        outputs = {folder.name: self._label(folder) for folder in self.folders.train}
        return [
            dataclasses.replace(folder, folder=step.output) if (step := outputs[folder.name]) else folder
            for folder in self.folders.train
        ]

    def _student(self) -> list[Step]:
        train, facts, run = self._labelled(), self._student_facts(), self.plan.student
        student = self._run(facts, STUDENT, "must_student", train, run)
        if not run.hours:
            return [student]
        own = combined(run.settings, settings.unevaluated(combined(self.plan.settings, run.settings)))
        pace = self._run(facts, PACE, "must_student", train, RunSettings(PACE_STEPS, 0.0, own))
        words = tuple("--mode=train" if word.startswith("--mode=") else word for word in pace.words)
        pace = dataclasses.replace(pace, name=PACE_STEP, words=words)
        return [pace, dataclasses.replace(student, needs=(*student.needs, pace.output))]

    def _export(self) -> Step:
        out = self.plan.folder(EXPORT)
        words = ("export", f"--model_dir={self.plan.folder(STUDENT)}", f"--out={out}")
        return Step("export", words, out, needs=(self.plan.folder(STUDENT),))

    def _student_facts(self) -> RunFacts:
        return RunFacts("student", self.tasks(), sum(folder.facts.images for folder in self.folders.train))

    def compared(self, name: str) -> tuple[tuple[str, ...], list[RecordFolder]]:
        """Returns the tasks of another student, and the folders that it is trained on."""
        compared = self.plan.compare[name]
        folders = zip(self.folders.train, self._labelled() if compared.labels else self.folders.train, strict=True)
        chosen = compared.datasets
        train = [folder for source, folder in folders if not chosen or {*source.members} <= {*chosen}]
        tasks = compared.tasks or self.tasks()
        if not compared.labels:
            tasks = tuple(task for task in tasks if any(folder.facts.labelled.get(task) for folder in train))
            train = [folder for folder in train if any(map(folder.facts.labelled.get, tasks))]
        return tasks, train

    def _compared(self, name: str) -> Step:
        """Returns the training of another student: as many steps as the student's, unless the plan says otherwise."""
        tasks, train = self.compared(name)
        run, own = self.plan.student, self.plan.compare[name].run
        run = RunSettings(own.steps or run.steps, 0 if own.steps else run.hours, combined(run.settings, own.settings))
        step = self._run(
            self._student_facts()._replace(tasks=tasks), os.path.join(COMPARE, name), "must_student", train, run
        )
        needs = (*step.needs, *([self.plan.folder(PACE)] if run.hours else []))
        return dataclasses.replace(step, name=f"student {name}", needs=needs)

    def _run(
        self, facts: RunFacts, name: str, experiment: str, train: Sequence[RecordFolder], own: RunSettings
    ) -> Step:
        """Returns a training run."""
        validation = self._validation(facts.tasks)
        config = self.plan.folder(CONFIGS, f"{name}.yaml")
        words = (
            "train",
            f"--experiment={experiment}",
            f"--mode={'train_and_eval' if validation else 'train'}",
            f"--model_dir={self.plan.folder(name)}",
            f"--config_file={config}",
        )

        def values() -> dict[str, Any]:
            return self.values(facts, train, validation, own)

        needs = tuple(folder.folder for folder in (*train, *validation))
        if facts.kind == "student":  # `_of_teachers` reads their evaluations
            needs += tuple(teacher.path if teacher.is_run else teacher.evaluation for teacher in self.teachers())
        return Step(name, words, self.plan.folder(name), {config: values}, needs, state=self.start_state)

    def start_state(self) -> str:
        """Returns a text that changes with the weights to start from."""
        return init_weights.digest(self.start.get("task", {}).get("init_checkpoint", ""))

    def values(
        self, facts: RunFacts, train: Sequence[RecordFolder], validation: Sequence[RecordFolder], own: RunSettings
    ) -> dict[str, Any]:
        """Returns the config values of a run. Those of the student need the results of its teachers."""
        size = settings.input_size([folder.facts for folder in self.folders.train], self.machine)
        batch = settings.batch_size(size, self.machine)
        total = sum(folder.facts.images for folder in self.folders.train)
        network = settings.network(total, self.start, self.machine)
        most = max((folder.facts.objects for folder in (*train, *validation)), default=0)
        fitted = combined(
            network,
            settings.objects(most, network["task"].get("tasks", {})),
            settings.data(size, batch),
            settings.devices(self.machine),
            self.plan.settings,
            own.settings,
        )
        batch = fitted["task"]["train_data"]["global_batch_size"]
        count = own.steps or self._steps_in(own.hours) or settings.steps(facts, batch, self.machine)
        inputs: dict[str, Any] = {
            "train_data": {"input_path": [folder.pattern for folder in train]},
            "validation_data": {"input_path": [folder.pattern for folder in validation]},
        }
        times = [self._repeat(folder) for folder in train] if facts.kind == "student" else []
        if any(count > 1 for count in times):
            inputs["train_data"]["repeats"] = times
        about_teachers = self._of_teachers() if facts.kind == "student" else {}
        return combined(
            settings.schedule(count, batch), about_teachers, fitted, {"task": inputs}, self._heads(facts.tasks)
        )

    def _repeat(self, folder: RecordFolder) -> int:
        """Returns how often an epoch of a student has each image of a folder."""
        return max(self.plan.datasets[name].repeat for name in folder.members)

    def _heads(self, tasks: Iterable[str]) -> dict[str, Any]:
        """Returns config values that enable these tasks, those that they need, and no others."""
        wanted = {name for task in tasks for name in (*discover()[task].needs, task)}
        return {"task": {"tasks": {task: {"enabled": task in wanted} for task in discover()}}}

    def _steps_in(self, hours: float) -> int:
        """Returns the steps that fit into these hours, by the measured pace; 0 for 0 hours."""
        if not hours:
            return 0
        pace = self.plan.folder(PACE)
        remedy = f"Delete {pace} and give the same command again: the pace is measured anew."
        measured = rate.last(pace, remedy)
        path = os.path.join(pace, run_files.PARAMS)
        try:
            batch = float(config_values.read_yaml(path)["task"]["train_data"]["global_batch_size"])
        except (KeyError, TypeError, ValueError):
            batch = 0.0
        if not batch > 0:
            raise UserError(f"{path} is damaged: it has no task.train_data.global_batch_size. {remedy}")
        return max(int(hours * 3600 * SHARE_OF_TIME * measured / batch) // settings.LOOP, 1) * settings.LOOP

    def _of_teachers(self) -> dict[str, Any]:
        """Returns what the student must know about its teachers: their metrics, and what weights its losses."""
        about: dict[str, dict[str, Any]] = {}
        for teacher in self.teachers():
            for task in teacher.tasks:
                about[task] = {"teacher_figure": headline(teacher.evaluation, task), **trained_with(teacher.path)}
        trained = {task for teacher in self.teachers() if teacher.is_run for task in teacher.tasks}
        return {"task": {"balance": "paper" if trained == set(self.tasks()) else "fixed", "tasks": about}}

    def _validation(self, tasks: Sequence[str]) -> list[RecordFolder]:
        """Returns the validation data with labels of some of these tasks."""
        return [folder for folder in self.folders.validation if any(map(folder.facts.labelled.get, tasks))]
