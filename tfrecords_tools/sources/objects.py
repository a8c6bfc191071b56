"""Objects of one image before they become labels: what the sources with boxes and masks share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from must_tf.data import geometry
from must_tf.spec import ImageInfo, Labels
from must_tf.tasks.masks import labels as masks
from tfrecords_tools.writing.counts import Account, Dropped

CLIPPED = 0.01  # pixels over the border that are worth a note; tools round by less
LOST = 0.05  # share of a mask outside of its box that is worth a note; boxes are rounded, masks are not


class ObjectLabel(NamedTuple):
    """One object, in the units of `tasks.masks`."""

    box: np.ndarray  # [4] float32 normalised
    class_id: int
    is_crowd: bool
    area: float
    crop: np.ndarray  # uint8 [ch, cw]


class ObjectNotes(NamedTuple):
    """ObjectNotes of one object."""

    account: Account
    name: str

    def add(self, reason: str, what: Any) -> None:
        """One more note of `reason`; `what` is shown with the object's name."""
        self.account.notes.add(reason, f"{self.name}: {what}")


def labels_of(things: Sequence[ObjectLabel]) -> Labels:
    """The labels of `masks`; detection's are the same without the crops."""
    return {
        "boxes": np.array([thing.box for thing in things], np.float32).reshape(-1, 4),
        "classes": np.array([thing.class_id for thing in things], np.int32),
        "scores": np.ones([len(things)], np.float32),
        "is_crowd": np.array([thing.is_crowd for thing in things], bool),
        "area": np.array([thing.area for thing in things], np.float32),
        "crops": [thing.crop for thing in things],
        "mask_scores": np.ones([len(things)], np.float32),
    }


def boxes_of(labels: Labels) -> Labels:
    """Detection's part of the labels of `masks`."""
    return {key: value for key, value in labels.items() if key not in masks.OWN}


def normalised(corners: np.ndarray, info: ImageInfo) -> np.ndarray:
    """Pixels [..., 4] -> float32 0..1."""
    size = np.array([info.height, info.width] * 2)
    return np.clip(corners / size, 0.0, 1.0).astype(np.float32)


def checked(corners: Sequence[float], info: ImageInfo, notes: ObjectNotes) -> np.ndarray:
    """The box y0, x0, y1, x1 in pixels, cut to the image.

    Raises:
      Dropped: a side is zero or negative or no number, or nothing of it lies in the image.
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
    """The mask [h, w] over the pixels that the normalised box touches; all ones where there is none."""
    if mask is None:
        top, left, bottom, right = geometry.crop_window(box, info.height, info.width)
        return np.ones([bottom - top, right - left], np.uint8)
    return checked_crop(masks.cut(mask, box), int(np.count_nonzero(mask)), notes)


def checked_crop(crop: np.ndarray, area: int, notes: ObjectNotes) -> np.ndarray:
    """The crop uint8 [ch, cw] of a mask of `area` pixels; all ones where nothing of it is in its box."""
    left_over = np.count_nonzero(crop.view(bool))  # several times as fast as a sum of bytes
    if not left_over:
        notes.add("object: mask is outside of its box, box used", f"{area} pixels")
        return np.ones_like(crop)
    if left_over < area * (1 - LOST):
        notes.add("object: mask cut to its box", f"{area - left_over} of {area} pixels lost")
    return crop
