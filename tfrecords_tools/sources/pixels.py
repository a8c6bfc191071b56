"""Image files -> the bytes that go into a record: upright JPEG or PNG, 8 bit, grey or RGB.

| found | stored |
|---|---|
| JPEG or 8-bit PNG, grey or RGB, upright | its bytes as they are |
| the same, turned by EXIF, labels in the turned frame (or none) | turned; JPEG again at quality 95, 4:4:4 |
| the same, turned by EXIF, labels in the stored frame | its pixels as stored, without the EXIF |
| anything else that Pillow reads (first frame) | PNG: palette, CMYK as RGB; alpha over white; 16-bit grey / 257 |

Which frame the labels are in, their size tells: the stored one wins where both have that size, and where labels
with a place in the image state no size, because that is how annotation tools that know no EXIF see the file.
"""

from __future__ import annotations

import io
import re
from typing import Final, Literal, NamedTuple

import numpy as np
import tensorflow as tf
from PIL import Image, ImageOps

from must_tf.data import record
from tfrecords_tools.sources import jpeg
from tfrecords_tools.writing.counts import Dropped

ORIENTATION = 0x0112  # the EXIF tag; 1 is upright, 5 to 8 lie on their side
JPEG_QUALITY = 95
JPEG = b"\xff\xd8\xff"  # how its files begin
PNG_BIT_DEPTH = 24  # the byte of a PNG file that holds it
ADDRESS = re.compile(" at 0x[0-9a-f]+")
STORED: Final = "stored"  # the frame of the file's pixels, before EXIF turns them

LabelFrame = tuple[int, int] | Literal["stored"] | None


class Pixels(NamedTuple):
    """What a record stores of an image."""

    encoded: bytes
    height: int
    width: int


def read_file(path: str) -> bytes:
    """A file's bytes.

    Raises:
      Dropped: it is missing or cannot be read.
    """
    try:
        with tf.io.gfile.GFile(path, "rb") as file:
            return file.read()
    except tf.errors.NotFoundError:
        raise Dropped("image: file is missing", path) from None
    except tf.errors.OpError as error:
        raise Dropped("image: file cannot be read", f"{path}: {error.message}") from None


def upright(data: bytes, size: LabelFrame, name: str) -> Pixels:
    """The image as a record stores it.

    Args:
      data: the file's bytes, of any name.
      size: height and width of the frame that the labels are in; `STORED` where their size is not known but they
        have a place in the image; None where they have none, and EXIF decides.
      name: for the message.

    Raises:
      Dropped: it is no image, damaged, or of another size.
    """
    try:
        with Image.open(io.BytesIO(data)) as image:
            turned = _is_turned(image, size, name)
            encoded = None if turned else _as_it_is(data, image)
            return _again(image, turned) if encoded is None else _pixels(encoded, image)
    except Dropped:
        raise
    except Exception as error:  # Pillow's readers raise whatever a damaged file leads them to
        # Pillow names the object that it was given by its address, which no two runs share.
        raise Dropped("image: cannot be decoded", f"{name}: {ADDRESS.sub('', str(error))}") from None


def _is_turned(image: Image.Image, size: LabelFrame, name: str) -> bool:
    """Whether EXIF turns or mirrors the image, and the labels are in that frame."""
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
    raise Dropped("image: size differs from its labels'", message)


def _as_it_is(data: bytes, image: Image.Image) -> bytes | None:
    """The file's bytes if they can stay, because training's decoder reads all of them, as of this size; else None."""
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
    except tf.errors.OpError:  # Pillow may still read all of it, or says what is wrong
        return None
    return data if size == (image.height, image.width) else None


def _decoded_size(data: bytes) -> tuple[int, int]:
    """Height and width as TensorFlow's decoder finds them; raises tf.errors.OpError where it cannot read all of it.

    A JPEG's stream is read at an eighth of the size and without colour: what can be wrong with a file shows there, and
    the transform of all its blocks would take as long again.
    """
    encoded = tf.constant(data)
    if data[:3] != JPEG:
        return tuple(record.decode_image(encoded).shape[:2])
    tf.io.decode_jpeg(encoded, channels=1, ratio=8)
    height, width, _ = tf.io.extract_jpeg_shape(encoded).numpy()
    return int(height), int(width)


def _without_exif(jpeg: bytes) -> bytes:
    """The JPEG without its EXIF segment, pixels untouched."""
    kept, at = jpeg[:2], 2
    while jpeg[at] == 0xFF and jpeg[at + 1] != 0xDA:  # up to the start of the scan
        end = at + 2 + int.from_bytes(jpeg[at + 2 : at + 4], "big")
        if not (jpeg[at + 1] == 0xE1 and jpeg[at + 4 : at + 8] == b"Exif"):
            kept += jpeg[at:end]
        at = end
    return kept + jpeg[at:]


def _pixels(encoded: bytes, image: Image.Image) -> Pixels:
    return Pixels(encoded, image.height, image.width)


def _again(image: Image.Image, turned: bool) -> Pixels:
    """The image encoded anew."""
    lossy = turned and image.format in ("JPEG", "MPO") and image.mode in ("L", "RGB")
    plain = _plain(ImageOps.exif_transpose(image) if turned else image)
    plain.info.clear()  # no EXIF, profile or palette goes into the record
    file = io.BytesIO()
    if lossy:
        plain.save(file, "JPEG", quality=JPEG_QUALITY, subsampling=0)
    else:
        plain.save(file, "PNG")
    return _pixels(file.getvalue(), plain)


def _plain(image: Image.Image) -> Image.Image:
    """Any mode -> 8-bit grey or RGB."""
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
