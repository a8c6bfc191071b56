"""Another model's class ids as the ids of this project: an empty name is no class, and the ids close up over it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from must_tf.common.errors import UserError
from must_tf.spec import first_id
from must_tf.tasks import discover
from must_tf.tasks.segmentation.labels import IGNORE

LEAST_SHARE = 0.01  # of a distribution that names must have: of less, rounding decides which of them is likeliest


class Names(NamedTuple):
    """The names of the model's ids in their order, without the background of a detector.

    COCO's ids have gaps, a segmentation may have a background: "" says so. Boxes of such a class are dropped, such
    pixels become "ignore", and such a share of a distribution is spread over the other classes. Where next to nothing
    is left for those, the image shows none of them: it has no distribution.
    """

    names: tuple[str, ...]

    @property
    def classes(self) -> list[str]:
        """Those that are classes."""
        return [name for name in self.names if name]

    def known(self, task: str, restored: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Restored predictions with this project's ids, where each has its own score; empty: no label."""
        if "boxes" in restored:
            ids = self._ids(task, 0, restored["classes"])
            return restored | {"classes": ids, "scores": np.where(ids > 0, restored["scores"], 0.0)}
        if restored.get("probability", np.zeros([])).ndim == 1:
            probability = restored["probability"][[bool(name) for name in self.names]]
            share = probability.sum()
            return {} if share < LEAST_SHARE else restored | {"probability": probability / share}
        return restored

    def seen(self, task: str, labels: dict[str, Any]) -> dict[str, Any]:
        """Labels with this project's ids, where a pixel has one of them."""
        if task != "segmentation":
            return labels
        classes = self._ids(task, IGNORE, labels["classes"])
        return {"classes": classes, "confidence": np.where(classes == IGNORE, 0.0, labels["confidence"])}

    def _ids(self, task: str, other: int, ids: np.ndarray) -> np.ndarray:
        """int32, of any shape; `other` where there is no class."""
        first = first_id(discover()[task])
        highest = first + len(self.names) - 1
        beyond = ids[(ids > highest) & (ids != other)]
        if beyond.size:
            raise UserError(
                f"a teacher's {task} has class id {beyond[0]}, but its classes are {len(self.names)} names, the last "
                f"for id {highest}. Name all of them in the adapter file, or mend its `first_class`."
            )
        own = np.full([max(highest, other) + 1], other, np.int32)
        places = [place for place, name in enumerate(self.names) if name]
        own[np.array(places, int) + first] = np.arange(first, first + len(places))
        return own[np.maximum(ids, 0)]


def read(given: str | Sequence[str], where: str) -> Names:
    """Names from a list, or from a text file with one a line.

    Raises:
      UserError: there is no such file, or a name stands there twice.
    """
    if isinstance(given, str):
        if not tf.io.gfile.exists(given):
            raise UserError(f"{where}: {given} does not exist; give a list of names, or a file with one a line.")
        with tf.io.gfile.GFile(given) as file:
            given = [line.strip() for line in file.read().splitlines()]
    twice = sorted({name for name in given if name and list(given).count(name) > 1})
    if twice:
        raise UserError(f"{where}: {', '.join(twice)} stands there twice; names tell classes apart.")
    return Names(tuple(given))
