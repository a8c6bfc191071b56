"""A Model Garden export as a teacher: the SavedModels of official/vision/serving/export_saved_model_lib.py.

| exported for | outputs that are read | labels |
|---|---|---|
| classification | `probs` | classification |
| detection | `detection_boxes`, `_scores`, `_classes`, `num_detections`; `detection_masks` | detection; masks |
| segmentation | `logits` | segmentation |

Any input type is supported. The params.yaml that Model Garden writes beside an export tells the input size and how the
export resizes. Images are resized here in the same way, so that all images of a batch have one size and the export's
own resizing changes nothing. Class names are not part of an export; an adapter file with `model:` and `classes:` gives
them.
"""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Mapping, Sequence
from typing import Any

import tensorflow as tf

from must_tf.common.errors import UserError
from must_tf.config import values as config_values
from must_tf.data.geometry import OUTSIDE
from must_tf.tasks import naming_task
from tfrecords_tools.teachers import About, check_tasks, foreign, saved_model
from tfrecords_tools.teachers.detections import DetectedObjects
from tfrecords_tools.teachers.frames import InputFrame
from tfrecords_tools.teachers.names import ClassNames
from tfrecords_tools.teachers.outputs import ClassMap, Distribution, Output
from tfrecords_tools.teachers.recipe import InputFormat, Recipe, Signature, teacher_id
from tfrecords_tools.teachers.trained import facts

LOOKED_FOR = "{path}/saved_model.pb (a Model Garden export)"
SIGNATURE = "serving_default"
BOXES = ("detection_boxes", "detection_scores", "detection_classes", "num_detections")
CENTRE = 0.875  # classification exports crop a centred square of this share of the shorter side


def is_here(path: str) -> bool:
    """Returns True if there is a SavedModel at `path`."""
    return bool(saved_model.find(path))


def describe(path: str, tasks: Sequence[str]) -> foreign.Foreign:
    """Describes the export.

    Raises:
      UserError: as in `recipe`. An export without an adapter file has no class names.
    """
    return foreign.Foreign(recipe(path, tasks))


def recipe(
    path: str,
    tasks: Sequence[str],
    model: str = "",
    names: Mapping[str, ClassNames] | None = None,
    size: Sequence[int] = (),
) -> Recipe:
    """Returns how to label with the export.

    Args:
      path: as the user wrote it.
      tasks: to label.
      model: the export's folder, if `path` is an adapter file.
      names: of its classes, by task.
      size: of its input [height, width], if it was exported for another size than its params.yaml says.

    Raises:
      UserError: it is not a Model Garden export, is not for these tasks, or has no class names.
    """
    names = names or {}
    folder = saved_model.find(model or path)
    signature = saved_model.read_signature(folder, SIGNATURE)
    params = _params(folder)
    outputs = _outputs(path, signature, params)
    check_tasks(path, tasks, list(outputs), "Model Garden export")
    _check_names(path, tasks, names, _name_count(signature, params, outputs))
    height_width = [*(size or _get(params, (), "model", "input_size"))[:2]]
    frame = _frame(path, params, outputs, height_width)
    # Masks are never asked for without detection, whose names they use.
    used = {task: names[naming_task(task)] for task in tasks}
    chosen = {task: outputs[task] for task in tasks}
    ((name, (shape, dtype)),) = signature.inputs.items()
    encoding = "tensor" if dtype != tf.string else "example" if signature.parses_examples else "image"
    pixels = InputFormat(name, encoding, dtype.name, max((*shape, -1)[0], 0))
    about = About(path, tuple(tasks), "", {task: task_names.classes for task, task_names in used.items()})
    configs = foreign.configs_of(about, "silog")
    about = about._replace(
        id=teacher_id(folder, (frame, pixels, sorted(outputs.items()), sorted(names.items()))),
        facts=facts("Model Garden export", None, height_width, configs),
    )
    return Recipe(about, folder, SIGNATURE, frame, pixels, chosen, used, resize_output="image_info")


def _outputs(path: str, signature: Signature, params: Mapping[str, Any]) -> dict[str, Output]:
    """Returns what this export can label, by task."""
    names = set(signature.outputs)
    if set(BOXES) <= names:
        boxes = DetectedObjects(
            *BOXES, normalised=_get(params, False, "export_config", "output_normalized_coordinates")
        )
        masks: dict[str, Output] = {"masks": dataclasses.replace(boxes, masks="detection_masks")}
        return {"detection": boxes} | (masks if "detection_masks" in names else {})
    if {"logits", "probs"} <= names:
        return {"classification": Distribution("probs", is_logits=False)}
    if {"logits", "image_info"} <= names:
        return {"segmentation": ClassMap("logits", is_logits=True)}
    hint = "It was exported without NMS (detection_generator.apply_nms). " if "decoded_boxes" in names else ""
    raise UserError(
        f"{path}: not a Model Garden export of classification, detection or segmentation; its outputs are "
        f"{', '.join(signature.outputs)}. {hint}Describe them in an adapter file, like experiments/adapters/midas.yaml."
    )


def _params(folder: str) -> dict[str, Any]:
    """Returns `task` of the params.yaml beside or above the SavedModel; empty if there is no such file."""
    paths = [os.path.join(parent, "params.yaml") for parent in (folder, os.path.dirname(folder.rstrip("/")))]
    path = next((path for path in paths if tf.io.gfile.exists(path)), "")
    return dict(config_values.read_yaml(path).get("task") or {}) if path else {}


def _name_count(signature: Signature, params: Mapping[str, Any], outputs: Mapping[str, Output]) -> int:
    """Returns how many class names the export needs; 0 if unknown."""
    if "detection" in outputs:
        return max(_get(params, 0, "model", "num_classes") - 1, 0)  # without the background
    return max((-1, *signature.outputs["logits"][0])[-1], 0)


def _check_names(path: str, tasks: Sequence[str], names: Mapping[str, ClassNames], count: int) -> None:
    lacking = [task for task in tasks if naming_task(task) not in names]
    if lacking:
        task = naming_task(lacking[0])
        raise UserError(
            f"--teacher {lacking[0]}={path}: a Model Garden export has no class names. Write teacher.yaml with the "
            f"lines `model: {path}` and `classes: {{{task}: names.txt}}`, write {count or 'all'} names into names.txt, "
            f"one per line in id order, and use --teacher {lacking[0]}=teacher.yaml."
        )
    for task in tasks:
        name_count = len(names[naming_task(task)].names)
        if count and name_count != count:
            without = " (without the background)" if naming_task(task) == "detection" else ""
            raise UserError(
                f"{path}: classes.{naming_task(task)} has {name_count} names, but the model has {count} "
                f'classes{without}. Name every id; use "" for one that is not a class.'
            )


def _frame(path: str, params: Mapping[str, Any], outputs: Mapping[str, Output], size: Sequence[int]) -> InputFrame:
    """Returns the input's frame, filled and resized as the export's own code would."""
    height, width = size or (0, 0)
    if min(height, width) <= 0:
        raise UserError(
            f"{path}: the input size is unknown, because there is no params.yaml beside the SavedModel. Write it into "
            "an adapter file: `input: {size: [height, width]}`."
        )
    data = _get(params, {}, "train_data")
    if "classification" in outputs:
        if _get(data, False, "is_multilabel"):
            raise UserError(
                f"{path}: multi-label classifiers are not supported, because their scores are not a distribution "
                "over the classes."
            )
        if not _get(data, True, "aug_crop"):
            return InputFrame(height, width, "stretch", False)
        side = math.ceil(max(height, width) / CENTRE)
        return InputFrame(side, side, "centre", False)
    if "segmentation" in outputs:
        red, green, blue = (round(value) for value in _get(data, OUTSIDE, "image_feature", "mean"))
        how = "fit" if _get(data, True, "preserve_aspect_ratio") else "stretch"
        return InputFrame(height, width, how, False, (red, green, blue))
    how = "fit" if _get(data, True, "parser", "keep_aspect_ratio") else "stretch"
    return InputFrame(height, width, how, False)


def _get(values: Any, default: Any, *keys: str) -> Any:
    """Returns the value below these keys, or the default."""
    for key in keys:
        values = values.get(key) if isinstance(values, Mapping) else None
    return default if values is None else values
