"""Measures images/s and latency of `must serve` at 1, 8 and 64 clients beside a bare loop over the signature.

    python -m benchmarks.serving EXPORT [--requests 400] [--memory 20000]

The bare loop calls the SavedModel with batches of 8 and copies all outputs to NumPy. Clients are threads of this
process and get all outputs as binary tensors. The server runs in its own process; nothing else should run. `--memory`
sends that many more requests at 8 clients and reports the server's memory ten times.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import os
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import psutil

CLIENTS = (1, 8, 64)
BATCH = 8
PHOTOS, SIZE = 16, (240, 320)  # generated photos that take turns, of this height and width
WARM_UP = 24  # requests


class Load(NamedTuple):
    """The result at one number of clients."""

    clients: int
    images_per_second: float
    milliseconds: np.ndarray  # of each request

    def row(self, bare: float) -> str:
        """Returns a row of the table; `bare` are the images/s of the bare loop."""
        p50, p95, p99 = np.percentile(self.milliseconds, [50, 95, 99])
        return (
            f"| {self.clients} | {self.images_per_second:.1f} | {self.images_per_second / bare:.2f} | "
            f"{p50:.0f} | {p95:.0f} | {p99:.0f} | {p99 / p50:.1f} |"
        )


def photos() -> list[bytes]:
    """Returns the photos, as JPEG files."""
    from must_tf.serving import companions

    return [companions.sample(number, SIZE) for number in range(PHOTOS)]


def bare_loop(export: str, files: Sequence[bytes], count: int) -> float:
    """Returns images/s of a loop over the signature."""
    import tensorflow as tf

    loaded = tf.saved_model.load(export)
    batches = [tf.constant([files[(start + i) % len(files)] for i in range(BATCH)]) for start in range(len(files))]

    def call(number: int) -> None:
        outputs = loaded.signatures["image_bytes"](image_bytes=batches[number % len(batches)])
        for value in outputs.values():
            value.numpy()

    for number in range(WARM_UP // BATCH):
        call(number)
    started = time.perf_counter()
    calls = max(count // BATCH, 1)
    for number in range(calls):
        call(number)
    return calls * BATCH / (time.perf_counter() - started)


@contextlib.contextmanager
def server(export: str) -> Iterator[tuple[int, str, int]]:
    """Starts `must serve`. Yields its port, the model's name, and its process id."""
    command = [sys.executable, "-m", "must_tf", "serve", export, "--port=0", "--queue=128"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            address = line.split()[-1]
            port = int(address.split(":")[2].partition("/")[0])
            yield port, address.rpartition("/")[2], process.pid
        finally:
            process.terminate()


def body(photo: bytes) -> tuple[bytes, dict[str, str]]:
    """Returns a request of KServe's protocol for all outputs as binary tensors, and its headers."""
    strings = struct.pack("<I", len(photo)) + photo
    size = {"binary_data_size": len(strings)}
    given = {"name": "image_bytes", "datatype": "BYTES", "shape": [1], "parameters": size}
    head = json.dumps({"inputs": [given], "parameters": {"binary_data_output": True}}).encode()
    return head + strings, {"Inference-Header-Content-Length": str(len(head))}


def client(port: int, path: str, files: Sequence[bytes], turn: Callable[[], int | None]) -> list[float]:
    """Sends requests until `turn` returns None. Returns the milliseconds of each."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    taken = []
    with contextlib.closing(connection):
        while (number := turn()) is not None:
            content, headers = body(files[number % len(files)])
            started = time.perf_counter()
            connection.request("POST", path, content, headers)
            response = connection.getresponse()
            answer = response.read()
            if response.status != 200:
                raise RuntimeError(f"{response.status}: {answer[:200]!r}")
            taken.append((time.perf_counter() - started) * 1e3)
    return taken


def load(port: int, name: str, files: Sequence[bytes], clients: int, count: int) -> Load:
    """Sends `count` requests by this number of clients."""
    lock, left = threading.Lock(), iter(range(count))

    def turn() -> int | None:
        with lock:
            return next(left, None)

    started = time.perf_counter()
    with ThreadPoolExecutor(clients) as pool:
        path = f"/v2/models/{name}/infer"
        running = [pool.submit(client, port, path, files, turn) for _ in range(clients)]
        taken = [milliseconds for one in running for milliseconds in one.result()]
    return Load(clients, count / (time.perf_counter() - started), np.array(taken))


def main() -> None:
    """Measures and prints a table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.serving")
    parser.add_argument("export")
    parser.add_argument("--requests", type=int, default=400, help="for each number of clients")
    parser.add_argument("--memory", type=int, default=0, help="more requests, to see whether memory grows")
    flags = parser.parse_args()
    from must_tf.serving import layout

    versions = layout.versions(flags.export)
    if not versions:
        sys.exit(f"error: {flags.export} is not an export. Write one with must export.")
    files = photos()
    bare = bare_loop(versions[max(versions)], files, flags.requests)
    print(f"{os.cpu_count()} cores, photos of {SIZE[1]} x {SIZE[0]} pixels, all outputs as binary tensors")
    print(f"bare loop over the signature, batches of {BATCH}: {bare:.1f} images/s\n")
    print("| clients | images/s | of the bare loop | p50 ms | p95 ms | p99 ms | p99 / p50 |")
    print("|---|---|---|---|---|---|---|")
    with server(flags.export) as (port, name, pid):
        load(port, name, files, BATCH, WARM_UP)
        for clients in CLIENTS:
            print(load(port, name, files, clients, flags.requests).row(bare), flush=True)
        process = psutil.Process(pid)
        for part in range(10 if flags.memory else 0):
            load(port, name, files, BATCH, flags.memory // 10)
            sent = (part + 1) * flags.memory // 10
            print(f"memory after {sent} more requests: {process.memory_info().rss / 1e6:.0f} MB", flush=True)


if __name__ == "__main__":
    main()
