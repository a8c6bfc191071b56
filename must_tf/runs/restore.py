"""Restores the model of a trained run directory, for evaluation, export and labelling.

If the run averaged its weights, these are the averaged ones, see `CheckpointGraph.used`.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from typing import Any, NamedTuple

import tensorflow as tf
import tf_keras

from must_tf.common import run_files
from must_tf.common.errors import UserError, nearest_path
from must_tf.config import values as config_values
from must_tf.model import student
from must_tf.model.trunk import TrunkConfig
from must_tf.runs import checkpoint_match, checkpoints, init_weights

ID_DIGITS = 12  # hex digits of a SHA-256
# Settings that earlier versions did not have, with their defaults. These do not count, so that an id stays the same.
_DEFAULTS = config_values.plain(TrunkConfig().as_dict())
LATER = {key: _DEFAULTS[key] for key in ("normalisation", "se_activation")}
_BY_CONFIDENCE = {"confidence_threshold": 0.0, "weighting": "equal"}
LATER_OF_HEADS = {"depth": _BY_CONFIDENCE, "normals": _BY_CONFIDENCE}


class Trained(NamedTuple):
    """A trained model and its config. `id` is a hash of both, recorded in what the model produces."""

    model: tf_keras.Model
    config: student.StudentConfig
    id: str
    step: int


def load(model_dir: str, show: bool = True) -> Trained:
    """Restores every variable of the model from the newest checkpoint of a run directory.

    Args:
      model_dir: the run directory.
      show: print how many variables each module got.

    Raises:
      UserError: there is no params.yaml or no checkpoint, or the checkpoint does not fit the config.
    """
    config = read_config(model_dir)
    checkpoint = init_weights.checkpoint_path(model_dir)
    model = student.build(config)
    restored = match(model, checkpoint, os.path.join(model_dir, run_files.PARAMS))
    if show:
        print(restored, flush=True)
    return Trained(model, config, _identity(checkpoint, config), checkpoints.step_of(checkpoint))


def match(model: tf_keras.Model, checkpoint: str, config_name: str, weights: str = "") -> str:
    """Reads a checkpoint into every variable of the model.

    Args:
      model: has all its variables.
      checkpoint: of a run.
      config_name: of the settings that the model was built with, for messages.
      weights: `checkpoint_match.TRAINED` to train on; by default those that the run means.

    Returns:
      A table of the restored variables per module.

    Raises:
      UserError: a variable is missing or of another shape; names them by module.
    """
    graph = checkpoint_match.CheckpointGraph(checkpoint)
    weights = weights or graph.used
    parts = checkpoint_match.modules(model)
    matches = {
        "/".join(part): checkpoint_match.compare(module, graph, (weights, *part)) for part, module in parts.items()
    }
    if not all(match.is_whole for match in matches.values()):
        raise UserError(
            f"{checkpoint_match.table(matches, title=f'{checkpoint} does not fit {config_name}:')}\n"
            "  Give the settings that it was trained with, or another --model_dir."
        )
    try:
        status = tf.train.Checkpoint(**{weights: model}).read(checkpoint)
        status.expect_partial().assert_existing_objects_matched()
    except init_weights.UNFIT as error:
        raise UserError(
            f"{checkpoint} does not fit {config_name} ({init_weights.reason(error)}). Give the settings that it was "
            "trained with, or another --model_dir."
        ) from error
    return checkpoint_match.table(matches, title=f"restored from {checkpoint}{checkpoint_match.remark(weights)}")


def identity(model_dir: str, config: student.StudentConfig) -> str:
    """Returns `load(model_dir).id` without building the model."""
    return _identity(init_weights.checkpoint_path(model_dir), config)


def read_config(model_dir: str) -> student.StudentConfig:
    """Reads `task` from a run's params.yaml.

    Raises:
      UserError: the file is missing, is not of a run, or has values that do not fit.
    """
    path = os.path.join(model_dir, run_files.PARAMS)
    if not tf.io.gfile.exists(path):
        hint = "" if tf.io.gfile.exists(model_dir) else nearest_path(model_dir, only_folders=True)
        raise UserError(f"{path} does not exist.{hint} Give the --model_dir of a run that was trained.")
    params = config_values.read_yaml(path)
    if "task" not in params:
        raise UserError(f"{path} has no `task`, so it is not the {run_files.PARAMS} of a must_tf run.")
    config = student.StudentConfig()
    config_values.apply(config, params["task"], path)
    return config


def _without(values: dict[str, Any], later: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the settings without those of later versions that have their defaults."""
    return {key: value for key, value in values.items() if key not in later or config_values.plain(value) != later[key]}


def _identity(checkpoint: str, config: student.StudentConfig) -> str:
    """Returns 12 hex digits of a hash over weights and config, equal if and only if the predictions are.

    The weights are those that `match` restores, named as in a checkpoint without averages. Keras numbers layers by how
    many were built before, so a teacher that is loaded second would otherwise get another hash.
    """
    values = config.as_dict()
    model = _without(values["model"], LATER)
    heads = sorted(
        (name, _without(task, LATER_OF_HEADS.get(name, {})))
        for name, task in values["tasks"].items()
        if task["enabled"]
    )
    digest = hashlib.sha256(repr((values["input_size"], model, heads)).encode())
    reader = tf.train.load_checkpoint(checkpoint)
    root = f"{checkpoint_match.CheckpointGraph(checkpoint).used}/"
    for name in sorted(reader.get_variable_to_shape_map()):
        if name.startswith(root) and ".OPTIMIZER_SLOT" not in name:
            digest.update(f"{checkpoint_match.TRAINED}/{name.removeprefix(root)}".encode())
            digest.update(reader.get_tensor(name).tobytes())
    return digest.hexdigest()[:ID_DIGITS]
