"""PASCAL VOC 2007 to 2012, and datasets that annotation tools write in its format.

    ROOT/JPEGImages/2007_000027.jpg
    ROOT/Annotations/2007_000027.xml          objects -> detection
    ROOT/SegmentationClass/2007_000027.png    palette: 0 background, 1..20 the classes, 255 void -> segmentation
    ROOT/SegmentationObject/2007_000027.png   palette: n is the n-th object in the XML, 255 void -> masks
    ROOT/ImageSets/Main/train.txt             the images of --split train (--image-set Segmentation: those with maps)

ROOT is a folder like VOCdevkit/VOC2012. An image without one of the files has no label for that task. `voc_files` has
the layouts of annotation tools, `voc_classes` their classes and colours.

Boxes: VOC counts pixels from 1, and both ends belong to the box, so pixels xmin..xmax become xmin - 1 to xmax here.
Difficult objects become crowds: like COCO's crowds, they are ignored by the metric and by training
(`must_tf/tasks/detection/ignored.py`). Truncated and occluded objects are treated like all others.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
import os
from typing import NamedTuple
from xml.etree import ElementTree

import numpy as np

from must_tf.common import text_files as texts
from must_tf.common.errors import UserError, nearest
from must_tf.data.record import Labelled
from must_tf.spec import ImageInfo, Labels
from must_tf.tasks.segmentation.labels import IGNORE
from tfrecords_tools.sources import Sample, files, finder, maps, objects, pixels, voc_classes, voc_files
from tfrecords_tools.sources.objects import ObjectLabel, ObjectNotes
from tfrecords_tools.sources.voc_classes import VocClasses
from tfrecords_tools.sources.voc_files import VocFiles
from tfrecords_tools.writing import on_disk
from tfrecords_tools.writing.counts import Account, Dropped
from tfrecords_tools.writing.items import Item, Listing

CORNERS = ("ymin", "xmin", "ymax", "xmax")
SAME = 0.5  # smallest IoU of an object's box and the box of its mask; rounding and void pixels cost far less
# Elements of an object, and of an image, that are used or say nothing about it. The others are counted.
USED = ("name", "bndbox", "difficult", "id")
USED_OF_SIZE = ("height", "width", "depth")
USED_OF_IMAGE = ("folder", "filename", "path", "source", "owner", "size", "segmented", "object")
SAYS_NOTHING = (*objects.NOT_SET, "unspecified")
ROTATED = ("robndbox", "bndbox/angle", "angle")


class OwnClasses(NamedTuple):
    """The labels of an item whose classes are not VOC's, nor in a file."""

    kinds: tuple[str, ...]
    classes: VocClasses


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
        account = Account()
        found = voc_files.find(self.root, self.split, self.image_set, account)
        present = [name for name in found.names if found.photos.find(name)]
        xml_paths = (path for name in present if (path := found.labels["xml"].find(name)))
        own = voc_classes.find(self.root, self.classes, xml_paths, account)
        packed = None if own in (voc_classes.PUBLISHED, VocClasses(self._names())) else own
        items = on_disk.Items(self._item(name, found, packed, account) for name in present)
        missing = [name for name in found.names if not found.photos.find(name)]
        files.count_missing((os.path.join(found.photos.folder, f"{name}.jpg") for name in missing), account)
        remedy = f"{found.list_path} lists other images. Give the --root that has both."
        files.require_some(items, found.names, found.photos.folder, remedy)
        inputs = tuple(path for path in (found.list_path, self.classes) if path)
        used = itertools.chain(inputs, [os.path.join(self.root, voc_classes.LABEL_MAP)], *(one.files for one in items))
        voc_files.note_others(found, used, account)
        classes = self._classes(own.names, found)
        return Listing(items, classes, inputs, account, len(found.names) + found.others, tuple(classes))

    def _item(self, name: str, found: VocFiles, own: VocClasses | None, account: Account) -> Item:
        paths = {kind: path for kind, stems in found.labels.items() if (path := stems.find(name))}
        photo = found.photos.find(name)
        if "xml" not in paths:
            account.notes.add("detection: no file for this image", photo)
        kinds = tuple(paths)
        return Item(name, (photo, *paths.values()), kinds if own is None else OwnClasses(kinds, own))

    def _names(self) -> tuple[str, ...]:
        return files.read_names(self.classes, voc_classes.MOST, "--classes") if self.classes else voc_classes.NAMES

    def _classes(self, names: tuple[str, ...], found: VocFiles) -> dict[str, tuple[str, ...]]:
        classes = {"detection": names, "masks": names, "segmentation": (voc_classes.BACKGROUND, *names)}
        if not found.labels["class"].names:
            classes.pop("segmentation")
        if not found.labels["object"].names:
            classes.pop("masks")
        return classes

    def load(self, item: Item, account: Account) -> Sample:
        """Reads the image and its label files."""
        path, kinds = item.files[0], item.labels
        own = VocClasses(())
        if isinstance(kinds, OwnClasses):
            kinds, own = kinds
        names = own.names or self._names()
        paths = dict(zip(kinds, item.files[1:], strict=True))
        annotation, ids = _parse(paths.get("xml"), account), _ids(paths, own.colours, account)
        stored = pixels.upright(pixels.read_file(path), _frame(annotation, ids), path, account)
        info = ImageInfo(item.source_id, stored.height, stored.width)
        for kind in list(ids):
            _require_size(ids, kind, info, paths[kind], account)
        labelled = _objects(annotation, names, ids.get("object"), info, account) if annotation else {}
        if "class" in ids:
            class_ids = {IGNORE: IGNORE} | {class_id: class_id for class_id in range(len(names) + 1)}
            maps.note_binary(ids["class"], len(names) + 1, paths["class"], account)
            labelled["segmentation"] = maps.segmentation(maps.classes_of(ids["class"], class_ids, paths["class"]))
        origin = f"real:{files.dataset(self.root)}"
        with_origins = {task: Labelled(labels, origin) for task, labels in labelled.items()}
        return Sample(stored.encoded, info, with_origins, os.path.basename(path))


def _ids(paths: dict[str, str], colours: dict[tuple[int, ...], int], account: Account) -> dict[str, np.ndarray]:
    """Reads the maps; those that cannot be read are counted as dropped."""
    ids = {}
    for kind, task in (("class", "segmentation"), ("object", "masks")):
        try:
            if kind in paths:
                ids[kind] = _read_ids(paths[kind], task, colours if kind == "class" else {})
        except Dropped as dropped:
            account.dropped.add(dropped.reason, dropped.example)
    return ids


def _read_ids(path: str, task: str, colours: dict[tuple[int, ...], int]) -> np.ndarray:
    if not maps.has_colours(path, task):
        return maps.read_ids(path, task)
    try:
        return voc_classes.ids_of_colours(maps.read_map(path, task), colours, path)
    except UserError as error:
        if colours or task == "masks":
            raise Dropped(f"{task}: colours without a meaning", str(error)) from None
        raise Dropped(f"{task}: pixels of another format", str(error)) from None


def _objects(
    annotation: VocAnnotation, names: tuple[str, ...], instances: np.ndarray | None, info: ImageInfo, account: Account
) -> dict[str, Labels]:
    class_ids = {name: class_id for class_id, name in enumerate(names, 1)}
    object_labels = []
    for number, element in enumerate(annotation.elements, 1):
        notes = ObjectNotes(account, f"image {info.source_id}, object {number}")
        mask = None if instances is None else instances == number
        try:
            object_labels.append(_object(element, class_ids, mask, info, notes))
        except Dropped as dropped:
            account.dropped.add(dropped.reason, f"{notes.name}: {dropped.example}")
    objects.note_repeated(object_labels, ObjectNotes(account, f"image {info.source_id}"))
    labels = objects.labels_of(object_labels)
    both = {"detection": objects.boxes_of(labels), "masks": labels}
    has_masks = instances is not None and objects.any_mask(labels)
    return both if has_masks else {"detection": both["detection"]}


def _frame(annotation: VocAnnotation | None, ids: dict[str, np.ndarray]) -> pixels.Frame:
    """Returns the frame that the labels are in; None if no label has a position in the image."""
    sizes = [annotation.size] if annotation and annotation.size else [label_map.shape[:2] for label_map in ids.values()]
    is_empty = not ids and not (annotation and annotation.elements)
    if sizes:
        return pixels.Sized(sizes[0], pixels.SHOWN if is_empty else pixels.STORED)
    if is_empty or annotation is None:
        return pixels.SHOWN
    down, right = (
        max((_number(one.findtext(f"bndbox/{corner}")) or 0.0 for one in annotation.elements), default=0.0)
        for corner in ("ymax", "xmax")
    )
    return pixels.Unsized(pixels.STORED, (down, right))


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
        data = pixels.read_file(path)
        root = texts.xml(data)
    except (ValueError, Dropped) as error:
        account.dropped.add("detection: file cannot be read", f"{path}: {error}")
        return None
    if not data.isascii() and texts.is_guessed_xml(data):
        account.notes.add(files.GUESSED, path)
    if root.tag != "annotation":
        account.dropped.add("detection: XML of another format", f"{path}: <{root.tag}> instead of <annotation>")
        return None
    sides = [_number(root.findtext(f"size/{side}")) for side in ("height", "width")]
    known = all(side is not None and side >= 1 for side in sides)  # some tools write 0
    size = (int(sides[0] or 0), int(sides[1] or 0)) if known else None
    _note_unused_of_image(root, path, account)
    return VocAnnotation(size, root.findall("object"))


def _number(text: str | None) -> float | None:
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _object(
    element: ElementTree.Element,
    class_ids: dict[str, int],
    mask: np.ndarray | None,
    info: ImageInfo,
    notes: ObjectNotes,
) -> ObjectLabel:
    name = voc_classes.name_of(element.findtext("name"))
    if name not in class_ids:
        raise Dropped("object: its class is not in the list", f"{name!r}.{nearest(name, class_ids)}")
    _note_unused(element, notes)
    corners = [_number(element.findtext(f"bndbox/{corner}")) for corner in CORNERS]
    if any(corner is None for corner in corners):
        raise Dropped("object: box is not four numbers", f"{name}: {corners}")
    y0, x0, y1, x1 = (corner or 0.0 for corner in corners)
    if max(y0, x0, y1, x1) <= 1 and any(value % 1 for value in (y0, x0, y1, x1)):
        raise Dropped("object: box in 0..1, not in pixels", f"{name}: {[y0, x0, y1, x1]}")
    pixel_box = objects.checked((y0 - 1, x0 - 1, y1, x1), info, notes)
    if mask is not None and not _belongs(mask, pixel_box):
        notes.add("object: no mask of its number at its place, box only", name)
        mask = None
    box = objects.normalised(pixel_box, info)
    crop = objects.crop_of(mask, box, info, notes)
    difficult = objects.is_set((element.findtext("difficult") or "").strip() or "0", "difficult", notes)
    if difficult:
        notes.add("object: difficult, stored as crowd", name)
    return ObjectLabel(box, class_ids[name], difficult, objects.area_of(crop), crop)


def _note_unused(element: ElementTree.Element, notes: ObjectNotes) -> None:
    """Notes elements that say something and are not used.

    Raises:
      Dropped: the box is rotated, or an element that should be there once contradicts itself.
    """
    for tag in ROTATED:
        angle = element.find(tag)
        if angle is not None and (len(angle) or _number(angle.text)):
            raise Dropped("object: its box is rotated", f"<{tag}>")
    for key, value in element.attrib.items():
        notes.add(f"object: {key} is set and not used", value)
    corners = element.findall("bndbox/*")
    tags = [child.tag for child in (*element, *corners)]
    if repeated := [tag for tag in (*USED, *CORNERS) if tags.count(tag) > 1]:
        raise Dropped("object: an element is there several times", f"<{repeated[0]}>")
    for child in (*element.iterfind("bndbox"), *corners):
        for key, value in child.attrib.items():
            notes.add(f"object: {key} of <{child.tag}> is set and not used", value)
    inside = [child for child in corners if child.tag not in CORNERS]
    for child in (*element, *inside):
        text = (child.text or "").strip()
        if child.tag not in USED and (len(child) or text and text.lower() not in SAYS_NOTHING):
            notes.add(f"object: <{child.tag}> is set and not used", text or child.tag)


def _note_unused_of_image(root: ElementTree.Element, path: str, account: Account) -> None:
    """Notes elements and attributes of an XML file that are not used, and a name of another image."""
    sizes = [child for child in root.iterfind("size/*") if child.tag not in USED_OF_SIZE]
    for child in (*root, *sizes):
        text = (child.text or "").strip()
        if child.tag not in USED_OF_IMAGE and (len(child) or text and text.lower() not in SAYS_NOTHING):
            account.notes.add(f"image: <{child.tag}> is set and not used", f"{path}: {text or child.tag}")
    for key, value in root.attrib.items():
        account.notes.add(f"image: {key} is set and not used", f"{path}: {value}")
    for child in (*root.iterfind("size"), *root.iterfind("size/*")):
        for key, value in child.attrib.items():
            account.notes.add(f"image: {key} of <{child.tag}> is set and not used", f"{path}: {value}")
    named = os.path.basename((root.findtext("filename") or "").strip().replace("\\", "/"))
    own = finder.spelled(files.stem(os.path.basename(path)))
    if named and own not in map(finder.spelled, (named, files.stem(named))):
        account.notes.add("image: its XML names another file", f"{path}: {named}")


def _belongs(mask: np.ndarray, box: np.ndarray) -> bool:
    """Returns True if the mask's own box is about the same as the object's."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not rows.size:
        return False
    own = np.array([rows[0], columns[0], rows[-1] + 1, columns[-1] + 1], np.float64)
    low, high = np.maximum(own[:2], box[:2]), np.minimum(own[2:], box[2:])
    shared = np.prod(np.maximum(high - low, 0))
    return bool(shared >= SAME * (np.prod(own[2:] - own[:2]) + np.prod(box[2:] - box[:2]) - shared))
