"""The installed commands. Each reads its flags and sets up its process before TensorFlow is imported.

Nothing large is imported before signals are handled: Ctrl-C would show a traceback.
"""

from __future__ import annotations

import importlib
import os
import sys

from must_tf.common import interrupts


def train() -> None:
    """The command `must-train`."""
    _run("must_tf.cli.train", "parse_train", keep_log=True)


def export() -> None:
    """The command `must-export`."""
    _run("must_tf.cli.export", "parse_export", keep_log=True)


def predict() -> None:
    """The command `must predict`."""
    _run("must_tf.cli.predict", "parse_predict")


def serve() -> None:
    """The command `must serve`."""
    _run("must_tf.cli.serve", "parse_serve")


def transfer() -> None:
    """The command `must-transfer`."""
    _run("must_tf.transfers.command")


def doctor() -> None:
    """The command `must-doctor`."""
    with interrupts.at_once():
        # It reports on GPUs itself; TensorFlow's own error about a missing one would contradict a clean report.
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        try:
            from must_tf.cli.doctor import cli
        except ModuleNotFoundError as error:
            sys.exit(f"error: {error.name} is not installed. Install must_tf again: pip install -e .")
        cli()


def _run(module: str, parse: str = "", keep_log: bool = False) -> None:
    """Runs the `cli` of a module, with the flags that a function of `flags` reads, if it has not its own."""
    with interrupts.at_once():
        from must_tf.cli import flags
        from must_tf.common.process_setup import importing, prepare

        prepare(keep_log)
        parsed = [getattr(flags, parse)(sys.argv[1:])] if parse else []
        with importing():
            cli = importlib.import_module(module).cli
        cli(*parsed)
