"""Runs the exported files beside the SavedModel: differences, size, speed, and metrics."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from must_tf.data import geometry, record
from must_tf.data import input as input_lib
from must_tf.data.input import Reader
from must_tf.evaluation.evaluator import Evaluator
from must_tf.model.student import StudentConfig
from must_tf.runs.restore import Trained
from must_tf.serving import saved_model, screening
from must_tf.serving.formats import photos as photo_lib
from must_tf.serving.formats import postprocess
from must_tf.serving.formats.differences import Differences
from must_tf.serving.formats.network import Arrays, Runner, above, by_task
from must_tf.serving.formats.photos import Photo, Photos

MEGABYTE = 1e6
METRIC_IMAGES = 500  # of the validation set; both models are measured on the same ones


class Row(NamedTuple):
    """One file, or the SavedModel, for which `differences` is empty."""

    megabytes: float
    milliseconds: float  # of the network for one image, median
    differences: dict[str, float]


def network(model: Any, threshold: float = 0.0) -> Runner:
    """Returns the network of a loaded SavedModel, without the objects below a score."""

    def run(image: np.ndarray, image_shape: np.ndarray) -> Arrays:
        outputs = model.signatures[saved_model.FITTED](image=tf.constant(image), image_shape=tf.constant(image_shape))
        return {name: value.numpy() for name, value in above(outputs, threshold).items()}

    return run


def rows(path: str, model: Any, runners: Mapping[str, Runner], given: Photos, side: int) -> dict[str, Row]:
    """Returns the row of the SavedModel at `path`, named "SavedModel", and of each file beside it."""
    whole = model.signatures["image_bytes"]
    inputs: list[Photo] = []
    differences = {name: Differences() for name in runners}
    for file in given.files[: photo_lib.COMPARED]:
        served = {name: value.numpy()[0] for name, value in whole(image_bytes=tf.constant([file])).items()}
        if served[screening.STATUS] != screening.OK.encode():
            continue
        image, shape, original = photo_lib.fitted(file, side)
        inputs.append((image, shape))
        for name, run in runners.items():
            differences[name].add(postprocess.restore(run(image, shape), original, side), served)
    found = {}
    for name, run in {"SavedModel": network(model), **runners}.items():
        compared = differences[name].result() if name in differences else {}
        found[name] = Row(_bytes(path, name) / MEGABYTE, _milliseconds(run, inputs), compared)
    return found


def _milliseconds(run: Runner, inputs: list[Photo]) -> float:
    """Returns the median time of one image, one file after the other: idle threads of one slow down another."""
    times = []
    for image, shape in [*inputs[:1], *inputs]:  # the first call also prepares
        start = time.perf_counter()
        run(image, shape)
        times.append(1000 * (time.perf_counter() - start))
    return statistics.median(times[1:] or [0.0])


def _bytes(path: str, name: str) -> int:
    """Returns the size of a file in an export, or of its SavedModel."""
    if name != "SavedModel":
        return int(tf.io.gfile.stat(os.path.join(path, name)).length)
    variables = tf.io.gfile.glob(os.path.join(path, "variables", "*"))
    return sum(int(tf.io.gfile.stat(one).length) for one in [os.path.join(path, "saved_model.pb"), *variables])


def metrics(whole: Runner, run: Runner, trained: Trained) -> dict[str, Any]:
    """Measures a file and the SavedModel's network on the same validation images, by the project's metrics.

    Returns:
      {"images": their number, "SavedModel": {"task/metric": value}, "file": the same}; empty without records.
    """
    globs = input_lib.patterns(trained.config.validation_data.input_path)
    paths = {path for glob in globs for path in tf.io.gfile.glob(glob)}
    if not paths:
        return {}
    serialized = list(tf.data.TFRecordDataset(sorted(paths)).take(METRIC_IMAGES).as_numpy_iterator())
    figures = {}
    for name, one in (("SavedModel", whole), ("file", run)):
        print(f"metrics of the {'int8 file' if name == 'file' else name}", flush=True)
        figures[name] = _evaluated(one, trained.config, serialized, trained.step)
    return {"images": len(serialized), **figures} if any(figures.values()) else {}


def _evaluated(run: Runner, config: StudentConfig, serialized: list[bytes], step: int) -> dict[str, float]:
    reader, evaluator = Reader({}, {}, config.input_size), Evaluator(config, len(serialized))
    for index, one in enumerate(serialized):
        image = record.decode_image(tf.io.parse_single_example(one, record.IMAGE_FEATURES)["image/encoded"])
        view = reader.view(image, geometry.fit(tf.shape(image)[:2], config.input_size), tf.constant(index, tf.int64))
        row = {key: value.numpy()[None] for key, value in view.items()}
        predictions = by_task(run(row["image"], row["image_shape"]), config)
        evaluator.add({"index": row["index"], "image_info": row["image_info"], "predictions": predictions})
    return evaluator.finish("", step)
