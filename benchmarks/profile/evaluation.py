"""Profiles evaluation: the processor time of each part, on the records and detections of the evaluation row."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from benchmarks.data.coco_detections import Image, images, made_up
from benchmarks.rows import coco_evaluation
from must_tf.data import label_reader, record
from must_tf.evaluation.predictions import Restorer
from must_tf.tasks import discover

IMAGES, WARM = 128, 16
READ, RESTORE, RANK = "reading the labels", "restoring the predictions", "ranking"
KEEP, MATCH = "predictions to labels of {task}", "matching {task}"


class _Parts:
    """The parts of `evaluator.Evaluator`, in its order."""

    def __init__(self, glob: str, configs: dict[str, Any]):
        self._configs, self._specs = configs, {name: discover()[name] for name in configs}
        self._records = tf.data.TFRecordDataset(sorted(tf.io.gfile.glob(glob))).as_numpy_iterator()
        self._reader = label_reader.shared(discover(), configs)
        self._restorer = Restorer(self._specs, configs, coco_evaluation.SIZE)
        self._metrics = {name: spec.Metric(configs[name]) for name, spec in self._specs.items()}
        self.seconds: dict[str, float] = defaultdict(float)

    def _timed(self, what: str, call: Callable[..., Any], *given: Any) -> Any:
        start = time.process_time()
        made = call(*given)
        self.seconds[what] += time.process_time() - start
        return made

    def add(self, predictions: Any, image_info: Any) -> None:
        """Measures the next record's image; arguments as for `Restorer.labels`."""
        serialized = self._timed(READ, next, self._records)
        example = self._timed(READ, tf.train.Example.FromString, serialized)
        info, labels = record.info_of(example), self._timed(READ, self._reader.read, serialized, example)
        restored = self._timed(RESTORE, self._restorer.restored, predictions, image_info)
        for task, spec in self._specs.items():
            kept = self._timed(KEEP.format(task=task), spec.keep, restored[task], info, self._configs[task])
            self._timed(MATCH.format(task=task), self._metrics[task].add, labels[task].labels, kept, info)

    def rank(self) -> None:
        """Ranks the detections of all images."""
        for metric in self._metrics.values():
            self._timed(RANK, metric.result)


def parts(glob: str) -> dict[str, float]:
    """Returns the processor milliseconds per image of each part, warm. Called in its own process."""
    configs = coco_evaluation.configs_of(glob)
    found = images(glob, configs)[:IMAGES]
    own, ours = _Parts(glob, configs), coco_evaluation.Ours(glob, configs, len(found))
    for number, image in enumerate(found):
        if number == min(WARM, len(found) - 1):  # everything has been traced by now
            own.seconds.clear()
            first = number
        own.add(*_outputs(ours, image, len(configs["detection"].classes), number))
    own.rank()
    counted = dict.fromkeys(own.seconds, len(found) - first) | {RANK: len(found)}  # ranking covers all images
    return {what: 1000 * spent / counted[what] for what, spent in own.seconds.items()}


def _outputs(ours: coco_evaluation.Ours, image: Image, classes: int, seed: int) -> tuple[Any, Any]:
    """Returns one image's predictions and image_info as NumPy arrays."""
    outputs = tf.nest.map_structure(lambda x: x[0].numpy(), ours.prepared([image], [made_up(image, classes, seed)]))
    return outputs["predictions"], outputs["image_info"]
