"""Hashes of what a step is made from. When they have changed, its output is removed."""

from __future__ import annotations

import glob
import hashlib
import os
import shutil
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from must_tf.data import manifest
from must_tf.pseudo_gate import verdict
from must_tf.runs import checkpoints, directory, init_weights

if TYPE_CHECKING:
    from must_tf.loop.steps import Step


def short_hash(content: Any) -> str:
    """Returns a hash of a value's text."""
    return _of_text(repr(content))


def of_step(step: Step, state: str) -> str:
    """Returns a hash of the content of everything that a step reads, wherever it is."""
    return short_hash((state, [_content(path) for path in step.needs]))


def of_parts(step: Step, state: str) -> dict[str, str]:
    """Returns {input that only some parts of a step's output are made from: hash of its content}."""
    return {path: _content(path) if path else _of_text(state) for path in step.parts}


def foreign_state(path: str) -> str:
    """Returns a text that changes with records that are not the loop's own; "" if there are none."""
    is_there = os.path.exists(manifest.path_in(path))
    return verdict.shards_fingerprint(manifest.read(path)) if is_there else ""


def remove_changed(step: Step, before: Mapping[str, str], now: Mapping[str, str]) -> None:
    """Removes what a step has made from input that has changed since: all of it, if its parts are not known.

    Args:
      step: the step.
      before, now: see `of_parts`.
    """
    if not before:
        print("  made again, because what it is made from has changed", flush=True)
        remove(step.output)
        return
    changed = [path for path, content in now.items() if before.get(path, content) != content]
    patterns = sorted({pattern for path in changed for pattern in step.parts[path]})
    found = [path for pattern in patterns for path in glob.glob(os.path.join(glob.escape(step.output), pattern))]
    if found:
        print(f"  made again: {', '.join(patterns)}, because what they are made from has changed", flush=True)
    for path in found:
        remove(path)


def remove(output: str) -> None:
    """Removes what a step has made: of a run only its own files, because people keep notes beside them."""
    if directory.is_run(output):
        directory.delete(output)
    elif os.path.isdir(output):
        shutil.rmtree(output)
    elif os.path.exists(output):
        os.remove(output)


def _content(path: str) -> str:
    """Returns a hash of the content of records or of a run's weights; "" for anything else."""
    if os.path.isdir(path) and checkpoints.newest(path):
        return init_weights.digest(path)
    return foreign_state(path)


def _of_text(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
