"""Builds a checked ExperimentConfig from `--experiment`, `--config_file` and `--params_override`.

Model Garden refuses unknown keys, but accepts any type and suggests nothing. Here all mistakes are reported at once,
each with its key and the nearest spelling.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any

import tensorflow as tf
from official.core import config_definitions, exp_factory
from official.modeling.hyperparams import params_dict

from must_tf.common import upstream
from must_tf.common.errors import Mistakes, UserError, nearest
from must_tf.config import values
from must_tf.experiments import registry_imports  # noqa: F401  # registers the experiments

PREFIX = "must_"
LONGEST_PATH = 4096


def experiments() -> list[str]:
    """Returns the names of all registered experiments of must_tf, including those of other distributions."""
    return sorted(name for name in upstream.registered_experiments() if name.startswith(PREFIX))


def load(experiment: str, config_files: Sequence[str] = (), override: str = "") -> config_definitions.ExperimentConfig:
    """Returns the experiment's config with the values of the files and then of the override.

    Raises:
      UserError: all mistakes that `read` found.
    """
    params, mistakes = read(experiment, config_files, override)
    mistakes.raise_all()
    return params


def read(
    experiment: str, config_files: Sequence[str] = (), override: str = ""
) -> tuple[config_definitions.ExperimentConfig, Mistakes]:
    """Returns a config with all valid values, and the mistakes beside it.

    Mistakes are an unknown experiment, a file that is missing or not YAML, unknown keys, wrong types, and values out of
    range.
    """
    mistakes = Mistakes()
    if experiment not in experiments():
        known = ", ".join(experiments())
        hint = nearest(experiment, experiments())
        mistakes.problems.append(f"--experiment={experiment!r} is unknown.{hint} Known: {known}.")
        experiment = f"{PREFIX}student"  # all experiments have the same keys, so the rest can be checked
    params = exp_factory.get_exp_config(experiment)
    for path in config_files:
        with mistakes.collected():
            values.apply(params, values.read_yaml(path), f"--config_file={path}")
    given: dict[str, Any] = {}
    with mistakes.collected():
        given = _parse(override) if override else {}
    if override and not given:
        mistakes.raise_all()  # what it would have set is missing now: other checks would name that, too
    with mistakes.collected():
        values.apply(params, given, "--params_override")
    return params, mistakes


def _parse(override: str) -> dict[str, Any]:
    with contextlib.suppress(ValueError):  # it is YAML or a file then, as in Model Garden
        override = params_dict.nested_csv_str_to_json_str(override)
    if "\0" in override:
        raise UserError("--params_override has a zero byte. Write key=value pairs or a YAML mapping.")
    if len(override) < LONGEST_PATH and tf.io.gfile.exists(override):
        return values.read_yaml(override)
    try:
        return values.parse_yaml(override, "--params_override")
    except UserError as error:
        if "=" not in override:
            raise
        raise UserError(
            f"{error} Put a value with brackets, braces or commas in quotes: a.b='rec [1]/*',a.c=2"
        ) from None
