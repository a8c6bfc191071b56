"""All figures against independent implementations, and Pascal VOC's rules by hand."""

from __future__ import annotations

import numpy as np
import pytest
from official.vision.evaluation.instance_metrics import VOC2010AveragePrecision

from must_tf.shared import voc_eval
from must_tf.tasks.detection import metric as detection
from tests.support.coco_objects import Labels, measured, objects
from tests.tools import metric_table


@pytest.mark.parametrize("table", metric_table.TABLES)
def test_figures_agree_with_independent_implementations(table: str) -> None:
    """And are no figures on which every implementation agrees: none is 0, nearly none is at its best."""
    rows = metric_table.TABLES[table]()
    assert [row for row in rows if not row.agrees] == []
    assert all(row.ours > 0 for row in rows)
    assert sum(row.ours == 1.0 for row in rows) == 0


def test_every_figure_is_in_the_table() -> None:
    """The names that the metrics report are those that were compared."""
    compared = {(row.protocol, row.name) for rows in metric_table.TABLES.values() for row in rows()}
    names = {name for _, name in compared}
    assert len(compared) == 12 + 12 + 2 + 2 * 4 + 4 * 9 + 6 + 2
    assert {"ARs", "ARl", "VOC07_AP50", "ADE20K_score", "sq_rel", "rmse_log", "rmse_angle", "top5"} <= names


def voc(*pairs: tuple[Labels, Labels]) -> tuple[float, float]:
    """AP of class a by 11 points and by all."""
    figures = measured(detection, list(pairs), "a")[1]
    return figures["VOC07_AP50"], figures["VOC10_AP50"]


def test_average_precision_of_voc_by_hand() -> None:
    labels = objects((0, 0, 40, 40), (100, 50, 40, 40))
    found = objects((0, 0, 40, 40), (50, 80, 40, 40), (100, 50, 40, 40), scores=[0.9, 0.8, 0.7])  # right, wrong, right
    # Precision 1 up to recall 1/2, then 2/3: recalls 0.0 ... 0.5 are 6 of 11 points, and half of the area.
    assert voc((labels, found)) == (pytest.approx((6 * 1 + 5 * 2 / 3) / 11), pytest.approx(0.5 * 1 + 0.5 * 2 / 3))


def test_a_second_match_is_wrong_even_beside_a_free_label() -> None:
    """Both found objects lie nearest to the first of two labels that overlap. COCO gives the second to the other."""
    labels = objects((0, 0, 100, 100), (0, 0, 100, 70))
    found = objects((0, 0, 100, 100), (0, 0, 100, 96), scores=[0.9, 0.8])  # IoU of the second: 0.96 and 70/96
    # Right, wrong: precision 1 up to recall 1/2, nothing beyond.
    assert voc((labels, found)) == (pytest.approx(6 / 11), pytest.approx(0.5))
    assert measured(detection, [(labels, found)], "a")[0]["AP50"] == 1.0


def test_difficult_objects_are_neither_missed_nor_wrong() -> None:
    rows = [(0, 0, 20, 20), (100, 0, 100, 100)]
    found = objects((100, 0, 100, 90), (100, 0, 100, 100), (0, 0, 20, 20), scores=[0.9, 0.8, 0.5])
    assert voc((objects(*rows, is_crowd=[False, True]), found)) == (1.0, 1.0)
    # As an ordinary object: right, wrong (second on it), right.
    by_hand = (6 * 1 + 5 * 2 / 3) / 11
    assert voc((objects(*rows), found)) == (pytest.approx(by_hand), pytest.approx(0.5 + 0.5 * 2 / 3))
    assert measured(detection, [(objects(rows[1], is_crowd=[True]), found)], "a")[1] == {}


def test_an_overlap_of_exactly_a_half_is_enough() -> None:
    assert voc((objects((0, 0, 40, 40)), objects((0, 0, 40, 20)))) == (1.0, 1.0)
    assert voc((objects((0, 0, 40, 40)), objects((0, 0, 40, 19)))) == (0.0, 0.0)


def test_a_tenth_of_the_objects_reaches_a_tenth_of_the_recall() -> None:
    """3 of 10 found: recalls 0.0, 0.1, 0.2 and 0.3 are reached, though 3 * 0.1 is more than 0.3 in floating point."""
    rows = [(20 * place, 0, 16, 16) for place in range(10)]
    assert voc((objects(*rows), objects(*rows[:3])))[0] == pytest.approx(4 / 11)


def test_found_objects_of_all_images_stand_in_one_line() -> None:
    """The surest, in another image, is wrong: precision 1/2 throughout."""
    row = (10, 10, 30, 30)
    misplaced, right = (objects(), objects(row, scores=[0.9])), (objects(row), objects(row, scores=[0.5]))
    assert voc(misplaced, right) == (pytest.approx(0.5), pytest.approx(0.5))


def test_more_than_a_hundred_found_objects_count() -> None:
    rows = [(2 * (place % 120), 12 * (place // 120), 2, 12) for place in range(110)]
    assert voc((objects(*rows), objects(*rows))) == (1.0, 1.0)
    assert measured(detection, [(objects(*rows), objects(*rows))], "a")[0]["AR100"] == pytest.approx(100 / 110)


def test_the_area_is_model_gardens() -> None:
    rng = np.random.default_rng(5)
    right = rng.random(50) < 0.6
    precision, recall = np.cumsum(right) / np.arange(1, 51), np.cumsum(right) / 40
    theirs = VOC2010AveragePrecision()(precision.astype(np.float32), recall.astype(np.float32))
    assert voc_eval.all_points(precision, recall) == pytest.approx(float(theirs), rel=1e-6)
