"""From `--experiment`, `--config_file` and `--params_override` to one checked ExperimentConfig.

Model Garden reads overrides strictly but takes any type and suggests nothing. Here everything that is wrong is found
at once, each with its place and the nearest right spelling.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any

import tensorflow as tf
from official.core import config_definitions, exp_factory
from official.modeling.hyperparams import params_dict

from must_tf import registry_imports  # noqa: F401  # registers the experiments
from must_tf.common.errors import Mistakes, nearest
from must_tf.config import values
from must_tf.experiments import NAMES

PREFIX = "must_"


def experiments() -> list[str]:
    """The names of this project's experiments."""
    return sorted(NAMES)


def load(experiment: str, config_files: Sequence[str] = (), override: str = "") -> config_definitions.ExperimentConfig:
    """The experiment's config with the files' and then the override's values.

    Raises:
      UserError: all that `read` found wrong.
    """
    params, mistakes = read(experiment, config_files, override)
    mistakes.raise_all()
    return params


def read(
    experiment: str, config_files: Sequence[str] = (), override: str = ""
) -> tuple[config_definitions.ExperimentConfig, Mistakes]:
    """As `load`, but with what is wrong beside a config that holds all that is right.

    Wrong may be: the experiment; a file that is missing or no YAML; unknown keys, wrong types, values out of range.
    """
    mistakes = Mistakes()
    if experiment not in experiments():
        known = ", ".join(experiments())
        hint = nearest(experiment, experiments())
        mistakes.problems.append(f"--experiment={experiment!r} is unknown.{hint} Known: {known}.")
        experiment = f"{PREFIX}student"  # all have the same keys, so that the rest can be checked as well
    params = exp_factory.get_exp_config(experiment)
    for path in config_files:
        with mistakes.collected():
            values.apply(params, values.read_yaml(path), f"--config_file={path}")
    with mistakes.collected():
        values.apply(params, _parse(override) if override else {}, "--params_override")
    return params, mistakes


def _parse(override: str) -> dict[str, Any]:
    with contextlib.suppress(ValueError):  # then it is YAML or a file, as in Model Garden
        override = params_dict.nested_csv_str_to_json_str(override)
    if tf.io.gfile.exists(override):
        return values.read_yaml(override)
    return values.parse_yaml(override, "--params_override")
