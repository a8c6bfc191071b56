"""Measures the commands of a plan on a few images of every dataset, in a temporary folder.

Every training runs for a few steps. The rate of the last ones and the memory of its process are those of the real run.
Models that exist are measured on the samples, the student is exported, and one command without a network shows what
starting any of them takes.
"""

from __future__ import annotations

import dataclasses
import glob
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import psutil
import yaml

from must_tf.common import subprocesses
from must_tf.common.errors import UserError
from must_tf.loop import disk, formats, records
from must_tf.loop import facts as facts_lib
from must_tf.loop.plan import Plan, PlannedDataset
from must_tf.loop.records import Folders, RecordFolder
from must_tf.loop.run import Expected
from must_tf.loop.settings import combined
from must_tf.loop.steps import Step
from must_tf.loop.trainings import Trainings
from must_tf.runs import rate

LOOP, LOOPS = 4, 3  # steps of a measured training; the last loop counts
FORWARD = 1 / 3  # of a training step: the forward pass; also of the time to start
SHORT = {
    "trainer": {
        "train_steps": LOOP * LOOPS,
        "steps_per_loop": LOOP,
        "summary_interval": LOOP,
        "checkpoint_interval": LOOP * LOOPS,
    }
}


class Pace(NamedTuple):
    """A measured training, or a model that was measured as if it were one.

    Attributes:
      rate: images per second, forward and backward.
      start: seconds before that.
      memory: GB.
      checkpoint: bytes of a checkpoint; 0 for a model that exists.
    """

    rate: float
    start: float
    memory: float
    checkpoint: float = 0.0

    def minutes(self, images: float) -> float:
        """Returns the time to train on a number of images."""
        return (self.start + images / self.rate) / 60


class Call(NamedTuple):
    """A command that was run: its seconds, its largest memory in GB, and the bytes that it wrote."""

    seconds: float
    memory: float
    written: float = 0.0


class Measured(NamedTuple):
    """The measurements.

    Attributes:
      paces: of trainings and of models that exist, by the name of the teacher or the student's step.
      command: one that runs no network.
      writing: seconds to write a record.
      export: of the student, if it was measured.
    """

    paces: Mapping[str, Pace]
    command: Call
    writing: float
    export: Call | None = None


def measure(expected: Expected) -> Measured:
    """Measures the steps of a plan. Prints which, because that takes minutes. Failures explain themselves."""
    with tempfile.TemporaryDirectory() as here:
        samples, writing = _on_samples(expected, here)
        (folder, *_) = samples.folders.train
        print("measuring a command ...", flush=True)
        command = _call(("check", "--records", folder.pattern))
        paces = {step.name: _training(step) for step in _announced(to_train(expected.trainings, samples))}
        existing = {teacher.name for teacher in expected.trainings.teachers() if not teacher.is_run}
        if existing:
            paces |= _models(dataclasses.replace(samples, plan=_planned(expected, here, models=True)), command)
        known = {name: pace for name, pace in paces.items() if pace}
        export = [step for step in samples.steps() if step.words[0] == "export" and "student" in known]
        calls = [_call(step.words, step.output) for step in _announced(export)]
        return Measured(known, command, writing, next(iter(calls), None))


def to_train(planned: Trainings, samples: Trainings) -> list[Step]:
    """Returns the plan's trainings on samples. There, other teachers would be trained in place of models that exist."""
    names = {step.name for step in planned.steps()}
    return [step for step in samples.steps() if step.words[0] == "train" and step.name in names]


def _announced(steps: Sequence[Step]) -> Iterator[Step]:
    for number, step in enumerate(steps, 1):
        print(f"measuring {step.name} ({number} of {len(steps)}) ...", flush=True)
        yield step


def _planned(expected: Expected, here: str, models: bool = False) -> Plan:
    """Returns the plan to measure in the folder `here`, with or without the models that exist."""
    plan = disk.without_hours(expected.trainings).plan
    teachers = {task: teacher for task, teacher in plan.teachers.items() if models or not teacher.model}
    return dataclasses.replace(plan, out=here, teachers=teachers, transfer={})


def _on_samples(expected: Expected, here: str) -> tuple[Trainings, float]:
    """Writes samples of all datasets to the folder `here`.

    Returns:
      The trainings of the plan on them, and the seconds to write a record.
    """
    plan = expected.trainings.plan
    planned = {**plan.datasets, **{name: one.dataset for name, one in plan.transfer.items()}}
    seconds = [0.0]

    def sampled(folder: RecordFolder) -> RecordFolder:
        """Writes a sample of a folder that is not converted yet."""
        dataset = planned[folder.name.removesuffix("-val")] if folder.name not in planned else planned[folder.name]
        if dataset.form == formats.RECORDS:
            return folder
        validation = dataset.validation if folder.name.endswith("-val") else None
        path = os.path.join(here, records.RECORDS, folder.name)
        options = {**dataset.options, **(validation or {})}
        seconds.append(facts_lib.write_sample(PlannedDataset(folder.name, dataset.form, options), path))
        return dataclasses.replace(folder, folder=path)

    groups = (expected.folders.train, expected.folders.validation)
    folders = Folders(*(tuple(map(sampled, group)) for group in groups))
    moved = _planned(expected, here)
    merging, folders = records.merges(moved, folders)
    for step in merging:
        _call(step.words)
    return dataclasses.replace(expected.trainings, plan=moved, folders=folders, labels=False), max(seconds)


def _training(step: Step) -> Pace | None:
    """Runs a training for a few steps; None if it failed."""
    ((path, make),) = step.files.items()
    values = combined(make(), SHORT)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w") as file:
        yaml.safe_dump(values, file)
    call = _call(["--mode=train" if word.startswith("--mode=") else word for word in step.words])
    try:
        measured = rate.last(step.output, "Was the disk full?")
    except UserError as error:  # the command explained itself, or the disk is at fault
        print(f"{step.name} was not measured: {error}", file=sys.stderr)
        return None
    seen = LOOP * LOOPS * values["task"]["train_data"]["global_batch_size"]
    checkpoints = sum(map(os.path.getsize, glob.glob(os.path.join(glob.escape(step.output), "ckpt-*"))))
    return Pace(measured, max(call.seconds - seen / measured, 0.0), call.memory, checkpoints)


def _models(samples: Trainings, command: Call) -> dict[str, Pace | None]:
    """Measures the models that exist on the samples of the validation data, as if they were trained."""
    found: dict[str, Pace | None] = {}
    for step in _announced([step for step in samples.steps() if step.words[0] == "evaluate"]):
        for path, make in step.files.items():
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "w") as file:
                yaml.safe_dump(dict(make()), file)
        call = _call(step.words)
        images = sum(
            min(one.facts.images, facts_lib.SAMPLED) for one in samples.folders.validation if one.folder in step.needs
        )
        if os.path.exists(step.output):
            rate = FORWARD * images / max(call.seconds - command.seconds, 1e-3)
            found[step.name.removeprefix("evaluate ")] = Pace(rate, 0.0, call.memory)
    return found


def _call(words: Iterable[str], output: str = "") -> Call:
    """Runs a command of `must`. Shows what it printed if it fails.

    Args:
      words: after `must`.
      output: the folder that it writes, to measure its size.
    """
    started = time.monotonic()
    with tempfile.TemporaryFile("w+") as printed:
        command = [sys.executable, "-m", "must_tf", *words]
        process = psutil.Popen(command, stdout=printed, stderr=subprocess.STDOUT, env=subprocesses.environment())
        try:
            most = _largest(process)
        except BaseException:  # it writes to a folder that is about to be removed
            process.kill()
            process.wait()
            raise
        if process.wait():
            printed.seek(0)
            print(printed.read(), file=sys.stderr)
    written = sum(os.path.getsize(os.path.join(folder, name)) for folder, _, names in os.walk(output) for name in names)
    return Call(time.monotonic() - started, most, written)


def _largest(process: psutil.Popen) -> float:
    """Waits for a process. Returns its largest memory in GB."""
    most = 0.0
    while process.poll() is None:
        try:
            most = max(most, process.memory_info().rss / 1e9)
            process.wait(0.5)
        except (psutil.TimeoutExpired, subprocess.TimeoutExpired):
            continue
        except psutil.Error:
            break
    return most
