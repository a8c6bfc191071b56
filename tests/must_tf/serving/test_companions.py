"""The files beside a SavedModel, of the exported tiny run."""

from __future__ import annotations

import base64
import json
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import tensorflow as tf

from must_tf.experiments import experiment_config
from must_tf.pseudo_gate import verdict
from must_tf.serving import companions, model_card
from tests.must_tf.serving.clients.messages import messages
from tests.support.tiny import ALL


def test_warm_up_requests_are_predictions_that_the_model_serves(tiny_export: str) -> None:
    """Read as TensorFlow Serving reads them: TFRecords of PredictionLog."""
    path = Path(tiny_export, "assets.extra", "tf_serving_warmup_requests")
    logs = [messages()["PredictionLog"].FromString(one.numpy()) for one in tf.data.TFRecordDataset(str(path))]
    requests = [log.predict_log.request for log in logs]
    assert {request.model_spec.name for request in requests} == {"tiny"}
    assert [request.model_spec.signature_name for request in requests] == ["serving_default", "image_bytes"]
    for request in requests:
        assert list(request.inputs) == ["image_bytes"]
        (photo,) = request.inputs["image_bytes"].string_val
        assert tf.io.decode_jpeg(photo).shape == (240, 320, 3)


def test_the_sample_request_is_json_with_base64(tiny_export: str) -> None:
    content = json.loads(Path(tiny_export, "request.json").read_text())
    (instance,) = content["instances"]
    assert tf.io.decode_jpeg(base64.b64decode(instance["b64"])).shape == (240, 320, 3)


def test_the_clients_run_without_the_project_and_tensorflow(tiny_export: str, tmp_path: Path) -> None:
    """Python's isolated mode does not see the project; both print their help."""
    for name in ("client_rest.py", "client_grpc.py"):
        script = (
            "import runpy, sys; sys.modules.update(dict.fromkeys(('tensorflow', 'must_tf')))\n"
            f"sys.argv = ['{name}', '--help']; runpy.run_path({str(Path(tiny_export, name))!r}, run_name='__main__')"
        )
        done = subprocess.run([sys.executable, "-I", "-c", script], capture_output=True, text=True, cwd=tmp_path)
        assert done.returncode == 0 and "PHOTO" in done.stdout, done.stderr


@pytest.mark.parametrize("client", ["client_rest.py", "client_grpc.py"])
def test_the_clients_ask_for_the_model_beside_them(client: str, tiny_export: str) -> None:
    """A server takes the name of the folder, or of the one above if it has versions."""
    name = Path(tiny_export).parent.name
    assert name != "student" and f'"--model", default="{name}"' in Path(tiny_export, client).read_text()


def test_triton_is_told_the_types_and_sizes() -> None:
    """After the fields of Triton's ModelConfig."""
    specs = {
        "image/status": tf.TensorSpec([None], tf.string),
        "depth/metres": tf.TensorSpec([None, None, None], tf.float32),
        "detection/boxes": tf.TensorSpec([None, 6, 4], tf.float32),
    }
    lines = companions.triton_config("tiny", specs).splitlines()
    assert lines[:3] == ['name: "tiny"', 'platform: "tensorflow_savedmodel"', "max_batch_size: 0"]
    assert 'input [ { name: "image_bytes" data_type: TYPE_STRING dims: [ -1 ] } ]' in lines
    assert 'output [ { name: "image/status" data_type: TYPE_STRING dims: [ -1 ] } ]' in lines
    assert 'output [ { name: "depth/metres" data_type: TYPE_FP32 dims: [ -1, -1, -1 ] } ]' in lines
    assert 'output [ { name: "detection/boxes" data_type: TYPE_FP32 dims: [ -1, 6, 4 ] } ]' in lines


def test_the_model_card(tiny_export: str) -> None:
    """Data, metrics with protocol, classes, outputs with units, and limits. The tiny records have real labels only."""
    text = Path(tiny_export, "MODEL_CARD.md").read_text()
    about = json.loads(Path(tiny_export, "must_tf.json").read_text())
    assert f"Model `{about['teacher_id']}`, step 2" in text
    assert "| 5 | depth | real:scenes (5) |" in text and "No pseudo labels" in text
    assert "- detection: overlap boxes; AP COCO" in text
    assert "| detection | ball, box, cylinder, cone |" in text
    assert "| `depth/metres` | float32 | [B, H, W] | depth in metres |" in text
    for task in ALL:
        assert re.search(rf"^\| {task} \| \w+ \| [-\d.a-z]+ \|$", text, re.M), task
    # By hand: classes int32, confidence, metres and three normals float32 are 24 bytes; times 50 million.
    assert "24 bytes per pixel, 1.20 GB" in text and "25,000,000 pixels" in text


def test_a_task_that_was_not_measured_is_named() -> None:
    """Its protocol is empty, because no validation image has its labels."""
    evaluation: Any = {"images": 3, "set": ["val"], "step": 2, "figures": {}, "protocol": {"depth": {"crop": "none"}}}
    trained: Any = SimpleNamespace(step=2)
    lines = model_card._metrics(evaluation, trained, ["depth", "normals"])
    assert lines[-2:] == [
        "- depth: crop none",
        "- normals: not measured, because none of these images has its labels",
    ]


def test_a_teacher_is_listed_with_its_licence() -> None:
    """A licence that the records do not have is named as such."""
    facts = {"path": "runs/a", "kind": "run directory", "tasks": ["depth"], "trained_on": {"depth": {"images": 7}}}
    row = model_card._teacher(("0123", facts))
    assert row == ("0123", "depth", "run directory `runs/a`", "depth: 7 images", "not recorded")
    assert model_card._teacher(("0123", facts | {"licence": "CC BY 4.0"}))[-1] == "CC BY 4.0"


def test_the_card_names_labels_that_were_used_although_they_are_unfit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody who is given the export cannot know otherwise."""
    described = SimpleNamespace(teachers={"0123": {"tasks": ["depth"]}}, records=3, origins={})
    config = experiment_config.load("must_teacher_depth", override="task.train_data.input_path=labels/*.tfrecord").task
    monkeypatch.setattr(model_card.manifest, "read", lambda folder: described)
    for state in ("overruled", "passed"):
        failed = {"depth": ["Its images are flat."], "normals": ["Not used."]} if state == "overruled" else {}
        monkeypatch.setattr(verdict, "of_folder", lambda *_, s=state, f=failed: verdict.Verdict(s, f))
        lines = model_card._training_data(config)
        assert ("- `labels`, depth: Its images are flat." in lines) == (state == "overruled")
        assert not any("Not used" in line for line in lines)  # of a head that was not trained
        assert any("judged unfit" in line for line in lines) == (state == "overruled")
