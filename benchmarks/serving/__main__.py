"""Measures images/s and latency of `must serve` at 1, 8 and 64 clients beside a bare loop over the signature.

    python -m benchmarks.serving EXPORT [--requests 400] [--memory 20000]

The bare loop calls the SavedModel with batches of 8 and copies all outputs to NumPy. Clients are threads of this
process and get all outputs as binary tensors. The server runs in its own process; nothing else should run. The last
columns are processor time per image: unlike the others, they can be compared on a busy machine. `--memory` sends that
many more requests for small photos at 8 clients and reports the server's memory ten times.
"""

from __future__ import annotations

import argparse
import itertools
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np

from benchmarks.serving import running
from benchmarks.serving.running import Client, Running
from must_tf.common import devices, process_setup

CLIENTS = (1, 8, 64)
BATCH = 8
PHOTOS, SIZE, SMALL = 16, (240, 320), (48, 64)  # generated photos that take turns, and their heights and widths
WARM_UP = 24  # requests
HEAD = ("clients", "images/s", "of the bare loop", "p50 ms", "p95 ms", "p99 ms", "p99 / p50")
PROCESSOR = ("server's processor ms", "clients' processor ms")


class Load(NamedTuple):
    """The result at one number of clients."""

    clients: int
    images_per_second: float
    milliseconds: np.ndarray  # of each request
    processor: tuple[float, float]  # milliseconds per image of the server and of the clients

    def row(self, bare: float) -> str:
        """Returns a row of the table; `bare` are the images/s of the bare loop."""
        p50, p95, p99 = np.percentile(self.milliseconds, [50, 95, 99])
        return (
            f"| {self.clients} | {self.images_per_second:.1f} | {self.images_per_second / bare:.2f} | "
            f"{p50:.0f} | {p95:.0f} | {p99:.0f} | {p99 / p50:.1f} | {self.processor[0]:.1f} | {self.processor[1]:.1f} |"
        )


def bare_loop(export: str, files: Sequence[bytes], count: int) -> tuple[float, float]:
    """Returns images/s of a loop over the signature, and its processor milliseconds per image."""
    import tensorflow as tf

    loaded = tf.saved_model.load(export)
    batches = [tf.constant([files[(start + i) % len(files)] for i in range(BATCH)]) for start in range(len(files))]

    def call(number: int) -> None:
        outputs = loaded.signatures["image_bytes"](image_bytes=batches[number % len(batches)])
        for value in outputs.values():
            value.numpy()

    for number in range(WARM_UP // BATCH):
        call(number)
    started, processor = time.perf_counter(), time.process_time()
    calls = max(count // BATCH, 1)
    for number in range(calls):
        call(number)
    images = calls * BATCH
    return images / (time.perf_counter() - started), 1e3 * (time.process_time() - processor) / images


def load(served: Running, files: Sequence[bytes], clients: int, count: int) -> Load:
    """Sends `count` requests by this number of clients."""
    requests = [running.infer(served.model, file) for file in files]
    numbers, lock = iter(range(count)), threading.Lock()

    def turns() -> list[float]:
        taken: list[float] = []
        with Client(served.port) as client:
            while True:
                with lock:
                    number = next(numbers, None)
                if number is None:
                    return taken
                started = time.perf_counter()
                status, answer = client.ask(requests[number % len(requests)])
                if status != 200:
                    raise RuntimeError(f"{status}: {answer!r}")
                taken.append((time.perf_counter() - started) * 1e3)

    before, started = (served.processor_seconds(), time.process_time()), time.perf_counter()
    with ThreadPoolExecutor(clients) as pool:
        results = [pool.submit(turns) for _ in range(clients)]
        taken = list(itertools.chain.from_iterable(result.result() for result in results))
    seconds, after = time.perf_counter() - started, (served.processor_seconds(), time.process_time())
    processor = (1e3 * (after[0] - before[0]) / count, 1e3 * (after[1] - before[1]) / count)
    return Load(clients, count / seconds, np.array(taken), processor)


def main() -> None:
    """Measures and prints a table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.serving")
    parser.add_argument("export")
    parser.add_argument("--requests", type=int, default=400, help="for each number of clients")
    parser.add_argument("--memory", type=int, default=0, help="more requests, to see whether memory grows")
    flags = parser.parse_args()
    process_setup.prepare()  # TensorFlow's settings of the server
    files = running.photos(PHOTOS, SIZE)
    bare, processor = bare_loop(running.newest(flags.export), files, flags.requests)
    print(f"{devices.cores()} cores, photos of {SIZE[1]} x {SIZE[0]} pixels, all outputs as binary tensors")
    print(f"bare loop over the signature, batches of {BATCH}: {bare:.1f} images/s, {processor:.1f} processor ms each\n")
    print("| " + " | ".join((*HEAD, *PROCESSOR)) + " |")
    print("|---" * len((*HEAD, *PROCESSOR)) + "|")
    with running.server(flags.export, "--queue=128") as served:
        load(served, files, BATCH, WARM_UP)
        for clients in CLIENTS:
            print(load(served, files, clients, flags.requests).row(bare), flush=True)
        small = running.photos(PHOTOS, SMALL)
        for part in range(10 if flags.memory else 0):
            load(served, small, BATCH, flags.memory // 10)
            sent = (part + 1) * flags.memory // 10
            print(f"memory after {sent} more requests: {served.megabytes():.0f} MB", flush=True)


if __name__ == "__main__":
    main()
