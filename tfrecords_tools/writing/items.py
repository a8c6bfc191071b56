"""The images that a command turns into records, before it reads any of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple

from must_tf.data import manifest
from tfrecords_tools.writing.counts import Account


class Item(NamedTuple):
    """One image that is to be converted."""

    source_id: str
    files: tuple[str, ...]  # the image first, then its label files; empty where it is generated
    labels: Any = None  # whatever else the source needs


class FilePart(NamedTuple):
    """A piece of a file."""

    name: str
    offset: int
    size: int


@dataclasses.dataclass(frozen=True)
class Listing:
    """What a source found before anything is converted."""

    items: Sequence[Item]  # many wait on the disk: `tfrecords_tools.writing.on_disk.Items`
    classes: dict[str, tuple[str, ...]]  # task -> names in id order
    inputs: tuple[str, ...] = ()  # files whose content decides about the records, besides the items'
    account: Account = dataclasses.field(default_factory=Account)
    candidates: int = 0  # images that were asked for, found or not
    tasks: tuple[str, ...] | None = None  # that images may have labels of; None: only reading them tells
    teachers: manifest.Teachers = dataclasses.field(default_factory=dict)  # who may have labelled the images

    @property
    def wanted(self) -> int:
        """Images that should have become records."""
        return max(self.candidates, len(self.items))
