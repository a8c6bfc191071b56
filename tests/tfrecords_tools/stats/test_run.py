"""must stats: figures worked by hand, thresholds that do what they promise, a file that goes stale."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from must_tf.common.errors import UserError
from must_tf.data import label_reader, manifest, record, scenes
from must_tf.experiments import experiment_config
from must_tf.pseudo_gate import rules, verdict
from must_tf.spec import ImageInfo
from must_tf.tasks import discover
from must_tf.tasks.depth import summary
from tests.support.converting import must_records, noise
from tests.support.labelling import SIZE, boxes, by, found_in, judged, pixels, records, tell_training
from tests.support.tiny import ALL, image_bytes, scene_record, write_set
from tfrecords_tools.reading import recordset, thresholds
from tfrecords_tools.stats import run as stats
from tfrecords_tools.stats import suggest, sums, tables

FIRST, SECOND = scenes.OBJECTS[:2]
HERE, THERE = [0.0, 0.0, 0.5, 0.5], [0.5, 0.5, 1.0, 1.0]
TEACHER = "pseudo:abc"


def four(folder: Path, files: int = 1) -> str:
    """Three images by a teacher, one of them without objects and one with an unsure one; one that nobody looked at."""
    labels = [boxes([(1, 0.95, HERE), (2, 0.6, THERE), (1, 0.3, HERE)]), boxes([(1, 0.3, THERE)]), boxes([])]
    return records(folder, [*by(TEACHER, "detection", labels), {}], files)


@pytest.mark.parametrize("files", [1, 3])  # the third file holds no object, so its sums begin empty
def test_objects_are_counted_at_the_threshold_and_at_the_floor(tmp_path: Path, files: int) -> None:
    content = judged(four(tmp_path / "set", files))
    assert content["tasks"]["detection"]["unlabelled"] == 1
    found = found_in(content, "detection")["found"]
    assert (found["images"], found["empty"], found["low_confidence"]) == (3, 1 / 3, 1 / 3)
    assert (found["per_image"], found["per_image_at_floor"]) == (2 / 3, 4 / 3)
    assert {name: n for name, n in found["classes"].items() if n} == {FIRST: 1, SECOND: 1}
    assert {name: n for name, n in found["classes_at_floor"].items() if n} == {FIRST: 3, SECOND: 1}
    assert found["scores"] == [0, 0, 0, 2, 0, 0, 1, 0, 0, 1]
    assert found["objects_per_image"] == {"0": 2, "2": 1}
    lower = found_in(judged(four(tmp_path / "set"), settings=["detection.score_threshold=0.3"]), "detection")["found"]
    assert (lower["per_image"], lower["low_confidence"]) == (4 / 3, 0)


def test_teachers_are_told_apart_and_real_labels_left_out(tmp_path: Path) -> None:
    images = by("pseudo:a", "detection", [boxes([(1, 0.9, HERE)])] * 2)
    images += by("pseudo:b", "detection", [boxes([])]) + by("real:coco", "detection", [boxes([(1, 1.0, HERE)])] * 3)
    content = judged(records(tmp_path / "set", images))
    assert {
        name: one["found"]["images"] for name, one in content["tasks"]["detection"]["teachers"].items()
    } == {"a": 2, "b": 1}  # fmt: skip


def test_pixels_below_the_threshold_are_not_valid(tmp_path: Path) -> None:
    classes, confidence = np.zeros(SIZE), np.full(SIZE, 0.9)
    classes[:, 30:], confidence[:10] = 1, 0.3
    classes[30:] = 255
    content = judged(records(tmp_path / "set", by(TEACHER, "segmentation", [pixels(classes, confidence)])))
    found = found_in(content, "segmentation")["found"]
    # Of 40 rows 10 are unsure and 10 say nothing; the left half is the first class.
    assert found["valid"] == 0.5
    assert [found["classes"][name] for name in scenes.SURFACES[:2]] == [20 * 30, 20 * 30]
    assert [found["classes_at_floor"][name] for name in scenes.SURFACES[:2]] == [30 * 30, 30 * 30]


def test_large_labels_are_read_and_counted_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    maps = [pixels(rng.integers(0, 3, SIZE), rng.uniform(0, 1, SIZE)) for _ in range(3)]
    metres = [{"metres": rng.uniform(1, 9, SIZE).astype(np.float32)} for _ in range(3)]
    images = zip(by(TEACHER, "segmentation", maps), by(TEACHER, "depth", metres), strict=True)
    glob = records(tmp_path / "set", [one | other for one, other in images])
    whole = judged(glob)
    monkeypatch.setattr(label_reader, "LARGE", 0)
    monkeypatch.setattr(sums, "PART", 7)
    monkeypatch.setattr(summary, "AT_ONCE", 7)
    assert judged(glob)["tasks"] == whole["tasks"]


def test_depth_is_told_by_its_percentiles_and_normals_by_their_mean(tmp_path: Path) -> None:
    metres = np.tile(np.geomspace(1.0, 10.0, SIZE[1]), [SIZE[0], 1]).astype(np.float32)
    metres[:10] = 0.0
    normals = np.zeros([*SIZE, 3], np.float32)
    normals[:, :30], normals[:20, 30:] = [0.0, 0.0, -1.0], [0.0, -1.0, 0.0]  # a wall, and a floor; the rest unknown
    wall = np.full(SIZE, 2.0, np.float32)
    images = by(TEACHER, "depth", [{"metres": metres}, {"metres": wall}])
    content = judged(
        records(tmp_path / "set", [images[0] | by(TEACHER, "normals", [{"normals": normals}])[0], images[1]])
    )
    depth, found = (found_in(content, task)["found"] for task in ("depth", "normals"))
    assert depth["valid"] == (30 + 40) / 80
    assert depth["flat"] == 0.5
    # 2400 pixels of 2 m among 1800 from 1 to 10: 542 lie below 2 m, 2942 of 4200 up to it.
    assert depth["metres"]["p50"] == pytest.approx(2.0, rel=0.023)
    assert depth["metres"]["p99"] == pytest.approx(
        np.percentile(np.r_[metres[10:].ravel(), wall.ravel()], 99), rel=0.04
    )
    assert found["valid"] == 0.75
    np.testing.assert_allclose(found["direction"], [0, -1 / 3, -2 / 3], atol=0.01)  # 8-bit colours


def test_training_records_come_from_the_manifest_or_are_counted(tmp_path: Path) -> None:
    glob = four(tmp_path / "set")
    assert found_in(judged(glob), "detection")["training"] == {}
    tell_training(tmp_path / "set", "abc", {"detection": {"images": 10, "objects": 30, "classes": {FIRST: 30}}})
    told = found_in(judged(glob), "detection")["training"]
    assert (told["per_image"], told["classes"]) == (3.0, {FIRST: 30})
    real = records(tmp_path / "real", by("real:coco", "detection", [boxes([(2, 1.0, HERE)] * 5), boxes([])]))
    for against in (real, f"detection={real}"):
        counted = found_in(judged(glob, [against]), "detection")["training"]
        assert (counted["per_image"], counted["empty"], counted["classes"][SECOND]) == (2.5, 0.5, 5)
    with pytest.raises(UserError, match="has no real labels of detection"):
        judged(glob, [glob])


def test_precision_and_recall_by_hand(tmp_path: Path) -> None:
    """Two true boxes an image. The teacher finds one, twice, and puts the other where it overlaps by 0.47 only."""
    near = [0.4, 0.4, 0.9, 0.9]  # 0.4^2 / (2 * 0.5^2 - 0.4^2) = 0.47 of THERE
    labels = boxes([(1, 0.9, HERE), (1, 0.8, HERE), (2, 0.7, near), (2, 0.1, THERE)])
    glob = records(tmp_path / "set", by(TEACHER, "detection", [labels] * 3))
    truth = records(tmp_path / "truth", by("real:coco", "detection", [boxes([(1, 1.0, HERE), (2, 1.0, THERE)])] * 2))
    known = found_in(judged(glob, truth=truth), "detection")["truth"]
    assert (known["images"], known["missing"]) == (2, 1)
    assert known["precision"] == {FIRST: 0.5, SECOND: 0.0}
    assert known["recall"] == {FIRST: 1.0, SECOND: 0.0}
    assert known["right"] == pytest.approx(1 / 3)
    assert known["figures"]["AP50"] == pytest.approx(0.5)  # COCO's: 1 and 0; what is below 0.5 is not read
    lower = found_in(judged(glob, truth=truth, settings=["detection.score_threshold=0.05"]), "detection")["truth"]
    assert lower["recall"] == {FIRST: 1.0, SECOND: 1.0}


def test_pixels_are_judged_where_they_are_believed(tmp_path: Path) -> None:
    guess, truth, sure = np.zeros(SIZE), np.zeros(SIZE), np.full(SIZE, 0.9)
    guess[:, 45:], truth[:, 30:] = 1, 1
    guess[:20], sure[:20] = 2, 0.2  # wrong, and not believed
    truth[30:] = 255
    glob = records(tmp_path / "set", by(TEACHER, "segmentation", [pixels(guess, sure)]))
    against = records(tmp_path / "truth", by("real:hand", "segmentation", [pixels(truth)]))
    known = found_in(judged(glob, truth=against), "segmentation")["truth"]
    # Rows 20 to 29 count: 30 columns right, 15 wrongly the first class, 15 right.
    assert known["right"] == known["figures"]["pixel_accuracy"] == 0.75
    assert known["precision"] == {scenes.SURFACES[0]: 30 / 45, scenes.SURFACES[1]: 1.0}
    assert known["recall"] == {scenes.SURFACES[0]: 30 * 10 / (30 * 30), scenes.SURFACES[1]: 15 * 10 / (30 * 30)}


def test_depth_is_judged_where_something_is_labelled(tmp_path: Path) -> None:
    guess, truth = (np.full(SIZE, value, np.float32) for value in (2.2, 2.0))
    guess[:20] = 0.0  # unknown: not wrong
    guess[20:30] = 8.0
    glob = records(tmp_path / "set", by(TEACHER, "depth", [{"metres": guess}]))
    against = records(tmp_path / "truth", by("real:hand", "depth", [{"metres": truth}]))
    known = found_in(judged(glob, truth=against), "depth")["truth"]
    assert known["right"] == known["figures"]["delta1"] == 0.5


def test_a_truth_need_not_know_all_tasks(tmp_path: Path) -> None:
    """Its manifest names classes of detection alone; the masks are not judged, the boxes are."""
    objects = boxes([(3, 0.9, HERE)])
    masks = objects | {"crops": [np.ones([SIZE[0] // 2, SIZE[1] // 2], np.uint8)], "mask_scores": np.ones(1)}
    both = {"detection": record.Labelled(objects, TEACHER), "masks": record.Labelled(masks, TEACHER)}
    glob = records(tmp_path / "set", [both])
    real = record.Labelled(boxes([(3, 1.0, HERE)]), "real:hand")
    one = record.encode(image_bytes(noise(*SIZE)), ImageInfo("image-0", *SIZE), {"detection": real}, discover())
    content = judged(glob, truth=write_set(tmp_path / "truth", [[one]], ("detection",)))
    assert found_in(content, "detection")["truth"]["right"] == 1.0
    assert not found_in(content, "masks")["truth"].get("images")


def test_truth_of_other_images_is_refused(tmp_path: Path) -> None:
    glob = records(tmp_path / "set", [*by(TEACHER, "detection", [boxes([])])])
    other = records(tmp_path / "truth", [{}, *by("real:coco", "detection", [boxes([])])])
    with pytest.raises(UserError, match="no real labels for any image"):
        judged(glob, truth=other)


def test_what_lies_in_a_crowd_or_was_not_looked_for_is_not_judged(tmp_path: Path) -> None:
    labels = boxes([(1, 0.9, HERE), (2, 0.8, HERE), (2, 0.7, THERE)])
    glob = records(tmp_path / "set", by(TEACHER, "detection", [labels] * 2))
    left_half = boxes([(1, 1.0, [0.0, 0.0, 1.0, 0.5])]) | {"is_crowd": np.array([True])}
    partly = record.Labelled(boxes([(2, 1.0, THERE)]), "real:coco", annotated=(2,))
    truth = records(tmp_path / "truth", [*by("real:coco", "detection", [left_half]), {"detection": partly}])
    known = found_in(judged(glob, truth=truth), "detection")["truth"]
    # The first image: both boxes of the second class are wrong. The second: nobody looked for the first class.
    assert known["precision"] == {SECOND: 1 / 4}
    assert known["recall"] == {SECOND: 1.0}


def binned(scores: list[float]) -> np.ndarray:
    """[100] counts."""
    return np.histogram(np.array(scores) + 1e-6, 100, (0, 1))[0]


def test_a_threshold_by_precision_is_the_lowest_that_reaches_it() -> None:
    right = [binned([0.9] * 12 + [0.6] * 4), binned([0.9] * 3), binned([0.5] * 2)]
    judged_ = [right[0] + binned([0.6] * 1 + [0.2] * 20), right[1] + binned([0.9] * 17), right[2]]
    found = suggest.by_precision(np.stack(right), np.stack(judged_), ("a", "b", "c"), 0.8)
    # a: 12 of 12 from 0.9, 16 of 17 from 0.6, 16 of 37 from 0.2 on.
    assert found.thresholds == {"a": 0.6}
    assert "best precision is 0.15" in found.left_out["b"]
    assert "fewer than 10" in found.left_out["c"]
    assert found.config("detection") == 'task: {tasks: {detection: {class_thresholds: ["a=0.6"]}}}'
    assert experiment_config._parse(found.config("detection")) == {
        "task": {"tasks": {"detection": {"class_thresholds": ["a=0.6"]}}}
    }


def test_a_threshold_by_density_gives_the_training_records_number() -> None:
    scores = np.stack([binned([0.9] * 10 + [0.5] * 10 + [0.2] * 30), binned([0.1] * 5)])
    training = {"images": 50, "classes": {"a": 100, "b": 5000}}
    found = suggest.by_density(scores, 10, ("a", "b"), training)
    # a: 2 an image are wanted, 20 of 10 images are at 0.5 or above. b: even at the floor there are too few.
    assert found.thresholds == {"a": 0.5, "b": 0.1}
    assert "--truth" in found.why


def test_class_thresholds_are_read_and_mistakes_named() -> None:
    usual = recordset.configs_of({"detection": ["cat", "dog"]})["detection"]
    thresholds.check_names(usual)
    thresholds.check_names(usual.replace(class_thresholds=("dog=0.7",)))
    with pytest.raises(UserError, match="Did you mean 'dog'"):
        thresholds.check_names(usual.replace(class_thresholds=("dogg=0.7",)))
    with pytest.raises(UserError, match="Did you mean 'score_threshold'"):
        thresholds.configs({}, ["detection.score_treshold=0.3"])
    with pytest.raises(UserError, match="Did you mean 'detection'"):
        thresholds.configs({}, ["detecton.score_threshold=0.3"])


def test_the_command_prints_writes_and_ends_with_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    glob = records(tmp_path / "set", by(TEACHER, "detection", [boxes([])] * rules.FEWEST_IMAGES))
    assert must_records(["stats", "--records", glob], monkeypatch) == 1
    said = capsys.readouterr().out
    assert "100% of images have no label" in said and "failed: training refuses" in said
    known = verdict.of_folder(str(tmp_path / "set"), manifest.read(str(tmp_path / "set")))
    assert (known.state, list(known.failed)) == ("failed", ["detection"])
    assert must_records(["stats", "--records", glob, "--force", "--json"], monkeypatch) == 0
    assert json.loads(capsys.readouterr().out)["verdict"]["overruled"] is True
    assert verdict.of_folder(str(tmp_path / "set"), manifest.read(str(tmp_path / "set"))).state == "overruled"
    assert must_records(["stats", "--records", glob, "--precision", "2"], monkeypatch) == 2


def test_labelling_again_keeps_the_verdict_that_stands(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Only the truth knows that every box is in the wrong place."""
    folder, path = tmp_path / "set", tmp_path / "set" / verdict.NAME
    labels = [boxes([(1, 0.9, HERE), (2, 0.9, HERE)])] * rules.FEWEST_IMAGES
    glob = records(folder, by(TEACHER, "detection", labels))
    assert stats.after_labelling(str(folder), force=False) == 0
    truth = records(tmp_path / "truth", by("real:coco", "detection", [boxes([(1, 1.0, THERE)])] * len(labels)))
    judged(glob, truth=truth, settings=["detection.score_threshold=0.4"])
    stands = path.read_bytes()
    assert stats.after_labelling(str(folder), force=False) == 1
    assert path.read_bytes() == stands and "0% of the labels are right" in capsys.readouterr().err
    assert stats.after_labelling(str(folder), force=True) == 0
    assert "overruled" in capsys.readouterr().err
    known = verdict.of_folder(str(folder))
    assert (known.state, known.settings["detection"]["score_threshold"]) == ("overruled", 0.4)
    assert stats.after_labelling(str(folder), force=False) == 0
    path.write_text(json.dumps(json.loads(stands) | {"shards": "others"}))
    assert stats.after_labelling(str(folder), force=False) == 0
    assert verdict.of_folder(str(folder)).state == "passed"


def test_labels_that_were_not_judged_are_not_called_fit(tmp_path: Path) -> None:
    few = by(TEACHER, "detection", [boxes([(1, 0.9, HERE), (2, 0.9, THERE)])] * 3)
    said = [*tables.verdict_lines(judged(records(tmp_path / "few", few)))][-1]
    assert said.startswith("not judged: training accepts these pseudo labels, but it is not known if")
    enough = by("pseudo:b", "segmentation", [pixels(np.arange(2400).reshape(SIZE) % 2)] * rules.FEWEST_IMAGES)
    said = [*tables.verdict_lines(judged(records(tmp_path / "both", few + enough)))][-1]
    assert said.startswith("passed: the pseudo labels of segmentation are fit")
    assert "Those of detection were not judged" in said


def test_figures_of_other_shards_are_stale(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    judged(four(folder))
    whole = manifest.read(str(folder))
    assert verdict.of_folder(str(folder)).state == "passed"  # three images are too few to fail
    other = dataclasses.replace(whole, shards=[whole.shards[0] | {"sha256": "0"}])
    assert verdict.of_folder(str(folder), other).state == "stale"
    for damaged in ("{", "[]", "7", "null", '"passed"', "{}", '{"format": 1}', '{"format": 1, "verdict": []}'):
        (folder / verdict.NAME).write_text(damaged)
        with pytest.raises(UserError, match=r"stats\.json cannot be read .*\. Delete it and run must stats again"):
            verdict.of_folder(str(folder), whole)
    assert stats.after_labelling(str(folder), force=False) == 0
    assert verdict.of_folder(str(folder), whole).state == "passed"


def test_a_set_without_pseudo_labels_has_nothing_to_judge(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    glob = records(tmp_path / "set", [{"depth": record.Labelled({"metres": np.ones(SIZE)}, "real:hand")}])
    assert stats.after_labelling(str(tmp_path / "set"), force=False) == 0
    assert "nothing to judge" in capsys.readouterr().err
    assert judged(f"{tmp_path}/set/*", [glob], truth=glob)["tasks"] == {}  # stats.json is no record


def test_the_reader_gives_what_the_record_says() -> None:
    """As `record.read_labels`, which is tested against the conventions."""
    configs = recordset.configs_of(scenes.CLASSES)
    fast = label_reader.shared(discover(), configs)
    for index, tasks_here in enumerate((ALL, ("detection",), ("segmentation", "depth"))):
        serialized = scene_record(index, tasks_here)
        wanted = record.read_labels(serialized, discover(), configs)
        found = fast.read(serialized, tf.train.Example.FromString(serialized), "real:")
        assert set(found) == set(wanted) == set(tasks_here)
        for task, one in wanted.items():
            assert (found[task].origin, found[task].annotated) == (one.origin, one.annotated)
            for key, value in one.labels.items():
                both = (value, found[task].labels[key])
                for mine, its in zip(*both, strict=True) if isinstance(value, list) else [both]:
                    np.testing.assert_allclose(its, mine, atol=1e-6)  # a graph rounds otherwise
        assert fast.read(serialized, tf.train.Example.FromString(serialized), "pseudo:") == {}
    assert label_reader.shared(discover(), recordset.configs_of(scenes.CLASSES)) is fast
