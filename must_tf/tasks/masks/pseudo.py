"""The masks of the boxes that detection keeps: pixels at least as likely as not, at the original image's resolution.

Where no pixel is, the mask is the likeliest one. Without a pixel nothing could overlap the mask; without the mask, or
without its box, masks and boxes of the image would no longer be one list; and a mask of the whole box would be a lie.
The score tells: the mean probability of the mask's pixels, the "maskness" of Wang et al. (SOLO),
https://arxiv.org/abs/1912.04488, is below 0.5 for such masks alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import cv2
import numpy as np

from must_tf.data.geometry import crop_window
from must_tf.spec import ImageInfo, Labels
from must_tf.tasks.detection import pseudo as detection

if TYPE_CHECKING:
    from must_tf.tasks.masks import Config


BELOW = float(np.nextafter(np.float32(0.5), np.float32(0.0)))  # what OpenCV's threshold is to take as no pixel


class _Mask(NamedTuple):
    """One object's pixels."""

    crop: np.ndarray  # uint8 [ch, cw] in {0, 1}
    area: int  # pixels
    score: float


def keep(predictions: dict[str, np.ndarray], info: ImageInfo, config: Config) -> Labels:
    """Detection's labels, `crops` and `mask_scores` float32 [N]; area is the mask's."""
    labels = detection.keep(predictions, info, config)
    maps = predictions["probability"][detection.kept(predictions)]
    # One after the other: the probabilities of all at full resolution would be most of an evaluation's memory.
    masks = [_mask(one, box, info) for one, box in zip(maps, labels["boxes"], strict=True)]
    return labels | {
        "crops": [mask.crop for mask in masks],
        "mask_scores": np.array([mask.score for mask in masks], np.float32),
        "area": np.array([mask.area for mask in masks], np.float32),
    }


def _mask(probability: np.ndarray, box: np.ndarray, info: ImageInfo) -> _Mask:
    """The pixels at least as likely as not, or else the likeliest, the first of equals."""
    likely = upsample(probability, box, info)
    if not np.isfinite(probability).all():
        likely = np.nan_to_num(likely)  # what is no number is no pixel, and its score is 0
    crop = likely >= 0.5
    area = int(np.count_nonzero(crop))
    if not area:
        crop.flat[likely.argmax()] = True
        return _Mask(crop.view(np.uint8), 1, float(likely.max()))
    # Exact in any order: the terms are whole multiples of 2^-24, and float64 holds the sum of 2^28 of them.
    total = cv2.sumElems(cv2.threshold(likely, BELOW, 0, cv2.THRESH_TOZERO, dst=likely)[1])[0]
    return _Mask(crop.view(np.uint8), area, total / area)


def upsample(probability: np.ndarray, box: np.ndarray, info: ImageInfo) -> np.ndarray:
    """A map [28, 28] over a normalised box -> the pixels [ch, cw] that the box touches, bilinear."""
    top, left, bottom, right = crop_window(box, info.height, info.width)
    y0, x0, y1, x1 = np.asarray(box, np.float64) * [info.height, info.width, info.height, info.width]
    side = probability.shape[0]
    rows = ((np.arange(top, bottom) + 0.5 - y0) / max(y1 - y0, 1e-6) * side - 0.5).astype(np.float32)
    columns = ((np.arange(left, right) + 0.5 - x0) / max(x1 - x0, 1e-6) * side - 0.5).astype(np.float32)
    places = np.empty([2, len(rows), len(columns)], np.float32)
    places[0], places[1] = columns, rows[:, None]
    across, down = places
    return cv2.remap(probability.astype(np.float32), across, down, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
