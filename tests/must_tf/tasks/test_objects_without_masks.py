"""An object without a mask among others with masks was not looked at: it has no part in whatever concerns masks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from must_tf.data import geometry, record
from must_tf.label_content import ImageInfo
from must_tf.spec import Labels
from must_tf.tasks.detection.metric import Metric as BoxMetric
from must_tf.tasks.masks import labels as masks
from must_tf.tasks.masks import summary, view
from must_tf.tasks.masks.config import Config
from must_tf.tasks.masks.metric import Metric
from tests.support.contract import SIZE, SPECS, example

H, W = 64, 96
INFO = ImageInfo("a", H, W)
CONFIG = Config(enabled=True, classes=("cat", "dog"), target_side=8, max_objects=5)
ORIGIN = "real:x"


def objects(*boxes: tuple[int, int, int, int], unknown: tuple[int, ...] = (), **more: Any) -> Labels:
    """Returns objects of class 1 with boxes y0, x0, y1, x1 in pixels, and masks of their left halves."""
    crops = [np.zeros([y1 - y0, x1 - x0], np.uint8) for y0, x0, y1, x1 in boxes]
    for place, crop in enumerate(crops):
        crop[:, : crop.shape[1] // 2] = place not in unknown
    labels = {
        "boxes": (np.array(boxes, np.float32).reshape(-1, 4) / np.array([H, W, H, W], np.float32)).astype(np.float32),
        "classes": np.ones([len(boxes)], np.int32),
        "scores": np.ones([len(boxes)], np.float32),
        "is_crowd": np.zeros([len(boxes)], bool),
        "area": np.array([crop.size for crop in crops], np.float32),
        "crops": crops,
        "mask_scores": np.array([-1.0 if place in unknown else 1.0 for place in range(len(boxes))], np.float32),
    }
    return labels | more


CAT, FAR, OTHER = (4, 8, 24, 48), (40, 8, 60, 48), (4, 56, 24, 90)
WITHOUT_ITS_MASK = objects(CAT, FAR, OTHER, unknown=(1,))
KNOWN = objects(CAT, OTHER)


def serialized(labels: Labels) -> bytes:
    """Returns a record with these boxes and masks."""
    boxes = {key: value for key, value in labels.items() if key not in masks.OWN}
    labelled = {"detection": record.Labelled(boxes, ORIGIN), "masks": record.Labelled(labels, ORIGIN)}
    return example(np.zeros([H, W, 3], np.uint8), labelled)


def targets(labels: Labels, task: str, **settings: Any) -> dict[str, np.ndarray]:
    """Returns the targets of a record."""
    configs = {
        "masks": Config(**{**CONFIG.as_dict(), **settings}),
        "detection": SPECS["detection"].Config(classes=CONFIG.classes),
    }
    parsed = record.parse(tf.constant(serialized(labels)), SPECS, configs)
    warp = geometry.fit(tf.constant([H, W]), SIZE)
    found = SPECS[task].targets(parsed, tf.constant([H, W]), warp, configs[task])
    return {key: value.numpy() for key, value in found.items()}


@pytest.mark.parametrize("threshold", [0.5, 0.0])
def test_training_sees_its_box_only(threshold: float) -> None:
    """The loss is computed from the targets, which are those of a record without the object."""
    found = targets(WITHOUT_ITS_MASK, "masks", mask_score_threshold=threshold)
    for key, wanted in targets(KNOWN, "masks").items():
        np.testing.assert_array_equal(found[key], wanted)
    assert (targets(WITHOUT_ITS_MASK, "detection")["classes"] > 0).sum() == 3


def test_records_keep_it_and_others_keep_their_bytes() -> None:
    features = tf.train.Example.FromString(serialized(WITHOUT_ITS_MASK)).features.feature
    assert list(features["image/object/mask_score"].float_list.value) == [1.0, -1.0, 1.0]
    assert masks.count(features) == {1: 2}
    assert "image/object/mask_score" not in tf.train.Example.FromString(serialized(KNOWN)).features.feature
    read = record.read_labels(serialized(WITHOUT_ITS_MASK), SPECS, {"masks": CONFIG})["masks"].labels
    assert masks.has_mask(read).tolist() == [True, False, True]
    assert [int(crop.sum()) for crop in read["crops"]] == [20 * 20, 0, 20 * 17]


def measured(truth: Labels, predictions: Labels, metric: Any = Metric) -> dict[str, float]:
    """Returns the metrics of one image, without those of its best prediction: it may be one that is not judged."""
    one = metric(CONFIG)
    one.add(truth, predictions, INFO)
    return {name: value for name, value in one.result().items() if name != "AR1"}


def test_the_metric_neither_misses_it_nor_judges_what_finds_it() -> None:
    """Figures are those without the object, whatever is predicted at its place."""
    found: dict[str, Any] = {"scores": np.array([0.9, 0.95, 0.8], np.float32)}
    wanted = measured(KNOWN, objects(CAT, OTHER, scores=found["scores"][[0, 2]]))
    assert wanted["AP"] == pytest.approx(1.0)
    assert measured(WITHOUT_ITS_MASK, objects(CAT, FAR, OTHER, **found)) == wanted
    near = (42, 12, 60, 48)  # IoU of the boxes 0.81, and no pixel of a mask to compare
    assert measured(WITHOUT_ITS_MASK, objects(CAT, near, OTHER, **found)) == wanted
    assert measured(WITHOUT_ITS_MASK, objects(CAT, OTHER, scores=found["scores"][[0, 2]])) == wanted


def test_mistakes_elsewhere_count() -> None:
    """A better-scored prediction beside all objects, or of another class at its place, halves the precision."""
    scores = np.array([0.95, 0.9, 0.8], np.float32)
    wrong = measured(WITHOUT_ITS_MASK, objects((40, 52, 60, 92), CAT, OTHER, scores=scores))["AP"]
    assert wrong == pytest.approx(measured(KNOWN, objects((40, 52, 60, 92), CAT, OTHER, scores=scores))["AP"])
    assert wrong < 0.9
    truth = WITHOUT_ITS_MASK | {"classes": np.array([1, 2, 1], np.int32)}
    assert measured(truth, objects(FAR, CAT, OTHER, scores=scores))["AP"] == pytest.approx(wrong)


def test_its_box_is_measured() -> None:
    assert measured(WITHOUT_ITS_MASK, objects(CAT, OTHER), BoxMetric)["AR100"] == pytest.approx(2 / 3)


def test_a_class_without_a_mask_is_absent() -> None:
    truth = WITHOUT_ITS_MASK | {"classes": np.array([1, 2, 1], np.int32)}
    metric = Metric(CONFIG)
    metric.add(truth, truth, INFO)
    assert metric.result()["AP"] == pytest.approx(1.0)
    assert metric.details().absent == ("dog",)


def test_it_is_not_drawn() -> None:
    image = np.full([H, W, 3], 90, np.uint8)
    np.testing.assert_array_equal(view.draw(image, WITHOUT_ITS_MASK, CONFIG), view.draw(image, KNOWN, CONFIG))


def test_record_tools_do_not_count_it() -> None:
    content = summary.content(WITHOUT_ITS_MASK, INFO, CONFIG)
    assert content.there().tolist() == [True, False, True]
    assert summary.add(WITHOUT_ITS_MASK, CONFIG) == {"boxes": 2, "hollow": 0}
    assert not any(things.any() for things in summary.unscored(WITHOUT_ITS_MASK).values())
    assert list(summary.problems(WITHOUT_ITS_MASK, INFO, CONFIG)) == []
    drawn = WITHOUT_ITS_MASK | {"crops": objects(CAT, FAR, OTHER)["crops"]}
    assert [what for what, _ in summary.problems(drawn, INFO, CONFIG)] == [
        "pixels of an object that has no mask by its score"
    ]


@pytest.mark.parametrize(("unknown", "recall"), [((1,), 1.0), ((), 0.5)])
def test_predictions_of_an_object_without_a_mask_do_not_displace_others(
    unknown: tuple[int, ...], recall: float
) -> None:
    """AR1 takes one prediction an image, and the better one is of the second object."""
    metric = Metric(CONFIG)
    predictions = objects(CAT, FAR, scores=np.array([0.5, 0.9], np.float32))
    metric.add(objects(CAT, FAR, unknown=unknown), predictions, INFO)
    assert metric.result()["AR1"] == recall


def test_a_prediction_that_overlaps_a_mask_is_judged_and_may_displace() -> None:
    """Although its box is also near that of an object without a mask."""
    metric = Metric(CONFIG)
    near = (CAT[0] + 2, CAT[1], CAT[2] + 2, CAT[3])
    metric.add(objects(CAT, near, unknown=(1,)), objects(CAT), INFO)
    assert metric.result()["AR1"] == 1.0
