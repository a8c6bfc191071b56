"""Rules for one record; each yields (problem, where in the record)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

import cv2
import numpy as np
import tensorflow as tf

from must_tf.common.errors import UserError
from must_tf.data import label_reader, opening, record
from must_tf.data.record import Labelled
from must_tf.spec import ImageInfo, TaskSpec
from must_tf.tasks.masks import labels as masks
from must_tf.tasks.masks.summary import of_crops

Fault = tuple[str, str]  # problem, where in the record
PLAIN = 64  # pixels; a smaller image may well have one colour


def of_image(example: tf.train.Example, info: ImageInfo) -> Iterator[Fault]:
    """Checks the image's own keys: it can be decoded and matches what the record says about it."""
    feature, faults = example.features.feature, list(opening.of_image(example))
    if not info.source_id:
        yield "no source_id", ""
    if faults:
        yield faults[0].what, faults[0].place
        return
    encoded = opening.image_of(example)
    try:
        stated, actual = opening.text(feature, "image/format"), record.image_format(encoded)
        pixels = record.decode_image(tf.constant(encoded)).numpy()
    except (UserError, tf.errors.InvalidArgumentError) as error:
        yield "image cannot be decoded", str(getattr(error, "message", error)).splitlines()[0][:120]
        return
    if pixels.shape[0] * pixels.shape[1] >= PLAIN and (pixels == pixels[0, 0]).all():
        yield "image: all pixels have one colour", f"{pixels[0, 0].tolist()}"
    if stated and {"jpg": "jpeg"}.get(stated, stated) != actual:
        yield "image/format is not the image's", f"{stated}, is {actual}"
    sha256 = opening.text(feature, "image/key/sha256")
    if sha256 and sha256 != hashlib.sha256(encoded).hexdigest():
        yield "image changed since it was written", "image/key/sha256 differs"


def of_origins(example: tf.train.Example, specs: Mapping[str, TaskSpec], configs: Mapping[str, Any]) -> Iterator[Fault]:
    """Checks that every label has an origin that training understands."""
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


def groups(info: ImageInfo, specs: Mapping[str, TaskSpec], configs: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Returns the configs of the tasks that are checked together: all, but one by one for a large image.

    Tasks that share objects stay together.
    """
    if info.height * info.width <= label_reader.LARGE:
        return [dict(configs)]
    linked = {name for task in configs for name in (task, *specs[task].needs) if specs[task].needs}
    alone = [{task: config} for task, config in configs.items() if task not in linked]
    together = {task: config for task, config in configs.items() if task in linked}
    return [*alone, together] if together else alone


def read(
    serialized: bytes, specs: Mapping[str, TaskSpec], configs: Mapping[str, Any]
) -> tuple[dict[str, Labelled], list[Fault]]:
    """Returns the labels that can be read, and a fault for each of the others."""
    example = opening.parsed(serialized)
    if any(opening.of_image(example)):  # a fault of the image, which `of_image` reports
        return {}, []
    found = [*opening.of_tasks(example, specs, configs)]
    faults = [(fault.what, fault.place) for fault in found]
    labelled, more = _decoded(serialized, specs, opening.readable(found, configs, specs))
    return labelled, faults + more


def _decoded(
    serialized: bytes, specs: Mapping[str, TaskSpec], configs: Mapping[str, Any]
) -> tuple[dict[str, Labelled], list[Fault]]:
    try:
        return record.read_labels(serialized, specs, configs), []
    except Exception:  # read task by task to find which one fails
        labelled: dict[str, Labelled] = {}
        faults = []
        for task, config in configs.items():
            try:
                labelled |= record.read_labels(serialized, specs, {task: config})
            except Exception as error:  # broken labels make TensorFlow and NumPy raise all kinds of errors
                message = str(getattr(error, "message", error)).strip().splitlines() or [type(error).__name__]
                faults.append((f"{task}: label cannot be read", message[0][:160]))
        return labelled, faults


def of_labels(
    labelled: Mapping[str, Labelled], info: ImageInfo, specs: Mapping[str, TaskSpec], configs: Mapping[str, Any]
) -> Iterator[Fault]:
    """Checks the shapes and ranges of every label, by the rules of its task."""
    for task, (labels, origin, _) in labelled.items():
        for what, where in specs[task].summary.problems(labels, info, configs[task]):
            yield f"{task}: {what}", where
        for key in (key for key in labels if key == "scores" or key.endswith("_scores")):
            scores = np.asarray(labels[key])
            scores = scores[scores != masks.NO_MASK]
            if origin.startswith("real:") and np.any(scores != 1.0):
                yield f"{task}: a real label with a score below 1", f"{key} {np.min(scores):.3f}"
        for need in specs[task].needs if "boxes" in labels else ():
            needed = labelled[need].labels if need in labelled else {}
            count, expected = len(labels["boxes"]), len(needed.get("boxes", ()))
            if count != expected:
                yield f"{task}: number of objects differs from {need}", f"{count} for {expected}"


def of_full_masks(example: tf.train.Example, labelled: Mapping[str, Labelled], info: ImageInfo) -> Iterator[Fault]:
    """Checks that Model Garden's full-image masks, if the record has them, equal the crops."""
    feature = example.features.feature
    if masks.FULL not in feature or "masks" not in labelled:
        return
    labels, stored = labelled["masks"].labels, feature[masks.FULL].bytes_list.value
    if len(stored) != len(labels["crops"]) or any(of_crops(labels, info)):
        yield "masks: full masks and crops differ in number or size", f"{len(stored)} for {len(labels['crops'])}"
        return
    known = masks.has_mask(labels)
    for place, (png, mask) in enumerate(zip(stored, masks.paste(labels, info.height, info.width), strict=True)):
        full = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_GRAYSCALE)
        if full is None or (known[place] and not np.array_equal(full > 0, mask)):
            yield "masks: the full mask is not the crop's", f"object {place}"
