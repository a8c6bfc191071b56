"""KServe's protocol v2, also known as the Open Inference Protocol, with its extension for binary tensors.

In JSON, the `data` of `image_bytes` is base64, because JSON cannot hold a file. In a binary tensor, each string follows
its length, 4 bytes, little-endian.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any

import numpy as np
from starlette.requests import Request
from starlette.responses import Response

from must_tf import __version__
from must_tf.common.errors import nearest
from must_tf.serving.server import encoding, reading, threads
from must_tf.serving.server.models import SIGNATURE, Version
from must_tf.serving.server.reading import Refused
from must_tf.serving.server.service import Predicted, Service
from must_tf.serving.server.tf_serving import JSON

HEADER = "inference-header-content-length"  # length of the JSON before binary tensors
TENSOR = "image_tensor"
NAMES = {"float32": "FP32", "int32": "INT32", "int64": "INT64", "uint8": "UINT8", "bool": "BOOL", "object": "BYTES"}
TYPES = {np.dtype(name): kind for name, kind in NAMES.items()}
BARE = "A photo as the whole body is sent to /v1/models/<name>:predict"
JSON_COST = 100  # to write a number as text, compared with copying it
Answer = dict[str, Any]


class KServe:
    """The endpoints."""

    def __init__(self, service: Service):
        self._service = service

    async def server(self, request: Request) -> Response:
        """Answers GET /v2: the server's name and version."""
        del request
        content = {"name": "must_tf", "version": __version__, "extensions": ["binary_tensor_data"]}
        return Response(encoding.to_json(content), media_type=JSON)

    async def live(self, request: Request) -> Response:
        """Answers GET /v2/health/live."""
        del request
        return Response(encoding.to_json({"live": True}), media_type=JSON)

    async def ready(self, request: Request) -> Response:
        """Answers GET /v2/health/ready: 503 while the server shuts down."""
        del request
        ready = self._service.is_ready
        return Response(encoding.to_json({"ready": ready}), 200 if ready else 503, media_type=JSON)

    async def model_ready(self, request: Request) -> Response:
        """Answers GET /v2/models/<name>/ready."""
        self._version(request)
        return Response(encoding.to_json({"ready": True}), media_type=JSON)

    async def metadata(self, request: Request) -> Response:
        """Answers GET /v2/models/<name>: inputs and outputs."""
        version = self._version(request)
        outputs = [
            {
                "name": name,
                "datatype": TYPES[output.dtype],
                "shape": [-1, *(-1 if size is None else size for size in output.shape)],
            }
            for name, output in version.network.outputs.items()
        ]
        content = {
            "name": request.path_params["name"],
            "versions": [str(version.number)],
            "platform": "tensorflow_savedmodel",
            "inputs": [
                {"name": SIGNATURE, "datatype": "BYTES", "shape": [-1]},
                {"name": TENSOR, "datatype": "UINT8", "shape": [-1, -1, -1, 3]},
            ],
            "outputs": outputs,
        }
        return Response(encoding.to_json(content), media_type=JSON)

    async def infer(self, request: Request) -> Response:
        """Answers POST /v2/models/<name>/infer with one of the two inputs."""
        self._version(request)
        content = await reading.body(request, self._service.limits)
        asked, photos = await threads.run(len(content), _request, content, request.headers.get(HEADER))
        name, version = request.path_params["name"], request.path_params.get("version", "")
        predicted = await self._service.predict(name, photos, version)
        return await threads.run(_work(asked, predicted), _response, name, asked, predicted)

    def _version(self, request: Request) -> Version:
        return self._service.version(request.path_params["name"], request.path_params.get("version", ""))


def _request(content: bytes, header: str | None) -> tuple[Answer, list[bytes]]:
    """Returns the JSON of a request, and its photos."""
    length = len(content)
    if header is not None:
        if not header.isdecimal() or int(header) > length:
            raise Refused(400, f"{HEADER} must be a number up to the length of the body")
        length = int(header)
    asked = reading.parsed(content[:length], BARE)
    inputs = asked.get("inputs")
    if not isinstance(inputs, list) or len(inputs) != 1 or not isinstance(inputs[0], dict):
        raise Refused(400, f'"inputs" must be a list with one input, {SIGNATURE} or {TENSOR}')
    given, binary = inputs[0], content[length:]
    shape = given.get("shape")
    if not isinstance(shape, list) or not all(isinstance(size, int) and size >= 0 for size in shape):
        raise Refused(400, 'the input\'s "shape" must be a list of sizes')
    if given.get("name") == SIGNATURE and given.get("datatype") == "BYTES":
        photos = _strings(given, binary)
    elif given.get("name") == TENSOR and given.get("datatype") == "UINT8":
        photos = _images(given, shape, binary)
    else:
        raise Refused(400, f"the input must be {SIGNATURE} of type BYTES, or {TENSOR} of type UINT8")
    if len(photos) != (int(np.prod(shape)) if given["name"] == SIGNATURE else shape[0]):
        raise Refused(400, f"the shape {shape} does not fit the data, which has {len(photos)} images")
    return asked, photos


def _is_binary(given: Answer, binary: bytes) -> bool:
    """Returns True if an input is a binary tensor.

    Raises:
      Refused: its stated size is not that of the data.
    """
    size = _parameters(given).get("binary_data_size")
    if size is None:
        return False
    if size != len(binary):
        raise Refused(400, f"binary_data_size is {size}, but {len(binary)} bytes follow the JSON")
    return True


def _strings(given: Answer, binary: bytes) -> list[bytes]:
    if not _is_binary(given, binary):
        data = given.get("data")
        if not isinstance(data, list):
            raise Refused(400, 'the input has neither "data", a list, nor a "binary_data_size"')
        return [reading.from_base64(text, f"image {place}") for place, text in enumerate(data)]
    photos, at = [], 0
    while at < len(binary):
        size = int.from_bytes(binary[at : at + 4], "little")
        at += 4 + size
        if at > len(binary):
            raise Refused(400, "a string of the binary tensor is longer than the data")
        photos.append(binary[at - size : at])
    return photos


def _images(given: Answer, shape: list[int], binary: bytes) -> list[bytes]:
    if len(shape) != 4 or shape[3] != 3:
        raise Refused(400, f"the shape of {TENSOR} must be [images, height, width, 3], not {shape}")
    try:
        is_binary = _is_binary(given, binary)
        values = np.frombuffer(binary, np.uint8) if is_binary else np.array(given.get("data"))
        images = values.reshape(shape)
    except ValueError:
        raise Refused(400, f"the data does not have the shape {shape}") from None
    return [reading.as_png(image, f"image {place}") for place, image in enumerate(images)]


def _work(asked: Answer, predicted: Predicted) -> int:
    """Returns how much work an answer is: bytes that are copied, or as much.

    All outputs are joined to a batch, and those that are wanted as text are written as text.
    """
    sizes = {name: sum(_size(row[name]) for row in predicted.rows) for name in predicted.version.network.outputs}
    all_binary = bool(_parameters(asked).get("binary_data_output"))
    wanted = _wanted(asked, sizes).items()
    texts = [sizes[name] for name, parameters in wanted if not parameters.get("binary_data", all_binary)]
    return sum(sizes.values()) + JSON_COST * sum(texts)


def _size(value: np.ndarray) -> int:
    return sum(map(len, value.flat)) if value.dtype == object else value.nbytes


def _response(name: str, asked: Answer, predicted: Predicted) -> Response:
    """Returns the answer, with binary tensors if the request wants them."""
    outputs = encoding.stacked(predicted.rows, predicted.version.network.outputs)
    all_binary = bool(_parameters(asked).get("binary_data_output"))
    entries, binary = [], []
    for output, parameters in _wanted(asked, outputs).items():
        value = outputs[output]
        entry: Answer = {"name": output, "shape": list(value.shape), "datatype": TYPES[value.dtype]}
        if parameters.get("binary_data", all_binary):
            binary.append(_binary(value))
            entry["parameters"] = {"binary_data_size": binary[-1].nbytes}
        else:
            flat = encoding.plain(output, value.ravel())
            entry["data"] = [text["b64"] if isinstance(text, dict) else text for text in flat]
            if value.dtype != object:
                entry["data"] = flat
        entries.append(entry)
    content = {"model_name": name, "model_version": str(predicted.version.number), "outputs": entries}
    if "id" in asked:
        content["id"] = asked["id"]
    head = encoding.to_json(content)
    if not binary:
        return Response(head, media_type=JSON)
    headers = {HEADER: str(len(head))}
    return Response(b"".join([head, *binary]), media_type="application/octet-stream", headers=headers)


def _wanted(asked: Answer, outputs: Mapping[str, Any]) -> dict[str, Answer]:
    """Returns the parameters of each output that is wanted, by name; all outputs if the request names none."""
    wanted: dict[str, Answer] = {}
    entries = asked.get("outputs") or [{"name": name} for name in outputs]
    if not isinstance(entries, list):
        raise Refused(400, '"outputs" must be a list')
    for entry in entries:
        name = str(entry.get("name") if isinstance(entry, dict) else entry)
        if name not in outputs:
            raise Refused(400, f"there is no output {name!r}.{nearest(name, outputs)} Outputs: {', '.join(outputs)}")
        wanted[name] = _parameters(entry)
    return wanted


def _parameters(entry: Any) -> Answer:
    parameters = entry.get("parameters") if isinstance(entry, dict) else None
    return parameters if isinstance(parameters, dict) else {}


def _binary(value: np.ndarray) -> memoryview:
    """Encodes a tensor as in a binary tensor of the protocol. Numbers are only copied if they must be."""
    if value.dtype != object:
        return np.ascontiguousarray(value, value.dtype.newbyteorder("<")).data
    return memoryview(b"".join(struct.pack("<I", len(text)) + text for text in value.ravel()))
