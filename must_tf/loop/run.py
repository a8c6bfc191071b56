"""Executes a plan: only what is not done yet, one command after the other.

`steps.json` in the plan's folder remembers every finished step with a hash of its command, its settings and its input.
A step whose hash is the same is passed over. If it changed, the command runs again, and decides itself whether it goes
on or refuses the folder.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import shutil
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from must_tf.common import files, subprocesses
from must_tf.common.errors import INTERRUPTED, Mistakes, UserError, nearest
from must_tf.common.progress import clock
from must_tf.data import manifest
from must_tf.loop import checks, records
from must_tf.loop import facts as facts_lib
from must_tf.loop.facts import Facts
from must_tf.loop.plan import Plan, PlannedDataset
from must_tf.loop.records import Folders, RecordFolder, Step
from must_tf.loop.settings import Machine
from must_tf.loop.trainings import Trainings
from must_tf.serving import saved_model

DONE, LOGS = "steps.json", "logs"
TAIL = 20  # lines of a failed step's log that are shown
REFUSED = 1  # exit code of a step that finished, but whose result should not be used


class RunOptions(NamedTuple):
    """Options of `must run`."""

    until: str = ""
    only: str = ""
    force: bool = False


class Execution:
    """A plan in progress.

    Attributes:
      seconds: {step: seconds that it took}, of all finished steps.
    """

    def __init__(self, plan: Plan, start: Mapping[str, Any], machine: Machine, options: RunOptions):
        self._plan, self._start, self._machine, self._options = plan, start, machine, options
        self._done = _read_done(plan)
        self._hashes: dict[str, str] = {}  # output -> hash of the step that writes it
        self._total = 0
        self._started = time.monotonic()

    @property
    def seconds(self) -> dict[str, float]:
        """Returns {step: seconds} of the steps that are done."""
        return {name: entry["seconds"] for name, entry in self._done.items()}

    def run(self) -> Trainings:
        """Executes all steps. Returns the trainings, for the report.

        Raises:
          UserError: a step failed, or the plan does not fit its data.
        """
        expected = expect(self._plan, self._start, self._machine, self._options.force)
        _check_step(self._options, [step.name for step in expected.steps])
        _check_disk(self._plan, expected)
        self._total = len(expected.steps)
        for number, step in enumerate(self._following(expected), 1):
            is_chosen = self._options.only in ("", step.name)
            self._execute(number, step, is_chosen)
            if self._options.until == step.name:
                raise Stopped(f"stopped after {step.name!r}, as --until says; without it the plan goes on from there")
        return self._trainings

    def _following(self, expected: Expected) -> Iterator[Step]:
        """Yields the steps. Later ones depend on what the records contain, which earlier ones write."""
        yield from expected.conversions
        merging, folders = records.merges(self._plan, _measured(expected.folders))
        yield from merging
        self._trainings = Trainings(self._plan, _measured(folders), self._start, self._machine, self._options.force)
        following = self._trainings.steps()
        self._total = len(expected.conversions) + len(merging) + len(following)
        yield from following

    def _execute(self, number: int, step: Step, is_chosen: bool) -> None:
        """Executes the step unless it is done or not chosen."""
        contents = {path: _yaml(make()) for path, make in step.files.items()} if is_chosen else {}
        digest = self._hash(step, contents) if is_chosen else self._done.get(step.name, {}).get("hash", "")
        self._hashes[step.output] = digest
        if not is_chosen:
            return
        print(f"\n[{number}/{self._total}] {step.name}  (at {clock(time.monotonic() - self._started)})", flush=True)
        before = self._done.get(step.name)
        if before and before["hash"] == digest and os.path.exists(step.output):
            print("  done already", flush=True)
            return
        for path, content in contents.items():
            files.write_whole(path, content.encode())
        if os.path.exists(os.path.join(step.output, saved_model.NAME)):
            shutil.rmtree(step.output)  # an export of this plan: of what has changed since, or of a run that was killed
        started = time.monotonic()
        self._call(step)
        self._done[step.name] = {"hash": digest, "seconds": round(time.monotonic() - started, 1)}
        files.write_json(self._plan.folder(DONE), self._done)

    def _hash(self, step: Step, contents: Mapping[str, str]) -> str:
        """Returns a hash of everything that the step's result depends on."""
        inputs = [self._hashes.get(folder, "") for folder in step.needs]
        text = repr((step.words, sorted(contents.items()), step.state(), inputs))
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def _call(self, step: Step) -> None:
        """Runs the command. Its whole output goes to a log, its progress to the terminal."""
        print(f"  {step.text}", flush=True)
        log = self._plan.folder(LOGS, f"{step.name.replace(' ', '-')}.log")
        code = subprocesses.follow([sys.executable, "-m", "must_tf", *step.words], log)
        if code == INTERRUPTED or code == -2:
            raise KeyboardInterrupt
        if code:
            print("\n".join(subprocesses.last_lines(log, TAIL)), file=sys.stderr)
            raise UserError(f"step {step.name!r} {_ending(code, step)} Its whole output is in {log}.")


class Stopped(Exception):
    """The plan stops where the user wanted it to."""


@dataclasses.dataclass(frozen=True)
class Expected:
    """The steps of a plan, as far as they can be known before its datasets are converted."""

    conversions: list[Step]
    folders: Folders
    later: list[Step]
    facts: Mapping[str, Facts]
    trainings: Trainings

    @property
    def steps(self) -> list[Step]:
        """All steps in order."""
        return [*self.conversions, *self.later]


def expect(plan: Plan, start: Mapping[str, Any], machine: Machine, force: bool) -> Expected:
    """Looks into the datasets and returns the steps.

    Raises:
      UserError: everything that is wrong with the datasets, and a plan from which nothing can be learned.
    """
    facts = _facts(plan)
    conversions, folders = records.conversions(plan, facts)
    merging, merged = records.merges(plan, folders)
    trainings = Trainings(plan, merged, start, machine, force)
    checks.check(trainings)
    return Expected(conversions, folders, [*merging, *trainings.steps()], facts, trainings)


def _facts(plan: Plan) -> dict[str, Facts]:
    """Returns the facts of every dataset, and of validation data that is not a share of it. Collects all mistakes."""
    facts: dict[str, Facts] = {}
    mistakes = Mistakes()
    transfers = [("transfer", one.dataset) for one in plan.transfer.values()]
    for group, dataset in [*(("datasets", one) for one in plan.datasets.values()), *transfers]:
        where = f"{plan.path}: {group}.{dataset.name}"
        with mistakes.collected():
            facts[dataset.name] = facts_lib.of_source(dataset, where)
        if dataset.validation is not None:
            options = {**dataset.options, **dataset.validation}
            own = PlannedDataset(f"{dataset.name}-val", dataset.form, options)
            with mistakes.collected():
                facts[own.name] = facts_lib.of_source(own, f"{where}.validation")
    mistakes.raise_all()
    return facts


def _measured(folders: Folders) -> Folders:
    """Returns the folders with the facts of their manifests, where there are any."""

    def measured(folder: RecordFolder) -> RecordFolder:
        is_there = os.path.exists(manifest.path_in(folder.folder))
        return dataclasses.replace(folder, facts=facts_lib.of_records(folder.folder)) if is_there else folder

    return Folders(*(tuple(map(measured, group)) for group in (folders.train, folders.validation, folders.transfer)))


def _check_step(options: RunOptions, names: Sequence[str]) -> None:
    for flag, name in (("--until", options.until), ("--only", options.only)):
        if name and name not in names:
            raise UserError(f"{flag} {name!r} is not a step.{nearest(name, names)} Steps: {', '.join(names)}.")


def _check_disk(plan: Plan, expected: Expected) -> None:
    """Raises UserError if the records of a plan do not fit on the disk of its folder."""
    folders = {one.name: one for group in (expected.folders.train, expected.folders.validation) for one in group}
    needed = 0.0
    for name, folder in folders.items():
        facts = expected.facts.get(name) or expected.facts[name.removesuffix("-val")]
        copies = 2 if folder in expected.folders.train else 1  # labelled records are copies
        needed += copies * folder.facts.images * facts.bytes
    there = next(parent for parent in [Path(plan.out), *Path(plan.out).absolute().parents] if parent.exists())
    free = shutil.disk_usage(there).free
    if needed > free:
        raise UserError(
            f"{plan.path}: the records need about {needed / 1e9:.1f} GB, but {free / 1e9:.1f} GB are free at "
            f"{plan.out}. Give --out on a larger disk."
        )


def _read_done(plan: Plan) -> dict[str, dict[str, Any]]:
    try:
        with open(plan.folder(DONE)) as file:
            return json.load(file)
    except (FileNotFoundError, ValueError):
        return {}


def _yaml(values: Mapping[str, Any]) -> str:
    return yaml.safe_dump(values, sort_keys=False)


def _ending(code: int, step: Step) -> str:
    if code < 0:
        return f"was killed by signal {-code}; the same command goes on. Signal 9 often means that memory ran out."
    if code == REFUSED and step.words[0] == "label":
        return "gave labels that are unfit to train on, for the reasons above. To train on them, add --force."
    return f"failed with exit code {code}."
