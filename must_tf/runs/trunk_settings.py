"""The settings of the trunk that initial weights need: another normalisation or activation would spoil them."""

from __future__ import annotations

import math
import os
from typing import Any

import tensorflow as tf

from must_tf.common import run_files
from must_tf.common.errors import UserError
from must_tf.config import validate
from must_tf.config import values as config_values
from must_tf.model.trunk import TrunkConfig

# Settings with which a checkpoint was trained that its shapes do not tell.
UNSEEN = ("norm_activation.activation", "normalisation.mean", "normalisation.deviation", "se_activation")
CLOSE = 1e-4  # relative; for numbers that were rounded


def of_checkpoint(prefix: str) -> dict[str, Any]:
    """Returns the settings of a trunk's fields from the params.yaml beside a checkpoint, nested; empty without one.

    The checkpoint is of this project or of Model Garden, whose models have some of the fields.
    """
    path = os.path.join(os.path.dirname(prefix), run_files.PARAMS)
    if not tf.io.gfile.exists(path):
        return {}
    task = config_values.read_yaml(path).get("task")
    if not isinstance(task, dict) or not isinstance(task.get("model"), dict):
        return {}
    config = TrunkConfig()
    valid, _ = validate.sift(config, task["model"])
    config.override(valid, is_strict=True)
    known = config_values.plain(config.as_dict())
    return {key: known[key] for key in known if key in valid or "tasks" in task}


def check(start: str, needed: dict[str, Any], model: TrunkConfig, only: tuple[str, ...] = ()) -> None:
    """Compares the settings that initial weights need with those of a model.

    Args:
      start: `task.init_checkpoint`, for the message.
      needed: as returned by `of_checkpoint`.
      model: the settings of the model to load into.
      only: the keys to compare; all by default.

    Raises:
      UserError: some differ. The message has the settings that fit.
    """
    there, here = config_values.flat(needed), config_values.flat(model.as_dict())
    wrong = {
        key: value for key, value in there.items() if (not only or key in only) and not _same(value, here.get(key))
    }
    if wrong:
        settings = ",".join(f"task.model.{key}={_text(value)}" for key, value in wrong.items())
        raise UserError(
            f"task.init_checkpoint={start} needs other settings than this run has; with these, its weights would not "
            f"mean what they were trained to. Give: {settings}"
        )


def _same(first: Any, second: Any) -> bool:
    if isinstance(first, list) and isinstance(second, list):
        return len(first) == len(second) and all(map(_same, first, second))
    if isinstance(first, float) and isinstance(second, int | float):
        return math.isclose(first, second, rel_tol=CLOSE)
    return bool(first == second)


def _text(value: Any) -> str:
    return f"[{','.join(map(str, value))}]" if isinstance(value, list) else str(value)
