"""Measures predictions against the records' labels, on the host, one image at a time, in original coordinates.

Writes `evaluation.json`, the last evaluation, and adds it to `evaluations.jsonl`, one line per evaluation. If a run was
interrupted and measured a step again, the later line counts. `Evaluation` describes their content.
"""

from __future__ import annotations

import os
import pickle
from collections.abc import Iterator, Sequence
from typing import Any, TypedDict, cast

import numpy as np
import tensorflow as tf

from must_tf.common import cluster, files, run_files
from must_tf.common.errors import UserError
from must_tf.common.finite import NonFinitePredictions, check_labels
from must_tf.common.progress import Progress
from must_tf.common.text import listed
from must_tf.data import input as input_lib
from must_tf.data import label_reader, opening, record
from must_tf.evaluation.predictions import Arrays, Restorer
from must_tf.model.student import StudentConfig, enabled
from must_tf.shared import picture_grid
from must_tf.spec import Details, ImageInfo, Labels, TaskMetric, judged
from must_tf.tasks import discover

ABSENT_SHOWN = 8  # absent classes named on the terminal; evaluation.json has all

READ = ("step", "figures")  # keys that every evaluation has


class Evaluation(TypedDict):
    """The content of evaluation.json. Dicts are keyed by task unless stated otherwise."""

    step: int
    set: list[str]  # the validation set's globs
    images: int
    labelled: dict[str, int]  # images with real labels
    figures: dict[str, float]  # "task/metric" -> value
    classes: dict[str, dict[str, dict[str, float]]]  # metric -> class -> value
    absent: dict[str, list[str]]  # classes without any label in the set; left out of averages
    protocol: dict[str, dict[str, Any]]  # how the task was measured: alignment, cap, crop
    reasons: dict[str, str]  # why a headline metric is 0 or missing
    not_finite: dict[str, dict[str, Any]]  # images with NaN or infinity among the predictions


def read(path: str) -> Evaluation:
    """Reads one evaluation from a JSON file. Raises UserError if it is damaged."""
    return _checked(files.read_json(path, READ), path)


def _checked(content: dict[str, Any], where: str) -> Evaluation:
    files.require_numbers(content, "figures", where)
    if not isinstance(content["step"], int):
        raise UserError(f"{where} is damaged: step is not a whole number. {files.WRITE_AGAIN}")
    return cast(Evaluation, content)


def last(model_dir: str) -> Evaluation | None:
    """Returns the run's last evaluation, or None before the first."""
    path = os.path.join(model_dir, run_files.EVALUATION)
    return read(path) if tf.io.gfile.exists(path) else None


def history(model_dir: str) -> list[Evaluation]:
    """Returns all evaluations of a run, oldest first."""
    path = os.path.join(model_dir, run_files.EVALUATIONS)
    if not tf.io.gfile.exists(path):
        return []
    with tf.io.gfile.GFile(path, "rb") as file:
        lines = file.read().splitlines()
    named = ((f"{path}: line {number}", line) for number, line in enumerate(lines, 1))
    return [_checked(files.parse_json(line, where, READ, "Remove that line."), where) for where, line in named]


def set_of(validation_data: input_lib.Data) -> list[str]:
    """Returns the validation set as evaluation.json names it."""
    return [str(path) for path in tf.nest.flatten(validation_data.input_path)]


class _Measured:
    """Metrics, counts and pictures of one part of a validation set."""

    def __init__(self, metrics: dict[str, TaskMetric]):
        self.metrics = metrics
        self.labelled = dict.fromkeys(metrics, 0)  # images by task
        self.pseudo = dict.fromkeys(metrics, 0)
        self.non_finite = NonFinitePredictions()
        self.seen = 0
        self.rows: list[picture_grid.GridRow] = []

    def merge(self, later: _Measured) -> None:
        """Adds the images of another part of the set, which come after its own."""
        for name, metric in self.metrics.items():
            metric.merge(later.metrics[name])
            self.labelled[name] += later.labelled[name]
            self.pseudo[name] += later.pseudo[name]
        self.non_finite.merge(later.non_finite)
        self.seen += later.seen
        self.rows += later.rows


class Evaluator:
    """Collects one pass over the validation set.

    Labels never travel through the device: batches carry each image's index in the set, and the records are read
    alongside here. Memory does not grow with the set, except for what a metric keeps.

    Each of several processes measures one part of the set. Finally all of them have all parts and compute the same.
    """

    def __init__(self, config: StudentConfig, count: int):
        """`count` is the number of images in the validation set."""
        self._configs = enabled(config)
        self._specs = {name: discover()[name] for name in self._configs}
        self._restorer = Restorer(self._specs, self._configs, config.input_size)
        self._measured = _Measured({name: spec.Metric(self._configs[name]) for name, spec in self._specs.items()})
        self._set = set_of(config.validation_data)
        self._records = _numbered_records(config.validation_data.input_path)
        self._reader = label_reader.shared(discover(), self._configs)
        self._count = count
        # Spread over the set, so that the pictures show every record set if several are joined.
        self._drawn = set(np.linspace(0, count - 1, min(config.pictures, count)).astype(int).tolist())
        self._progress = Progress(-(-count // cluster.processes()), "evaluate")

    def add(self, step_outputs: dict[str, Any]) -> None:
        """Measures one step's outputs: tuples with one entry per replica, or plain tensors."""
        merged = tf.nest.map_structure(np.asarray, _replicas_merged(step_outputs))
        order = np.argsort(merged["index"], kind="stable")
        for row in order[merged["index"][order] >= 0]:
            predictions = tf.nest.map_structure(lambda x, row=row: x[row], merged["predictions"])
            self._add_image(int(merged["index"][row]), merged["image_info"][row], predictions)

    def _add_image(self, index: int, image_info: np.ndarray, predictions: dict[str, Arrays]) -> None:
        measured, serialized = self._measured, self._record(index)
        example = opening.parsed(serialized)
        info = record.info_of(example)
        try:
            labelled = self._reader.read(serialized, example)
        except opening.BadRecord as error:
            raise UserError(f"record {index}, image {info.source_id!r}: {error}") from None
        measured.non_finite.add(predictions, info.source_id)
        kept = self._restorer.labels(predictions, image_info, info.source_id)
        for name, label in labelled.items():
            if record.is_pseudo(label.origin):  # pseudo labels are never used as ground truth
                measured.pseudo[name] += 1
                continue
            check_labels(name, label.labels, info.source_id)
            spec, truth = self._specs[name], label.labels
            if "boxes" in truth:  # LVIS has objects of classes of which others may be missing
                truth = judged(spec, truth, label.annotated)
            measured.metrics[name].add(truth, judged(spec, kept[name], label.annotated), info)
            measured.labelled[name] += 1
        if index in self._drawn:
            self._draw(serialized, info, {name: label.labels for name, label in labelled.items()}, kept)
        measured.seen += 1
        self._progress.advance()

    def _record(self, index: int) -> bytes:
        """Returns the record at `index`, skipping those that other workers evaluate."""
        end = (self._count, b"")
        number, serialized = next(self._records, end)
        while number < index:
            number, serialized = next(self._records, end)
        if number != index:
            raise RuntimeError(f"image {index} was evaluated twice or out of order")
        return serialized

    def _draw(self, serialized: bytes, info: ImageInfo, labels: dict[str, Labels], kept: dict[str, Labels]) -> None:
        example = tf.train.Example.FromString(serialized)
        image = record.decode_image(example.features.feature["image/encoded"].bytes_list.value[0]).numpy()
        self._measured.rows.append(picture_grid.GridRow(image, labels, kept, info.source_id))

    def finish(self, directory: str, step: int) -> dict[str, float]:
        """Returns the metrics as {"task/metric": value}.

        Writes evaluation.json, evaluations.jsonl, the picture, and its TensorBoard image, unless `directory` is empty.
        """
        self._progress.close()
        self._unite()
        if self._measured.seen != self._count:
            raise UserError(
                f"evaluation read {self._measured.seen} images, but the manifest counts {self._count}: the record "
                "files have changed since they were written. Convert them again."
            )
        evaluation = self._evaluation(step)
        if directory:
            self._write(directory, evaluation)
        self._print(evaluation)
        return evaluation["figures"]

    def _unite(self) -> None:
        """Adds what the other processes measured."""
        if cluster.processes() == 1:
            return
        # A worker of this training is trusted like this process: it runs the same code on the same weights.
        parts = [pickle.loads(part) for part in cluster.gathered(pickle.dumps(self._measured))]
        self._measured = parts[0]
        for part in parts[1:]:
            self._measured.merge(part)

    def _evaluation(self, step: int) -> Evaluation:
        measured = self._measured
        figures: dict[str, float] = {}
        details: dict[str, Details] = {}
        for name, metric in measured.metrics.items():
            if measured.labelled[name]:
                figures |= {f"{name}/{key}": float(value) for key, value in metric.result().items()}
                details[name] = metric.details() if hasattr(metric, "details") else Details({})
        reasons = {name: detail.reason for name, detail in details.items() if detail.reason}
        return {
            "step": step,
            "set": self._set,
            "images": measured.seen,
            "labelled": measured.labelled,
            "figures": figures,
            "classes": {name: detail.classes for name, detail in details.items() if detail.classes},
            "absent": {name: list(detail.absent) for name, detail in details.items() if detail.absent},
            "protocol": {name: detail.protocol for name, detail in details.items()},
            "reasons": reasons | {name: "no labels in the set" for name in self._specs if not measured.labelled[name]},
            "not_finite": measured.non_finite.counts,
        }

    def _print(self, evaluation: Evaluation) -> None:
        measured = self._measured
        print(f"evaluated {measured.seen} of {self._count} images at step {evaluation['step']}", flush=True)
        for name, spec in self._specs.items():
            headline = spec.Metric.headline
            value = evaluation["figures"].get(f"{name}/{headline}")
            shown = f"no {headline}" if value is None else f"{headline} {value:.4f}"
            skipped = f", {measured.pseudo[name]} with pseudo labels left out" if measured.pseudo[name] else ""
            print(f"  {name:<16}{shown}   ({measured.labelled[name]} labelled images{skipped})", flush=True)
            for remark in filter(None, self._remarks(name, evaluation)):
                print(f"  {'':<16}{remark}", flush=True)

    def _remarks(self, name: str, evaluation: Evaluation) -> tuple[str, ...]:
        """Returns what qualifies a task's metric, a line each; some may be empty."""
        absent = evaluation["absent"].get(name, [])
        classes = f"classes without labels in the set, left out of averages ({len(absent)}): "
        return (
            evaluation["reasons"].get(name, ""),
            self._measured.non_finite.line(name),
            classes + listed(absent, ABSENT_SHOWN) if absent else "",
        )

    def _write(self, directory: str, evaluation: Evaluation) -> None:
        step = evaluation["step"]
        files.append_json_line(os.path.join(directory, run_files.EVALUATIONS), evaluation)
        files.write_json(os.path.join(directory, run_files.EVALUATION), evaluation)
        if not self._measured.rows:
            return
        drawers = {name: picture_grid.Drawer(spec.draw, self._configs[name]) for name, spec in self._specs.items()}
        picture = picture_grid.grid(self._measured.rows, drawers)
        path = os.path.join(directory, run_files.PICTURES, f"{run_files.step_name(step)}.png")
        file = picture_grid.save_png(path, picture)
        writer = tf.summary.create_file_writer(os.path.join(directory, run_files.VALIDATION))
        picture_grid.tensorboard_image(writer, "predictions", file, picture.shape[:2], step)


def _numbered_records(input_path: str | Sequence[str]) -> Iterator[tuple[int, bytes]]:
    """Yields every record with its index, in the order of `data.input.evaluation`."""
    paths = input_lib.files(input_path, "task.validation_data.input_path")
    dataset = record.without_autotune(tf.data.TFRecordDataset(paths).enumerate())
    for number, serialized in dataset.as_numpy_iterator():
        yield int(number), serialized


def _replicas_merged(outputs: Any) -> Any:
    """Concatenates tuples of one tensor per replica to one tensor with all rows."""
    if isinstance(outputs, dict):
        return {key: _replicas_merged(value) for key, value in outputs.items()}
    return tf.concat(outputs, axis=0) if isinstance(outputs, tuple) else outputs
