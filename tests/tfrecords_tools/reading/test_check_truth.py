"""The truth as prediction is perfect, and what keeps it from that is told: facts of the data from faults."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from must_tf.data import record
from must_tf.spec import ImageInfo
from must_tf.tasks import discover
from must_tf.tasks.classification.summary import TIED
from must_tf.tasks.depth.metric import RELATIVE
from must_tf.tasks.detection.summary import BEYOND
from must_tf.tasks.masks.summary import EMPTY_MASK
from tests.support.checking import checked
from tests.support.converting import noise
from tests.support.tiny import Tiny, image_bytes, write_set
from tfrecords_tools.check import dataset_rules
from tfrecords_tools.reading import check_truth


def objects(boxes: int, empty: int = 0, crowd: bool = False) -> dict[str, Any]:
    """Perhaps a crowd over all, then so many squares of one class in a row; the last masks have no pixel."""
    x = np.arange(boxes) / (boxes + 1)
    corners = np.stack([np.full(boxes, 0.25), x, np.full(boxes, 0.75), x + 0.5 / (boxes + 1)], -1)
    crops = [np.ones([64, 2], np.uint8) * (index < boxes - empty) for index in range(boxes)]
    if crowd:
        corners = np.vstack([[[0.0, 0.0, 1.0, 1.0]], corners])
        crops.insert(0, np.ones([128, 4 * (boxes + 1)], np.uint8))
    count = len(corners)
    return {
        "boxes": corners.astype(np.float32),
        "classes": np.ones(count, np.int32),
        "scores": np.ones(count, np.float32),
        "is_crowd": np.arange(count) < count - boxes,
        "area": np.array([crop.sum() for crop in crops], np.float32),
        "crops": crops,
    }


def set_of(folder: Path, labels: dict[str, Any], boxes: int) -> str:
    """One image 128 pixels high in which a square is 2 pixels wide."""
    width = 4 * (boxes + 1)
    labelled = {"detection": record.Labelled({k: v for k, v in labels.items() if k != "crops"}, "real:hand")}
    labelled["masks"] = record.Labelled(labels, "real:hand")
    serialized = record.encode(image_bytes(noise(128, width)), ImageInfo("a", 128, width), labelled, discover())
    return write_set(folder, [[serialized]], ("detection", "masks"))


FILLED = "masks: all masks fill their boxes, were they made from boxes?"


@pytest.mark.parametrize(
    ("labels", "boxes", "detection", "masks"),
    [
        (objects(103), 103, {BEYOND: 3}, {BEYOND: 3}),
        (objects(4, empty=2), 4, {}, {EMPTY_MASK: 2}),
        (objects(100, crowd=True), 100, {}, {}),  # no answer is spent on the crowd
        (objects(0), 0, {}, {}),
        (objects(0, crowd=True), 0, {}, {}),
    ],
)
def test_what_the_protocol_does_not_score_is_told_from_faults(
    labels: dict[str, Any], boxes: int, detection: dict[str, int], masks: dict[str, int], tmp_path: Path
) -> None:
    result = checked(set_of(tmp_path / "set", labels, boxes))
    # A dataset of no object, or of a crowd, is of no use, and no fault of the protocol's. The squares fill their boxes.
    assert {problem.partition(": ")[2].split(" ")[0] for problem in result["findings"]} <= {"nothing", "all"}
    assert bool({*result["findings"]} - {FILLED}) == (boxes == 0)
    truth = result["truth_as_prediction"]
    assert (truth["detection"]["because"], truth["masks"]["because"]) == (detection, masks)
    assert truth["masks"]["is_perfect"] == (not masks)
    assert (truth["detection"]["value"] is None) == (boxes == 0)  # nothing to measure is no fault


def test_equal_probabilities_are_told_from_faults(tmp_path: Path) -> None:
    labels = {"probability": np.array([0.4, 0.4, 0.1, 0.1], np.float32)}
    labelled = {"classification": record.Labelled(labels, "pseudo:abc")}
    serialized = record.encode(image_bytes(noise(8, 8)), ImageInfo("a", 8, 8), labelled, discover())
    result = checked(write_set(tmp_path / "set", [[serialized]], ("classification",)))
    assert result["findings"] == {}
    assert result["truth_as_prediction"]["classification"]["because"] == {TIED: 1}


RAMP = np.linspace(0.0, 9.0, 64, dtype=np.float32).reshape(8, 8)
METRIC, INVERSE = ({key: RAMP} for key in ("metres", "inverse_depth"))


@pytest.mark.parametrize(
    ("labels", "value", "is_perfect", "line"),
    [
        ((INVERSE, INVERSE), None, None, "not measured"),
        ((INVERSE, METRIC), 1.0, True, "delta1      1        1       2"),
        ((METRIC, METRIC), 1.0, True, "delta1      1        1       2"),
    ],
)
def test_relative_depth_is_said_to_be_not_measured(
    labels: tuple[dict[str, Any], ...], value: float | None, is_perfect: bool | None, line: str, tmp_path: Path
) -> None:
    records = [
        record.encode(
            image_bytes(noise(8, 8)), ImageInfo(str(i), 8, 8), {"depth": record.Labelled(one, "real:x")}, discover()
        )
        for i, one in enumerate(labels)
    ]
    result = checked(write_set(tmp_path / "set", [records], ("depth",)))
    truth, relative = result["truth_as_prediction"]["depth"], sum(one is INVERSE for one in labels)
    assert (truth["value"], truth["is_perfect"], truth["images"]) == (value, is_perfect, 2)
    assert truth["because"] == ({RELATIVE: relative} if relative else {})
    assert any("depth" in shown and line in shown for shown in dataset_rules.lines(result))
    assert result["findings"] == {}


def test_a_metric_that_is_off_is_a_finding_with_its_image(tiny_records: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = discover()["depth"]

    class Off(whole.Metric):  # type: ignore[name-defined,misc]
        """Takes one image's depth for twice as much."""

        def add(self, labels: Any, predictions: Any, image: ImageInfo) -> None:
            factor = 2.0 if image.source_id == "scene-3" else 1.0
            super().add(labels, {"metres": predictions["metres"] * factor}, image)

    monkeypatch.setitem(discover(), "depth", dataclasses.replace(whole, Metric=Off))
    result = checked(f"{tiny_records.records}/*.tfrecord")
    assert result["truth_as_prediction"]["depth"]["value"] == pytest.approx(2 / 3)  # of the three images in its shard
    (places,) = (one["places"] for one in result["findings"].values())
    assert places == ["records-00001-of-00002.tfrecord record 1 ('scene-3'): 0.000000"]


def test_a_figure_that_is_no_number_is_a_finding_and_still_json(tmp_path: Path) -> None:
    labels = {"metres": np.full([8, 8], 2.0, np.float32)}
    serialized = record.encode(
        image_bytes(noise(8, 8)), ImageInfo("a", 8, 8), {"depth": record.Labelled(labels, "real:x")}, discover()
    )

    class Broken:
        """Every figure is NaN."""

        figures: tuple[str, ...] = ("delta1",)
        headline = "delta1"
        higher_is_better = True

        def __init__(self, config: Any):
            pass

        def add(self, labels: Any, predictions: Any, image: ImageInfo) -> None:
            pass

        def merge(self, later: Any) -> None:
            raise NotImplementedError

        def result(self) -> dict[str, float]:
            return {"delta1": float("nan")}

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(discover(), "depth", dataclasses.replace(discover()["depth"], Metric=Broken))
        result = checked(write_set(tmp_path / "set", [[serialized]], ("depth",)))
    assert "depth: ground truth as prediction does not score perfectly" in result["findings"]
    assert json.loads(json.dumps(result, allow_nan=False))["truth_as_prediction"]["depth"]["is_perfect"] is False
    assert any("NaN or infinite" in line for line in dataset_rules.lines(result))


@pytest.mark.parametrize(
    ("height", "width", "heights"), [(9, 4, [3, 3, 3]), (7, 4, [3, 3, 1]), (3, 4, [3]), (2, 50, [1, 1])]
)
def test_large_maps_are_measured_in_bands(
    height: int, width: int, heights: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Metrics take many times the memory of a map. Together the bands are the map; objects are never divided."""
    monkeypatch.setattr(check_truth, "BAND", 12)
    maps = {"classes": noise(height, width)[..., 0], "confidence": noise(height, width)}
    parts = [*check_truth.bands(maps, ImageInfo("a", height, width))]
    assert [info for _, info in parts] == [ImageInfo("a", each, width) for each in heights]
    for key, value in maps.items():
        np.testing.assert_array_equal(np.concatenate([part[key] for part, _ in parts]), value)
    boxes = {"boxes": np.zeros([height, 4]), "crops": [np.zeros([1, 1])] * height}
    assert [*check_truth.bands(boxes, ImageInfo("a", height, width))] == [(boxes, ImageInfo("a", height, width))]
