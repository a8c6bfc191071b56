"""The files of a dataset in VOC's format: as published, or as annotation tools leave them.

    ROOT/JPEGImages, Annotations, ImageSets/Main/train.txt    VOC's own layout
    ROOT/images, annotations                                  without ImageSets: all images
    ROOT/x.jpg, ROOT/x.xml                                    XML beside the images

A line of a list is an image's name, with or without ending, or a name and a flag (VOC's lists per class).
"""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Iterable, Iterator

import tensorflow as tf

from must_tf.common import text_files as texts
from must_tf.common.errors import UserError, nearest
from tfrecords_tools.sources import files, finder
from tfrecords_tools.writing import on_disk
from tfrecords_tools.writing.counts import Account

PHOTOS = ("JPEGImages", "JPEGImage", "images", "Images", "imgs", "img")
FOLDERS = {
    "xml": ("Annotations", "Annotation", "annotations", "xmls", "xml"),
    "class": ("SegmentationClass",),
    "object": ("SegmentationObject",),
}
TASKS = {"image": "image", "xml": "detection", "class": "segmentation", "object": "masks"}
SETS, DEFAULT = "ImageSets", "train"
FLAG = re.compile(r"^(.*\S)\s+(-?[01])$")


@dataclasses.dataclass
class Stems:
    """The files of one folder by their names without ending, in any spelling."""

    folder: str
    names: dict[str, str]  # stem -> file name

    def __post_init__(self) -> None:
        self._spelled = {finder.spelled(stem): stem for stem in self.names}

    def find(self, stem: str) -> str:
        """Returns the path of a file, or an empty string."""
        known = stem if stem in self.names else self._spelled.get(finder.spelled(stem), "")
        return os.path.join(self.folder, self.names[known]) if known else ""


@dataclasses.dataclass
class VocFiles:
    """The images that are listed, and the files of each kind.

    Attributes:
      photos: all image files.
      labels: {kind: label files}.
      names: the listed images, by name without ending.
      list_path: the file that lists them; empty if there is none.
    """

    photos: Stems
    labels: dict[str, Stems]
    names: list[str]
    list_path: str = ""


def find(root: str, split: str, image_set: str, account: Account) -> VocFiles:
    """Finds the files of a split.

    Raises:
      UserError: there are no annotations, or the list is missing.
    """
    photo_folder = next((name for name in PHOTOS if tf.io.gfile.isdir(os.path.join(root, name))), "")
    photos = _stems(os.path.join(root, photo_folder), only_images=not photo_folder)
    labels = {kind: _labels(root, names, photo_folder) for kind, names in FOLDERS.items()}
    sets = os.path.join(root, SETS)
    if tf.io.gfile.isdir(sets):
        path, lines = _lines(sets, split, image_set)
        return VocFiles(photos, labels, [*dict.fromkeys(_resolved(lines, photos, account))], path)
    if not any(stems.names for stems in labels.values()):
        inner = [name for name in files.folders(root) if name.startswith("VOC") or name in ("train", "valid", "test")]
        guess = f" Give --root {os.path.join(root, inner[0])}." if inner else ""
        raise UserError(
            f"{root} has no folder {SETS!r} and no XML files. --root must be the folder of one year.{guess}"
        )
    if split != DEFAULT:
        raise UserError(f"{root} has no folder {SETS!r}, so --split {split} cannot be found. Leave --split out.")
    account.notes.add(f"image: no {SETS}, so all images are converted", root)
    return VocFiles(photos, labels, sorted(photos.names))


def note_others(found: VocFiles, used: Iterable[str], account: Account) -> None:
    """Notes the files that belong to no image of any list, once per kind; those of other splits are not meant.

    Args:
      found: the split.
      used: paths of the files that are read.
      account: for the notes.
    """
    folder, named = os.path.dirname(found.list_path), set(found.names)
    for name in tf.io.gfile.listdir(folder) if found.list_path else ():
        path = os.path.join(folder, name)
        if name.endswith(".txt") and path != found.list_path:
            lines = texts.lines(files.read_text(path, "the list"))
            named.update(_resolved(lines, found.photos, Account()))
    read = on_disk.NameSet(used)
    for kind, stems in (("image", found.photos), *found.labels.items()):
        present = sorted(tf.io.gfile.listdir(stems.folder)) if tf.io.gfile.isdir(stems.folder) else []
        if kind == "xml" and stems.folder == found.photos.folder:
            continue
        left = [name for name in present if os.path.join(stems.folder, name) not in read]
        beside = {name for name in left if not _is_label(name)}
        files.note_others(beside, stems.folder, account, TASKS[kind])
        own = (name for name in left if name not in beside and files.stem(name) not in named)
        for name in own:
            account.notes.add(f"{TASKS[kind]}: file of no listed image, not used", os.path.join(stems.folder, name))


def _is_label(name: str) -> bool:
    return files.is_image(name) or name.lower().endswith(".xml")


def _stems(folder: str, only_images: bool) -> Stems:
    names = tf.io.gfile.listdir(folder) if tf.io.gfile.isdir(folder) else []
    wanted = sorted(name for name in names if not name.startswith(".") and (files.is_image(name) or not only_images))
    return Stems(folder, {files.stem(name): name for name in wanted})


def _labels(root: str, names: tuple[str, ...], photo_folder: str) -> Stems:
    """Returns the label files of one kind; XML files may lie beside the images."""
    folder = next((name for name in names if tf.io.gfile.isdir(os.path.join(root, name))), None)
    if folder is not None:
        return _stems(os.path.join(root, folder), only_images=False)
    beside = os.path.join(root, photo_folder)
    if names != FOLDERS["xml"] or not tf.io.gfile.isdir(beside):
        return Stems(os.path.join(root, names[0]), {})
    found = [name for name in tf.io.gfile.listdir(beside) if name.lower().endswith(".xml") and not name.startswith(".")]
    return Stems(beside, {files.stem(name): name for name in found})


def _lines(sets: str, split: str, image_set: str) -> tuple[str, list[str]]:
    """Returns the list of a split and its lines; the lists of all classes, if there is no other."""
    folder = os.path.join(sets, image_set)
    path = os.path.join(folder, f"{split}.txt")
    if tf.io.gfile.exists(path):
        return path, files.read_lines(path, "--split", keep_comments=True)
    names = sorted(tf.io.gfile.listdir(folder)) if tf.io.gfile.isdir(folder) else []
    of_classes = [name for name in names if name.endswith(f"_{split}.txt")]
    if not of_classes:
        known = [files.stem(name) for name in names]
        listed = f" There are: {', '.join(known[:9])}." if known else ""
        raise UserError(f"--split {split!r}: {path} does not exist.{nearest(split, known)}{listed}")
    lines = [line for name in of_classes for line in files.read_lines(os.path.join(folder, name), "--split")]
    return os.path.join(folder, of_classes[0]), lines


def _resolved(lines: list[str], photos: Stems, account: Account) -> Iterator[str]:
    """Yields the image of each line, by its name without ending."""
    for line in lines:
        flagged = FLAG.fullmatch(line)
        names = [line, *([flagged[1]] if flagged else []), line.split()[0]]
        forms = [form for name in names for form in _forms(name)]
        found = next((form for form in forms if photos.find(form)), None)
        if found is None and line.startswith("#"):
            continue
        if flagged and found != line and flagged[2] != "1":
            account.notes.add("image: flag in the list's second column is not used", line)
        yield found or _forms(names[1] if flagged else line)[-1]


def _forms(name: str) -> list[str]:
    """Returns a name, its last part, and both without the ending of an image."""
    written = finder.normalised(name)
    forms = [written, written.rsplit("/", 1)[-1]]
    return [*forms, *(files.stem(form) for form in forms if files.is_image(form))]
