"""COCO's average precision and recall, computed one image at a time in little memory.

Source: Lin et al., "Microsoft COCO", ECCV 2014, https://cocodataset.org, and pycocotools' COCOeval. IoU thresholds are
0.50:0.05:0.95, with 101 recall points and at most 100 predictions per image and class. Crowds count neither as missed
nor as wrong. All metrics are fractions, 0 to 1.

Each image is matched as soon as it is added, so that two images with the same source id are never merged. Matching
follows COCOeval's rule, but for all area ranges and IoU thresholds at once: COCOeval's own loops would take most of an
evaluation's time. For each prediction, 25 bytes are kept: whether it matched, never its shape. Finally COCOeval ranks
the predictions of all images as if they came from one.

Axes: A area ranges, T IoU thresholds, R recall points, K classes; D predictions ("detections") and G ground-truth
objects of one image.
"""

from __future__ import annotations

import contextlib
import io
import sys
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from pycocotools.cocoeval import COCOeval, Params

from must_tf.common import upstream

_PARAMS = Params(iouType="bbox")  # the same as for masks
OVERLAPS = np.minimum(_PARAMS.iouThrs, 1 - 1e-10)  # [T]
AREAS = np.array(_PARAMS.areaRng)  # [A, 2] pixels^2: all, small, medium, large
MOST = _PARAMS.maxDets[-1]  # predictions per image and class
_BITS = 1 << np.arange(len(OVERLAPS))
_IMAGE_ID = 1  # COCOeval only ever sees one image


def class_name(class_id: int, names: Sequence[str]) -> str:
    """Returns the name of a class id that counts from 1, or the id as text if it has no name."""
    return names[class_id - 1] if 1 <= class_id <= len(names) else str(class_id)


class CocoResult(NamedTuple):
    """COCO's twelve metrics, AP by class for the classes that have labels, and the names of the others."""

    metrics: dict[str, float]
    by_class: dict[str, float]
    absent: tuple[str, ...]


class Instances(NamedTuple):
    """The objects of one image, labelled or predicted, without their shapes."""

    classes: np.ndarray  # int32 [N]
    scores: np.ndarray  # float32 [N]
    is_crowd: np.ndarray  # bool [N]
    area: np.ndarray  # float64 [N] pixels^2, as labelled; for predictions, measured from the shape


def instances(labels: Mapping[str, Any], area: np.ndarray | None = None) -> Instances:
    """Returns the objects of a label, or of predictions. `area` [N] replaces the label's own areas."""
    area = np.asarray(labels["area"] if area is None else area, np.float64)
    scores, crowds = np.asarray(labels["scores"], np.float32), np.asarray(labels["is_crowd"], bool)
    return Instances(np.asarray(labels["classes"], np.int32), scores, crowds, area)


class _MatchedPredictions:
    """The matched predictions of all images, and the number of objects that they should have found."""

    def __init__(self) -> None:
        self.object_counts: dict[int, np.ndarray] = {}  # class id -> [A] ground-truth objects, without ignored ones
        self._classes = bytearray()  # int32 [D]
        self._scores = bytearray()  # float32 [D]
        self._ranks = bytearray()  # uint8 [D], 0 is the highest score of its image and class
        self._matched = bytearray()  # uint16 [D, A], one bit for each IoU threshold
        self._ignored = bytearray()  # uint16 [D, A], the same

    def count_objects(self, truth: Instances) -> None:
        """Counts one image's ground-truth objects."""
        counting = ~(truth.is_crowd | _outside(truth.area))  # [A, G]
        for class_id in np.unique(truth.classes).tolist():
            added = np.count_nonzero(counting[:, truth.classes == class_id], axis=1)
            self.object_counts[class_id] = self.object_counts.get(class_id, 0) + added

    def extend(self, predicted: Instances, ranks: np.ndarray, matched: np.ndarray, ignored: np.ndarray) -> None:
        """Appends one image's predictions: ranks [D], matched and ignored bool [D, A, T]."""
        self._classes += predicted.classes.tobytes()
        self._scores += predicted.scores.tobytes()
        self._ranks += ranks.astype(np.uint8).tobytes()
        self._matched += (matched @ _BITS).astype(np.uint16).tobytes()
        self._ignored += (ignored @ _BITS).astype(np.uint16).tobytes()

    def merge(self, later: _MatchedPredictions) -> None:
        """Appends those of other images."""
        for class_id, counts in later.object_counts.items():
            self.object_counts[class_id] = self.object_counts.get(class_id, 0) + counts
        self._classes += later._classes
        self._scores += later._scores
        self._ranks += later._ranks
        self._matched += later._matched
        self._ignored += later._ignored

    def classes(self) -> list[int]:
        """Returns all class ids that were labelled or predicted, ascending."""
        return sorted({*self.object_counts, *np.unique(np.frombuffer(bytes(self._classes), np.int32)).tolist()})

    def eval_images(self, most: int, ranges: int) -> list[dict[str, np.ndarray]]:
        """Returns the content of COCOeval.evalImgs, one dict for each class and area range.

        Args:
          most: predictions per image and class; those with the highest scores are taken.
          ranges: the number of area ranges; the first ones are taken.
        """
        kept = np.frombuffer(bytes(self._ranks), np.uint8) < most
        class_ids = np.frombuffer(bytes(self._classes), np.int32)[kept]
        scores = np.frombuffer(bytes(self._scores), np.float32)[kept]
        matched = np.frombuffer(bytes(self._matched), np.uint16).reshape(-1, len(AREAS))[kept]
        ignored = np.frombuffer(bytes(self._ignored), np.uint16).reshape(-1, len(AREAS))[kept]
        entries = []
        for class_id in self.classes():
            mine = np.flatnonzero(class_ids == class_id)
            objects = self.object_counts.get(class_id, np.zeros(len(AREAS), int))
            entries += [
                {
                    "dtScores": scores[mine],
                    "dtMatches": matched[mine, area] & _BITS[:, None] != 0,  # [T, D]
                    "dtIgnore": ignored[mine, area] & _BITS[:, None] != 0,
                    "gtIgnore": np.zeros(objects[area]),
                }
                for area in range(ranges)
            ]
        return entries


class CocoEval:
    """Collects images and computes COCO's metrics."""

    def __init__(self) -> None:
        self._matches = _MatchedPredictions()

    def add(self, truth: Instances, predicted: Instances, overlaps: np.ndarray) -> None:
        """Matches one image.

        Args:
          truth: G ground-truth objects.
          predicted: D predictions.
          overlaps: [D, G] IoU; for crowds, the share of the prediction that lies in the crowd.
        """
        self._matches.count_objects(truth)
        order = np.argsort(-predicted.scores, kind="stable")
        classes = predicted.classes[order]
        ranks = np.count_nonzero(np.tril(classes[:, None] == classes[None], -1), axis=1)
        order, ranks = order[ranks < MOST], ranks[ranks < MOST]
        predicted = Instances(*(column[order] for column in predicted))
        same = predicted.classes[:, None] == truth.classes[None]
        matched, ignored = _matched(truth, np.where(same, overlaps[order], 0.0))
        ignored |= ~matched & _outside(predicted.area).T[:, :, None]
        self._matches.extend(predicted, ranks, matched, ignored)

    def merge(self, later: CocoEval) -> None:
        """Adds the images of another one."""
        self._matches.merge(later._matches)

    def result(self, names: Sequence[str]) -> CocoResult:
        """Returns AP, AP50, AP75, APs, APm, APl, AR1, AR10, AR100, ARs, ARm, ARl, and AP by class.

        Classes and area ranges without a ground-truth object are left out of averages. A metric is absent if no
        object counts for it. `names[i - 1]` is the name of class i; a class without a name is shown by its number.
        """
        absent = tuple(name for class_id, name in enumerate(names, 1) if not self._object_count(class_id))
        classes = self._matches.classes()
        if not classes:
            return CocoResult({}, {}, absent)
        # COCO reports AR1 and AR10 only over all areas, which is the first range.
        recalls = {f"AR{most}": self._accumulated(most, 1)["recall"] for most in _PARAMS.maxDets[:-1]}
        accumulated = self._accumulated(MOST, len(AREAS))
        precision = accumulated["precision"][..., 0]  # [T, R, K, A, 1] -> [T, R, K, A]
        recall = accumulated["recall"][..., 0]  # [T, K, A, 1] -> [T, K, A]
        metrics = {
            "AP": precision[..., 0],
            "AP50": precision[0, ..., 0],
            "AP75": precision[5, ..., 0],  # 0.50 + 5 * 0.05
        }
        metrics |= {f"AP{size}": precision[..., area] for area, size in enumerate("sml", 1)}
        metrics |= {name: values[:, :, 0] for name, values in recalls.items()}
        metrics |= {"AR100": recall[..., 0]}
        metrics |= {f"AR{size}": recall[..., area] for area, size in enumerate("sml", 1)}
        by_class = {class_name(class_id, names): precision[:, :, k, 0] for k, class_id in enumerate(classes)}
        return CocoResult(_means(metrics), _means(by_class), absent)

    def _object_count(self, class_id: int) -> int:
        """Returns the number of the class's ground-truth objects of all areas."""
        counts = self._matches.object_counts.get(class_id)
        return 0 if counts is None else int(counts[0])

    def _accumulated(self, most: int, ranges: int) -> dict[str, np.ndarray]:
        """Ranks all images. Returns "precision" [T, R, K, A, 1] and "recall" [T, K, A, 1]."""
        evaluation = COCOeval(iouType="bbox")
        params = evaluation.params
        params.imgIds = [_IMAGE_ID]
        params.catIds = self._matches.classes()
        params.areaRng = params.areaRng[:ranges]
        params.maxDets = [sys.maxsize]  # `eval_images` has applied the limit per image
        with contextlib.redirect_stdout(io.StringIO()):  # pycocotools prints at every step
            return upstream.accumulate_matches(evaluation, self._matches.eval_images(most, ranges))


def _matched(truth: Instances, overlaps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Matches one image's predictions. Returns whether each matched an object, and whether that object is ignored.

    Args:
      truth: G objects.
      overlaps: [D, G], predictions in descending order of score; 0 between different classes.

    Returns:
      Two arrays, bool [D, A, T].
    """
    ignore = truth.is_crowd | _outside(truth.area)  # [A, G]
    free = np.ones([len(AREAS), len(OVERLAPS), len(truth.classes)], bool)
    matched = np.zeros([len(overlaps), *free.shape[:2]], bool)
    ignored = np.zeros_like(matched)
    for row in np.flatnonzero((overlaps >= OVERLAPS[0]).any(axis=1)):
        near = np.flatnonzero(overlaps[row] >= OVERLAPS[0])
        best = _best(overlaps[row, near], free[:, :, near] | truth.is_crowd[near], ignore[:, near])
        taken = best >= 0
        area, threshold = np.nonzero(taken)
        objects = near[best[taken]]
        matched[row] = taken
        ignored[row, area, threshold] = ignore[area, objects]
        free[area, threshold, objects] = False
    return matched, ignored


def _best(overlaps: np.ndarray, free: np.ndarray, ignore: np.ndarray) -> np.ndarray:
    """Returns which of N overlapping objects a prediction matches: int [A, T], -1 for none.

    It matches the object with the highest overlap that counts, or, if there is none, the ignored object with the
    highest overlap. If several overlap equally, it matches the last.

    Args:
      overlaps: [N].
      free: bool [A, T, N], False if the object is already matched.
      ignore: bool [A, N].
    """
    within = free & (overlaps >= OVERLAPS[:, None])  # [A, T, N]
    counting = within & ~ignore[:, None]
    eligible = np.where(counting.any(axis=-1, keepdims=True), counting, within)
    last = len(overlaps) - 1 - np.argmax(np.where(eligible, overlaps, -1.0)[..., ::-1], axis=-1)
    return np.where(within.any(axis=-1), last, -1)


def _outside(area: np.ndarray) -> np.ndarray:
    """Returns bool [A, N]: True if an object's area [N] lies outside of the range."""
    return (area < AREAS[:, :1]) | (area > AREAS[:, 1:])


def _means(metrics: dict[str, np.ndarray]) -> dict[str, float]:
    """Averages each metric over its known values. COCOeval sets values that it cannot compute to -1."""
    known = {name: values[values > -1] for name, values in metrics.items()}
    return {name: float(np.mean(values)) for name, values in known.items() if values.size}


def corners(boxes: np.ndarray, height: int, width: int) -> np.ndarray:
    """Converts normalised boxes [N, 4] to COCO's form: x, y, width, height in pixels."""
    y0, x0, y1, x1 = (np.asarray(boxes, np.float64).reshape(-1, 4) * [height, width, height, width]).T
    return np.stack([x0, y0, x1 - x0, y1 - y0], axis=1)
