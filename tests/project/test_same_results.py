"""The tool that compares results before and after a change finds differences, and only those."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.tools import same_results


def test_values_that_differ_are_listed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """1 is not 1.0, NaN is NaN, and a missing value is a difference."""
    old, new = tmp_path / "old.json", tmp_path / "new.json"
    old.write_text(json.dumps({"same": float("nan"), "type": 1, "gone": "a"}))
    new.write_text(json.dumps({"same": float("nan"), "type": 1.0}))
    assert same_results.compare(old, old) == 0
    capsys.readouterr()
    assert same_results.compare(old, new) == 1
    assert capsys.readouterr().out == 'gone: "a" -> (missing)\ntype: 1 -> 1.0\n3 values compared, 2 differ\n'


def test_files_are_read_without_times(tmp_path: Path) -> None:
    """The order of keys counts, the time does not, and files of the program itself are not read."""
    texts = {"a": '{"x": 1, "y": [], "time": 5}', "b": '{"x": 1, "y": [], "time": 6}', "c": '{"y": [], "x": 1}'}
    for name, text in texts.items():
        (tmp_path / f"{name}.json").write_text(text)
    (tmp_path / "train.log").write_text("progress")
    results = same_results.collected(tmp_path)
    assert {name: value for name, value in results.items() if name.startswith("a.")} == {
        "a.json: x": 1,
        "a.json: y": [],
        "a.json: as a whole": results["b.json: as a whole"],
    }
    assert results["c.json: as a whole"] != results["a.json: as a whole"]
    assert {name.partition(":")[0] for name in results} == {"a.json", "b.json", "c.json"}


def test_must_records_prints_json() -> None:
    arguments = same_results.argument_list("records check --records 'a b/*.tfrecord'", Path("checkout"))
    assert arguments[1:] == ["-m", "tfrecords_tools", "check", "--records", "a b/*.tfrecord", "--json"]
