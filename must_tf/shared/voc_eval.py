"""Pascal VOC's average precision of boxes, computed one image at a time in little memory.

Source: Everingham et al., "The Pascal Visual Object Classes Challenge", IJCV 2010 and 2015, and VOCevaldet.m and
VOCap.m of its development kit, http://host.robots.ox.ac.uk/pascal/VOC/. It differs from COCO's in four points:

- There is one IoU threshold, 0.5.
- A prediction is compared with the label of its class that it overlaps most. A second prediction on the same label is
  wrong, even if another label is free.
- All predictions count, not only 100 per image.
- `difficult` labels count neither as missed nor as wrong. They are the crowds of the records.

Boxes are continuous. This equals the development kit's `+ 1` on whole, inclusive pixels. The 11 recall points are
exactly k / 10: 3 of 10 objects reach recall 0.3.
"""

from __future__ import annotations

import numpy as np

from must_tf.shared.coco_eval import Instances

OVERLAP = 0.5
WRONG, RIGHT, IGNORED = 0, 1, 2  # outcomes of a prediction


class _ClassOutcomes:
    """The outcomes of one class's predictions in all images, 5 bytes each."""

    def __init__(self) -> None:
        self.objects = 0  # labels that are not difficult
        self.scores = bytearray()  # float32
        self.outcomes = bytearray()  # uint8

    def curve(self) -> tuple[np.ndarray, np.ndarray]:
        """Returns precision and recall [D] down to each prediction, in descending order of score.

        Predictions with equal scores stay in the order in which they were added.
        """
        outcomes = np.frombuffer(bytes(self.outcomes), np.uint8)
        ranked = outcomes[np.argsort(-np.frombuffer(bytes(self.scores), np.float32), kind="stable")]
        right, wrong = np.cumsum(ranked == RIGHT), np.cumsum(ranked == WRONG)
        return right / np.maximum(right + wrong, 1), right / self.objects


class VocEval:
    """Collects images. `average_precision` ranks their predictions over the whole dataset."""

    def __init__(self) -> None:
        self._classes: dict[int, _ClassOutcomes] = {}

    def add(self, truth: Instances, predicted: Instances, overlaps: np.ndarray) -> None:
        """Matches one image. `overlaps` [D, G] are IoUs, also for difficult objects."""
        order = np.argsort(-predicted.scores, kind="stable")
        for class_id in {*truth.classes.tolist(), *predicted.classes.tolist()}:
            collected = self._classes.setdefault(class_id, _ClassOutcomes())
            labels = np.flatnonzero(truth.classes == class_id)
            mine = order[predicted.classes[order] == class_id]
            collected.objects += int(np.count_nonzero(~truth.is_crowd[labels]))
            collected.scores += predicted.scores[mine].astype(np.float32).tobytes()
            collected.outcomes += bytes(_outcomes(overlaps[np.ix_(mine, labels)], truth.is_crowd[labels]))

    def merge(self, later: VocEval) -> None:
        """Adds the images of another one."""
        for class_id, added in later._classes.items():
            collected = self._classes.setdefault(class_id, _ClassOutcomes())
            collected.objects += added.objects
            collected.scores += added.scores
            collected.outcomes += added.outcomes

    def average_precision(self) -> dict[int, tuple[float, float]]:
        """Returns {class id: (11-point AP of VOC2007, all-point AP of VOC2010)} for classes that have labels."""
        curves = {
            class_id: collected.curve() for class_id, collected in sorted(self._classes.items()) if collected.objects
        }
        return {class_id: (eleven_points(*curve), all_points(*curve)) for class_id, curve in curves.items()}


def _outcomes(overlaps: np.ndarray, difficult: np.ndarray) -> list[int]:
    """Returns the outcome of each prediction of one class in one image, given in descending order of score.

    Args:
      overlaps: [D, G] IoU.
      difficult: bool [G].
    """
    if not len(difficult):
        return [WRONG] * len(overlaps)
    taken: set[int] = set()
    outcomes = []
    for row, nearest in zip(overlaps, overlaps.argmax(axis=1).tolist(), strict=True):
        if row[nearest] < OVERLAP:
            outcomes.append(WRONG)
        elif difficult[nearest]:
            outcomes.append(IGNORED)
        else:
            outcomes.append(WRONG if nearest in taken else RIGHT)
            taken.add(nearest)
    return outcomes


def eleven_points(precision: np.ndarray, recall: np.ndarray) -> float:
    """Returns VOC2007's AP: the mean, over recalls 0, 0.1, ... 1, of the best precision at that recall or higher."""
    best = [precision[recall >= point / 10].max(initial=0.0) for point in range(11)]
    return float(np.mean(best))


def all_points(precision: np.ndarray, recall: np.ndarray) -> float:
    """Returns VOC2010's AP: the area under the best precision at each recall or higher."""
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    return float(np.sum(np.diff(recall, prepend=0.0) * envelope))
