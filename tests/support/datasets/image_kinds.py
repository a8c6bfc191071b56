"""Image files of every kind and the pixels that they show, by hand, by NumPy or by Pillow."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable

import cv2
import numpy as np
from PIL import Image

from must_tf.data import decoding
from tests.support.image_files import JPEG_LEVELS, ORIENTATION, PHOTO, file, pillow

HEIGHT, WIDTH = PHOTO.shape[:2]
GREY = PHOTO[..., 0]
DEEP = np.arange(HEIGHT * WIDTH * 3, dtype=np.uint16).reshape(HEIGHT, WIDTH, 3) * 8 + 100
ALPHA = np.linspace(0, 255, HEIGHT * WIDTH).astype(np.uint8).reshape(HEIGHT, WIDTH)
RGBA, LA = np.dstack([PHOTO, ALPHA]), np.dstack([GREY, ALPHA])
WHITE = 255.0


def chunk(kind: bytes, content: bytes) -> bytes:
    """One chunk of a PNG."""
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(depth: int, colour_type: int, rows: np.ndarray, *chunks: bytes) -> bytes:
    """A PNG written by hand: `rows` are the bytes of each row; `chunks` come before the pixels."""
    header = struct.pack(">IIBBBBB", WIDTH, HEIGHT, depth, colour_type, 0, 0, 0)
    lines = b"".join(b"\0" + row.tobytes() for row in rows)
    end = (chunk(b"IDAT", zlib.compress(lines)), chunk(b"IEND", b""))
    return b"".join((b"\x89PNG\r\n\x1a\n", chunk(b"IHDR", header), *chunks, *end))


def exif(orientation: int, order: str = "<", kind: int = 3) -> bytes:
    """A TIFF header with another tag and an orientation."""
    mark = b"II" if order == "<" else b"MM"
    other, value = struct.pack(f"{order}HHII", 0x0100, 4, 1, 7), struct.pack(f"{order}H", orientation) + b"\0\0"
    turn = struct.pack(f"{order}HHI", ORIENTATION, kind, 1) + value
    return mark + struct.pack(f"{order}HIH", 42, 8, 2) + other + turn + bytes(4)


def over_white(rgba: np.ndarray) -> np.ndarray:
    """[h, w, 4] of 0 to 255 -> [h, w, 3], by the definition of alpha."""
    share = rgba[..., 3:] / 255.0
    return rgba[..., :3] * share + WHITE * (1 - share)


def grey(values: np.ndarray) -> np.ndarray:
    """[h, w] -> [h, w, 3]."""
    return np.repeat(values[..., None], 3, axis=-1)


def big(values: np.ndarray) -> np.ndarray:
    """16-bit rows as a PNG has them."""
    return values.astype(">u2").reshape(HEIGHT, -1).view(np.uint8)


def palette(*transparent: int) -> bytes:
    """A PNG with a palette whose first colours have these alphas."""
    image = Image.fromarray(PHOTO).quantize(16)
    made = io.BytesIO()
    image.save(made, "PNG", **({"transparency": bytes(transparent)} if transparent else {}))
    return made.getvalue()


def colours(*transparent: int) -> np.ndarray:
    """The picture of `palette`."""
    image = Image.fromarray(PHOTO).quantize(16)
    indices, table = np.asarray(image), np.array(image.getpalette()).reshape(-1, 3)
    alphas = np.array([*transparent, *[255] * (len(table) - len(transparent))])
    return over_white(np.dstack([table[indices], alphas[indices]]))


def with_segment(jpeg: bytes, content: bytes) -> bytes:
    """A JPEG with another APP1 segment after its first marker."""
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(content) + 2) + content + jpeg[2:]


JPEG, CMYK = file(PHOTO, "JPEG"), file(Image.fromarray(PHOTO).convert("CMYK"), "JPEG")
BITS = np.packbits(GREY > 100, axis=1)
TURNS: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    1: lambda pixels: pixels,
    2: lambda pixels: pixels[:, ::-1],
    3: lambda pixels: pixels[::-1, ::-1],
    4: lambda pixels: pixels[::-1],
    5: lambda pixels: pixels.transpose(1, 0, 2),
    6: lambda pixels: np.rot90(pixels, -1),
    7: lambda pixels: pixels.transpose(1, 0, 2)[::-1, ::-1],
    8: np.rot90,
}
# name -> (file, pixels, largest difference)
KINDS: dict[str, tuple[bytes, np.ndarray, float]] = {
    "JPEG": (JPEG, pillow(JPEG), 0),
    "grey JPEG": (file(GREY, "JPEG"), pillow(file(GREY, "JPEG")), 0),
    "CMYK JPEG": (CMYK, pillow(CMYK), 1),
    "PNG": (file(PHOTO, "PNG"), PHOTO, 0),
    "grey PNG": (file(GREY, "PNG"), grey(GREY), 0),
    "RGBA": (file(Image.fromarray(RGBA), "PNG"), over_white(RGBA), 0.5),
    "LA": (file(Image.fromarray(LA, "LA"), "PNG"), over_white(np.dstack([grey(GREY), ALPHA])), 0.5),
    "palette": (palette(), colours(), 0),
    "palette with alpha": (palette(0, 51, 200), colours(0, 51, 200), 0.5),
    "one bit": (png(1, 0, BITS), grey((GREY > 100) * 255), 0),
    "four bits": (png(4, 0, (GREY[:, ::2] & 0xF0) | (GREY[:, 1::2] >> 4)), grey((GREY >> 4) * 17), 0),
    "16-bit grey": (png(16, 0, big(DEEP[..., 0])), grey(DEEP[..., 0] / 257), 0.5),
    "16-bit RGB": (png(16, 2, big(DEEP)), DEEP / 257, 0.5),
    "16-bit grey and alpha": (
        png(16, 4, big(DEEP[..., :2])),
        over_white(np.dstack([grey(DEEP[..., 0] / 257), DEEP[..., 1] / 257])),
        1.5,
    ),
    "a transparent colour": (
        png(8, 2, PHOTO, chunk(b"tRNS", struct.pack(">3H", *PHOTO[0, 0].tolist()))),
        np.where((PHOTO[0, 0] == PHOTO).all(-1, keepdims=True), 255, PHOTO),
        0,
    ),
    "a transparent grey": (
        png(8, 0, GREY, chunk(b"tRNS", struct.pack(">H", int(GREY[0, 0])))),
        grey(np.where(GREY[0, 0] == GREY, 255, GREY)),
        0,
    ),
    "interlaced": (cv2.imencode(".png", PHOTO[..., ::-1])[1].tobytes(), PHOTO, 0),
    **{f"JPEG turned {o}": (file(PHOTO, "JPEG", o), TURNS[o](pillow(JPEG)), JPEG_LEVELS) for o in TURNS},
    **{f"PNG turned {o}": (file(PHOTO, "PNG", o), TURNS[o](PHOTO), 0) for o in TURNS},
    "RGBA turned": (file(Image.fromarray(RGBA), "PNG", 6), over_white(np.rot90(RGBA, -1)), 0.5),
    "grey JPEG turned": (file(GREY, "JPEG", 8), np.rot90(pillow(file(GREY, "JPEG"))), JPEG_LEVELS),
    "CMYK turned": (file(Image.fromarray(PHOTO).convert("CMYK"), "JPEG", 3), pillow(CMYK)[::-1, ::-1], JPEG_LEVELS),
    "EXIF, big end first": (png(8, 2, PHOTO, chunk(b"eXIf", exif(6, ">"))), np.rot90(PHOTO, -1), 0),
    "EXIF with its JPEG mark": (png(8, 2, PHOTO, chunk(b"eXIf", decoding.EXIF + exif(6))), np.rot90(PHOTO, -1), 0),
    "EXIF after another APP1": (
        with_segment(with_segment(JPEG, decoding.EXIF + exif(6)), b"http://ns.adobe.com/xap/1.0/\0<x/>"),
        np.rot90(pillow(JPEG), -1),
        JPEG_LEVELS,
    ),
    **{f"{w}x{h} {kind}": (file(PHOTO[:h, :w], kind), pillow(file(PHOTO[:h, :w], kind)), 0)
       for kind in ("JPEG", "PNG") for h, w in ((1, 1), (1, 40), (7, 9), (40, 3), (8, 8))},
}  # fmt: skip


def animated() -> bytes:
    """A GIF whose first picture has 16 colours."""
    first, second = Image.fromarray(PHOTO).quantize(16), Image.fromarray(PHOTO[::-1]).quantize(16)
    made = io.BytesIO()
    first.save(made, "GIF", save_all=True, append_images=[second])
    return made.getvalue()


def pam(pixels: np.ndarray) -> bytes:
    """A format that Pillow does not read."""
    return cv2.imencode(".pam", pixels[..., ::-1])[1].tobytes()


def codestream() -> bytes:
    """JPEG 2000 without the container of .jp2."""
    made = io.BytesIO()
    Image.fromarray(PHOTO).save(made, "JPEG2000", no_jp2=True)
    return made.getvalue()


def qoi(content: bytes, channels: int = 3) -> bytes:
    """A QOI of 2 x 1 pixels by hand."""
    return b"qoif" + struct.pack(">IIBB", 2, 1, channels, 0) + content + bytes(7) + b"\1"


XPM = b"""/* XPM */
static char *a[] = {
"2 2 3 1",
"a c #ff0000",
"b c #00ff00",
". c None",
"ab",
".a"
};
"""
# Files that only conversion and prediction read. name -> (file, pixels, largest difference)
OTHERS: dict[str, tuple[bytes, np.ndarray, float]] = {
    "animated GIF": (animated(), np.asarray(Image.fromarray(PHOTO).quantize(16).convert("RGB")), 0),
    "BMP": (file(PHOTO, "BMP"), PHOTO, 0),
    "PPM": (file(PHOTO, "PPM"), PHOTO, 0),
    "TIFF": (file(PHOTO, "TIFF"), PHOTO, 0),
    "TIFF turned": (file(PHOTO, "TIFF", 6), np.rot90(PHOTO, -1), 0),
    "TIFF with alpha": (file(Image.fromarray(RGBA), "TIFF"), over_white(RGBA), 0.5),
    "16-bit TIFF": (file(DEEP[..., 0], "TIFF"), grey(DEEP[..., 0] / 257), 0.5),
    "JPEG 2000": (file(PHOTO, "JPEG2000"), PHOTO, 0),
    "WebP": (file(Image.new("RGBA", (9, 7), (0, 0, 0, 51)), "WEBP"), np.full([7, 9, 3], 204), 1),
    "AVIF": (file(PHOTO, "AVIF"), pillow(file(PHOTO, "AVIF")), 0),
    "OpenCV's": (pam(PHOTO), PHOTO, 0),
    "JPEG 2000 without its container": (codestream(), PHOTO, 0),
    "one-bit TIFF": (file(Image.fromarray(GREY > 100), "TIFF"), grey((GREY > 100) * 255), 0),
    "CMYK TIFF": (file(Image.fromarray(PHOTO).convert("CMYK"), "TIFF"), PHOTO, 1),
    "grey WebP": (file(GREY, "WEBP"), pillow(file(GREY, "WEBP")), 0),
    "WebP turned": (file(PHOTO, "WEBP", 8), np.rot90(pillow(file(PHOTO, "WEBP"))), 0),
    "TGA with alpha": (file(Image.fromarray(RGBA), "TGA"), over_white(RGBA), 0.5),
    "PCX": (file(PHOTO, "PCX"), PHOTO, 0),
    "SGI": (file(PHOTO, "SGI"), PHOTO, 0),
    "1x1 GIF": (file(Image.new("P", (1, 1), 0), "GIF"), pillow(file(Image.new("P", (1, 1), 0), "GIF")), 0),
    "QOI": (qoi(b"\xfe\x0a\x14\x1e\xc0"), np.full([1, 2, 3], [10, 20, 30]), 0),  # one pixel, then once more
    # A fifth of the colour over white: 10 / 5 + 204.
    "QOI with alpha": (qoi(b"\xff\x0a\x14\x1e\x33\xc0", 4), np.full([1, 2, 3], [206, 208, 210]), 0),
    "XPM": (XPM, np.array([[[255, 0, 0], [0, 255, 0]], [[255, 255, 255], [255, 0, 0]]]), 0),
}
