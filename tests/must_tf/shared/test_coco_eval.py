"""COCO's figures of boxes and masks, by hand and against pycocotools on JSON files."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from pycocotools import mask as mask_utils
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from must_tf.spec import Details, ImageInfo
from must_tf.tasks.detection import metric as detection
from must_tf.tasks.masks import metric as masks

HEIGHT, WIDTH = 128, 256  # powers of two: whole pixels survive normalised float32 boxes
IMAGE = ImageInfo("street/a b.jpg", HEIGHT, WIDTH)
MODULES = (detection, masks)

Labels = dict[str, Any]


def measured(
    module: Any, pairs: list[tuple[Labels, Labels]], *classes: str
) -> tuple[dict[str, float], dict[str, float], Details]:
    """COCO's figures, VOC's, and what stands beside them, of a set in which every image has the same source id."""
    metric = module.Metric(SimpleNamespace(classes=classes))
    for labels, predictions in pairs:
        metric.add(labels, predictions, IMAGE)
    # Precision is tp / (tp + fp + epsilon) in pycocotools, so 1 comes out an ulp below.
    figures = {name: round(value, 12) for name, value in metric.result().items()}
    voc = {name: figures.pop(name) for name in list(figures) if name.startswith("VOC")}
    return figures, voc, metric.details()


def evaluate(module: Any, pairs: list[tuple[Labels, Labels]], *classes: str) -> dict[str, float]:
    """COCO's figures of that set."""
    return measured(module, pairs, *classes)[0]


def objects(*rows: tuple[int, int, int, int], **columns: Any) -> Labels:
    """Labels of boxes given as x, y, width, height in whole pixels, full crops by default."""
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


@pytest.mark.parametrize("module", MODULES)
def test_a_perfect_prediction_has_the_best_figures(module: Any) -> None:
    boxes = [(3, 5, 20, 17), (40, 8, 60, 50), (100, 10, 120, 110)]  # small, medium, large
    labels = objects(*boxes, classes=[1, 2, 1], scores=[0.9, 0.8, 0.7])
    figures = evaluate(module, [(labels, labels)], "a", "b", "c")
    names = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR10", "AR100", "ARs", "ARm", "ARl")
    # One box per class and image: of class a's two boxes, AR1 can have one.
    assert figures == dict.fromkeys(names, 1.0) | {"AR1": 0.75}
    beside = measured(module, [(labels, labels)], "a", "b", "c")[2]
    assert beside.classes["AP"] == pytest.approx({"a": 1.0, "b": 1.0})
    assert (beside.absent, beside.reason) == (("c",), "")
    assert module.Metric.headline in figures
    assert module.Metric.higher_is_better


@pytest.mark.parametrize("module", MODULES)
def test_without_images_there_are_no_figures(module: Any) -> None:
    assert evaluate(module, [], "a", "b") == {}


@pytest.mark.parametrize("module", MODULES)
def test_average_precision_by_hand(module: Any) -> None:
    labels = objects((0, 0, 40, 40), (100, 50, 40, 40))
    found = objects((0, 0, 40, 40), (50, 80, 40, 40), (100, 50, 40, 40), scores=[0.9, 0.8, 0.7])  # right, wrong, right
    figures = evaluate(module, [(labels, found)], "a")
    # Precision is 1 at the 51 recalls 0.00 ... 0.50 and 2/3 at the other 50, at every overlap.
    by_hand = (51 * 1 + 50 * 2 / 3) / 101
    same = dict.fromkeys(("AP", "AP50", "AP75", "APm"), pytest.approx(by_hand))
    assert figures == same | {"AR1": 0.5, "AR10": 1.0, "AR100": 1.0, "ARm": 1.0}  # nothing small, nothing large


def test_overlap_thresholds_by_hand() -> None:
    # 40 x 36 of 40 x 50 pixels: IoU 0.72 passes 0.50 ... 0.70, five of the ten overlaps.
    pair = (objects((8, 4, 40, 50)), objects((8, 4, 40, 36)))
    figures = evaluate(detection, [pair], "a")
    assert figures["AP"] == pytest.approx(0.5)
    assert (figures["AP50"], figures["AP75"]) == (1.0, 0.0)


@pytest.mark.parametrize("module", MODULES)
def test_of_equally_near_objects_the_last_is_taken(module: Any, tmp_path: Path) -> None:
    """The surer one lies between both: 36 of 44 rows, IoU 0.82. The last object is then gone for the other, which is
    at IoU 0.67 with it and 0.43 with the first. Also by pycocotools."""
    truth = objects((8, 0, 40, 40), (8, 8, 40, 40))
    found = objects((8, 4, 40, 40), (8, 16, 40, 40), scores=[0.9, 0.8])
    figures = evaluate(module, [(truth, found)], "a")
    assert figures["AR100"] == pytest.approx(0.5 * 7 / 10)  # one of two, at 0.50 ... 0.80
    expected = coco_stats(tmp_path, [(truth, found)], "bbox" if module is detection else "segm")
    assert figures["AR100"] == pytest.approx(expected["AR100"])


def test_masks_overlap_by_pixels_and_not_by_boxes() -> None:
    crop = np.ones((50, 40), np.uint8)
    crop[7:21] = 0  # 36 of 50 rows are left: IoU 0.72 in the same box
    found = objects((8, 4, 40, 50), crops=[crop])
    figures = evaluate(masks, [(objects((8, 4, 40, 50)), found)], "a")
    assert figures["AP"] == pytest.approx(0.5)
    assert evaluate(detection, [(objects((8, 4, 40, 50)), found)], "a")["AP"] == 1.0


def test_a_crop_that_does_not_fit_its_box_raises() -> None:
    wrong = objects((8, 4, 40, 50), crops=[np.ones((40, 50), np.uint8)])
    with pytest.raises(ValueError, match="crop"):
        evaluate(masks, [(wrong, wrong)], "a")


@pytest.mark.parametrize("module", MODULES)
def test_a_crowd_is_neither_missed_nor_wrong(module: Any) -> None:
    rows = [(0, 0, 20, 20), (100, 0, 100, 100)]
    found = objects((120, 20, 30, 30), (0, 0, 20, 20), scores=[0.9, 0.5])  # first is in the crowd
    crowd = objects(*rows, is_crowd=[False, True])
    figures = evaluate(module, [(crowd, found)], "a")
    assert (figures["AP"], figures["AR100"]) == (1.0, 1.0)
    single = evaluate(module, [(objects(*rows), found)], "a")
    # One of two found, at rank 2: precision 1/2 up to recall 0.50, then 0.
    assert single["AP"] == pytest.approx(51 * 0.5 / 101)
    only_crowd = objects(rows[1], is_crowd=[True])
    assert evaluate(module, [(only_crowd, found)], "a") == {}


@pytest.mark.parametrize("module", MODULES)
def test_images_with_the_same_source_id_stay_apart(module: Any) -> None:
    row = (10, 10, 30, 30)
    missed = (objects(row), objects())
    figures = evaluate(module, [(objects(row), objects(row)), missed], "a")
    assert figures["AR100"] == 0.5  # merged, the two labels on one spot would both count as one
    misplaced = (objects(), objects(row, scores=[1.0]))
    figures = evaluate(module, [misplaced, (objects(row), objects(row, scores=[0.5]))], "a")
    assert figures["AP"] == pytest.approx(0.5)  # the sure one is wrong: precision 1/2 throughout


@pytest.mark.parametrize("module", MODULES)
def test_classes_that_never_occur_are_in_no_mean(module: Any) -> None:
    labels = objects((0, 0, 40, 40), classes=[2])
    found = objects((0, 0, 40, 40), (60, 60, 40, 40), classes=[2, 1])
    figures, _, beside = measured(module, [(labels, found)], "a", "b", "c")
    assert figures["AP"] == 1.0
    assert beside.classes["AP"].keys() == {"b"}
    assert beside.absent == ("a", "c")


@pytest.mark.parametrize("module", MODULES)
def test_a_class_beyond_the_names_shows_its_number(module: Any) -> None:
    labels = objects((0, 0, 40, 40), (60, 60, 40, 40), classes=[1, 7])
    figures, _, beside = measured(module, [(labels, objects((0, 0, 40, 40)))], "a")
    assert figures["AP"] == 0.5
    assert beside.classes["AP"] == pytest.approx({"a": 1.0, "7": 0.0})


@pytest.mark.parametrize("module", MODULES)
def test_nothing_found_and_nothing_to_find(module: Any) -> None:
    found = objects((0, 0, 40, 40))
    assert evaluate(module, [(found, objects())], "a")["AP"] == 0.0
    assert evaluate(module, [(objects(), found)], "a") == {}
    assert evaluate(module, [(objects(), objects())], "a") == {}


@pytest.mark.parametrize("module", MODULES)
def test_the_labels_area_decides_the_range(module: Any) -> None:
    box = (0, 0, 100, 100)  # a large box around a medium object
    figures = evaluate(module, [(objects(box, area=[2000]), objects(box))], "a")
    assert figures["APm"] == 1.0
    assert not {"APs", "APl", "ARs", "ARl"} & figures.keys()


@pytest.mark.parametrize("module", MODULES)
def test_pycocotools_does_not_print(module: Any, capsys: pytest.CaptureFixture[str]) -> None:
    evaluate(module, [(objects((0, 0, 40, 40)), objects((0, 0, 40, 40)))], "a")
    assert capsys.readouterr().out == ""


def random_objects(rng: np.random.Generator, count: int) -> Labels:
    """Objects of 3 classes in whole pixels, elliptic masks, scores with many ties."""
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
    """The same objects, scored at random and in part elsewhere, and others."""
    found = random_objects(rng, len(labels["classes"]) + extra)
    for i in np.flatnonzero(rng.random(len(labels["classes"])) < 0.7):
        for key in ("boxes", "classes", "crops"):
            found[key][i] = labels[key][i]
        found["crops"][i] = found["crops"][i].copy()
        found["crops"][i][: rng.integers(0, 4)] = 0
    found["is_crowd"][:] = False
    return found


def random_set() -> list[tuple[Labels, Labels]]:
    """Five images: what is there and what is found."""
    rng = np.random.default_rng(2)
    truths = [random_objects(rng, count) for count in (8, 12, 15, 30)]
    extras = (0, 4, 9, 400)  # at last more than 100 found of each class
    pairs = [(truth, jittered(rng, truth, n)) for truth, n in zip(truths, extras, strict=True)]
    return [*pairs, (random_objects(rng, 3), objects())]


def as_coco(labels: Labels, image_id: int) -> list[dict[str, Any]]:
    """The same objects as rows of a COCO file; full masks are drawn here by plain slicing."""
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


def coco_stats(folder: Path, pairs: list[tuple[Labels, Labels]], kind: str) -> dict[str, float]:
    """pycocotools as COCO's own users run it: two JSON files, evaluate, accumulate, summarize."""
    truth = [row for i, (labels, _) in enumerate(pairs) for row in as_coco(labels, i + 1)]
    truth = [row | {"id": number} for number, row in enumerate(truth, 1)]
    found = [row for i, (_, guess) in enumerate(pairs) for row in as_coco(guess, i + 1)]
    keep = ("image_id", "category_id", "score", "bbox" if kind == "bbox" else "segmentation")
    images = [{"id": i + 1, "height": HEIGHT, "width": WIDTH} for i in range(len(pairs))]
    categories = [{"id": i, "name": str(i)} for i in (1, 2, 3)]
    content = {"images": images, "categories": categories, "annotations": truth}
    (folder / "truth.json").write_text(json.dumps(content))
    (folder / "found.json").write_text(json.dumps([{k: row[k] for k in keep} for row in found]))
    coco = COCO(str(folder / "truth.json"))
    evaluation = COCOeval(coco, coco.loadRes(str(folder / "found.json")), kind)
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    names = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl")
    return dict(zip(names, evaluation.stats.tolist(), strict=True))


@pytest.mark.parametrize(("module", "kind"), [(detection, "bbox"), (masks, "segm")])
def test_figures_agree_with_pycocotools_on_files(module: Any, kind: str, tmp_path: Path) -> None:
    pairs = random_set()
    figures, _, beside = measured(module, pairs, "a", "b", "c")
    expected = coco_stats(tmp_path, pairs, kind)
    assert 0.05 < expected["AP"] < 0.95 and min(expected.values()) > 0  # it can tell
    assert {name: figures[name] for name in expected} == pytest.approx(expected, abs=1e-12)
    classes = [beside.classes["AP"][name] for name in "abc"]
    assert np.mean(classes) == pytest.approx(expected["AP"])
    assert figures.keys() == expected.keys()
