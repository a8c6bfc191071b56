"""A server in a process of its own, and cheap requests to it."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import psutil

from must_tf.common.subprocesses import environment

TIMEOUT = 120.0  # seconds
SHOWN = 400  # bytes of an answer that are kept


class Running(NamedTuple):
    """A server that answers at this port, and the name of its model."""

    port: int
    model: str
    process: subprocess.Popen[str]

    def megabytes(self) -> float:
        """Returns its resident memory."""
        return float(psutil.Process(self.process.pid).memory_info().rss / 1e6)

    def processor_seconds(self) -> float:
        """Returns the processor time that it has taken."""
        return processor_seconds(self.process.pid)


def processor_seconds(pid: int) -> float:
    """Returns the processor time that a process has taken."""
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)


@contextlib.contextmanager
def server(export: str, *flags: str) -> Iterator[Running]:
    """Starts `must serve` with these flags, and ends it."""
    command = [sys.executable, "-m", "must_tf", "serve", export, "--port=0", *flags]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment()) as process:
        try:
            assert process.stdout is not None
            address = process.stdout.readline().split()[-1]
            yield Running(int(address.split(":")[2].partition("/")[0]), address.rpartition("/")[2], process)
        finally:
            process.terminate()


def infer(model: str, photo: bytes) -> bytes:
    """Returns a request of KServe's protocol for all outputs of a photo as binary tensors."""
    strings = struct.pack("<I", len(photo)) + photo
    size = {"binary_data_size": len(strings)}
    given = {"name": "image_bytes", "datatype": "BYTES", "shape": [1], "parameters": size}
    head = json.dumps({"inputs": [given], "parameters": {"binary_data_output": True}}).encode()
    return post(f"/v2/models/{model}/infer", head + strings, {"Inference-Header-Content-Length": str(len(head))})


def post(path: str, body: bytes, headers: Mapping[str, str] | None = None) -> bytes:
    """Returns the bytes of a request."""
    lines = [f"POST {path} HTTP/1.1", "Host: localhost", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


class Client:
    """A connection that is kept. Answers are read into one buffer, because the server needs the processor more."""

    def __init__(self, port: int):
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._buffer = bytearray(1 << 16)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *error: object) -> None:
        self._socket.close()

    def ask(self, request: bytes) -> tuple[int, bytes]:
        """Sends a request. Returns the status, and the first bytes of the body.

        Raises:
          ConnectionError: the server closed the connection before the whole answer.
        """
        self._socket.sendall(request)
        return self.answer()

    def answer(self) -> tuple[int, bytes]:
        """Reads the answer to a request that was sent."""
        have, end = 0, -1
        while end < 0:
            have += self._read(memoryview(self._buffer)[have:])
            end = self._buffer.find(b"\r\n\r\n", 0, have)
        lines = bytes(self._buffer[:end]).decode("latin-1").split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in lines[1:])
        shown = bytes(self._buffer[end + 4 : min(have, end + SHOWN)])
        left = int(headers.get("content-length", "0")) - (have - end - 4)
        if left > len(self._buffer):
            self._buffer.extend(bytes(left - len(self._buffer)))
        while left > 0:
            read = self._read(memoryview(self._buffer)[:left])
            shown += bytes(self._buffer[: min(read, SHOWN - len(shown))])
            left -= read
        return int(lines[0].split()[1]), shown

    def _read(self, into: memoryview) -> int:
        with into:
            read = self._socket.recv_into(into)
        if not read:
            raise ConnectionError("the server closed the connection")
        return read


def photos(count: int, size: Sequence[int]) -> list[bytes]:
    """Returns generated photos of this height and width, as JPEG files."""
    from must_tf.serving import companions

    return [companions.sample(number, (size[0], size[1])) for number in range(count)]


def newest(export: str) -> str:
    """Returns the SavedModel that is served, or ends the process."""
    from must_tf.serving import layout

    versions = layout.versions(os.path.abspath(export))
    if not versions:
        sys.exit(f"error: {export} is not an export. Write one with must export.")
    return versions[max(versions)]
