"""Measures predictions against the records' labels, on the host, one image at a time, in original coordinates.

Leaves `evaluation.json`, the last evaluation, and `evaluations.jsonl`, a line for each; where a run was interrupted and
measured a step again, the later line counts. Under "figures" is {"task/figure": value}; beside it stand the set, the
images, those labelled per task, figures by class, the classes that no label shows, how was measured ("protocol"), why a
headline is 0 or missing ("reasons"), and where NaN or infinity was predicted ("not_finite").
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow as tf

from must_tf.common import files
from must_tf.common.errors import UserError
from must_tf.common.finite import Diverged, check_labels
from must_tf.common.progress import Progress
from must_tf.data import input as input_lib
from must_tf.data import label_reader, record
from must_tf.evaluation.predictions import Restorer
from must_tf.shared import picture_grid
from must_tf.shared.why_zero import listed
from must_tf.spec import Details, ImageInfo, judged
from must_tf.tasks import discover

LAST = "evaluation.json"
HISTORY = "evaluations.jsonl"


class Evaluator:
    """Collects one pass over the validation set.

    Labels never travel through the device: the batches carry the images' places in the set, and the records are
    read along with them here. Memory is flat but for what a metric keeps.
    """

    def __init__(self, config: Any, count: int):
        self._configs = {
            name: getattr(config.tasks, name) for name in discover() if getattr(config.tasks, name).enabled
        }
        self._specs = {name: discover()[name] for name in self._configs}
        self._restorer = Restorer(self._specs, self._configs, config.input_size)
        self._metrics = {name: spec.Metric(self._configs[name]) for name, spec in self._specs.items()}
        self._labelled = dict.fromkeys(self._specs, 0)
        self._pseudo = dict.fromkeys(self._specs, 0)
        self._diverged = Diverged()
        self._set = set_of(config)
        self._records = _numbered_records(config.validation_data.input_path)
        self._reader = label_reader.shared(discover(), self._configs)
        self._count, self._seen = count, 0
        self._rows: list[picture_grid.Row] = []
        # Spread over the set, so that every united set is seen.
        self._drawn = set(np.linspace(0, count - 1, min(config.pictures, count)).astype(int).tolist())
        self._progress = Progress(count, "evaluate")

    def add(self, step_outputs: dict[str, Any]) -> None:
        """Measures one step's outputs: tuples with one entry per replica, or plain tensors."""
        merged = tf.nest.map_structure(_to_numpy, _replicas_merged(step_outputs))
        order = np.argsort(merged["index"], kind="stable")
        for row in order[merged["index"][order] >= 0]:
            predictions = tf.nest.map_structure(lambda x, row=row: x[row], merged["predictions"])
            self._measure(int(merged["index"][row]), merged["image_info"][row], predictions)

    def _measure(self, index: int, image_info: np.ndarray, predictions: Any) -> None:
        end = (self._count, b"")
        number, serialized = next(self._records, end)
        while number < index:  # another worker's image
            number, serialized = next(self._records, end)
        if number != index:
            raise RuntimeError(f"image {index} was evaluated twice or out of order")
        example = tf.train.Example.FromString(serialized)
        info = record.info_of(example)
        labelled = self._reader.read(serialized, example)
        self._diverged.look(predictions, info.source_id)
        kept = self._restorer.labels(predictions, image_info, info.source_id)
        for name, one in labelled.items():
            if record.is_pseudo(one.origin):  # a teacher's opinion is not the truth
                self._pseudo[name] += 1
                continue
            check_labels(name, one.labels, info.source_id)
            self._metrics[name].add(one.labels, judged(self._specs[name], kept[name], one.annotated), info)
            self._labelled[name] += 1
        if index in self._drawn:
            self._draw(serialized, info, {name: one.labels for name, one in labelled.items()}, kept)
        self._seen += 1
        self._progress.advance()

    def _draw(self, serialized: bytes, info: ImageInfo, labels: Any, kept: Any) -> None:
        example = tf.train.Example.FromString(serialized)
        image = record.decode_image(example.features.feature["image/encoded"].bytes_list.value[0]).numpy()
        self._rows.append(picture_grid.Row(image, labels, kept, info.source_id))

    def finish(self, directory: str, step: int) -> dict[str, float]:
        """The figures as {"task/figure": value}. Writes evaluation.json, the pictures, and their TensorBoard image."""
        self._progress.close()
        if self._seen != self._count:
            raise UserError(
                f"evaluation saw {self._seen} of {self._count} images that the manifest counts; the record files were "
                "changed after they were written. Convert them again."
            )
        evaluation = self._measured(step)
        if directory:
            self._write(directory, evaluation)
        self._print(evaluation)
        return evaluation["figures"]

    def _measured(self, step: int) -> dict[str, Any]:
        """The content of evaluation.json."""
        figures: dict[str, float] = {}
        details: dict[str, Details] = {}
        for name, metric in self._metrics.items():
            if self._labelled[name]:
                figures |= {f"{name}/{key}": float(value) for key, value in metric.result().items()}
                details[name] = metric.details() if hasattr(metric, "details") else Details({})
        reasons = {name: one.reason for name, one in details.items() if one.reason}
        return {
            "step": step,
            "set": self._set,
            "images": self._seen,
            "labelled": self._labelled,
            "figures": figures,
            "classes": {name: one.classes for name, one in details.items() if one.classes},
            "absent": {name: list(one.absent) for name, one in details.items() if one.absent},
            "protocol": {name: one.protocol for name, one in details.items()},
            "reasons": reasons | {name: "no labels in the set" for name in self._specs if not self._labelled[name]},
            "not_finite": self._diverged.found,
        }

    def _print(self, evaluation: dict[str, Any]) -> None:
        print(f"evaluated {self._seen} of {self._count} images at step {evaluation['step']}", flush=True)
        for name, spec in self._specs.items():
            value = evaluation["figures"].get(f"{name}/{spec.Metric.headline}")
            shown = f"no {spec.Metric.headline}" if value is None else f"{spec.Metric.headline} {value:.4f}"
            passed = f", {self._pseudo[name]} with pseudo labels left out" if self._pseudo[name] else ""
            print(f"  {name:<16}{shown}   ({self._labelled[name]} labelled images{passed})", flush=True)
            absent = evaluation["absent"].get(name, ())
            beside = (
                evaluation["reasons"].get(name, ""),
                self._diverged.line(name),
                f"no label in the set, so in no mean ({len(absent)}): {listed(absent, 8)}" if absent else "",
            )
            for line in filter(None, beside):
                print(f"  {'':<16}{line}", flush=True)

    def _write(self, directory: str, evaluation: dict[str, Any]) -> None:
        step = evaluation["step"]
        files.append_json_line(os.path.join(directory, HISTORY), evaluation)
        files.write_json(os.path.join(directory, LAST), evaluation)
        if not self._rows:
            return
        drawers = {name: picture_grid.Drawer(spec.draw, self._configs[name]) for name, spec in self._specs.items()}
        picture = picture_grid.grid(self._rows, drawers)
        picture_grid.save_png(os.path.join(directory, "pictures", f"step-{step:07d}.png"), picture)
        writer = tf.summary.create_file_writer(os.path.join(directory, "validation"))
        picture_grid.tensorboard_image(writer, "predictions", picture, step)


def set_of(config: Any) -> list[str]:
    """The validation set as evaluation.json names it."""
    return [str(path) for path in tf.nest.flatten(config.validation_data.input_path)]


def _numbered_records(input_path: Any) -> Iterator[tuple[int, bytes]]:
    """Every record with its place, in the order of `data.input.evaluation`."""
    paths = input_lib.files(input_path, "task.validation_data.input_path")
    dataset = record.untuned(tf.data.TFRecordDataset(paths).enumerate())
    for number, serialized in dataset.as_numpy_iterator():
        yield int(number), serialized


def _replicas_merged(outputs: Any) -> Any:
    """Tuples of one tensor per replica -> one tensor with all rows."""
    if isinstance(outputs, dict):
        return {key: _replicas_merged(value) for key, value in outputs.items()}
    return tf.concat(outputs, axis=0) if isinstance(outputs, tuple) else outputs


def _to_numpy(value: Any) -> np.ndarray:
    return value.numpy() if hasattr(value, "numpy") else np.asarray(value)
