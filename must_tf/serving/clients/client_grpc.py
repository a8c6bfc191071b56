"""Asks TensorFlow Serving for predictions over gRPC: `python client_grpc.py photo.jpg`. Needs grpcio and NumPy.

The messages are those of tensorflow_serving/apis/predict.proto. Its generated code needs TensorFlow, so this file
writes and reads the few fields that it uses. Their numbers below are the schema's.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

METHOD = "/tensorflow.serving.PredictionService/Predict"
MAX_MESSAGE = 1 << 30  # bytes; gRPC's default of 4 MiB is too small for maps
UNREACHED = "UNAVAILABLE"  # gRPC's status if no connection can be made
REMEDY = "Start TensorFlow Serving, or give its address with --address. (must serve has no gRPC: use client_rest.py.)"
FEW = 4  # numbers of an output that are printed; of more, their shape
STRING = 7  # DT_STRING
TYPES = {1: np.float32, 2: np.float64, 3: np.int32, 4: np.uint8, 9: np.int64, 10: np.bool_}  # DataType
VARINTS, FIXED = (7, 10, 11), {5: "<f4", 6: "<f8"}  # fields of TensorProto: int_val, int64_val, bool_val; floats


def _varint(number: int) -> bytes:
    encoded = bytearray()
    while number >= 0x80:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*encoded, number])


def number_field(field: int, number: int) -> bytes:
    """Encodes a field that holds an integer of at least 0."""
    return _varint(field << 3) + _varint(number)


def bytes_field(field: int, content: bytes | str) -> bytes:
    """Encodes a field that holds bytes, text or a message."""
    content = content.encode() if isinstance(content, str) else content
    return _varint(field << 3 | 2) + _varint(len(content)) + content


def tensor(values: np.ndarray | Sequence[bytes]) -> bytes:
    """Encodes a TensorProto of an array, or of a list of byte strings."""
    if isinstance(values, np.ndarray):
        kind = next(number for number, dtype in TYPES.items() if values.dtype == dtype)
        shape, content = values.shape, bytes_field(4, np.ascontiguousarray(values).tobytes())
    else:
        kind, shape = STRING, (len(values),)
        content = b"".join(bytes_field(8, value) for value in values)
    sizes = b"".join(bytes_field(2, number_field(1, size)) for size in shape)
    return number_field(1, kind) + bytes_field(2, sizes) + content


def predict_request(
    model: str,
    inputs: Mapping[str, np.ndarray | Sequence[bytes]],
    signature: str = "serving_default",
    outputs: Sequence[str] = (),
) -> bytes:
    """Encodes a PredictRequest. Without `outputs`, the server returns all of them."""
    request = bytes_field(1, bytes_field(1, model) + bytes_field(3, signature))
    for name, values in inputs.items():
        request += bytes_field(2, bytes_field(1, name) + bytes_field(2, tensor(values)))
    return request + b"".join(bytes_field(3, name) for name in outputs)


def _number(message: memoryview, at: int) -> tuple[int, int]:
    """Reads a varint. Returns it and the position after it."""
    number = shift = 0
    while True:
        byte = message[at]
        number |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return number, at


def fields(message: memoryview) -> Iterator[tuple[int, Any]]:
    """Yields (field, content) of a message: an integer, or the bytes of text, numbers or a message."""
    at = 0
    while at < len(message):
        key, at = _number(message, at)
        kind = key & 7
        if kind == 0:
            number, at = _number(message, at)
            yield key >> 3, number
        else:
            size, at = _number(message, at) if kind == 2 else ({1: 8, 5: 4}[kind], at)
            yield key >> 3, message[at : at + size]
            at += size


def _varints(packed: memoryview) -> np.ndarray:
    """Decodes many integers at once, int64."""
    data = np.frombuffer(packed, np.uint8)
    ends = np.flatnonzero(data < 0x80)
    starts = np.concatenate([[0], ends[:-1] + 1]) if len(ends) else ends
    place = np.arange(len(data)) - np.repeat(starts, ends - starts + 1)
    parts = (data & 0x7F).astype(np.uint64) << (7 * place).astype(np.uint64)
    return np.add.reduceat(parts, starts).view(np.int64) if len(ends) else parts.view(np.int64)


def array(message: memoryview) -> np.ndarray:
    """Decodes a TensorProto to an array; strings have type object."""
    kind = 0
    shape: list[int] = []
    strings: list[bytes] = []
    numbers: list[np.ndarray] = []
    for field, content in fields(message):
        if field == 1:
            kind = content
        elif field == 2:
            shape = [next((size for _, size in fields(dim)), 0) for number, dim in fields(content) if number == 2]
        elif field == 4:
            numbers.append(np.frombuffer(content, TYPES[kind]))
        elif field == 8:
            strings.append(bytes(content))
        elif field in FIXED:
            numbers.append(np.frombuffer(content, FIXED[field]))
        elif field in VARINTS:
            numbers.append(np.array([content]) if isinstance(content, int) else _varints(content))
    if kind == STRING:
        values = np.array(strings, object)
    else:
        values = np.concatenate(numbers or [np.zeros(0)]).astype(TYPES[kind])
    missing = int(np.prod(shape)) - len(values)  # equal values at the end are sent once
    return np.concatenate([values, np.repeat(values[-1:], missing)]).reshape(shape)


def predict_response(message: bytes) -> dict[str, np.ndarray]:
    """Decodes a PredictResponse to arrays by name."""
    outputs = {}
    for field, entry in fields(memoryview(message)):
        if field == 1:
            parts = dict(fields(entry))
            outputs[bytes(parts[1]).decode()] = array(parts[2])
    return outputs


def predict(address: str, model: str, photos: Sequence[bytes], timeout: float = 60.0) -> dict[str, np.ndarray]:
    """Returns the outputs for JPEG or PNG files, as arrays with a batch axis by name.

    Raises:
      grpc.RpcError: the server refuses or cannot be reached.
    """
    import grpc

    options = [("grpc.max_receive_message_length", MAX_MESSAGE), ("grpc.max_send_message_length", MAX_MESSAGE)]
    with grpc.insecure_channel(address, options) as channel:
        call = channel.unary_unary(METHOD)
        return predict_response(call(predict_request(model, {"image_bytes": photos}), timeout=timeout))


def _reason(error: Any, address: str) -> str:
    """Returns why a photo cannot be read or sent, and what to do if there is no server."""
    if not hasattr(error, "details"):
        return getattr(error, "strerror", None) or str(error)
    if error.code().name != UNREACHED:
        return str(error.details())
    return f"{address} cannot be reached: {error.details()}. {REMEDY}"


def main() -> int:
    """Prints the predictions for photos. Returns 1 if there is none for one of them, 2 if a request is impossible."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("photos", nargs="+", metavar="PHOTO")
    parser.add_argument("--address", default="127.0.0.1:8500", help="of the server (%(default)s)")
    parser.add_argument("--model", default="student", help="its name at the server (%(default)s)")
    flags = parser.parse_args()
    code = 0
    for photo in flags.photos:
        try:
            outputs = predict(flags.address, flags.model, [Path(photo).read_bytes()])
        except Exception as error:  # grpc.RpcError has no useful common base
            print(f"error: {photo}: {_reason(error, flags.address)}", file=sys.stderr)
            return 2
        status = outputs.pop("image/status")[0].decode()
        print(f"{photo}: {status}")
        if status != "ok":
            code = 1
            continue
        for name, (values,) in sorted(outputs.items()):
            is_short = values.size <= FEW and values.dtype != object
            print(f"  {name}: {values.tolist() if is_short else f'shape {values.shape}'}")
    return code


if __name__ == "__main__":
    sys.exit(main())
