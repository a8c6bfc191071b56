"""Small record sets with hand-made labels, for tests of pseudo labels and of `must stats`."""

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


def boxes(objects: Sequence[tuple[int, float, Sequence[float] | np.ndarray]]) -> Labels:
    """Returns labels of detection from (class id, score, box)."""
    corners = np.array([box for _, _, box in objects], np.float32).reshape(-1, 4)
    sides = corners[:, 2:] - corners[:, :2]
    return {
        "boxes": corners,
        "classes": np.array([class_id for class_id, _, _ in objects], np.int32),
        "scores": np.array([score for _, score, _ in objects], np.float32),
        "is_crowd": np.zeros(len(objects), bool),
        "area": np.float32(sides[:, 0] * sides[:, 1] * SIZE[0] * SIZE[1]),
    }


def pixels(classes: np.ndarray, confidence: np.ndarray | float = 1.0) -> Labels:
    """Returns labels of segmentation."""
    confidences = np.broadcast_to(np.float32(confidence), classes.shape)
    return {"classes": classes.astype(np.int32), "confidence": np.array(confidences)}


def records(folder: Path, images: Sequence[Image], files: int = 1) -> str:
    """Writes images image-0, image-1, ... of one size into a number of files; returns their glob."""
    serialized = [
        record.encode(image_bytes(noise(*SIZE, place)), ImageInfo(f"image-{place}", *SIZE), image, discover())
        for place, image in enumerate(images)
    ]
    return write_set(folder, [serialized[place::files] for place in range(files)], ALL)


def by(origin: str, task: str, labels: Sequence[Labels]) -> list[dict[str, record.Labelled]]:
    """Returns images with labels of one task and origin."""
    return [{task: record.Labelled(image_labels, origin)} for image_labels in labels]


def tell_training(folder: Path, teacher: str, trained_on: dict[str, Any]) -> None:
    """Writes a teacher's training data into a set's manifest."""
    tell(folder, teachers={teacher: {"trained_on": trained_on}})


def tell(folder: Path, **values: Any) -> None:
    """Writes values into a set's manifest."""
    path = folder / manifest.NAME
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def judged(
    glob: str, against: Sequence[str] = (), truth: str = "", settings: Sequence[str] = (), force: bool = False
) -> dict[str, Any]:
    """Runs `must stats` in this process and returns its result."""
    comparison = stats.comparison(against, truth, stats.PRECISION)
    return stats.judge(stats.request(glob, settings, comparison, 1), ["tests"], force)


def found_in(content: dict[str, Any], task: str, teacher: str = "abc") -> dict[str, Any]:
    """Returns the part of the result about one teacher's labels."""
    return content["tasks"][task]["teachers"][teacher]
