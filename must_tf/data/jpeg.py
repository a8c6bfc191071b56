"""Checks without decoding that a JPEG stream is complete, in an eighth of a decoder's time.

Decoding in training fails if the stream ends early, has a marker in the wrong place, or has invalid tables in its
header. A search for markers finds the first two: in the compressed data of a baseline JPEG, the byte FF is followed by
00 (then it is data), by a restart marker, or at the end by D9. The tables are tried on the first kilobyte of the data.

A complete stream is one that the decoder reads up to its end marker; the picture may still be cut. Some programs repair
a truncated download by appending FFD9. The decoder accepts such a file and fills the rest with one colour.
"""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

MARKER, END = 0xFF, 0xD9
RESTART = (0xD0, 0xD7)
SCAN = 0xDA
BASELINE = (0xC0, 0xC1)  # one scan after the header; a progressive JPEG has many, and goes to the decoder
TRIED = 1024  # bytes of compressed data that are decoded


def is_whole(data: bytes) -> bool:
    """Returns True if the stream can be decoded up to its end marker, False if only a decoder can tell."""
    start = _scan_start(data)
    return start > 0 and _is_clean(data, start) and _tables_work(data[: start + TRIED])


def _scan_start(data: bytes) -> int:
    """Returns the position of a baseline JPEG's compressed data; 0 if it cannot be determined."""
    at, baseline = 2, False
    while at + 4 <= len(data) and data[at] == MARKER:
        code, length = data[at + 1], int.from_bytes(data[at + 2 : at + 4], "big")
        if code == SCAN:
            return at + 2 + length if baseline else 0
        baseline = baseline or code in BASELINE
        at += 2 + length
    return 0


def _is_clean(data: bytes, start: int) -> bool:
    """Returns True if the file ends with the end marker and has only restart markers before it."""
    stream = np.frombuffer(data, np.uint8, offset=min(start, len(data)))
    places = np.flatnonzero(stream[:-1] == MARKER)
    codes = stream[places + 1]
    others = places[(codes != 0) & ((codes < RESTART[0]) | (codes > RESTART[1]))]
    return len(others) == 1 and others[0] == len(stream) - 2 and stream[-1] == END


def _tables_work(beginning: bytes) -> bool:
    """Tries the tables with Pillow: TensorFlow's decoder would log a warning for each truncated file."""
    try:
        image = Image.open(io.BytesIO(beginning))
        image.draft("L", (max(1, image.width // 8), max(1, image.height // 8)))
        image.load()
    except OSError as error:
        return "truncated" in str(error)  # otherwise the stream is broken
    return True
