"""Finds the newest readable checkpoint of a run directory: a kill or a full disk may have truncated the last one."""

from __future__ import annotations

import contextlib
import re
import sys
from collections.abc import Iterator
from typing import NamedTuple

import tensorflow as tf

from must_tf.common import run_files, upstream
from must_tf.common.errors import UserError

STEP = "global_step/.ATTRIBUTES/VARIABLE_VALUE"
# What TensorFlow raises for a checkpoint that is truncated, lacks one of its files, or has changed bytes.
DAMAGED = (tf.errors.OpError, ValueError, IndexError, AttributeError, RuntimeError)


class SearchResult(NamedTuple):
    """The prefix of the newest readable checkpoint, or "", and those of newer ones that are damaged."""

    prefix: str
    damaged: tuple[str, ...] = ()


def listed(directory: str) -> list[str]:
    """Returns the prefixes of all checkpoints in a directory, newest first, damaged ones too.

    Goes by the files, not by TensorFlow's list of them.
    """
    directory = directory.rstrip("/")
    names = tf.io.gfile.listdir(directory) if tf.io.gfile.isdir(directory) else []
    steps = {int(match[1]) for name in names if (match := re.match(r"ckpt-(\d+)\.(index|data-.*)$", name))}
    return [f"{directory}/ckpt-{step}" for step in sorted(steps, reverse=True)]


def is_readable(prefix: str) -> bool:
    """Returns true if every variable can be read. TensorFlow verifies checksums as it reads."""
    try:
        reader = tf.train.load_checkpoint(prefix)
        for name in reader.get_variable_to_shape_map():
            reader.get_tensor(name)
    except DAMAGED:
        return False
    return True


def search(directory: str) -> SearchResult:
    """Finds the newest readable checkpoint, and newer ones that are damaged.

    Raises:
      UserError: there are checkpoints, but none can be read, or none could.
    """
    if problem := run_files.pattern_problem(directory):
        raise UserError(problem)
    directory = directory.rstrip("/")
    last_listed = _last_listed(directory)
    if last_listed and is_readable(last_listed):
        return SearchResult(last_listed)
    damaged = [last_listed] if last_listed else []
    for prefix in listed(directory):
        if prefix == last_listed:
            continue
        if is_readable(prefix):
            return SearchResult(prefix, tuple(damaged))
        damaged.append(prefix)
    if damaged:
        raise UserError(
            f"no checkpoint in {directory} can be read; truncated or damaged: {', '.join(damaged)}. "
            "Restore them from a backup, give another --model_dir, or start over with --overwrite."
        )
    return SearchResult("")


def newest(directory: str) -> str:
    """Returns the newest readable checkpoint of a directory, or "". Warns if a newer one is damaged."""
    result = search(directory)
    for prefix in result.damaged:
        print(f"{prefix} is missing, truncated or damaged; using {result.prefix} instead", file=sys.stderr, flush=True)
    return result.prefix


def step_of(prefix: str) -> int:
    """Returns the step at which a checkpoint was saved; 0 for ""."""
    return int(tf.train.load_checkpoint(prefix).get_tensor(STEP)) if prefix else 0


def trained_steps(model_dir: str) -> int:
    """Returns the step of the newest readable checkpoint; 0 if there is none."""
    return step_of(search(model_dir).prefix)


def make_newest(directory: str, prefix: str) -> None:
    """Makes `prefix` the last checkpoint in TensorFlow's list, from which Model Garden's loop then resumes.

    Does nothing if it is the last already. Damaged files stay until new checkpoints overwrite them.
    """
    directory = directory.rstrip("/")
    if not prefix or _last_listed(directory) == prefix:
        return
    prefixes = listed(directory)
    kept = [name for name in prefixes[prefixes.index(prefix) :] if tf.io.gfile.exists(f"{name}.index")][::-1]
    timestamps = [tf.io.gfile.stat(f"{name}.index").mtime_nsec / 1e9 for name in kept]
    upstream.write_checkpoint_state(directory, kept, timestamps)


@contextlib.contextmanager
def hidden(directory: str) -> Iterator[None]:
    """Hides a directory's checkpoints from TensorFlow. If the block raises, they are visible again."""
    path, aside = f"{directory}/{run_files.CHECKPOINT}", f"{directory}/{run_files.HIDDEN_CHECKPOINT}"
    if tf.io.gfile.exists(path):
        tf.io.gfile.rename(path, aside, overwrite=True)
    try:
        yield
    except BaseException:
        if tf.io.gfile.exists(aside):
            tf.io.gfile.rename(aside, path, overwrite=True)
        raise


def _last_listed(directory: str) -> str:
    """Returns the last checkpoint in TensorFlow's list, which may no longer exist; "" without a list."""
    try:
        state = tf.train.get_checkpoint_state(directory)
    except DAMAGED:  # an empty list
        return ""
    return state.model_checkpoint_path if state else ""
