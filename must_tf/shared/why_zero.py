"""The line that explains an average precision of 0, or one that could not be computed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from must_tf.common.text import listed
from must_tf.shared.coco_eval import Instances, class_name

NEEDED = 0.5  # the lowest IoU at which COCO and VOC count a prediction as right


class ZeroDiagnosis:
    """Collects what explains an average precision of 0: counts of labels and predictions, and the best overlaps."""

    def __init__(self, floor: float) -> None:
        """`floor`: predictions with lower scores were discarded."""
        self._floor = floor
        self._labelled: Counter[int] = Counter()  # by class id
        self._predicted: Counter[int] = Counter()
        self._highest_score = 0.0
        self._best = 0.0  # IoU with a label of the same class
        self._best_of_others = (0.0, 0, 0)  # with a label of another class: IoU, predicted class, labelled class

    def add(self, truth: Instances, predicted: Instances, overlaps: np.ndarray) -> None:
        """Adds one image's objects and their IoU [D, G]. Crowds are left out."""
        real = ~truth.is_crowd
        labelled_ids, predicted_ids, overlaps = truth.classes[real], predicted.classes, overlaps[:, real]
        self._labelled.update(labelled_ids.tolist())
        self._predicted.update(predicted_ids.tolist())
        if not overlaps.size:
            return
        self._highest_score = max(self._highest_score, float(predicted.scores.max()))
        same = predicted_ids[:, None] == labelled_ids[None]
        self._best = max(self._best, float(np.max(overlaps, where=same, initial=0.0)))
        others = np.where(same, 0.0, overlaps)
        row, column = np.unravel_index(np.argmax(others), others.shape)
        candidate = (float(others[row, column]), int(predicted_ids[row]), int(labelled_ids[column]))
        self._best_of_others = max(self._best_of_others, candidate)

    def merge(self, later: ZeroDiagnosis) -> None:
        """Adds the images of another one."""
        self._labelled += later._labelled
        self._predicted += later._predicted
        self._highest_score = max(self._highest_score, later._highest_score)
        self._best = max(self._best, later._best)
        self._best_of_others = max(self._best_of_others, later._best_of_others)

    def reason(self, names: Sequence[str]) -> str:
        """Returns one line that says why no prediction is right. `names[i - 1]` is the name of class i."""
        count = self._predicted.total()
        if not self._labelled:
            return "the dataset has no labelled object"
        if not count:
            return f"no predictions: no score reaches {self._floor}, and lower ones are discarded"
        if not self._predicted.keys() & self._labelled.keys():
            return f"{count} predictions, all of classes that are not labelled: {self._classes(names)}"
        overlap, predicted, labelled = self._best_of_others
        if self._best < NEEDED <= overlap:
            pair = f"{class_name(predicted, names)!r} overlaps a labelled {class_name(labelled, names)!r}"
            return f"objects match, but their classes do not: {pair} with IoU {overlap:.2f}. Are the class ids shifted?"
        if self._best < NEEDED:
            return (
                f"no prediction ({count} in all, highest score {self._highest_score:.2f}) overlaps a label of its "
                f"class with IoU {NEEDED}; the best IoU is {self._best:.2f}"
            )
        return f"predictions that overlap a label (best IoU {self._best:.2f}) do not have the image's highest scores"

    def _classes(self, names: Sequence[str]) -> str:
        sides = {"predicted": self._predicted, "labelled": self._labelled}
        return "; ".join(
            f"{side} {listed(class_name(class_id, names) for class_id in sorted(ids))}" for side, ids in sides.items()
        )
