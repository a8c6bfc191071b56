"""A teacher's labels that were exported, corrected in another tool, and are converted again.

Whoever converts them answers for them: they are real, `real:corrected-<teacher id>`, and their scores are 1.0. Which
labels were a teacher's stands in what `export-coco` writes:

    instances.json, panoptic.json   `must_origins`, {task: origin}, of each image (panoptic: of each annotation), and in
                                    `info` where all images agree: tools drop one or the other
    pseudo.jsonl                    beside the folders of PNGs, a line for each image: {"name", "origins"}

Where a tool dropped all of it, the labels are real as those of any dataset are, and only whose they were is lost.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import tensorflow as tf

from must_tf.common.errors import UserError
from tfrecords_tools.writing import on_disk

KEY = "must_origins"
FILE = "pseudo.jsonl"
PSEUDO, CORRECTED = "pseudo:", "real:corrected-"


def pseudo(origins: Mapping[str, str], tasks: tuple[str, ...]) -> dict[str, str]:
    """{task: origin} of these tasks' labels that are a teacher's."""
    return {task: origins[task] for task in tasks if origins.get(task, "").startswith(PSEUDO)}


def origins_of(entry: Mapping[str, Any], info: Mapping[str, Any]) -> dict[str, str]:
    """{task: its origin once corrected} of what was exported as a teacher's.

    Args:
      entry: of an image or a panoptic annotation, as the JSON has it now.
      info: of the JSON; what it says holds for entries that say nothing.
    """
    said = entry.get(KEY, info.get(KEY))
    if not isinstance(said, dict):
        return {}
    return {
        task: CORRECTED + origin.removeprefix(PSEUDO)
        for task, origin in said.items()
        if isinstance(origin, str) and origin.startswith(PSEUDO)
    }


def table(path: str) -> Mapping[str, dict[str, str]]:
    """{name without suffix: origins as `origins_of` gives them} of a pseudo.jsonl; empty where there is none.

    Raises:
      UserError: a line is not as export-coco writes them.
    """
    return on_disk.DiskTable(_lines(path) if tf.io.gfile.exists(path) else ())


def _lines(path: str) -> Iterator[tuple[str, dict[str, str]]]:
    with tf.io.gfile.GFile(path) as file:
        for number, line in enumerate(file, 1):
            try:
                content = json.loads(line)
                yield content["name"], origins_of({KEY: content["origins"]}, {})
            except (ValueError, KeyError, TypeError):
                raise UserError(
                    f"{path} line {number} is not as export-coco wrote it. Export again, or remove the file: then "
                    "nothing tells that the labels were a teacher's."
                ) from None
