"""A dataset under a name that the user gives: `--name`."""

from __future__ import annotations

import dataclasses
import re

from must_tf.common.errors import UserError
from tfrecords_tools.sources import Sample, Source
from tfrecords_tools.sources.coco import corrected
from tfrecords_tools.writing.counts import Account
from tfrecords_tools.writing.items import Item, Listing

REAL = "real:"


def named(source: Source, name: str) -> Source:
    """Names the origin of the source's labels `real:<name>`; an empty name returns the source itself.

    Raises:
      UserError: the name cannot be part of an origin.
    """
    if name and (not re.fullmatch(r"[\w.+-]+", name) or f"{REAL}{name}".startswith(corrected.CORRECTED)):
        raise UserError(
            f"--name {name!r} cannot name a dataset. Use letters, digits, '.', '_', '+' and '-' only, and do not begin "
            "with 'corrected-'."
        )
    return Named(source, name) if name else source


@dataclasses.dataclass(frozen=True)
class Named:
    """`source` with `real:<name>` as the origin of its labels. Labels of a teacher keep the teacher's id."""

    source: Source
    name: str

    def find(self) -> Listing:
        """Lists the source's images."""
        return self.source.find()

    def load(self, item: Item, account: Account) -> Sample:
        """Reads the source's image and renames the origins of its labels."""
        sample = self.source.load(item, account)
        labelled = {
            task: labels._replace(origin=f"{REAL}{self.name}") if _is_a_dataset(labels.origin) else labels
            for task, labels in sample.labelled.items()
        }
        return sample._replace(labelled=labelled)


def _is_a_dataset(origin: str) -> bool:
    return origin.startswith(REAL) and not origin.startswith(corrected.CORRECTED)
