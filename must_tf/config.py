"""From `--experiment`, `--config_file` and `--params_override` to one checked ExperimentConfig.

Model Garden reads overrides strictly but takes any type and suggests nothing. Here everything that is wrong is found
at once, each with its place and the nearest right spelling.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Sequence
from typing import Any

import tensorflow as tf
import yaml
from official.core import config_definitions, exp_factory
from official.modeling import hyperparams
from official.modeling.hyperparams import params_dict

from must_tf import files, registry_imports  # noqa: F401  # registers the experiments
from must_tf.errors import UserError, nearest

PREFIX = "must_"


def experiments() -> list[str]:
    """The names of this project's experiments."""
    return sorted(name for name in exp_factory._REGISTERED_CONFIGS if name.startswith(PREFIX))


def load(experiment: str, config_files: Sequence[str] = (), override: str = "") -> config_definitions.ExperimentConfig:
    """The experiment's config with the files' and then the override's values.

    Raises:
      UserError: an unknown experiment; a file that is missing or no YAML; unknown keys and wrong types, all of them.
    """
    if experiment not in experiments():
        known = ", ".join(experiments())
        raise UserError(f"--experiment={experiment!r} is unknown.{nearest(experiment, experiments())} Known: {known}.")
    params = exp_factory.get_exp_config(experiment)
    for path in config_files:
        apply(params, _read(path), f"--config_file={path}")
    if override:
        apply(params, _parse(override), "--params_override")
    return params


def apply(params: hyperparams.Config, values: dict[str, Any], where: str) -> None:
    """Overrides `params` by nested `values` once they are all checked."""
    problems = _problems(params, values, "")
    if problems:
        raise UserError(f"{where}: " + "; ".join(problems))
    params.override(values, is_strict=True)


def read_params(path: str) -> dict[str, Any]:
    """A params.yaml that a run wrote."""
    return _read(path)


def write_params(params: config_definitions.ExperimentConfig, path: str) -> None:
    """Writes a params.yaml, whole or not at all, in plain YAML: Model Garden marks tuples as Python objects."""
    files.write_whole(path, yaml.safe_dump(_plain(params.as_dict()), sort_keys=True).encode())


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    return [_plain(inner) for inner in value] if isinstance(value, list | tuple) else value


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


def _problems(params: hyperparams.Config, values: dict[str, Any], prefix: str) -> list[str]:
    known = [key for key in params.__dict__ if key not in params.RESERVED_ATTR]
    found = _problems_of_choice(params, values, prefix)
    for key, value in values.items():
        place = f"{prefix}{key}"
        if key not in known:
            found.append(f"{place}: no such key.{nearest(str(key), known) or ' Known: ' + ', '.join(known) + '.'}")
        else:
            wrong = _problems_of_value(params.__dict__[key], value, place)
            found += wrong or _problems_of_word(params, key, value, place)
    return found


def _problems_of_word(params: hyperparams.Config, key: str, value: Any, place: str) -> list[str]:
    """Fields that take one of a few words, or a share, say so in their metadata."""
    field = next((field for field in dataclasses.fields(params) if field.name == key), None)
    below = field.metadata.get("below") if field else None
    if below is not None and not 0 <= value < below:
        return [f"{place}={value!r}: must be at least 0 and below {below:g}."]
    choices = field.metadata.get("choices", ()) if field else ()
    if not choices or value in choices:
        return []
    return [f"{place}={value!r}: no such choice.{nearest(str(value), choices)} Known: {', '.join(choices)}."]


def _problems_of_choice(params: hyperparams.Config, values: dict[str, Any], prefix: str) -> list[str]:
    """A `type` that names none of its alternatives, which Model Garden would notice only when it is used."""
    chosen = values.get("type")
    if not isinstance(params, hyperparams.OneOfConfig) or chosen is None or chosen in params.__dict__:
        return []
    known = [key for key in params.__dict__ if key not in ("type", *params.RESERVED_ATTR)]
    return [f"{prefix}type={chosen!r} does not exist.{nearest(str(chosen), known)} Known: {', '.join(known)}."]


def _problems_of_value(current: Any, value: Any, place: str) -> list[str]:
    if isinstance(current, hyperparams.Config) and isinstance(value, dict):
        return _problems(current, value, place + ".")
    if current is None or value is None or _fits(current, value):
        return []
    return [f"{place}={value!r}: must be {_kind(current)}, like {_example(current)!r}."]


def _fits(current: Any, value: Any) -> bool:
    if isinstance(current, bool) or isinstance(value, bool):
        return isinstance(current, bool) and isinstance(value, bool)
    if isinstance(current, float):
        return isinstance(value, int | float)
    if isinstance(current, str):  # a path may be one or a list of them
        return isinstance(value, str | list | tuple)
    if isinstance(current, list | tuple):
        return isinstance(value, list | tuple | str)
    return isinstance(value, type(current))


def _kind(current: Any) -> str:
    kinds = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}
    if isinstance(current, hyperparams.Config):
        return "a group of keys"
    return kinds.get(type(current), "a list")


def _example(current: Any) -> Any:
    if isinstance(current, hyperparams.Config):
        return next(iter(current.as_dict()), "")
    return list(current) if isinstance(current, tuple) else current
