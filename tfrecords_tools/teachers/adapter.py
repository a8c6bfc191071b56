"""Any SavedModel as a teacher, described by an adapter file: `--teacher depth=midas.yaml`. See `adapter_file.py`."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import tensorflow as tf

from must_tf.common.errors import Mistakes, UserError, nearest
from must_tf.config import values as config_values
from must_tf.spec import first_id
from must_tf.tasks import discover
from tfrecords_tools.teachers import About, adapter_file, check_classes, check_tasks, model_garden, saved_model
from tfrecords_tools.teachers.adapter_file import AdapterFile
from tfrecords_tools.teachers.frames import InputFrame
from tfrecords_tools.teachers.names import ClassNames, naming_task, read_names
from tfrecords_tools.teachers.outputs import ClassMap, DepthMap, DetectedObjects, Distribution, NormalMap, Output
from tfrecords_tools.teachers.saved_model import InputFormat, Recipe, Shape, Signature
from tfrecords_tools.teachers.trained import facts

LOOKED_FOR = "a file that ends in .yaml (an adapter)"


def is_here(path: str) -> bool:
    """Returns True if `path` is an adapter file."""
    return path.endswith((".yaml", ".yml")) and bool(tf.io.gfile.exists(path))


def describe(path: str, tasks: Sequence[str]) -> Recipe:
    """Describes the teacher of an adapter file.

    Raises:
      UserError: everything that is wrong with the file, or that it does not label these tasks.
    """
    values = config_values.read_yaml(path)
    adapter = AdapterFile()
    config_values.apply(adapter, values, path)
    mistakes = Mistakes()
    folder = _folder(path, adapter, mistakes)
    names = _names(path, adapter, mistakes)
    mistakes.raise_all()
    if "outputs" not in values:
        _check_without_outputs(path, values)
        return model_garden.describe(path, tasks, _beside(path, adapter.model), names, adapter.input.size)
    signature = saved_model.read_signature(folder, adapter.signature)
    pixels = _input_format(path, adapter, signature, mistakes)
    frame = _frame(path, adapter, signature, pixels, mistakes)
    outputs = _outputs(path, adapter, list(values["outputs"] or ()), signature, mistakes)
    mistakes.raise_all()
    check_tasks(path, tasks, list(outputs), "adapter")
    chosen = {task: outputs[task] for task in tasks}
    used = {
        task: names[naming_task(task)] for task in tasks if discover()[task].class_ids and naming_task(task) in names
    }
    _check_names(path, chosen, used, signature)
    about = About(path, tuple(tasks), "", {})
    return _recipe(Recipe(about, folder, signature.name, frame, pixels, chosen, used), outputs, names)


def _folder(path: str, adapter: AdapterFile, mistakes: Mistakes) -> str:
    if not adapter.model:
        mistakes.problems.append(
            f"{path}: `model` is missing. Write the folder of the SavedModel, relative to this file."
        )
        return ""
    model = _beside(path, adapter.model)
    folder = saved_model.folder_of(model)
    if not folder:
        mistakes.problems.append(
            f"{path}: model={adapter.model!r}: there is no SavedModel in {model}. Paths are relative to this file."
        )
    return folder


def _check_without_outputs(path: str, values: Mapping[str, Any]) -> None:
    """Raises UserError if the file has settings that a Model Garden export does not use."""
    unused = [f"input.{key}" for key in values.get("input") or {} if key != "size"]
    unused += ["signature"] * (values.get("signature", model_garden.SIGNATURE) != model_garden.SIGNATURE)
    if unused:
        raise UserError(
            f"{path}: without `outputs`, the model is read as a Model Garden export, which does not use "
            f"{', '.join(sorted(unused))}. Remove these keys, or describe the model's outputs under `outputs`."
        )


def _recipe(recipe: Recipe, all_outputs: dict[str, Output], all_names: dict[str, ClassNames]) -> Recipe:
    """Completes a recipe. The id covers everything in the file, whatever tasks are asked for."""
    depth = recipe.outputs.get("depth")
    loss = "ssi" if isinstance(depth, DepthMap) and depth.key == "inverse_depth" else "silog"
    about = recipe.about._replace(classes={task: names.classes for task, names in recipe.names.items()})
    meaning = (
        recipe.signature,
        recipe.frame,
        recipe.input,
        sorted(all_outputs.items()),
        sorted(all_names.items()),
    )
    about = about._replace(
        id=saved_model.teacher_id(recipe.folder, meaning),
        facts=facts("adapter", None, list(recipe.frame[:2]), saved_model.configs_of(about, loss)),
    )
    return recipe._replace(about=about, depth_loss=loss)


def _beside(path: str, name: str) -> str:
    """Resolves `name` relative to the file at `path`. The two slashes of gs://bucket/name are kept."""
    joined = name if "://" in name else os.path.join(os.path.dirname(path), name)
    scheme, mark, place = joined.rpartition("://")
    return scheme + mark + os.path.normpath(place)


def _names(path: str, adapter: AdapterFile, mistakes: Mistakes) -> dict[str, ClassNames]:
    names = {}
    for task in ("classification", "segmentation", "detection"):
        source: str | tuple[str, ...] = getattr(adapter.classes, task)
        if source:
            with mistakes.collected():
                source = _beside(path, source) if isinstance(source, str) else source
                names[task] = read_names(source, f"{path}: classes.{task}", first_id(discover()[task]))
                check_classes(f"{path}: classes.{task}", task, len(names[task].names))
    return names


def _input_format(path: str, adapter: AdapterFile, signature: Signature, mistakes: Mistakes) -> InputFormat:
    """Returns how the signature takes pixels."""
    section, inputs = adapter.input, signature.inputs
    name = section.name or next(iter(inputs), "")
    if name not in inputs or (not section.name and len(inputs) > 1):
        mistakes.problems.append(f"{path}: {_unknown('input.name', section.name, 'input', list(inputs))}")
        return InputFormat(name)
    for key, length in (("range", 2), ("mean", 3), ("std", 3)):
        if len(getattr(section, key)) != length:
            mistakes.problems.append(f"{path}: input.{key} must be a list of {length} numbers.")
    if 0.0 in section.std:
        mistakes.problems.append(f"{path}: input.std must not contain 0, because pixels are divided by it.")
    shape, dtype = inputs[name]
    batch = max((*shape, -1)[0], 0)
    if dtype == tf.string:
        return InputFormat(name, "example" if signature.parses_examples else "image", batch=batch)
    low_high, mean, std = (tuple(map(float, value)) for value in (section.range, section.mean, section.std))
    return InputFormat(name, "tensor", dtype.name, batch, section.layout == "NCHW", low_high, mean, std)


def _unknown(key: str, name: str, kind: str, known: list[str]) -> str:
    """Says that `key` names no input or output of the signature."""
    choices = f"of the signature's {kind}s: {', '.join(known)}."
    if not name:
        return f"{key} is missing. Write one {choices}"
    return f"{key}={name!r}: the signature has no such {kind}.{nearest(name, known)} Write one {choices}"


def _frame(
    path: str, adapter: AdapterFile, signature: Signature, pixels: InputFormat, mistakes: Mistakes
) -> InputFrame:
    """Returns the input's size, from the file or else from the signature."""
    shape: Shape = signature.inputs[pixels.name][0] if pixels.name in signature.inputs else ()
    fixed = (shape[2:4] if pixels.channels_first else shape[1:3]) if len(shape) == 4 else (-1, -1)
    size = tuple(adapter.input.size) or fixed
    if len(size) != 2 or min(size) < 1:
        reason = "" if adapter.input.size else ", because the signature does not fix the size of its input"
        mistakes.problems.append(f"{path}: input.size must be [height, width]{reason}.")
        return InputFrame(1, 1)
    if any(side > 0 and side != wanted for side, wanted in zip(fixed, size, strict=True)):
        mistakes.problems.append(
            f"{path}: input.size={list(size)}, but in layout {adapter.input.layout} the signature takes {list(fixed)}. "
            "Correct input.size or input.layout."
        )
    return InputFrame(int(size[0]), int(size[1]), adapter.input.resize)


def _outputs(
    path: str, adapter: AdapterFile, tasks: Sequence[str], signature: Signature, mistakes: Mistakes
) -> dict[str, Output]:
    """Returns the outputs by task, as the file describes them."""
    outputs: dict[str, Output] = {}
    for task in tasks:
        section = getattr(adapter.outputs, task)
        keys = ("boxes", "scores", "classes", "count", "masks") if task == "detection" else ("output",)
        for key in keys:
            _check_output(f"{path}: outputs.{task}.{key}", getattr(section, key), signature, mistakes)
        if task == "normals" and (len(section.axes) != 3 or {abs(sign) for sign in section.axes} != {1.0}):
            mistakes.problems.append(
                f"{path}: outputs.normals.axes must be three numbers, each 1 or -1, for example [1, -1, -1]."
            )
        outputs |= _read_as(section, next(iter(signature.outputs), ""))
    return outputs


def _check_output(where: str, name: str, signature: Signature, mistakes: Mistakes) -> None:
    """Notes an output that does not exist, or that is missing. Optional ones and a single one may be left out."""
    key = where.rpartition(".")[2]
    may_lack = key in ("count", "masks") or (key == "output" and len(signature.outputs) == 1)
    if name not in signature.outputs and (name or not may_lack):
        mistakes.problems.append(_unknown(where, name, "output", list(signature.outputs)))


def _read_as(section: object, single: str) -> dict[str, Output]:
    """Returns the outputs of one section; `single` is the signature's output if the section names none."""
    match section:
        case adapter_file.DetectionSection():
            boxes = DetectedObjects(
                section.boxes,
                section.scores,
                section.classes,
                section.count,
                section.coordinates == "normalised",
                section.order == "xyxy",
                section.first_class,
            )
            masks: dict[str, Output] = {"masks": boxes._replace(masks=section.masks)} if section.masks else {}
            return masks | {"detection": boxes}
        case adapter_file.DepthSection():
            return {"depth": DepthMap(section.output or single, section.means)}
        case adapter_file.NormalsSection():
            axes = tuple(map(float, section.axes))
            return {"normals": NormalMap(section.output or single, axes, section.layout == "NCHW")}
        case adapter_file.SegmentationSection():
            is_logits = section.means == "logits"
            return {"segmentation": ClassMap(section.output or single, is_logits, section.layout == "NCHW")}
        case adapter_file.ClassificationSection():
            return {"classification": Distribution(section.output or single, section.means == "logits")}
    raise TypeError(section)


def _channels(output: Output, signature: Signature) -> int:
    """Returns how many classes an output has; below 1 if that is unknown before it has run."""
    if not isinstance(output, Distribution | ClassMap):
        return 0
    shape: Shape = signature.outputs[output.name][0]
    first = isinstance(output, ClassMap) and output.channels_first
    return (*shape[1:2], -1)[0] if first else (-1, *shape)[-1]


def _check_names(path: str, outputs: dict[str, Output], names: dict[str, ClassNames], signature: Signature) -> None:
    """Raises UserError if a task has no class names, or not one for each channel of its output."""
    for task, output in outputs.items():
        if not discover()[task].class_ids:
            continue
        key = f"classes.{naming_task(task)}"
        if task not in names:
            raise UserError(f"{path}: {key} is missing. Write a list of names, or a text file with one name per line.")
        channels = _channels(output, signature)
        if channels > 0 and channels != len(names[task].names):
            raise UserError(
                f"{path}: {key} has {len(names[task].names)} names, but output {output.uses()[0]!r} has {channels} "
                'channels. Name every channel; use "" for one that is not a class.'
            )
