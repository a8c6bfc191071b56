"""Labels that follow every rule and that nothing, or something wrong, can be learned from.

A finding of one image: normals that face away from the camera, depth beyond reason or of a single value. A finding of
the dataset: a task without anything to train on, only crowds, only boxes that are tiny or cover their image, only masks
that fill their boxes, only one of several classes, mostly ignored maps. Notes: absent classes, repeated photos, single
maps that are mostly ignored, some boxes that cover their image.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from must_tf.common.text import listed
from must_tf.data import record
from must_tf.data.record import Labelled
from must_tf.label_content import PIXELS, ImageInfo, Labels
from must_tf.tasks import discover
from must_tf.tasks.masks.labels import has_mask
from tfrecords_tools.reading import label_summary
from tfrecords_tools.reading.recordset import RecordSet
from tfrecords_tools.sources import surface
from tfrecords_tools.writing.counts import Findings

SAMPLED = 4_000_000  # pixels of a map at most, on a grid, whose direction is compared with the camera's
TINY = 2.0  # pixels of the shorter side; a box below it covers no pixel of its own at the network's input
SPARSE = 0.1  # known share of a map; depth is often sparse and does not count
SHOWN = 8  # names of classes
MANY = 10  # masks that do not all fill their boxes by chance, and images that do not all have one class by chance
EDGE = 0.01  # share of the image that a box which covers all of it may leave out at each side
FLAT = 100  # known pixels; fewer may well have one depth


@dataclasses.dataclass
class LabelUse:
    """Sums over one task's labels.

    Attributes:
      images: labelled images.
      things: objects, known pixels or labelled images.
      objects: the same, of tasks with boxes; else 0.
      crowds, tiny: objects of these kinds; the others are trained on.
      whole: boxes of the other objects that cover their image.
      masks, filled: objects with a mask, and of these, the masks that are their whole box.
      sparse: maps of which less than `SPARSE` is known; of depth, nothing.
      classes: places in the class names that occur.
    """

    images: int = 0
    things: int = 0
    crowds: int = 0
    objects: int = 0
    tiny: int = 0
    whole: int = 0
    masks: int = 0
    filled: int = 0
    sparse: int = 0
    classes: set[int] = dataclasses.field(default_factory=set)

    def merge(self, other: LabelUse) -> None:
        """Adds the sums of another shard."""
        for name in (field.name for field in dataclasses.fields(self) if field.name != "classes"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.classes |= other.classes


def add(
    use: dict[str, LabelUse], labelled: Mapping[str, Labelled], info: ImageInfo, configs: Mapping[str, Any]
) -> None:
    """Adds the labels of one image."""
    for task, (labels, _, _) in labelled.items():
        label = label_summary.of(discover()[task], labels, info, configs[task])
        total = use.setdefault(task, LabelUse())
        total.images += 1
        total.classes |= label.classes.keys()
        if "boxes" in labels:
            _add_objects(total, labels, info)
        elif label.unit == PIXELS:
            known = label.known or 0.0
            total.things += round(known * info.height * info.width)
            total.sparse += int(known < SPARSE and (task != "depth" or not known))
        else:
            total.things += 1


def _add_objects(total: LabelUse, labels: Labels, info: ImageInfo) -> None:
    boxes, crowds = np.asarray(labels["boxes"]), np.asarray(labels["is_crowd"], bool)
    if len(boxes) != len(crowds):  # reported by the task's rules
        return
    sides = (boxes[:, 2:] - boxes[:, :2]) * [info.height, info.width]
    total.things += len(boxes)
    total.crowds += int(crowds.sum())
    total.tiny += int(((sides.min(-1, initial=np.inf) < TINY) & ~crowds).sum())
    covers = (boxes[:, :2] <= EDGE).all(-1) & (boxes[:, 2:] >= 1 - EDGE).all(-1)
    total.whole += int((covers & ~crowds).sum())
    total.objects += len(boxes)
    if "crops" in labels:
        crops = [np.asarray(crop) for crop, known in zip(labels["crops"], has_mask(labels), strict=False) if known]
        total.masks += len(crops)
        total.filled += sum(bool(crop.all()) for crop in crops)


def of_image(labelled: Mapping[str, Labelled], info: ImageInfo) -> Iterator[tuple[str, str]]:
    """Yields (problem, where) of real labels that cannot be true."""
    real = {task: labels for task, (labels, origin, _) in labelled.items() if not record.is_pseudo(origin)}
    if "normals" in real and np.shape(real["normals"]["normals"]) == (info.height, info.width, 3):
        step = math.ceil(math.sqrt(info.height * info.width / SAMPLED))
        normals = np.asarray(real["normals"]["normals"])[::step, ::step]
        height, width = normals.shape[:2]
        unit_rays = surface.rays(height, width, surface.usual(height, width))
        away = surface.share_away(normals, unit_rays)
        if away > surface.AWAY:
            yield "normals: most face away from the camera", f"{away:.0%}"
    if "depth" in real:
        metres = np.asarray(real["depth"]["metres"])
        known = metres[metres > 0]
        if known.size and not surface.NEAREST <= np.median(known) <= surface.FARTHEST:
            yield "depth: beyond reason, is its unit right?", f"median {np.median(known):.3g} m"
        if known.size >= FLAT and known.min() == known.max():
            yield "depth: all known pixels have one value", f"{known[0]:.3g} m"


def of_dataset(
    dataset: RecordSet, shards: Sequence[dict[str, LabelUse]], photos: np.ndarray, found: tuple[Findings, Findings]
) -> None:
    """Adds the findings and the notes of a whole dataset.

    Args:
      dataset: the records.
      shards: the sums of each shard.
      photos: `contents.short` of all images.
      found: findings and notes.
    """
    findings, notes = found
    total: dict[str, LabelUse] = {}
    for shard in shards:
        for task, use in shard.items():
            total.setdefault(task, LabelUse()).merge(use)
    for task, use in total.items():
        names = dataset.manifest.classes.get(task, ())
        for problem, where in _unusable(task, use, names if dataset.is_whole else ()):
            findings.add(problem, f"{dataset.directory}: {where}")
        absent = [name for place, name in enumerate(names) if place not in use.classes]
        if absent and dataset.is_whole and use.things:
            notes.add(
                f"{task}: classes that never occur",
                f"{len(absent)} of {len(names)}: {listed(absent, SHOWN)}",
                len(absent),
            )
        if use.whole and use.whole < use.things - use.crowds:
            notes.add(f"{task}: boxes that cover their whole image", dataset.directory, use.whole)
        if 0 < use.sparse < use.images / 2:
            notes.add(f"{task}: less than {SPARSE:.0%} of the map is known", dataset.directory, use.sparse)
    if repeated := len(photos) - len(np.unique(photos)):
        notes.add("the same photo more than once", dataset.directory, repeated)


def _unusable(task: str, use: LabelUse, names: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yields (problem, where) of a dataset. `names` are the task's classes, if all records are there."""
    images = f"{use.images:,} labelled images"
    if not use.things:
        yield f"{task}: nothing to train on", f"{images} have no object or known pixel"
    elif use.crowds == use.things:
        yield f"{task}: all objects are crowds or difficult, so none is trained", f"{use.crowds:,} objects"
    elif use.tiny == use.things - use.crowds:
        yield f"{task}: all boxes are smaller than {TINY:g} pixels", f"{use.tiny:,} objects"
    elif use.whole == use.things - use.crowds >= MANY:
        yield f"{task}: all boxes cover their whole image", f"{use.whole:,} objects"
    if use.masks == use.filled >= MANY:
        yield f"{task}: all masks fill their boxes, were they made from boxes?", f"{use.masks:,} objects"
    if len(names) > 1 and len(use.classes) == 1 and use.images >= MANY and not use.objects:
        yield (
            f"{task}: only one of its classes occurs",
            ", ".join(names[place] for place in use.classes if place < len(names)),
        )
    if use.sparse and use.sparse >= use.images / 2:
        yield f"{task}: most maps are nearly all ignored", f"{use.sparse:,} of {images}"
