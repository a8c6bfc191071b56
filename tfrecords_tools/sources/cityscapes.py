"""Cityscapes, fine annotations: segmentation (19 classes), detection and masks (8 of these classes).

    ROOT/leftImg8bit/train/aachen/aachen_000000_000019_leftImg8bit.png
    ROOT/gtFine/train/aachen/aachen_000000_000019_gtFine_labelIds.png      -> segmentation
    ROOT/gtFine/train/aachen/aachen_000000_000019_gtFine_instanceIds.png   -> detection, masks
    ROOT/gtFine/train/aachen/aachen_000000_000019_gtFine_labelTrainIds.png -> segmentation, without labelIds

Label ids 0..33 become the train ids of Cityscapes' own table (road 0 ... bicycle 18); label ids without a train id are
ignored. An instance id is label id * 1000 + n. A thing's plain label id marks a group without separate instances, which
becomes a crowd. The annotations of test are withheld (its label files are empty), so its images stay unlabelled.
"""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from scipy import ndimage

from must_tf.common.errors import UserError, nearest
from must_tf.data.record import Labelled
from must_tf.spec import ImageInfo, Labels
from must_tf.tasks.segmentation.labels import IGNORE
from tfrecords_tools.sources import Sample, files, maps, objects, pixels
from tfrecords_tools.sources.leftovers import FolderFiles
from tfrecords_tools.sources.objects import ObjectLabel
from tfrecords_tools.writing import on_disk
from tfrecords_tools.writing.counts import Account, Dropped
from tfrecords_tools.writing.items import Item, Listing


class CityscapesClass(NamedTuple):
    """An evaluated class: its label id and name. Source: labels.py of cityscapesscripts."""

    label_id: int
    name: str
    is_thing: bool = False


LABELS = (  # in the order of the train ids
    CityscapesClass(7, "road"),
    CityscapesClass(8, "sidewalk"),
    CityscapesClass(11, "building"),
    CityscapesClass(12, "wall"),
    CityscapesClass(13, "fence"),
    CityscapesClass(17, "pole"),
    CityscapesClass(19, "traffic light"),
    CityscapesClass(20, "traffic sign"),
    CityscapesClass(21, "vegetation"),
    CityscapesClass(22, "terrain"),
    CityscapesClass(23, "sky"),
    CityscapesClass(24, "person", True),
    CityscapesClass(25, "rider", True),
    CityscapesClass(26, "car", True),
    CityscapesClass(27, "truck", True),
    CityscapesClass(28, "bus", True),
    CityscapesClass(31, "train", True),
    CityscapesClass(32, "motorcycle", True),
    CityscapesClass(33, "bicycle", True),
)
LAST = 33  # the largest label id
INSTANCES = 1000  # instance ids per label id
DIFFERENT = 0.05  # share of the pixels whose two labels may differ, as after a correction of one of the files
LABEL_IDS = dict.fromkeys(range(LAST + 1), IGNORE) | {label.label_id: train_id for train_id, label in enumerate(LABELS)}
OWN_TRAIN_IDS = {train_id: train_id for train_id in range(len(LABELS))} | {IGNORE: IGNORE}
THINGS = [label for label in LABELS if label.is_thing]
THING_IDS = {label.label_id: class_id for class_id, label in enumerate(THINGS, 1)}
CLASSES = {
    "segmentation": tuple(label.name for label in LABELS),
    "detection": tuple(label.name for label in THINGS),
    "masks": tuple(label.name for label in THINGS),
}
IMAGES, IMAGE_END = "leftImg8bit", "_leftImg8bit.png"
ANNOTATIONS, ENDS = "gtFine", {"ids": "_gtFine_labelIds.png", "instances": "_gtFine_instanceIds.png"}
LABEL_FILE = re.compile(r"_gt(Fine|Coarse)_\w+\.\w+$")  # of which there are kinds that are not read
TRAIN_IDS, TRAIN_IDS_END = "train ids", "_gtFine_labelTrainIds.png"  # read if there are no label ids
WITHHELD = "test"


@dataclasses.dataclass(frozen=True)
class Cityscapes:
    """`source_id` is `<city>_<sequence>_<frame>`. `split` is a folder: train, val or test."""

    root: str
    split: str = "train"

    def find(self) -> Listing:
        """Lists the images of all cities of the split.

        Raises:
          UserError: a folder is missing, or no image has annotations.
        """
        files.require_folder(self.root, "--root")
        photos, label_files = FolderFiles(self._folder(IMAGES)), FolderFiles("", ())
        if self.split != WITHHELD:
            label_files = FolderFiles(self._folder(ANNOTATIONS))
        account, items, taken = Account(), on_disk.Items(), on_disk.NameSet()
        for name in photos:
            if files.is_image(name) and name.endswith(IMAGE_END):
                photos.use(name)
                item = self._item(name, photos, label_files, account)
                source_id = files.unique_id(item.source_id, item.files[0], taken, account)
                items.append(item._replace(source_id=source_id))
        if not items:
            raise UserError(f"no image *{IMAGE_END} below {photos.folder}. It should contain one folder per city.")
        if label_files.folder and not any(item.labels for item in items):
            remedy = f"Unpack gtFine_trainvaltest.zip in {self.root}."
            files.require_some([], [next(iter(photos))] * len(items), label_files.folder, remedy)
        label_files.use_paths(path for item in items for path in item.files[1:])
        missing = files.count_missing(_missing(photos, label_files), account)
        photos.note_unused(account)
        label_files.note_unused(account, _kind_of)
        # The labels of test exist, but are withheld, so its tasks are named as well.
        classes = CLASSES if label_files.folder else {}
        return Listing(items, classes, (), account, len(items) + missing, tuple(CLASSES))

    def _folder(self, kind: str) -> str:
        path = os.path.join(self.root, kind)
        if kind not in files.folders(self.root):
            raise UserError(f"{self.root} has no folder {kind!r}.{nearest(kind, files.folders(self.root))}")
        if self.split not in files.folders(path):
            raise UserError(
                f"--split {self.split!r} is not a folder in {path}.{nearest(self.split, files.folders(path))}"
            )
        return os.path.join(path, self.split)

    def _item(self, name: str, photos: FolderFiles, label_files: FolderFiles, account: Account) -> Item:
        stem, path = name.removesuffix(IMAGE_END), photos.path(name)
        kinds = tuple(kind for kind, end in ENDS.items() if stem + end in label_files)
        if len(kinds) < len(ENDS):
            reason = "labels of test are withheld" if self.split == WITHHELD else "a label file is missing"
            account.notes.add(f"segmentation: {reason}", path)
        ends = [ENDS[kind] for kind in kinds]
        if "ids" not in kinds and stem + TRAIN_IDS_END in label_files:
            kinds, ends = (*kinds, TRAIN_IDS), [*ends, TRAIN_IDS_END]
        return Item(os.path.basename(stem), (path, *(label_files.path(stem + end) for end in ends)), kinds)

    def load(self, item: Item, account: Account) -> Sample:
        """Reads the image, its segmentation map and its objects."""
        path, ids_by_kind, names = item.files[0], {}, dict(zip(item.labels, item.files[1:], strict=True))
        for kind, png in names.items():
            try:
                ids_by_kind[kind] = maps.read_ids(png, _task(kind))
            except Dropped as dropped:
                account.dropped.add(dropped.reason, dropped.example)
        data = pixels.read_file(path)
        frame = pixels.frame_of(data, [(ids.shape[0], ids.shape[1]) for ids in ids_by_kind.values()])
        stored = pixels.upright(data, frame, path, account)
        info = ImageInfo(item.source_id, stored.height, stored.width)
        labels_by_task: dict[str, Labels] = {}
        for kind, ids in [*ids_by_kind.items()]:
            try:
                maps.require_size(ids, info, _task(kind), names[kind])
            except Dropped as dropped:
                account.dropped.add(dropped.reason, dropped.example)
                del ids_by_kind[kind]
                continue
            labels_by_task |= (
                _things(ids, names[kind]) if kind == "instances" else _segmentation(ids, names[kind], kind)
            )
        if "ids" in ids_by_kind and "instances" in ids_by_kind:
            _note_contradiction(ids_by_kind["ids"], ids_by_kind["instances"], names["instances"], account)
        origin = f"real:{files.dataset(self.root)}"
        labelled = {task: Labelled(labels, origin) for task, labels in labels_by_task.items()}
        return Sample(stored.encoded, info, labelled, os.path.basename(path))


def _missing(photos: FolderFiles, label_files: FolderFiles) -> Iterator[str]:
    """Yields the paths of missing images that have labels, which are counted so and not once more."""
    seen = on_disk.NameSet()
    for name in label_files:
        for end in (*ENDS.values(), TRAIN_IDS_END):
            image = name.removesuffix(end) + IMAGE_END
            if name.endswith(end) and image not in photos:
                label_files.use(name)
                if seen.add(image):
                    yield photos.path(image)


def _kind_of(name: str) -> str:
    match = LABEL_FILE.search(name)
    return f"file: {match[0]}, not used" if match else files.kind_of(name, "segmentation")


def _task(kind: str) -> str:
    return "masks" if kind == "instances" else "segmentation"


def _segmentation(ids: np.ndarray, path: str, kind: str) -> dict[str, Labels]:
    if kind == "ids" and (ids == IGNORE).any():
        raise UserError(
            f"{path}: value {IGNORE} is none of the label ids, but these may be train ids. If they are, call the files "
            f"*{TRAIN_IDS_END}."
        )
    table = LABEL_IDS if kind == "ids" else OWN_TRAIN_IDS
    return {"segmentation": maps.segmentation(maps.classes_of(ids, table, path))}


def _note_contradiction(ids: np.ndarray, instances: np.ndarray, path: str, account: Account) -> None:
    """Notes instances of other classes than the label ids have there: both are drawn from the same polygons."""
    differ = float((_label_ids(instances) != ids).mean())
    if differ > DIFFERENT:
        account.notes.add("masks: the instances' classes are not those of the label ids", f"{path}: {differ:.0%}")


def _label_ids(instances: np.ndarray) -> np.ndarray:
    return np.where(instances < INSTANCES, instances, instances // INSTANCES)


def _things(ids: np.ndarray, path: str) -> dict[str, Labels]:
    """Turns instance ids [h, w] into one object per instance, with the tight box of its mask."""
    unknown = ids[(ids < 0) | (_label_ids(ids) > LAST)]
    if unknown.size:
        raise UserError(
            f"{path}: value {int(unknown.max())} is not an instance id (label id * {INSTANCES} + n). The file must "
            "have 16 bits, as it was published."
        )
    things = []
    for value, window in enumerate(ndimage.find_objects(ids), 1):
        label_id = value // INSTANCES or value
        if window is None or label_id not in THING_IDS:
            continue
        crop = (ids[window] == value).astype(np.uint8)
        corners = np.array([[side.start, side.stop] for side in window]).T.reshape(-1)  # y0, x0, y1, x1
        box = objects.normalised(corners, ImageInfo("", *ids.shape))
        things.append(ObjectLabel(box, THING_IDS[label_id], value < INSTANCES, float(crop.sum()), crop))
    labels = objects.labels_of(things)
    return {"detection": objects.boxes_of(labels), "masks": labels}
