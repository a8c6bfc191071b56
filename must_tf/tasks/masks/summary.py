"""Masks as the record tools see them: detection's objects, of which masks below their own threshold are left out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from must_tf.data import opening
from must_tf.data.geometry import crop_window
from must_tf.label_content import ImageInfo, LabelContent, Labels, Summary
from must_tf.tasks.detection import labels as box_labels
from must_tf.tasks.detection import rules
from must_tf.tasks.detection import summary as objects
from must_tf.tasks.detection.model import FLOOR
from must_tf.tasks.masks import labels as mask_labels
from must_tf.tasks.masks.config import Config

EMPTY_MASK = "masks without a pixel: nothing can overlap them"


def content(labels: Labels, info: ImageInfo, config: Config) -> LabelContent:
    """One entry per object; those without a mask are neither present nor ignored."""
    content, known = objects.content(labels, info, config), mask_labels.has_mask(labels)
    ignored = None if content.ignored is None else content.ignored & known
    eligible = mask_labels.is_sure(labels, config)
    return content._replace(present=content.present & known, ignored=ignored, eligible=eligible)


def problems(labels: Labels, info: ImageInfo, config: Config) -> Iterator[tuple[str, str]]:
    """Yields what is wrong with the objects and their masks."""
    wrong = list(objects.of_lengths(labels, (*objects.ONE_PER_OBJECT, *mask_labels.OWN)))
    if wrong:  # it cannot be said which mask belongs to which box
        yield from wrong
        return
    yield from objects.problems(labels, info, config)
    known = mask_labels.has_mask(labels)
    yield from objects.of_scores(np.where(known, labels["mask_scores"], 1.0))
    yield from of_crops(labels, info)
    for place in np.flatnonzero(~known):
        if labels["crops"][place].any():
            yield "pixels of an object that has no mask by its score", f"object {place}"


def of_crops(labels: Labels, info: ImageInfo) -> Iterator[tuple[str, str]]:
    """Yields masks that differ from their box in size."""
    for place, (crop, box) in enumerate(zip(labels["crops"], labels["boxes"], strict=False)):
        if not np.isfinite(box).all():
            continue  # a problem of the box
        top, left, bottom, right = crop_window(box, info.height, info.width)
        if crop.shape != (bottom - top, right - left):
            size = f"{crop.shape[1]}x{crop.shape[0]} for {right - left}x{bottom - top}"
            yield "mask and box differ in size", f"object {place}: {size}"


def add(labels: Labels, config: Config) -> dict[str, Any]:
    """Returns the number of objects whose box is above the threshold, and of those whose mask is not."""
    boxes = np.asarray(rules.believed(labels, config)) & mask_labels.has_mask(labels)
    return {"boxes": int(boxes.sum()), "hollow": int((boxes & ~mask_labels.is_sure(labels, config)).sum())}


def figures(sums: Mapping[str, Any], images: int) -> dict[str, Any]:
    """Returns the share of masks below their threshold, among objects whose box is above its own."""
    del images
    return {"hollow": sums["hollow"] / max(1, sums["boxes"])}


def unscored(labels: Labels) -> dict[str, np.ndarray]:
    """Detection's, and masks without a pixel."""
    empty = np.array([not crop.any() for crop in labels["crops"]], bool)
    return objects.unscored(labels) | {EMPTY_MASK: empty & mask_labels.has_mask(labels)}


def stored(features: Mapping[str, tf.train.Feature], info: ImageInfo, config: Config) -> Iterator[tuple[str, str, str]]:
    """Yields detection's faults, and masks whose number, scores or sizes do not fit the boxes."""
    faults = list(objects.stored(features, info, config))
    if faults:
        yield from faults
        return
    crops = features[mask_labels.CROP].bytes_list.value if mask_labels.CROP in features else ()
    corners = [objects.numbers(features, box_labels.corner_key(corner)) for corner in box_labels.CORNERS]
    boxes, scores = np.stack(corners, -1), objects.numbers(features, mask_labels.MASK_SCORE)
    yield from objects.of_length(len(crops), len(boxes), mask_labels.CROP)
    yield from objects.of_length(len(scores), len(boxes), mask_labels.MASK_SCORE)
    known = np.where(scores == mask_labels.NO_MASK, 1.0, scores)
    yield from objects.out_of_range(known, 0, 1, mask_labels.MASK_SCORE, "score is not in 0..1")
    for place, (crop, box) in enumerate(zip(crops, boxes, strict=False)):
        yield from _of_crop(crop, box, info, place)


def _of_crop(crop: bytes, box: np.ndarray, info: ImageInfo, place: int) -> Iterator[tuple[str, str, str]]:
    top, left, bottom, right = crop_window(box, info.height, info.width)
    size = opening.png_size(crop)
    if size is None or not opening.is_whole_png(crop):
        yield "label cannot be read", mask_labels.CROP, f"object {place}: not a whole PNG"
    elif size != (bottom - top, right - left):
        sizes = f"{size[1]}x{size[0]} for {right - left}x{bottom - top}"
        yield "mask and box differ in size", mask_labels.CROP, f"object {place}: {sizes}"


SUMMARY = Summary(
    stored=stored,
    kind="masks",
    content=content,
    problems=problems,
    add=add,
    figures=figures,
    measure="precision of masks at IoU 0.5",
    unscored=unscored,
    floor=FLOOR,
    arrays=objects.ARRAYS | {"masks": lambda labels, info, config: mask_labels.paste(labels, info.height, info.width)},
)
