"""Converts image files into the bytes of a record: upright JPEG or PNG, 8 bit, grey or RGB.

Conversion stores these bytes, and prediction decodes them. An exported SavedModel decodes the file itself with
`decoding`, which all other JPEGs and PNGs go through here, too: a photo looks the same to all, bit for bit.

| file | stored |
|---|---|
| JPEG or 8-bit PNG, grey or RGB, upright | its bytes, unchanged |
| the same, turned by EXIF, labels in the turned frame (or none) | turned; a JPEG as JPEG again, see `decoding` |
| the same, turned by EXIF, labels in the stored frame | its pixels unchanged, without the EXIF |
| any other PNG, a JPEG in CMYK | PNG, see `decoding` |
| anything else that Pillow or OpenCV reads (first frame) | PNG in RGB: alpha over white; 16-bit grey / 257 |

The size of the labels decides which frame they are in. The stored frame wins if both have that size, or if labels with
a position in the image have no size, because annotation tools that ignore EXIF see the file that way.
"""

from __future__ import annotations

import io
import os
import re
from typing import Final, Literal, NamedTuple

import cv2
import numpy as np
import tensorflow as tf
from PIL import Image, ImageOps, UnidentifiedImageError

from must_tf.common import files
from must_tf.data import decoding, jpeg, record

JPEG_FORMATS = ("JPEG", "MPO")  # as Pillow calls them; an MPO's first picture is a JPEG
# HEIC needs `HEIF_PACKAGE`; without it, the files are counted as dropped, with what to install.
SUFFIXES = (
    ".jpg", ".jpeg", ".jpe", ".jfif", ".jif", ".mpo", ".png", ".apng", ".bmp", ".dib", ".gif", ".tif", ".tiff", ".webp",
    ".avif", ".avifs", ".heic", ".heif", ".jp2", ".j2k", ".j2c", ".jpc", ".jpf", ".jpx", ".ppm", ".pgm", ".pbm", ".pnm",
    ".pam", ".tga", ".ras", ".sgi", ".pcx", ".qoi", ".xpm",
)  # fmt: skip
SIZES, DRAWING, RANGE, RAW = "pictures of several sizes", "a drawing", "floats without an agreed range", "a raw photo"
# Files that are not one picture of 8 bits, though Pillow or OpenCV may read them.
NOT_ONE_PICTURE = {
    ".ico": SIZES, ".cur": SIZES, ".icns": SIZES, ".dcx": "several pages", ".psd": "layers",
    ".dds": "a texture, whose alpha and layers may mean anything",
    ".xbm": "bits that Pillow shows as white and X11 as black",
    ".svg": DRAWING, ".eps": DRAWING, ".wmf": DRAWING, ".emf": DRAWING,
    ".hdr": RANGE, ".exr": RANGE, ".pfm": RANGE, ".fits": RANGE,
    ".dng": RAW, ".cr2": RAW, ".cr3": RAW, ".nef": RAW, ".arw": RAW,
}  # fmt: skip
HEIF = re.compile(rb".{4}ftyp(hei[cxms]|hev[cx]|mif1|msf1)", re.DOTALL)  # how the files of phones begin
HEIF_PACKAGE = "pillow-heif"
ADDRESS = re.compile(" at 0x[0-9a-f]+")
FLOATS = "floating-point pixels have no agreed range; convert it to 8 bit"
UPRIGHT = decoding.UPRIGHT
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
    if files.is_endless(path):
        raise Unreadable("image: a pipe, a socket or a device", path)
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
        with _opened(data) as image:
            orientation = _orientation(data, image)
            turned = _is_turned(image, orientation, size, name)
            encoded = None if turned else _unchanged(data, image, orientation)
            if encoded is not None:
                return Pixels(encoded, image.height, image.width)
            return _decoded_again(data, image, orientation if turned else UPRIGHT)
    except Unreadable:
        raise
    except Exception as error:  # Pillow can raise anything for a damaged file
        # Pillow's message has the address of an object, which differs from run to run.
        raise Unreadable("image: cannot be decoded", f"{name}: {ADDRESS.sub('', str(error))}") from None


class Frames(NamedTuple):
    """The sizes of a file, height and width, before and after EXIF turns it, and if it does."""

    stored: tuple[int, int]
    shown: tuple[int, int]
    is_turned: bool


def frames(data: bytes) -> Frames:
    """Returns the sizes of an image file; those of a file that cannot be read are 0, and `upright` says why."""
    try:
        with _opened(data) as image:
            orientation, stored = _orientation(data, image), (image.height, image.width)
    except Exception:  # Pillow can raise anything for a damaged file
        return Frames((0, 0), (0, 0), False)
    return Frames(stored, stored[::-1] if orientation > 4 else stored, orientation != UPRIGHT)


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


def _opened(data: bytes) -> Image.Image:
    try:
        return Image.open(io.BytesIO(data))
    except UnidentifiedImageError:
        return _by_extension(data) if HEIF.match(data) else _by_opencv(data)


def _by_extension(data: bytes) -> Image.Image:
    """Decodes a HEIC file. Pillow does not look for the package that reads it.

    Raises:
      ValueError: the package is not installed.
      UnidentifiedImageError: the file is damaged.
    """
    try:
        import pillow_heif
    except ImportError:
        raise ValueError(f"HEIC needs a package: pip install {HEIF_PACKAGE}") from None
    pillow_heif.register_heif_opener()
    return Image.open(io.BytesIO(data))


def _by_opencv(data: bytes) -> Image.Image:
    """Decodes a file that Pillow does not know.

    Raises:
      UnidentifiedImageError: OpenCV does not know it either.
      ValueError: the pixels are floating-point numbers.
    """
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED) if data else None
    if pixels is None:
        raise UnidentifiedImageError("cannot identify image file")
    if pixels.dtype == np.uint16:
        pixels = ((pixels.astype(np.uint32) + 128) // 257).astype(np.uint8)
    if pixels.dtype != np.uint8:
        raise ValueError(FLOATS)
    if pixels.ndim == 2:
        return Image.fromarray(pixels)
    return Image.fromarray(np.ascontiguousarray(pixels[..., [2, 1, 0, *range(3, pixels.shape[2])]]))


def _orientation(data: bytes, image: Image.Image) -> int:
    """Returns the EXIF orientation, 1 to 8. For JPEG and PNG it is that of `decoding`, which a served model reads."""
    if image.format in (*JPEG_FORMATS, "PNG"):
        mark = b"eXIf" if image.format == "PNG" else decoding.EXIF
        return int(_graph_orientation(tf.constant(data))) if mark in data else UPRIGHT
    # Pillow turns a TIFF itself.
    value = UPRIGHT if image.format == "TIFF" else image.getexif().get(decoding.ORIENTATION, UPRIGHT)
    return value if value in range(UPRIGHT, 9) else UPRIGHT


def _is_turned(image: Image.Image, orientation: int, size: LabelFrame, name: str) -> bool:
    """Returns True if EXIF turns or mirrors the image and the labels are in the turned frame."""
    stored = (image.height, image.width)
    turned = stored[::-1] if orientation > 4 else stored
    if size is None:
        return orientation != UPRIGHT
    if size in (STORED, stored):
        return False
    if size == turned:
        return True
    message = f"{name}: {stored[1]}x{stored[0]}, its labels are for {size[1]}x{size[0]}"
    swapped = "image: width and height are swapped in its labels"
    raise Unreadable(swapped if size == stored[::-1] else "image: size differs from its labels'", message)


def _unchanged(data: bytes, image: Image.Image, orientation: int) -> bytes | None:
    """Returns the file's bytes if training's decoder reads them completely and at this size, else None."""
    if image.mode not in ("L", "RGB") or "transparency" in image.info:
        return None
    if image.format == "PNG" and data[decoding.BIT_DEPTH] != 8:
        return None
    if image.format not in (*JPEG_FORMATS, "PNG"):
        return None
    if orientation != UPRIGHT:
        if image.format == "PNG":
            return None
        data = _without_exif(data)
    if data[:3] == decoding.JPEG and jpeg.is_whole(data):
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
    if data[:3] != decoding.JPEG:
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


def _decoded_again(data: bytes, image: Image.Image, orientation: int) -> Pixels:
    """Decodes the image, turns it and encodes it again."""
    try:
        if image.format in JPEG_FORMATS:
            return _jpeg_again(data, image, orientation)
        if image.format == "PNG":
            is_grey = image.mode in ("L", "I", "I;16") and "transparency" not in image.info
            pixels = _graph_png(tf.constant(data), tf.constant(orientation)).numpy()
            image.load()  # finds damage behind the last pixel
            return _as_png(Image.fromarray(pixels[..., 0] if is_grey else pixels))
    except tf.errors.OpError:  # Pillow may still read it, or reports what is wrong
        pass
    return _as_png(plain(image if orientation == UPRIGHT else ImageOps.exif_transpose(image)))


def _jpeg_again(data: bytes, image: Image.Image, orientation: int) -> Pixels:
    if orientation == UPRIGHT:
        pixels = record.decode_image(tf.constant(data)).numpy()
        if pixels.shape[:2] != (image.height, image.width):
            return _as_png(plain(image))
        return _as_png(Image.fromarray(pixels))
    encoded = _graph_turned_jpeg(tf.constant(data), tf.constant(orientation)).numpy()
    height, width = (image.width, image.height) if orientation > 4 else (image.height, image.width)
    return Pixels(encoded, height, width)


def _as_png(image: Image.Image) -> Pixels:
    image.info.clear()  # no EXIF, profile or palette goes into the record
    file = io.BytesIO()
    image.save(file, "PNG")
    return Pixels(file.getvalue(), image.height, image.width)


BYTES, NUMBER = tf.TensorSpec([], tf.string), tf.TensorSpec([], tf.int32)


# Traced once per process: eagerly, a loop over the parts of a file takes seconds.
@tf.function(input_signature=[BYTES], autograph=False)
def _graph_orientation(data: tf.Tensor) -> tf.Tensor:
    return decoding.orientation(data)


@tf.function(input_signature=[BYTES, NUMBER], autograph=False)
def _graph_png(data: tf.Tensor, orientation: tf.Tensor) -> tf.Tensor:
    return decoding.turned(decoding.png_pixels(data), orientation)


@tf.function(input_signature=[BYTES, NUMBER], autograph=False)
def _graph_turned_jpeg(data: tf.Tensor, orientation: tf.Tensor) -> tf.Tensor:
    return decoding.turned_jpeg(data, orientation)


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
        raise ValueError(FLOATS)
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    return image.copy() if image.mode in ("L", "RGB") else image.convert("RGB")
