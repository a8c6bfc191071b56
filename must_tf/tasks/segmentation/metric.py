"""Intersection over union and pixel accuracy, 0 to 1.

    mIoU                 mean over classes of IoU_c = n_cc / (t_c + p_c - n_cc)
    pixel_accuracy       sum_c n_cc / sum_c t_c
    mean_class_accuracy  mean over classes of n_cc / t_c
    ADE20K_score         (pixel_accuracy + mIoU) / 2, the ranking score of the scene parsing challenge

n_cc, t_c, p_c: pixels of the whole dataset that are correct, true, and predicted as c. Protocols: Everingham et al.,
"The Pascal Visual Object Classes Challenge", IJCV 2015; Long et al., "Fully Convolutional Networks for Semantic
Segmentation", CVPR 2015, for both accuracies; Zhou et al., "Scene Parsing through ADE20K Dataset", CVPR 2017.

Means are over the classes that have a true pixel in the dataset, so that two models are compared on the same classes.
(Cityscapes' script also counts classes that were only predicted; on complete validation sets the two agree.) Pixels
labelled 255, or as one of `config.unmeasured` (ADE20K's 0, "other"), are not measured. Predicting either of them on a
measured pixel is wrong.
"""

from __future__ import annotations

import numpy as np

from must_tf.common.errors import UserError, nearest
from must_tf.common.text import listed
from must_tf.data import geometry
from must_tf.spec import Details, ImageInfo, Labels
from must_tf.tasks.segmentation.config import Config

_IGNORE = 255


class Metric:
    """Counts correct, true and predicted pixels per class."""

    figures: tuple[str, ...] = ("mIoU", "pixel_accuracy", "mean_class_accuracy", "ADE20K_score")
    headline = "mIoU"
    higher_is_better = True

    def __init__(self, config: Config) -> None:
        self._names = tuple(config.classes)
        self._unmeasured = tuple(config.unmeasured)
        for name in self._unmeasured:
            if name not in self._names:
                raise UserError(
                    f"task.tasks.segmentation.unmeasured: {name!r} is not a class.{nearest(name, self._names)} "
                    f"Known: {listed(self._names, 20)}."
                )
        self._ignored = [_IGNORE, *(self._names.index(name) for name in self._unmeasured)]
        self._counts = np.zeros([3, len(self._names)], np.int64)  # right, true, predicted

    def add(self, labels: Labels, predictions: Labels, image: ImageInfo) -> None:
        """Adds one image; both dicts hold "classes" [h, w]."""
        del image
        truth, guess = labels["classes"], predictions["classes"]
        for band in geometry.bands(*truth.shape):  # counting takes 8 bytes a pixel
            known = ~np.isin(truth[band], self._ignored)
            self._add(truth[band][known], guess[band][known])

    def _add(self, truth: np.ndarray, guess: np.ndarray) -> None:
        """Adds known pixels, class ids [pixels]."""
        named = guess[(guess != _IGNORE) & (guess >= 0)]
        parts = [np.bincount(ids) for ids in (truth[truth == guess], truth, named)]
        # A class id beyond the names is counted too, and reported as a number.
        size = max(part.size for part in parts)
        self._count(np.stack([np.pad(part, (0, size - part.size)) for part in parts]))

    def _count(self, added: np.ndarray) -> None:
        """Adds counts [3, ids]; there may be more or fewer ids than before."""
        size = max(self._counts.shape[1], added.shape[1])
        old, new = (np.pad(counts, ((0, 0), (0, size - counts.shape[1]))) for counts in (self._counts, added))
        self._counts = old + new

    def merge(self, later: Metric) -> None:
        """Adds the images of another metric."""
        self._count(later._counts)

    def result(self) -> dict[str, float]:
        """Returns the metrics; empty if no pixel is known."""
        right, true, _ = self._counts
        present = np.flatnonzero(true)
        if not present.size:
            return {}
        overlap, pixels = float(np.mean(self._overlaps())), float(right.sum() / true.sum())
        return {
            "mIoU": overlap,
            "pixel_accuracy": pixels,
            "mean_class_accuracy": float(np.mean(right[present] / true[present])),
            "ADE20K_score": (pixels + overlap) / 2,
        }

    def _overlaps(self) -> np.ndarray:
        """Returns the IoU of the classes that have a true pixel, by id."""
        right, true, predicted = self._counts
        present = true > 0
        return right[present] / (true + predicted - right)[present]

    def details(self) -> Details:
        """Returns IoU and accuracy by class, and the reason if the mean is 0."""
        right, true, _ = self._counts
        present = np.flatnonzero(true).tolist()
        by_class = {
            "IoU": dict(zip(map(self._name, present), self._overlaps().tolist(), strict=True)),
            "accuracy": {self._name(class_id): float(right[class_id] / true[class_id]) for class_id in present},
        }
        measured = [name for name in self._names if name not in self._unmeasured]
        absent = tuple(name for name in measured if name not in by_class["IoU"])
        protocol = {"averaged": "over the pixels of the set, then over classes", "unmeasured": list(self._unmeasured)}
        return Details(protocol, by_class, absent, "" if right.any() else self._reason())

    def _reason(self) -> str:
        _, true, predicted = self._counts
        if not true.any():
            return "every pixel of the labels is ignored"
        guessed, labelled = (listed(map(self._name, np.flatnonzero(counts).tolist())) for counts in (predicted, true))
        return f"no pixel is classified correctly; predicted {guessed or 'nothing'}; labelled {labelled}"

    def _name(self, class_id: int) -> str:
        return self._names[class_id] if class_id < len(self._names) else str(class_id)
