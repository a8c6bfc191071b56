"""From sums to the figures of `stats.json`, which `must_tf.pseudo_gate.rules` judges and the table shows.

| figure | of | is |
|---|---|---|
| `kind`, `images` | all | see `Summary`; labelled images |
| `empty`, `low_confidence` | all | shares of them: nothing there; something, but nothing believed |
| `not_finite` | all | images with NaN or infinity |
| `per_image`, `per_image_at_floor` | objects, masks | believed objects an image, and all that were kept |
| `objects_per_image` | objects, masks | {believed objects: images} |
| `hollow` | masks | of objects whose box is believed, the share whose mask is not |
| `classes`, `classes_at_floor` | objects, masks, images, pixels | {name: labels} |
| `scores` | objects, masks, images, pixels | labels by score, ten bins from 0 to 1 |
| `confidence` | images | mean probability of the likeliest class |
| `valid` | pixels, depth, normals | share of pixels that say something that is believed |
| `flat` | depth, normals | share of images that say the same everywhere |
| `relative`, `metres` | depth | images without metres; percentiles p1, p50, p99 of the others' pixels |
| `direction` | normals | mean [x, y, z] |
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from must_tf.label_content import IMAGES, OBJECTS, PIXELS
from must_tf.spec import TaskSpec
from tfrecords_tools.reading import label_summary
from tfrecords_tools.stats.sums import Sums


def of(sums: Sums, task: TaskSpec, names: Sequence[str]) -> dict[str, Any]:
    """Returns the metrics of one task's labels; `names` are its classes."""
    images = max(1, sums.images)
    found: dict[str, Any] = {
        "kind": sums.kind,
        "images": sums.images,
        "empty": sums.empty / images,
        "low_confidence": sums.unsure / images,
        "not_finite": sums.not_finite,
    }
    if sums.unit == OBJECTS:
        found |= _objects(sums)
    if sums.has_classes:
        found |= _classes(sums, names)
    if sums.unit == PIXELS:
        found["valid"] = sums.valid / max(1, sums.pixels)
    return found | (task.summary.figures(sums.own, images) if sums.own else {})


def _objects(sums: Sums) -> dict[str, Any]:
    images, objects = max(1, sums.images), int(sums.scores.sum())
    return {
        "per_image": int(sums.believed.sum()) / images,
        "per_image_at_floor": objects / images,
        "objects_per_image": {str(number): sums.counts[number] for number in sorted(sums.counts)},
    }


def _classes(sums: Sums, names: Sequence[str]) -> dict[str, Any]:
    found: dict[str, Any] = {
        "classes": dict(zip(names, sums.believed.tolist(), strict=True)),
        "classes_at_floor": dict(zip(names, sums.scores.sum(1).tolist(), strict=True)),
        "scores": sums.scores.sum(0).reshape(label_summary.BINS, -1).sum(1).tolist(),
    }
    if sums.unit == IMAGES and sums.scores.any():
        found["confidence"] = sums.sure / int(sums.scores.sum())
    return found


def of_training(known: Mapping[str, Any], sums: Sums) -> dict[str, Any]:
    """What a manifest tells of the records that a teacher was trained on, in the same terms; empty where it is nothing.

    Args:
      known: {"images", "objects", "classes"} of one task, or empty.
      sums: of the labels. A manifest counts the images in which a class of pixels is seen, not its pixels.
    """
    images = known.get("images")
    if not images:
        return {}
    found: dict[str, Any] = {"source": "manifest.json", "images": images}
    if not (sums.unit == PIXELS and sums.has_classes):
        found["classes"] = dict(known.get("classes") or {})
    if sums.unit == OBJECTS and known.get("objects") is not None:
        found["per_image"] = known["objects"] / images
    return found
