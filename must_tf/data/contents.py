"""The content of images as 64-bit numbers: the first digits of `image/key/sha256`, equal for the same photo.

Those of a large dataset fit into memory. Among ten million photos, two collide with a probability of 3 in a million.

The commands that write a shard list the numbers of its images in the shard's sidecar, see
`tfrecords_tools/writing/shards.py`.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from must_tf.common import files
from must_tf.common.errors import UserError

DIGITS = 16  # of the SHA-256
FOLDER, KEY = ".shards", "contents"  # the folder of a shard's sidecar, and the key in it
RANGE = float(1 << 4 * DIGITS)  # the numbers are below it


def short(sha256: str) -> int:
    """Returns the number of an image from the hex digits of its SHA-256."""
    return int(sha256[:DIGITS], 16)


def packed(numbers: Sequence[int]) -> str:
    """Returns the numbers as hex digits, `DIGITS` each."""
    return "".join(f"{number:0{DIGITS}x}" for number in numbers)


def unpacked(digits: str) -> np.ndarray:
    """Returns the numbers of `packed`, uint64 [N]."""
    return np.frombuffer(bytes.fromhex(digits), ">u8").astype(np.uint64)


def sidecar(shard: str) -> str:
    """Returns the path of a shard's sidecar."""
    return os.path.join(os.path.dirname(shard), FOLDER, f"{os.path.basename(shard)}.json")


def of_shard(shard: str) -> np.ndarray | None:
    """Returns the numbers of a shard's images, uint64 [records]; None if no sidecar has them.

    Raises:
      UserError: the sidecar is damaged.
    """
    path = sidecar(shard)
    if not tf.io.gfile.exists(path):
        return None
    stored = files.read_json(path).get(KEY)
    try:
        return None if stored is None else unpacked(stored)
    except (TypeError, ValueError):
        raise UserError(f"{path} is damaged: {KEY} are no hex digits. {files.WRITE_AGAIN}") from None


def shared(photos: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Tests which of the photos are also among the others: bool [photos]. What is measured on those means nothing."""
    return np.isin(photos, others)
