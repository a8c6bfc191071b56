"""Photos that a folder of records has more than once, by the numbers in the shards' sidecars: no record is read."""

from __future__ import annotations

import itertools
import os
from collections.abc import Sequence

import numpy as np

from must_tf.data import contents
from tfrecords_tools.reading import located
from tfrecords_tools.writing.counts import Tally

REASON = "image: the same photo more than once"


def note(out: str, names: Sequence[str], notes: Tally) -> None:
    """Notes how many photos come after one with the same content. Does nothing if a shard is of an old version.

    Args:
      out: folder of the shards.
      names: files of the finished shards.
      notes: where they are counted.
    """
    parts = [contents.of_shard(os.path.join(out, name)) for name in names]
    known = [part for part in parts if part is not None]
    if len(known) < len(parts) or not parts:
        return
    numbers = np.concatenate(known)
    _, firsts, places = np.unique(numbers, return_index=True, return_inverse=True)
    again = np.flatnonzero(firsts[places] != np.arange(len(numbers)))
    if not len(again):
        return
    starts = np.cumsum([0, *(len(part) for part in known)])

    def name(place: int) -> str:
        shard = int(np.searchsorted(starts, place, "right")) - 1
        return _name(os.path.join(out, names[shard]), place - int(starts[shard]))

    examples = [f"{name(int(place))} is {name(int(firsts[places[place]]))}" for place in again[: Tally.EXAMPLES]]
    notes.merge({REASON: {"count": len(again), Tally.KEY: examples}})


def _name(path: str, number: int) -> str:
    """Returns the id of a record of a shard."""
    return next(itertools.islice(located.located(path), number, None)).source_id
