"""Whether the records will fit on the disk, before hours are spent on them."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence

import tensorflow as tf

from must_tf.common.errors import UserError
from tfrecords_tools.writing.items import FilePart, Item

SAMPLE = 500  # images whose sizes are looked at
# Far larger than what becomes of them: pixels without compression, or arrays that nobody asked for. Others are stored
# as they are (.jpg, .png), or become about as large (.h5, .webp).
LARGER = (".bmp", ".tif", ".tiff", ".ppm", ".mat")
GIB = 1 << 30


def require(expected: float, out: str) -> None:
    """Refuses a conversion that cannot fit: the images alone are larger than what is free. Labels come on top.

    Args:
      expected: bytes of what is still to be written.
      out: where to; storage that does not tell what is free is not asked.

    Raises:
      UserError: it cannot fit.
    """
    if "://" in out:
        return
    free = shutil.disk_usage(_existing(out)).free
    if expected > free:
        raise UserError(
            f"{out}: the images need about {expected / GIB:.1f} GiB, {free / GIB:.1f} GiB are free on that disk. "
            "Give --out on a larger one."
        )


def estimate(items: Sequence[Item]) -> float:
    """Bytes of all images, from a sample that is spread over them; 0 where nothing tells.

    Parts of archives have a size of their own. A file that many items come from, as CIFAR-100's, counts once.
    """
    if not items:
        return 0.0
    sample = [items[place] for place in range(0, len(items), -(-len(items) // SAMPLE))]
    parts = [_part_size(item) for item in sample]
    paths = [item.files[0] for item, part in zip(sample, parts, strict=True) if part is None and item.files]
    files = sum(_size(path) for path in set(paths))
    is_shared = len(set(paths)) == 1 < len(paths)
    scaled = sum(part or 0 for part in parts) + (0 if is_shared else files)
    return scaled / len(sample) * len(items) + (files if is_shared else 0)


def _part_size(item: Item) -> int | None:
    """Bytes of the piece of a file that the item is, if it is one."""
    labels = item.labels if isinstance(item.labels, tuple) else ()
    return next((each.size for each in labels if isinstance(each, FilePart)), None)


def _size(path: str) -> int:
    if path.lower().endswith(LARGER):
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
