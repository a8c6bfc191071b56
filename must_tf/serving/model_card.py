"""`MODEL_CARD.md` of an export: training data, teachers, metrics, inputs, outputs and limits of the model."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import tensorflow as tf

from must_tf.common.errors import UserError
from must_tf.data import input as input_lib
from must_tf.data import manifest
from must_tf.evaluation import evaluator
from must_tf.evaluation.evaluator import Evaluation
from must_tf.model.student import StudentConfig, enabled
from must_tf.pseudo_gate import verdict
from must_tf.runs.restore import Trained
from must_tf.serving import memory, saved_model
from must_tf.serving.limits import Limits
from must_tf.serving.saved_model import Settings

NAME = "MODEL_CARD.md"
UNKNOWN = "not recorded"
# What a client must know about an output beside its name. Outputs of other tasks are listed without it.
MEANING = {
    "image/size": "height and width of the image, pixels; 0 if it is not served",
    "image/status": '"ok", or why the image is not served',
    "classification/probability": "probability of each class",
    "detection/boxes": "y0, x0, y1, x1, from 0 to 1",
    "detection/scores": "from 0 to 1, descending",
    "detection/classes": "class ids from 1; 0 after the last object",
    "detection/count": "number of objects",
    "masks/probability": "probability of the object, a grid over its box",
    "masks/png_bytes": "mask of the object, a PNG of the image's size: 255 on the object",
    "segmentation/classes": "class ids from 0",
    "segmentation/confidence": "probability of that class",
    "depth/metres": "depth in metres",
    "depth/inverse_depth": "relative inverse depth, without a unit; larger is nearer",
    "normals/normals": "unit vectors: x right, y down, z forward, pointing at the camera",
}

Outputs = Mapping[str, tf.TensorSpec]


def text(
    trained: Trained, model_dir: str, outputs: Outputs, settings: Settings, peaks: memory.Peaks | None = None
) -> str:
    """Returns the card in Markdown.

    Args:
      trained: the exported model.
      model_dir: its run directory.
      outputs: the signature's outputs by name, with a batch axis.
      settings: of the export.
      peaks: memory of the largest batch, if it was measured.
    """
    config = trained.config
    parts = [
        ["# Model card", "", f"Model `{trained.id}`, step {trained.step} of `{model_dir}`, written by must_tf."],
        ["It predicts " + ", ".join(enabled(config)) + f". Images are fitted into {config.input_size} pixels."],
        _training_data(config),
        _metrics(evaluator.last(model_dir), trained, list(enabled(config))),
        _classes(config),
        _outputs(outputs),
        _limits(outputs, settings, peaks),
    ]
    return "\n\n".join("\n".join(part) for part in parts) + "\n"


def table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> list[str]:
    """Returns a table in Markdown."""
    lines = [[*head], ["---"] * len(head), *([str(cell) for cell in row] for row in rows)]
    return ["| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in line) + " |" for line in lines]


def _training_data(config: StudentConfig) -> list[str]:
    """Returns the record sets with the origins of their labels, and the teachers."""
    patterns = input_lib.patterns(config.train_data.input_path)
    rows: list[tuple[Any, ...]] = []
    teachers: dict[str, Mapping[str, Any]] = {}
    unfit: list[str] = []
    for folder in dict.fromkeys(os.path.dirname(pattern) for pattern in patterns):
        try:
            described = manifest.read(folder)
        except UserError:
            rows.append((f"`{folder}`", UNKNOWN, "", ""))
            continue
        teachers |= described.teachers
        unfit += [f"- `{folder}`, {reasons}" for reasons in verdict.unfit(folder, enabled(config))]
        for task in enabled(config):
            origins = described.origins.get(task, {})
            labels = ", ".join(f"{origin} ({count})" for origin, count in sorted(origins.items()))
            rows.append((f"`{folder}`", described.records, task, labels or "no labels"))
    lines = ["## Training data", ""]
    lines += table(("records", "images", "task", "labels and images that have them"), rows) if rows else [UNKNOWN]
    if not teachers:
        return [*lines, "", "No pseudo labels were used, as far as the records say."]
    if unfit:
        lines += ["", "Pseudo labels that were judged unfit to train on, and used all the same:", "", *unfit]
    lines += ["", "Teachers, which made the labels that begin with `pseudo:`:", ""]
    return lines + table(
        ("teacher", "tasks", "model", "trained on", "licence"), map(_teacher, sorted(teachers.items()))
    )


def _teacher(item: tuple[str, Mapping[str, Any]]) -> tuple[str, ...]:
    """Returns one teacher's row."""
    identity, facts = item
    seen = [f"{task}: {counts['images']} images" for task, counts in (facts.get("trained_on") or {}).items()]
    model = f"{facts.get('kind') or 'model'} `{facts.get('path', '')}`"
    licence = str(facts.get("licence") or facts.get("license") or UNKNOWN)
    return identity, ", ".join(facts.get("tasks", ())), model, "; ".join(seen) or UNKNOWN, licence


def _metrics(evaluation: Evaluation | None, trained: Trained, tasks: Sequence[str]) -> list[str]:
    """Returns the last evaluation's metrics of the exported tasks, each with its protocol."""
    lines = ["## Metrics", ""]
    if evaluation is None:
        return [*lines, "The run was not evaluated."]
    lines.append(f"On {evaluation['images']} images of {', '.join(f'`{name}`' for name in evaluation['set'])}.")
    if evaluation["step"] != trained.step:
        lines.append(f"They are those of step {evaluation['step']}, not of the exported step {trained.step}.")
    rows = []
    for name, value in evaluation["figures"].items():
        task, _, metric = name.partition("/")
        if task in tasks:
            rows.append((task, metric, f"{value:.4g}"))
    lines += ["", *table(("task", "metric", "value"), rows), ""]
    for task in tasks:
        protocol = evaluation["protocol"].get(task, {})
        text = "; ".join(f"{key} {value}" for key, value in protocol.items())
        lines.append(f"- {task}: {text or 'not measured, because none of these images has its labels'}")
    return lines


def _classes(config: StudentConfig) -> list[str]:
    rows = [(name, ", ".join(task.classes)) for name, task in enabled(config).items() if task.classes]
    return ["## Classes", "", *(table(("task", "names in the order of their ids"), rows) if rows else ["None."])]


def _outputs(outputs: Outputs) -> list[str]:
    """Returns the inputs and outputs with shapes and units."""
    rows = []
    for name, spec in sorted(outputs.items()):
        sizes = ["B", *("?" if size is None else str(size) for size in spec.shape[1:])]
        if saved_model.is_map(spec.shape[1:]):
            sizes[1:3] = ["H", "W"]
        rows.append((f"`{name}`", spec.dtype.name, f"[{', '.join(sizes)}]", MEANING.get(name, "")))
    head = (
        "JPEG or PNG files of any size, string [B], as `image_bytes`. H and W are those of the batch's largest image."
    )
    return ["## Input and outputs", "", head, "", *table(("output", "type", "shape", "meaning"), rows)]


def bytes_per_pixel(outputs: Outputs) -> int:
    """Returns the size of all maps of a padded batch, per pixel."""
    maps = [spec for spec in outputs.values() if saved_model.is_map(spec.shape[1:])]
    return sum(spec.dtype.size * int(tf.TensorShape(spec.shape[3:]).num_elements() or 1) for spec in maps)


def _memory(each: int, limits: Limits, peaks: memory.Peaks | None) -> str:
    """Returns the memory of the largest batch, whose outputs have `each` bytes per pixel."""
    maps = f"The maps of the largest batch take {each} bytes per pixel, {each * limits.batch / 1e9:.2f} GB in all."
    if peaks is None:
        return f"{maps} The memory while they are computed was not measured; `must export --measure_memory` does."
    height, width = peaks.size
    return (
        f"{maps} Measured on the exporting machine: a process that serves the model takes {peaks.small / 1e9:.2f} GB, "
        f"and at most {peaks.largest / 1e9:.2f} GB while it predicts the largest batch, {peaks.photos} photos of "
        f"{height} x {width} pixels."
    )


def _limits(outputs: Outputs, settings: Settings, peaks: memory.Peaks | None) -> list[str]:
    limits, each = settings.limits, bytes_per_pixel(outputs)
    return [
        "## Limits",
        "",
        f"- An image may have {limits.image:,} pixels, by its header. Others are not decoded.",
        f"- A batch may have {limits.batch:,} pixels: rows x the largest height x the largest width.",
        f"- {_memory(each, limits, peaks)}",
        f"- Objects with a score below {settings.threshold:g} are left out.",
        "- Predictions are for photos that look like the training data. Nothing else was measured.",
    ]
