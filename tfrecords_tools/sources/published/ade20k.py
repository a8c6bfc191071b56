"""ADE20K as SceneParsing-150 (ADEChallengeData2016): segmentation.

    ROOT/images/training/ADE_train_00000001.jpg
    ROOT/annotations/training/ADE_train_00000001.png   0 is "other" and ignored, 1..150 -> 0..149
    ROOT/objectInfo150.txt                             names, in the last column of a table, ordered by id

Names keep their synonyms ("building, edifice").
"""

from __future__ import annotations

import dataclasses
import itertools
import os

import tensorflow as tf

from must_tf.common.errors import UserError, nearest
from must_tf.data.record import Labelled
from must_tf.spec import ImageInfo
from must_tf.tasks.segmentation.labels import IGNORE
from tfrecords_tools.sources import Sample, files, maps, pixels
from tfrecords_tools.sources.leftovers import FolderFiles
from tfrecords_tools.writing import on_disk
from tfrecords_tools.writing.counts import Account, Dropped
from tfrecords_tools.writing.items import Item, Listing

NAMES = "objectInfo150.txt"


def _is_direct_image(name: str) -> bool:
    return files.is_image(name) and "/" not in name


@dataclasses.dataclass(frozen=True)
class Ade20k:
    """`source_id` is the image's name without suffix. `split` is a folder: training or validation."""

    root: str
    split: str = "training"

    def find(self) -> Listing:
        """Lists the images of the split.

        Raises:
          UserError: a folder or the list of names is missing, or no image has an annotation.
        """
        files.require_folder(self.root, "--root")
        images, annotations = (os.path.join(self.root, kind, self.split) for kind in ("images", "annotations"))
        for folder in (images, annotations):
            self._require(folder)
        account, names = Account(), self._names()
        photos, maps_there, items = FolderFiles(images), FolderFiles(annotations), on_disk.Items()
        map_names = on_disk.DiskTable((files.stem(name), name) for name in maps_there if _is_direct_image(name))
        for item in files.unlabelled(images, filter(_is_direct_image, photos), account):
            photos.use_paths(item.files)
            if item.source_id in map_names:
                path = maps_there.path(map_names[item.source_id])
                items.append(item._replace(files=(*item.files, path), labels=len(names)))
            else:
                account.dropped.add("image: no annotation", item.files[0])
        stems = on_disk.NameSet(map(files.stem, filter(_is_direct_image, photos)))
        missing_stems = (stem for stem in map_names if stem not in stems)
        files.count_missing((photos.path(f"{stem}.jpg") for stem in missing_stems), account)
        remedy = f"Files in {annotations} must have the same names as those in {images}."
        files.require_some(items, [*itertools.islice(map_names, 1)] * len(map_names), images, remedy)
        maps_there.use(*map_names.values())
        self._note_others(photos, maps_there, account)
        inputs = (os.path.join(self.root, NAMES),)
        count = len(items) + account.dropped.count("image")
        return Listing(items, {"segmentation": names}, inputs, account, count)

    def _note_others(self, photos: FolderFiles, maps_there: FolderFiles, account: Account) -> None:
        """Notes files that are not read: of the split's folders, and beside the folders."""
        photos.note_unused(account)
        maps_there.note_unused(account, lambda name: files.kind_of(name, "segmentation"))
        files.note_others(set(tf.io.gfile.listdir(self.root)) - {NAMES}, self.root, account, "file")

    def _require(self, folder: str) -> None:
        parent = os.path.dirname(folder)
        files.require_folder(parent, "--root's")
        if self.split not in files.folders(parent):
            raise UserError(
                f"--split {self.split!r}: {folder} does not exist.{nearest(self.split, files.folders(parent))}"
            )

    def _names(self) -> tuple[str, ...]:
        path = os.path.join(self.root, NAMES)
        names: list[str] = []
        for line in files.read_lines(path, "the class names"):
            number, *others = (cell.strip() for cell in line.split("\t"))
            name = others[-1] if others else ""
            if not number.isdecimal():  # the header of the table
                continue
            if int(number) != len(names) + 1 or not name:
                raise UserError(f"{path}: expected number {len(names) + 1} and its name, but found the line {line!r}.")
            names.append(name)
        if not 0 < len(names) <= IGNORE:
            raise UserError(
                f"{path} has {len(names)} names, but 1 to {IGNORE} are expected. Separate its columns by tabs."
            )
        return tuple(names)

    def load(self, item: Item, account: Account) -> Sample:
        """Reads the image and its segmentation map."""
        path, png = item.files
        size, labelled = None, {}
        try:
            ids = maps.read_ids(png, "segmentation")
        except Dropped as dropped:
            account.dropped.add(dropped.reason, dropped.example)
        else:
            size = (ids.shape[0], ids.shape[1])
            if (ids == IGNORE).any():
                raise UserError(
                    f"{png}: value {IGNORE} is none of the dataset's, which count from 1 and ignore 0. If these maps "
                    f"count from 0 and ignore {IGNORE}, convert them with `must convert rgbd`."
                )
            class_ids = {0: IGNORE} | {number: number - 1 for number in range(1, item.labels + 1)}
            labels = maps.segmentation(maps.classes_of(ids, class_ids, png))
            labelled["segmentation"] = Labelled(labels, f"real:{files.dataset(self.root)}")
        stored = pixels.upright(pixels.read_file(path), size, path, account)
        info = ImageInfo(item.source_id, stored.height, stored.width)
        return Sample(stored.encoded, info, labelled, os.path.basename(path))
