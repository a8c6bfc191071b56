"""The command `must-transfer`: plans the runs, executes those that are left, and shows the table."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shlex
import statistics
import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from typing import Annotated

import tensorflow as tf

from must_tf.common import command_line, disk, files, folder_lock, own_folder, run_files, subprocesses, tables
from must_tf.common.command_line import flag
from must_tf.common.errors import UserError, exit_on_user_error, nearest
from must_tf.common.progress import clock
from must_tf.common.shared_process import CommandProcesses
from must_tf.transfers import cells, results
from must_tf.transfers import table as table_file
from must_tf.transfers.cells import TransferCell

FAILED, STOPPED = 1, 130  # exit codes
PAUSE_SECONDS = 1.0  # between two attempts to end the runs
MARK = ".must-transfer.json"  # written before the first run: the folder is this command's


@dataclasses.dataclass(frozen=True)
class TransferFlags:
    """Fine-tunes checkpoints on the tasks of a table, one run each, and compares the results.

    Finished runs are not repeated: run the same command again to continue. Exit code 1: some runs failed. A full disk
    ends it with 2.
    """

    table: Annotated[str, flag("--table", "YAML file that names the columns; see must_tf/transfers/__init__.py.")]
    out: Annotated[str, flag("--out", "Folder for the runs, table.json, table.png and report.html.")]
    checkpoint: Annotated[list[str], flag("--checkpoint", "A row: a run directory. Can be repeated.", "NAME=DIR")] = (
        dataclasses.field(default_factory=list)
    )
    scratch: Annotated[bool, flag("--scratch", "Add a row that starts from random weights.")] = False
    column: Annotated[list[str], flag("--column", "Only this column of the table. Can be repeated.", "NAME")] = (
        dataclasses.field(default_factory=list)
    )
    seeds: Annotated[int, flag("--seeds", "Runs per cell, with consecutive task.train_data.seed.")] = 1
    gains_of: Annotated[str, flag("--gains_of", "Row whose gains over the others are shown, with intervals.")] = ""
    jobs: Annotated[int, flag("--jobs", "Runs at once; each needs its memory.")] = 1
    config_file: Annotated[list[str], flag("--config_file", "YAML file for every run; can be repeated.", "FILE")] = (
        dataclasses.field(default_factory=list)
    )
    params_override: Annotated[str, flag("--params_override", "a.b=1,a.c=2 or YAML; applied last, to every run.")] = ""
    plan: Annotated[bool, flag("--plan", "Check everything, show what is finished, and run nothing.")] = False


EXAMPLE = (
    "--table experiments/paper/transfers.yaml --checkpoint student=runs/student "
    "--checkpoint detection=runs/teacher-detection --scratch --out runs/transfers"
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Executes the runs that are left and shows the table. Returns the exit code.

    Raises:
      UserError: flags, configs, records or finished runs do not fit; nothing was run.
    """
    flags = command_line.parse(
        TransferFlags, sys.argv[1:] if arguments is None else arguments, "must-transfer", EXAMPLE
    )
    with contextlib.suppress(RuntimeError):  # leaves the memory of all GPUs to the runs
        tf.config.set_visible_devices([], "GPU")
    planned = _planned(flags)
    left = [cell for cell in planned if not cell.is_done and not cell.column.runs_of]
    print(_plan(planned, left, flags.out), flush=True)
    if flags.plan:
        print(results.text(results.collect(planned, {}, flags.gains_of)))
        return 0
    try:
        with folder_lock.held(flags.out):
            files.write_json(os.path.join(flags.out, MARK), {"table": flags.table})
            failures = _Runs(planned, left, flags).finish()
            table = results.collect(planned, failures, flags.gains_of)
            results.write(table, flags.out)
    except KeyboardInterrupt:
        print("\nstopped; run the same command again to continue", file=sys.stderr)
        return STOPPED
    print(f"\n{results.text(table)}")
    print(f"\nTable, chart and report: {flags.out}/table.json, table.png, report.html", flush=True)
    return FAILED if any(entry.problems for entry in table) else 0


def _planned(flags: TransferFlags) -> list[TransferCell]:
    if not 1 <= flags.seeds <= table_file.MOST_SEEDS:
        raise UserError(f"--seeds={flags.seeds} must be at least 1 and at most {table_file.MOST_SEEDS}.")
    if flags.jobs < 1:
        raise UserError(f"--jobs={flags.jobs} must be at least 1.")
    if "://" in flags.out:  # logs are written line by line
        raise UserError(f"--out={flags.out} must be a local folder, or a mounted one.")
    if problem := run_files.pattern_problem(flags.out):
        raise UserError(f"--out={problem}")
    own_folder.require(flags.out, (MARK, results.TABLE))
    rows = table_file.rows(flags.checkpoint, flags.scratch)
    columns = table_file.columns(flags.table, flags.column)
    if flags.gains_of and flags.gains_of not in (names := [row.name for row in rows]):
        raise UserError(
            f"--gains_of={flags.gains_of} is not a row.{nearest(flags.gains_of, names)} Rows: {', '.join(names)}."
        )
    settings = cells.TransferSettings(flags.config_file, flags.params_override, flags.out, flags.seeds)
    return cells.grid(rows, columns, settings)


def _plan(planned: Sequence[TransferCell], left: Sequence[TransferCell], out: str) -> str:
    planned = [cell for cell in planned if not cell.column.runs_of]
    rows, columns, seeds = (len({getattr(cell, key) for cell in planned}) for key in ("row", "column", "seed"))
    begun = sum(cell.is_begun for cell in left)
    total = (
        f"{len(planned)} runs (rows {rows}, columns {columns}, seeds {seeds}) in {out}: "
        f"{len(planned) - len(left)} done, {begun} begun, {len(left) - begun} to do"
    )
    return tables.table(("", ""), [(cell.name, _state(cell, left)) for cell in planned], title=total)


def _state(cell: TransferCell, left: Sequence[TransferCell]) -> str:
    if cell not in left:
        return "done"
    return "begun" if cell.is_begun else "to do"


class _Runs:
    """Executes runs, the next one also after a failure."""

    def __init__(self, planned: Sequence[TransferCell], left: Sequence[TransferCell], flags: TransferFlags):
        self._planned, self._left, self._flags = planned, left, flags
        own = [cell for cell in planned if not cell.column.runs_of]
        self._jobs = min(flags.jobs, len(own))  # not only those that are left: they get threads like the others
        self._seconds: list[float] = []  # of the runs that ended
        self._started = time.monotonic()
        self._is_ending = threading.Event()
        self._processes = CommandProcesses()

    def finish(self) -> dict[str, str]:
        """Executes all runs that are left, some at once. Returns {path: why it failed}.

        Raises:
          UserError: a disk is full, read-only or broken.
        """
        failures: dict[str, str] = {}
        with ThreadPoolExecutor(self._flags.jobs) as pool:
            running = {pool.submit(self._execute, number, cell) for number, cell in enumerate(self._left, 1)}
            try:
                while running:
                    done, running = wait(running, return_when=FIRST_COMPLETED)
                    for cell, problem in (future.result() for future in done):
                        if problem:
                            failures[cell.path] = problem
                            print(f"  failed: {problem}\n  full output: {cell.log}", file=sys.stderr, flush=True)
                    # After every run, so that it can be read meanwhile.
                    results.write(results.collect(self._planned, failures, self._flags.gains_of), self._flags.out)
            except BaseException:
                self._is_ending.set()
                while running:
                    subprocesses.end_all()  # once more if a run was about to begin
                    running = wait(running, timeout=PAUSE_SECONDS).not_done
                raise
            finally:
                self._processes.end()
        return failures

    def _execute(self, number: int, cell: TransferCell) -> tuple[TransferCell, str]:
        if self._is_ending.is_set():
            return cell, ""  # the command ends by another run's error, and says nothing of this one
        began = time.monotonic()
        seconds = [*self._seconds]
        left = remaining(seconds, len(self._left) - len(seconds), self._flags.jobs)
        so_far = f"{clock(began - self._started)} elapsed{left}"
        print(f"\n[{number}/{len(self._left)}] {cell.name}  ({so_far})", flush=True)
        print(f"  {subprocesses.shown(shlex.join(('must', *cells.words(cell))), self._jobs)}", flush=True)
        try:
            problem = cells.execute(cell, self._processes, self._jobs)
            if disk.is_refusal(problem):  # the other runs would fail as well
                raise UserError(f"{cell.name}: {problem.removeprefix('error: ')}")
            return cell, problem
        except BaseException:
            self._is_ending.set()  # before this thread takes the next run
            raise
        finally:
            self._seconds.append(time.monotonic() - began)


def remaining(seconds: Sequence[float], left: int, jobs: int) -> str:
    """Returns the time left in words; "" before a run has ended.

    Args:
      seconds: of each run that has ended.
      left: number of the others.
      jobs: runs at once, which share the time.
    """
    if not seconds or not left:
        return ""
    return f", about {clock(statistics.fmean(seconds) * left / min(jobs, left))} left"


def cli() -> None:
    """Runs the command `must-transfer`."""
    sys.exit(exit_on_user_error(main))
