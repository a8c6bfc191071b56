"""Accuracy: the share of images whose true class is the likeliest (top1) or among five (top5).

Protocol: Russakovsky et al., "ImageNet Large Scale Visual Recognition Challenge", IJCV 2015. The
true class is the likeliest of the labels, which also holds for a teacher's distribution. An equal
probability counts as ahead of the true class, so a constant prediction scores 0, not 1.
"""

from __future__ import annotations

import numpy as np

from must_tf.spec import ImageInfo, Labels, TaskConfig

HEADLINE = "top1"
HIGHER_IS_BETTER = True


class Metric:
    """Counts images by the rank of their true class."""

    def __init__(self, config: TaskConfig) -> None:
        del config  # the number of classes is the predictions' own
        self._images = 0
        self._first = 0
        self._in_five = 0
        self._five_is_hard = False

    def add(self, labels: Labels, predictions: Labels, image: ImageInfo) -> None:
        """Adds one image; both dicts hold "probability" [C]."""
        del image
        probability = np.asarray(predictions["probability"])  # [C]
        truth = int(np.argmax(labels["probability"]))
        # "not below" instead of "at least": NaN is then ahead of the truth, and never a hit.
        ahead = int(np.count_nonzero(~(probability < probability[truth]))) - 1
        self._images += 1
        self._first += ahead < 1
        self._in_five += ahead < 5
        self._five_is_hard = probability.size > 5  # five of five classes would always be right

    def result(self) -> dict[str, float]:
        """Returns top1, and top5 where there are at least 6 classes; no images, no figures."""
        if not self._images:
            return {}
        figures = {"top1": self._first / self._images}
        if self._five_is_hard:
            figures["top5"] = self._in_five / self._images
        return figures
