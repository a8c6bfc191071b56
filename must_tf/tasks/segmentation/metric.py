"""Intersection over union per class and its mean (mIoU), and the share of right pixels, 0 to 1.

IoU_c = n_cc / (t_c + p_c - n_cc), pixels of the whole set: right, true and predicted ones of c.
Protocol: Everingham et al., "The Pascal Visual Object Classes Challenge", IJCV 2015; pixel accuracy
as in Long et al., "Fully Convolutional Networks for Semantic Segmentation", CVPR 2015.

The mean is over the classes that are true somewhere in the set: which classes count depends on the
data alone, so two models are compared on the same ones. (Cityscapes' script also counts classes
that were only predicted; on complete validation sets the two agree.) Pixels labelled 255 do not
count; 255 predicted on a known pixel is wrong.
"""

from __future__ import annotations

import numpy as np

from must_tf.spec import ImageInfo, Labels, TaskConfig

HEADLINE = "mIoU"
HIGHER_IS_BETTER = True

_IGNORE = 255


class Metric:
    """Counts right, true and predicted pixels per class: all of a confusion matrix that is used."""

    def __init__(self, config: TaskConfig) -> None:
        self._names = tuple(config.classes)
        self._counts = np.zeros([3, len(self._names)], np.int64)  # right, true, predicted

    def add(self, labels: Labels, predictions: Labels, image: ImageInfo) -> None:
        """Adds one image; both dicts hold "classes" [h, w]."""
        del image
        known = labels["classes"] != _IGNORE
        truth = labels["classes"][known]  # [known pixels]
        guess = predictions["classes"][known]
        named = guess[(guess != _IGNORE) & (guess >= 0)]
        parts = [np.bincount(ids) for ids in (truth[truth == guess], truth, named)]
        # A class id beyond the names is counted all the same, and shows its number.
        size = max(self._counts.shape[1], *(part.size for part in parts))
        grown = [np.pad(part, (0, size - part.size)) for part in parts]
        old = np.pad(self._counts, ((0, 0), (0, size - self._counts.shape[1])))
        self._counts = old + np.stack(grown)

    def result(self) -> dict[str, float]:
        """Returns mIoU, pixel_accuracy and IoU/<class>; without a known pixel, nothing."""
        right, true, predicted = self._counts
        present = np.flatnonzero(true)
        if not present.size:
            return {}
        iou = right[present] / (true + predicted - right)[present]  # [classes present]
        figures = {
            "mIoU": float(np.mean(iou)),
            "pixel_accuracy": float(right.sum() / true.sum()),
        }
        for class_id, value in zip(present, iou, strict=True):
            name = self._names[class_id] if class_id < len(self._names) else str(class_id)
            figures[f"IoU/{name}"] = float(value)
        return figures
