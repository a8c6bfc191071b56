"""Objects without a usable mask among others: converted, merged, exported, and converted again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from must_tf.spec import ImageInfo, Labels
from tests.support.checking import checked
from tests.support.converting import Record, converted, dump, noise, read, save
from tests.support.exporting import assert_same, export
from tests.support.merging import merged
from tfrecords_tools.export.yolo import MIXED, YoloOptions, export_yolo
from tfrecords_tools.reading import recordset
from tfrecords_tools.sources.coco.coco import Coco
from tfrecords_tools.sources.drawn.yolo import Yolo
from tfrecords_tools.sources.images import UnlabelledImages
from tfrecords_tools.stats.against_truth import matched

SQUARE = [[10, 20, 40, 20, 40, 35, 10, 35]]
OUTSIDE = [[70, 50, 79, 50, 79, 59]]


def coco(folder: Path) -> Coco:
    """One image: an object with a mask, and one for each kind of unusable mask."""
    save(folder / "images" / "a.png", noise(60, 80))
    segmentations: list[Any] = [SQUARE, [], None, [[1, 2, 3, 4]], OUTSIDE]
    boxes = [[10, 20, 30, 15], [0, 0, 10, 10], [20, 0, 10, 10], [40, 0, 10, 10], [60, 0, 10, 12]]
    annotations = [
        {"id": n, "image_id": 7, "category_id": 1, "bbox": box, "iscrowd": 0, "segmentation": segmentation}
        for n, (box, segmentation) in enumerate(zip(boxes, segmentations, strict=True), 1)
    ]
    images = [{"id": 7, "file_name": "a.png", "height": 60, "width": 80}]
    content = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "cat"}]}
    return Coco(str(folder / "images"), dump(folder / "a.json", content))


def assert_partly_masked(record: Record) -> None:
    """Checks the boxes, and that only the first object has a mask; the areas are those of the boxes."""
    labels = record.labels["masks"]
    assert labels["mask_scores"].tolist() == [1.0, -1.0, -1.0, -1.0, -1.0]
    assert [int(crop.sum()) for crop in labels["crops"]] == [450, 0, 0, 0, 0]
    assert labels["area"].tolist() == [450, 100, 100, 100, 120]
    assert len(record.labels["detection"]["boxes"]) == 5


def test_a_json_without_masks_promises_none(tmp_path: Path) -> None:
    """A dry run would measure a teacher of masks, and find nothing to train it on."""
    source = coco(tmp_path)
    assert source.find().tasks == ("detection", "masks")
    content = json.loads(Path(source.annotations).read_text())
    for annotation in content["annotations"]:
        del annotation["segmentation"]
    Path(source.annotations).write_text(json.dumps(content))
    assert source.find().tasks == ("detection",)


def test_there_and_back(tmp_path: Path) -> None:
    result = converted(coco(tmp_path), tmp_path / "records")
    assert_partly_masked(result.records["7"])
    assert result.notes() == {
        "object: no mask, box only": 2,
        "object: mask cannot be read, box only": 1,
        "object: mask is outside of its box, box only": 1,
    }
    assert result.outcome.manifest.objects == {"detection": {"cat": 5}, "masks": {"cat": 1}}
    report = checked(f"{tmp_path}/records/*.tfrecord")
    assert report["findings"] == {}
    assert report["truth_as_prediction"]["masks"]["is_perfect"]
    assert export(f"{tmp_path}/records/*.tfrecord", tmp_path / "export")["lost"] == {}
    written = json.loads((tmp_path / "export" / "instances.json").read_text())["annotations"]
    assert ["segmentation" in annotation for annotation in written] == [True, False, False, False, False]
    again = converted(
        Coco(str(tmp_path / "export" / "rgb"), str(tmp_path / "export" / "instances.json")), tmp_path / "again"
    )
    for task, labels in result.records["7"].labels.items():
        assert_same(again.records["7"].labels[task], labels)


def test_merged_in_both_orders(tmp_path: Path) -> None:
    """The image keeps the id of the set named first; its labels are the same, and come back from an export."""
    wanted = converted(coco(tmp_path), tmp_path / "records").records["7"]
    converted(UnlabelledImages(str(tmp_path / "images")), tmp_path / "album")
    for source_id, order in {"a": ("album", "records"), "7": ("records", "album")}.items():
        merged(tmp_path / source_id, [f"{tmp_path}/{name}/*.tfrecord" for name in order])
        (found,) = read(tmp_path / source_id, {"detection": ["cat"], "masks": ["cat"]}).values()
        out = tmp_path / f"export-{source_id}"
        assert export(f"{tmp_path}/{source_id}/*.tfrecord", out)["lost"] == {}
        (again,) = converted(Coco(f"{out}/rgb", f"{out}/instances.json"), out / "again").records.values()
        for record in (found, again):
            assert record.source_id == source_id
            for task, labels in wanted.labels.items():
                assert_same(record.labels[task], labels)


def test_boxes_there_and_back_in_yolos_format(tmp_path: Path) -> None:
    """A file of the format has lines of one kind, so the only mask is left out, and counted."""
    wanted = converted(coco(tmp_path), tmp_path / "records").records["7"].labels["detection"]
    sets = {"train": recordset.opened(f"{tmp_path}/records/*.tfrecord")}
    summary = export_yolo(sets, str(tmp_path / "yolo"), YoloOptions(), 1, [])
    assert {reason: entry["count"] for reason, entry in summary["lost"].items()} == {MIXED: 1}
    again = converted(Yolo(f"{tmp_path}/yolo/data.yaml"), tmp_path / "again")
    (record,) = again.records.values()
    assert (set(record.labels), again.counts(), again.notes()) == ({"detection"}, {}, {})
    for key in ("boxes", "classes", "is_crowd"):
        np.testing.assert_array_equal(record.labels["detection"][key], wanted[key])


def test_full_masks_fill_the_box(tmp_path: Path) -> None:
    """Model Garden's format has a mask for every object."""
    source = coco(tmp_path)
    converted(Coco(source.images, source.annotations, full_masks=True), tmp_path / "records")
    assert checked(f"{tmp_path}/records/*.tfrecord")["findings"] == {}


def found(labels: Labels, scores: list[float], shifts: list[int]) -> Labels:
    """Returns objects of a label as a teacher's masks, which fill boxes that are moved to the right by some pixels."""
    boxes = labels["boxes"] + np.array([[0, shift / 80, 0, shift / 80] for shift in shifts], np.float32)
    sizes = np.rint((boxes[:, 2:] - boxes[:, :2]) * [60, 80]).astype(int)
    crops = [np.ones(size, np.uint8) for size in sizes]
    return labels | {"boxes": boxes, "crops": crops, "scores": np.array(scores, np.float32)}


def test_a_teachers_mask_of_such_an_object_is_not_judged(tmp_path: Path) -> None:
    """Of five masks the first is right, the second lies on its box, and the third is far enough from it to be wrong."""
    truth = converted(coco(tmp_path), tmp_path / "records").records["7"].labels["masks"]
    pseudo = found(truth, [0.9] * 5, [0, 0, 6, 0, 0])
    right, judgeable = matched(pseudo, truth, ImageInfo("7", 60, 80))
    assert right.tolist() == [True, False, False, False, False]
    assert judgeable.tolist() == [True, False, True, False, False]
