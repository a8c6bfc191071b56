"""Any dataset of TensorFlow Datasets that is prepared on disk; `--map` says which feature holds which label.

| `--map` | feature | becomes |
|---|---|---|
| `image=image` (default) | Image | the image, see `pixels` |
| `classification=label` | ClassLabel | classification |
| `detection=objects` | sequence of dicts with `bbox`, `label`, optionally `area` | detection |
| | their `is_crowd`, `is_difficult`, if present | crowds |
| `segmentation=segmentation_mask` | Image [h, w, 1] of ids, LabeledImage | segmentation; 255 ignored |
| `depth=depth` | numbers [h, w] or [h, w, 1], times `--depth-scale` | depth in metres, 0 = unknown |
| `normals=normals` | floats [h, w, 3]: x right, y down, z forward, toward the camera | normals, 0,0,0 = unknown |

A nested feature is named with a slash (`a/b`). Class names come from the features or, if a feature has none, from
`--classes TASK=FILE` with one per line, id 0 first. Images are in the order of the files. Nothing is downloaded.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import os
from typing import Any

import numpy as np

from must_tf.common.errors import UserError, nearest
from must_tf.data.record import Labelled
from must_tf.spec import ImageInfo, Labels
from must_tf.tasks.segmentation.labels import IGNORE
from tfrecords_tools.sources import Sample, archives, files, maps, objects, pixels, surface
from tfrecords_tools.sources.objects import ObjectLabel, ObjectNotes
from tfrecords_tools.writing import on_disk
from tfrecords_tools.writing.counts import Account, Dropped
from tfrecords_tools.writing.items import Item, Listing

IMAGE = "image"
NAMED = ("classification", "detection", "segmentation")  # tasks with classes
TASKS = (*NAMED, "depth", "normals")
CROWDS = ("is_crowd", "is_difficult")


@dataclasses.dataclass(frozen=True)
class Tfds:
    """`source_id` is TFDS' own id of an example: the file's name and the position in it.

    Attributes:
      name: "voc/2012", "coco/2017:1.1.0".
      split: "train", "train[:10%]".
      data_dir: folder in which the dataset was prepared.
      features: (task or "image", path of the feature).
      classes: (task, file of class names).
      depth_scale: metres per unit of depth.
    """

    name: str
    split: str
    data_dir: str
    features: tuple[tuple[str, str], ...]
    classes: tuple[tuple[str, str], ...] = ()
    depth_scale: float = 1.0

    def find(self) -> Listing:
        """Lists all examples of the split.

        Raises:
          UserError: the dataset, the split or a feature does not exist, or a task's classes have no names.
        """
        files.require_folder(self.data_dir, "--data-dir")
        self._check_tasks()
        builder = _builder(self.name, self.data_dir)
        by_task = {task: _feature(builder, path) for task, path in self._paths().items()}
        classes = {task: self._names(task, by_task[task]) for task in NAMED if task in by_task}
        inputs = tuple(path for _, path in self.classes)
        counts = {task: len(names) for task, names in classes.items()}
        return Listing(self._items(builder, counts), classes, inputs)

    def _paths(self) -> dict[str, str]:
        return {IMAGE: IMAGE} | dict(self.features)

    def _check_tasks(self) -> None:
        for option, pairs in (("--map", self.features), ("--classes", self.classes)):
            for task, value in pairs:
                known = (*TASKS, IMAGE) if option == "--map" else NAMED
                if task not in known:
                    message = f"{option} {task}={value}: {task!r} must be one of {', '.join(known)}."
                    raise UserError(f"{message}{nearest(task, known)}")
        if not set(dict(self.features)) - {IMAGE}:
            raise UserError("--map names no label. Say which feature holds which label, like classification=label.")

    def _items(self, builder: Any, counts: dict[str, int]) -> on_disk.Items:
        try:
            instructions = builder.info.splits[self.split].file_instructions
        except (KeyError, ValueError) as error:
            known = ", ".join(builder.info.splits)
            raise UserError(
                f"--split {self.split!r} of {self.name} does not exist ({error}). Choose from {known}."
            ) from None
        if "TFRECORD" not in str(builder.info.file_format):
            raise UserError(f"{self.name} is stored as {builder.info.file_format} files. Prepare it as tfrecord.")
        items = on_disk.Items()
        for instruction in instructions:
            path, skip, take = instruction.filename, instruction.skip, instruction.take
            for part in itertools.islice(archives.records(path), skip, None if take in (None, -1) else skip + take):
                items.append(Item(f"{os.path.basename(path)}__{part.name}", (path,), (part, counts)))
        if not items:
            raise UserError(f"--split {self.split!r} of {self.name} has no examples.")
        return items

    def _names(self, task: str, feature: Any) -> tuple[str, ...]:
        max_count = IGNORE if task == "segmentation" else 1 << 16
        class_files = dict(self.classes)
        if task in class_files:
            return files.read_names(class_files[task], max_count, "--classes")
        owner = _label_of(feature) if task == "detection" else feature
        names = tuple(getattr(owner, "names", None) or getattr(owner, "labels", None) or ())
        if not 0 < len(names) <= max_count:
            raise UserError(f"{self.name}: the features have no class names for {task}. Give --classes {task}=FILE.")
        return names

    def load(self, item: Item, account: Account) -> Sample:
        """Reads the image and the labels of `features`."""
        path, features, (part, counts) = item.files[0], self._paths(), item.labels
        name = f"{path}, record {part.name}"
        example = _decoded(self.name, self.data_dir, features[IMAGE], archives.read_part(path, part))
        # TFDS decodes without EXIF.
        frame: pixels.LabelFrame = pixels.STORED if set(features) - {IMAGE, "classification"} else None
        stored = pixels.upright(_at(example, features[IMAGE]), frame, name, account)
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
        surface.note_contradictions({task: one.labels for task, one in labelled.items()}, None, name, account)
        return Sample(stored.encoded, info, labelled)

    def _read(self, task: str, value: Any, count: int, info: ImageInfo, notes: ObjectNotes) -> Labels | None:
        """Converts the labels of one task; returns None if the example has none (a label of -1)."""
        if task == "detection":
            return _objects(value, count, info, notes)
        if task == "classification":
            return _one_hot(int(value), count, notes)
        array = np.asarray(value)
        array = array[..., 0] if array.ndim == 3 and array.shape[-1] == 1 else array
        maps.require_size(array, info, task, notes.name)
        if array.ndim != (3 if task == "normals" else 2):
            raise Dropped(f"{task}: array of another shape", f"{notes.name}: {array.shape}")
        if task == "depth":
            metres = np.nan_to_num(array.astype(np.float32), nan=0.0, posinf=0.0, neginf=0.0)
            return {"metres": metres * self.depth_scale}
        if task == "normals":
            length = np.linalg.norm(array.astype(np.float32), axis=-1, keepdims=True)
            return {"normals": np.where(length > 0, array / np.maximum(length, 1e-6), 0.0).astype(np.float32)}
        class_ids = {IGNORE: IGNORE} | {class_id: class_id for class_id in range(count)}
        return maps.segmentation(maps.classes_of(array.astype(np.int32), class_ids, notes.name))


def _builder(name: str, data_dir: str) -> Any:
    """Returns the dataset's builder.

    Raises:
      UserError: the dataset is not prepared in `data_dir`.
    """
    from tensorflow_datasets.core import read_only_builder  # the import takes seconds, and no other source needs it

    try:
        # Reads the files on disk only; the code that defines the dataset is not needed.
        builder = read_only_builder.builder_from_files(name, data_dir=data_dir)
    except Exception as error:  # a missing dataset, config or version each has its own class
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UserError(f"--name {name}: {first}. Check the names in {data_dir}.") from None
    if not builder.info.splits:
        raise UserError(f"{name} is not prepared in {data_dir}. Run: tfds build {name} --data_dir {data_dir}")
    return builder


@functools.lru_cache(maxsize=1)
def _features_of(name: str, data_dir: str) -> Any:
    return _builder(name, data_dir).info.features


def _feature(builder: Any, path: str) -> Any:
    """Returns the feature at a path."""
    feature = builder.info.features
    for word in path.split("/"):
        inner = getattr(feature, "feature", feature)  # of a sequence
        known = list(inner.keys()) if hasattr(inner, "keys") else []
        if word not in known:
            raise UserError(
                f"--map {path}: {builder.name} has no feature {word!r}.{nearest(word, known)} It has {known}."
            )
        feature = inner[word]
    return feature


def _label_of(feature: Any) -> Any:
    """Returns the class feature of a sequence of objects."""
    inner = getattr(feature, "feature", feature)
    known = list(inner.keys()) if hasattr(inner, "keys") else []
    if "bbox" not in known or "label" not in known:
        raise UserError(
            f"--map detection=...: the feature must be a sequence of dicts with bbox and label, but has {known}."
        )
    return inner["label"]


def _decoded(name: str, data_dir: str, image: str, data: bytes) -> Any:
    """Decodes one example, except for its image."""
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
    if label == -1:  # TFDS marks withheld labels with -1
        return None
    if not 0 <= label < count:
        raise UserError(f"{notes.name}: label {label} is not one of the {count} classes.")
    probability = np.zeros([count], np.float32)
    probability[label] = 1.0
    return {"probability": probability}


def _objects(columns: Any, count: int, info: ImageInfo, notes: ObjectNotes) -> Labels:
    size = np.array([info.height, info.width] * 2, np.float64)
    object_labels = []
    for number, (bbox, label) in enumerate(zip(columns["bbox"], columns["label"], strict=True)):
        object_notes = ObjectNotes(notes.account, f"{notes.name}, object {number}")
        if not 0 <= label < count:
            raise UserError(f"{object_notes.name}: label {int(label)} is not one of the {count} classes.")
        try:
            corners = objects.checked((np.asarray(bbox, np.float64) * size).tolist(), info, object_notes)
        except Dropped as dropped:
            notes.account.dropped.add(dropped.reason, f"{object_notes.name}: {dropped.example}")
            continue
        box, sides = objects.normalised(corners, info), corners[2:] - corners[:2]
        crowd = any(bool(columns[key][number]) for key in CROWDS if key in columns)
        area = float(columns["area"][number]) if "area" in columns else 0.0
        area = area if area > 0 else float(np.prod(sides))
        object_labels.append(ObjectLabel(box, int(label) + 1, crowd, area, np.ones([1, 1], np.uint8)))
    return objects.boxes_of(objects.labels_of(object_labels))
