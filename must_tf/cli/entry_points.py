"""The installed commands. Each reads its flags and sets up its process before TensorFlow is imported."""

from __future__ import annotations

import os
import sys

from must_tf.cli import flags
from must_tf.common.process_setup import importing, prepare


def train() -> None:
    """The command `must-train`."""
    prepare()
    parsed = flags.parse_train(sys.argv[1:])
    with importing():
        from must_tf.cli.train import cli

    cli(parsed)


def export() -> None:
    """The command `must-export`."""
    prepare()
    parsed = flags.parse_export(sys.argv[1:])
    with importing():
        from must_tf.cli.export import cli

    cli(parsed)


def predict() -> None:
    """The command `must predict`."""
    prepare()
    parsed = flags.parse_predict(sys.argv[1:])
    with importing():
        from must_tf.cli.predict import cli

    cli(parsed)


def serve() -> None:
    """The command `must serve`."""
    prepare()
    parsed = flags.parse_serve(sys.argv[1:])
    with importing():
        from must_tf.cli.serve import cli

    cli(parsed)


def doctor() -> None:
    """The command `must-doctor`."""
    # It reports on GPUs itself; TensorFlow's own error about a missing one would contradict a clean report.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        from must_tf.cli.doctor import cli
    except ModuleNotFoundError as error:
        sys.exit(f"error: {error.name} is not installed. Install must_tf again: pip install -e .")
    cli()


def transfer() -> None:
    """The command `must-transfer`."""
    prepare()
    with importing():
        from must_tf.transfers.command import cli

    cli()
