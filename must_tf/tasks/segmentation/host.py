"""`model.restore` with NumPy arrays. The numbers are the same, bit for bit.

Where the cells around a pixel differ in their best classes, their probabilities are interpolated for whole rows of
pixels: across first, once for all pixels between two rows of cells, then down. That takes fewer and simpler steps than
picking those pixels, as the graph does.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import cv2
import numpy as np

from must_tf.data import host_maps
from must_tf.data.geometry import Frame

AT_ONCE = 8192  # pixels whose probabilities of all classes are held at a time
CERTAIN = 1.001  # mixtures are rounded
DECIDED = -1.0  # limit of a decided gap: every probability is above it
OTHER = 1e30  # limit if a third class is the best of a cell: none is above it. Infinity times a share of 0 is NaN
CORNERS = ((-1, -1), (-1, 0), (0, -1), (0, 0))  # of a gap: cells above left, above right, below left and below right


class _Gaps(NamedTuple):
    """The gaps between four cells, [gh + 1, gw + 1] each. Beyond a border there are the cells at the border again.

    Attributes:
      undecided: bool, true if the cells differ in their best classes.
      first, second: int32, the two candidates, the lower id first. They are equal if the gap is decided.
    """

    undecided: np.ndarray
    first: np.ndarray
    second: np.ndarray


class _Line(NamedTuple):
    """The pixels of one axis: the gap that each lies in, int, and the share of the cell after that gap, float32."""

    gaps: np.ndarray
    shares: np.ndarray


def restore(probability: np.ndarray, frame: Frame) -> dict[str, np.ndarray]:
    """Returns `classes` int32 [h, w] and `confidence` float32 [h, w], see `model.restore`."""
    stride = frame.size // len(probability)
    cells = host_maps.visible(probability, frame, stride)
    best = cells.argmax(axis=-1).astype(np.int32)
    confidence_of = host_maps.planes(np.take_along_axis(cells, best[..., None], axis=-1), frame, stride)
    rows, columns = (_line(frame, stride, axis, cells.shape[axis]) for axis in (0, 1))
    gaps = _gaps(best)
    mixed = _across(_candidates(cells, best, gaps), columns)
    wide = _Gaps(*(np.take(each, columns.gaps, axis=1) for each in gaps))  # [gh + 1, w] each

    def band(part: slice) -> dict[str, np.ndarray]:
        lines = _Line(rows.gaps[part], rows.shares[part]), columns
        undecided, classes, second = (each[lines[0].gaps] for each in wide)
        shares, other, limit = (_down(values, lines[0]) for values in mixed)
        cv2.copyTo(second, (other > shares).view(np.uint8), classes)
        np.maximum(shares, other, out=shares)
        limit *= np.float32(CERTAIN)
        unsure = undecided & ~(shares > limit)  # NaN is not above
        confidence = cv2.transpose(confidence_of(part)[0])
        cv2.copyTo(shares, undecided.view(np.uint8), confidence)
        for pixels in _parts(unsure):
            mixtures = _mixtures(cells, pixels, lines)
            classes[pixels], confidence[pixels] = mixtures.argmax(axis=-1), mixtures.max(axis=-1)
        return {"classes": classes, "confidence": np.clip(confidence, 0.0, 1.0, out=confidence)}

    return host_maps.in_bands(frame, band)


def _line(frame: Frame, stride: int, axis: int, cells: int) -> _Line:
    scaled, original = (np.asarray(size, np.float32)[axis] for size in (frame.scaled, frame.original))
    per_pixel = scaled / original / np.float32(stride)
    count = int(np.asarray(frame.map_size)[axis])
    centres = (np.arange(count, dtype=np.float32) + np.float32(0.5)) * (frame.step * per_pixel) - np.float32(0.5)
    before = np.floor(centres)
    return _Line(np.clip(before.astype(np.int32) + 1, 0, cells), centres - before)


def _gaps(best: np.ndarray) -> _Gaps:
    """Finds the candidates: the best class of the first cell, and the first other one of the other cells."""
    padded = np.pad(best, 1, mode="edge")
    first, *others = padded[:-1, :-1], padded[:-1, 1:], padded[1:, :-1], padded[1:, 1:]
    second = first
    for other in others:
        second = np.where(second == first, other, second)
    return _Gaps(second != first, np.minimum(first, second), np.maximum(first, second))


def _candidates(cells: np.ndarray, best: np.ndarray, gaps: _Gaps) -> np.ndarray:
    """Returns probabilities in the four cells around each gap, float32 [3, 4, gh + 1, gw + 1].

    They are those of the first and of the second candidate, and the highest one of a class that is not the best of the
    cell. The last is `OTHER` if a third class is the best.
    """
    height, width = best.shape
    places = np.flatnonzero(gaps.undecided)  # [G]
    y, x = np.divmod(places, width + 1)
    around = [(np.clip(y + down, 0, height - 1), np.clip(x + right, 0, width - 1)) for down, right in CORNERS]
    near = np.stack([rows * width + columns for rows, columns in around])  # [4, G], places in `best`
    used = np.zeros([height * width], bool)
    used[near] = True
    copied = cells[used.reshape(best.shape)]  # [U, C]; picking single numbers all over the map takes longer
    row_of = np.zeros([height * width], np.int32)
    row_of[used] = np.arange(len(copied), dtype=np.int32)
    rows, best_near = row_of[near], best.ravel()[near]
    first, second = (ids.ravel()[places] for ids in (gaps.first, gaps.second))
    found = np.zeros([3, 4, gaps.first.size], np.float32)
    found[0][:, places], found[1][:, places] = copied[rows, first], copied[rows, second]
    copied[np.arange(len(copied)), best.ravel()[used]] = 0.0
    is_known = (best_near == first) | (best_near == second)
    found[2] = DECIDED
    found[2][:, places] = np.where(is_known, copied.max(axis=-1, initial=0.0)[rows], OTHER)
    return found.reshape(3, 4, *gaps.first.shape)


def _across(found: np.ndarray, columns: _Line) -> np.ndarray:
    """Interpolates [3, 4, gh + 1, gw + 1] to [3, 2, gh + 1, w]: above and below each pixel."""
    wide = np.take(found, columns.gaps, axis=3)
    wide[:, 0::2] *= np.float32(1.0) - columns.shares
    wide[:, 1::2] *= columns.shares
    return wide[:, 0::2] + wide[:, 1::2]


def _down(values: np.ndarray, rows: _Line) -> np.ndarray:
    """Interpolates [2, gh + 1, w] to [h, w]."""
    above, below = values[0][rows.gaps], values[1][rows.gaps]
    above *= np.float32(1.0) - rows.shares[:, None]
    below *= rows.shares[:, None]
    above += below
    return above


def _parts(pixels: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yields the places of true pixels [h, w], some at a time."""
    places = np.flatnonzero(pixels)  # takes a third of the time of np.nonzero
    for start in range(0, len(places), AT_ONCE):
        y, x = np.divmod(places[start : start + AT_ONCE], pixels.shape[1])
        yield y, x


def _mixtures(cells: np.ndarray, pixels: tuple[np.ndarray, np.ndarray], lines: tuple[_Line, _Line]) -> np.ndarray:
    """Returns the interpolated probabilities of all classes, float32 [P, C]."""
    places = [line.gaps[at] for line, at in zip(lines, pixels, strict=True)]
    low, far = (line.shares[at][:, None] for line, at in zip(lines, pixels, strict=True))
    (y, x), (height, width) = places, cells.shape[:2]
    at = [cells[np.clip(y + down, 0, height - 1), np.clip(x + right, 0, width - 1)] for down, right in CORNERS]
    above, below = (one * (1.0 - far) + other * far for one, other in (at[:2], at[2:]))
    return np.asarray(above * (1.0 - low) + below * low)
