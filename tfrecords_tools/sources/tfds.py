"""Any dataset of TensorFlow Datasets that is prepared on disk; `--map` says which feature holds which label.

| `--map` | feature | becomes |
|---|---|---|
| `image=image` (default) | Image | the image, see `pixels` |
| `classification=label` | ClassLabel | classification |
| `detection=objects` | sequence of dicts with `bbox`, `label`, optionally `area` | detection |
| | their `is_crowd`, `is_difficult`, `is_group_of`, if present | crowds |
| `segmentation=segmentation_mask` | Image [h, w, 1] of ids, LabeledImage | segmentation; 255 ignored |
| `depth=depth` | numbers [h, w] or [h, w, 1], times `--depth-scale` | depth in metres, 0 = unknown |
| `normals=normals` | x right, y down, z forward, toward the camera: unit vectors, or (n + 1) * 127.5 | normals |

A nested feature is named with a slash (`a/b`). Class names come from the features or, if a feature has none, from
`--classes TASK=FILE` with one per line, id 0 first. Images are in the order of the files. Boxes have the form that the
feature declares. Features that are not used are noted. Nothing is downloaded.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import math
import os
import shlex
from typing import Any

import numpy as np

from must_tf.common.errors import UserError, nearest
from must_tf.data.record import Labelled
from must_tf.spec import ImageInfo, Labels
from must_tf.tasks.segmentation.labels import IGNORE
from tfrecords_tools.sources import (
    Sample,
    archives,
    files,
    maps,
    objects,
    pixels,
    rgbd_maps,
    surface,
    tfds_features,
)
from tfrecords_tools.sources.objects import ObjectLabel, ObjectNotes
from tfrecords_tools.writing import on_disk
from tfrecords_tools.writing.counts import Account, Dropped
from tfrecords_tools.writing.items import Item, Listing

IMAGE = "image"
NAMED = ("classification", "detection", "segmentation")  # tasks with classes
TASKS = (*NAMED, "depth", "normals")


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
        for task, path in self._paths().items():
            tfds_features.require(task, path, by_task[task])
        classes = {task: self._names(task, by_task[task]) for task in NAMED if task in by_task}
        inputs = tuple(path for _, path in self.classes)
        counts = {task: len(names) for task, names in classes.items()}
        return Listing(self._items(builder, counts), classes, inputs, self._account(builder, by_task))

    def _account(self, builder: Any, by_task: dict[str, Any]) -> Account:
        """Notes features that are not used, and boxes whose form has to be guessed."""
        account, used = Account(), set(self._paths().values())
        if "detection" in by_task:
            path = self._paths()["detection"]
            used = (used - {path}) | set(tfds_features.used_of_objects(path))
            if not tfds_features.box_form(by_task["detection"]):
                account.notes.add(tfds_features.UNDECLARED, self.name)
        if "depth" in by_task and self.depth_scale == 1 and np.dtype(by_task["depth"].np_dtype) == np.uint8:
            account.notes.add(f"{rgbd_maps.NO_UNIT}, read as metres; {rgbd_maps.SCALE_QUESTION}", self.name)
        for path in tfds_features.unused(builder.info.features, used):
            account.notes.add(f"file: feature {path}, not used", self.name)
        return account

    def _paths(self) -> dict[str, str]:
        return {IMAGE: IMAGE} | dict(self.features)

    def _check_tasks(self) -> None:
        for option, pairs in (("--map", self.features), ("--classes", self.classes)):
            for task, value in pairs:
                known = (*TASKS, IMAGE) if option == "--map" else NAMED
                if task not in known:
                    message = f"{option} {task}={value}: {task!r} must be one of {', '.join(known)}."
                    raise UserError(f"{message}{nearest(task, known)}")
        if not 0 < self.depth_scale < math.inf:
            raise UserError(f"--depth-scale {self.depth_scale:g}: expected metres per unit, like 0.001.")
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
        owner = feature.feature[tfds_features.LABEL] if task == "detection" else feature
        names = tuple(getattr(owner, "names", None) or getattr(owner, "labels", None) or ())
        if not 0 < len(names) <= max_count:
            raise UserError(f"{self.name}: the features have no class names for {task}. Give --classes {task}=FILE.")
        return names

    def load(self, item: Item, account: Account) -> Sample:
        """Reads the image and the labels of `features`."""
        path, features, (part, counts) = item.files[0], self._paths(), item.labels
        name = f"{path}, record {part.name}"
        example = _decoded(self.name, self.data_dir, self._stored_paths(), archives.read_record(path, part))
        # TFDS decodes without EXIF.
        frame: pixels.LabelFrame = pixels.STORED if set(features) - {IMAGE, "classification"} else None
        stored = pixels.upright(_at(example, features[IMAGE]), frame, name, account)
        info, labelled = ImageInfo(item.source_id, stored.height, stored.width), {}
        for task in (task for task in TASKS if task in features):
            value = _at(example, features[task])
            notes = ObjectNotes(account, name)
            try:
                if task == "detection":
                    labels: Labels | None = _objects(value, self._box_form(), counts[task], info, notes)
                else:
                    labels = self._read(task, value, counts.get(task, 0), info, notes)
            except Dropped as dropped:
                account.dropped.add(dropped.reason, dropped.example)
                continue
            if labels is not None:
                labelled[task] = Labelled(labels, f"real:tfds-{self.name.replace('/', '-')}")
        surface.note_contradictions({task: one.labels for task, one in labelled.items()}, None, name, account)
        return Sample(stored.encoded, info, labelled)

    def _stored_paths(self) -> tuple[str, ...]:
        """Returns the paths of the features that are left as the bytes of a file: the image, and maps of ids."""
        paths, known = self._paths(), _features_of(self.name, self.data_dir)
        is_file = "segmentation" in paths and tfds_features.is_image(_at_feature(known, paths["segmentation"]))
        return (paths[IMAGE], paths["segmentation"]) if is_file else (paths[IMAGE],)

    def _box_form(self) -> str:
        known = _features_of(self.name, self.data_dir)
        return tfds_features.box_form(_at_feature(known, self._paths()["detection"]))

    def _read(self, task: str, value: Any, count: int, info: ImageInfo, notes: ObjectNotes) -> Labels | None:
        """Converts the labels of one task; returns None if the example has none (a label of -1)."""
        if task == "classification":
            return _one_hot(int(value), count, notes)
        is_file = task == "segmentation" and isinstance(value, bytes)
        array = maps.decode_ids(value, notes.name, task, single=True) if is_file else np.asarray(value)
        array = array[..., 0] if array.ndim == 3 and array.shape[-1] == 1 else array
        maps.require_size(array, info, task, notes.name)
        if array.ndim != (3 if task == "normals" else 2):
            raise Dropped(f"{task}: array of another shape", f"{notes.name}: {array.shape}")
        if task == "depth":
            metres = np.nan_to_num(array.astype(np.float32), nan=0.0, posinf=0.0, neginf=0.0) * self.depth_scale
            surface.note_reach(metres, notes.name, notes.account, rgbd_maps.SCALE_QUESTION)
            return {"metres": metres}
        if task == "normals":
            vectors = rgbd_maps.normals(array, rgbd_maps.MapOptions(), notes.name)["normals"]
            length = np.linalg.norm(vectors, axis=-1, keepdims=True)
            return {"normals": np.where(length > 0, vectors / np.maximum(length, 1e-6), 0.0).astype(np.float32)}
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
        raise UserError(
            f"{name} is not prepared in {data_dir}. Run: tfds build {name} --data_dir {shlex.quote(data_dir)}"
        )
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


def _at_feature(feature: Any, path: str) -> Any:
    """Returns the feature at a path that exists."""
    for word in path.split("/"):
        feature = getattr(feature, "feature", feature)[word]
    return feature


def _decoded(name: str, data_dir: str, stored: tuple[str, ...], data: bytes) -> Any:
    """Decodes one example, except for the features at these paths, which stay the bytes of their files."""
    import tensorflow_datasets as tfds

    skip: dict[str, Any] = {}
    for path in stored:
        *folders, last = path.split("/")
        inner = skip
        for word in folders:
            inner = inner.setdefault(word, {})
        inner[last] = tfds.decode.SkipDecoding()
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


def _objects(columns: Any, form: str, count: int, info: ImageInfo, notes: ObjectNotes) -> Labels:
    object_labels = []
    for number, (bbox, label) in enumerate(zip(columns["bbox"], columns["label"], strict=True)):
        object_notes = ObjectNotes(notes.account, f"{notes.name}, object {number}")
        if not 0 <= label < count:
            raise UserError(f"{object_notes.name}: label {int(label)} is not one of the {count} classes.")
        try:
            place, shares = tfds_features.corners(bbox, form)
            corners = objects.checked(objects.from_shares(place, info) if shares else place, info, object_notes)
        except Dropped as dropped:
            notes.account.dropped.add(dropped.reason, f"{object_notes.name}: {dropped.example}")
            continue
        box, sides = objects.normalised(corners, info), corners[2:] - corners[:2]
        crowd = any(columns[key][number] > 0 for key in tfds_features.CROWDS if key in columns)
        area = float(columns["area"][number]) if "area" in columns else 0.0
        area = area if area > 0 else float(np.prod(sides))
        object_labels.append(ObjectLabel(box, int(label) + 1, crowd, area, np.ones([1, 1], np.uint8)))
    objects.note_repeated(object_labels, notes)
    return objects.boxes_of(objects.labels_of(object_labels))
