"""COCO's mask figures: AP, AP50, AP75, APs, APm, APl, AR1, AR10, AR100 and AP/<class>, 0 to 1.

Protocol: Lin et al., "Microsoft COCO", ECCV 2014, by pycocotools. As for boxes, but objects overlap
by their pixels. Area ranges use the labels' area, and for what was found the mask's pixels.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from pycocotools import mask as mask_utils

from must_tf.data import coco_eval
from must_tf.data.geometry import crop_window
from must_tf.spec import ImageInfo, Labels, TaskConfig

HEADLINE = "AP"
HIGHER_IS_BETTER = True


class Metric:
    """Matches masks image by image; one full mask exists at a time, and none stays."""

    def __init__(self, config: TaskConfig) -> None:
        self._names = tuple(config.classes)
        self._coco = coco_eval.CocoEval("segm")

    def add(self, labels: Labels, predictions: Labels, image: ImageInfo) -> None:
        """Adds one image; both dicts hold boxes [N, 4] and N crops, N may differ or be 0.

        Raises ValueError where a crop does not have the size of its box.
        """
        size = (image.height, image.width)
        self._coco.add(_outlined(labels, size), _outlined(predictions, size), size)

    def result(self) -> dict[str, float]:
        """Returns the figures; without a true object in the set, none."""
        return self._coco.result(self._names)


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
