"""One rule for all commands that write a folder: one with files that the command did not write is refused.

A command knows its folder by a mark: a file that it writes first. Locks, hidden files and logs do not count.
"""

from __future__ import annotations

import fnmatch
import os
from collections.abc import Sequence

import tensorflow as tf

from must_tf.common.errors import UserError
from must_tf.common.text import listed

BESIDE = (".*", "*.log", "*.out", "*.err")  # locks, what file systems hide, and what batch systems write
SHOWN = 3  # names in a message


def foreign(directory: str, known: Sequence[str] = ()) -> list[str]:
    """Returns the sorted names in a folder that match no pattern in `BESIDE` or `known`.

    A folder that does not exist has none.
    """
    names = [name.rstrip("/") for name in tf.io.gfile.listdir(directory)] if tf.io.gfile.isdir(directory) else []
    return sorted(name for name in names if not any(fnmatch.fnmatch(name, one) for one in (*BESIDE, *known)))


def require(directory: str, marks: Sequence[str], option: str = "--out", known: Sequence[str] = ()) -> None:
    """Refuses a folder that another program or person has written.

    Args:
      directory: the folder, which need not exist.
      marks: names in it, one of which every folder of this command has.
      option: that named the folder.
      known: patterns of names that may be there before the command begins.

    Raises:
      UserError: the folder has other files and none of the marks, or is a file.
    """
    if tf.io.gfile.exists(directory) and not tf.io.gfile.isdir(directory):
        raise UserError(f"{option} {directory} is a file. Give a folder.")
    others = foreign(directory, known)  # before the marks: another process of this command may begin meanwhile
    if others and not any(tf.io.gfile.exists(os.path.join(directory, mark)) for mark in marks):
        raise UserError(
            f"{option} {directory} has files that this command did not write: {listed(others, SHOWN)}. "
            "Give a new or empty folder."
        )
