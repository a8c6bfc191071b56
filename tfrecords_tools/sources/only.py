"""A dataset without some of its labels.

Sets that are trained on together must name a task's classes alike. One that is wanted for its segmentation, and whose
boxes have other classes than the rest, leaves its boxes out: its images are then unlabelled for detection, and a
teacher can label them.
"""

from __future__ import annotations

import dataclasses

from must_tf.common.errors import UserError, nearest
from must_tf.tasks import discover
from tfrecords_tools.sources import Sample, Source
from tfrecords_tools.writing.counts import Account
from tfrecords_tools.writing.items import Item, Listing


def only(source: Source, tasks: str) -> Source:
    """The source with the labels of these tasks alone, names with commas between; empty: the source itself."""
    names = tuple(sorted({name.strip() for name in tasks.split(",") if name.strip()}))
    for name in names:
        if name not in discover():
            raise UserError(f"--tasks {name!r} is no task.{nearest(name, discover())} Known: {', '.join(discover())}.")
        for need in discover()[name].needs:
            if need not in names:
                raise UserError(f"--tasks {tasks}: {name} needs {need}; name both, or neither.")
    return Only(source, names) if names else source


@dataclasses.dataclass(frozen=True)
class Only:
    """`source` with the labels of `tasks` alone."""

    source: Source
    tasks: tuple[str, ...]

    def find(self) -> Listing:
        """As the source; names of classes of these tasks only.

        Raises:
          UserError: as the source, or it has no labels of one of these tasks.
        """
        found = self.source.find()
        classes = {task: names for task, names in found.classes.items() if task in self.tasks}
        there = self.tasks if found.tasks is None else found.tasks
        if gone := [task for task in self.tasks if task not in there]:
            has = f"labels of {', '.join(there)} only" if there else "no labels"
            raise UserError(f"--tasks {','.join(gone)}: this dataset, as it is given, has {has}.")
        return dataclasses.replace(found, classes=classes, tasks=self.tasks)

    def load(self, item: Item, account: Account) -> Sample:
        """As the source; keys beyond the tasks' own (Model Garden's full masks) stay with masks."""
        sample = self.source.load(item, account)
        kept = {task: labelled for task, labelled in sample.labelled.items() if task in self.tasks}
        return sample._replace(labelled=kept, extra=sample.extra if "masks" in kept else {})
