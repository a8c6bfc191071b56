"""Normals as the record tools see them: the pixels whose direction is known, and where these look on average.

The confidence of a pixel is 2 ** (-d / t), see `shared/pixel_confidence.py`: d is the angle between its normal and that
of the same pixel in the mirrored photo, whose x is negated, and t = 11.25 degrees, the strictest limit of the metric.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import cv2
import numpy as np

from must_tf.label_content import PIXELS, ImageInfo, LabelContent, Labels, Summary, missing, problems_of_maps
from must_tf.shared import pixel_confidence
from must_tf.tasks.normals.config import Config
from must_tf.tasks.normals.labels import NORMALS, colours
from must_tf.tasks.normals.metric import angles

ROWS = 512  # that are measured at once: in float64, a large map would take gigabytes
LENGTH_TOLERANCE = 1e-3
TOLERANCE = 11.25  # degrees, the disagreement at which the confidence is 1/2
UNMIRRORED = np.array([-1, 1, 1], np.float32)
SAME_DIRECTION = 0.999  # length of the mean unit vector; vectors within about 2.6 degrees of each other


def content(labels: Labels, info: ImageInfo, config: Config) -> LabelContent:
    """Pixels [h, w], with their confidence if they have one."""
    del info, config
    return LabelContent(PIXELS, _known(labels["normals"]), scores=labels.get(pixel_confidence.CONFIDENCE))


def _known(normals: np.ndarray) -> np.ndarray:
    known = np.zeros(normals.shape[:-1], bool)
    for rows in _bands(normals):
        for axis in range(3):  # one after the other is several times faster
            known[rows] |= _axis(normals[rows], axis) != 0
    return known


def _bands(normals: np.ndarray) -> list[slice]:
    return [slice(top, top + ROWS) for top in range(0, len(normals), ROWS)]


def _axis(normals: np.ndarray, axis: int) -> np.ndarray:
    """Returns one axis of vectors [..., 3] as an array of its own, because numbers that lie apart take longer."""
    return cv2.extractChannel(normals, axis) if normals.ndim == 3 and normals.size else normals[..., axis]


def problems(labels: Labels, info: ImageInfo, config: Config) -> Iterator[tuple[str, str]]:
    """Yields problems of the map, and vectors that are not unit vectors."""
    yield from problems_of_maps(labels, info, config)
    normals = labels["normals"]
    off = max(_farthest_length(normals[top : top + ROWS]) for top in range(0, max(len(normals), 1), ROWS))
    if off > LENGTH_TOLERANCE:
        yield "vectors that are not of unit length", f"{off:.4f} off"


def _farthest_length(normals: np.ndarray) -> float:
    """Returns the largest difference of a known vector's length from 1; 0 if there is none. NaN is another problem."""
    lengths = np.linalg.norm(normals[_known(normals)].astype(np.float64), axis=-1)
    return float(np.fmax.reduce(np.abs(lengths - 1), initial=0.0))


def add(labels: Labels, config: Config) -> dict[str, Any]:
    """Returns the sum of the vectors [3], the number of known pixels, and 1 if all pixels look the same way."""
    del config
    normals = labels["normals"]
    known = int(_known(normals).sum())
    of_bands = [[_axis(normals[rows], axis).sum(dtype=np.float64) for axis in range(3)] for rows in _bands(normals)]
    total = np.sum(np.array([[0.0, 0.0, 0.0], *of_bands]), axis=0)  # unknown is 0,0,0
    flat = known > 0 and bool(np.linalg.norm(total) > SAME_DIRECTION * known)
    return {"direction": total, "known": known, "flat": int(flat)}


def figures(sums: Mapping[str, Any], images: int) -> dict[str, Any]:
    """Returns the share of `flat` images, and the mean `direction` if a pixel is known."""
    direction = {"direction": (sums["direction"] / sums["known"]).tolist()} if sums["known"] else {}
    return {"flat": sums["flat"] / images} | direction


def confidence(labels: Labels, mirrored: Labels, config: Config) -> np.ndarray:
    """Returns the confidence float32 [h, w] by the labels of the mirrored photo, see the module's docstring."""
    del config
    normals, others = labels["normals"], mirrored["normals"][:, ::-1]
    found = np.zeros(normals.shape[:2], np.float32)
    for top in range(0, len(normals), ROWS):
        one, other = normals[top : top + ROWS], others[top : top + ROWS] * UNMIRRORED
        known = _known(one) & _known(other)
        apart = angles(one[known], other[known])
        found[top : top + ROWS][known] = pixel_confidence.of_disagreement(apart, TOLERANCE)
    return found


def right(metrics: Mapping[str, float]) -> float | None:
    """Returns the share of pixels within 30 degrees."""
    return metrics["within_30"] / 100 if metrics else None


SUMMARY = Summary(
    stored=lambda features, info, config: missing(features, NORMALS),
    kind="normals",
    content=content,
    problems=problems,
    add=add,
    figures=figures,
    confidence=confidence,
    measure="within 30 degrees",
    right=right,
    unit=lambda config: "unit normals, x right, y down, z forward, towards the camera",
    arrays={"normals": lambda labels, info, config: labels["normals"]},
    pngs=lambda labels: {"normals": colours(labels["normals"])},
)
