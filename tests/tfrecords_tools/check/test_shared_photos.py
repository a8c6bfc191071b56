"""`check --against` finds photos that two sets share, by content."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.support.converting import converted, must_records, noise, save
from tfrecords_tools.sources.images import UnlabelledImages


def test_photos_in_both_sets_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Photos 2, 3 and 5 of seven in two shards are in the other set, two of them under other names."""
    for number in range(7):
        save(tmp_path / "album" / f"p{number}.png", noise(9, 12, number))
    save(tmp_path / "val" / "p1.png", noise(9, 12, 99))  # the name of another photo
    for name, number in (("x", 2), ("p3", 3), ("y", 5)):
        (tmp_path / "val").mkdir(exist_ok=True)
        shutil.copy(tmp_path / "album" / f"p{number}.png", tmp_path / "val" / f"{name}.png")
    train, val = (f"{tmp_path}/{name}-records" for name in ("train", "val"))
    converted(UnlabelledImages(str(tmp_path / "album")), train, shards=2)
    converted(UnlabelledImages(str(tmp_path / "val")), val)
    command = ["check", "--records", f"{train}/*.tfrecord", "--workers", "1"]
    assert must_records(command, monkeypatch) == 0
    capsys.readouterr()
    assert must_records([*command, "--against", f"{val}/*.tfrecord", "--json"], monkeypatch) == 1
    findings = json.loads(capsys.readouterr().out)["findings"]
    assert list(findings) == [f"photo is also in {val}"]
    # Shard 0 holds p0, p2, p4, p6, and shard 1 p1, p3, p5.
    where = [("00000", 1, "p2"), ("00001", 1, "p3"), ("00001", 2, "p5")]
    assert findings[f"photo is also in {val}"] == {
        "count": 3,
        "places": [f"records-{shard}-of-00002.tfrecord record {number} ({name!r})" for shard, number, name in where],
    }
