"""From sums to the figures of `stats.json`, which `must_tf.pseudo_gate.rules` judges and the table shows.

| figure | of | is |
|---|---|---|
| `kind`, `images` | all | see `stats_count`; labelled images |
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

import numpy as np

from tfrecords_tools.reading import label_summary
from tfrecords_tools.stats.sums import DEPTH, EDGES, IMAGES, MAP, MASKS, NORMALS, OBJECTS, PIXELS, Sums

PERCENTILES = (1, 50, 99)


def of(sums: Sums, names: Sequence[str]) -> dict[str, Any]:
    """The figures of one task's labels; `names` are its classes."""
    images = max(1, sums.images)
    found: dict[str, Any] = {
        "kind": sums.kind,
        "images": sums.images,
        "empty": sums.empty / images,
        "low_confidence": sums.unsure / images,
        "not_finite": sums.not_finite,
    }
    if sums.kind in (OBJECTS, MASKS):
        found |= _objects(sums)
    if sums.kind in (OBJECTS, MASKS, IMAGES, PIXELS):
        found |= _classes(sums, names)
    if sums.kind in (PIXELS, DEPTH, NORMALS, MAP):
        found["valid"] = sums.valid / max(1, sums.pixels)
    if sums.kind in (DEPTH, NORMALS):
        found["flat"] = sums.flat / images
    if sums.kind == DEPTH:
        found |= {"relative": sums.relative, "metres": _percentiles(sums.metres)}
    if sums.kind == NORMALS and sums.valid:
        found["direction"] = (sums.direction / sums.valid).tolist()
    return found


def _objects(sums: Sums) -> dict[str, Any]:
    images, objects = max(1, sums.images), int(sums.scores.sum())
    found: dict[str, Any] = {
        "per_image": int(sums.believed.sum()) / images,
        "per_image_at_floor": objects / images,
        "objects_per_image": {str(number): sums.counts[number] for number in sorted(sums.counts)},
    }
    return found | ({"hollow": sums.hollow / max(1, sums.boxes)} if sums.kind == MASKS else {})


def _classes(sums: Sums, names: Sequence[str]) -> dict[str, Any]:
    found: dict[str, Any] = {
        "classes": dict(zip(names, sums.believed.tolist(), strict=True)),
        "classes_at_floor": dict(zip(names, sums.scores.sum(1).tolist(), strict=True)),
        "scores": sums.scores.sum(0).reshape(label_summary.BINS, -1).sum(1).tolist(),
    }
    if sums.kind == IMAGES and sums.scores.any():
        found["confidence"] = sums.sure / int(sums.scores.sum())
    return found


def _percentiles(counts: np.ndarray) -> dict[str, float]:
    """{"p50": metres} of a histogram between `EDGES`: the middle, on the logarithmic scale, of the bin."""
    total = np.cumsum(counts)
    if not total[-1]:
        return {}
    places = [int(np.searchsorted(total, percent / 100 * total[-1])) for percent in PERCENTILES]
    middles = np.sqrt(EDGES[:-1] * EDGES[1:])
    return {f"p{percent}": float(middles[place]) for percent, place in zip(PERCENTILES, places, strict=True)}


def of_training(known: Mapping[str, Any], kind: str) -> dict[str, Any]:
    """What a manifest tells of the records that a teacher was trained on, in the same terms; empty where it is nothing.

    Args:
      known: {"images", "objects", "classes"} of one task, or empty.
      kind: of the labels. A manifest counts the images in which a class of pixels is seen, not its pixels.
    """
    images = known.get("images")
    if not images:
        return {}
    found: dict[str, Any] = {"source": "manifest.json", "images": images}
    if kind != PIXELS:
        found["classes"] = dict(known.get("classes") or {})
    if kind in (OBJECTS, MASKS) and known.get("objects") is not None:
        found["per_image"] = known["objects"] / images
    return found
