"""The common part of all formats of annotation tools: from pictures to items, and from an item to its sample."""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Iterable, Sequence
from typing import Any, NamedTuple

import cv2
import numpy as np

from must_tf.common.errors import UserError, nearest
from must_tf.data.record import Labelled
from must_tf.spec import ImageInfo, Labels
from tfrecords_tools.sources import Sample, class_files, files, maps, objects, pixels
from tfrecords_tools.sources.coco import coco_objects
from tfrecords_tools.sources.drawn import shapes
from tfrecords_tools.sources.drawn.image_paths import CONTESTED
from tfrecords_tools.writing import on_disk
from tfrecords_tools.writing.counts import Account, Dropped
from tfrecords_tools.writing.items import Item, Listing

CocoEntry = dict[str, Any]
BOX_ONLY = "object: no mask, box only"  # says nothing about an image without any mask
OTHER_CLASS = "object: its class is not in the list"
NO_CLASS = "object: it has no class"
MOST = 65535  # classes


class Picture(NamedTuple):
    """An image and what was drawn in it.

    Attributes:
      source_id: the record's id.
      path: the image file.
      frame: the frame of the coordinates, see `pixels`.
      objects: COCO annotations whose category is the class's name; None if the image is unlabelled for objects. An
        annotation may have `mask_png` instead of a segmentation: the file of its mask, of any size.
      relative: True if coordinates are shares of the image's sides instead of pixels.
      seen: names of the classes that were looked for; None means all of them.
      label: the class of the whole image; "" if it has none.
    """

    source_id: str
    path: str
    frame: pixels.Frame
    objects: Sequence[CocoEntry] | None
    relative: bool = False
    seen: Sequence[str] | None = None
    label: str = ""


class Drawn(NamedTuple):
    """The labels of an item: a picture's, with class ids."""

    frame: pixels.Frame
    objects: str | None  # a JSON list
    ids: dict[Any, int]  # class name -> id, of the names that occur
    relative: bool
    masked: bool  # the dataset has masks, so an image without objects is labelled as having no masks
    annotated: tuple[int, ...] | None
    label: tuple[int, int] | None  # the class of the whole image and the number of classes


class Classes(NamedTuple):
    """The class names of a dataset: given ones, or all that occur, in alphabetical order."""

    objects: tuple[str, ...]
    labels: tuple[str, ...]


def given_names(path: str) -> tuple[str, ...]:
    """Reads the file of `--classes`; empty without a file."""
    return files.read_names(path, MOST, "--classes") if path else ()


def listing(
    pictures: Iterable[Picture],
    names: Sequence[str],
    account: Account,
    inputs: tuple[str, ...] = (),
    contested: Collection[str] | on_disk.NameSet = (),
) -> Listing:
    """Lists the pictures as items.

    Args:
      pictures: all that exist.
      names: the classes in the order of their ids; empty for those that occur, in alphabetical order.
      account: counts objects of other classes; images that it has dropped already are expected, too.
      inputs: files whose content affects the records.
      contested: paths of images that are dropped, see `image_paths`.

    Raises:
      UserError: no picture has labels, or no object has one of the classes.
    """
    names = tuple(dict.fromkeys(map(class_files.composed, names)))
    first, found, labels, masked, looked = on_disk.Items(), set[str](), set[str](), False, False
    taken = on_disk.NameSet()
    for picture in map(_composed, pictures):
        if picture.path in contested:
            account.dropped.add(CONTESTED, picture.path)
            continue
        found.update(entry["category_id"] for entry in picture.objects or () if entry["category_id"])
        masked |= any(map(_has_mask, picture.objects or ()))
        looked |= picture.objects is not None
        labels |= {picture.label} if picture.label else set()
        pngs = [entry["mask_png"] for entry in picture.objects or () if "mask_png" in entry]
        source_id = files.unique_id(picture.source_id, picture.path, taken, account)
        first.append(Item(source_id, (picture.path, *pngs), picture))
    if names and found and not found & set(names):
        raise UserError(
            f"--classes has none of the {len(found)} classes that occur, such as {min(found)!r}."
            f"{nearest(min(found), names)} Write the names as they are in the annotations."
        )
    classes = Classes(names or tuple(sorted(found)), tuple(sorted(labels)))
    items = on_disk.Items(_with_ids(item, classes, masked, account) for item in first)
    by_task = {"detection": classes.objects, "masks": classes.objects, "classification": classes.labels}
    has = {"detection": looked, "masks": masked, "classification": bool(labels)}
    used = {task: task_names for task, task_names in by_task.items() if has[task]}
    count = len(items) + account.dropped.count("image")
    return Listing(items, used, inputs, account, count, tuple(used))


def _composed(picture: Picture) -> Picture:
    """Returns a picture whose class names are written like those of a list."""
    for entry in picture.objects or ():
        entry["category_id"] = class_files.composed(entry["category_id"])
    seen = None if picture.seen is None else [class_files.composed(name) for name in picture.seen]
    return picture._replace(seen=seen, label=class_files.composed(picture.label))


def _with_ids(item: Item, classes: Classes, masked: bool, account: Account) -> Item:
    picture: Picture = item.labels
    every_id = {name: number for number, name in enumerate(classes.objects, 1)}
    kept = []
    for entry in picture.objects or ():
        if not picture.relative and _is_share(entry["bbox"]):
            account.dropped.add("object: box in 0..1, not in pixels", f"{item.files[0]}: {entry['bbox']}")
        elif entry["category_id"] in every_id:
            kept.append(entry)
        elif not entry["category_id"]:
            account.dropped.add(NO_CLASS, item.files[0])
        else:
            account.dropped.add(OTHER_CLASS, f"{item.files[0]}: {entry['category_id']!r}")
    ids = {entry["category_id"]: every_id[entry["category_id"]] for entry in kept}
    seen = None if picture.seen is None else tuple(sorted(every_id[name] for name in set(picture.seen) & set(every_id)))
    label = (classes.labels.index(picture.label), len(classes.labels)) if picture.label else None
    text = None if picture.objects is None else json.dumps(kept)
    return item._replace(labels=Drawn(_frame(picture, kept), text, ids, picture.relative, masked, seen, label))


def _is_share(bbox: Sequence[float]) -> bool:
    """Returns True if a box [x, y, width, height] is smaller than the first pixel, and lies in it."""
    x, y, width, height = bbox
    return min(bbox) >= 0 and x + width <= 1 and y + height <= 1 and 0 < width * height < 1


def _frame(picture: Picture, kept: Sequence[CocoEntry]) -> pixels.Frame:
    """Returns the frame of an image's objects. Without any, EXIF turns it, as it does a photo without labels."""
    frame = picture.frame
    if isinstance(frame, tuple) and not isinstance(frame, pixels.Unsized):
        return frame
    if not kept:
        return pixels.SHOWN
    if isinstance(frame, pixels.Unsized) and not picture.relative:
        return frame._replace(reach=reach_of(kept))
    return frame


def reach_of(entries: Iterable[CocoEntry]) -> tuple[float, float]:
    """Returns how far boxes [x, y, width, height] reach down and right."""
    corners = [(y + height, x + width) for x, y, width, height in (entry["bbox"] for entry in entries)]
    return max((down for down, _ in corners), default=0.0), max((right for _, right in corners), default=0.0)


def load(item: Item, origin: str, account: Account) -> Sample:
    """Reads the image of an item and makes its labels."""
    drawn: Drawn = item.labels
    path = item.files[0]
    frame = drawn.frame
    if isinstance(frame, tuple) and not isinstance(frame, pixels.Unsized | pixels.Sized):
        frame = pixels.Sized(frame, pixels.SHOWN)  # all tools that tell it turn images
    stored = pixels.upright(pixels.read_file(path), frame, path, account)
    info = ImageInfo(item.source_id, stored.height, stored.width)
    labelled = {}
    # An image of which no class was looked for is unlabelled.
    if drawn.objects is not None and drawn.annotated != ():
        for task, labels in _objects(drawn, info, account).items():
            labelled[task] = Labelled(labels, origin, drawn.annotated)
    if drawn.label:
        number, count = drawn.label
        probability = np.zeros([count], np.float32)
        probability[number] = 1.0
        labelled["classification"] = Labelled({"probability": probability}, origin)
    return Sample(stored.encoded, info, labelled, os.path.basename(path))


def _objects(drawn: Drawn, info: ImageInfo, account: Account) -> dict[str, Labels]:
    annotations = json.loads(drawn.objects or "[]")
    if drawn.relative:
        annotations = [in_pixels(entry, info) for entry in annotations]
    own, has_masks = Account(), not annotations or any(map(_has_mask, annotations))
    for entry in annotations:
        if "mask_png" in entry:
            entry["segmentation"] = _painted(entry.pop("mask_png"), info, own)
    masks = coco_objects.labels_of(annotations, drawn.ids, info, own)
    if not has_masks:
        own.notes.content.pop(BOX_ONLY, None)
    account.merge(own)
    # An image with boxes only stays unlabelled for masks.
    if drawn.masked and has_masks and objects.any_mask(masks):
        return {"detection": objects.boxes_of(masks), "masks": masks}
    return {"detection": objects.boxes_of(masks)}


def in_pixels(entry: CocoEntry, info: ImageInfo) -> CocoEntry:
    """Converts a box and polygons from shares of the image's sides to pixels."""
    sides = (info.width, info.height)
    scaled = entry | {"bbox": [value * sides[place % 2] for place, value in enumerate(entry["bbox"])]}
    if isinstance(entry.get("segmentation"), list):
        scaled["segmentation"] = [
            [value * sides[place % 2] for place, value in enumerate(ring)] for ring in entry["segmentation"]
        ]
    return scaled


def _has_mask(entry: CocoEntry) -> bool:
    return bool(entry.get("segmentation") or entry.get("mask_png"))


def _painted(path: str, info: ImageInfo, account: Account) -> Any:
    """Reads a mask of any size as run lengths of the image's; returns None if it cannot be used."""
    try:
        mask = maps.read_map(path, "masks")
        mask = (mask if mask.ndim == 2 else mask.max(-1)) > 0
        resized = cv2.resize(mask.astype(np.uint8), (info.width, info.height), interpolation=cv2.INTER_NEAREST_EXACT)
        return shapes.bitmap("", resized > 0, 0, 0, (info.height, info.width))["segmentation"]
    except (Dropped, ValueError) as error:
        account.dropped.add("masks: file cannot be used", f"{path}: {error}")
        return None
