"""The runs of a table: what each is, whether it is done, and how it is run. Checked before any of them starts."""

from __future__ import annotations

import dataclasses
import os
import signal
import sys
from collections.abc import Sequence
from typing import Any, NamedTuple

import tensorflow as tf
import yaml

from must_tf import experiment_config
from must_tf.common import files, run_files, subprocesses
from must_tf.common.errors import UserError
from must_tf.common.text import listed
from must_tf.config import values as config_values
from must_tf.runs import directory as run_directory
from must_tf.training import preflight
from must_tf.transfers.table import Column, Row

SHOWN = 5  # settings that are named where two runs differ


class Settings(NamedTuple):
    """What all runs of a table share: config files and an override on top of every column's, and the folder."""

    config_file: Sequence[str]
    override: str
    out: str
    seeds: int


@dataclasses.dataclass(frozen=True)
class Cell:
    """One run: this row's start on this column's task, with one seed."""

    row: Row
    column: Column
    seed: int
    steps: int
    settings: dict[str, Any]  # the whole config
    path: str  # of all its files, without a suffix

    @property
    def log(self) -> str:
        """Its output."""
        return f"{self.path}.log"

    @property
    def config(self) -> str:
        """Its whole config, YAML; the first line names the start."""
        return f"{self.path}.yaml"

    @property
    def is_done(self) -> bool:
        """Whether it was trained to its end and evaluated."""
        return preflight.evaluated_step(self.path) >= self.steps

    @property
    def is_begun(self) -> bool:
        """Whether there is something to go on from."""
        return tf.io.gfile.exists(os.path.join(self.path, run_files.CHECKPOINT))

    @property
    def name(self) -> str:
        """For people."""
        return f"{self.row.name} -> {self.column.name}, seed {self.seed}"


def grid(rows: Sequence[Row], columns: Sequence[Column], settings: Settings) -> list[Cell]:
    """All runs, column by column, seed by seed: a column can be read as soon as it is done.

    Raises:
      UserError: configs, records or finished runs that do not fit, all that were found.
    """
    cells, problems = [], []
    for column in columns:
        try:
            _check_data(column, settings)
            mine = [_cell(row, column, seed, settings) for seed in range(settings.seeds) for row in rows]
            for cell in mine:
                _check_same(cell)
            cells += mine
        except UserError as error:
            problems.append(f"{column.name}: {error}")
    if problems:
        raise UserError("\n  ".join(problems))
    return cells


def _check_data(column: Column, settings: Settings) -> None:
    """As every run of the column will be checked when it starts."""
    preflight.settle(_params(column, settings), "train_and_eval")


def _params(column: Column, settings: Settings) -> Any:
    config_files = [*column.config_file, *settings.config_file]
    return experiment_config.load(f"must_transfer_{column.task}", config_files, settings.override)


def _cell(row: Row, column: Column, number: int, settings: Settings) -> Cell:
    params = _params(column, settings)
    seed = params.task.train_data.seed + number
    params.task.train_data.seed = seed
    params.task.init_checkpoint = row.checkpoint
    whole = config_values.plain(params.as_dict())
    path = os.path.join(settings.out, row.name, column.name, f"seed-{seed}")
    return Cell(row, column, seed, params.trainer.train_steps, whole, path)


def _check_same(cell: Cell) -> None:
    """Refuses a run that was begun with other settings or from other weights; where it runs does not matter."""
    worked = cell.is_begun or preflight.evaluated_step(cell.path) >= 0
    if not worked or not tf.io.gfile.exists(cell.config):
        return
    with tf.io.gfile.GFile(cell.config) as file:
        first = file.read().partition("\n")[0]
    # Loaded and not just read: a setting that its version did not have yet is at its default.
    begun = experiment_config.load(f"must_transfer_{cell.column.task}", [cell.config])
    changes = run_directory.differences(config_values.flat(begun.as_dict()), config_values.flat(cell.settings))
    differing = [str(change) for change in changes if not change.key.startswith("runtime.")]
    if first != _start(cell.row) and not any(change.key == "task.init_checkpoint" for change in changes):
        differing.append(f"the weights in {cell.row.checkpoint} have changed")
    if differing:
        raise UserError(
            f"{cell.path} was started with other settings (old -> new): {listed(differing, SHOWN, '; ')}. "
            "Give another --out, or delete that folder to start the run again."
        )


def _start(row: Row) -> str:
    return f"# starts from {row.checkpoint} {row.digest}" if row.checkpoint else "# starts from scratch"


def command(cell: Cell) -> list[str]:
    """What runs it: the whole config is in one file, so that the experiment decides nothing but the heads."""
    experiment = "must_transfer" if cell.row.checkpoint else "must_teacher"
    return [
        sys.executable,
        "-m",
        "must_tf.cli.train",
        f"--experiment={experiment}_{cell.column.task}",
        "--mode=train_and_eval",
        f"--model_dir={cell.path}",
        f"--config_file={cell.config}",
    ]


def execute(cell: Cell) -> str:
    """Runs it, or goes on with it. Returns why it failed; empty where it did not."""
    text = f"{_start(cell.row)}\n{yaml.safe_dump(cell.settings, sort_keys=True)}"
    files.write_whole(cell.config, text.encode())
    code = subprocesses.follow(command(cell), cell.log)
    if code < 0:
        return f"killed by {signal.Signals(-code).name}{' (out of memory?)' if -code == signal.SIGKILL else ''}"
    if code:
        lines = subprocesses.last_lines(cell.log, 200) or [f"exit code {code}"]
        return next((line for line in reversed(lines) if line.startswith("error: ")), lines[-1])
    return "" if cell.is_done else f"it ended without an evaluation at step {cell.steps}"
