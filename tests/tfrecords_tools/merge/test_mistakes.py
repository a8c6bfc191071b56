"""Mistakes in a merge are reported before anything is written."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from must_tf.common.errors import UserError
from must_tf.pseudo_gate import rules
from tests.support.converting import must_records
from tests.support.labelling import boxes, by, judged, records
from tests.support.merging import make, merged
from tfrecords_tools.merge.run import merge_inputs
from tfrecords_tools.writing import disk_space

MISTAKES = {
    "--records {a}": "at least two --records",
    "--records {a} --records {tmp}/none/*.tfrecord": "matches 0 files",
    "--records {a} --records {tmp}/depth/records-00000*": "Merge whole record sets",
    "--records {a} --classes-of {tmp}/none/*.tfrecord": "--classes-of",
    "--records {a} --records {b} --same dogg=cat": "no set has a class 'dogg'. Did you mean 'dog'?",
    "--records {a} --records {b} --same dog": "Write OLD=NEW",
    "--records {a} --records {b} --same dog=cat --same cat=dog": "both an old and a new name",
}


@pytest.mark.parametrize("command", MISTAKES)
def test_a_mistake_ends_before_anything_is_written(
    command: str,
    patterns: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = command.format(a=patterns[0], b=patterns[1], tmp=tmp_path).split()
    assert must_records(["merge", *words, "--out", f"{tmp_path}/out"], monkeypatch) == 2
    assert MISTAKES[command] in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_pseudo_labels_that_were_judged_unfit_are_refused(patterns: list[str], tmp_path: Path) -> None:
    """The merged set would have no verdict."""
    folder = tmp_path / "guessed"
    glob = records(folder, by("pseudo:abc", "detection", [boxes([])] * rules.FEWEST_IMAGES))
    judged(glob)
    remedy = f"must stats --records '{glob}' --force"
    with pytest.raises(UserError, match=r"100% of images have no label.*" + re.escape(remedy)):
        merge_inputs([patterns[0], glob])
    judged(glob, force=True)
    assert [each.directory for each in merge_inputs([patterns[0], glob])][1] == str(folder)


def test_a_damaged_record_is_named(
    patterns: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "depth" / "records-00001-of-00002.tfrecord"
    path.write_bytes(path.read_bytes()[:-7])
    command = ["merge", "--records", patterns[0], "--records", patterns[1], "--out", f"{tmp_path}/out"]
    assert must_records(command, monkeypatch) == 2
    assert f"{path} is truncated or damaged at byte 0" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_sets_without_a_record_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    empty = [make(tmp_path / name, [], {}) for name in ("a", "b")]
    command = ["merge", "--records", empty[0], "--records", empty[1], "--out", f"{tmp_path}/out"]
    assert must_records(command, monkeypatch) == 2
    assert f"error: nothing to merge: no records in {tmp_path}/a, {tmp_path}/b" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_merge_that_does_not_fit_is_refused(
    patterns: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Four records of three images need three quarters of the sets' bytes."""
    wanted = sum(path.stat().st_size for path in tmp_path.glob("*/*.tfrecord")) * 3 / 4
    free = {"bytes": wanted - 1}
    monkeypatch.setattr(disk_space.shutil, "disk_usage", lambda path: type("Usage", (), {"free": free["bytes"]}))
    with pytest.raises(UserError, match="are free on that disk"):
        merged(tmp_path / "out", patterns)
    assert not (tmp_path / "out").exists()
    free["bytes"] = wanted
    assert merged(tmp_path / "out", patterns).records == 3
