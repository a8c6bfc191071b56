"""Outputs that contradict the adapter end with a message; images that show none of the classes get no label."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from must_tf.common.errors import UserError
from must_tf.data import record
from must_tf.spec import ImageInfo, Labels
from must_tf.tasks import discover
from tests.support.teaching import save, unlabelled, write_adapter
from tests.support.tiny import write_set
from tfrecords_tools import teachers
from tfrecords_tools.label.pipeline import labelled
from tfrecords_tools.teachers import check_classes, checks, run_directory

INFO = ImageInfo("a", 2, 3)
BOXES = {"boxes": "b", "scores": "s", "classes": "c"}
CONFIG = discover()["classification"].Config(classes=("cat", "dog"))
BLACK, RED = (np.tile(np.array(color, np.uint8), [20, 30, 1]) for color in ((0, 0, 0), (255, 0, 0)))


def teacher(folder: Path, values: dict[str, Any], section: dict[str, Any], unknown: bool = False) -> teachers.Teacher:
    """Gives every image the same values. If `unknown`, its signature does not tell how many axes they have."""

    def answer(image: tf.Tensor) -> dict[str, tf.Tensor]:
        batch = tf.shape(image)[0]
        rows = {name: tf.repeat(tf.constant(value, tf.float32)[None], batch, 0) for name, value in values.items()}
        if not unknown:
            return rows
        return {name: tf.numpy_function(lambda x: x, [row], tf.float32) for name, row in rows.items()}

    save(folder / "model", answer, [None, None, None, 3])
    classes = {task: ["cat", "dog"] for task in ("classification", "segmentation", "detection") if task in section}
    content = {"model": "model", "input": {"size": [32, 32]}, "outputs": section, "classes": classes}
    tasks = [*section, "masks"] if "masks" in section.get("detection", {}) else [*section]
    return teachers.describe(write_adapter(folder / "a.yaml", content), tasks).load()


def label(labeller: teachers.Teacher) -> dict[str, Labels]:
    return teachers.label(labeller, [tf.constant(BLACK)], ["photo-7"])[0]


def boxes(box: list[float], score: float) -> dict[str, Any]:
    return {"b": [box], "s": [score], "c": [1.0]}


@pytest.mark.parametrize(
    ("values", "section", "words"),
    [
        ({"p": [2.0, -1.0]}, {"classification": {"output": "p"}}, ("'p' contains 2,", "means: logits")),
        ({"p": [0.9, 0.8]}, {"classification": {"output": "p"}}, ("'p' sum to 1.7", "means: logits")),
        ({"p": [0.3, 0.1]}, {"classification": {"output": "p"}}, ("'p' sum to 0.4", "means: logits")),
        (
            {"p": [0.3, 0.7]},
            {"classification": {"output": "p", "means": "logits"}},
            ("'p' lie between 0 and 1 and sum to 1,", "means: probabilities"),
        ),
        (
            {"p": np.full([4, 4, 2], 0.5)},
            {"segmentation": {"output": "p", "means": "logits"}},
            ("'p' lie between 0 and 1", "means: probabilities"),
        ),
        ({"p": np.full([4, 4, 2], 3.0)}, {"segmentation": {"output": "p"}}, ("'p' contains 3,", "means: logits")),
        (boxes([1, 2, 9, 9], 4.2), {"detection": BOXES}, ("'s' contains 4.2", "sigmoid or softmax")),
        (
            boxes([0.1, 0.2, 0.9, 0.9], 0.8),
            {"detection": BOXES},
            ("'b' lies within one pixel", "coordinates: normalised"),
        ),
        (
            boxes([1, 2, 9, 9], 0.8),
            {"detection": BOXES | {"coordinates": "normalised"}},
            ("'b' reaches 9 times", "coordinates: pixels"),
        ),
        (boxes([1, 2, 9, 9], 0.8) | {"c": [1.5]}, {"detection": BOXES}, ("'c' contains 1.5", "whole number")),
        (boxes([1, 2, 9, 9], 0.8) | {"c": [np.nan]}, {"detection": BOXES}, ("'c' contains nan", "whole number")),
        (
            boxes([1, 2, 9, 9], 0.8) | {"n": [np.nan]},
            {"detection": BOXES | {"count": "n"}},
            ("'n' contains nan", "whole number from 0 to 1"),
        ),
        (
            boxes([1, 2, 9, 9], 0.8) | {"m": np.full([1, 28, 28], -4.0)},
            {"detection": BOXES | {"masks": "m"}},
            ("'m' contains -4", "sigmoid"),
        ),
    ],
)
def test_numbers_that_mean_something_else(
    values: dict[str, Any], section: dict[str, Any], words: tuple[str, ...], tmp_path: Path
) -> None:
    """The message names the teacher, the output, the image and what to write."""
    (task,) = section  # masks come with detection
    task = "masks" if "masks" in section[task] else task
    with pytest.raises(UserError) as error:
        label(teacher(tmp_path, values, section))
    for word in (f"--teacher {task}={tmp_path}/a.yaml", "image 'photo-7'", *words):
        assert word in str(error.value)


@pytest.mark.parametrize(
    ("values", "section", "words"),
    [
        ({"p": [0.2, 0.3, 0.5]}, {"classification": {"output": "p"}}, "2 class names, but output 'p' has 3 channels"),
        ({"p": [[0.5, 0.5]]}, {"classification": {"output": "p"}}, r"shape \[1, 2\] for one image instead of \[C\]"),
        ({"p": [0.5, 0.5]}, {"segmentation": {"output": "p"}}, r"shape \[2\] for one image instead of \[h, w, C\]"),
        ({"z": [1.0, 2.0]}, {"depth": {"output": "z"}}, r"shape \[2\] for one image instead of \[h, w\]"),
        ({"z": np.ones([4, 4, 3])}, {"depth": {"output": "z"}}, r"shape \[4, 4, 3\] for one image instead of \[h, w\]"),
        (
            {"n": np.ones([3, 4, 4])},
            {"normals": {"output": "n"}},
            r"\[3, 4, 4\] for one image instead of \[h, w, 3\]. If .* first, write `layout: NCHW`",
        ),
        (boxes([1, 2, 9], 0.8), {"detection": BOXES}, r"'b' has shape \[1, 3\] for one image instead of \[D, 4\]"),
    ],
)
def test_axes_that_a_signature_does_not_tell(
    values: dict[str, Any], section: dict[str, Any], words: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=words):
        label(teacher(tmp_path, values, section, unknown=True))


def test_right_ones_among_them(tmp_path: Path) -> None:
    """Correct outputs of unknown rank, and probabilities that are a little off, are accepted."""
    section = {"classification": {"output": "p"}, "segmentation": {"output": "q"}}
    values = {"p": [0.75, 0.252], "q": np.tile(np.array([0.25, 0.75], np.float32), [4, 4, 1])}
    found = label(teacher(tmp_path, values, section, unknown=True))
    np.testing.assert_allclose(found["classification"]["probability"], [0.7485, 0.2515], atol=1e-4)
    assert (found["segmentation"]["classes"] == 1).all()


def test_an_output_without_a_batch_axis(tmp_path: Path) -> None:
    save(tmp_path / "model", lambda image: {"z": image[0, ..., 0]}, [None, None, None, 3])
    content = {"model": "model", "input": {"size": [32, 32]}, "outputs": {"depth": {"output": "z"}}}
    described = teachers.describe(write_adapter(tmp_path / "a.yaml", content), ["depth"])
    with pytest.raises(UserError, match=r"'z' has shape \[32, 32\] for 8 images, so its first axis"):
        label(described.load())


def test_an_output_with_the_name_of_one_of_model_gardens(tmp_path: Path) -> None:
    """In Model Garden `image_info` tells how much was resized; here it is depth in metres."""
    found = label(teacher(tmp_path, {"image_info": np.full([4, 4], 3.0)}, {"depth": {"means": "metres"}}))
    np.testing.assert_allclose(found["depth"]["metres"], np.full([20, 30], 3.0))


def test_nan_is_not_taken_for_logits(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="classification of image 'photo-7' is NaN or infinite"):
        label(teacher(tmp_path, {"p": [np.nan, 0.5]}, {"classification": {"output": "p"}}))


@pytest.mark.parametrize(("dark", "expected"), [(1.0, None), (0.995, None), (0.6, [0.75, 0.25])])
def test_an_image_of_no_class_is_unlabelled(dark: float, expected: list[float] | None, tmp_path: Path) -> None:
    """A black image has the class without a name, a red one is a cat. Labels are read back from the records."""
    rest = (1.0 - dark) / 4

    def answer(image: tf.Tensor) -> dict[str, tf.Tensor]:
        red = image[:, :1, 0, 0] > 0.5
        return {"p": tf.where(red, [[0.0, 1.0, 0.0]], tf.constant([[dark, 3 * rest, rest]], tf.float32))}

    save(tmp_path / "model", answer, [None, 32, 32, 3])
    content = {"model": "model", "outputs": {"classification": {"output": "p"}}, "input": {"range": [0, 1]}}
    adapter = write_adapter(tmp_path / "a.yaml", content | {"classes": {"classification": ["", "cat", "dog"]}})
    (path,) = tf.io.gfile.glob(write_set(tmp_path / "in", [[unlabelled(0, BLACK), unlabelled(1, RED)]], ()))
    described = teachers.describe(adapter, ["classification"])
    black, red = (one.serialized for one in labelled(path, [described.load()], lambda count: None))
    specs, config = discover(), discover()["classification"].Config(classes=("cat", "dog"))
    found = [record.read_labels(one, specs, {"classification": config}) for one in (black, red)]
    np.testing.assert_allclose(found[1]["classification"].labels["probability"], [1.0, 0.0])
    assert ("classification" in found[0]) == (expected is not None)
    if expected:
        np.testing.assert_allclose(found[0]["classification"].labels["probability"], expected, atol=1e-3)


@pytest.mark.parametrize("values", [[np.nan, 0.5], [np.nan, np.nan], [0.0, 0.0], [np.inf, 0.0]])
def test_no_distribution_is_written(values: list[float]) -> None:
    """NaN is not below 1 either, and would pass for certainty."""
    with pytest.raises(UserError, match="image 'a': .*classification label|classification label of image 'a'"):
        discover()["classification"].write({"probability": np.array(values, np.float32)}, INFO)


@pytest.mark.parametrize("class_id", [256, 300, -1])
def test_a_class_id_that_a_byte_does_not_hold(class_id: int) -> None:
    """300 would be written as 44."""
    labels = {"classes": np.full([2, 3], class_id, np.int32), "confidence": np.ones([2, 3], np.float32)}
    with pytest.raises(UserError, match=f"image 'a': the segmentation label has class id {class_id}"):
        discover()["segmentation"].write(labels, INFO)


def test_as_many_classes_as_fit() -> None:
    check_classes("x", "segmentation", 255)
    check_classes("x", "classification", 1000)
    with pytest.raises(UserError, match="x: 256 classes"):
        check_classes("x", "segmentation", 256)


def test_a_run_with_too_many_classes(monkeypatch: pytest.MonkeyPatch) -> None:
    about = teachers.About("runs/s", ("segmentation",), "0" * 12, {"segmentation": [str(i) for i in range(300)]})
    monkeypatch.setattr(run_directory, "is_here", lambda path: True)
    monkeypatch.setattr(run_directory, "describe", lambda path, tasks: run_directory.RunDirectory(about))
    with pytest.raises(UserError, match="--teacher segmentation=runs/s: 300 classes, but"):
        teachers.describe("runs/s", ["segmentation"])


def test_rounded_values_are_accepted() -> None:
    """A softmax over 1,000 classes in bfloat16, a box at the border, an uncertain box within a pixel."""
    logits = np.random.default_rng(1).normal(size=1000).astype(np.float32)
    rounded = tf.cast(tf.nn.softmax(tf.cast(logits, tf.bfloat16)), tf.float32).numpy()
    assert checks.probability_problem("p", rounded, -1) == ""
    assert checks.sum_note("p", rounded, -1) == ""
    assert checks.logit_problem("p", logits, -1) == ""
    assert checks.logit_problem("p", np.array([0.3, 0.6]), -1) == ""  # of two classes, by chance
    assert checks.box_problem("b", np.array([[-0.1, 0.2, 1.3, 0.9]]), np.array([0.9]), True) == ""
    assert checks.box_problem("b", np.array([[0.0, 0.0, 0.9, 0.9]]), np.array([0.1]), False) == ""


def test_probabilities_of_eight_bits(tmp_path: Path) -> None:
    """They sum to 0.75; the rest was rounded away. They are divided by their sum, and the manifest says so."""
    described = teacher(tmp_path, {"p": [0.6, 0.15]}, {"classification": {"output": "p"}})
    (path,) = tf.io.gfile.glob(write_set(tmp_path / "in", [[unlabelled(0, BLACK), unlabelled(1, RED)]], ()))
    (tmp_path / "out").mkdir()
    found = list(labelled(path, [described], lambda count: None))
    example = record.read_labels(found[0].serialized, discover(), {"classification": CONFIG})
    np.testing.assert_allclose(example["classification"].labels["probability"], [0.8, 0.2], atol=1e-3)
    note = "classification: probabilities of output 'p' that sum to less than 1, divided by their sum"
    assert [one.notes for one in found] == [(note,), (note,)]


def test_a_class_id_for_the_whole_image(tmp_path: Path) -> None:
    """It has no confidence, so it is certain."""
    section = {"classification": {"output": "id", "means": "classes"}}
    found = label(teacher(tmp_path, {"id": [1.0]}, section))
    assert found["classification"]["probability"].tolist() == [0.0, 1.0]
    with pytest.raises(UserError, match="'id' contains 2 instead of a whole number from 0 to 1"):
        label(teacher(tmp_path / "other", {"id": [2.0]}, section))
