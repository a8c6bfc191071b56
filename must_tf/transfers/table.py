"""The columns and rows of a table of transfers, as the user names them."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import tensorflow as tf

from must_tf.common.errors import UserError, nearest
from must_tf.config import values as config_values
from must_tf.runs import init_weights
from must_tf.tasks import discover

SCRATCH = "scratch"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")  # it is a folder's, too
DIGITS = 12  # of the SHA-256 that tells checkpoints apart


class Column(NamedTuple):
    """What is transferred to.

    Attributes:
      name: of the column and its folders.
      task: whose head is trained.
      config_file: YAML files of the runs, in the order in which they are applied.
      figure: the one that is shown, as `<task>/<figure>` in evaluation.json.
      higher_is_better: of that figure.
    """

    name: str
    task: str
    config_file: tuple[str, ...]
    figure: str
    higher_is_better: bool


class Row(NamedTuple):
    """What is transferred: a checkpoint's prefix, and 12 hex digits that change with its weights. Both empty: nothing,
    the row is trained from scratch."""

    name: str
    checkpoint: str
    digest: str


def columns(path: str, only: Sequence[str] = ()) -> list[Column]:
    """The columns of a table file; those named in `only`, or all.

    Raises:
      UserError: what does not fit in the file, or a name in `only` that it lacks.
    """
    content = config_values.read_yaml(path)
    _check_keys(content, ("columns",), path)
    named = content.get("columns")
    if not isinstance(named, dict) or not named:
        raise UserError(f"{path} names no column. `columns:` must hold NAME: {{task: ..., config_file: [...]}}.")
    for name in only:
        if name not in named:
            raise UserError(f"--column={name} is not in {path}.{nearest(name, named)} It has {', '.join(named)}.")
    return [_column(str(name), entry, path) for name, entry in named.items() if name in only or not only]


def _column(name: str, entry: Any, path: str) -> Column:
    where = f"{path}: columns.{name}"
    _check_name(name, where)
    if not isinstance(entry, dict):
        raise UserError(f"{where} must be a group of keys: task, config_file.")
    _check_keys(entry, ("task", "config_file", "figure", "higher_is_better"), where)
    task, files = entry.get("task", ""), entry.get("config_file", [])
    if task not in discover():
        raise UserError(f"{where}.task={task!r} is no task.{nearest(str(task), discover())}")
    if isinstance(files, str) or not all(isinstance(each, str) for each in files):
        raise UserError(f"{where}.config_file must be a list of YAML files.")
    spec = discover()[task]
    figure = entry.get("figure", spec.Metric.headline)
    better = entry.get("higher_is_better", spec.Metric.higher_is_better)
    if not isinstance(figure, str) or not isinstance(better, bool):
        raise UserError(
            f"{where}: figure must be a name like {spec.Metric.headline!r}, higher_is_better true or false."
        )
    paths = tuple(os.path.join(os.path.dirname(path), each) for each in files)
    return Column(name, task, paths, f"{task}/{figure}", better)


def _check_keys(content: dict[str, Any], known: Sequence[str], where: str) -> None:
    for key in content:
        if key not in known:
            raise UserError(f"{where}: {key} is no key.{nearest(str(key), known)} Known: {', '.join(known)}.")


def _check_name(name: str, where: str) -> None:
    if not NAME.fullmatch(name):
        raise UserError(f"{where}: {name!r} is also a folder's name: letters, digits, '.', '_' and '-' only.")


def rows(checkpoints: Sequence[str], scratch: bool) -> list[Row]:
    """The rows of NAME=PATH texts, from scratch first.

    Raises:
      UserError: none, a text or name that does not fit, or a path without a checkpoint.
    """
    found = [Row(SCRATCH, "", "")] if scratch else []
    for text in checkpoints:
        name, equals, path = text.partition("=")
        if not equals or not path:
            raise UserError(f"--checkpoint={text}: NAME=RUN_DIRECTORY is expected, like student=runs/student.")
        _check_name(name, f"--checkpoint={text}")
        if name in (SCRATCH, *(row.name for row in found)):
            raise UserError(f"--checkpoint={text}: there are two rows {name!r}; each needs a name of its own.")
        prefix = init_weights.checkpoint_path(path)
        found.append(Row(name, prefix, _digest(prefix)))
    if not found:
        raise UserError("nothing to compare: give --checkpoint NAME=RUN_DIRECTORY, --scratch, or both.")
    return found


def _digest(prefix: str) -> str:
    """Of the weights: a checkpoint's index holds a checksum of every variable, so that it is enough to read that."""
    with tf.io.gfile.GFile(f"{prefix}.index", "rb") as file:
        return hashlib.sha256(file.read()).hexdigest()[:DIGITS]
