"""Decodes COCO's run-length codes only inside an object's box; decoding the whole image takes several times as long.

Runs go down the columns, zeros first. Compressed counts have five bits per character, lowest first, offset by "0".
Bit 5 means that more characters follow; bit 4 of the last one marks a negative number. From the fourth run on, only
the difference to the run before the previous one is stored. Source: rleToString in maskApi.c of pycocotools.
"""

from __future__ import annotations

import numpy as np

FIRST = ord("0")
BITS = 5  # per character
MORE, SIGN = 0x20, 0x10


def decompress(counts: str | bytes) -> np.ndarray:
    """Decompresses counts to lengths of runs, int64 [N].

    Raises:
      ValueError: there is no number, or the last one is incomplete.
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
    for parity in (1, 2):  # the first three runs are stored in full; the sums start at the second and third
        runs[parity::2] = runs[parity::2].cumsum()
    return runs


def _lengths(ends: np.ndarray, before: int) -> np.ndarray:
    """Returns the distances between successive ends, the first one from `before`.

    The arrays are short, so array methods are used here and above: they start much faster than np.diff and the like.
    """
    lengths = ends.copy()
    lengths[1:] -= ends[:-1]
    lengths[:1] -= before
    return lengths


def crop(runs: np.ndarray, height: int, window: tuple[int, int, int, int]) -> np.ndarray:
    """Returns the mask inside a window.

    Args:
      runs: int64 [N] for all columns of the image.
      height: height of the image.
      window: top, left, bottom and right; bottom and right are exclusive.

    Returns:
      uint8 [bottom - top, right - left] in {0, 1}.
    """
    top, left, bottom, right = window
    ends = runs.cumsum().clip(left * height, right * height)
    values = np.zeros([len(runs)], np.uint8)
    values[1::2] = 1
    columns = values.repeat(_lengths(ends, left * height)).reshape(right - left, height)
    return np.ascontiguousarray(columns[:, top:bottom].T)
