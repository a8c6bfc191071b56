"""The runs of a table of transfers: plans them, checks them before any of them starts, and executes them."""

from __future__ import annotations

import dataclasses
import os
import signal
from collections.abc import Sequence
from typing import Any, NamedTuple

import tensorflow as tf
import yaml
from official.core.config_definitions import ExperimentConfig

from must_tf.common import files, run_files, subprocesses
from must_tf.common.errors import UserError, nearest
from must_tf.common.shared_process import CommandProcesses
from must_tf.common.text import listed
from must_tf.config import values as config_values
from must_tf.experiments import experiment_config
from must_tf.runs import directory as run_directory
from must_tf.runs.pretrained import weights
from must_tf.training import batch_size, preflight
from must_tf.transfers.table import TransferColumn, TransferRow

WITHOUT_WEIGHTS = {"freeze_batch_norm": False, "backbone_learning_rate": 1.0}  # task's settings of random weights
SHOWN = 5  # settings in the message about a run that was started with other ones
LAST_LINES = 200  # of a failed run's log, in which its error is searched


class TransferSettings(NamedTuple):
    """The settings that all runs of a table share. Config files and override are applied after each column's."""

    config_file: Sequence[str]
    override: str
    out: str
    seeds: int


@dataclasses.dataclass(frozen=True)
class TransferCell:
    """One run: a row's weights fine-tuned on a column's task, with one seed."""

    row: TransferRow
    column: TransferColumn
    seed: int
    steps: int
    settings: dict[str, Any]  # the whole config
    path: str  # the run directory; its other files have the same path with a suffix

    @property
    def log(self) -> str:
        """The file with the run's output."""
        return f"{self.path}.log"

    @property
    def config(self) -> str:
        """The file with the run's whole config, as YAML. The first line names the initial weights."""
        return f"{self.path}.yaml"

    @property
    def is_done(self) -> bool:
        """True if it was trained and evaluated to the end."""
        return preflight.evaluated_step(self.path) >= self.steps

    @property
    def is_begun(self) -> bool:
        """True if it has a checkpoint to resume from."""
        return tf.io.gfile.exists(os.path.join(self.path, run_files.CHECKPOINT))

    @property
    def name(self) -> str:
        """The name to print."""
        return f"{self.row.name} -> {self.column.name}, seed {self.seed}"


def grid(
    rows: Sequence[TransferRow], columns: Sequence[TransferColumn], settings: TransferSettings
) -> list[TransferCell]:
    """Returns all runs, column by column and seed by seed, so that a column can be read as soon as it is finished.

    Raises:
      UserError: configs, records or finished runs do not fit; names all of them.
    """
    cells: list[TransferCell] = []
    problems = []
    for column in columns:
        try:
            _check_rows(column, rows)
            params = _params(column, settings)
            own = [row for row in rows if row.name in (column.rows or (row.name,))]
            if not column.runs_of:
                _check_equal(column, params, not all(row.checkpoint for row in own))
                params.task.init_checkpoint = next((row.checkpoint for row in own if row.checkpoint), "")
                preflight.settle(params, "train_and_eval")  # the check of every run of this column
            count = column.seeds or settings.seeds
            planned = [_cell(row, column, seed, settings) for seed in range(count) for row in own]
            for cell in planned:
                _check_same(cell)
            cells += planned
        except UserError as error:
            problems.append(f"{column.name}: {error}")
    if problems:
        raise UserError("\n  ".join(problems))
    return cells


def _check_rows(column: TransferColumn, rows: Sequence[TransferRow]) -> None:
    known = [row.name for row in rows]
    for name in column.rows:
        if name not in known:
            raise UserError(
                f"rows: no such row: {name}.{nearest(name, known)} Rows of this command: {', '.join(known)}."
            )


def _check_equal(column: TransferColumn, params: ExperimentConfig, is_from_scratch: bool) -> None:
    """Looks for settings that would let the runs of a column differ in more than their initial weights.

    Early stopping is not used, and a note says so: a plan may have it for its other trainings. Nor do random weights
    get what protects trained ones: frozen statistics of theirs have no meaning, and a slower backbone would only hold
    them up.

    Raises:
      UserError: the batch size is to be chosen.
    """
    if params.task.patience:
        print(
            f"{column.name}: task.patience={params.task.patience} is not used, because all runs of a column are "
            "equally long",
            flush=True,
        )
    given = [f"task.{key}" for key, value in WITHOUT_WEIGHTS.items() if getattr(params.task, key) != value]
    if given and is_from_scratch:
        print(
            f"{column.name}: runs from scratch do not use {listed(given)}: they have no weights to protect", flush=True
        )
    if batch_size.is_auto(params):
        raise UserError(
            f"{batch_size.KEY}={batch_size.AUTO} would choose a batch size for each run, by the memory that is free "
            "then. Give a number."
        )


def _params(column: TransferColumn, settings: TransferSettings) -> ExperimentConfig:
    config_files = [*column.config_file, *settings.config_file]
    return experiment_config.load(f"must_transfer_{column.task}", config_files, settings.override)


def _cell(row: TransferRow, column: TransferColumn, number: int, settings: TransferSettings) -> TransferCell:
    params = _params(column, settings)
    seed = params.task.train_data.seed + number
    params.task.train_data.seed = seed
    params.task.init_checkpoint = row.checkpoint
    params.task.patience = 0  # see `_check_equal`
    if not row.checkpoint:
        for key, value in WITHOUT_WEIGHTS.items():
            setattr(params.task, key, value)
    if weights.is_known(row.checkpoint):
        params.task.init_modules = "backbone"  # they have nothing else
    path = os.path.join(settings.out, row.name, column.folder, f"seed-{seed}")
    return TransferCell(row, column, seed, params.trainer.train_steps, config_values.plain(params.as_dict()), path)


def _check_same(cell: TransferCell) -> None:
    """Raises UserError for a run that was started with other settings or weights; `runtime` may differ."""
    is_started = cell.is_begun or preflight.evaluated_step(cell.path) >= 0
    if not is_started or not tf.io.gfile.exists(cell.config):
        return
    with tf.io.gfile.GFile(cell.config) as file:
        first = file.read().partition("\n")[0]
    # Loaded and not just read: settings that are newer than the run get their defaults.
    started_with = experiment_config.load(f"must_transfer_{cell.column.task}", [cell.config])
    old, new = config_values.flat(started_with.as_dict()), config_values.flat(cell.settings)
    changes = run_directory.differences(old, new)
    differing = [str(change) for change in changes if not change.key.startswith("runtime.")]
    if first != _first_line(cell.row) and not any(change.key == "task.init_checkpoint" for change in changes):
        differing.append(f"the weights in {cell.row.checkpoint} have changed")
    if differing:
        raise UserError(
            f"{cell.path} was started with other settings (old -> new): {listed(differing, SHOWN, '; ')}. "
            "Give another --out, or delete that folder to start the run again."
        )


def _first_line(row: TransferRow) -> str:
    return f"# starts from {row.checkpoint} {row.digest}" if row.checkpoint else "# starts from scratch"


def words(cell: TransferCell) -> list[str]:
    """Returns the command of `must` that runs a cell. The experiment only decides on the heads."""
    experiment = "must_transfer" if cell.row.checkpoint else "must_teacher"
    return [
        "train",
        f"--experiment={experiment}_{cell.column.task}",
        "--mode=train_and_eval",
        f"--model_dir={cell.path}",
        f"--config_file={cell.config}",
    ]


def execute(cell: TransferCell, processes: CommandProcesses, jobs: int = 1) -> str:
    """Runs or resumes a cell, one of `jobs` at a time. Returns why it failed, or ""."""
    text = f"{_first_line(cell.row)}\n{yaml.safe_dump(cell.settings, sort_keys=True)}"
    files.write_whole(cell.config, text.encode())
    code = processes.follow(words(cell), cell.log, cell.name if jobs > 1 else "", jobs)
    if code < 0:
        hint = " (out of memory?)" if -code == signal.SIGKILL else ""
        return f"killed by {signal.Signals(-code).name}{hint}"
    if code:
        lines = subprocesses.last_lines(cell.log, LAST_LINES) or [f"exit code {code}"]
        return next((line for line in reversed(lines) if line.startswith("error: ")), lines[-1])
    return "" if cell.is_done else f"it ended without an evaluation at step {cell.steps}"
