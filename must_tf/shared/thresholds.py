"""How sure a teacher must be, class by class: `class_thresholds=(person=0.6, cup=0.4)`, one threshold for all others.

Records hold everything above a low floor with its score. Thresholds are applied when a label is read, so that they can
be changed without labelling again. What is real is certain: its confidence is 1, and no threshold is above 1.
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
    """{class name: threshold} of entries like "dining table=0.6"; a name may hold "=" itself."""
    pairs = (entry.rpartition("=") for entry in entries)
    return {name: float(number) for name, _, number in pairs}


def table(config: HasThresholds, default: float, first_id: int) -> np.ndarray:
    """The threshold of every class id, float32 [first_id + C].

    Where no class has its own it is [1]: `of_ids` reads ids beyond the end as the last.

    Args:
      config: a task's, with `classes` and `class_thresholds`.
      default: of the classes that are not named.
      first_id: the id of the first class name.
    """
    own = named(config.class_thresholds)
    if not own:
        return np.array([default], np.float32)
    return np.array([default] * first_id + [own.get(name, default) for name in config.classes], np.float32)


def as_bytes(values: np.ndarray) -> np.ndarray:
    """The smallest byte b for each threshold with b / 255 at or above it, uint8: for confidence as records hold it."""
    return np.searchsorted(np.arange(256, dtype=np.float32) / np.float32(255), values).astype(np.uint8)


def of_ids(ids: Any, values: np.ndarray) -> Any:
    """The thresholds of class ids of any shape, as NumPy or in the graph as the ids are; `values` as `table` gives."""
    if len(values) == 1:
        return values[0]
    if tf.is_tensor(ids):
        return tf.gather(tf.constant(values), tf.clip_by_value(tf.cast(ids, tf.int32), 0, len(values) - 1))
    return values[np.clip(ids, 0, len(values) - 1)]


def unknown(task: str, config: HasThresholds) -> list[str]:
    """A sentence on every name of `class_thresholds` that is no class, with the nearest that is one."""
    place = f"task.tasks.{task}.class_thresholds"
    return [
        f"{place}: {name!r} is no class.{nearest(name, config.classes) or _known(config.classes)}"
        for name in named(config.class_thresholds)
        if name not in config.classes
    ]


def _known(classes: Sequence[str]) -> str:
    return f" Known: {listed(classes, 10)}."
