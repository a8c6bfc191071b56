"""Thresholds on the confidence of pseudo labels, per class: `class_thresholds=(person=0.6, cup=0.4)`.

Records hold everything above a low floor with its score. Thresholds apply on reading, so they can be changed without
labelling again. Real labels have confidence 1, which reaches every threshold.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import tensorflow as tf

from must_tf.common.errors import nearest
from must_tf.common.text import listed


class HasThresholds(Protocol):
    """A task's config, as far as thresholds need it."""

    @property
    def classes(self) -> Sequence[str]:
        """Class names in id order, without the background."""
        ...

    @property
    def class_thresholds(self) -> Sequence[str]:
        """Thresholds of single classes, like "cup=0.4"."""
        ...


def named(entries: Sequence[str]) -> dict[str, float]:
    """Parses entries like "dining table=0.6" into {class name: threshold}. A name may contain "="."""
    pairs = (entry.rpartition("=") for entry in entries)
    return {name: float(number) for name, _, number in pairs}


def table(config: HasThresholds, default: float, first_id: int) -> np.ndarray:
    """Returns the threshold of every class id, float32 [first_id + C].

    If no class has a threshold of its own, the result has one entry: `of_ids` uses the last entry for ids beyond the
      end.

    Args:
      config: a task's, with `classes` and `class_thresholds`.
      default: threshold of the classes that have none of their own.
      first_id: the id of the first class name.
    """
    own = named(config.class_thresholds)
    if not own:
        return np.array([default], np.float32)
    return np.array([default] * first_id + [own.get(name, default) for name in config.classes], np.float32)


def as_bytes(values: np.ndarray) -> np.ndarray:
    """Returns the smallest byte b with b / 255 >= threshold for each threshold, uint8: records store confidence so."""
    return np.searchsorted(np.arange(256, dtype=np.float32) / np.float32(255), values).astype(np.uint8)


def of_ids(ids: Any, values: np.ndarray) -> Any:
    """Looks up class ids of any shape in a `table`; NumPy or tensor, like the ids."""
    if len(values) == 1:
        return values[0]
    if tf.is_tensor(ids):
        return tf.gather(tf.constant(values), tf.clip_by_value(tf.cast(ids, tf.int32), 0, len(values) - 1))
    return values[np.clip(ids, 0, len(values) - 1)]


def unknown(task: str, config: HasThresholds) -> list[str]:
    """Returns a sentence for each name in `class_thresholds` that is not a class, with the nearest class."""
    place = f"task.tasks.{task}.class_thresholds"
    return [
        f"{place}: {name!r} is not a class.{nearest(name, config.classes) or _known(config.classes)}"
        for name in named(config.class_thresholds)
        if name not in config.classes
    ]


def _known(classes: Sequence[str]) -> str:
    return f" Known: {listed(classes, 10)}."
