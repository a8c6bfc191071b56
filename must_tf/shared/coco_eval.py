"""COCO's average precision and recall, one image at a time, in little memory.

Source: Lin et al., "Microsoft COCO", ECCV 2014, https://cocodataset.org, and pycocotools' COCOeval. Overlaps of
0.50:0.05:0.95, 101 recall points, at most 100 found objects per image and class; crowds are neither missed nor wrong.
All figures are fractions, 0 to 1.

Each image is matched alone, as soon as it is added, so two images with the same source id cannot merge. The rule is
COCOeval's, for all ranges of areas and all overlaps at once, where COCOeval's own loops take most of an evaluation's
time. Only the verdict on each found object stays (25 bytes), never its shape; COCOeval then ranks the verdicts of all
images as if they came from one.
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

_PARAMS = Params(iouType="bbox")  # those of regions are the same
OVERLAPS = np.minimum(_PARAMS.iouThrs, 1 - 1e-10)  # [T]
AREAS = np.array(_PARAMS.areaRng)  # [A, 2] pixels^2: all, small, medium, large
MOST = _PARAMS.maxDets[-1]
_BITS = 1 << np.arange(len(OVERLAPS))
_IMAGE_ID = 1  # COCOeval only ever sees one image


def named(class_id: int, names: Sequence[str]) -> str:
    """The name of a class that is counted from 1; its number where there is none."""
    return names[class_id - 1] if 1 <= class_id <= len(names) else str(class_id)


class Result(NamedTuple):
    """COCO's twelve figures, AP of each class that has labels, and the names of those that have none."""

    figures: dict[str, float]
    by_class: dict[str, float]
    absent: tuple[str, ...]


class Instances(NamedTuple):
    """The objects of one image, without their shapes."""

    classes: np.ndarray  # [N]
    scores: np.ndarray  # [N]
    is_crowd: np.ndarray  # bool [N]
    area: np.ndarray  # [N] pixels^2: of the label; of what was found, measured from its shape


def instances(labels: Mapping[str, Any], area: np.ndarray | None = None) -> Instances:
    """The objects of a label; `area` [N] where it is measured."""
    area = np.asarray(labels["area"] if area is None else area, np.float64)
    scores, crowds = np.asarray(labels["scores"], np.float32), np.asarray(labels["is_crowd"], bool)
    return Instances(np.asarray(labels["classes"], np.int32), scores, crowds, area)


class _Verdicts:
    """What matching said of the found objects of all images."""

    def __init__(self) -> None:
        self.wanted: dict[int, np.ndarray] = {}  # class id -> [A] true objects that must be found
        self._classes = bytearray()  # int32 [D]
        self._scores = bytearray()  # float32 [D]
        self._ranks = bytearray()  # uint8 [D], 0 is the surest of its image and class
        self._matched = bytearray()  # uint16 [D, A], a bit for each overlap
        self._ignored = bytearray()  # uint16 [D, A]

    def want(self, truth: Instances) -> None:
        """Counts one image's true objects."""
        must = ~(truth.is_crowd | _outside(truth.area))  # [A, G]
        for class_id in np.unique(truth.classes).tolist():
            here = np.count_nonzero(must[:, truth.classes == class_id], axis=1)
            self.wanted[class_id] = self.wanted.get(class_id, 0) + here

    def extend(self, found: Instances, ranks: np.ndarray, matched: np.ndarray, ignored: np.ndarray) -> None:
        """Appends one image's found objects: ranks [D], matched and ignored bool [D, A, T]."""
        self._classes += found.classes.tobytes()
        self._scores += found.scores.tobytes()
        self._ranks += ranks.astype(np.uint8).tobytes()
        self._matched += (matched @ _BITS).astype(np.uint16).tobytes()
        self._ignored += (ignored @ _BITS).astype(np.uint16).tobytes()

    def classes(self) -> list[int]:
        """All that were wanted or found."""
        return sorted({*self.wanted, *np.unique(np.frombuffer(bytes(self._classes), np.int32)).tolist()})

    def entries(self, most: int, ranges: int) -> list[dict[str, np.ndarray]]:
        """What COCOeval.evalImgs holds: by class and range, the first `ranges` of areas, the `most` surest found
        objects of each image."""
        kept = np.frombuffer(bytes(self._ranks), np.uint8) < most
        of = np.frombuffer(bytes(self._classes), np.int32)[kept]
        scores = np.frombuffer(bytes(self._scores), np.float32)[kept]
        matched = np.frombuffer(bytes(self._matched), np.uint16).reshape(-1, len(AREAS))[kept]
        ignored = np.frombuffer(bytes(self._ignored), np.uint16).reshape(-1, len(AREAS))[kept]
        found = []
        for class_id in self.classes():
            mine, wanted = np.flatnonzero(of == class_id), self.wanted.get(class_id, np.zeros(len(AREAS), int))
            found += [
                {
                    "dtScores": scores[mine],
                    "dtMatches": matched[mine, area] & _BITS[:, None] != 0,  # [T, D]
                    "dtIgnore": ignored[mine, area] & _BITS[:, None] != 0,
                    "gtIgnore": np.zeros(wanted[area]),
                }
                for area in range(ranges)
            ]
        return found


class CocoEval:
    """Collects images and reports COCO's figures."""

    def __init__(self) -> None:
        self._verdicts = _Verdicts()

    def add(self, truth: Instances, found: Instances, overlaps: np.ndarray) -> None:
        """Matches one image. `overlaps` [D, G]: IoU; with a crowd, the share of what was found that lies in it."""
        self._verdicts.want(truth)
        order = np.argsort(-found.scores, kind="stable")
        classes = found.classes[order]
        ranks = np.count_nonzero(np.tril(classes[:, None] == classes[None], -1), axis=1)
        order, ranks = order[ranks < MOST], ranks[ranks < MOST]
        found = Instances(*(column[order] for column in found))
        same = found.classes[:, None] == truth.classes[None]
        matched, ignored = _matched(truth, np.where(same, overlaps[order], 0.0))
        ignored |= ~matched & _outside(found.area).T[:, :, None]
        self._verdicts.extend(found, ranks, matched, ignored)

    def result(self, names: Sequence[str]) -> Result:
        """Returns AP, AP50, AP75, APs, APm, APl, AR1, AR10, AR100, ARs, ARm, ARl, and AP by class.

        Classes and area ranges without a true object are in no mean; a figure without any true
        object is absent. `names[i - 1]` names class i; a class beyond the names shows its number.
        """
        absent = tuple(name for class_id, name in enumerate(names, 1) if not self._wanted(class_id))
        classes = self._verdicts.classes()
        if not classes:
            return Result({}, {}, absent)
        # Of the fewer per image only the recall over all areas is asked for, the first range.
        recalls = {f"AR{most}": self._accumulated(most, 1)["recall"] for most in _PARAMS.maxDets[:-1]}
        whole = self._accumulated(MOST, len(AREAS))
        precision = whole["precision"][..., 0]  # [T, R, K, A, 1] -> [T, R, K, A]
        recall = whole["recall"][..., 0]  # [T, K, A, 1] -> [T, K, A]
        figures = {
            "AP": precision[..., 0],
            "AP50": precision[0, ..., 0],
            "AP75": precision[5, ..., 0],  # 0.50 + 5 * 0.05
        }
        figures |= {f"AP{size}": precision[..., area] for area, size in enumerate("sml", 1)}
        figures |= {name: values[:, :, 0] for name, values in recalls.items()}
        figures |= {"AR100": recall[..., 0]}
        figures |= {f"AR{size}": recall[..., area] for area, size in enumerate("sml", 1)}
        by_class = {named(class_id, names): precision[:, :, k, 0] for k, class_id in enumerate(classes)}
        return Result(_means(figures), _means(by_class), absent)

    def _wanted(self, class_id: int) -> int:
        """How many objects of the class must be found, of all areas."""
        wanted = self._verdicts.wanted.get(class_id)
        return 0 if wanted is None else int(wanted[0])

    def _accumulated(self, most: int, ranges: int) -> dict[str, np.ndarray]:
        """Ranks all images. Returns "precision" [T, R, K, A, 1] and "recall" [T, K, A, 1]."""
        evaluation = COCOeval(iouType="bbox")
        params = evaluation.params
        params.imgIds = [_IMAGE_ID]
        params.catIds = self._verdicts.classes()
        params.areaRng = params.areaRng[:ranges]
        params.maxDets = [sys.maxsize]  # each image is cut already; no further cut of them all
        with contextlib.redirect_stdout(io.StringIO()):  # pycocotools prints at every step
            return upstream.accumulate_matches(evaluation, self._verdicts.entries(most, ranges))


def _matched(truth: Instances, overlaps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Who found an object, and whether that one is ignored: bool [D, A, T] each.

    Args:
      truth: G objects.
      overlaps: [D, G] of found objects, surest first; 0 between classes.
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
    """Which of the N near objects a found one takes: int [A, T], -1 for none.

    The nearest one that counts, and only without such the nearest that is ignored; of equally near ones the last.

    Args:
      overlaps: [N].
      free: bool [A, T, N], may be taken.
      ignore: bool [A, N].
    """
    within = free & (overlaps >= OVERLAPS[:, None])  # [A, T, N]
    counting = within & ~ignore[:, None]
    eligible = np.where(counting.any(axis=-1, keepdims=True), counting, within)
    last = len(overlaps) - 1 - np.argmax(np.where(eligible, overlaps, -1.0)[..., ::-1], axis=-1)
    return np.where(within.any(axis=-1), last, -1)


def _outside(area: np.ndarray) -> np.ndarray:
    """bool [A, N]: not in the range."""
    return (area < AREAS[:, :1]) | (area > AREAS[:, 1:])


def _means(figures: dict[str, np.ndarray]) -> dict[str, float]:
    """COCOeval marks what it could not compute by -1."""
    known = {name: values[values > -1] for name, values in figures.items()}
    return {name: float(np.mean(values)) for name, values in known.items() if values.size}


def corners(boxes: np.ndarray, height: int, width: int) -> np.ndarray:
    """Normalised boxes [N, 4] as COCO's: x, y, width, height in pixels."""
    y0, x0, y1, x1 = (np.asarray(boxes, np.float64).reshape(-1, 4) * [height, width, height, width]).T
    return np.stack([x0, y0, x1 - x0, y1 - y0], axis=1)
