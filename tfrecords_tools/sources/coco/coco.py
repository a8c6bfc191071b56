"""COCO: instances JSON -> detection and masks; panoptic or stuff -> segmentation (see `coco_surface`).

    train2017/000000000009.jpg                       --images
    annotations/instances_train2017.json             --annotations; any JSON in this format
    annotations/panoptic_train2017/000000000009.png  --panoptic, with panoptic_train2017.json beside it
    annotations/stuff_train2017.json                 --stuff, or the folder with its PNGs

Category ids have gaps. Class ids are 1..K in the order of the category ids, and 0..C-1 for segmentation. The JSON lists
all objects of its images, so an image without annotations is labelled as having no objects.
"""

from __future__ import annotations

import dataclasses
import json
import os
from typing import NamedTuple

import tensorflow as tf

from must_tf.data.record import Labelled
from must_tf.spec import ImageInfo
from must_tf.tasks.masks.labels import write_full
from tfrecords_tools.sources import Sample, files, maps, objects, pixels
from tfrecords_tools.sources.coco import coco_index, coco_json, coco_objects, coco_surface, corrected
from tfrecords_tools.writing import on_disk
from tfrecords_tools.writing.counts import Account, Dropped
from tfrecords_tools.writing.items import Item, Listing

# Key of an image entry from export-coco: the record's own id, if it is not an integer like COCO's ids.
SOURCE_ID = "must_source_id"


class CocoAnnotations(NamedTuple):
    """The annotations of one image, from all JSON files."""

    size: tuple[int, int] | None  # height, width
    annotations: str  # a JSON list
    ids: dict[int, int]  # category id -> class id
    surface: coco_surface.Surface | None  # None if the image has no segmentation labels
    origins: dict[str, str]  # of labels that came from a teacher; see `corrected`
    masked: bool  # the dataset has masks, so an image without objects is labelled as having no masks


@dataclasses.dataclass(frozen=True)
class Coco:
    """`source_id` is the image's id in the JSON, as a string.

    Attributes:
      images: folder that the file names in the JSON are relative to.
      annotations: instances JSON.
      panoptic: folder of panoptic PNGs, or empty.
      full_masks: also write Model Garden's full-image masks.
      stuff: stuff JSON or folder of stuff PNGs, or empty.
    """

    images: str
    annotations: str
    panoptic: str = ""
    full_masks: bool = False
    stuff: str = ""

    def find(self) -> Listing:
        """Lists the images of the JSON that exist; missing ones are counted.

        Raises:
          UserError: no image exists, or a JSON file is invalid.
        """
        files.require_folder(self.images, "--images")
        account = Account()
        index = coco_index.CocoIndex(self.annotations, "--annotations", account)
        return self.listing(index, on_disk.NameSet(files.walk(self.images)), account)

    def listing(self, index: coco_index.CocoIndex, present: on_disk.NameSet, account: Account) -> Listing:
        """Like `find`, given the content of the JSON and the names of the files below `images`."""
        ids, names = coco_json.classes(index.categories, 1, self.annotations)
        surfaces = coco_surface.find(self.panoptic, self.stuff, self.annotations, index)
        items = on_disk.Items()
        for source_id, name, image in index.images():
            path = os.path.join(self.images, name)
            if name not in present:
                account.dropped.add("image: file is missing", path)
                continue
            surface = surfaces.of(source_id, image) if surfaces else None
            packed = index.packed(source_id)
            used_ids = coco_json.used_ids(packed.categories, ids)
            origins = corrected.origins_of(image, index.info)
            labels = CocoAnnotations(coco_json.size_of(image), packed.text, used_ids, surface, origins, index.masked)
            paths = (path, surface.png) if surface and surface.png else (path,)
            items.append(Item(str(image.get(SOURCE_ID, source_id)), paths, labels))
        if not items:
            remedy = f"Give --images the folder that the file names in {self.annotations} are relative to."
            files.require_some([], [str(image.get("file_name")) for _, _, image in index.images()], self.images, remedy)
        classes, inputs = {"detection": names, "masks": names}, [self.annotations]
        if surfaces:
            classes["segmentation"] = surfaces.names
            inputs.append(surfaces.path)
        return Listing(items, classes, tuple(inputs), account, index.count, tuple(classes))

    def load(self, item: Item, account: Account) -> Sample:
        """Reads the image, its objects, and its segmentation if it has one."""
        path, labels = item.files[0], item.labels
        annotations = json.loads(labels.annotations)
        default_frame: pixels.LabelFrame = pixels.STORED if annotations or labels.surface else None
        stored = pixels.upright(pixels.read_file(path), labels.size or default_frame, path)
        info = ImageInfo(item.source_id, stored.height, stored.width)
        masks = coco_objects.labels_of(annotations, labels.ids, info, account)
        origin = f"real:{files.stem(os.path.basename(self.annotations))}"
        labelled = {"detection": Labelled(objects.boxes_of(masks), labels.origins.get("detection", origin))}
        has_masks = not annotations or any(annotation.get("segmentation") for annotation in annotations)
        # An image with boxes only stays unlabelled for masks.
        if labels.masked and has_masks and objects.any_mask(masks):
            labelled["masks"] = Labelled(masks, labels.origins.get("masks", origin))
        if labels.surface:
            try:
                classes = coco_surface.classes_of(labels.surface, info, account)
            except Dropped as dropped:
                account.dropped.add(dropped.reason, dropped.example)
            else:
                labelled["segmentation"] = Labelled(maps.segmentation(classes), labels.surface.origin or origin)
        extra: dict[str, tf.train.Feature] = {}
        if self.full_masks and "masks" in labelled:
            extra = write_full(masks, info)
        return Sample(stored.encoded, info, labelled, os.path.basename(path), extra)
