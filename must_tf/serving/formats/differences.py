"""How far the predictions of an exported file are from those of the SavedModel. Hence the tasks that are named here.

All are measured on restored outputs, in the frame of the photo.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from must_tf.serving import objects

SCORE = 0.3  # objects of the SavedModel with lower scores are not looked for
OVERLAP = 0.9  # IoU of the same object
EPSILON = 1e-6
# {measure: meaning}, in the order of tables
MEASURES = {
    "classification/top1": "share of photos with the same likeliest class",
    "detection/found": f"share of the SavedModel's objects with scores from {SCORE:g} that the file finds with IoU "
    f"{OVERLAP:g} and the same class",
    "detection/score": "largest difference of their scores",
    "masks/IoU": "mean IoU of their masks",
    "segmentation/pixels": "share of pixels with the same class",
    "depth/relative": "mean of |difference| / value; of inverse depth, / its mean size",
    "normals/degrees": "mean angle",
    "other/difference": "largest difference of the outputs of other tasks",
}
KNOWN = ("image/", "classification/", "detection/", "masks/", "segmentation/", "depth/", "normals/")


class Differences:
    """Collects the differences of photos."""

    def __init__(self) -> None:
        self._values: dict[str, list[float]] = {name: [] for name in MEASURES}

    def add(self, found: Mapping[str, np.ndarray], expected: Mapping[str, np.ndarray]) -> None:
        """Adds one photo: the outputs of a file and of the SavedModel, without a batch axis."""
        self._add_maps(found, expected)
        if objects.BOXES in found.keys() & expected.keys():
            self._add_objects(found, expected)
        for name in found.keys() & expected.keys():
            if not name.startswith(KNOWN):
                self._values["other/difference"].append(float(np.abs(found[name] - expected[name]).max(initial=0)))

    def _add_maps(self, found: Mapping[str, np.ndarray], expected: Mapping[str, np.ndarray]) -> None:
        for name in found.keys() & expected.keys():
            one, other = found[name], expected[name]
            if name == "classification/probability":
                self._values["classification/top1"].append(float(one.argmax() == other.argmax()))
            elif name == "segmentation/classes":
                self._values["segmentation/pixels"].append(float(np.mean(one == other)))
            elif name == "depth/metres":
                self._values["depth/relative"].append(float(np.mean(np.abs(one - other) / np.maximum(other, EPSILON))))
            elif name == "depth/inverse_depth":
                size = max(float(np.abs(other).mean()), EPSILON)
                self._values["depth/relative"].append(float(np.abs(one - other).mean()) / size)
            elif name == "normals/normals":
                cosine = np.clip(np.sum(one.astype(np.float64) * other, -1), -1, 1)
                self._values["normals/degrees"].append(float(np.degrees(np.arccos(cosine)).mean()))

    def _add_objects(self, found: Mapping[str, np.ndarray], expected: Mapping[str, np.ndarray]) -> None:
        wanted = np.flatnonzero(_present(expected) & (expected[objects.SCORES] >= SCORE))
        candidates = np.flatnonzero(_present(found))
        overlap = _overlap(expected[objects.BOXES][wanted], found[objects.BOXES][candidates])
        overlap *= expected[objects.CLASSES][wanted][:, None] == found[objects.CLASSES][candidates]
        for row, place in enumerate(wanted):
            best = int(overlap[row].argmax()) if len(candidates) else 0
            is_found = bool(len(candidates)) and overlap[row, best] >= OVERLAP
            self._values["detection/found"].append(float(is_found))
            if not is_found:
                continue
            match = candidates[best]
            self._values["detection/score"].append(
                float(abs(expected[objects.SCORES][place] - found[objects.SCORES][match]))
            )
            if objects.GRIDS in expected:
                masks = [outputs[objects.GRIDS][at] >= 0.5 for outputs, at in ((expected, place), (found, match))]
                union = np.count_nonzero(masks[0] | masks[1])
                shared = np.count_nonzero(masks[0] & masks[1])
                self._values["masks/IoU"].append(shared / union if union else 1.0)

    def result(self) -> dict[str, float]:
        """Returns {measure: value} of the measures that had something to compare."""
        largest = ("detection/score", "other/difference")
        return {
            name: float(max(values) if name in largest else np.mean(values))
            for name, values in self._values.items()
            if values
        }


def _present(outputs: Mapping[str, np.ndarray]) -> np.ndarray:
    """Tests which of the objects are real, bool [N]."""
    return np.arange(len(outputs[objects.SCORES])) < outputs[objects.COUNT]


def _overlap(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Returns the IoU [N, M] of boxes [N, 4] and [M, 4]."""
    low = np.maximum(boxes[:, None, :2], others[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], others[None, :, 2:])
    shared = np.prod(np.clip(high - low, 0, None), axis=-1)
    areas = [np.prod(np.clip(each[:, 2:] - each[:, :2], 0, None), axis=-1) for each in (boxes, others)]
    return np.asarray(shared / np.maximum(areas[0][:, None] + areas[1][None] - shared, EPSILON**2))


def columns(results: Iterable[Mapping[str, Any]]) -> list[str]:
    """Returns the measures that any of the results has, in the order of tables."""
    there = set().union(*results)
    return [name for name in MEASURES if name in there]
