"""Compares this project's COCO metrics with Model Garden's, for the same detections."""

from __future__ import annotations

import os
from collections.abc import Mapping

import numpy as np

from benchmarks.data.coco_detections import TASKS, Detections, Image, images, made_up
from benchmarks.harness.table import Comparison, Figure
from must_tf.data import manifest
from must_tf.spec import ImageInfo
from must_tf.tasks import discover
from must_tf.tasks.masks import metric

# Metrics are from 0 to 1: this is a tenth of the last digit in papers. Both sides store boxes as float32.
SAME = 1e-4
RANKED = {"AP": "AP", "AP50": "AP50", "AP75": "AP75", "AR1": "ARmax1", "AR10": "ARmax10", "AR100": "ARmax100"}
SIZED = {f"A{kind}{size}": f"A{kind}{size}" for kind in "PR" for size in "sml"}
Figures = Mapping[str, float]


def pasted(glob: str) -> dict[str, float]:
    """Returns this project's mask metrics on pixels made by Model Garden's paste. Called in its own process."""
    classes = manifest.read(os.path.dirname(glob)).classes
    configs = {name: discover()[name].Config(enabled=True, classes=tuple(classes[name])) for name in TASKS}
    shapes = metric.Metric(configs["masks"])
    for number, image in enumerate(images(glob, configs)):
        add_pasted(shapes, image, made_up(image, len(classes["detection"]), number))
    return shapes.result()


def add_pasted(shapes: metric.Metric, image: Image, found: Detections) -> None:
    """Measures an image's masks, pasted as Model Garden's evaluator does it."""
    from official.vision.ops import mask_ops

    top, left, bottom, right = (found.boxes * np.tile(image.size, 2)).T
    corners = np.stack([left, top, right - left, bottom - top], axis=1).astype(np.float32)
    full = mask_ops.paste_instance_masks(found.maps, corners, *image.size)
    whole = np.tile(np.array([0, 0, 1, 1], np.float32), [len(full), 1])
    predictions = {"boxes": whole, "classes": found.classes, "scores": found.scores, "crops": list(full)}
    predictions |= {"is_crowd": np.zeros(len(full), bool), "area": np.zeros(len(full))}
    shapes.add(image.labels, predictions, ImageInfo(str(image.number), *image.size))


def rows(mine: Figures, theirs: Figures, on_same_pixels: Figures) -> list[Comparison]:
    """Returns the largest differences of the box metrics, and of the mask metrics on the same pixels.

    Args:
      mine: this project's metrics; mask metrics start with "mask_".
      theirs: Model Garden's, named likewise.
      on_same_pixels: the result of `pasted`.
    """
    others = {name.removeprefix("mask_"): value for name, value in theirs.items() if name.startswith("mask_")}
    own = {name.removeprefix("mask_"): value for name, value in mine.items() if name.startswith("mask_")}
    sized, every = differences(mine, theirs, SIZED), differences(own, others, RANKED | SIZED)
    boxes = (
        f"box AP {mine['AP']:.5f} and {theirs['AP']:.5f} (this project, Model Garden); metrics by area "
        f"differ by up to {largest(sized)}: the area is the box's here, as in COCO, and the mask's in Model Garden"
    )
    shapes = (
        f"both on masks pasted by Model Garden: mask AP {on_same_pixels['AP']:.5f} and {others['AP']:.5f}. On its own "
        f"masks this project has {own['AP']:.5f}, and metrics differ by up to {largest(every)}: it samples a map of "
        "28 x 28 at pixel centres within the box, Model Garden in a box rounded to whole pixels, like Detectron"
    )
    return [
        _row("boxes'", mine, theirs, RANKED, boxes),
        _row("masks'", on_same_pixels, others, RANKED | SIZED, shapes),
    ]


def differences(mine: Figures, theirs: Figures, names: Mapping[str, str]) -> dict[str, float]:
    """Maps each metric that both sides have to its difference. Model Garden writes -1 for a missing metric."""
    known = {name: other for name, other in names.items() if name in mine and theirs.get(other, -1.0) >= 0.0}
    return {name: abs(mine[name] - theirs[other]) for name, other in known.items()}


def largest(apart: Mapping[str, float]) -> str:
    """Names the largest difference."""
    return f"{max(apart.values()):.5f} ({max(apart, key=lambda name: apart[name])})" if apart else "nothing"


def _row(whose: str, mine: Figures, theirs: Figures, names: Mapping[str, str], note: str) -> Comparison:
    apart = differences(mine, theirs, names)
    worst = max(apart, key=lambda name: apart[name])
    return Comparison(
        f"COCO evaluation, {whose} figures: largest of {len(apart)} differences",
        "of 1",
        Figure(apart[worst]),
        against="",
        at_most=SAME,
        note=note,
        why=f"{worst} {mine[worst]:.5f} and {theirs[names[worst]]:.5f}",
    )
