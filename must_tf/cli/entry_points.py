"""The installed commands: what is set for a process before TensorFlow is imported, and then the command's own module.

Only a command sets it. Whoever imports `must_tf` into a program of his own keeps his own `tf.keras`.
"""

from __future__ import annotations

from must_tf.common.process_setup import importing, prepare


def train() -> None:
    """The command `must-train`."""
    prepare()
    with importing():
        from must_tf.cli.train import cli

    cli()


def export() -> None:
    """The command `must-export`."""
    prepare()
    with importing():
        from must_tf.cli.export import cli

    cli()


def transfer() -> None:
    """The command `must-transfer`."""
    prepare()
    with importing():
        from must_tf.transfers.command import cli

    cli()
