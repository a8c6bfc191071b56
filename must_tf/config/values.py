"""Reads and writes config values as nested dicts and YAML files."""

from __future__ import annotations

import os
from typing import Any

import tensorflow as tf
import yaml
from official.core import config_definitions
from official.modeling import hyperparams

from must_tf.common import files, upstream
from must_tf.common import text_files as texts
from must_tf.common.errors import Mistakes, UserError
from must_tf.config import validate


def apply(params: hyperparams.Config, values: dict[str, Any], where: str) -> None:
    """Overrides `params` with the valid ones of the nested `values`. Raises UserError about all the others.

    `where` names the source of the values in messages.
    """
    valid, problems = validate.sift(params, values)
    params.override(valid, is_strict=True)
    Mistakes(f"{where}: {problem}" for problem in problems).raise_all()


def write_params(params: config_definitions.ExperimentConfig, path: str) -> None:
    """Writes a params.yaml, completely or not at all. Model Garden's own writer would tag tuples as Python objects."""
    files.write_whole(path, yaml.safe_dump(plain(params.as_dict()), sort_keys=True).encode())


def plain(value: Any) -> Any:
    """Returns nested values with tuples as lists, as YAML has them."""
    if isinstance(value, dict):
        return {key: plain(inner) for key, inner in value.items()}
    return [plain(inner) for inner in value] if isinstance(value, list | tuple) else value


def flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Flattens nested values to {"task.input_size": 640, ...}, with tuples as lists."""
    leaves: dict[str, Any] = {}
    for key, value in plain(values).items():
        leaves |= flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return leaves


LONGEST = 1 << 20  # bytes of YAML; a run's params.yaml has about 10,000
MOST_VALUES = 100_000  # with those behind aliases, which may be far more than the text is long


def read_yaml(path: str) -> dict[str, Any]:
    """Reads a YAML file of nested values, such as the params.yaml of a run.

    Raises:
      UserError: the file does not exist or does not hold a mapping.
    """
    if not tf.io.gfile.exists(path):
        raise UserError(f"{path}: no such file. Check the path.")
    if "://" not in path and not os.path.isfile(path):  # reading a pipe would wait for ever
        raise UserError(f"{path} is not a file. Give a YAML file.")
    with tf.io.gfile.GFile(path, "rb") as file:
        data = file.read(LONGEST + 1)
    try:
        content = texts.decode(data).text
    except ValueError as error:
        raise UserError(f"{path} cannot be read: {error}. Give a YAML file.") from None
    return parse_yaml(content, path)


def parse_yaml(text: str, where: str) -> dict[str, Any]:
    """Parses YAML text to nested values. `where` names the text in messages.

    Raises:
      UserError: the text is not YAML or does not hold a mapping.
    """
    if len(text) > LONGEST:
        raise UserError(f"{where} is longer than {LONGEST:,} characters. It must be a small YAML mapping.")
    try:
        values = upstream.parse_yaml(text)
        _check_size(values)
    except (RecursionError, OverflowError):
        raise UserError(f"{where} is nested too deeply, or has more than {MOST_VALUES:,} values.") from None
    except (yaml.YAMLError, ValueError) as error:
        raise UserError(f"{where} is not valid YAML: {' '.join(str(error).split())[:500]}") from error
    if not isinstance(values, dict):
        raise UserError(f"{where} must contain key=value pairs or a YAML mapping, not {text[:60]!r}.")
    return values


def _check_size(values: Any) -> None:
    """Raises OverflowError if there are too many values. One that contains itself has no end."""
    left, count = [values], 0
    while left:
        value = left.pop()
        count += 1
        if count > MOST_VALUES:
            raise OverflowError
        left += value.values() if isinstance(value, dict) else value if isinstance(value, list) else []
