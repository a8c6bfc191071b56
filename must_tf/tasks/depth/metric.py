"""Errors of metric depth over known pixels; g is the true and p the predicted depth in metres.

    delta<i>  share of pixels with max(p / g, g / p) < 1.25^i, 0 to 1
    abs_rel   mean |p - g| / g
    rmse      sqrt(mean (p - g)^2), metres
    log10     mean |log10 p - log10 g|
    silog     100 sqrt(mean d^2 - (mean d)^2), d = ln p - ln g

Formulas: Eigen et al., "Depth Map Prediction from a Single Image", NIPS 2014, and for log10 and
silog the evaluate.py of AdaBins (Bhat et al., CVPR 2021). Each figure is taken per image and then
averaged over the images that have a known pixel, as that script and monodepth's evaluate_kitti.py
(Godard et al., CVPR 2017) do, so a sparse image counts as much as a dense one. There is no crop, no
cap on depth and no fitted scale: what NYU or KITTI results crop or cap must be 0 in the labels.

Relative predictions q are aligned first: s q + t fitted to 1 / g by least squares, per image (Ranftl et al., TPAMI
2022); what is then beyond the farthest true pixel counts as that. Relative labels have no metres and are left out.

A prediction that is not a positive, finite number is wrong for every delta. For the errors,
predictions are at least 1 mm, without which the logarithms would have no bound.
"""

from __future__ import annotations

import numpy as np

from must_tf.spec import ImageInfo, Labels, TaskConfig

HEADLINE = "delta1"
HIGHER_IS_BETTER = True

_NEAREST = 1e-3  # metres, the least depth in both scripts


class Metric:
    """Sums each image's figures."""

    def __init__(self, config: TaskConfig) -> None:
        del config
        self._images = 0
        self._sums: dict[str, float] = {}

    def add(self, labels: Labels, predictions: Labels, image: ImageInfo) -> None:
        """Adds one image; labels hold "metres" [h, w], 0 is unknown, predictions those or "inverse_depth"."""
        del image
        known = (labels["metres"] > 0) & np.isfinite(labels["metres"])
        if not known.any():
            return
        truth = labels["metres"][known].astype(np.float64)  # [known pixels]
        guess = predictions["metres"][known].astype(np.float64)
        if np.any(predictions.get("inverse_depth", 0) > 0):
            guess = _aligned(predictions["inverse_depth"][known].astype(np.float64), truth)
        self._images += 1
        for name, value in _figures(truth, guess).items():
            self._sums[name] = self._sums.get(name, 0.0) + value

    def result(self) -> dict[str, float]:
        """Returns the mean over images; without a known pixel, nothing."""
        return {name: total / self._images for name, total in self._sums.items()}


def _aligned(inverse: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Metres [pixels] that relative predictions mean at best."""
    columns = np.stack([inverse, np.ones_like(inverse)], axis=1)
    (scale, shift), *_ = np.linalg.lstsq(columns, 1 / truth, rcond=None)
    return 1 / np.maximum(scale * inverse + shift, 1 / truth.max())


def _figures(truth: np.ndarray, guess: np.ndarray) -> dict[str, float]:
    """Returns one image's figures from its known pixels, float64 [pixels] each."""
    valid = (guess > 0) & np.isfinite(guess)
    bounded = np.maximum(np.where(valid, guess, 0.0), _NEAREST)
    positive = np.where(valid, guess, _NEAREST)
    ratio = np.where(valid, np.maximum(positive / truth, truth / positive), np.inf)
    log_error = np.log(bounded) - np.log(truth)
    return {
        "delta1": float(np.mean(ratio < 1.25)),
        "delta2": float(np.mean(ratio < 1.25**2)),
        "delta3": float(np.mean(ratio < 1.25**3)),
        "abs_rel": float(np.mean(np.abs(bounded - truth) / truth)),
        "rmse": float(np.sqrt(np.mean((bounded - truth) ** 2))),
        "log10": float(np.mean(np.abs(log_error)) / np.log(10)),
        "silog": float(100 * np.std(log_error)),
    }
