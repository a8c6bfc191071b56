"""`manifest.json` beside the shards: what a folder of records holds and how it came to be.

| key | value |
|---|---|
| `format` | 1 |
| `command`, `versions` | what wrote the shards |
| `records` | images in all shards |
| `classes` | {task: names in id order} |
| `origins` | {task: {origin: images}} |
| `objects` | {task: {class name: labels}} |
| `limits` | {task: {limit: images}}: labels that do not say all: "partial" (some classes), "relative" (no metres) |
| `teachers` | {teacher id: what it was}, of each whose `pseudo:<id>` is among the origins |
| `shards` | [{file, records, sha256}] |
| `dropped`, `notes` | {reason: {count, examples}}: what is missing, and what was changed on the way |

A teacher is {`path`, `kind`, `tasks`, `step`, `input_size`, `time` (ISO, UTC, when labelling with it began), `floors`
{task: least score that was written}, `units` {task: text}, `trained_on` {task: {`images`, `objects`, `classes`}}};
what is not known is null or empty. Of all keys of all manifests only `time` differs when the same is made again.
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import tensorflow as tf

from must_tf.common import files
from must_tf.common.errors import UserError

NAME = "manifest.json"
FORMAT = 1

Reasons = dict[str, dict[str, Any]]  # reason -> {"count": int, "examples": at most 5 strings}
Teachers = Mapping[str, Mapping[str, Any]]  # id -> what it was, see above


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
    limits: dict[str, dict[str, int]] = dataclasses.field(default_factory=dict)
    teachers: dict[str, dict[str, Any]] = dataclasses.field(default_factory=dict)
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
    content = {"limits": {}, "teachers": {}} | content  # sets that were written before there were any
    missing = [name for name in names if name not in content]
    if missing:
        raise UserError(f"{path} lacks {', '.join(missing)}. Write the records again.")
    return Manifest(**{name: content[name] for name in names})


def write(directory: str, manifest: Manifest) -> None:
    """Writes the manifest; a reader sees the old one or the whole new one."""
    content = {"format": FORMAT} | dataclasses.asdict(manifest)
    files.write_json(path_in(directory), content)


def labelled(manifest: Manifest, task: str) -> int:
    """How many images have labels of this task."""
    return sum(manifest.origins.get(task, {}).values())


def limited(manifest: Manifest, task: str, limit: str) -> int:
    """How many images' labels of this task have this limit."""
    return manifest.limits.get(task, {}).get(limit, 0)


def united_teachers(sets: Iterable[Teachers]) -> dict[str, dict[str, Any]]:
    """The teachers of several sets. One id is one teacher: what the first set says of it, what only others say added
    (it may have labelled other tasks there), and the earliest time."""
    united: dict[str, dict[str, Any]] = {}
    for teachers in sets:
        for teacher_id, said in teachers.items():
            mine = united.get(teacher_id)
            united[teacher_id] = dict(said) if mine is None else _both(mine, said)
    return dict(sorted(united.items()))


def _both(first: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    added = {
        key: {**value, **first.get(key, {})} for key, value in other.items() if isinstance(first.get(key, value), dict)
    }
    both = {**other, **first, **added}
    if "tasks" in both:
        both["tasks"] = sorted({*first.get("tasks", ()), *other.get("tasks", ())})
    times = [each["time"] for each in (first, other) if each.get("time")]
    return both | ({"time": min(times)} if times else {})


def named_counts(counts: Mapping[str, int], names: Sequence[str], first_id: int) -> dict[str, int]:
    """{id as text: n} -> {name: n} in id order; `names[0]` names `first_id`."""
    return {
        names[int(key) - first_id] if 0 <= int(key) - first_id < len(names) else key: counts[key]
        for key in sorted(counts, key=int)
    }
