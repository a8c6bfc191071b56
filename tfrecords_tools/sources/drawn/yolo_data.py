"""The data.yaml of a YOLO dataset: its classes, and the places of its images and labels."""

from __future__ import annotations

import collections
import math
import os
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import tensorflow as tf
import yaml

from must_tf.common import text_files
from must_tf.common.errors import UserError, nearest
from must_tf.common.yaml_keys import TextLoader, load, reason
from tfrecords_tools.sources import files, finder
from tfrecords_tools.sources.leftovers import FolderFiles
from tfrecords_tools.writing import on_disk
from tfrecords_tools.writing.counts import Account

SPLITS = ("train", "val", "test")
KEYS = (*SPLITS, "path", "names", "nc", "kpt_shape", "kpt_names", "flip_idx", "download")  # others are counted
NULL = ("", "~", "null", "Null", "NULL")  # the base loader keeps them as text
CLASS_LIST = "classes.txt"  # of labelling tools, beside the label files or beside data.yaml
IMAGES = re.compile(r"(?:^|(?<=/))images(?=/)(?!.*/images/)")  # the last folder of this name


class YoloData(NamedTuple):
    """The content of a data.yaml.

    Attributes:
      folder: of the dataset.
      places: the folders and list files of the split.
      names: {class number: name}.
      keypoints: values per object that belong to keypoints.
      path: of the data.yaml.
      others: keys that are not used.
    """

    folder: str
    places: tuple[str, ...]
    names: dict[int, str]
    keypoints: int
    path: str
    others: tuple[str, ...]


def read_data(path: str, split: str) -> YoloData:
    """Reads a data.yaml.

    Raises:
      UserError: it is not one, or has no such split.
    """
    files.require_file(path, "--data")
    try:
        # The base loader keeps `no` and `01` as text: they are names here.
        content = load(files.read_text(path, "--data"), TextLoader)
    except yaml.YAMLError as error:
        raise UserError(f"--data {path} is not YAML: {reason(error)}") from None
    if not isinstance(content, dict) or not {"names", *SPLITS} & content.keys():
        raise UserError(f"--data {path} has no 'names' and no 'train'. Give the data.yaml of a YOLO dataset.")
    given = {name: _places(content[name]) for name in content if name in SPLITS and _places(content[name])}
    if split not in given:
        has = ", ".join(given) or "none"
        raise UserError(f"--split {split!r}: {path} does not name it.{nearest(split, given)} It has: {has}.")
    folder = os.path.dirname(path) or "."
    root = os.path.join(folder, str(content.get("path") or "").replace("\\", "/"))
    places = tuple(_resolved(place, root, folder, f"--data {path}: {split}") for place in given[split])
    root = root if tf.io.gfile.isdir(root) else folder
    return YoloData(root, places, _names(content, path), _keypoints(content, path), path, tuple(content.keys() - KEYS))


def _places(value: Any) -> list[str]:
    return [str(place).replace("\\", "/") for place in (value if isinstance(value, list) else [value]) if place]


def _resolved(place: str, root: str, folder: str, where: str) -> str:
    """Returns the path that exists; `../train/images` of some tools means `train/images`."""
    inside = re.sub(r"^(\.\./)+", "", place)
    tried = [os.path.join(base, name) for name in (place, inside) for base in (root, folder)]
    for path in tried:
        if tf.io.gfile.exists(path):
            return _plain(path)
    shown = ", ".join(dict.fromkeys(tried))
    raise UserError(f"{where}: {place!r} does not exist; tried {shown}. Correct 'path' or the split in the file.")


def _plain(path: str) -> str:
    return os.path.normpath(path) if "://" not in path else path


def _names(content: dict[str, Any], path: str) -> dict[int, str]:
    names = content.get("names")
    pairs = list(names.items() if isinstance(names, dict) else enumerate(names) if isinstance(names, list) else ())
    try:
        by_number = {int(number): str(name).strip() for number, name in pairs}
    except ValueError:
        by_number = {}
    if not by_number or any(isinstance(name, (list, dict)) for _, name in pairs):
        raise UserError(f"--data {path}: 'names' must be a list of class names, or {{number: name}}.")
    repeated = [name for name, count in collections.Counter(by_number.values()).items() if count > 1]
    if repeated:
        raise UserError(f"--data {path}: 'names' has {repeated[0]!r} more than once. Give different names.")
    if str(content.get("nc", len(by_number))).strip() != str(len(by_number)):
        raise UserError(
            f"--data {path}: 'nc' is {content['nc']}, but 'names' has {len(by_number)} names. Correct the wrong one."
        )
    return dict(sorted(by_number.items()))


def _keypoints(content: dict[str, Any], path: str) -> int:
    shape = content.get("kpt_shape", [])
    shape = [] if shape in NULL else shape
    if not isinstance(shape, list) or not all(isinstance(side, str) and side.isdecimal() for side in shape):
        raise UserError(
            f"--data {path}: 'kpt_shape' is {shape}, not [number of keypoints, values of each]. Correct it."
        )
    return math.prod(map(int, shape)) if shape else 0


def images_of(data: YoloData, account: Account) -> on_disk.Items:
    """Lists the images of a split; missing ones of list files are counted as dropped. Empty if there is none."""
    paths = on_disk.NameSet()
    for place in data.places:
        if tf.io.gfile.isdir(place):
            for name in files.images_below(place, account, (".txt",)):  # labels may be beside the images
                paths.add(os.path.join(place, name))
            continue
        for path in _listed(place, data.folder):
            if tf.io.gfile.exists(path):
                paths.add(path)
            else:
                account.dropped.add("image: file is missing", path)
    if not paths:
        return on_disk.Items()
    base = data.places[0] if tf.io.gfile.isdir(data.places[0]) and len(data.places) == 1 else _shared_folder(paths)
    return files.unlabelled(base, (path.removeprefix(f"{base.rstrip('/')}/") for path in paths), account)


def label_path(image: str) -> str:
    """Returns the path of an image's label file."""
    return f"{files.stem(IMAGES.sub('labels', image, count=1))}.txt"


def check_class_lists(data: YoloData, account: Account) -> tuple[str, ...]:
    """Compares the `classes.txt` that labelling tools write with the names of data.yaml. Returns their paths.

    Raises:
      UserError: one calls a class differently, so nothing tells what the numbers in the label files mean.
    """
    labels = [IMAGES.sub("labels", f"{place.rstrip('/')}/", count=1).rstrip("/") for place in data.places]
    folders = (data.folder, os.path.dirname(data.path), *labels, *map(os.path.dirname, labels), *data.places)
    paths = dict.fromkeys(_plain(os.path.join(folder, CLASS_LIST)) for folder in folders)
    found = tuple(path for path in paths if tf.io.gfile.exists(path))
    for path in found:
        names = text_files.lines(files.read_text(path, "the class names"))
        for number, name in enumerate(names):
            known = data.names.get(number, name)
            if finder.spelled(name) != finder.spelled(known):
                raise UserError(
                    f"{path} calls class {number} {name!r}, but {data.path} calls it {known!r}. Correct the wrong one, "
                    f"or remove {CLASS_LIST}."
                )
        if len(names) != len(data.names):
            example = f"{path}: {len(names)} names, {data.path}: {len(data.names)}"
            account.notes.add(f"file: {CLASS_LIST} has another number of names than data.yaml, not used", example)
    return found


def _listed(path: str, folder: str) -> Iterator[str]:
    """Yields the images of a list file, relative to the dataset's folder or to the list's, whichever has the first."""
    lines = [line.replace("\\", "/") for line in files.read_lines(path, "the list", keep_comments=True)]
    bases = (folder, os.path.dirname(path), "")
    base = next((base for base in bases if tf.io.gfile.exists(os.path.join(base, lines[0]))), folder)
    yield from (os.path.normpath(os.path.join(base, line)) for line in lines)


def _shared_folder(paths: on_disk.NameSet) -> str:
    names = iter(paths)
    shared = os.path.dirname(next(names))
    for path in names:
        while shared and not path.startswith(f"{shared.rstrip('/')}/"):
            shared = os.path.dirname(shared)
    return shared


def count_strays(data: YoloData, expected: on_disk.NameSet, account: Account) -> None:
    """Counts label files without an image in the folders of labels as dropped images, and notes other files."""
    for place in data.places:
        folder = IMAGES.sub("labels", f"{place.rstrip('/')}/", count=1)
        if not tf.io.gfile.isdir(folder):
            continue
        if folder == f"{place.rstrip('/')}/":
            _note_texts(place.rstrip("/"), expected, account)
            continue
        listed = FolderFiles(folder.rstrip("/"))
        missing = (path for path in map(listed.path, listed) if path.endswith(".txt") and path not in expected)
        files.count_missing((path for path in missing if os.path.basename(path) != CLASS_LIST), account)
        others = (name for name in listed if not name.endswith(".txt"))
        files.note_unused(others, listed.folder, account, lambda name: files.kind_of(name, "detection"))


def _note_texts(folder: str, expected: on_disk.NameSet, account: Account) -> None:
    """Notes text files that lie among the images and are no image's labels."""
    listed = FolderFiles(folder)
    for path in map(listed.path, listed):
        if path.endswith(".txt") and path not in expected and os.path.basename(path) != CLASS_LIST:
            account.notes.add("detection: text file of no image, not used", path)
