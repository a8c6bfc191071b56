"""Label images with one class id, depth or normal per pixel."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping

import cv2
import numpy as np
from PIL import Image

from must_tf.common.errors import UserError
from must_tf.data import image_files
from must_tf.spec import ImageInfo, Labels
from must_tf.tasks.segmentation.labels import IGNORE
from tfrecords_tools.sources import exr, pixels
from tfrecords_tools.writing.counts import Account, Dropped
from tfrecords_tools.writing.reasons import reason_of

# Endings of depth and normals besides those of images.
ARRAYS = (".npy", ".exr", ".pfm")
VALUES = 1 << 16  # maps of ids have at most 16 bits
SHOWN = 5  # values in a message


def read_map(path: str, task: str) -> np.ndarray:
    """Reads a label image [h, w] or [h, w, 3] RGB with the bit depth that it has on disk, or an array of that shape.

    Raises:
      Dropped: the file is missing or not an image; the photo may still be used without it.
    """
    data = _bytes(path, task)
    if path.lower().endswith(".npy"):
        return _array(data, path, task)
    try:
        if data.startswith(exr.MAGIC):
            return exr.read(data)
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED) if data else None
    except (ValueError, cv2.error) as error:
        raise Dropped(f"{task}: file cannot be decoded", f"{path}: {reason_of(error)}") from None
    if image is None:
        raise Dropped(f"{task}: file cannot be decoded", path)
    return image if image.ndim == 2 else np.ascontiguousarray(image[..., 2::-1])


def _array(data: bytes, path: str, task: str) -> np.ndarray:
    """Reads an array of numbers [h, w], [h, w, 1] or [h, w, 3]."""
    try:
        array = np.load(io.BytesIO(data), allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise Dropped(f"{task}: file cannot be decoded", f"{path}: {reason_of(error)}") from None
    array = array[..., 0] if array.ndim == 3 and array.shape[2] == 1 else array
    if array.ndim not in (2, 3) or array.dtype.kind not in "uif":
        raise Dropped(f"{task}: array of another shape", f"{path}: {array.dtype} {array.shape}")
    return array


def read_ids(path: str, task: str) -> np.ndarray:
    """Reads a map of ids int32 [h, w]: 1, 8 or 16-bit grey values, or the indices (not the colours) of a palette.

    Raises:
      Dropped: the file is missing, not an image, or has colours; the photo may still be used without it.
    """
    return decode_ids(_bytes(path, task), path, task)


def has_colours(path: str, task: str) -> bool:
    """Returns True if a label image has colours instead of one value per pixel.

    Raises:
      Dropped: the file is missing.
    """
    try:
        with Image.open(io.BytesIO(_bytes(path, task))) as image:
            return image.mode in ("RGB", "RGBA")
    except Dropped:
        raise
    except Exception:  # reported when it is decoded
        return False


def decode_ids(data: bytes, name: str, task: str, single: bool = False) -> np.ndarray:
    """Like `read_ids`, for the bytes of a file.

    Args:
      data: the bytes.
      name: the file's name for messages.
      task: of the map, for messages.
      single: the format says that there is one channel, so grey may be stored as red, green and blue.
    """
    try:
        with Image.open(io.BytesIO(data)) as image:
            kind, mode, ids = image.format, image.mode, np.asarray(image)
    except Exception as error:  # Pillow can raise anything for a damaged file
        raise Dropped(f"{task}: file cannot be decoded", f"{name}: {reason_of(error)}") from None
    if kind in image_files.JPEG_FORMATS:
        raise Dropped(f"{task}: a JPEG, which changes the ids; save the map as PNG", name)
    if single and mode == "RGB" and (ids == ids[..., :1]).all():
        return ids[..., 0].astype(np.int32)
    if mode not in ("1", "L", "P", "I") and not mode.startswith("I;16"):
        raise Dropped(f"{task}: pixels of another format", f"{name}: {mode} instead of one id per pixel")
    return ids.astype(np.int32)


def _bytes(path: str, task: str) -> bytes:
    try:
        return pixels.read_file(path)
    except Dropped:
        raise Dropped(f"{task}: file is missing", path) from None


def require_size(label_map: np.ndarray, info: ImageInfo, task: str, name: str) -> None:
    """Raises Dropped unless the map [h, w, ...] has the image's size."""
    if label_map.shape[:2] != (info.height, info.width):
        sizes = f"{label_map.shape[1]}x{label_map.shape[0]} for {info.width}x{info.height}"
        raise Dropped(f"{task}: size differs from its image's", f"{name}: {sizes}")


def classes_of(ids: np.ndarray, class_ids: Mapping[int, int], name: str) -> np.ndarray:
    """Maps the values of a file [h, w] to class ids int32 [h, w].

    Args:
      ids: the values in the file.
      class_ids: {value: class id or IGNORE}.
      name: the file's name for the error.

    Raises:
      UserError: a value is not in `class_ids`. Ignoring it silently would train on less than the user thinks, and
        usually it means that the names belong to another dataset.
    """
    table = np.full(VALUES, -1, np.int32)
    table[list(class_ids)] = list(class_ids.values())
    inside = (ids >= 0) & (ids < VALUES)
    classes = np.where(inside, table[np.where(inside, ids, 0)], -1)
    if (classes < 0).any():
        unknown = np.unique(ids[classes < 0])
        shown = ", ".join(map(str, unknown[:SHOWN].tolist())) + (", ..." if len(unknown) > SHOWN else "")
        ignored = sorted(value for value, class_id in class_ids.items() if class_id == IGNORE)
        way = f", or set these pixels to {IGNORE if IGNORE in ignored else ignored[0]} (ignored)" if ignored else ""
        raise UserError(
            f"{name}: value {shown} on {int((classes < 0).sum())} pixels is not one of the "
            f"{_count(class_ids.values())} classes. Add its name{way}."
        )
    return classes


def note_binary(ids: np.ndarray, classes: int, name: str, account: Account) -> None:
    """Notes a map of two classes that has only 0 and 255: the 255 is probably a class, and would be ignored."""
    if classes == 2 and ids.max(initial=0) == IGNORE and np.isin(ids, (0, IGNORE)).all():
        account.notes.add(f"segmentation: only 0 and {IGNORE} in a map of two classes, so {IGNORE} is ignored", name)


def _count(ids: Iterable[int]) -> int:
    return len({class_id for class_id in ids if class_id != IGNORE})


def segmentation(classes: np.ndarray) -> Labels:
    """Makes real labels of `segmentation` from class ids [h, w]."""
    return {"classes": classes, "confidence": np.ones(classes.shape, np.float32)}
