"""COCO's run-length codes, decoded where an object is: a whole image's mask takes several times as long.

Runs go down the columns, zeros first. Compressed counts: five bits a character, least first, from "0" on; bit 5: more
follow, bit 4 of the last: negative. From the fourth run on only the difference to the last but one is stored. Source:
rleToString in pycocotools' maskApi.c.
"""

from __future__ import annotations

import numpy as np

FIRST = ord("0")
BITS = 5  # of a number in a character
MORE, SIGN = 0x20, 0x10


def decompress(counts: str | bytes) -> np.ndarray:
    """Compressed counts -> lengths of runs, int64 [N].

    Raises:
      ValueError: the last number does not end, or there is none.
    """
    codes = np.frombuffer(counts.encode() if isinstance(counts, str) else counts, np.uint8).astype(np.int64) - FIRST
    (ends,) = (codes & MORE == 0).nonzero()
    if not len(ends) or ends[-1] != len(codes) - 1:
        raise ValueError("compressed counts are cut off")
    lengths = _lengths(ends, -1)
    starts = ends - lengths + 1
    places = np.arange(len(codes)) - starts.repeat(lengths)
    runs = np.add.reduceat((codes & (MORE - 1)) << BITS * places, starts)
    runs -= np.where(codes[ends] & SIGN, np.int64(1) << BITS * lengths, 0)
    for parity in (1, 2):  # the first run is whole, and so are the next two, where each sum begins
        runs[parity::2] = runs[parity::2].cumsum()
    return runs


def _lengths(ends: np.ndarray, before: int) -> np.ndarray:
    """From one end to the next, the first from `before` on. Here and above methods, because they start in a fraction of
    the time of np.diff and its like, and the arrays are short."""
    lengths = ends.copy()
    lengths[1:] -= ends[:-1]
    lengths[:1] -= before
    return lengths


def crop(runs: np.ndarray, height: int, window: tuple[int, int, int, int]) -> np.ndarray:
    """The mask in a window.

    Args:
      runs: int64 [N] of all columns of the image.
      height: of the image.
      window: top, left, bottom and right, ends exclusive.

    Returns:
      uint8 [bottom - top, right - left] in {0, 1}.
    """
    top, left, bottom, right = window
    ends = runs.cumsum().clip(left * height, right * height)
    values = np.zeros([len(runs)], np.uint8)
    values[1::2] = 1
    columns = values.repeat(_lengths(ends, left * height)).reshape(right - left, height)
    return np.ascontiguousarray(columns[:, top:bottom].T)
