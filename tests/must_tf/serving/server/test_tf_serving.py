"""TensorFlow Serving's REST protocol, over a real connection. Expected answers are after its documentation."""

from __future__ import annotations

import base64
import io
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from must_tf.serving.clients import client_rest
from must_tf.serving.server.batching import Sizes
from tests.must_tf.serving.server.stub_server import Running, StubModel, photo, rows, running, service

PREDICT = "/v1/models/stub:predict"
IMAGE = {"Content-Type": "image/png"}


@pytest.fixture(scope="module")
def server() -> Iterator[Running]:
    """A server with one model."""
    with running(service({"stub": StubModel(rows, Sizes(4, 16), number=3)})) as found:
        yield found


def b64(content: bytes) -> dict[str, str]:
    """Bytes as the protocol writes them."""
    return {"b64": base64.b64encode(content).decode()}


def test_status_and_metadata(server: Running) -> None:
    for path in ("/v1/models/stub", "/v1/models/stub/versions/3"):
        (state,) = server.json(path)["model_version_status"]
        assert state == {"version": "3", "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}
    metadata = server.json("/v1/models/stub/metadata")
    assert metadata["model_spec"] == {"name": "stub", "signature_name": "", "version": "3"}
    assert "serving_default" in metadata["metadata"]["signature_def"]["signature_def"]


@pytest.mark.parametrize("path", [PREDICT, "/v1/models/stub/versions/3:predict"])
def test_rows(server: Running, path: str) -> None:
    """Two photos of two sizes: maps are padded as the model pads them, and strings that are bytes are base64."""
    content = {"instances": [{"image_bytes": b64(photo(2, 3))}, b64(photo(1, 4, (7, 8, 9)))]}
    first, second = server.json(path, content)["predictions"]
    assert (first["image/size"], second["image/size"]) == ([2, 3], [1, 4])
    assert first["depth/metres"] == [[10, 10, 10, 0], [10, 10, 10, 0]]
    assert second["segmentation/classes"] == [[8, 8, 8, 8], [0, 0, 0, 0]]
    assert first["image/status"] == "ok"
    assert first["masks/png_bytes"] == [b64(b"\x89PNG"), b64(b"")]
    assert first["detection/scores"] == [0.9, 0.25, None]  # float32 0.9 is not 0.8999999761581421 in JSON


@pytest.mark.parametrize("inputs", [[b64(photo(1, 2))], {"image_bytes": [b64(photo(1, 2))]}])
def test_columns(server: Running, inputs: Any) -> None:
    outputs = server.json(PREDICT, {"signature_name": "image_bytes", "inputs": inputs})["outputs"]
    assert outputs["depth/metres"] == [[[10, 10]]] and outputs["image/status"] == ["ok"]


def test_outputs_are_selected_in_either_form(server: Running) -> None:
    """A number is a number in both, and what a name of a parameter misses is not ignored."""
    path = f"{PREDICT}?outputs=image/size,detection/count"
    expected = {"image/size": [1, 2], "detection/count": 2}
    assert server.json(path, {"instances": [b64(photo(1, 2))]}) == {"predictions": [expected]}
    assert json.loads(server.ask(path, photo(1, 2), IMAGE)[2]) == {"predictions": [expected]}
    assert server.json(path, {"inputs": [b64(photo(1, 2))]})["outputs"] == {
        "image/size": [[1, 2]],
        "detection/count": [2],
    }
    for wrong in ("output=image/size", "outputs=image/sise"):
        for body, headers in ((photo(1, 2), IMAGE), (b'{"instances": []}', {})):
            status, _, answer = server.ask(f"{PREDICT}?{wrong}", body, headers)
            assert status == 400 and b"Did you mean" in answer


def test_a_bad_photo_costs_its_own_row(server: Running) -> None:
    predictions = server.json(PREDICT, {"instances": [b64(b"no photo"), b64(photo(1, 1))]})["predictions"]
    assert [one["image/status"] for one in predictions] == ["damaged", "ok"]


def test_no_instances(server: Running) -> None:
    assert server.json(PREDICT, {"instances": []}) == {"predictions": []}


def test_pixels(server: Running) -> None:
    content = {"signature_name": "image_tensor", "instances": [[[[1, 2, 3], [4, 5, 6]]]]}
    (one,) = server.json(PREDICT, content)["predictions"]
    assert one["depth/metres"] == [[1, 4]] and one["segmentation/classes"] == [[2, 5]]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ({}, "either"),
        ({"instances": [], "inputs": []}, "either"),
        ({"instances": 3}, '"instances" must be a list'),
        ({"inputs": {"image_bytes": b64(b"")}}, '"inputs.image_bytes" must be a list'),
        ({"instances": [{"image_bytes": b64(photo(1, 1))["b64"]}]}, 'image 0: base64 is written as {"b64": "..."}'),
        ({"instances": [3]}, "image 0: expected"),
        ({"instances": [{"b64": "%%%"}]}, "image 0: expected base64"),
        ({"instances": [{"photo": {"b64": ""}}]}, "'image_bytes', not 'photo'"),
        ({"signature_name": "fitted", "instances": [{"b64": ""}]}, "no signature 'fitted'"),
        ({"signature_name": "image_tensor", "instances": [[[1, 2, 3]]]}, "whole numbers [h, w, 3]"),
        ({"signature_name": "image_tensor", "instances": [[[[1, 2, 300]]]]}, "from 0 to 255"),
        ({"signature_name": "image_tensor", "instances": [[[[1, 2, 3]], [[1, 2, 3], [1, 2, 3]]]]}, "differ in length"),
        ({"signature_name": "tf_example", "instances": [{"b64": "AAAA"}]}, "a record with an image"),
        ({"instances": [], "outputs": ["detection/scores"]}, "selected by the address"),
        ([], "must be a JSON object"),
    ],
)
def test_wrong_requests_get_a_reason(server: Running, content: Any, reason: str) -> None:
    status, _, body = server.ask(PREDICT, json.dumps(content).encode())
    assert status == 400 and reason in json.loads(body)["error"]


@pytest.mark.parametrize(
    ("path", "code"),
    [("/v1/models/other", 404), ("/v1/models/stub/versions/2", 404), ("/v1/models/other:predict", 405), ("/x", 404)],
)
def test_unknown_addresses(server: Running, path: str, code: int) -> None:
    status, headers, body = server.ask(path)
    assert status == code and json.loads(body)["error"]
    assert "access-control-allow-origin" not in headers


def test_a_photo_as_the_body(server: Running) -> None:
    """JSON of the chosen outputs, or one output as a file."""
    content = photo(2, 3, (1, 2, 3))
    _, _, body = server.ask(f"{PREDICT}?outputs=image/size,detection/scores", content, IMAGE)
    assert json.loads(body) == {"predictions": [{"image/size": [2, 3], "detection/scores": [0.9, 0.25, None]}]}
    accept = IMAGE | {"Accept": "application/x-npy"}
    _, headers, body = server.ask(f"{PREDICT}?outputs=depth/metres", content, accept)
    np.testing.assert_array_equal(np.load(io.BytesIO(body)), np.ones([2, 3], np.float32))
    assert headers["content-type"] == "application/x-npy"
    _, _, body = server.ask(f"{PREDICT}?outputs=depth/metres", content, IMAGE | {"Accept": "image/png"})
    millimetres = np.asarray(cv2.imdecode(np.frombuffer(body, np.uint8), cv2.IMREAD_UNCHANGED))
    assert millimetres.dtype == np.uint16 and np.all(millimetres == 1000)


@pytest.mark.parametrize(
    ("query", "accept", "code", "reason"),
    [
        ("?outputs=depth/metre", "application/json", 400, "'depth/metres'"),
        ("", "application/x-npy", 400, "Choose one"),
        ("?outputs=detection/scores", "image/png", 400, "has no PNG"),
        ("?outputs=masks/png_bytes", "application/x-npy", 400, ""),
    ],
)
def test_files_that_cannot_be_given(server: Running, query: str, accept: str, code: int, reason: str) -> None:
    status, _, body = server.ask(PREDICT + query, photo(1, 1), IMAGE | {"Accept": accept})
    assert status == code and reason in json.loads(body)["error"]


def test_a_bad_photo_as_the_body(server: Running) -> None:
    accept = IMAGE | {"Accept": "application/x-npy"}
    status, _, body = server.ask(f"{PREDICT}?outputs=depth/metres", b"no photo", accept)
    assert status == 422 and "damaged" in json.loads(body)["error"]


def test_the_client(server: Running) -> None:
    """The requests of the client that an export has."""
    outputs = client_rest.predict(f"http://127.0.0.1:{server.port}", "stub", photo(2, 3))
    assert outputs["image/status"] == "ok" and outputs["depth/metres"].tolist() == [[10, 10, 10]] * 2
    with pytest.raises(RuntimeError, match="404.*no model 'other'"):
        client_rest.predict(f"http://127.0.0.1:{server.port}", "other", b"")
    outputs = {"image/status": "ok", "detection/scores": np.array([0.9, 0.1]), "detection/classes": np.array([1, 1]),
        "detection/boxes": np.zeros([2, 4]), "classification/probability": np.array([0.2, 0.8])}  # fmt: skip
    shown = client_rest.lines(outputs, {"detection": ["ball"], "classification": ["hall", "cave"]})
    assert shown[-1].startswith("ball 0.90") and sum("ball" in line for line in shown) == 1
    assert "cave 0.80" in shown and "detection/scores: [0.9, 0.1]" in shown and "detection/boxes: shape (2, 4)" in shown


def test_the_client_fails_if_a_photo_has_no_prediction(
    server: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The others are still predicted, and a photo without a prediction has no shapes of empty outputs."""
    files = [tmp_path / "bad.png", tmp_path / "good.png"]
    for file, content in zip(files, (b"no photo", photo(1, 2)), strict=True):
        file.write_bytes(content)
    flags = ["client_rest.py", "--url", f"http://127.0.0.1:{server.port}", "--model", "stub"]
    for chosen, code in ((files, 1), (files[1:], 0)):
        monkeypatch.setattr(sys, "argv", [*flags, *map(str, chosen)])
        assert client_rest.main() == code
    assert capsys.readouterr().out.splitlines()[:4] == [
        str(files[0]),
        "  status: damaged",
        str(files[1]),
        "  status: ok",
    ]


def test_mistakes_with_curl_are_explained(server: Running) -> None:
    """A photo without its type, and GET for a prediction."""
    status, _, body = server.ask(PREDICT, photo(1, 1), {"Content-Type": "application/x-www-form-urlencoded"})
    assert status == 400 and b"needs the header Content-Type: image/jpeg" in body
    for address in (PREDICT, PREDICT.replace(":", "/versions/1:")):
        status, headers, body = server.ask(address)
        assert status == 405 and headers["allow"] == "POST" and b"by POST" in body
