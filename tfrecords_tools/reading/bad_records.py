"""Decides about records that cannot be read: a command stops, or leaves out up to `--skip-bad` of them.

The number counts over all shards and processes. A command with too many ends with an error that names the first ones.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import cv2
import tensorflow as tf

from must_tf.common.errors import UserError, clear_line
from must_tf.common.text import listed
from must_tf.data.opening import BadRecord

# What decoding a damaged record raises. Anything else, like a full disk, is not the record's fault.
DAMAGE = (
    BadRecord,
    tf.errors.InvalidArgumentError,
    tf.errors.DataLossError,
    tf.errors.OutOfRangeError,
    tf.errors.UnimplementedError,
    cv2.error,
    ArithmeticError,
    IndexError,
    KeyError,
    TypeError,
    ValueError,
)
SHOWN = 5
CHECK = "must check lists all problems of the dataset."


@dataclasses.dataclass
class LeftOut:
    """The bad records of this process.

    Attributes:
      most: that may be left out.
      places: of those that were, with what is wrong.
      reported: how many of them the user knows.
    """

    most: int = 0
    places: list[str] = dataclasses.field(default_factory=list)
    reported: int = 0


_left_out = LeftOut()


def allow(count: int) -> None:
    """Sets how many records the command may leave out. Raises UserError if it is negative."""
    if count < 0:
        raise UserError(f"--skip-bad {count} must not be negative. It is the largest number of records to leave out.")
    _left_out.most, _left_out.places, _left_out.reported = count, [], 0


def allowed() -> int:
    """Returns how many records the command may leave out."""
    return _left_out.most


def left_out() -> list[str]:
    """Returns the places of the records that this process left out, with what is wrong."""
    return list(_left_out.places)


@contextlib.contextmanager
def reading(path: str, number: int | str, needed: bool = False) -> Iterator[None]:
    """Runs a block that reads one record. If the record is bad, names it or leaves it out.

    Args:
      path: of the record's file.
      number: of the record in it, or another word for its place.
      needed: whether the record can no longer be left out.

    Raises:
      UserError: the record is bad, and no more may be left out.
    """
    try:
        yield
    except DAMAGE as error:
        place = f"{path} record {number} cannot be read: {_reason(error)}"
        if needed or len(_left_out.places) >= _left_out.most:
            raise UserError(f"{place}. {_more()}") from None
        _left_out.places.append(place)


def _more() -> str:
    if not _left_out.most:
        return f"{CHECK} --skip-bad N leaves out up to N such records."
    return f"These are more than --skip-bad {_left_out.most}. {CHECK}"


def _reason(error: BaseException) -> str:
    """Returns the first line of an error, without the names of TensorFlow's nodes."""
    if isinstance(error, BadRecord):
        return str(error)
    text = str(getattr(error, "message", "") or error).split("}} ")[-1].split(" [Op:")[0]
    first = next((line.strip() for line in text.splitlines() if line.strip()), "")
    return f"{type(error).__name__}: {first[:160].rstrip('.')}" if first else type(error).__name__


@dataclasses.dataclass(frozen=True)
class Counted:
    """A function for worker processes, whose result comes with the records that it left out."""

    function: Any
    most: int

    def __call__(self, job: Any, tick: Callable[..., None]) -> tuple[Any, list[str]]:
        """Returns the result, and the places of the records that were left out."""
        allow(self.most)
        return self.function(job, tick), _left_out.places


def settle(places: Sequence[str]) -> None:
    """Prints which records the command left out. Raises UserError if they are too many."""
    if len(places) > _left_out.most:
        shown = listed([os.path.basename(place) for place in places], SHOWN, "; ")
        raise UserError(
            f"{len(places)} records cannot be read, more than --skip-bad {_left_out.most}: {shown}. {CHECK}"
        )
    if places:
        print(f"{clear_line()}left out {len(places)} bad records: {listed(places, SHOWN, '; ')}", file=sys.stderr)


def settle_own() -> None:
    """Prints which records this process left out."""
    settle(_left_out.places[_left_out.reported :])
    _left_out.reported = len(_left_out.places)
