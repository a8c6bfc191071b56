"""Label images: one class id, depth or normal per pixel."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping

import cv2
import numpy as np
from PIL import Image

from must_tf.common.errors import UserError
from must_tf.spec import ImageInfo, Labels
from must_tf.tasks.segmentation.labels import IGNORE
from tfrecords_tools.sources import pixels
from tfrecords_tools.writing.counts import Dropped

VALUES = 1 << 16  # of 16 bits, the most that a map of ids has
SHOWN = 5  # values in a message


def read_map(path: str, task: str) -> np.ndarray:
    """A label image [h, w] or [h, w, 3] RGB, of the bit depth it has on disk.

    Raises:
      Dropped: it is missing or no image; the photo may still be used without it.
    """
    data = np.frombuffer(_bytes(path, task), np.uint8)
    found = cv2.imdecode(data, cv2.IMREAD_UNCHANGED) if data.size else None
    if found is None:
        raise Dropped(f"{task}: file cannot be decoded", path)
    return found if found.ndim == 2 else np.ascontiguousarray(found[..., 2::-1])


def read_ids(path: str, task: str) -> np.ndarray:
    """A map of ids int32 [h, w]: grey of 1, 8 or 16 bit, or the indices (not the colours) of a palette.

    Raises:
      Dropped: it is missing, no image, or has colours; the photo may still be used without it.
    """
    return decode_ids(_bytes(path, task), path, task)


def decode_ids(data: bytes, name: str, task: str) -> np.ndarray:
    """As `read_ids`, of a file's bytes."""
    try:
        with Image.open(io.BytesIO(data)) as image:
            mode, found = image.mode, np.asarray(image)
    except Exception as error:  # Pillow's readers raise whatever a damaged file leads them to
        raise Dropped(f"{task}: file cannot be decoded", f"{name}: {error}") from None
    if mode not in ("1", "L", "P", "I") and not mode.startswith("I;16"):
        raise Dropped(f"{task}: pixels of another format", f"{name}: {mode} instead of one id per pixel")
    return found.astype(np.int32)


def _bytes(path: str, task: str) -> bytes:
    try:
        return pixels.read_file(path)
    except Dropped:
        raise Dropped(f"{task}: file is missing", path) from None


def require_size(found: np.ndarray, info: ImageInfo, task: str, name: str) -> None:
    """Raises Dropped unless the map [h, w, ...] has the image's size."""
    if found.shape[:2] != (info.height, info.width):
        sizes = f"{found.shape[1]}x{found.shape[0]} for {info.width}x{info.height}"
        raise Dropped(f"{task}: size differs from its image's", f"{name}: {sizes}")


def classes_of(ids: np.ndarray, known: Mapping[int, int], name: str) -> np.ndarray:
    """Values of a file [h, w] -> class ids int32 [h, w].

    Args:
      ids: as they stand in the file.
      known: value -> class id, or IGNORE.
      name: the file, for the message.

    Raises:
      UserError: a value that is not known. Ignored in silence it would train on less than the user thinks, and
        usually it means that the names are those of another dataset.
    """
    table = np.full(VALUES, -1, np.int32)
    table[list(known)] = list(known.values())
    inside = (ids >= 0) & (ids < VALUES)
    classes = np.where(inside, table[np.where(inside, ids, 0)], -1)
    if (classes < 0).any():
        strange = np.unique(ids[classes < 0])
        shown = ", ".join(map(str, strange[:SHOWN].tolist())) + (", ..." if len(strange) > SHOWN else "")
        raise UserError(
            f"{name}: value {shown} on {int((classes < 0).sum())} pixels is none of the {_count(known.values())} "
            f"classes and not to be ignored. Name it, or set these pixels to {IGNORE}."
        )
    return classes


def _count(ids: Iterable[int]) -> int:
    return len({each for each in ids if each != IGNORE})


def segmentation(classes: np.ndarray) -> Labels:
    """Real labels of `segmentation` from class ids [h, w]."""
    return {"classes": classes, "confidence": np.ones(classes.shape, np.float32)}
