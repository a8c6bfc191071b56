"""Files that appear whole or not at all, local or remote."""

from __future__ import annotations

import glob
import json
import os
import secrets
from typing import Any

import tensorflow as tf


def partial(path: str) -> str:
    """A temporary name beside `path` that no other writer has, on this machine or another."""
    return f"{path}.{secrets.token_hex(4)}.partial"


def write_whole(path: str, content: bytes) -> None:
    """Writes a file by way of a temporary one beside it; folders are made as needed."""
    path = str(path)
    unfinished = partial(path)
    tf.io.gfile.makedirs(path.rpartition("/")[0] or ".")
    with tf.io.gfile.GFile(unfinished, "wb") as file:
        file.write(content)
    tf.io.gfile.rename(unfinished, path, overwrite=True)


def write_json(path: str, content: Any) -> None:
    """A JSON file for people and programs."""
    write_whole(path, (json.dumps(content, indent=1, ensure_ascii=False) + "\n").encode())


def copy_whole(source: str, target: str) -> None:
    """Copies a file of any size by way of a temporary one beside the target; folders are made as needed."""
    tf.io.gfile.makedirs(target.rpartition("/")[0] or ".")
    tf.io.gfile.copy(source, f"{target}.partial", overwrite=True)
    tf.io.gfile.rename(f"{target}.partial", target, overwrite=True)


def append_json_line(path: str, content: Any) -> None:
    """Adds one line of JSON to a small file. It is written anew, so that there never is half a line."""
    before = b""
    if tf.io.gfile.exists(path):
        with tf.io.gfile.GFile(path, "rb") as file:
            before = file.read()
    write_whole(path, before + (json.dumps(content, ensure_ascii=False) + "\n").encode())


def matching(directory: str, pattern: str) -> list[str]:
    """The files of a folder, sorted, whose paths in it match a glob. What the folder's own name holds, like [, is no
    pattern."""
    return sorted(tf.io.gfile.glob(os.path.join(glob.escape(directory), pattern)))
