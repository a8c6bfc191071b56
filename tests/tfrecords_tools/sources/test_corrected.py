"""A teacher's labels that were corrected in another tool come back as real labels with the teacher's id."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from must_tf.common.errors import UserError
from must_tf.data import geometry, record, scenes
from must_tf.data import input as input_lib
from must_tf.tasks import discover
from tests.support.converting import Record, converted, dump, must_records, read_image
from tests.support.labelling import SIZE, boxes, by, pixels, records
from tfrecords_tools.export import formats
from tfrecords_tools.export.run import ExportOptions, export_records
from tfrecords_tools.reading import recordset
from tfrecords_tools.sources.coco import corrected
from tfrecords_tools.sources.coco.coco import Coco
from tfrecords_tools.sources.rgbd import Rgbd

THERE = [0.25, 0.25, 0.75, 0.75]
PSEUDO, REAL = "pseudo:abc", "real:hand"


def exported(folder: Path, images: list[Any], least_score: float = 0.0) -> Path:
    """The folder of an export with its images."""
    found = recordset.opened(records(folder / "in", images))
    export_records(found, str(folder / "out"), ExportOptions(True, least_score), 1, ["tests"])
    return folder / "out"


def again(out: Path, name: str = "instances.json") -> dict[str, Record]:
    """The boxes and segments, converted again."""
    panoptic = str(out / "panoptic") if (out / "panoptic").exists() else ""
    return converted(Coco(str(out / "rgb"), str(out / name), panoptic), out.parent / "again").records


def two(folder: Path) -> Path:
    """One image with a teacher's boxes, and one with real boxes."""
    labels = [boxes([(1, 0.6, THERE)])]
    return exported(folder, by(PSEUDO, "detection", labels) + by(REAL, "detection", labels))


def test_a_corrected_box_is_real_and_keeps_its_teachers_id(tmp_path: Path) -> None:
    out = two(tmp_path)
    content = json.loads((out / "instances.json").read_text())
    assert content["annotations"][0]["score"] == 0.6
    content["annotations"][0]["bbox"] = [0.0, 10.0, 30.0, 20.0]  # x, y, width, height of 60 x 40
    dump(out / "done.json", content)
    found = again(out, "done.json")
    assert found["image-0"].origins == {"detection": "real:corrected-abc"}
    assert found["image-1"].origins == {"detection": "real:done"}
    labels = found["image-0"].labels["detection"]
    np.testing.assert_allclose(labels["boxes"], [[0.25, 0.0, 0.75, 0.5]])
    assert labels["scores"].tolist() == [1.0]
    np.testing.assert_allclose(found["image-1"].labels["detection"]["boxes"], [THERE])


def test_training_takes_it_as_real(tmp_path: Path) -> None:
    image_record = again(two(tmp_path))["image-0"]
    spec = discover()["detection"]
    config = spec.Config(enabled=True, classes=scenes.CLASSES["detection"], pseudo_weight=0.25, score_threshold=0.9)
    reader = input_lib.Reader({"detection": spec}, {"detection": config}, 128)
    targets = reader.element(image_record.serialized, 0, lambda size: geometry.fit(size, 128))["targets"]["detection"]
    assert (float(targets["weight"]), bool(targets["pseudo"])) == (1.0, False)
    assert targets["classes"].numpy()[0] == 1


@pytest.mark.parametrize("dropped", ["info", "images", "both"])
def test_what_a_tool_drops(tmp_path: Path, dropped: str) -> None:
    """Either key identifies a dataset with only a teacher's labels; without both it is like any other dataset."""
    out = exported(tmp_path, by(PSEUDO, "detection", [boxes([(1, 0.6, THERE)]), boxes([])]))
    content = json.loads((out / "instances.json").read_text())
    if dropped != "images":
        del content["info"]
    if dropped != "info":
        for image in content["images"]:
            del image[corrected.KEY]
    dump(out / "done.json", content)
    wanted = "real:done" if dropped == "both" else "real:corrected-abc"
    found = again(out, "done.json")
    assert [one.origins for one in found.values()] == [{"detection": wanted}] * 2


def test_origins_are_read_with_care() -> None:
    said = {corrected.KEY: {"detection": "pseudo:a", "masks": "real:hand", "depth": 3}}
    assert corrected.origins_of(said, {}) == {"detection": "real:corrected-a"}
    assert corrected.origins_of({}, said) == {"detection": "real:corrected-a"}
    assert corrected.origins_of({corrected.KEY: {}}, said) == {}  # this image says itself that nothing was
    assert corrected.origins_of({corrected.KEY: "pseudo:a"}, {}) == {}


def test_maps_of_both_ways_come_back(tmp_path: Path) -> None:
    """Segmentation of the first image and depth of the second come from a teacher; a pixel of each is corrected."""
    seen, metres = pixels(np.zeros(SIZE), 0.7), {"metres": np.full(SIZE, 2.0, np.float32)}
    normals = {"normals": np.tile(np.array([0, 0, -1], np.float32), [*SIZE, 1])}
    none = record.Labelled(boxes([]), REAL)  # convert coco asks for boxes
    first = {"segmentation": record.Labelled(seen, PSEUDO), "depth": record.Labelled(metres, REAL), "detection": none}
    second = {"segmentation": record.Labelled(seen, REAL), "depth": record.Labelled(metres, PSEUDO)}
    second |= {"normals": record.Labelled(normals, "pseudo:xyz"), "detection": none}
    out = exported(tmp_path, [first, second])
    depth = read_image(str(out / "depth" / "image-1.png"), cv2.IMREAD_UNCHANGED)
    depth[0, 0] = 3000
    cv2.imwrite(str(out / "depth" / "image-1.png"), depth)
    found = converted(Rgbd(str(out)), tmp_path / "rgbd").records
    assert found["image-0"].origins == {"segmentation": "real:corrected-abc", "depth": "real:out"}
    wanted = {"segmentation": "real:out", "depth": "real:corrected-abc", "normals": "real:corrected-xyz"}
    assert found["image-1"].origins == wanted
    np.testing.assert_allclose(found["image-1"].labels["depth"]["metres"][0, :2], [3.0, 2.0], rtol=1e-6)
    assert found["image-0"].labels["segmentation"]["confidence"].min() == 1.0
    by_panoptic = again(out)
    assert by_panoptic["image-0"].origins == {"detection": "real:instances", "segmentation": "real:corrected-abc"}
    assert by_panoptic["image-1"].origins == {"detection": "real:instances", "segmentation": "real:instances"}
    (out / corrected.FILE).write_text("{\n")
    with pytest.raises(UserError, match=r"pseudo\.jsonl line 1 was not written by export-coco"):
        Rgbd(str(out)).find()
    (out / corrected.FILE).unlink()
    plain = converted(Rgbd(str(out)), tmp_path / "plain").records
    assert set(plain["image-1"].origins.values()) == {"real:out"}


def test_unsure_pixels_and_masks_are_left_out_by_themselves(tmp_path: Path) -> None:
    """At the default of 0.5, by hand: half of the map is kept, and one of the two kept boxes loses its mask."""
    height, width = SIZE
    confidence = np.full([height, width], 0.9, np.float32)
    confidence[:, width // 2 :] = 0.4
    objects = boxes([(1, 0.9, THERE), (2, 0.9, THERE)])
    crops = [np.ones([height // 2, width // 2], np.uint8)] * 2
    masks = objects | {"crops": crops, "mask_scores": np.array([0.9, 0.2], np.float32)}
    surface = pixels(np.ones([height, width]), confidence)
    labelled = {"detection": objects, "masks": masks, "segmentation": surface}
    glob = records(tmp_path / "in", [{task: record.Labelled(labels, PSEUDO) for task, labels in labelled.items()}])
    summary = export_records(recordset.opened(glob), str(tmp_path / "out"), ExportOptions(), 1, ["tests"])
    assert {formats.UNSURE, formats.UNSURE_PIXELS} <= set(summary["lost"])
    (entry,) = json.loads((tmp_path / "out" / "instances.json").read_text())["annotations"]
    assert entry["category_id"] == 1
    (png,) = (tmp_path / "out" / "label").iterdir()
    shown = read_image(str(png), cv2.IMREAD_UNCHANGED)
    assert (shown[:, : width // 2] == 1).all() and (shown[:, width // 2 :] == 255).all()


def test_unsure_boxes_can_be_left_out_before_correction(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    labels = [boxes([(1, 0.6, THERE), (2, 0.1, THERE)])]
    glob = records(tmp_path / "in", by(PSEUDO, "detection", labels) + by(REAL, "detection", labels))
    given = ["export-coco", "--records", glob, "--out", str(tmp_path / "out"), "--least-score", "0.5", "--json"]
    assert must_records(given, monkeypatch) == 0
    lost = json.loads(capsys.readouterr().out)["lost"]
    assert lost == {formats.UNSURE: {"count": 1, "examples": ["image-0"]}}
    content = json.loads((tmp_path / "out" / "instances.json").read_text())
    assert [(one["image_id"], one["category_id"]) for one in content["annotations"]] == [(1, 1), (2, 1), (2, 2)]
