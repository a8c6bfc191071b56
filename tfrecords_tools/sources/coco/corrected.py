"""A teacher's labels that were exported, corrected in another tool, and are converted again.

They count as real labels with the origin `real:corrected-<teacher id>` and scores of 1.0. `export-coco` writes which
labels came from a teacher:

    instances.json, panoptic.json   `must_origins`, {task: origin}, in each image (panoptic: in each annotation), and in
                                    `info` if all images agree: tools drop one or the other
    pseudo.jsonl                    beside the folders of PNGs, one line per image: {"name", "origins"}

If a tool drops all of this, the labels are real labels like any dataset's, and only the teacher's id is lost.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import tensorflow as tf

from must_tf.common import text_files as texts
from must_tf.common.errors import UserError
from tfrecords_tools.sources import files
from tfrecords_tools.writing import on_disk

KEY = "must_origins"
FILE = "pseudo.jsonl"
PSEUDO, CORRECTED = "pseudo:", "real:corrected-"


def pseudo(origins: Mapping[str, str], tasks: tuple[str, ...]) -> dict[str, str]:
    """Returns {task: origin} of the tasks among these whose labels come from a teacher."""
    return {task: origins[task] for task in tasks if origins.get(task, "").startswith(PSEUDO)}


def origins_of(entry: Mapping[str, Any], info: Mapping[str, Any]) -> dict[str, str]:
    """Returns {task: origin after correction} of labels that were exported as a teacher's.

    Args:
      entry: an image or a panoptic annotation of the corrected JSON.
      info: `info` of the JSON; applies to entries without origins of their own.
    """
    origins = entry.get(KEY, info.get(KEY))
    if not isinstance(origins, dict):
        return {}
    return {
        task: CORRECTED + origin.removeprefix(PSEUDO)
        for task, origin in origins.items()
        if isinstance(origin, str) and origin.startswith(PSEUDO)
    }


def table(path: str) -> Mapping[str, dict[str, str]]:
    """Reads a pseudo.jsonl as {name without suffix: origins as in `origins_of`}; empty if it does not exist.

    Raises:
      UserError: a line was not written by export-coco.
    """
    return on_disk.DiskTable(_lines(path) if tf.io.gfile.exists(path) else ())


def _lines(path: str) -> Iterator[tuple[str, dict[str, str]]]:
    for number, line in enumerate(texts.streamed_lines(files.chunks(path)), 1):
        try:
            content = json.loads(line)
            yield content["name"], origins_of({KEY: content["origins"]}, {})
        except (ValueError, KeyError, TypeError):
            raise UserError(
                f"{path} line {number} was not written by export-coco. Export again, or remove the file to convert "
                "the labels without their teacher's id."
            ) from None
