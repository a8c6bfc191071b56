"""What the tests of pseudo labels share: small record sets whose labels are worked by hand."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from must_tf.data import manifest, record
from must_tf.spec import ImageInfo, Labels
from must_tf.tasks import discover
from tests.support.converting import noise
from tests.support.tiny import ALL, image_bytes, write_set
from tfrecords_tools.stats import run as stats

SIZE = (40, 60)  # height, width
Image = Mapping[str, record.Labelled]


def boxes(found: Sequence[tuple[int, float, Sequence[float]]]) -> Labels:
    """Labels of detection from (class id, score, box)."""
    corners = np.array([box for _, _, box in found], np.float32).reshape(-1, 4)
    sides = corners[:, 2:] - corners[:, :2]
    return {
        "boxes": corners,
        "classes": np.array([class_id for class_id, _, _ in found], np.int32),
        "scores": np.array([score for _, score, _ in found], np.float32),
        "is_crowd": np.zeros(len(found), bool),
        "area": np.float32(sides[:, 0] * sides[:, 1] * SIZE[0] * SIZE[1]),
    }


def pixels(classes: np.ndarray, confidence: np.ndarray | float = 1.0) -> Labels:
    """Labels of segmentation."""
    sure = np.broadcast_to(np.float32(confidence), classes.shape)
    return {"classes": classes.astype(np.int32), "confidence": np.array(sure)}


def records(folder: Path, images: Sequence[Image], files: int = 1) -> str:
    """A set of images image-0, image-1, ... of one size in so many files; its glob."""
    encoded = image_bytes(noise(*SIZE))
    all_of_them = [
        record.encode(encoded, ImageInfo(f"image-{place}", *SIZE), one, discover()) for place, one in enumerate(images)
    ]
    return write_set(folder, [all_of_them[place::files] for place in range(files)], ALL)


def by(origin: str, task: str, labels: Sequence[Labels]) -> list[Image]:
    """Images that somebody labelled for one task."""
    return [{task: record.Labelled(one, origin)} for one in labels]


def tell_training(folder: Path, teacher: str, trained_on: dict[str, Any]) -> None:
    """Writes into a set's manifest what a teacher was trained on."""
    path = folder / manifest.NAME
    content = json.loads(path.read_text()) | {"teachers": {teacher: {"trained_on": trained_on}}}
    path.write_text(json.dumps(content))


def judged(
    glob: str, against: Sequence[str] = (), truth: str = "", settings: Sequence[str] = (), force: bool = False
) -> dict[str, Any]:
    """What `must-records stats` finds, in this process."""
    compared = stats.compared(against, truth, stats.PRECISION)
    return stats.run(stats.asked(glob, settings, compared, 1), ["tests"], force)


def found_in(content: dict[str, Any], task: str, teacher: str = "abc") -> dict[str, Any]:
    """What it found of one teacher's labels."""
    return content["tasks"][task]["teachers"][teacher]
