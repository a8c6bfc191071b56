"""Whether the records will fit on the disk, before hours are spent on them."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence

import tensorflow as tf

from must_tf.errors import UserError
from tfrecords_tools.sources import Item

SAMPLE = 500  # images whose sizes are looked at
KEPT = (".jpg", ".jpeg", ".png")  # are stored as they are, or about as large
GIB = 1 << 30


def require(items: Sequence[Item], share: float, out: str) -> None:
    """Refuses a conversion that cannot fit: the images alone are larger than what is free. Labels come on top.

    Args:
      items: all images.
      share: of them that is still to be written, 0 to 1.
      out: where to; storage that does not tell what is free is not asked.

    Raises:
      UserError: it cannot fit.
    """
    if "://" in out or not items:
        return
    expected = share * estimate(items)
    free = shutil.disk_usage(_existing(out)).free
    if expected > free:
        raise UserError(
            f"{out}: the images need about {expected / GIB:.1f} GiB, {free / GIB:.1f} GiB are free on that disk. "
            "Give --out on a larger one."
        )


def estimate(items: Sequence[Item]) -> float:
    """Bytes of all images, from a sample that is spread over them."""
    sample = [items[place] for place in range(0, len(items), -(-len(items) // SAMPLE))]
    sizes = [_size(item.files[0]) for item in sample if item.files]
    return sum(sizes) / len(sample) * len(items)


def _size(path: str) -> int:
    if not path.lower().endswith(KEPT):
        return 0
    try:
        return tf.io.gfile.stat(path).length
    except tf.errors.OpError:
        return 0


def _existing(path: str) -> str:
    """The folder, or the nearest above it that exists."""
    path = os.path.abspath(path)
    while not os.path.exists(path):
        path = os.path.dirname(path)
    return path
