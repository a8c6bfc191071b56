"""Says which features of TensorFlow Datasets can be labels of a task, what their boxes mean, and which are not used."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

import numpy as np

from must_tf.common.errors import UserError

WHOLE, NUMBERS = "iub", "iubf"  # kinds of types
# {task: (needed, numbers of axes, kinds of types)}
NEEDED = {
    "image": ("an Image of 8 or 16 bits", (3,), "u"),
    "classification": ("one whole number per image", (0,), WHOLE),
    "segmentation": ("a map of whole numbers", (2, 3), WHOLE),
    "depth": ("a map of numbers", (2, 3), NUMBERS),
    "normals": ("a map of three numbers per pixel", (3,), NUMBERS),
}
CHANNELS = {"segmentation": 1, "depth": 1, "normals": 3}  # if a map has three axes
BOX, LABEL, AREA = "bbox", "label", "area"
# Flags of objects that are neither learned nor counted as wrong. -1 means unknown.
CROWDS = ("is_crowd", "iscrowd", "is_difficult", "difficult", "is_group_of")
UNDECLARED = "object: boxes of no declared form, read as y0, x0, y1, x1 in 0..1"
# {form: (places of y0, x0, y1, x1 among the numbers, in 0..1)}
FORMS = {
    "REL_YXYX": ((0, 1, 2, 3), True),
    "REL_XYXY": ((1, 0, 3, 2), True),
    "YXYX": ((0, 1, 2, 3), False),
    "XYXY": ((1, 0, 3, 2), False),
    "XYWH": ((1, 0, 3, 2), False),
}
USUAL, SIZES = "REL_YXYX", "XYWH"


def require(task: str, path: str, feature: Any) -> None:
    """Raises UserError unless a feature can be the image, or the labels of a task.

    Args:
      task: "image" or the task.
      path: of the feature.
      feature: TFDS' object.
    """
    from tensorflow_datasets import features

    if task == "detection":
        _require_objects(path, feature)
        return
    needed, axes, kinds = NEEDED[task]
    shape = feature.shape
    fits = isinstance(shape, tuple) and len(shape) in axes and np.dtype(feature.np_dtype).kind in kinds
    if fits and len(shape) == 3 and task in CHANNELS:
        fits = shape[-1] in (CHANNELS[task], None)
    if fits and task == "image":
        fits = isinstance(feature, features.Image)
    if not fits:
        raise UserError(f"--map {task}={path}: {needed} is needed, but the feature is {described(feature)}.")
    if task == "segmentation" and getattr(feature, "encoding_format", None) == "jpeg":
        raise UserError(f"--map {task}={path}: the maps are JPEGs, which change the ids. Prepare them as PNG.")


def described(feature: Any) -> str:
    """Returns the class of a feature, and its type and shape if it is an array."""
    if not isinstance(feature.shape, tuple):
        return type(feature).__name__
    return f"{type(feature).__name__} of {np.dtype(feature.np_dtype)} {list(feature.shape)}"


def _require_objects(path: str, feature: Any) -> None:
    from tensorflow_datasets import features

    inner = getattr(feature, "feature", feature)
    known = list(inner.keys()) if hasattr(inner, "keys") else []
    is_list = isinstance(feature, features.Sequence) and not isinstance(feature, features.Dataset)
    if not is_list or BOX not in known or LABEL not in known:
        shown = f"{type(feature).__name__} of {known}" if known else type(feature).__name__
        raise UserError(
            f"--map detection={path}: the feature must be a sequence of dicts with bbox and label, but is {shown}."
        )
    if inner[LABEL].shape != () or np.dtype(inner[LABEL].np_dtype).kind not in WHOLE:
        raise UserError(
            f"--map detection={path}: its label must be a whole number, but is {type(inner[LABEL]).__name__}."
        )


def box_form(feature: Any) -> str:
    """Returns the form of a sequence's boxes, one of `FORMS`; empty if it is not declared, as in older datasets."""
    form = getattr(feature.feature[BOX], "bbox_format", None)
    return str(getattr(form, "value", form) or "")


def corners(numbers: np.ndarray, form: str) -> tuple[list[float], bool]:
    """Returns y0, x0, y1, x1 of a box, and True if they are shares of the image's sides.

    Args:
      numbers: the four numbers of the feature.
      form: one of `FORMS`, or empty for the usual one.
    """
    places, shares = FORMS[form or USUAL]
    values = np.asarray(numbers, np.float64)
    if form == SIZES:
        values = np.concatenate([values[:2], values[:2] + values[2:]])
    return values[list(places)].tolist(), shares


def is_image(feature: Any) -> bool:
    """Returns True for features that are stored as the bytes of an image file."""
    from tensorflow_datasets import features

    return isinstance(feature, features.Image)


def unused(features: Any, used: Collection[str], prefix: str = "") -> Iterator[str]:
    """Yields the paths of the features that are not in `used`, without those inside of one that is."""
    for key in sorted(features):
        path, inner = f"{prefix}{key}", getattr(features[key], "feature", features[key])
        if path in used:
            continue
        if hasattr(inner, "keys") and any(name.startswith(f"{path}/") for name in used):
            yield from unused(inner, used, f"{path}/")
        else:
            yield path


def used_of_objects(path: str) -> Iterator[str]:
    """Yields the paths of the features of objects that are read, if there are any of them."""
    for key in (BOX, LABEL, AREA, *CROWDS):
        yield f"{path}/{key}"
