"""An export reports what its formats cannot hold. The exit code is 1 if a label or its meaning is lost."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from must_tf.data import record, scenes
from must_tf.data.record import Labelled
from must_tf.spec import ImageInfo
from must_tf.tasks import discover
from tests.support.converting import must_records, noise
from tests.support.tiny import image_bytes, write_set
from tfrecords_tools.export import formats

H, W = 20, 30
RAMP = np.linspace(0.0, 9.0, H * W, dtype=np.float32).reshape(H, W)
OBJECTS = {
    "boxes": np.array([[0.1, 0.2, 0.6, 0.9]], np.float32),
    "classes": np.array([1]),
    "scores": np.ones(1, np.float32),
    "is_crowd": np.zeros(1, bool),
    "area": np.array([210.0], np.float32),
}
K, ROOMS = len(scenes.CLASSES["detection"]), len(scenes.CLASSES["classification"])
CONFIDENCE, OTHERS = formats.DOUBTS


def pixels(*confidence: float) -> dict[str, Any]:
    """Returns a map of one class with these confidences from left to right."""
    sure = np.repeat(np.array([confidence], np.float32), W // len(confidence), axis=1).repeat(H, axis=0)
    return {"classes": np.zeros([H, W], np.int32), "confidence": sure}


def rooms(*probability: float) -> dict[str, Any]:
    """Returns a distribution that begins with these probabilities."""
    return {"probability": np.array([*probability, *[0.0] * (ROOMS - len(probability))], np.float32)}


DEPTH = {"metres": RAMP, "inverse_depth": np.zeros_like(RAMP)}
RELATIVE = {"metres": np.zeros_like(RAMP), "inverse_depth": RAMP}
# name -> (labels, what is lost, exit code)
CASES: dict[str, tuple[dict[str, Labelled], set[str], int]] = {
    "metres": ({"depth": Labelled(DEPTH, "real:x")}, set(), 0),
    "relative depth": ({"depth": Labelled(RELATIVE, "pseudo:x")}, {formats.RELATIVE}, 1),
    "some classes": ({"detection": Labelled(OBJECTS, "real:x", (1,))}, {f"detection: {formats.PARTIAL}"}, 1),
    "all classes by name": ({"detection": Labelled(OBJECTS, "real:x", tuple(range(1, K + 1)))}, set(), 0),
    "sure pixels": ({"segmentation": Labelled(pixels(1.0), "pseudo:x")}, set(), 0),
    "unsure pixels": ({"segmentation": Labelled(pixels(0.5, 1.0), "pseudo:x")}, {CONFIDENCE}, 0),
    "one room": ({"classification": Labelled(rooms(0.0, 1.0), "real:x")}, set(), 0),
    "a distribution": ({"classification": Labelled(rooms(0.25, 0.75), "pseudo:x")}, {OTHERS}, 0),
}


@pytest.mark.parametrize("name", CASES)
def test_what_is_lost_is_named(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    labelled, lost, code = CASES[name]
    serialized = record.encode(image_bytes(noise(H, W)), ImageInfo("a", H, W), labelled, discover())
    records, out = write_set(tmp_path / "in", [[serialized]], tuple(labelled)), tmp_path / "out"
    command = ["export-coco", "--records", records, "--out", str(out), "--workers", "1", "--json"]
    assert must_records(command, monkeypatch) == code
    summary = json.loads(capsys.readouterr().out)
    assert (set(summary["lost"]), {entry["count"] for entry in summary["lost"].values()}) == (
        lost,
        {1} if lost else set(),
    )
    assert (out / "depth").exists() == (name == "metres")  # a black image would mean that all depth is unknown
