"""Whether a JPEG's stream is whole, found without decoding it: an eighth of the time that a decoder needs.

Decoding in training fails where the stream ends early, where a marker stands that does not belong there, and where the
tables in the header are no tables. The first two are seen by looking for markers: within the compressed data of a
baseline JPEG the byte FF is followed by 00 (then it is data), by a restart marker, or at the end by D9. The tables are
tried on the first kilobyte of the data.

Whole means that the decoder reads the stream to its end marker, not that all of the picture is there: a photo that was
cut and then ended with FFD9, as some programs repair downloads, is whole to the decoder, which fills the rest with one
colour, and so it is here.
"""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

MARKER, END = 0xFF, 0xD9
RESTART = (0xD0, 0xD7)
SCAN = 0xDA
BASELINE = (0xC0, 0xC1)  # one scan after the header; a progressive JPEG has many, and goes to the decoder
TRIED = 1024  # bytes of compressed data


def is_whole(data: bytes) -> bool:
    """True: it can be decoded, and to the end marker. False: it may be, and only a decoder can tell."""
    start = _scan_start(data)
    return start > 0 and _is_clean(data, start) and _tables_work(data[: start + TRIED])


def _scan_start(data: bytes) -> int:
    """Where the compressed data of a baseline JPEG begins; 0 where that is not plain."""
    at, baseline = 2, False
    while at + 4 <= len(data) and data[at] == MARKER:
        code, length = data[at + 1], int.from_bytes(data[at + 2 : at + 4], "big")
        if code == SCAN:
            return at + 2 + length if baseline else 0
        baseline = baseline or code in BASELINE
        at += 2 + length
    return 0


def _is_clean(data: bytes, start: int) -> bool:
    """Whether the end marker ends the file, and nothing but restarts came before it."""
    stream = np.frombuffer(data, np.uint8, offset=min(start, len(data)))
    places = np.flatnonzero(stream[:-1] == MARKER)
    codes = stream[places + 1]
    others = places[(codes != 0) & ((codes < RESTART[0]) | (codes > RESTART[1]))]
    return len(others) == 1 and others[0] == len(stream) - 2 and stream[-1] == END


def _tables_work(beginning: bytes) -> bool:
    """By Pillow: TensorFlow's decoder would warn of every file that it ends too early."""
    try:
        image = Image.open(io.BytesIO(beginning))
        image.draft("L", (image.width // 8, image.height // 8))
        image.load()
    except OSError as error:
        return "truncated" in str(error)  # and not a broken stream
    return True
