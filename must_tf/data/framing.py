"""Checks the lengths in a record file: TensorFlow allocates what a record states, and aborts if it cannot."""

from __future__ import annotations

import os
import struct
from typing import BinaryIO

BEFORE, AFTER = 12, 4  # bytes around a record's data: its length and a checksum; another checksum


def whole_records(path: str) -> int | None:
    """Returns the number of records before the first one that is longer than the file; None if there is no such one.

    Only the lengths are read. Remote files are not checked.
    """
    if "://" in path or not os.path.isfile(path):
        return None
    end, at, count = os.path.getsize(path), 0, 0
    with open(path, "rb") as file:
        while at < end:
            at = following(file, at)
            if at > end:
                return count
            count += 1
    return None


def following(file: BinaryIO, at: int) -> int:
    """Returns where the record after that at `at` begins; beyond the end of the file if the length is cut off."""
    file.seek(at)
    length = file.read(8)
    return at + BEFORE + AFTER + (struct.unpack("<Q", length)[0] if len(length) == 8 else 0)
