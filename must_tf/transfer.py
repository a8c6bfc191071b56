"""Which weights a run starts from: parts of another run's checkpoint, loaded whole or not at all."""

from __future__ import annotations

import tensorflow as tf
import tf_keras

from must_tf.errors import UserError, nearest

MODULES = ("trunk", "all")
# How TensorFlow says that a checkpoint lacks a variable, has another shape, or is truncated.
UNFIT = (AssertionError, ValueError, IndexError, tf.errors.OpError)


def reason(error: BaseException) -> str:
    """Why a checkpoint does not fit, in one line.

    Also stops TensorFlow from listing every variable that it then did not read, after the message.
    """
    tf.get_logger().setLevel("ERROR")
    return " ".join(str(error).split())[:200]


def checkpoint_path(path: str) -> str:
    """The newest checkpoint of a run directory, or `path` itself if it is a checkpoint's prefix."""
    found = tf.train.latest_checkpoint(path) if tf.io.gfile.isdir(path) else path
    if not found or not tf.io.gfile.exists(found + ".index"):
        raise UserError(
            f"no checkpoint in {path!r}. Give a run directory that has been trained, or a prefix like ckpt-100."
        )
    return found


def check(path: str, modules: str) -> str:
    """The checkpoint that `load` would read. Raises UserError: no checkpoint, or an unknown module."""
    if modules not in MODULES:
        known = ", ".join(MODULES)
        raise UserError(f"task.init_modules={modules!r} is unknown.{nearest(modules, MODULES)} Known: {known}.")
    return checkpoint_path(path)


def load(model: tf_keras.Model, path: str, modules: str) -> str:
    """Loads `modules` of the checkpoint into `model`.

    Args:
      model: a student with its variables created.
      path: a run directory or a checkpoint of this project.
      modules: "trunk" (backbone and FPN) or "all" (every head that both have, too).

    Returns:
      A table: module, variables restored, and what was left fresh.

    Raises:
      UserError: no checkpoint; an unknown module; a variable missing there or of another shape.
    """
    path = check(path, modules)
    there = tf.train.load_checkpoint(path).get_variable_to_shape_map()
    heads = {name for name in model.heads if any(key.startswith(f"model/heads/{name}/") for key in there)}
    wanted = {"trunk": model.trunk}
    if modules == "all":
        wanted |= {f"heads/{name}": model.heads[name] for name in sorted(heads)}
    lines = [f"loaded from {path}"]
    for name, module in wanted.items():
        _load_module(module, name, path, there)
        lines.append(f"  {name:<24}{len(module.variables):>5} variables restored")
    fresh = [name for name in model.heads if f"heads/{name}" not in wanted]
    lines += [f"  heads/{name:<18}fresh" for name in fresh]
    return "\n".join(lines)


def _load_module(module: tf_keras.layers.Layer, name: str, path: str, there: dict[str, list[int]]) -> None:
    if not any(key.startswith(f"model/{name}/") for key in there):
        raise UserError(f"{path} has no {name}; is it a checkpoint of a must_tf run?")
    root: tf.train.Checkpoint = tf.train.Checkpoint()
    parent = root
    parts = ["model", *name.split("/")]
    for part in parts[:-1]:
        child = tf.train.Checkpoint()
        setattr(parent, part, child)
        parent = child
    setattr(parent, parts[-1], module)
    try:
        root.read(path).expect_partial().assert_existing_objects_matched()
    except UNFIT as error:
        raise UserError(
            f"{name} of {path} does not fit this model ({reason(error)}). Give the model the checkpoint's "
            "configuration (its params.yaml), or set task.init_modules=trunk to keep fresh heads."
        ) from error
