"""TensorFlow Serving's REST protocol: https://www.tensorflow.org/tfx/serving/api_rest.

Two additions: `?outputs=a,b` selects outputs, and the body of a request for a prediction may be a photo itself, with
its Content-Type. Then `Accept: application/x-npy` or `image/png` returns one output as a file.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from must_tf.common.errors import nearest
from must_tf.serving.server import encoding, reading
from must_tf.serving.server.batching import Row
from must_tf.serving.server.models import Output, Version
from must_tf.serving.server.reading import Refused
from must_tf.serving.server.service import Service

JSON = "application/json"
OUTPUTS = "outputs"  # the parameter of an address that selects outputs


class TFServing:
    """The endpoints."""

    def __init__(self, service: Service):
        self._service = service

    async def status(self, request: Request) -> Response:
        """Answers GET /v1/models/<name>: the version that is served."""
        name, version = request.path_params["name"], request.path_params.get("version", "")
        if f"{name}{version}".endswith(":predict"):
            raise Refused(405, "predictions are asked for by POST", {"Allow": "POST"})
        served = self._service.version(name, version)
        state = {"error_code": "OK", "error_message": ""}
        entry = {"version": str(served.number), "state": "AVAILABLE", "status": state}
        return Response(encoding.to_json({"model_version_status": [entry]}), media_type=JSON)

    async def metadata(self, request: Request) -> Response:
        """Answers GET /v1/models/<name>/metadata: the signatures."""
        name = request.path_params["name"]
        version = self._service.version(name, request.path_params.get("version", ""))
        signatures = {
            "@type": "type.googleapis.com/tensorflow.serving.SignatureDefMap",
            "signature_def": version.network.signature_def,
        }
        content = {
            "model_spec": {"name": name, "signature_name": "", "version": str(version.number)},
            "metadata": {"signature_def": signatures},
        }
        return Response(encoding.to_json(content), media_type=JSON)

    async def predict(self, request: Request) -> Response:
        """Answers POST /v1/models/<name>:predict."""
        name, version = request.path_params["name"], request.path_params.get("version", "")
        served = self._service.version(name, version)  # before the body is read
        _wanted(request, served.network.outputs)
        kind = request.headers.get("content-type", JSON).partition(";")[0].strip().lower()
        content = await reading.body(request, self._service.limits)
        if kind in reading.PHOTO_TYPES:
            predicted = await self._service.predict(name, [content], version)
            return await run_in_threadpool(_of_photo, request, predicted.rows[0], predicted.version)
        values = await run_in_threadpool(reading.parsed, content)
        by_row, photos = await run_in_threadpool(_photos, values)
        predicted = await self._service.predict(name, photos, version)
        wanted = _wanted(request, predicted.version.network.outputs)  # it may be newer by now
        return await run_in_threadpool(_of_rows, predicted.rows, wanted, by_row)


def _photos(values: dict[str, Any]) -> tuple[bool, list[bytes]]:
    """Returns True for the format with rows, False for that with columns, and the photos."""
    signature = str(values.get("signature_name", ""))
    if OUTPUTS in values:
        raise Refused(400, f"outputs are selected by the address, not in the body: ?{OUTPUTS}=a,b")
    if ("instances" in values) == ("inputs" in values):
        raise Refused(400, 'the body needs either "instances" or "inputs"')
    by_row = "instances" in values
    where = "instances" if by_row else "inputs"
    items = values[where]
    if isinstance(items, dict) and not by_row and len(items) == 1 and "b64" not in items:
        name, items = next(iter(items.items()))
        where = f"inputs.{name}"
        items = [{name: item} for item in items] if isinstance(items, list) else items
    if not isinstance(items, list):
        raise Refused(400, f'"{where}" must be a list, with an item for each photo')
    return by_row, [reading.photo(item, signature, f"image {place}") for place, item in enumerate(items)]


def _wanted(request: Request, outputs: Mapping[str, Output]) -> dict[str, Output]:
    """Returns the outputs that the address selects; all if it selects none.

    Raises:
      Refused: there is no such output, or no such parameter.
    """
    for name in request.query_params:
        if name != OUTPUTS:
            raise Refused(400, f"there is no parameter {name!r}.{nearest(name, [OUTPUTS])} Parameters: {OUTPUTS}")
    wanted = [name for name in request.query_params.get(OUTPUTS, "").split(",") if name] or list(outputs)
    for name in wanted:
        if name not in outputs:
            raise Refused(400, f"there is no output {name!r}.{nearest(name, outputs)} Outputs: {', '.join(outputs)}")
    return {name: outputs[name] for name in wanted}


def _of_rows(rows: list[Row], wanted: Mapping[str, Output], by_row: bool) -> Response:
    stacked = encoding.stacked(rows, wanted)
    columns = {name: encoding.plain(name, value) for name, value in stacked.items()}
    if by_row:
        content: dict[str, Any] = {
            "predictions": [{name: value[row] for name, value in columns.items()} for row in range(len(rows))]
        }
    else:
        content = {"outputs": columns}
    return Response(encoding.to_json(content), media_type=JSON)


def _of_photo(request: Request, row: Row, version: Version) -> Response:
    """Returns the outputs for a photo that was the body of its request."""
    wanted = list(_wanted(request, version.network.outputs))
    accepted = request.headers.get("accept", JSON).partition(";")[0].strip().lower()
    if accepted not in (encoding.NPY, encoding.PNG):
        content = {"predictions": [{name: encoding.plain(name, row[name]) for name in wanted}]}
        return Response(encoding.to_json(content), media_type=JSON)
    if len(wanted) != 1:
        raise Refused(400, f"{accepted} holds one output. Choose one with ?outputs=")
    status = row["image/status"].item().decode()
    if status != "ok":
        raise Refused(422, f"the image is not served: {status}")
    value = row[wanted[0]]
    try:
        file = encoding.npy(value) if accepted == encoding.NPY else encoding.png(wanted[0], value)
    except ValueError as error:
        raise Refused(400, str(error)) from None
    return Response(file, media_type=accepted)
