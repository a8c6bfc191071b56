"""Reads YAML files of nested values. Nothing here needs TensorFlow, except for files that are not on a disk."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from typing import Any

import yaml

from must_tf.common import text_files as texts
from must_tf.common.errors import UserError, nearest_path
from must_tf.common.text import brief
from must_tf.common.yaml_keys import SafeLoader, load, reason

LONGEST = 1 << 20  # bytes of YAML; a run's params.yaml has about 10,000
# As in YAML 1.2 and in Model Garden, 1e-3 is a number. PyYAML wants a point and a sign: 1.0e-3.
EXPONENT = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$")
NOT_TEXT = re.compile("[\0\ud800-\udfff]")  # YAML's escapes can make them
MOST_VALUES = 100_000  # with those behind aliases, which may be far more than the text is long


class Loader(SafeLoader):
    """Reads plain values, and the tuples in files that Model Garden wrote. Builds no other Python objects."""


Loader.add_implicit_resolver("tag:yaml.org,2002:float", EXPONENT, list("-+.0123456789"))
Loader.add_constructor("tag:yaml.org,2002:python/tuple", Loader.construct_yaml_seq)


def read_yaml(path: str) -> dict[str, Any]:
    """Reads a YAML file of nested values, such as the params.yaml of a run.

    Raises:
      UserError: the file does not exist or does not hold a mapping.
    """
    exists: Callable[[str], bool] = os.path.exists
    opened: Callable[..., Any] = open
    if "://" in path:
        import tensorflow as tf

        exists, opened = tf.io.gfile.exists, tf.io.gfile.GFile
    if not exists(path):
        raise UserError(f"{path}: no such file.{nearest_path(path)} Check the path.")
    if "://" not in path and not os.path.isfile(path):  # reading a pipe would wait for ever
        raise UserError(f"{path} is not a file. Give a YAML file.")
    with opened(path, "rb") as file:
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
        values = load(text, Loader)
        _check_values(values)
    except (RecursionError, OverflowError):
        raise UserError(f"{where} is nested too deeply, or has more than {MOST_VALUES:,} values.") from None
    except (yaml.YAMLError, ValueError) as error:
        raise UserError(f"{where} is not valid YAML: {reason(error)}") from error
    if not isinstance(values, dict):
        raise UserError(f"{where} must contain key=value pairs or a YAML mapping, not {brief(text)}.")
    return values


def _check_values(values: Any) -> None:
    """Raises OverflowError if there are too many values: one that contains itself has no end.

    Raises ValueError for a text that cannot be a path.
    """
    left, count = [values], 0
    while left:
        value = left.pop()
        count += 1
        if count > MOST_VALUES:
            raise OverflowError
        if isinstance(value, str) and NOT_TEXT.search(value):
            raise ValueError(f"the text {value[:60]!r} has a character that cannot be written")
        left += value.values() if isinstance(value, dict) else value if isinstance(value, list) else []
