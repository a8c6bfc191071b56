"""The threshold study: students differ only in the threshold, and the table counts and averages correctly."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import yaml

from experiments import threshold_study, threshold_table
from experiments.study import Study
from experiments.threshold_study import ThresholdStudent
from must_tf.cli.flags import parse_train
from must_tf.common.errors import UserError
from must_tf.data import record
from must_tf.experiments import experiment_config
from must_tf.loop.steps import Step
from must_tf.tasks import discover
from tests.support.contract import SPECS, golden
from tests.support.tiny import scene_record, write_set

TEACHER = "pseudo:0123456789ab"


def config_of(step: Step, folder: Path) -> Any:
    """Returns the whole config of a training."""
    (made,) = step.files.values()
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(made()))
    given = parse_train(step.words[1:])
    return experiment_config.load(given.experiment, [given.config_file[0], str(path)], given.params_override)


def test_students_differ_by_threshold_and_seed_alone(tmp_path: Path) -> None:
    seen = {}
    for threshold, seed in ((0.3, 1), (0.7, 1), (0.3, 2)):
        step = threshold_study.training(Study("out", "thresholds"), ThresholdStudent(threshold, seed))
        params = config_of(step, tmp_path)
        tasks = params.task.tasks
        assert tasks.detection.score_threshold == tasks.masks.score_threshold == threshold
        assert tasks.segmentation.confidence_threshold == threshold
        assert {name for name in discover() if getattr(tasks, name).enabled} == set(threshold_study.TASKS)
        assert params.task.train_data.seed == seed
        assert list(params.task.train_data.input_path) == ["out/records/unlabelled-labelled/*.tfrecord"]
        content = params.as_dict()
        content["task"]["train_data"].pop("seed")
        for name, key in (("detection", "score"), ("masks", "score"), ("segmentation", "confidence")):
            content["task"]["tasks"][name].pop(f"{key}_threshold")
        seen[step.output] = yaml.safe_dump(content)
    assert len(seen) == 3 and len(set(seen.values())) == 1


def test_the_teacher_is_not_trained_on_images_that_it_labels() -> None:
    steps = {step.name: step for step in threshold_study.prepared(Study("out", "thresholds"))}
    words = steps["label unlabelled"].words
    given = [words[place + 1] for place, word in enumerate(words) if word == "--teacher"]
    assert given == [f"{task}=out/teacher" for task in ("detection", "masks", "segmentation")]
    sets = {name: step.words[step.words.index("--seed") + 1] for name, step in steps.items() if "records" in name}
    assert len(sets) == 3 and len(set(sets.values())) == 3


def test_what_is_believed_is_counted(tmp_path: Path) -> None:
    """By hand: three boxes and four pixels of two images. A score equal to the threshold passes."""
    serialized = []
    for index, (scores, sure) in enumerate((([0.25, 0.5], [64, 128, 255, 255]), ([0.75], [0, 0, 128, 191]))):
        real = scene_record(index, ("detection", "segmentation"))
        boxes = {"boxes": [[0.1, 0.1, 0.5, 0.5]], "classes": [1], "scores": [0.0], "area": [9.0], "is_crowd": [False]}
        detection = {
            key: np.repeat(np.asarray(value, golden("detection").empty(8, 8)[key].dtype), len(scores), axis=0)
            for key, value in boxes.items()
        } | {"scores": np.array(scores, np.float32)}
        height, width = record.info_of(tf.train.Example.FromString(real))[1:]
        quarters = np.resize(np.array(sure, np.float32) / 255, [height, width])  # the four values repeated
        segmentation: dict[str, np.ndarray] = {"classes": np.zeros([height, width], np.int32), "confidence": quarters}
        found: dict[str, dict[str, np.ndarray]] = {"detection": detection, "segmentation": segmentation}
        serialized.append(
            record.merge(real, {name: record.Labelled(one, TEACHER) for name, one in found.items()}, SPECS)
        )
    write_set(tmp_path / "records", [serialized], ["detection", "segmentation"])
    counts = threshold_table.believed(str(tmp_path / "records"), (0.25, 0.5, 0.7))
    assert [(one.boxes, one.of_boxes) for one in counts.values()] == [(3, 3), (2, 3), (1, 3)]
    pixels = [128 * 128 // 4, 96 * 144 // 4]  # pixels with each value, by image
    believed = [4 * pixels[0] + 2 * pixels[1], 3 * pixels[0] + 2 * pixels[1], 2 * pixels[0] + pixels[1]]
    assert [(one.pixels, one.of_pixels) for one in counts.values()] == [(one, 4 * sum(pixels)) for one in believed]


def test_the_table_has_means_over_the_seeds(tmp_path: Path) -> None:
    students = [ThresholdStudent(0.5, seed) for seed in (1, 2)]
    measured = {"teacher": (0.4, 0.3, 0.5), "student-0.5-1": (0.1, 0.2, 0.4), "student-0.5-2": (0.2, None, 0.6)}
    for name, values in measured.items():
        figures = dict(zip(threshold_table.FIGURES, values, strict=True))
        (tmp_path / name).mkdir()
        known = {figure: value for figure, value in figures.items() if value is not None}
        (tmp_path / name / "evaluation.json").write_text(json.dumps({"figures": known}))
    found = threshold_table.result(
        Study(str(tmp_path), "thresholds"), students, {0.5: threshold_table.Believed(3, 4, 1, 8)}
    )
    assert found["students"][0]["figures"]["masks/AP"] == [0.2, None]
    lines = [" ".join(line.split()) for line in threshold_table.table(found)]
    assert lines[1:] == [
        "0.5 3 of 4 12.5% 0.150 (0.100 to 0.200) - 0.500 (0.400 to 0.600)",
        "(teacher) 0.400 0.300 0.500",
    ]


def test_no_seed_is_refused_before_any_work(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--seeds 0"):
        threshold_study.main(["--seeds", "0", "--out", str(tmp_path / "out")])
    assert not (tmp_path / "out").exists()
