"""KServe's protocol v2, over a real connection. Expected answers are after the Open Inference Protocol."""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from must_tf.serving.server import kserve
from must_tf.serving.server.batching import Sizes
from must_tf.serving.server.service import Predicted
from tests.must_tf.serving.server.stub_server import Running, StubModel, photo, rows, running, service

INFER = "/v2/models/stub/infer"
HEADER = "Inference-Header-Content-Length"


@pytest.fixture(scope="module")
def server() -> Iterator[Running]:
    """A server with one model."""
    with running(service({"stub": StubModel(rows, Sizes(4, 16), number=3)})) as found:
        yield found


def encoded(*photos: bytes, **changes: Any) -> dict[str, Any]:
    """A request in JSON."""
    data = [base64.b64encode(one).decode() for one in photos]
    given = {"name": "image_bytes", "datatype": "BYTES", "shape": [len(photos)], "data": data}
    return {"inputs": [given | changes]}


def test_health_and_metadata(server: Running) -> None:
    assert server.json("/v2/health/live") == {"live": True} and server.json("/v2/health/ready") == {"ready": True}
    assert server.json("/v2/models/stub/ready") == {"ready": True}
    assert server.json("/v2")["extensions"] == ["binary_tensor_data"]
    metadata = server.json("/v2/models/stub/versions/3")
    assert metadata["name"] == "stub" and metadata["versions"] == ["3"]
    assert metadata["inputs"][0] == {"name": "image_bytes", "datatype": "BYTES", "shape": [-1]}
    outputs = {one["name"]: one for one in metadata["outputs"]}
    assert outputs["depth/metres"] == {"name": "depth/metres", "datatype": "FP32", "shape": [-1, -1, -1]}
    assert outputs["masks/png_bytes"]["datatype"] == "BYTES"


def test_it_is_not_ready_while_it_stops(server: Running) -> None:
    server.service.is_ready = False
    try:
        assert server.ask("/v2/health/ready")[0] == 503
        assert server.ask("/v2/health/live")[0] == 200
    finally:
        server.service.is_ready = True


def test_json(server: Running) -> None:
    """Data is flat."""
    answer = server.json(INFER, encoded(photo(1, 2), photo(2, 1, (7, 8, 9))) | {"id": "a"})
    assert (answer["model_name"], answer["model_version"], answer["id"]) == ("stub", "3", "a")
    outputs = {one["name"]: one for one in answer["outputs"]}
    assert outputs["depth/metres"]["shape"] == [2, 2, 2]
    assert outputs["depth/metres"]["data"] == [10, 10, 0, 0, 7, 0, 7, 0]
    assert outputs["image/status"]["data"] == ["ok", "ok"]
    assert outputs["masks/png_bytes"]["data"] == [base64.b64encode(b"\x89PNG").decode(), ""] * 2


def test_chosen_outputs(server: Running) -> None:
    answer = server.json(INFER, encoded(photo(1, 1)) | {"outputs": [{"name": "image/size"}]})
    assert [one["name"] for one in answer["outputs"]] == ["image/size"]


def test_binary_tensors(server: Running) -> None:
    """Strings follow their length; one output is binary and the other is JSON."""
    file = photo(2, 3)
    strings = struct.pack("<I", len(file)) + file
    given = {"name": "image_bytes", "datatype": "BYTES", "shape": [1], "parameters": {"binary_data_size": len(strings)}}
    wanted = [{"name": "depth/metres", "parameters": {"binary_data": True}}, {"name": "image/size"}]
    head = json.dumps({"inputs": [given], "outputs": wanted}).encode()
    status, headers, body = server.ask(INFER, head + strings, {HEADER: str(len(head))})
    length = int(headers[HEADER.lower()])
    depth, size = json.loads(body[:length])["outputs"]
    assert status == 200 and depth["parameters"] == {"binary_data_size": 24} and size["data"] == [2, 3]
    np.testing.assert_array_equal(np.frombuffer(body[length:], "<f4"), np.full(6, 10.0))


@pytest.mark.parametrize(
    ("all_binary", "depth", "texts"),
    [(False, None, 158), (True, None, 0), (True, {}, 0), (False, {"binary_data": True}, 0)]
    + [(True, {"binary_data": False}, 64), (False, {}, 64)],
)
def test_only_outputs_that_are_wanted_as_text_are_much_work(
    all_binary: bool, depth: dict[str, bool] | None, texts: int
) -> None:
    """A client asks for binary tensors of all outputs, or of each; 158 bytes are joined to a batch in any case."""
    predicted = Predicted(rows([photo(4, 4)]), StubModel(rows, Sizes()).current)
    chosen = {} if depth is None else {"outputs": [{"name": "depth/metres", "parameters": depth}]}
    work = kserve._work(chosen | {"parameters": {"binary_data_output": all_binary}}, predicted)
    assert work == 158 + kserve.JSON_COST * texts


def test_binary_strings_and_pixels(server: Running) -> None:
    """All outputs are binary, and the input is a tensor of pixels."""
    pixels = np.arange(12, dtype=np.uint8).tobytes()
    given = {"name": "image_tensor", "datatype": "UINT8", "shape": [1, 2, 2, 3], "parameters": {"binary_data_size": 12}}
    head = json.dumps({"inputs": [given], "parameters": {"binary_data_output": True}}).encode()
    _, headers, body = server.ask(INFER, head + pixels, {HEADER: str(len(head))})
    at = int(headers[HEADER.lower()])
    found = {}
    for output in json.loads(body[:at])["outputs"]:
        size = output["parameters"]["binary_data_size"]
        found[output["name"]], at = body[at : at + size], at + size
    assert at == len(body)
    assert found["image/status"] == b"\x02\x00\x00\x00ok"
    assert np.frombuffer(found["depth/metres"], "<f4").tolist() == [0, 3, 6, 9]


@pytest.mark.parametrize("content", [photo(1, 1), b"hello"])
def test_a_photo_as_the_body_is_told_where_it_can_be_sent(server: Running, content: bytes) -> None:
    status, _, body = server.ask(INFER, content, {"Content-Type": "image/jpeg"})
    assert status == 400 and "is sent to /v1/models/<name>:predict" in json.loads(body)["error"]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ({}, "a list with one input"),
        ({"inputs": [3]}, "a list with one input"),
        (encoded(photo(1, 1), shape=None), '"shape"'),
        (encoded(photo(1, 1), shape=[2]), "does not fit the data"),
        (encoded(photo(1, 1), name="photo"), "must be image_bytes"),
        (encoded(photo(1, 1), datatype="FP32"), "must be image_bytes"),
        (encoded(photo(1, 1), data=["%"]), "image 0: expected base64"),
        (encoded(photo(1, 1), data=[3]), "image 0: expected base64"),
        (encoded(photo(1, 1), data=None), "neither"),
        (encoded(photo(1, 1), parameters={"binary_data_size": 5}), "binary_data_size is 5, but 0 bytes"),
        (encoded(photo(1, 1)) | {"outputs": [{"name": "depth"}]}, "no output 'depth'"),
        (encoded(photo(1, 1)) | {"outputs": [{"name": [1]}]}, "no output '[1]'"),
        (encoded(photo(1, 1)) | {"outputs": 3}, '"outputs" must be a list'),
        ({"inputs": [{"name": "image_tensor", "datatype": "UINT8", "shape": [1, 2], "data": []}]}, "[images, height"),
        (
            {"inputs": [{"name": "image_tensor", "datatype": "UINT8", "shape": [1, 1, 1, 3], "data": [1]}]},
            "does not have the shape",
        ),
    ],
)
def test_wrong_requests_get_a_reason(server: Running, content: Any, reason: str) -> None:
    status, _, body = server.ask(INFER, json.dumps(content).encode())
    assert status == 400 and reason in json.loads(body)["error"]


@pytest.mark.parametrize("length", ["x", "-1", "1000000"])
def test_a_wrong_length_of_the_header(server: Running, length: str) -> None:
    status, _, body = server.ask(INFER, b"{}", {HEADER: length})
    assert status == 400 and HEADER.lower() in json.loads(body)["error"]


def test_a_string_that_is_longer_than_the_data(server: Running) -> None:
    strings = struct.pack("<I", 100) + b"short"
    given = {"name": "image_bytes", "datatype": "BYTES", "shape": [1], "parameters": {"binary_data_size": len(strings)}}
    head = json.dumps({"inputs": [given]}).encode()
    status, _, body = server.ask(INFER, head + strings, {HEADER: str(len(head))})
    assert status == 400 and "longer than the data" in json.loads(body)["error"]
