"""What a command sets for its process before TensorFlow is imported.

Only a command sets it. Whoever imports `must_tf` into a program of his own keeps his own `tf.keras`.
"""

from __future__ import annotations

import contextlib
import gc
import os
import sys
from collections.abc import Iterator

from must_tf.common import startup_times  # noqa: F401  # its clock starts with the process


def prepare() -> None:
    """Model Garden is built on tf_keras. Unless told so TensorFlow imports Keras 3 besides, a second of every start."""
    os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")


@contextlib.contextmanager
def importing() -> Iterator[None]:
    """Imports what the process keeps to its end: the garbage collector looks for garbage there neither meanwhile nor
    ever again. TensorFlow's modules are 350 thousand objects; looking through them again and again takes a sixth of
    their import, and as long once more when the process ends."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


@contextlib.contextmanager
def absent(*modules: str) -> Iterator[None]:
    """As if these were not installed, for libraries that import them at their own start if they find them. What is
    imported already stays, and afterwards they can be imported."""
    hidden = [name for name in modules if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]  # None: Python's own word for it
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]
