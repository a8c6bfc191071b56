"""COCO's average precision and recall, one image at a time, in little memory.

Source: Lin et al., "Microsoft COCO", ECCV 2014, https://cocodataset.org, through
pycocotools' own COCOeval. Overlaps of 0.50:0.05:0.95, 101 recall points, at most 100 found objects
per image and class; crowds are neither missed nor wrong. All figures are fractions, 0 to 1.

Each image is matched alone, as soon as it is added, so two images with the same source id cannot
merge. Only the verdict on each found object stays (about 100 bytes), never its shape; COCOeval then
ranks the verdicts of all images as if they came from one.
"""

from __future__ import annotations

import contextlib
import io
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import numpy as np
from pycocotools import mask as mask_utils
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval, Params

from must_tf.data.diagnosis import named

Annotation = dict[str, Any]  # one object, under COCO's own key names

_IMAGE_ID = 1  # COCOeval only ever sees one image


class Result(NamedTuple):
    """COCO's twelve figures, AP of each class that has labels, and the names of those that have none."""

    figures: dict[str, float]
    by_class: dict[str, float]
    absent: tuple[str, ...]


@dataclass
class _Verdicts:
    """What matching said of one class in one range of areas. D found objects, T overlaps."""

    wanted: int = 0  # true objects that must be found
    scores: bytearray = field(default_factory=bytearray)  # float32 [D]
    ranks: bytearray = field(default_factory=bytearray)  # uint8 [D], 0 is the image's best
    matched: bytearray = field(default_factory=bytearray)  # bool [D, T]
    ignored: bytearray = field(default_factory=bytearray)  # bool [D, T]

    def extend(self, verdict: dict[str, Any]) -> None:
        """Appends one image's verdict, an entry of COCOeval.evalImgs."""
        scores = np.asarray(verdict["dtScores"], np.float32)
        self.wanted += int(np.count_nonzero(np.asarray(verdict["gtIgnore"]) == 0))
        self.scores += scores.tobytes()
        self.ranks += np.arange(scores.size, dtype=np.uint8).tobytes()  # never above maxDets, 100
        self.matched += (verdict["dtMatches"].T != 0).tobytes()
        self.ignored += (verdict["dtIgnore"].T != 0).tobytes()

    def merged(self, most: int, overlaps: int) -> dict[str, np.ndarray]:
        """Returns one entry for COCOeval.evalImgs: the `most` best found objects of each image."""
        kept = np.frombuffer(bytes(self.ranks), np.uint8) < most
        matched = np.frombuffer(bytes(self.matched), bool).reshape(-1, overlaps)
        ignored = np.frombuffer(bytes(self.ignored), bool).reshape(-1, overlaps)
        return {
            "dtScores": np.frombuffer(bytes(self.scores), np.float32)[kept],
            "dtMatches": matched[kept].T,  # [D, T] -> [T, D]
            "dtIgnore": ignored[kept].T,
            "gtIgnore": np.zeros(self.wanted),
        }


class CocoEval:
    """Collects images and reports COCO's figures; `kind` says whether boxes or regions overlap."""

    def __init__(self, kind: Literal["bbox", "segm"]) -> None:
        self._kind = kind
        self._params = Params(iouType=kind)
        self._verdicts: dict[int, list[_Verdicts]] = {}  # class id -> one for each range of areas

    def add(self, truth: list[Annotation], found: list[Annotation], size: tuple[int, int]) -> None:
        """Matches one image of `size` (height, width).

        Both lists come from `to_annotations`; for "segm" each entry also has COCO's RLE under
        "segmentation". A found object's area is measured from its shape, as COCO's loadRes does.
        """
        for each in found:
            each["area"] = _measured_area(each, self._kind)
        classes = sorted({each["category_id"] for each in truth + found})
        with contextlib.redirect_stdout(io.StringIO()):  # pycocotools prints at every step
            evaluation = COCOeval(_coco(truth, size), _coco(found, size), self._kind)
            evaluation.params.imgIds = [_IMAGE_ID]
            evaluation.params.catIds = classes
            evaluation.evaluate()
        ranges = len(self._params.areaRng)  # evalImgs: all ranges of the first class, then the next
        for index, verdict in enumerate(evaluation.evalImgs):
            known = self._verdicts.setdefault(classes[index // ranges], [_Verdicts() for _ in range(ranges)])
            known[index % ranges].extend(verdict)

    def result(self, names: Sequence[str]) -> Result:
        """Returns AP, AP50, AP75, APs, APm, APl, AR1, AR10, AR100, ARs, ARm, ARl, and AP by class.

        Classes and area ranges without a true object are in no mean; a figure without any true
        object is absent. `names[i - 1]` names class i; a class beyond the names shows its number.
        """
        absent = tuple(name for class_id, name in enumerate(names, 1) if not self._wanted(class_id))
        if not self._verdicts:
            return Result({}, {}, absent)
        recalls = {f"AR{most}": self._accumulated(most)["recall"] for most in self._params.maxDets[:-1]}
        whole = self._accumulated(self._params.maxDets[-1])
        precision = whole["precision"][..., 0]  # [T, R, K, A, 1] -> [T, R, K, A]
        recall = whole["recall"][..., 0]  # [T, K, A, 1] -> [T, K, A]
        figures = {
            "AP": precision[..., 0],
            "AP50": precision[0, ..., 0],
            "AP75": precision[5, ..., 0],  # 0.50 + 5 * 0.05
        }
        figures |= {f"AP{size}": precision[..., area] for area, size in enumerate("sml", 1)}
        figures |= {name: values[:, :, 0] for name, values in recalls.items()}
        figures |= {"AR100": recall[..., 0]}
        figures |= {f"AR{size}": recall[..., area] for area, size in enumerate("sml", 1)}
        ids = enumerate(sorted(self._verdicts))
        by_class = {named(class_id, names): precision[:, :, index, 0] for index, class_id in ids}
        return Result(_means(figures), _means(by_class), absent)

    def _wanted(self, class_id: int) -> int:
        """How many objects of the class must be found, of all areas."""
        return self._verdicts[class_id][0].wanted if class_id in self._verdicts else 0

    def _accumulated(self, most: int) -> dict[str, np.ndarray]:
        """Ranks all images. Returns "precision" [T, R, K, A, 1] and "recall" [T, K, A, 1]."""
        evaluation = COCOeval(iouType=self._kind)
        params = evaluation.params
        params.imgIds = [_IMAGE_ID]
        params.catIds = sorted(self._verdicts)
        params.maxDets = [sys.maxsize]  # `merged` cuts each image; no further cut of them all
        evaluation._paramsEval = params  # evaluate() would set it, but matching is done already
        evaluation.evalImgs = [
            verdicts.merged(most, len(params.iouThrs))
            for class_id in params.catIds
            for verdicts in self._verdicts[class_id]
        ]
        with contextlib.redirect_stdout(io.StringIO()):
            evaluation.accumulate()
        return evaluation.eval


def _means(figures: dict[str, np.ndarray]) -> dict[str, float]:
    """COCOeval marks what it could not compute by -1."""
    known = {name: values[values > -1] for name, values in figures.items()}
    return {name: float(np.mean(values)) for name, values in known.items() if values.size}


def to_annotations(labels: dict[str, Any], height: int, width: int) -> list[Annotation]:
    """Returns the N objects of an image as COCO annotations, boxes [x, y, w, h] in pixels.

    `labels` holds "boxes" [N, 4] normalised y0, x0, y1, x1, "classes" [N], "scores" [N],
    "is_crowd" [N] and "area" [N] in pixels^2.
    """
    boxes = np.asarray(labels["boxes"], np.float64).reshape(-1, 4)
    y0, x0, y1, x1 = (boxes * [height, width, height, width]).T
    corners = np.stack([x0, y0, x1 - x0, y1 - y0], axis=1)  # [N, 4]
    return [
        {
            "bbox": corners[i].tolist(),
            "category_id": int(labels["classes"][i]),
            "score": float(labels["scores"][i]),
            "iscrowd": int(labels["is_crowd"][i]),
            "area": float(labels["area"][i]),
        }
        for i in range(len(boxes))
    ]


def _measured_area(found: Annotation, kind: str) -> float:
    if kind == "segm":
        return float(mask_utils.area(found["segmentation"]))
    return float(found["bbox"][2] * found["bbox"][3])


def _coco(objects: list[Annotation], size: tuple[int, int]) -> COCO:
    """Returns an index of one image's objects. Ids start at 1, because COCOeval reads 0 as none."""
    coco = COCO()
    coco.dataset = {
        "images": [{"id": _IMAGE_ID, "height": size[0], "width": size[1]}],
        "categories": [],
        "annotations": [{**each, "id": number, "image_id": _IMAGE_ID} for number, each in enumerate(objects, 1)],
    }
    coco.createIndex()
    return coco
