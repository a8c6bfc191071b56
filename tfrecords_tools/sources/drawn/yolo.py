"""YOLO: detection, and masks from polygons.

    data.yaml                          path: DIR (the folder of the others), names: [cat, dog] or {0: cat, 1: dog}, and
                                       train, val, test: a folder of images, a list file (.txt) of them, or several
    images/train/x.jpg                 labels are found by replacing the last folder `images` of the path by `labels`;
    labels/train/x.txt                 without such a folder they are beside the image
    classes.txt                        of labelling tools, here or beside the labels: must agree with data.yaml

A line of a label file is one object. All numbers but the class are shares of the image's sides, from 0 to 1:

| values after the class | object |
|---|---|
| 4 | box: x and y of the centre, width, height |
| 6 or more, even | polygon: x and y of each corner -> mask, and the box around it |
| 8 | four corners: a polygon if others have more or fewer, else an oriented box; `corners` decides |
| as many as `kpt_shape` of data.yaml asks for | box; the keypoints are not used |
| 5 | box; the confidence or track id is not used |

An empty label file means that nothing is there. An image without a label file is unlabelled, unless `background` is
set.
"""

from __future__ import annotations

import collections
import dataclasses
import math
import os
from collections.abc import Sequence

import tensorflow as tf

from must_tf.common import text_files
from must_tf.common.errors import UserError
from tfrecords_tools.sources import Sample, files, pixels
from tfrecords_tools.sources.drawn import pictures, shapes, yolo_data
from tfrecords_tools.sources.drawn.pictures import Picture
from tfrecords_tools.sources.drawn.yolo_data import YoloData
from tfrecords_tools.writing import on_disk
from tfrecords_tools.writing.counts import Account, Dropped
from tfrecords_tools.writing.items import Item, Listing

CORNERS = ("polygon", "box")
ROUNDING = 0.01  # of coordinates that are a little outside of 0..1
BOX, FOUR_CORNERS, POLYGON, EXTRA, WRONG = "box", "four corners", "polygon", "extra", "wrong"
OUTSIDE, OVER, ORDERED = "outside", "over", "ordered"  # counts of rows, see `YoloRows`


@dataclasses.dataclass(frozen=True)
class Yolo:
    """`source_id` is the path below the split's folder without suffix.

    Attributes:
      data: data.yaml.
      split: train, val or test.
      corners: polygon or box, for lines of four corners; empty: decided by the other lines.
      background: True: an image without a label file shows no object.
    """

    data: str
    split: str = "train"
    corners: str = ""
    background: bool = False

    def find(self) -> Listing:
        """Lists the images of the split.

        Raises:
          UserError: data.yaml is wrong, there is no image or no label, or coordinates are not shares of the image.
        """
        if self.corners not in ("", *CORNERS):
            raise UserError(f"--corners {self.corners!r} does not exist. Choose {' or '.join(CORNERS)}.")
        data, account = yolo_data.read_data(self.data, self.split), Account()
        lists = yolo_data.check_class_lists(data, account)
        for key in sorted(data.others):
            account.notes.add(f"file: {key} in data.yaml is not used", self.data)
        images, rows = yolo_data.images_of(data, account), YoloRows(data.keypoints)
        if not images:
            raise UserError(f"--data {self.data}: {self.split} has no image in {', '.join(data.places)}.")
        texts, expected = on_disk.Items(), on_disk.NameSet()
        for item in images:
            path = yolo_data.label_path(item.files[0])
            expected.add(path)
            text = _text(path, account)
            rows.add(text or "")
            texts.append(item._replace(labels=(path, text)))
            if text is None:
                account.notes.add("detection: no label file for this image", path)
        self._require(rows, texts, account)
        yolo_data.count_strays(data, expected, account)
        as_polygons = self.corners == "polygon" or (not self.corners and bool(rows.counts[POLYGON]))
        drawn = (self._picture(item, data, as_polygons, account) for item in texts)
        return pictures.listing(drawn, tuple(data.names.values()), account, (self.data, *lists))

    def _require(self, rows: YoloRows, texts: on_disk.Items, account: Account) -> None:
        """Raises UserError if the label files cannot be what they should be."""
        missing = account.notes.content.get("detection: no label file for this image", {}).get("count", 0)
        if missing == len(texts) and not self.background:
            path, _ = texts[0].labels
            raise UserError(
                f"none of the {len(texts)} images of {self.split} has a label file, like {path}. Move them there, or "
                "use `must convert images` for images without labels."
            )
        rows.require_shares(f"--data {self.data}: {self.split}")
        if rows.counts[FOUR_CORNERS] and not rows.counts[POLYGON] and not self.corners:
            raise UserError(
                f"{rows.counts[FOUR_CORNERS]} lines have four corners, and no line has another polygon: they may be "
                "oriented boxes. Give --corners box for the upright boxes around them, or --corners polygon for masks."
            )

    def _picture(self, item: Item, data: YoloData, as_polygons: bool, account: Account) -> Picture:
        path, text = item.labels
        if text is None and not self.background:
            return Picture(item.source_id, item.files[0], None, None)
        entries, seen = [], set()
        for number, line in enumerate((text or "").splitlines(), 1):
            place = f"{path}, line {number}"
            if line.strip() and tuple(line.split()) in seen:
                account.notes.add("object: the same line twice, used once", place)
            elif line.strip():
                seen.add(tuple(line.split()))
                try:
                    entries.append(_object(line, data, as_polygons, place, account) | {"id": number})
                except Dropped as dropped:
                    account.dropped.add(dropped.reason, dropped.example)
        return Picture(item.source_id, item.files[0], None, entries, relative=True)

    def load(self, item: Item, account: Account) -> Sample:
        """Reads the image and its objects."""
        name = files.stem(os.path.basename(self.data))
        folder = files.dataset(os.path.dirname(self.data) or ".")
        return pictures.load(item, f"real:{folder if name in ('data', 'dataset') else name}", account)


class YoloRows:
    """Counts the kinds of lines of all label files, to tell what they are.

    Attributes:
      counts: lines of each kind; `OUTSIDE`: with a number outside of 0..1; `OVER`: boxes that reach over the image's
        border; `ORDERED`: boxes whose third and fourth number are larger than the first two.
    """

    def __init__(self, keypoints: int):
        self.keypoints, self.counts = keypoints, collections.Counter[str]()

    def add(self, text: str) -> None:
        """Counts the lines of one file."""
        for line in text.splitlines():
            values = _numbers(line)
            if len(values) < 2:
                continue
            kind = kind_of(values, self.keypoints)
            self.counts[kind] += 1
            if not _in_range(values[1:5]):
                self.counts[OUTSIDE] += 1
            elif kind in (BOX, EXTRA):
                x, y, width, height = values[1:5]
                over = max(width / 2 - x, x + width / 2 - 1, height / 2 - y, y + height / 2 - 1)
                self.counts[OVER] += over > 2 * ROUNDING
                self.counts[ORDERED] += width > x and height > y

    def require_shares(self, where: str) -> None:
        """Raises UserError if coordinates are pixels, or boxes are corners."""
        boxes, lines = self.counts[BOX] + self.counts[EXTRA], sum(self.counts[k] for k in KINDS)
        if lines and self.counts[OUTSIDE] == lines:
            raise UserError(
                f"{where}: the coordinates of all {lines} lines are outside of 0..1. Divide x and width by the image's "
                "width, y and height by its height."
            )
        if boxes and self.counts[OVER] * 2 > boxes == self.counts[ORDERED]:
            raise UserError(
                f"{where}: {self.counts[OVER]} of {boxes} boxes reach over their image's border, and their last two "
                "numbers are always the larger ones: they are corners. Write x and y of the centre, width and height."
            )


KINDS = (BOX, FOUR_CORNERS, POLYGON, EXTRA, WRONG)


def kind_of(values: Sequence[float], keypoints: int) -> str:
    """Returns the kind of a line from its number of values, the class included."""
    count = len(values) - 1
    if count == 4:
        return BOX
    if count == 5 or (keypoints and count == 4 + keypoints):
        return EXTRA
    if count == 8:
        return FOUR_CORNERS
    return POLYGON if count >= 6 and count % 2 == 0 else WRONG


def _text(path: str, account: Account) -> str | None:
    if not tf.io.gfile.exists(path):
        return None
    try:
        return text_files.decode(pixels.read_file(path)).text
    except (ValueError, Dropped) as error:
        account.dropped.add("detection: file cannot be read", f"{path}: {error}")
        return None


def _numbers(line: str) -> list[float]:
    """Returns the numbers of a line; empty if it has a word that is not a finite number."""
    try:
        values = [float(word) for word in line.split()]
    except ValueError:
        return []
    return values if all(map(math.isfinite, values)) else []


def _in_range(values: Sequence[float]) -> bool:
    return all(-ROUNDING <= value <= 1 + ROUNDING for value in values)


def _object(line: str, data: YoloData, as_polygons: bool, place: str, account: Account) -> shapes.CocoEntry:
    """Converts a line to an annotation with relative coordinates. Raises Dropped if it is not an object."""
    values = _numbers(line)
    if len(values) < 2 or (kind := kind_of(values, data.keypoints)) == WRONG:
        raise Dropped("object: line is neither a box nor a polygon", f"{place}: {line.strip()[:60]}")
    name = data.names.get(int(values[0])) if values[0].is_integer() else None
    if name is None:
        raise Dropped(pictures.OTHER_CLASS, f"{place}: class {values[0]:g}")
    numbers = values[1:5] if kind in (BOX, EXTRA) else values[1:]
    if not _in_range(numbers):
        raise Dropped("object: coordinates outside of 0..1", f"{place}: {line.strip()[:60]}")
    if kind == EXTRA:
        unused = "keypoints" if len(values) != 6 else "confidence or track id"
        account.notes.add(f"object: {unused} not used", place)
    if kind in (BOX, EXTRA):
        x, y, width, height = numbers
        return {"category_id": name, "bbox": [x - width / 2, y - height / 2, width, height]}
    polygon = shapes.polygon(name, list(zip(numbers[::2], numbers[1::2], strict=True)))
    if kind == POLYGON or as_polygons:
        return polygon
    account.notes.add("object: oriented box, the upright box around it is used", place)
    return {"category_id": name, "bbox": polygon["bbox"]}
