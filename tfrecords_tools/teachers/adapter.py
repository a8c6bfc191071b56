"""Any SavedModel as a teacher, by way of an adapter file, see `adapter_file.py`: `--teacher depth=midas.yaml`."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import tensorflow as tf

from must_tf.common.errors import Mistakes, UserError, nearest
from must_tf.config import values as config_values
from must_tf.tasks import discover
from tfrecords_tools.teachers import About, check_classes, check_tasks, model_garden, saved_model
from tfrecords_tools.teachers.adapter_file import Adapter
from tfrecords_tools.teachers.frames import Frame
from tfrecords_tools.teachers.names import Names
from tfrecords_tools.teachers.names import read as read_names
from tfrecords_tools.teachers.outputs import ClassMap, DepthMap, Distribution, NormalMap, Objects, Output
from tfrecords_tools.teachers.saved_model import Entry, Recipe, Shape, Signature
from tfrecords_tools.teachers.trained import facts

LOOKED_FOR = "a file that ends in .yaml (an adapter)"


def is_here(path: str) -> bool:
    """Whether `path` is an adapter file."""
    return path.endswith((".yaml", ".yml")) and bool(tf.io.gfile.exists(path))


def describe(path: str, tasks: Sequence[str]) -> Recipe:
    """The adapter's tasks and the id of the model with it.

    Raises:
      UserError: all that is wrong with the file, or that it does not label these tasks.
    """
    values = config_values.read_yaml(path)
    adapter = Adapter()
    config_values.apply(adapter, values, path)
    mistakes = Mistakes()
    folder = saved_model.folder_of(_beside(path, adapter.model)) if adapter.model else ""
    if not folder:
        mistakes.found.append(f"{path}: model={adapter.model!r} is no SavedModel's folder (seen from {path}).")
    names = _names(path, adapter, mistakes)
    mistakes.end()
    if "outputs" not in values:
        _check_without_outputs(path, values)
        return model_garden.describe(path, tasks, _beside(path, adapter.model), names, adapter.input.size)
    signature = saved_model.read_signature(folder, adapter.signature)
    entry = _entry(path, adapter, signature, mistakes)
    frame = _frame(path, adapter, signature, entry, mistakes)
    outputs = _outputs(path, adapter, list(values["outputs"] or ()), signature, mistakes)
    mistakes.end()
    check_tasks(path, tasks, list(outputs), "that adapter has no outputs for")
    chosen = {task: outputs[task] for task in tasks}
    used = {task: names[_owner(task)] for task in tasks if discover()[task].class_ids and _owner(task) in names}
    _check_names(path, chosen, used, signature)
    about = About(path, tuple(tasks), "", {})
    return _recipe(Recipe(about, folder, signature.name, frame, entry, chosen, used), outputs, names)


def _check_without_outputs(path: str, values: Mapping[str, Any]) -> None:
    """Raises UserError where more is said of a Model Garden export than can be heeded."""
    unheeded = [f"input.{key}" for key in values.get("input") or {} if key != "size"]
    unheeded += ["signature"] * (values.get("signature", model_garden.SIGNATURE) != model_garden.SIGNATURE)
    if unheeded:
        raise UserError(
            f"{path}: without `outputs:` this names the classes of a Model Garden export, which prepares its input: "
            f"{', '.join(sorted(unheeded))} would not be heeded. Leave that out, or say under `outputs:` what it gives."
        )


def _recipe(recipe: Recipe, all_outputs: dict[str, Output], all_names: dict[str, Names]) -> Recipe:
    """The same with all that is known about it. Its id is of all that the file says, whatever is asked for here."""
    depth = recipe.outputs.get("depth")
    loss = "ssi" if isinstance(depth, DepthMap) and depth.key == "inverse_depth" else "silog"
    about = recipe.about._replace(classes={task: names.classes for task, names in recipe.names.items()})
    essence = (
        recipe.signature,
        recipe.frame,
        recipe.entry,
        sorted(all_outputs.items()),
        sorted(all_names.items()),
    )
    about = about._replace(
        id=saved_model.digest(recipe.folder, essence),
        facts=facts("adapter", None, list(recipe.frame[:2]), saved_model.configs_of(about, loss)),
    )
    return recipe._replace(about=about, depth_loss=loss)


def _beside(path: str, name: str) -> str:
    """What the file at `path` calls `name`; of gs://bucket/name the two slashes stay."""
    joined = name if "://" in name else os.path.join(os.path.dirname(path), name)
    scheme, mark, place = joined.rpartition("://")
    return scheme + mark + os.path.normpath(place)


def _owner(task: str) -> str:
    return (*discover()[task].needs, task)[0]


def _names(path: str, adapter: Adapter, mistakes: Mistakes) -> dict[str, Names]:
    found = {}
    for task in ("classification", "segmentation", "detection"):
        given: Any = getattr(adapter.classes, task)
        if given:
            with mistakes.noted():
                given = _beside(path, given) if isinstance(given, str) else given
                found[task] = read_names(given, f"{path}: classes.{task}")
                check_classes(f"{path}: classes.{task}", task, len(found[task].names))
    return found


def _entry(path: str, adapter: Adapter, signature: Signature, mistakes: Mistakes) -> Entry:
    """How pixels go in."""
    given, inputs = adapter.input, signature.inputs
    name = given.name or next(iter(inputs), "")
    if name not in inputs or (not given.name and len(inputs) > 1):
        hint = nearest(given.name, inputs)
        mistakes.found.append(f"{path}: input.name={given.name!r} is no input.{hint} There are: {', '.join(inputs)}.")
        return Entry(name)
    for key, length in (("range", 2), ("mean", 3), ("std", 3)):
        if len(getattr(given, key)) != length:
            mistakes.found.append(f"{path}: input.{key} must be {length} numbers.")
    if 0.0 in given.std:
        mistakes.found.append(f"{path}: input.std must not be 0; the pixels are divided by it.")
    shape, dtype = inputs[name]
    if dtype == tf.string:
        encoding = "example" if signature.parses_examples else "image"
        return Entry(name, encoding, batch=max((*shape, -1)[0], 0))
    numbers = (tuple(map(float, value)) for value in (given.range, given.mean, given.std))
    return Entry(name, "tensor", dtype.name, max((*shape, -1)[0], 0), given.layout == "NCHW", *numbers)


def _frame(path: str, adapter: Adapter, signature: Signature, entry: Entry, mistakes: Mistakes) -> Frame:
    """The input's size: as the file says, or else the signature."""
    shape: Shape = signature.inputs[entry.name][0] if entry.name in signature.inputs else ()
    fixed = (shape[2:4] if entry.channels_first else shape[1:3]) if len(shape) == 4 else (-1, -1)
    size = tuple(adapter.input.size) or fixed
    if len(size) != 2 or min(size) < 1:
        mistakes.found.append(f"{path}: input.size must be [height, width]; the signature does not say them.")
        return Frame(1, 1)
    if any(one > 0 and one != other for one, other in zip(fixed, size, strict=True)):
        mistakes.found.append(
            f"{path}: input.size={list(size)}, but the signature takes {list(fixed)} as {adapter.input.layout}."
        )
    return Frame(int(size[0]), int(size[1]), adapter.input.resize)


def _outputs(
    path: str, adapter: Adapter, given: Sequence[str], signature: Signature, mistakes: Mistakes
) -> dict[str, Output]:
    """By task, what the file says."""
    found: dict[str, Output] = {}
    for task in given:
        section = getattr(adapter.outputs, task)
        keys = ("boxes", "scores", "classes", "count", "masks") if task == "detection" else ("output",)
        for key in keys:
            _check_output(f"{path}: outputs.{task}.{key}", getattr(section, key), key, signature, mistakes)
        if task == "normals" and (len(section.axes) != 3 or {abs(one) for one in section.axes} != {1.0}):
            mistakes.found.append(f"{path}: outputs.normals.axes must be three numbers, each 1 or -1.")
        found |= _read_as(task, section, next(iter(signature.outputs), ""))
    return found


def _check_output(where: str, name: str, key: str, signature: Signature, mistakes: Mistakes) -> None:
    """Notes an output that does not exist. One that is left out is another thing: some may be, and a single one."""
    outputs = signature.outputs
    may_lack = key in ("count", "masks") or (key == "output" and len(outputs) == 1)
    if name not in outputs and (name or not may_lack):
        mistakes.found.append(
            f"{where}={name!r} is no output.{nearest(name, outputs)} There are: {', '.join(outputs)}."
        )


def _read_as(task: str, section: Any, single: str) -> dict[str, Output]:
    if task == "detection":
        boxes = Objects(
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
    name = section.output or single
    if task == "depth":
        return {task: DepthMap(name, section.means)}
    if task == "normals":
        return {task: NormalMap(name, tuple(map(float, section.axes)), section.layout == "NCHW")}
    if task == "segmentation":
        return {task: ClassMap(name, section.means == "logits", section.layout == "NCHW")}
    return {task: Distribution(name, section.means == "logits")}


def _channels(output: Output, signature: Signature) -> int:
    """How many classes an output has; below 1: unknown before it has run."""
    if not isinstance(output, Distribution | ClassMap):
        return 0
    shape: Shape = signature.outputs[output.name][0]
    first = isinstance(output, ClassMap) and output.channels_first
    return (*shape[1:2], -1)[0] if first else (-1, *shape)[-1]


def _check_names(path: str, outputs: dict[str, Output], names: dict[str, Names], signature: Signature) -> None:
    """Raises UserError where a task lacks its class names, or has more or fewer than its output has channels."""
    for task, output in outputs.items():
        if not discover()[task].class_ids:
            continue
        owner = _owner(task)
        if task not in names:
            raise UserError(f"{path}: no class names; add classes: {{{owner}: names.txt}}, one name a line.")
        channels = _channels(output, signature)
        if channels > 0 and channels != len(names[task].names):
            raise UserError(
                f"{path}: {len(names[task].names)} names in classes.{owner}, but {output.uses()[0]} has {channels} "
                'channels. Where one is no class, name it "".'
            )
