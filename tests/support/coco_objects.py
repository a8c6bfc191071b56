"""Objects as labels and as COCO files, and the metrics of both: by the code under test and by other libraries."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import hotcoco
import numpy as np
import pycocotools.coco
import pycocotools.cocoeval
from pycocotools import mask as mask_utils

from must_tf.spec import Details, ImageInfo

HEIGHT, WIDTH = 128, 256  # powers of two: whole pixels survive normalised float32 boxes
IMAGE = ImageInfo("street/a b.jpg", HEIGHT, WIDTH)
Labels = dict[str, Any]


def measured(
    module: Any, pairs: list[tuple[Labels, Labels]], *classes: str
) -> tuple[dict[str, float], dict[str, float], Details]:
    """Returns COCO's metrics, VOC's metrics, and the details. Every image has the same source id."""
    metric = module.Metric(SimpleNamespace(classes=classes))
    for labels, predictions in pairs:
        metric.add(labels, predictions, IMAGE)
    # Precision is tp / (tp + fp + epsilon) in pycocotools, so 1 comes out an ulp below.
    figures = {name: round(value, 12) for name, value in metric.result().items()}
    voc = {name: figures.pop(name) for name in list(figures) if name.startswith("VOC")}
    return figures, voc, metric.details()


def evaluate(module: Any, pairs: list[tuple[Labels, Labels]], *classes: str) -> dict[str, float]:
    """Returns COCO's metrics of these pairs."""
    return measured(module, pairs, *classes)[0]


def objects(*rows: tuple[int, int, int, int], **columns: Any) -> Labels:
    """Returns labels of boxes x, y, width, height in whole pixels; masks are full by default."""
    x, y, w, h = np.reshape(np.asarray(rows, np.float32), (-1, 4)).T
    boxes = np.stack([y / HEIGHT, x / WIDTH, (y + h) / HEIGHT, (x + w) / WIDTH], axis=1)
    count = len(rows)
    return {
        "boxes": boxes.astype(np.float32),
        "classes": np.asarray(columns.get("classes", [1] * count), np.int32),
        "scores": np.asarray(columns.get("scores", [1] * count), np.float32),
        "is_crowd": np.asarray(columns.get("is_crowd", [False] * count), bool),
        "area": np.asarray(columns.get("area", w * h), np.float32),
        "crops": columns.get("crops", [np.ones((row[3], row[2]), np.uint8) for row in rows]),
    }


def random_objects(rng: np.random.Generator, count: int) -> Labels:
    """Returns objects of three classes in whole pixels, with elliptic masks and many equal scores."""
    wide, high = rng.integers(6, 200, count), rng.integers(6, 125, count)
    left, top = rng.integers(0, WIDTH - wide), rng.integers(0, HEIGHT - high)
    rows = [(int(x), int(y), int(w), int(h)) for x, y, w, h in zip(left, top, wide, high, strict=True)]
    ellipses = []
    for _, _, w, h in rows:
        y, x = (np.mgrid[:h, :w] + 0.5) / np.reshape([h, w], (2, 1, 1)) * 2 - 1
        ellipses.append((x**2 + y**2 <= 1).astype(np.uint8))
    return objects(
        *rows,
        classes=rng.integers(1, 4, count),
        scores=np.round(rng.random(count), 1),
        is_crowd=rng.random(count) < 0.15,
        crops=ellipses,
    )


def jittered(rng: np.random.Generator, labels: Labels, extra: int) -> Labels:
    """Returns the same objects with random scores, some of them moved, and `extra` others."""
    found = random_objects(rng, len(labels["classes"]) + extra)
    for i in np.flatnonzero(rng.random(len(labels["classes"])) < 0.7):
        for key in ("boxes", "classes", "crops"):
            found[key][i] = labels[key][i]
        found["crops"][i] = found["crops"][i].copy()
        found["crops"][i][: rng.integers(0, 4)] = 0
    found["is_crowd"][:] = False
    return found


def random_set() -> list[tuple[Labels, Labels]]:
    """Returns (labels, predictions) of five images."""
    rng = np.random.default_rng(2)
    truths = [random_objects(rng, count) for count in (8, 12, 15, 30)]
    extras = (0, 4, 9, 400)  # the last image has more than 100 detections of each class
    pairs = [(truth, jittered(rng, truth, n)) for truth, n in zip(truths, extras, strict=True)]
    return [*pairs, (random_objects(rng, 3), objects())]


def as_coco(labels: Labels, image_id: int) -> list[dict[str, Any]]:
    """Returns the objects as annotations of a COCO file. Full masks are drawn by plain slicing."""
    rows = []
    for i, (y0, x0, y1, x1) in enumerate(labels["boxes"].astype(float)):
        x, y = round(x0 * WIDTH), round(y0 * HEIGHT)
        w, h = round(x1 * WIDTH) - x, round(y1 * HEIGHT) - y
        full = np.zeros((HEIGHT, WIDTH), np.uint8)
        full[y : y + h, x : x + w] = labels["crops"][i]
        rle = mask_utils.encode(np.asfortranarray(full))
        row = {"image_id": image_id, "category_id": int(labels["classes"][i]), "bbox": [x, y, w, h]}
        row["segmentation"] = {"size": rle["size"], "counts": rle["counts"].decode()}
        row |= {"score": float(labels["scores"][i]), "area": float(labels["area"][i])}
        rows.append(row | {"iscrowd": int(labels["is_crowd"][i])})
    return rows


def _pycocotools(truth: str, found: str, kind: str) -> Any:
    coco = pycocotools.coco.COCO(truth)
    return pycocotools.cocoeval.COCOeval(coco, coco.loadRes(found), kind)


def _hotcoco(truth: str, found: str, kind: str) -> Any:
    coco = hotcoco.COCO(truth)
    return hotcoco.COCOeval(coco, coco.load_res(found), kind)


LIBRARIES = {"pycocotools": _pycocotools, "hotcoco": _hotcoco}


def coco_stats(
    folder: Path, pairs: list[tuple[Labels, Labels]], kind: str, library: str = "pycocotools"
) -> dict[str, float]:
    """Returns the metrics by a library, run like its users do: two JSON files, evaluate, accumulate, summarize."""
    truth = [row for i, (labels, _) in enumerate(pairs) for row in as_coco(labels, i + 1)]
    truth = [row | {"id": number} for number, row in enumerate(truth, 1)]
    found = [row for i, (_, guess) in enumerate(pairs) for row in as_coco(guess, i + 1)]
    keep = ("image_id", "category_id", "score", "bbox" if kind == "bbox" else "segmentation")
    images = [{"id": i + 1, "height": HEIGHT, "width": WIDTH} for i in range(len(pairs))]
    categories = [{"id": i, "name": str(i)} for i in (1, 2, 3)]
    content = {"images": images, "categories": categories, "annotations": truth}
    (folder / "truth.json").write_text(json.dumps(content))
    (folder / "found.json").write_text(json.dumps([{k: row[k] for k in keep} for row in found]))
    evaluation = LIBRARIES[library](str(folder / "truth.json"), str(folder / "found.json"), kind)
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    names = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl")
    return dict(zip(names, np.asarray(evaluation.stats).tolist(), strict=True))
