"""Image files in folders."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence

import tensorflow as tf

from must_tf.common.errors import UserError, nearest
from tfrecords_tools.writing import on_disk
from tfrecords_tools.writing.counts import Account
from tfrecords_tools.writing.items import Item

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp")
SPLITS = ("train", "training", "val", "valid", "validation", "test", "images")


def require_folder(path: str, option: str) -> None:
    """Raises UserError unless `path` is a folder, with the nearest name beside it."""
    if tf.io.gfile.isdir(path):
        return
    parent, name = os.path.split(path.rstrip("/"))
    siblings = folders(parent or ".") if tf.io.gfile.isdir(parent or ".") else []
    raise UserError(f"{option} {path!r} is not a folder.{nearest(name, siblings)}")


def require_file(path: str, option: str) -> None:
    """Raises UserError unless `path` is a file, with the nearest name beside it."""
    if tf.io.gfile.exists(path) and not tf.io.gfile.isdir(path):
        return
    parent, name = os.path.split(path)
    siblings = tf.io.gfile.listdir(parent or ".") if tf.io.gfile.isdir(parent or ".") else []
    raise UserError(f"{option} {path!r} is not a file.{nearest(name, siblings)}")


def read_lines(path: str, option: str) -> list[str]:
    """The lines of a text file that hold something, stripped.

    Raises:
      UserError: there is no such file, or it is empty or no text.
    """
    require_file(path, option)
    try:
        with tf.io.gfile.GFile(path) as file:
            lines = [line.strip() for line in file.read().splitlines()]
    except UnicodeDecodeError as error:
        raise UserError(f"{option} {path} is not text: {error}") from None
    lines = [line for line in lines if line]
    if not lines:
        raise UserError(f"{option} {path} is empty.")
    return lines


def read_names(path: str, most: int, option: str = "the class names") -> tuple[str, ...]:
    """Class names, one a line, all different, `most` at most."""
    names = tuple(read_lines(path, option))
    if len(names) > most or len(set(names)) < len(names):
        raise UserError(f"{path}: 1 to {most} different names, one a line.")
    return names


def require_some(found: Sequence[object], wanted: Sequence[str], where: str, remedy: str) -> None:
    """Raises UserError if none of the annotated images was found.

    Args:
      found: those that were.
      wanted: the names of all.
      where: the folder that was looked in.
      remedy: what to do.
    """
    if not found:
        example = f", {wanted[0]} for instance" if wanted else ""
        raise UserError(f"0 of {len(wanted)} annotated images found under {where}{example}. {remedy}")


def count_missing(paths: Iterable[str], account: Account) -> int:
    """Counts images that have annotations and are not there; returns how many."""
    count = 0
    for path in paths:
        account.dropped.add("image: file is missing", path)
        count += 1
    return count


def is_hidden(name: str) -> bool:
    """As `._x.jpg` of a Mac."""
    return os.path.basename(name).startswith(".")


def is_image(name: str) -> bool:
    """By the suffix; hidden files are none."""
    return name.lower().endswith(SUFFIXES) and not is_hidden(name)


def folders(path: str) -> list[str]:
    """Names of the visible folders in a folder, sorted."""
    names = (name.rstrip("/") for name in tf.io.gfile.listdir(path))
    return sorted(name for name in names if not name.startswith(".") and tf.io.gfile.isdir(os.path.join(path, name)))


def images_in(path: str) -> list[str]:
    """Names of the image files directly in a folder, sorted."""
    return sorted(name for name in tf.io.gfile.listdir(path) if is_image(name))


def walk(path: str) -> Iterator[str]:
    """Paths of all files below a folder, relative to it."""
    for folder, _, names in tf.io.gfile.walk(path):
        for name in names:
            yield os.path.relpath(os.path.join(folder, name), path)


def stem(name: str) -> str:
    """`a/b.jpg` -> `a/b`."""
    return os.path.splitext(name)[0]


def unlabelled(root: str, names: Iterable[str], account: Account) -> on_disk.Items:
    """Items whose ids are the names without suffix; of `a.jpg` and `a.png` the second keeps it."""
    items, taken = on_disk.Items(), on_disk.NameSet()
    for name in names:
        source_id = stem(name)
        if not taken.add(source_id):
            source_id = name
            taken.add(name)
            account.notes.add("image: name taken, id keeps the suffix", os.path.join(root, name))
        items.append(Item(source_id, (os.path.join(root, name),)))
    return items


def dataset(path: str) -> str:
    """A name for the origin of labels: the folder's, with its parent's where it only names a split."""
    parts = os.path.abspath(path).rstrip("/").split("/") if "://" not in path else path.split("/")
    return "-".join(parts[-2:]) if parts[-1].lower() in SPLITS else parts[-1]
