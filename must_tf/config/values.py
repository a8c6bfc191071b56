"""Applies config values, as nested dicts, and writes them as YAML files. `yaml_files` reads them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import yaml

from must_tf.common import files
from must_tf.common.errors import Mistakes
from must_tf.config import validate
from must_tf.config.base import Config
from must_tf.config.yaml_files import parse_yaml as parse_yaml  # read values and apply them go together
from must_tf.config.yaml_files import read_yaml as read_yaml

if TYPE_CHECKING:
    from official.core import config_definitions


def apply(params: Config, values: dict[str, Any], where: str) -> None:
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
