"""Labels that follow every rule and that nothing, or something wrong, can be learned from.

A finding of one image: normals that face away from the camera, depth beyond reason. A finding of the dataset: a task
without anything to train on, only crowds, only tiny boxes, mostly ignored maps. Notes: classes that never occur, photos
that are there more than once, single maps that are mostly ignored.
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
from tfrecords_tools.reading import label_summary
from tfrecords_tools.reading.recordset import RecordSet
from tfrecords_tools.sources import rgbd_maps, surface
from tfrecords_tools.writing.counts import Findings

SAMPLED = 4_000_000  # pixels of a map at most, on a grid, whose direction is compared with the camera's
TINY = 2.0  # pixels of the shorter side; a box below it covers no pixel of its own at the network's input
SPARSE = 0.1  # known share of a map; depth is often sparse and does not count
SHOWN = 8  # names of classes


@dataclasses.dataclass
class LabelUse:
    """Sums over one task's labels.

    Attributes:
      images: labelled images.
      things: objects, known pixels or labelled images.
      crowds, tiny: objects of these kinds; the others are trained on.
      sparse: maps of which less than `SPARSE` is known.
      classes: places in the class names that occur.
    """

    images: int = 0
    things: int = 0
    crowds: int = 0
    tiny: int = 0
    sparse: int = 0
    classes: set[int] = dataclasses.field(default_factory=set)

    def merge(self, other: LabelUse) -> None:
        """Adds the sums of another shard."""
        for name in ("images", "things", "crowds", "tiny", "sparse"):
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
            total.sparse += int(known < SPARSE and task != "depth")
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
        if known.size and not rgbd_maps.NEAREST <= np.median(known) <= rgbd_maps.FARTHEST:
            yield "depth: beyond reason, is its unit right?", f"median {np.median(known):.3g} m"


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
        for problem, where in _unusable(task, use):
            findings.add(problem, f"{dataset.directory}: {where}")
        names = dataset.manifest.classes.get(task, ())
        absent = [name for place, name in enumerate(names) if place not in use.classes]
        if absent and dataset.is_whole and use.things:
            notes.add(
                f"{task}: classes that never occur",
                f"{len(absent)} of {len(names)}: {listed(absent, SHOWN)}",
                len(absent),
            )
        if 0 < use.sparse < use.images / 2:
            notes.add(f"{task}: less than {SPARSE:.0%} of the map is known", dataset.directory, use.sparse)
    if repeated := len(photos) - len(np.unique(photos)):
        notes.add("the same photo more than once", dataset.directory, repeated)


def _unusable(task: str, use: LabelUse) -> Iterator[tuple[str, str]]:
    images = f"{use.images:,} labelled images"
    if not use.things:
        yield f"{task}: nothing to train on", f"{images} have no object or known pixel"
    elif use.crowds == use.things:
        yield f"{task}: all objects are crowds or difficult, so none is trained", f"{use.crowds:,} objects"
    elif use.tiny == use.things - use.crowds:
        yield f"{task}: all boxes are smaller than {TINY:g} pixels", f"{use.tiny:,} objects"
    if use.sparse and use.sparse >= use.images / 2:
        yield f"{task}: most maps are nearly all ignored", f"{use.sparse:,} of {images}"
