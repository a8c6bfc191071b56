"""`manifest.json` beside the shards: what a folder of records holds and how it came to be.

| key | value |
|---|---|
| `format` | 1 |
| `command`, `versions` | what wrote the shards |
| `records` | images in all shards |
| `classes` | {task: names in id order} |
| `origins` | {task: {origin: images}} |
| `objects` | {task: {class name: labels}} |
| `shards` | [{file, records, sha256}] |
| `dropped`, `notes` | {reason: {count, examples}}: what is missing, and what was changed on the way |
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

import tensorflow as tf

from must_tf import files
from must_tf.errors import UserError

NAME = "manifest.json"
FORMAT = 1

Reasons = dict[str, dict[str, Any]]  # reason -> {"count": int, "examples": at most 5 strings}


@dataclasses.dataclass(frozen=True)
class Manifest:
    """The content of a `manifest.json`; the fields are the keys of the table above."""

    command: list[str]
    versions: dict[str, str]
    records: int
    classes: dict[str, list[str]]
    origins: dict[str, dict[str, int]]
    objects: dict[str, dict[str, int]]
    shards: list[dict[str, Any]]
    dropped: Reasons = dataclasses.field(default_factory=dict)
    notes: Reasons = dataclasses.field(default_factory=dict)


def path_in(directory: str) -> str:
    """Where the manifest of a folder of records lies."""
    return os.path.join(directory, NAME)


def read(directory: str) -> Manifest:
    """The manifest of a folder of records.

    Raises:
      UserError: there is none, it is no JSON, or another version wrote it.
    """
    path = path_in(directory)
    try:
        with tf.io.gfile.GFile(path) as file:
            content = json.loads(file.read())
    except tf.errors.NotFoundError:
        raise UserError(
            f"{path} does not exist. It is written last: run the must-records command that made "
            "this folder to its end, or name a folder that holds records."
        ) from None
    except (tf.errors.OpError, ValueError) as error:
        raise UserError(f"{path} cannot be read ({error}). Write the records again.") from None
    return _checked(content, path)


def _checked(content: Any, path: str) -> Manifest:
    found = content.get("format") if isinstance(content, dict) else None
    if found != FORMAT:
        raise UserError(f"{path} has format {found!r}, this version reads {FORMAT}. Write the records again.")
    names = [field.name for field in dataclasses.fields(Manifest)]
    missing = [name for name in names if name not in content]
    if missing:
        raise UserError(f"{path} lacks {', '.join(missing)}. Write the records again.")
    return Manifest(**{name: content[name] for name in names})


def write(directory: str, manifest: Manifest) -> None:
    """Writes the manifest; a reader sees the old one or the whole new one."""
    content = {"format": FORMAT} | dataclasses.asdict(manifest)
    files.write_json(path_in(directory), content)


def classes_of(patterns: Sequence[str]) -> dict[str, list[str]]:
    """{task: class names} of all folders in which the record globs find files.

    Raises:
      UserError: a glob finds nothing, a folder has no manifest, or two name a task's classes differently.
    """
    known: dict[str, list[str]] = {}
    source: dict[str, str] = {}
    for directory in _directories(patterns):
        for task, names in read(directory).classes.items():
            _agree(task, (source.get(task, directory), known.get(task, names)), (directory, names))
            known[task], source[task] = names, directory
    return known


def _directories(patterns: Sequence[str]) -> list[str]:
    found: dict[str, None] = {}  # a set that keeps the order
    for pattern in patterns:
        files = tf.io.gfile.glob(pattern)
        if not files:
            raise UserError(f"no file matches {pattern!r}. Name records, for instance DIR/*.tfrecord.")
        found |= {os.path.dirname(file): None for file in sorted(files)}
    return list(found)


def _agree(task: str, one: tuple[str, list[str]], other: tuple[str, list[str]]) -> None:
    if one[1] == other[1]:
        return
    longest = max(len(one[1]), len(other[1]))
    first = next(i for i in range(longest) if one[1][i : i + 1] != other[1][i : i + 1])
    raise UserError(
        f"{task}: two sets of records name its classes differently, first at number {first}:\n"
        f"  {_shown(*one, first)}\n  {_shown(*other, first)}\n"
        "Train on one of them, or convert both with the same classes."
    )


def _shown(directory: str, names: Sequence[str], first: int) -> str:
    part = ", ".join(names[first : first + 5]) or "nothing"
    return f"{directory}: {len(names)} classes, from there on {part}{', ...' * (len(names) > first + 5)}"


def named_counts(counts: Mapping[str, int], names: Sequence[str], first_id: int) -> dict[str, int]:
    """{id as text: n} -> {name: n} in id order; `names[0]` names `first_id`."""
    return {
        names[int(key) - first_id] if 0 <= int(key) - first_id < len(names) else key: counts[key]
        for key in sorted(counts, key=int)
    }
