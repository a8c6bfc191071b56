"""Photos with depth, surface normals and segmentation maps, matched by their names without suffix.

    ROOT/rgb/x.png      the photo
    ROOT/depth/x.png    16-bit millimetres along the camera axis, 0 = unknown
    ROOT/normal/x.png   RGB = (n + 1) * 127.5, 0,0,0 = unknown; camera frame x right, y down, z forward
    ROOT/label/x.png    class ids, used only if ROOT/classes.txt names them, one per line from id 0; 255 = ignored

An image without one of the files has no label for that task. ROOT/pseudo.jsonl, which export-coco writes, lists labels
that came from a teacher (see `corrected`).
"""

from __future__ import annotations

import dataclasses
import fnmatch
import os
from collections.abc import Callable, Iterable, Iterator, Mapping

import numpy as np
import tensorflow as tf

from must_tf.common.errors import UserError, nearest
from must_tf.data.record import Labelled
from must_tf.spec import ImageInfo, Labels
from must_tf.tasks.segmentation.labels import IGNORE
from tfrecords_tools.sources import Sample, files, maps, pixels
from tfrecords_tools.sources.coco import corrected
from tfrecords_tools.writing import on_disk
from tfrecords_tools.writing.counts import Account, Dropped
from tfrecords_tools.writing.items import Item, Listing

PHOTOS = "rgb"
FOLDERS = {"depth": "depth", "normal": "normals", "label": "segmentation"}  # folder -> task
NAMES = "classes.txt"


@dataclasses.dataclass(frozen=True)
class Rgbd:
    """`source_id` is the name without suffix. `match`, a pattern of such names, selects a split within a folder."""

    root: str
    match: str = "*"

    def find(self) -> Listing:
        """Lists all photos, each with the label files of the same name.

        Raises:
          UserError: there are no photos, or none of them has labels.
        """
        files.require_folder(self.root, "--root")
        self._require_photos()
        account, names = Account(), self._names()
        labels = {
            folder: on_disk.DiskTable((files.stem(name), name) for name in files.images_in(self._path(folder)))
            for folder in self._label_folders(names, account)
        }
        photo_names = self._photos()
        photos = files.unlabelled(self._path(PHOTOS), photo_names, account)
        origins = corrected.table(self._path(corrected.FILE))
        items = on_disk.Items(
            _with_origins(self._with_labels(photo, labels, len(names), account), origins) for photo in photos
        )
        if not any(len(item.files) > 1 for item in items):
            raise UserError(
                f"none of the {len(items)} photos in {self._path(PHOTOS)} has a file of the same name in "
                f"{', '.join(FOLDERS)}. For images without labels use `must-records convert images`."
            )
        missing = files.count_missing(self._missing(labels.values(), photo_names), account)
        inputs = (self._path(NAMES),) if names else ()
        return Listing(items, {"segmentation": names} if names else {}, inputs, account, len(items) + missing)

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

    def _path(self, name: str) -> str:
        return os.path.join(self.root, name)

    def _require_photos(self) -> None:
        if not tf.io.gfile.isdir(self._path(PHOTOS)):
            guess = nearest(PHOTOS, files.folders(self.root))
            raise UserError(f"{self.root} has no folder {PHOTOS!r} with photos.{guess}")

    def _names(self) -> tuple[str, ...]:
        return files.read_names(self._path(NAMES), IGNORE) if tf.io.gfile.exists(self._path(NAMES)) else ()

    def _label_folders(self, names: tuple[str, ...], account: Account) -> list[str]:
        folders = [folder for folder in FOLDERS if tf.io.gfile.isdir(self._path(folder))]
        if "label" in folders and not names:
            folders.remove("label")
            account.notes.add(f"segmentation: label/ ignored, {NAMES} does not name its ids", self._path("label"))
        return folders

    def _with_labels(
        self, photo: Item, labels: Mapping[str, Mapping[str, str]], classes: int, account: Account
    ) -> Item:
        stem, paths = files.stem(os.path.basename(photo.files[0])), {}
        for folder, by_stem in labels.items():
            if stem in by_stem:
                paths[folder] = os.path.join(self._path(folder), by_stem[stem])
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
        size = next((label_map.shape[:2] for label_map in label_maps.values()), None)
        stored = pixels.upright(pixels.read_file(photo), size, photo)
        info = ImageInfo(item.source_id, stored.height, stored.width)
        origin, labelled = f"real:{files.dataset(self.root)}", {}
        for kind, label_map in label_maps.items():
            try:
                labels = READERS[kind](_checked(label_map, info, kind, photo), count, paths[kinds.index(kind)])
            except Dropped as dropped:
                account.dropped.add(dropped.reason, dropped.example)
                continue
            labelled[FOLDERS[kind]] = Labelled(labels, origins.get(FOLDERS[kind], origin))
        return Sample(stored.encoded, info, labelled, os.path.basename(photo))


def _with_origins(item: Item, origins: Mapping[str, dict[str, str]]) -> Item:
    """Adds the origins of labels that came from a teacher."""
    return item._replace(labels=(*item.labels, origins.get(files.stem(os.path.basename(item.files[0])), {})))


def _read(path: str, kind: str) -> np.ndarray:
    return maps.read_ids(path, FOLDERS[kind]) if kind == "label" else maps.read_map(path, FOLDERS[kind])


def _checked(label_map: np.ndarray, info: ImageInfo, kind: str, name: str) -> np.ndarray:
    maps.require_size(label_map, info, FOLDERS[kind], name)
    dtypes, axes = FORMATS[kind]
    if label_map.ndim != axes or label_map.dtype not in dtypes:
        shown = f"{label_map.dtype} with {label_map.ndim} axes"
        raise Dropped(f"{FOLDERS[kind]}: pixels of another format", f"{name}: {shown}")
    return label_map


def _depth(millimetres: np.ndarray, count: int, path: str) -> Labels:
    del count, path
    return {"metres": millimetres.astype(np.float32) / 1000.0}


def _normals(colours: np.ndarray, count: int, path: str) -> Labels:
    """Converts colours to vectors without normalising their length.

    They are normalised on reading. Rounding them here too would change the colours with each export and conversion.
    """
    del count, path
    vectors = colours.astype(np.float32) / 127.5 - 1.0
    unknown = (colours[..., 0] | colours[..., 1] | colours[..., 2]) == 0
    vectors[unknown] = 0.0
    return {"normals": vectors}


def _segmentation(ids: np.ndarray, count: int, path: str) -> Labels:
    class_ids = {IGNORE: IGNORE} | {class_id: class_id for class_id in range(count)}
    return maps.segmentation(maps.classes_of(ids, class_ids, path))


READERS: dict[str, Callable[[np.ndarray, int, str], Labels]] = {
    "depth": _depth,
    "normal": _normals,
    "label": _segmentation,
}
# dtypes and number of axes of each kind of file
FORMATS = {"depth": ((np.uint16,), 2), "normal": ((np.uint8,), 3), "label": ((np.int32,), 2)}
