"""Any dataset of TensorFlow Datasets that is prepared on disk, by naming which feature is which label.

| `--map` | feature | becomes |
|---|---|---|
| `image=image` (default) | Image | the image's own bytes |
| `classification=label` | ClassLabel | classification |
| `detection=objects` | sequence of dicts with `bbox`, `label`, perhaps `area` | detection |
| | its `is_crowd`, `is_difficult`, if there | crowds |
| `segmentation=segmentation_mask` | Image [h, w, 1] of ids, LabeledImage | segmentation; 255 ignored |
| `depth=depth` | numbers [h, w] or [h, w, 1], times `--depth-scale` | depth in metres, 0 unknown |
| `normals=normals` | floats [h, w, 3]: x right, y down, z forward, to the camera | normals, 0,0,0 unknown |

A feature of a feature is named with a slash (`a/b`). Names come from the features; where one has none, from
`--classes TASK=FILE`, one a line, id 0 first. The order is that of the files. Nothing is downloaded.
"""

from __future__ import annotations

import dataclasses
import functools
import os
from typing import Any

import numpy as np

from must_tf.common.errors import UserError, nearest
from must_tf.data.record import Labelled
from must_tf.spec import ImageInfo, Labels
from must_tf.tasks.segmentation.labels import IGNORE
from tfrecords_tools.sources import Sample, archives, files, maps, objects, pixels
from tfrecords_tools.sources.objects import ObjectLabel, ObjectNotes
from tfrecords_tools.writing.counts import Account, Dropped
from tfrecords_tools.writing.items import Item, Listing

IMAGE = "image"
NAMED = ("classification", "detection", "segmentation")  # tasks with classes
TASKS = (*NAMED, "depth", "normals")
CROWDS = ("is_crowd", "is_difficult")


@dataclasses.dataclass(frozen=True)
class Tfds:
    """`source_id` is TFDS' own id of an example: the file's name and the place in it.

    Attributes:
      name: "voc/2012", "coco/2017:1.1.0".
      split: "train", "train[:10%]".
      data_dir: where it was prepared.
      features: (task or "image", path of the feature).
      classes: (task, file of names).
      depth_scale: metres per unit of depth.
    """

    name: str
    split: str
    data_dir: str
    features: tuple[tuple[str, str], ...]
    classes: tuple[tuple[str, str], ...] = ()
    depth_scale: float = 1.0

    def find(self) -> Listing:
        """All examples of the split.

        Raises:
          UserError: the dataset is not there, or has no such split or feature, or nothing names a task's classes.
        """
        files.require_folder(self.data_dir, "--data-dir")
        self._check_words()
        builder = _builder(self.name, self.data_dir)
        by_task = {task: _feature(builder, path) for task, path in self._paths().items()}
        classes = {task: self._names(task, by_task[task]) for task in NAMED if task in by_task}
        inputs = tuple(path for _, path in self.classes)
        counts = {task: len(names) for task, names in classes.items()}
        return Listing(self._items(builder, counts), classes, inputs)

    def _paths(self) -> dict[str, str]:
        return {IMAGE: IMAGE} | dict(self.features)

    def _check_words(self) -> None:
        for option, given in (("--map", self.features), ("--classes", self.classes)):
            for task, value in given:
                known = (*TASKS, IMAGE) if option == "--map" else NAMED
                if task not in known:
                    raise UserError(f"{option} {task}={value}: {', '.join(known)}.{nearest(task, known)}")
        if not set(dict(self.features)) - {IMAGE}:
            raise UserError("--map: say which feature is which label, like classification=label.")

    def _items(self, builder: Any, counts: dict[str, int]) -> list[Item]:
        try:
            instructions = builder.info.splits[self.split].file_instructions
        except (KeyError, ValueError) as error:
            known = ", ".join(builder.info.splits)
            raise UserError(f"--split {self.split!r} of {self.name}: there are {known} ({error}).") from None
        if "TFRECORD" not in str(builder.info.file_format):
            raise UserError(f"{self.name} lies in {builder.info.file_format} files; prepare it as tfrecord.")
        items = []
        for each in instructions:
            parts = list(archives.records(each.filename))
            end = None if each.take in (None, -1) else each.skip + each.take
            base = os.path.basename(each.filename)
            items += [Item(f"{base}__{part.name}", (each.filename,), (part, counts)) for part in parts[each.skip : end]]
        if not items:
            raise UserError(f"--split {self.split!r} of {self.name} is empty.")
        return items

    def _names(self, task: str, feature: Any) -> tuple[str, ...]:
        most = IGNORE if task == "segmentation" else 1 << 16
        given = dict(self.classes)
        if task in given:
            return files.read_names(given[task], most, "--classes")
        owner = _label_of(feature) if task == "detection" else feature
        names = tuple(getattr(owner, "names", None) or getattr(owner, "labels", None) or ())
        if not 0 < len(names) <= most:
            raise UserError(f"{self.name}: its features do not name the classes of {task}; give --classes {task}=FILE.")
        return names

    def load(self, item: Item, account: Account) -> Sample:
        """The image and the labels that are mapped."""
        path, features, (part, counts) = item.files[0], self._paths(), item.labels
        name = f"{path}, record {part.name}"
        example = _decoded(self.name, self.data_dir, features[IMAGE], archives.read_part(path, part))
        # TFDS decodes without EXIF.
        frame: pixels.LabelFrame = pixels.STORED if set(features) - {IMAGE, "classification"} else None
        stored = pixels.upright(_at(example, features[IMAGE]), frame, name)
        info, labelled = ImageInfo(item.source_id, stored.height, stored.width), {}
        for task in (task for task in TASKS if task in features):
            value = _at(example, features[task])
            try:
                labels = self._read(task, value, counts.get(task, 0), info, ObjectNotes(account, name))
            except Dropped as dropped:
                account.dropped.add(dropped.reason, dropped.example)
                continue
            if labels is not None:
                labelled[task] = Labelled(labels, f"real:tfds-{self.name.replace('/', '-')}")
        return Sample(stored.encoded, info, labelled)

    def _read(self, task: str, value: Any, count: int, info: ImageInfo, notes: ObjectNotes) -> Labels | None:
        """The labels of one task; None where the example has none (a label of -1)."""
        if task == "detection":
            return _objects(value, count, info, notes)
        if task == "classification":
            return _one_hot(int(value), count, notes)
        found = np.asarray(value)
        found = found[..., 0] if found.ndim == 3 and found.shape[-1] == 1 else found
        maps.require_size(found, info, task, notes.name)
        if found.ndim != (3 if task == "normals" else 2):
            raise Dropped(f"{task}: array of another shape", f"{notes.name}: {found.shape}")
        if task == "depth":
            metres = np.nan_to_num(found.astype(np.float32), nan=0.0, posinf=0.0, neginf=0.0)
            return {"metres": metres * self.depth_scale}
        if task == "normals":
            length = np.linalg.norm(found.astype(np.float32), axis=-1, keepdims=True)
            return {"normals": np.where(length > 0, found / np.maximum(length, 1e-6), 0.0).astype(np.float32)}
        known = {IGNORE: IGNORE} | {number: number for number in range(count)}
        return maps.segmentation(maps.classes_of(found.astype(np.int32), known, notes.name))


def _builder(name: str, data_dir: str) -> Any:
    """The dataset's builder.

    Raises:
      UserError: it is not prepared in `data_dir`.
    """
    from tensorflow_datasets.core import read_only_builder  # takes seconds, and no other source needs it

    try:
        # From what lies on disk: the code of the dataset, which may be anywhere, is not needed for reading.
        builder = read_only_builder.builder_from_files(name, data_dir=data_dir)
    except Exception as error:  # not found, a wrong config or version: each has its own class
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UserError(f"--name {name}: {first}. See `ls {data_dir}`.") from None
    if not builder.info.splits:
        raise UserError(f"{name} is not prepared in {data_dir}. First: tfds build {name} --data_dir {data_dir}")
    return builder


@functools.lru_cache(maxsize=1)
def _features_of(name: str, data_dir: str) -> Any:
    return _builder(name, data_dir).info.features


def _feature(builder: Any, path: str) -> Any:
    """The feature at a path."""
    found = builder.info.features
    for word in path.split("/"):
        inner = getattr(found, "feature", found)  # of a sequence
        known = list(inner.keys()) if hasattr(inner, "keys") else []
        if word not in known:
            raise UserError(
                f"--map {path}: {builder.name} has no feature {word!r}.{nearest(word, known)} It has {known}."
            )
        found = inner[word]
    return found


def _label_of(feature: Any) -> Any:
    """The class feature of a sequence of objects."""
    inner = getattr(feature, "feature", feature)
    known = list(inner.keys()) if hasattr(inner, "keys") else []
    if "bbox" not in known or "label" not in known:
        raise UserError(f"--map detection=...: a sequence of dicts with bbox and label is expected, there are {known}.")
    return inner["label"]


def _decoded(name: str, data_dir: str, image: str, data: bytes) -> Any:
    """One example; its image stays encoded."""
    import tensorflow_datasets as tfds

    skip: Any = tfds.decode.SkipDecoding()
    for word in reversed(image.split("/")):
        skip = {word: skip}
    return _features_of(name, data_dir).deserialize_example_np(data, decoders=skip)


def _at(example: Any, path: str) -> Any:
    for word in path.split("/"):
        example = example[word]
    return example


def _one_hot(label: int, count: int, notes: ObjectNotes) -> Labels | None:
    if label == -1:  # TFDS' "withheld"
        return None
    if not 0 <= label < count:
        raise UserError(f"{notes.name}: label {label} is none of the {count} classes.")
    probability = np.zeros([count], np.float32)
    probability[label] = 1.0
    return {"probability": probability}


def _objects(found: Any, count: int, info: ImageInfo, notes: ObjectNotes) -> Labels:
    size = np.array([info.height, info.width] * 2, np.float64)
    things = []
    for number, (bbox, label) in enumerate(zip(found["bbox"], found["label"], strict=True)):
        own = ObjectNotes(notes.account, f"{notes.name}, object {number}")
        if not 0 <= label < count:
            raise UserError(f"{own.name}: label {int(label)} is none of the {count} classes.")
        try:
            corners = objects.checked((np.asarray(bbox, np.float64) * size).tolist(), info, own)
        except Dropped as dropped:
            notes.account.dropped.add(dropped.reason, f"{own.name}: {dropped.example}")
            continue
        box, sides = objects.normalised(corners, info), corners[2:] - corners[:2]
        crowd = any(bool(found[key][number]) for key in CROWDS if key in found)
        area = float(found["area"][number]) if "area" in found and found["area"][number] > 0 else float(np.prod(sides))
        things.append(ObjectLabel(box, int(label) + 1, crowd, area, np.ones([1, 1], np.uint8)))
    return objects.boxes_of(objects.labels_of(things))
