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
import shlex
from collections.abc import Iterable, Iterator

import tensorflow as tf

from must_tf.common import text_files as texts
from must_tf.common.errors import UserError, nearest
from tfrecords_tools.sources import files, finder, pixels
from tfrecords_tools.writing import on_disk
from tfrecords_tools.writing.counts import Account, Dropped

PHOTOS = ("JPEGImages", "JPEGImage", "images", "Images", "imgs", "img")
FOLDERS = {
    "xml": ("Annotations", "Annotation", "annotations", "xmls", "xml"),
    "class": ("SegmentationClass",),
    "object": ("SegmentationObject",),
}
TASKS = {"image": "image", "xml": "detection", "class": "segmentation", "object": "masks"}
SETS, DEFAULT, XML = "ImageSets", "train", ".xml"
FLAG = re.compile(r"^(.*\S)\s+(-?[01])$")


@dataclasses.dataclass
class Stems:
    """The files of one folder by their names without ending, in any spelling."""

    folder: str
    names: dict[str, str]  # stem -> file name
    repeated: tuple[str, ...] = ()  # files of the same stem as another one, which is used

    def __post_init__(self) -> None:
        self._spelled = {finder.spelled(stem): stem for stem in self.names}

    def find(self, stem: str) -> str:
        """Returns the path of a file, or an empty string."""
        known = stem if stem in self.names else self._spelled.get(finder.spelled(stem), "")
        return self.path(self.names[known]) if known else ""

    def path(self, name: str) -> str:
        """Returns the path of a file of the folder."""
        return os.path.join(self.folder, name)


@dataclasses.dataclass
class VocFiles:
    """The images that are listed, and the files of each kind.

    Attributes:
      photos: all image files.
      labels: {kind: label files}.
      names: the listed images, by name without ending.
      list_path: the file that lists them; empty if there is none.
      others: listed images that are left out, because another file has the same name.
    """

    photos: Stems
    labels: dict[str, Stems]
    names: list[str]
    list_path: str = ""
    others: int = 0


def find(root: str, split: str, image_set: str, account: Account) -> VocFiles:
    """Finds the files of a split.

    Raises:
      UserError: there are no annotations, or the list is missing.
    """
    photo_folder = next((name for name in PHOTOS if tf.io.gfile.isdir(os.path.join(root, name))), "")
    photos = _stems(os.path.join(root, photo_folder))
    labels = {kind: _labels(root, names, photo_folder) for kind, names in FOLDERS.items()}
    inside = {stems.folder.rstrip("/"): kind for kind, stems in (*labels.items(), ("image", photos))}
    for folder in inside.keys() - {root.rstrip("/")}:
        files.note_folders(folder, account, TASKS[inside[folder]])
    sets = os.path.join(root, SETS)
    if tf.io.gfile.isdir(sets):
        path, lines = _lines(sets, split, image_set)
        names = [*dict.fromkeys(_resolved(lines, photos, account))]
        return VocFiles(photos, labels, names, path, _settle(photos, labels, names, account))
    if not any(stems.names for stems in labels.values()):
        inner = [name for name in files.folders(root) if name.startswith("VOC") or name in ("train", "valid", "test")]
        guess = f" Give --root {shlex.quote(os.path.join(root, inner[0]))}." if inner else ""
        raise UserError(
            f"{root} has no folder {SETS!r} and no XML files. --root must be the folder of one year.{guess}"
        )
    if split != DEFAULT:
        raise UserError(f"{root} has no folder {SETS!r}, so --split {split} cannot be found. Leave --split out.")
    account.notes.add(f"image: no {SETS}, so all images are converted", root)
    names = sorted(photos.names)
    return VocFiles(photos, labels, names, "", _settle(photos, labels, names, account))


def _settle(photos: Stems, labels: dict[str, Stems], names: Iterable[str], account: Account) -> int:
    """Counts files of the same name but for their ending, of which one is used: of photos, the one that the XML names.

    Returns:
      The number of photos that are left out.
    """
    listed, others = on_disk.NameSet(names), 0
    for kind, stems in (("image", photos), *labels.items()):
        for other in stems.repeated:
            stem = files.stem(other)
            if stem not in listed:
                continue
            if kind == "image" and finder.spelled(_named_by(labels["xml"].find(stem))) == finder.spelled(other):
                photos.names[stem], other = other, photos.names[stem]
            account.dropped.add(f"{TASKS[kind]}: another file of this name has another ending", stems.path(other))
            others += kind == "image"
    return others


def _named_by(path: str) -> str:
    """Returns the name of the photo that an XML file names; empty if it cannot be read, which is reported later."""
    try:
        return finder.normalised(texts.xml(pixels.read_file(path)).findtext("filename") or "").rsplit("/", 1)[-1]
    except (ValueError, Dropped):
        return ""


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
    return files.is_image(name) or name.lower().endswith(XML)


def _stems(folder: str, ending: str = "") -> Stems:
    """Returns the files of a folder with this ending, by default the images. Of several of a stem, the first counts."""
    names = sorted(tf.io.gfile.listdir(folder)) if tf.io.gfile.isdir(folder) else []
    wanted, repeated = dict[str, str](), []
    for name in names:
        if name.startswith(".") or not (name.lower().endswith(ending) if ending else files.is_image(name)):
            continue
        if wanted.setdefault(files.stem(name), name) != name:
            repeated.append(name)
    return Stems(folder, wanted, tuple(repeated))


def _labels(root: str, names: tuple[str, ...], photo_folder: str) -> Stems:
    """Returns the label files of one kind; XML files may lie beside the images."""
    folder = next((name for name in names if tf.io.gfile.isdir(os.path.join(root, name))), None)
    if folder is not None:
        return _stems(os.path.join(root, folder), XML if names == FOLDERS["xml"] else "")
    beside = os.path.join(root, photo_folder)
    if names != FOLDERS["xml"] or not tf.io.gfile.isdir(beside):
        return Stems(os.path.join(root, names[0]), {})
    return _stems(beside, XML)


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
