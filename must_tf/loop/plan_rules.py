"""Rules about the names and the settings in a plan file."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from must_tf.common.errors import Mistakes, UserError

if TYPE_CHECKING:
    from must_tf.loop.plan import Plan

# Ends of the folders that a dataset's name stands for.
VALIDATION, MERGED_VALIDATION, LABELLED = "-val", "-val-merged", "-labelled"


def name_problems(datasets: Collection[str], transfers: Collection[str]) -> Iterator[str]:
    """Yields the names of which two would stand for one folder."""
    for key, names in (("datasets", datasets), ("transfer", transfers)):
        for name in names:
            if key == "transfer" and name in datasets:
                yield f"transfer.{name}: there is a dataset of this name too. Give it another name."
            for end in (VALIDATION, MERGED_VALIDATION, LABELLED):
                base = name.removesuffix(end)
                if base != name and base in {*datasets, *transfers}:
                    yield f"{key}.{name}: this is the folder of a part of {base!r}. Give it another name."


def check_settings(plan: Plan, mistakes: Mistakes) -> None:
    """Collects the config values of a plan that no run accepts. Imports TensorFlow."""
    from must_tf.config import values as config_values
    from must_tf.experiments import experiment_config

    for where, values in _settings(plan):
        place = ": ".join((plan.path, where, *filter(None, [plan.settings_files.get(where)])))
        if values:
            with mistakes.collected():
                config_values.apply(experiment_config.load("must_student"), dict(values), place)
                problems = (*_batch_problems(values), *_size_problems(plan, where, values))
                mistakes.problems += [f"{place}: {problem}" for problem in problems]


def _batch_problems(values: Mapping[str, Any]) -> Iterator[str]:
    """Yields what is wrong with a batch size that a run would choose when it starts: a plan is made before."""
    if values.get("task", {}).get("train_data", {}).get("global_batch_size") == 0:
        yield (
            "task.train_data.global_batch_size=0 (automatic) is not for a plan: steps and learning rate follow from "
            "the batch size. Give a number, or leave it out."
        )


def _size_problems(plan: Plan, where: str, values: Mapping[str, Any]) -> list[str]:
    """Returns what is wrong with the input size of a run with these settings; if none is set, a right one is chosen."""
    from must_tf.config import values as config_values
    from must_tf.experiments import experiment_config
    from must_tf.loop.settings import combined
    from must_tf.model import trunk

    own = values.get("task", {})
    whole = combined(plan.settings, plan.student.settings if where.startswith("compare.") else {}, values)
    if "input_size" not in whole.get("task", {}) or (
        "input_size" not in own and "max_level" not in own.get("model", {})
    ):
        return []  # a right size will be chosen, or the group that has it is checked
    task = experiment_config.load("must_student").task
    try:
        config_values.apply(task, whole["task"], where)
    except UserError:
        return []  # reported for the group that has it
    return trunk.size_problems(task.model, task.input_size)


def _settings(plan: Plan) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yields the settings of a plan with their keys."""
    yield "settings", plan.settings
    yield "student.settings", plan.student.settings
    yield "teachers.all.settings", plan.every_teacher.settings
    for task, teacher in plan.teachers.items():
        yield f"teachers.{task}.settings", teacher.run.settings
    for name, student in plan.compare.items():
        yield f"compare.{name}.settings", student.run.settings
    for name, transfer in plan.transfer.items():
        yield f"transfer.{name}.settings", transfer.run.settings
