"""A server in this process, with a network that is made of arithmetic."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import cv2
import numpy as np
import uvicorn
from starlette.applications import Starlette

from must_tf.serving import screening
from must_tf.serving.server import app, command
from must_tf.serving.server.batching import Batcher, Row, Sizes
from must_tf.serving.server.metrics import Metrics
from must_tf.serving.server.models import Network, Output, Version
from must_tf.serving.server.reading import RequestLimits
from must_tf.serving.server.service import Service

OUTPUTS = {
    "image/size": Output((2,), np.dtype(np.int32)),
    "image/status": Output((), np.dtype(object)),
    "depth/metres": Output((None, None), np.dtype(np.float32)),
    "segmentation/classes": Output((None, None), np.dtype(np.int32)),
    "detection/count": Output((), np.dtype(np.int32)),
    "detection/scores": Output((3,), np.dtype(np.float32)),
    "masks/png_bytes": Output((2,), np.dtype(object)),
}


def row(photo: bytes) -> Row:
    """Returns a photo's outputs: depth is its red channel, classes its green one."""
    image = cv2.imdecode(np.frombuffer(photo, np.uint8), cv2.IMREAD_COLOR) if photo else None
    pixels = np.zeros([0, 0, 3], np.uint8) if image is None else image
    return {
        "image/size": np.array(pixels.shape[:2], np.int32),
        "image/status": np.array(b"damaged" if image is None else b"ok", object),
        "depth/metres": pixels[..., 2].astype(np.float32),
        "segmentation/classes": pixels[..., 1].astype(np.int32),
        "detection/count": np.array(2, np.int32),
        "detection/scores": np.array([0.9, 0.25, np.nan], np.float32),
        "masks/png_bytes": np.array([b"\x89PNG", b""], object),
    }


def rows(photos: Sequence[bytes]) -> list[Row]:
    """Returns the outputs of photos, in their order."""
    return [row(photo) for photo in photos]


class StubModel:
    """A model without a folder."""

    def __init__(self, predict: Callable[[Sequence[bytes]], list[Row]], sizes: Sizes, number: int = 1):
        about = {"classes": {"detection": ["ball"]}, "step": 2}
        network = Network("nowhere", about, OUTPUTS, predict, {"serving_default": {"method_name": "x"}})
        self.current = Version(number, network, Batcher(predict, sizes))

    async def refresh(self) -> bool:
        """Never finds a newer version."""
        return False


class Running(NamedTuple):
    """A server that answers at this port."""

    port: int
    service: Service

    def ask(
        self, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None, method: str = ""
    ) -> tuple[int, Mapping[str, str], bytes]:
        """Returns status, headers and body of an answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        with contextlib.closing(connection):
            connection.request(method or ("GET" if body is None else "POST"), path, body, dict(headers or {}))
            response = connection.getresponse()
            content = response.read()
            return response.status, {name.lower(): value for name, value in response.getheaders()}, content

    def json(self, path: str, content: Any = None) -> Any:
        """Returns the JSON of an answer that must be 200."""
        status, _, body = self.ask(path, None if content is None else json.dumps(content).encode())
        assert status == 200, body
        return json.loads(body)


def service(models: Mapping[str, Any], limits: RequestLimits = RequestLimits(seconds=10)) -> Service:  # noqa: B008
    """Returns the service of these models."""
    return Service(models, limits, Metrics())


@contextlib.contextmanager
def running(served: Service, token: str = "", connections: int = 100) -> Iterator[Running]:
    """Runs a server in a thread."""
    listener = socket.create_server(("127.0.0.1", 0))
    application = app.build(served, token, [b"sample"])
    options = command.ServerOptions("127.0.0.1", 0, served.limits, Sizes(), connections, 1.0)
    server = uvicorn.Server(_without_lifespan(application, options))
    thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[listener])))
    thread.start()
    try:
        while not server.started:
            time.sleep(0.005)
        yield Running(listener.getsockname()[1], served)
    finally:
        server.should_exit = True
        thread.join()


def _without_lifespan(application: Starlette, options: command.ServerOptions) -> uvicorn.Config:
    config = command.configuration(application, options)
    config.lifespan = "off"
    return config


def photo(height: int, width: int, colour: tuple[int, int, int] = (10, 20, 30)) -> bytes:
    """Returns a PNG of one colour, RGB."""
    pixels = np.full([height, width, 3], colour[::-1], np.uint8)
    return cv2.imencode(".png", pixels)[1].tobytes()


def crowded_out() -> Row:
    """Returns the outputs of a photo that did not fit beside the others."""
    return row(b"") | {"image/status": np.array(screening.CROWDED_OUT.encode(), object)}
