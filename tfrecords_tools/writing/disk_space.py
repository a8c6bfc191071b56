"""Checks that the records will fit on the disk before hours are spent on them."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence

import tensorflow as tf

from must_tf.common.errors import UserError
from tfrecords_tools.writing.items import FilePart, Item

SAMPLE = 500  # images whose sizes are read
# Files far larger than their records: uncompressed pixels, or arrays that are not converted. Other files are stored
# unchanged (.jpg, .png) or at about the same size (.h5, .webp).
LARGER = (".bmp", ".tif", ".tiff", ".ppm", ".mat")
GIB, MIB = 1 << 30, 1 << 20


def require(expected: float, out: str) -> None:
    """Refuses a conversion whose images are larger than the free space. Labels come on top and are not counted.

    Args:
      expected: bytes that are still to be written.
      out: the output folder. Remote storage is not checked.

    Raises:
      UserError: the records cannot fit.
    """
    if "://" in out:
        return
    folder = _existing(out)
    if not os.access(folder, os.W_OK):
        raise UserError(f"{out}: {folder} is read-only, or belongs to another user. Give another --out.")
    free = shutil.disk_usage(folder).free
    if expected > free:
        raise UserError(
            f"{out}: the images need about {_shown(expected)}, but only {_shown(free)} are free on that disk. Give an "
            "--out on a larger one."
        )


def _shown(size: float) -> str:
    return f"{size / GIB:.1f} GiB" if size >= GIB / 10 else f"{size / MIB:.1f} MiB"


def estimate(items: Sequence[Item]) -> float:
    """Returns the bytes of all images, estimated from an evenly spread sample; 0 if no size is known.

    Members of archives have their own size. A file that holds many items, like CIFAR-100's, counts once.
    """
    if not items:
        return 0.0
    sample = [items[index] for index in range(0, len(items), -(-len(items) // SAMPLE))]
    part_sizes = [_part_size(item) for item in sample]
    paths = [item.files[0] for item, size in zip(sample, part_sizes, strict=True) if size is None and item.files]
    file_sizes = sum(_size(path) for path in set(paths))
    is_shared = len(set(paths)) == 1 < len(paths)
    scaled = sum(size or 0 for size in part_sizes) + (0 if is_shared else file_sizes)
    return scaled / len(sample) * len(items) + (file_sizes if is_shared else 0)


def _part_size(item: Item) -> int | None:
    """Returns the bytes of the item if it is part of a file, else None."""
    labels = item.labels if isinstance(item.labels, tuple) else ()
    return next((label.size for label in labels if isinstance(label, FilePart)), None)


def _size(path: str) -> int:
    if path.lower().endswith(LARGER):
        return 0
    try:
        return tf.io.gfile.stat(path).length
    except tf.errors.OpError:
        return 0


def _existing(path: str) -> str:
    """Returns the folder, or its nearest parent that exists."""
    path = os.path.abspath(path)
    while not os.path.exists(path):
        path = os.path.dirname(path)
    return path
