"""The folders that this process writes, and what tells each from another one of its name.

Writing a file makes missing folders. If a disk is lost or a folder moved away, a command would go on in a new folder of
the same name, on the disk below. So whatever writes asks first if the folders are still those that it began with.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator

from must_tf.common.errors import UserError

Identity = tuple[int, int]  # device and inode
OF_PARENT = "MUST_HELD"  # environment variable: the folders that the command holds which started this one
_held: list[tuple[str, Identity]] = []


@contextlib.contextmanager
def held(directory: str) -> Iterator[None]:
    """Holds a folder until the block ends. Remote storage has no identity and is never lost.

    The folder stays open: some file systems, like the layered ones of containers, may number it anew otherwise.
    """
    opened = None
    with contextlib.suppress(OSError):  # without permission to list it, or on remote storage
        opened = os.open(directory, os.O_RDONLY)
    found = identity(directory)
    entry = [(directory, found)] if found else []
    _held.extend(entry)
    try:
        yield
    finally:
        for each in entry:
            _held.remove(each)
        if opened is not None:
            os.close(opened)


@contextlib.contextmanager
def held_above(path: str) -> Iterator[None]:
    """Holds the innermost folder above a file that exists already: the others are made with the file."""
    folder = os.path.dirname(os.path.abspath(path)) if "://" not in path else ""
    while folder and not os.path.exists(folder):
        folder = os.path.dirname(folder)
    with held(folder):
        yield


def for_children() -> dict[str, str]:
    """Returns the environment variable by which a process that this one starts holds the same folders."""
    return {OF_PARENT: json.dumps([(directory, *number) for directory, number in _held])}


def hold_those_of_parent() -> None:
    """Holds the folders of the command that started this process, until its end.

    If their disk is lost while this process starts, it would begin in new folders on the disk below.
    """
    for directory, device, inode in json.loads(os.environ.pop(OF_PARENT, "[]")):
        _held.append((directory, (device, inode)))


def require() -> None:
    """Raises UserError if a folder that this process holds is gone, or another one stands in its place."""
    for directory, before in _held[:]:
        if identity(directory) != before:
            raise gone(directory)


def gone(directory: str) -> UserError:
    """Returns the error of a folder that lacks what was written before."""
    return UserError(
        f"{directory} was removed while it was being written, or its disk is gone. Run the same command again."
    )


def identity(directory: str) -> Identity | None:
    """Returns what tells a local folder from another one of its name; None for one on remote storage, or without."""
    with contextlib.suppress(OSError):
        status = os.stat(directory)
        return status.st_dev, status.st_ino
    return None
