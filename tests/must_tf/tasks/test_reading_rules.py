"""What a teacher's label means when it is read: thresholds by class, three states, masks with a score of their own."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from must_tf.common.errors import UserErrors
from must_tf.config import validate
from must_tf.config import values as config_values
from must_tf.data import geometry, record
from must_tf.data.input import Reader
from must_tf.experiments import experiment_config
from must_tf.shared import thresholds
from must_tf.spec import ImageInfo, state
from must_tf.tasks.masks import pseudo
from must_tf.training import preflight
from tests.support import tiny
from tests.support.box_labels import one_box, predictions
from tests.support.contract import SIZE, SPECS, example, golden, targets
from tfrecords_tools.check import record_rules
from tfrecords_tools.export.run import ExportOptions, export_records
from tfrecords_tools.inspect import counts
from tfrecords_tools.reading import recordset, summary_tables

DETECTION: Any = golden("detection").CONFIG
NAMES = DETECTION.classes
H, W = 128, 128


def named(*entries: str) -> Any:
    """Detection's config with these thresholds of single classes, 0.5 for the others."""
    return dataclasses.replace(DETECTION, class_thresholds=entries)


def test_a_class_has_its_own_threshold_or_the_default() -> None:
    """The second and the fourth name: ids 2 and 4 where names begin at 1, 1 and 3 where they begin at 0."""
    for first, ids in ((1, [1, 2, 4, 3]), (0, [0, 1, 3, 2])):
        table = thresholds.table(named(f"{NAMES[1]}=0.6", f"{NAMES[3]}=0.25"), 0.5, first)
        for each in (np.array(ids), tf.constant(ids)):
            np.testing.assert_allclose(thresholds.of_ids(each, table), [0.5, 0.6, 0.25, 0.5])
        assert float(thresholds.of_ids(np.array(ids), thresholds.table(DETECTION, 0.5, first))) == 0.5
    assert thresholds.named(("a = b=0.5", "dining table=1")) == {"a = b": 0.5, "dining table": 1.0}


def test_a_class_with_a_higher_threshold_is_doubted_up_to_it() -> None:
    """Score 0.55: an object by default, ignored where its class asks for 0.6, and where nothing is ignored nothing."""
    labels = one_box(0.55)
    fit = geometry.fit(tf.constant([H, W]), SIZE)
    asked = (DETECTION, named(f"{NAMES[0]}=0.6"), named(f"{NAMES[0]}=0.6").replace(ignore_threshold=0.5))
    found = [targets("detection", labels, fit, one) for one in asked]
    assert [int(one["classes"][0]) for one in found] == [1, -1, -1]
    assert [bool(one["ignored"][0, 0] >= 0) for one in found] == [False, True, False]


WRONG = {
    "person:0.6": "'person:0.6' must be written like 'name=0.5'",
    "=0.6": "'=0.6' must be written like 'name=0.5'",
    "person=half": "'person=half' must be written like 'name=0.5'",
    "person=1.01": "'person=1.01' is out of range: must be at least 0 and at most 1",
    "person=nan": "'person=nan' is out of range",
}


@pytest.mark.parametrize("task", ["classification", "detection", "masks", "segmentation"])
def test_wrong_entries_are_said_all_at_once(task: str) -> None:
    """Before any data is looked at; a name twice, too."""
    params, place = experiment_config.load("must_student"), f"task.tasks.{task}.class_thresholds"

    def wrong(entries: list[str]) -> list[str]:
        return validate.sift(params, {"task": {"tasks": {task: {"class_thresholds": entries}}}})[1]

    (found,) = wrong([*WRONG, "cup=0.4", "a=b=0.5", "cup=0.5"])
    assert found.startswith(f"{place}=") and found.endswith("; 'cup' is named twice.")
    assert all(text in found for text in WRONG.values())
    assert found.count("'cup'") == 1 and "'a=b=0.5' is" not in found
    assert wrong(["cup=0", "person=1", "a=b=0.5"]) == []


def settled(tmp_path: Path, **tasks: dict[str, Any]) -> Any:
    """must_student on a scene with boxes and masks and these settings, as a run settles it."""
    names = ["detection", "masks", "segmentation"]
    path = tiny.write_set(tmp_path / "records", [[tiny.scene_record(1, names)]], names)
    params = experiment_config.load("must_student")
    off = {name: {"enabled": name in names} for name in SPECS}
    for values in (tiny.data(path), {"task": {"tasks": off}}, {"task": {"tasks": tasks}}):
        config_values.apply(params, values, "test")
    preflight.settle(params, "train")
    return params.task.tasks


def test_a_name_that_is_no_class_ends_the_run_with_the_nearest(tmp_path: Path) -> None:
    surfaces = golden("segmentation").CONFIG.classes
    misspelled = NAMES[0][:-1] + "q"
    with pytest.raises(UserErrors) as caught:
        settled(
            tmp_path,
            detection={"class_thresholds": [f"{misspelled}=0.6", "xyzzy=0.1"], "ignore_threshold": 0.6},
            segmentation={"class_thresholds": [f"{surfaces[0]}x=0.6"]},
        )
    first, second, third, fourth = caught.value.problems
    assert first == (
        f"task.tasks.detection.class_thresholds: {misspelled!r} is not a class. Did you mean {NAMES[0]!r}?"
    )
    assert second.endswith(f"'xyzzy' is not a class. Known: {', '.join(NAMES)}.")
    assert "ignore_threshold=0.6 must not be above score_threshold=0.5" in third
    assert fourth.startswith("task.tasks.segmentation.class_thresholds") and repr(surfaces[0]) in fourth


def test_masks_follow_detections_thresholds_unless_they_have_their_own(tmp_path: Path) -> None:
    both = {"class_thresholds": [f"{NAMES[0]}=0.6"]}
    assert tuple(settled(tmp_path / "a", detection=both).masks.class_thresholds) == (f"{NAMES[0]}=0.6",)
    own = {"class_thresholds": [f"{NAMES[1]}=0.7"]}
    assert tuple(settled(tmp_path / "b", detection=both, masks=own).masks.class_thresholds) == (f"{NAMES[1]}=0.7",)


def masked(*scores: tuple[float, float]) -> dict[str, Any]:
    """Boxes all over each other with (box score, mask score)."""
    each = [one_box(score) for score, _ in scores]
    labels: dict[str, Any] = {key: np.concatenate([one[key] for one in each]) for key in each[0]}
    return labels | {
        "crops": [np.ones([64, 64], np.uint8)] * len(scores),
        "mask_scores": np.array([score for _, score in scores], np.float32),
    }


def pixels(classes: list[int], confidence: list[float]) -> dict[str, np.ndarray]:
    return {"classes": np.array([classes], np.int32), "confidence": np.array([confidence], np.float32)}


def room(*probability: float) -> dict[str, np.ndarray]:
    return {"probability": np.array(probability, np.float32)}


SURE_OF_2 = golden("segmentation").CONFIG.classes[2] + "=0.3"
STATES: list[tuple[str, Any, dict[str, Any], str]] = [
    ("detection", golden("detection").empty(H, W), {}, "empty"),
    ("detection", one_box(0.49), {}, "low"),
    ("detection", one_box(0.5), {}, "labelled"),
    ("detection", one_box(0.49), {"class_thresholds": (f"{NAMES[0]}=0.4",)}, "labelled"),
    ("detection", one_box(0.55), {"class_thresholds": (f"{NAMES[0]}=0.6",)}, "low"),
    ("detection", one_box(1.0, crowd=True), {}, "labelled"),
    ("masks", golden("masks").empty(H, W), {}, "empty"),
    ("masks", masked((0.9, 0.3), (0.3, 0.9)), {}, "low"),  # of one the mask is doubted, of the other the box
    ("masks", masked((0.9, 0.3), (0.3, 0.9)), {"mask_score_threshold": 0.0}, "labelled"),
    ("segmentation", pixels([255, 255], [1.0, 1.0]), {}, "empty"),
    ("segmentation", pixels([255, 2], [1.0, 0.4]), {}, "low"),
    ("segmentation", pixels([255, 2], [1.0, 0.4]), {"class_thresholds": (SURE_OF_2,)}, "labelled"),
    ("segmentation", pixels([1, 2], [0.5, 0.4]), {}, "labelled"),
    ("classification", room(0.4, 0.3, 0.2, 0.1), {}, "labelled"),
    ("classification", room(0.4, 0.3, 0.2, 0.1), {"confidence_threshold": 0.45}, "low"),
    ("classification", room(), {"classes": ()}, "labelled"),
    ("depth", {"metres": np.zeros([2, 2]), "inverse_depth": np.zeros([2, 2])}, {}, "empty"),
    ("depth", {"metres": np.zeros([2, 2]), "inverse_depth": np.eye(2)}, {}, "labelled"),
    ("normals", {"normals": np.zeros([2, 2, 3])}, {}, "empty"),
    ("normals", {"normals": np.ones([2, 2, 3])}, {}, "labelled"),
]


@pytest.mark.parametrize("number", range(len(STATES)))
def test_empty_is_not_unsure_and_unsure_is_not_labelled(number: int) -> None:
    task, labels, overrides, expected = STATES[number]
    assert state(SPECS[task], labels, ImageInfo("a", H, W), golden(task).CONFIG.replace(**overrides)) == expected


def test_every_task_says_all_states_it_has() -> None:
    """A seventh task may do without; these six do not."""
    assert {task for task, *_ in STATES} >= {task for task in SPECS if task in tiny.ALL}


def write_doubtful(folder: Path) -> str:
    """A teacher's five images, one with nothing and two with nothing to believe, a real one and one without any."""
    each = [one_box(0.9), one_box(0.2), golden("detection").empty(H, W), one_box(0.4), one_box(0.6)]
    labelled = [{"detection": record.Labelled(one, "pseudo:a")} for one in each]
    labelled += [{"detection": record.Labelled(golden("detection").empty(H, W), "real:b")}, {}]
    image = np.zeros([H, W, 3], np.uint8)
    return tiny.write_set(folder, [[example(image, one, str(i)) for i, one in enumerate(labelled)]], ["detection"])


def test_inspect_counts_the_states(tmp_path: Path) -> None:
    found = recordset.opened(write_doubtful(tmp_path))
    summary = counts.summary(found, counts.count(found, 1))
    assert summary["tasks"]["detection"]["states"] == {
        "pseudo:a": {"labelled": 2, "empty": 1, "low": 2},
        "real:b": {"labelled": 0, "empty": 1, "low": 0},
    }
    lines = "\n".join(map(summary_tables.text, summary_tables.tables(summary)))
    words = " ".join(lines.split())
    assert "images above threshold empty below only" in words
    assert "detection pseudo:a 5 2 1 2" in words
    assert "below the default thresholds of training" in lines


def test_a_doubted_distribution_leaves_the_image_unlabelled() -> None:
    """A teacher's alone: 0.4 where 0.45 is asked for; 0.35 is enough for one class."""
    task, labels = "classification", room(0.3, 0.4, 0.2, 0.1)
    own = golden(task).CONFIG

    def weight(origin: str, **overrides: Any) -> float:
        settings = own.replace(**overrides)
        reader = Reader(SPECS, {task: settings}, SIZE)
        serialized = example(np.zeros([32, 32, 3], np.uint8), {task: record.Labelled(labels, origin)})
        made = reader.element(serialized, tf.constant(0), lambda size: geometry.fit(size, SIZE))["targets"][task]
        assert set(made) == {"probability", "weight", "pseudo", "annotated"}
        return float(made["weight"])

    asked: dict[str, Any] = {"confidence_threshold": 0.45}
    assert [weight("pseudo:a"), weight("pseudo:a", **asked), weight("real:a", **asked)] == [1.0, 0.0, 1.0]
    assert weight("pseudo:a", **asked, class_thresholds=(f"{own.classes[1]}=0.35",)) == 1.0


def test_a_mask_without_a_likely_pixel_is_its_likeliest_and_says_so() -> None:
    """Three boxes stay three: one that is likely in a corner, one nowhere, and one of no numbers."""
    corner, nowhere = np.full([28, 28], 0.1), np.full([28, 28], 0.1)
    corner[:2, :3], corner[0, 0] = 0.8, 0.6
    nowhere[5, 7] = 0.375
    found = predictions(corner, nowhere, np.full([28, 28], np.nan))
    info = ImageInfo("a", 56, 56)
    kept = pseudo.keep(found, info, golden("masks").CONFIG)
    boxes = SPECS["detection"].keep(found, info, DETECTION)
    np.testing.assert_array_equal(kept["boxes"], boxes["boxes"])
    assert [int(crop.sum()) for crop in kept["crops"]] == [6, 1, 1] == kept["area"].tolist()
    np.testing.assert_allclose(kept["mask_scores"], [(5 * 0.8 + 0.6) / 6, 0.375, 0.0], atol=1e-6)
    assert kept["crops"][1][5, 7] == 1
    # Trained on: the first alone. The boxes are detection's, and all three are believed there.
    assert state(SPECS["masks"], {k: v[1:] for k, v in kept.items()}, info, golden("masks").CONFIG) == "low"
    assert state(SPECS["detection"], {k: v[1:] for k, v in boxes.items()}, info, DETECTION) == "labelled"


def both(labels: dict[str, Any], origin: str) -> bytes:
    """A record with these masks, and their boxes."""
    boxes = {key: value for key, value in labels.items() if key not in ("crops", "mask_scores")}
    labelled = {"detection": record.Labelled(boxes, origin), "masks": record.Labelled(labels, origin)}
    return example(np.zeros([H, W, 3], np.uint8), labelled)


def faults(serialized: bytes) -> list[str]:
    """What must check finds in the labels."""
    configs = {task: golden(task).CONFIG for task in ("detection", "masks")}
    labelled, wrong = record_rules.read(serialized, SPECS, configs)
    info = record.info_of(tf.train.Example.FromString(serialized))
    return [what for what, _ in [*wrong, *record_rules.of_labels(labelled, info, SPECS, configs)]]


def test_check_knows_the_masks_score() -> None:
    assert faults(both(masked((0.9, 0.3), (0.3, 0.9)), "pseudo:a")) == []
    assert faults(both(masked((1.0, 0.3)), "real:a")) == ["masks: a real label with a score below 1"]
    assert faults(both(masked((0.9, -0.5)), "pseudo:a")) == ["masks: score is not in 0..1"]


def test_only_a_doubted_mask_has_a_score_in_the_record() -> None:
    """Records of real masks are as they were, and as Model Garden's."""
    for labels, stored in ((masked((1.0, 1.0)), False), (masked((0.9, 1.0), (0.3, 0.9)), True)):
        features = tf.train.Example.FromString(both(labels, "real:a")).features.feature
        assert ("image/object/mask_score" in features) == stored
    new = masked((1.0, 1.0))
    again = record.merge(both(masked((0.9, 0.3)), "pseudo:a"), {"masks": record.Labelled(new, "real:a")}, SPECS)
    assert "image/object/mask_score" not in tf.train.Example.FromString(again).features.feature


def test_export_coco_carries_both_scores(tmp_path: Path) -> None:
    records = tiny.write_set(tmp_path / "in", [[both(masked((0.9, 0.25)), "pseudo:a")]], ["detection", "masks"])
    export_records(recordset.opened(records), str(tmp_path / "out"), ExportOptions(least_score=0.0), 1, ["tests"])
    (entry,) = json.loads((tmp_path / "out" / "instances.json").read_text())["annotations"]
    assert (entry["score"], entry["mask_score"]) == (0.9, 0.25)


@pytest.mark.parametrize(("length", "count"), [(1.0005, 0), (1.01, 1), (0.0, 0)])
def test_vectors_that_are_not_of_unit_length_are_a_problem(length: float, count: int) -> None:
    normals = np.zeros([4, 4, 3], np.float32)
    normals[..., 2] = -1
    normals[1, 1, 2] = -length
    problems = SPECS["normals"].summary.problems({"normals": normals}, ImageInfo("a", 4, 4), golden("normals").CONFIG)
    assert [what for what, _ in problems] == ["vectors that are not of unit length"] * count


def test_unknown_normals_are_zero_without_a_sign() -> None:
    """In bytes, too: -0 equals 0, but files and caches of it differ. The vector is NumPy's."""
    pixels = np.zeros([2, 2, 3], np.uint8)
    pixels[0, 1] = 10, 200, 30
    parsed = {"image/normals/encoded": tf.io.encode_png(pixels), "image/normals/confidence/encoded": tf.constant("")}
    found = SPECS["normals"].read(parsed, tf.constant([2, 2]), golden("normals").CONFIG)["normals"].numpy()
    vector = pixels[0, 1] / 127.5 - 1.0
    np.testing.assert_allclose(found[0, 1], vector / np.linalg.norm(vector), rtol=1e-5)
    unknown = found[[0, 1, 1], [0, 0, 1]]
    assert not unknown.any() and not np.signbit(unknown).any()


@pytest.mark.parametrize(
    ("probability", "ids", "expected"),
    [
        ([0.09999, 0.45, 0.45001], {0: 0, 1: 1, 2: 2}, [1, 1]),  # in 16 bits, the last two are equal
        ([0.4, 0.35, 0.25], {0: 1, 1: 0, 2: 0}, [0, 0]),  # two become one, with 0.6
    ],
)
def test_the_hard_label_is_the_likeliest_class(
    probability: list[float], ids: dict[int, int], expected: list[int]
) -> None:
    """Of the probabilities as they are read: what a manifest counts is what must check finds."""
    spec = SPECS["classification"]
    written = spec.write({"probability": np.array(probability, np.float32)}, ImageInfo("a", H, W))
    features = tf.train.Features(feature=written).feature

    def hard_and_likeliest() -> list[int]:
        soft = np.frombuffer(features["image/class/probability"].bytes_list.value[0], "<f2")
        return [*features["image/class/label"].int64_list.value, int(soft.argmax())]

    label, likeliest = hard_and_likeliest()
    assert label == likeliest
    assert spec.class_ids is not None and spec.class_ids.recode is not None
    spec.class_ids.recode(features, ids, len(set(ids.values())))
    assert hard_and_likeliest() == expected
