"""Writes records as a YOLO dataset: `must export-yolo`.

    DIR/data.yaml                    the classes, and the folders of the splits
    DIR/images/<split>/<name>        the images that are labelled for detection
    DIR/labels/<split>/<name>.txt    class and polygon of each object, or class and box if one of them has no mask
    DIR/export.json                  a summary, written last

`convert yolo --data DIR/data.yaml` reads it back: boxes to the last bit, masks to the last pixel. A mask is one
polygon: bridges without area join its parts and holes, and four corners end where they begin, because four alone may be
an oriented box. Its box is the one around it, as readers of the format take it.
Not in the format, and counted in the summary: crowds, scores, labels of other tasks, images that are not labelled for
detection, and masks beside an object without one. Trainers take all lines of a file for polygons if one of them is one,
even lines of four numbers, so a file has lines of one kind.

A shard is finished when its part in DIR/.shards exists; the same command skips it when it runs again.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf
import yaml

from must_tf import tasks
from must_tf.common import files
from must_tf.common.errors import UserError
from must_tf.data import opening, record
from must_tf.spec import ImageInfo, Labels, TaskConfig
from must_tf.tasks.masks.labels import has_mask, paste
from tfrecords_tools.export import formats, join, outlines, run
from tfrecords_tools.export.formats import JsonObject
from tfrecords_tools.reading import bad_records, check_truth, recordset
from tfrecords_tools.reading.recordset import RecordSet
from tfrecords_tools.writing import shards
from tfrecords_tools.writing.counts import Tally

COMMAND = "export-yolo"
DIGITS = range(6, 12)  # decimals that are tried; tools write six
POINT_DIGITS = 8  # of polygons: a thousandth of a pixel of the largest images
FOUR = 4  # corners that may be an oriented box
CROWD = "object: a crowd, which the format cannot say; left out"
MIXED = "object: mask left out, because another object of the image has none and a file has one kind of lines"
APART = "object: box differs by a pixel or more from that of its mask, which readers take"
UNLABELLED = "image: not labelled for detection, left out"
OTHER = "the format has no such labels"


class YoloOptions(NamedTuple):
    """The labels to write.

    Attributes:
      boxes: True writes boxes also for objects with masks.
      least_score: lowest score of a teacher's objects that are written.
    """

    boxes: bool = False
    least_score: float = 0.5


class YoloJob(NamedTuple):
    """The export of one shard."""

    path: str
    split: str
    out: str
    classes: dict[str, list[str]]
    options: YoloOptions

    @property
    def part(self) -> str:
        """The file that exists once the shard is exported."""
        return os.path.join(self.out, shards.FOLDER, f"{self.split}-{os.path.basename(self.path)}.lines")


def export_yolo(
    sets: Mapping[str, RecordSet], out: str, options: YoloOptions, processes: int, command: Sequence[str]
) -> JsonObject:
    """Writes all files, or continues in a folder of the same command; returns the content of export.json.

    Args:
      sets: {split: its records}; all of the same classes.
      out: the folder.
      options: what is written.
      processes: 0: chosen automatically.
      command: for the message if another command wants to use the folder.

    Raises:
      UserError: the classes differ, the folder has other files, or a record cannot be read.
    """
    names = _names(sets)
    with shards.claimed(out, _fingerprint(sets, options), command):
        return _export_all(sets, out, names, (options, processes, command))


def _export_all(
    sets: Mapping[str, RecordSet],
    out: str,
    names: Sequence[str],
    how: tuple[YoloOptions, int, Sequence[str]],
) -> JsonObject:
    options, processes, command = how
    summary = os.path.join(out, join.SUMMARY)
    if tf.io.gfile.exists(summary):
        return files.read_json(summary)
    jobs = [
        YoloJob(path, split, out, records.manifest.classes, options)
        for split, records in sets.items()
        for path in records.paths
    ]
    left = [job for job in jobs if not tf.io.gfile.exists(job.part)]
    recordset.over_shards(export_shard, left, "export", sum(records.records for records in sets.values()), processes)
    shards.require_claim(out)
    content = {"path": ".", **{split: f"images/{split}" for split in sets}, "names": dict(enumerate(names))}
    files.write_whole(
        os.path.join(out, "data.yaml"), yaml.safe_dump(content, sort_keys=False, allow_unicode=True).encode()
    )
    return _summary(out, jobs, command)


def _names(sets: Mapping[str, RecordSet]) -> Sequence[str]:
    """Returns the class names. Raises UserError if there are none, or not the same in all sets."""
    by_split = {split: list(records.manifest.classes.get("detection", ())) for split, records in sets.items()}
    first, *others = by_split.items()
    if not first[1]:
        raise UserError(f"{sets[first[0]].directory} has no boxes: YOLO's format is for detection.")
    for split, names in others:
        if names != first[1]:
            raise UserError(
                f"{sets[split].directory} has other classes than {sets[first[0]].directory}, or in another order. "
                "Export records with the same classes."
            )
    return first[1]


def _fingerprint(sets: Mapping[str, RecordSet], options: YoloOptions) -> str:
    parts = [
        (split, shard["file"], shard["sha256"]) for split, records in sets.items() for shard in records.manifest.shards
    ]
    paths = [(split, os.path.basename(path)) for split, records in sets.items() for path in records.paths]
    return hashlib.sha256(repr((COMMAND, shards.versions(), parts, paths, tuple(options))).encode()).hexdigest()


def export_shard(job: YoloJob, tick: Callable[[], None]) -> None:
    """Exports one shard; runs in a worker. Its part is written last."""
    configs, lost, names = recordset.configs_of(job.classes), Tally(), []
    for number, serialized in recordset.whole(job.path):
        with bad_records.reading(job.path, number):
            names += _export(serialized, job, configs, lost)
        tick()
    files.write_whole(job.part, json.dumps({"lost": lost.content, "names": names}).encode())


def _export(serialized: bytes, job: YoloJob, configs: Mapping[str, TaskConfig], lost: Tally) -> list[str]:
    """Writes the files of one record and returns its name in a list; empty if it is left out."""
    example = opening.parsed(serialized)
    labelled = record.read_labels(serialized, tasks.discover(), configs)  # first: it checks the record
    info, name = record.info_of(example), run.name_of(example)
    for task in sorted(set(record.origins_of(example)) - {"detection", "masks"}):
        lost.add(f"{task}: {OTHER}", name)
    boxes, masks = labelled.get("detection"), labelled.get("masks")
    if boxes is None:
        lost.add(UNLABELLED, name)
        return []
    if boxes.annotated is not None and len(boxes.annotated) != len(job.classes["detection"]):
        lost.add(f"detection: {formats.PARTIAL}", name)
    has_masks = masks and not job.options.boxes and len(masks.labels["boxes"]) == len(boxes.labels["boxes"])
    labels = masks.labels if masks and has_masks else boxes.labels
    if run.is_pseudo(boxes) and (unsure := run.least_scores(labels) < job.options.least_score).any():
        lost.add(formats.UNSURE, info.source_id, int(unsure.sum()))
        labels = check_truth.chosen(labels, ~unsure)
    text = "".join(f"{line}\n" for line in lines(labels, info, lost))
    folder = os.path.join(job.out, "labels", job.split)
    files.write_whole(os.path.join(folder, f"{os.path.splitext(name)[0]}.txt"), text.encode())
    image = opening.image_of(example)
    files.write_whole(os.path.join(job.out, "images", job.split, name), image)
    return [name]


def lines(labels: Labels, info: ImageInfo, lost: Tally) -> list[str]:
    """Returns a line per object: class (from 0) and polygon, or class and box; crowds are counted in `lost`."""
    kept = ~labels["is_crowd"]
    known = kept & (has_mask(labels) if "crops" in labels else False)
    with_masks = bool(known.any()) and bool(known[kept].all())
    if known.any() and not with_masks:
        lost.add(MIXED, info.source_id, int(known.sum()))
    written = []
    for place, box in enumerate(labels["boxes"]):
        if not kept[place]:
            lost.add(CROWD, info.source_id)
            continue
        if with_masks:
            corners = _corners(labels, place, info)
            size = np.array([info.height, info.width] * 2)
            around = [*np.min(corners, 0)[::-1], *np.max(corners, 0)[::-1]]
            if np.abs(np.array(around) - box * size).max() >= 1:
                lost.add(APART, info.source_id)
        values = polygon_values(corners, info) if with_masks else box_values(box)
        written.append(f"{int(labels['classes'][place]) - 1} {values}")
    return written


def box_values(box: np.ndarray) -> str:
    """Returns x and y of the centre, width and height of a box [y0, x0, y1, x1], with as few digits as restore it."""
    y0, x0, y1, x1 = np.asarray(box, np.float64)
    values = [(x0 + x1) / 2, (y0 + y1) / 2, x1 - x0, y1 - y0]
    text = ""
    for digits in DIGITS:
        text = " ".join(f"{value:.{digits}f}" for value in values)
        x, y, width, height = map(float, text.split())
        again = [y - height / 2, x - width / 2, y + height / 2, x + width / 2]
        if np.array_equal(np.clip(again, 0, 1).astype(np.float32), box):
            break
    return text


def _corners(labels: Labels, place: int, info: ImageInfo) -> list[outlines.Corner]:
    single = {"boxes": labels["boxes"][place : place + 1], "crops": labels["crops"][place : place + 1]}
    return outlines.outline(paste(single, info.height, info.width)[0])


def polygon_values(corners: Sequence[outlines.Corner], info: ImageInfo) -> str:
    """Returns x and y of each corner, in shares of the image's sides. Four corners are closed by the first one."""
    closed = [*corners, corners[0]] if len(corners) == FOUR else corners
    shares = [share for x, y in closed for share in (x / info.width, y / info.height)]
    return " ".join(f"{share:.{POINT_DIGITS}f}".rstrip("0").rstrip(".") for share in shares)


def _summary(out: str, jobs: Sequence[YoloJob], command: Sequence[str]) -> JsonObject:
    """Writes export.json and removes the parts; returns its content."""
    lost, counts = Tally(), dict[str, int]()
    taken: dict[str, set[str]] = {}
    for job in jobs:
        part = files.read_json(job.part, ("lost", "names"))
        lost.merge(part["lost"])
        counts[f"images/{job.split}"] = counts.get(f"images/{job.split}", 0) + len(part["names"])
        names = taken.setdefault(job.split, set())
        if repeated := names & set(part["names"]):
            raise UserError(f"Two records have the name {min(repeated)!r}. Find them with must check.")
        names |= set(part["names"])
    summary = {
        "command": list(command),
        "records": sum(counts.values()),
        "images_in": counts,
        "lost": lost.content,
    }
    files.write_json(os.path.join(out, join.SUMMARY), summary)
    for job in jobs:
        tf.io.gfile.remove(job.part)
    return summary
