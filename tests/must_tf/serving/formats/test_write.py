"""TFLite and ONNX files of the tiny student: the same predictions, their description, and what cannot be written."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from must_tf.cli import export
from must_tf.cli.flags import ExportFlags
from must_tf.common.errors import UserError
from must_tf.runs import restore
from must_tf.serving import companions
from must_tf.serving.formats import measured, onnx_file, photos, tflite, write
from must_tf.serving.formats.network import Network
from tests.support.tiny import Tiny

SIDE = 128
NAMES = ["model_float32.tflite", "model_int8.tflite", "model.onnx"]


@pytest.fixture(scope="module")
def written(tiny: Tiny, tiny_export: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the tiny export with files of two of its tasks, and the lines of the card as card.md."""
    path = tmp_path_factory.mktemp("formats") / "1"
    shutil.copytree(tiny_export, path)
    flags = ExportFlags(tiny.run, "", tasks="classification,depth")
    trained = export._selected(restore.load(tiny.run, show=False), flags)
    card = write.write(str(path), trained, NAMES, "")
    (path / "card.md").write_text("\n".join(card))
    return path


@pytest.mark.parametrize("name", ["model_float32.tflite", "model.onnx"])
def test_the_outputs_are_those_of_the_saved_model(written: Path, name: str) -> None:
    content = (written / name).read_bytes()
    run = (onnx_file if name == "model.onnx" else tflite).runner(content)
    image, shape, _ = photos.fitted(companions.sample(1), SIDE)
    assert shape.tolist() == [[96, 128]]
    outputs = run(image, shape)
    expected = measured.network(tf.saved_model.load(str(written)))(image, shape)
    assert set(outputs) == {"classification/probability", "depth/metres"}
    for key, value in outputs.items():
        np.testing.assert_allclose(value, expected[key], rtol=1e-3, err_msg=key)


def test_formats_json_and_the_card(written: Path) -> None:
    content: dict[str, Any] = json.loads((written / "formats.json").read_text())
    assert list(content["files"]) == ["SavedModel", *NAMES]
    assert content["photos"]["count"] == 5 and "tfrecord" in content["photos"]["source"]
    for name in NAMES:
        row = content["files"][name]
        assert row["megabytes"] == pytest.approx((written / name).stat().st_size / 1e6)
        assert row["milliseconds"] > 0 and row["differences"]["depth/relative"] < 0.1
    assert content["files"]["model_float32.tflite"]["differences"]["depth/relative"] < 5e-3
    assert (
        content["files"]["model_int8.tflite"]["megabytes"] < content["files"]["model_float32.tflite"]["megabytes"] / 2
    )
    assert content["inputs"]["image"] == {"type": "uint8", "shape": [1, SIDE, SIDE, 3]}
    assert set(content["inputs"]) == {"image"}  # detection is not there
    metrics = content["metrics"]
    assert metrics["images"] == 5
    for model in ("SavedModel", "file"):
        assert {"depth/abs_rel", "classification/top1"} <= set(metrics[model])
    assert metrics["SavedModel"]["depth/abs_rel"] == pytest.approx(metrics["file"]["depth/abs_rel"], rel=0.1)
    card = (written / "card.md").read_text()
    assert "| model_int8.tflite |" in card and "| depth/abs_rel |" in card
    assert "depth in metres, a map of cells" in card
    assert (written / "postprocess.py").exists()


def test_a_format_is_a_group_or_a_precision() -> None:
    assert write.parse("", "") == []
    assert write.parse("int8, tflite", "") == [
        f"model_{word}.tflite" for word in ("int8", "float32", "float16", "dynamic")
    ]
    with pytest.raises(UserError, match="'tflte' is not one of tflite, onnx, .*tflite"):
        write.parse("tflte", "")
    with pytest.raises(UserError, match="--calibration is for TFLite and ONNX"):
        write.parse("", "records/*.tfrecord")
    with pytest.raises(UserError, match="--masks=full cannot be combined with --formats.*paste"):
        write.parse("float32", "", "full")
    assert write.parse("", "", "full") == []


def test_int8_needs_photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(photos, "GENERATED", 1)
    gone = str(tmp_path / "*.tfrecord")
    with pytest.raises(UserError, match="int8 needs photos.*Give --calibration"):
        photos.collect("", gone, True)
    with pytest.raises(UserError, match="--calibration: no file matches"):
        photos.collect(gone, "", False)
    assert photos.collect("", gone, False).source == "generated scenes"


def test_the_command_says_which_file_it_is_making(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before each of them: the line is of use while the converter runs."""
    said: list[str] = []

    def convert(*given: Any) -> bytes:
        said.extend(capsys.readouterr().err.splitlines())
        return b""

    monkeypatch.setattr(tflite, "save", convert)
    for kind in (tflite, onnx_file):
        monkeypatch.setattr(kind, "convert", convert)
        monkeypatch.setattr(kind, "runner", lambda content: None)
    given = photos.Photos([], "")
    write._convert(str(tmp_path), Network(None, {}, {}), NAMES, given, SIDE)
    assert said == [f"--formats: making {what}" for what in ("the network for TFLite", *NAMES)]


def test_a_converter_that_gives_up_is_named() -> None:
    def give_up() -> bytes:
        raise ValueError("\nop Foo is not supported\nand a long trace")

    with pytest.raises(
        UserError, match="^--formats: model.onnx cannot be made of this model: op Foo is not supported. "
    ):
        write._attempt("model.onnx", give_up)
