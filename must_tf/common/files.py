"""Writes files, local or remote, so that they appear completely or not at all."""

from __future__ import annotations

import contextlib
import glob
import json
import os
import secrets
import stat
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import tensorflow as tf

from must_tf.common import held_folders
from must_tf.common.errors import UserError

WRITE_AGAIN = "Restore it, or delete it and run the command again that wrote it."


def partial(path: str) -> str:
    """Returns a temporary name beside `path` that no other writer uses, on this machine or another."""
    return f"{path}.{secrets.token_hex(4)}.partial"


def is_endless(path: str) -> bool:
    """Returns True for a local pipe, socket or device. Reading from it may wait for ever, or find no end."""
    if "://" in path or not os.path.exists(path):
        return False
    mode = os.stat(path).st_mode
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def require_an_end(path: str) -> None:
    """Raises UserError for a pipe, socket or device."""
    if is_endless(path):
        raise UserError(f"{path} is a pipe, a socket or a device. Give a regular file, or remove it.")


def write_whole(path: str, content: bytes) -> None:
    """Writes a file through a temporary one beside it. Creates missing folders.

    Raises:
      UserError: the disk of a folder that this process holds is gone, see `held_folders`.
    """
    held_folders.require()
    path = str(path)
    unfinished = partial(path)
    tf.io.gfile.makedirs(path.rpartition("/")[0] or ".")
    with removed_on_error(unfinished):
        with tf.io.gfile.GFile(unfinished, "wb") as file:
            file.write(content)
        tf.io.gfile.rename(unfinished, path, overwrite=True)


@contextlib.contextmanager
def removed_on_error(path: str) -> Iterator[None]:
    """Removes an unfinished file if the block fails: on a full disk it would take the space that is left."""
    try:
        yield
    except BaseException:
        with contextlib.suppress(tf.errors.OpError):  # it is not there, or the disk is gone
            tf.io.gfile.remove(path)
        raise


def write_json(path: str, content: Any) -> None:
    """Writes an indented JSON file."""
    write_whole(path, (json.dumps(content, indent=1, ensure_ascii=False) + "\n").encode())


def read_json(path: str, keys: Collection[str] = (), remedy: str = WRITE_AGAIN) -> dict[str, Any]:
    """Reads a mapping that a command has written. A power failure or a disk can damage it, and so can people.

    Args:
      path: of the file.
      keys: that it must have.
      remedy: a sentence for the message.

    Raises:
      UserError: it is not JSON, not a mapping, or lacks a key.
    """
    with tf.io.gfile.GFile(path, "rb") as file:
        return parse_json(file.read(), path, keys, remedy)


def parse_json(content: bytes, path: str, keys: Collection[str] = (), remedy: str = WRITE_AGAIN) -> dict[str, Any]:
    """Same as `read_json`, for what has been read from a file, like one of its lines."""
    try:
        values = json.loads(content)
    except (ValueError, RecursionError):
        raise UserError(f"{path} is damaged: it is not JSON. {remedy}") from None
    missing = [key for key in keys if key not in values] if isinstance(values, dict) else ["a mapping"]
    if missing:
        raise UserError(f"{path} is damaged: it has no {', '.join(missing)}. {remedy}")
    return dict(values)


def require_numbers(values: Mapping[str, Any], key: str, path: str) -> None:
    """Raises UserError unless a value of what was read from a file is a mapping to numbers, or to null."""
    numbers = values.get(key)
    if not isinstance(numbers, dict) or not all(isinstance(one, int | float | None) for one in numbers.values()):
        raise UserError(f"{path} is damaged: {key} is not a mapping to numbers. {WRITE_AGAIN}")


def copy_whole(source: str, target: str) -> None:
    """Copies a file of any size through a temporary one beside the target. Creates missing folders."""
    tf.io.gfile.makedirs(target.rpartition("/")[0] or ".")
    tf.io.gfile.copy(source, f"{target}.partial", overwrite=True)
    tf.io.gfile.rename(f"{target}.partial", target, overwrite=True)


def append_json_line(path: str, content: Any) -> None:
    """Appends a line of JSON to a small file. The whole file is rewritten, so that it never ends in half a line."""
    before = b""
    if tf.io.gfile.exists(path):
        with tf.io.gfile.GFile(path, "rb") as file:
            before = file.read()
    write_whole(path, before + (json.dumps(content, ensure_ascii=False) + "\n").encode())


def matching(directory: str, pattern: str) -> list[str]:
    """Returns the sorted paths in a folder that match a glob. Characters like [ in the folder's name are literal."""
    return sorted(tf.io.gfile.glob(os.path.join(glob.escape(directory), pattern)))


def matched_by(pattern: str) -> list[str]:
    """Returns the sorted paths that a glob matches. If its folder is there as written, only its last part is a pattern.

    Browsers and file managers name a second copy of a folder `photos [1]`.
    """
    directory, name = os.path.split(pattern)
    if glob.has_magic(directory) and tf.io.gfile.isdir(directory):
        return matching(directory, name)
    return sorted(tf.io.gfile.glob(pattern))
