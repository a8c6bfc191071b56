"""A trained run directory back as a model: what export and labelling start from."""

from __future__ import annotations

import hashlib
import os
from typing import NamedTuple

import tensorflow as tf
import tf_keras

from must_tf.common import run_files
from must_tf.common.errors import UserError
from must_tf.config import values as config_values
from must_tf.model import student
from must_tf.runs import checkpoint_match, checkpoints, init_weights


class Trained(NamedTuple):
    """A trained model, its config, and a hash of both that names it in what it makes."""

    model: tf_keras.Model
    config: student.StudentConfig
    id: str
    step: int


def load(model_dir: str) -> Trained:
    """The newest checkpoint of a run directory, every variable of the model restored.

    Raises:
      UserError: no params.yaml, no checkpoint, or one that does not fit the config.
    """
    settings = read_config(model_dir)
    checkpoint = init_weights.checkpoint_path(model_dir)
    model = student.build(settings)
    print(match(model, checkpoint, os.path.join(model_dir, run_files.PARAMS)), flush=True)
    return Trained(model, settings, _identity(checkpoint, settings), checkpoints.step_of(checkpoint))


def match(model: tf_keras.Model, checkpoint: str, config_name: str) -> str:
    """Reads a checkpoint into every variable of the model.

    Returns:
      A table: per module how many variables were restored.

    Raises:
      UserError: a variable is missing or of another shape; says which, by module.
    """
    graph = checkpoint_match.Graph(checkpoint)
    parts = checkpoint_match.modules(model)
    matches = {
        "/".join(part): checkpoint_match.compare(module, graph, ("model", *part)) for part, module in parts.items()
    }
    if not all(match.is_whole for match in matches.values()):
        raise UserError(
            f"{checkpoint} does not fit {config_name}:\n{checkpoint_match.table(matches)}\n"
            "  Give the settings that it was trained with, or another --model_dir."
        )
    try:
        status = tf.train.Checkpoint(model=model).read(checkpoint)
        status.expect_partial().assert_existing_objects_matched()
    except init_weights.UNFIT as error:
        raise UserError(
            f"{checkpoint} does not fit {config_name} ({init_weights.reason(error)}). Give the settings that it was "
            "trained with, or another --model_dir."
        ) from error
    return f"restored from {checkpoint}\n{checkpoint_match.table(matches)}"


def identity(model_dir: str, settings: student.StudentConfig) -> str:
    """`load(model_dir).id`, without making the model."""
    return _identity(init_weights.checkpoint_path(model_dir), settings)


def read_config(model_dir: str) -> student.StudentConfig:
    """`task.` of the params.yaml that the run wrote."""
    path = os.path.join(model_dir, run_files.PARAMS)
    if not tf.io.gfile.exists(path):
        raise UserError(f"{path} does not exist; {model_dir!r} must be the --model_dir of a run that was trained.")
    settings = student.StudentConfig()
    params = config_values.read_yaml(path)
    if "task" not in params:
        raise UserError(f"{path} has no `task`; it is no params.yaml of a must_tf run.")
    config_values.apply(settings, params["task"], path)
    return settings


def _identity(checkpoint: str, settings: student.StudentConfig) -> str:
    """12 hex digits over weights and config: equal exactly when the predictions are.

    The weights are named as in the checkpoint: Keras numbers a layer's name by how many were made before it, so that a
    teacher that is loaded second would be called otherwise than alone.
    """
    whole = settings.as_dict()
    heads = sorted((name, task) for name, task in whole["tasks"].items() if task["enabled"])
    digest = hashlib.sha256(repr((whole["input_size"], whole["model"], heads)).encode())
    reader = tf.train.load_checkpoint(checkpoint)
    for name in sorted(reader.get_variable_to_shape_map()):
        if name.startswith("model/") and ".OPTIMIZER_SLOT" not in name:
            digest.update(name.encode())
            digest.update(reader.get_tensor(name).tobytes())
    return digest.hexdigest()[:12]
