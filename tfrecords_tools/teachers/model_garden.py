"""A Model Garden export as a teacher: the SavedModels of official/vision/serving/export_saved_model_lib.py.

| exported for | outputs that are read | labels |
|---|---|---|
| classification | `probs` | classification |
| detection | `detection_boxes`, `_scores`, `_classes`, `num_detections`; `detection_masks` | detection; masks |
| segmentation | `logits` | segmentation |

Any input type will do. The params.yaml that Model Garden writes beside an export tells its input size and how it
resizes; images are resized here in the same way, so that those of one batch have one size and the export's own resizing
changes nothing. What it does not tell are the class names: an adapter file with `model:` and `classes:` does.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from typing import Any

import tensorflow as tf

from must_tf.common.errors import UserError
from must_tf.config import values as config_values
from must_tf.data.geometry import OUTSIDE
from must_tf.tasks import discover
from tfrecords_tools.teachers import About, check_tasks, saved_model
from tfrecords_tools.teachers.frames import Frame
from tfrecords_tools.teachers.names import Names
from tfrecords_tools.teachers.outputs import ClassMap, Distribution, Objects, Output
from tfrecords_tools.teachers.saved_model import Entry, Recipe, Signature
from tfrecords_tools.teachers.trained import facts

LOOKED_FOR = "{path}/saved_model.pb (a Model Garden export)"
SIGNATURE = "serving_default"
BOXES = ("detection_boxes", "detection_scores", "detection_classes", "num_detections")
CENTRE = 0.875  # the side of the square that classification's exports cut out of the shorter side's


def is_here(path: str) -> bool:
    """Whether a SavedModel lies at `path`."""
    return bool(saved_model.folder_of(path))


def describe(
    path: str, tasks: Sequence[str], model: str = "", names: Mapping[str, Names] | None = None, size: Sequence[int] = ()
) -> Recipe:
    """The export's tasks, input and id.

    Args:
      path: as the user named it.
      tasks: to label.
      model: the export's folder, where an adapter file at `path` names it.
      names: of its classes, by task.
      size: of its input [height, width], where it has been exported for another than its params.yaml says.

    Raises:
      UserError: no export of Model Garden's, not for these tasks, or without class names.
    """
    names = names or {}
    folder = saved_model.folder_of(model or path)
    signature = saved_model.read_signature(folder, SIGNATURE)
    params = _params(folder)
    outputs = _outputs(path, signature, params)
    check_tasks(path, tasks, list(outputs), "that export does not label")
    _check_names(path, tasks, names, _named(signature, params, outputs))
    side = [*(size or _get(params, (), "model", "input_size"))[:2]]
    frame = _frame(path, params, outputs, side)
    # Masks need detection's names, and are asked for together with it.
    used = {task: names[_owner(task)] for task in tasks}
    chosen = {task: outputs[task] for task in tasks}
    ((name, (shape, dtype)),) = signature.inputs.items()
    encoding = "tensor" if dtype != tf.string else "example" if signature.parses_examples else "image"
    entry = Entry(name, encoding, dtype.name, max((*shape, -1)[0], 0))
    about = About(path, tuple(tasks), "", {task: one.classes for task, one in used.items()})
    configs = saved_model.configs_of(about, "silog")
    about = about._replace(
        id=saved_model.digest(folder, (frame, entry, sorted(outputs.items()), sorted(names.items()))),
        facts=facts("Model Garden export", None, side, configs),
    )
    return Recipe(about, folder, SIGNATURE, frame, entry, chosen, used, resized="image_info")


def _owner(task: str) -> str:
    """Whose class names a task has."""
    return (*discover()[task].needs, task)[0]


def _outputs(path: str, signature: Signature, params: Mapping[str, Any]) -> dict[str, Output]:
    """By task, what this export can label."""
    found = signature.outputs
    if set(BOXES) <= set(found):
        boxes = Objects(*BOXES, normalised=_get(params, False, "export_config", "output_normalized_coordinates"))
        masks: dict[str, Output] = {"masks": boxes._replace(masks="detection_masks")}
        return {"detection": boxes} | (masks if "detection_masks" in found else {})
    if {"logits", "probs"} <= set(found):
        return {"classification": Distribution("probs", is_logits=False)}
    if {"logits", "image_info"} <= set(found):
        return {"segmentation": ClassMap("logits", is_logits=True)}
    hint = "It was exported without NMS (detection_generator.apply_nms). " if "decoded_boxes" in found else ""
    raise UserError(
        f"{path}: a SavedModel with the outputs {', '.join(found)}, which is no Model Garden export of classification, "
        f"detection or segmentation. {hint}Say in an adapter file what they mean; see experiments/adapters/midas.yaml."
    )


def _params(folder: str) -> dict[str, Any]:
    """`task` of the params.yaml beside the SavedModel or above it; empty where there is none."""
    paths = [os.path.join(one, "params.yaml") for one in (folder, os.path.dirname(folder.rstrip("/")))]
    path = next((one for one in paths if tf.io.gfile.exists(one)), "")
    return dict(config_values.read_yaml(path).get("task") or {}) if path else {}


def _named(signature: Signature, params: Mapping[str, Any], outputs: Mapping[str, Output]) -> int:
    """How many names its classes have; 0: unknown."""
    if "detection" in outputs:
        return max(_get(params, 0, "model", "num_classes") - 1, 0)  # without the background
    return max((-1, *signature.outputs["logits"][0])[-1], 0)


def _check_names(path: str, tasks: Sequence[str], names: Mapping[str, Names], count: int) -> None:
    lacking = [task for task in tasks if _owner(task) not in names]
    if lacking:
        task = _owner(lacking[0])
        raise UserError(
            f"--teacher {lacking[0]}={path}: Model Garden's exports do not know their class names. Write a file "
            f"teacher.yaml with the lines `model: {path}` and `classes: {{{task}: names.txt}}`, in names.txt one name "
            f"a line in the order of the ids ({count or 'all'} names), and give --teacher {lacking[0]}=teacher.yaml"
        )
    for task in tasks:
        given = len(names[_owner(task)].names)
        if count and given != count:
            without = ", without the background" if _owner(task) == "detection" else ""
            raise UserError(
                f"{path}: {given} names in classes.{_owner(task)}, but the model has {count} classes{without}. Where "
                "an id is no class, leave its line empty."
            )


def _frame(path: str, params: Mapping[str, Any], outputs: Mapping[str, Output], size: Sequence[int]) -> Frame:
    """Its input, filled and resized as its own code does."""
    height, width = size or (0, 0)
    if min(height, width) <= 0:
        raise UserError(
            f"{path}: there is no params.yaml beside the SavedModel that tells its input size. Say it in an adapter "
            "file: input: {size: [height, width]}"
        )
    data = _get(params, {}, "train_data")
    if "classification" in outputs:
        if _get(data, False, "is_multilabel"):
            raise UserError(f"{path} is a multi-label classifier; its scores are no distribution over the classes.")
        if not _get(data, True, "aug_crop"):
            return Frame(height, width, "stretch", False)
        side = math.ceil(max(height, width) / CENTRE)
        return Frame(side, side, "centre", False)
    if "segmentation" in outputs:
        red, green, blue = (round(value) for value in _get(data, OUTSIDE, "image_feature", "mean"))
        how = "fit" if _get(data, True, "preserve_aspect_ratio") else "stretch"
        return Frame(height, width, how, False, (red, green, blue))
    how = "fit" if _get(data, True, "parser", "keep_aspect_ratio") else "stretch"
    return Frame(height, width, how, False)


def _get(values: Any, default: Any, *keys: str) -> Any:
    """What stands below these keys; the default where nothing does."""
    for key in keys:
        values = values.get(key) if isinstance(values, Mapping) else None
    return default if values is None else values
