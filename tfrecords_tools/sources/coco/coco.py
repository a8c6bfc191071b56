"""COCO: instances JSON -> detection and masks; panoptic or stuff -> segmentation (see `coco_surface`).

    train2017/000000000009.jpg                       --images
    annotations/instances_train2017.json             --annotations; any JSON of this form, whatever made it
    annotations/panoptic_train2017/000000000009.png  --panoptic, panoptic_train2017.json beside it
    annotations/stuff_train2017.json                 --stuff, or the folder of its PNGs

Category ids have gaps: class ids are 1..K in the order of category ids, segmentation's 0..C-1 likewise. The
JSON lists all objects of every image it names, so an image without annotations is labelled: nothing is there.
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

# Of images that export-coco wrote: the record's own id, where that is no whole number as COCO's ids are.
SOURCE_ID = "must_source_id"


class CocoAnnotations(NamedTuple):
    """What the JSONs say of one image."""

    size: tuple[int, int] | None  # height, width
    annotations: str  # a JSON list
    ids: dict[int, int]  # category id -> class id
    surface: coco_surface.Surface | None  # None where nobody looked
    origins: dict[str, str]  # of labels that were a teacher's; see `corrected`
    masked: bool  # somebody drew a mask somewhere in the set: an image without objects has no masks either


@dataclasses.dataclass(frozen=True)
class Coco:
    """`source_id` is the image's id in the JSON, as text.

    Attributes:
      images: folder that the JSON's file names are relative to.
      annotations: instances JSON.
      panoptic: folder of panoptic PNGs, or empty.
      full_masks: write Model Garden's full-image masks as well.
      stuff: stuff JSON or folder of stuff PNGs, or empty.
    """

    images: str
    annotations: str
    panoptic: str = ""
    full_masks: bool = False
    stuff: str = ""

    def find(self) -> Listing:
        """The images of the JSON that exist; those that do not are counted.

        Raises:
          UserError: none exists, or the JSONs cannot be used.
        """
        files.require_folder(self.images, "--images")
        account = Account()
        index = coco_index.CocoIndex(self.annotations, "--annotations", account)
        return self.found(index, on_disk.NameSet(files.walk(self.images)), account)

    def found(self, index: coco_index.CocoIndex, there: on_disk.NameSet, account: Account) -> Listing:
        """The same, once the JSON is read and the files below `images` are listed."""
        ids, names = coco_json.classes(index.categories, 1, self.annotations)
        surfaces = coco_surface.find(self.panoptic, self.stuff, self.annotations, index)
        items = on_disk.Items()
        for source_id, name, image in index.images():
            path = os.path.join(self.images, name)
            if name not in there:
                account.dropped.add("image: file is missing", path)
                continue
            surface = surfaces.of(source_id, image) if surfaces else None
            packed = index.packed(source_id)
            used = coco_json.used(packed.categories, ids)
            origins = corrected.origins_of(image, index.info)
            labels = CocoAnnotations(coco_json.size_of(image), packed.text, used, surface, origins, index.masked)
            paths = (path, surface.png) if surface and surface.png else (path,)
            items.append(Item(str(image.get(SOURCE_ID, source_id)), paths, labels))
        if not items:
            remedy = f"Give the folder that the file names in {self.annotations} are relative to."
            files.require_some([], [str(image.get("file_name")) for _, _, image in index.images()], self.images, remedy)
        classes, inputs = {"detection": names, "masks": names}, [self.annotations]
        if surfaces:
            classes["segmentation"] = surfaces.names
            inputs.append(surfaces.path)
        return Listing(items, classes, tuple(inputs), account, index.count, tuple(classes))

    def load(self, item: Item, account: Account) -> Sample:
        """The image, its objects, and its segmentation where it has one."""
        path, known = item.files[0], item.labels
        annotations = json.loads(known.annotations)
        placed: pixels.LabelFrame = pixels.STORED if annotations or known.surface else None
        stored = pixels.upright(pixels.read_file(path), known.size or placed, path)
        info = ImageInfo(item.source_id, stored.height, stored.width)
        found = coco_objects.labels_of(annotations, known.ids, info, account)
        origin = f"real:{files.stem(os.path.basename(self.annotations))}"
        labelled = {"detection": Labelled(objects.boxes_of(found), known.origins.get("detection", origin))}
        drawn = not annotations or any(annotation.get("segmentation") for annotation in annotations)
        if known.masked and drawn:
            # Else only boxes were drawn here: nobody looked for masks.
            labelled["masks"] = Labelled(found, known.origins.get("masks", origin))
        if known.surface:
            try:
                classes = coco_surface.classes_of(known.surface, info, account)
            except Dropped as dropped:
                account.dropped.add(dropped.reason, dropped.example)
            else:
                labelled["segmentation"] = Labelled(maps.segmentation(classes), known.surface.origin or origin)
        extra: dict[str, tf.train.Feature] = {}
        if self.full_masks and "masks" in labelled:
            extra = write_full(found, info)
        return Sample(stored.encoded, info, labelled, os.path.basename(path), extra)
