"""Measures the memory that an export's largest batch takes, in a process of its own: `must export --measure_memory`."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from must_tf.common import subprocesses
from must_tf.common.errors import UserError
from must_tf.serving.limits import Limits

KILOBYTE = 1024  # in which Linux counts the resident memory


class Peaks(NamedTuple):
    """Largest resident memory of a process that serves an export, in bytes.

    Attributes:
      small: after a photo of one pixel.
      largest: after the largest batch.
      photos: number of the photos in it.
      size: their height and width.
    """

    small: int
    largest: int
    photos: int
    size: tuple[int, int]


def largest_batch(limits: Limits) -> tuple[int, tuple[int, int]]:
    """Returns the number of photos, and height and width of each, of a batch that just fits."""
    each = min(limits.image, limits.batch)
    width = max(round((each * 4 / 3) ** 0.5), 1)
    height = max(each // width, 1)
    return max(limits.batch // (height * width), 1), (height, width)


def measure(path: str, limits: Limits) -> Peaks:
    """Measures the export at `path`.

    Raises:
      UserError: the process ended, for example because the machine has too little memory.
    """
    count, size = largest_batch(limits)
    with tempfile.TemporaryDirectory() as folder:
        files = [os.path.join(folder, name) for name in ("small.jpg", "large.jpg")]
        for file, (height, width) in zip(files, ((1, 1), size), strict=True):
            rows = np.linspace(0, 255, height).astype(np.uint8)
            cv2.imwrite(file, np.broadcast_to(rows[:, None, None], [height, width, 3]))
        command = [sys.executable, "-m", __name__, path, *files, str(count)]
        done = subprocess.run(
            command, env=subprocesses.environment(), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
    if done.returncode:
        raise UserError(
            f"--measure_memory: the process that predicts {count} photos of {size[0]} x {size[1]} pixels ended with "
            f"code {done.returncode}. If the machine lacks memory, lower --max_batch_pixels or leave the flag out."
        )
    small, largest = json.loads(done.stdout.splitlines()[-1])
    return Peaks(small, largest, count, size)


def peaks(path: str, batches: Sequence[Sequence[bytes]]) -> list[int]:
    """Predicts batches one after the other. Returns the most memory of this process so far after each, in bytes."""
    import tensorflow as tf

    model = tf.saved_model.load(path)
    found = []
    for batch in batches:
        outputs = model.signatures["image_bytes"](image_bytes=tf.constant(list(batch), tf.string))
        found.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * KILOBYTE)
        del outputs
    return found


def _main() -> None:
    from must_tf.common import process_setup

    process_setup.prepare()
    path, *names, count = sys.argv[1:]
    small, large = ([Path(name).read_bytes()] for name in names)
    print(json.dumps(peaks(path, [small, large * int(count)])))


if __name__ == "__main__":
    _main()
