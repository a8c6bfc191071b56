"""Decides which records show the same image, with an index on disk.

Records with the same content, `image/key/sha256`, are one image, whatever their ids. Only a set that has the photo
under several ids keeps them apart, because nothing says which of its labels are right: records of later sets join the
one with their own id, or else the first that their set has not joined yet.

Ids alone unite nothing: two datasets often count their images from 1.
"""

from __future__ import annotations

import itertools
import operator
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from tfrecords_tools.writing import on_disk
from tfrecords_tools.writing.counts import Account

SHOWN_DIGITS = 8  # of the SHA-256 that makes an id unique

SCHEMA = """
CREATE TABLE records (place INTEGER PRIMARY KEY, image INTEGER, id TEXT, digest TEXT, part INTEGER, path, offset);
CREATE TABLE united (place INTEGER PRIMARY KEY, image INTEGER);
"""
# An image is named after the place of its first record: that of the records with the same content and id, or of the
# same content alone. Indices are created after all inserts: updating them with each one takes twice as long.
INDEX_CONTENTS = "CREATE INDEX contents ON records (digest, id)"
SEVERAL_IDS = "SELECT digest FROM records GROUP BY digest HAVING COUNT(DISTINCT id) > 1"
SAME_ID = """
UPDATE records SET image = (
    SELECT MIN(place) FROM records AS others WHERE others.digest = records.digest AND others.id = records.id
)
"""
OTHER_IDS = """
UPDATE records SET image = (SELECT image FROM united WHERE united.place = records.place)
WHERE place IN (SELECT place FROM united)
"""
INDEX_IMAGES = "CREATE INDEX images ON records (image, place)"


class FoundRecord(NamedTuple):
    """A record: the place of its image, its id and SHA-256, the number of its set, its shard, and offset in bytes."""

    image: int
    source_id: str
    digest: str
    part: int
    path: str
    offset: int


class ImageIndex:
    """The records of several sets by image."""

    def __init__(self) -> None:
        self._database = on_disk.database()
        self._database.executescript(SCHEMA)

    def add(self, part: int, path: str, records: Iterable[tuple[str, str, int]]) -> None:
        """Adds the records of a shard: (id, SHA-256, offset). Sets are added one after the other."""
        statement = "INSERT INTO records (part, path, id, digest, offset) VALUES (?, ?, ?, ?, ?)"
        self._database.executemany(statement, ((part, path, *each) for each in records))

    def images(self, account: Account) -> Iterator[tuple[str, list[FoundRecord]]]:
        """Yields the id of each image and its records in the order of the sets. Images are in that of their first ones.

        Args:
          account: notes images with several ids, and ids of several images.
        """
        self._database.execute(INDEX_CONTENTS)
        self._database.executemany("INSERT INTO united VALUES (?, ?)", self._with_several_ids())
        for statement in (SAME_ID, OTHER_IDS, INDEX_IMAGES):
            self._database.execute(statement)
        taken = on_disk.NameSet()
        query = "SELECT image, id, digest, part, path, offset FROM records ORDER BY image, place"
        found = (FoundRecord(*row) for row in self._database.execute(query))
        for _, group in itertools.groupby(found, key=operator.attrgetter("image")):
            records = list(group)
            yield _named(records, taken, account), records

    def _with_several_ids(self) -> Iterator[tuple[int, int]]:
        """Yields the places and images of records whose content has several ids."""
        for (digest,) in self._database.execute(SEVERAL_IDS):
            query = "SELECT place, id, part FROM records WHERE digest = ? ORDER BY place"
            yield from united(self._database.execute(query, (digest,)).fetchall()).items()


def united(records: Sequence[tuple[int, str, int]]) -> dict[int, int]:
    """Returns {place: image} of records (place, id, set) with the same content, which are in the order of the sets."""
    images: dict[int, int] = {}
    by_id: dict[str, int] = {}
    for _, group in itertools.groupby(records, key=operator.itemgetter(2)):
        of_set = list(group)
        joined = {by_id[source_id] for _, source_id, _ in of_set if source_id in by_id}
        free = iter([image for image in dict.fromkeys(images.values()) if image not in joined])
        for place, source_id, _ in of_set:
            if source_id not in by_id:
                by_id[source_id] = next(free, place)
            images[place] = by_id[source_id]
    return images


def _named(records: Sequence[FoundRecord], taken: on_disk.NameSet, account: Account) -> str:
    """Returns the first record's id, with digits of the SHA-256 if another image has it."""
    first = records[0]
    source_id = first.source_id
    if not taken.add(source_id):
        source_id = f"{source_id}-{first.digest[:SHOWN_DIGITS]}"
        taken.add(source_id)
        account.notes.add("image: id belongs to another image", f"{first.source_id} of {first.path} is {source_id}")
    for other in records[1:]:
        if other.source_id != first.source_id:
            account.notes.add(
                "image: the same photo under another id", f"{other.source_id} of {other.path} is {source_id}"
            )
    return source_id
