"""The steps that turn the datasets of a plan into records."""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from must_tf.loop import formats
from must_tf.loop.facts import Facts
from must_tf.loop.plan import VALIDATION_SHARE, Plan, PlannedDataset
from must_tf.loop.plan_rules import MERGED_VALIDATION, VALIDATION
from must_tf.loop.steps import MANY, Step
from must_tf.tasks import discover
from tfrecords_tools.writing import worker_pool

RECORDS = "records"  # the folder of the converted datasets
JOINED = "+"  # between the names of datasets that are merged


@dataclasses.dataclass(frozen=True)
class RecordFolder:
    """A folder of converted records, or one that will be."""

    name: str
    folder: str
    facts: Facts

    @property
    def pattern(self) -> str:
        """Its record files."""
        return os.path.join(self.folder, "*.tfrecord")

    @property
    def members(self) -> list[str]:
        """The datasets that it was merged from, or itself."""
        return self.name.split(JOINED)


@dataclasses.dataclass(frozen=True)
class Folders:
    """The record folders of a plan to train and to validate on; those of its transfers apart."""

    train: tuple[RecordFolder, ...]
    validation: tuple[RecordFolder, ...]
    transfer: tuple[RecordFolder, ...] = ()

    def tasks(self) -> tuple[str, ...]:
        """Returns the tasks that some training images have real labels for."""
        return tuple(task for task in discover() if any(one.facts.labelled.get(task) for one in self.train))


def conversions(plan: Plan, facts: Mapping[str, Facts]) -> tuple[list[Step], Folders]:
    """Returns the conversions of the plan's datasets, and the folders that they write.

    Args:
      plan: the plan.
      facts: by dataset, and by "<dataset>-val" for validation data that is not a share of it.
    """
    steps, folders = _converted(plan, plan.datasets.values(), facts)
    more, transfer = _converted(plan, [one.dataset for one in plan.transfer.values()], facts)
    return [*steps, *more], dataclasses.replace(folders, transfer=(*transfer.train, *transfer.validation))


def _converted(
    plan: Plan, datasets: Iterable[PlannedDataset], facts: Mapping[str, Facts]
) -> tuple[list[Step], Folders]:
    """Returns the conversions of these datasets. Validation data comes first: the training data leaves it out."""
    steps: list[Step] = []
    train, validation = [], []
    shares = {dataset.name: share_of(dataset, facts[dataset.name]) for dataset in datasets}
    for dataset in datasets:
        if shares[dataset.name] or dataset.validation is not None:
            step, folder = _validation(plan, dataset, shares[dataset.name], facts)
            steps += step
            validation.append(folder)
    for dataset in datasets:
        if dataset.is_trained_on:
            step, folder = _training(plan, dataset, shares[dataset.name], facts, validation)
            steps += step
            train.append(folder)
    return steps, Folders(tuple(train), tuple(validation))


def share_of(dataset: PlannedDataset, facts: Facts) -> float:
    """Returns the share of the dataset that is set apart for validation."""
    if dataset.share >= 0:
        return dataset.share
    return VALIDATION_SHARE if facts.labelled else 0.0


def _validation(
    plan: Plan, dataset: PlannedDataset, share: float, facts: Mapping[str, Facts]
) -> tuple[list[Step], RecordFolder]:
    name = f"{dataset.name}{VALIDATION}"
    if dataset.form == formats.RECORDS:
        existing = formats.folder_of((dataset.validation or {})[formats.RECORDS])
        return [], RecordFolder(name, existing, facts[name])
    folder = RecordFolder(name, plan.folder(RECORDS, name), facts.get(name) or _part(facts[dataset.name], share))
    options = {**dataset.options, **(dataset.validation or {})}
    part = ("--part", "validation", "--validation-share", str(share)) if share else ()
    images = (facts[dataset.name] if share else facts[name]).images
    return [_convert(f"convert {name}", dataset.form, options, part, folder.folder, images=images)], folder


def _training(
    plan: Plan,
    dataset: PlannedDataset,
    share: float,
    facts: Mapping[str, Facts],
    validation: Sequence[RecordFolder],
) -> tuple[list[Step], RecordFolder]:
    if dataset.form == formats.RECORDS:
        existing = formats.folder_of(dataset.options[formats.RECORDS])
        return [], RecordFolder(dataset.name, existing, facts[dataset.name])
    part = ("--part", "train", "--validation-share", str(share)) if share else ()
    excluded = [word for other in validation for word in ("--exclude", other.pattern)]
    folder = RecordFolder(
        dataset.name, plan.folder(RECORDS, dataset.name), _part(facts[dataset.name], 1 - share if share else 1.0)
    )
    step = _convert(
        f"convert {dataset.name}",
        dataset.form,
        dataset.options,
        (*part, *excluded),
        folder.folder,
        tuple(other.folder for other in validation),
        facts[dataset.name].images,
    )
    return [step], folder


def _part(facts: Facts, share: float) -> Facts:
    labelled = {task: max(1, round(count * share)) for task, count in facts.labelled.items()}
    return facts._replace(images=max(1, round(facts.images * share)), labelled=labelled)


def _convert(
    name: str,
    form: str,
    options: Mapping[str, Any],
    more: Iterable[str],
    out: str,
    needs: tuple[str, ...] = (),
    images: int = 0,
) -> Step:
    words = ("convert", *formats.arguments(form, options), *more, "--out", out)
    state = functools.partial(formats.state, name, form, options)
    # Worker processes are forked from a process in which TensorFlow has computed nothing yet. After another conversion
    # each of them would import TensorFlow itself, and have its own memory for it.
    workers = options.get("workers") or worker_pool.default_count(images)
    processes = MANY if workers <= 1 else 0
    return Step(name, words, out, needs=needs, images=images, state=state, processes=processes)


def merges(plan: Plan, folders: Folders) -> tuple[list[Step], Folders]:
    """Returns the merges of folders that name the classes of a task differently, and the folders after them.

    A network has one list of classes per task. Merging unites the lists by name and keeps for every image which classes
    were annotated in it. Validation data gets the list of the training data, also if it has only some of its classes.
    """
    steps: list[Step] = []
    train = []
    for names in _groups(folders.train):
        members = [one for one in folders.train if one.name in names]
        train += [_merged(plan, steps, members)] if len(members) > 1 else members
    differing = [one for one in folders.validation if any(_differ(one, other) for other in train)]
    validation = [one for one in folders.validation if one not in differing]
    if differing:
        lists = [one for one in train if any(_differ(one, other) for other in differing)]
        validation.append(_merged(plan, steps, differing, lists))
    return steps, Folders(tuple(train), tuple(validation), folders.transfer)


def _groups(folders: Sequence[RecordFolder]) -> list[tuple[str, ...]]:
    """Returns the names of folders to merge: those with different classes of one task, directly or through others."""
    groups: list[list[RecordFolder]] = []
    for folder in folders:
        with_it = [group for group in groups if any(_differ(folder, other) for other in group)]
        groups = [group for group in groups if group not in with_it]
        groups.append([*(other for group in with_it for other in group), folder])
    order = {folder.name: place for place, folder in enumerate(folders)}
    named = [tuple(sorted((one.name for one in group), key=order.__getitem__)) for group in groups]
    return sorted(named, key=lambda group: order[group[0]])


def _differ(one: RecordFolder, other: RecordFolder) -> bool:
    shared = one.facts.classes.keys() & other.facts.classes.keys()
    return any(one.facts.classes[task] != other.facts.classes[task] for task in shared)


def _merged(
    plan: Plan, steps: list[Step], members: Sequence[RecordFolder], classes_of: Sequence[RecordFolder] = ()
) -> RecordFolder:
    """Adds the step that merges these folders, and returns the result.

    The classes of the folders `classes_of` come first, which are given for validation data.
    """
    if classes_of:  # they are validation data
        name = JOINED.join(one.name.removesuffix(VALIDATION) for one in members) + MERGED_VALIDATION
    else:
        name = JOINED.join(one.name for one in members)
    out = plan.folder(RECORDS, name)
    given = [word for one in classes_of for word in ("--classes-of", one.pattern)]
    given += [word for one in members for word in ("--records", one.pattern)]
    needs = tuple(one.folder for one in (*classes_of, *members))
    steps.append(Step(f"merge {name}", ("merge", *given, "--out", out), out, needs=needs))
    tasks = sorted({task for one in members for task in one.facts.labelled})
    facts = Facts(
        images=sum(one.facts.images for one in members),
        labelled={task: sum(one.facts.labelled.get(task, 0) for one in members) for task in tasks},
        classes=_united([one.facts.classes for one in (*classes_of, *members)]),
        side=max(members, key=lambda one: one.facts.images).facts.side,
        bytes=sum(one.facts.images * one.facts.bytes for one in members)
        / max(1, sum(one.facts.images for one in members)),
        labels={task: size for one in members for task, size in one.facts.labels.items()},
        objects=max(one.facts.objects for one in members),
    )
    return RecordFolder(name, out, facts)


def _united(all_classes: Iterable[Mapping[str, tuple[str, ...]]]) -> dict[str, tuple[str, ...]]:
    """Unites class names as `must merge` does: those of the first, then those that the others add."""
    united: dict[str, tuple[str, ...]] = {}
    for classes in all_classes:
        for task, names in classes.items():
            united[task] = tuple(dict.fromkeys((*united.get(task, ()), *names)))
    return united
