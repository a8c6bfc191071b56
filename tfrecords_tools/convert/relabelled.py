"""A dataset with other class names: `--rename`, `--drop` and `--classes-of`.

Classes are renamed first, then dropped; classes of the same name become one. `--classes-of` gives the rest the order of
other records, as training on both needs it. The images count as annotated for all of those classes: what a dataset was
not annotated for is said by `must merge` instead.

An object of a dropped class is left out, its pixels are ignored by segmentation, and an image whose class is dropped is
unlabelled for classification.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NoReturn

from must_tf.common.errors import UserError, nearest
from must_tf.common.text import listed
from must_tf.data.record import Labelled
from must_tf.spec import first_id
from must_tf.tasks import discover
from must_tf.tasks.masks.labels import FULL, write_full
from tfrecords_tools.reading import recordset
from tfrecords_tools.reading.class_table import ClassTable
from tfrecords_tools.sources import Sample, Source
from tfrecords_tools.writing.counts import Account
from tfrecords_tools.writing.items import Item, Listing

DROPPED = "labels of a class that --drop names, left out"
SHOWN = 5  # names in a message


def relabelled(
    source: Source, classes_of: str, rename: Sequence[str], drop: Sequence[str], options: Collection[str] = ()
) -> Source:
    """Gives the source's classes other names, and the order of the classes of other records.

    Args:
      source: the dataset.
      classes_of: pattern of record files, or empty.
      rename: ["old=new", ...].
      drop: names after renaming.
      options: of the source's command, which are named as remedies: "tasks", and "classes" if it was not given.

    Raises:
      UserError: a value has another form, or the records cannot be opened.
    """
    if not classes_of and not rename and not drop:
        return source
    pairs = [tuple(part.strip() for part in text.split("=", 1)) for text in rename]
    for text, pair in zip(rename, pairs, strict=True):
        if len(pair) < 2 or not all(pair):
            raise UserError(f"--rename {text!r} must be OLD=NEW.")
    if len({old for old, *_ in pairs}) < len(pairs):
        raise UserError(f"--rename gives a class two new names: {' '.join(rename)}. Give each once.")
    records = recordset.opened(classes_of, "--classes-of") if classes_of else None
    wanted = {task: tuple(names) for task, names in records.manifest.classes.items()} if records else {}
    renamed = tuple((old, new) for old, new in pairs)
    return Relabelled(source, renamed, tuple(drop), tuple(sorted(wanted.items())), frozenset(options), classes_of)


@dataclasses.dataclass(frozen=True)
class Relabelled:
    """`source` with other classes.

    Attributes:
      source: the dataset.
      rename: (old name, new name) of classes.
      drop: names after renaming.
      wanted: (task, class names in order) of other records.
      options: of the source's command, see `relabelled`.
      classes_of: the pattern of the other records; "" for none.
      tables: {task: its new classes}; filled by `find`, because only then the old classes are known.
    """

    source: Source
    rename: tuple[tuple[str, str], ...]
    drop: tuple[str, ...]
    wanted: tuple[tuple[str, tuple[str, ...]], ...]
    options: frozenset[str] = dataclasses.field(default=frozenset(), repr=False, compare=False)
    classes_of: str = dataclasses.field(default="", repr=False, compare=False)
    tables: dict[str, ClassTable] = dataclasses.field(default_factory=dict, repr=False, compare=False)

    def find(self) -> Listing:
        """Lists the source's images, with the new classes.

        Raises:
          UserError: as in the source, or a class does not exist.
        """
        listing = self.source.find()
        rename, known = dict(self.rename), {name for names in listing.classes.values() for name in names}
        renamed = {rename.get(name, name) for name in known}
        for option, name, existing in (
            *(("--rename", old, known) for old in rename),
            *(("--drop", name, renamed) for name in self.drop),
        ):
            if name not in existing:
                shown = ", ".join(sorted(existing)[:SHOWN]) + (", ..." if len(existing) > SHOWN else "")
                raise UserError(f"{option}: no class is called {name!r}.{nearest(name, existing)} There are: {shown}.")
        wanted = dict(self.wanted)
        # The masks' classes are those of their boxes.
        givers = {
            task: [each for each in (*discover()[task].needs, task) if each in wanted] for task in listing.classes
        }
        if self.classes_of and not any(givers.values()):
            self._refuse_records(listing.classes)
        for task, names in listing.classes.items():
            others = wanted[givers[task][0]] if givers[task] else None
            self.tables[task] = self._table(task, [rename.get(name, name) for name in names], others)
        return dataclasses.replace(listing, classes={task: table.names for task, table in self.tables.items()})

    def _refuse_records(self, tasks: Collection[str]) -> NoReturn:
        """Raises UserError for records that have no class of any of the tasks: they would change nothing."""
        theirs = listed([task for task, _ in self.wanted]) or "no task"
        lacking = f"of {listed(tasks)}, which this dataset has" if tasks else "that it could use: this dataset has none"
        raise UserError(
            f"--classes-of={self.classes_of}: these records have classes of {theirs}, and none {lacking}. Give records "
            "of the same tasks, or leave --classes-of out."
        )

    def _table(self, task: str, renamed: Sequence[str], wanted: Sequence[str] | None) -> ClassTable:
        kept = tuple(dict.fromkeys(name for name in renamed if name not in self.drop))
        if not kept:
            others = "Keep one, or use `must convert images` for photos without labels."
            remedy = "Use --tasks to leave the whole task out." if "tasks" in self.options else others
            raise UserError(f"--drop leaves {task} without a class. {remedy}")
        if wanted is not None and (unknown := [name for name in kept if name not in wanted]):
            shown = ", ".join(unknown[:SHOWN]) + (", ..." if len(unknown) > SHOWN else "")
            own = " If this dataset has other classes, name them with --classes." if "classes" in self.options else ""
            raise UserError(
                f"--classes-of: the records have no class {shown} for {task}.{nearest(unknown[0], wanted)} Give it one "
                f"of their names with --rename OLD=NEW, or leave it out with --drop NAME.{own}"
            )
        names = tuple(wanted) if wanted is not None else kept
        places = {name: place for place, name in enumerate(names)}
        return ClassTable(names, tuple(places.get(name, -1) if name in kept else -1 for name in renamed))

    def load(self, item: Item, account: Account) -> Sample:
        """Reads the source's image and renames its labels."""
        sample = self.source.load(item, account)
        labelled = {}
        for task, old in sample.labelled.items():
            new = _changed(task, old, self.tables[task]) if task in self.tables else old
            if new is not None:
                labelled[task] = new
            if new is None or ("boxes" in old.labels and len(new.labels["boxes"]) < len(old.labels["boxes"])):
                account.notes.add(f"{task}: {DROPPED}", item.source_id)
        extra: Mapping[str, Any] = sample.extra
        if FULL in extra:
            extra = write_full(labelled["masks"].labels, sample.info) if "masks" in labelled else {}
        return sample._replace(labelled=labelled, extra=extra)


def _changed(task: str, labelled: Labelled, table: ClassTable) -> Labelled | None:
    """Returns the labels with new ids; None if nothing of them is left."""
    first, annotated = first_id(discover()[task]), labelled.annotated
    if annotated is not None:
        places = (table.places[class_id - first] for class_id in annotated)
        annotated = tuple(sorted({first + place for place in places if place >= 0}))
        if not annotated:
            return None
    labels = table.relabelled(labelled.labels, first)
    return None if labels is None else labelled._replace(labels=labels, annotated=annotated)
