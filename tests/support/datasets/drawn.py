"""Photos for annotations of any format, and what records say about objects, in pixels and names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from must_tf.data import geometry, manifest
from tests.support.converting import Converted, Record, noise, read, save

HEIGHT, WIDTH = 64, 128  # powers of two: pixels survive normalised float32 boxes

Seen = dict[str, list[tuple[str, list[float]]]]


def photos(folder: Path, *names: str) -> None:
    """Writes a photo per name."""
    for seed, name in enumerate(names):
        save(folder / name, noise(HEIGHT, WIDTH, seed))


def seen(result: Converted) -> Seen:
    """Returns {source_id: [(class, [x0, y0, x1, y1] in pixels)]} of the images that are labelled for detection."""
    names = result.outcome.manifest.classes.get("detection", [])
    return {key: _objects(each, names) for key, each in result.records.items() if "detection" in each.labels}


def _objects(record: Record, names: list[str]) -> list[tuple[str, list[float]]]:
    labels, (height, width) = record.labels["detection"], record.image.shape[:2]
    boxes = labels["boxes"][:, [1, 0, 3, 2]] * [width, height, width, height]
    return [
        (names[number - 1], np.round(box, 3).tolist()) for number, box in zip(labels["classes"], boxes, strict=True)
    ]


def masks(record: Record) -> list[np.ndarray]:
    """Returns the full masks of a record, bool [h, w] each; a mask without a pixel stands for none."""
    labels, full = record.labels["masks"], []
    for box, crop in zip(labels["boxes"], labels["crops"], strict=True):
        top, left, bottom, right = geometry.crop_window(box, *record.image.shape[:2])
        mask = np.zeros(record.image.shape[:2], bool)
        mask[top:bottom, left:right] = crop
        full.append(mask)
    return full


def rectangle(x0: int, y0: int, x1: int, y1: int) -> np.ndarray:
    """Returns the mask of whole pixels x0 to x1 - 1 and y0 to y1 - 1: bool [h, w]."""
    mask = np.zeros([HEIGHT, WIDTH], bool)
    mask[y0:y1, x0:x1] = True
    return mask


def write(path: Path, text: str, encoding: str = "utf-8") -> str:
    """Writes a text file and creates its folders; returns the path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode(encoding))
    return str(path)


def written(out: Path | str) -> dict[str, Record]:
    """Reads the records of a folder with the classes of its manifest."""
    return read(out, manifest.read(str(out)).classes)


def origins(result: Converted) -> Any:
    """Returns {task: {origin: images}}."""
    return result.outcome.manifest.origins
