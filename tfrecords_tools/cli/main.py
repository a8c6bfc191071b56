"""The command `must-records`.

Exit codes: 0 finished; 1 finished, but more was dropped than allowed, or a check failed; 2 not started or stopped.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

import typer

from must_tf.common import command_line, process_setup
from must_tf.common.errors import INTERRUPTED, Interrupted, UserError, exit_on_user_error, kept_from_click
from must_tf.common.upstream import hidden_modules
from tfrecords_tools.cli import check, datasets, drawn, evaluate, export_coco, export_yolo, inspect, label, merge, stats
from tfrecords_tools.cli import convert as cli_convert
from tfrecords_tools.writing import worker_pool

PROGRAM = "must-records"
# Commands that do not run a network.
RECORDS = ("convert", "merge", "inspect", "check", "stats", "export-coco", "export-yolo")
# Commands that run a network, and keep maps of the photos' size beside it. With oneDNN, TensorFlow keeps the memory of
# tensors for later ones: the largest maps would take twice as much. With the system's allocator, it gives it back.
NETWORKS = ("label", "evaluate")
LONGEST = 1000  # letters of a sentence in a list of commands
ALLOCATOR = "TF_ONEDNN_USE_SYSTEM_ALLOCATOR"
# Only networks and clusters need these, but TensorFlow and tf_keras import them: a quarter of their import time.
UNUSED = ("googleapiclient", "h5py", "pandas", "scipy")

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,  # help in plain text
    help="Convert datasets into records; label, check, inspect, merge and export them.",
)
convert = typer.Typer(no_args_is_help=True, help="Convert a dataset on disk into records.")
convert.add_typer(cli_convert.app)
convert.add_typer(datasets.app)
convert.add_typer(drawn.app)
app.add_typer(convert, name="convert")
for _module in (merge, inspect, check, stats, export_coco, export_yolo, label, evaluate):
    _module.register(app)


class _Command(command_line.Command):
    """A command that imports TensorFlow after parsing its options, so that help and mistakes need not wait for it."""

    def get_help(self, ctx: Any) -> str:
        """Returns the help text. Its examples name the program that the user typed: `must` or `must-records`."""
        return super().get_help(ctx).replace(PROGRAM, ctx.find_root().info_name)

    def get_short_help_str(self, limit: int = 0) -> str:
        """Returns the whole first sentence for the list of commands, which wraps it. `limit` would cut it."""
        del limit
        return super().get_short_help_str(LONGEST)

    def invoke(self, ctx: Any) -> Any:
        """Imports what all commands need and runs the command."""
        unused = UNUSED if ctx.command_path.split()[1] in RECORDS else ()
        with process_setup.importing():
            with hidden_modules(*unused):
                import tensorflow  # noqa: F401
                import tf_keras  # noqa: F401
            from must_tf import tasks

            tasks.discover()
        with kept_from_click():
            return super().invoke(ctx)


for _group in (app, cli_convert.app, datasets.app, drawn.app):
    for _command in _group.registered_commands:
        _command.cls = _Command


def main() -> int:
    """Runs the command line and returns the exit code."""
    process_setup.prepare()
    if sys.argv[1:2] and sys.argv[1] in RECORDS:
        os.environ.update(worker_pool.ENVIRONMENT)
    if sys.argv[1:2] and sys.argv[1] in NETWORKS:
        os.environ.setdefault(ALLOCATOR, "1")
    return exit_on_user_error(_run)


def _run() -> None:
    """Runs the command line. With --json, an error is printed to stdout as JSON as well."""
    try:
        app(prog_name=command_line.typed(PROGRAM))
    except SystemExit as end:
        if end.code == INTERRUPTED:  # while the command line was parsed: click says nothing
            raise Interrupted from None
        raise
    except Exception as error:
        if "--json" in sys.argv:
            prefix = "" if isinstance(error, UserError) else f"{type(error).__name__}: "
            typer.echo(json.dumps({"error": f"{prefix}{error}"}))
        raise
