"""COCO's box figures AP, AP50, AP75, APs, APm, APl, AR1, AR10, AR100, ARs, ARm, ARl, and Pascal VOC's AP50; 0 to 1.

Protocols: Lin et al., "Microsoft COCO", ECCV 2014, by faster-coco-eval; area ranges use the labels' area (COCO's own is
the object's, not the box's). VOC07_AP50 (11 points) and VOC10_AP50 (all points) as in `shared/voc_eval.py`, whose
matching and interpolation are not COCO's, over at most `max_detections` boxes an image. Crowds (VOC: difficult objects)
are neither misses nor mistakes. Classes and area ranges without a true object are left out of means.
"""

from __future__ import annotations

import numpy as np
from pycocotools import mask as mask_utils

from must_tf.shared import coco_eval, voc_eval
from must_tf.shared.coco_eval import class_name
from must_tf.shared.why_zero import ZeroDiagnosis
from must_tf.spec import Details, ImageInfo, Labels
from must_tf.tasks.detection.config import Config
from must_tf.tasks.detection.model import FLOOR

PROTOCOL = {
    "overlap": "boxes",
    "AP": "COCO, 0.50:0.05:0.95, 100 an image and class",
    "crowds": "neither missed nor wrong",
}

VOC = ("VOC07_AP50", "VOC10_AP50")


class Metric:
    """Matches boxes image by image; `result` ranks them over the dataset."""

    figures: tuple[str, ...] = (*coco_eval.FIGURES, *VOC)
    headline = "AP"
    higher_is_better = True

    def __init__(self, config: Config) -> None:
        self._names = tuple(config.classes)
        self._coco = coco_eval.CocoEval()
        self._voc = voc_eval.VocEval()
        self._objects = ZeroDiagnosis(FLOOR)

    def add(self, labels: Labels, predictions: Labels, image: ImageInfo) -> None:
        """Adds one image; both dicts hold boxes [N, 4] normalised to it, N may differ or be 0."""
        sides = [coco_eval.corners(each["boxes"], image.height, image.width) for each in (predictions, labels)]
        truth = coco_eval.instances(labels)
        found = coco_eval.instances(predictions, area=sides[0][:, 2] * sides[0][:, 3])
        overlaps = _overlaps(sides[0], sides[1], np.zeros_like(truth.is_crowd))
        with_crowds = _overlaps(sides[0], sides[1], truth.is_crowd) if truth.is_crowd.any() else overlaps
        self._coco.add(truth, found, with_crowds)
        self._voc.add(truth, found, overlaps)
        self._objects.add(truth, found, overlaps)

    def merge(self, later: Metric) -> None:
        """Adds the images of another metric."""
        self._coco.merge(later._coco)
        self._voc.merge(later._voc)
        self._objects.merge(later._objects)

    def result(self) -> dict[str, float]:
        """Returns the metrics; empty if the dataset has no object."""
        self._coco_result = self._coco.result(self._names)
        voc = list(self._voc.average_precision().values())
        if not voc:
            return self._coco_result.metrics
        means = np.mean(voc, axis=0).tolist()  # by eleven points, and by every point
        return self._coco_result.metrics | dict(zip(VOC, means, strict=True))

    def details(self) -> Details:
        """Returns AP and VOC's AP50 by class, and the reason if AP is 0."""
        figures, by_class, absent = self._coco_result
        voc = self._voc.average_precision()
        classes = {"AP": by_class}
        for place, name in enumerate(VOC):
            classes[name] = {class_name(class_id, self._names): values[place] for class_id, values in voc.items()}
        reason = "" if figures.get("AP") else self._objects.reason(self._names)
        return Details(PROTOCOL, classes, absent, reason)


def _overlaps(found: np.ndarray, truth: np.ndarray, is_crowd: np.ndarray) -> np.ndarray:
    """IoU [D, G] of boxes x, y, width, height; with a crowd, the share of the prediction that lies in it."""
    if not len(found) or not len(truth):
        return np.zeros([len(found), len(truth)])
    return mask_utils.iou(found, truth, is_crowd.astype(np.uint8).tolist())
