"""What a server must survive. Each abuse gets an answer with a reason, and the next request is served."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import http.client
import json
import random
import socket
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest
import uvicorn
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.server import ServerState

from must_tf.common import text
from must_tf.serving.server import http as connections
from must_tf.serving.server.batching import Row, Sizes
from must_tf.serving.server.reading import RequestLimits
from tests.must_tf.serving.server.stub_server import Running, StubModel, photo, rows, running, service

PREDICT = "/v1/models/stub:predict"
GOOD = json.dumps({"instances": [{"b64": base64.b64encode(photo(1, 1)).decode()}]}).encode()
IMAGE = {"Content-Type": "image/png"}
LIMITS = RequestLimits(bytes=10_000, seconds=0.5)


@pytest.fixture
def server() -> Iterator[Running]:
    """A server with small limits. After the test, it must still serve."""
    with running(service({"stub": StubModel(rows, Sizes(4, 8))}, LIMITS), connections=30) as found:
        yield found
        assert found.ask(PREDICT, GOOD)[0] == 200


def reason(answer: tuple[int, object, bytes]) -> str:
    """The error of an answer."""
    return str(json.loads(answer[2])["error"])


def test_random_bodies(server: Running) -> None:
    """Random bytes, and JSON with a few bytes changed: an answer each, and never an internal error."""
    draw = random.Random(0)
    for number in range(60):
        if number % 2:
            body = bytearray(GOOD)
            for _ in range(3):
                body[draw.randrange(len(body))] = draw.randrange(256)
        else:
            body = bytearray(draw.randbytes(draw.randrange(200)))
        assert server.ask(PREDICT, bytes(body))[0] in (200, 400)


@pytest.mark.parametrize("garbage", [b"\x00\x01\x02\r\n\r\n", b"GET\r\n\r\n"])
def test_bytes_that_are_not_http(server: Running, garbage: bytes) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as raw:
        raw.sendall(garbage)
        assert raw.recv(100).startswith(b"HTTP/1.1 400")


@pytest.mark.parametrize("chunked", [False, True])
def test_a_large_body(server: Running, chunked: bool) -> None:
    """With its size in the header, which is refused before it is read, and without."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    with contextlib.closing(connection):
        if chunked:
            connection.request("POST", PREDICT, iter([b"x" * 6000] * 2), IMAGE, encode_chunked=True)
        else:
            connection.putrequest("POST", PREDICT)
            connection.putheader("Content-Length", str(10**12))
            connection.endheaders()
        response = connection.getresponse()
        assert response.status == 413 and "10000" in json.loads(response.read())["error"]


def test_more_photos_than_ever_wait(server: Running) -> None:
    """Another try would not help, and is not suggested."""
    body = json.dumps({"instances": json.loads(GOOD)["instances"] * 9}).encode()
    answer = server.ask(PREDICT, body)
    assert answer[0] == 413 and "retry-after" not in answer[1]
    assert reason(answer) == "the request has 9 images, and at most 8 may be sent at once"


class UnreadTransport(asyncio.Transport):
    """Has bytes to send, of which a client reads as many at each look as it is given."""

    def __init__(self, reads: Sequence[int]):
        super().__init__()
        self.unread, self.reads, self.ended = 10, list(reads), asyncio.Event()

    def get_write_buffer_size(self) -> int:
        self.unread -= self.reads.pop(0)
        return self.unread

    def abort(self) -> None:
        self.ended.set()


@pytest.mark.parametrize("reads", [[0, 0], [0, 3, 5, 0]])
def test_an_answer_that_is_not_read(monkeypatch: pytest.MonkeyPatch, reads: list[int]) -> None:
    """The connection is closed at the first look at which nothing was read since the last one."""
    monkeypatch.setattr(connections, "READ_SECONDS", 0.001)

    async def scenario() -> None:
        transport = UnreadTransport(reads)
        config = uvicorn.Config(lambda: None, lifespan="off", log_config=None)
        connection = connections.Connection(config, ServerState(), {})
        connection.transport, connection.flow = transport, FlowControl(transport)
        connection.pause_writing()
        await asyncio.wait_for(transport.ended.wait(), 10)
        assert transport.reads == []

    asyncio.run(scenario())


def test_answers_that_nobody_reads_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three clients are behind by 10 bytes each, and 25 may wait: the one that is behind for longest is cut off."""
    monkeypatch.setattr(connections, "UNREAD", 25)

    async def scenario() -> None:
        state = ServerState()
        config = uvicorn.Config(lambda: None, lifespan="off", log_config=None)
        transports = [UnreadTransport([0] * 9) for _ in range(3)]
        for transport in transports:
            connection = connections.Connection(config, state, {})
            connection.transport, connection.flow = transport, FlowControl(transport)
            state.connections.add(connection)
            connection.pause_writing()
            await asyncio.sleep(0.001)
        assert [transport.ended.is_set() for transport in transports] == [True, False, False]
        for one in state.connections:
            one.resume_writing()  # stops its timer

    asyncio.run(scenario())


def test_a_body_that_does_not_arrive(server: Running) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as raw:
        raw.sendall(f"POST {PREDICT} HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nabc".encode())
        assert raw.recv(1000).startswith(b"HTTP/1.1 408")


def test_a_head_that_does_not_arrive(server: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither nothing nor half of it keeps a connection."""
    monkeypatch.setattr(connections, "HEAD_SECONDS", 0.1)
    for start in (b"", b"GET / HTTP/1.1\r\nHost"):
        with socket.create_connection(("127.0.0.1", server.port), timeout=10) as raw:
            raw.sendall(start)
            assert raw.recv(100) == b""


def test_clients_that_leave(server: Running) -> None:
    """In the middle of the head, of the body, and while they should read the answer."""
    request = f"POST {PREDICT} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(GOOD)}\r\n\r\n".encode() + GOOD
    for length in (10, 60, len(request) - 5, len(request)):
        with socket.create_connection(("127.0.0.1", server.port)) as raw:
            raw.sendall(request[:length])


def test_more_connections_than_are_allowed(server: Running) -> None:
    """The others are refused at once, with a reason; those that were open before can still ask."""
    with contextlib.ExitStack() as stack:
        open_ones = [socket.create_connection(("127.0.0.1", server.port), timeout=10) for _ in range(60)]
        for one in open_ones:
            stack.enter_context(one)
        for one in open_ones[30:]:
            refused = one.recv(4096)
            assert refused.startswith(b"HTTP/1.1 503") and b"too many connections" in refused
        for one in open_ones[:30]:
            one.sendall(b"GET /v2/health/live HTTP/1.1\r\nHost: x\r\n\r\n")
            assert one.recv(4096).startswith(b"HTTP/1.1 200")


class Slow:
    """A model that waits until it may go on."""

    def __init__(self) -> None:
        self.go_on, self.begun = threading.Event(), threading.Event()

    def __call__(self, photos: Sequence[bytes]) -> list[Row]:
        self.begun.set()
        assert self.go_on.wait(10)
        return rows(photos)


def test_a_slow_model_and_a_full_queue() -> None:
    """One request runs and two wait; the fourth is refused at once. The others get 504 when their time is over."""
    model = Slow()
    with running(service({"stub": StubModel(model, Sizes(1, 2))}, LIMITS)) as server, ThreadPoolExecutor(3) as pool:
        first = pool.submit(server.ask, PREDICT, GOOD)
        assert model.begun.wait(10)
        others = [pool.submit(server.ask, PREDICT, GOOD) for _ in range(2)]
        while server.service.models["stub"].current.batcher.waiting < 2:
            pass
        status, headers, body = server.ask(PREDICT, GOOD)
        assert status == 503 and headers["retry-after"] == "1" and "2 photos are waiting" in json.loads(body)["error"]
        answers = [one.result() for one in (first, *others)]
        assert [answer[0] for answer in answers] == [504] * 3 and "within 0.5 s" in reason(answers[0])
        model.go_on.set()
        assert server.ask(PREDICT, GOOD)[0] == 200


def test_a_model_that_fails() -> None:
    def model(photos: Sequence[bytes]) -> list[Row]:
        raise MemoryError("secret")

    with running(service({"stub": StubModel(model, Sizes())})) as server:
        answer = server.ask(PREDICT, GOOD)
        assert answer[0] == 500 and reason(answer) == "the model failed: MemoryError"
        assert server.ask("/v2/health/live")[0] == 200


def test_an_accepted_request_is_answered_when_the_server_stops() -> None:
    model = Slow()
    with ThreadPoolExecutor(1) as pool:
        with running(service({"stub": StubModel(model, Sizes())})) as server:
            answer = pool.submit(server.ask, PREDICT, GOOD)
            assert model.begun.wait(10)
            threading.Timer(0.2, model.go_on.set).start()  # after the server was told to stop
        assert answer.result()[0] == 200


def test_a_token() -> None:
    """Health checks, the page and its samples are open."""
    with running(service({"stub": StubModel(rows, Sizes())}), token="secret") as server:
        for path in ("/", "/samples/0", "/v2", "/v2/health/live", "/v2/health/ready"):
            assert server.ask(path)[0] == 200
        for path in ("/v1/models/stub", "/v2/models/stub", "/metrics", "/about"):
            for given in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "secret"}):
                status, headers, _ = server.ask(path, headers=given)
                assert status == 401 and headers["www-authenticate"] == "Bearer"
            assert server.ask(path, headers={"Authorization": "Bearer secret"})[0] == 200
        assert server.ask(PREDICT, GOOD)[0] == 401


def test_the_counters() -> None:
    """In Prometheus's format: one request with a good and a bad photo, and one that was refused."""
    bad = json.dumps({"instances": [{"b64": ""}, *json.loads(GOOD)["instances"]]}).encode()
    with running(service({"stub": StubModel(rows, Sizes())})) as server:
        server.ask(PREDICT, bad)
        server.ask(PREDICT, b"{}")
        _, headers, body = server.ask("/metrics")
    lines = body.decode().splitlines()
    assert headers["content-type"].startswith("text/plain")
    assert 'must_serve_requests_total{code="200",route="v1 predict"} 1.0' in lines
    assert 'must_serve_requests_total{code="400",route="v1 predict"} 1.0' in lines
    assert 'must_serve_images_total{model="stub",status="refused"} 1.0' in lines
    assert 'must_serve_images_total{model="stub",status="served"} 1.0' in lines
    assert 'must_serve_model_version{model="stub"} 1.0' in lines
    assert b"_created" not in body  # a second series beside every counter


def test_the_page_loads_nothing_from_elsewhere(server: Running) -> None:
    """It has no address but those of the server, and its policy forbids others. Names in it are text."""
    status, headers, body = server.ask("/")
    page = body.decode()
    assert status == 200 and "<!doctype html>" in page
    assert "http://" not in page and "https://" not in page and "src=" not in page.replace("img, src", "")
    written = ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "DOMParser")
    assert not [way for way in written if way in page]  # names with markup would be obeyed
    assert f"/{text.OBEYED.pattern.encode('unicode_escape').decode()}/g" in page
    assert "names.map(legible)" in page and "textContent = legible(message)" in page
    assert "default-src 'none'" in headers["content-security-policy"]
    assert server.ask("/samples/0")[2] == b"sample" and server.ask("/samples/7")[0] == 404
