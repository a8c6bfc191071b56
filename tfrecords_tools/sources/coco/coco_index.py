"""An index on disk of a COCO JSON: read once, entry by entry, then queried image by image."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from must_tf.common.errors import UserError
from tfrecords_tools.sources import files
from tfrecords_tools.sources.coco import coco_images, coco_json, coco_keys, json_stream
from tfrecords_tools.sources.coco.coco_json import CocoEntry
from tfrecords_tools.writing import on_disk
from tfrecords_tools.writing.counts import Account

SCHEMA = """
CREATE TABLE images (place INTEGER PRIMARY KEY, id TEXT, file TEXT, written TEXT, entry TEXT, kept INTEGER);
CREATE TABLE annotations (image TEXT, category TEXT, entry TEXT);
"""
# Created after all inserts: updating them with each insert takes twice as long.
INDICES = (
    "CREATE INDEX image_ids ON images (id)",
    "CREATE INDEX image_files ON images (file)",
    "CREATE INDEX annotation_images ON annotations (image)",
)
SAMPLE = 2000  # annotations that tell how a file writes its boxes
INFO = "info"  # the only key besides the lists that is read
# Keys that say nothing about labels: where a file comes from, and what its kind is. Others are counted if they are set.
SILENT = {INFO, "licenses", "license", "type"}
SEVERAL = "segmentation: several entries of one image in the JSON, none is used"


def entries(
    path: str, option: str, needed: Mapping[str, Sequence[str]], account: Account | None = None
) -> Iterator[tuple[str, CocoEntry, str]]:
    """Yields key, value and text of `info` and of each entry of the lists in `needed`, and checks the entries.

    Args:
      path, option: the file, and the option that named it.
      needed: {list: keys that its entries must have}.
      account: counts the other keys of the file, each once.

    Raises:
      UserError: the file is missing, is not JSON, or is not in COCO's format.
    """
    files.require_file(path, option)
    lists, others = set(), dict[str, None]()
    try:
        for key, place, value, text in json_stream.parts(path):
            if key == INFO and isinstance(value, dict):
                yield key, value, text
            if key not in needed:
                others |= {key: None} if value else {}
                continue
            if place is None:
                lists |= {key} if isinstance(value, list) else set()
                continue
            coco_json.check_entry(key, place, value, needed[key], f"{option} {path}")
            yield key, value, text
    except ValueError as error:
        raise UserError(f"{option} {path} is not valid JSON: {error}") from None
    for key in needed:
        if key not in lists:
            raise UserError(f"{option} {path} has no list {key!r}. Give a file in COCO's format.")
    if account:
        for key in sorted(others.keys() - SILENT):
            account.notes.add(f"file: {key} is set and not used", path)


def categories(path: str, option: str, account: Account | None = None) -> list[CocoEntry]:
    """Reads only the categories, and counts the other keys of the file in `account`.

    Raises:
      UserError: as in `entries`.
    """
    return [entry for key, entry, _ in entries(path, option, coco_json.NEEDED, account) if key == "categories"]


class PackedAnnotations(NamedTuple):
    """The annotations of one image, not yet parsed."""

    text: str  # a JSON list
    categories: list[Any]  # category id of each annotation; None if it is neither a number nor a string


class CocoIndex:
    """The images of an instances JSON and their annotations.

    Attributes:
      categories: as in the JSON.
      count: number of different images in the JSON.
      masked: True if any annotation has a mask.
      is_federated: True if any image says which classes were looked for.
      info: as in the JSON; often empty.
    """

    def __init__(
        self, path: str, option: str, account: Account, file_of: Callable[[CocoEntry], str] = coco_json.file_of
    ):
        """Reads the JSON.

        Args:
          path, option: the file, and the option that named it.
          account: counts entries that cannot be used.
          file_of: returns the path of an image entry's file.

        Raises:
          UserError: as in `entries`.
        """
        self.categories: list[CocoEntry] = []
        self.info: CocoEntry = {}
        self.count, self.masked, self.is_federated, self._file_of = 0, False, False, file_of
        self._database = on_disk.database()
        with on_disk.room():
            self._database.executescript(SCHEMA)
            for key, entry, text in entries(path, option, coco_json.NEEDED, account):
                self._add(key, entry, text)
            for statement in INDICES:
                self._database.execute(statement)
            coco_images.settle(self._database, account)
        (self.count,) = self._database.execute(coco_images.DIFFERENT).fetchone()

    def _add(self, key: str, entry: CocoEntry, text: str) -> None:
        if key == "images":
            written = coco_json.written_name(entry)
            image = (self.count, coco_json.id_key(entry["id"]), self._file_of(entry), written, text)
            self._database.execute("INSERT INTO images VALUES (?, ?, ?, ?, ?, 1)", image)
            self.count += 1
            self.is_federated = self.is_federated or entry.get(coco_keys.NEGATIVE) is not None
        elif key == "annotations":
            self.masked = self.masked or coco_json.has_outline(entry.get("segmentation"))
            category = entry.get("category_id")
            # A list or an object is not a category id. JSON keeps strings and numbers apart.
            category_json = json.dumps(category) if isinstance(category, (str, int, float)) else "null"
            row = (coco_json.id_key(entry.get("image_id")), category_json, text)
            self._database.execute("INSERT INTO annotations VALUES (?, ?, ?)", row)
        elif key == INFO:
            self.info = entry
        else:
            self.categories.append(entry)

    def used_categories(self) -> set[str]:
        """Returns `coco_json.id_key` of the categories that have annotations."""
        rows = self._database.execute("SELECT DISTINCT category FROM annotations")
        return {coco_json.id_key(json.loads(category)) for (category,) in rows}

    def sample(self) -> Iterator[tuple[CocoEntry, CocoEntry]]:
        """Yields the first annotations and the entries of their images."""
        query = (
            "SELECT annotations.entry, images.entry FROM annotations JOIN images ON images.id = annotations.image "
            f"WHERE images.kept ORDER BY annotations.rowid LIMIT {SAMPLE}"
        )
        for annotation, image in self._database.execute(query):
            yield json.loads(annotation), json.loads(image)

    def images(self) -> Iterator[tuple[str, str, CocoEntry]]:
        """Yields id, file and entry of the images, each file once, in the order of the JSON."""
        for source_id, name, text in self._database.execute(
            "SELECT id, file, entry FROM images WHERE kept ORDER BY place"
        ):
            yield source_id, name, json.loads(text)

    def is_one(self, image_id: str) -> bool:
        """Returns True if the JSON has just one file with this id."""
        query = "SELECT COUNT(DISTINCT file) FROM images WHERE id = ?"
        return self._database.execute(query, (image_id,)).fetchone() == (1,)

    def annotations(self, image_id: str) -> list[CocoEntry]:
        """Returns the annotations of one image in the order of the JSON."""
        return json.loads(self.packed(image_id).text)

    def packed(self, image_id: str) -> PackedAnnotations:
        """Returns the annotations as JSON text, so that only the process that converts the image parses them."""
        query = "SELECT category, entry FROM annotations WHERE image = ? ORDER BY rowid"
        rows = self._database.execute(query, (image_id,)).fetchall()
        return PackedAnnotations(
            f"[{','.join(text for _, text in rows)}]", [json.loads(category) for category, _ in rows]
        )


class PanopticIndex:
    """An index of a panoptic JSON by image.

    Attributes:
      path: the file.
      categories: as in the JSON.
      info: as in the JSON; often empty.
      account: counts what is not used.
    """

    def __init__(self, path: str):
        """Reads the JSON.

        Raises:
          UserError: as in `entries`.
        """
        self.path, self.categories, self.info, self.account = path, list[CocoEntry](), CocoEntry(), Account()
        self._database = on_disk.database()
        with on_disk.room():
            self._database.execute("CREATE TABLE pngs (image TEXT PRIMARY KEY, name TEXT, entry TEXT)")
            for key, entry, text in entries(path, "panoptic annotations", coco_json.PANOPTIC, self.account):
                self._add(key, entry, text)

    def _add(self, key: str, entry: CocoEntry, text: str) -> None:
        if key == "images":
            coco_keys.note(self.account, coco_keys.unused("image", entry, coco_keys.IMAGE, self.path))
        elif key == "categories":
            self.categories.append(entry)
        elif key == INFO:
            self.info = entry
        else:
            image_id = coco_json.id_key(entry["image_id"])
            before = self._database.execute("SELECT entry FROM pngs WHERE image = ?", (image_id,)).fetchone()
            if before and before != (text,):
                self.account.dropped.add(SEVERAL, f"{self.path}: image {image_id}")
                self._database.execute("UPDATE pngs SET entry = '' WHERE image = ?", (image_id,))
            elif not before:
                self._database.execute("INSERT INTO pngs VALUES (?, ?, ?)", (image_id, str(entry["file_name"]), text))

    def names_one_of(self, pngs: on_disk.NameSet) -> bool:
        """Returns True if the JSON names at least one of these PNGs."""
        return any(name in pngs for (name,) in self._database.execute("SELECT name FROM pngs"))

    def of(self, image_id: str) -> CocoEntry | None:
        """Returns the entry of one image, or None."""
        row = self._database.execute("SELECT entry FROM pngs WHERE image = ?", (image_id,)).fetchone()
        return json.loads(row[0]) if row and row[0] else None
