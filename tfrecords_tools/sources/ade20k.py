"""ADE20K as SceneParsing-150 (ADEChallengeData2016): segmentation.

    ROOT/images/training/ADE_train_00000001.jpg
    ROOT/annotations/training/ADE_train_00000001.png   0 is other and ignored, 1..150 -> 0..149
    ROOT/objectInfo150.txt                             the names: a table, the last column, in the order of the ids

The names' synonyms ("building, edifice") stay as they are.
"""

from __future__ import annotations

import dataclasses
import os

from must_tf.common.errors import UserError, nearest
from must_tf.data.record import Labelled
from must_tf.spec import ImageInfo
from must_tf.tasks.segmentation.labels import IGNORE
from tfrecords_tools.sources import Sample, files, maps, pixels
from tfrecords_tools.writing.counts import Account, Dropped
from tfrecords_tools.writing.items import Item, Listing

NAMES = "objectInfo150.txt"


@dataclasses.dataclass(frozen=True)
class Ade20k:
    """`source_id` is the image's name without suffix. `split` is a folder: training or validation."""

    root: str
    split: str = "training"

    def find(self) -> Listing:
        """The images of the split.

        Raises:
          UserError: a folder or the names are missing, or no image has an annotation.
        """
        files.require_folder(self.root, "--root")
        images, annotations = (os.path.join(self.root, kind, self.split) for kind in ("images", "annotations"))
        for folder in (images, annotations):
            self._require(folder)
        account, names = Account(), self._names()
        maps_there = {files.stem(name): name for name in files.images_in(annotations)}
        items, there = [], files.images_in(images)
        for item in files.unlabelled(images, there, account):
            if item.source_id in maps_there:
                path = os.path.join(annotations, maps_there[item.source_id])
                items.append(item._replace(files=(*item.files, path), labels=len(names)))
            else:
                account.dropped.add("image: no annotation", item.files[0])
        gone = sorted(maps_there.keys() - {files.stem(name) for name in there})
        missing = files.count_missing((os.path.join(images, f"{name}.jpg") for name in gone), account)
        remedy = f"The names in {annotations} must be those in {images}."
        files.require_some(items, sorted(maps_there), images, remedy)
        return Listing(items, {"segmentation": names}, (os.path.join(self.root, NAMES),), account, len(there) + missing)

    def _require(self, folder: str) -> None:
        parent = os.path.dirname(folder)
        files.require_folder(parent, "--root's")
        if self.split not in files.folders(parent):
            raise UserError(
                f"--split {self.split!r}: {folder} is not a folder.{nearest(self.split, files.folders(parent))}"
            )

    def _names(self) -> tuple[str, ...]:
        path = os.path.join(self.root, NAMES)
        names: list[str] = []
        for line in files.read_lines(path, "the class names"):
            number, *_, name = (cell.strip() for cell in line.split("\t"))
            if not number.isdigit():  # the table's head
                continue
            if int(number) != len(names) + 1 or not name:
                raise UserError(f"{path}: line {line!r} where number {len(names) + 1} and its name are expected.")
            names.append(name)
        if not 0 < len(names) <= IGNORE:
            raise UserError(f"{path}: {len(names)} names; 1 to {IGNORE} are expected, columns divided by tabs.")
        return tuple(names)

    def load(self, item: Item, account: Account) -> Sample:
        """The image and its map."""
        path, png = item.files
        size, labelled = None, {}
        try:
            ids = maps.read_ids(png, "segmentation")
        except Dropped as dropped:
            account.dropped.add(dropped.reason, dropped.example)
        else:
            size = (ids.shape[0], ids.shape[1])
            known = {0: IGNORE} | {number: number - 1 for number in range(1, item.labels + 1)}
            labels = maps.segmentation(maps.classes_of(ids, known, png))
            labelled["segmentation"] = Labelled(labels, f"real:{files.dataset(self.root)}")
        stored = pixels.upright(pixels.read_file(path), size, path)
        info = ImageInfo(item.source_id, stored.height, stored.width)
        return Sample(stored.encoded, info, labelled, os.path.basename(path))
