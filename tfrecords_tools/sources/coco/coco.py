"""COCO: instances JSON -> detection and masks; panoptic or stuff -> segmentation (see `coco_surface`).

    train2017/000000000009.jpg                       --images
    annotations/instances_train2017.json             --annotations; any JSON in this format
    annotations/panoptic_train2017/000000000009.png  --panoptic, with panoptic_train2017.json beside it
    annotations/stuff_train2017.json                 --stuff, or the folder with its PNGs

LVIS v1 is read too: an image's file is in `coco_url`, and `annotated` has the classes that were looked for.

Category ids have gaps. Class ids are 1..K in the order of the category ids, and 0..C-1 for segmentation. The JSON lists
all objects of its images, so an image without annotations is labelled as having no objects.
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping
from typing import NamedTuple

import tensorflow as tf

from must_tf.common.errors import UserError
from must_tf.data.record import Labelled
from must_tf.spec import ImageInfo, Labels
from must_tf.tasks.masks.labels import write_full
from tfrecords_tools.sources import Sample, files, leftovers, maps, objects, pixels
from tfrecords_tools.sources.coco import (
    coco_boxes,
    coco_images,
    coco_index,
    coco_json,
    coco_keys,
    coco_objects,
    coco_surface,
    corrected,
    federated,
)
from tfrecords_tools.sources.finder import Finder
from tfrecords_tools.sources.leftovers import FolderFiles
from tfrecords_tools.writing import on_disk
from tfrecords_tools.writing.counts import Account, Dropped
from tfrecords_tools.writing.items import Item, Listing

NO_IMAGE = "segmentation: map of no image here, not used"


class CocoAnnotations(NamedTuple):
    """The annotations of one image, from all JSON files."""

    size: tuple[int, int] | None  # height, width
    annotations: str  # a JSON list
    ids: dict[int, int]  # category id -> class id
    surface: coco_surface.Surface | None  # None if the image has no segmentation labels
    origins: dict[str, str]  # of labels that came from a teacher; see `corrected`
    masked: bool  # the dataset has masks, so an image without objects is labelled as having no masks


class FederatedAnnotations(NamedTuple):
    """The annotations of an image of LVIS, in which only some classes were looked for."""

    annotations: CocoAnnotations
    annotated: tuple[int, ...]  # class ids


@dataclasses.dataclass(frozen=True)
class Coco:
    """`source_id` is the image's id in the JSON, as a string.

    Attributes:
      images: folder that the file names in the JSON are relative to.
      annotations: instances JSON.
      panoptic: folder of panoptic PNGs, or empty.
      full_masks: also write Model Garden's full-image masks.
      stuff: stuff JSON or folder of stuff PNGs, or empty.
      boxes: one of `coco_boxes.FORMS`, or empty to find out.
    """

    images: str
    annotations: str
    panoptic: str = ""
    full_masks: bool = False
    stuff: str = ""
    boxes: str = ""

    def find(self) -> Listing:
        """Lists the images of the JSON that exist; missing ones are counted.

        Raises:
          UserError: no image exists, or a JSON file is invalid.
        """
        files.require_folder(self.images, "--images")
        account, present = Account(), Finder(files.walk(self.images), self.images)
        index = coco_index.CocoIndex(
            self.annotations,
            "--annotations",
            account,
            lambda image: present.noted(account, *coco_json.names_of(image)),
        )
        listing = self.listing(index, present, account)
        present.use_paths(leftovers.paths_of(listing))
        present.note_unused(account)
        self._note_maps(listing)
        return listing

    def _note_maps(self, listing: Listing) -> None:
        """Notes the files of the folder of panoptic or stuff maps that belong to no image."""
        folder = self.panoptic or self.stuff
        if folder and tf.io.gfile.isdir(folder) and not leftovers.is_below(folder, self.images):
            maps_there = FolderFiles(folder)
            maps_there.use_paths(leftovers.paths_of(listing))
            maps_there.note_unused(
                listing.account, lambda name: NO_IMAGE if files.is_image(name) else files.kind_of(name, "segmentation")
            )

    def listing(self, index: coco_index.CocoIndex, present: Finder | FolderFiles, account: Account) -> Listing:
        """Like `find`, given the content of the JSON and the names of the files below `images`."""
        categories = coco_json.without_roots(index.categories, index.used_categories(), account)
        ids, names = coco_json.classes(categories, 1, self.annotations)
        coco_keys.note_categories(categories, account)
        by_key = {coco_json.id_key(category): class_id for category, class_id in ids.items()}
        form = coco_boxes.form_of(index.sample(), self.boxes, self.annotations)
        surfaces = coco_surface.find(self.panoptic, self.stuff, self.annotations, index, account)
        items = on_disk.Items()
        for source_id, name, image in index.images():
            path = os.path.join(self.images, name)
            if name not in present:
                account.dropped.add("image: file is missing", path)
                continue
            coco_keys.note(account, coco_keys.unused("image", image, coco_keys.IMAGE, path))
            surface = surfaces.of(source_id, image) if surfaces else None
            packed = index.packed(source_id)
            used_ids = coco_json.used_ids(packed.categories, by_key)
            origins = corrected.origins_of(image, index.info)
            text = coco_boxes.marked(packed.text, form)
            labels = CocoAnnotations(coco_json.size_of(image), text, used_ids, surface, origins, index.masked)
            paths = (path, surface.png) if surface and surface.png else (path,)
            item = Item(str(image.get(coco_keys.SOURCE_ID, source_id)), paths, labels)
            items.append(_federated(item, image, by_key, account) if index.is_federated else item)
        if not items:
            self._refuse(index, present, account)
        classes, inputs = {"detection": names, "masks": names}, [self.annotations]
        if surfaces:
            classes["segmentation"] = surfaces.names
            inputs.append(surfaces.path)
        tasks = tuple(task for task in classes if task != "masks" or index.masked)
        return Listing(items, classes, tuple(inputs), account, index.count, tasks)

    def _refuse(self, index: coco_index.CocoIndex, present: Finder | FolderFiles, account: Account) -> None:
        """Raises UserError, because no image can be converted."""
        if coco_images.AMBIGUOUS in account.dropped.content:
            example = account.dropped.content[coco_images.AMBIGUOUS]["examples"][0]
            raise UserError(
                f"{self.annotations}: each id stands for several files ({example}), so nothing tells whose the "
                "annotations are. Give the images of each JSON that was joined other ids, and its annotations too."
            )
        if coco_images.CONTESTED in account.dropped.content:
            example = account.dropped.content[coco_images.CONTESTED]["examples"][0]
            raise UserError(
                f"{self.annotations}: several of its images fit one file ({example}). Give --images the folder that "
                "the file names are relative to."
            )
        names = [coco_json.names_of(image)[0] for _, _, image in index.images()]
        guess = present.nearest(names[0]) if names and isinstance(present, Finder) else ""
        remedy = f"Give --images the folder that the file names in {self.annotations} are relative to.{guess}"
        files.require_some([], names, self.images, remedy)

    def load(self, item: Item, account: Account) -> Sample:
        """Reads the image, its objects, and its segmentation if it has one."""
        path, labels, annotated = item.files[0], item.labels, None
        if isinstance(labels, FederatedAnnotations):
            labels, annotated = labels
        annotations = json.loads(labels.annotations)
        stored = pixels.upright(pixels.read_file(path), _frame(annotations, labels), path, account)
        info = ImageInfo(item.source_id, stored.height, stored.width)
        masks = coco_objects.labels_of(annotations, labels.ids, info, account)
        origin = f"real:{files.stem(os.path.basename(self.annotations))}"
        labelled = _labelled(masks, labels, annotated, origin)
        if annotated == ():
            account.notes.add("detection: no class was looked for completely, image stays unlabelled", path)
        if labels.surface:
            coco_keys.note(account, labels.surface.notes)
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


def _frame(annotations: list[coco_json.CocoEntry], labels: CocoAnnotations) -> pixels.Frame:
    """Returns the frame that the labels are in; that of an image without labels in it is the one that EXIF means."""
    if labels.size:
        return pixels.Sized(labels.size, pixels.STORED if annotations or labels.surface else pixels.SHOWN)
    if annotations:
        return pixels.Unsized(pixels.STORED, coco_boxes.reach_of(annotations))
    return pixels.STORED if labels.surface else pixels.SHOWN


def _labelled(
    masks: Labels, labels: CocoAnnotations, annotated: tuple[int, ...] | None, origin: str
) -> dict[str, Labelled]:
    """Returns the labels of detection, and those of masks unless the image has boxes only."""
    if annotated == ():
        return {}
    boxes = Labelled(objects.boxes_of(masks), labels.origins.get("detection", origin), annotated)
    annotations = json.loads(labels.annotations)
    has_masks = not annotations or any(coco_json.has_outline(one.get("segmentation")) for one in annotations)
    if not (labels.masked and has_masks and objects.any_mask(masks)):
        return {"detection": boxes}
    return {"detection": boxes, "masks": Labelled(masks, labels.origins.get("masks", origin), annotated)}


def _federated(item: Item, image: coco_json.CocoEntry, by_key: Mapping[str, int], account: Account) -> Item:
    """Adds the classes that were looked for."""
    present = frozenset(item.labels.ids.values())
    annotated = federated.annotated(image, present, by_key, account, item.files[0])
    return item._replace(labels=FederatedAnnotations(item.labels, annotated))
