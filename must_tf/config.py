"""From `--experiment`, `--config_file` and `--params_override` to one checked ExperimentConfig.

Model Garden reads overrides strictly but takes any type and suggests nothing. Here everything that is wrong is found
at once, each with its place and the nearest right spelling.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any

import tensorflow as tf
import yaml
from official.core import config_definitions, exp_factory
from official.modeling import hyperparams
from official.modeling.hyperparams import params_dict

from must_tf import check, files, registry_imports  # noqa: F401  # registers the experiments
from must_tf.errors import Mistakes, UserError, nearest

PREFIX = "must_"


def experiments() -> list[str]:
    """The names of this project's experiments."""
    return sorted(name for name in exp_factory._REGISTERED_CONFIGS if name.startswith(PREFIX))


def load(experiment: str, config_files: Sequence[str] = (), override: str = "") -> config_definitions.ExperimentConfig:
    """The experiment's config with the files' and then the override's values.

    Raises:
      UserError: all that `read` found wrong.
    """
    params, mistakes = read(experiment, config_files, override)
    mistakes.end()
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
        mistakes.found.append(f"--experiment={experiment!r} is unknown.{hint} Known: {known}.")
        experiment = f"{PREFIX}student"  # all have the same keys, so that the rest can be checked as well
    params = exp_factory.get_exp_config(experiment)
    for path in config_files:
        with mistakes.noted():
            apply(params, _read(path), f"--config_file={path}")
    with mistakes.noted():
        apply(params, _parse(override) if override else {}, "--params_override")
    return params, mistakes


def apply(params: hyperparams.Config, values: dict[str, Any], where: str) -> None:
    """Overrides `params` by those of the nested `values` that fit. Raises UserError with all the others."""
    good, wrong = check.sift(params, values)
    params.override(good, is_strict=True)
    Mistakes(f"{where}: {one}" for one in wrong).end()


def read_params(path: str) -> dict[str, Any]:
    """A params.yaml that a run wrote."""
    return _read(path)


def write_params(params: config_definitions.ExperimentConfig, path: str) -> None:
    """Writes a params.yaml, whole or not at all, in plain YAML: Model Garden marks tuples as Python objects."""
    files.write_whole(path, yaml.safe_dump(plain(params.as_dict()), sort_keys=True).encode())


def plain(value: Any) -> Any:
    """Nested values as YAML knows them: tuples as lists."""
    if isinstance(value, dict):
        return {key: plain(inner) for key, inner in value.items()}
    return [plain(inner) for inner in value] if isinstance(value, list | tuple) else value


def _read(path: str) -> dict[str, Any]:
    if not tf.io.gfile.exists(path):
        raise UserError(f"{path}: no such file.")
    with tf.io.gfile.GFile(path) as file:
        return _as_dict(file.read(), path)


def _parse(override: str) -> dict[str, Any]:
    with contextlib.suppress(ValueError):  # then it is YAML or a file, as in Model Garden
        override = params_dict.nested_csv_str_to_json_str(override)
    if tf.io.gfile.exists(override):
        return _read(override)
    return _as_dict(override, "--params_override")


def _as_dict(text: str, where: str) -> dict[str, Any]:
    try:
        values = yaml.load(text, Loader=params_dict._LOADER)
    except yaml.YAMLError as error:
        raise UserError(f"{where} is not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(values, dict):
        raise UserError(f"{where} must be key=value pairs or YAML, not {text[:60]!r}.")
    return values
