"""Datasets of Hugging Face on disk: classification and detection.

    DIR/data/train-00000-of-00001.parquet      as on the hub: `data` is a pattern of such files
    DIR/train/data-00000-of-00001.arrow        as `save_to_disk` writes it, with dataset_info.json: `data` is a pattern
                                               of the .arrow files

| column | label |
|---|---|
| of images, with bytes in the file | the image |
| of one class | classification |
| `objects` with `bbox` [x, y, width, height] in pixels and a list of classes | detection; `iscrowd` and `area`, too |

`boxes` says how the numbers of `bbox` are meant: sizes (x, y, width, height), corners (x0, y0, x1, y1), and `relative-`
before either for shares of the image's sides. Without it, `hugging_face_boxes` finds out. Columns are found by their
types; `image`, `label` and `objects` choose one of several. Class names are those of the features; other columns are
counted. Images are copied to an index in $TMPDIR first, because files of this kind cannot be read from the middle.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from must_tf.common.errors import UserError, nearest
from must_tf.common.files import matched_by, require_an_end
from must_tf.data.record import Labelled
from must_tf.spec import ImageInfo
from tfrecords_tools.sources import Sample, class_files, files, objects, pixels
from tfrecords_tools.sources.coco import coco_objects
from tfrecords_tools.sources.drawn import pictures
from tfrecords_tools.sources.published import hugging_face_boxes
from tfrecords_tools.sources.published.hugging_face_boxes import FORMS
from tfrecords_tools.writing import on_disk
from tfrecords_tools.writing.counts import Account
from tfrecords_tools.writing.items import Item, Listing
from tfrecords_tools.writing.reasons import reason_of

ROWS = 64  # rows in memory
WRITE = "Write it with `to_parquet` or `save_to_disk`."
BOX, AREA, CROWDS = "bbox", "area", ("iscrowd", "is_crowd")  # keys of objects
CLASS_KEYS = ("category", "categories", "category_id", "label", "labels", "class", "classes")

Features = dict[str, Any]


class Columns(NamedTuple):
    """The columns to read, and the names of their classes; empty strings if there are none.

    Attributes:
      image, label, objects: columns.
      category: the key of `objects` with the classes.
      label_names, object_names: class names in id order.
    """

    image: str
    label: str
    objects: str
    category: str
    label_names: tuple[str, ...]
    object_names: tuple[str, ...]


class Row(NamedTuple):
    """The labels of an item."""

    image: bytes
    name: str
    label: tuple[int, int] | None  # class id and number of classes
    entries: tuple[dict[str, Any], ...] | None  # COCO annotations; None if the dataset has no objects
    relative: bool


@dataclasses.dataclass(frozen=True)
class HuggingFace:
    """`source_id` is the path that the image has in the dataset without suffix, or file and row.

    Attributes:
      data: pattern of .parquet or .arrow files.
      image, label, objects: columns; empty: found by their types.
      boxes: one of `hugging_face_boxes.FORMS`, or empty to find out.
    """

    data: str
    image: str = ""
    label: str = ""
    objects: str = ""
    boxes: str = ""

    def find(self) -> Listing:
        """Lists the rows of all files and copies their images.

        Raises:
          UserError: there is no file, no column of images, or a class without a name.
        """
        if self.boxes not in ("", *FORMS):
            known = ", ".join(FORMS)
            raise UserError(f"--boxes {self.boxes!r} does not exist.{nearest(self.boxes, FORMS)} Choose from {known}.")
        paths = matched_by(self.data)
        if not paths:
            raise UserError(f"--data {self.data!r} does not match any file. Give a pattern in quotes: 'DIR/*.parquet'.")
        account, items, taken = Account(), on_disk.Items(), on_disk.NameSet()
        columns = self._columns(_features(paths[0]), paths[0], account)
        for path in paths[1:]:
            self._require_same_classes(columns, path)
        decided = dataclasses.replace(self, boxes=self.boxes or self._form(paths, columns, account))
        for path in paths:
            for number, row in enumerate(_rows(path, columns)):
                place = f"{path}, row {number}"
                image = row[columns.image] or {}
                if not image.get("bytes"):
                    account.dropped.add("image: not in the file", place)
                    continue
                name = image.get("path") or ""
                source_id = files.stem(name) or f"{files.stem(os.path.basename(path))}-{number}"
                if not taken.add(source_id):
                    source_id = f"{files.stem(os.path.basename(path))}-{number}"
                    taken.add(source_id)
                items.append(Item(source_id, (path,), decided.row_of(row, columns, place, account)))
        if not items:
            raise UserError(f"--data {self.data!r}: no row has an image. Images must be stored in the files.")
        classes = {}
        if columns.label:
            classes["classification"] = columns.label_names
        if columns.objects:
            classes["detection"] = columns.object_names
        return Listing(items, classes, (), account, len(items) + account.dropped.count("image"), tuple(classes))

    def _form(self, paths: Sequence[str], columns: Columns, account: Account) -> str:
        """Returns the form of the boxes of the first images; notes one that is not usual."""
        sample: list[hugging_face_boxes.Sampled] = []
        rows = (row for path in paths for row in _rows(path, columns)) if columns.objects else ()
        for row in itertools.islice(rows, hugging_face_boxes.SAMPLE):
            image = (row[columns.image] or {}).get("bytes")
            if image and row[columns.objects] is not None:
                sample += hugging_face_boxes.sampled(
                    image, _listed(row[columns.objects], (BOX, columns.category)) or ()
                )
        form = hugging_face_boxes.form_of(sample, self.data)
        if form != hugging_face_boxes.SIZES:
            account.notes.add(f"object: boxes read as {form}", f"{self.data}: {sample[0][0][BOX]}")
        return form

    def _columns(self, features: Features, path: str, account: Account) -> Columns:
        """Returns the columns to read, and notes the others."""
        images = [key for key, value in features.items() if _type(value) == "Image"]
        labels = [key for key, value in features.items() if _type(value) == "ClassLabel"]
        boxed = [key for key, value in features.items() if isinstance(_inside(value), dict) and BOX in _inside(value)]
        image = _chosen("--image", self.image, images, path)
        if not image:
            raise UserError(f"--data {path} has no column of images, but {', '.join(features)}. Give --image COLUMN.")
        label = _chosen("--label", self.label, labels, path)
        found = _chosen("--objects", self.objects, boxed, path)
        category, names = _category(_inside(features[found]), path) if found else ("", ())
        inside = _inside(features[found]).keys() - {"id", BOX, category, *CROWDS, AREA} if found else set()
        for name in sorted({*features.keys() - {image, label, found}, *(f"{found}.{key}" for key in inside)}):
            account.notes.add(f"column: {name!r} not used", path)
        return Columns(image, label, found, category, _class_names(features[label]) if label else (), names)

    def _require_same_classes(self, columns: Columns, path: str) -> None:
        """Raises UserError if another file numbers its classes in another way than the first, or has other columns."""
        own = self._columns(_features(path), path, Account())
        for mine, first in ((own.label_names, columns.label_names), (own.object_names, columns.object_names)):
            if mine != first:
                differing = next((a, b) for a, b in itertools.zip_longest(mine, first) if a != b)
                raise UserError(
                    f"--data {path}: class {differing[0]!r} where the first file has {differing[1]!r}. Convert them "
                    "apart and merge the records."
                )

    def row_of(self, row: Mapping[str, Any], columns: Columns, place: str, account: Account) -> Row:
        """Returns a row of a file as an item's labels, and adds what it lacks to `account`."""
        image: Any = row[columns.image]
        label: Any = row[columns.label] if columns.label else None
        names = columns.label_names
        known = isinstance(label, int) and 0 <= label < len(names)  # -1: a test set without labels
        if label is not None and not isinstance(label, int):
            account.dropped.add("classification: label is not a number", f"{place}: {label!r}")
        elif columns.label and not known:
            account.notes.add("classification: no label for this image", place)
        entries = None
        if columns.objects and row[columns.objects] is not None:
            listed = _listed(row[columns.objects], (BOX, columns.category))
            if listed is None:
                account.dropped.add("detection: boxes and classes are not lists of the same length", place)
            else:
                entries = tuple(self._entries(listed, columns, place, account))
        name = os.path.basename(image.get("path") or "")
        relative = self.boxes.startswith("relative")
        return Row(image["bytes"], name, (int(label), len(names)) if known else None, entries, relative)

    def _entries(
        self, listed: list[dict[str, Any]], columns: Columns, place: str, account: Account
    ) -> Iterator[dict[str, Any]]:
        """Yields annotations."""
        for number, one in enumerate(listed):
            category, box = one[columns.category], one[BOX]
            if not isinstance(category, int) or not 0 <= category < len(columns.object_names):
                account.dropped.add(pictures.NO_CLASS, f"{place}, object {number}")
                continue
            if box is None or len(box) != 4 or not all(isinstance(value, int | float) for value in box):
                account.dropped.add("object: box is not four numbers", f"{place}, object {number}: {box}")
                continue
            box = [float(value) for value in box]
            if self.boxes.endswith("corners"):
                box = [box[0], box[1], box[2] - box[0], box[3] - box[1]]
            crowd = int(any(one.get(key) for key in CROWDS))
            # An area of relative boxes may be a share of the image.
            area = {} if self.boxes.startswith("relative") else {AREA: one.get(AREA)}
            yield {"id": number, "category_id": category, "bbox": box, "iscrowd": crowd, **area}

    def load(self, item: Item, account: Account) -> Sample:
        """Decodes the image and makes its labels."""
        row: Row = item.labels
        frame: pixels.Frame = pixels.SHOWN
        if row.entries:
            reach = (0.0, 0.0) if row.relative else pictures.reach_of(row.entries)
            frame = pixels.Unsized(pixels.SHOWN, reach)
        stored = pixels.upright(row.image, frame, f"{item.files[0]}: {item.source_id}", account)
        info, labelled = ImageInfo(item.source_id, stored.height, stored.width), {}
        origin = f"real:{files.dataset(os.path.dirname(item.files[0]) or '.')}"
        if row.label:
            probability = np.zeros([row.label[1]], np.float32)
            probability[row.label[0]] = 1.0
            labelled["classification"] = Labelled({"probability": probability}, origin)
        if row.entries is not None:
            entries = [pictures.in_pixels(entry, info) if row.relative else entry for entry in row.entries]
            own, ids = Account(), {entry["category_id"]: entry["category_id"] + 1 for entry in entries}
            found = coco_objects.labels_of(entries, ids, info, own)
            own.notes.content.pop(pictures.BOX_ONLY, None)
            account.merge(own)
            labelled["detection"] = Labelled(objects.boxes_of(found), origin)
        return Sample(stored.encoded, info, labelled, row.name)


def _class_names(feature: Features) -> tuple[str, ...]:
    """Returns the names of a ClassLabel; without names they are numbers, as in `datasets`."""
    count = feature.get("num_classes")
    names = feature.get("names") or map(str, range(count if isinstance(count, int) else 0))
    return tuple(class_files.composed(name) if isinstance(name, str) else name for name in names)


def _type(feature: Any) -> str:
    return feature.get("_type", "") if isinstance(feature, dict) else ""


def _inside(feature: Any) -> Any:
    """Returns the feature of a list's entries: {"feature": x, "_type": "Sequence"} or [x] -> x."""
    if isinstance(feature, list) and len(feature) == 1:
        return feature[0]
    return feature["feature"] if _type(feature) in ("Sequence", "List", "LargeList") else feature


def _listed(found: Any, needed: Sequence[str]) -> list[dict[str, Any]] | None:
    """Returns the objects of a list of dictionaries or a dictionary of lists; None if their lists do not fit."""
    if isinstance(found, list):
        return [one for one in found if one]
    lists = {key: values for key, values in found.items() if isinstance(values, list)}
    if any(key not in lists for key in needed) or len({len(values) for values in lists.values()}) > 1:
        return None
    return [dict(zip(lists, one, strict=True)) for one in zip(*lists.values(), strict=True)]


def _category(inside: Features, path: str) -> tuple[str, tuple[str, ...]]:
    """Returns the key of the classes of objects, and their names."""
    named = {key: _inside(value) for key, value in inside.items() if _type(_inside(value)) == "ClassLabel"}
    for key in (*CLASS_KEYS, *named):
        if key in named:
            return key, _class_names(named[key])
    raise UserError(f"--data {path}: the objects have no classes with names, but {', '.join(inside)}.")


def _chosen(option: str, given: str, found: Sequence[str], path: str) -> str:
    """Returns a column: the given one, the one called like the option, or the only one; empty if there is none."""
    preferred = option.removeprefix("--")
    if given:
        if given not in found:
            raise UserError(
                f"{option} {given!r} is not such a column of {path}.{nearest(given, found)} It has: "
                f"{', '.join(found) or 'none'}."
            )
        return given
    if preferred in found or len(found) < 2:
        return preferred if preferred in found else next(iter(found), "")
    raise UserError(f"--data {path} has the columns {', '.join(found)}. Give {option} COLUMN for the one to use.")


def _features(path: str) -> Features:
    """Returns the features of a dataset: from its schema, or from the dataset_info.json beside an .arrow file."""
    stored = (_schema(path).metadata or {}).get(b"huggingface")
    beside = os.path.join(os.path.dirname(path), "dataset_info.json")
    try:
        if stored:
            return json.loads(stored)["info"]["features"]
        if tf.io.gfile.exists(beside):
            return json.loads(files.read_text(beside, "the features"))["features"]
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"--data {path}: its features cannot be read ({reason_of(error)}). {WRITE}") from None
    raise UserError(f"--data {path} has no features of Hugging Face's datasets. {WRITE}")


def _opened(path: str) -> Any:
    require_an_end(path)
    return tf.io.gfile.GFile(path, "rb") if "://" in path else open(path, "rb")


def _schema(path: str) -> Any:
    import pyarrow
    from pyarrow import ipc, parquet

    try:
        with _opened(path) as file:
            return parquet.read_schema(file) if path.endswith(".parquet") else ipc.open_stream(file).schema
    except (pyarrow.ArrowException, OSError) as error:
        raise UserError(f"--data {path} cannot be read: {reason_of(error)}. Download or write it again.") from None


def _rows(path: str, columns: Columns) -> Iterator[dict[str, Any]]:
    """Yields the rows of a file as dictionaries of the needed columns."""
    import pyarrow
    from pyarrow import ipc, parquet

    needed = [column for column in (columns.image, columns.label, columns.objects) if column]
    if missing := [column for column in needed if column not in _schema(path).names]:
        raise UserError(
            f"--data {path} has no column {missing[0]!r}, unlike the first file. Give files of one dataset."
        )
    try:
        with _opened(path) as file:
            if path.endswith(".parquet"):
                for batch in parquet.ParquetFile(file).iter_batches(ROWS, columns=needed):
                    yield from batch.to_pylist()
                return
            for batch in ipc.open_stream(file):
                for start in range(0, batch.num_rows, ROWS):
                    yield from batch.select(needed).slice(start, ROWS).to_pylist()
    except (pyarrow.ArrowException, OSError) as error:
        raise UserError(f"--data {path} cannot be read: {reason_of(error)}. Download or write it again.") from None
