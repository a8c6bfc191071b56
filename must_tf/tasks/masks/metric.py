"""COCO's mask figures AP, AP50, AP75, APs, APm, APl, AR1, AR10, AR100, ARs, ARm, ARl, 0 to 1.

Protocol: Lin et al., "Microsoft COCO", ECCV 2014, by pycocotools. As for boxes, but objects overlap
by their pixels. Area ranges use the labels' area, and for what was found the mask's pixels.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from pycocotools import mask as mask_utils

from must_tf.data import coco_eval
from must_tf.data.diagnosis import Objects
from must_tf.data.geometry import crop_window
from must_tf.spec import Details, ImageInfo, Labels, TaskConfig
from must_tf.tasks.detection.model import FLOOR

HEADLINE = "AP"
HIGHER_IS_BETTER = True
PROTOCOL = {
    "overlap": "masks",
    "AP": "COCO, 0.50:0.05:0.95, 100 an image and class",
    "crowds": "neither missed nor wrong",
}


class Metric:
    """Matches masks image by image; one full mask exists at a time, and none stays."""

    def __init__(self, config: TaskConfig) -> None:
        self._names = tuple(config.classes)
        self._coco = coco_eval.CocoEval("segm")
        self._objects = Objects(FLOOR)

    def add(self, labels: Labels, predictions: Labels, image: ImageInfo) -> None:
        """Adds one image; both dicts hold boxes [N, 4] and N crops, N may differ or be 0.

        Raises ValueError where a crop does not have the size of its box.
        """
        size = (image.height, image.width)
        truth, found = _outlined(labels, size), _outlined(predictions, size)
        self._coco.add(truth, found, size)
        self._objects.add(truth, found)

    def result(self) -> dict[str, float]:
        """Returns the figures; without a true object in the set, none."""
        self._coco_result = self._coco.result(self._names)
        return self._coco_result.figures

    def details(self) -> Details:
        """AP by class, and why AP is 0."""
        figures, by_class, absent = self._coco_result
        reason = "" if figures.get("AP") else self._objects.reason(self._names)
        return Details(PROTOCOL, {"AP": by_class}, absent, reason)


def _outlined(labels: Labels, size: tuple[int, int]) -> list[coco_eval.Annotation]:
    """Returns COCO annotations with the masks as RLE of the full image."""
    objects = coco_eval.to_annotations(labels, *size)
    for each, box, crop in zip(objects, labels["boxes"], labels["crops"], strict=True):
        each["segmentation"] = _rle(np.asarray(crop), crop_window(box, *size), size)
    return objects


def _rle(crop: np.ndarray, window: tuple[int, ...], size: tuple[int, int]) -> dict[str, Any]:
    y0, x0, y1, x1 = window
    if crop.shape != (y1 - y0, x1 - x0):
        raise ValueError(f"crop of {crop.shape} pixels for a box of {(y1 - y0, x1 - x0)}")
    full = np.zeros(size, np.uint8, order="F")  # column by column, as RLE runs
    full[y0:y1, x0:x1] = crop != 0
    return mask_utils.encode(full)
