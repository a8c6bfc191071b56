"""PASCAL VOC 2007 to 2012, and datasets that annotation tools write in its format.

    ROOT/JPEGImages/2007_000027.jpg
    ROOT/Annotations/2007_000027.xml          objects -> detection
    ROOT/SegmentationClass/2007_000027.png    palette: 0 background, 1..20 the classes, 255 void -> segmentation
    ROOT/SegmentationObject/2007_000027.png   palette: n is the n-th object in the XML, 255 void -> masks
    ROOT/ImageSets/Main/train.txt             the images of --split train (--image-set Segmentation: those with maps)

ROOT is a folder like VOCdevkit/VOC2012. An image without one of the files has no label for that task.

Boxes: VOC counts pixels from 1, and both ends belong to the box, so pixels xmin..xmax become xmin - 1 to xmax here.
Difficult objects become crowds: like COCO's crowds, they are ignored by the metric and by training
(`must_tf/tasks/detection/ignored.py`). Truncated and occluded objects are treated like all others.
"""

from __future__ import annotations

import dataclasses
import os
from typing import NamedTuple
from xml.etree import ElementTree

import numpy as np
import tensorflow as tf

from must_tf.common.errors import UserError, nearest
from must_tf.data.record import Labelled
from must_tf.spec import ImageInfo, Labels
from must_tf.tasks.segmentation.labels import IGNORE
from tfrecords_tools.sources import Sample, files, maps, objects, pixels
from tfrecords_tools.sources.objects import ObjectLabel, ObjectNotes
from tfrecords_tools.writing.counts import Account, Dropped
from tfrecords_tools.writing.items import Item, Listing

NAMES = (
    "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow",
    "diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)  # fmt: skip
BACKGROUND = "background"
FOLDERS = {"xml": "Annotations", "class": "SegmentationClass", "object": "SegmentationObject"}
CORNERS = ("ymin", "xmin", "ymax", "xmax")
SAME = 0.5  # smallest IoU of an object's box and the box of its mask; rounding and void pixels cost far less


class VocAnnotation(NamedTuple):
    """The content of one XML file."""

    size: tuple[int, int] | None  # height, width
    elements: list[ElementTree.Element]


@dataclasses.dataclass(frozen=True)
class Voc:
    """`source_id` is the image's name without suffix.

    Attributes:
      root: the folder of one year.
      split: name of the image list: train, val, trainval or test.
      image_set: folder of the list below ImageSets.
      classes: file with class names, one per line; empty for VOC's 20.
    """

    root: str
    split: str = "train"
    image_set: str = "Main"
    classes: str = ""

    def find(self) -> Listing:
        """Lists the images of the split.

        Raises:
          UserError: the list or all of its images are missing.
        """
        files.require_folder(self.root, "--root")
        path, names = self._listed_names()
        account, items = Account(), []
        present = {folder: self._stems(folder) for folder in ("JPEGImages", *FOLDERS.values())}
        for name in names:
            if name in present["JPEGImages"]:
                items.append(self._item(name, present, account))
            else:
                account.dropped.add("image: file is missing", self._path("JPEGImages", f"{name}.jpg"))
        remedy = f"{path} lists other images. Give the --root that has both."
        files.require_some(items, names, self._path("JPEGImages"), remedy)
        inputs = (path, self.classes) if self.classes else (path,)
        classes = self._classes(present)
        return Listing(items, classes, inputs, account, len(names), tuple(classes))

    def _path(self, *parts: str) -> str:
        return os.path.join(self.root, *parts)

    def _listed_names(self) -> tuple[str, list[str]]:
        """Returns the path of the list and its names; a second column (in VOC's lists per class) is ignored."""
        if not tf.io.gfile.isdir(self._path("ImageSets")):
            inner = [name for name in files.folders(self.root) if name.startswith("VOC")]
            guess = f" Give --root {self._path(inner[0])}." if inner else ""
            raise UserError(f"{self.root} has no folder 'ImageSets'. --root must be the folder of one year.{guess}")
        path = self._path("ImageSets", self.image_set, f"{self.split}.txt")
        if not tf.io.gfile.exists(path):
            folder = self._path("ImageSets", self.image_set)
            names = [files.stem(n) for n in tf.io.gfile.listdir(folder)] if tf.io.gfile.isdir(folder) else []
            raise UserError(f"--split {self.split!r}: {path} does not exist.{nearest(self.split, names)}")
        lines = files.read_lines(path, "--split")
        return path, list(dict.fromkeys(line.split()[0] for line in lines))

    def _stems(self, folder: str) -> dict[str, str]:
        path = self._path(folder)
        names = tf.io.gfile.listdir(path) if tf.io.gfile.isdir(path) else []
        return {files.stem(name): name for name in names if not name.startswith(".")}

    def _item(self, name: str, present: dict[str, dict[str, str]], account: Account) -> Item:
        paths = [self._path("JPEGImages", present["JPEGImages"][name])]
        kinds = tuple(kind for kind, folder in FOLDERS.items() if name in present[folder])
        paths += [self._path(FOLDERS[kind], present[FOLDERS[kind]][name]) for kind in kinds]
        if "xml" not in kinds:
            account.notes.add("detection: no file for this image", paths[0])
        return Item(name, tuple(paths), kinds)

    def _names(self) -> tuple[str, ...]:
        return files.read_names(self.classes, IGNORE - 1, "--classes") if self.classes else NAMES

    def _classes(self, present: dict[str, dict[str, str]]) -> dict[str, tuple[str, ...]]:
        names = self._names()
        classes = {"detection": names, "masks": names, "segmentation": (BACKGROUND, *names)}
        if not present[FOLDERS["class"]]:
            classes.pop("segmentation")
        if not present[FOLDERS["object"]]:
            classes.pop("masks")
        return classes

    def load(self, item: Item, account: Account) -> Sample:
        """Reads the image and its label files."""
        path = item.files[0]
        paths = dict(zip(item.labels, item.files[1:], strict=True))
        annotation, ids = _parse(paths.get("xml"), account), self._ids(paths, account)
        stored = pixels.upright(pixels.read_file(path), _frame(annotation, ids), path)
        info = ImageInfo(item.source_id, stored.height, stored.width)
        for kind in list(ids):
            _require_size(ids, kind, info, paths[kind], account)
        labelled = self._objects(annotation, ids.get("object"), info, account) if annotation else {}
        if "class" in ids:
            class_ids = {IGNORE: IGNORE} | {class_id: class_id for class_id in range(len(self._names()) + 1)}
            labelled["segmentation"] = maps.segmentation(maps.classes_of(ids["class"], class_ids, paths["class"]))
        origin = f"real:{files.dataset(self.root)}"
        with_origins = {task: Labelled(labels, origin) for task, labels in labelled.items()}
        return Sample(stored.encoded, info, with_origins, os.path.basename(path))

    def _ids(self, paths: dict[str, str], account: Account) -> dict[str, np.ndarray]:
        """Reads the maps; those that cannot be read are counted as dropped."""
        ids = {}
        for kind, task in (("class", "segmentation"), ("object", "masks")):
            try:
                if kind in paths:
                    ids[kind] = maps.read_ids(paths[kind], task)
            except Dropped as dropped:
                account.dropped.add(dropped.reason, dropped.example)
        return ids

    def _objects(
        self, annotation: VocAnnotation, instances: np.ndarray | None, info: ImageInfo, account: Account
    ) -> dict[str, Labels]:
        class_ids = {name: class_id for class_id, name in enumerate(self._names(), 1)}
        object_labels = []
        for number, element in enumerate(annotation.elements, 1):
            notes = ObjectNotes(account, f"image {info.source_id}, object {number}")
            mask = None if instances is None else instances == number
            try:
                object_labels.append(_object(element, class_ids, mask, info, notes))
            except Dropped as dropped:
                account.dropped.add(dropped.reason, f"{notes.name}: {dropped.example}")
        labels = objects.labels_of(object_labels)
        both = {"detection": objects.boxes_of(labels), "masks": labels}
        has_masks = instances is not None and objects.any_mask(labels)
        return both if has_masks else {"detection": both["detection"]}


def _frame(annotation: VocAnnotation | None, ids: dict[str, np.ndarray]) -> pixels.LabelFrame:
    """Returns the frame that the labels are in; None if no label has a position in the image."""
    if annotation and annotation.size:
        return annotation.size
    for label_map in ids.values():
        return label_map.shape[0], label_map.shape[1]
    return pixels.STORED if annotation and annotation.elements else None


def _require_size(ids: dict[str, np.ndarray], kind: str, info: ImageInfo, path: str, account: Account) -> None:
    """Removes a map from `ids` if its size differs from the image's."""
    try:
        maps.require_size(ids[kind], info, "segmentation" if kind == "class" else "masks", path)
    except Dropped as dropped:
        account.dropped.add(dropped.reason, dropped.example)
        del ids[kind]


def _parse(path: str | None, account: Account) -> VocAnnotation | None:
    """Parses the XML; returns None if it is missing or unreadable: the image then counts as unlabelled."""
    if path is None:
        return None
    try:
        root = ElementTree.fromstring(pixels.read_file(path))
    except (ElementTree.ParseError, Dropped) as error:
        account.dropped.add("detection: file cannot be read", f"{path}: {error}")
        return None
    sides = [_number(root.findtext(f"size/{side}")) for side in ("height", "width")]
    known = all(side is not None and side >= 1 for side in sides)  # some tools write 0
    size = (int(sides[0] or 0), int(sides[1] or 0)) if known else None
    return VocAnnotation(size, root.findall("object"))


def _number(text: str | None) -> float | None:
    try:
        return float(text or "")
    except ValueError:
        return None


def _object(
    element: ElementTree.Element,
    class_ids: dict[str, int],
    mask: np.ndarray | None,
    info: ImageInfo,
    notes: ObjectNotes,
) -> ObjectLabel:
    name = (element.findtext("name") or "").strip()
    if name not in class_ids:
        raise Dropped("object: its class is not in the list", f"{name!r}.{nearest(name, class_ids)}")
    corners = [_number(element.findtext(f"bndbox/{corner}")) for corner in CORNERS]
    if any(corner is None for corner in corners):
        raise Dropped("object: box is not four numbers", f"{name}: {corners}")
    y0, x0, y1, x1 = (corner or 0.0 for corner in corners)
    pixel_box = objects.checked((y0 - 1, x0 - 1, y1, x1), info, notes)
    if mask is not None and not _belongs(mask, pixel_box):
        notes.add("object: no mask of its number at its place, box only", name)
        mask = None
    box = objects.normalised(pixel_box, info)
    crop = objects.crop_of(mask, box, info, notes)
    difficult = (element.findtext("difficult") or "0").strip() not in ("", "0")
    if difficult:
        notes.add("object: difficult, stored as crowd", name)
    return ObjectLabel(box, class_ids[name], difficult, objects.area_of(crop), crop)


def _belongs(mask: np.ndarray, box: np.ndarray) -> bool:
    """Returns True if the mask's own box is about the same as the object's."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not rows.size:
        return False
    own = np.array([rows[0], columns[0], rows[-1] + 1, columns[-1] + 1], np.float64)
    low, high = np.maximum(own[:2], box[:2]), np.minimum(own[2:], box[2:])
    shared = np.prod(np.maximum(high - low, 0))
    return bool(shared >= SAME * (np.prod(own[2:] - own[:2]) + np.prod(box[2:] - box[:2]) - shared))
