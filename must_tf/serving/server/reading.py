"""Requests: their size, their time, and the photos in them."""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import cv2
import numpy as np
import orjson
from starlette.requests import ClientDisconnect, Request
from tensorflow.core.example import example_pb2

PHOTO_TYPES = ("image/jpeg", "image/png", "application/octet-stream")
ENCODED = ("", "serving_default", "image_bytes")
MAGIC = (b"\xff\xd8", b"\x89PNG")  # the first bytes of a JPEG or PNG file ...
MAGIC_TEXT = ("/9j/", "iVBORw0KGgo")  # ... and the same in base64
BARE = "A photo as the whole body needs the header Content-Type: image/jpeg or image/png"
JPEG_OR_PNG = "base64 of a JPEG or PNG file"


class Refused(Exception):
    """A request that is answered with an error."""

    def __init__(self, code: int, message: str, headers: Mapping[str, str] | None = None):
        super().__init__(message)
        self.code, self.message, self.headers = code, message, dict(headers or {})


class RequestLimits(NamedTuple):
    """The size and the time that one request may take."""

    bytes: int = 32 << 20
    seconds: float = 60.0


async def body(request: Request, limits: RequestLimits) -> bytes:
    """Reads the body of a request.

    Raises:
      Refused: it is too large, or too slow.
    """
    stated = request.headers.get("content-length", "0")
    if stated.isdecimal() and int(stated) > limits.bytes:
        raise Refused(413, f"the body has {stated} bytes, and {limits.bytes} are allowed")

    async def read() -> bytes:
        parts, size = [], 0
        async for part in request.stream():
            size += len(part)
            if size > limits.bytes:
                raise Refused(413, f"the body has more than {limits.bytes} bytes")
            parts.append(part)
        return b"".join(parts)

    try:
        return await asyncio.wait_for(read(), limits.seconds)
    except asyncio.TimeoutError:
        raise Refused(408, f"the body did not arrive within {limits.seconds:g} s", {"Connection": "close"}) from None
    except ClientDisconnect:
        raise Refused(400, "the client has closed the connection") from None


def parsed(content: bytes, bare: str = BARE) -> dict[str, Any]:
    """Parses a JSON object.

    Args:
      content: the body.
      bare: says how a photo can be sent as the whole body.

    Raises:
      Refused: it is something else.
    """
    if content.startswith(MAGIC):
        raise Refused(400, bare)
    try:
        values = orjson.loads(content)
    except orjson.JSONDecodeError as error:
        raise Refused(400, f"the body is not valid JSON: {error}. {bare}") from None
    if not isinstance(values, dict):
        raise Refused(400, "the body must be a JSON object")
    return values


def photo(value: Any, signature: str, place: str) -> bytes:
    """Returns one photo of a request, in any of the model's signatures, as a JPEG or PNG file.

    Args:
      value: the input as in JSON, with or without the input's name.
      signature: its name; "" is the default.
      place: of the value in the request, for messages.

    Raises:
      Refused: the value does not fit the signature.
    """
    name = "image_bytes" if signature in ENCODED else signature
    if name not in READERS:
        raise Refused(400, f"there is no signature {signature!r}. Use serving_default, image_tensor or tf_example")
    if isinstance(value, dict) and "b64" not in value:
        if list(value) != [name]:
            raise Refused(400, f"{place}: the input of this signature is {name!r}, not {', '.join(map(repr, value))}")
        value = value[name]
    return READERS[name](value, place)


def _file(value: Any, place: str) -> bytes:
    """Decodes {"b64": ...}. Other text stands for its own bytes, as in TensorFlow Serving."""
    if isinstance(value, str):
        if value.startswith(MAGIC_TEXT):
            raise Refused(400, f'{place}: base64 is written as {{"b64": "..."}}')
        return value.encode()
    if not isinstance(value, dict) or not isinstance(value.get("b64"), str):
        raise Refused(400, f'{place}: expected {{"b64": "..."}}, {JPEG_OR_PNG}')
    return from_base64(value["b64"], place)


def from_base64(text: Any, place: str) -> bytes:
    """Decodes base64.

    Raises:
      Refused: it is something else.
    """
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, TypeError, ValueError):
        raise Refused(400, f"{place}: expected {JPEG_OR_PNG}") from None


def _pixels(value: Any, place: str) -> bytes:
    try:
        image = np.array(value)
    except ValueError:
        raise Refused(400, f"{place}: the rows of the image differ in length") from None
    return as_png(image, place)


def as_png(image: np.ndarray, place: str) -> bytes:
    """Encodes pixels without loss.

    Raises:
      Refused: they are not whole numbers of 0 to 255, [h, w, 3].
    """
    whole = np.issubdtype(image.dtype, np.integer)
    if not whole or image.ndim != 3 or image.shape[2] != 3 or not image.size:
        raise Refused(400, f"{place}: an image must be whole numbers [h, w, 3], not {image.dtype} {list(image.shape)}")
    if image.min() < 0 or image.max() > 255:
        raise Refused(400, f"{place}: the values of an image must be from 0 to 255")
    encoded = cv2.imencode(".png", image.astype(np.uint8)[..., ::-1], [cv2.IMWRITE_PNG_COMPRESSION, 0])[1]
    return encoded.tobytes()


def _record(value: Any, place: str) -> bytes:
    serialized = _file(value, place)
    try:
        example = example_pb2.Example.FromString(serialized)
        return bytes(example.features.feature["image/encoded"].bytes_list.value[0])
    except Exception:  # protobuf's error is not public
        raise Refused(400, f"{place}: expected base64 of a record with an image") from None


READERS: Mapping[str, Callable[[Any, str], bytes]] = {
    "image_bytes": _file,
    "image_tensor": _pixels,
    "tf_example": _record,
}
