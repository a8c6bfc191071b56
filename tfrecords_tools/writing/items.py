"""The images that a command converts, listed before any of them is read."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple

from must_tf.data import manifest
from tfrecords_tools.writing.counts import Account


class Item(NamedTuple):
    """One image to convert."""

    source_id: str
    files: tuple[str, ...]  # the image first, then its label files; empty for a generated image
    labels: Any = None  # anything else that the source needs


class FilePart(NamedTuple):
    """A range of bytes in a file, like a member of an archive."""

    name: str
    offset: int
    size: int


@dataclasses.dataclass(frozen=True)
class Listing:
    """The images of a source and the classes of their labels."""

    items: Sequence[Item]  # on disk if there are many: `tfrecords_tools.writing.on_disk.Items`
    classes: dict[str, tuple[str, ...]]  # task -> names in id order
    inputs: tuple[str, ...] = ()  # files besides the items' own whose content affects the records
    account: Account = dataclasses.field(default_factory=Account)
    candidates: int = 0  # images that should exist, missing ones included
    tasks: tuple[str, ...] | None = None  # tasks with labels; None: known only after reading the images
    teachers: manifest.Teachers = dataclasses.field(default_factory=dict)  # teachers that may have labelled the images

    @property
    def expected_count(self) -> int:
        """The number of images that should become records."""
        return max(self.candidates, len(self.items))
