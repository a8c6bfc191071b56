"""Records exported as COCO JSON and PNGs.

pycocotools reads the same from the export as from the original, and converting it again changes nothing.
"""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from pycocotools.coco import COCO

from must_tf.common.errors import UserError
from must_tf.data import manifest, record, scenes
from must_tf.spec import ImageInfo
from must_tf.tasks import discover
from tests.support.converting import Record, converted, files_in, must_records, noise, read
from tests.support.datasets.coco_dataset import Dataset
from tests.support.exporting import assert_same, export, lose_its_disk
from tests.support.tiny import ALL, Tiny, image_bytes, scene_record, write_set
from tfrecords_tools.export import formats
from tfrecords_tools.export.run import name_of
from tfrecords_tools.sources import Source
from tfrecords_tools.sources.classes import ClassFolders
from tfrecords_tools.sources.coco.coco import Coco
from tfrecords_tools.sources.rgbd import Rgbd


@pytest.fixture(scope="module")
def exported(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Exports the COCO set: all forms of masks, a crowd, an image without objects and a panoptic one."""
    out = tmp_path_factory.mktemp("export") / "out"
    summary = export(f"{Path(dataset.json).parent.parent}/records/*.tfrecord", out)
    assert summary["records"] == 3
    assert summary["lost"] == {}
    return out


def test_pycocotools_reads_the_same_from_the_export(dataset: Dataset, exported: Path) -> None:
    original, again = COCO(dataset.json), COCO(str(exported / "instances.json"))
    assert {image["id"]: image["file_name"] for image in again.imgs.values()} == {
        image["id"]: image["file_name"] for image in original.imgs.values()
    }
    for image_id in original.imgs:
        wanted, found = (api.loadAnns(api.getAnnIds(imgIds=[image_id])) for api in (original, again))
        assert len(found) == len(wanted)
        for one, other in zip(found, wanted, strict=True):
            np.testing.assert_array_equal(again.annToMask(one), original.annToMask(other))
            assert (one["bbox"], one["area"], one["iscrowd"]) == (other["bbox"], other["area"], other["iscrowd"])
            assert again.cats[one["category_id"]]["name"] == original.cats[other["category_id"]]["name"]
            assert "score" not in one  # all labels are real


def test_coco_converted_again_is_the_same(dataset: Dataset, exported: Path, tmp_path: Path) -> None:
    source = Coco(str(exported / "rgb"), str(exported / "instances.json"), str(exported / "panoptic"))
    again = converted(source, tmp_path / "again")
    assert (again.counts(), again.notes()) == ({}, {})
    assert set(again.records) == set(dataset.result.records)
    for source_id, wanted in dataset.result.records.items():
        found = again.records[source_id]
        assert found.stored == wanted.stored
        assert set(found.labels) == set(wanted.labels)
        for task, labels in wanted.labels.items():
            assert_same(found.labels[task], labels)
    assert again.outcome.manifest.classes == dataset.result.outcome.manifest.classes
    assert set(again.records["7"].origins.values()) == {"real:instances"}  # an export of real labels stays real


def test_panoptic_segments_are_the_pixels_of_their_class(dataset: Dataset, exported: Path) -> None:
    content = json.loads((exported / "panoptic.json").read_text())
    (annotation,) = content["annotations"]
    colours = np.asarray(Image.open(exported / "panoptic" / annotation["file_name"])).astype(int)
    ids = colours[..., 0] + 256 * colours[..., 1] + 256**2 * colours[..., 2]
    names = {category["id"]: category["name"] for category in content["categories"]}
    # Made of stripes of 20 columns: dog, person, rug, and one of no segment.
    assert [names[s["category_id"]] for s in annotation["segments_info"]] == ["person", "dog", "rug"]
    for segment, left in zip(annotation["segments_info"], (20, 0, 40), strict=True):
        assert segment["area"] == (ids == segment["id"]).sum() == 20 * 60
        assert segment["bbox"] == [left, 0, 20, 60]
    assert (ids[:, 60:] == 0).all()


def every_scene(out: Path, tmp_path: Path) -> dict[str, list[Record]]:
    """Converts an export with all tasks by the three converters that read it; returns {source id: records}."""
    sources: tuple[Source, ...] = (
        Coco(str(out / "rgb"), str(out / "instances.json"), str(out / "panoptic")),
        Rgbd(str(out)),
        ClassFolders(str(out / "classes")),
    )
    found: dict[str, list[Record]] = {}
    for number, source in enumerate(sources):
        for source_id, one in converted(source, tmp_path / str(number)).records.items():
            found.setdefault(source_id.rpartition("/")[2], []).append(one)
    return found


def test_all_six_tasks_come_back_bit_for_bit(tiny_records: Tiny, tmp_path: Path) -> None:
    summary = export(f"{tiny_records.records}/*.tfrecord", tmp_path / "out")
    assert summary["lost"] == {}
    wanted = read(tiny_records.records, scenes.CLASSES)
    found = every_scene(tmp_path / "out", tmp_path)
    assert set(found) == set(wanted)
    assert not any(one.origins.get("classification") for one in found["scene-0"][:2])
    for source_id, before in wanted.items():
        after = {task: (one, one.labels[task]) for one in found[source_id] for task in one.labels}
        assert set(after) == set(ALL)
        for task, (one, labels) in after.items():
            if task == "classification":  # class folders are ordered by name
                labels = {"probability": labels["probability"][[sorted(scenes.ROOMS).index(n) for n in scenes.ROOMS]]}
            assert_same(labels, before.labels[task])
            assert one.stored == before.stored
    # The plain class PNGs equal the panoptic ones: segmentation is read by two converters.
    assert sum("segmentation" in one.labels for one in found["scene-0"]) == 2
    with open(tmp_path / "out" / "classification.csv") as file:
        rows = list(csv.DictReader(file))
    room = scenes.ROOMS[int(wanted["scene-0"].labels["classification"]["probability"].argmax())]
    assert rows[0] == {"image": "scene-0.png", "class": room, "probability": "1.0", "origin": "real:scenes"}


def one_set(folder: Path, labelled: dict[str, record.Labelled], source_id: str = "a") -> str:
    """Writes a set of one image of 20 x 30 pixels."""
    serialized = record.encode(image_bytes(noise(20, 30)), ImageInfo(source_id, 20, 30), labelled, discover())
    return write_set(folder, [[serialized]], tuple(labelled))


def test_a_teachers_scores_are_written_and_a_corrected_export_is_real(tmp_path: Path) -> None:
    boxes = np.array([[0.1, 0.2, 0.6, 0.9], [0.3, 0.3, 0.4, 0.4]], np.float32)
    labels = {"boxes": boxes, "classes": np.array([2, 1]), "scores": np.array([0.9, 0.6], np.float32)}
    labels |= {"is_crowd": np.zeros(2, bool), "area": np.array([210.0, 6.0], np.float32)}
    records = one_set(tmp_path / "in", {"detection": record.Labelled(labels, "pseudo:abc")})
    export(records, tmp_path / "out")
    content = json.loads((tmp_path / "out" / "instances.json").read_text())
    assert [one["score"] for one in content["annotations"]] == [0.9, 0.6]
    assert not any("segmentation" in one for one in content["annotations"])  # there are no masks
    assert [one["bbox"] for one in content["annotations"]] == [[6.0, 2.0, 21.0, 10.0], [9.0, 6.0, 3.0, 2.0]]
    content["annotations"] = content["annotations"][:1]  # corrected by hand: the second was not an object
    (tmp_path / "out" / "corrected.json").write_text(json.dumps(content))
    again = converted(Coco(str(tmp_path / "out" / "rgb"), str(tmp_path / "out" / "corrected.json")), tmp_path / "again")
    (found,) = again.records.values()
    assert (found.source_id, found.origins) == ("a", {"detection": "real:corrected-abc"})
    np.testing.assert_array_equal(found.labels["detection"]["boxes"], boxes[:1])
    assert found.labels["detection"]["scores"].tolist() == [1.0]


def test_boxes_without_masks_give_empty_images_no_masks_either(tmp_path: Path) -> None:
    scenes_with = [scene_record(index, ("detection",)) for index in (0, 1)]  # without and with objects
    export(write_set(tmp_path / "in", [scenes_with], ("detection",)), tmp_path / "out")
    again = converted(Coco(str(tmp_path / "out" / "rgb"), str(tmp_path / "out" / "instances.json")), tmp_path / "again")
    assert {name: set(one.labels) for name, one in again.records.items()} == {
        "scene-0": {"detection"},
        "scene-1": {"detection"},
    }


def test_depth_beyond_the_format_is_unknown_named_and_exit_code_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    metres = np.full([20, 30], 2.0, np.float32)
    metres[0, :3] = 70.0
    records = one_set(tmp_path / "in", {"depth": record.Labelled({"metres": metres}, "real:far")})
    given = ["export-coco", "--records", records, "--out", str(tmp_path / "out"), "--json"]
    assert must_records(given, monkeypatch) == 1
    summary = json.loads(capsys.readouterr().out)
    ((reason, found),) = summary["lost"].items()
    assert ("65.535 m" in reason, found) == (True, {"count": 1, "examples": ["a: 3 pixels"]})
    png = np.asarray(Image.open(tmp_path / "out" / "depth" / "a.png"))
    assert (png.dtype, png[0, 2], png[0, 3]) == (np.uint16, 0, 2000)


@pytest.mark.parametrize("confidence", [None, 0.2])
def test_half_maps_are_exported_in_the_size_of_the_image(tmp_path: Path, confidence: float | None) -> None:
    """Pixels whose confidence is below the least score are unknown."""
    normals = np.zeros([10, 15, 3], np.float32)
    normals[..., 2] = -1.0
    normals[4, 6] = [1.0, 0.0, 0.0]
    labels: dict[str, Any] = {"normals": normals}
    if confidence is not None:
        labels["confidence"] = np.ones([10, 15], np.float32)
        labels["confidence"][0, 0] = confidence
    export(one_set(tmp_path / "in", {"normals": record.Labelled(labels, "pseudo:abc")}), tmp_path / "out")
    written = np.asarray(Image.open(tmp_path / "out" / "normal" / "a.png"))
    expected = np.full([20, 30, 3], [128, 128, 0])
    expected[8:10, 12:14] = [255, 128, 128]
    expected[:2, :2] = [128, 128, 0] if confidence is None else 0
    np.testing.assert_array_equal(written, expected)


def test_an_unlabelled_image_is_not_exported_as_empty(tmp_path: Path) -> None:
    tasks: tuple[tuple[str, ...], ...] = (("detection", "masks"), ("depth",), ())
    records = write_set(tmp_path / "in", [[scene_record(index, one) for index, one in enumerate(tasks)]])
    assert export(records, tmp_path / "out", images=False)["images_in"] == {"instances.json": 1}
    content = json.loads((tmp_path / "out" / "instances.json").read_text())
    assert [image["file_name"] for image in content["images"]] == ["scene-0.png"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        ".shards", "depth", "export.json", "instances.json",
    ]  # fmt: skip


def test_a_killed_export_goes_on_and_ends_with_the_same_bytes(
    tiny_records: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = f"{tiny_records.records}/*.tfrecord"
    export(records, tmp_path / "whole")
    calls: list[str] = []
    whole = formats.depth

    def until_killed(labels: Any, lost: Any, name: str) -> bytes:
        calls.append(name)
        if len(calls) == 4:  # in the second shard
            raise KeyboardInterrupt
        return whole(labels, lost, name)

    monkeypatch.setattr(formats, "depth", until_killed)
    with pytest.raises(KeyboardInterrupt):
        export(records, tmp_path / "out")
    assert not list((tmp_path / "out").glob("*.json"))  # the JSON files come last
    export(records, tmp_path / "out")
    assert calls[4:] == ["scene-2", "scene-3", "scene-4"]  # the first shard's two are not made again
    assert files_in(tmp_path / "out") == files_in(tmp_path / "whole")
    export(records, tmp_path / "out")
    assert len(calls) == 7  # a finished export is not repeated


@pytest.mark.parametrize(
    ("source_id", "filename", "name"),
    [
        ("139", "000000000139.jpg", "000000000139.png"),  # COCO's own; the stored image is a PNG
        ("room_1", "room_1.bmp", "room_1.png"),
        ("cat/0001", "0001.jpg", "cat%2F0001.png"),
        ("ä?*", "", "%C3%A4%3F%2A.png"),
        ("140", "000000000139.jpg", "140.png"),
    ],
)
def test_a_file_keeps_the_name_of_the_image_if_it_is_unique(source_id: str, filename: str, name: str) -> None:
    serialized = record.encode(image_bytes(noise(4, 4)), ImageInfo(source_id, 4, 4), {}, discover(), filename)
    assert name_of(tf.train.Example.FromString(serialized)) == name


@pytest.mark.parametrize("seed", range(3))
def test_a_box_is_written_in_few_digits_and_read_back_as_it_was(seed: int) -> None:
    rng = np.random.default_rng(seed)
    height, width = rng.integers(100, 1000, 2)
    for _ in range(50):
        x, y = np.round(rng.uniform(0, [width - 60, height - 60]), 2)
        w, h = np.round(rng.uniform(1, 50, 2), 2)
        box = (np.array([y, x, y + h, x + w]) / [height, width, height, width]).astype(np.float32)
        assert formats.bbox(box, height, width) == [x, y, w, h]


def test_an_export_whose_disk_is_gone_is_not_complete(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    records = write_set(tmp_path / "in", [[scene_record(9, ALL)]])
    lose_its_disk(tmp_path / "out", monkeypatch)
    with pytest.raises(UserError, match="out was removed while it was being written, or its disk is gone"):
        export(records, tmp_path / "out")
    assert not {path.name for path in (tmp_path / "out").iterdir()} & {"instances.json", "export.json"}


def test_a_folder_with_other_files_is_refused(tiny_records: Tiny, tmp_path: Path) -> None:
    records = f"{tiny_records.records}/*.tfrecord"
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match="did not write"):
        export(records, tmp_path / "out")
    assert files_in(tmp_path / "out") == {"notes.txt": b"mine"}
    export(one_set(tmp_path / "in", {}), tmp_path / "other")
    with pytest.raises(UserError, match="another command"):
        export(records, tmp_path / "other")


HOSTILE = (
    "..",
    ".",
    "",
    "a/b",
    "../../out",
    "/etc",
    "x" * 5000,
    "x" * 4999 + "y",
    "a\x00b",
    "con\x1b[31m",
    "\u202eb",
)


def test_a_file_name_leads_nowhere_and_stays_apart_from_others() -> None:
    names = [formats.file_name(text) for text in HOSTILE]
    names += [formats.file_name(name) for name in names]  # a text that looks like another one's name
    assert len({name.lower() for name in names}) == 2 * len(HOSTILE)
    assert all(name.strip(".") and "/" not in name and name.isascii() and len(name) <= 210 for name in names)


def test_hostile_class_names_stay_in_their_folder(tmp_path: Path) -> None:
    names = [name for name in HOSTILE if name]
    labelled = record.Labelled({"probability": np.eye(len(names), dtype=np.float32)[0]}, "real:x")
    records = one_set(tmp_path / "in", {"classification": labelled})
    written = manifest.read(str(tmp_path / "in"))
    written.classes["classification"] = names
    manifest.write(str(tmp_path / "in"), written)
    export(records, tmp_path / "out" / "deep", images=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "out"]
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["deep"]
    folders = [path.name for path in (tmp_path / "out" / "deep" / "classes").iterdir()]
    assert sorted(folders) == sorted(map(formats.file_name, names))
    assert (tmp_path / "out" / "deep" / "classes" / "%2E%2E" / "a.png").exists()


def test_two_images_of_one_place_in_a_class_folder_are_refused(tmp_path: Path) -> None:
    """The id cat/a keeps its name in the folder of its class, where the id a has the same one."""
    labelled = {"classification": record.Labelled({"probability": np.array([1.0, 0.0], np.float32)}, "real:x")}
    both = [
        record.encode(image_bytes(noise(4, 4, n)), ImageInfo(name, 4, 4), labelled, discover())
        for n, name in enumerate(("a", "cat/a"))
    ]
    records = write_set(tmp_path / "in", [both], ("classification",))
    written = manifest.read(str(tmp_path / "in"))
    written.classes["classification"] = ["cat", "dog"]
    manifest.write(str(tmp_path / "in"), written)
    with pytest.raises(UserError, match=r"'a' and 'cat/a' would both be classes/cat/a\.png"):
        export(records, tmp_path / "out", images=True)
