"""Converts Model Garden's own records: classification, detection, masks, segmentation.

| key | becomes |
|---|---|
| `image/encoded` | the image; its size comes from the pixels, not from `image/height` |
| `image/class/label` | classification; ids start at `first_class` (1 in ImageNet's records) |
| `image/object/bbox/*`, `class/label`, `area` | detection; label 1 is the first name |
| `image/object/is_crowd`, `difficult`, `group_of` | crowds |
| `image/object/mask` | masks, cropped to their boxes; full-image PNGs in which values above 0 are the object |
| `image/segmentation/class/encoded` | segmentation; value 0 is the first name, 255 is ignored |

The records contain no list of class names. A task is converted if its names are given: a text file with one per line, a
label map (.pbtxt), or, for detection, the COCO JSON that the records were made from. Ids of both may have gaps, and
so do the labels. Records may name the classes of single objects, and these names are compared. A record without the key
of a task is unlabelled for it. Other keys that hold anything are noted.
"""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Sequence

import numpy as np

from must_tf.common.errors import UserError, nearest
from must_tf.common.files import matched_by
from must_tf.data import record
from must_tf.data.record import Labelled
from must_tf.spec import ImageInfo, Labels
from must_tf.tasks.segmentation.labels import IGNORE
from tfrecords_tools.sources import Sample, archives, class_files, files, maps, objects, pixels
from tfrecords_tools.sources.coco import coco_index, coco_json
from tfrecords_tools.sources.finder import spelled
from tfrecords_tools.sources.objects import ObjectLabel, ObjectNotes
from tfrecords_tools.sources.published import mg_record
from tfrecords_tools.sources.published.mg_record import IMAGE, Features, Sampled
from tfrecords_tools.writing.counts import Account, Dropped
from tfrecords_tools.writing.items import Item, Listing

KEYS = {
    "classification": mg_record.CLASS,
    "detection": mg_record.LABEL,
    "segmentation": mg_record.SEGMENTATION,
}


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
        paths = matched_by(self.records)
        if not paths:
            raise UserError(
                f"--records {self.records!r} does not match any file. Give a pattern in quotes: 'DIR/*.tfrecord'."
            )
        names_and_ids = self.names_and_ids()
        parts = [(path, part) for path in paths for part in archives.records(path)]
        if not parts:
            raise UserError(f"--records {self.records!r}: all files are empty.")
        sample, account = [*mg_record.sampled(parts)], Account()
        keys = self._keys(sample, paths[0])
        for one in sample:
            self._require_names(one, names_and_ids)
        _named.cache_clear()
        _tables.cache_clear()  # the files with the names may have changed since this process read them
        tasks = tuple(task for task in names_and_ids if KEYS[task] in keys)
        own_ids = not mg_record.note_repeated_ids(sample, account)
        items = [
            Item(f"{os.path.basename(path)}__{part.name}", (path,), (part, tasks, own_ids)) for path, part in parts
        ]
        classes = {task: names_and_ids[task][0] for task in tasks}
        if "detection" in classes:  # of which some may have masks
            classes["masks"] = classes["detection"]
        return Listing(items, classes, tuple(path for _, path in self.names), account)

    def _keys(self, sample: Sequence[Sampled], path: str) -> set[str]:
        """Returns the keys of the sampled records.

        Raises:
          UserError: none can be read, one has no image, or all lack the key of a task in `names`.
        """
        if not sample:
            raise UserError(f"{path}: the first records are damaged. Make the file again.")
        for name, features in sample[:1]:
            if IMAGE not in features:
                shown = ", ".join(sorted(features)[:8]) or "nothing"
                raise UserError(f"{name}: it has no {IMAGE}, but {shown}.{nearest(IMAGE, features)}")
            if any(record.origin_key(task) in features for task in KEYS):
                raise UserError(
                    f"{path}: these are must_tf's own records, which need no conversion. Use them as they are."
                )
        keys = {key for one in sample for key in one.features}
        for task, _ in self.names:
            if task and KEYS[task] not in keys:
                raise UserError(f"{path}: the first records have no {KEYS[task]}. Remove --classes {task}=...")
        if not any(key in keys for key in KEYS.values()):
            raise UserError(f"{path}: the first records have no labels; one of {', '.join(KEYS.values())} is needed.")
        return keys

    def _require_names(self, one: Sampled, names_and_ids: NamesAndIds) -> None:
        """Raises UserError if a record calls its classes otherwise than the file with the names, or counts from 0."""
        named, labels = self.texts(), mg_record.numbers(one.features, KEYS["detection"])
        for label, text in zip(labels, mg_record.texts(one.features), strict=False):
            if named.get(label) and text and text not in named[label]:
                raise UserError(
                    f"{one.name}: the class with label {label} is {text!r} there, and "
                    f"{sorted(named[label])[0]!r} in --classes. Give the names, or the label map, of these records."
                )
        if 0 in labels and 0 not in names_and_ids.get("detection", ((), {0: 0}))[1]:
            raise UserError(
                f"{one.name}: an object has the label 0, but Model Garden's count from 1. If these count from 0, give "
                "--classes detection=FILE.pbtxt, a label map with these ids."
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

    def names_and_ids(self) -> NamesAndIds:
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
        part, tasks, own_ids = item.labels
        features, name = mg_record.features_of(item.files[0], part), f"{item.files[0]}, record {part.name}"
        frame = mg_record.frame_of(features, name, account) if set(tasks) - {"classification"} else None
        stored = pixels.upright(mg_record.first_bytes(features, IMAGE) or b"", frame, name, account)
        source_id = (mg_record.source_id(features) if own_ids else "") or item.source_id
        info, notes = ImageInfo(source_id, stored.height, stored.width), ObjectNotes(account, name)
        mg_record.note_unused(features, name, account)
        labelled: dict[str, Labels] = {}
        for task in tasks:
            if KEYS[task] not in features:
                account.notes.add(f"{task}: the record has no {KEYS[task]}, unlabelled", name)
                continue
            try:
                labelled |= self._labels(task, features, info, notes)
            except Dropped as dropped:
                if dropped.reason.startswith("image:"):
                    raise
                account.dropped.add(dropped.reason, dropped.example)
        with_origins = {task: Labelled(labels, "real:mg") for task, labels in labelled.items()}
        filename = (mg_record.first_bytes(features, mg_record.FILENAME) or b"").decode(errors="replace")
        return Sample(stored.encoded, info, with_origins, filename)

    def _labels(self, task: str, features: Features, info: ImageInfo, notes: ObjectNotes) -> dict[str, Labels]:
        """Returns the labels of a task; of detection and masks, if the task is detection."""
        table = _tables(self)[task]
        if task == "classification":
            return {task: _classification(features, table, notes.name)}
        if task == "detection":
            return _detection(features, table, info, notes, _named(self))
        png = mg_record.first_bytes(features, KEYS[task])
        if not png:
            notes.account.notes.add(f"{task}: {KEYS[task]} is empty, unlabelled", notes.name)
            return {}
        ids = maps.decode_ids(png, notes.name, task, single=True)
        maps.require_size(ids, info, task, notes.name)
        return {task: maps.segmentation(maps.classes_of(ids, {IGNORE: IGNORE} | table, notes.name))}


NamesAndIds = dict[
    str, tuple[tuple[str, ...], dict[int, int]]
]  # {task: (class names, {label in the record: class id})}


@functools.lru_cache(maxsize=1)
def _tables(source: Mg) -> dict[str, dict[int, int]]:
    """Returns {task: {label: class id}}, read once per process: in a million items it would fill a disk."""
    return {task: class_ids for task, (_, class_ids) in source.names_and_ids().items()}


@functools.lru_cache(maxsize=1)
def _named(source: Mg) -> dict[int, set[str]]:
    return source.texts()


def _classification(features: Features, table: dict[int, int], name: str) -> Labels:
    labels = mg_record.numbers(features, KEYS["classification"])
    if len(labels) != 1 or labels[0] not in table:
        ids = f"{min(table)} to {max(table)}"
        raise UserError(
            f"{name}: {KEYS['classification']} is {labels}, but one of {ids} is expected. Check --first-class."
        )
    probability = np.zeros([len(table)], np.float32)
    probability[table[labels[0]]] = 1.0
    return {"probability": probability}


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
    labels = mg_record.numbers(features, KEYS["detection"])
    sides = [len(mg_record.numbers(features, mg_record.BOX + corner)) for corner in mg_record.CORNERS]
    if set(sides) != {len(labels)}:
        raise Dropped("image: boxes and labels differ in number", f"{notes.name}: {sides} and {len(labels)}")
    masks = _masks(features, len(labels), notes)
    mg_record.note_lengths(features, len(labels), notes)
    texts = mg_record.texts(features)
    texts = texts if len(texts) == len(labels) else [""] * len(labels)
    object_labels = []
    for number, (label, box) in enumerate(zip(labels, mg_record.boxes(features), strict=True)):
        object_notes = ObjectNotes(notes.account, f"{notes.name}, object {number}")
        try:
            if label not in table:
                raise Dropped("object: its class is not in the list", f"label {label} {texts[number]}")
            if texts[number] and named.get(label) and texts[number] not in named[label]:
                raise Dropped("object: its class has another name in the record", f"label {label}, {texts[number]!r}")
            object_label = _object(box, table[label], masks[number] if masks else None, info, object_notes)
        except Dropped as dropped:
            notes.account.dropped.add(dropped.reason, f"{object_notes.name}: {dropped.example}")
            continue
        crowd = mg_record.is_crowd(features, number, len(labels), object_notes)
        object_labels.append(_with_area(object_label, features, number, len(labels))._replace(is_crowd=crowd))
    objects.note_repeated(object_labels, notes)
    with_masks = objects.labels_of(object_labels)
    both = {"detection": objects.boxes_of(with_masks), "masks": with_masks}
    has_masks = masks is not None and objects.any_mask(with_masks)
    return both if has_masks else {"detection": both["detection"]}


def _masks(features: Features, count: int, notes: ObjectNotes) -> list[bytes] | None:
    """Returns one PNG per object; None if there are none, or not one for each."""
    masks = list(features[mg_record.MASK].bytes_list.value) if mg_record.MASK in features else None
    if masks is None or len(masks) == count:
        return masks
    if masks:
        notes.add("masks: dropped, their number differs from the boxes'", f"{len(masks)} for {count}")
    elif numbers := mg_record.numbers(features, mg_record.MASK):
        notes.add("masks: dropped, they are numbers instead of PNGs", f"{len(numbers)} numbers")
    return None


def _object(
    shares: tuple[float, ...], class_id: int, png: bytes | None, info: ImageInfo, notes: ObjectNotes
) -> ObjectLabel:
    box = objects.normalised(objects.checked(objects.from_shares(shares, info), info, notes), info)
    mask = None if png is None else _mask(png, info, notes)
    crop = objects.crop_of(mask, box, info, notes)
    return ObjectLabel(box, class_id, False, objects.area_of(crop), crop)


def _mask(png: bytes, info: ImageInfo, notes: ObjectNotes) -> np.ndarray | None:
    """Returns a full-image mask bool [h, w]; None if it cannot be read."""
    try:
        ids = maps.decode_ids(png, "mask", "masks", single=True)
        maps.require_size(ids, info, "masks", "mask")
    except Dropped as dropped:
        notes.add("object: mask cannot be read, box only", dropped.example if png else "no PNG")
        return None
    return ids > 0


def _with_area(label: ObjectLabel, features: Features, number: int, count: int) -> ObjectLabel:
    """Adds the object's area, if the record has it."""
    areas = mg_record.numbers(features, mg_record.AREA)
    known = len(areas) == count and np.isfinite(areas[number]) and areas[number] > 0
    return label._replace(area=float(areas[number])) if known else label
