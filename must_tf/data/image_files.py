"""Converts image files into the bytes of a record: upright JPEG or PNG, 8 bit, grey or RGB.

Conversion stores these bytes, and prediction decodes them: a photo looks the same to both, bit for bit.

| file | stored |
|---|---|
| JPEG or 8-bit PNG, grey or RGB, upright | its bytes, unchanged |
| the same, turned by EXIF, labels in the turned frame (or none) | turned; as JPEG again with quality 95, 4:4:4 |
| the same, turned by EXIF, labels in the stored frame | its pixels unchanged, without the EXIF |
| anything else that Pillow reads (first frame) | PNG: palette and CMYK as RGB; alpha over white; 16-bit grey / 257 |

The size of the labels decides which frame they are in. The stored frame wins if both have that size, or if labels with
a position in the image have no size, because annotation tools that ignore EXIF see the file that way.
"""

from __future__ import annotations

import io
import os
import re
from typing import Final, Literal, NamedTuple

import numpy as np
import tensorflow as tf
from PIL import Image, ImageOps

from must_tf.data import jpeg, record

ORIENTATION = 0x0112  # the EXIF tag; 1 is upright, 5 to 8 are turned by 90 degrees
JPEG_QUALITY = 95
JPEG = b"\xff\xd8\xff"  # the first bytes of JPEG files
PNG_BIT_DEPTH = 24  # position of the bit depth in a PNG file
SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp")
ADDRESS = re.compile(" at 0x[0-9a-f]+")
STORED: Final = "stored"  # the frame of the file's pixels, before EXIF turns them

LabelFrame = tuple[int, int] | Literal["stored"] | None


class Unreadable(Exception):
    """An image file that cannot be used. `reason` is one of a few sentences; `example` names the file and the cause."""

    def __init__(self, reason: str, example: str):
        super().__init__(reason, example)
        self.reason, self.example = reason, example


class Pixels(NamedTuple):
    """The image as a record stores it."""

    encoded: bytes
    height: int
    width: int


def is_hidden(name: str) -> bool:
    """Returns True for hidden files, like `._x.jpg` of macOS."""
    return os.path.basename(name).startswith(".")


def is_image(name: str) -> bool:
    """Returns True if the suffix is an image's and the file is not hidden."""
    return name.lower().endswith(SUFFIXES) and not is_hidden(name)


def read_file(path: str) -> bytes:
    """Reads a file.

    Raises:
      Unreadable: the file is missing or cannot be read.
    """
    try:
        with tf.io.gfile.GFile(path, "rb") as file:
            return file.read()
    except tf.errors.NotFoundError:
        raise Unreadable("image: file is missing", path) from None
    except tf.errors.OpError as error:
        raise Unreadable("image: file cannot be read", f"{path}: {error.message}") from None


def upright(data: bytes, size: LabelFrame, name: str) -> Pixels:
    """Returns the image as a record stores it.

    Args:
      data: the bytes of the file, whatever its suffix.
      size: height and width of the labels' frame. `STORED` if the labels have positions in the image but no known
        size; None if they have no positions, so that EXIF decides.
      name: the file's name for error messages.

    Raises:
      Unreadable: the file is not an image, is damaged, or has another size.
    """
    try:
        with Image.open(io.BytesIO(data)) as image:
            turned = _is_turned(image, size, name)
            encoded = None if turned else _unchanged(data, image)
            return _encoded_again(image, turned) if encoded is None else _pixels(encoded, image)
    except Unreadable:
        raise
    except Exception as error:  # Pillow can raise anything for a damaged file
        # Pillow's message has the address of an object, which differs from run to run.
        raise Unreadable("image: cannot be decoded", f"{name}: {ADDRESS.sub('', str(error))}") from None


def decoded(data: bytes, name: str) -> np.ndarray:
    """Returns the pixels of an image file as a network sees them, uint8 [h, w, 3]: those that its record would hold.

    Args:
      data: the bytes of the file, whatever its suffix.
      name: the file's name for error messages.

    Raises:
      Unreadable: the file is not an image or is damaged.
    """
    stored = upright(data, None, name)
    try:
        return np.asarray(record.decode_image(tf.constant(stored.encoded)).numpy())
    except tf.errors.OpError as error:
        raise Unreadable("image: cannot be decoded", f"{name}: {error.message}") from None


def _is_turned(image: Image.Image, size: LabelFrame, name: str) -> bool:
    """Returns True if EXIF turns or mirrors the image and the labels are in the turned frame."""
    orientation = image.getexif().get(ORIENTATION, 1)
    stored = (image.height, image.width)
    turned = stored[::-1] if orientation in (5, 6, 7, 8) else stored
    if size is None:
        return orientation in range(2, 9)
    if size in (STORED, stored):
        return False
    if size == turned:
        return True
    message = f"{name}: {stored[1]}x{stored[0]}, its labels are for {size[1]}x{size[0]}"
    raise Unreadable("image: size differs from its labels'", message)


def _unchanged(data: bytes, image: Image.Image) -> bytes | None:
    """Returns the file's bytes if training's decoder reads them completely and at this size, else None."""
    if image.mode not in ("L", "RGB") or "transparency" in image.info:
        return None
    if image.format == "PNG" and data[PNG_BIT_DEPTH] != 8:
        return None
    if image.format not in ("JPEG", "MPO", "PNG"):
        return None
    if image.getexif().get(ORIENTATION, 1) != 1:
        if image.format == "PNG":
            return None
        data = _without_exif(data)
    if data[:3] == JPEG and jpeg.is_whole(data):
        return data
    try:
        size = _decoded_size(data)
    except tf.errors.OpError:  # Pillow may still read all of it, or reports what is wrong
        return None
    return data if size == (image.height, image.width) else None


def _decoded_size(data: bytes) -> tuple[int, int]:
    """Returns height and width from TensorFlow's decoder; raises tf.errors.OpError if it cannot read the whole file.

    A JPEG is decoded at an eighth of its size and without colour: this finds all damage, and transforming all blocks
    would double the time.
    """
    encoded = tf.constant(data)
    if data[:3] != JPEG:
        return tuple(record.decode_image(encoded).shape[:2])
    tf.io.decode_jpeg(encoded, channels=1, ratio=8)
    height, width, _ = tf.io.extract_jpeg_shape(encoded).numpy()
    return int(height), int(width)


def _without_exif(jpeg: bytes) -> bytes:
    """Removes the EXIF segment of a JPEG without touching its pixels."""
    kept, at = jpeg[:2], 2
    while jpeg[at] == 0xFF and jpeg[at + 1] != 0xDA:  # up to the start of the scan
        end = at + 2 + int.from_bytes(jpeg[at + 2 : at + 4], "big")
        if not (jpeg[at + 1] == 0xE1 and jpeg[at + 4 : at + 8] == b"Exif"):
            kept += jpeg[at:end]
        at = end
    return kept + jpeg[at:]


def _pixels(encoded: bytes, image: Image.Image) -> Pixels:
    return Pixels(encoded, image.height, image.width)


def _encoded_again(image: Image.Image, turned: bool) -> Pixels:
    """Encodes the image again."""
    lossy = turned and image.format in ("JPEG", "MPO") and image.mode in ("L", "RGB")
    upright_image = plain(ImageOps.exif_transpose(image) if turned else image)
    upright_image.info.clear()  # no EXIF, profile or palette goes into the record
    file = io.BytesIO()
    if lossy:
        upright_image.save(file, "JPEG", quality=JPEG_QUALITY, subsampling=0)
    else:
        upright_image.save(file, "PNG")
    return _pixels(file.getvalue(), upright_image)


def plain(image: Image.Image) -> Image.Image:
    """Converts any mode to 8-bit grey or RGB, for a Pillow image without EXIF orientation.

    Raises:
      ValueError: the pixels are floating-point numbers.
    """
    image.load()
    if image.mode == "I" or image.mode.startswith("I;16"):
        grey = np.asarray(image).astype(np.float64)
        return Image.fromarray(np.rint(np.clip(grey, 0, 65535) / 257).astype(np.uint8))
    if image.mode == "F":
        raise ValueError("floating-point pixels have no agreed range; convert it to 8 bit")
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    return image.copy() if image.mode in ("L", "RGB") else image.convert("RGB")
