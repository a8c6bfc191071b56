"""Angles between true and predicted normals, over all known pixels of the dataset together.

    mean_angle, median_angle, rmse_angle   degrees
    within_11_25, within_22_5, within_30   percent of pixels with a smaller angle

Protocol: Fouhey et al., "Data-Driven 3D Primitives for Single Image Understanding", ICCV 2013, as used by Eigen and
Fergus, ICCV 2015, on NYU; the RMSE as in Bansal et al., "Marr Revisited", CVPR 2016. All but the median are exact. The
median is read off a histogram in steps of 1/100 degree, so its error is at most 0.005 degrees and memory does not grow
with the dataset. A predicted 0,0,0 (unknown) or NaN on a known pixel counts as 90 degrees, the mean angle to a random
direction: abstaining neither pays nor costs more than guessing.
"""

from __future__ import annotations

import array
import math

import numpy as np

from must_tf.data import geometry
from must_tf.spec import Details, ImageInfo, Labels
from must_tf.tasks.normals.config import Config

PROTOCOL = {"averaged": "over the known pixels of the set", "crop": "none", "no prediction": "counts as 90 degrees"}

_THRESHOLDS = {"within_11_25": 11.25, "within_22_5": 22.5, "within_30": 30.0}  # degrees
_BINS_PER_DEGREE = 100


class Metric:
    """Keeps each band's sums of angles, counts those under each threshold and keeps a histogram for the median."""

    figures: tuple[str, ...] = ("mean_angle", "median_angle", "rmse_angle", *_THRESHOLDS)
    headline = "mean_angle"
    higher_is_better = False

    def __init__(self, config: Config) -> None:
        del config
        # Of each image, or each band of a large one. The sums are added exactly, so that their order does not matter.
        self._sums, self._squares = array.array("d"), array.array("d")
        self._within = dict.fromkeys(_THRESHOLDS, 0)
        # Bin k holds angles that round to k / 100 degrees, so a perfect median is exactly 0.
        self._histogram = np.zeros(180 * _BINS_PER_DEGREE + 1, np.int64)

    def add(self, labels: Labels, predictions: Labels, image: ImageInfo) -> None:
        """Adds one image; both dicts hold "normals" [h, w, 3], 0,0,0 is unknown."""
        del image
        truth, guess = labels["normals"], predictions["normals"]
        for band in geometry.bands(*truth.shape[:2]):
            known = np.any(truth[band] != 0, axis=-1)  # [rows, w]
            self._add(angles(truth[band][known], guess[band][known]))

    def _add(self, found: np.ndarray) -> None:
        """Adds angles in degrees, float64 [pixels]."""
        self._sums.append(float(found.sum()))
        self._squares.append(float(np.sum(found**2)))
        for name, threshold in _THRESHOLDS.items():
            self._within[name] += int(np.count_nonzero(found < threshold))
        bins = np.rint(found * _BINS_PER_DEGREE).astype(np.int64)
        self._histogram += np.bincount(bins, minlength=self._histogram.size)

    def merge(self, later: Metric) -> None:
        """Adds the images of another metric."""
        self._sums += later._sums
        self._squares += later._squares
        self._within = {name: count + later._within[name] for name, count in self._within.items()}
        self._histogram += later._histogram

    def result(self) -> dict[str, float]:
        """Returns the metrics; empty if no pixel is known."""
        pixels = int(self._histogram.sum())
        if not pixels:
            return {}
        percent = {name: 100 * count / pixels for name, count in self._within.items()}
        return {
            "mean_angle": math.fsum(self._sums) / pixels,
            "median_angle": _median(self._histogram),
            "rmse_angle": float(np.sqrt(math.fsum(self._squares) / pixels)),
            **percent,
        }

    def details(self) -> Details:
        """Returns the protocol, and the reason if nothing was measured."""
        reason = "" if self._histogram.any() else "no pixel of the labels is known (all are 0,0,0)"
        return Details(PROTOCOL, reason=reason)


def angles(truth: np.ndarray, guess: np.ndarray) -> np.ndarray:
    """Returns degrees [pixels] from two [pixels, 3]; 90 if the prediction has no direction."""
    directed = np.any(guess != 0, axis=-1) & np.isfinite(guess).all(axis=-1)
    truth = truth.astype(np.float64)
    guess = np.where(directed[:, None], guess, 0.0).astype(np.float64)
    # Precise near 0 and 180 degrees, where arccos is not, and needs no unit length.
    sine = np.linalg.norm(np.cross(truth, guess), axis=-1)
    found = np.degrees(np.arctan2(sine, np.sum(truth * guess, axis=-1)))
    return np.where(directed, found, 90.0)


def _median(histogram: np.ndarray) -> float:
    """Returns the median in degrees, the mean of the two middle pixels if their number is even."""
    cumulative = np.cumsum(histogram)
    pixels = int(cumulative[-1])
    middle = np.searchsorted(cumulative, [(pixels + 1) // 2, pixels // 2 + 1])
    return float(np.mean(middle)) / _BINS_PER_DEGREE
