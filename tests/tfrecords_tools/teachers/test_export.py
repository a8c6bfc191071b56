"""An export gives the same labels as its run, byte by byte, under the same id; both know their training data."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import tensorflow as tf

from must_tf.common.errors import UserError
from must_tf.data import manifest
from must_tf.serving import saved_model
from tests.support.tiny import ALL, Tiny, scene_record, write_set
from tfrecords_tools import teachers
from tfrecords_tools.label.pipeline import labelled


def test_the_same_bytes_as_the_run(tiny_export: str, tiny: Tiny, tmp_path: Path) -> None:
    """Nine scenes of three sizes: a full batch and a filled one."""
    pattern = write_set(tmp_path / "in", [[scene_record(index, ()) for index in range(9)]], ())
    (path,) = tf.io.gfile.glob(pattern)
    found = [
        list(labelled(path, [teachers.describe(one, ALL).load()], lambda count: None))
        for one in (tiny.run, tiny_export)
    ]
    assert found[0] == found[1]


def test_both_know_the_same_about_themselves(tiny_export: str, tiny: Tiny) -> None:
    """Counted by hand in the records: five scenes, all labelled for depth."""
    run, other = (teachers.describe(path, ("depth", "detection")).about for path in (tiny.run, tiny_export))
    assert (run.id, run.classes) == (other.id, other.classes)
    assert run.facts | {"kind": ""} == other.facts | {"kind": ""}
    assert (run.facts["kind"], other.facts["kind"]) == ("run directory", "export")
    assert run.facts["step"] == 2 and run.facts["input_size"] == 128
    assert run.facts["units"] == {"depth": "metres"} and run.facts["floors"] == {"detection": 0.05}
    objects = manifest.read(tiny.records).objects["detection"]
    assert run.facts["trained_on"] == {
        "depth": {"images": 5, "objects": None, "classes": {}},
        "detection": {"images": 5, "objects": sum(objects.values()), "classes": objects},
    }


def test_records_that_are_gone_are_unknown_to_the_run_and_known_to_the_export(
    tiny_export: str, tiny: Tiny, tmp_path: Path
) -> None:
    run = shutil.copytree(tiny.run, tmp_path / "run")
    params = (run / "params.yaml").read_text().replace(tiny.records, str(tmp_path / "gone"))
    (run / "params.yaml").write_text(params)
    assert teachers.describe(str(run), ["depth"]).about.facts["trained_on"] == {}
    assert teachers.describe(tiny_export, ["depth"]).about.facts["trained_on"]["depth"]["images"] == 5


def test_an_export_of_an_older_version(tiny_export: str, tmp_path: Path) -> None:
    old = tmp_path / "old"
    shutil.copytree(tiny_export, old)
    content = json.loads((old / saved_model.NAME).read_text())
    (old / saved_model.NAME).write_text(json.dumps({key: content[key] for key in ("teacher_id", "step", "input_size")}))
    with pytest.raises(UserError, match=r"lacks classes, tasks, trained_on.*Export the run again"):
        teachers.describe(str(old), ["depth"])


def test_licences_of_a_students_teachers(tiny_export: str, tmp_path: Path) -> None:
    """They become the licence of what the student labels."""
    assert teachers.describe(tiny_export, ["depth"]).about.facts["licence"] == ""
    licensed = shutil.copytree(tiny_export, tmp_path / "licensed")
    content = json.loads((licensed / saved_model.NAME).read_text())
    assert content["licences"] == []
    (licensed / saved_model.NAME).write_text(json.dumps(content | {"licences": ["A", "B"]}))
    assert teachers.describe(str(licensed), ["depth"]).about.facts["licence"] == "A; B"
