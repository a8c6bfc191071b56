"""The choices of must-export: heads, full masks, thresholds, Triton's layout, and the comparison with evaluation."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from must_tf.cli import export
from must_tf.common import run_files
from must_tf.model.student import enabled
from must_tf.serving import checking, exported, layout
from tests.support.mistakes import Sandbox, check, run_export
from tests.support.predicting import images
from tests.support.tiny import Tiny

pytestmark = pytest.mark.usefixtures("tiny")


@pytest.fixture(scope="module")
def chosen(tiny: Tiny, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Exports masks, and with them detection; 3 objects of at least the second highest score; compared."""
    out = tmp_path_factory.mktemp("exports")
    flags = ["--name=some", "--layout=triton", "--tasks=masks", "--masks=full", "--max_detections=3"]
    limits = ["--max_image_pixels=30000", "--max_batch_pixels=40000", "--threshold=0.06", "--check"]
    export.main([f"--model_dir={tiny.run}", f"--out={out}", *flags, *limits])
    return out / "some"


@pytest.fixture(scope="module")
def served(chosen: Path) -> Any:
    """The SavedModel of that export."""
    return tf.saved_model.load(str(chosen / "1" / "model.savedmodel"))


def test_other_heads_are_neither_served_nor_saved(chosen: Path, served: Any, tiny_export: str) -> None:
    """masks needs detection, so both are there."""
    path = chosen / "1" / "model.savedmodel"
    outputs = served.signatures["image_bytes"].structured_outputs
    assert {name.partition("/")[0] for name in outputs} == {"image", "detection", "masks"}
    assert outputs["detection/boxes"].shape[1:] == (3, 4)
    names = [name for name, _ in tf.train.list_variables(str(path / "variables" / "variables"))]
    whole = tf.train.list_variables(str(Path(tiny_export, "variables", "variables")))
    assert len(names) < len(whole)
    settings = exported.settings(str(path), exported.description(str(path)))
    assert list(enabled(settings)) == ["detection", "masks"]


def test_the_number_of_objects_changes_the_id(chosen: Path, tiny_export: str) -> None:
    """Pseudo labels of the two differ, so their origin must."""
    ids = {json.loads(path.read_text())["teacher_id"] for path in (chosen.rglob("must_tf.json"))}
    assert ids != {json.loads(Path(tiny_export, "must_tf.json").read_text())["teacher_id"]}


def test_the_licences_of_a_runs_labels_are_in_its_export(
    tiny_export: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / run_files.CONTENT).write_text(json.dumps({"licences": ["A", "B"]}))
    monkeypatch.setattr(export.trained_on, "counted", lambda config: {})
    config = exported.settings(tiny_export, exported.description(tiny_export))
    trained: Any = SimpleNamespace(id="x", step=1, config=config)
    assert export.about(trained, str(tmp_path))["licences"] == ["A", "B"]


def test_triton_finds_its_settings(chosen: Path) -> None:
    config = (chosen / "config.pbtxt").read_text()
    assert 'name: "some"' in config and "masks/png_bytes" in config
    assert (chosen / "1" / "model.savedmodel" / "saved_model.pb").exists()
    assert not list(chosen.glob("*.partial"))


def test_the_threshold_and_the_limits_are_those_of_the_export(served: Any) -> None:
    """Objects above the score, at most three, with a mask each; an image of 40,000 pixels is refused."""
    image = images()[0][None]
    outputs = served.signatures["image_tensor"](image_tensor=tf.constant(image))
    (count,), scores = outputs["detection/count"].numpy(), outputs["detection/scores"].numpy()[0]
    assert 0 < count <= 3  # otherwise there is nothing to test
    assert (scores[:count] >= 0.06).all() and not scores[count:].any()
    masks = [tf.io.decode_png(png).shape for png in outputs["masks/png_bytes"].numpy()[0, :count]]
    assert masks == [(*image.shape[1:3], 1)] * count
    refused = served.signatures["image_tensor"](image_tensor=tf.zeros([1, 200, 200, 3], tf.uint8))
    assert b"200 x 200 pixels; from 1 to 30000" in refused["image/status"].numpy()[0]


def test_a_difference_from_evaluation_is_found() -> None:
    """Real numbers by their largest difference, class ids by the share that differs, objects up to the threshold."""
    metres, ids = np.full([10, 100], 2.0, np.float32), np.zeros([10, 100], np.int32)
    objects = {"detection/boxes": np.zeros([2, 4], np.float32), "detection/scores": np.array([0.9, 0.2], np.float32)}
    expected = {"depth/metres": metres, "segmentation/classes": ids, "detection/count": np.array(2), **objects}
    outputs = {name: value.copy() for name, value in expected.items()}
    outputs["detection/count"] = np.array(1)
    outputs["detection/boxes"][1] = 1.0  # below the threshold: not compared
    outputs["depth/metres"][0, 0] = 2.5
    outputs["segmentation/classes"][0, :3] = 1
    found = {one.name: one for one in checking.compared(outputs, expected, 0.5)}
    assert found["depth/metres"].value == pytest.approx(0.25) and found["depth/metres"].limit == 1e-3
    assert found["segmentation/classes"].value == pytest.approx(0.003) and found["segmentation/classes"].limit == 2e-3
    assert found["detection/count"].value == found["detection/boxes"].value == 0


def test_an_export_that_differs_is_not_written(
    world: Sandbox, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A SavedModel that returns twice the depth, by one record of the tiny set after the other."""
    depth = {"depth/metres": np.ones([2, 2], np.float32)}

    def signature(tf_example: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"depth/metres": tf.constant(depth["depth/metres"][None] * 2), "image/status": tf.constant([b"ok"])}

    def saved(path: str, *arguments: Any) -> dict[str, tf.TensorSpec]:
        Path(path).mkdir(exist_ok=True)
        return {}

    monkeypatch.setattr(export, "_save", saved)
    monkeypatch.setattr(checking, "_evaluated", lambda serialized, trained: [depth for _ in serialized])
    monkeypatch.setattr(tf.saved_model, "load", lambda path: SimpleNamespace(signatures={"tf_example": signature}))
    code = run_export([f"--model_dir={world.tiny.run}", f"--out={world.out}", "--check"])
    check(code, capsys.readouterr().err, world.out, ("differs from evaluation", "nothing was written", "depth/metres"))
    assert not list(world.tmp.glob("*.partial"))


def test_an_unfinished_export_is_made_again(tmp_path: Path) -> None:
    """Whenever it was killed: before its mark was written, or after."""
    unfinished = tmp_path / "out.partial"
    unfinished.mkdir()
    export._begin(str(unfinished))
    (unfinished / "saved_model.pb").touch()
    export._begin(str(unfinished))
    assert [path.name for path in unfinished.iterdir()] == [export.MARK]
    target = layout.Destination(str(tmp_path / "out"), "", 0, str(tmp_path / "out"))
    export._publish(str(unfinished), target, {})
    assert not [*(tmp_path / "out").iterdir()]


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (["--threshold=1.5"], ("--threshold=1.5", "from 0 to 1")),
        (["--max_image_pixels=0"], ("--max_image_pixels=0", "too small")),
        (["--max_detections=-1"], ("--max_detections=-1", "too small")),
        (["--name=a/b"], ("--name='a/b'", "addresses")),
        (["--layout=triton"], ("--layout=triton", "--name")),
        (["--tasks=deph"], ("no head for 'deph'", "'depth'")),
        (["--tasks=depth", "--max_detections=3"], ("--max_detections", "no detection")),
    ],
)
def test_mistakes(
    flags: list[str], expected: tuple[str, ...], world: Sandbox, capsys: pytest.CaptureFixture[str]
) -> None:
    code = run_export([f"--model_dir={world.tiny.run}", f"--out={world.out}", *flags])
    check(code, capsys.readouterr().err, world.out, expected)
