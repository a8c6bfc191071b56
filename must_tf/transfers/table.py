"""Reads the columns and rows of a table of transfers."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

from must_tf.common.errors import UserError, nearest
from must_tf.config import values as config_values
from must_tf.runs import init_weights
from must_tf.runs.pretrained import weights
from must_tf.tasks import discover

SCRATCH = "scratch"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")  # rows and columns are also folders
MOST_SEEDS = 1000  # in one cell; each is a training
COLUMN_KEYS = ("task", "config_file", "figure", "higher_is_better", "rows", "seeds", "runs_of")
OWN_KEYS = ("config_file", "rows", "seeds")  # of a column with runs of its own


class TransferColumn(NamedTuple):
    """A task and the data to fine-tune on.

    Attributes:
      name: of the column and its folders.
      task: whose head is trained, with those that it needs.
      config_file: YAML files of the runs, in the order in which they are applied.
      figure: the metric to show, as "<task>/<metric>" in evaluation.json.
      higher_is_better: the direction of that metric.
      rows: the rows that are trained; empty: all.
      seeds: runs per cell; 0: as many as the command says.
      runs_of: the column whose runs this one shows another metric of; "" for its own.
    """

    name: str
    task: str
    config_file: tuple[str, ...]
    figure: str
    higher_is_better: bool
    rows: tuple[str, ...] = ()
    seeds: int = 0
    runs_of: str = ""

    @property
    def folder(self) -> str:
        """The name of the folder of its runs, below each row's."""
        return self.runs_of or self.name


class TransferRow(NamedTuple):
    """The initial weights: a checkpoint's prefix, a weight file or the name of published weights, and hex digits that
    change with the weights.

    Both are empty for a row that is trained from scratch.
    """

    name: str
    checkpoint: str
    digest: str


def columns(path: str, only: Sequence[str] = ()) -> list[TransferColumn]:
    """Returns the columns of a table file, or those named in `only`.

    Raises:
      UserError: the file does not fit, or lacks a name in `only`.
    """
    content = config_values.read_yaml(path)
    _check_keys(content, ("columns",), path)
    entries = content.get("columns")
    if not isinstance(entries, dict) or not entries:
        raise UserError(f"{path} has no columns. Write columns: {{NAME: {{task: ..., config_file: [...]}}}}.")
    for name in only:
        if name not in entries:
            raise UserError(f"--column={name} is not in {path}.{nearest(name, entries)} Known: {', '.join(entries)}.")
    texts = [str(name) for name in entries]
    if twice := [name for name in texts if texts.count(name) > 1]:  # 1 and "1"
        raise UserError(f"{path}: columns.{twice[0]} is there twice. Give each column its own name.")
    own = {str(name): _column(str(name), entry, path) for name, entry in entries.items() if not _runs_of(entry)}
    every = [own.get(str(name)) or _shared(str(name), entry, own, path) for name, entry in entries.items()]
    chosen = [column for column in every if column.name in only or not only]
    for column in chosen:
        if only and column.folder not in only:
            raise UserError(f"--column={column.name} shows the runs of {column.runs_of}. Add --column={column.runs_of}")
    return chosen


def _runs_of(entry: Any) -> str:
    return str(entry.get("runs_of", "")) if isinstance(entry, dict) else ""


def _column(name: str, entry: Any, path: str) -> TransferColumn:
    where = f"{path}: columns.{name}"
    task, figure, better = _metric(name, entry, where)
    config_files, own_rows = _texts(entry, "config_file", where, "YAML files"), _texts(entry, "rows", where, "rows")
    seeds = entry.get("seeds", 0)
    if not isinstance(seeds, int) or isinstance(seeds, bool) or not 0 <= seeds <= MOST_SEEDS:
        raise UserError(f"{where}.seeds must be a whole number of at most {MOST_SEEDS}, not {seeds!r}.")
    paths = tuple(os.path.join(os.path.dirname(path), file) for file in config_files)
    return TransferColumn(name, task, paths, figure, better, tuple(own_rows), seeds)


def _shared(name: str, entry: dict[str, Any], own: dict[str, TransferColumn], path: str) -> TransferColumn:
    """Returns a column that shows another metric of the runs of one in `own`."""
    where, runs_of = f"{path}: columns.{name}", _runs_of(entry)
    task, figure, better = _metric(name, entry, where)
    for key in OWN_KEYS:
        if key in entry:
            raise UserError(f"{where}.{key}: the runs are those of {runs_of}. Leave it out.")
    if runs_of not in own:
        raise UserError(f"{where}.runs_of: {runs_of!r} has no runs.{nearest(runs_of, own)} Known: {', '.join(own)}.")
    trained = own[runs_of].task
    if task not in (trained, *discover()[trained].needs):
        raise UserError(f"{where}.task={task!r} is not learnt by the runs of {runs_of}, which train {trained}.")
    return own[runs_of]._replace(name=name, figure=figure, higher_is_better=better, runs_of=runs_of)


def _metric(name: str, entry: Any, where: str) -> tuple[str, str, bool]:
    """Returns a column's task, the metric to show as "<task>/<metric>", and whether more of it is better."""
    _check_name(name, where)
    if not isinstance(entry, dict):
        raise UserError(f"{where} must be a group of keys: {', '.join(COLUMN_KEYS)}.")
    _check_keys(entry, COLUMN_KEYS, where)
    task = entry.get("task", "")
    if not isinstance(task, str) or task not in discover():
        raise UserError(f"{where}.task={task!r} is not a task.{nearest(str(task), discover())}")
    metric = discover()[task].Metric
    figure = entry.get("figure", metric.headline)
    better = entry.get("higher_is_better", metric.higher_is_better)
    if not isinstance(figure, str):
        raise UserError(f"{where}.figure must be the name of a metric, like {metric.headline!r}.")
    if figure not in metric.figures:
        raise UserError(
            f"{where}.figure={figure!r} is not a metric of {task}.{nearest(figure, metric.figures)} "
            f"Known: {', '.join(metric.figures)}."
        )
    if not isinstance(better, bool):
        raise UserError(f"{where}.higher_is_better must be true or false.")
    return task, f"{task}/{figure}", better


def _texts(entry: dict[str, Any], key: str, where: str, kind: str) -> list[str]:
    value = entry.get(key, [])
    if not isinstance(value, list) or not all(isinstance(text, str) for text in value):
        raise UserError(f"{where}.{key} must be a list of {kind}.")
    return value


def _check_keys(content: dict[str, Any], known: Collection[str], where: str) -> None:
    for key in content:
        if key not in known:
            raise UserError(f"{where}: no such key: {key}.{nearest(str(key), known)} Known: {', '.join(known)}.")


def _check_name(name: str, where: str) -> None:
    if not NAME.fullmatch(name):
        raise UserError(f"{where}: {name!r} is also the name of a folder. Use letters, digits, '.', '_' and '-' only.")


def rows(checkpoints: Sequence[str], scratch: bool) -> list[TransferRow]:
    """Parses the rows from NAME=PATH texts; the row from scratch comes first.

    Raises:
      UserError: there is no row, a text or name does not fit, or a path has no checkpoint.
    """
    parsed = [TransferRow(SCRATCH, "", "")] if scratch else []
    for text in checkpoints:
        name, equals, path = text.partition("=")
        if not equals or not path:
            raise UserError(f"--checkpoint={text} must be NAME=RUN_DIRECTORY, like student=runs/student.")
        _check_name(name, f"--checkpoint={text}")
        if name in (SCRATCH, *(row.name for row in parsed)):
            raise UserError(f"--checkpoint={text}: there are two rows {name!r}. Give each its own name.")
        prefix = path if weights.is_known(path) else init_weights.checkpoint_path(path)
        parsed.append(TransferRow(name, prefix, init_weights.digest(prefix)))
    if not parsed:
        raise UserError("nothing to compare. Give --checkpoint NAME=RUN_DIRECTORY, --scratch, or both.")
    return parsed
