"""The installed commands. Each reads its flags and sets up its process before TensorFlow is imported."""

from __future__ import annotations

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


def transfer() -> None:
    """The command `must-transfer`."""
    prepare()
    with importing():
        from must_tf.transfers.command import cli

    cli()
