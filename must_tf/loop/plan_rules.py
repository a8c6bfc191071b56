"""Rules about the names and the settings in a plan file."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from must_tf.common.errors import Mistakes

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
    from must_tf.model import trunk

    for where, values in _settings(plan):
        place = ": ".join((plan.path, where, *filter(None, [plan.settings_files.get(where)])))
        if values:
            with mistakes.collected():
                params = experiment_config.load("must_student")
                config_values.apply(params, dict(values), place)
                mistakes.problems += [
                    f"{place}: {problem}" for problem in trunk.size_problems(params.task.model, params.task.input_size)
                ]


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
