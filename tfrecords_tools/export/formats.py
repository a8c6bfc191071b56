"""The labels of one record in the formats of other tools: COCO's JSON entries, panoptic PNGs, depth PNGs.

Reading these files back gives the labels of the record, except for what is counted in `lost`.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

import cv2
import numpy as np
import tensorflow as tf
from pycocotools import mask as mask_utils

from must_tf.data import map_png, opening, record
from must_tf.data.record import Labelled
from must_tf.spec import ImageInfo, Labels
from must_tf.tasks.masks.labels import has_mask, paste
from must_tf.tasks.segmentation.labels import IGNORE
from tfrecords_tools.writing.counts import Tally

JsonObject = dict[str, Any]
SAFE = " ()+,-.=@[]_~"  # kept in file names, like letters and digits; all other characters become %xx
MARKED = re.compile("~[0-9a-f]{8}$")  # a cut name, or one that looks like it
LONGEST = 200  # characters of a file name without its suffix; systems allow 255
DIGITS = range(2, 12)  # decimals of boxes that are tried; COCO's own boxes have two
FARTHEST = 65535  # millimetres in 16 bits
# The reasons in `lost` are keys of export.json.
PARTIAL = "annotated for some classes only, which no format can say"
RELATIVE = "depth: relative, the PNGs hold millimetres; left out"
UNSURE = "object: a teacher's, below --least-score"
UNSURE_PIXELS = "segmentation: pixels of a teacher's, below --least-score"
UNSURE_MAPS = "depth, normals: pixels of a teacher's, below --least-score"
DOUBTS_OF_MAPS = "depth, normals: confidence of each pixel"
# These only lose how certain a teacher was, no label.
DOUBTS = (
    "segmentation: confidence of each pixel, of a segment the mean is written",
    "classification: probabilities of all classes but the most likely",
)


ONLY_DOUBTS = {*DOUBTS, DOUBTS_OF_MAPS, UNSURE, UNSURE_PIXELS, UNSURE_MAPS}


def file_name(text: str) -> str:
    """Returns a name for a file or folder: special characters are quoted, and a long text is cut and marked.

    No text leads out of a folder, or gives an empty name. The mark, eight digits of the SHA-256, keeps texts apart.
    """
    name = quote(text, safe=SAFE)
    if not name.strip("."):
        return name.replace(".", "%2E") or "%"
    if len(name) <= LONGEST and not MARKED.search(name):
        return name
    mark = hashlib.sha256(text.encode()).hexdigest()[:8]
    return f"{name[: LONGEST - 9].rstrip('%')}~{mark}"


def annotations_of(objects: Labels, info: ImageInfo, pseudo: bool) -> list[JsonObject]:
    """Returns the objects as COCO annotations without ids. Masks, if there are any, become compressed RLE.

    An object without a mask among others has no `segmentation`.

    Args:
      objects: labels of masks, or of detection.
      info: of the image.
      pseudo: True writes the scores of a teacher.
    """
    annotations, known = [], has_mask(objects)
    for place, box in enumerate(objects["boxes"]):
        annotation: JsonObject = {
            "category_id": int(objects["classes"][place]),
            "bbox": bbox(box, info.height, info.width),
            "area": shortest(objects["area"][place]),
            "iscrowd": int(objects["is_crowd"][place]),
        }
        if "crops" in objects and known[place]:
            annotation["segmentation"] = _rle(objects, place, info)
        if pseudo:
            annotation["score"] = shortest(objects["scores"][place])
            if "mask_scores" in objects and known[place]:
                annotation["mask_score"] = shortest(objects["mask_scores"][place])
        annotations.append(annotation)
    return annotations


def bbox(box: np.ndarray, height: int, width: int) -> list[float]:
    """Converts a normalised float32 box to [x, y, width, height] in pixels, with as few digits as restore it."""
    size = np.array([height, width] * 2)
    y0, x0, y1, x1 = np.asarray(box, np.float64) * size
    for digits in DIGITS:
        x, y, w, h = (round(float(value), digits) for value in (x0, y0, x1 - x0, y1 - y0))
        again = np.clip(np.array([y, x, y + h, x + w]) / size, 0.0, 1.0).astype(np.float32)
        if np.array_equal(again, box):
            return [x, y, w, h]
    return [float(value) for value in (x0, y0, x1 - x0, y1 - y0)]


def shortest(value: np.float32) -> float:
    """Returns the decimal with the fewest digits that is the same float32."""
    return float(str(np.float32(value)))


def _rle(objects: Labels, place: int, info: ImageInfo) -> JsonObject:
    single = {"boxes": objects["boxes"][place : place + 1], "crops": objects["crops"][place : place + 1]}
    rle = mask_utils.encode(np.asfortranarray(paste(single, info.height, info.width)[0].astype(np.uint8)))
    return {"size": list(rle["size"]), "counts": rle["counts"].decode()}


def count_lost(labelled: Mapping[str, Labelled], classes: Mapping[str, Sequence[str]], lost: Tally, name: str) -> None:
    """Adds to `lost` what none of the formats can hold, whatever its values."""
    for task, task_labels in labelled.items():
        if task_labels.annotated is not None and len(task_labels.annotated) != len(classes.get(task, ())):
            lost.add(f"{task}: {PARTIAL}", f"{name}: {len(task_labels.annotated)} of {len(classes.get(task, ()))}")
    labels = {task: task_labels.labels for task, task_labels in labelled.items()}
    if "depth" in labels and is_relative(labels["depth"]):
        lost.add(RELATIVE, name)
    for task, key, reason in zip(
        ("segmentation", "classification"), ("confidence", "probability"), DOUBTS, strict=True
    ):
        values = labels[task][key] if task in labels else np.zeros(0)
        if ((values > 0) & (values < 1)).any():
            lost.add(reason, name)


def is_relative(depth_labels: Labels) -> bool:
    """Returns True for inverse depth up to scale and shift, which cannot be converted to metres."""
    return bool(np.any(depth_labels["inverse_depth"]))


def panoptic(labels: Labels, pseudo: bool) -> tuple[bytes, list[JsonObject]]:
    """Converts class ids per pixel to a panoptic PNG with one segment per class.

    The id of a segment is its category's; 0 marks pixels without a label.

    Returns:
      The PNG, R + 256 G + 256^2 B = segment id, and its `segments_info`.
    """
    classes = labels["classes"]
    ids = np.where(classes == IGNORE, 0, classes + 1).astype(np.uint8)
    blank = np.zeros_like(ids)
    segments = []
    for number in np.unique(ids[ids > 0]).tolist():
        inside = ids == number
        x, y, width, height = cv2.boundingRect(inside.astype(np.uint8))
        segment: JsonObject = {
            "id": number,
            "category_id": number,
            "area": int(inside.sum()),
            "bbox": [x, y, width, height],
            "iscrowd": 0,
        }
        if pseudo:
            segment["score"] = round(float(labels["confidence"][inside].mean()), 4)
        segments.append(segment)
    return map_png.encode(np.stack([ids, blank, blank], -1)), segments


def depth(labels: Labels, lost: Tally, name: str) -> bytes:
    """Converts metres to a 16-bit PNG in millimetres, 0 = unknown. Depth beyond 65.535 m becomes unknown."""
    millimetres = np.rint(labels["metres"].astype(np.float64) * 1000)
    too_far = millimetres > FARTHEST
    if too_far.any():
        lost.add("depth: farther than 65.535 m, now unknown", f"{name}: {int(too_far.sum())} pixels")
    return map_png.encode(np.where(too_far, 0, millimetres).astype(np.uint16))


def normals(stored: bytes, unsure: np.ndarray) -> bytes:
    """Returns the PNG of normals in the image's size, with some pixels [h, w] unknown; the others are as stored."""
    if opening.png_size(stored) == unsure.shape and not unsure.any():
        return stored  # in the same format
    colours = record.decode_map(tf.constant(stored), tf.constant(unsure.shape), 3, tf.uint8, 0).numpy()
    return map_png.encode(np.where(unsure[..., None], np.uint8(0), colours))
