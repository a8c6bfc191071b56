"""Stats believes a label where training does: masks by their own score, images by their likeliest class."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from must_tf.data import record, scenes
from must_tf.spec import Labels
from tests.support.labelling import SIZE, boxes, by, found_in, judged, records

FIRST = scenes.OBJECTS[0]
TEACHER = "pseudo:abc"


def masked(scores: list[float], mask_scores: list[float]) -> Labels:
    """Objects of the first class beside each other with masks of all of their boxes."""
    found = boxes([(1, score, [0.0, 0.25 * place, 1.0, 0.25 * place + 0.25]) for place, score in enumerate(scores)])
    crops = [np.ones([SIZE[0], SIZE[1] // 4], np.uint8)] * len(scores)
    return found | {"crops": crops, "mask_scores": np.array(mask_scores, np.float32)}


def mask_records(folder: Path, labels: Labels, origin: str, images: int) -> str:
    one = {task: record.Labelled(labels, origin) for task in ("detection", "masks")}
    return records(folder, [one] * images)


def test_masks_are_believed_as_training_believes_them(tmp_path: Path) -> None:
    """Four boxes: one below the threshold; of the three others' masks one is below its own, and one just reaches it."""
    glob = mask_records(tmp_path / "set", masked([0.95, 0.8, 0.75, 0.3], [0.9, 0.49, 0.5, 0.9]), TEACHER, 1)
    content = judged(glob)
    found = found_in(content, "masks")["found"]
    assert (found["per_image"], found["hollow"]) == (2, pytest.approx(1 / 3))
    assert found["scores"] == [0, 0, 0, 1, 0, 0, 0, 1, 0, 1]  # no threshold of boxes brings the second mask
    assert found_in(content, "detection")["found"]["per_image"] == 3
    assert content["settings"]["masks"]["mask_score_threshold"] == 0.5
    found = found_in(judged(glob, settings=["masks.mask_score_threshold=0.4"]), "masks")["found"]
    assert (found["per_image"], found["hollow"]) == (3, 0)


def test_masks_take_over_the_thresholds_of_boxes(tmp_path: Path) -> None:
    glob = mask_records(tmp_path / "set", masked([0.95, 0.8], [0.9, 0.9]), TEACHER, 1)
    content = judged(glob, settings=[f"detection.class_thresholds=['{FIRST}=0.9']"])
    assert content["settings"]["masks"]["class_thresholds"] == [f"{FIRST}=0.9"]
    assert [found_in(content, task)["found"]["per_image"] for task in ("detection", "masks")] == [1, 1]
    both = ["masks.class_thresholds=['{}=0.5']", "detection.class_thresholds=['{}=0.9']"]
    content = judged(glob, settings=[one.format(FIRST) for one in both])
    assert [found_in(content, task)["found"]["per_image"] for task in ("detection", "masks")] == [1, 2]


def test_masks_that_are_no_masks_fail(tmp_path: Path) -> None:
    glob = mask_records(tmp_path / "set", masked([0.9, 0.9], [0.1, 0.1]), TEACHER, 25)
    failed = judged(glob)["verdict"]["failed"]
    assert "masks" in failed
    assert any(
        "100% of the boxes above the threshold have a mask below mask_score_threshold" in one for one in failed["masks"]
    )
    assert any("100% of images have no label" in one for one in failed["masks"])


def test_a_mask_that_training_does_not_read_is_not_judged(tmp_path: Path) -> None:
    """The second object's mask is not believed: neither wrong, nor right where it is found again."""
    glob = mask_records(tmp_path / "set", masked([0.9, 0.8], [0.9, 0.1]), TEACHER, 1)
    truth = mask_records(tmp_path / "truth", masked([1.0, 1.0], [1.0, 1.0]), "real:hand", 1)
    known = found_in(judged(glob, truth=truth), "masks")["truth"]
    assert (known["precision"], known["recall"]) == ({FIRST: 1.0}, {FIRST: 0.5})


def likely(*first: float) -> list[Labels]:
    """Distributions: the first class is so likely, the second all the rest."""
    rest = [0.0] * (len(scenes.CLASSES["classification"]) - 2)
    return [{"probability": np.array([one, 1 - one, *rest], np.float32)} for one in first]


def test_an_image_below_the_threshold_is_not_believed(tmp_path: Path) -> None:
    """The first class is likeliest in three images, the second in one; by the truth all are of the first."""
    glob = records(tmp_path / "set", by(TEACHER, "classification", likely(0.9, 0.8, 0.625, 0.25)))
    truth = records(tmp_path / "truth", by("real:hand", "classification", likely(1.0, 1.0, 1.0, 1.0)))
    first, second = scenes.CLASSES["classification"][:2]
    usual = found_in(judged(glob, truth=truth), "classification")
    assert [usual["found"]["classes"][name] for name in (first, second)] == [3, 1]
    assert usual["truth"]["right"] == usual["truth"]["figures"]["top1"] == 0.75
    known = found_in(judged(glob, truth=truth, settings=["classification.confidence_threshold=0.7"]), "classification")
    assert [known["found"]["classes"][name] for name in (first, second)] == [2, 1]
    assert known["found"]["low_confidence"] == 0.25
    assert known["found"]["confidence"] == pytest.approx((0.9 + 0.8 + 0.625 + 0.75) / 4, abs=1e-3)  # of all
    assert known["truth"]["right"] == known["truth"]["figures"]["top1"] == pytest.approx(2 / 3)
    assert (known["truth"]["precision"], known["truth"]["recall"]) == ({first: 1.0, second: 0.0}, {first: 0.5})
    none = found_in(judged(glob, truth=truth, settings=["classification.confidence_threshold=1.0"]), "classification")
    assert none["truth"]["right"] is None and not any(none["found"]["classes"].values())


def test_thresholds_of_images_are_suggested_by_precision(tmp_path: Path) -> None:
    """Ten images at 0.9 are right and ten at 0.6 wrong."""
    glob = records(tmp_path / "set", by(TEACHER, "classification", likely(*[0.9] * 10, *[0.6] * 10)))
    truth = records(tmp_path / "truth", by("real:hand", "classification", likely(*[1.0] * 10, *[0.0] * 10)))
    suggested = found_in(judged(glob, truth=truth), "classification")["suggested"]
    assert suggested["thresholds"] == {scenes.CLASSES["classification"][0]: pytest.approx(0.9, abs=0.011)}
    assert found_in(judged(glob), "classification")["suggested"] is None
