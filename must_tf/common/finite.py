"""NaN and infinity in labels and predictions: never passed over in silence."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from must_tf.common.errors import UserError


def is_finite(values: Mapping[str, Any]) -> bool:
    """Whether every number of one task's labels or predictions is finite. Lists hold arrays."""
    arrays = [array for value in values.values() for array in (value if isinstance(value, list) else [value])]
    return all(np.isfinite(array).all() for array in map(np.asarray, arrays) if array.dtype.kind == "f")


def check_labels(task: str, labels: Mapping[str, Any], source_id: str) -> None:
    """Raises UserError where a label holds NaN or infinity: nothing can be measured against it."""
    if not is_finite(labels):
        keys = ", ".join(key for key, value in labels.items() if not is_finite({key: value}))
        raise UserError(
            f"the {task} label of image {source_id!r} holds NaN or infinity ({keys}). Mend it or leave it out, and "
            "convert the set again."
        )


class Diverged:
    """Counts the images for which a task predicted NaN or infinity. Its metric calls those predictions wrong."""

    def __init__(self) -> None:
        self.found: dict[str, dict[str, Any]] = {}  # task -> {"images": how many, "first": source id}

    def look(self, predictions: Mapping[str, Mapping[str, Any]], source_id: str) -> None:
        """Looks through one image's predictions of all tasks."""
        for task, values in predictions.items():
            if not is_finite(values):
                entry = self.found.setdefault(task, {"images": 0, "first": source_id})
                entry["images"] += 1

    def line(self, task: str) -> str:
        """One line about it; empty where all was finite."""
        entry = self.found.get(task)
        if entry is None:
            return ""
        return f"NaN or infinity predicted for {entry['images']} images, first {entry['first']!r}; they count as wrong"
