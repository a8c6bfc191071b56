"""Executes a plan: one step after the other, as far as the user wants."""

from __future__ import annotations

import dataclasses
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from must_tf.common.errors import Mistakes, UserError, nearest
from must_tf.data import manifest
from must_tf.loop import checks, records
from must_tf.loop import facts as facts_lib
from must_tf.loop.facts import Facts
from must_tf.loop.plan import Plan, PlannedDataset
from must_tf.loop.records import Folders, RecordFolder
from must_tf.loop.settings import Machine
from must_tf.loop.steps import Step, StepRunner
from must_tf.loop.trainings import Trainings


class RunOptions(NamedTuple):
    """Options of `must run`."""

    until: str = ""
    only: str = ""
    force: bool = False
    jobs: int = 1


class Execution:
    """A plan in progress."""

    def __init__(self, plan: Plan, start: Mapping[str, Any], machine: Machine, options: RunOptions):
        self._plan, self._start, self._machine, self._options = plan, start, machine, options
        self._runner = StepRunner(plan.out)
        self._total = 0
        self._begun: list[str] = []  # names of the steps, those that were passed over too

    @property
    def seconds(self) -> dict[str, float]:
        """Returns {step: seconds} of the plan's steps that are done, in their order."""
        seconds = self._runner.seconds  # those of an earlier plan for this folder too
        return {name: seconds[name] for name in self._begun if name in seconds}

    def run(self) -> Trainings:
        """Executes all steps. Returns the trainings, for the report.

        Raises:
          UserError: a step failed, or the plan does not fit its data.
        """
        expected = expect(self._plan, self._start, self._machine, self._options.force)
        check_step(self._options, [step.name for step in expected.steps])
        _check_disk(self._plan, expected)
        number = 0
        for group in self._groups(expected):
            last = [place for place, step in enumerate(group) if step.name == self._options.until]
            wanted = group[: last[0] + 1] if last else group
            numbered = [(f"{place}/{self._total}", step) for place, step in enumerate(wanted, number + 1)]
            self._begun += [step.name for step in wanted]
            self._execute(numbered)
            if last:
                raise Stopped(f"stopped after {self._options.until!r}, as --until says; without it the plan goes on")
            number += len(group)
        return self._trainings

    def _execute(self, steps: Sequence[tuple[str, Step]]) -> None:
        only = self._options.only
        for _, step in steps:
            if only not in ("", step.name):
                self._runner.skip(step)
        wanted = [(place, step) for place, step in steps if only in ("", step.name)]
        self._runner.run_all(wanted, self._options.jobs)

    def _groups(self, expected: Expected) -> Iterator[list[Step]]:
        """Yields the steps. Later groups depend on what the records contain, which earlier ones write."""
        self._total = len(expected.steps)
        yield expected.conversions
        merging, folders = records.merges(self._plan, _measured(expected.folders))
        yield merging
        self._trainings = Trainings(self._plan, _measured(folders), self._start, self._machine, self._options.force)
        following = self._trainings.steps()
        self._total = len(expected.conversions) + len(merging) + len(following)
        yield following


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


def check_step(options: RunOptions, names: Sequence[str]) -> None:
    """Raises UserError if the options name a step that the plan does not have."""
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
