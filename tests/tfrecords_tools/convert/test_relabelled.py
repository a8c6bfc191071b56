"""A dataset with renamed, dropped and reordered classes."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from must_tf.common.errors import UserError
from must_tf.data import manifest, record
from must_tf.loop import formats
from must_tf.spec import ImageInfo
from tests.support.converting import Converted, converted, must_records, read, save
from tests.support.datasets.oddities import voc
from tests.support.tiny import image_bytes
from tfrecords_tools.convert.relabelled import relabelled
from tfrecords_tools.sources import Sample, Source
from tfrecords_tools.sources.scenes import Scenes
from tfrecords_tools.writing.counts import Account
from tfrecords_tools.writing.items import Item, Listing

NAMES = ("cat", "dog", "horse")
TASKS = ("classification", "detection", "masks", "segmentation")
BOXES = np.array([[0, 0, 0.5, 0.5], [0.5, 0.5, 1, 1], [0, 0.5, 0.5, 1]], np.float32)


class Animals:
    """One image with a cat, a dog and a horse, and a pixel of each class and an ignored one."""

    def __init__(self, annotated: tuple[int, ...] | None = None):
        self.annotated = annotated

    def find(self) -> Listing:
        classes: dict[str, tuple[str, ...]] = dict.fromkeys(TASKS, NAMES)
        return Listing([Item("a", ())], classes)

    def load(self, item: Item, account: Account) -> Sample:
        del item, account
        crops = [np.full([1, 1], 1, np.uint8)] * 3
        objects: dict[str, Any] = {
            "boxes": BOXES,
            "classes": np.array([1, 2, 3], np.int32),
            "scores": np.ones(3, np.float32),
        }
        objects |= {"is_crowd": np.zeros(3, bool), "area": np.ones(3, np.float32)}
        pixels = {"classes": np.array([[0, 1], [2, 255]], np.int32), "confidence": np.ones([2, 2], np.float32)}
        labels = {
            "detection": objects,
            "masks": objects | {"crops": crops, "mask_scores": np.ones(3, np.float32)},
            "segmentation": pixels,
            "classification": {"probability": np.array([0, 1, 0], np.float32)},
        }
        limits = {"detection": self.annotated, "masks": self.annotated}
        labelled = {task: record.Labelled(value, "real:x", limits.get(task)) for task, value in labels.items()}
        return Sample(image_bytes(np.zeros([2, 2, 3], np.uint8)), ImageInfo("a", 2, 2), labelled)


def run(out: Path, **options: Any) -> Converted:
    """Converts the animals."""
    given: dict[str, Any] = {"classes_of": "", "rename": (), "drop": ()} | options
    return converted(relabelled(Animals(given.pop("annotated", None)), **given), out)


def other(folder: Path, **names: tuple[str, ...]) -> str:
    """Writes records with these classes; returns their pattern."""
    converted(Scenes("wild", 1, 1, 32), folder)
    content = manifest.read(str(folder))
    content.classes.clear()
    content.classes.update({task: list(each) for task, each in names.items()})
    manifest.write(str(folder), content)
    return f"{folder}/*.tfrecord"


def test_without_options_the_source_is_unchanged() -> None:
    source: Source = Scenes("wild", 1, 1)
    assert relabelled(source, "", (), ()) is source


def test_a_renamed_class_keeps_its_place_and_may_join_another(tmp_path: Path) -> None:
    result = run(tmp_path, rename=["dog=wolf", "horse = cat"])
    labels = result.records["a"].labels
    assert set(map(tuple, result.outcome.manifest.classes.values())) == {("cat", "wolf")}
    assert labels["detection"]["classes"].tolist() == labels["masks"]["classes"].tolist() == [1, 2, 1]
    assert labels["segmentation"]["classes"].tolist() == [[0, 1], [0, 255]]
    assert labels["classification"]["probability"].tolist() == [0, 1]
    assert result.notes() == {}


def test_a_dropped_class_leaves_no_object_no_pixel_and_no_image_class(tmp_path: Path) -> None:
    result = run(tmp_path, rename=["dog=wolf"], drop=["wolf"])
    labels = result.records["a"].labels
    assert set(labels) == {"detection", "masks", "segmentation"}
    assert result.outcome.manifest.classes["detection"] == ["cat", "horse"]
    assert labels["detection"]["classes"].tolist() == [1, 2]
    np.testing.assert_array_equal(labels["masks"]["boxes"], BOXES[[0, 2]])
    assert len(labels["masks"]["crops"]) == 2
    assert labels["segmentation"]["classes"].tolist() == [[0, 255], [1, 255]]
    reason = "labels of a class that --drop names, left out"
    assert result.notes() == {f"{task}: {reason}": 1 for task in ("classification", "detection", "masks")}


def test_classes_of_other_records_give_the_order(tmp_path: Path) -> None:
    pattern = other(
        tmp_path / "train", detection=("horse", "bird", "dog", "cat"), masks=("horse", "bird", "dog", "cat")
    )
    result = run(tmp_path / "val", classes_of=pattern)
    labels = result.records["a"].labels
    assert result.outcome.manifest.classes["detection"] == ["horse", "bird", "dog", "cat"]
    assert labels["detection"]["classes"].tolist() == labels["masks"]["classes"].tolist() == [4, 3, 1]
    # The other records have no classes for these tasks.
    assert result.outcome.manifest.classes["segmentation"] == list(NAMES)
    assert labels["segmentation"]["classes"].tolist() == [[0, 1], [2, 255]]
    assert result.outcome.manifest.limits == {}


def test_annotated_classes_are_renumbered(tmp_path: Path) -> None:
    pattern = other(tmp_path / "o", detection=("dog", "cat", "horse"), masks=("dog", "cat", "horse"))
    result = run(tmp_path / "a", classes_of=pattern, annotated=(1, 3))
    example = tf.train.Example.FromString(result.records["a"].serialized)
    assert record.annotated_of(example, "detection") == (2, 3)
    alone = run(tmp_path / "b", drop=["cat"], annotated=(1,))
    assert set(alone.records["a"].labels) == {"segmentation", "classification"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rename": ["dgo=wolf"]}, "--rename: no class is called 'dgo'. Did you mean 'dog'"),
        ({"rename": ["dog"]}, "--rename 'dog' must be OLD=NEW"),
        ({"rename": ["dog=a", "dog=b"]}, "--rename gives a class two new names"),
        ({"drop": ["dgo"]}, "--drop: no class is called 'dgo'. Did you mean 'dog'"),
        (
            {"drop": ["cat", "dog", "horse"]},
            "--drop leaves classification without a class. Keep one, or use `must convert images`",
        ),
    ],
)
def test_names_that_do_not_exist_are_refused(options: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message):
        run(tmp_path, **options)


def test_the_way_out_of_dropping_all_classes_exists(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Only some commands have --tasks."""
    save(tmp_path / "set/cat/a.png", np.zeros([4, 4, 3], np.uint8))
    scene = ["scenes", "--domain", "wild", "--count", "1", "--seed", "1", "--size", "32", "--tasks", "segmentation"]
    names = Scenes("wild", 1, 1, 32, "segmentation").find().classes["segmentation"]
    for words, dropped, has in ((["classes", "--root", f"{tmp_path}/set"], ["cat"], False), (scene, names, True)):
        drops = [word for name in dropped for word in ("--drop", name)]
        assert must_records(["convert", *words, *drops, "--out", f"{tmp_path}/out"], monkeypatch) == 2
        assert ("Use --tasks to leave the whole task out" in capsys.readouterr().err) == has


def test_a_class_that_the_other_records_lack_is_refused_with_the_way_out(tmp_path: Path) -> None:
    pattern = other(tmp_path / "o", detection=("dogs", "cat"))
    with pytest.raises(UserError, match=r"no class dog, horse for detection. Did you mean 'dogs'.* --rename OLD=NEW"):
        run(tmp_path / "a", classes_of=pattern)
    result = run(tmp_path / "b", classes_of=pattern, rename=["dog=dogs"], drop=["horse"])
    assert result.records["a"].labels["detection"]["classes"].tolist() == [2, 1]


@pytest.mark.parametrize("theirs", [{"panoptic": ("cat",)}, {}])
def test_records_without_classes_of_these_tasks_are_refused(theirs: dict[str, Any], tmp_path: Path) -> None:
    """They would change nothing, and the user expects their numbers."""
    pattern = other(tmp_path / "o", **theirs)
    expected = rf"--classes-of={re.escape(pattern)}: .*classes of ({'panoptic' if theirs else 'no task'}), and none of "
    with pytest.raises(UserError, match=f"{expected}classification, .*leave --classes-of out"):
        run(tmp_path / "a", classes_of=pattern)


def test_a_dataset_without_classes_cannot_get_those_of_other_records(tmp_path: Path) -> None:
    source = Scenes("wild", 1, 1, 32, "depth")
    with pytest.raises(UserError, match="classes of detection, and none that it could use: this dataset has none"):
        converted(relabelled(source, other(tmp_path / "o", detection=("cat",)), (), ()), tmp_path / "a")


def test_vocs_twenty_classes_are_replaced_by_those_of_the_dataset(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """18 names to drop are no way out; --classes is, until it is given."""
    pattern = other(tmp_path / "o", detection=("cat", "dog"))
    voc(tmp_path / "voc", cls="dog")
    (tmp_path / "names.txt").write_text("dog\ncow\n")
    command = ["convert", "voc", "--root", f"{tmp_path}/voc", "--tasks", "detection", "--classes-of", pattern]
    for words, said in (([], True), (["--classes", f"{tmp_path}/names.txt"], False)):
        assert must_records([*command, *words, "--out", f"{tmp_path}/out"], monkeypatch) == 2
        assert ("If this dataset has other classes, name them with --classes." in capsys.readouterr().err) == said


def test_the_command_and_the_plan_take_the_options(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scene = ["convert", "scenes", "--domain", "wild", "--count", "1", "--seed", "1", "--size", "32"]
    options = ["--tasks", "segmentation", "--rename", "sky=heaven", "--workers", "1"]
    before = read_classes(tmp_path / "a", [*scene, *options[:2], "--workers", "1"], monkeypatch)
    after = read_classes(tmp_path / "b", [*scene, *options], monkeypatch)
    assert "sky" in before and after == ["heaven" if name == "sky" else name for name in before]
    given = {"domain": "wild", "count": 1, "seed": 1, "size": 32, "tasks": "segmentation", "rename": "sky=heaven"}
    assert formats.problems("d", "scenes", given) == []
    assert list(formats.source("d", "scenes", given).find().classes["segmentation"]) == after


def read_classes(out: Path, command: list[str], monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Runs a conversion; returns its classes of segmentation."""
    assert must_records([*command, "--out", str(out)], monkeypatch) == 0
    assert len(read(out, {})) == 1
    return manifest.read(str(out)).classes["segmentation"]
