"""The installed commands: what is set for a process before TensorFlow is imported, and then the command's own module.

Only a command sets it. Whoever imports `must_tf` into a program of his own keeps his own `tf.keras`.
"""

from __future__ import annotations

import contextlib
import gc
import os
from collections.abc import Iterator


def prepare() -> None:
    """Model Garden is built on tf_keras. Unless told so TensorFlow imports Keras 3 besides, a second of every start."""
    os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")


@contextlib.contextmanager
def importing() -> Iterator[None]:
    """Imports what the process keeps to its end: the garbage collector looks for garbage there neither meanwhile nor at
    the end. Among the million objects that TensorFlow's modules are, that takes a third of the import's time."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def train() -> None:
    """The command `must-train`."""
    prepare()
    with importing():
        from must_tf.train import cli

    cli()


def export() -> None:
    """The command `must-export`."""
    prepare()
    with importing():
        from must_tf.export import cli

    cli()


def transfer() -> None:
    """The command `must-transfer`."""
    prepare()
    with importing():
        from must_tf.transfers.command import cli

    cli()
