"""One record's labels in the formats that others read: COCO's JSON entries, panoptic colours, depth PNGs.

Everything that a record stores comes back from these as it was, but for what is added to `lost`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import cv2
import numpy as np
from pycocotools import mask as mask_utils

from must_tf.data.record import Labelled
from must_tf.spec import ImageInfo, Labels
from must_tf.tasks.masks.labels import paste
from must_tf.tasks.segmentation.labels import IGNORE
from tfrecords_tools.writing.counts import Tally

Entry = dict[str, Any]
DIGITS = range(2, 12)  # behind the point; COCO's own boxes have two
FARTHEST = 65535  # millimetres in 16 bits
PARTIAL = "not all classes were looked for, which no format says"
RELATIVE = "depth: relative, the PNGs hold millimetres; left out"
UNSURE = "object: a teacher's, below --least-score"
UNSURE_PIXELS = "segmentation: pixels of a teacher's, below --least-score"
# How sure a teacher was: the labels themselves are all there.
DOUBTS = (
    "segmentation: confidence of each pixel, of a segment the mean is written",
    "classification: probabilities of other classes than the likeliest",
)


def entries_of(objects: Labels, info: ImageInfo, pseudo: bool) -> list[Entry]:
    """The objects as COCO annotations without ids; masks as compressed RLE, where there are any.

    Args:
      objects: labels of masks, or of detection.
      info: the image.
      pseudo: whether a teacher said so: its scores are written.
    """
    entries = []
    for place, box in enumerate(objects["boxes"]):
        entry: Entry = {
            "category_id": int(objects["classes"][place]),
            "bbox": bbox(box, info.height, info.width),
            "area": shortest(objects["area"][place]),
            "iscrowd": int(objects["is_crowd"][place]),
        }
        if "crops" in objects:
            entry["segmentation"] = _rle(objects, place, info)
        if pseudo:
            entry["score"] = shortest(objects["scores"][place])
            if "mask_scores" in objects:
                entry["mask_score"] = shortest(objects["mask_scores"][place])
        entries.append(entry)
    return entries


def bbox(box: np.ndarray, height: int, width: int) -> list[float]:
    """A normalised float32 box -> [x, y, width, height] in pixels, in as few digits as give the same box again."""
    size = np.array([height, width] * 2)
    y0, x0, y1, x1 = np.asarray(box, np.float64) * size
    for digits in DIGITS:
        x, y, w, h = (round(float(value), digits) for value in (x0, y0, x1 - x0, y1 - y0))
        again = np.clip(np.array([y, x, y + h, x + w]) / size, 0.0, 1.0).astype(np.float32)
        if np.array_equal(again, box):
            return [x, y, w, h]
    return [float(value) for value in (x0, y0, x1 - x0, y1 - y0)]


def shortest(value: Any) -> float:
    """A float32 as the decimal of fewest digits that is the same float32."""
    return float(str(np.float32(value)))


def _rle(objects: Labels, place: int, info: ImageInfo) -> Entry:
    one = {"boxes": objects["boxes"][place : place + 1], "crops": objects["crops"][place : place + 1]}
    rle = mask_utils.encode(np.asfortranarray(paste(one, info.height, info.width)[0].astype(np.uint8)))
    return {"size": list(rle["size"]), "counts": rle["counts"].decode()}


def count_lost(labelled: Mapping[str, Labelled], classes: Mapping[str, Sequence[str]], lost: Tally, name: str) -> None:
    """Adds to `lost` what no format has a place for, whatever the values."""
    for task, one in labelled.items():
        if one.annotated is not None and len(one.annotated) != len(classes.get(task, ())):
            lost.add(f"{task}: {PARTIAL}", f"{name}: {len(one.annotated)} of {len(classes.get(task, ()))}")
    found = {task: one.labels for task, one in labelled.items()}
    if "depth" in found and is_relative(found["depth"]):
        lost.add(RELATIVE, name)
    for task, key, reason in zip(
        ("segmentation", "classification"), ("confidence", "probability"), DOUBTS, strict=True
    ):
        values = found[task][key] if task in found else np.zeros(0)
        if ((values > 0) & (values < 1)).any():
            lost.add(reason, name)


def is_relative(depth_labels: Labels) -> bool:
    """Whether it is inverse depth up to scale and shift, of which nobody knows the metres."""
    return bool(np.any(depth_labels["inverse_depth"]))


def panoptic(labels: Labels, pseudo: bool) -> tuple[bytes, list[Entry]]:
    """Class ids per pixel as a panoptic PNG, one segment a class: its id is the category's; 0 is no segment.

    Returns:
      The PNG, R + 256 G + 256^2 B = segment id, and its `segments_info`.
    """
    classes = labels["classes"]
    ids = np.where(classes == IGNORE, 0, classes + 1).astype(np.uint8)
    blank = np.zeros_like(ids)
    segments = []
    for number in np.unique(ids[ids > 0]).tolist():
        where = ids == number
        x, y, width, height = cv2.boundingRect(where.astype(np.uint8))
        entry: Entry = {"id": number, "category_id": number, "area": int(where.sum()), "bbox": [x, y, width, height]}
        entry["iscrowd"] = 0
        if pseudo:
            entry["score"] = round(float(labels["confidence"][where].mean()), 4)
        segments.append(entry)
    return png(np.stack([ids, blank, blank], -1)), segments


def depth(labels: Labels, lost: Tally, name: str) -> bytes:
    """Metres as 16-bit PNG in millimetres, 0 = unknown; what is farther than 65.535 m becomes unknown."""
    millimetres = np.rint(labels["metres"].astype(np.float64) * 1000)
    too_far = millimetres > FARTHEST
    if too_far.any():
        lost.add("depth: farther than 65.535 m, now unknown", f"{name}: {int(too_far.sum())} pixels")
    return png(np.where(too_far, 0, millimetres).astype(np.uint16))


def png(values: np.ndarray) -> bytes:
    """uint8 or uint16 [h, w], or RGB uint8 [h, w, 3], as a file."""
    return cv2.imencode(".png", values[..., ::-1] if values.ndim == 3 else values)[1].tobytes()
