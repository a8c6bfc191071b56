"""Executes a plan: one step after the other, as far as the user wants."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from must_tf.common.errors import Mistakes, UserError, nearest
from must_tf.data import manifest
from must_tf.loop import checks, disk, formats, plan_rules, records, shared_photos, variables
from must_tf.loop import facts as facts_lib
from must_tf.loop import steps as steps_lib
from must_tf.loop.facts import Facts
from must_tf.loop.plan import Plan, PlannedDataset
from must_tf.loop.plan_rules import VALIDATION
from must_tf.loop.records import Folders, RecordFolder
from must_tf.loop.settings import Machine
from must_tf.loop.steps import Step, StepRunner
from must_tf.loop.trainings import Trainings
from must_tf.runs import start as start_lib


class RunOptions(NamedTuple):
    """Options of `must run`."""

    until: str = ""
    only: str = ""
    force: bool = False
    jobs: int = 1


class Execution:
    """A plan in progress."""

    def __init__(self, expected: Expected, options: RunOptions):
        self._expected, self._options = expected, options
        self._plan = expected.trainings.plan
        self._runner = StepRunner(self._plan.out)
        self._total = 0
        self._warned: list[str] = []
        self._begun: list[str] = []  # names of the steps, those that were passed over too

    @property
    def seconds(self) -> dict[str, float]:
        """Returns {step: seconds} of the plan's steps that are done, in their order."""
        seconds = self._runner.seconds  # those of an earlier plan for this folder too
        return {name: seconds[name] for name in self._begun if name in seconds}

    def run(self) -> Trainings:
        """Executes all steps. Returns the trainings, for the report.

        Raises:
          UserError: a step failed.
        """
        expected = self._expected
        disk.check(expected.trainings, expected.records, expected.folders)
        self._warn(shared_photos.warnings(expected.folders))
        number = 0
        for group in self._groups(expected):
            last = [place for place, step in enumerate(group) if step.name == self._options.until]
            wanted = group[: last[0] + 1] if last else group
            numbered = [(f"{place}/{self._total}", step) for place, step in enumerate(wanted, number + 1)]
            self._begun += [step.name for step in wanted]
            self._execute(numbered, steps_lib.unordered(group))
            if last:
                raise Stopped(f"stopped after {self._options.until!r}, as --until says; without it the plan goes on")
            number += len(group)
        return self._trainings

    def _warn(self, warnings: Sequence[str]) -> None:
        """Prints those that were not printed yet."""
        new = [line for line in warnings if line not in self._warned]
        self._warned += new
        for line in new:
            print(f"\n{line}", flush=True)

    def _execute(self, steps: Sequence[tuple[str, Step]], sharing: Mapping[str, int]) -> None:
        only = self._options.only
        for _, step in steps:
            if only not in ("", step.name):
                self._runner.skip(step)
        wanted = [(place, step) for place, step in steps if only in ("", step.name)]
        self._runner.run_all(wanted, self._options.jobs, sharing)

    def _groups(self, expected: Expected) -> Iterator[list[Step]]:
        """Yields the steps. Later groups depend on what the records contain, which earlier ones write."""
        self._total = len(expected.steps)
        yield expected.conversions
        self._warn(shared_photos.warnings(expected.folders))
        merging, folders = records.merges(self._plan, _measured(expected.folders))
        yield merging
        self._trainings = dataclasses.replace(expected.trainings, folders=_measured(folders))
        self._warn(checks.unmeasured(self._trainings))
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
    def records(self) -> list[Step]:
        """The steps that write records: conversions and merges."""
        return [*self.conversions, *(step for step in self.later if step.words[0] == "merge")]

    @property
    def steps(self) -> list[Step]:
        """All steps in order."""
        return [*self.conversions, *self.later]


def expect(plan: Plan, machine: Machine, force: bool, mistakes: Mistakes) -> Expected:
    """Looks into the datasets and returns the steps.

    Args:
      plan: the plan; parts with mistakes may be missing.
      machine: the devices.
      force: whether labels that the gate refuses are trained on.
      mistakes: get what is wrong with config values, weights to start from, datasets, and how they fit each other.

    Raises:
      UserError: all of these mistakes.
    """
    before = len(mistakes.problems)
    plan_rules.check_settings(plan, mistakes)
    start: Mapping[str, Any] = {}
    with mistakes.collected(), formats.named(f"{plan.path}: start"):
        start = {} if variables.unset(plan.start) else start_lib.settings(plan.start)
    are_settings_valid = len(mistakes.problems) == before
    facts = _facts(plan, mistakes)
    known = _with_facts(plan, facts)
    conversions, folders = records.conversions(known, facts)
    merging, merged = records.merges(known, folders)
    trainings = Trainings(known, merged, start, machine, force)
    with mistakes.collected():
        checks.check(trainings, are_settings_valid)
    mistakes.raise_all()
    return Expected(conversions, folders, [*merging, *trainings.steps()], facts, trainings)


def _facts(plan: Plan, mistakes: Mistakes) -> dict[str, Facts]:
    """Returns the facts of every dataset, and of validation data that is not a share of it. Collects the mistakes."""
    facts: dict[str, Facts] = {}
    transfers = [("transfer", one.dataset) for one in plan.transfer.values()]
    for group, dataset in [*(("datasets", one) for one in plan.datasets.values()), *transfers]:
        where = f"{plan.path}: {group}.{dataset.name}"
        with mistakes.collected():
            facts[dataset.name] = facts_lib.of_source(dataset, where)
        if dataset.validation is not None:
            options = {**dataset.options, **dataset.validation}
            own = PlannedDataset(f"{dataset.name}{VALIDATION}", dataset.form, options)
            with mistakes.collected():
                facts[own.name] = facts_lib.of_source(own, f"{where}.validation")
    return facts


def _with_facts(plan: Plan, facts: Mapping[str, Facts]) -> Plan:
    """Returns the plan without the datasets that cannot be read."""

    def is_known(dataset: PlannedDataset) -> bool:
        names = [dataset.name, *([] if dataset.validation is None else [f"{dataset.name}{VALIDATION}"])]
        return {*names} <= facts.keys()

    datasets = {name: one for name, one in plan.datasets.items() if is_known(one)}
    transfer = {name: one for name, one in plan.transfer.items() if is_known(one.dataset)}
    is_whole = plan.is_whole and (len(datasets), len(transfer)) == (len(plan.datasets), len(plan.transfer))
    return dataclasses.replace(plan, datasets=datasets, transfer=transfer, is_whole=is_whole)


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
