"""A teacher's classes are matched with those of the records by name; labels of other classes are never invented."""

from __future__ import annotations

import json
import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from must_tf.common.errors import UserError
from must_tf.data import manifest, record
from must_tf.spec import ImageInfo, Labels
from must_tf.tasks import discover
from tests.support import formula_teacher
from tests.support.labelling import boxes, pixels
from tfrecords_tools.label import self_check
from tfrecords_tools.label.arguments import parse_request
from tfrecords_tools.label.run import label_records
from tfrecords_tools.reading import recordset
from tfrecords_tools.teachers import About, matching, trained
from tfrecords_tools.teachers.names import ClassNames

# id 1 is a cat, ... for boxes; 0 for pixels and images
OWN = ["cat", "truck", "dog"]
BOX = (0.1, 0.2, 0.5, 0.6)


class Fixed:
    """A teacher and its description in one, which always finds the same labels."""

    def __init__(self, labels: Mapping[str, Labels], classes: Mapping[str, Sequence[str]]):
        self.about = About("fixed", tuple(labels), "f0", {task: list(names) for task, names in classes.items()})
        self.configs = {task: discover()[task].Config(classes=tuple(classes.get(task, ()))) for task in labels}
        self._labels = labels

    def load(self) -> Any:
        """Returns itself."""
        return self

    def labels(self, *_: Any) -> dict[str, Labels]:
        """Returns the labels."""
        return dict(self._labels)


def found(labels: Mapping[str, Labels], own: Sequence[str], wanted: Sequence[str], task: str = "") -> Any:
    """Returns what a teacher with these classes labels in records with the `wanted` ones, by task or of one."""
    teacher = matching.matched(Fixed(labels, dict.fromkeys(labels, own)), dict.fromkeys(labels, wanted)).load()
    result = teacher.labels({}, np.zeros(4), "one")
    return result[task] if task else result


def test_the_same_classes_change_nothing() -> None:
    teacher = Fixed({"detection": boxes([])}, {"detection": OWN})
    assert matching.matched(teacher, {"detection": OWN, "segmentation": ["x"]}) is teacher
    assert matching.matched(teacher, {}) is teacher


def test_boxes_get_the_records_ids_and_masks_stay_with_them() -> None:
    three = boxes([(1, 0.9, BOX), (2, 0.8, BOX), (3, 0.7, BOX)])
    masks = {"boxes": three["boxes"], "classes": three["classes"], "masks": ["of cat", "of truck", "of dog"]}
    both = found({"detection": three, "masks": masks}, OWN, ["dog", "bird", "cat"])
    assert both["detection"]["classes"].tolist() == both["masks"]["classes"].tolist() == [3, 1]
    assert both["detection"]["scores"].tolist() == pytest.approx([0.9, 0.7])
    assert both["masks"]["masks"] == ["of cat", "of dog"]


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (["road", "background", "cat"], [[1, 2], [255, 255]]),  # no road is known: background may be one
        (["cat", "background"], [[1, 0], [255, 255]]),
    ],
)
def test_pixels_of_other_classes_are_ignored(wanted: list[str], expected: list[list[int]]) -> None:
    """So is the background of a teacher that lacks classes of the records."""
    labels = {"segmentation": pixels(np.array([[0, 1], [2, 255]]))}
    if "road" in wanted:
        expected = [[255, 2], [255, 255]]
    assert found(labels, ["background", "cat", "truck"], wanted, "segmentation")["classes"].tolist() == expected


def test_an_image_that_most_likely_shows_another_class_is_not_classified() -> None:
    """Else a teacher of a thousand classes would be sure of one of the records' three in every image."""
    sure = {"classification": {"probability": np.array([0.6, 0.3, 0.1], np.float32)}}
    probability = found(sure, OWN, ["dog", "bird", "cat"], "classification")["probability"]
    assert probability.tolist() == pytest.approx([1 / 7, 0, 6 / 7])
    other = {"classification": {"probability": np.array([0.3, 0.6, 0.1], np.float32)}}
    assert found(other, OWN, ["dog", "bird", "cat"]) == {}


def test_what_does_not_match_is_told() -> None:
    teacher = matching.matched(Fixed({"detection": boxes([])}, {"detection": OWN}), {"detection": ["dog", "bird"]})
    assert teacher.about.classes == {"detection": ["dog", "bird"]} and teacher.about.annotated == {"detection": (1,)}
    assert teacher.about.facts["notes"] == [
        "detection: 1 of its 3 classes are the records'; left out: 'cat', 'truck'",
        "detection: of the records' classes, it does not know 'bird'",
    ]
    assert teacher.about.id == "f0" and teacher.load().configs["detection"].classes == ("dog", "bird")
    whole = matching.matched(Fixed({"detection": boxes([])}, {"detection": OWN}), {"detection": ["dog", "cat"]})
    assert whole.about.annotated == {}


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        (["bird"], "fixed has no detection class of the records. It has 'cat', 'tv monitor'; they have 'bird'."),
        (["cat", "TV_monitor", "cow"], "Of the records' classes, it does not know 'cow' either."),
        (["cat", "TV_monitor"], "differently: 'tv monitor' and 'TV_monitor'.*rename: .\"tv monitor=TV_monitor\""),
        (["TV monitor"], 'convert their dataset with --rename "TV monitor=tv monitor".'),  # a run has no adapter file
    ],
)
def test_classes_that_cannot_be_matched_are_refused(wanted: list[str], words: str) -> None:
    teacher = Fixed({"detection": boxes([])}, {"detection": ["cat", "tv monitor"]})
    with pytest.raises(UserError, match=words):
        matching.matched(teacher, {"detection": wanted})


def test_marks_are_letters_of_some_scripts() -> None:
    """Two words that differ in a vowel only are two words; one word in two encodings is one."""
    teacher = Fixed({"detection": boxes([])}, {"detection": ["cat", "\u0915\u093e\u0930", "caf\u00e9"]})
    assert matching.matched(teacher, {"detection": ["cat", "\u0915\u0941\u0930"]}).about.annotated == {
        "detection": (1,)
    }
    with pytest.raises(UserError, match="spell classes differently"):
        matching.matched(teacher, {"detection": ["cat", "Cafe\u0301"]})


def test_a_background_alone_is_no_class_of_the_records() -> None:
    """It may be any of the others, so that no pixel of any image would be known."""
    teacher = Fixed({"segmentation": pixels(np.zeros([2, 2], int))}, {"segmentation": ["background", "cat"]})
    with pytest.raises(
        UserError, match="fixed has no segmentation class of the records. It has 'background', 'cat'; they"
    ):
        matching.matched(teacher, {"segmentation": ["background", "road"]})
    assert matching.matched(teacher, {"segmentation": ["background"]}).about.annotated == {}


@pytest.mark.parametrize("named", ["detection", "masks"])
def test_boxes_and_masks_have_the_same_classes(named: str) -> None:
    """Also if the records name them for one of both only: they are the same objects, and have one list of ids."""
    both = {"detection": boxes([(3, 0.9, BOX)]), "masks": boxes([(3, 0.9, BOX)])}
    teacher = matching.matched(Fixed(both, dict.fromkeys(both, OWN)), {named: ["dog", "bird"]})
    ids = [labels["classes"].tolist() for labels in teacher.load().labels({}, np.zeros(4), "one").values()]
    assert ids == [[1], [1]]
    assert teacher.about.annotated == {"detection": (1,), "masks": (1,)}
    assert len(teacher.about.facts["notes"]) == 2  # each once
    with pytest.raises(UserError) as error:
        matching.matched(Fixed(both, dict.fromkeys(both, OWN)), {named: ["bird"]})
    assert len(error.value.problems) == 1


def test_a_run_has_learned_as_many_objects_as_it_labels() -> None:
    """Else its labels would be judged by the objects per image of all of its classes."""
    teacher = Fixed({"detection": boxes([]), "depth": {}}, {"detection": OWN})
    learned = {
        "detection": {"images": 10, "objects": 60, "classes": {"cat": 10, "truck": 45, "dog": 5}},
        "depth": {"images": 10, "objects": None, "classes": {}},
    }
    teacher.about = teacher.about._replace(facts={"trained_on": learned})
    about = matching.matched(teacher, {"detection": ["dog", "bird", "cat"]}).about
    assert about.facts["trained_on"]["detection"] == {"images": 10, "objects": 15, "classes": {"cat": 10, "dog": 5}}
    assert about.facts["trained_on"]["depth"] == learned["depth"]


def test_large_images_are_labelled_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """The maps of all tasks of a run would take many gigabytes at once, whatever its classes."""
    labels = {"segmentation": pixels(np.zeros([2, 2], int)), "depth": {}}
    teacher = matching.matched(Fixed(labels, {"segmentation": OWN}), {"segmentation": ["dog"]}).load()
    monkeypatch.setattr(trained, "TrainedTeacher", Fixed)
    monkeypatch.setattr(trained.label_reader, "LARGE", 3)
    parts = trained.parts(teacher, {"segmentation": {}, "depth": {}}, ImageInfo("one", 2, 2))
    assert sorted(map(list, parts)) == [["depth"], ["segmentation"]]


def test_renamed_classes_of_an_adapter_become_one() -> None:
    names = ClassNames(("car", "", "truck", "cat")).renamed({"car": "vehicle", "truck": "vehicle"})
    assert names.classes == ["vehicle", "cat"]
    of_boxes = names.renumber_predictions(
        "detection", {"boxes": np.zeros([4, 4]), "classes": np.array([1, 2, 3, 4]), "scores": np.ones(4)}, "x"
    )
    assert of_boxes["classes"].tolist() == [1, 0, 1, 2] and of_boxes["scores"].tolist() == [1, 0, 1, 1]
    of_image = names.renumber_predictions("classification", {"probability": np.array([0.25, 0.5, 0.125, 0.125])}, "x")
    assert of_image["probability"].tolist() == [0.75, 0.25]
    classes = {"classes": np.array([[0, 1], [2, 3]]), "confidence": np.ones([2, 2])}
    assert names.renumber_labels("segmentation", classes, "x")["classes"].tolist() == [[0, 255], [0, 1]]


def test_an_object_has_one_box_of_classes_that_became_one() -> None:
    """A van as a car and as a truck is one vehicle. Boxes that the model itself gave one class stay, as do far ones."""
    names = ClassNames(("car", "truck", "cat")).renamed({"car": "vehicle", "truck": "vehicle"})
    near = (0.1, 0.2, 0.5, 0.55)
    found = [
        (2, 0.9, BOX),
        (1, 0.8, near),
        (2, 0.7, near),
        (1, 0.6, (0.5, 0.6, 0.9, 1.0)),
        (3, 0.5, BOX),
        (1, 0.4, near),
    ]
    labels = {"count": np.array(5)} | {
        key: values for key, values in boxes(found).items() if key in ("boxes", "classes", "scores")
    }
    one = names.renumber_predictions("detection", labels, "x")
    assert one["classes"].tolist() == [1, 1, 1, 1, 2, 1]
    assert one["scores"].tolist() == pytest.approx([0.9, 0, 0.7, 0.6, 0.5, 0.4])  # the last one is no detection
    apart = ClassNames(("car", "truck", "cat")).renumber_predictions("detection", labels, "x")
    assert apart["scores"].tolist() == labels["scores"].tolist()


def labelled(tmp_path: Path, *options: str) -> list[record.Labelled]:
    """Labels three records without class names; returns their boxes."""
    source = formula_teacher.write(tmp_path / "in", [[formula_teacher.image_record(place) for place in range(3)]])
    path = tmp_path / "in" / manifest.NAME
    path.write_text(path.read_text().replace('"thing"', ""))
    request = parse_request(source, ["detection=formula"], classes_of=options)
    assert pickle.loads(pickle.dumps(request.teachers))[0].about == request.teachers[0].about
    label_records(request, str(tmp_path / "out"), ["test"])
    config = discover()["detection"].Config(classes=("x", "thing", "y"))
    shards = tf.io.gfile.glob(str(tmp_path / "out" / "*.tfrecord"))
    return [
        record.read_labels(one, discover(), {"detection": config})["detection"]
        for one in tf.data.TFRecordDataset(shards).as_numpy_iterator()
    ]


def test_records_are_labelled_with_the_classes_of_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the teacher does not know counts as not annotated, in the records and in the manifest."""
    monkeypatch.setattr(
        "tfrecords_tools.teachers.describe", lambda path, tasks: formula_teacher.teacher(("detection",))
    )
    others = formula_teacher.write(tmp_path / "others", [[formula_teacher.image_record(9)]])
    path = tmp_path / "others" / manifest.NAME
    path.write_text(path.read_text().replace('"thing"', '"x", "thing", "y"'))
    found_boxes = labelled(tmp_path, others)
    assert [one.labels["classes"].tolist() for one in found_boxes] == [[], [], [2]]
    assert [one.annotated for one in found_boxes] == [(2,)] * 3
    written = manifest.read(str(tmp_path / "out"))
    assert written.classes["detection"] == ["x", "thing", "y"] and written.limits == {"detection": {"partial": 3}}
    again = recordset.opened(str(tmp_path / "out" / "*.tfrecord"))
    assert self_check.given(["detection=formula"], again)[0].about.annotated == {"detection": (2,)}


def test_records_keep_their_own_classes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "tfrecords_tools.teachers.describe", lambda path, tasks: formula_teacher.teacher(("detection",))
    )
    source, others = (
        formula_teacher.write(tmp_path / name, [[formula_teacher.image_record(9)]]) for name in ("in", "others")
    )
    path = tmp_path / "others" / manifest.NAME
    path.write_text(path.read_text().replace('"thing"', '"x", "thing"'))
    with pytest.raises(UserError, match="--classes-of: .*in has other detection classes"):
        parse_request(source, ["detection=formula"], classes_of=[others])
    assert parse_request(source, ["detection=formula"], classes_of=[source]).teachers[0].about.annotated == {}


def test_only_names_of_the_tasks_that_are_labelled_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "tfrecords_tools.teachers.describe", lambda path, tasks: formula_teacher.teacher(("detection",))
    )
    sets = {}
    for name, classes in (
        ("in", {"segmentation": ["road"]}),
        ("empty", {"segmentation": ["road"], "detection": []}),
        ("others", {"segmentation": ["sky"], "detection": ["x", "thing"]}),
    ):
        sets[name] = formula_teacher.write(tmp_path / name, [[formula_teacher.image_record(9)]])
        path = tmp_path / name / manifest.NAME
        path.write_text(json.dumps(json.loads(path.read_text()) | {"classes": classes}))
    request = parse_request(sets["in"], ["detection=formula"], classes_of=[sets["others"]])
    assert request.teachers[0].about.annotated == {"detection": (2,)}
    with pytest.raises(UserError, match="--classes-of: .*empty.*has no class names of detection, masks. Give records"):
        parse_request(sets["in"], ["detection=formula"], classes_of=[sets["empty"]])
