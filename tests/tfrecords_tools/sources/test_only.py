"""A dataset converted without some of its labels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from must_tf.common.errors import UserError
from tests.support.converting import converted, dump, must_records, noise, read, save
from tests.support.datasets.ade_and_cityscapes import city
from tests.support.tiny import ALL
from tfrecords_tools.sources.cityscapes import Cityscapes
from tfrecords_tools.sources.diode import Diode
from tfrecords_tools.sources.only import only
from tfrecords_tools.sources.scenes import Scenes

SCENES = Scenes("wild", count=3, seed=5, size=48, tasks="all")


def test_other_labels_and_their_class_names_are_gone_and_the_kept_ones_unchanged(tmp_path: Path) -> None:
    whole = converted(SCENES, tmp_path / "whole")
    result = converted(only(SCENES, "segmentation, depth"), tmp_path / "only")
    assert result.outcome.manifest.classes.keys() == {"segmentation"}
    assert result.outcome.manifest.origins.keys() == {"segmentation", "depth"}
    assert whole.outcome.manifest.origins.keys() == set(ALL)
    assert result.records.keys() == whole.records.keys()
    for name, record in result.records.items():
        assert set(record.labels) == {"segmentation", "depth"}
        assert (record.labels["segmentation"]["classes"] == whole.records[name].labels["segmentation"]["classes"]).all()
        assert record.stored == whole.records[name].stored


def test_without_tasks_the_source_is_unchanged() -> None:
    assert only(SCENES, "") is SCENES


@pytest.mark.parametrize(
    ("tasks", "message"),
    [
        ("segmentaton", "Did you mean 'segmentation'"),
        ("masks", "masks needs detection"),
    ],
)
def test_wrong_tasks_are_refused(tasks: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        only(SCENES, tasks)


def test_labels_that_a_dataset_does_not_have_are_refused() -> None:
    source = only(Scenes("detection", count=1, seed=5), "segmentation")
    with pytest.raises(UserError, match="has labels of detection, masks only"):
        source.find()


@pytest.mark.parametrize(("tasks", "has"), [("segmentation", "depth only"), ("depth,normals", "depth only")])
def test_a_dataset_without_any_class_knows_its_labels_too(tasks: str, has: str, tmp_path: Path) -> None:
    np.save(Path(save(tmp_path / "a.png", noise(4, 4))).with_name("a_depth.npy"), np.ones([4, 4, 1]))
    gone = tasks.split(",")[-1]
    with pytest.raises(UserError, match=f"--tasks {gone}: with these options the dataset has labels of {has}"):
        only(Diode(str(tmp_path)), tasks).find()
    assert set(converted(only(Diode(str(tmp_path)), "depth"), tmp_path / "out").records["a"].labels) == {"depth"}


def test_withheld_labels_are_not_an_error(tmp_path: Path) -> None:
    source = Cityscapes(city(tmp_path), "test")
    assert len(only(source, "segmentation").find().items) == 1
    with pytest.raises(UserError, match="has labels of segmentation, detection, masks only"):
        only(source, "depth").find()


def test_coco_without_its_masks_by_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(tmp_path / "images" / "1.png", noise(40, 50))
    box = {"id": 1, "image_id": 1, "category_id": 7, "bbox": [5, 6, 20, 20], "area": 400, "iscrowd": 0}
    polygon = {"segmentation": [[5, 6, 25, 6, 25, 26, 5, 26]]}
    content = {
        "images": [{"id": 1, "file_name": "1.png", "height": 40, "width": 50}],
        "categories": [{"id": 7, "name": "dog"}],
        "annotations": [box | polygon],
    }
    given = ["--images", str(tmp_path / "images"), "--annotations", dump(tmp_path / "instances.json", content)]
    out = str(tmp_path / "out")
    words = ["convert", "coco", *given, "--tasks", "detection", "--full-masks", "--workers", "1", "--out", out]
    assert must_records(words, monkeypatch) == 0
    record = read(out, {"detection": ["dog"]})["1"]
    assert set(record.labels) == {"detection"}
    assert b"image/object/mask" not in record.serialized
