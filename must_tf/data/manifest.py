"""`manifest.json`, the description of a folder of records. It lies beside the shards.

| key | value |
|---|---|
| `format` | 1 |
| `command`, `versions` | the command that wrote the shards, and the versions of its libraries |
| `records` | number of images in all shards |
| `classes` | {task: class names in id order} |
| `origins` | {task: {origin: number of images}} |
| `objects` | {task: {class name: number of labels}} |
| `limits` | {task: {limit: number of images}}: incomplete labels, "partial" (some classes) or "relative" (no metres) |
| `teachers` | {teacher id: description}, for every `pseudo:<id>` among the origins |
| `shards` | [{file, records, sha256}] |
| `dropped`, `notes` | {reason: {count, examples}}: what was left out and what was changed during conversion |

A teacher's description has these keys. Unknown values are null or empty.

| key | value |
|---|---|
| `path`, `kind`, `step` | the model, and the training step of its weights |
| `tasks`, `input_size` | the tasks that it labelled, and its input size in pixels |
| `time` | ISO 8601, UTC: the start of labelling |
| `floors` | {task: lowest score that was written} |
| `units` | {task: text} |
| `trained_on` | {task: {`images`, `objects`, `classes`}} |
| `confidence` | {task: how it was measured}, if `must label --confidence` did |
| `maps` | {task: "half"}, if `must label --half-maps` stored them in half of the image's height and width |
| `licence` | of the model, in words |
| `notes` | sentences about what was repaired in its description |

Running the same command again gives the same manifest except for `time`.
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
Teachers = Mapping[str, Mapping[str, Any]]  # teacher id -> description, see above

COUNTS = {str: {str: int}}
# Of the fields: a type, [shape of each entry], {str: shape of each value} or {key: shape of its value}.
SHAPES: dict[str, Any] = {
    "command": [str],
    "versions": {str: str},
    "records": int,
    "classes": {str: [str]},
    "origins": COUNTS,
    "objects": COUNTS,
    "limits": COUNTS,
    "shards": [{"file": str, "records": int, "sha256": str}],
    "teachers": {str: dict},
    "dropped": {str: {"count": int, "examples": [str]}},
    "notes": {str: {"count": int, "examples": [str]}},
}


@dataclasses.dataclass(frozen=True)
class Manifest:
    """The content of a `manifest.json`. The fields are the keys of the first table above."""

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
    """Returns the path of the manifest in a folder of records."""
    return os.path.join(directory, NAME)


def read(directory: str) -> Manifest:
    """Reads the manifest of a folder of records.

    Raises:
      UserError: it does not exist, is not valid JSON, or was written by another version.
    """
    path = path_in(directory)
    try:
        with tf.io.gfile.GFile(path) as file:
            content = json.loads(file.read())
    except tf.errors.NotFoundError:
        raise UserError(
            f"{path} does not exist. It is written last: if this folder is unfinished, run its must-records command "
            "again; otherwise name a folder that holds records."
        ) from None
    except (tf.errors.OpError, ValueError, RecursionError) as error:
        raise UserError(f"{path} cannot be read ({error}). Write the records again.") from None
    return _checked(content, path)


def _checked(content: Any, path: str) -> Manifest:
    version = content.get("format") if isinstance(content, dict) else None
    if version != FORMAT:
        raise UserError(f"{path} has format {version!r}, but this version reads {FORMAT}. Write the records again.")
    names = [field.name for field in dataclasses.fields(Manifest)]
    content = {"limits": {}, "teachers": {}} | content  # older manifests do not have these keys
    missing = [name for name in names if name not in content]
    if missing:
        raise UserError(f"{path} has no {', '.join(missing)}. Write the records again.")
    wrong = [name for name, shape in SHAPES.items() if not _fits(content[name], shape)]
    if wrong:
        raise UserError(f"{path} is damaged: {wrong[0]} has other values than a command writes. {files.WRITE_AGAIN}")
    return Manifest(**{name: content[name] for name in names})


def _fits(value: Any, shape: Any) -> bool:
    """Tests whether nested values have the shape of an entry of `SHAPES`."""
    if isinstance(shape, list):
        return isinstance(value, list) and all(_fits(entry, shape[0]) for entry in value)
    if not isinstance(shape, dict):
        return isinstance(value, shape) and not isinstance(value, bool)
    if not isinstance(value, dict):
        return False
    if str in shape:
        return all(_fits(entry, shape[str]) for entry in value.values())
    return all(key in value and _fits(value[key], inner) for key, inner in shape.items())


def write(directory: str, manifest: Manifest) -> None:
    """Writes the manifest atomically: readers see the old file or the complete new one."""
    content = {"format": FORMAT} | dataclasses.asdict(manifest)
    files.write_json(path_in(directory), content)


def labelled_images(manifest: Manifest, task: str) -> int:
    """Returns the number of images that have labels for this task."""
    return sum(manifest.origins.get(task, {}).values())


def limited_images(manifest: Manifest, task: str, limit: str) -> int:
    """Returns the number of images whose labels for this task have this limit."""
    return manifest.limits.get(task, {}).get(limit, 0)


def united_teachers(datasets: Iterable[Teachers]) -> dict[str, dict[str, Any]]:
    """Returns the teachers of several datasets, {teacher id: description}.

    If several datasets describe the same teacher, the first description wins. Later ones only add keys and tasks that
    it does not have (the teacher may have labelled other tasks there). The time is the earliest.
    """
    united: dict[str, dict[str, Any]] = {}
    for teachers in datasets:
        for teacher_id, description in teachers.items():
            earlier = united.get(teacher_id)
            united[teacher_id] = dict(description) if earlier is None else _merged(earlier, description)
    return dict(sorted(united.items()))


def _merged(first: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    added = {
        key: {**value, **first.get(key, {})} for key, value in other.items() if isinstance(first.get(key, value), dict)
    }
    merged = {**other, **first, **added}
    if "tasks" in merged:
        merged["tasks"] = sorted({*first.get("tasks", ()), *other.get("tasks", ())})
    times = [teacher["time"] for teacher in (first, other) if teacher.get("time")]
    return merged | ({"time": min(times)} if times else {})


def named_counts(counts: Mapping[str, int], names: Sequence[str], first_id: int) -> dict[str, int]:
    """Turns {class id as text: n} into {class name: n}, in id order. `names[0]` is the name of `first_id`."""
    return {
        names[int(key) - first_id] if 0 <= int(key) - first_id < len(names) else key: counts[key]
        for key in sorted(counts, key=int)
    }
