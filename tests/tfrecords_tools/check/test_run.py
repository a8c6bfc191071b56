"""must check: whole sets have nothing to say, and each planted damage is named with its place."""

from __future__ import annotations

import dataclasses
import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import cv2
import numpy as np
import pytest
import tensorflow as tf

from must_tf.data import label_reader, record, scenes
from must_tf.spec import ImageInfo
from must_tf.tasks import discover
from must_tf.tasks.masks.labels import write_full
from tests.support.checking import checked
from tests.support.converting import must_records, noise
from tests.support.tiny import ALL, Tiny, image_bytes, scene_record, write_set
from tfrecords_tools.check import dataset_rules, record_rules
from tfrecords_tools.check import run as check
from tfrecords_tools.inspect import counts
from tfrecords_tools.reading import recordset
from tfrecords_tools.writing.counts import Findings

OBJECTS = 9  # a scene of 128 x 128 pixels with two objects
FIRST = "records-00000-of-00001.tfrecord"


def found(records: str) -> dict[str, list[str]]:
    """{what is wrong: where}."""
    return {what: one["places"] for what, one in checked(records)["findings"].items()}


def test_a_whole_set_is_perfect_and_exit_code_zero(
    tiny_records: Tiny, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    records = f"{tiny_records.records}/*.tfrecord"
    assert must_records(["check", "--records", records, "--json"], monkeypatch) == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["records"], result["shards"], result["findings"]) == (5, 2, {})
    truth = result["truth_as_prediction"]
    assert set(truth) == set(ALL)
    for task, one in truth.items():
        # A share of 1, or no error: what a perfect answer has by definition.
        assert one["value"] == pytest.approx(0.0 if task == "normals" else 1.0, abs=1e-9)
        assert (one["is_perfect"], one["images"], one["because"]) == (True, 5, {})


Feature = Any  # the features of an Example, to be changed


def _png(values: np.ndarray) -> bytes:
    return cv2.imencode(".png", values)[1].tobytes()


def _set(key: str, place: int, value: float) -> Callable[[Feature], None]:
    """Changes one number."""

    def change(feature: Feature) -> None:
        kind = feature[key].WhichOneof("kind")
        getattr(feature[key], kind).value[place] = value

    return change


def _put(key: str, value: bytes) -> Callable[[Feature], None]:
    """Changes bytes."""

    def change(feature: Feature) -> None:
        feature[key].bytes_list.value[:] = [value]

    return change


def _drop_last(key: str) -> Callable[[Feature], None]:
    def change(feature: Feature) -> None:
        values = getattr(feature[key], feature[key].WhichOneof("kind")).value
        del values[-1]

    return change


def _remove(key: str) -> Callable[[Feature], None]:
    return lambda feature: feature.pop(key)


def _turned(feature: Feature) -> None:
    low, high = feature["image/object/bbox/ymin"], feature["image/object/bbox/ymax"]
    low.float_list.value[0], high.float_list.value[0] = high.float_list.value[0], low.float_list.value[0]


def _half(feature: Feature) -> None:
    whole = feature["image/encoded"].bytes_list.value[0]
    feature["image/encoded"].bytes_list.value[:] = [whole[: len(whole) // 2]]


def _other_pixels(feature: Feature) -> None:
    feature["image/encoded"].bytes_list.value[:] = [image_bytes(noise(128, 128))]


SMALL = _png(np.full([5, 7], 3, np.uint8))
BEYOND = _png(np.full([128, 128], 200, np.uint8))
# what is planted in record 0, the scene with two objects -> what must be found, with a word of the place
PLANTED: dict[str, tuple[Callable[[Feature], None], str, str]] = {
    "height": (_set("image/height", 0, 127), "stated size is not the image's", "128x127, decoded 128x128"),
    "half an image": (_half, "image cannot be decoded", ""),
    "no image": (_remove("image/encoded"), "no image", ""),
    "another image": (_other_pixels, "image changed since it was written", "sha256"),
    "format": (_put("image/format", b"jpeg"), "image/format is not the image's", "jpeg, is png"),
    "no id": (_put("image/source_id", b""), "no source_id", ""),
    "no height": (_remove("image/height"), "record cannot be parsed", "image/height"),
    "origin": (_put("image/depth/origin", b"kinect"), "depth: origin is neither real", "'kinect'"),
    "no origin": (_remove("image/depth/origin"), "depth: labels without an origin", "image/depth/encoded"),
    "unknown task": (_put("image/keypoints/origin", b"real:x"), "keypoints: no such task", "real:x"),
    "class beyond": (
        _set("image/object/class/label", 0, 5),
        "detection: label cannot be read",
        "class ids must be below 5",
    ),
    "background": (_set("image/object/class/label", 0, 0), "detection: class id below 1", "object 0: 0"),
    "turned box": (_turned, "detection: box of zero width or height", "object 0"),
    "box outside": (_set("image/object/bbox/xmax", 0, 1.01), "detection: box is not inside", "1.01"),
    "box no number": (_set("image/object/bbox/xmax", 0, np.nan), "detection: box is not inside", "object 0"),
    "score": (_set("image/object/score", 0, 0.5), "detection: a real label with a score below 1", "0.5"),
    "score beyond": (_set("image/object/score", 0, 1.5), "detection: score is not in 0..1", "1.5"),
    "area": (_set("image/object/area", 0, -1), "detection: area is negative", "object 0"),
    "a class less": (_drop_last("image/object/class/label"), "detection: label cannot be read", "1 class ids"),
    "a side less": (_drop_last("image/object/bbox/ymin"), "detection: label cannot be read", ""),
    "a mask less": (_drop_last("image/object/mask_crop"), "masks: label cannot be read", "for 2 objects"),
    "room": (_set("image/class/label", 0, 9), "classification: label cannot be read", "class ids must be below 4"),
    "map's size": (_put("image/segmentation/class/encoded", SMALL), "segmentation: map and image differ in size", "5"),
    "map's class": (
        _put("image/segmentation/class/encoded", BEYOND),
        "segmentation: label cannot be read",
        "must be below 8",
    ),
    "depth": (_put("image/depth/encoded", b"no PNG"), "depth: label cannot be read", ""),
    "depth's scale": (_set("image/depth/scale", 0, -1.0), "depth: label cannot be read", "image/depth/scale"),
    "depth's unit": (_set("image/depth/scale", 0, np.nan), "depth: label cannot be read", "image/depth/scale"),
}


@pytest.mark.parametrize("planted", PLANTED.values(), ids=PLANTED)
def test_what_is_planted_in_a_record_is_found_there(
    planted: tuple[Callable[[Feature], None], str, str], tmp_path: Path
) -> None:
    change, what, where = planted
    example = tf.train.Example.FromString(scene_record(OBJECTS, ALL))
    change(example.features.feature)
    records = write_set(tmp_path / "set", [[example.SerializeToString(), scene_record(1, ALL)]])
    findings = found(records)
    (places,) = [places for kind, places in findings.items() if what in kind]
    assert places[0].startswith(f"{FIRST} record 0")
    assert where in places[0]
    assert not any("record 1" in place for places in findings.values() for place in places)


def test_of_a_large_image_one_task_is_checked_after_the_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All maps of the largest image together would take twice the memory. The findings do not depend on it."""
    damaged = tf.train.Example.FromString(scene_record(OBJECTS, ALL))
    for name in ("format", "origin", "score", "a mask less", "map's class"):
        PLANTED[name][0](damaged.features.feature)
    records = write_set(tmp_path / "set", [[damaged.SerializeToString(), scene_record(1, ALL)]])
    together = checked(records)
    monkeypatch.setattr(label_reader, "LARGE", 0)
    apart = checked(records)
    assert apart == together
    assert len(apart["findings"]) >= 5
    groups = record_rules.groups(ImageInfo("a", 1, 1), discover(), dict.fromkeys(ALL, None))
    assert sorted(map(sorted, groups)) == [
        ["classification"], ["depth"], ["detection", "masks"], ["normals"], ["segmentation"],
    ]  # fmt: skip


def test_a_task_that_needs_detection_need_not_have_boxes() -> None:
    """Depth, as a task whose head runs after detection's."""
    labels = scenes.render("wild", 5, OBJECTS, (128, 128)).labels
    specs = {name: discover()[name] for name in ("detection", "depth")}
    specs["depth"] = dataclasses.replace(specs["depth"], needs=("detection",))
    configs = {name: spec.Config() for name, spec in specs.items()}
    labelled = {name: record.Labelled(labels[name], "real:scenes") for name in specs}
    assert list(record_rules.of_labels(labelled, ImageInfo("a", 128, 128), specs, configs)) == []


def test_jobs_and_results_travel_to_other_processes_and_back(tiny_records: Tiny) -> None:
    found = recordset.opened(f"{tiny_records.records}/*.tfrecord")
    for shard in (check.check_shard, counts.count_shard):
        job_class = check.CheckJob if shard is check.check_shard else counts.CountJob
        job = pickle.loads(pickle.dumps(job_class(found.paths[0], found.manifest.classes)))
        assert pickle.loads(pickle.dumps(shard(job, lambda: None))).records == 2


def test_a_crop_of_another_size_is_found(tmp_path: Path) -> None:
    example = tf.train.Example.FromString(scene_record(OBJECTS, ALL))
    example.features.feature["image/object/mask_crop"].bytes_list.value[0] = _png(np.full([3, 4], 255, np.uint8))
    findings = found(write_set(tmp_path / "set", [[example.SerializeToString()]]))
    assert "object 0: 4x3 for" in findings["masks: mask and box differ in size"][0]


def test_full_masks_are_compared_with_the_crops(tmp_path: Path) -> None:
    example = tf.train.Example.FromString(scene_record(OBJECTS, ALL))
    labels = scenes.render("wild", 5, OBJECTS, (128, 128)).labels["masks"]
    full = write_full(labels, ImageInfo("a", 128, 128))["image/object/mask"].bytes_list.value
    whole, moved = list(full), [full[1], full[0]]
    for masks, wanted in ((whole, {}), (moved, {"masks: the full mask is not the crop's"}), (whole[:1], None)):
        example.features.feature["image/object/mask"].bytes_list.value[:] = masks
        shutil.rmtree(tmp_path / "set", ignore_errors=True)
        findings = set(found(write_set(tmp_path / "set", [[example.SerializeToString()]])))
        assert findings == set({"masks: full masks and crops differ in number or size"} if wanted is None else wanted)


def test_a_flipped_bit_is_named_by_file_and_record(tmp_path: Path) -> None:
    records = write_set(tmp_path / "set", [[scene_record(index, ()) for index in range(3)]])
    path = tmp_path / "set" / FIRST
    data = bytearray(path.read_bytes())
    first = int.from_bytes(data[:8], "little") + 16  # length, its checksum, the record, its checksum
    data[first + 100] ^= 1  # in the record 1
    path.write_bytes(bytes(data))
    result = checked(records)
    assert result["records"] == 1
    findings = {what: one["places"] for what, one in result["findings"].items()}
    assert findings["file is damaged; the records after the damage were not checked"][0].startswith(
        f"{FIRST} record 1: "
    )
    assert findings["number of records is not the manifest's"] == [f"{FIRST}: 1 of 3"]
    assert any("SHA-256" in what for what in findings)


def test_ids_are_unique_over_all_shards(tmp_path: Path) -> None:
    records = write_set(tmp_path / "set", [[scene_record(0, ()), scene_record(1, ())], [scene_record(1, ())]])
    places = found(records)["records share an id"]
    assert places == [
        "'scene-1': records-00000-of-00002.tfrecord record 1, records-00001-of-00002.tfrecord record 0",
    ]  # fmt: skip


def test_only_some_of_many_repeated_ids_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Naming one reads a file. All of them count."""
    shards = [dataset_rules.CheckedShard(file, ids=np.arange(150, dtype=np.uint64)) for file in "ab"]
    named: list[int] = []

    def id_of(dataset: object, checked: object, place: int) -> str:
        named.append(place)
        return str(place)

    monkeypatch.setattr(dataset_rules, "_id_of", id_of)
    findings = Findings()
    dataset_rules.unique_ids(cast(Any, None), shards, findings)
    (entry,) = findings.content.values()
    assert (entry["count"], len(entry["places"]), named) == (150, 100, list(range(100)))
    assert entry["places"][7] == "'7': a record 7, b record 7"


def _changed(content: dict[str, Any]) -> dict[str, str]:
    """Spoils a manifest; what must be found, with a word of it."""
    content["records"] = 6
    content["origins"]["depth"] = {"real:scenes": 4}
    content["objects"]["classification"] = {"corridor": 9}
    content["shards"][0]["sha256"] = "0" * 64
    content["classes"]["segmentation"] = []
    return {
        "the manifest's sum of records is wrong": "6, found 5",
        "the manifest's origins are wrong": "depth {'real:scenes': 4}, found {'real:scenes': 5}",
        "classification: the manifest's labels per class are wrong": "corridor 9, found 2",
        "file changed since it was written: its SHA-256 is not the manifest's": "records-00000-of-00002",
        "segmentation: the manifest has no class names": "manifest.json",
    }


def test_the_manifest_is_compared_with_the_records(
    tiny_records: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = Path(shutil.copytree(tiny_records.records, tmp_path / "set"))
    content = json.loads((folder / "manifest.json").read_text())
    wanted = _changed(content)
    (folder / "manifest.json").write_text(json.dumps(content))
    shutil.copy(folder / "records-00000-of-00002.tfrecord", folder / "z.tfrecord")
    assert must_records(["check", "--records", f"{folder}/r*.tfrecord"], monkeypatch) == 1
    printed = capsys.readouterr().out
    for what, where in wanted.items():
        assert f"1 x {what}" in printed
        assert where in printed
    assert "5 kinds of problems" in printed
    assert found(f"{folder}/*.tfrecord")["file is not in the manifest"] == ["z.tfrecord"]


def test_a_part_of_the_shards_is_not_blamed_for_the_rest(tiny_records: Tiny) -> None:
    result = checked(f"{tiny_records.records}/records-00001*.tfrecord")
    assert (result["whole"], result["records"], result["findings"]) == (False, 3, {})


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["--records", "{tmp}/none/*.tfrecord"], "no file matches"),
        (["--records", "{tmp}/*/*.tfrecord"], "files in 2 folders"),
        (["--records", "{tmp}/bare/*.tfrecord"], "manifest.json does not exist"),
        (["--records", "{tmp}/set/*.tfrecord", "--workers", "-1"], "--workers"),
    ],
)
def test_what_cannot_start_is_exit_code_two(
    given: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_set(tmp_path / "set", [[scene_record(0, ())]], ())
    (tmp_path / "bare").mkdir()
    shutil.copy(tmp_path / "set" / FIRST, tmp_path / "bare")
    words = [word.format(tmp=tmp_path) for word in given]
    assert must_records(["check", *words], monkeypatch) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line.startswith("error: ")
    assert message in line
