"""Image files for records, see `must_tf.data.image_files`. Files that cannot be used are counted as dropped.

Labels with positions belong to the pixels as stored, or as EXIF turns them. If the annotations tell the size of the
image, it decides, unless both have that size: in a square, a mirror image, or after half a turn. Else the format does:

| format | pixels | why |
|---|---|---|
| YOLO | as shown | OpenCV, which its training reads with, turns them |
| Open Images | as stored | its boxes have to be turned with the image, says its page about rotation |
| TensorFlow Datasets, Model Garden | as stored | TensorFlow does not turn them |
| VIA, CVAT, Label Studio | as shown | browsers turn images since 2020; CVAT turns them too |
| labelme with a size | as shown | it writes sizes about as long as it turns images, since 2019 |
| Hugging Face | as shown | `datasets` turns them since 2024 |
| COCO, VOC, maps of `rgbd`, labelme without a size | as stored | many tools and readers do not turn images |

The last four lines are in doubt (`Unsized`, `Sized`). If labels without a size reach beyond one of the frames, the
other one is right.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from must_tf.data import image_files
from must_tf.data.image_files import STORED as STORED
from must_tf.data.image_files import LabelFrame as LabelFrame
from must_tf.data.image_files import Pixels as Pixels
from tfrecords_tools.writing.counts import Account, Dropped

SHOWN = None  # the frame of labels on pixels that EXIF has turned
BEYOND = 1.0  # pixels that labels may reach beyond their image
PROVEN = "image: turned by EXIF, and its labels fit only the pixels as {}"
DOUBT = "image: turned by EXIF, and nothing says for which pixels its labels are: taken for those as {}"
XMP = re.compile(rb"tiff:Orientation(?:\s*=\s*[\"']|>)\s*[2-8]")
XMP_ONLY = "image: turned by XMP only, which is not read, left as stored; save it again to turn it"


class Unsized(NamedTuple):
    """The frame of labels with positions whose annotations do not tell the size of the image.

    Attributes:
      usual: `STORED` or `SHOWN`, the frame that is usual in the format.
      reach: the farthest position down and right in pixels; 0 if it is not known.
    """

    usual: LabelFrame
    reach: tuple[float, float] = (0.0, 0.0)


class Sized(NamedTuple):
    """The frame of labels with positions whose annotations tell the size of the image.

    Attributes:
      size: height and width.
      usual: `STORED` or `SHOWN`, the frame that is usual in the format; it counts if both have this size.
    """

    size: tuple[int, int]
    usual: LabelFrame


Frame = LabelFrame | Unsized | Sized


def read_file(path: str) -> bytes:
    """Reads a file.

    Raises:
      Dropped: the file is missing or cannot be read.
    """
    try:
        return image_files.read_file(path)
    except image_files.Unreadable as error:
        raise Dropped(error.reason, error.example) from None


def frame_of(data: bytes, sizes: Sequence[tuple[int, int]]) -> tuple[int, int] | None:
    """Returns the height and width, of those of an image's label maps, that decide how the image is turned.

    Maps of one image may differ in size. The first that fits the pixels as stored, or as EXIF turns them, counts,
    or else the first; None without maps.
    """
    frames = image_files.frames(data)
    return next((size for size in sizes if size in frames[:2]), sizes[0] if sizes else None)


def upright(data: bytes, frame: Frame, name: str, account: Account) -> Pixels:
    """Returns the image as a record stores it.

    Args:
      data: the bytes of the file, whatever its suffix.
      frame: of the labels: their height and width, or what is known instead; see `image_files.upright`.
      name: the file's name for messages.
      account: notes where it is in doubt how the image is turned.

    Raises:
      Dropped: the file is not an image, is damaged, or has another size.
    """
    if isinstance(frame, Unsized | Sized):
        frame = _decided(data, frame, name, account)
    if XMP.search(data) and not image_files.frames(data).is_turned:
        account.notes.add(XMP_ONLY, name)
    try:
        return image_files.upright(data, frame, name)
    except image_files.Unreadable as error:
        raise Dropped(error.reason, error.example) from None


def _decided(data: bytes, frame: Unsized | Sized, name: str, account: Account) -> LabelFrame:
    """Returns the frame that the labels fit, or the usual one."""
    frames = image_files.frames(data)
    if isinstance(frame, Sized):
        if not frames.is_turned or frame.size != frames.stored or frame.size != frames.shown:
            return frame.size
        fits = {STORED: True, SHOWN: True}
    elif not frames.is_turned:
        return SHOWN
    else:
        fits = {STORED: _fits(frame.reach, frames.stored), SHOWN: _fits(frame.reach, frames.shown)}
    chosen = frame.usual if fits[STORED] == fits[SHOWN] else STORED if fits[STORED] else SHOWN
    reason = DOUBT if fits[STORED] == fits[SHOWN] else PROVEN
    account.notes.add(reason.format("stored" if chosen == STORED else "shown"), name)
    return chosen


def _fits(reach: tuple[float, float], size: tuple[int, int]) -> bool:
    return all(place <= side + BEYOND for place, side in zip(reach, size, strict=True))
