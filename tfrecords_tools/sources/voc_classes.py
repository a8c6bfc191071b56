"""The classes of a dataset in VOC's format, and the colours of its label images.

| there is | classes |
|---|---|
| `--classes FILE` | its names |
| ROOT/labelmap.txt (CVAT) | its names, without background; its colours |
| only names of VOC in the XML files | VOC's 20 |
| other names | those in the XML files, sorted, and noted |
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from must_tf.common import text_files as texts
from must_tf.common.errors import UserError
from must_tf.tasks.segmentation.labels import IGNORE
from tfrecords_tools.sources import class_files, files, pixels
from tfrecords_tools.writing.counts import Account, Dropped

NAMES = (
    "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow",
    "diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)  # fmt: skip
BACKGROUND = "background"
LABEL_MAP = "labelmap.txt"
VOID = (224, 224, 192)
MOST = IGNORE - 1  # names besides the background
FROM_FILES = "detection: classes are those in the XML files"
COLOURS = 256  # of VOC's palette


class VocClasses(NamedTuple):
    """The classes of a dataset.

    Attributes:
      names: in id order, from id 1.
      colours: {RGB in the label images: class id, 0 for background}; empty for VOC's palette.
    """

    names: tuple[str, ...]
    colours: dict[tuple[int, ...], int] = {}  # noqa: RUF012  # never changed


PUBLISHED = VocClasses(NAMES)


def find(root: str, classes: str, xml_paths: Iterable[str], account: Account) -> VocClasses:
    """Returns the classes of a dataset, see the table above.

    Args:
      root: the dataset's folder.
      classes: file with names, or empty.
      xml_paths: the XML files of the images that are converted.
      account: counts the notes.

    Raises:
      UserError: a file is not valid, or there are too many names.
    """
    label_map = os.path.join(root, LABEL_MAP)
    entries = files.read_classes(label_map, IGNORE, LABEL_MAP) if tf.io.gfile.exists(label_map) else []
    own = tuple(entry.name for entry in entries if entry.name.lower() != BACKGROUND)
    if classes:
        names = files.read_names(classes, MOST, "--classes")
    elif own:
        names = own
    else:
        found = _names_in(xml_paths)
        if found.keys() <= set(NAMES):
            return PUBLISHED
        names = tuple(sorted(found))
        account.notes.add(FROM_FILES, ", ".join(f"{name} {found[name]}" for name in names[:20]))
    if len(names) > MOST:
        raise UserError(
            f"{root}: the XML files have {len(names)} names, but at most {MOST} are possible. Give --classes."
        )
    ids = {BACKGROUND: 0} | {name: number for number, name in enumerate(names, 1)}
    colours = {entry.colour: ids.get(entry.name, IGNORE) for entry in entries if entry.colour}
    return VocClasses(names, colours)


def _names_in(xml_paths: Iterable[str]) -> dict[str, int]:
    """Returns {name: number of objects}; files that cannot be read are reported when they are converted."""
    counts: dict[str, int] = {}
    for path in xml_paths:
        try:
            root = texts.xml(pixels.read_file(path))
        except (ValueError, Dropped):
            continue
        for element in root.iterfind("object"):
            if name := name_of(element.findtext("name")):
                counts[name] = counts.get(name, 0) + 1
    return counts


def name_of(text: str | None) -> str:
    """Returns the name of an object's class."""
    return class_files.composed(" ".join((text or "").split()))


def palette() -> np.ndarray:
    """Returns VOC's palette uint8 [256, 3]: the bits of an index, three by three, become the high bits of a colour."""
    index, colours = np.arange(COLOURS), np.zeros([COLOURS, 3], np.uint8)
    for place in range(8):
        for channel in range(3):
            colours[:, channel] |= ((index >> channel & 1) << (7 - place)).astype(np.uint8)
        index = index >> 3
    return colours


def ids_of_colours(pixels_rgb: np.ndarray, colours: dict[tuple[int, ...], int], path: str) -> np.ndarray:
    """Converts a coloured label image [h, w, 3] to ids int32 [h, w].

    Args:
      pixels_rgb: the colours.
      colours: {colour: id}; empty for VOC's palette.
      path: the file, for the message.

    Raises:
      UserError: a colour has no id.
    """
    known = colours or {tuple(colour): index for index, colour in enumerate(palette()[:IGNORE].tolist())}
    known = {VOID: IGNORE} | known
    keys = (pixels_rgb.astype(np.int32) * [1 << 16, 1 << 8, 1]).sum(-1)
    present, places = np.unique(keys, return_inverse=True)
    by_key = {red << 16 | green << 8 | blue: number for (red, green, blue), number in known.items()}
    if missing := [key for key in present.tolist() if key not in by_key]:
        colour = (missing[0] >> 16, missing[0] >> 8 & 255, missing[0] & 255)
        table = LABEL_MAP if colours else "VOC's palette"
        raise UserError(f"{path}: colour {colour} is not in {table}. Add it to ROOT/{LABEL_MAP}, or correct the image.")
    ids = np.array([by_key[key] for key in present.tolist()], np.int32)
    return ids[places].reshape(pixels_rgb.shape[:2])
