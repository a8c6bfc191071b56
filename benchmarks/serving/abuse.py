"""Abuses `must serve` and prints a table of its answers: `python -m benchmarks.serving.abuse EXPORT [--only WORD]`.

Every row is one kind of abuse; `reason` is from one of its answers. After each row, a good request must be answered, or
the program ends with an error. "closed" is a connection that the server closed without an answer. Takes some minutes,
because slow clients are cut off after ten to thirty seconds.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import os
import random
import shutil
import signal
import socket
import struct
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import cv2
import numpy as np

from benchmarks.serving import running
from benchmarks.serving.running import Client, Running, post

SECONDS = 10  # that a request may take
FLAGS = (f"--max_request_seconds={SECONDS}", "--reload_seconds=1")
CLOSED = "closed"
JPEG = {"Content-Type": "image/jpeg"}
TRIES = 200
CONNECTIONS = 1000


class Seen(NamedTuple):
    """The answers to one kind of abuse: how many of each status, and the reason of one."""

    answers: Mapping[str, int]
    reason: str


class Target(NamedTuple):
    """The server and what it is abused with."""

    served: Running
    photo: bytes  # JPEG
    folder: str  # of the model's versions
    draw: random.Random

    @property
    def predict(self) -> str:
        """The address for predictions."""
        return f"/v1/models/{self.served.model}:predict"

    @property
    def status(self) -> str:
        """The same, for only one short output."""
        return f"{self.predict}?outputs=image/status"

    def good(self) -> bytes:
        """Returns a request that must be answered with 200."""
        return post(self.status, self.photo, JPEG)


def asked(port: int, requests: Iterable[bytes]) -> Seen:
    """Sends each request over a connection of its own."""
    return seen(asyncio.run(_all(port, [[request] for request in requests], at_once=16)))


def seen(results: Iterable[bytes]) -> Seen:
    """Counts answers."""
    counts: Counter[str] = Counter()
    reasons: dict[str, str] = {}
    for answer in results:
        head, _, body = answer.partition(b"\r\n\r\n")
        status = head.split()[1].decode() if len(head.split()) > 1 else CLOSED
        counts[status] += 1
        reasons.setdefault(status, _reason(body))
    worst = max(reasons, default=CLOSED, key=lambda status: (status != CLOSED, status))
    return Seen(dict(sorted(counts.items())), reasons.get(worst, ""))


def _reason(body: bytes) -> str:
    try:
        content = json.loads(body)
        return str(content.get("error") or content["predictions"][0]["image/status"])
    except (ValueError, LookupError, AttributeError, TypeError):
        return body[:60].decode(errors="replace")


async def _all(port: int, conversations: Sequence[Sequence[bytes]], at_once: int, pause: float = 0.0) -> list[bytes]:
    """Holds conversations: connects, sends the parts with pauses between them, and reads to the end."""
    gate = asyncio.Semaphore(at_once)

    async def one(parts: Sequence[bytes]) -> bytes:
        async with gate:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            answer = asyncio.create_task(_answer(reader))  # it may come before the last part
            try:
                for part in parts:
                    if not answer.done():
                        writer.write(part)
                        await writer.drain()
                        await asyncio.wait([answer], timeout=pause)
                return await answer
            except OSError:
                return answer.result() if answer.done() and not answer.exception() else b""
            finally:
                answer.cancel()
                writer.close()

    return list(await asyncio.gather(*map(one, conversations)))


async def _answer(reader: asyncio.StreamReader) -> bytes:
    """Reads one answer; what there is, if the connection is closed."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
        stated = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
        return head + (await reader.readexactly(int(stated[0].split(b":")[1])) if stated else await reader.read(300))
    except asyncio.IncompleteReadError as error:
        return bytes(error.partial)


def random_bytes(target: Target) -> Seen:
    """Bodies of random bytes."""
    bodies = (target.draw.randbytes(target.draw.randrange(1, 400)) for _ in range(TRIES))
    return asked(target.served.port, (post(target.predict, body) for body in bodies))


def changed_json(target: Target) -> Seen:
    """Good JSON in which a few bytes are changed."""
    good = json.dumps({"instances": [{"b64": base64.b64encode(target.photo).decode()}]}).encode()
    return asked(target.served.port, (post(target.status, _changed(good, target.draw)) for _ in range(TRIES)))


def _changed(content: bytes, draw: random.Random) -> bytes:
    changed = bytearray(content)
    for _ in range(3):
        changed[draw.randrange(len(changed))] = draw.randrange(256)
    return bytes(changed)


def damaged_photos(target: Target) -> Seen:
    """Random bytes as photos, truncated photos, and photos in which a few bytes are changed."""
    pixels = np.random.default_rng(0).integers(0, 256, [48, 64, 3]).astype(np.uint8)
    png = cv2.imencode(".png", pixels)[1].tobytes()
    draw, files = target.draw, []
    for number in range(TRIES):
        photo = (target.photo, png)[number % 2]
        files.append([draw.randbytes(200), photo[: draw.randrange(len(photo))], _changed(photo, draw)][number % 3])
    return asked(target.served.port, (post(target.status, file, JPEG) for file in files))


def huge(target: Target) -> Seen:
    """Bodies without end, too many photos, deep JSON, and small files of huge images."""
    bomb = cv2.imencode(".png", np.zeros([12_000, 12_000], np.uint8))[1].tobytes()
    claims = bomb[:16] + struct.pack(">II", 2**31 - 1, 2**31 - 1) + bomb[24:]
    chunks = [f"POST {target.predict} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n".encode()]
    chunks += [b"100000\r\n" + bytes(1 << 20) + b"\r\n"] * 40
    stated = f"POST {target.predict} HTTP/1.1\r\nHost: x\r\nContent-Length: {10**12}\r\n\r\n".encode()
    many = json.dumps({"instances": [{"b64": ""}] * 1000}).encode()
    whole = [stated, post(target.predict, many), post(target.predict, b"[" * 10**6)]
    whole += [post(target.status, file, JPEG) for file in (bomb, claims)]
    return seen(asyncio.run(_all(target.served.port, [chunks, *([one] for one in whole)], at_once=2)))


WRONG: tuple[Any, ...] = (
    None, 7, "text", [], {}, {"instances": None}, {"instances": 3}, {"instances": "x"}, {"instances": [None]},
    {"instances": [3.5]}, {"instances": [[]]}, {"instances": [{"b64": 3}]}, {"instances": [{"b64": "%"}]},
    {"instances": [{"other": "eA=="}]}, {"inputs": {"image_bytes": 3}}, {"instances": [], "inputs": []},
    {"signature_name": "none", "instances": [{"b64": ""}]}, {"signature_name": [], "instances": [{"b64": ""}]},
    {"signature_name": "image_tensor", "instances": [[[[0.5, 1, 2]]]]},
    {"signature_name": "image_tensor", "instances": [[[[300, 1, 2]]]]},
    {"signature_name": "image_tensor", "instances": [[[1, 2], [3]]]},
    {"signature_name": "tf_example", "instances": [{"b64": "AAAA"}]},
)  # fmt: skip
WRONG_V2: tuple[Any, ...] = (
    {"inputs": []}, {"inputs": 3}, {"inputs": [3]}, {"inputs": [{"name": "image_bytes"}]},
    {"inputs": [{"name": "image_bytes", "datatype": "BYTES", "shape": [-1], "data": []}]},
    {"inputs": [{"name": "image_bytes", "datatype": "FP32", "shape": [1], "data": [1.0]}]},
    {"inputs": [{"name": "image_bytes", "datatype": "BYTES", "shape": [2], "data": ["eA=="]}]},
    {"inputs": [{"name": "image_bytes", "datatype": "BYTES", "shape": [1], "data": [7]}]},
    {"inputs": [{"name": "image_tensor", "datatype": "UINT8", "shape": [1, 2, 2, 3], "data": [1]}]},
    {"inputs": [{"name": "image_bytes", "datatype": "BYTES", "shape": [1], "parameters": {"binary_data_size": -1}}]},
)  # fmt: skip


def wrong_types(target: Target) -> Seen:
    """JSON of other types, names and shapes than the protocols ask for."""
    infer = f"/v2/models/{target.served.model}/infer"
    requests = [post(target.predict, json.dumps(content).encode()) for content in WRONG]
    requests += [post(infer, json.dumps(content).encode()) for content in WRONG_V2]
    lengths = ("-1", "x", "9" * 30)
    requests += [post(infer, b"{}", {"Inference-Header-Content-Length": length}) for length in lengths]
    return asked(target.served.port, requests)


def not_http(target: Target) -> Seen:
    """Random bytes instead of HTTP."""
    return asked(target.served.port, (target.draw.randbytes(300) + b"\r\n\r\n" for _ in range(TRIES)))


def slow_clients(target: Target) -> Seen:
    """A hundred that send a byte a second of a head, and twenty that stop in the middle of a body."""
    request = target.good()
    heads = [[request[i : i + 1] for i in range(SECONDS + 5)] for _ in range(100)]
    bodies = [[request[:-5], b"", *[b""] * SECONDS] for _ in range(20)]
    return seen(asyncio.run(_all(target.served.port, heads + bodies, at_once=120, pause=1.0)))


def unread_answers(target: Target) -> Seen:
    """Twenty that ask for a large answer and do not read it."""
    large = running.photos(1, (960, 1280))[0]
    sockets = []
    for _ in range(20):
        one = socket.socket()
        one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        one.connect(("127.0.0.1", target.served.port))
        one.sendall(running.infer(target.served.model, large))
        sockets.append(one)
    time.sleep(60)
    answers = []
    for one in sockets:
        one.settimeout(5)
        answers.append(b"" if _is_cut(one) else b"x 200 whole")
        one.close()
    return seen(answers)


def _is_cut(one: socket.socket) -> bool:
    """Returns True if a connection ends before the answer on it does."""
    got = b""
    try:
        while part := one.recv(1 << 20):
            got = (got + part)[:4096] if len(got) < 4096 else got
    except ConnectionResetError:
        return True
    except TimeoutError:
        return False
    return True


def thousand(target: Target) -> Seen:
    """A thousand connections that are open at once; then each asks for a prediction."""
    request = target.good()
    return seen(asyncio.run(_all(target.served.port, [[b"", request]] * CONNECTIONS, CONNECTIONS, pause=3.0)))


def leaving(target: Target) -> Seen:
    """Clients that are killed: in the head, in the body, or while their photo is predicted."""
    request = running.infer(target.served.model, target.photo)
    for number in range(TRIES):
        one = socket.create_connection(("127.0.0.1", target.served.port))
        one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # ends with a reset
        one.sendall(request[: (20, 300, len(request))[number % 3]])
        if number % 4 == 0:
            time.sleep(0.02)
        one.close()
    return Seen({CLOSED: TRIES}, "")


def reload(target: Target) -> Seen:
    """A newer version while eight clients ask without a pause."""
    before = time.monotonic()
    shutil.copytree(os.path.join(target.folder, "1"), os.path.join(target.folder, ".2"))

    def turns(number: int) -> list[bytes]:
        answers: list[bytes] = []
        with Client(target.served.port) as client:
            while time.monotonic() < before + 300 and answers[-1:] != [b"x 200 new"]:
                status, _ = client.ask(target.good())
                state = _version(client, target.served.model)
                answers.append(f"x {status} {'new' if state == '2' and number >= 0 else 'old'}".encode())
                if len(answers) == 2 and number == 0:
                    os.rename(os.path.join(target.folder, ".2"), os.path.join(target.folder, "2"))
        return answers

    with ThreadPoolExecutor(8) as pool:
        answers = [answer for result in pool.map(turns, range(8)) for answer in result]
    return seen(answers)._replace(reason=f"version 2 after {time.monotonic() - before:.0f} s")


def _version(client: Client, model: str) -> str:
    _, body = client.ask(f"GET /v1/models/{model} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    return str(json.loads(body)["model_version_status"][0]["version"])


def stop(target: Target) -> Seen:
    """SIGTERM while sixteen requests are under way: the last row, because the server ends."""
    clients = [Client(target.served.port) for _ in range(16)]
    requests = [running.infer(target.served.model, target.photo)] * len(clients)
    with ThreadPoolExecutor(len(clients)) as pool:
        results = [pool.submit(client.ask, request) for client, request in zip(clients, requests, strict=True)]
        time.sleep(0.1)
        target.served.process.send_signal(signal.SIGTERM)
        answers = [f"x {result.result()[0]} x".encode() for result in results]
    return seen(answers)._replace(reason=f"exit code {target.served.process.wait(60)}")


ABUSES: tuple[Callable[[Target], Seen], ...] = (
    random_bytes, changed_json, damaged_photos, huge, wrong_types, not_http, slow_clients, unread_answers, thousand,
    leaving, reload, stop,
)  # fmt: skip


def main() -> None:
    """Starts a server, abuses it, and prints a table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.serving.abuse")
    parser.add_argument("export")
    parser.add_argument("--only", default="", help="rows whose name has this word")
    flags = parser.parse_args()
    chosen = [abuse for abuse in ABUSES if flags.only in abuse.__name__]
    photo = running.photos(1, (48, 64))[0]
    with tempfile.TemporaryDirectory() as folder:
        root = os.path.join(folder, "model")
        shutil.copytree(running.newest(flags.export), os.path.join(root, "1"))
        print("| abuse | answers | a reason | MB |\n|---|---|---|---|")
        with running.server(root, *FLAGS) as served:
            target = Target(served, photo, root, random.Random(0))
            for abuse in chosen:
                row(abuse, target)


def row(abuse: Callable[[Target], Seen], target: Target) -> None:
    """Prints one row, and ends the program if the server does not serve any more."""
    result = abuse(target)
    about = " ".join((abuse.__doc__ or "").split())
    answers = ", ".join(f"{count} x {status}" for status, count in result.answers.items())
    ended = target.served.process.poll() is not None
    memory = "" if ended else f"{target.served.megabytes():.0f}"
    print(f"| {about} | {answers} | {result.reason} | {memory} |", flush=True)
    if abuse is not stop:
        with Client(target.served.port) as client:
            status, answer = client.ask(target.good())
        if status != 200 or _reason(answer) != "ok":
            sys.exit(f"error: a good request was answered with {status}: {answer!r}")


if __name__ == "__main__":
    main()
