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

A large image is measured in bands of rows (`geometry.BAND`), because double precision takes many times its memory. Its
metrics are those of all pixels at once, except for rounding.
"""

from __future__ import annotations

import array
import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from must_tf.data import geometry
from must_tf.spec import Details, ImageInfo, Labels
from must_tf.tasks.depth.config import Config

RELATIVE = "images with relative depth: not measured, the metric is one of metres"
FIGURES = ("delta1", "delta2", "delta3", "abs_rel", "sq_rel", "rmse", "rmse_log", "log10", "silog")
_NEAREST = 1e-3  # metres, the least depth in both scripts
# top, bottom, left, right, as shares of the height and the width
_WINDOWS = {
    "none": (0.0, 1.0, 0.0, 1.0),
    "eigen": (45 / 480, 471 / 480, 41 / 640, 601 / 640),
    "garg": (0.40810811, 0.99189189, 0.03594771, 0.96405229),
}


Align = Callable[[np.ndarray], np.ndarray]  # predictions [pixels] -> metres [pixels]


class _Band(NamedTuple):
    """Known pixels, all of an image or those of some rows of a large one."""

    truth: np.ndarray  # float64 [pixels], metres
    values: np.ndarray  # float64 [pixels], predictions
    valid: np.ndarray  # bool [pixels], there is a prediction

    def aligned(self, align: Align) -> np.ndarray:
        """Returns the predictions in metres; 0 where there is none."""
        guess = np.zeros_like(self.values)
        guess[self.valid] = align(self.values[self.valid])
        return guess


class _Image(NamedTuple):
    """One image's maps [h, w]."""

    truth: np.ndarray  # metres
    values: np.ndarray  # predicted metres, or inverse depth
    known: np.ndarray  # bool, what is measured
    relative: bool  # the values are inverse depth

    @property
    def is_large(self) -> bool:
        return len(geometry.bands(*self.known.shape)) > 1

    def bands(self) -> Iterator[_Band]:
        """Yields the known pixels of each band that has some."""
        for rows in geometry.bands(*self.known.shape):
            known = self.known[rows]
            if known.any():
                values = self.values[rows][known].astype(np.float64)
                yield _Band(self.truth[rows][known].astype(np.float64), values, self._are_valid(values))

    def valid(self) -> np.ndarray:
        """Returns the known pixels with a prediction, bool [h, w]."""
        return self.known & self._are_valid(self.values)

    def inverse(self, values: np.ndarray) -> np.ndarray:
        """Returns q of these predictions."""
        return values if self.relative else 1.0 / values

    def _are_valid(self, values: np.ndarray) -> np.ndarray:
        return np.isfinite(values) & (self.relative | (values > 0))


class Metric:
    """Keeps the metrics of each image, 72 bytes, so that their sum does not depend on the order."""

    figures: tuple[str, ...] = FIGURES
    headline = "delta1"
    higher_is_better = True

    def __init__(self, config: Config) -> None:
        self._config = config
        self._farthest = config.max_metres or np.inf
        self._images, self._relative_labels, self._relative = 0, 0, False
        self._values: dict[str, array.array[float]] = {}  # of each image
        self._ratios: list[float] = []  # median p / g of each image without a pixel within 25 %

    def add(self, labels: Labels, predictions: Labels, image: ImageInfo) -> None:
        """Adds one image; both dicts hold "metres" or "inverse_depth" [h, w], 0 is unknown."""
        del image
        if _is_relative(labels):
            self._relative_labels += 1
            return
        truth, relative = labels["metres"], _is_relative(predictions)
        known = (truth > self._config.min_metres) & (truth < self._farthest) & window(truth.shape, self._config.crop)
        if not known.any():
            return
        self._images += 1
        self._relative |= relative
        pixels = _Image(truth, predictions["inverse_depth" if relative else "metres"], known, relative)
        align = self._alignment(pixels)
        for name, value in _figures([self._sums(band, align) for band in pixels.bands()]).items():
            self._values.setdefault(name, array.array("d")).append(value)
        if not self._values["delta1"][-1]:
            self._ratios.append(_median_ratio(pixels, align))

    def merge(self, later: Metric) -> None:
        """Adds the images of another metric."""
        self._images += later._images
        self._relative_labels += later._relative_labels
        self._relative |= later._relative
        self._ratios += later._ratios
        for name, values in later._values.items():
            self._values.setdefault(name, array.array("d")).extend(values)

    def _alignment(self, image: _Image) -> Align:
        """Fits an image's valid predictions to the truth. Returns what makes metres of predictions."""
        known = image.valid()
        if not known.any():
            return lambda values: values
        if image.relative or self._config.alignment == "scale_and_shift":
            bound = (
                self._farthest if np.isfinite(self._farthest) else float(np.max(image.truth, where=known, initial=0.0))
            )
            scale, shift = _scale_and_shift(image)
            return lambda values: 1.0 / np.maximum(scale * image.inverse(values) + shift, 1.0 / bound)
        if self._config.alignment == "median":
            factor = _median(image.truth[known]) / _median(image.values[known])
            return lambda values: values * factor
        return lambda values: values

    def _sums(self, band: _Band, align: Align) -> dict[str, float]:
        """Returns the sums of what `_figures` needs of each pixel."""
        guess = np.clip(band.aligned(align), max(self._config.min_metres, _NEAREST), self._farthest)
        ratio = np.where(band.valid, np.maximum(guess / band.truth, band.truth / guess), np.inf)
        error, log_error = guess - band.truth, np.log(guess) - np.log(band.truth)
        log_sum = float(np.sum(log_error))
        return {
            "pixels": error.size,
            "delta1": np.count_nonzero(ratio < 1.25),
            "delta2": np.count_nonzero(ratio < 1.25**2),
            "delta3": np.count_nonzero(ratio < 1.25**3),
            "abs_rel": float(np.sum(np.abs(error) / band.truth)),
            "sq_rel": float(np.sum(error**2 / band.truth)),
            "rmse": float(np.sum(error**2)),
            "rmse_log": float(np.sum(log_error**2)),
            "log10": float(np.sum(np.abs(log_error))),
            "log": log_sum,
            "spread": float(np.sum((log_error - log_sum / error.size) ** 2)),  # around the band's own mean
        }

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
    scale, shift = _solved(_equations(values, target))
    return scale * values + shift


def _equations(values: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Returns the equations s * values + t = target, [pixels, 3]."""
    return np.stack([values, np.ones_like(values), target], axis=1)


def _solved(equations: np.ndarray) -> tuple[float, float]:
    """Returns the s and t with the least squared error."""
    (scale, shift), *_ = np.linalg.lstsq(equations[:, :2], equations[:, 2], rcond=None)
    return scale, shift


def _scale_and_shift(image: _Image) -> tuple[float, float]:
    """Fits s q + t to 1 / g by least squares over the valid pixels."""
    bands = (_equations(image.inverse(band.values[band.valid]), 1.0 / band.truth[band.valid]) for band in image.bands())
    if not image.is_large:
        return _solved(next(bands))
    # Of each band three equations with the same solution.
    return _solved(np.concatenate([np.linalg.qr(equations, mode="r") for equations in bands]))


def _median(values: np.ndarray) -> float:
    """Returns the median in double precision. Reorders the values, which takes no further memory."""
    middle = [(values.size - 1) // 2, values.size // 2]
    values.partition(middle)
    return float(values[middle].mean(dtype=np.float64))


def _median_ratio(image: _Image, align: Align) -> float:
    """Returns the median of the aligned predictions, as shares of the truth."""
    ratios, start = np.empty(np.count_nonzero(image.known)), 0
    for band in image.bands():
        ratios[start : start + band.truth.size] = band.aligned(align) / band.truth
        start += band.truth.size
    return _median(ratios)


def _is_relative(labels: Labels) -> bool:
    """Tests if a label or prediction is relative; then it has no metres, or they are all 0."""
    return bool(np.any(labels.get("inverse_depth", 0.0)))


def _figures(bands: list[dict[str, float]]) -> dict[str, float]:
    """Returns one image's figures from the sums of its bands."""
    pixels = sum(band["pixels"] for band in bands)
    mean = {name: math.fsum(band[name] for band in bands) / pixels for name in bands[0]}
    between = [band["pixels"] * (band["log"] / band["pixels"] - mean["log"]) ** 2 for band in bands]
    spread = math.fsum([*(band["spread"] for band in bands), *between]) / pixels  # around the mean of all
    return {
        **{name: mean[name] for name in ("delta1", "delta2", "delta3", "abs_rel", "sq_rel")},
        "rmse": math.sqrt(mean["rmse"]),
        "rmse_log": math.sqrt(mean["rmse_log"]),
        "log10": mean["log10"] / math.log(10),
        "silog": 100 * math.sqrt(spread),
    }
