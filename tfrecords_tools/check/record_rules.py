"""What can be wrong with one record, in words: each rule yields (what, where in the record)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

import cv2
import numpy as np
import tensorflow as tf

from must_tf.common.errors import UserError
from must_tf.data import record
from must_tf.data.geometry import crop_window
from must_tf.data.record import Labelled
from must_tf.spec import ImageInfo, Labels, TaskSpec
from must_tf.tasks.masks import labels as masks
from tfrecords_tools.reading import label_summary

Fault = tuple[str, str]  # what, and where in the record
UNIT = 1e-3  # by how much a sum of probabilities or a vector's length may miss 1: they are stored in few bits
ONE_PER_OBJECT = ("classes", "scores", "is_crowd", "area", *masks.OWN)
SURE = ("scores", "mask_scores")  # 1 when real


def of_image(example: tf.train.Example, info: ImageInfo) -> Iterator[Fault]:
    """The image's own keys: it decodes, and is what its record says."""
    feature = example.features.feature
    encoded = feature["image/encoded"].bytes_list.value
    if not encoded:
        yield "no image", ""
        return
    if not info.source_id:
        yield "no source_id", ""
    try:
        said, found = _text(feature, "image/format"), record.image_format(encoded[0])
        shape = record.decode_image(tf.constant(encoded[0])).shape
    except (UserError, tf.errors.InvalidArgumentError) as error:
        yield "image cannot be decoded", str(getattr(error, "message", error)).splitlines()[0][:120]
        return
    if tuple(shape[:2]) != (info.height, info.width):
        yield "size is not the image's", f"{info.width}x{info.height}, decoded {shape[1]}x{shape[0]}"
    if said and {"jpg": "jpeg"}.get(said, said) != found:
        yield "image/format is not the image's", f"{said}, is {found}"
    sha256 = _text(feature, "image/key/sha256")
    if sha256 and sha256 != hashlib.sha256(encoded[0]).hexdigest():
        yield "image changed since it was written", "image/key/sha256 differs"


def _text(feature: Any, key: str) -> str:
    # `in` first: looking a missing key up would make it.
    values = feature[key].bytes_list.value if key in feature else ()
    return values[0].decode() if values else ""


def of_origins(example: tf.train.Example, specs: Mapping[str, TaskSpec], configs: Mapping[str, Any]) -> Iterator[Fault]:
    """Who labelled it is said in words that training knows, and of every label there is."""
    origins = record.origins_of(example)
    for task, origin in origins.items():
        if task not in specs:
            yield f"{task}: no such task is installed", origin
        if not origin.startswith(("real:", "pseudo:")):
            yield f"{task}: origin is neither real:<dataset> nor pseudo:<teacher>", repr(origin)
    for task, spec in specs.items():
        shared = {key for need in spec.needs for key in specs[need].features(configs[need])}
        own = sorted(
            key for key in spec.features(configs[task]) if key not in shared and key in example.features.feature
        )
        if own and task not in origins:
            yield f"{task}: labels without an origin are not seen by training", own[0]


def read(
    serialized: bytes, specs: Mapping[str, TaskSpec], configs: Mapping[str, Any]
) -> tuple[dict[str, Labelled], list[Fault]]:
    """The labels that can be read, and why others cannot."""
    try:
        return record.read_labels(serialized, specs, configs), []
    except Exception:  # which task it is, one by one
        labelled: dict[str, Labelled] = {}
        faults = []
        for task, config in configs.items():
            try:
                labelled |= record.read_labels(serialized, specs, {task: config})
            except Exception as error:  # TensorFlow and NumPy raise whatever a broken label leads them to
                message = str(getattr(error, "message", error)).strip().splitlines() or [type(error).__name__]
                faults.append((f"{task}: label cannot be read", message[0][:160]))
        return labelled, faults


def of_labels(
    labelled: Mapping[str, Labelled], info: ImageInfo, specs: Mapping[str, TaskSpec], configs: Mapping[str, Any]
) -> Iterator[Fault]:
    """Every label has the shapes and ranges that its task's convention says."""
    for task, (labels, origin, _) in labelled.items():
        for what, where in _of_label(labels, info, len(configs[task].classes)):
            yield f"{task}: {what}", where
        for key in SURE:
            if origin.startswith("real:") and np.any(np.asarray(labels.get(key, 1.0)) != 1.0):
                yield f"{task}: a real label with a score below 1", f"{key} {np.min(labels[key]):.3f}"
        for need in specs[task].needs:
            shared = labelled[need].labels if need in labelled else {}
            if len(shared.get("boxes", ())) != len(labels.get("boxes", ())):
                yield (
                    f"{task}: not one for every object of {need}",
                    f"{len(labels['boxes'])} for {len(shared.get('boxes', ()))}",
                )


def _of_label(labels: Labels, info: ImageInfo, classes: int) -> Iterator[Fault]:
    if "boxes" in labels:
        yield from _of_objects(labels, info, classes)
    elif label_summary.is_distribution(labels):
        yield from _of_distribution(np.asarray(labels["probability"]))
    else:
        yield from _of_map(labels, info)


def _of_objects(labels: Labels, info: ImageInfo, classes: int) -> Iterator[Fault]:
    count = len(labels["boxes"])
    for key in (key for key in ONE_PER_OBJECT if key in labels and len(labels[key]) != count):
        yield f"as many {key} as boxes are needed", f"{len(labels[key])} for {count}"
        return  # what belongs to which cannot be told any more
    for place, box in enumerate(np.asarray(labels["boxes"], np.float64)):
        name = f"object {place}: {np.round(box, 5).tolist()}"
        if not (np.isfinite(box).all() and (box >= 0).all() and (box <= 1).all()):
            yield "box is not inside of the image", name
        elif box[0] >= box[2] or box[1] >= box[3]:
            yield "box without an extent", name
    for index in np.flatnonzero(np.asarray(labels["classes"]) < 1):
        yield "class id below 1, 0 is the background", f"object {index}: {labels['classes'][index]}"
    if classes and np.max(labels["classes"], initial=0) > classes:
        yield "class id beyond the manifest's classes", f"{np.max(labels['classes'])} of {classes}"
    for scores in (np.asarray(labels[key]) for key in SURE if key in labels):
        for index in np.flatnonzero(~((scores >= 0) & (scores <= 1))):
            yield "score is not in 0..1", f"object {index}: {scores[index]}"
    for index in np.flatnonzero(~(np.asarray(labels["area"]) >= 0)):
        yield "area is negative or no number", f"object {index}: {labels['area'][index]}"
    yield from _of_crops(labels, info)


def _of_crops(labels: Labels, info: ImageInfo) -> Iterator[Fault]:
    for place, (crop, box) in enumerate(zip(labels.get("crops", ()), labels["boxes"], strict=False)):
        if not np.isfinite(box).all():
            continue  # said already
        top, left, bottom, right = crop_window(box, info.height, info.width)
        if crop.shape != (bottom - top, right - left):
            size = f"{crop.shape[1]}x{crop.shape[0]} for {right - left}x{bottom - top}"
            yield "mask has not the size of its box", f"object {place}: {size}"


def of_full_masks(example: tf.train.Example, labelled: Mapping[str, Labelled], info: ImageInfo) -> Iterator[Fault]:
    """Model Garden's full-image masks, where a record has them too, are the crops in their places."""
    feature = example.features.feature
    if masks.FULL not in feature or "masks" not in labelled:
        return
    labels, stored = labelled["masks"].labels, feature[masks.FULL].bytes_list.value
    if len(stored) != len(labels["crops"]) or any(_of_crops(labels, info)):
        yield "masks: not as many full masks as crops that fit", f"{len(stored)} for {len(labels['crops'])}"
        return
    for place, (png, mask) in enumerate(zip(stored, masks.paste(labels, info.height, info.width), strict=True)):
        full = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_GRAYSCALE)
        if full is None or not np.array_equal(full > 0, mask):
            yield "masks: the full mask is not the crop's", f"object {place}"


def _of_distribution(probability: np.ndarray) -> Iterator[Fault]:
    if probability.size and (
        not np.isfinite(probability).all() or (probability < 0).any() or abs(probability.sum() - 1) > UNIT
    ):
        yield "probabilities are not 0..1 with sum 1", f"sum {probability.sum():.4f}"


def _of_map(labels: Labels, info: ImageInfo) -> Iterator[Fault]:
    for key, values in labels.items():
        if np.ndim(values) > 1 and np.shape(values)[:2] != (info.height, info.width):
            yield "map has not the image's size", f"{key} {np.shape(values)[:2]} for {(info.height, info.width)}"
            return
    values = label_summary.map_of(labels, info)
    if values is None:
        return  # a task of another kind
    if not np.isfinite(values).all():
        yield "values that are no numbers", f"{int((~np.isfinite(values)).sum())}"
    elif values.ndim == 2 and np.min(values, initial=0) < 0:
        yield "values below 0", f"{np.min(values)}"
    if values.ndim == 3 and values.shape[2] == 3:
        lengths = np.linalg.norm(values[label_summary.known_pixels(labels, values)].astype(np.float64), axis=-1)
        if (np.abs(lengths - 1) > UNIT).any():
            yield "vectors that have not length 1", f"{np.abs(lengths - 1).max():.4f} off"
