"""Mistakes in the choice of a teacher are reported before weights are loaded: what, where, the nearest spelling."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import yaml

from must_tf.common.errors import Mistakes, UserError
from tests.support.teaching import save, write_adapter
from tfrecords_tools import teachers
from tfrecords_tools.teachers import adapter, adapter_file, adapter_input
from tfrecords_tools.teachers.names import read_names
from tfrecords_tools.teachers.recipe import Signature

GOOD: dict[str, Any] = {
    "model": "model",
    "input": {"size": [32, 48], "range": [0, 1]},
    "outputs": {"segmentation": {"output": "logits", "means": "logits"}, "depth": {"output": "depth"}},
    "classes": {"segmentation": ["sea", "fire"]},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SavedModel with the outputs `logits` of two classes and `depth`."""
    made = tmp_path_factory.mktemp("mistakes")

    def answer(image: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"logits": image[..., :2], "depth": image[..., 0]}

    save(made / "model", answer, [None, 32, 48, 3])
    return made


def changed(path: str, value: Any) -> dict[str, Any]:
    """Returns the good file with one value changed; None leaves it out."""
    content = yaml.safe_load(yaml.safe_dump(GOOD))
    *groups, key = path.split("/")
    group = content
    for name in groups:
        group = group[name]
    group.pop(key, None)
    if value is not None:
        group[key] = value
    return content


def test_the_good_file_is_good(folder: Path) -> None:
    about = teachers.describe(write_adapter(folder / "good.yaml", GOOD), ["segmentation", "depth"]).about
    assert about.classes == {"segmentation": ["sea", "fire"]}
    depth_only = teachers.describe(str(folder / "good.yaml"), ["depth"]).about
    assert depth_only.id == about.id  # the id does not depend on the tasks


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("modle", "model", ("modle: no such key", "'model'")),
        ("input/layuot", "NCHW", ("input.layuot: no such key", "'layout'")),
        ("input/layout", "NCWH", ("input.layout='NCWH'", "'NCHW'")),
        ("input/size", [32], ("input.size must be [height, width]",)),
        ("input/size", [64, 48], ("input.size=[64, 48]", "[32, 48]")),
        ("input/mean", [0.5], ("input.mean must be a list of 3 numbers",)),
        ("input/std", [1, 0, 1], ("input.std must not contain 0",)),
        ("input/name", "imgae", ("input.name='imgae'", "'image'")),
        ("input/size_name", "size", ("input.size_name='size': the signature has no such input",)),
        ("input/padding", [1, 2], ("input.padding must be a list of 1 or 3 numbers",)),
        ("input/padding", 300, ("input.padding=300", "at most 255")),
        ("input/crop", 1.143, ("input.crop=1.143 is a share of the shorter side: at most 1",)),
        ("input/resize", "centre", ("input.resize=centre needs a square input, but its size is [32, 48]",)),
        ("model", "modle", ("model='modle': there is no SavedModel, .tflite or .onnx file",)),
        ("model", "$MODLES/model", ("$MODLES/model", "The environment variable in it is not set")),
        ("signature", "serving", ("no signature 'serving'", "'serving_default'")),
        (
            "outputs/segmentation/output",
            "logist",
            ("outputs.segmentation.output='logist'", "'logits'", "depth, logits"),
        ),
        ("outputs/depth", {}, ("outputs.depth.output is missing", "outputs: depth, logits")),
        ("outputs/depth/means", "meters", ("outputs.depth.means='meters'", "'metres'")),
        ("outputs/normals", {"output": "depth", "axes": [1, 0, 1]}, ("outputs.normals.axes", "1 or -1")),
        ("outputs/detection", {"packed": "depth", "raw": "depth"}, ("has packed and raw",)),
        ("outputs/detection", {"raw": "dpeth"}, ("outputs.detection.raw='dpeth'", "'depth'")),
        ("outputs/sgementation", {"output": "logits"}, ("outputs.sgementation: no such key", "'segmentation'")),
        ("classes/segmentation", ["a"], ("classes.segmentation has 1 names", "2 channels")),
        ("classes/segmentation", ["a", "a"], ("classes.segmentation: class names must be unique, but a is repeated",)),
        ("classes/segmentation", [str(i) for i in range(256)], ("256 classes, but", "allows 255", "fewer classes")),
        ("classes/unused", ["fier"], ("classes.unused: there is no class 'fier'", "'fire'")),
        ("classes/segmentation", "nowhere.txt", ("nowhere.txt does not exist",)),
        ("classes", None, ("classes.segmentation is missing", "one name per line")),
    ],
)
def test_a_mistake_in_the_file(folder: Path, path: str, value: Any, words: tuple[str, ...]) -> None:
    adapter = write_adapter(folder / "adapter.yaml", changed(path, value))
    with pytest.raises(UserError) as error:
        teachers.describe(adapter, ["segmentation"])
    for word in (*words, "adapter.yaml" if path != "signature" else str(folder)):
        assert word in str(error.value)


@pytest.mark.parametrize(
    ("inputs", "layout", "words"),
    [
        ({"x": [8, 32, 48]}, "NHWC", "input 'x' has shape [8, 32, 48], but images are [B, H, W, 3]"),
        ({"x": [8, 32, 48, 1]}, "NHWC", "colour has 3 channels, not 1"),
        ({"x": [8, 3, 32, 48]}, "NHWC", "Write `input: {layout: NCHW}`"),
        ({"x": [8, 32, 48, 3]}, "NCHW", "Write `input: {layout: NHWC}`"),
        (
            {"x": [1, 32, 48, 3], "size": [1, 2]},
            "NHWC",
            "has 2 inputs: x, size. Write the one that takes the pixels as",
        ),
        ({"x": [1, 32, 48, 3], "a": [1], "b": [1]}, "NHWC", "has 3 inputs: x, a, b. An adapter gives the pixels"),
    ],
)
def test_an_input_that_takes_no_images(inputs: dict[str, list[int]], layout: str, words: str) -> None:
    """A message, where the network would fail with a traceback."""
    described = {name: (tuple(shape), tf.float32) for name, shape in inputs.items()}
    section, mistakes = adapter_file.InputSection(layout=layout, size=(32, 48)), Mistakes()
    adapter_input.read("a.yaml", section, Signature("serving_default", described, {}), mistakes)
    assert any(words in problem for problem in mistakes.problems), mistakes.problems


def test_names_that_occur_twice() -> None:
    """ImageNet's two cranes are a bird and a machine, and its two maillots a swimsuit and a tank suit."""
    names = read_names(["crane", "dog", "???", "crane", "???"], "classes", number_repeated=True)
    assert (names.names, names.numbered) == (("crane 1", "dog", "", "crane 2", ""), ("crane",))
    both = read_names(["crane", "maillot", "crane", "maillot"], "classes", number_repeated=True)
    assert both == (("crane 1", "maillot 1", "crane 2", "maillot 2"), ("crane", "maillot"))
    with pytest.raises(UserError, match="crane is repeated"):
        read_names(["crane", "crane"], "classes")


def test_a_model_in_a_bucket() -> None:
    """The two slashes of gs:// are kept."""
    assert adapter._beside("gs://b/teachers/a.yaml", "../models/m") == "gs://b/models/m"
    assert adapter._beside("here/a.yaml", "gs://b/m") == "gs://b/m"
    assert adapter._beside("here/a.yaml", "../m/") == "m"


def test_all_mistakes_are_reported_at_once(folder: Path) -> None:
    content = changed("outputs/depth/output", "dpeth")
    content["input"] |= {"mean": [1], "size": [1, 2, 3]}
    with pytest.raises(UserError) as error:
        teachers.describe(write_adapter(folder / "adapter.yaml", content), ["depth"])
    assert len(error.value.problems) == 3


def test_a_task_without_an_output(folder: Path) -> None:
    adapter = write_adapter(folder / "adapter.yaml", GOOD)
    with pytest.raises(
        UserError, match=r"--teacher normals=.*this adapter cannot label normals. It can label depth, segmentation"
    ):
        teachers.describe(adapter, ["normals"])


def test_nothing_there(tmp_path: Path) -> None:
    """One message lists every place where a teacher was looked for."""
    with pytest.raises(UserError) as error:
        teachers.describe(str(tmp_path / "x"), ["depth"])
    for word in ("--teacher depth=", "x/params.yaml", "x/must_tf.json", "x/saved_model.pb", ".yaml"):
        assert word in str(error.value)


def test_a_saved_model_without_an_adapter(folder: Path) -> None:
    """The message lists its outputs and where to describe them."""
    with pytest.raises(UserError, match=r"outputs are depth, logits.*adapter"):
        teachers.describe(str(folder / "model"), ["depth"])


def test_a_damaged_saved_model(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder / "model", tmp_path / "model")
    adapter = write_adapter(tmp_path / "adapter.yaml", GOOD)
    weights = tmp_path / "model" / "variables" / "variables.data-00000-of-00001"
    description = teachers.describe(adapter, ["depth"])
    weights.unlink()
    with pytest.raises(UserError, match="cannot be loaded"):
        description.load()
    (tmp_path / "model" / "saved_model.pb").write_bytes(b"\x01no model")
    with pytest.raises(UserError, match="damaged"):
        teachers.describe(adapter, ["depth"])


def test_a_class_id_beyond_the_names(tmp_path: Path) -> None:
    """Otherwise objects would be dropped silently."""

    def answer(image: tf.Tensor) -> dict[str, tf.Tensor]:
        one = {"b": np.zeros([1, 4], np.float32), "s": np.full([1], 0.9, np.float32), "c": np.full([1], 3, np.int32)}
        return {name: tf.repeat(tf.constant(value)[None], tf.shape(image)[0], axis=0) for name, value in one.items()}

    save(tmp_path / "model", answer, [None, None, None, 3])
    detection = {"boxes": "b", "scores": "s", "classes": "c"}
    content = {"model": "model", "input": {"size": [32, 32]}, "outputs": {"detection": detection}}
    adapter = write_adapter(tmp_path / "a.yaml", content | {"classes": {"detection": ["cat", "dog"]}})
    teacher = teachers.describe(adapter, ["detection"]).load()
    with pytest.raises(
        UserError, match=r"--teacher detection=.*a.yaml: class id 3 was predicted, but the 2 class names end at id 2"
    ):
        teachers.label(teacher, [tf.zeros([20, 30, 3], tf.uint8)], ["x"])


def test_a_teacher_that_does_not_exist_gets_its_neighbour(tmp_path: Path) -> None:
    (tmp_path / "seg").mkdir()
    expected = (
        f"--teacher segmentation={tmp_path}/sge: there is no teacher. {tmp_path}/sge does not exist. Did you mean "
    )
    with pytest.raises(UserError, match=f"{expected}'{tmp_path}/seg'.* Looked for: "):
        teachers.describe(f"{tmp_path}/sge", ["segmentation"])
    with pytest.raises(UserError, match="there is no teacher. Looked for: "):
        teachers.describe(f"{tmp_path}/seg", ["segmentation"])
