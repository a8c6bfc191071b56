"""Records back into files that other tools read and people correct: `must-records export-coco`.

    DIR/rgb/<name>             the images, with --images
    DIR/instances.json         COCO: boxes and masks (RLE) of the images that somebody looked at for objects
    DIR/panoptic.json          COCO panoptic, one segment a class, with the PNGs in
    DIR/panoptic/<name>.png
    DIR/label/<name>.png       the same class ids as grey PNGs, 255 = ignore; DIR/classes.txt names them
    DIR/depth/<name>.png       16-bit millimetres, none of relative depth
    DIR/normal/<name>.png      RGB = (n + 1) * 127.5
    DIR/classification.csv     image, class, probability, origin
    DIR/classes/<class>/<name> the classified images, with --images
    DIR/pseudo.jsonl           which of the PNGs' labels are a teacher's; of the JSONs' they say so themselves
    DIR/export.json            what was written; written last

So `convert coco --images DIR/rgb --annotations DIR/instances.json --panoptic DIR/panoptic`, `convert rgbd --root DIR`
and `convert classes --root DIR/classes` (class ids in the order of the names) read them again. What a teacher said, and
was sure of by --least-score, is real then, with the origin `real:corrected-<teacher id>`; of the folders of classes
nothing tells whose they were. A shard is done when its
part in DIR/.shards is there, and skipped when the same command runs again; the JSONs appear whole, at the end.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple
from urllib.parse import quote

import numpy as np
import tensorflow as tf

from must_tf import tasks
from must_tf.common import files
from must_tf.common.errors import UserError
from must_tf.data import record
from must_tf.data.record import Labelled
from must_tf.spec import ImageInfo, Labels
from must_tf.tasks.normals.labels import NORMALS
from must_tf.tasks.segmentation.labels import IGNORE
from tfrecords_tools.export import join
from tfrecords_tools.export import labels as export_labels
from tfrecords_tools.reading import check_truth, recordset
from tfrecords_tools.reading.recordset import RecordSet
from tfrecords_tools.writing import shards
from tfrecords_tools.writing.counts import Tally

SUFFIX = {"jpeg": ".jpg", "png": ".png"}
SAFE = " ()+,-.=@[]_~"  # with letters and digits, in a file's name as they are; all else is %xx
EXPORTED = ("classification", "detection", "masks", "segmentation", "depth", "normals")


class What(NamedTuple):
    """What is written: the images too; of a teacher's objects and pixels those that it is at least so sure of."""

    images: bool = False
    least_score: float = 0.5


class Job(NamedTuple):
    """One shard to be exported."""

    path: str
    out: str
    classes: dict[str, list[str]]
    what: What


def export(found: RecordSet, out: str, what: What, processes: int, command: Sequence[str]) -> dict[str, Any]:
    """Writes all files; a finished or half-finished folder of the same command is gone on with.

    Args:
      found: the records.
      out: the folder.
      what: is to be written.
      processes: 0 chooses.
      command: shown to whoever wants to use the folder for something else.

    Returns:
      What is written as export.json.

    Raises:
      UserError: the folder is somebody else's, a record cannot be read, or two share an id.
    """
    _check_free(out)
    shards.claim(out, _fingerprint(found, what), command)
    done = os.path.join(out, join.SUMMARY)
    if tf.io.gfile.exists(done):
        with tf.io.gfile.GFile(done) as file:
            return json.load(file)
    jobs = [Job(path, out, found.manifest.classes, what) for path in found.paths]
    left = [job for job in jobs if not tf.io.gfile.exists(join.part_of(out, job.path))]
    counts = {shard["file"]: shard["records"] for shard in found.manifest.shards}
    records = sum(counts.get(os.path.basename(job.path), 0) for job in left)
    for name in found.manifest.classes.get("classification", ()) if what.images else ():  # also those without an image
        tf.io.gfile.makedirs(os.path.join(out, "classes", quote(name, safe=SAFE)))
    recordset.over_shards(export_shard, left, "export", records, processes)
    return join.join(out, [job.path for job in jobs], found.manifest.classes, command)


def _check_free(out: str) -> None:
    """Files of one's own among the exported ones would be taken for exported ones."""
    if not tf.io.gfile.exists(out):
        return
    if not tf.io.gfile.isdir(out):
        raise UserError(f"--out {out!r} is a file; give a folder.")
    if tf.io.gfile.listdir(out) and not tf.io.gfile.exists(os.path.join(out, shards.FOLDER, "command.json")):
        raise UserError(f"--out {out!r} holds files that export-coco did not write. Give an empty or new folder.")


def _fingerprint(found: RecordSet, what: What) -> str:
    hashes = {shard["file"]: shard["sha256"] for shard in found.manifest.shards}
    parts = [hashes.get(os.path.basename(path), "") for path in found.paths]
    return hashlib.sha256(repr(("export-coco", shards.versions(), parts, what)).encode()).hexdigest()


def export_shard(job: Job, tick: Callable[[], None]) -> None:
    """One shard; runs in a worker. Its part is written last, and whole."""
    configs, lost, lines = recordset.configs_of(job.classes), Tally(), []
    for number, serialized in recordset.whole(job.path):
        place = f"{os.path.basename(job.path)} record {number}"
        try:
            lines.append(_export(serialized, job, configs, lost))
        except (tf.errors.OpError, ValueError, IndexError) as error:
            message = str(error).splitlines()[0][:160]
            raise UserError(
                f"{place} cannot be read ({message}). must-records check finds all that is wrong."
            ) from None
        tick()
    text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in [{"lost": lost.content}, *lines])
    files.write_whole(join.part_of(job.out, job.path), text.encode())


def _export(serialized: bytes, job: Job, configs: Mapping[str, Any], lost: Tally) -> dict[str, Any]:
    """Writes one record's files; returns its line of the part."""
    example = tf.train.Example.FromString(serialized)
    info, name = record.info_of(example), name_of(example)
    specs = tasks.discover()
    labelled = record.read_labels(serialized, specs, configs)
    for task in set(record.origins_of(example)) - set(EXPORTED):
        lost.add(f"{task}: no format of other tools is known", name)
    export_labels.count_lost(labelled, job.classes, lost, name)
    line: dict[str, Any] = {
        "source_id": info.source_id,
        "file_name": name,
        "height": info.height,
        "width": info.width,
        "origins": {task: one.origin for task, one in labelled.items()},
    }
    line |= _classified(labelled, job.classes) | _objects(labelled, info, job.what.least_score, lost)
    if job.what.images:
        _write_image(example.features.feature["image/encoded"].bytes_list.value[0], job.out, line)
    written, segments = _maps(labelled, example, job.what.least_score, lost)
    for folder, content in written.items():
        files.write_whole(os.path.join(job.out, folder, f"{os.path.splitext(name)[0]}.png"), content)
    return line | segments


def _write_image(image: bytes, out: str, line: Mapping[str, Any]) -> None:
    files.write_whole(os.path.join(out, "rgb", line["file_name"]), image)
    if "class" in line:
        path = in_class_folder(line["source_id"], line["file_name"], line["class"])
        files.write_whole(os.path.join(out, "classes", path), image)


def _classified(labelled: Mapping[str, Labelled], classes: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    if "classification" not in labelled:
        return {}
    probability = labelled["classification"].labels["probability"]
    likeliest = int(probability.argmax())
    return {
        "class": classes["classification"][likeliest],
        "probability": export_labels.shortest(probability[likeliest]),
    }


def _objects(labelled: Mapping[str, Labelled], info: ImageInfo, least_score: float, lost: Tally) -> dict[str, Any]:
    """Masks hold all that detection does; where nobody drew masks, the boxes alone."""
    boxes, masks = labelled.get("detection"), labelled.get("masks")
    one = boxes if boxes and masks and len(boxes.labels["boxes"]) > len(masks.labels["boxes"]) else masks or boxes
    if one is None:
        return {}
    labels = one.labels
    if is_pseudo(one) and (unsure := _surest(labels) < least_score).any():
        lost.add(export_labels.UNSURE, info.source_id, int(unsure.sum()))
        labels = check_truth.chosen(labels, ~unsure)
    return {"annotations": export_labels.entries_of(labels, info, is_pseudo(one))}


def _surest(labels: Labels) -> np.ndarray:
    """[N] how sure a teacher is of its objects: of a box and its mask the lesser score, for both come back as true."""
    return np.minimum(labels["scores"], labels.get("mask_scores", np.float32(1.0)))


def _maps(
    labelled: Mapping[str, Labelled], example: tf.train.Example, least_score: float, lost: Tally
) -> tuple[dict[str, bytes], dict[str, Any]]:
    """The PNGs of the pixel tasks by folder, and the panoptic segments for the line."""
    stem = os.path.splitext(name_of(example))[0]
    written: dict[str, bytes] = {}
    line: dict[str, Any] = {}
    if one := labelled.get("segmentation"):
        labels = one.labels
        if is_pseudo(one) and ((labels["confidence"] < least_score) & (labels["classes"] != IGNORE)).any():
            lost.add(export_labels.UNSURE_PIXELS, stem)
            labels = labels | {"classes": np.where(labels["confidence"] < least_score, IGNORE, labels["classes"])}
        written["panoptic"], line["segments_info"] = export_labels.panoptic(labels, is_pseudo(one))
        written["label"] = export_labels.png(labels["classes"].astype("uint8"))
    if (one := labelled.get("depth")) and not export_labels.is_relative(one.labels):
        written["depth"] = export_labels.depth(one.labels, lost, stem)
    if "normals" in labelled:
        written["normal"] = example.features.feature[NORMALS].bytes_list.value[0]  # the same format
    return written, line


def is_pseudo(labelled: Labelled) -> bool:
    """Whether a teacher said so."""
    return record.is_pseudo(labelled.origin)


def name_of(example: tf.train.Example) -> str:
    """The image's file name: the original's where that is as unique as the id, else the id, quoted where it must be."""
    feature = example.features.feature
    source_id = record.info_of(example).source_id
    original = feature["image/filename"].bytes_list.value if "image/filename" in feature else ()
    stem = os.path.splitext(original[0].decode())[0] if original else ""
    same = stem == source_id or (stem.isdecimal() and source_id.isdecimal() and int(stem) == int(source_id))
    suffix = SUFFIX[record.image_format(feature["image/encoded"].bytes_list.value[0])]
    return quote(stem if same else source_id, safe=SAFE) + suffix


def in_class_folder(source_id: str, name: str, label: str) -> str:
    """<class>/<name>; an id that is such a path already keeps its own."""
    folder, _, rest = source_id.partition("/")
    own = quote(rest, safe=SAFE) + os.path.splitext(name)[1] if folder == label and rest else name
    return os.path.join(quote(label, safe=SAFE), own)
