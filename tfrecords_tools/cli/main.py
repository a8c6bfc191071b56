"""must-records: datasets into records.

Exit codes: 0 done, 1 done but more was dropped than allowed, 2 not started or stopped.
"""

from __future__ import annotations

import json as json_text
import os
import sys
from typing import Any

import typer
import typer.core

from must_tf.common import process_setup
from must_tf.common.errors import UserError, exit_on_user_error
from must_tf.common.process_setup import importing
from must_tf.common.upstream import hidden_modules
from tfrecords_tools.cli import convert as cli_convert
from tfrecords_tools.cli import datasets, label, look, merge
from tfrecords_tools.writing import worker_pool as processes

# Commands that run no network.
RECORDS = ("convert", "merge", *look.COMMANDS)
# TensorFlow and tf_keras import them for what only networks and clusters need: a quarter of their import's time.
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
app.add_typer(convert, name="convert")
merge.register(app)
look.register(app)
label.register(app)


class _Command(typer.core.TyperCommand):
    """A command whose options can be read, so that it will work; help and mistakes are answered without the wait."""

    def invoke(self, ctx: Any) -> Any:
        """Runs the command, once what all of them need is imported."""
        unused = UNUSED if ctx.command_path.split()[1] in RECORDS else ()
        with importing():
            with hidden_modules(*unused):
                import tensorflow  # noqa: F401
                import tf_keras  # noqa: F401
            from must_tf import tasks

            tasks.discover()
        return super().invoke(ctx)


for _group in (app, cli_convert.app, datasets.app):
    for _command in _group.registered_commands:
        _command.cls = _Command


def main() -> int:
    """Runs the command line; returns the exit code."""
    process_setup.prepare()
    if sys.argv[1:2] and sys.argv[1] in RECORDS:
        os.environ.update(processes.ENVIRONMENT)
    return exit_on_user_error(_run)


def _run() -> None:
    """The command line; programs that asked for JSON are told in it as well why it ended."""
    try:
        app(prog_name="must-records")
    except Exception as error:
        if "--json" in sys.argv:
            kind = "" if isinstance(error, UserError) else f"{type(error).__name__}: "
            typer.echo(json_text.dumps({"error": f"{kind}{error}"}))
        raise
