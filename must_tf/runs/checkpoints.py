"""Which checkpoint of a run directory is the newest that can be read: a kill or a full disk may truncate the last."""

from __future__ import annotations

import contextlib
import re
import sys
from collections.abc import Iterator
from typing import NamedTuple

import tensorflow as tf

from must_tf.common import files, run_files
from must_tf.common.errors import UserError

STEP = "global_step/.ATTRIBUTES/VARIABLE_VALUE"
# What TensorFlow raises for a file that is truncated, lacks its other half, or has bytes that were changed.
DAMAGED = (tf.errors.OpError, ValueError, IndexError, AttributeError, RuntimeError)


class Found(NamedTuple):
    """The prefix of the newest readable checkpoint, "" where there is none, and the newer ones that are damaged."""

    prefix: str
    damaged: tuple[str, ...] = ()


def listed(directory: str) -> list[str]:
    """The prefixes of all checkpoints in a folder, newest first, damaged or not; the files say so, not the list."""
    directory = directory.rstrip("/")
    names = tf.io.gfile.listdir(directory) if tf.io.gfile.isdir(directory) else []
    steps = {int(match[1]) for name in names if (match := re.match(r"ckpt-(\d+)\.(index|data-.*)$", name))}
    return [f"{directory}/ckpt-{step}" for step in sorted(steps, reverse=True)]


def is_readable(prefix: str) -> bool:
    """Whether every variable is there; TensorFlow compares the bytes with their checksum as it reads them."""
    try:
        reader = tf.train.load_checkpoint(prefix)
        for name in reader.get_variable_to_shape_map():
            reader.get_tensor(name)
    except DAMAGED:
        return False
    return True


def search(directory: str) -> Found:
    """The newest readable checkpoint, and the newer ones that are not.

    Raises:
      UserError: there are checkpoints, and none can be read.
    """
    directory = directory.rstrip("/")
    said = _said_newest(directory)
    if said and is_readable(said):
        return Found(said)
    damaged = [said] if said else []
    for prefix in listed(directory):
        if prefix == said:
            continue
        if is_readable(prefix):
            return Found(prefix, tuple(damaged))
        damaged.append(prefix)
    if damaged:
        raise UserError(
            f"no checkpoint in {directory} can be read: {', '.join(damaged)}. Their files are truncated or damaged; "
            "copy them from a backup, give another --model_dir, or start anew with --overwrite."
        )
    return Found("")


def newest(directory: str) -> str:
    """The newest readable checkpoint of a folder, "" where there is none; says so when a newer one is damaged."""
    found = search(directory)
    for prefix in found.damaged:
        print(f"{prefix} is missing, truncated or damaged; using {found.prefix} instead", file=sys.stderr, flush=True)
    return found.prefix


def step_of(prefix: str) -> int:
    """The step that a checkpoint was saved at; 0 where there is none."""
    return int(tf.train.load_checkpoint(prefix).get_tensor(STEP)) if prefix else 0


def make_newest(directory: str, prefix: str) -> None:
    """Lets TensorFlow's list of a folder end with `prefix`, where Model Garden's loop then goes on.

    The list is left alone where it says so already. Damaged files stay where they are, until steps overwrite them.
    """
    directory = directory.rstrip("/")
    if not prefix or _said_newest(directory) == prefix:
        return
    older = listed(directory)
    older = [one for one in older[older.index(prefix) :] if tf.io.gfile.exists(f"{one}.index")][::-1]
    lines = [f'model_checkpoint_path: "{_name(prefix)}"']
    lines += [f'all_model_checkpoint_paths: "{_name(one)}"' for one in older]
    # Without these TensorFlow would take them for checkpoints that are kept for ever.
    lines += [f"all_model_checkpoint_timestamps: {tf.io.gfile.stat(one + '.index').mtime_nsec / 1e9}" for one in older]
    files.write_whole(f"{directory}/{run_files.CHECKPOINT}", "\n".join([*lines, ""]).encode())


@contextlib.contextmanager
def hidden(directory: str) -> Iterator[None]:
    """Inside, TensorFlow finds no checkpoint in a folder. After an error it does again."""
    path, aside = f"{directory}/{run_files.CHECKPOINT}", f"{directory}/{run_files.HIDDEN_CHECKPOINT}"
    if tf.io.gfile.exists(path):
        tf.io.gfile.rename(path, aside, overwrite=True)
    try:
        yield
    except BaseException:
        if tf.io.gfile.exists(aside):
            tf.io.gfile.rename(aside, path, overwrite=True)
        raise


def _said_newest(directory: str) -> str:
    """What TensorFlow's list of a folder ends with, whether its files are there or not; "" where it says nothing."""
    try:
        state = tf.train.get_checkpoint_state(directory)
    except DAMAGED:  # an empty list
        return ""
    return state.model_checkpoint_path if state else ""


def _name(prefix: str) -> str:
    return prefix.rpartition("/")[2]


def trained_steps(model_dir: str) -> int:
    """The step of the newest checkpoint that can be read; 0 where there is none."""
    return step_of(search(model_dir).prefix)
