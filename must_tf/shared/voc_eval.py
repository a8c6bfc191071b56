"""Pascal VOC's average precision of boxes, one image at a time, in little memory.

Source: Everingham et al., "The Pascal Visual Object Classes Challenge", IJCV 2010 and 2015, and VOCevaldet.m and
VOCap.m of its development kit, http://host.robots.ox.ac.uk/pascal/VOC/. What differs from COCO's: one overlap, 0.5; a
found object is judged against the label of its class that it overlaps most, so a second one on the same label is wrong
even where another label is free; all found objects count, not 100 an image; `difficult` labels are neither missed nor
wrong.

The records' crowd flag stands for `difficult`. Overlaps are of continuous boxes, which equals the kit's `+ 1` on whole
inclusive pixels. The 11 recalls are k / 10 exactly: 3 of 10 found reach recall 0.3.
"""

from __future__ import annotations

import numpy as np

from must_tf.shared.coco_eval import Instances

OVERLAP = 0.5
WRONG, RIGHT, IGNORED = 0, 1, 2  # what may be said of a found object


class _OneClass:
    """What was said of one class's found objects so far: 5 bytes each."""

    def __init__(self) -> None:
        self.wanted = 0  # labels that must be found
        self.scores = bytearray()  # float32
        self.verdicts = bytearray()  # uint8

    def curve(self) -> tuple[np.ndarray, np.ndarray]:
        """Precision and recall [D] down to each found object, surest first; equal scores in the order of adding."""
        verdicts = np.frombuffer(bytes(self.verdicts), np.uint8)
        ranked = verdicts[np.argsort(-np.frombuffer(bytes(self.scores), np.float32), kind="stable")]
        right, wrong = np.cumsum(ranked == RIGHT), np.cumsum(ranked == WRONG)
        return right / np.maximum(right + wrong, 1), right / self.wanted


class VocEval:
    """Collects images; `average_precision` ranks their verdicts over the set."""

    def __init__(self) -> None:
        self._classes: dict[int, _OneClass] = {}

    def add(self, truth: Instances, found: Instances, overlaps: np.ndarray) -> None:
        """Matches one image. `overlaps` [D, G]: IoU, of difficult objects too."""
        order = np.argsort(-found.scores, kind="stable")
        for class_id in {*truth.classes.tolist(), *found.classes.tolist()}:
            one = self._classes.setdefault(class_id, _OneClass())
            labels = np.flatnonzero(truth.classes == class_id)
            mine = order[found.classes[order] == class_id]
            one.wanted += int(np.count_nonzero(~truth.is_crowd[labels]))
            one.scores += found.scores[mine].astype(np.float32).tobytes()
            one.verdicts += bytes(_judged(overlaps[np.ix_(mine, labels)], truth.is_crowd[labels]))

    def average_precision(self) -> dict[int, tuple[float, float]]:
        """{class id: (11-point AP of VOC2007, all-point AP of VOC2010)} of the classes that have labels to be found."""
        curves = {class_id: one.curve() for class_id, one in sorted(self._classes.items()) if one.wanted}
        return {class_id: (eleven_points(*curve), all_points(*curve)) for class_id, curve in curves.items()}


def _judged(overlaps: np.ndarray, difficult: np.ndarray) -> list[int]:
    """The verdict on each found object [D, G] of one class in one image, surest first."""
    if not len(difficult):
        return [WRONG] * len(overlaps)
    taken: set[int] = set()
    verdicts = []
    for row, nearest in zip(overlaps, overlaps.argmax(axis=1).tolist(), strict=True):
        if row[nearest] < OVERLAP:
            verdicts.append(WRONG)
        elif difficult[nearest]:
            verdicts.append(IGNORED)
        else:
            verdicts.append(WRONG if nearest in taken else RIGHT)
            taken.add(nearest)
    return verdicts


def eleven_points(precision: np.ndarray, recall: np.ndarray) -> float:
    """VOC2007: the mean over recalls 0, 0.1, ... 1 of the best precision at that recall or beyond."""
    best = [precision[recall >= point / 10].max(initial=0.0) for point in range(11)]
    return float(np.mean(best))


def all_points(precision: np.ndarray, recall: np.ndarray) -> float:
    """VOC2010: the area under the precision made monotonic, the best at that recall or beyond."""
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    return float(np.sum(np.diff(recall, prepend=0.0) * envelope))
