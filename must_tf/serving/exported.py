"""Reads an export of `must-export`: the description beside the SavedModel, and the network."""

from __future__ import annotations

import os
from collections import defaultdict
from typing import Any

import tensorflow as tf

from must_tf.common import files
from must_tf.common.errors import UserError
from must_tf.config import values as config_values
from must_tf.model.forward import Forward
from must_tf.model.head_configs import HeadsConfig
from must_tf.serving import layout, saved_model
from must_tf.spec import Tensors

KEYS = ("teacher_id", "step", "input_size", "classes", "tasks", "trained_on")


def is_here(path: str) -> bool:
    """Returns True if `path` is an export of this project."""
    return bool(tf.io.gfile.exists(os.path.join(path, saved_model.NAME)))


def description(path: str) -> dict[str, Any]:
    """Returns the content of an export's must_tf.json.

    Raises:
      UserError: it is damaged, or an older version wrote it.
    """
    name = os.path.join(path, saved_model.NAME)
    content = files.read_json(name, remedy="Export the run again.")
    missing = [key for key in KEYS if key not in content]
    if missing:
        raise UserError(f"{name} lacks {', '.join(missing)}, because an older version wrote it. Export the run again.")
    return content


def settings(path: str, content: dict[str, Any]) -> HeadsConfig:
    """Returns the input size and the settings of the heads, from the `description` of the export at `path`."""
    config = HeadsConfig()
    values = {"input_size": content["input_size"], "tasks": content["tasks"]}
    config_values.apply(config, values, os.path.join(path, saved_model.NAME))
    return config


def network(path: str) -> Forward:
    """Loads the network of the signature that takes fitted images.

    Raises:
      UserError: the SavedModel cannot be loaded.
    """
    try:
        loaded = tf.saved_model.load(path)
    except (tf.errors.OpError, OSError, ValueError) as error:
        raise UserError(layout.unloadable(path, error)) from error

    def forward(image: tf.Tensor, image_shape: tf.Tensor) -> dict[str, Tensors]:
        predictions: dict[str, Tensors] = defaultdict(dict)
        # Called through `loaded`, because a signature alone does not keep its variables alive.
        for name, value in loaded.signatures[saved_model.FITTED](image=image, image_shape=image_shape).items():
            task, _, key = name.partition("/")
            predictions[task][key] = value
        return predictions

    return forward
