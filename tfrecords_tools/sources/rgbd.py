"""Photos with depth, surface normals and segmentation maps, matched by their names without suffix.

    ROOT/rgb/x.png      the photo
    ROOT/depth/x.png    16-bit millimetres along the camera axis, 0 = unknown; other files and units: see `rgbd_maps`
    ROOT/normal/x.png   RGB = (n + 1) * 127.5, 0,0,0 = unknown; camera frame x right, y down, z forward
    ROOT/label/x.png    class ids, used only if ROOT/classes.txt names them, one per line from id 0; 255 = ignored

An image without one of the files has no label for that task. ROOT/pseudo.jsonl, which export-coco writes, lists labels
that came from a teacher (see `corrected`).
"""

from __future__ import annotations

import bisect
import dataclasses
import fnmatch
import itertools
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
import tensorflow as tf

from must_tf.common.errors import UserError, nearest
from must_tf.data.record import Labelled
from must_tf.spec import ImageInfo, Labels
from must_tf.tasks.segmentation.labels import IGNORE
from tfrecords_tools.sources import Sample, files, maps, pixels, rgbd_maps
from tfrecords_tools.sources.coco import corrected
from tfrecords_tools.sources.rgbd_maps import MapOptions
from tfrecords_tools.writing import on_disk
from tfrecords_tools.writing.counts import Account, Dropped
from tfrecords_tools.writing.items import Item, Listing

PHOTOS = "rgb"
FOLDERS = {"depth": "depth", "normal": "normals", "label": "segmentation"}  # folder -> task
NAMES = "classes.txt"
SHOWN = 5  # folders in a message
PROBED = 5  # photos whose label files are read before the conversion


@dataclasses.dataclass(frozen=True)
class Rgbd:
    """`source_id` is the name without suffix.

    Attributes:
      root: the folder.
      match: a pattern of names without suffix, which selects a split within a folder.
      options: the meaning of the label images.
    """

    root: str
    match: str = "*"
    options: MapOptions = MapOptions()

    def find(self) -> Listing:
        """Lists all photos, each with the label files of the same name.

        Raises:
          UserError: there are no photos, or none of them has labels.
        """
        files.require_folder(self.root, "--root")
        self.options.check()
        self._require_photos()
        account, names = Account(), self._names()
        labels = {
            folder: on_disk.DiskTable((files.stem(name), name) for name in self._files_in(folder, account))
            for folder in self._label_folders(names, account)
        }
        photo_names = self._photos()
        self._note_others(account)
        photos = files.unlabelled(self._path(PHOTOS), photo_names, account)
        origins = corrected.table(self._path(corrected.FILE))
        clock = {folder: Clock(by_stem, self.options.match_time) for folder, by_stem in labels.items()}
        items = on_disk.Items(
            _with_origins(self._with_labels(photo, labels, clock, len(names), account), origins) for photo in photos
        )
        if not any(len(item.files) > 1 for item in items):
            raise UserError(
                f"none of the {len(items)} photos in {self._path(PHOTOS)} has a file of the same name in "
                f"{', '.join(FOLDERS)}.{self._example(labels)}"
            )
        self._require_readable(items)
        times = self.options.match_time > 0
        missing = 0 if times else files.count_missing(self._missing(labels.values(), photo_names), account)
        inputs = (self._path(NAMES),) if names else ()
        return Listing(items, {"segmentation": names} if names else {}, inputs, account, len(items) + missing)

    def _example(self, labels: Mapping[str, Mapping[str, str]]) -> str:
        stems = [stem for by_stem in labels.values() for stem in itertools.islice(by_stem, 1)]
        if not stems:
            others = [name for name in files.folders(self.root) if name not in (PHOTOS, *FOLDERS)]
            there = f" There are {', '.join(others[:SHOWN])}: rename them." if others else ""
            return f"{there} For images without labels use `must convert images`."
        hint, seconds = "", self.options.match_time
        if rgbd_maps.is_time(stems[0]) and seconds:
            hint = f" They are times, and no photo's name is a time within {seconds:g} seconds of one."
        elif rgbd_maps.is_time(stems[0]):
            hint = " They are times: if the photos' are, too, give --match-time 0.02."
        return f" They have names like {stems[0]!r}.{hint} For images without labels use `must convert images`."

    def _files_in(self, folder: str, account: Account) -> list[str]:
        """Returns the label files of a folder, and notes those that are not read."""
        names = [name for name in sorted(tf.io.gfile.listdir(self._path(folder))) if not files.is_hidden(name)]
        endings = () if folder == "label" else maps.ARRAYS
        readable = [name for name in names if files.is_image(name) or name.lower().endswith(endings)]
        task = FOLDERS[folder]
        files.note_others(set(names) - set(readable), self._path(folder), account, task)
        files.note_folders(self._path(folder), account, task)
        repeated = len(readable) - len({files.stem(name) for name in readable})
        if repeated:
            account.notes.add(f"{task}: several files of one name, the last is used", self._path(folder), repeated)
        return readable

    def _require_readable(self, items: Sequence[Item]) -> None:
        """Reads a few label files, so that a wrong unit or wrong axes are reported before the first image.

        Raises:
          UserError: depth has no unit, or the normals face away from the camera.
        """
        labelled = itertools.islice((item for item in items if len(item.files) > 1), PROBED)
        probed = [pair for item in labelled for pair in zip(item.labels[0], item.files[1:], strict=True)]
        depth = [path for kind, path in probed if kind == "depth"]
        rgbd_maps.require_unit(depth, self.options)
        rgbd_maps.require_facing([path for kind, path in probed if kind == "normal"], self.options)

    def _missing(self, labels: Iterable[Iterable[str]], photos: list[str]) -> Iterator[str]:
        """Yields the paths without suffix of missing photos that have labels."""
        seen = on_disk.NameSet(files.stem(name) for name in photos)
        for stems in labels:
            for stem in stems:
                if fnmatch.fnmatchcase(stem, self.match) and seen.add(stem):
                    yield self._path(os.path.join(PHOTOS, stem))

    def _photos(self) -> list[str]:
        names = files.images_in(self._path(PHOTOS))
        matched = [name for name in names if fnmatch.fnmatchcase(files.stem(name), self.match)]
        if names and not matched:
            raise UserError(
                f"--match {self.match!r} matches none of the {len(names)} photos, like {names[0]!r}. Give a pattern "
                "of names without suffix, in quotes."
            )
        return matched

    def _note_others(self, account: Account) -> None:
        """Notes files and folders of the root that are not read, and files beside the photos."""
        photos = self._path(PHOTOS)
        files.note_others({name for name in tf.io.gfile.listdir(photos) if not files.is_image(name)}, photos, account)
        files.note_folders(photos, account)
        known = (NAMES, corrected.FILE)
        files.note_others(set(tf.io.gfile.listdir(self.root)) - {*known}, self.root, account, "file")
        for name in files.folders(self.root):
            if name not in (PHOTOS, *FOLDERS):
                account.notes.add(f"folder: none of {PHOTOS}, {', '.join(FOLDERS)}, not read", self._path(name))

    def _path(self, name: str) -> str:
        return os.path.join(self.root, name)

    def _require_photos(self) -> None:
        if not tf.io.gfile.isdir(self._path(PHOTOS)):
            folders = files.folders(self.root)
            guess = nearest(PHOTOS, folders) or nearest(PHOTOS.upper(), folders)
            there = f" There are {', '.join(folders[:SHOWN])}: rename the one with the photos." if folders else ""
            raise UserError(f"{self.root} has no folder {PHOTOS!r} with photos.{guess}{there}")
        if not files.images_in(self._path(PHOTOS)):
            inner = files.folders(self._path(PHOTOS))
            way = f" Photos in folders of it, like {inner[0]!r}, are not read: move them up." if inner else ""
            raise UserError(f"{self._path(PHOTOS)} has no photo.{way} Give a --root with photos in {PHOTOS}/.")

    def _names(self) -> tuple[str, ...]:
        return files.read_names(self._path(NAMES), IGNORE) if tf.io.gfile.exists(self._path(NAMES)) else ()

    def _label_folders(self, names: tuple[str, ...], account: Account) -> list[str]:
        folders = [folder for folder in FOLDERS if tf.io.gfile.isdir(self._path(folder))]
        if "label" in folders and not names:
            folders.remove("label")
            account.notes.add(f"segmentation: label/ ignored, {NAMES} does not name its ids", self._path("label"))
        return folders

    def _with_labels(
        self,
        photo: Item,
        labels: Mapping[str, Mapping[str, str]],
        clocks: Mapping[str, Clock],
        classes: int,
        account: Account,
    ) -> Item:
        stem, paths = files.stem(os.path.basename(photo.files[0])), {}
        for folder, by_stem in labels.items():
            name = by_stem.get(stem) or by_stem.get(clocks[folder].nearest(stem))
            if name:
                paths[folder] = os.path.join(self._path(folder), name)
            else:
                account.notes.add(f"{FOLDERS[folder]}: no file for this image", photo.files[0])
        return Item(photo.source_id, (*photo.files, *paths.values()), (tuple(paths), classes))

    def load(self, item: Item, account: Account) -> Sample:
        """Reads the photo and its label files."""
        kinds, count, origins = item.labels
        photo, *paths = item.files
        label_maps = {}
        for kind, path in zip(kinds, paths, strict=True):
            try:
                label_maps[kind] = _read(path, kind)
            except Dropped as dropped:
                account.dropped.add(dropped.reason, dropped.example)
        frames = [pixels.Sized(label_map.shape[:2], pixels.STORED) for label_map in label_maps.values()]
        stored = pixels.upright(pixels.read_file(photo), frames[0] if frames else pixels.SHOWN, photo, account)
        info = ImageInfo(item.source_id, stored.height, stored.width)
        labels: dict[str, Labels] = {}
        for kind, label_map in label_maps.items():
            try:
                maps.require_size(label_map, info, FOLDERS[kind], photo)
                labels[FOLDERS[kind]] = self._converted(label_map, kind, count, paths[kinds.index(kind)], account)
            except Dropped as dropped:
                account.dropped.add(dropped.reason, dropped.example)
        rgbd_maps.check_surfaces(labels, self.options, photo, account)
        origin = f"real:{files.dataset(self.root)}"
        labelled = {task: Labelled(values, origins.get(task, origin)) for task, values in labels.items()}
        return Sample(stored.encoded, info, labelled, os.path.basename(photo))

    def _converted(self, label_map: np.ndarray, kind: str, count: int, path: str, account: Account) -> Labels:
        if kind == "depth":
            return rgbd_maps.depth(label_map, self.options, path, account)
        if kind == "normal":
            return rgbd_maps.normals(label_map, self.options, path)
        return rgbd_maps.classes(label_map, count, self.options, path, account)


class Clock:
    """The names of a folder that are times."""

    def __init__(self, stems: Iterable[str], most_apart: float):
        self._most_apart = most_apart
        times = (stem for stem in stems if rgbd_maps.is_time(stem)) if most_apart else ()
        self._times = sorted((float(stem), stem) for stem in times)

    def nearest(self, stem: str) -> str:
        """Returns the name that is nearest in time, or an empty string."""
        if not self._times or not rgbd_maps.is_time(stem):
            return ""
        time = float(stem)
        place = bisect.bisect(self._times, (time, ""))
        apart, name = min((abs(time - other), name) for other, name in self._times[max(0, place - 1) : place + 1])
        return name if apart <= self._most_apart else ""


def _with_origins(item: Item, origins: Mapping[str, dict[str, str]]) -> Item:
    """Adds the origins of labels that came from a teacher."""
    return item._replace(labels=(*item.labels, origins.get(files.stem(os.path.basename(item.files[0])), {})))


def _read(path: str, kind: str) -> np.ndarray:
    return maps.read_ids(path, FOLDERS[kind]) if kind == "label" else maps.read_map(path, FOLDERS[kind])
