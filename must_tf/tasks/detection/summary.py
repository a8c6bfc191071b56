"""Objects as the record tools see them: boxes with a class and a score; crowds are ignored."""

from __future__ import annotations

import collections
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from must_tf.label_content import OBJECTS, ImageInfo, LabelContent, Labels, Summary
from must_tf.shared.drawing import name_or_number
from must_tf.spec import TaskConfig
from must_tf.tasks.detection import labels as stored_labels
from must_tf.tasks.detection import rules
from must_tf.tasks.detection.model import FLOOR

ONE_PER_OBJECT = ("classes", "scores", "is_crowd", "area")
SCORED = 100  # objects of a class that COCO's protocol looks at in one image
BEYOND = f"objects beyond {SCORED} of a class in one image: COCO's protocol looks at no more"


def content(labels: Labels, info: ImageInfo, config: TaskConfig) -> LabelContent:
    """One entry per object."""
    del info, config
    is_crowd = np.asarray(labels["is_crowd"], bool)
    ids = np.asarray(labels["classes"], int) - rules.FIRST_ID
    return LabelContent(OBJECTS, ~is_crowd, ids, np.asarray(labels["scores"], np.float32), is_crowd)


def problems(labels: Labels, info: ImageInfo, config: TaskConfig) -> Iterator[tuple[str, str]]:
    """Yields what is wrong with boxes, classes, scores and areas."""
    del info
    wrong = list(of_lengths(labels, ONE_PER_OBJECT))
    if wrong:  # it cannot be said what belongs to which box
        yield from wrong
        return
    for place, box in enumerate(np.asarray(labels["boxes"], np.float64)):
        name = f"object {place}: {np.round(box, 5).tolist()}"
        if not (np.isfinite(box).all() and (box >= 0).all() and (box <= 1).all()):
            yield "box is not inside the image", name
        elif box[0] >= box[2] or box[1] >= box[3]:
            yield "box of zero width or height", name
    for index in np.flatnonzero(np.asarray(labels["classes"]) < 1):
        yield "class id below 1, 0 is the background", f"object {index}: {labels['classes'][index]}"
    count = len(config.classes)
    if count and np.max(labels["classes"], initial=0) > count:
        yield "class id beyond the manifest's classes", f"{np.max(labels['classes'])} of {count}"
    yield from of_scores(np.asarray(labels["scores"]))
    for index in np.flatnonzero(~(np.asarray(labels["area"]) >= 0)):
        yield "area is negative or NaN", f"object {index}: {labels['area'][index]}"


def of_lengths(labels: Labels, keys: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    """Yields the first of these lists whose length differs from the number of boxes."""
    count = len(labels["boxes"])
    for key in keys:
        if len(labels[key]) != count:
            yield f"{key} and boxes differ in number", f"{len(labels[key])} for {count}"
            return


def of_scores(scores: np.ndarray) -> Iterator[tuple[str, str]]:
    """Yields scores [N] outside of 0..1."""
    for index in np.flatnonzero(~((scores >= 0) & (scores <= 1))):
        yield "score is not in 0..1", f"object {index}: {scores[index]}"


def unscored(labels: Labels) -> dict[str, np.ndarray]:
    """Objects after the first `SCORED` of their class, not counting crowds."""
    seen: collections.Counter[int] = collections.Counter()
    beyond = np.zeros(len(labels["boxes"]), bool)
    for place in np.flatnonzero(~np.asarray(labels["is_crowd"], bool)):
        seen[int(labels["classes"][place])] += 1
        beyond[place] = seen[int(labels["classes"][place])] > SCORED
    return {BEYOND: beyond}


def boxes(labels: Labels, info: ImageInfo, config: Any) -> np.ndarray:
    """Returns float32 [N, 4] x0, y0, x1, y1 in pixels, as most tools expect boxes."""
    del config
    size = np.array([info.height, info.width] * 2, np.float32)
    return (np.asarray(labels["boxes"], np.float32).reshape(-1, 4) * size)[:, [1, 0, 3, 2]]


def places(labels: Labels, info: ImageInfo, config: TaskConfig) -> np.ndarray:
    """Returns int32 [N], places in the class names, from 0."""
    del info, config
    return np.asarray(labels["classes"], np.int32) - rules.FIRST_ID


def names(labels: Labels, info: ImageInfo, config: TaskConfig) -> list[str]:
    """Returns the N class names."""
    return [name_or_number(config.classes, place) for place in places(labels, info, config).tolist()]


ARRAYS: dict[str, Callable[[Labels, ImageInfo, Any], Any]] = {
    "boxes": boxes,
    "scores": lambda labels, info, config: np.asarray(labels["scores"], np.float32),
    "classes": places,
    "names": names,
}


def stored(
    features: Mapping[str, tf.train.Feature], info: ImageInfo, config: TaskConfig
) -> Iterator[tuple[str, str, str]]:
    """Yields lists of different lengths, and the first value out of range of each list."""
    del info
    keys = stored_labels
    corners = [keys.corner_key(corner) for corner in keys.CORNERS]
    ids = features[keys.LABEL].int64_list.value if keys.LABEL in features else ()
    for key in corners:
        if (length := len(numbers(features, key))) != len(ids):
            yield "label cannot be read", key, f"{length} values for {len(ids)} class ids"
            return
    for key in (keys.AREA, keys.SCORE):
        yield from of_length(len(numbers(features, key)), len(ids), key)
    yield from of_length(
        len(features[keys.CROWD].int64_list.value) if keys.CROWD in features else 0, len(ids), keys.CROWD
    )
    for key in corners:
        low, high = -keys.TOLERANCE, 1 + keys.TOLERANCE
        yield from out_of_range(numbers(features, key), low, high, key, "box is not inside the image")
    yield from out_of_range(numbers(features, keys.SCORE), 0, 1, keys.SCORE, "score is not in 0..1")
    yield from out_of_range(numbers(features, keys.AREA), -np.inf, np.inf, keys.AREA, "area is negative or NaN")
    for place, one in enumerate(ids):
        if one < rules.FIRST_ID:
            yield "class id below 1, 0 is the background", keys.LABEL, f"object {place}: {one}"
        elif one > (len(config.classes) or keys.MOST_CLASSES):
            yield "label cannot be read", keys.LABEL, f"{one}, class ids must be below {len(config.classes) + 1}"


def numbers(features: Mapping[str, tf.train.Feature], key: str) -> np.ndarray:
    """Returns a key's numbers, float64 [N]; none if it is missing."""
    return np.array(features[key].float_list.value if key in features else (), np.float64)


def of_length(length: int, count: int, key: str) -> Iterator[tuple[str, str, str]]:
    """Yields the problem that an optional list has neither no value nor one per object."""
    if length not in (0, count):
        yield "label cannot be read", key, f"{length} values for {count} objects"


def out_of_range(values: np.ndarray, low: float, high: float, key: str, what: str) -> Iterator[tuple[str, str, str]]:
    """Yields the first value [N] that is NaN, infinite, or out of range."""
    for place in np.flatnonzero(~((values >= low) & (values <= high) & np.isfinite(values)))[:1]:
        yield what, key, f"object {place}: {values[place]:.6g}"


SUMMARY = Summary(
    stored=stored,
    kind="objects",
    content=content,
    problems=problems,
    measure="precision of boxes at IoU 0.5",
    unscored=unscored,
    floor=FLOOR,
    arrays=ARRAYS,
)
