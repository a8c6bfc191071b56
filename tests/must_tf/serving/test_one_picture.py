"""Training, evaluation, labelling and a served model see the same pixels of a file, whatever kind of image it is."""

from __future__ import annotations

import glob
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from must_tf.data import geometry, input
from must_tf.data.input import Data, Reader
from must_tf.model.student import StudentConfig
from must_tf.serving.saved_model import Server
from must_tf.serving.screening import OK, STATUS
from must_tf.spec import Labels, TaskConfig, Tensors
from tests.support.converting import converted
from tests.support.datasets.image_kinds import KINDS, OTHERS
from tfrecords_tools.label import pipeline
from tfrecords_tools.sources.images import UnlabelledImages
from tfrecords_tools.teachers import About, Predictions
from tfrecords_tools.teachers.frames import InputFrame

SIDE = 48  # of the network's input; smaller than the photos, so that they are resized
EVERY = {name: data for table in (KINDS, OTHERS) for name, (data, _, _) in table.items()}
UNTOUCHED = geometry.Augmentation(flip=False, scale_min=1.0, scale_max=1.0)


class Echo(tf.Module):
    """A network whose probabilities are the pixels of its input."""

    def __call__(self, inputs: Tensors, training: bool = False) -> dict[str, dict[str, Tensors]]:
        """Returns the input as the prediction of classification, which nothing restores."""
        del training
        return {"predictions": {"classification": {"probability": tf.cast(inputs["image"], tf.float32)}}}


@pytest.fixture
def paths(tmp_path: Path) -> str:
    """The pattern of the records of all kinds. Files are named by their place: the content tells what they are."""
    (tmp_path / "files").mkdir()
    for place, data in enumerate(EVERY.values()):
        (tmp_path / "files" / f"{place:03}.png").write_bytes(data)
    result = converted(UnlabelledImages(f"{tmp_path}/files"), tmp_path / "records")
    assert (len(result.records), result.counts()) == (len(EVERY), {})
    return f"{tmp_path}/records/*.tfrecord"


class Watcher:
    """A teacher that sees the records, and adds nothing. `seen` has the pixels of its input by `source_id`."""

    def __init__(self) -> None:
        self.about = About("watcher", ("classification",), "0" * 12, {})
        self.configs: dict[str, TaskConfig] = {}
        self.frame = InputFrame(SIDE, SIDE)
        self.seen: dict[str, np.ndarray] = {}

    def forward(self, pixels: np.ndarray, info: np.ndarray) -> Predictions:
        del info
        return {"pixels": pixels}

    def labels(self, predictions: Predictions, info: np.ndarray, source_id: str, step: int = 1) -> dict[str, Labels]:
        del info
        self.seen[source_id] = predictions["pixels"]
        return {}

    def notes(self, predictions: Predictions) -> list[str]:
        del predictions
        return []


def of_input(batches: tf.data.Dataset) -> np.ndarray:
    """Returns the pixels of the first batch, which has all images."""
    batch: dict[str, Any] = next(iter(batches))
    return np.asarray(batch["image"])


def test_every_kind_has_one_picture_everywhere(paths: str) -> None:
    watcher = Watcher()
    for path in glob.glob(paths):
        assert len(list(pipeline.labelled(path, [watcher], lambda count: None))) == len(EVERY)
    labelled = [pixels for _, pixels in sorted(watcher.seen.items())]
    data = Data(input_path=paths, global_batch_size=len(EVERY), shuffle_buffer=1, augmentation=UNTOUCHED)
    reader = Reader({}, {}, SIDE)
    trained = of_input(input.training(reader, data, input.Start(), None))
    evaluated = of_input(input.evaluation(reader, data, len(EVERY), None))
    config = StudentConfig(input_size=SIDE)
    config.tasks.classification.enabled = True
    served = Server(Echo(), config).signatures()["image_bytes"](image_bytes=tf.constant(list(EVERY.values())))
    seen, status = served["classification/probability"].numpy(), served[STATUS].numpy()
    for place, name in enumerate(EVERY):
        np.testing.assert_array_equal(trained[place], labelled[place], err_msg=f"{name}, training")
        np.testing.assert_array_equal(evaluated[place], labelled[place], err_msg=f"{name}, evaluation")
        assert (status[place] == OK.encode()) == (name in KINDS), name  # a served model reads JPEG and PNG only
        if name in KINDS:
            np.testing.assert_array_equal(seen[place], labelled[place], err_msg=f"{name}, serving")
