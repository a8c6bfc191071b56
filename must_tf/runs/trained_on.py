"""Counts the images, objects and classes that a run was trained on, by task.

Only real labels count. Pseudo labels include everything above a low floor, which says nothing about how many objects
there are.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from typing import TypedDict

import tensorflow as tf

from must_tf.common.errors import UserError
from must_tf.common.files import matched_by
from must_tf.data import input as input_lib
from must_tf.data import manifest, record
from must_tf.model.student import StudentConfig, enabled


class TaskCounts(TypedDict):
    """The real training labels of one task."""

    images: int
    objects: int | None  # None if the manifests do not count all of them
    classes: dict[str, int]  # objects by class; empty if `objects` is None


def counted(config: StudentConfig) -> dict[str, TaskCounts]:
    """Returns the counts of every trained task, from the manifests beside the records.

    Empty if a manifest is gone, because a part of the data would mislead. A manifest adds up labels of all origins, and
    partial annotations count too few objects. If a record set has either beside real labels, there is no object count;
    sets without real labels are skipped.
    """
    patterns = input_lib.patterns(config.train_data.input_path)
    try:
        # A pattern may match files in several folders. If the records are gone, their manifest may still be there.
        paths = [path for pattern in patterns for path in matched_by(pattern) or [pattern]]
        manifests = [manifest.read(folder) for folder in dict.fromkeys(map(os.path.dirname, paths))]
    except (UserError, tf.errors.OpError):
        return {}
    return {task: _summed(manifests, task) for task in enabled(config)} if manifests else {}


def _summed(manifests: Sequence[manifest.Manifest], task: str) -> TaskCounts:
    classes: Counter[str] = Counter()
    labelled = [described for described in manifests if _real(described, task)]
    if all(_counts_all(described, task) for described in labelled):
        for described in labelled:
            classes.update(described.objects.get(task, {}))
    images = sum(_real(described, task) for described in labelled)
    return {"images": images, "objects": sum(classes.values()) if classes else None, "classes": dict(classes)}


def _real(described: manifest.Manifest, task: str) -> int:
    """Returns the number of images with real labels."""
    return sum(images for origin, images in described.origins.get(task, {}).items() if not record.is_pseudo(origin))


def _counts_all(described: manifest.Manifest, task: str) -> bool:
    """Returns true if a manifest counts all objects of the task, and only objects with real labels."""
    is_real = _real(described, task) == manifest.labelled_images(described, task)
    return is_real and not manifest.limited_images(described, task, "partial")
