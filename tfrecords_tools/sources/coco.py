"""COCO: instances JSON -> detection and masks; panoptic PNGs -> segmentation.

Category ids have gaps: class ids are 1..K in the order of category ids, segmentation's 0..C-1 likewise. The
JSON lists all objects of every image it names, so an image without annotations is labelled: nothing is there.
"""

from __future__ import annotations

import dataclasses
import os
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from must_tf.data.record import Labelled
from must_tf.errors import UserError
from must_tf.spec import ImageInfo, Labels
from must_tf.tasks.masks.labels import write_full
from must_tf.tasks.segmentation.labels import IGNORE
from tfrecords_tools import pixels, spool
from tfrecords_tools.sources import Found, Item, Sample, coco_index, coco_json, coco_objects, files, rgbd
from tfrecords_tools.tally import Account, Dropped


class Annotated(NamedTuple):
    """What the JSONs say of one image."""

    size: tuple[int, int] | None  # height, width
    annotations: list[dict[str, Any]]
    ids: dict[int, int]  # category id -> class id
    segments: dict[int, int] | None  # panoptic segment id -> class id; None where nobody looked


class Panoptic(NamedTuple):
    """The panoptic annotations of a set."""

    found: coco_index.Segments
    names: tuple[str, ...]
    ids: dict[int, int]  # category id -> class id


@dataclasses.dataclass(frozen=True)
class Coco:
    """`source_id` is the image's id in the JSON, as text.

    Attributes:
      images: folder that the JSON's file names are relative to.
      annotations: instances JSON.
      panoptic: folder of panoptic PNGs, or empty.
      full_masks: write Model Garden's full-image masks as well.
    """

    images: str
    annotations: str
    panoptic: str = ""
    full_masks: bool = False

    def find(self) -> Found:
        """The images of the JSON that exist; those that do not are counted.

        Raises:
          UserError: none exists, or the JSONs cannot be used.
        """
        files.require_folder(self.images, "--images")
        account = Account()
        index = coco_index.Index(self.annotations, "--annotations", account)
        ids, names = coco_json.classes(index.categories, 1, self.annotations)
        panoptic = self._panoptic(index) if self.panoptic else None
        there, items = spool.Names(files.walk(self.images)), spool.Items()
        for image in index.images():
            if coco_json.file_of(image) in there:
                items.append(self._item(image, index, ids, panoptic))
            else:
                account.dropped.add("image: file is missing", os.path.join(self.images, coco_json.file_of(image)))
        if not items:
            raise UserError(self._none_found(index))
        classes = {"detection": names, "masks": names}
        inputs = [self.annotations]
        if panoptic:
            classes["segmentation"] = panoptic.names
            inputs.append(panoptic.found.path)
        return Found(items, classes, tuple(inputs), account, index.count)

    def _none_found(self, index: coco_index.Index) -> str:
        first = next(index.images(), None)
        example = f", {first.get('file_name')} for instance" if first else ""
        return (
            f"0 of {index.count} annotated images found under {self.images}{example}. Give the "
            f"folder that the file names in {self.annotations} are relative to."
        )

    def _item(
        self, image: dict[str, Any], index: coco_index.Index, ids: dict[int, int], panoptic: Panoptic | None
    ) -> Item:
        source_id, paths, segments = str(image["id"]), [os.path.join(self.images, coco_json.file_of(image))], None
        entry = panoptic.found.of(source_id) if panoptic else None
        if panoptic and entry:
            segments = coco_json.segments_of(entry, panoptic.ids, panoptic.found.path)
            paths.append(os.path.join(self.panoptic, entry["file_name"]))
        labels = Annotated(coco_json.size_of(image), index.annotations(source_id), ids, segments)
        return Item(source_id, tuple(paths), labels)

    def _panoptic(self, index: coco_index.Index) -> Panoptic:
        found = self._panoptic_json()
        ids, names = coco_json.classes(found.categories, 0, found.path)
        if len(names) > IGNORE:
            raise UserError(f"{found.path}: {len(names)} categories; segmentation stores at most {IGNORE}.")
        if not found.meets(index):
            raise UserError(f"{found.path} and {self.annotations} have no image in common.")
        return Panoptic(found, names, ids)

    def _panoptic_json(self) -> coco_index.Segments:
        """The panoptic JSON whose PNGs lie in the folder.

        Raises:
          UserError: no JSON names one of them.
        """
        files.require_folder(self.panoptic, "--panoptic")
        pngs = spool.Names(files.images_in(self.panoptic))
        looked = coco_json.panoptic_candidates(self.panoptic, self.annotations)
        for path in looked:
            found = coco_index.Segments(path)
            if found.names_one_of(pngs):
                return found
        beside = f"{self.panoptic.rstrip('/')}.json"
        raise UserError(
            f"no panoptic JSON names a PNG of {self.panoptic} (looked at {', '.join(looked) or beside}). "
            f"Put it beside the folder as {beside}."
        )

    def load(self, item: Item, account: Account) -> Sample:
        """The image, its objects, and its segmentation where it has one."""
        path, known = item.files[0], item.labels
        stored = pixels.upright(pixels.read_file(path), known.size, path)
        info = ImageInfo(item.source_id, stored.height, stored.width)
        objects = coco_objects.labels_of(known.annotations, known.ids, info, account)
        origin = f"real:{files.stem(os.path.basename(self.annotations))}"
        boxes = {key: value for key, value in objects.items() if key != "crops"}
        labelled = {"detection": Labelled(boxes, origin)}
        if not known.annotations or any(annotation.get("segmentation") for annotation in known.annotations):
            labelled["masks"] = Labelled(objects, origin)  # else only boxes were drawn here: nobody looked for masks
        if known.segments is not None:
            try:
                segmentation = _segmentation(item.files[1], known.segments, info)
            except Dropped as dropped:
                account.dropped.add(dropped.reason, dropped.example)
            else:
                labelled["segmentation"] = Labelled(segmentation, origin)
        extra: dict[str, tf.train.Feature] = {}
        if self.full_masks and "masks" in labelled:
            extra = write_full(objects, info)
        return Sample(stored.encoded, info, labelled, os.path.basename(path), extra)


def _segmentation(path: str, segments: dict[int, int], info: ImageInfo) -> Labels:
    png = rgbd.read_map(path, "segmentation")
    if png.shape != (info.height, info.width, 3):
        raise Dropped("segmentation: size differs from its image's", f"{path}: {png.shape}")
    classes = coco_json.segment_classes(png, segments, IGNORE)
    return {"classes": classes, "confidence": np.ones(classes.shape, np.float32)}
