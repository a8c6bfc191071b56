"""No text of Python or a library reaches a user as the reason of a file. The errors are raised by the calls that do."""

from __future__ import annotations

import base64
import io
import json
import re
import struct
from collections.abc import Callable
from typing import Any

import h5py
import numpy as np
import pytest
from PIL import Image

from tfrecords_tools.sources.drawn import shapes
from tfrecords_tools.writing.reasons import reason_of


def unpacked(values: Any) -> Any:
    """Needs two values."""
    first, second = values
    return first, second


def stored(**arrays: Any) -> io.BytesIO:
    """An HDF5 file."""
    file = io.BytesIO()
    with h5py.File(file, "w") as content:
        for name, array in arrays.items():
            content[name] = array
    return file


ARRAY = io.BytesIO()
np.save(ARRAY, np.zeros([9, 9]))
CALLS: dict[str, tuple[Callable[[], Any], str]] = {
    "a word": (lambda: float("wide"), "'wide' is not a number"),
    "a word in an array": (lambda: np.array([["a", "b"]], np.float64), "'a' is not a number"),
    "no whole number": (lambda: int("1.5"), "'1.5' is not a whole number"),
    "NaN": (lambda: int(float("nan")), "a number that is NaN or infinite"),
    "no number": (lambda: float(None), "a value of another type"),  # type: ignore[arg-type]
    "None": (lambda: json.loads("null")["x"], "a value of another type"),
    "no key": (lambda: dict[str, int]()["width"], "it has no 'width'"),
    "no number as key": (lambda: dict[int, int]()[7], "it has no 7"),
    "too few": (lambda: unpacked([1]), "a wrong number of values"),
    "too many": (lambda: unpacked([1, 2, 3]), "a wrong number of values"),
    "pairs": (lambda: list(zip([1], [1, 2], strict=True)), "lists of different lengths"),
    "ragged": (lambda: np.array([[1, 2], [3]], np.float64), "lists of different lengths"),
    "reshape": (lambda: np.zeros(5).reshape(-1, 2), "a wrong number of values"),
    "shapes": (lambda: np.zeros(5) + np.zeros(3), "a wrong number of values"),
    "index": (lambda: [][0], "a list is too short"),
    "index of an array": (lambda: np.zeros(3)[4], "a list is too short"),
    "nothing": (lambda: np.zeros([0, 2]).min(0), "an empty list"),
    "bytes": (lambda: np.array([300], np.uint8), "a number is too large"),
    "base64": (lambda: base64.b64decode("abc"), "it is not base64"),
    "buffer": (lambda: struct.unpack("<I", b"1"), "it is cut off"),
    "numbers": (lambda: np.frombuffer(b"123", np.float32, 4), "it is cut off"),
    "array": (lambda: np.load(io.BytesIO(b"hello")), "it is not an array of numbers"),
    "array cut off": (lambda: np.load(io.BytesIO(ARRAY.getvalue()[:200])), "it is cut off"),
    "empty array": (lambda: np.load(io.BytesIO()), "it is cut off"),
    "HDF5": (lambda: h5py.File(io.BytesIO(b"hello"), "r"), "it is not an HDF5 file, or it is damaged"),
    "dataset": (lambda: h5py.File(stored(a=1), "r")["b"], "it has no array 'b'"),
    "image": (lambda: Image.open(io.BytesIO(b"hello")), "it is not an image"),
    "text": (lambda: b"\xff".decode(), "it is not text"),
    "of this project": (lambda: shapes.bitmap("", np.zeros([2, 2], bool), 0, 0, (4, 4)), "the mask has no pixel"),
}
OF_PYTHON = re.compile(r"Error|literal|base 10|NoneType|unpack|subscript|argument|out of (?:range|bounds)|0x|pickle")


@pytest.mark.parametrize("name", CALLS)
def test_reasons_are_words_of_this_project(name: str) -> None:
    call, words = CALLS[name]
    with pytest.raises(Exception) as raised:
        call()
    assert reason_of(raised.value) == words and not OF_PYTHON.search(words)
