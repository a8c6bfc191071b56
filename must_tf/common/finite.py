"""NaN and infinity in labels and predictions, which are always reported."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from must_tf.common.errors import UserError


def is_finite(values: Mapping[str, Any]) -> bool:
    """Returns True if all numbers in a task's labels or predictions are finite. Values are arrays or lists of them."""
    arrays = [array for value in values.values() for array in (value if isinstance(value, list) else [value])]
    return all(np.isfinite(array).all() for array in map(np.asarray, arrays) if array.dtype.kind == "f")


def check_labels(task: str, labels: Mapping[str, Any], source_id: str) -> None:
    """Raises UserError if a label contains NaN or infinity, because nothing can be compared with it."""
    if not is_finite(labels):
        keys = ", ".join(key for key, value in labels.items() if not is_finite({key: value}))
        raise UserError(
            f"the {task} label of image {source_id!r} contains NaN or infinity ({keys}). Fix or remove it in the "
            "dataset, then convert the dataset again."
        )


class NonFinitePredictions:
    """Counts the images for which a task predicted NaN or infinity. Metrics count those predictions as wrong.

    Attributes:
      counts: {task: {"images": number of images, "first": source id of the first one}}.
    """

    def __init__(self) -> None:
        self.counts: dict[str, dict[str, Any]] = {}

    def add(self, predictions: Mapping[str, Mapping[str, Any]], source_id: str) -> None:
        """Checks the predictions of all tasks for one image."""
        for task, values in predictions.items():
            if not is_finite(values):
                entry = self.counts.setdefault(task, {"images": 0, "first": source_id})
                entry["images"] += 1

    def merge(self, later: NonFinitePredictions) -> None:
        """Adds the images of another one, which come after its own."""
        for task, added in later.counts.items():
            entry = self.counts.setdefault(task, {"images": 0, "first": added["first"]})
            entry["images"] += added["images"]

    def line(self, task: str) -> str:
        """Returns a line for the log; empty if all predictions were finite."""
        entry = self.counts.get(task)
        if entry is None:
            return ""
        return f"NaN or infinity predicted for {entry['images']} images, first {entry['first']!r}; they count as wrong"
