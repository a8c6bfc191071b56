"""Depth metrics over known pixels; g is the true and p the predicted depth in metres.

    delta<i>  share of pixels with max(p / g, g / p) < 1.25^i, 0 to 1
    abs_rel   mean |p - g| / g
    sq_rel    mean (p - g)^2 / g, metres
    rmse      sqrt(mean (p - g)^2), metres
    rmse_log  sqrt(mean d^2), d = ln p - ln g
    log10     mean |log10 p - log10 g|
    silog     100 sqrt(mean d^2 - (mean d)^2)

Formulas: Eigen et al., "Depth Map Prediction from a Single Image", NIPS 2014, and for log10 and silog the evaluate.py
of AdaBins (Bhat et al., CVPR 2021). Each metric is computed per image and averaged over the images with a
measured pixel, as that script and monodepth's evaluate_kitti.py (Godard et al., CVPR 2017) do, so a sparse image counts
as much as a dense one. The protocol, which evaluation.json states:

    min_metres, max_metres  labels outside are left out, predictions are clipped (NYU 1e-3 and 10, KITTI
                            1e-3 and 80); 0: no bound
    crop                    eigen: rows 45:471, columns 41:601 of NYU's 480 x 640, in proportion for other sizes;
                            garg: KITTI's, rows 0.4081 h to 0.9919 h, columns 0.0359 w to 0.9641 w (Garg et al., ECCV
                            2016)
    alignment               median: p * median(g) / median(p) (Zhou et al., CVPR 2017); scale_and_shift: s q + t fitted
                            to 1 / g by least squares, q = 1 / p (Ranftl et al., TPAMI 2022); both per image, over the
                            measured pixels, before clipping

Predictions of relative depth (`inverse_depth`) are q itself, and always aligned by scale and shift. If s q + t is not
above 0, the depth is max_metres, or that of the image's farthest label. Relative labels have no metres and are left
out.

A prediction that is not a positive, finite number is wrong for every delta. For the errors, predictions are clipped at
1 mm, so that the logarithms are bounded.
"""

from __future__ import annotations

import array
import math

import numpy as np

from must_tf.spec import Details, ImageInfo, Labels
from must_tf.tasks.depth.config import Config

RELATIVE = "images with relative depth: not measured, the metric is one of metres"
_NEAREST = 1e-3  # metres, the least depth in both scripts
# top, bottom, left, right, as shares of the height and the width
_WINDOWS = {
    "none": (0.0, 1.0, 0.0, 1.0),
    "eigen": (45 / 480, 471 / 480, 41 / 640, 601 / 640),
    "garg": (0.40810811, 0.99189189, 0.03594771, 0.96405229),
}


class Metric:
    """Keeps the metrics of each image, 72 bytes, so that their sum does not depend on the order."""

    headline = "delta1"
    higher_is_better = True

    def __init__(self, config: Config) -> None:
        self._config = config
        self._farthest = config.max_metres or np.inf
        self._images, self._relative_labels, self._relative = 0, 0, False
        self._values: dict[str, array.array[float]] = {}  # of each image
        self._ratios: list[float] = []  # median p / g of each image

    def add(self, labels: Labels, predictions: Labels, image: ImageInfo) -> None:
        """Adds one image; both dicts hold "metres" or "inverse_depth" [h, w], 0 is unknown."""
        del image
        if _is_relative(labels):
            self._relative_labels += 1
            return
        truth = labels["metres"]
        known = (truth > self._config.min_metres) & (truth < self._farthest) & window(truth.shape, self._config.crop)
        if not known.any():
            return
        self._images += 1
        relative = _is_relative(predictions)
        self._relative |= relative
        values = predictions["inverse_depth" if relative else "metres"][known].astype(np.float64)
        truth = truth[known].astype(np.float64)  # [known pixels]
        valid = np.isfinite(values) & (relative | (values > 0))
        guess = np.zeros_like(values)  # 0: no prediction
        guess[valid] = self._aligned(truth[valid], values[valid], relative)
        self._ratios.append(float(np.median(guess / truth)))
        for name, value in _figures(truth, self._cut(guess), valid).items():
            self._values.setdefault(name, array.array("d")).append(value)

    def merge(self, later: Metric) -> None:
        """Adds the images of another metric."""
        self._images += later._images
        self._relative_labels += later._relative_labels
        self._relative |= later._relative
        self._ratios += later._ratios
        for name, values in later._values.items():
            self._values.setdefault(name, array.array("d")).extend(values)

    def _aligned(self, truth: np.ndarray, values: np.ndarray, relative: bool) -> np.ndarray:
        """Aligns the predictions [pixels] to the truth; returns metres."""
        if not truth.size:
            return values
        if relative or self._config.alignment == "scale_and_shift":
            bound = self._farthest if np.isfinite(self._farthest) else truth.max()
            fitted = scaled_and_shifted(values if relative else 1.0 / values, 1.0 / truth)
            return 1.0 / np.maximum(fitted, 1.0 / bound)
        if self._config.alignment == "median":
            return values * (np.median(truth) / np.median(values))
        return values

    def _cut(self, guess: np.ndarray) -> np.ndarray:
        return np.clip(guess, max(self._config.min_metres, _NEAREST), self._farthest)

    def result(self) -> dict[str, float]:
        """Returns the mean over images; empty if no pixel was measured."""
        return {name: math.fsum(values) / self._images for name, values in self._values.items()}

    def details(self) -> Details:
        """Returns the protocol, and the reason if delta1 is 0."""
        protocol = {
            "averaged": "per image",
            "alignment": "scale_and_shift" if self._relative else self._config.alignment,
            "min_metres": self._config.min_metres,
            "max_metres": self._config.max_metres,
            "crop": self._config.crop,
        }
        return Details(protocol, reason="" if any(self._values.get("delta1", ())) else self._reason())

    def unmeasured(self) -> dict[str, int]:
        """Returns the number of labels that are left out because they have no metres."""
        return {RELATIVE: self._relative_labels} if self._relative_labels else {}

    def _reason(self) -> str:
        if self._ratios:
            return (
                f"no pixel is within 25 %; predictions are {np.median(self._ratios):.3g} times the truth in the median"
            )
        if self._relative_labels:
            return f"all {self._relative_labels} depth labels are relative and have no metres to measure"
        return "no pixel of the labels is known within min_metres, max_metres and crop"


def window(size: tuple[int, ...], crop: str) -> np.ndarray:
    """Returns the measured pixels, bool [h, w]. Published corners are exact: 45 / 480 of 480 rows is row 45."""
    height, width = size
    top, bottom, left, right = _WINDOWS[crop]
    # Truncated as in the scripts; the small number keeps 44.999... from becoming 44.
    y0, y1, x0, x1 = (int(edge + 1e-6) for edge in (top * height, bottom * height, left * width, right * width))
    inside = np.zeros([height, width], bool)
    inside[y0:y1, x0:x1] = True
    return inside


def scaled_and_shifted(values: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Fits s * values + t to `target` by least squares; both [pixels]."""
    columns = np.stack([values, np.ones_like(values)], axis=1)
    (scale, shift), *_ = np.linalg.lstsq(columns, target, rcond=None)
    return scale * values + shift


def _is_relative(labels: Labels) -> bool:
    """Tests if a label or prediction is relative; then it has no metres, or they are all 0."""
    return bool(np.any(labels.get("inverse_depth", 0.0)))


def _figures(truth: np.ndarray, guess: np.ndarray, valid: np.ndarray) -> dict[str, float]:
    """Returns one image's figures from its known pixels, float64 [pixels] each."""
    ratio = np.where(valid, np.maximum(guess / truth, truth / guess), np.inf)
    log_error = np.log(guess) - np.log(truth)
    return {
        "delta1": float(np.mean(ratio < 1.25)),
        "delta2": float(np.mean(ratio < 1.25**2)),
        "delta3": float(np.mean(ratio < 1.25**3)),
        "abs_rel": float(np.mean(np.abs(guess - truth) / truth)),
        "sq_rel": float(np.mean((guess - truth) ** 2 / truth)),
        "rmse": float(np.sqrt(np.mean((guess - truth) ** 2))),
        "rmse_log": float(np.sqrt(np.mean(log_error**2))),
        "log10": float(np.mean(np.abs(log_error)) / np.log(10)),
        "silog": float(100 * np.std(log_error)),
    }
