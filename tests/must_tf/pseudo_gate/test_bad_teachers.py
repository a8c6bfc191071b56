"""The gate stops bad teachers; what it cannot see without a truth, it does not claim to see."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from must_tf.data import scenes
from must_tf.pseudo_gate import verdict
from must_tf.spec import ImageInfo, Labels
from must_tf.tasks import discover
from tests.support.converting import must_records
from tests.support.labelling import boxes, by, judged, pixels, records, tell
from tests.support.tiny import SIZES, Tiny, scene_record, write_set

COUNT = 20  # images, the fewest that are judged
TEACHER = "pseudo:bad"


def failed_tasks(glob: str, **given: Any) -> dict[str, list[str]]:
    return judged(glob, **given)["verdict"]["failed"]


def test_random_weights_are_stopped(tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After two steps: no box reaches the threshold, and pixels are of one class or of none."""
    photos = [[scene_record(index, ()) for index in range(COUNT)]]
    given = ["label", "--records", write_set(tmp_path / "in", photos), "--out", str(tmp_path / "out")]
    for task in ("detection", "segmentation"):
        given += ["--teacher", f"{task}={tiny.run}"]
    must_records(given, monkeypatch)
    failed = failed_tasks(f"{tmp_path}/out/*.tfrecord", against=[f"{tiny.records}/*.tfrecord"])
    assert {"detection", "segmentation"} <= set(failed)
    assert "under 0.3" in failed["detection"][0]


def real_objects(index: int) -> list[tuple[int, float, np.ndarray]]:
    """(class, score, box) of a scene's objects."""
    labels = scenes.render("wild", 5, index, SIZES[index % len(SIZES)]).labels["detection"]
    return [(int(c), 0.9, box) for c, box in zip(labels["classes"], labels["boxes"], strict=True)]


def shifted(box: np.ndarray) -> np.ndarray:
    """The box moved by half of its size, to where there is room: an IoU of (1/2)^2 / (2 - (1/2)^2) = 1/7."""
    size = box[2:] - box[:2]
    move = np.where(box[2:] + size / 2 <= 1, size / 2, -size / 2)
    return box + np.concatenate([move, move])


def test_shifted_boxes_pass_without_a_truth_and_are_stopped_with_one(tmp_path: Path) -> None:
    there = [real_objects(index) for index in range(COUNT)]
    truth = records(tmp_path / "truth", by("real:scenes", "detection", [boxes(one) for one in there]))
    moved = [boxes([(c, score, shifted(box)) for c, score, box in one]) for one in there]
    glob = records(tmp_path / "set", by(TEACHER, "detection", moved))
    assert failed_tasks(glob, against=[truth]) == {}  # as many, of the same classes
    failed = failed_tasks(glob, against=[truth], truth=truth)
    (sentence,) = failed["detection"]
    assert "% of the labels are right (precision of boxes at IoU 0.5)" in sentence
    assert failed_tasks(glob, against=[truth]) == failed  # a look without the truth forgets nothing of it
    assert verdict.of_folder(str(tmp_path / "set")).failed == failed
    good = records(tmp_path / "good", by(TEACHER, "detection", [boxes(one) for one in there]))
    assert failed_tasks(good, against=[truth], truth=truth) == {}


def kept(task: str, predictions: dict[str, np.ndarray], config: Any = None) -> Labels:
    """What labelling stores of these predictions."""
    return discover()[task].keep(predictions, ImageInfo("a", 40, 60), config)


def nan_depth() -> Labels:
    return kept("depth", {"metres": np.full([40, 60], np.nan, np.float32)})


def nan_relative_depth() -> Labels:
    return kept("depth", {"inverse_depth": np.full([40, 60], np.nan, np.float32)})


def nan_normals() -> Labels:
    return kept("normals", {"normals": np.full([40, 60, 3], np.nan, np.float32)})


def nan_segmentation() -> Labels:
    blank = {"classes": np.zeros([40, 60], np.int32), "confidence": np.full([40, 60], np.nan, np.float32)}
    return kept("segmentation", blank)


def nan_objects() -> Labels:
    found = {"boxes": np.full([3, 4], np.nan), "scores": np.full(3, np.nan), "classes": np.ones(3, np.int32)}
    return kept("detection", found | {"count": np.array(3)})


def gradient(share: float, index: int) -> np.ndarray:
    """A map [40, 60] of which this share of the variance is the image's own; the rest grows downwards in all images."""
    down = np.linspace(-1.7, 1.7, 40)[:, None] + np.zeros([40, 60])  # variance 1
    own = np.random.default_rng(index).normal(size=[8, 12]).repeat(5, axis=0).repeat(5, axis=1)
    return (np.sqrt(1 - share) * down + np.sqrt(share) * own).astype(np.float32)


def depth_of(share: float, index: int) -> Labels:
    return kept("depth", {"metres": 10 + gradient(share, index)})


def relative_depth_of(share: float, index: int) -> Labels:
    """Scale and shift differ from image to image, as they do for such networks."""
    return kept("depth", {"inverse_depth": (1 + index) * gradient(share, index) + index})


def normals_of(share: float, index: int) -> Labels:
    tilt = 0.3 * gradient(share, index)
    return kept("normals", {"normals": np.stack([0 * tilt, -np.sin(tilt), -np.cos(tilt)], axis=-1)})


@pytest.mark.parametrize("teacher", [depth_of, relative_depth_of, normals_of])
def test_a_teacher_that_gives_all_images_the_same_map_is_stopped(
    teacher: Callable[[float, int], Labels], tmp_path: Path
) -> None:
    """A weak one, of whose map a fifth is the image's own, passes."""
    task = "normals" if teacher is normals_of else "depth"
    for share, is_stopped in ((0.0, True), (0.2, False)):
        labels = [teacher(share, index) for index in range(COUNT)]
        failed = failed_tasks(records(tmp_path / str(share), by(TEACHER, task, labels)))
        assert any("depends only on the position" in one for one in failed.get(task, ())) == is_stopped, failed


def distribution(sharpness: float, index: int, softmaxes: int) -> Labels:
    """A softmax over 40 classes, as often as given, of logits that differ from image to image."""
    values = sharpness * np.random.default_rng(index).normal(size=40)
    for _ in range(softmaxes):
        values = np.exp(values) / np.exp(values).sum()
    return {"probability": values.astype(np.float32)}


@pytest.mark.parametrize(("sharpness", "softmaxes", "is_stopped"), [(9.0, 2, True), (0.0, 1, True), (1.0, 1, False)])
def test_a_classifier_at_chance_is_stopped(sharpness: float, softmaxes: int, is_stopped: bool, tmp_path: Path) -> None:
    """A certain one passes through a softmax again, and is at chance; a weak one has 0.15 on average."""
    names = {"classification": [f"class-{place}" for place in range(40)]}
    labels = [distribution(sharpness, index, softmaxes) for index in range(COUNT)]
    glob = records(tmp_path / "set", by(TEACHER, "classification", labels))
    tell(tmp_path / "set", classes=names)
    assert ("classification" in failed_tasks(glob)) == is_stopped


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")  # NumPy's own, on the NaN that is meant
@pytest.mark.parametrize(
    ("task", "labels", "said"),
    [
        ("depth", nan_depth, "100% of pixels are ignored or unknown"),
        ("depth", nan_relative_depth, "100% of pixels are ignored or unknown"),
        ("normals", nan_normals, "100% of pixels are ignored or unknown"),
        ("segmentation", nan_segmentation, "100% of pixels are ignored or unknown"),
        ("detection", nan_objects, "100% of images have no label"),
        ("detection", lambda: boxes([]), "100% of images have no label"),  # all background
        ("segmentation", lambda: pixels(np.full([40, 60], 1)), "is 100% of all pixels"),
        ("depth", lambda: {"metres": np.full([40, 60], 3.0, np.float32)}, "100% of images have the same value"),
        ("normals", lambda: {"normals": np.tile(np.array([0, 0, 1], np.float32), [40, 60, 1])}, "mean z is 1.00"),
        (
            "classification",
            lambda: {"probability": np.array([0.26, 0.25, 0.25, 0.24], np.float32)},
            "has learned nothing",
        ),
    ],
)
def test_a_teacher_that_broke_is_stopped(task: str, labels: Callable[[], Labels], said: str, tmp_path: Path) -> None:
    failed = failed_tasks(records(tmp_path / "set", by(TEACHER, task, [labels()] * COUNT)))
    assert any(said in sentence for sentence in failed[task]), failed
