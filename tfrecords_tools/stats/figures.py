"""Turns sums into the statistics of `stats.json`. `must_tf.pseudo_gate.rules` judges them, `tables` shows them.

"Above" means above the thresholds; "at the floor" means all labels, whatever their score.

| key | kinds of labels | value |
|---|---|---|
| `kind` | all | see `Summary` |
| `images` | all | number of labelled images |
| `empty` | all | share of images without any label |
| `low_confidence` | all | share of images with labels, but none above |
| `not_finite` | all | number of images with NaN or infinity |
| `per_image`, `per_image_at_floor` | objects, masks | mean number of objects per image, above and at the floor |
| `objects_per_image` | objects, masks | {number of objects above: images} |
| `hollow` | masks | of objects whose box is above, the share whose mask is not |
| `classes`, `classes_at_floor` | objects, masks, images, pixels | {class name: labels}, above and at the floor |
| `scores` | objects, masks, images, pixels | number of labels by score, ten bins from 0 to 1 |
| `confidence` | images | mean probability of the most likely class |
| `scores`, `confidence` | depth, normals | pixels by confidence, and its mean, if they have one |
| `valid` | pixels, depth, normals | share of pixels that are known and above |
| `differing` | depth, normals | share in which the maps of different images differ, see `sameness` |
| `flat` | depth, normals | share of images with the same value everywhere |
| `relative` | depth | number of images without metres |
| `metres` | depth | percentiles p1, p50, p99 of the other images' pixels, metres |
| `direction` | normals | mean [x, y, z] |
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from must_tf.label_content import IMAGES, OBJECTS, PIXELS
from must_tf.spec import TaskSpec
from tfrecords_tools.reading import label_summary
from tfrecords_tools.stats import sameness
from tfrecords_tools.stats.sums import Sums


def of(sums: Sums, task: TaskSpec, names: Sequence[str]) -> dict[str, Any]:
    """Returns the statistics of one task's labels; `names` are its classes."""
    images = max(1, sums.images)
    statistics: dict[str, Any] = {
        "kind": sums.kind,
        "images": sums.images,
        "empty": sums.empty / images,
        "low_confidence": sums.unsure / images,
        "not_finite": sums.not_finite,
    }
    if sums.unit == OBJECTS:
        statistics |= _objects(sums)
    if sums.has_classes:
        statistics |= _classes(sums, names)
    elif sums.scores.any():
        statistics |= {"scores": _tenths(sums), "confidence": sums.sure / int(sums.scores.sum())}
    if sums.unit == PIXELS:
        statistics["valid"] = sums.valid / max(1, sums.pixels)
    differing = sameness.differing(sums.grids)
    if differing is not None:
        statistics["differing"] = differing
    if sums.own:
        statistics |= task.summary.figures(sums.own, images)
    return statistics


def _objects(sums: Sums) -> dict[str, Any]:
    images, objects = max(1, sums.images), int(sums.scores.sum())
    return {
        "per_image": int(sums.believed.sum()) / images,
        "per_image_at_floor": objects / images,
        "objects_per_image": {str(number): sums.counts[number] for number in sorted(sums.counts)},
    }


def _classes(sums: Sums, names: Sequence[str]) -> dict[str, Any]:
    statistics: dict[str, Any] = {
        "classes": dict(zip(names, sums.believed.tolist(), strict=True)),
        "classes_at_floor": dict(zip(names, sums.scores.sum(1).tolist(), strict=True)),
        "scores": _tenths(sums),
    }
    if sums.unit == IMAGES and sums.scores.any():
        statistics["confidence"] = sums.sure / int(sums.scores.sum())
    return statistics


def _tenths(sums: Sums) -> list[int]:
    return [int(count) for count in sums.scores.sum(0).reshape(label_summary.BINS, -1).sum(1)]


def of_training(trained_on: Mapping[str, Any], sums: Sums) -> dict[str, Any]:
    """Returns statistics of the labels that a teacher was trained on, as far as a manifest has them.

    Args:
      trained_on: {"images", "objects", "classes"} of one task, or empty if unknown.
      sums: those of the teacher's labels, which tell their kind.
    """
    images = trained_on.get("images")
    if not images:
        return {}
    statistics: dict[str, Any] = {"source": "manifest.json", "images": images}
    # For maps of classes, a manifest counts the images that show a class, not its pixels: shares cannot be compared.
    if not (sums.unit == PIXELS and sums.has_classes):
        statistics["classes"] = dict(trained_on.get("classes") or {})
    if sums.unit == OBJECTS and trained_on.get("objects") is not None:
        statistics["per_image"] = trained_on["objects"] / images
    return statistics
