"""Objects of one image before they become labels, shared by all sources with boxes and masks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from must_tf.data import geometry
from must_tf.spec import ImageInfo, Labels
from must_tf.tasks.masks import labels as masks
from tfrecords_tools.writing.counts import Account, Dropped

CLIPPED = 0.01  # smallest overhang in pixels that is noted; rounding by annotation tools stays below
BEYOND = 2.0  # shares of the image's side that a box which is cut to the image may reach
LOST = 0.05  # smallest share of a mask outside its box that is noted; boxes are rounded, masks are not


# Values of flags like `iscrowd` and `difficult`, as files have them.
SET, NOT_SET = ("1", "true", "1.0"), ("0", "false", "0.0", "none")


class ObjectLabel(NamedTuple):
    """One object, in the units of `tasks.masks`."""

    box: np.ndarray  # [4] float32 normalised
    class_id: int
    is_crowd: bool
    area: float
    crop: np.ndarray  # uint8 [ch, cw]; without a pixel if the object has no mask


class ObjectNotes(NamedTuple):
    """Notes about one object or image.

    Attributes:
      account: where they are counted.
      name: of the object or image, shown with each example.
    """

    account: Account
    name: str

    def add(self, reason: str, detail: Any) -> None:
        """Counts a note; its example is the object's name and `detail`."""
        self.account.notes.add(reason, f"{self.name}: {detail}")


def is_set(value: Any, key: str, notes: ObjectNotes) -> bool:
    """Returns the value of a flag. Only 1 and true are True; a value that is not clear is noted."""
    if type(value) is int and value in (0, 1):  # nearly always
        return value == 1
    text = str(value).strip().lower()
    if text not in (*SET, *NOT_SET):
        notes.add(f"object: {key} is neither 0 nor 1, taken as 0", repr(value))
    return text in SET


def labels_of(objects: Sequence[ObjectLabel]) -> Labels:
    """Collects the labels of `masks`; those of detection are the same without the crops."""
    known = np.array([label.crop.any() for label in objects], bool)
    return {
        "boxes": np.array([label.box for label in objects], np.float32).reshape(-1, 4),
        "classes": np.array([label.class_id for label in objects], np.int32),
        "scores": np.ones([len(objects)], np.float32),
        "is_crowd": np.array([label.is_crowd for label in objects], bool),
        "area": np.array([label.area for label in objects], np.float32),
        "crops": [label.crop for label in objects],
        "mask_scores": np.where(known, 1.0, masks.NO_MASK).astype(np.float32),
    }


def note_repeated(object_labels: Sequence[ObjectLabel], notes: ObjectNotes) -> None:
    """Notes objects with the class, box and mask of another one. They stay: some datasets mean them."""
    seen: dict[tuple[int, bytes], np.ndarray] = {}
    for label in object_labels:
        crop = seen.setdefault((label.class_id, label.box.tobytes()), label.crop)
        if crop is not label.crop and np.array_equal(crop, label.crop):
            notes.add("object: the same class and box as another one", label.box.tolist())


def any_mask(labels: Labels) -> bool:
    """Returns True if labels of `masks` have a mask, or no object. Else the image is unlabelled for masks."""
    return not len(labels["boxes"]) or bool(masks.has_mask(labels).any())


def area_of(crop: np.ndarray) -> float:
    """Returns the pixels of a mask, or those of the box if the object has no mask."""
    return float(np.count_nonzero(crop) or crop.size)


def boxes_of(labels: Labels) -> Labels:
    """Returns the part of the labels of `masks` that detection has."""
    return {key: value for key, value in labels.items() if key not in masks.OWN}


def normalised(corners: np.ndarray, info: ImageInfo) -> np.ndarray:
    """Converts pixels [..., 4] to float32 in 0..1."""
    size = np.array([info.height, info.width] * 2)
    return np.clip(corners / size, 0.0, 1.0).astype(np.float32)


def from_shares(shares: Sequence[float], info: ImageInfo) -> list[float]:
    """Converts a box y0, x0, y1, x1 in 0..1 to pixels.

    Raises:
      Dropped: it reaches so far beyond the image that it can only be in pixels already.
    """
    farthest = max(map(abs, shares))
    if BEYOND < farthest < math.inf:
        raise Dropped("object: box is in pixels instead of 0..1", f"up to {farthest:g}")
    return [share * side for share, side in zip(shares, (info.height, info.width) * 2, strict=True)]


def checked(corners: Sequence[float], info: ImageInfo, notes: ObjectNotes) -> np.ndarray:
    """Clips a box [y0, x0, y1, x1] in pixels to the image.

    Raises:
      Dropped: a side is zero, negative or not finite, or the box is outside the image.
    """
    box = np.array(corners, np.float64)
    if not np.isfinite(box).all():
        raise Dropped("object: box is not four numbers", f"{box.tolist()}")
    sides = box[2:] - box[:2]
    if (sides < 0).any():
        raise Dropped("object: box has a negative side", f"y0, x0, y1, x1 {box.tolist()}")
    if (sides == 0).any():
        raise Dropped("object: box has no area", f"y0, x0, y1, x1 {box.tolist()}")
    inside = np.clip(box, 0.0, np.array([info.height, info.width] * 2, np.float64))
    if (inside[2:] <= inside[:2]).any():
        raise Dropped("object: box is outside of the image", f"{box.tolist()}")
    if np.abs(inside - box).max() > CLIPPED:
        notes.add("object: box cut to the image", box.tolist())
    return inside


def crop_of(mask: np.ndarray | None, box: np.ndarray, info: ImageInfo, notes: ObjectNotes) -> np.ndarray:
    """Cuts a mask [h, w] to the pixels that the normalised box touches; all zeros without a mask."""
    if mask is None:
        top, left, bottom, right = geometry.crop_window(box, info.height, info.width)
        return np.zeros([bottom - top, right - left], np.uint8)
    return checked_crop(masks.cut(mask, box), int(np.count_nonzero(mask)), notes)


def checked_crop(crop: np.ndarray, area: int, notes: ObjectNotes) -> np.ndarray:
    """Returns the crop uint8 [ch, cw] of a mask with `area` pixels, and notes those that lie outside of its box."""
    kept = np.count_nonzero(crop.view(bool))  # several times as fast as a sum of bytes
    if not kept:
        notes.add("object: mask is outside of its box, box only", f"{area} pixels")
    elif kept < area * (1 - LOST):
        notes.add("object: mask cut to its box", f"{area - kept} of {area} pixels lost")
    return crop
