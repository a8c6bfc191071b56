"""Any SavedModel, TFLite or ONNX file as a teacher, described by an adapter file: `--teacher depth=midas.yaml`.

`adapter_file.py` documents the keys.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import tensorflow as tf

from must_tf.common.errors import Mistakes, UserError, nearest
from must_tf.config import values as config_values
from must_tf.spec import first_id
from must_tf.tasks import discover, naming_task
from tfrecords_tools.teachers import (
    About,
    adapter_input,
    adapter_outputs,
    check_classes,
    check_tasks,
    foreign,
    model_garden,
    networks,
    saved_model,
)
from tfrecords_tools.teachers.adapter_file import AdapterFile
from tfrecords_tools.teachers.names import ClassNames, read_names
from tfrecords_tools.teachers.outputs import DepthMap, Output
from tfrecords_tools.teachers.recipe import Recipe, teacher_id
from tfrecords_tools.teachers.trained import facts

LOOKED_FOR = "a file that ends in .yaml (an adapter)"


def is_here(path: str) -> bool:
    """Returns True if `path` is an adapter file."""
    return path.endswith((".yaml", ".yml")) and bool(tf.io.gfile.exists(path))


def describe(path: str, tasks: Sequence[str]) -> foreign.Foreign:
    """Describes the teacher of an adapter file.

    Raises:
      UserError: everything that is wrong with the file, or that it does not label these tasks.
    """
    values = config_values.read_yaml(path)
    adapter = AdapterFile()
    config_values.apply(adapter, values, path)
    mistakes = Mistakes()
    model = _model(path, adapter, mistakes)
    names = _names(path, adapter, mistakes)
    mistakes.raise_all()
    if "outputs" not in values:
        _check_without_outputs(path, model, values)
        recipe = model_garden.recipe(path, tasks, model, names, adapter.input.size)
        return foreign.Foreign(_with_facts(recipe, adapter, names))
    signature = networks.read_signature(model, adapter.signature)
    pixels, frame = adapter_input.read(path, adapter.input, signature, mistakes)
    reading = adapter_outputs.Reading(
        path, adapter.outputs, signature, frame, {t: len(n.names) for t, n in names.items()}
    )
    outputs = adapter_outputs.read(reading, list(values["outputs"] or ()), mistakes)
    mistakes.raise_all()
    check_tasks(path, tasks, list(outputs), "adapter")
    chosen = {task: outputs[task] for task in tasks}
    used = {
        task: names[naming_task(task)] for task in tasks if discover()[task].class_ids and naming_task(task) in names
    }
    adapter_input.check_crop(path, frame, tasks)
    adapter_outputs.check_names(path, chosen, used, signature)
    about = About(path, tuple(tasks), "", {task: task_names.classes for task, task_names in used.items()})
    recipe = Recipe(about, model, signature.name, frame, pixels, chosen, used)
    return foreign.Foreign(_with_facts(_identified(recipe, outputs, names), adapter, names))


def _model(path: str, adapter: AdapterFile, mistakes: Mistakes) -> str:
    """Returns the folder or file of the model; "", with a mistake noted, if there is none."""
    if not adapter.model:
        mistakes.problems.append(
            f"{path}: `model` is missing. Write the SavedModel's folder, or a .tflite or .onnx file, relative to this "
            "file."
        )
        return ""
    place = _beside(path, adapter.model)
    model = networks.find(place)
    if not model:
        unset = " The environment variable in it is not set." if "$" in place else ""
        mistakes.problems.append(
            f"{path}: model={adapter.model!r}: there is no SavedModel, .tflite or .onnx file in {place}.{unset} Paths "
            "are relative to this file."
        )
    return model


def _check_without_outputs(path: str, model: str, values: Mapping[str, Any]) -> None:
    """Raises UserError if the model is not a SavedModel, or for settings that a Model Garden export does not use."""
    if not saved_model.find(model):
        raise UserError(f"{path}: {described(model)} Describe them under `outputs`.")
    unused = [f"input.{key}" for key in values.get("input") or {} if key != "size"]
    unused += ["signature"] * (values.get("signature", model_garden.SIGNATURE) != model_garden.SIGNATURE)
    if unused:
        raise UserError(
            f"{path}: without `outputs`, the model is read as a Model Garden export, which does not use "
            f"{', '.join(sorted(unused))}. Remove these keys, or describe the model's outputs under `outputs`."
        )


def described(model: str) -> str:
    """Returns a sentence about the inputs and outputs of a TFLite or ONNX file."""
    signature = networks.read_signature(model, "")
    inputs, outputs = (
        ", ".join(f"{name} {dtype.name} {list(shape)}" for name, (shape, dtype) in tensors.items())
        for tensors in (signature.inputs, signature.outputs)
    )
    return f"the model takes {inputs} and returns {outputs}."


def _identified(recipe: Recipe, all_outputs: dict[str, Output], all_names: dict[str, ClassNames]) -> Recipe:
    """Completes a recipe. The id covers everything in the file, whatever tasks are asked for."""
    depth = recipe.outputs.get("depth")
    loss = "ssi" if isinstance(depth, DepthMap) and depth.key == "inverse_depth" else "silog"
    meaning = (
        recipe.signature,
        recipe.frame,
        recipe.input,
        sorted(all_outputs.items()),
        sorted(all_names.items()),
    )
    about = recipe.about._replace(
        id=teacher_id(recipe.model, meaning),
        facts=facts("adapter", None, list(recipe.frame[:2]), foreign.configs_of(recipe.about, loss)),
    )
    return recipe._replace(about=about, depth_loss=loss)


def _with_facts(recipe: Recipe, adapter: AdapterFile, names: Mapping[str, ClassNames]) -> Recipe:
    """Adds the licence, and notes about the class names, to a recipe's facts."""
    notes = [
        f"classes.{task}: {', '.join(one.numbered)} occurs more than once; its classes have numbers now"
        for task, one in names.items()
        if one.numbered and any(naming_task(labelled) == task for labelled in recipe.about.tasks)
    ]
    known = recipe.about.facts | {"licence": adapter.licence, "notes": notes}
    return recipe._replace(about=recipe.about._replace(facts=known))


def _beside(path: str, name: str) -> str:
    """Resolves `name` relative to the file at `path`, with its environment variables. The two slashes of
    gs://bucket/name are kept.
    """
    name = os.path.expandvars(name)
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
                # ImageNet's own list has two pairs; a detector's list that repeats a name is a mistake.
                numbers, first = task == "classification", first_id(discover()[task])
                names[task] = read_names(source, f"{path}: classes.{task}", first, number_repeated=numbers)
                check_classes(f"{path}: classes.{task}", task, len(names[task].names))
    known = {name for one in names.values() for name in one.names}
    rename, unused = _renamed(path, adapter.classes.rename, mistakes), adapter.classes.unused
    mistakes.problems += [
        f"{path}: classes.{key}: there is no class {name!r}.{nearest(name, known)}"
        for key, chosen in (("rename", rename), ("unused", unused))
        for name in chosen
        if name not in known and names
    ]
    return {task: one.without(unused).renamed(rename) for task, one in names.items()}


def _renamed(path: str, values: Sequence[str], mistakes: Mistakes) -> dict[str, str]:
    """Parses ["OLD=NEW", ...]."""
    rename: dict[str, str] = {}
    for value in values:
        old, _, new = (part.strip() for part in value.partition("="))
        if not old or not new:
            mistakes.problems.append(f"{path}: classes.rename: {value!r} must be OLD=NEW.")
        elif rename.setdefault(old, new) != new:
            mistakes.problems.append(f"{path}: classes.rename gives {old!r} two new names. Give one.")
    return rename
