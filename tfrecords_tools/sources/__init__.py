"""Datasets as they lie on disk. One file each; all give items, and turn an item into a sample.

A source is a small frozen dataclass that travels to the worker processes; an item carries all that its
sample is made from, so that a worker needs no other file than the item's own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, Protocol

import tensorflow as tf

from must_tf.data.record import Labelled
from must_tf.spec import ImageInfo
from tfrecords_tools.writing.counts import Account
from tfrecords_tools.writing.items import Item, Listing


class Sample(NamedTuple):
    """One image with its labels, ready for a record."""

    image: bytes
    info: ImageInfo
    labelled: Mapping[str, Labelled]
    filename: str = ""
    extra: Mapping[str, tf.train.Feature] = {}  # keys beyond the tasks' own


class Source(Protocol):
    """What every dataset offers."""

    def find(self) -> Listing:
        """Looks at names and annotations only. Raises UserError if there is nothing to convert."""

    def load(self, item: Item, account: Account) -> Sample:
        """Reads one image and its labels. Raises Dropped if it cannot go into the records."""
