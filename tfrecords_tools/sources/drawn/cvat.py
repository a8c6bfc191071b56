"""CVAT's own XML, "CVAT for images 1.1": detection, masks from polygons, ellipses and masks, classification from tags.

    annotations.xml            as CVAT exports it
    images/x.jpg               the images, with the names that the XML gives them

| element | object |
|---|---|
| box | box; if it is rotated, the upright box around it, which is noted |
| polygon, ellipse, mask | mask, and the box around it |
| shapes with the same label and group_id (not 0) | one object, unless they are boxes |
| tag | the class of the image, if it has just one |
| polyline, points, cuboid, skeleton | counted, not used |
| attributes | counted, not used |

Classes have the order of the labels in the XML. An image without shapes is labelled as having no objects.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator, Sequence
from typing import NamedTuple
from xml.etree import ElementTree

import numpy as np

from must_tf.common.errors import UserError
from must_tf.common.xml_stream import XmlFile
from tfrecords_tools.sources import Sample, files, pixels
from tfrecords_tools.sources.drawn import pictures, shapes
from tfrecords_tools.sources.drawn.image_paths import MISSING, ImagePaths
from tfrecords_tools.sources.drawn.pictures import Picture
from tfrecords_tools.writing import on_disk
from tfrecords_tools.writing.counts import Account
from tfrecords_tools.writing.items import Item, Listing
from tfrecords_tools.writing.reasons import reason_of

UNUSED = ("polyline", "points", "cuboid", "skeleton")
# Attributes that are used, or noted in words of their own. Others, and layers, are counted if they are set.
IMAGE_KEYS = ("id", "name", "width", "height", "subset", "task_id")
SHAPE_KEYS = (
    "label", "source", "occluded", "points", "xtl", "ytl", "xbr", "ybr", "rotation", "group_id", "cx", "cy", "rx", "ry",
    "rle", "left", "top", "width", "height",
)  # fmt: skip
BY_HAND = ("manual", "file", "")  # sources of shapes that people drew
# Elements of the file. <meta> has the labels; the rest of it says how the task was organised, and is not read.
ELEMENTS = ("version", "meta", "image", "track")
# Types of labels that are never objects here.
OTHER_TYPES = ("tag", *UNUSED)


class CvatLabel(NamedTuple):
    """A label that the XML declares. `type` is empty or "any" if it may be drawn as any shape."""

    name: str
    type: str


@dataclasses.dataclass(frozen=True)
class Cvat:
    """`source_id` is the image's path below `images` without suffix.

    Attributes:
      images: folder of the images.
      annotations: the XML file.
      classes: file with the class names in order; empty for the labels of the XML.
    """

    images: str
    annotations: str
    classes: str = ""

    def find(self) -> Listing:
        """Lists the images of the XML that exist; missing ones are counted.

        Raises:
          UserError: the XML is not CVAT's, or none of its images exists.
        """
        files.require_file(self.annotations, "--annotations")
        names, account, paths = pictures.given_names(self.classes), Account(), ImagePaths(self.images)
        declared: list[CvatLabel] = []
        found = on_disk.Items(self._pictures(paths, declared, account))
        if not found:
            missing = account.dropped.count("image")
            if not missing:
                raise UserError(f"--annotations {self.annotations} has no <image>. Give a 'CVAT for images 1.1' XML.")
            remedy = f"Give --images the folder that has the images of {self.annotations}."
            example = account.dropped.content[MISSING]["examples"][:1]
            files.require_some([], example * missing, self.images, remedy)
        if not names:
            names = _object_names(declared, (item.labels for item in found), account)
        inputs = (self.annotations, self.classes) if self.classes else (self.annotations,)
        paths.note_others(account, inputs)
        return pictures.listing((item.labels for item in found), names, account, inputs, paths.contested)

    def _pictures(self, paths: ImagePaths, declared: list[CvatLabel], account: Account) -> Iterator[Item]:
        """Yields an item per image, and appends the labels, which the XML lists before them."""
        subsets: set[str] = set()
        for element in self._elements(account):
            if element.tag == "track":
                raise UserError(
                    f"--annotations {self.annotations} is 'CVAT for video'. Export it as 'CVAT for images 1.1'."
                )
            if element.tag == "label":
                declared.append(CvatLabel(_text(element, "name"), _text(element, "type")))
                continue
            subset, written = element.get("subset", ""), element.get("name", "")
            subsets.add(subset)
            if subset and written not in paths:  # a project is exported with a folder for each subset
                written = f"{subset}/{written}"
            name = paths.take(account, written, twice="image: twice in the XML, the first is used")
            if name is not None:
                yield Item("", (), self._picture(element, name, account))
        if len(subsets) > 1:
            account.notes.add("file: images of several subsets are converted together", ", ".join(sorted(subsets)))

    def _elements(self, account: Account) -> Iterator[ElementTree.Element]:
        """Yields the labels, tracks and images of the XML, one at a time."""
        depth: list[ElementTree.Element] = []
        try:
            xml = XmlFile(lambda: files.chunks(self.annotations))
        except ValueError as error:
            raise UserError(f"--annotations {self.annotations} is not valid XML: {error}") from None
        if xml.is_guessed:
            account.notes.add(files.GUESSED, self.annotations)
        for event, element in xml.events():
            if event == "start":
                if len(depth) == 1 and element.tag not in ELEMENTS:
                    account.notes.add(f"file: <{element.tag}> is not used", self.annotations)
                depth.append(element)
                continue
            depth.pop()
            if element.tag in ("image", "track") or (element.tag == "label" and depth and depth[-1].tag == "labels"):
                yield element
            if len(depth) == 1:
                depth[0].clear()  # keeps one image in memory

    def _picture(self, image: ElementTree.Element, name: str, account: Account) -> Picture:
        height, width = (_side(image, side) for side in ("height", "width"))
        groups: dict[object, list[ElementTree.Element]] = {}
        tags, place = [], f"{self.annotations}: image {image.get('name')}"
        _note_unused(image, IMAGE_KEYS, "image", place, account)
        for number, shape in enumerate(image):
            if shape.tag == "tag":
                tags.append((shape.get("label") or "").strip())
            elif shape.tag in UNUSED or shape.tag not in READERS:
                account.notes.add(f"object: {shape.tag}, not used", place)
            else:
                groups.setdefault(_group(shape, number), []).append(shape)
                _note_unused(shape, SHAPE_KEYS, "object", place, account)
            if shape.find("attribute") is not None:
                account.notes.add("object: attributes not used", f"{place}: {_attributes(shape)}")
        if len(tags) > 1:
            account.notes.add("classification: several tags, none is used", f"{place}: {', '.join(tags)}")
        entries = []
        for number, members in enumerate(groups.values()):
            try:
                entries.append(_object(members, (height, width), place, account) | {"id": number})
            except (ValueError, TypeError, KeyError) as error:
                account.dropped.add("object: shape cannot be read", f"{place}: {members[0].tag}: {reason_of(error)}")
        frame = (height, width) if height and width else pixels.Unsized(pixels.SHOWN)
        label = tags[0] if len(tags) == 1 else ""
        path = os.path.join(self.images, name)
        return Picture(files.stem(name), path, frame, entries, label=label)

    def load(self, item: Item, account: Account) -> Sample:
        """Reads the image, its objects and its class."""
        return pictures.load(item, f"real:{_origin(self.annotations)}", account)


def _origin(path: str) -> str:
    """Names the dataset after the XML, or after its folder if that is all that differs."""
    stem = files.stem(os.path.basename(path))
    return files.dataset(os.path.dirname(path) or ".") if stem == "annotations" else stem


def _object_names(declared: list[CvatLabel], found: Iterator[Picture], account: Account) -> tuple[str, ...]:
    """Returns the declared labels that are drawn, or at least are not only tags, then those that are not declared."""
    drawn: dict[str, None] = {}
    tags: set[str] = set()
    for picture in found:
        drawn.update(dict.fromkeys(entry["category_id"] for entry in picture.objects or () if entry["category_id"]))
        tags |= {picture.label} if picture.label else set()
    listed = [label.name for label in declared if label.type not in OTHER_TYPES or label.name in drawn]
    kept = dict.fromkeys(name for name in listed if name in drawn or name not in tags)
    for name in sorted(drawn.keys() - set(listed)) if declared else ():
        account.notes.add("detection: the XML does not declare this class, it is added", name)
    return tuple(kept | dict.fromkeys(sorted(drawn)))


def _note_unused(element: ElementTree.Element, known: Sequence[str], kind: str, place: str, account: Account) -> None:
    """Notes what an image or a shape says besides the attributes in `known`."""
    for key, value in element.attrib.items():
        if key not in known and value not in ("", "0"):
            account.notes.add(f"{kind}: {key} is set and not used", f"{place}: {value}")
    for child in element if kind == "object" else ():
        if child.tag != "attribute":
            account.notes.add(f"object: <{child.tag}> is set and not used", f"{place}: {child.text}")
    if element.get("occluded", "0") != "0":
        account.notes.add("object: occluded, used like others", place)
    if kind == "object" and element.get("source", "") not in BY_HAND:
        account.notes.add("object: not drawn by hand, used like others", f"{place}: {element.get('source')}")


def _text(element: ElementTree.Element, tag: str) -> str:
    return (element.findtext(tag) or "").strip()


def _side(image: ElementTree.Element, name: str) -> int:
    """Returns the height or the width of an image; 0 if the XML does not tell it."""
    try:
        return int(float(image.get(name) or 0))
    except (ValueError, OverflowError):
        return 0


def _attributes(shape: ElementTree.Element) -> str:
    return ", ".join(attribute.get("name", "?") for attribute in shape.findall("attribute"))


def _group(shape: ElementTree.Element, number: int) -> object:
    group = shape.get("group_id", "0")
    return number if group == "0" or shape.tag == "box" else (shape.get("label"), group)


def _object(
    members: list[ElementTree.Element], size: tuple[int, int], place: str, account: Account
) -> shapes.CocoEntry:
    """Converts the shapes of one object. Raises ValueError or KeyError if they cannot be read."""
    label = (members[0].get("label") or "").strip()
    if members[0].tag == "box":
        return _box(members[0], label, place, account)
    if any(member.tag == "mask" for member in members):
        whole = shapes.canvas(size)
        for member in members:
            if member.tag != "mask":
                raise ValueError("a group of masks and other shapes")
            _paint(member, whole)
        return shapes.bitmap(label, whole, 0, 0, size)
    return shapes.polygon(label, *(READERS[member.tag](member) for member in members))


def _box(shape: ElementTree.Element, label: str, place: str, account: Account) -> shapes.CocoEntry:
    x0, y0, x1, y1 = (float(shape.attrib[key]) for key in ("xtl", "ytl", "xbr", "ybr"))
    if not float(shape.get("rotation", 0)):
        return {"category_id": label, "bbox": [x0, y0, x1 - x0, y1 - y0]}
    account.notes.add("object: rotated box, the upright box around it is used", f"{place}: {shape.get('rotation')}")
    centre = ((x0 + x1) / 2, (y0 + y1) / 2)
    corners = shapes.turned(shapes.rectangle((x0, y0), (x1, y1)), centre, float(shape.attrib["rotation"]))
    return {"category_id": label, "bbox": shapes.polygon(label, corners)["bbox"]}


def _polygon(shape: ElementTree.Element) -> list[list[float]]:
    points = []
    for point in shape.attrib["points"].split(";"):
        x, y = point.split(",")
        points.append([float(x), float(y)])
    if len(points) < shapes.CORNERS:
        raise ValueError("fewer than three corners")
    return points


def _ellipse(shape: ElementTree.Element) -> list[list[float]]:
    x, y, rx, ry = (float(shape.attrib[key]) for key in ("cx", "cy", "rx", "ry"))
    return shapes.round_ring((x, y), (rx, ry), float(shape.get("rotation", 0)))


def _paint(shape: ElementTree.Element, whole: np.ndarray) -> None:
    """Paints a mask: lengths of runs by rows inside of its box, zeros first."""
    left, top, width, height = (int(shape.attrib[key]) for key in ("left", "top", "width", "height"))
    runs = np.array([int(run) for run in shape.attrib["rle"].split(",")])
    if runs.sum() != width * height or (runs < 0).any():
        raise ValueError(f"runs of {runs.sum()} pixels for {width}x{height}")
    if top < 0 or left < 0 or top + height > whole.shape[0] or left + width > whole.shape[1]:
        raise ValueError(f"a mask of {width}x{height} at {left},{top} is not inside of the image")
    values = (np.arange(len(runs)) % 2).astype(bool)
    whole[top : top + height, left : left + width] |= values.repeat(runs).reshape(height, width)


READERS = {"polygon": _polygon, "ellipse": _ellipse, "mask": lambda shape: [], "box": lambda shape: []}
