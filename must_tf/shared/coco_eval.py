"""COCO's average precision and recall in little memory, by faster-coco-eval.

Source: Lin et al., "Microsoft COCO", ECCV 2014, https://cocodataset.org. IoU thresholds are 0.50:0.05:0.95, with 101
recall points and at most 100 predictions per image and class. Crowds count neither as missed nor as wrong. All metrics
are fractions, 0 to 1.

COCO's evaluators want all images at once, with the shapes of all objects. Here each image is reduced to what matching
needs as soon as it is added, so that two images with the same source id are never merged: 17 bytes for an object, 20
for a prediction, and 21 for each pair of them that overlaps enough to match. Finally the evaluator is given one class
at a time, because it wants a dict for every object.

Axes: A area ranges, T IoU thresholds, R recall points, K classes, M limits of predictions per image and class; D
predictions ("detections") and G ground-truth objects of one image.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np
from faster_coco_eval import COCO, COCOeval_faster

_Key = TypeVar("_Key")
_PARAMS = COCOeval_faster(iouType="bbox").params  # the same as for masks
LOWEST_OVERLAP = float(_PARAMS.iouThrs[0])  # with less, nothing matches
MOST = _PARAMS.maxDets[-1]  # predictions per image and class
# Rows that are kept. The names of their columns are those of annotations in COCO's JSON files.
_OBJECT = [("image_id", "i4"), ("category_id", "i4"), ("area", "f8"), ("iscrowd", "?")]
_PREDICTION = [("image_id", "i4"), ("category_id", "i4"), ("area", "f8"), ("score", "f4")]
# `prediction` and `object` count those of the same image and class, by descending score and as labelled.
_PAIR = [("image_id", "i4"), ("category_id", "i4"), ("prediction", "u1"), ("object", "i4"), ("overlap", "f8")]

FIGURES = (*("AP", "AP50", "AP75", "APs", "APm", "APl"), *("AR1", "AR10", "AR100", "ARs", "ARm", "ARl"))


def class_name(class_id: int, names: Sequence[str]) -> str:
    """Returns the name of a class id that counts from 1, or the id as text if it has no name."""
    return names[class_id - 1] if 1 <= class_id <= len(names) else str(class_id)


class CocoResult(NamedTuple):
    """COCO's twelve metrics, AP by class for the classes that have labels, and the names of the others."""

    metrics: dict[str, float]
    by_class: dict[str, float]
    absent: tuple[str, ...]


class Instances(NamedTuple):
    """The objects of one image, labelled or predicted, without their shapes."""

    classes: np.ndarray  # int32 [N]
    scores: np.ndarray  # float32 [N]
    is_crowd: np.ndarray  # bool [N]
    area: np.ndarray  # float64 [N] pixels^2, as labelled; for predictions, measured from the shape


def instances(labels: Mapping[str, Any], area: np.ndarray | None = None) -> Instances:
    """Returns the objects of a label, or of predictions. `area` [N] replaces the label's own areas."""
    area = np.asarray(labels["area"] if area is None else area, np.float64)
    scores, crowds = np.asarray(labels["scores"], np.float32), np.asarray(labels["is_crowd"], bool)
    return Instances(np.asarray(labels["classes"], np.int32), scores, crowds, area)


class _Rows:
    """Rows of numbers, each of an image and a class. They are kept as bytes, which grow in place."""

    def __init__(self, columns: list[tuple[str, str]]) -> None:
        self._type = np.dtype(columns)
        self._bytes = bytearray()

    def extend(self, image: int, *columns: np.ndarray) -> None:
        """Appends one image's rows, given by all columns but the first."""
        rows = np.empty(len(columns[0]), self._type)
        for name, values in zip(rows.dtype.names or (), (image, *columns), strict=True):
            rows[name] = values
        self._bytes += rows.tobytes()

    def merge(self, later: _Rows, images: int) -> None:
        """Appends the rows of other images, of which the first gets the number `images`."""
        rows = later.all().copy()
        rows["image_id"] += images
        self._bytes += rows.tobytes()

    def all(self) -> np.ndarray:
        """Returns all rows. None can be appended as long as they are used."""
        return np.frombuffer(self._bytes, self._type)

    def by_class(self, class_ids: Sequence[int]) -> list[np.ndarray]:
        """Returns the rows of each class, image by image. `class_ids` is ascending, and has all that occur."""
        rows = self.all()
        return _split(rows[np.argsort(rows["category_id"], kind="stable")], "category_id", class_ids)


class CocoEval:
    """Collects images and computes COCO's metrics."""

    def __init__(self) -> None:
        self._images = 0
        self._objects = _Rows(_OBJECT)
        self._predictions = _Rows(_PREDICTION)
        self._pairs = _Rows(_PAIR)

    def add(self, truth: Instances, predicted: Instances, overlaps: np.ndarray) -> None:
        """Adds one image.

        Args:
          truth: G ground-truth objects.
          predicted: D predictions.
          overlaps: [D, G] IoU; for crowds, the share of the prediction that lies in the crowd.
        """
        order = np.argsort(-predicted.scores, kind="stable")
        order = order[_places(predicted.classes[order]) < MOST]
        classes, overlaps = predicted.classes[order], overlaps[order]
        self._objects.extend(self._images, truth.classes, truth.area, truth.is_crowd)
        self._predictions.extend(self._images, classes, predicted.area[order], predicted.scores[order])
        d, g = np.nonzero((classes[:, None] == truth.classes[None]) & (overlaps >= LOWEST_OVERLAP))
        places = _places(classes)[d], _places(truth.classes)[g]
        self._pairs.extend(self._images, classes[d], *places, overlaps[d, g])
        self._images += 1

    def merge(self, later: CocoEval) -> None:
        """Adds the images of another one."""
        self._objects.merge(later._objects, self._images)
        self._predictions.merge(later._predictions, self._images)
        self._pairs.merge(later._pairs, self._images)
        self._images += later._images

    def result(self, names: Sequence[str]) -> CocoResult:
        """Returns those of `FIGURES` that are known, and AP by class.

        Classes and area ranges without a ground-truth object are left out of averages. A metric is absent if no
        object counts for it. `names[i - 1]` is the name of class i; a class without a name is shown by its number.
        """
        class_ids = np.union1d(self._objects.all()["category_id"], self._predictions.all()["category_id"]).tolist()
        if not class_ids:
            return CocoResult({}, {}, tuple(names))
        precision, recall = self._curves(class_ids)
        metrics = {
            "AP": precision[..., 0],
            "AP50": precision[0, ..., 0],
            "AP75": precision[5, ..., 0],  # 0.50 + 5 * 0.05
        }
        metrics |= {f"AP{size}": precision[..., area] for area, size in enumerate("sml", 1)}
        metrics |= {f"AR{most}": recall[:, :, 0, limit] for limit, most in enumerate(_PARAMS.maxDets)}
        metrics |= {f"AR{size}": recall[..., area, -1] for area, size in enumerate("sml", 1)}
        by_class = _means({class_id: precision[:, :, k, 0] for k, class_id in enumerate(class_ids)})
        absent = tuple(name for class_id, name in enumerate(names, 1) if class_id not in by_class)
        return CocoResult(_means(metrics), {class_name(key, names): ap for key, ap in by_class.items()}, absent)

    def _curves(self, class_ids: list[int]) -> tuple[np.ndarray, np.ndarray]:
        """Matches and ranks all images. Returns precision [T, R, K, A] and recall [T, K, A, M]."""
        tables = (self._objects, self._predictions, self._pairs)
        classes = zip(class_ids, *(table.by_class(class_ids) for table in tables), strict=True)
        precisions, recalls = zip(*(_ClassEvaluation(*each).curves() for each in classes), strict=True)
        return np.concatenate(precisions, axis=2), np.concatenate(recalls, axis=1)


class _ClassEvaluation(COCOeval_faster):
    """COCO's evaluation of one class, with overlaps that are known already."""

    def __init__(self, class_id: int, objects: np.ndarray, predictions: np.ndarray, pairs: np.ndarray) -> None:
        images = np.union1d(objects["image_id"], predictions["image_id"]).tolist()
        super().__init__(_as_coco(objects, images, class_id), _as_coco(predictions, images, class_id), "bbox")
        parts = (_split(rows, "image_id", images) for rows in (objects, predictions, pairs))
        self._rows = dict(zip(images, zip(*parts, strict=True), strict=True))

    def computeIoU(self, imgId: int, catId: int) -> np.ndarray:
        """Returns the overlaps [D, G] of one image, 0 where they are too small to match."""
        objects, predictions, pairs = self._rows[imgId]
        overlaps = np.zeros([len(predictions), len(objects)])
        overlaps[pairs["prediction"], pairs["object"]] = pairs["overlap"]
        return overlaps

    def curves(self) -> tuple[np.ndarray, np.ndarray]:
        """Returns precision [T, R, 1, A] at the highest limit, and recall [T, 1, A, M]."""
        self.evaluate()
        self.accumulate()
        return self.eval["precision"][..., -1].copy(), self.eval["recall"]


def _as_coco(rows: np.ndarray, images: Sequence[int], class_id: int) -> COCO:
    """Returns the rows of one class as the annotations of a COCO file. Annotations count from 1."""
    names = rows.dtype.names or ()
    content = {
        "images": [{"id": image} for image in images],
        "categories": [{"id": class_id}],
        "annotations": [dict(zip(names, row, strict=True), id=n) for n, row in enumerate(rows.tolist(), 1)],
    }
    return COCO(content)


def _split(rows: np.ndarray, column: str, values: Sequence[int]) -> list[np.ndarray]:
    """Returns the rows of each value of a column. Both are ascending, and there are no other values."""
    return np.split(rows, np.searchsorted(rows[column], values[1:]))


def _places(classes: np.ndarray) -> np.ndarray:
    """Returns how many objects of the same class stand before each object: int [N]."""
    return np.count_nonzero(np.tril(classes[:, None] == classes[None], -1), axis=1)


def _means(metrics: Mapping[_Key, np.ndarray]) -> dict[_Key, float]:
    """Averages each metric over its known values. The evaluator sets values that it cannot compute to -1."""
    known = {name: values[values > -1] for name, values in metrics.items()}
    return {name: float(np.mean(values)) for name, values in known.items() if values.size}


def corners(boxes: np.ndarray, height: int, width: int) -> np.ndarray:
    """Converts normalised boxes [N, 4] to COCO's form: x, y, width, height in pixels."""
    y0, x0, y1, x1 = (np.asarray(boxes, np.float64).reshape(-1, 4) * [height, width, height, width]).T
    return np.stack([x0, y0, x1 - x0, y1 - y0], axis=1)
