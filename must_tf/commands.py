"""The installed commands: what is set for a process before TensorFlow is imported, and then the command's own module.

Only a command sets it. Whoever imports `must_tf` into a program of his own keeps his own `tf.keras`.
"""

from __future__ import annotations

import os

from must_tf import startup  # noqa: F401  # its clock starts with the process


def prepare() -> None:
    """Model Garden is built on tf_keras. Unless told so TensorFlow imports Keras 3 besides, a second of every start."""
    os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")


def train() -> None:
    """The command `must-train`."""
    prepare()
    from must_tf.train import cli

    cli()


def export() -> None:
    """The command `must-export`."""
    prepare()
    from must_tf.export import cli

    cli()


def transfer() -> None:
    """The command `must-transfer`."""
    prepare()
    from must_tf.transfers.command import cli

    cli()
