"""Segmentation from COCO's labels of every pixel: panoptic PNGs, stuff PNGs or stuff JSON.

| option | content | classes |
|---|---|---|
| `--panoptic DIR` | PNGs whose colours are segment ids | from DIR.json or a panoptic*.json near it |
| `--stuff DIR`, stuff*.json beside it | PNGs of ids (`stuff_*_pixelmaps`), 0 and 255 ignored | from that JSON |
| `--stuff DIR`, labels.txt in or above it | PNGs of ids - 1 (`stuffthingmaps`), 255 ignored | its lines `id: name` |
| `--stuff FILE.json` | masks (`stuff_train2017.json`, or any instances JSON), other pixels ignored | from that JSON |

Where masks overlap, the smallest is on top: a window is in front of its facade, whatever the order in the file.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from must_tf.common.errors import UserError
from must_tf.common.files import matching
from must_tf.spec import ImageInfo
from must_tf.tasks.segmentation.labels import IGNORE
from tfrecords_tools.sources import files, maps
from tfrecords_tools.sources.coco import coco_index, coco_json, coco_keys, coco_objects, corrected, rle
from tfrecords_tools.writing import on_disk
from tfrecords_tools.writing.counts import Account, Dropped
from tfrecords_tools.writing.reasons import reason_of

PANOPTIC, IDS, MASKS = "panoptic", "ids", "masks"
OVERLAP = "segmentation: masks of several classes overlap, the smallest is on top"
SEVERAL = "segment: its id is there for several classes, its pixels are ignored"
NO_COLOUR = "segment: its id is no colour of a PNG, left out"


class Surface(NamedTuple):
    """The labels of every pixel of one image."""

    kind: str  # PANOPTIC, IDS or MASKS
    png: str  # path of the PNG; empty for MASKS
    content: Any  # {segment id: class id}, {value: class id}, or [(mask, class id)]
    origin: str = ""  # if the labels came from a teacher; empty for the dataset's own
    notes: tuple[tuple[str, str], ...] = ()  # reason and example of what the JSON says and is not used


class Surfaces(NamedTuple):
    """The labels of every pixel of a dataset."""

    path: str  # the file with the class names
    names: tuple[str, ...]
    of: Callable[[str, coco_json.CocoEntry], Surface | None]  # called with an image's id and its entry


def find(panoptic: str, stuff: str, annotations: str, index: coco_index.CocoIndex, account: Account) -> Surfaces | None:
    """Finds the labels that the options name; returns None if both options are empty.

    Args:
      panoptic, stuff: values of the options.
      annotations: the instances JSON.
      index: the content of the instances JSON.
      account: counts what cannot be used.

    Raises:
      UserError: both options are given, or the labels belong to other images.
    """
    if panoptic and stuff:
        raise UserError("--panoptic and --stuff both label every pixel. Give only one of them.")
    if not (panoptic or stuff):
        return None
    if panoptic:
        surfaces = _panoptic(panoptic, annotations, account)
    else:
        surfaces = (_masks if stuff.lower().endswith(".json") else _ids)(stuff, account)
    if len(surfaces.names) > IGNORE:
        count = len(surfaces.names)
        raise UserError(f"{surfaces.path} has {count} categories, but segmentation stores at most {IGNORE}.")
    if not any(surfaces.of(image_id, image) for image_id, _, image in index.images()):
        raise UserError(f"{panoptic or stuff} and {annotations} have no image in common. Give files of the same split.")
    return surfaces


def _panoptic(folder: str, annotations: str, account: Account) -> Surfaces:
    content = _panoptic_json(folder, annotations)
    account.merge(content.account)
    coco_keys.note_categories(content.categories, account)
    ids, names = coco_json.classes(content.categories, 0, content.path)
    by_key = {coco_json.id_key(category): class_id for category, class_id in ids.items()}

    def of(image_id: str, image: coco_json.CocoEntry) -> Surface | None:
        del image
        entry = content.of(image_id)
        if entry is None:
            return None
        segments = coco_json.segments_of(entry, by_key, content.path)
        origin = corrected.origins_of(entry, content.info).get("segmentation", "")
        place = f"{content.path}: image {image_id}"
        notes = coco_keys.unused("segmentation", entry, coco_keys.PANOPTIC, place)
        for segment in entry["segments_info"]:
            notes += coco_keys.unused("segment", segment, coco_keys.SEGMENT, place)
        for reason, numbers in ((SEVERAL, segments.several), (NO_COLOUR, segments.no_colour)):
            notes += [(reason, f"{place}: {number}") for number in numbers]
        png = os.path.join(folder, str(entry["file_name"]))
        return Surface(PANOPTIC, png, segments.classes, origin, tuple(notes))

    return Surfaces(content.path, names, of)


def _panoptic_json(folder: str, annotations: str) -> coco_index.PanopticIndex:
    """Finds the panoptic JSON of the PNGs in the folder.

    Raises:
      UserError: no JSON names any of them.
    """
    files.require_folder(folder, "--panoptic")
    pngs = on_disk.NameSet(files.images_in(folder))
    candidates = coco_json.panoptic_candidates(folder, annotations)
    for path in candidates:
        index = coco_index.PanopticIndex(path)
        if index.names_one_of(pngs):
            return index
    beside = f"{folder.rstrip('/')}.json"
    raise UserError(
        f"no panoptic JSON names the PNGs in {folder} (searched: {', '.join(candidates) or beside}). "
        f"Put it beside the folder as {beside}."
    )


def _masks(path: str, account: Account) -> Surfaces:
    own = Account()
    content = coco_index.CocoIndex(path, "--stuff", own)
    account.merge(_of_surfaces(own, content.count > 0))
    coco_keys.note_categories(content.categories, account)
    for _, _, entry in content.images():
        coco_keys.note(account, coco_keys.unused("image", entry, coco_keys.IMAGE, path))
    ids, names = coco_json.classes(content.categories, 0, path)
    by_key = {coco_json.id_key(category): class_id for category, class_id in ids.items()}

    def of(image_id: str, image: coco_json.CocoEntry) -> Surface | None:
        del image
        if content.count and not content.is_one(image_id):
            return None
        regions, notes = [], list[tuple[str, str]]()
        for annotation in content.annotations(image_id):
            category = annotation.get("category_id")
            if coco_json.id_key(category) not in by_key:
                raise UserError(f"{path}: category_id {category!r} of image {image_id} is not in the categories.")
            regions.append((annotation.get("segmentation"), by_key[coco_json.id_key(category)]))
            notes += coco_keys.unused("segmentation", annotation, coco_keys.STUFF, f"{path}: image {image_id}")
        return Surface(MASKS, "", regions, notes=tuple(notes)) if regions else None

    return Surfaces(path, names, of)


def _of_surfaces(own: Account, has_images: bool) -> Account:
    """Returns the counts of a stuff JSON as counts of segmentation: its images are those of the instances JSON.

    Without a list of images, its annotations are not strays.
    """
    counts = Account(notes=own.notes)
    for reason, entry in own.dropped.content.items() if has_images else ():
        counts.dropped.merge({f"segmentation: {reason.partition(': ')[2]}": entry})
    return counts


def _ids(folder: str, account: Account) -> Surfaces:
    files.require_folder(folder, "--stuff")
    path, table, names = _vocabulary(folder, account)
    pngs = on_disk.DiskTable((files.stem(name), name) for name in files.images_in(folder))

    def of(image_id: str, image: coco_json.CocoEntry) -> Surface | None:
        del image_id
        name = pngs.get(files.stem(os.path.basename(coco_json.file_of(image))))
        return Surface(IDS, os.path.join(folder, name), table) if name else None

    return Surfaces(path, names, of)


def _vocabulary(folder: str, account: Account) -> tuple[str, dict[int, int], tuple[str, ...]]:
    """Returns the file with the names for the PNGs in `folder`, {value: class id}, and the names."""
    folder = folder.rstrip("/")
    parent = os.path.dirname(folder) or "."
    for path in (f"{folder}/labels.txt", f"{parent}/labels.txt", f"{os.path.dirname(parent) or '.'}/labels.txt"):
        if tf.io.gfile.exists(path):
            names_by_id = _labels_txt(path)
            table = {number - 1: class_id for class_id, number in enumerate(names_by_id)}
            return path, table | {IGNORE: IGNORE}, tuple(names_by_id.values())
    likely = [f"{folder}.json", f"{folder.removesuffix('_pixelmaps')}.json"]
    for path in [*likely, *matching(parent, "stuff*.json")]:
        if tf.io.gfile.exists(path):
            categories = coco_index.categories(path, "stuff annotations", account)
            coco_keys.note_categories(categories, account)
            ids, names = coco_json.classes(categories, 0, path)
            return path, {0: IGNORE, IGNORE: IGNORE} | ids, names
    raise UserError(
        f"--stuff {folder}: no file names the values in the PNGs. Put stuff_*.json beside it (values are category "
        "ids), or labels.txt with lines like '1: person' (values are ids minus one)."
    )


def _labels_txt(path: str) -> dict[int, str]:
    """Parses lines like `1: person` into {1: "person"}, ordered by id and without 0."""
    names_by_id = {}
    for line in files.read_lines(path, "the labels"):
        number, colon, name = line.partition(":")
        if not colon or not number.strip().isdigit() or not name.strip():
            raise UserError(f"{path}: the line {line!r} is not like '1: person'.")
        names_by_id[int(number)] = name.strip()
    names_by_id.pop(0, None)
    return dict(sorted(names_by_id.items()))


def classes_of(surface: Surface, info: ImageInfo, account: Account) -> np.ndarray:
    """Returns class ids int32 [h, w], IGNORE for pixels without a label.

    Raises:
      Dropped: the PNG is missing, damaged or of another size.
      UserError: a value does not belong to any class.
    """
    if surface.kind == MASKS:
        return _painted(surface.content, info, account)
    if surface.kind == IDS:
        ids = maps.read_ids(surface.png, "segmentation")
        maps.require_size(ids, info, "segmentation", surface.png)
        return maps.classes_of(ids, surface.content, surface.png)
    png = maps.read_map(surface.png, "segmentation")
    if png.shape != (info.height, info.width, 3):
        raise Dropped("segmentation: size differs from its image's", f"{surface.png}: {png.shape}")
    classes, unlisted = coco_json.segment_classes(png, surface.content, IGNORE)
    if unlisted:
        account.notes.add("segmentation: pixels of segments that the JSON does not list, ignored", surface.png)
    return classes


def _painted(regions: Iterable[tuple[Any, int]], info: ImageInfo, account: Account) -> np.ndarray:
    classes = np.full([info.height, info.width], IGNORE, np.int32)
    sizes = np.zeros([info.height, info.width], np.int64)  # of the mask that each pixel shows
    overlap = 0
    for runs, class_id in sorted(_runs(regions, info), key=lambda region: -region[0][1::2].sum()):
        mask = rle.crop(runs, info.height, (0, 0, info.height, info.width)) > 0
        size = runs[1::2].sum()
        others = mask & (sizes > 0) & (classes != class_id)
        overlap += int(np.count_nonzero(others))
        classes[mask] = class_id
        classes[others & (sizes == size)] = IGNORE  # of two masks of one size, neither is in front
        sizes[mask] = size
    if overlap:
        account.notes.add(OVERLAP, f"image {info.source_id}: {overlap} pixels")
    return classes


def _runs(regions: Iterable[tuple[Any, int]], info: ImageInfo) -> Iterator[tuple[np.ndarray, int]]:
    """Yields the run lengths of each mask and its class.

    Raises:
      Dropped: one cannot be read.
    """
    for segmentation, class_id in regions:
        try:
            runs, size = coco_objects.runs_of(segmentation, info.height, info.width)
            if list(size) != [info.height, info.width]:
                raise ValueError(f"height, width {size}")
        except Exception as error:  # pycocotools checks little and can raise anything
            raise Dropped("segmentation: mask cannot be read", f"image {info.source_id}: {reason_of(error)}") from None
        yield runs, class_id
