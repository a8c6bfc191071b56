"""The counts of a run's training labels: of real ones, and none if they are not known."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from must_tf.data import input as input_lib
from must_tf.data import record, scenes
from must_tf.experiments import experiment_config
from must_tf.runs import fingerprint, trained_on
from tests.support.labelling import Image, boxes, by, records, tell
from tests.support.tiny import write_config
from tfrecords_tools.stats import figures
from tfrecords_tools.stats.sums import Sums

FIRST, SECOND = scenes.OBJECTS[:2]
BOX = [0.0, 0.0, 0.5, 0.5]
REAL = by("real:coco", "detection", [boxes([(1, 1.0, BOX), (2, 1.0, BOX)]), boxes([])])
GUESSED = by("pseudo:abc", "detection", [boxes([(1, 0.06, BOX)] * 9)])
PARTIAL: list[Image] = [{"detection": record.Labelled(boxes([(1, 1.0, BOX)]), "real:voc", annotated=(1,))}]


def learned(tmp_path: Path, *sets: Sequence[Image]) -> trained_on.TaskCounts:
    """The detection counts of a run that was trained on these sets."""
    globs = [records(tmp_path / f"set-{place}", images) for place, images in enumerate(sets)]
    override = json.dumps({"task": {"train_data": {"input_path": ",".join(globs)}}})
    params = experiment_config.load("must_teacher_detection", [write_config(tmp_path / "tiny.yaml")], override)
    return trained_on.counted(params.task)["detection"]


@pytest.mark.parametrize("others", [[], [GUESSED]], ids=["alone", "beside a set of pseudo labels"])
def test_real_labels_are_counted(tmp_path: Path, others: list[list[Image]]) -> None:
    counts = learned(tmp_path, REAL, *others)
    assert (counts["images"], counts["objects"]) == (2, 2)
    assert {name: number for name, number in counts["classes"].items() if number} == {FIRST: 1, SECOND: 1}


@pytest.mark.parametrize(
    ("sets", "images"),
    [([[*REAL, *GUESSED]], 2), ([GUESSED], 0), ([[*REAL, *PARTIAL]], 3), ([REAL, PARTIAL], 3)],
    ids=["pseudo labels among them", "pseudo labels only", "some of the classes", "some of the classes in a set"],
)
def test_objects_that_no_manifest_counts_are_unknown(tmp_path: Path, sets: list[list[Image]], images: int) -> None:
    counts = learned(tmp_path, *sets)
    assert counts == {"images": images, "objects": None, "classes": {}}
    assert "per_image" not in figures.of_training(counts, Sums(unit="objects"))


def test_a_pattern_may_match_several_folders(tmp_path: Path) -> None:
    for name in ("a", "b"):
        records(tmp_path / name, REAL)
    params = experiment_config.load("must_teacher_detection", [write_config(tmp_path / "tiny.yaml")])
    params.task.train_data.input_path = f"{tmp_path}/*/*.tfrecord"
    assert trained_on.counted(params.task)["detection"]["objects"] == 4


def test_licences_of_the_models_that_labelled(tmp_path: Path) -> None:
    """They go from the records' manifests into the run, each once; a teacher of this project has none."""
    licences = {"one": ["B", ""], "two": ["A", "B"]}
    for name, of_set in licences.items():
        records(tmp_path / name, [{}])
        tell(tmp_path / name, teachers={f"t{place}": {"licence": text} for place, text in enumerate(of_set)})
    globs = [str(tmp_path / name / "*.tfrecord") for name in licences]
    fingerprint.write(str(tmp_path), input_lib.Data(input_path=tuple(globs)))
    assert fingerprint.licences(str(tmp_path)) == ["A", "B"]
    assert fingerprint.licences(str(tmp_path / "one")) == []  # a run of an older version
