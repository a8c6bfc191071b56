"""Pseudo labels of masks: for each box that detection keeps, the pixels with a probability of at least 0.5.

If no pixel has, the mask is the likeliest pixel. An empty mask could overlap nothing, and without the mask, masks and
boxes would not be one list. The mask's score is the mean probability of its pixels, the "maskness" of Wang et al.
(SOLO), https://arxiv.org/abs/1912.04488. It is below 0.5 only for masks of this kind.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

from must_tf.data.geometry import crop_window
from must_tf.spec import ImageInfo, Labels
from must_tf.tasks.detection import pseudo as detection
from must_tf.tasks.masks.config import Config

BELOW = float(np.nextafter(np.float32(0.5), np.float32(0.0)))  # OpenCV's threshold is exclusive


class _Mask(NamedTuple):
    """One object's pixels."""

    crop: np.ndarray  # uint8 [ch, cw] in {0, 1}
    area: int  # pixels
    score: float


def keep(predictions: dict[str, np.ndarray], info: ImageInfo, config: Config) -> Labels:
    """Returns detection's labels, `crops` and `mask_scores` float32 [N]; the area is the mask's."""
    labels = detection.keep(predictions, info, config)
    maps = predictions["probability"][detection.kept(predictions)]
    # One at a time: all probabilities at full resolution would be most of an evaluation's memory.
    masks = [_mask(one, box, info) for one, box in zip(maps, labels["boxes"], strict=True)]
    return labels | {
        "crops": [mask.crop for mask in masks],
        "mask_scores": np.array([mask.score for mask in masks], np.float32),
        "area": np.array([mask.area for mask in masks], np.float32),
    }


def _mask(probability: np.ndarray, box: np.ndarray, info: ImageInfo) -> _Mask:
    """Returns the pixels with a probability of at least 0.5; if there is none, the first of the likeliest pixels."""
    likely = upsample(probability, box, info)
    if not np.isfinite(probability).all():
        likely = np.nan_to_num(likely)  # NaN is not a pixel, and its score is 0
    crop = likely >= 0.5
    area = int(np.count_nonzero(crop))
    if not area:
        crop.flat[likely.argmax()] = True
        return _Mask(crop.view(np.uint8), 1, float(likely.max()))
    # Exact in any order: the terms are whole multiples of 2^-24, and float64 holds the sum of 2^28 of them.
    total = cv2.sumElems(cv2.threshold(likely, BELOW, 0, cv2.THRESH_TOZERO, dst=likely)[1])[0]
    return _Mask(crop.view(np.uint8), area, total / area)


def upsample(probability: np.ndarray, box: np.ndarray, info: ImageInfo) -> np.ndarray:
    """Resizes a map [28, 28] over a normalised box to the pixels [ch, cw] that the box touches, bilinear."""
    top, left, bottom, right = crop_window(box, info.height, info.width)
    y0, x0, y1, x1 = np.asarray(box, np.float64) * [info.height, info.width, info.height, info.width]
    side = probability.shape[0]
    rows = ((np.arange(top, bottom) + 0.5 - y0) / max(y1 - y0, 1e-6) * side - 0.5).astype(np.float32)
    columns = ((np.arange(left, right) + 0.5 - x0) / max(x1 - x0, 1e-6) * side - 0.5).astype(np.float32)
    places = np.empty([2, len(rows), len(columns)], np.float32)
    places[0], places[1] = columns, rows[:, None]
    across, down = places
    return cv2.remap(probability.astype(np.float32), across, down, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
