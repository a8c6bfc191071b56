"""Converts Model Garden's own records: classification, detection, masks, segmentation.

| key | becomes |
|---|---|
| `image/encoded` | the image; its size comes from the pixels, not from `image/height` |
| `image/class/label` | classification; ids start at `first_class` (1 in ImageNet's records) |
| `image/object/bbox/*`, `class/label`, `area`, `is_crowd` | detection; label 1 is the first name |
| `image/object/mask` | masks, cropped to their boxes; full-image PNGs in which values above 0 are the object |
| `image/segmentation/class/encoded` | segmentation; value 0 is the first name, 255 is ignored |

The records contain no list of class names. A task is converted if its names are given: a text file with one per line, a
label map (.pbtxt), or, for detection, the COCO JSON that the records were made from. Ids of both may have gaps, and
so do the labels. Records may name the classes of single objects, and these names are compared.
"""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np
import tensorflow as tf

from must_tf.common.errors import UserError, nearest
from must_tf.data import record
from must_tf.data.record import Labelled
from must_tf.spec import ImageInfo, Labels
from must_tf.tasks.segmentation.labels import IGNORE
from tfrecords_tools.sources import Sample, archives, class_files, files, maps, objects, pixels
from tfrecords_tools.sources.coco import coco_index, coco_json
from tfrecords_tools.sources.finder import spelled
from tfrecords_tools.sources.objects import ObjectLabel, ObjectNotes
from tfrecords_tools.writing.counts import Account, Dropped
from tfrecords_tools.writing.items import FilePart, Item, Listing

KEYS = {
    "classification": "image/class/label",
    "detection": "image/object/class/label",
    "segmentation": "image/segmentation/class/encoded",
}
IMAGE, SOURCE_ID, FILENAME = "image/encoded", "image/source_id", "image/filename"
BOX = "image/object/bbox/"
CORNERS = ("ymin", "xmin", "ymax", "xmax")
TEXT = "image/object/class/text"
COMPARED = 20  # records whose names are compared before the conversion
AREA, CROWD, MASK = "image/object/area", "image/object/is_crowd", "image/object/mask"

Features = Mapping[str, tf.train.Feature]


@dataclasses.dataclass(frozen=True)
class Mg:
    """`source_id` is the record's own; if that is empty, the file's name and the record's number.

    Attributes:
      records: a glob pattern of files.
      names: (task, file with its names); an empty task stands for all tasks.
      first_class: first id of classification: 0, or 1 if id 0 is reserved for a background.
    """

    records: str
    names: tuple[tuple[str, str], ...]
    first_class: int = 0

    def find(self) -> Listing:
        """Lists all records of all files, sorted by file name.

        Raises:
          UserError: there is no file, the first record has no image or no labels of a named task, or the names are
            invalid.
        """
        paths = sorted(tf.io.gfile.glob(self.records))
        if not paths:
            raise UserError(
                f"--records {self.records!r} does not match any file. Give a pattern in quotes: 'DIR/*.tfrecord'."
            )
        names_and_ids = self.names_and_ids()
        parts = [(path, part) for path in paths for part in archives.records(path)]
        if not parts:
            raise UserError(f"--records {self.records!r}: all files are empty.")
        keys = self._first_keys(*parts[0])
        for path, part in parts[:COMPARED]:
            self._require_names(path, part)
        _named.cache_clear()
        _tables.cache_clear()  # the files with the names may have changed since this process read them
        tasks = tuple(task for task in names_and_ids if KEYS[task] in keys)
        items = [Item(f"{os.path.basename(path)}__{part.name}", (path,), (part, tasks)) for path, part in parts]
        classes = {task: names_and_ids[task][0] for task in tasks}
        if "detection" in classes and MASK in keys:
            classes["masks"] = classes["detection"]
        return Listing(items, classes, tuple(path for _, path in self.names))

    def _first_keys(self, path: str, part: FilePart) -> set[str]:
        """Returns the keys of the first record.

        Raises:
          UserError: it has no image, or lacks the key of a task in `names`.
        """
        features = _features(path, part)
        if IMAGE not in features:
            shown = ", ".join(sorted(features)[:8]) or "nothing"
            raise UserError(f"{path}: the first record has no {IMAGE}, but {shown}.{nearest(IMAGE, features)}")
        if any(record.origin_key(task) in features for task in KEYS):
            raise UserError(f"{path}: these are must_tf's own records, which need no conversion. Use them as they are.")
        for task, _ in self.names:
            if task and KEYS[task] not in features:
                raise UserError(f"{path}: the first record has no {KEYS[task]}. Remove --classes {task}=...")
        if not any(key in features for key in KEYS.values()):
            raise UserError(f"{path}: the first record has no labels; one of {', '.join(KEYS.values())} is needed.")
        return set(features)

    def _require_names(self, path: str, part: FilePart) -> None:
        """Raises UserError if a record calls its classes otherwise than the file with the names."""
        try:
            features = _features(path, part)
        except Dropped:  # the conversion reports it
            return
        named = self.texts()
        for label, text in zip(_numbers(features, KEYS["detection"]), _texts(features), strict=False):
            if named.get(label) and text and text not in named[label]:
                raise UserError(
                    f"{path}, record {part.name}: the class with label {label} is {text!r} there, and "
                    f"{sorted(named[label])[0]!r} in --classes. Give the names, or the label map, of these records."
                )

    def texts(self) -> dict[int, set[str]]:
        """Returns {label of detection: names that records may have for it}."""
        for task, path in self.names:
            if task not in ("", "detection"):
                continue
            names, class_ids = self._names_and_ids("detection", path)
            known = {label: {spelled(names[class_id - 1])} for label, class_id in class_ids.items()}
            if not path.lower().endswith(".json"):
                for entry, label in zip(files.read_classes(path, 1 << 16, "--classes"), class_ids, strict=True):
                    known[label] |= {spelled(entry.other)} - {""}
            return known
        return {}

    def names_and_ids(self) -> dict[str, tuple[tuple[str, ...], dict[int, int]]]:
        """Returns {task: (class names, {label in the record: class id})}."""
        tables = {}
        for key, path in self.names:
            if key and key not in KEYS:
                raise UserError(
                    f"--classes {key}={path}: the task must be one of {', '.join(KEYS)}.{nearest(key, KEYS)}"
                )
            for task in [key] if key else KEYS:
                tables[task] = self._names_and_ids(task, path)
        if not tables:
            raise UserError("--classes is missing: give a file with the class names, because the records have none.")
        return tables

    def _names_and_ids(self, task: str, path: str) -> tuple[tuple[str, ...], dict[int, int]]:
        first_id = int(task == "detection")
        if path.lower().endswith(".json"):
            class_ids, names = coco_json.classes(coco_index.categories(path, "--classes"), first_id, path)
        else:
            entries = files.read_classes(path, 1 << 16, "--classes")
            names = tuple(entry.name for entry in entries)
            first_label = self.first_class if task == "classification" else first_id
            has_ids = class_files.is_label_map(files.read_text(path, "--classes"))
            labels = [entry.id if has_ids else first_label + place for place, entry in enumerate(entries)]
            class_ids = {label: first_id + place for place, label in enumerate(labels)}
        if task == "segmentation" and len(names) > IGNORE:
            raise UserError(f"--classes {path} has {len(names)} names, but segmentation stores at most {IGNORE}.")
        return names, class_ids

    def load(self, item: Item, account: Account) -> Sample:
        """Reads the image and its labels."""
        part, tasks = item.labels
        tables = {task: _tables(self)[task] for task in tasks}
        features, name = _features(item.files[0], part), f"{item.files[0]}, record {part.name}"
        # Model Garden decodes without EXIF.
        frame: pixels.LabelFrame = pixels.STORED if set(tasks) - {"classification"} else None
        stored = pixels.upright(_bytes(features, IMAGE) or b"", frame, name, account)
        source_id = (_bytes(features, SOURCE_ID) or b"").decode(errors="replace") or item.source_id
        info = ImageInfo(source_id, stored.height, stored.width)
        labelled: dict[str, Labels] = {}
        if "classification" in tables and KEYS["classification"] in features:
            labelled["classification"] = _classification(features, tables["classification"], name)
        if "detection" in tables and KEYS["detection"] in features:
            labelled |= _detection(features, tables["detection"], info, ObjectNotes(account, name), _named(self))
        if "segmentation" in tables and _bytes(features, KEYS["segmentation"]):
            try:
                ids = maps.decode_ids(_bytes(features, KEYS["segmentation"]) or b"", name, "segmentation")
                maps.require_size(ids, info, "segmentation", name)
                classes = maps.classes_of(ids, {IGNORE: IGNORE} | tables["segmentation"], name)
                labelled["segmentation"] = maps.segmentation(classes)
            except Dropped as dropped:
                account.dropped.add(dropped.reason, dropped.example)
        with_origins = {task: Labelled(labels, "real:mg") for task, labels in labelled.items()}
        filename = (_bytes(features, FILENAME) or b"").decode(errors="replace")
        return Sample(stored.encoded, info, with_origins, filename)


@functools.lru_cache(maxsize=1)
def _tables(source: Mg) -> dict[str, dict[int, int]]:
    """Returns {task: {label: class id}}, read once per process: in a million items it would fill a disk."""
    return {task: class_ids for task, (_, class_ids) in source.names_and_ids().items()}


@functools.lru_cache(maxsize=1)
def _named(source: Mg) -> dict[int, set[str]]:
    return source.texts()


def _features(path: str, part: FilePart) -> Features:
    data = archives.read_part(path, part)
    try:
        return tf.train.Example.FromString(data).features.feature
    except Exception as error:  # the class of protobuf's error depends on its implementation
        raise Dropped("image: cannot be decoded", f"{path}, record {part.name}: {error}") from None


def _bytes(features: Features, key: str) -> bytes | None:
    """Returns the first bytes value of a key."""
    values = features[key].bytes_list.value if key in features else ()
    return values[0] if values else None


def _numbers(features: Features, key: str) -> list[Any]:
    """Returns the integers or floats of a key."""
    feature = features[key] if key in features else tf.train.Feature()
    return list(feature.int64_list.value) or list(feature.float_list.value)


def _classification(features: Features, table: dict[int, int], name: str) -> Labels:
    labels = _numbers(features, KEYS["classification"])
    if len(labels) != 1 or labels[0] not in table:
        ids = f"{min(table)} to {max(table)}"
        raise UserError(
            f"{name}: {KEYS['classification']} is {labels}, but one of {ids} is expected. Check --first-class."
        )
    probability = np.zeros([len(table)], np.float32)
    probability[table[labels[0]]] = 1.0
    return {"probability": probability}


def _texts(features: Features) -> list[str]:
    """Returns the names of the objects' classes, if the record has them."""
    values = features[TEXT].bytes_list.value if TEXT in features else ()
    return [spelled(value.decode(errors="replace").strip()) for value in values]


def _detection(
    features: Features, table: dict[int, int], info: ImageInfo, notes: ObjectNotes, named: dict[int, set[str]]
) -> dict[str, Labels]:
    """Makes labels of detection, and of masks if every object has one.

    Args:
      features: the record.
      table: {label: class id}.
      info: the image.
      notes: counts what is dropped.
      named: {label: names that the record may have for it}.
    """
    labels, corners = _numbers(features, KEYS["detection"]), [_numbers(features, BOX + corner) for corner in CORNERS]
    if {len(side) for side in corners} != {len(labels)}:
        shown = f"{notes.name}: {[len(side) for side in corners]} and {len(labels)}"
        raise Dropped("image: boxes and labels differ in number", shown)
    masks = _masks(features, len(labels), notes)
    texts = _texts(features) if len(_texts(features)) == len(labels) else [""] * len(labels)
    object_labels = []
    for number, label in enumerate(labels):
        object_notes = ObjectNotes(notes.account, f"{notes.name}, object {number}")
        try:
            if label not in table:
                raise Dropped("object: its class is not in the list", f"label {label} {texts[number]}")
            if texts[number] and named.get(label) and texts[number] not in named[label]:
                raise Dropped("object: its class has another name in the record", f"label {label}, {texts[number]!r}")
            box = [side[number] * length for side, length in zip(corners, (info.height, info.width) * 2, strict=True)]
            object_label = _object(box, table[label], masks[number] if masks else None, info, object_notes)
        except Dropped as dropped:
            notes.account.dropped.add(dropped.reason, f"{object_notes.name}: {dropped.example}")
            continue
        object_labels.append(_with_extras(object_label, features, number, len(labels)))
    with_masks = objects.labels_of(object_labels)
    both = {"detection": objects.boxes_of(with_masks), "masks": with_masks}
    has_masks = masks is not None and objects.any_mask(with_masks)
    return both if has_masks else {"detection": both["detection"]}


def _masks(features: Features, count: int, notes: ObjectNotes) -> list[bytes] | None:
    """Returns one PNG per object; None if there are none, or not one for each."""
    masks = list(features[MASK].bytes_list.value) if MASK in features else None
    if masks is None or len(masks) == count:
        return masks
    if masks:
        notes.add("masks: dropped, their number differs from the boxes'", f"{len(masks)} for {count}")
    return None


def _object(corners: list[float], class_id: int, png: bytes | None, info: ImageInfo, notes: ObjectNotes) -> ObjectLabel:
    box = objects.normalised(objects.checked(corners, info, notes), info)
    mask = None
    if png is not None:
        mask = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_GRAYSCALE) if png else None
        if mask is None or mask.shape != (info.height, info.width):
            notes.add("object: mask cannot be read, box only", "no PNG" if mask is None else f"{mask.shape}")
            mask = None
    crop = objects.crop_of(None if mask is None else mask > 0, box, info, notes)
    return ObjectLabel(box, class_id, False, objects.area_of(crop), crop)


def _with_extras(label: ObjectLabel, features: Features, number: int, count: int) -> ObjectLabel:
    """Adds the object's area and crowd flag, if the record has them."""
    areas, crowds = _numbers(features, AREA), _numbers(features, CROWD)
    if len(areas) == count and areas[number] > 0:
        label = label._replace(area=float(areas[number]))
    return label._replace(is_crowd=bool(crowds[number])) if len(crowds) == count else label
