"""labelme: detection, and masks from polygons, circles and brush masks.

    DIR/x.jpg, DIR/x.json      one JSON beside each image; or with `images` the folder of the images

| shape | object |
|---|---|
| rectangle | box |
| polygon, circle, mask | mask, and the box around it |
| shapes with the same label and group id | one object |
| point, line, linestrip, points | counted, not used |
| anything with the label `__ignore__` | counted, not used |

An image without a JSON is unlabelled; a JSON without shapes means that nothing is there.
"""

from __future__ import annotations

import base64
import dataclasses
import itertools
import json
import os
import posixpath
from collections.abc import Iterator, Sequence
from typing import Any

import cv2
import numpy as np

from must_tf.common import text_files
from must_tf.common.errors import UserError
from tfrecords_tools.sources import Sample, files, pixels
from tfrecords_tools.sources.drawn import pictures, shapes
from tfrecords_tools.sources.drawn.image_paths import ImagePaths
from tfrecords_tools.sources.drawn.pictures import Picture
from tfrecords_tools.sources.leftovers import FolderFiles
from tfrecords_tools.writing import on_disk
from tfrecords_tools.writing.counts import Account, Dropped
from tfrecords_tools.writing.items import Item, Listing
from tfrecords_tools.writing.reasons import reason_of

UNSIZED = pixels.Unsized(pixels.STORED)
Size = tuple[int, int] | pixels.Unsized  # height and width of the image, if its JSON tells them
IGNORED = "__ignore__"
DRAWN = ("rectangle", "polygon", "circle", "mask")
# Keys of a shape that are used, or noted in words of their own. Other tools that write this format have more.
FILE_KEYS = ("version", "flags", "shapes", "imagePath", "imageHeight", "imageWidth", "lineColor", "fillColor")
KEYS = ("label", "points", "group_id", "shape_type", "flags", "mask", "line_color", "fill_color")

Shape = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Labelme:
    """`source_id` is the image's path below `images` without suffix.

    Attributes:
      annotations: folder of JSON files, at any depth.
      images: folder of the images; empty for the same folder.
      classes: file with the class names in order; empty for all labels that occur.
    """

    annotations: str
    images: str = ""
    classes: str = ""

    def find(self) -> Listing:
        """Lists the images.

        Raises:
          UserError: there is no image, or no JSON of labelme.
        """
        files.require_folder(self.annotations, "--annotations")
        names, account = pictures.given_names(self.classes), Account()
        listed = FolderFiles(self.annotations)
        paths = ImagePaths(self.images or self.annotations, "--images" if self.images else "--annotations")
        found = on_disk.Items(self._pictures(listed, paths, account))
        if not any(item.labels.objects is not None for item in found):
            raise UserError(
                f"--annotations {self.annotations} has no JSON of labelme whose image is in "
                f"{self.images or self.annotations}. A JSON has 'shapes' and 'imagePath'; give --images if the images "
                "are elsewhere."
            )
        if self.images:
            listed.note_unused_outside(self.images, account)
        inputs = (self.classes,) if self.classes else ()
        return pictures.listing((item.labels for item in found), names, account, inputs, paths.contested)

    def _pictures(self, listed: FolderFiles, paths: ImagePaths, account: Account) -> Iterator[Item]:
        folder = self.images or self.annotations
        for name in filter(_is_json, listed):
            listed.use(name)
            path = listed.path(name)
            content = _content(path, account)
            if content is None:
                continue
            twice, shown = "image: annotated by two files, the first is used", f"{path}: {content.get('imagePath')!r}"
            image = paths.take(account, *_names(content, name), twice=twice, shown=shown)
            if image is not None:
                drawn = _objects(content, f"{path}", account)
                picture = Picture(files.stem(image), os.path.join(folder, image), _size(content), drawn)
                yield Item(picture.source_id, (), picture)
        for image in paths.others():
            account.notes.add("detection: no file for this image", os.path.join(folder, image))
            yield Item("", (), Picture(files.stem(image), os.path.join(folder, image), None, None))
        used = map(listed.path, filter(_is_json, listed))
        paths.note_others(account, itertools.chain(used, filter(None, [self.classes])), with_images=False)

    def load(self, item: Item, account: Account) -> Sample:
        """Reads the image and its objects."""
        return pictures.load(item, f"real:{files.dataset(self.annotations)}", account)


def _is_json(name: str) -> bool:
    return name.lower().endswith(".json")


def _content(path: str, account: Account) -> dict[str, Any] | None:
    """Reads a JSON; returns None if it is not labelme's."""
    try:
        decoded = text_files.decode(pixels.read_file(path))
        content = json.loads(decoded.text)
    except (ValueError, Dropped) as error:
        account.dropped.add("detection: file cannot be read", f"{path}: {error}")
        return None
    if not isinstance(content, dict) or not isinstance(content.get("shapes"), list):
        account.notes.add("file: a JSON of another tool, not used", path)
        return None
    if decoded.encoding == text_files.WINDOWS:
        account.notes.add(files.GUESSED, path)
    content.pop("imageData", None)  # the image again, in base64
    for key in sorted(key for key, value in content.items() if value and key not in FILE_KEYS):
        account.notes.add(f"image: {key} is set and not used", f"{path}: {str(content[key])[:40]}")
    if flags := _flags(content):
        account.notes.add("image: flags not used", f"{path}: {flags}")
    return content


def _flags(entry: dict[str, Any]) -> str:
    """Returns the flags that are set, as text; empty if there is none."""
    flags = entry.get("flags")
    return ", ".join(sorted(key for key, on in flags.items() if on)) if isinstance(flags, dict) else str(flags or "")


def _is_upright(points: Any) -> bool:
    """Returns True for two opposite corners, or all four of an upright rectangle, as some tools write it."""
    if not isinstance(points, list) or len(points) == 2:
        return True  # anything else is reported when it is read
    if not all(isinstance(value, int | float) for point in points if isinstance(point, list) for value in point):
        return True
    corners = {tuple(point) for point in points if isinstance(point, list) and len(point) == 2}
    sides = [{point[axis] for point in corners} for axis in (0, 1)]
    return len(points) == 4 and len(corners) == 4 and all(len(side) == 2 for side in sides)


def _names(content: dict[str, Any], name: str) -> list[str]:
    """Returns what the image of a JSON may be called: as the JSON says, or like the JSON itself."""
    written = str(content.get("imagePath") or "")
    beside = posixpath.join(posixpath.dirname(name), written.replace("\\", "/"))
    return [beside, written, files.stem(name)] if written else [files.stem(name)]


def _size(content: dict[str, Any]) -> Size:
    height, width = content.get("imageHeight"), content.get("imageWidth")
    return (height, width) if isinstance(height, int) and isinstance(width, int) and height and width else UNSIZED


def _objects(content: dict[str, Any], path: str, account: Account) -> list[shapes.CocoEntry]:
    groups: dict[Any, list[Shape]] = {}
    for place, shape in enumerate(content["shapes"]):
        where = f"{path}, shape {place}"
        if not isinstance(shape, dict):
            account.dropped.add("object: shape is not an object of the JSON", where)
            continue
        if flags := _flags(shape):
            account.notes.add("object: flags not used", f"{where}: {flags}")
        for key in sorted(key for key, value in shape.items() if value and key not in KEYS):
            account.notes.add(f"object: {key} is set and not used", f"{where}: {str(shape[key])[:40]}")
        kind, label = shape.get("shape_type", "polygon"), str(shape.get("label") or "").strip()
        if kind not in DRAWN or label == IGNORED:
            what = f"{IGNORED} shape" if label == IGNORED else kind
            account.notes.add(f"object: {what}, not used", where)
            continue
        group = shape.get("group_id")
        if kind == "rectangle" and not _is_upright(shape.get("points")):
            account.notes.add("object: rectangle of other corners, the upright box around them is used", where)
        key = (label, kind == "rectangle", str(group)) if group is not None else place
        groups.setdefault(key, []).append(shape | {"where": where, "label": label, "shape_type": kind})
    entries = []
    for number, members in enumerate(groups.values()):
        try:
            entries.append(_object(members, _size(content)) | {"id": number})
        except (ValueError, TypeError, IndexError, KeyError) as error:
            account.dropped.add("object: shape cannot be read", f"{members[0]['where']}: {reason_of(error)}")
    return entries


def _object(members: list[Shape], size: Size) -> shapes.CocoEntry:
    """Converts the shapes of one object. Raises ValueError if they have no area."""
    label = members[0]["label"]
    if members[0]["shape_type"] == "rectangle":
        points = [point for member in members for point in member["points"]]
        low, high = np.min(points, 0).tolist(), np.max(points, 0).tolist()
        return shapes.box(label, low, high)
    if any(member["shape_type"] == "mask" for member in members):
        return _bitmap(members, size)
    rings = [_ring(member) for member in members]
    if not any(len(ring) >= shapes.CORNERS for ring in rings):
        raise ValueError("fewer than three corners")
    return shapes.polygon(label, *rings)


def _ring(member: Shape) -> Sequence[Sequence[float]]:
    points = member["points"]
    if member["shape_type"] == "circle":  # the centre, and a point on the circle
        (x, y), (on_x, on_y) = points
        return shapes.round_ring((x, y), (float(np.hypot(on_x - x, on_y - y)),) * 2)
    return [[float(x), float(y)] for x, y in points]


def _bitmap(members: list[Shape], size: Size) -> shapes.CocoEntry:
    """Unites brush masks. Each is a PNG in base64, whose first and last pixel are its two points."""
    if not isinstance(size, tuple) or isinstance(size, pixels.Unsized):
        raise ValueError("a mask needs imageHeight and imageWidth")
    whole = shapes.canvas(size)
    for member in members:
        if member["shape_type"] != "mask":
            raise ValueError("a group of brush masks and other shapes")
        data = np.frombuffer(base64.b64decode(member["mask"]), np.uint8)
        mask = cv2.imdecode(data, cv2.IMREAD_GRAYSCALE)
        if mask is None:
            raise ValueError("the mask is not an image")
        left, top = (int(value) for value in member["points"][0])
        if top < 0 or left < 0 or top + mask.shape[0] > size[0] or left + mask.shape[1] > size[1]:
            raise ValueError(f"a mask of {mask.shape[1]}x{mask.shape[0]} at {left},{top} is not inside of the image")
        whole[top : top + mask.shape[0], left : left + mask.shape[1]] |= mask > 0
    return shapes.bitmap(members[0]["label"], whole, 0, 0, size)
