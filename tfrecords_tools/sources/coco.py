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
from tfrecords_tools import pixels
from tfrecords_tools.sources import Found, Item, Sample, coco_json, coco_objects, files, rgbd
from tfrecords_tools.tally import Account, Dropped

# Of images that export-coco wrote: the record's own id, where that is no whole number as COCO's ids are.
SOURCE_ID = "must_source_id"


class Annotated(NamedTuple):
    """What the JSONs say of one image."""

    size: tuple[int, int] | None  # height, width
    annotations: list[dict[str, Any]]
    ids: dict[int, int]  # category id -> class id
    segments: dict[int, int] | None  # panoptic segment id -> class id; None where nobody looked
    masked: bool  # somebody drew a mask somewhere in the set: an image without objects has no masks either


class Panoptic(NamedTuple):
    """The panoptic annotations of a set."""

    path: str
    names: tuple[str, ...]
    by_image: dict[str, tuple[str, dict[int, int]]]  # image id -> PNG, segment id -> class id


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
        content = coco_json.read(self.annotations, "--annotations")
        account = Account()
        ids, names = coco_json.classes(content["categories"], 1, self.annotations)
        grouped = coco_json.by_image(content, account)
        images = coco_json.unique(content["images"], account)
        panoptic = self._panoptic(grouped) if self.panoptic else None
        there = set(files.walk(self.images))
        items = []
        for image in images:
            if coco_json.file_of(image) in there:
                items.append(self._item(image, grouped, ids, panoptic))
            else:
                account.dropped.add("image: file is missing", os.path.join(self.images, coco_json.file_of(image)))
        if not items:
            raise UserError(self._none_found(images))
        if not any(annotation.get("segmentation") for annotation in content["annotations"]):
            items = [item._replace(labels=item.labels._replace(masked=False)) for item in items]
        classes = {"detection": names, "masks": names}
        if not panoptic:
            return Found(items, classes, (self.annotations,), account, len(content["images"]))
        classes["segmentation"] = panoptic.names
        return Found(items, classes, (self.annotations, panoptic.path), account, len(content["images"]))

    def _none_found(self, images: list[dict[str, Any]]) -> str:
        example = f", {images[0].get('file_name')} for instance" if images else ""
        return (
            f"0 of {len(images)} annotated images found under {self.images}{example}. Give the "
            f"folder that the file names in {self.annotations} are relative to."
        )

    def _item(
        self,
        image: dict[str, Any],
        grouped: dict[str, list[dict[str, Any]]],
        ids: dict[int, int],
        panoptic: Panoptic | None,
    ) -> Item:
        source_id, paths, segments = str(image["id"]), [os.path.join(self.images, coco_json.file_of(image))], None
        if panoptic and source_id in panoptic.by_image:
            png, segments = panoptic.by_image[source_id]
            paths.append(png)
        labels = Annotated(coco_json.size_of(image), grouped[source_id], ids, segments, masked=True)
        return Item(str(image.get(SOURCE_ID, source_id)), tuple(paths), labels)

    def _panoptic(self, grouped: dict[str, list[dict[str, Any]]]) -> Panoptic:
        path, content = coco_json.panoptic_json(self.panoptic, self.annotations)
        ids, names = coco_json.classes(content["categories"], 0, path)
        if len(names) > IGNORE:
            raise UserError(f"{path}: {len(names)} categories; segmentation stores at most {IGNORE}.")
        by_image = {}
        for annotation in content["annotations"]:
            segments = coco_json.segments_of(annotation, ids, path)
            png = os.path.join(self.panoptic, annotation["file_name"])
            by_image[str(annotation["image_id"])] = (png, segments)
        if not by_image.keys() & grouped.keys():
            raise UserError(f"{path} and {self.annotations} have no image in common.")
        return Panoptic(path, names, by_image)

    def load(self, item: Item, account: Account) -> Sample:
        """The image, its objects, and its segmentation where it has one."""
        path, known = item.files[0], item.labels
        stored = pixels.upright(pixels.read_file(path), known.size, path)
        info = ImageInfo(item.source_id, stored.height, stored.width)
        objects = coco_objects.labels_of(known.annotations, known.ids, info, account)
        origin = f"real:{files.stem(os.path.basename(self.annotations))}"
        boxes = {key: value for key, value in objects.items() if key != "crops"}
        labelled = {"detection": Labelled(boxes, origin)}
        drawn = not known.annotations or any(annotation.get("segmentation") for annotation in known.annotations)
        if known.masked and drawn:
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
