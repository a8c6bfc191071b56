"""Values of a config from nested dicts and YAML files, and back."""

from __future__ import annotations

from typing import Any

import tensorflow as tf
import yaml
from official.core import config_definitions
from official.modeling import hyperparams

from must_tf.common import files, upstream
from must_tf.common.errors import Mistakes, UserError
from must_tf.config import validate


def apply(params: hyperparams.Config, values: dict[str, Any], where: str) -> None:
    """Overrides `params` by those of the nested `values` that fit. Raises UserError with all the others."""
    good, wrong = validate.sift(params, values)
    params.override(good, is_strict=True)
    Mistakes(f"{where}: {one}" for one in wrong).raise_all()


def write_params(params: config_definitions.ExperimentConfig, path: str) -> None:
    """Writes a params.yaml, whole or not at all, in plain YAML: Model Garden marks tuples as Python objects."""
    files.write_whole(path, yaml.safe_dump(plain(params.as_dict()), sort_keys=True).encode())


def plain(value: Any) -> Any:
    """Nested values as YAML knows them: tuples as lists."""
    if isinstance(value, dict):
        return {key: plain(inner) for key, inner in value.items()}
    return [plain(inner) for inner in value] if isinstance(value, list | tuple) else value


def flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Flattens nested values to {"task.input_size": 640, ...}, with tuples as lists."""
    leaves: dict[str, Any] = {}
    for key, value in plain(values).items():
        leaves |= flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return leaves


def read_yaml(path: str) -> dict[str, Any]:
    """Reads a YAML file of nested values, such as the params.yaml of a run.

    Raises:
      UserError: the file does not exist or does not hold a mapping.
    """
    if not tf.io.gfile.exists(path):
        raise UserError(f"{path}: no such file.")
    with tf.io.gfile.GFile(path) as file:
        return parse_yaml(file.read(), path)


def parse_yaml(text: str, where: str) -> dict[str, Any]:
    """Parses YAML text to nested values. `where` names the text in messages."""
    try:
        values = upstream.parse_yaml(text)
    except yaml.YAMLError as error:
        raise UserError(f"{where} is not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(values, dict):
        raise UserError(f"{where} must be key=value pairs or YAML, not {text[:60]!r}.")
    return values
