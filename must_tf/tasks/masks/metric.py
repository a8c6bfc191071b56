"""COCO's mask figures AP, AP50, AP75, APs, APm, APl, AR1, AR10, AR100, ARs, ARm, ARl, 0 to 1.

Protocol: Lin et al., "Microsoft COCO", ECCV 2014, by faster-coco-eval. As for boxes, but overlap
is measured in pixels. Area ranges use the labels' area, and the number of pixels of predicted masks.

An object without a mask is not missed. Predictions of its class whose boxes overlap its box with an IoU of 0.5 are not
judged and take no place among the 1, 10 or 100 of an image, unless they overlap a mask as much.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from pycocotools import mask as mask_utils

from must_tf.data.geometry import crop_window
from must_tf.shared import coco_eval
from must_tf.shared.why_zero import ZeroDiagnosis
from must_tf.spec import Details, ImageInfo, Labels
from must_tf.tasks.detection.model import FLOOR
from must_tf.tasks.masks.config import Config
from must_tf.tasks.masks.labels import has_mask

PROTOCOL = {
    "overlap": "masks",
    "AP": "COCO, 0.50:0.05:0.95, 100 an image and class",
    "crowds": "neither missed nor wrong",
}


class Metric:
    """Matches masks image by image, and keeps none."""

    figures: tuple[str, ...] = coco_eval.FIGURES
    headline = "AP"
    higher_is_better = True

    def __init__(self, config: Config) -> None:
        self._names = tuple(config.classes)
        self._coco = coco_eval.CocoEval()
        self._objects = ZeroDiagnosis(FLOOR)

    def add(self, labels: Labels, predictions: Labels, image: ImageInfo) -> None:
        """Adds one image; both dicts hold boxes [N, 4] and N crops, N may differ or be 0.

        Raises:
          ValueError: a crop does not have the size of its box.
        """
        shapes = [_placed(each, image.height, image.width) for each in (predictions, labels)]
        found, truth = (
            coco_eval.instances(each, area=area)
            for each, area in ((predictions, shapes[0].area), (labels, np.asarray(labels["area"])))
        )
        shared = _shared(*shapes)
        union = shapes[0].area[:, None] + shapes[1].area[None] - shared
        overlaps = shared / np.maximum(union, 1)
        in_crowd = shared / np.maximum(shapes[0].area[:, None], 1)
        matching = np.where(truth.is_crowd, in_crowd, overlaps)
        known = has_mask(labels)
        if not known.all():  # they are ignored like crowds, but by their boxes
            matching = np.where(known, matching, _near(predictions, labels, image))
            judged = ~_is_about_unknown(found, truth, matching, known)
            found = coco_eval.Instances(*(column[judged] for column in found))
            matching, overlaps = matching[judged], overlaps[judged]
            truth = truth._replace(is_crowd=truth.is_crowd | ~known)
        self._coco.add(truth, found, matching)
        self._objects.add(truth, found, overlaps)

    def merge(self, later: Metric) -> None:
        """Adds the images of another metric."""
        self._coco.merge(later._coco)
        self._objects.merge(later._objects)

    def result(self) -> dict[str, float]:
        """Returns the metrics; empty if the dataset has no object."""
        self._coco_result = self._coco.result(self._names)
        return self._coco_result.metrics

    def details(self) -> Details:
        """Returns AP by class, and the reason if AP is 0."""
        figures, by_class, absent = self._coco_result
        reason = "" if figures.get("AP") else self._objects.reason(self._names)
        return Details(PROTOCOL, {"AP": by_class}, absent, reason)


def _is_about_unknown(
    found: coco_eval.Instances, truth: coco_eval.Instances, matching: np.ndarray, known: np.ndarray
) -> np.ndarray:
    """Returns bool [D]: True for predictions that match objects without masks [G], and no other object."""
    same = (found.classes[:, None] == truth.classes[None]) & (matching >= coco_eval.LOWEST_OVERLAP)  # [D, G]
    about_unknown = (same & ~known).any(axis=1)
    about_known = (same & known & ~truth.is_crowd).any(axis=1)
    return about_unknown & ~about_known


def _near(found: Labels, truth: Labels, image: ImageInfo) -> np.ndarray:
    """Returns [D, G]: 1 where the boxes overlap enough to be about the same object, else 0."""
    sides = [coco_eval.corners(each["boxes"], image.height, image.width) for each in (found, truth)]
    if not len(sides[0]) or not len(sides[1]):
        return np.zeros([len(sides[0]), len(sides[1])])
    crowds = np.asarray(truth["is_crowd"], np.uint8).tolist()
    return (mask_utils.iou(*sides, crowds) >= coco_eval.LOWEST_OVERLAP).astype(float)


class _Placed(NamedTuple):
    """Masks with their position: N crops over the pixels [top, left, bottom, right] that their boxes touch."""

    crops: list[np.ndarray]  # bool [ch, cw]
    windows: np.ndarray  # int [N, 4]
    area: np.ndarray  # [N] pixels


def _placed(labels: Labels, height: int, width: int) -> _Placed:
    crops = [np.asarray(crop) != 0 for crop in labels["crops"]]
    windows = np.array([crop_window(box, height, width) for box in labels["boxes"]], int).reshape(-1, 4)
    for crop, (top, left, bottom, right) in zip(crops, windows.tolist(), strict=True):
        if crop.shape != (bottom - top, right - left):
            raise ValueError(f"crop of {crop.shape} pixels for a box of {(bottom - top, right - left)}")
    return _Placed(crops, windows, np.array([np.count_nonzero(crop) for crop in crops], int))


def _shared(found: _Placed, truth: _Placed) -> np.ndarray:
    """Counts the shared pixels [D, G] in the intersection of two windows, without making full masks."""
    low = np.maximum(found.windows[:, None, :2], truth.windows[None, :, :2])  # [D, G, 2]
    high = np.minimum(found.windows[:, None, 2:], truth.windows[None, :, 2:])
    shared = np.zeros(low.shape[:2], int)
    for d, g in np.argwhere((high > low).all(axis=-1)).tolist():
        window = (*low[d, g].tolist(), *high[d, g].tolist())
        shared[d, g] = np.count_nonzero(_part(found, d, window) & _part(truth, g, window))
    return shared


def _part(placed: _Placed, index: int, window: tuple[int, ...]) -> np.ndarray:
    """Returns the part of a mask in a window [top, left, bottom, right] inside its own."""
    y, x = placed.windows[index, :2].tolist()
    top, left, bottom, right = window
    return placed.crops[index][top - y : bottom - y, left - x : right - x]
