"""Open Images V4 to V7: detection from its CSV files, and masks.

    train/0001eeaf4aed83f9.jpg                      the images, at any depth; a part of them is enough
    class-descriptions-boxable.csv                  LabelName, DisplayName: the classes, in the order of their ids
    oidv6-train-annotations-bbox.csv                boxes
    train-annotations-human-imagelabels.csv         image labels that people verified: 1 is there, 0 is not there
    train-annotations-object-segmentation.csv       masks, whose PNGs are below a folder

Not every class was looked for in every image. The annotated classes of an image are those with a box, and those that
people verified as not there. A class that is there and has no box is not annotated. Images without any are unlabelled.
Image labels that were not verified (of the source "machine", or with a confidence between 0 and 1) are counted. The
confidence of a box is always 1; a box with 0 is dropped. Groups ("IsGroupOf") become crowds. A mask belongs to the box
of its class that it overlaps most, or has its own.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple

from must_tf.common.errors import UserError
from tfrecords_tools.sources import Sample, files, pixels
from tfrecords_tools.sources.drawn import pictures
from tfrecords_tools.sources.drawn.pictures import Picture
from tfrecords_tools.sources.leftovers import FolderFiles, is_below
from tfrecords_tools.writing import on_disk
from tfrecords_tools.writing.counts import Account
from tfrecords_tools.writing.items import Item, Listing

ID, LABEL, SOURCE, CONFIDENCE, GROUP = "ImageID", "LabelName", "Source", "Confidence", "IsGroupOf"
TEXTS = (ID, LABEL, "MaskPath")  # needed columns that are not numbers
SIDES = ("XMin", "YMin", "XMax", "YMax")
BOXES, LABELS, MASKS = "boxes", "labels", "masks"
NEEDED = {
    BOXES: (ID, LABEL, *SIDES),
    LABELS: (ID, LABEL, CONFIDENCE),
    MASKS: ("MaskPath", ID, LABEL, *(f"Box{side}" for side in SIDES)),
}
ROUNDING = 0.01  # of coordinates a little above 1
SAME = 0.5  # smallest IoU of a mask's box and the box that it belongs to
# Columns that are counted if they are 1, and what is done with the object.
MARKS = {
    "IsDepiction": "object: a depiction, used like others",
    "IsInside": "object: seen from inside, used like others",
    "IsOccluded": "object: occluded, used like others",
    "IsTruncated": "object: truncated, used like others",
}
MACHINE = "machine"  # the source of image labels that were not verified
DRAWN = ("xclick", "activemil", "")  # sources of boxes: drawn, or verified by people

Row = dict[str, str]


@dataclasses.dataclass(frozen=True)
class OpenImages:
    """`source_id` is the image's id.

    Attributes:
      images: folder of the images.
      boxes: CSV of boxes.
      classes: CSV of class descriptions.
      image_labels: CSV of verified image labels, or empty.
      masks: CSV of masks, or empty.
      mask_images: folder of the masks' PNGs.
    """

    images: str
    boxes: str
    classes: str
    image_labels: str = ""
    masks: str = ""
    mask_images: str = ""

    def find(self) -> Listing:
        """Lists the images of the folder.

        Raises:
          UserError: a CSV is not Open Images', or is about other images.
        """
        files.require_folder(self.images, "--images")
        if bool(self.masks) != bool(self.mask_images):
            raise UserError("--masks and --mask-images belong together: give the CSV and the folder of its PNGs.")
        names, account, rows = _class_names(self.classes), Account(), Rows()
        given = {BOXES: self.boxes, LABELS: self.image_labels, MASKS: self.masks}
        for kind, path in given.items():
            for row in _read(path, f"--{OPTIONS[kind]}", NEEDED[kind], account) if path else ():
                rows.add(row[ID], kind, row)
        self._require_shares(rows)
        rows.finish()
        folder = FolderFiles(self.images)
        present = on_disk.DiskTable(self._present(folder, account))
        if not any(rows.has(image) for image in present):
            raise UserError(f"{self.images} has no image of --boxes {self.boxes}, such as {rows.first()}.jpg.")
        self._note_missing(rows, present, account)
        inputs = tuple(path for path in (self.classes, *given.values()) if path)
        folder.use_paths(inputs)
        tables = Tables(rows, names, *self._mask_files(folder))
        folder.note_unused(account)
        drawn = (self._picture(image, name, tables, account) for image, name in present.items())
        listing = pictures.listing(drawn, tuple(names.values()), account, inputs)
        if tables.masks:
            tables.masks.note_unused(account, _kind_of_mask)
        return listing

    def _present(self, folder: FolderFiles, account: Account) -> Iterator[tuple[str, str]]:
        """Yields the id of each image and its path below the folder. Of several files, the first by name counts."""
        taken = on_disk.NameSet()
        for name in filter(files.is_image, folder):
            if self.mask_images and is_below(folder.path(name), self.mask_images):
                continue
            folder.use(name)
            image = files.stem(os.path.basename(name))
            if taken.add(image):
                yield image, name
            else:
                account.notes.add("image: another file has the same id, left out", os.path.join(self.images, name))

    def _note_missing(self, rows: Rows, present: on_disk.DiskTable, account: Account) -> None:
        for image in rows.images():
            if image not in present:
                account.notes.add("image: in the CSV, but not in the folder", image)

    def _require_shares(self, rows: Rows) -> None:
        """Raises UserError if most boxes are in pixels."""
        count, beyond, example = 0, 0, ""
        for row in rows.all_of(BOXES):
            count += 1
            if max(float(row[side]) for side in SIDES) > 1 + ROUNDING:
                beyond, example = beyond + 1, example or f"{row[ID]}: {[row[side] for side in SIDES]}"
        if beyond * 2 > count:
            raise UserError(
                f"--boxes {self.boxes}: {beyond} of {count} boxes reach beyond 1 ({example}). Open Images has shares "
                "of the image's sides, from 0 to 1: divide pixels by the width and the height."
            )

    def _mask_files(self, images: FolderFiles) -> tuple[on_disk.DiskTable[str], FolderFiles | None]:
        """Returns {name: path below the folder} of the masks, and their folder, whose files are not images."""
        if not self.masks:
            return on_disk.DiskTable(), None
        files.require_folder(self.mask_images, "--mask-images")
        listed = FolderFiles(self.mask_images)
        images.use_paths(map(listed.path, listed))
        return on_disk.DiskTable((os.path.basename(name), name) for name in listed), listed

    def _picture(self, image: str, name: str, tables: Tables, account: Account) -> Picture:
        rows, names, pngs, mask_files = tables
        entries: list[dict[str, Any]] = []
        absent: list[dict[str, Any]] = []  # boxes that are not there still take their masks, and go with them
        for number, row in enumerate(rows.of(image, BOXES)):
            place = f"image {image}, box {number}"
            entries.append(_entry(row, SIDES, names) | {"id": number})
            if _confidence(row) == 0:
                account.dropped.add("object: its confidence is 0, so it is not there", place)
                absent.append(entries[-1])
            else:
                _note_unused(row, place, account)
        seen = {entry["category_id"] for entry in entries if entry not in absent}
        for row in rows.of(image, MASKS):
            if mask_files is None or (png := pngs.get(os.path.basename(row["MaskPath"]))) is None:
                account.dropped.add("masks: file is missing", row["MaskPath"])
            else:
                mask_files.use(png)
                _attach(entries, row, mask_files.path(png), names, account)
        entries = [entry for entry in entries if entry not in absent]
        for row in rows.of(image, LABELS):
            if row.get(SOURCE) == MACHINE or _confidence(row) not in (0, 1):
                account.notes.add("detection: image label that was not verified, not used", f"{image}: {row[LABEL]}")
            elif row[LABEL] not in names:
                account.notes.add("detection: image label of a class without a name, not used", row[LABEL])
            elif _confidence(row) == 0:
                seen.add(names[row[LABEL]])
        path = os.path.join(self.images, name)
        if not seen:
            account.notes.add("detection: no class was looked for in this image", path)
            return Picture(image, path, pixels.STORED, None)
        return Picture(image, path, pixels.STORED, entries, relative=True, seen=sorted(seen))

    def load(self, item: Item, account: Account) -> Sample:
        """Reads the image, its boxes and masks."""
        return pictures.load(item, "real:open-images", account)


OPTIONS = {BOXES: "boxes", LABELS: "image-labels", MASKS: "masks"}


class Rows:
    """The rows of all CSV files by image, on disk."""

    def __init__(self) -> None:
        self._database = on_disk.database()
        self._database.execute("CREATE TABLE rows (image TEXT, kind TEXT, row TEXT)")

    def add(self, image: str, kind: str, row: Row) -> None:
        """Adds a row."""
        with on_disk.room():
            self._database.execute("INSERT INTO rows VALUES (?, ?, ?)", (image, kind, json.dumps(row)))

    def finish(self) -> None:
        """Makes the rows searchable, once all are there."""
        with on_disk.room():
            self._database.execute("CREATE INDEX images ON rows (image, kind)")

    def of(self, image: str, kind: str) -> list[Row]:
        """Returns the rows of a kind in the order of the file."""
        query = "SELECT row FROM rows WHERE image = ? AND kind = ? ORDER BY rowid"
        return [json.loads(row) for (row,) in self._database.execute(query, (image, kind))]

    def all_of(self, kind: str) -> Iterator[Row]:
        """Yields all rows of a kind."""
        for (row,) in self._database.execute("SELECT row FROM rows WHERE kind = ?", (kind,)):
            yield json.loads(row)

    def has(self, image: str) -> bool:
        """Returns True if there is a row about the image."""
        return self._database.execute("SELECT 1 FROM rows WHERE image = ?", (image,)).fetchone() is not None

    def images(self) -> Iterator[str]:
        """Yields the ids of all images, sorted."""
        for (image,) in self._database.execute("SELECT DISTINCT image FROM rows ORDER BY image"):
            yield image

    def first(self) -> str:
        """Returns the id of an image; empty if there is none."""
        return next(self.images(), "")


class Tables(NamedTuple):
    """The content of all files.

    Attributes:
      rows: of the CSV files.
      names: {label: class name}.
      pngs: {name of a mask: path below the folder of masks}.
      masks: the folder of masks, if there is one.
    """

    rows: Rows
    names: dict[str, str]
    pngs: on_disk.DiskTable[str]
    masks: FolderFiles | None


def _kind_of_mask(name: str) -> str:
    return "masks: file that no line about these images names" if files.is_image(name) else files.kind_of(name, "masks")


def _read(path: str, option: str, needed: tuple[str, ...], account: Account) -> Iterator[Row]:
    """Yields the rows of a CSV with a header, with the needed columns and marks only. Damaged ones are counted."""
    rows = files.read_rows(path, option)
    header = next(rows, [])
    if missing := [column for column in needed if column not in header]:
        raise UserError(f"{option} {path} has no column {missing[0]!r}. Give the CSV of Open Images for it.")
    kept = {*needed, GROUP, SOURCE, CONFIDENCE, *MARKS}
    if repeated := [column for column in sorted(kept) if header.count(column) > 1]:
        raise UserError(f"{option} {path} has the column {repeated[0]!r} more than once. Rename the others.")
    if others := [column for column in header if column and column not in kept]:
        account.notes.add("file: columns not used", f"{path}: {', '.join(others)}", len(others))
    for number, cells in enumerate(rows, 2):
        row = {key: cell for key, cell in zip(header, cells, strict=False) if key in kept and cell}
        if all(key in row and (key in TEXTS or _is_number(row[key])) for key in needed):
            yield row
        else:
            account.dropped.add("object: line cannot be read", f"{path}, line {number}")


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _class_names(path: str) -> dict[str, str]:
    """Returns {label: class name}; names that occur twice get their label."""
    rows = [row for row in files.read_rows(path, "--classes") if len(row) > 1]
    if rows and rows[0][0] == LABEL:
        rows = rows[1:]
    if not rows or not all(label.startswith("/") for label, *_ in rows):
        raise UserError(f"--classes {path} has no lines like '/m/01g317,Person'. Give class-descriptions-boxable.csv.")
    by_label = {label: name for label, name, *_ in rows}
    if wrong := [row for row in rows if by_label[row[0]] != row[1]]:
        label, name, *_ = wrong[0]
        raise UserError(
            f"--classes {path} calls {label} both {name!r} and {by_label[label]!r}. Correct the wrong line."
        )
    rows = [[label, name] for label, name in by_label.items()]
    counts = Counter(name for _, name, *_ in rows)
    return {label: name if counts[name] == 1 else f"{name} {label}" for label, name, *_ in rows}


def _entry(row: Row, keys: tuple[str, ...], names: dict[str, str]) -> dict[str, Any]:
    """Converts a box to an annotation; a class without a description keeps its label, and is dropped later."""
    x0, y0, x1, y1 = (float(row[key]) for key in keys)
    name = names.get(row[LABEL], row[LABEL])
    return {"category_id": name, "bbox": [x0, y0, x1 - x0, y1 - y0], "iscrowd": int(row.get(GROUP) == "1")}


def _confidence(row: Row) -> float:
    """Returns the confidence of a box or an image label: 1 without one, NaN if it is not a number."""
    text = row.get(CONFIDENCE, "1")
    return float(text) if _is_number(text) else math.nan


def _note_unused(row: Row, place: str, account: Account) -> None:
    """Notes the marks of a box that do not go into the record."""
    for mark, reason in MARKS.items():
        if row.get(mark) == "1":
            account.notes.add(reason, place)
    if row.get(GROUP, "0") not in ("0", "1"):
        account.notes.add(f"object: {GROUP} is unknown, taken as 0", f"{place}: {row[GROUP]}")
    if _confidence(row) != 1:
        account.notes.add("object: its confidence is not 1, used like others", f"{place}: {row[CONFIDENCE]}")
    if row.get(SOURCE, "") not in DRAWN:
        account.notes.add("object: neither drawn nor verified by people, used like others", f"{place}: {row[SOURCE]}")


def _attach(entries: list[dict[str, Any]], row: Row, png: str, names: dict[str, str], account: Account) -> None:
    """Gives a mask to the box of its class that it overlaps most, or appends an object of its own."""
    own = _entry(row, tuple(f"Box{side}" for side in SIDES), names)
    free = [entry for entry in entries if entry["category_id"] == own["category_id"] and "mask_png" not in entry]
    best = max(free, key=lambda entry: _overlap(entry["bbox"], own["bbox"]), default=None)
    if best is None or _overlap(best["bbox"], own["bbox"]) < SAME:
        account.notes.add("object: mask without a box, its own is used", png)
        entries.append(own | {"id": len(entries), "mask_png": png})
    else:
        best["mask_png"] = png


def _overlap(first: list[float], second: list[float]) -> float:
    """Returns the IoU of two boxes [x, y, width, height]."""
    width = min(first[0] + first[2], second[0] + second[2]) - max(first[0], second[0])
    height = min(first[1] + first[3], second[1] + second[3]) - max(first[1], second[1])
    shared = max(width, 0.0) * max(height, 0.0)
    return shared / max(first[2] * first[3] + second[2] * second[3] - shared, 1e-12)
