"""A dataset without some of its labels.

Datasets that are trained on together must have the same classes per task. If one is needed for its segmentation, but
its boxes have other classes than the rest, its boxes can be left out: its images are then unlabelled for detection,
and a teacher can label them.
"""

from __future__ import annotations

import dataclasses

from must_tf.common.errors import UserError, nearest
from must_tf.tasks import discover
from tfrecords_tools.sources import Sample, Source
from tfrecords_tools.writing.counts import Account
from tfrecords_tools.writing.items import Item, Listing


def only(source: Source, tasks: str) -> Source:
    """Limits the source to the labels of these tasks, separated by commas; empty returns the source itself."""
    names = tuple(sorted({name.strip() for name in tasks.split(",") if name.strip()}))
    for name in names:
        if name not in discover():
            raise UserError(
                f"--tasks {name!r} is not a task.{nearest(name, discover())} Choose from {', '.join(discover())}."
            )
        for need in discover()[name].needs:
            if need not in names:
                raise UserError(f"--tasks {tasks}: {name} needs {need}. Name both or neither.")
    return TaskFilter(source, names) if names else source


@dataclasses.dataclass(frozen=True)
class TaskFilter:
    """`source` with the labels of `tasks` only."""

    source: Source
    tasks: tuple[str, ...]

    def find(self) -> Listing:
        """Lists the source's images, with the classes of these tasks only.

        Raises:
          UserError: as in the source, or it has no labels of one of these tasks.
        """
        listing = self.source.find()
        classes = {task: names for task, names in listing.classes.items() if task in self.tasks}
        labelled = self.tasks if listing.tasks is None else listing.tasks
        if missing := [task for task in self.tasks if task not in labelled]:
            present = f"labels of {', '.join(labelled)} only" if labelled else "no labels"
            raise UserError(f"--tasks {','.join(missing)}: with these options the dataset has {present}.")
        return dataclasses.replace(listing, classes=classes, tasks=self.tasks)

    def load(self, item: Item, account: Account) -> Sample:
        """Reads the source's image and the labels of these tasks; Model Garden's full masks stay only with masks."""
        sample = self.source.load(item, account)
        kept = {task: labelled for task, labelled in sample.labelled.items() if task in self.tasks}
        return sample._replace(labelled=kept, extra=sample.extra if "masks" in kept else {})
