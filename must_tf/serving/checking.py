"""Compares an export with evaluation: the same validation images through both."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from must_tf.common.errors import UserError
from must_tf.data import geometry, record
from must_tf.data import input as input_lib
from must_tf.data.input import Reader
from must_tf.evaluation.predictions import Restorer
from must_tf.model.student import enabled
from must_tf.runs.restore import Trained
from must_tf.serving import objects, screening
from must_tf.serving.saved_model import Settings
from must_tf.tasks import discover

IMAGES = 16  # that are compared
LARGEST = 1e-3  # difference of real numbers, relative to those above 1
SHARE = 2e-3  # of whole numbers, such as class ids, that may differ: at equal probabilities, rounding decides

Arrays = dict[str, np.ndarray]


class Difference(NamedTuple):
    """The largest difference of an output: of its numbers, or, for whole numbers, the share that differs."""

    name: str
    value: float
    limit: float


def run(path: str, trained: Trained, settings: Settings) -> str:
    """Compares the export at `path` with the model that it was made of. Returns a table.

    Raises:
      UserError: there are no validation images, or a difference is above its limit.
    """
    paths = input_lib.files(trained.config.validation_data.input_path, "task.validation_data.input_path")
    serialized = list(tf.data.TFRecordDataset(paths).take(IMAGES).as_numpy_iterator())
    worst: dict[str, Difference] = {}
    served = tf.saved_model.load(path).signatures["tf_example"]
    for one, expected in zip(serialized, _evaluated(serialized, trained), strict=True):
        outputs = {name: value[0].numpy() for name, value in served(tf_example=tf.constant([one])).items()}
        status = outputs[screening.STATUS].decode()
        if status != "ok":
            raise UserError(f"--check: the export does not serve a validation image: {status}.")
        for found in compared(outputs, expected, settings.threshold):
            if found.name not in worst or not found.value <= worst[found.name].value:
                worst[found.name] = found
    lines = [f"  {name:<28}{one.value:.2g} (limit {one.limit:g})" for name, one in sorted(worst.items())]
    differences = f"on {len(serialized)} validation images, the largest differences:\n" + "\n".join(lines)
    if any(not one.value <= one.limit for one in worst.values()):
        raise UserError(f"the export differs from evaluation, so nothing was written; {differences}")
    return f"compared with evaluation {differences}"


def _evaluated(serialized: list[bytes], trained: Trained) -> Iterator[Arrays]:
    """Yields the predictions of evaluation in the frame of each image, by <task>/<name>."""
    configs, size = enabled(trained.config), trained.config.input_size
    specs = {name: discover()[name] for name in configs}
    reader, restorer = Reader(specs, {}, size), Restorer(specs, configs, size)
    forward = tf.function(lambda batch: trained.model(batch, training=False)["predictions"], reduce_retracing=True)
    for one in serialized:
        parsed = tf.io.parse_single_example(one, record.IMAGE_FEATURES)
        image = record.decode_image(parsed["image/encoded"])
        view = reader.view(image, geometry.fit(tf.shape(image)[:2], size), tf.constant(0, tf.int64))
        batch = {key: view[key][None] for key in ("image", "image_shape")}
        predicted = tf.nest.map_structure(lambda x: x[0].numpy(), forward(batch))
        restored = restorer.restored(predicted, view["image_info"].numpy())
        yield {f"{task}/{key}": value for task, values in restored.items() for key, value in values.items()}


def compared(
    outputs: Mapping[str, np.ndarray], expected: Mapping[str, np.ndarray], threshold: float
) -> list[Difference]:
    """Compares the outputs for one image with those of evaluation. Masks of the image's size are not compared.

    Args:
      outputs: of the export, by <task>/<name>.
      expected: of evaluation.
      threshold: the export's lowest score of objects.
    """
    found = []
    count = None
    if objects.SCORES in expected:
        is_above = expected[objects.SCORES][: expected[objects.COUNT]] >= threshold
        count = int(np.count_nonzero(is_above))
    for name in sorted(expected.keys() & outputs.keys()):
        value, wanted = outputs[name], expected[name]
        if name == objects.COUNT:
            value, wanted = value[None], np.array([count])
        elif name in (objects.BOXES, objects.CLASSES, objects.SCORES, objects.GRIDS):
            value, wanted = value[:count], wanted[:count]
        found.append(_difference(name, value, wanted))
    return found


def _difference(name: str, value: np.ndarray, wanted: np.ndarray) -> Difference:
    limit = SHARE if np.issubdtype(wanted.dtype, np.integer) else LARGEST
    if value.shape != wanted.shape:
        return Difference(name, float("inf"), limit)
    if not value.size:
        return Difference(name, 0.0, limit)
    if np.issubdtype(wanted.dtype, np.integer):
        return Difference(name, float(np.mean(value != wanted)), limit)
    return Difference(name, float(np.max(np.abs(value - wanted) / np.maximum(np.abs(wanted), 1.0))), limit)
