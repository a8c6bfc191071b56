"""A plan file is read completely, and all of its mistakes are named at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from must_tf.common.errors import UserError
from must_tf.loop import plan_file
from must_tf.loop.plan import MOST, Plan, PlannedTeacher, RunSettings
from must_tf.transfers.table import MOST_SEEDS
from tests.support.tiny import ROOT

GOOD = """
out: runs/home
datasets:
  street: {format: coco, images: street/images, annotations: street/instances.json}
  rooms: {format: rgbd, root: rooms, validation: {root: rooms-val}}
  album: {format: images, root: album}
  old: {format: records, records: records/old}
teachers:
  classification: {model: mobilenet.yaml}
  depth: {steps: 500, settings: {task: {tasks: {depth: {loss: berhu}}}}}
student: {hours: 2}
export: true
"""


def read(tmp_path: Path, text: str) -> Plan:
    """Reads a plan from its text."""
    path = tmp_path / "plan.yaml"
    path.write_text(text)
    return plan_file.read(str(path))


def test_a_plan_is_read(tmp_path: Path) -> None:
    plan = read(tmp_path, GOOD)
    assert (plan.out, plan.title, plan.start, plan.export) == ("runs/home", "plan", "random", True)
    assert list(plan.datasets) == ["street", "rooms", "album", "old"]
    street, rooms, album, old = plan.datasets.values()
    assert street.options == {"images": "street/images", "annotations": "street/instances.json"}
    assert (street.share, street.validation) == (-1.0, None)  # a share, if it has labels
    assert (rooms.share, rooms.validation) == (0.0, {"root": "rooms-val"})
    assert album.form == "images" and album.is_trained_on
    assert (old.share, old.validation) == (0.0, None)  # records are not divided
    assert plan.teachers["classification"] == PlannedTeacher(model="mobilenet.yaml")
    assert plan.teachers["depth"].run == RunSettings(500, 0.0, {"task": {"tasks": {"depth": {"loss": "berhu"}}}})
    assert plan.student == RunSettings(0, 2.0)
    assert plan.folder("a", "b") == "runs/home/a/b"


@pytest.mark.parametrize("name", ["quickstart", "cross", "real"])
def test_the_experiments_are_plans(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("DATA", "photos")
    plan = plan_file.read(f"experiments/{name}.yaml")
    assert plan.out == f"runs/{name}"
    assert len(plan.datasets) >= 3


# One change to the good plan, and a part of the message that it must give.
MISTAKES = {
    "a key": ("export: true", "exprot: true", "no such key: exprot. Did you mean 'export'?"),
    "a format": ("format: coco", "format: cocco", "format 'cocco' is unknown. Did you mean 'coco'?"),
    "an option": ("annotations:", "anotations:", "coco has no option 'anotations'. Did you mean 'annotations'?"),
    "a missing option": (
        ", annotations: street/instances.json",
        "",
        "coco needs 'annotations', the option --annotations",
    ),
    "a task": ("depth: {steps", "deph: {steps", "teachers.deph: 'deph' is not a task. Did you mean 'depth'?"),
    "steps": ("steps: 500", "steps: -1", "must be a whole number above 0 and at most 1,000,000,000, not -1."),
    "seeds": (
        "export: true",
        "transfer: {x: {format: rgbd, root: r, task: depth, seeds: true}}",
        "transfer.x.seeds must be a whole number above 0 and at most 1,000, not True.",
    ),
    "a flag": ("export: true", "export: 1", "export must be true or false, not 1."),
    "a text": ("model: mobilenet.yaml", "model: 5", "teachers.classification.model must be a text, not 5."),
    "both": ("hours: 2", "hours: 2, steps: 3", "student has both steps and hours."),
    "hours": ("hours: 2", "hours: two", "student.hours must be a number above 0 and at most 100,000, not 'two'."),
    "hours without end": ("hours: 2", f"hours: 1{'0' * 400}", "student.hours must be a number above 0 and at most"),
    "seeds without end": (
        "export: true",
        f"transfer: {{x: {{format: rgbd, root: r, task: depth, seeds: {MOST_SEEDS + 1}}}}}",
        "transfer.x.seeds must be a whole number above 0 and at most 1,000, not 1001.",
    ),
    "no text": ("out: runs/home", 'out: "runs\\0home"', "has a character that cannot be written"),
    "half a character": ("out: runs/home", 'out: "runs\\uD800"', "has a character that cannot be written"),
    "a share": ("validation: {root: rooms-val}", "validation: 1.5", "must be a share between 0 and 1"),
    "validation's option": ("{root: rooms-val}", "{rot: rooms-val}", "rgbd has no option 'rot'. Did you mean 'root'?"),
    "a name": ("  album:", "  my/album:", "'my/album' is also the name of a folder."),
    "a model and steps": ("mobilenet.yaml", "m.yaml, steps: 3", "a model that exists is not trained. Remove steps."),
    "no datasets": ("datasets:", "dataset:", "'datasets' is missing."),
    "no out": ("out: runs/home", "", "'out' is missing. Write for instance out: runs/home"),
    "a remote out": ("out: runs/home", "out: gs://a/b", "must be a local folder"),
    "a pattern as out": ("out: runs/home", "out: 'runs [2]'", "out: runs [2]: TensorFlow takes *, ? and [ in the path"),
    "a variable": ("root: album", "root: $NO_SUCH/album", "environment variable NO_SUCH is not set"),
    "settings": ("{task: {tasks: {depth: {loss: berhu}}}}", "3", "teachers.depth.settings must be a group of keys"),
    "rows": (
        "export: true",
        "transfer: {x: {format: rgbd, root: r, task: depth, rows: [teacher]}}",
        "transfer.x.rows: no such row: teacher. Did you mean 'teachers'?",
    ),
    "steps of all teachers": (
        "  depth: {steps",
        "  all: {stesp",
        "teachers.all: no such key: stesp. Did you mean 'steps'?",
    ),
    "a dataset to label": (
        "depth: {steps",
        "depth: {labels: [albun], steps",
        "teachers.depth.labels: 'albun' is not a data",
    ),
    "a dataset to compare": ("export: true", "compare: {x: {datasets: [albun]}}", "Did you mean 'album'?"),
    "a task to compare": ("export: true", "compare: {x: {tasks: [boxes]}}", "compare.x.tasks: 'boxes' is not a task."),
    "a name to compare": ("export: true", "compare: {teacher-depth: {}}", "this name has a meaning of its own"),
    "no task": (
        "export: true",
        "transfer: {x: {format: rgbd, root: r}}",
        "Write for instance task: depth, or task: [d",
    ),
    "one task of several": (
        "export: true",
        "transfer: {x: {format: rgbd, root: r, task: [depth, normal]}}",
        "transfer.x.task: 'normal' is not a task. Did you mean 'normals'?",
    ),
    "a config value": ("loss: berhu", "los: berhu", "task.tasks.depth.los: no such key. Did you mean 'loss'?"),
    "a type": ("student: {hours: 2}", "settings: {task: {input_size: big}}", "settings: task.input_size='big'"),
    "a size": ("student: {hours: 2}", "settings: {task: {input_size: 96}}", "input_size=96 must be a multiple of 128"),
    "a key of datasets": ("validation: {root: rooms-val}", "validaton: 0.1", "Did you mean 'validation'?"),
    "a share of records": (
        "records: records/old",
        "records: r, validation: 0.2",
        "datasets.old: records are not divided.",
    ),
    "records to validate on": (
        "records: records/old",
        "records: r, validation: {record: s}",
        "datasets.old.validation: records has no option 'record'. Did you mean 'records'?",
    ),
    "validation on itself": ("{root: rooms-val}", "{}", "datasets.rooms: validation: {} leaves no photo to train on."),
    "a folder of two": ("  album:", "  street-val:", "datasets.street-val: this is the folder of a part of 'street'."),
    "labels in the folder of a dataset": ("  album:", "  rooms-labelled:", "a part of 'rooms'. Give it another name."),
    "nothing to repeat": (
        "{root: rooms-val}",
        "{root: rooms-val}, train: false, repeat: 3",
        "datasets.rooms.repeat: it is for datasets that a student is trained on.",
    ),
    "repeats of a transfer": (
        "export: true",
        "transfer: {x: {format: rgbd, root: r, task: depth, repeat: 3}}",
        "rgbd has no option 'repeat'",
    ),
    "repeats": ("root: album", "root: album, repeat: 1.5", "datasets.album.repeat must be"),
    "nothing to validate on": ("root: album", "root: album, train: false", "say which: validation: {...}"),
}


@pytest.mark.parametrize("change", MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_named_with_its_key(tmp_path: Path, change: tuple[str, str, str]) -> None:
    old, new, message = change
    assert old in GOOD
    with pytest.raises(UserError) as error:
        read(tmp_path, GOOD.replace(old, new))
    assert message in str(error.value)
    assert "plan.yaml" in str(error.value)


LONG = "x" * 1000


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("export: true", f"export: {LONG}"),
        ("export: true", f"{LONG}: true"),
        ("student: {hours: 2}", f"student: {LONG}"),
        ("  depth: {steps", f"  {LONG}: {{steps"),
        ("root: album", f"root: album, validation: {LONG}"),
        ("root: album", f"root: album, {LONG}: 1"),
        ("format: coco", f"format: {LONG}"),
        ("export: true", f"compare: {{a: {{datasets: [{LONG}]}}}}"),
    ],
)
def test_long_values_are_cut(tmp_path: Path, old: str, new: str) -> None:
    """A file that lacks a quote may be one value of a megabyte."""
    assert old in GOOD
    with pytest.raises(UserError) as error:
        read(tmp_path, GOOD.replace(old, new))
    assert len(str(error.value)) < 900


def test_a_plan_allows_as_many_seeds_as_its_transfers() -> None:
    """Another number would be refused after hours of training."""
    assert MOST["seeds"] == MOST_SEEDS


@pytest.mark.parametrize(("level", "size"), [(5, 96), (8, 512)])
def test_a_size_is_judged_by_the_levels_of_its_run(level: int, size: int, tmp_path: Path) -> None:
    """Which another group of settings may have. The size of a run that names none is chosen to fit."""
    levels = f"settings: {{task: {{model: {{max_level: {level}}}}}}}"
    plan = GOOD.replace("{hours: 2}", f"{{settings: {{task: {{input_size: {size}}}}}}}") + levels
    assert read(tmp_path, plan).student.settings["task"]["input_size"] == size
    with pytest.raises(UserError) as error:
        read(tmp_path, plan.replace(str(size), str(size + 16)))
    assert len(error.value.problems) == 1


def test_all_mistakes_are_named_at_once(tmp_path: Path) -> None:
    text = GOOD.replace("coco", "cocco").replace("hours: 2", "huors: 2").replace("depth:", "dept:", 1)
    with pytest.raises(UserError) as error:
        read(tmp_path, text)
    assert len(error.value.problems) == 3
    for hint in ("'coco'", "'hours'", "'depth'"):
        assert f"Did you mean {hint}?" in str(error.value)
