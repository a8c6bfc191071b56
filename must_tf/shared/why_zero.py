"""Why nothing was right: the one line beside an average precision of 0, or beside none at all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from must_tf.common.text import listed
from must_tf.shared.coco_eval import Instances, named

NEEDED = 0.5  # the least overlap at which COCO and VOC call a prediction right


class Objects:
    """Counts labels and predictions, and keeps the best overlaps seen. Below the score `floor` none is kept."""

    def __init__(self, floor: float) -> None:
        self._floor = floor
        self._labelled: Counter[int] = Counter()  # by class id
        self._predicted: Counter[int] = Counter()
        self._surest = 0.0
        self._best = 0.0  # overlap with a label of the same class
        self._best_of_others = (0.0, 0, 0)  # with a label of another: overlap, predicted class, labelled class

    def add(self, truth: Instances, found: Instances, overlaps: np.ndarray) -> None:
        """One image's objects and their IoU [D, G]; crowds are left out."""
        real = ~truth.is_crowd
        of_truth, of_found, overlaps = truth.classes[real], found.classes, overlaps[:, real]
        self._labelled.update(of_truth.tolist())
        self._predicted.update(of_found.tolist())
        if not overlaps.size:
            return
        self._surest = max(self._surest, float(found.scores.max()))
        same = of_found[:, None] == of_truth[None]
        self._best = max(self._best, float(np.max(overlaps, where=same, initial=0.0)))
        others = np.where(same, 0.0, overlaps)
        row, column = np.unravel_index(np.argmax(others), others.shape)
        candidate = (float(others[row, column]), int(of_found[row]), int(of_truth[column]))
        self._best_of_others = max(self._best_of_others, candidate)

    def reason(self, names: Sequence[str]) -> str:
        """Why no prediction is right; `names[i - 1]` names class i."""
        count = self._predicted.total()
        if not self._labelled:
            return "no labelled object in the set, so nothing can be found"
        if not count:
            return f"no predictions at all: no score reaches {self._floor}, below which nothing is kept"
        if not self._predicted.keys() & self._labelled.keys():
            return f"{count} predictions, none of a class that is labelled: {self._classes(names)}"
        overlap, predicted, labelled = self._best_of_others
        if self._best < NEEDED <= overlap:
            pair = f"{named(predicted, names)!r} on a labelled {named(labelled, names)!r}"
            return f"boxes are near, classes are not: {pair} overlaps by {overlap:.2f} (IoU); are ids shifted?"
        if self._best < NEEDED:
            return (
                f"{count} predictions, the surest with {self._surest:.2f}, overlap no label of their class by "
                f"{NEEDED}; the best IoU seen is {self._best:.2f}"
            )
        return f"the predictions that overlap a label (best IoU {self._best:.2f}) are not among an image's surest"

    def _classes(self, names: Sequence[str]) -> str:
        sides = {"predicted": self._predicted, "labelled": self._labelled}
        return "; ".join(
            f"{side} {listed(named(class_id, names) for class_id in sorted(ids))}" for side, ids in sides.items()
        )
