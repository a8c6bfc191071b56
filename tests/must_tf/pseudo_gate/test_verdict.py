"""The rules for pseudo labels, each at its border; and a run that stops before it starts."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import tensorflow as tf

from must_tf.cli import dry_run
from must_tf.common.errors import UserError
from must_tf.data import manifest, record, scenes
from must_tf.experiments import experiment_config
from must_tf.pseudo_gate import rules, verdict
from must_tf.training import preflight
from tests.support.converting import must_records
from tests.support.labelling import judged, tell_training
from tests.support.mistakes import Sandbox, records_in, run_train, trained
from tests.support.tiny import ALL
from tfrecords_tools.stats import run as stats
from tfrecords_tools.writing import shards

USUAL: dict[str, Any] = {"images": 100, "empty": 0.1, "low_confidence": 0.1, "not_finite": 0}
OBJECTS = USUAL | {"kind": "objects", "per_image": 5.0, "classes": {"cat": 300, "dog": 200}}
PIXELS = USUAL | {"kind": "pixels", "valid": 0.9, "classes": {"wall": 80, "floor": 20}}
DEPTH = USUAL | {"kind": "depth", "valid": 1.0, "flat": 0.0, "metres": {"p50": 2.0}}
NORMALS = USUAL | {"kind": "normals", "valid": 1.0, "flat": 0.0, "direction": [0.0, -0.2, -0.7]}
MASKS = OBJECTS | {"kind": "masks", "hollow": 0.0}
IMAGES = USUAL | {"kind": "images", "classes": {"a": 60, "b": 40}, "confidence": 0.7}
THOUSAND = IMAGES | {"classes": dict.fromkeys(map(str, range(1000)), 1)}
REAL = {"per_image": 5.0, "classes": {"cat": 300, "dog": 200}}
SHARES = {"classes": {"wall": 50, "floor": 50}}
TRUTH = {"images": 100, "right": 0.8, "measure": "precision of boxes at IoU 0.5"}


@pytest.mark.parametrize("figures", [OBJECTS, PIXELS, DEPTH, NORMALS, MASKS, IMAGES], ids=lambda one: one["kind"])
def test_usual_labels_pass(figures: dict[str, Any]) -> None:
    assert rules.reasons(rules.Evidence(figures, REAL, TRUTH)) == []
    assert rules.reasons(rules.Evidence(figures)) == []


@pytest.mark.parametrize(
    ("figures", "training", "truth", "said"),
    [
        (OBJECTS | {"per_image": 7.6}, REAL, {}, "1.52 times, over 1.5"),
        (OBJECTS | {"per_image": 1.4}, REAL, {}, "0.28 times, under 0.3"),
        (OBJECTS | {"empty": 0.2, "low_confidence": 0.31}, REAL, {}, "51% of images have no label"),
        (OBJECTS | {"classes": {"cat": 91, "dog": 9}}, REAL, {}, "'cat' is 91% of all objects, 60% of the training"),
        (OBJECTS | {"not_finite": 1}, REAL, {}, "1 of 100 images have NaN or infinity"),
        (OBJECTS, REAL, TRUTH | {"right": 0.49}, "49% of the labels are right (precision of boxes"),
        (PIXELS | {"classes": {"wall": 91, "floor": 9}}, SHARES, {}, "'wall' is 91% of all pixels, 50% of"),
        (PIXELS | {"valid": 0.49}, {}, {}, "51% of pixels are ignored or unknown"),
        (DEPTH | {"valid": 0.49}, {}, {}, "51% of pixels are ignored or unknown"),
        (DEPTH | {"flat": 0.51}, {}, {}, "51% of images have the same value everywhere"),
        (DEPTH | {"metres": {"p50": 2000.0}}, {"metres": {"p50": 2.0}}, {}, "1e+03 times, over 4"),
        (NORMALS | {"direction": [0.0, 0.2, 0.7]}, {}, {}, "mean z is 0.70"),
        (MASKS | {"hollow": 0.51}, {}, {}, "51% of the boxes above the threshold have a mask below"),
        (IMAGES | {"classes": {"a": 95, "b": 5}}, {"classes": {"a": 1, "b": 3}}, {}, "'a' is 95% of all images, 25%"),
        (IMAGES | {"confidence": 0.55}, {}, {}, "a guess among 2 has 0.5"),
        (THOUSAND | {"confidence": 0.001}, {}, {}, "a guess among 1000 has 0.001"),
        (THOUSAND | {"confidence": 0.0027}, {}, {}, "than a softmax makes of probabilities of 1000 classes (0.00271"),
        (DEPTH | {"differing": 0.004}, {}, {}, "99.6% of its variance depends only on the position"),
        (NORMALS | {"differing": 0.0}, {"differing": 0.3}, {}, "100.0% of its variance"),
    ],
)
def test_each_rule_beyond_its_border(
    figures: dict[str, Any], training: dict[str, Any], truth: dict[str, Any], said: str
) -> None:
    (sentence,) = rules.reasons(rules.Evidence(figures, training, truth))
    assert said in sentence


@pytest.mark.parametrize(
    ("figures", "training"),
    [
        (OBJECTS | {"per_image": 7.4}, REAL),
        (OBJECTS | {"per_image": 1.6}, REAL),
        (OBJECTS | {"empty": 0.5, "low_confidence": 0.0}, REAL),
        (OBJECTS | {"empty": 0.7}, REAL | {"empty": 0.6}),  # the training records are like that
        (OBJECTS | {"classes": {"cat": 99, "dog": 1}}, REAL | {"classes": {"cat": 95, "dog": 5}}),
        (PIXELS | {"classes": {"road": 92, "rest": 8}}, {"images": 100}),  # nobody knows how much was road
        (OBJECTS | {"classes": {"person": 95, "dog": 5}}, {}),  # nor how many were people
        (OBJECTS | {"classes": {"cat": 99}}, REAL),  # there is but one class
        (DEPTH | {"valid": 0.05}, {"valid": 0.05}),  # laser scans
        (DEPTH | {"metres": {"p50": 7.0}}, {"metres": {"p50": 2.0}}),
        (THOUSAND | {"confidence": 0.03}, {}),  # a weak teacher: 30 times a guess
        (IMAGES | {"confidence": 0.65}, {}),  # of two classes, a softmax of certainty has 0.73
        (DEPTH | {"differing": 0.016}, {}),  # photos of one desk
        (DEPTH | {"differing": 0.001}, {"differing": 0.001}),  # a fixed camera
        (MASKS | {"per_image": 50.0}, REAL),  # their boxes are judged as detection's
        (OBJECTS | {"images": 19, "empty": 1.0}, REAL),  # too few to tell
    ],
)
def test_what_is_within_or_as_in_the_training_records_passes(figures: dict[str, Any], training: dict[str, Any]) -> None:
    assert rules.reasons(rules.Evidence(figures, training)) == []


def itself(here: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    """Returns the agreement of a teacher with itself; {} if it was not measured."""
    known = {"figure": "f1", "higher_is_better": True, "images": 64, "mirrored": 0.8, "zoomed": 0.8}
    return {"here": known | here, "own": known | own if own else {}}


ANGLES = {"figure": "mean_angle", "higher_is_better": False}


@pytest.mark.parametrize(
    ("here", "own", "said"),
    [
        ({"mirrored": 0.4}, {"mirrored": 0.8}, "outside of its domain: on mirrored photos .* f1 of 0.4, but of 0.8"),
        ({"zoomed": 0.4}, {"zoomed": 0.8}, "on zoomed photos"),
        ({"mirrored": 0.6}, {"mirrored": 0.8}, ""),  # harder photos
        ({"mirrored": 0.985}, {"mirrored": 1.0}, ""),  # beyond the factor, but of no matter
        (ANGLES | {"mirrored": 25.0, "zoomed": 5.0}, ANGLES | {"mirrored": 5.0, "zoomed": 5.0}, "mean_angle of 25"),
        (ANGLES | {"mirrored": 11.0, "zoomed": 5.0}, ANGLES | {"mirrored": 5.0, "zoomed": 5.0}, ""),
        ({"mirrored": 0.1, "zoomed": 0.1}, {}, ""),  # nothing to compare with
    ],
)
def test_a_teacher_outside_of_its_domain(here: dict[str, Any], own: dict[str, Any], said: str) -> None:
    sentences = rules.reasons(rules.Evidence(OBJECTS, REAL, agreement=itself(here, own)))
    assert len(sentences) == bool(said) and (not said or re.search(said, sentences[0]))


def test_what_was_not_judged_is_said() -> None:
    whole = itself({}, {"mirrored": 0.8})
    unjudged = [phrase.split(" ")[:3] for phrase in rules.not_judged(rules.Evidence(OBJECTS, agreement=whole))]
    assert unjudged == [["objects", "per", "image"], ["each", "class's", "share"], ["whether", "labels", "are"]]
    (metres, places) = rules.not_judged(rules.Evidence(DEPTH, agreement=whole))
    assert metres.startswith("depth of the training records") and "--truth" in places
    assert rules.not_judged(rules.Evidence(DEPTH, {"metres": {"p50": 1.0}}, TRUTH, whole)) == []
    assert "each class's share of" in rules.not_judged(rules.Evidence(PIXELS, {"images": 9}, TRUTH, whole))[0]
    assert rules.not_judged(rules.Evidence(OBJECTS, REAL, TRUTH, whole)) == []
    assert "give --teacher TASK=PATH" in rules.not_judged(rules.Evidence(OBJECTS, REAL, TRUTH))[0]
    assert (
        "give --domain RECORDS, of at least 20 photos"
        in rules.not_judged(rules.Evidence(OBJECTS, REAL, TRUTH, itself({}, {})))[0]
    )
    assert "19 images are too few" in rules.not_judged(rules.Evidence(OBJECTS | {"images": 19}))[0]


def pseudo_copy(source: str, folder: Path, copies: int) -> str:
    """The scenes as if a teacher had labelled them, each so many times over; the glob."""
    found = []
    serialized = list(tf.data.TFRecordDataset(sorted(tf.io.gfile.glob(f"{source}/*.tfrecord"))).as_numpy_iterator())
    for one in serialized * copies:
        example = tf.train.Example.FromString(one)
        for task in ALL:
            example.features.feature[record.origin_key(task)].bytes_list.value[0] = b"pseudo:abc"
        found.append(example.SerializeToString(deterministic=True))
    classes = manifest.read(source).classes
    folder.mkdir()
    shards.claim(str(folder), "tests", ["tests"])
    info = shards.write_shard(str(folder / shards.names(1)[0]), found)
    manifest.write(str(folder), shards.combined_manifest([info], classes, ["tests"]))
    return f"{folder}/*.tfrecord"


def test_training_stops_before_it_starts(world: Sandbox, capsys: pytest.CaptureFixture[str]) -> None:
    """Detection has five times as many objects as its training records had; depth is fine."""
    folder = world.tmp / "labelled"
    glob = pseudo_copy(world.tiny.records, folder, 4)
    objects = sum(manifest.read(str(folder)).objects["detection"].values())
    tell_training(folder, "abc", {"detection": {"images": 20, "objects": objects // 5, "classes": {}}})
    assert list(judged(glob)["verdict"]["failed"]) == ["detection"]
    student = trained(world, records_in(folder))
    assert run_train(student) == 2
    said = capsys.readouterr().err
    assert "the pseudo labels of detection are unfit to train on" in said and "over 1.5" in said
    assert f"must stats --records '{folder}/*.tfrecord' --force" in said
    assert not Path(world.out).exists()
    assert run_train([*student, "--dry_run"]) == 2
    params = train_params(world, folder, "depth")
    preflight.settle(params, "train")  # which does not train on detection
    judged(glob, force=True)
    preflight.settle(train_params(world, folder, "detection"), "train")
    assert capsys.readouterr().out == ""


def test_what_failed_is_refused_whatever_the_thresholds(world: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """A set that was judged unfit does not become fit because a run reads it otherwise: that is to be judged."""
    folder = world.tmp / "labelled"
    glob = pseudo_copy(world.tiny.records, folder, 4)
    tell_training(folder, "abc", {"detection": {"images": 20, "objects": 1, "classes": {}}})
    judged(glob)
    params = train_params(world, folder, "detection")
    params.task.tasks.detection.score_threshold = 0.3
    params.task.tasks.detection.class_thresholds = (f"{scenes.OBJECTS[0]}=0.7",)
    with pytest.raises(UserError) as stopped:
        preflight.settle(params, "train")
    said = str(stopped.value)
    assert "judged at other thresholds than this run's (score_threshold=0.5, class_thresholds=[])" in said
    command = said[said.index("must stats") :].split("\n")[0]
    words = shlex.split(command)[1:]
    assert must_records(words, monkeypatch) == 1
    with pytest.raises(UserError, match=r"To train on them anyway, run .*class_thresholds.* --force"):
        preflight.settle(params, "train")
    assert must_records([*words, "--force"], monkeypatch) == 0
    preflight.settle(params, "train")


def train_params(world: Sandbox, folder: Path, task: str) -> Any:
    """The config of a teacher that trains on this folder."""
    override = json.dumps({"task": {"train_data": {"input_path": f"{folder}/*.tfrecord"}}})
    return experiment_config.load(f"must_teacher_{task}", [world.tiny.config], override)


def test_labels_that_nobody_judged_are_a_line(world: Sandbox, capsys: pytest.CaptureFixture[str]) -> None:
    folder = world.tmp / "labelled"
    glob = pseudo_copy(world.tiny.records, folder, 1)
    params = train_params(world, folder, "detection")
    preflight.settle(params, "train")
    assert f"have not been judged; run must stats --records '{glob}'\n" in capsys.readouterr().out
    judged(glob)
    preflight.settle(params, "train")
    assert capsys.readouterr().out == ""
    params.task.tasks.detection.score_threshold = 0.3
    preflight.settle(params, "train")
    said = capsys.readouterr().out
    assert "at other thresholds" in said and "--set detection.score_threshold=0.3\n" in said
    content = json.loads((folder / verdict.NAME).read_text())
    (folder / verdict.NAME).write_text(json.dumps(content | {"shards": "others"}))
    preflight.settle(params, "train")
    assert "have changed since they were judged" in capsys.readouterr().out
    assert any("by must stats: stale" in line for line in dry_run._data("train", params.task.train_data))


def test_records_with_real_labels_need_no_verdict(world: Sandbox, capsys: pytest.CaptureFixture[str]) -> None:
    preflight.settle(train_params(world, Path(world.tiny.records), "detection"), "train")
    assert capsys.readouterr().out == ""


def test_two_teachers_are_named() -> None:
    two = {"a": {"failed": ["bad."]}, "b": {"failed": []}}
    assert stats._verdict({"depth": {"teachers": two}}, True) == {
        "failed": {"depth": ["teacher a: bad."]},
        "overruled": True,
    }


def test_what_was_not_judged_has_not_passed() -> None:
    """As a plan of a training shows it."""
    of_tasks: dict[str, dict[str, Any]] = {"depth": {}, "masks": {}}
    for unjudged, words in (
        ((), "passed"),
        (("depth",), "passed; not judged, too few images: depth"),
        (("depth", "masks"), "not judged, too few images: depth, masks"),
    ):
        assert verdict.Verdict("passed", {}, of_tasks, (), unjudged).words == words
    found = {task: {"teachers": {"a": {"found": {"images": count}}}} for task, count in (("depth", 19), ("masks", 20))}
    assert verdict.unjudged({"tasks": found}) == ("depth",)
