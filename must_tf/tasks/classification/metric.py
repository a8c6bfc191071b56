"""Accuracy: the share of images whose true class is the likeliest (top1) or among five (top5).

Protocol: Russakovsky et al., "ImageNet Large Scale Visual Recognition Challenge", IJCV 2015. The true class is the
likeliest class of the label. A class with the same probability counts as ahead of it, so a constant prediction scores
0, not 1.
"""

from __future__ import annotations

from collections import Counter

import numpy as np

from must_tf.common.text import listed
from must_tf.spec import Details, ImageInfo, Labels
from must_tf.tasks.classification.config import Config

PROTOCOL = {"averaged": "over images", "crop": "none, the whole image"}


class Metric:
    """Counts images by the rank of their true class."""

    figures: tuple[str, ...] = ("top1", "top5")
    headline = "top1"
    higher_is_better = True

    def __init__(self, config: Config) -> None:
        self._names = tuple(config.classes)
        self._true: Counter[int] = Counter()  # images by class id
        self._guessed: Counter[int] = Counter()
        self._first: Counter[int] = Counter()  # correct ones
        self._in_five = 0
        self._five_is_hard = False

    def add(self, labels: Labels, predictions: Labels, image: ImageInfo) -> None:
        """Adds one image; both dicts hold "probability" [C]."""
        del image
        probability = np.asarray(predictions["probability"])  # [C]
        truth = int(np.argmax(labels["probability"]))
        # "not below" instead of "at least", so that NaN counts as ahead of the true class.
        ahead = int(np.count_nonzero(~(probability < probability[truth]))) - 1
        self._true[truth] += 1
        self._guessed[int(np.argmax(probability))] += 1
        self._first[truth] += ahead < 1
        self._in_five += ahead < 5
        self._five_is_hard = probability.size > 5  # with five classes, top5 is always 1

    def add_unanswered(self, labels: Labels) -> None:
        """Adds one image that was not classified: it counts as wrong."""
        probability = np.asarray(labels["probability"])
        self._true[int(np.argmax(probability))] += 1
        self._five_is_hard = probability.size > 5

    def merge(self, later: Metric) -> None:
        """Adds the images of another metric."""
        self._true += later._true
        self._guessed += later._guessed
        self._first += later._first
        self._in_five += later._in_five
        self._five_is_hard |= later._five_is_hard

    def result(self) -> dict[str, float]:
        """Returns top1, and top5 if there are at least 6 classes; empty without images."""
        images = self._true.total()
        if not images:
            return {}
        figures = {"top1": self._first.total() / images}
        if self._five_is_hard:
            figures["top5"] = self._in_five / images
        return figures

    def details(self) -> Details:
        """Returns top1 by class, and the reason if it is 0."""
        by_class = {self._name(class_id): self._first[class_id] / count for class_id, count in self._true.items()}
        absent = tuple(name for class_id, name in enumerate(self._names) if class_id not in self._true)
        return Details(PROTOCOL, {"top1": by_class}, absent, "" if self._first.total() else self._reason())

    def _reason(self) -> str:
        if not self._true:
            return "the dataset has no labelled image"
        guessed, true = (
            listed(f"{self._name(class_id)} ({count})" for class_id, count in sorted(counted.items()))
            for counted in (self._guessed, self._true)
        )
        return f"no image is classified correctly; predicted {guessed or 'nothing'}; labelled {true}"

    def _name(self, class_id: int) -> str:
        return self._names[class_id] if class_id < len(self._names) else str(class_id)
