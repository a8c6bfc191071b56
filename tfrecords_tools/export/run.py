"""Writes records as files that other tools read and people can correct: `must export-coco`.

    DIR/rgb/<name>             the images, with --images
    DIR/instances.json         COCO: boxes and masks (RLE) of the images that have object labels
    DIR/panoptic.json          COCO panoptic, one segment per class; its PNGs are
    DIR/panoptic/<name>.png
    DIR/label/<name>.png       the same class ids as grey PNGs, 255 = ignore; DIR/classes.txt names them
    DIR/depth/<name>.png       16-bit millimetres; not for relative depth
    DIR/normal/<name>.png      RGB = (n + 1) * 127.5
    DIR/classification.csv     image, class, probability, origin
    DIR/classes/<class>/<name> the classified images, with --images
    DIR/pseudo.jsonl           which labels in the PNGs are a teacher's; the JSON files name theirs themselves
    DIR/export.json            a summary, written last

These commands read them back: `convert coco --images DIR/rgb --annotations DIR/instances.json --panoptic DIR/panoptic`,
`convert rgbd --root DIR` and `convert classes --root DIR/classes` (class ids in the order of the names). Labels of a
teacher with at least --least-score then become real, with the origin `real:corrected-<teacher id>`; class folders do
not tell their origin.

A shard is finished when its part in DIR/.shards exists; the same command skips it when it runs again. The JSON files
appear at the end, complete.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from must_tf import tasks
from must_tf.common import files
from must_tf.data import map_png, opening, record
from must_tf.data.record import Labelled
from must_tf.shared.pixel_confidence import CONFIDENCE
from must_tf.spec import ImageInfo, Labels, TaskConfig
from must_tf.tasks.masks.labels import has_mask
from must_tf.tasks.normals.labels import NORMALS
from must_tf.tasks.segmentation.labels import IGNORE
from tfrecords_tools.convert import run as convert
from tfrecords_tools.export import formats, join
from tfrecords_tools.export.formats import JsonObject
from tfrecords_tools.reading import bad_records, check_truth, recordset
from tfrecords_tools.reading.recordset import RecordSet
from tfrecords_tools.writing import shards
from tfrecords_tools.writing.counts import Tally

SUFFIX = {"jpeg": ".jpg", "png": ".png"}
EXPORTED = ("classification", "detection", "masks", "segmentation", "depth", "normals")


class ExportOptions(NamedTuple):
    """The images and labels to write.

    Attributes:
      images: True also writes the images.
      least_score: lowest score of a teacher's objects and pixels that are written.
    """

    images: bool = False
    least_score: float = 0.5


class ExportJob(NamedTuple):
    """The export of one shard."""

    path: str
    out: str
    classes: dict[str, list[str]]
    options: ExportOptions


def export_records(
    records: RecordSet, out: str, options: ExportOptions, processes: int, command: Sequence[str]
) -> JsonObject:
    """Writes all files, or continues in a folder of the same command.

    Args:
      records: to export.
      out: the folder.
      options: what is written.
      processes: 0: chosen automatically.
      command: for the message if another command wants to use the folder.

    Returns:
      The content of export.json.

    Raises:
      UserError: the folder has other files, a record cannot be read, or two records have the same id.
    """
    with shards.claimed(out, _fingerprint(records, options), command):
        return _export_all(records, out, options, processes, command)


def _export_all(
    records: RecordSet, out: str, options: ExportOptions, processes: int, command: Sequence[str]
) -> JsonObject:
    summary = os.path.join(out, join.SUMMARY)
    if tf.io.gfile.exists(summary):
        return files.read_json(summary)
    classes = records.manifest.classes
    jobs = [ExportJob(path, out, classes, options) for path in records.paths]
    left = [job for job in jobs if not tf.io.gfile.exists(join.part_of(out, job.path))]
    counts = {shard["file"]: shard["records"] for shard in records.manifest.shards}
    images_left = sum(counts.get(os.path.basename(job.path), 0) for job in left)
    for name in classes.get("classification", ()) if options.images else ():  # also for classes without images
        tf.io.gfile.makedirs(os.path.join(out, "classes", formats.file_name(name)))
    recordset.over_shards(export_shard, left, "export", images_left, processes)
    return join.join(out, [job.path for job in jobs], classes, command)


def _fingerprint(records: RecordSet, options: ExportOptions) -> str:
    hashes = {shard["file"]: shard["sha256"] for shard in records.manifest.shards}
    parts = [hashes.get(os.path.basename(path), "") for path in records.paths]
    return hashlib.sha256(
        convert.fingerprint_text(("export-coco", shards.versions(), parts, options)).encode()
    ).hexdigest()


def export_shard(job: ExportJob, tick: Callable[[], None]) -> None:
    """Exports one shard; runs in a worker. Its part is written last, and as a whole."""
    configs, lost, lines = recordset.configs_of(job.classes), Tally(), []
    for number, serialized in recordset.whole(job.path):
        with bad_records.reading(job.path, number):
            lines.append(_export(serialized, job, configs, lost))
        tick()
    text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in [{"lost": lost.content}, *lines])
    files.write_whole(join.part_of(job.out, job.path), text.encode())


def _export(serialized: bytes, job: ExportJob, configs: Mapping[str, TaskConfig], lost: Tally) -> JsonObject:
    """Writes the files of one record and returns its line of the part."""
    example = opening.parsed(serialized)
    labelled = record.read_labels(serialized, tasks.discover(), configs)  # first: it checks the record
    info, name = record.info_of(example), name_of(example)
    for task in sorted(set(record.origins_of(example)) - set(EXPORTED)):
        lost.add(f"{task}: no format of other tools is known", name)
    formats.count_lost(labelled, job.classes, lost, name)
    line: JsonObject = {
        "source_id": info.source_id,
        "file_name": name,
        "height": info.height,
        "width": info.width,
        "origins": {task: task_labels.origin for task, task_labels in labelled.items()},
    }
    line |= _classified(labelled, job.classes) | objects_of(labelled, info, job.options.least_score, lost)
    if job.options.images:
        _write_image(opening.image_of(example), job.out, line)
    written, segments = _maps(labelled, example, job.options.least_score, lost)
    for folder, content in written.items():
        files.write_whole(os.path.join(job.out, folder, f"{os.path.splitext(name)[0]}.png"), content)
    return line | segments


def _write_image(image: bytes, out: str, line: JsonObject) -> None:
    files.write_whole(os.path.join(out, "rgb", line["file_name"]), image)
    if "class" in line:
        line["class_file"] = in_class_folder(line["source_id"], line["file_name"], line["class"])
        files.write_whole(os.path.join(out, "classes", line["class_file"]), image)


def _classified(labelled: Mapping[str, Labelled], classes: Mapping[str, Sequence[str]]) -> JsonObject:
    if "classification" not in labelled:
        return {}
    probability = labelled["classification"].labels["probability"]
    likeliest = int(probability.argmax())
    return {
        "class": classes["classification"][likeliest],
        "probability": formats.shortest(probability[likeliest]),
    }


def objects_of(labelled: Mapping[str, Labelled], info: ImageInfo, least_score: float, lost: Tally) -> JsonObject:
    """Returns the annotations: masks with their boxes, or only boxes if not all of them have masks."""
    boxes, masks = labelled.get("detection"), labelled.get("masks")
    more_boxes = boxes and masks and len(boxes.labels["boxes"]) > len(masks.labels["boxes"])
    objects = boxes if more_boxes else masks or boxes
    if objects is None:
        return {}
    labels = objects.labels
    if is_pseudo(objects) and (unsure := least_scores(labels) < least_score).any():
        lost.add(formats.UNSURE, info.source_id, int(unsure.sum()))
        labels = check_truth.chosen(labels, ~unsure)
    return {"annotations": formats.annotations_of(labels, info, is_pseudo(objects))}


def least_scores(labels: Labels) -> np.ndarray:
    """Returns [N] scores of a teacher's objects: the lower one of box and mask, because both become real labels."""
    of_masks = np.where(has_mask(labels), labels.get("mask_scores", np.float32(1.0)), np.float32(1.0))
    return np.minimum(labels["scores"], of_masks)


def _maps(
    labelled: Mapping[str, Labelled], example: tf.train.Example, least_score: float, lost: Tally
) -> tuple[dict[str, bytes], JsonObject]:
    """Returns the PNGs of the pixel tasks by folder, and the panoptic segments for the line."""
    stem = os.path.splitext(name_of(example))[0]
    written: dict[str, bytes] = {}
    line: JsonObject = {}
    if segmentation := labelled.get("segmentation"):
        labels = segmentation.labels
        if is_pseudo(segmentation) and ((labels["confidence"] < least_score) & (labels["classes"] != IGNORE)).any():
            lost.add(formats.UNSURE_PIXELS, stem)
            labels = labels | {"classes": np.where(labels["confidence"] < least_score, IGNORE, labels["classes"])}
        written["panoptic"], line["segments_info"] = formats.panoptic(labels, is_pseudo(segmentation))
        written["label"] = map_png.encode(labels["classes"].astype("uint8"))
    if (depth := labelled.get("depth")) and not formats.is_relative(depth.labels):
        unsure = _unsure(depth, depth.labels["metres"] > 0, least_score, lost, stem)
        written["depth"] = formats.depth({"metres": np.where(unsure, 0, depth.labels["metres"])}, lost, stem)
    if normals := labelled.get("normals"):
        unsure = _unsure(normals, normals.labels["normals"].any(-1), least_score, lost, stem)
        written["normal"] = formats.normals(example.features.feature[NORMALS].bytes_list.value[0], unsure)
    return written, line


def _unsure(labelled: Labelled, known: np.ndarray, least_score: float, lost: Tally, name: str) -> np.ndarray:
    """Returns the known pixels of a teacher's map that are below the least score, bool [h, w]."""
    if CONFIDENCE not in labelled.labels or not is_pseudo(labelled):
        return np.zeros_like(known)
    lost.add(formats.DOUBTS_OF_MAPS, name)
    unsure = known & (labelled.labels[CONFIDENCE] < least_score)
    if unsure.any():
        lost.add(formats.UNSURE_MAPS, name)
    return unsure


def is_pseudo(labelled: Labelled) -> bool:
    """Returns True for labels of a teacher."""
    return record.is_pseudo(labelled.origin)


def name_of(example: tf.train.Example) -> str:
    """Returns the image's file name: the original one if it equals the id, else the id, with special characters quoted.

    Ids like 139 also equal names like 000000000139, as in COCO.
    """
    feature = example.features.feature
    source_id = record.info_of(example).source_id
    stem = os.path.splitext(opening.text(feature, "image/filename"))[0]
    same = stem == source_id or (stem.isdecimal() and source_id.isdecimal() and int(stem) == int(source_id))
    suffix = SUFFIX[record.image_format(opening.image_of(example))]
    return formats.file_name(stem if same else source_id) + suffix


def in_class_folder(source_id: str, name: str, label: str) -> str:
    """Returns <class>/<name>. An id of this form keeps its own name."""
    folder, _, rest = source_id.partition("/")
    own = formats.file_name(rest) + os.path.splitext(name)[1] if folder == label and rest else name
    return os.path.join(formats.file_name(label), own)
