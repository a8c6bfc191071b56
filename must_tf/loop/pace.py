"""Measures what the steps of a plan will cost, on a few images of every dataset, in a temporary folder.

Conversions are timed on these images, in one process. Every training runs for a few steps; the rate of the last ones
and the memory of its process are those of the real run. Labels and evaluations are estimated from trainings: the
forward pass of a network takes about a third of a training step.
"""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import psutil
import yaml

from must_tf.common import devices, run_files, subprocesses
from must_tf.loop import facts as facts_lib
from must_tf.loop import formats, records
from must_tf.loop.plan import Plan, PlannedDataset
from must_tf.loop.records import RecordFolder
from must_tf.loop.run import Expected
from must_tf.loop.settings import combined
from must_tf.loop.steps import Step
from must_tf.loop.trainings import Trainings

LOOP, LOOPS = 4, 3  # steps of a measured training; the last loop counts
FORWARD = 1 / 3  # of the time of a training step
EVALUATIONS = 4  # of a run
SHORT = {
    "trainer": {
        "train_steps": LOOP * LOOPS,
        "steps_per_loop": LOOP,
        "summary_interval": LOOP,
        "checkpoint_interval": LOOP * LOOPS,
    }
}


class Cost(NamedTuple):
    """Minutes of a step, the gigabytes that it writes, and its memory in GB; None if it is not known."""

    minutes: float | None = None
    disk: float | None = None
    memory: float | None = None


def costs(expected: Expected) -> dict[str, Cost]:
    """Returns {step: its cost}. Says what it is measuring, because that takes minutes."""
    measured = {step.name: _conversion(expected, step) for step in expected.conversions}
    planned = planned_minutes(expected.trainings.plan)
    rates: dict[str, float] = {}  # images per second of a training
    with tempfile.TemporaryDirectory() as here:
        trainings = [step for step in _on_samples(expected, here).steps() if step.words[0] == "train"]
        for number, step in enumerate(trainings, 1):
            print(f"measuring {step.name} ({number} of {len(trainings)}) ...", flush=True)
            rates[step.name], memory, images = _measure(step)
            if rates[step.name]:
                evaluated = EVALUATIONS * FORWARD * sum(one.facts.images for one in expected.folders.validation)
                minutes = planned.get(step.name, (images + evaluated) / rates[step.name] / 60)
                measured[step.name] = Cost(minutes, None, memory)
    sizes = {folder.name: folder.facts for folder in expected.trainings.folders.train}
    for step in expected.later:
        if step.words[0] == "label":
            facts = sizes[step.name.removeprefix("label ")]
            measured[step.name] = _labels(step, facts.images, rates)
    return measured


def planned_minutes(plan: Plan) -> dict[str, float]:
    """Returns {step: minutes} of the trainings that the plan's `hours` limit."""
    if not plan.student.hours:
        return {}
    names = ["student", *(f"student {name}" for name, one in plan.compare.items() if not one.run.steps)]
    return dict.fromkeys(names, plan.student.hours * 60)


def _conversion(expected: Expected, step: Step) -> Cost:
    name = os.path.basename(step.output)
    facts = expected.facts.get(name) or expected.facts[name.removesuffix("-val")]
    folders = expected.folders
    (kept,) = {one.facts.images for one in (*folders.train, *folders.validation, *folders.transfer) if one.name == name}
    return Cost(step.images * facts.seconds / devices.cores() / 60, kept * facts.bytes / 1e9)


def _labels(step: Step, images: int, rates: Mapping[str, float]) -> Cost:
    """Returns the cost of labelling, if all its teachers are trained here."""
    paths = {
        word.partition("=")[2] for flag, word in zip(step.words, step.words[1:], strict=False) if flag == "--teacher"
    }
    known = [rates.get(os.path.basename(path), 0.0) for path in paths]
    return Cost(sum(images * FORWARD / rate for rate in known) / 60) if all(known) else Cost()


def _on_samples(expected: Expected, here: str) -> Trainings:
    """Returns the trainings of the plan on samples of its datasets, which it writes to the folder `here`."""
    plan = expected.trainings.plan
    planned = {**plan.datasets, **{name: one.dataset for name, one in plan.transfer.items()}}

    def sampled(folder: RecordFolder) -> RecordFolder:
        """Writes a sample of a folder that is not converted yet."""
        dataset = planned[folder.name.removesuffix("-val")] if folder.name not in planned else planned[folder.name]
        if dataset.form == formats.RECORDS:
            return folder
        validation = dataset.validation if folder.name.endswith("-val") else None
        path = os.path.join(here, records.RECORDS, folder.name)
        options = {**dataset.options, **(validation or {})}
        facts_lib.write_sample(PlannedDataset(folder.name, dataset.form, options), path)
        return dataclasses.replace(folder, folder=path)

    groups = (expected.folders.train, expected.folders.validation, expected.folders.transfer)
    folders = records.Folders(*(tuple(map(sampled, group)) for group in groups))
    trained = {task: teacher for task, teacher in plan.teachers.items() if not teacher.model}
    moved = dataclasses.replace(plan, out=here, teachers=trained, transfer={}, export=False)
    moved = dataclasses.replace(moved, student=dataclasses.replace(plan.student, hours=0.0))
    merging, folders = records.merges(moved, folders)
    for step in merging:
        _call(step.words)
    return dataclasses.replace(expected.trainings, plan=moved, folders=folders, labels=False)


def _measure(step: Step) -> tuple[float, float, float]:
    """Runs a training for a few steps. Returns its images per second, its memory in GB, and its number of images.

    The rate is 0 if it failed, which its own messages explain.
    """
    (path, make), *_ = step.files.items()
    values = make()
    images = values["trainer"]["train_steps"] * values["task"]["train_data"]["global_batch_size"]
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w") as file:
        yaml.safe_dump(combined(values, SHORT), file)
    memory = _call(["--mode=train" if word.startswith("--mode=") else word for word in step.words])
    metrics = os.path.join(step.output, run_files.METRICS)
    if not os.path.exists(metrics):
        return 0.0, memory, images
    with open(metrics) as file:
        return json.loads(list(file)[-1])["images_per_second"], memory, images


def _call(words: Iterable[str]) -> float:
    """Runs a command of `must` and returns the largest memory of its process, in GB. Shows its output if it fails."""
    with tempfile.TemporaryFile("w+") as output:
        command = [sys.executable, "-m", "must_tf", *words]
        process = psutil.Popen(command, stdout=output, stderr=subprocess.STDOUT, env=subprocesses.environment())
        most = 0.0
        while process.poll() is None:
            try:
                most = max(most, process.memory_info().rss / 1e9)
                process.wait(0.5)
            except (psutil.TimeoutExpired, subprocess.TimeoutExpired):
                continue
            except psutil.Error:
                break
        if process.wait():
            output.seek(0)
            print(output.read(), file=sys.stderr)
    return most
