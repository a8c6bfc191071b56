"""The demonstration of verdicts: the data of its bad teacher, and its table."""

from __future__ import annotations

from pathlib import Path

import pytest
import tensorflow as tf

from experiments import verdicts
from experiments.study import Study
from must_tf.data import manifest, record
from tests.support.labelling import boxes, by, records


def test_boxes_are_moved_to_the_right_and_nothing_else(tmp_path: Path) -> None:
    """By hand: 0.6 of a width of 0.2 is 0.12. The second box has room for only 0.05."""
    labels = boxes([(1, 1.0, (0.1, 0.2, 0.5, 0.4)), (2, 1.0, (0.3, 0.55, 0.6, 0.95))])
    glob = records(tmp_path / "in", by("real:scenes", "detection", [labels, boxes([])]))
    verdicts.shift(str(tmp_path / "in"), str(tmp_path / "out"))
    (path,) = (tmp_path / "out").glob("*.tfrecord")
    found, before = (
        [tf.train.Example.FromString(one.numpy()) for one in tf.data.TFRecordDataset(tf.io.gfile.glob(pattern))]
        for pattern in (str(path), glob)
    )
    sides = {end: found[0].features.feature[f"image/object/bbox/x{end}"].float_list.value for end in ("min", "max")}
    assert sides["min"] == pytest.approx([0.32, 0.6]) and sides["max"] == pytest.approx([0.52, 1.0])
    for one, other in zip(found, before, strict=True):
        assert record.origins_of(one) == {"detection": "real:scenes"}
        for key, feature in other.features.feature.items():
            assert one.features.feature[key] == feature or key in ("image/object/bbox/xmin", "image/object/bbox/xmax")
    written = manifest.read(str(tmp_path / "out"))
    assert written.objects == manifest.read(str(tmp_path / "in")).objects and written.records == 2


def test_each_teacher_labels_its_copy_of_the_same_scenes() -> None:
    study = Study("out", "verdicts")
    steps = {step.name: step for step in [*verdicts.converted(study), *verdicts.labelled(study)]}
    for name in verdicts.STEPS:
        words = steps[f"label shown-{name}"].words
        assert words[words.index("--teacher") + 1] == f"detection=out/{name}"
        made, truth = (steps[f"records {each}"].words for each in (f"shown-{name}", "truth"))
        assert [made[made.index(option) + 1] for option in ("--seed", "--count", "--domain")] == [
            truth[truth.index(option) + 1] for option in ("--seed", "--count", "--domain")
        ]
    (values,) = (make() for make in steps["shifted"].files.values())
    assert values["task"]["train_data"]["input_path"] == ["out/records/shifted/*.tfrecord"]


def test_the_table_says_who_passes() -> None:
    def one(code: int, right: float | None) -> dict[str, object]:
        truth = {} if right is None else {"right": right}
        return {"exit_code": code, "reasons": ["it is wrong"] * code, "found": {"per_image": 2.5}, "truth": truth}

    found = {
        "good": {"alone": one(0, None), "truth": one(0, 0.9)},
        "bad": {"alone": one(0, None), "truth": one(1, 0.1)},
    }
    _, good, bad, _, reason = verdicts.lines(found)
    assert good.split() == ["good", "2.50", "passes", "passes", "0.900"]
    assert bad.split() == ["bad", "2.50", "passes", "unfit", "0.100"] and reason == "  bad: it is wrong"
