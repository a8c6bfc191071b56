"""COCO's figures of boxes and masks, by hand and against pycocotools and hotcoco on JSON files."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from must_tf.shared import coco_eval
from must_tf.tasks.detection import metric as detection
from must_tf.tasks.masks import metric as masks
from tests.support.coco_objects import LIBRARIES, coco_stats, evaluate, measured, objects, random_set

MODULES = (detection, masks)


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
def test_the_evaluator_does_not_print(module: Any, capsys: pytest.CaptureFixture[str]) -> None:
    evaluate(module, [(objects((0, 0, 40, 40)), objects((0, 0, 40, 40)))], "a")
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize(("module", "kind"), [(detection, "bbox"), (masks, "segm")])
def test_figures_agree_with_other_libraries_on_files(module: Any, kind: str, library: str, tmp_path: Path) -> None:
    pairs = random_set()
    figures, _, beside = measured(module, pairs, "a", "b", "c")
    expected = coco_stats(tmp_path, pairs, kind, library)
    assert 0.05 < expected["AP"] < 0.95 and min(expected.values()) > 0  # it can tell
    assert {name: figures[name] for name in expected} == pytest.approx(expected, abs=1e-12)
    classes = [beside.classes["AP"][name] for name in "abc"]
    assert np.mean(classes) == pytest.approx(expected["AP"])
    assert figures.keys() == expected.keys()


def test_of_a_prediction_25_bytes_are_kept_and_no_shape() -> None:
    """Those of 100 images, of which no process but the first computes metrics: they are sent to it."""
    boxes = [(10 * n, 5 * n, 30, 30) for n in range(12)]
    found, one = coco_eval.instances(objects(*boxes)), coco_eval.instances(objects(boxes[0]))
    collected = coco_eval.CocoEval()
    sizes = []
    for _ in range(101):
        sizes.append(len(pickle.dumps(collected)))
        collected.add(one, found, np.eye(12)[:, :1])
    # An object takes 17 bytes, and the one pair that overlaps takes 21.
    assert sizes[-1] - sizes[0] <= 100 * (12 * 25 + 17 + 21)


def test_a_class_of_which_nothing_is_labelled_lies_between_others() -> None:
    labels = objects((0, 0, 40, 40), (60, 60, 40, 40), classes=[1, 3])
    found = objects((0, 0, 40, 40), (60, 60, 40, 40), (60, 60, 40, 40), classes=[1, 3, 2])
    figures, _, beside = measured(detection, [(labels, found), (objects(), found)], "a", "b", "c")
    assert beside.classes["AP"] == pytest.approx({"a": 1.0, "c": 1.0})
    assert (figures["AR100"], beside.absent) == (1.0, ("b",))
