"""Metrics of classes, pixel classes and normals: by hand and against other libraries."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from sklearn.metrics import (
    accuracy_score,
    confusion_matrix,
    jaccard_score,
    top_k_accuracy_score,
)

from must_tf.common.errors import UserError
from must_tf.tasks.classification import metric as classification
from must_tf.tasks.depth import metric as depth
from must_tf.tasks.normals import metric as normals
from must_tf.tasks.segmentation import metric as segmentation
from tests.support.measuring import Labels, details, evaluate, metres

MODULES = (classification, segmentation, depth, normals)


def pixels(classes: list[list[int]] | np.ndarray) -> Labels:
    return {"classes": np.asarray(classes, np.int32)}


def tilted(degrees: Any, axis: tuple[int, int, int] = (1, 0, 0)) -> Labels:
    """Normals [1, n, 3]: towards the camera, turned by each angle about the axis (scipy)."""
    turns = np.radians(np.asarray(degrees, float))[:, None] * np.asarray(axis, float)
    vectors = Rotation.from_rotvec(turns).apply([0.0, 0.0, -1.0])
    return {"normals": vectors[None].astype(np.float32)}


def perfect(module: Any) -> Labels:
    """Labels that are not trivial, to be predicted without an error."""
    rng = np.random.default_rng(0)
    normal = rng.normal(size=(6, 7, 3))
    return {
        classification: {"probability": np.eye(7, dtype=np.float32)[3]},
        segmentation: pixels(rng.integers(0, 3, (9, 8))),
        depth: metres(rng.uniform(0.5, 9, (9, 8))),
        normals: {"normals": (normal / np.linalg.norm(normal, axis=-1, keepdims=True))},
    }[module]


# ---- every task


@pytest.mark.parametrize("module", MODULES)
def test_without_images_there_are_no_figures(module: Any) -> None:
    assert evaluate(module, [], "a", "b") == {}


@pytest.mark.parametrize("module", MODULES)
def test_a_perfect_prediction_has_the_best_figures(module: Any) -> None:
    figures = evaluate(module, [(perfect(module), perfect(module))], "a", "b", "c")
    best = dict.fromkeys(figures, 1.0)
    zeros = ("abs_rel", "sq_rel", "rmse", "rmse_log", "log10", "silog", "mean_angle", "median_angle", "rmse_angle")
    best |= dict.fromkeys(zeros, 0.0)
    best |= dict.fromkeys(("within_11_25", "within_22_5", "within_30"), 100.0)
    assert module.Metric.headline in figures
    assert figures == pytest.approx({name: best[name] for name in figures}, abs=1e-12)


@pytest.mark.parametrize("module", MODULES)
def test_the_headline_tells_better_from_worse(module: Any) -> None:
    labels = perfect(module)
    worse = {key: np.roll(value, 1, axis=-1) for key, value in labels.items()}
    good = evaluate(module, [(labels, labels)], "a", "b", "c")[module.Metric.headline]
    bad = evaluate(module, [(labels, worse)], "a", "b", "c")[module.Metric.headline]
    assert (good > bad) is module.Metric.higher_is_better


# ---- classification


def test_accuracy_agrees_with_scikit_learn() -> None:
    rng = np.random.default_rng(1)
    truth = np.concatenate([np.arange(8), rng.integers(0, 8, 60)])
    guess = rng.random((68, 8)).astype(np.float32)
    one_hot = np.eye(8, dtype=np.float32)[truth]
    pairs = [({"probability": t}, {"probability": p}) for t, p in zip(one_hot, guess, strict=True)]
    figures = evaluate(classification, pairs)
    assert figures == {
        "top1": pytest.approx(top_k_accuracy_score(truth, guess, k=1)),
        "top5": pytest.approx(top_k_accuracy_score(truth, guess, k=5)),
    }
    assert figures["top1"] < figures["top5"] < 1


@pytest.mark.parametrize(("classes", "names"), [(5, {"top1"}), (6, {"top1", "top5"})])
def test_top5_needs_six_classes(classes: int, names: set[str]) -> None:
    labels = {"probability": np.eye(classes)[0]}
    assert evaluate(classification, [(labels, labels)]).keys() == names


@pytest.mark.parametrize("value", [1 / 6, np.nan])
def test_a_guess_that_prefers_no_class_is_never_right(value: float) -> None:
    guess = {"probability": np.full(6, value, np.float32)}
    pairs = [({"probability": row}, guess) for row in np.eye(6, dtype=np.float32)]
    assert evaluate(classification, pairs) == {"top1": 0.0, "top5": 0.0}


def test_a_distribution_is_true_at_its_peak() -> None:
    teacher = {"probability": np.array([0.3, 0.6, 0.1], np.float32)}
    student = {"probability": np.array([0.2, 0.5, 0.3], np.float32)}
    assert evaluate(classification, [(teacher, student)]) == {"top1": 1.0}


# ---- segmentation


def test_iou_by_hand() -> None:
    labels = pixels([[0, 0, 1, 1], [0, 0, 1, 255]])
    guess = pixels([[0, 0, 0, 1], [0, 2, 1, 1]])
    # Class 0: 3 right of 4 true and 4 predicted; 1: 2 of 3 and 2; 2 is predicted but never true.
    figures = evaluate(segmentation, [(labels, guess)], "road", "sky", "sea")
    overlap = (3 / 5 + 2 / 3) / 2
    assert figures == pytest.approx(
        {
            "mIoU": overlap,
            "pixel_accuracy": 5 / 7,
            "mean_class_accuracy": (3 / 4 + 2 / 3) / 2,
            "ADE20K_score": (5 / 7 + overlap) / 2,
        }
    )
    beside = details(segmentation, [(labels, guess)], "road", "sky", "sea", "hill")
    assert beside.classes["IoU"] == pytest.approx({"road": 3 / 5, "sky": 2 / 3})
    assert beside.absent == ("sea", "hill")


def test_iou_agrees_with_scikit_learn() -> None:
    rng = np.random.default_rng(3)
    truth = rng.choice([0, 1, 2, 5, 255], (3, 20, 30), p=[0.4, 0.3, 0.1, 0.1, 0.1])
    guess = np.where(rng.random(truth.shape) < 0.6, truth, rng.integers(0, 6, truth.shape))
    guess[truth == 255] = 4
    pairs = [(pixels(t), pixels(p)) for t, p in zip(truth, guess, strict=True)]
    figures = evaluate(segmentation, pairs, *"abcdef")
    known = truth != 255
    flat = (truth[known], guess[known])
    each = jaccard_score(*flat, labels=[0, 1, 2, 5], average=None)
    expected = {"mIoU": each.mean(), "pixel_accuracy": accuracy_score(*flat)}
    matrix = confusion_matrix(*flat, labels=range(6))  # true, predicted
    recalls = np.diag(matrix)[[0, 1, 2, 5]] / matrix.sum(axis=1)[[0, 1, 2, 5]]
    expected |= {"mean_class_accuracy": recalls.mean(), "ADE20K_score": (each.mean() + accuracy_score(*flat)) / 2}
    assert figures == pytest.approx(expected)
    beside = details(segmentation, pairs, *"abcdef")
    assert beside.classes["IoU"] == pytest.approx(dict(zip("abcf", each, strict=True)))
    assert beside.classes["accuracy"] == pytest.approx(dict(zip("abcf", recalls, strict=True)))
    assert beside.absent == ("d", "e")


def test_ade20k_leaves_out_what_is_labelled_other() -> None:
    """Its script: predictions on "other" are set to "other", so they enter no union; the mean is over 150 classes."""
    rng = np.random.default_rng(6)
    names = ["other", *(f"class-{number}" for number in range(1, 151))]
    truth = rng.permutation(np.arange(151).repeat(20)).reshape(-1, 20)
    guess = np.where(rng.random(truth.shape) < 0.7, truth, rng.integers(0, 151, truth.shape))
    figures = evaluate(segmentation, [(pixels(truth), pixels(guess))], *names, unmeasured=("other",))
    matrix = confusion_matrix(truth.ravel(), np.where(truth == 0, 0, guess).ravel(), labels=range(151))
    right = np.diag(matrix)[1:]
    overlaps = right / (matrix[1:].sum(axis=1) + matrix[:, 1:].sum(axis=0) - right)
    accuracy = right.sum() / matrix[1:].sum()
    assert overlaps.size == 150
    assert figures["mIoU"] == pytest.approx(overlaps.mean())
    assert figures["pixel_accuracy"] == pytest.approx(accuracy)
    assert figures["ADE20K_score"] == pytest.approx((overlaps.mean() + accuracy) / 2)
    assert evaluate(segmentation, [(pixels(truth), pixels(guess))], *names)["mIoU"] != pytest.approx(overlaps.mean())


def test_an_unmeasured_class_must_exist() -> None:
    with pytest.raises(UserError, match="'othr' is not a class. Did you mean 'other'"):
        evaluate(segmentation, [], "other", "wall", unmeasured=("othr",))


def test_no_opinion_on_a_known_pixel_is_wrong() -> None:
    figures = evaluate(segmentation, [(pixels([[0, 0, 0, 0]]), pixels([[0, 255, 255, -1]]))], "a")
    expected = {"mIoU": 0.25, "pixel_accuracy": 0.25, "mean_class_accuracy": 0.25, "ADE20K_score": 0.25}
    assert figures == expected


def test_an_image_of_ignored_pixels_changes_nothing() -> None:
    pair = (pixels([[0, 1]]), pixels([[0, 0]]))
    ignored = (pixels([[255, 255]]), pixels([[0, 1]]))
    assert evaluate(segmentation, [ignored], "a", "b") == {}
    assert evaluate(segmentation, [pair, ignored], "a", "b") == evaluate(segmentation, [pair], "a", "b")


def test_a_pixel_class_beyond_the_names_shows_its_number() -> None:
    pairs = [(pixels([[0]]), pixels([[0]])), (pixels([[300]]), pixels([[0]]))]
    assert details(segmentation, pairs, "a").classes["IoU"] == {"a": 0.5, "300": 0.0}


# ---- normals


def test_angles_by_hand() -> None:
    # 0, 10 and 20 degrees in one image, 25 and 170 in the other: a mean of 225 / 5.
    pairs = [
        (tilted([0, 0, 0]), tilted([0, 10, 20])),
        (tilted([0, 40]), tilted([25, -130])),
    ]
    figures = evaluate(normals, pairs)
    squares = (10**2 + 20**2 + 25**2 + 170**2) / 5
    expected = {
        "mean_angle": 45.0,
        "rmse_angle": np.sqrt(squares),
        "within_11_25": 40.0,
        "within_22_5": 60.0,
        "within_30": 80.0,
    }
    assert figures.pop("median_angle") == pytest.approx(20, abs=0.005)
    assert figures == pytest.approx(expected, rel=1e-6)


def test_angle_thresholds() -> None:
    steps = [11.2, 11.3, 22.4, 22.6, 29.9, 30.1]  # just inside and just outside each
    figures = evaluate(normals, [(tilted([0] * 6), tilted(steps))])
    shares = [figures[name] for name in ("within_11_25", "within_22_5", "within_30")]
    assert shares == pytest.approx([100 / 6, 300 / 6, 500 / 6])


@pytest.mark.parametrize("count", [400, 401])
def test_angles_agree_with_scipy(count: int) -> None:
    rng = np.random.default_rng(4)
    turns = rng.normal(size=(2, count, 3))
    vectors = [Rotation.from_rotvec(turn).apply([0, 0, -1.0]) for turn in turns]
    angles = [Rotation.align_vectors(a, b)[0].magnitude() for a, b in zip(*vectors, strict=True)]
    degrees = np.degrees(angles)
    figures = evaluate(normals, [({"normals": vectors[0][None]}, {"normals": vectors[1][None]})])
    assert figures["mean_angle"] == pytest.approx(degrees.mean(), abs=1e-5)
    assert figures["median_angle"] == pytest.approx(np.median(degrees), abs=0.00501)
    assert figures["rmse_angle"] == pytest.approx(np.sqrt((degrees**2).mean()), abs=1e-5)
    assert figures["within_22_5"] == pytest.approx(100 * (degrees < 22.5).mean())


def test_unknown_normals_do_not_count_and_unknown_guesses_are_at_90_degrees() -> None:
    unknown = {"normals": np.zeros((1, 1, 3), np.float32)}
    assert evaluate(normals, [(unknown, tilted([5]))]) == {}
    for value in (0.0, np.nan, np.inf):
        guess = {"normals": np.full((1, 1, 3), value, np.float32)}
        figures = evaluate(normals, [(tilted([5]), guess)])
        assert (figures["mean_angle"], figures["median_angle"]) == (90.0, 90.0)


def test_the_length_of_a_guess_does_not_matter_and_its_sign_does() -> None:
    labels = tilted([30, 60], (0, 1, 0))
    for factor, angle in ((0.1, 0.0), (-3.0, 180.0)):
        guess = {"normals": factor * labels["normals"].astype(np.float64)}
        assert evaluate(normals, [(labels, guess)])["mean_angle"] == pytest.approx(angle, abs=1e-6)
