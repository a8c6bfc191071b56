"""Datasets on disk, one module each. A source lists items, and turns an item into a sample.

A source is a small frozen dataclass that is sent to the worker processes. An item has everything that its sample is
made from, so a worker reads no files except the item's own.
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
    extra: Mapping[str, tf.train.Feature] = {}  # additional keys of the record


class Source(Protocol):
    """A dataset on disk."""

    def find(self) -> Listing:
        """Lists the images from file names and annotations. Raises UserError if there is nothing to convert."""

    def load(self, item: Item, account: Account) -> Sample:
        """Reads one image and its labels. Raises Dropped if it cannot go into the records."""
