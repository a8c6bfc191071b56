"""Checks, before any work, that a plan's datasets, teachers and transfers fit each other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from must_tf.common.errors import Mistakes, UserError
from must_tf.common.text import listed
from must_tf.config import values as config_values
from must_tf.experiments import experiment_config
from must_tf.loop import disk, transfers
from must_tf.loop.settings import combined
from must_tf.loop.teachers import groups
from must_tf.loop.trainings import Trainings
from must_tf.tasks import discover
from must_tf.training import settings_check
from must_tf.transfers.table import SCRATCH
from tfrecords_tools.label import arguments, confidence
from tfrecords_tools.teachers import describe, matching

TRANSFER_MODE = "train_and_eval"  # of `train.py`
FEWEST_VALIDATED = 10  # photos: with fewer, one photo moves a metric by more than a tenth


def check(trainings: Trainings, are_settings_valid: bool = True) -> None:
    """Raises UserError with everything that does not fit.

    If parts of the plan are missing because of other mistakes, only the rules that do not depend on them are checked.

    Args:
      trainings: of the plan.
      are_settings_valid: false if config values or the weights to start from have mistakes of their own: no run can be
        configured with them.
    """
    path = trainings.plan.path
    rules = [_unfit_models, _unfit_transfers]
    if trainings.plan.is_whole:
        rules += [
            _without_labels,
            _never_labelled,
            _partly_labelled,
            _foreign_classes,
            _unfit_students,
            _unused_label_options,
            _unequal_repeats,
        ]
    Mistakes(f"{path}: {problem}" for rule in rules for problem in rule(trainings)).raise_all()
    if trainings.plan.is_whole and are_settings_valid:
        Mistakes(f"{path}: {problem}" for problem in _unfit_settings(trainings)).raise_all()


def _unfit_settings(trainings: Trainings) -> Iterator[str]:
    """Yields settings that a training will refuse, each once with the names of the trainings."""
    refused: dict[str, list[str]] = {}
    for name, experiment, mode, values in _configs(disk.without_hours(trainings)):
        params, mistakes = experiment_config.load(experiment), Mistakes()
        try:
            config_values.apply(params, dict(values), name)
        except UserError:  # reported with the key of the plan, see `plan_rules.check_settings`
            continue
        settings_check.check(params, mode, mistakes)
        for problem in mistakes.problems:
            refused.setdefault(problem, []).append(name)
    for problem, names in refused.items():
        yield f"{listed(names)}: {problem}"


def _configs(trainings: Trainings) -> Iterator[tuple[str, str, str, Mapping[str, Any]]]:
    """Yields name, experiment, mode and config values of every training."""
    for step in trainings.steps():
        if step.words[0] == "train":
            flags = dict(word.removeprefix("--").split("=", 1) for word in step.words[1:])
            yield step.name, flags["experiment"], flags["mode"], disk.config_of(step)
        elif step.name == transfers.TRANSFERS:
            for name, column in disk.columns(step).items():
                (values,) = (
                    make() for path, make in step.files.items() if path.endswith(f"/{column['config_file'][0]}")
                )
                # Beside rows with weights, random ones are fine-tuned without what needs others.
                weights = "of a row" if any(row != SCRATCH for row in column["rows"]) else ""
                given = {"task": {"init_checkpoint": weights}}
                yield f"transfer {name}", f"must_transfer_{column['task']}", TRANSFER_MODE, combined(values, given)


def _without_labels(trainings: Trainings) -> Iterator[str]:
    tasks = trainings.tasks()
    if not tasks:
        yield (
            "no dataset has labels, and no teacher is given. Add a dataset with labels, or name a model below teachers."
        )
    for task, planned in trainings.plan.teachers.items():
        if not planned.model and task not in tasks:
            yield (
                f"teachers.{task}: no dataset has {task} labels to train it on. Add one, or name a model: "
                "{model: path}."
            )
    for folder in trainings.folders.train:
        if not any(map(folder.facts.labelled.get, tasks)) and not trainings.lacking(folder):
            yield f"datasets.{folder.name} teaches nothing: it has no labels."


def _never_labelled(trainings: Trainings) -> Iterator[str]:
    """Yields models for labels that come together with those of another task, which the model does not add."""
    tasks = trainings.tasks()
    added = {task for folder in trainings.folders.train for task in trainings.lacking(folder)}
    for task in (task for task in tasks if trainings.model(task)):
        needs, has_labels = discover()[task].needs, task in trainings.folders.tasks()
        alone = [need for need in needs if not trainings.model(need)]
        if alone and (task in added or not {*alone} <= {*tasks}):
            yield f"teachers.{task}: its objects are those of {alone[0]}. Name the model for {alone[0]}, too."
        elif needs and task not in added and not has_labels:
            yield (
                f"teachers.{task}: all images have real {needs[0]} labels, and {task} are only added together with "
                "these. Leave the model out."
            )


def _partly_labelled(trainings: Trainings) -> Iterator[str]:
    """Yields teachers that label a part of datasets that are merged."""
    for task, planned in trainings.plan.teachers.items():
        yield from _divided(trainings, f"teachers.{task}.labels", planned.labels or ())


def _divided(trainings: Trainings, where: str, chosen: Sequence[str]) -> Iterator[str]:
    """Yields merged datasets of which only some are chosen."""
    for members in (folder.members for folder in trainings.folders.train):
        if chosen and 0 < len({*members} & {*chosen}) < len(members):
            yield f"{where}: {listed(members)} are merged, because their classes differ. Name all."


def _unused_label_options(trainings: Trainings) -> Iterator[str]:
    labelled = [task for teacher in trainings.teachers() for task in teacher.tasks]
    plan = trainings.plan
    for key, is_given, served in (
        ("confidence", plan.confidence, confidence.compared),
        ("half_maps", plan.half_maps, arguments.with_maps),
    ):
        if is_given and not served(labelled):
            known = ", ".join(served(discover()))
            yield f"{key}: it is for {known}, and no teacher of this plan labels these. Leave it out."


def _unequal_repeats(trainings: Trainings) -> Iterator[str]:
    """Yields merged datasets that are to be repeated differently."""
    for members in (folder.members for folder in trainings.folders.train):
        if len({trainings.plan.datasets[name].repeat for name in members}) > 1:
            yield f"datasets: {listed(members)} are merged, because their classes differ. Give all the same repeat."


def unmeasured(trainings: Trainings) -> list[str]:
    """Returns warnings if tasks with real labels have none, or very few, in the validation data; [] if not."""
    train, validation = trainings.folders.train, trainings.folders.validation
    known = [task for task in trainings.tasks() if any(folder.facts.labelled.get(task) for folder in train)]
    counts = {task: sum(folder.facts.labelled.get(task, 0) for folder in validation) for task in known}
    none = [task for task, count in counts.items() if not count]
    few = [f"{task} ({count})" for task, count in counts.items() if 0 < count < FEWEST_VALIDATED]
    remedy = "Set more photos apart, for instance validation: 0.3 of the dataset that has them."
    lines = [f"WARNING: no validation photo has labels of {listed(none)}, so there will be no metrics. {remedy}"]
    lines += [f"WARNING: very few validation photos have labels of {listed(few)}: the metrics say little. {remedy}"]
    return [line for line, tasks in zip(lines, (none, few), strict=True) if tasks]


def _unfit_models(trainings: Trainings) -> Iterator[str]:
    """Yields problems of models that exist: they cannot be read, or have other classes than the labels in the data."""
    for group in groups(trainings.tasks()):
        if len({trainings.model(task) for task in group} - {""}) > 1:
            yield f"teachers: {' and '.join(group)} need one model, because they share their objects."
        own = trainings.own_settings(group)
        if any(run != own[0] for run in own):
            yield f"teachers: {' and '.join(group)} are trained together. Give settings for one of them only."
    for teacher in trainings.teachers():
        if teacher.is_run:
            continue
        where = f"teachers.{teacher.tasks[-1]}"
        try:
            about = describe(teacher.path, teacher.tasks).about
        except UserError as error:
            yield from (f"{where}: {problem}" for problem in error.problems)
            continue
        folders = (*trainings.folders.train, *trainings.folders.validation)  # see `Trainings._with_classes`
        for task in teacher.tasks:
            wanted = next(filter(None, (folder.facts.classes.get(task) for folder in folders)), None)
            if wanted and matching.is_owner(about, task):
                yield from (f"{where}: {problem}" for problem in matching.problems_of(about, task, wanted))


def _foreign_classes(trainings: Trainings) -> Iterator[str]:
    """Yields problems of validation data with classes that cannot be learned."""
    for task in trainings.folders.tasks():
        trained = {name for folder in trainings.folders.train for name in folder.facts.classes.get(task, ())}
        for folder in trainings.folders.validation:
            foreign = [name for name in folder.facts.classes.get(task, ()) if name not in trained]
            if foreign:
                yield (
                    f"{folder.name}: no training data has its {task} classes {listed(foreign)}. Validate on data with "
                    "the classes of the training data."
                )


def _unfit_students(trainings: Trainings) -> Iterator[str]:
    """Yields problems of students to compare."""
    for name, planned in trainings.plan.compare.items():
        where = f"compare.{name}"
        yield from _divided(trainings, f"{where}.datasets", planned.datasets)
        tasks, train = trainings.compared(name)
        for task in planned.tasks:
            if task not in trainings.tasks() or task not in tasks:
                yield f"{where}: there are no {task} labels to learn. Leave this task out, or add a dataset."
        if not tasks or not train:
            yield f"{where}: there is nothing to learn without pseudo labels. Name a dataset with labels."


def _unfit_transfers(trainings: Trainings) -> Iterator[str]:
    for name, planned in trainings.plan.transfer.items():
        train, validation = transfers.folders(trainings, name)
        if not validation:
            yield f"transfer.{name}: there is no validation data to compare on. Write for instance validation: 0.2"
        for kind, folders in (("", train), ("validation: ", validation)):
            for task in planned.tasks:
                if folders and not any(folder.facts.labelled.get(task) for folder in folders):
                    yield f"transfer.{name}: {kind}there are no {task} labels. Leave this task out, or use other data."
