"""Image files in folders."""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence

import tensorflow as tf

from must_tf.common import text_files as texts
from must_tf.common.errors import UserError, nearest
from must_tf.common.files import require_an_end
from must_tf.common.walking import walk as walk
from must_tf.data.image_files import NOT_ONE_PICTURE
from must_tf.data.image_files import SUFFIXES as SUFFIXES
from must_tf.data.image_files import is_hidden as is_hidden
from must_tf.data.image_files import is_image as is_image
from tfrecords_tools.sources import class_files
from tfrecords_tools.sources.class_files import ClassEntry
from tfrecords_tools.writing import on_disk
from tfrecords_tools.writing.counts import Account
from tfrecords_tools.writing.items import Item

CHUNK = 1 << 20  # bytes per read
TEXTS = (".txt", ".csv", ".tsv", ".json", ".jsonl", ".yaml", ".yml", ".pbtxt", ".names")
GUESSED = "file: not UTF-8 and of no declared encoding, read as Windows-1252"
UNNAMED = "image: not named in the annotations, left out"
ENDING = re.compile(r"\.(?=.*[a-z])[a-z0-9_]{1,12}")  # others are parts of names
SPLITS = ("train", "training", "val", "valid", "validation", "test", "images")


def require_folder(path: str, option: str) -> None:
    """Raises UserError with the most similar folder name unless `path` is a folder."""
    if tf.io.gfile.isdir(path):
        return
    parent, name = os.path.split(path.rstrip("/"))
    siblings = folders(parent or ".") if tf.io.gfile.isdir(parent or ".") else []
    raise UserError(f"{option} {path!r} is not a folder.{nearest(name, siblings)}")


def require_file(path: str, option: str) -> None:
    """Raises UserError with the most similar file name unless `path` is a file."""
    if tf.io.gfile.isdir(path):
        raise UserError(f"{option} {path!r} is a folder. Name a file in it.")
    require_an_end(path)
    if tf.io.gfile.exists(path):
        return
    parent, name = os.path.split(path)
    siblings = tf.io.gfile.listdir(parent or ".") if tf.io.gfile.isdir(parent or ".") else []
    raise UserError(f"{option} {path!r} is not a file.{nearest(name, siblings)}")


def read_text(path: str, option: str) -> str:
    """Returns the content of a text file of any encoding, see `must_tf.common.text_files`.

    Raises:
      UserError: the file does not exist or is not text.
    """
    require_file(path, option)
    with tf.io.gfile.GFile(path, "rb") as file:
        data = file.read()
    try:
        return texts.decode(data).text
    except ValueError as error:
        raise UserError(f"{option} {path} cannot be read: {error}. Give a text file.") from None


def chunks(path: str) -> Iterator[bytes]:
    """Yields the content of a file in parts. Raises UserError for a pipe, a socket or a device."""
    require_an_end(path)
    with tf.io.gfile.GFile(path, "rb") as file:
        yield from iter(lambda: file.read(CHUNK), b"")


def note_encoding(path: str, account: Account) -> None:
    """Notes a text file, by its ending, whose encoding has to be guessed. A wrong guess shows in the class names."""
    if not path.lower().endswith(TEXTS) or not tf.io.gfile.exists(path) or tf.io.gfile.isdir(path):
        return
    if texts.is_guessed(chunks(path)):
        account.notes.add(GUESSED, path)


def read_lines(path: str, option: str, keep_comments: bool = False) -> list[str]:
    """Returns the stripped lines of a text file without empty ones, and without those that begin with #.

    Args:
      path, option: the file, and the option that named it.
      keep_comments: also returns lines that begin with #, which may be names of files.

    Raises:
      UserError: the file does not exist, is empty or is not text.
    """
    lines = texts.lines(read_text(path, option))
    lines = [line for line in lines if keep_comments or not line.startswith(class_files.COMMENT)]
    if not lines:
        raise UserError(f"{option} {path} is empty.")
    return lines


def read_rows(path: str, option: str) -> Iterator[list[str]]:
    """Yields the rows of a CSV file of any size and encoding, with stripped cells.

    Raises:
      UserError: the file does not exist or is not text.
    """
    require_file(path, option)
    try:
        yield from texts.rows(chunks(path))
    except (ValueError, csv.Error) as error:
        raise UserError(f"{option} {path} cannot be read: {error}. Give a CSV file.") from None


def read_classes(path: str, max_count: int, option: str = "the class names") -> list[ClassEntry]:
    """Reads the classes of a file of any of the forms in `class_files`, in the order of their ids.

    Raises:
      UserError: the file does not exist, is not valid, or has a name twice or too many names.
    """
    entries = class_files.parse(read_text(path, option), f"{option} {path}")
    names = [entry.name for entry in entries]
    if not names:
        raise UserError(f"{option} {path} is empty.")
    if len(names) > max_count:
        raise UserError(f"{path} has {len(names)} names, but at most {max_count} are possible.")
    if len(set(names)) < len(names):
        repeated = next(name for name in names if names.count(name) > 1)
        raise UserError(f"{path} has the name {repeated!r} more than once. Give different names, one per line.")
    return entries


def read_names(path: str, max_count: int, option: str = "the class names") -> tuple[str, ...]:
    """Reads class names in id order, see `read_classes`."""
    return tuple(entry.name for entry in read_classes(path, max_count, option))


def require_some(items: Sequence[object], names: Sequence[str], folder: str, remedy: str) -> None:
    """Raises UserError if none of the annotated images exists.

    Args:
      items: the images that exist.
      names: the names of all annotated images.
      folder: the folder that should contain them.
      remedy: the sentence that tells the user what to do.
    """
    if not items:
        example = f" (such as {names[0]})" if names else ""
        raise UserError(f"{folder} contains none of the {len(names)} annotated images{example}. {remedy}")


def count_missing(paths: Iterable[str], account: Account) -> int:
    """Counts missing images that have annotations as dropped; returns their number."""
    count = 0
    for path in paths:
        account.dropped.add("image: file is missing", path)
        count += 1
    return count


def kind_of(name: str, task: str = "image") -> str:
    """Returns the kind of a file that nothing uses: an image, or a file of an ending that is not read."""
    if is_image(name):
        return UNNAMED
    ending = os.path.splitext(name)[1].lower()
    why = f": {NOT_ONE_PICTURE[ending]}; save it as PNG" if ending in NOT_ONE_PICTURE else ""
    return f"{task}: files with the ending {ending if ENDING.fullmatch(ending) else '(none)'} are not read{why}"


def note_unused(names: Iterable[str], folder: str, account: Account, kind: Callable[[str], str] = kind_of) -> None:
    """Notes files that nothing uses, once per kind.

    Args:
      names: of the files, relative to the folder; hidden ones are not noted.
      folder: where they are.
      account: for the notes.
      kind: returns the reason to note for a name.
    """
    for name in names:
        if not is_hidden(name):
            account.notes.add(kind(name), os.path.join(folder, name))


def note_others(names: Iterable[str], folder: str, account: Account, task: str = "image") -> None:
    """Notes the files among these entries of a folder, none of which is read."""
    visible = (name for name in sorted(names) if not tf.io.gfile.isdir(os.path.join(folder, name)))
    note_unused(visible, folder, account, lambda name: kind_of(name, task))


def note_folders(path: str, account: Account, task: str = "image") -> None:
    """Notes the folders in a folder whose own files are the only ones that are read."""
    for name in folders(path) if tf.io.gfile.isdir(path) else ():
        account.notes.add(f"{task}: a folder inside a folder of files, not read", os.path.join(path, name))


def folders(path: str) -> list[str]:
    """Returns the sorted names of the visible folders in a folder."""
    names = (name.rstrip("/") for name in tf.io.gfile.listdir(path))
    return sorted(name for name in names if not name.startswith(".") and tf.io.gfile.isdir(os.path.join(path, name)))


def images_below(path: str, account: Account, others: tuple[str, ...] = ()) -> Iterator[str]:
    """Yields the image files below a folder, relative to it, and notes the other files.

    Args:
      path: the folder.
      account: for the notes.
      others: endings of files that are known and not noted.
    """
    for name in walk(path):
        if is_image(name):
            yield name
        elif not name.lower().endswith(others):
            note_unused([name], path, account)


def images_in(path: str) -> list[str]:
    """Returns the sorted names of the image files directly in a folder."""
    return sorted(name for name in tf.io.gfile.listdir(path) if is_image(name))


def stem(name: str) -> str:
    """Removes the suffix: `a/b.jpg` -> `a/b`."""
    return os.path.splitext(name)[0]


def unlabelled(root: str, names: Iterable[str], account: Account) -> on_disk.Items:
    """Makes items whose ids are the names without suffix. If `a.jpg` and `a.png` exist, the second keeps it."""
    items, taken = on_disk.Items(), on_disk.NameSet()
    for name in names:
        path = os.path.join(root, name)
        items.append(Item(unique_id(stem(name), path, taken, account), (path,)))
    return items


def unique_id(source_id: str, path: str, taken: on_disk.NameSet, account: Account) -> str:
    """Returns the id of the image in `path`, with the suffix of its file if `taken` has the id, and adds it there.

    If files of different folders have one name, the third and the following ones also get a number.
    """
    if taken.add(source_id):
        return source_id
    account.notes.add("image: name taken, id keeps the suffix", path)
    return taken.add_numbered(source_id + os.path.splitext(path)[1])


def dataset(path: str) -> str:
    """Names the origin of labels after the folder, and after its parent if the folder is named after a split."""
    parts = os.path.abspath(path).rstrip("/").split("/") if "://" not in path else path.split("/")
    return "-".join(parts[-2:]) if parts[-1].lower() in SPLITS else parts[-1]
