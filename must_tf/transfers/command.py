"""The command `must-transfer`: plans the runs, does what is left of them, and shows the table."""

from __future__ import annotations

import contextlib
import dataclasses
import shlex
import sys
import time
from collections.abc import Sequence
from typing import Annotated

import tensorflow as tf

from must_tf.common import command_line
from must_tf.common.command_line import flag
from must_tf.common.errors import UserError, exit_on_user_error
from must_tf.common.progress import clock
from must_tf.transfers import cells, results, table

FAILED, STOPPED = 1, 130  # exit codes


@dataclasses.dataclass(frozen=True)
class TransferFlags:
    """Fine-tunes checkpoints on the tasks of a table, one run each, and compares the results.

    Finished runs are not repeated: run the same command again to continue. Exit code 1: some runs failed.
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
    config_file: Annotated[list[str], flag("--config_file", "YAML file for every run; can be repeated.", "FILE")] = (
        dataclasses.field(default_factory=list)
    )
    params_override: Annotated[str, flag("--params_override", "a.b=1,a.c=2 or YAML; applied last, to every run.")] = ""
    plan: Annotated[bool, flag("--plan", "Check everything, show what is finished, and run nothing.")] = False


EXAMPLE = (
    "must-transfer --table experiments/paper/transfers.yaml --checkpoint student=runs/student "
    "--checkpoint detection=runs/teacher-detection --scratch --out runs/transfers"
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs what is left and shows the table; the exit code. Raises UserError for what is wrong, before any work."""
    given = sys.argv[1:] if arguments is None else arguments
    flags = command_line.parse(TransferFlags, given, "must-transfer", EXAMPLE)
    with contextlib.suppress(RuntimeError):  # the runs need all of the GPUs' memory; this process would take it
        tf.config.set_visible_devices([], "GPU")
    if flags.seeds < 1:
        raise UserError(f"--seeds={flags.seeds} must be at least 1.")
    if "://" in flags.out:  # the logs are written line by line
        raise UserError(f"--out={flags.out} must be a local folder, or a mounted one.")
    rows, columns = table.rows(flags.checkpoint, flags.scratch), table.columns(flags.table, flags.column)
    settings = cells.Settings(flags.config_file, flags.params_override, flags.out, flags.seeds)
    planned = cells.grid(rows, columns, settings)
    left = [cell for cell in planned if not cell.is_done]
    print(_plan(planned, left, flags.out), flush=True)
    if flags.plan:
        print("\n".join(results.lines(results.collect(planned, {}))))
        return 0
    try:
        failures = _run(planned, left, flags.out)
    except KeyboardInterrupt:
        print("\nstopped; the same command goes on from here", file=sys.stderr)
        return STOPPED
    found = results.collect(planned, failures)
    results.write(found, flags.out)
    print("\n" + "\n".join(results.lines(found)))
    print(f"\nTable, chart and page: {flags.out}/table.json, table.png, report.html", flush=True)
    return FAILED if any(one.problems for row in found.entries for one in row) else 0


def _plan(planned: Sequence[cells.Cell], left: Sequence[cells.Cell], out: str) -> str:
    rows, columns, seeds = (len({getattr(cell, key) for cell in planned}) for key in ("row", "column", "seed"))
    begun = sum(cell.is_begun for cell in left)
    states = [
        f"{cell.name:<48}{'done' if cell not in left else 'begun' if cell.is_begun else 'to do'}" for cell in planned
    ]
    total = (
        f"{len(planned)} runs (rows {rows}, columns {columns}, seeds {seeds}) in {out}: "
        f"{len(planned) - len(left)} done, {begun} begun, {len(left) - begun} to do"
    )
    return "\n  ".join([total, *states])


def _run(planned: Sequence[cells.Cell], left: Sequence[cells.Cell], out: str) -> dict[str, str]:
    """Runs them one after the other; a failed one is noted and the others go on."""
    failures: dict[str, str] = {}
    started = time.monotonic()
    for number, cell in enumerate(left):
        passed = time.monotonic() - started
        still = f", about {clock(passed / number * (len(left) - number))} left" if number else ""
        print(f"\n[{number + 1}/{len(left)}] {cell.name}  ({clock(passed)} passed{still})", flush=True)
        print(f"  {shlex.join(cells.command(cell))}", flush=True)
        problem = cells.execute(cell)
        if problem:
            failures[cell.path] = problem
            print(f"  failed: {problem}\n  its whole output is in {cell.log}", file=sys.stderr, flush=True)
        results.write(results.collect(planned, failures), out)  # so that it can be looked at on the way
    return failures


def cli() -> None:
    """The command `must-transfer`."""
    sys.exit(exit_on_user_error(main))
