"""Teachers are measured by the metrics of a student, on the classes of the labels."""

from __future__ import annotations

import json
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from must_tf.common.errors import UserError
from must_tf.data import label_reader, record
from must_tf.data.record import Labelled
from must_tf.evaluation import evaluator
from tests.support.converting import must_records
from tests.support.labelling import boxes, by, records, tell
from tests.support.tiny import ALL, Tiny
from tfrecords_tools import teachers
from tfrecords_tools.evaluate import run
from tfrecords_tools.reading import recordset
from tfrecords_tools.teachers import About, trained


def test_a_run_is_measured_as_it_measures_itself(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """All six tasks, in batches of another size, with the settings of the run's metrics."""
    own = evaluator.last(tiny.run)
    assert own is not None and own["images"] == 5
    teachers = [word for task in ALL for word in ("--teacher", f"{task}={tiny.run}")]
    out = tmp_path / "out.json"
    command = ["evaluate", "--records", f"{tiny.records}/*.tfrecord", *teachers, "--config-file", tiny.config]
    assert must_records([*command, "--out", str(out)], monkeypatch) == 0
    found = json.loads(out.read_text())
    assert found["figures"] == pytest.approx(own["figures"], abs=1e-3)
    assert found["labelled"] == own["labelled"] and found["images"] == 5
    assert found["reasons"] == own["reasons"]
    shown = capsys.readouterr().out
    top1 = f"top1 {own['figures']['classification/top1']:.4f}"
    assert "evaluated 5 images" in shown and f"classification  {top1}   (5 labelled images)" in shown


def test_large_images_come_alone_and_give_the_same_figures(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    """The labels of one task are made, and compared with those of the record, after another's."""
    datasets = [recordset.opened(f"{tiny.records}/*.tfrecord")]
    sizes, seen, predicted = list[int](), set[tuple[str, ...]](), teachers.predicted
    labels = trained.TrainedTeacher.labels

    def counted(teacher: Any, images: Any) -> Any:
        sizes.append(len(images))
        return predicted(teacher, images)

    def noted(self: Any, predictions: Any, *others: Any) -> Any:
        seen.add(tuple(sorted(predictions)))
        return labels(self, predictions, *others)

    monkeypatch.setattr(teachers, "predicted", counted)
    monkeypatch.setattr(trained.TrainedTeacher, "labels", noted)
    whole = run.evaluate([teachers.describe(tiny.run, list(ALL))], datasets, [tiny.config])
    assert (sizes, seen) == ([5], {tuple(sorted(ALL))})
    sizes.clear()
    seen.clear()
    monkeypatch.setattr(run, "MOST_PIXELS", 1)
    monkeypatch.setattr(label_reader, "LARGE", 1)
    assert run.evaluate([teachers.describe(tiny.run, list(ALL))], datasets, [tiny.config]) == whole
    assert sizes == [1] * 5
    assert seen == {("classification",), ("detection", "masks"), ("segmentation",), ("depth",), ("normals",)}


def test_maps_of_a_large_image_are_let_go_before_the_next_task_s_are_made(
    tiny: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    alive, counts = list["weakref.ref[np.ndarray]"](), list[int]()
    labels, read = trained.TrainedTeacher.labels, record.labels_in_turn

    def followed(found: Any) -> None:
        alive.extend(weakref.ref(each) for each in found.values() if np.ndim(each) > 1 and isinstance(each, np.ndarray))

    def made(self: Any, *arguments: Any) -> Any:
        counts.append(sum(each() is not None for each in alive))
        found = labels(self, *arguments)
        for of_task in found.values():
            followed(of_task)
        return found

    def from_record(*arguments: Any) -> Iterator[Any]:
        for task, labelled in read(*arguments):
            followed(labelled.labels)
            yield task, labelled
            del labelled

    monkeypatch.setattr(trained.TrainedTeacher, "labels", made)
    monkeypatch.setattr(record, "labels_in_turn", from_record)
    monkeypatch.setattr(label_reader, "LARGE", 1)
    datasets = [recordset.opened(f"{tiny.records}/*.tfrecord")]
    run.evaluate([teachers.describe(tiny.run, ["segmentation", "depth", "normals"])], datasets, [tiny.config])
    assert len(alive) > 50 and counts == [0] * 15


def test_an_evaluation_without_its_disk_is_not_written(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The file would be on the disk below, in new folders of the same names. What was measured is shown."""
    disk, out = tmp_path / "disk", tmp_path / "disk" / "new" / "out.json"
    disk.mkdir()

    def measured(*_: Any) -> run.TeacherEvaluation:
        disk.rename(tmp_path / "lost")
        disk.mkdir()
        return run.TeacherEvaluation({}, [], 7)

    monkeypatch.setattr(run, "evaluate", measured)
    command = ["evaluate", "--records", f"{tiny.records}/*.tfrecord", "--teacher", f"depth={tiny.run}", "--out"]
    assert must_records([*command, str(out)], monkeypatch) == 2
    assert [*disk.iterdir()] == []
    shown = capsys.readouterr()
    assert shown.err.startswith(f"error: {disk} was removed while it was being written")
    assert "7 images" in shown.out


class Stub:
    """A teacher of boxes with these classes, which must not be loaded."""

    configs: dict[str, Any] = {}

    def __init__(self, classes: list[str]):
        self.about = About("a-model", ("detection",), "0" * 12, {"detection": classes})

    def load(self) -> Any:
        """Fails the test."""
        pytest.fail("loaded")


def test_a_teacher_without_the_classes_is_not_measured(tmp_path: Path) -> None:
    """Neither is one on sets whose ids have different names."""
    images = by("real:x", "detection", [boxes([(1, 1.0, (0, 0, 1, 1))])])
    dataset, other = (recordset.opened(records(tmp_path / name, images)) for name in ("x", "y"))
    names = dataset.manifest.classes["detection"]
    tell(tmp_path / "y", classes={"detection": names[::-1]})
    reversed_set = recordset.opened(str(tmp_path / "y" / "*.tfrecord"))
    for classes, sets, reason in (
        (["dogs"], [dataset, other], "has no detection class of the records. It has 'dogs'; they have"),
        (names, [dataset, reversed_set], "/y has other detection classes than"),
    ):
        with pytest.raises(UserError, match=f"there is nothing to measure. detection: .*{reason}"):
            run.evaluate([Stub(classes)], sets)
    pseudo = records(tmp_path / "z", by("pseudo:x", "detection", [boxes([])]))
    with pytest.raises(UserError, match="/z: there is nothing to measure. detection: no real labels in the records"):
        run.evaluate([Stub(names)], [recordset.opened(pseudo)])


class Unsure(Stub):
    """A teacher that finds the box of the first image exactly, and gives the second image no label."""

    def load(self) -> Any:
        """Returns itself: it has no weights."""
        return self


def test_pseudo_labels_are_no_truth_and_images_without_an_answer_are_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of three images, the first has the box that the teacher finds; the last one's box is a teacher's."""
    right, wrong = (boxes([(1, 1.0, box)]) for box in ((0.1, 0.1, 0.6, 0.6), (0.7, 0.7, 0.9, 0.9)))
    images = by("real:x", "detection", [right, wrong]) + [{"detection": Labelled(wrong, "pseudo:y")}]
    dataset = recordset.opened(records(tmp_path / "x", images))
    answers = {"image-0": {"detection": right}, "image-1": {}}
    monkeypatch.setattr(run.teachers, "predicted", lambda teacher, images: [({}, np.zeros(4))] * len(images))
    monkeypatch.setattr(Unsure, "labels", lambda self, predictions, info, name, step=1: answers[name], raising=False)
    # The same classes in another order are the same teacher.
    names = dataset.manifest.classes["detection"]
    turned = {"image-0": {"detection": right | {"classes": np.array([len(names)], np.int32)}}, "image-1": {}}
    assert run.evaluate([Unsure(names)], [dataset]).figures["detection/AP"] == pytest.approx(1.0)
    answers = turned
    result = run.evaluate([Unsure([*names[::-1], "dog"])], [dataset])
    assert list(result.lines())[-1].endswith("classes are the records'; left out: 'dog'")
    assert (result.images, result.labelled, result.unanswered) == (3, {"detection": 1}, {"detection": 1})
    assert result.figures["detection/AP"] == pytest.approx(1.0)


def test_an_image_that_a_teacher_does_not_classify_counts_as_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The student is measured on all images, so a teacher is, too."""
    first, second = ({"probability": np.eye(2, dtype=np.float32)[place]} for place in (0, 1))
    records(tmp_path / "x", by("real:x", "classification", [first, second, first]))
    tell(tmp_path / "x", classes={"classification": ["cat", "dog"]})
    dataset = recordset.opened(str(tmp_path / "x" / "*.tfrecord"))
    answers = {"image-0": {"classification": first}, "image-1": {}, "image-2": {}}
    monkeypatch.setattr(run.teachers, "predicted", lambda teacher, images: [({}, np.zeros(4))] * len(images))
    monkeypatch.setattr(Unsure, "labels", lambda self, predictions, info, name, step=1: answers[name], raising=False)
    teacher = Unsure(["cat", "dog"])
    teacher.about = teacher.about._replace(tasks=("classification",), classes={"classification": ["cat", "dog"]})
    result = run.evaluate([teacher], [dataset])
    assert result.figures == {"classification/top1": pytest.approx(1 / 3)}
    assert (result.labelled, result.unanswered) == ({"classification": 3}, {"classification": 2})
    shown = "classification  top1 0.3333   (3 labelled images, 2 without a prediction count as wrong)"
    assert shown in "\n".join(result.lines())
    answers["image-0"] = {}
    nothing = run.evaluate([teacher], [dataset])
    assert nothing.figures == {"classification/top1": 0.0}
    assert nothing.reasons["classification"].endswith("predicted nothing; labelled cat (2), dog (1)")
