"""A verdict against labels is not forgotten when they are judged at other thresholds."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from must_tf.common.errors import UserError
from must_tf.data import manifest, scenes
from must_tf.pseudo_gate import rules, verdict
from tests.support.labelling import boxes, by, judged, records, tell_training
from tfrecords_tools.merge.run import merge_inputs
from tfrecords_tools.reading import recordset
from tfrecords_tools.stats import run as stats

HERE, THERE = [0.0, 0.0, 0.5, 0.5], [0.5, 0.5, 1.0, 1.0]
BOTH = [(1, 0.95, HERE), (2, 0.95, HERE)]
LABELS = boxes([*BOTH, *[(1, 0.6, THERE), (2, 0.6, THERE)] * 4])
HIGH, LOW = ["detection.score_threshold=0.9"], ["detection.score_threshold=0.3"]
IMAGES = rules.FEWEST_IMAGES


def guessed(folder: Path, per_image: int) -> str:
    """Ten objects an image, of which two are surer than 0.9, by a teacher that was trained on so many; the glob."""
    glob = records(folder, by("pseudo:abc", "detection", [LABELS] * IMAGES))
    tell_training(folder, "abc", {"detection": {"images": 10, "objects": 10 * per_image, "classes": {}}})
    return glob


def asked(folder: Path, threshold: float) -> verdict.GateResult:
    """What a training is told that reads with this threshold."""
    config = dataclasses.replace(recordset.configs_of(scenes.CLASSES)["detection"], score_threshold=threshold)
    return verdict.check({"detection": config}, {str(folder): manifest.read(str(folder))})


def test_training_refuses_the_thresholds_that_failed(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    glob = guessed(folder, 2)
    assert list(judged(glob)["verdict"]["failed"]) == ["detection"]
    for _ in range(2):  # the second look takes the place of the first
        assert judged(glob, settings=HIGH)["verdict"]["failed"] == {}
    (refused,) = asked(folder, 0.5).problems
    assert "5.00 times, over 1.5" in refused and "other thresholds" not in refused
    assert refused.endswith(f"To train on them anyway, run must stats --records '{glob}' --force")
    assert asked(folder, 0.9) == ([], [])
    assert asked(folder, 0.7).problems == [] and "at other thresholds" in asked(folder, 0.7).notes[0]
    judged(glob)
    assert "judged at other thresholds than this run's (score_threshold=0.5" in asked(folder, 0.9).problems[0]
    judged(glob, settings=HIGH, force=True)
    assert verdict.of_folder(str(folder)).earlier == () and asked(folder, 0.5).problems == []


def test_every_verdict_against_the_labels_stands_once(tmp_path: Path) -> None:
    glob = guessed(tmp_path / "set", 2)
    for settings in (LOW, [], LOW, [], HIGH):
        content = judged(glob, settings=settings)
    assert [one["settings"]["score_threshold"] for one in content["before"]] == [0.5, 0.3]
    assert [one.settings["score_threshold"] for one in verdict.of_folder(str(tmp_path / "set")).earlier] == [0.5, 0.3]


def test_labelling_again_says_what_stands_and_overrules_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "set"
    glob = guessed(folder, 2)
    assert stats.after_labelling(str(folder), force=False) == 1
    judged(glob, settings=HIGH)
    assert stats.after_labelling(str(folder), force=False) == 0
    said = capsys.readouterr().err
    assert "detection failed earlier, at score_threshold=0.5" in said and "are fit to train on at these" in said
    assert asked(folder, 0.5).problems
    assert stats.after_labelling(str(folder), force=True) == 0
    assert asked(folder, 0.5).problems == [] and verdict.of_folder(str(folder)).state == "passed"


def test_what_a_truth_said_of_thresholds_is_not_forgotten_by_a_look_without(tmp_path: Path) -> None:
    """Two of ten are right, both of those above 0.9; their number alone speaks against none."""
    folder = tmp_path / "set"
    glob = guessed(folder, 10)
    truth = records(tmp_path / "truth", by("real:hand", "detection", [boxes(BOTH)] * IMAGES))
    assert "20% of the labels are right" in judged(glob, truth=truth)["verdict"]["failed"]["detection"][0]
    tell_training(folder, "abc", {})
    assert judged(glob, truth=truth, settings=HIGH)["verdict"]["failed"] == {}
    stands = (folder / verdict.NAME).read_bytes()
    again = judged(glob)
    assert stats.exit_code(again) == 1 and "kept" in again
    assert (folder / verdict.NAME).read_bytes() == stands
    assert asked(folder, 0.5).problems and asked(folder, 0.9) == ([], [])


def test_a_merged_set_is_read_with_the_usual_thresholds(tmp_path: Path) -> None:
    """Ten objects an image are as many as there should be in the first set, five times as many in the second."""
    good, bad = guessed(tmp_path / "good", 10), guessed(tmp_path / "bad", 2)
    judged(good, settings=HIGH)
    judged(good)
    assert [one.settings["score_threshold"] for one in verdict.of_folder(str(tmp_path / "good")).earlier] == [0.9]
    judged(bad)
    judged(bad, settings=HIGH)
    with pytest.raises(UserError, match=r"bad: its pseudo labels were judged unfit .*5\.00 times"):
        merge_inputs([good, bad])
    judged(bad, force=True)
    assert [each.directory for each in merge_inputs([good, bad])] == [str(tmp_path / "good"), str(tmp_path / "bad")]


def test_verdicts_that_are_none_are_named(tmp_path: Path) -> None:
    guessed(tmp_path / "set", 2)
    (tmp_path / "set" / verdict.NAME).write_text(
        json.dumps({"format": verdict.FORMAT, "settings": {}, "verdict": {"failed": {}}, "before": [{"task": "depth"}]})
    )
    with pytest.raises(UserError, match=r"stats\.json cannot be read .*run must stats again"):
        verdict.of_folder(str(tmp_path / "set"))
