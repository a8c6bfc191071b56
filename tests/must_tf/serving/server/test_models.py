"""Exports by name and version; a newer version replaces an older one; an export behind the protocols."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import shutil
import signal
import socket
import sys
import threading
import time
from pathlib import Path
from typing import Any
from unittest import mock
from urllib.request import urlopen

import numpy as np
import pytest
import tensorflow as tf
from starlette.applications import Starlette

from must_tf.cli import serve
from must_tf.common import interrupts
from must_tf.common.errors import UserError, exit_on_user_error
from must_tf.serving import companions
from must_tf.serving.clients import client_rest
from must_tf.serving.server import command, models
from must_tf.serving.server.batching import Sizes
from must_tf.serving.server.models import Model, Network
from must_tf.serving.server.reading import RequestLimits
from tests.must_tf.serving.server.stub_server import OUTPUTS, rows, running, service
from tests.support.predicting import images
from tests.support.tiny import image_bytes


def export(folder: Path) -> Path:
    """Makes a folder that looks like an export."""
    folder.mkdir(parents=True)
    (folder / "saved_model.pb").touch()
    return folder


def loads(monkeypatch: pytest.MonkeyPatch, broken: tuple[str, ...] = ()) -> list[str]:
    """Replaces loading. Returns the paths that are loaded, to which later ones are added."""
    loaded: list[str] = []

    def load(path: str) -> Network:
        loaded.append(path)
        if os.path.basename(path) in broken:
            raise UserError("broken")
        return Network(path, {}, OUTPUTS, rows, {})

    monkeypatch.setattr(models, "load", load)
    return loaded


def model(root: Path) -> Model:
    """A model of this folder."""
    return Model("m", str(root), Sizes(), lambda name, images: None)


def test_the_newest_version_is_served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    export(tmp_path / "9")
    newest = export(tmp_path / "10")
    loaded = loads(monkeypatch)
    assert model(tmp_path).current.number == 10 and loaded == [str(newest)]


def test_a_newer_version_replaces_it_and_the_older_one_finishes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    export(tmp_path / "1")
    loads(monkeypatch)

    async def scenario() -> None:
        served = model(tmp_path)
        assert not await served.refresh()
        export(tmp_path / "2")
        before = served.current
        pending = asyncio.create_task(before.batcher.rows([b""]))
        await asyncio.sleep(0)
        assert await served.refresh() and served.current.number == 2
        assert len(await pending) == 1

    asyncio.run(scenario())


def test_a_version_that_cannot_be_loaded_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It is reported once and tried again."""
    export(tmp_path / "1")
    export(tmp_path / "2")
    loaded = loads(monkeypatch)

    async def scenario() -> None:
        served = model(tmp_path)
        export(tmp_path / "3")
        loaded_before = len(loaded)
        with monkeypatch.context() as patch:
            loads(patch, ("3",))
            assert not await served.refresh() and not await served.refresh()
        assert served.current.number == 2
        assert await served.refresh() and served.current.number == 3 and len(loaded) == loaded_before + 1

    asyncio.run(scenario())
    assert sum("version 3 cannot be loaded, version 2 stays" in record.getMessage() for record in caplog.records) == 1


def test_a_folder_that_cannot_be_read_for_a_moment_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Later versions are found when it can be read again."""
    export(tmp_path / "1")
    loads(monkeypatch)

    def unreadable(root: str) -> dict[int, str]:
        raise OSError(root)

    async def scenario() -> None:
        served = model(tmp_path)
        export(tmp_path / "2")
        with monkeypatch.context() as patch:
            patch.setattr(models.layout, "versions", unreadable)
            assert not await served.refresh()
        assert await served.refresh() and served.current.number == 2

    asyncio.run(scenario())


def test_models_by_name(tmp_path: Path) -> None:
    """An export, a folder of versions, and a folder of both kinds."""
    one, two = export(tmp_path / "all" / "one"), export(tmp_path / "all" / "two" / "1").parent
    assert models.named([str(one), str(two)]) == {"one": str(one), "two": str(two)}
    assert models.named([str(tmp_path / "all")]) == {"one": str(one), "two": str(two)}
    (tmp_path / "none").mkdir()
    with pytest.raises(UserError, match="none is not an export and contains none"):
        models.named([str(tmp_path / "none")])
    with pytest.raises(UserError, match=f"al does not exist. Did you mean '{tmp_path}/all'"):
        models.named([str(tmp_path / "al")])
    with pytest.raises(UserError, match="both be the model 'one'"):
        models.named([str(one), str(tmp_path / "all")])


def test_an_export_of_an_older_version_is_refused(tiny_export: str, tmp_path: Path) -> None:
    """It has no status of images."""
    tf.saved_model.save(tf.Module(), str(tmp_path / "old"))
    shutil.copy(Path(tiny_export, "must_tf.json"), tmp_path / "old")
    with pytest.raises(UserError, match="older version. Export the run again"):
        models.load(str(tmp_path / "old"))
    with pytest.raises(UserError, match="cannot be loaded"):
        models.load(str(tmp_path / "missing"))


def test_served_values_are_those_of_the_signature(tiny_export: str) -> None:
    """Two sizes and a bad photo in one request, bit for bit up to JSON's decimals; a photo by KServe's protocol."""
    name = "tiny"
    photos = [image_bytes(images()[0]), b"no photo", image_bytes(images()[1])]
    served = Model(name, str(Path(tiny_export).parent), Sizes(), lambda name, images: None)
    expected = served.current.network.predict(photos)
    with running(service({name: served})) as server:
        predictions = server.json(f"/v1/models/{name}:predict", json.loads(client_rest.request_body(photos)))
        data = [base64.b64encode(photos[0]).decode()]
        given = {"name": "image_bytes", "datatype": "BYTES", "shape": [1], "data": data}
        answer = server.json(f"/v2/models/{name}/infer", {"inputs": [given], "outputs": [{"name": "depth/metres"}]})
        metadata = server.json(f"/v1/models/{name}/metadata")["metadata"]["signature_def"]["signature_def"]
    for prediction, row in zip(predictions["predictions"], expected, strict=True):
        assert set(prediction) == set(row)
        for key, value in row.items():
            assert_equal(prediction[key], value, key)
    np.testing.assert_allclose(answer["outputs"][0]["data"], expected[0]["depth/metres"].ravel(), rtol=1e-4)
    assert metadata["image_bytes"]["inputs"]["image_bytes"]["dtype"] == "DT_STRING"
    assert {"serving_default", "image_tensor", "tf_example"} < set(metadata) and "fitted" not in metadata


def assert_equal(value: Any, wanted: np.ndarray, name: str) -> None:
    """Checks a value of JSON against the model's; maps are padded to the largest of the request."""
    if wanted.dtype == object:
        assert value == wanted.item().decode(), name
    else:
        padded = np.array(value, float)
        own = padded[tuple(slice(size) for size in wanted.shape)]
        np.testing.assert_allclose(own, wanted, rtol=1e-4, atol=1e-4, err_msg=name)
        assert np.count_nonzero(padded) == np.count_nonzero(own), name


def content(url: str) -> bytes:
    """Reads an address."""
    with urlopen(url) as response:
        return bytes(response.read())


def test_a_server_that_is_asked_to_stop_says_what_it_waits_for(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once; the second time it does not wait."""
    options = command.ServerOptions("127.0.0.1", 0, RequestLimits(), Sizes(), 10, 1.0)
    for waiting, words in ((0, "stopping\n"), (2, "stopping; requests still being answered: 2. Press Ctrl-C again")):
        server = command._Server(command.configuration(Starlette(), options), service({}))
        server.server_state.tasks = {mock.Mock() for _ in range(waiting)}
        server.handle_exit(signal.SIGTERM, None)
        assert capfd.readouterr().err.startswith(words) and not server.force_exit
        server.handle_exit(signal.SIGINT, None)
        assert not capfd.readouterr().err and server.force_exit
    monkeypatch.setattr(sys, "stderr", None)  # as Python has it if the process began without one
    command._Server(command.configuration(Starlette(), options), service({})).handle_exit(signal.SIGTERM, None)
    assert not capfd.readouterr().err


@pytest.mark.parametrize("number", interrupts.BOTH)
def test_the_command_serves_until_it_is_asked_to_stop(
    number: signal.Signals, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """At a free port; a version that appears is served; both signals end it with exit code 0 and without an error."""
    export(tmp_path / "m" / "1")
    loads(monkeypatch)
    monkeypatch.setattr(companions, "sample", lambda number: b"sample %d" % number)
    seen: list[Any] = []

    def visit() -> None:
        try:
            while not (printed := capsys.readouterr().out):
                time.sleep(0.01)
            url = printed.split()[3].partition("/v1")[0]
            seen.append(content(f"{url}/samples/2"))
            export(tmp_path / "m" / "2")
            while b'"version":"2"' not in content(f"{url}/v1/models/m"):
                time.sleep(0.01)
            seen.append("reloaded")
        finally:
            os.kill(os.getpid(), number)

    visitor = threading.Thread(target=visit)
    visitor.start()
    code = exit_on_user_error(lambda: serve.main([str(tmp_path / "m"), "--port=0", "--reload_seconds=0.02"]))
    visitor.join()
    assert seen == [b"sample 2", "reloaded"] and code == 0 and not capsys.readouterr().err


def test_a_port_that_is_taken(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    export(tmp_path / "m")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code = exit_on_user_error(lambda: serve.main([str(tmp_path / "m"), f"--port={port}"]))
    assert code == 2 and f"cannot listen at 127.0.0.1, port {port}" in capsys.readouterr().err
    assert exit_on_user_error(lambda: serve.main([str(tmp_path / "m"), "--queue=0"])) == 2
    assert "--queue=0 must be above 0" in capsys.readouterr().err
