"""Checks the schedules of the learning rate: some of Model Garden's settings have no default."""

from __future__ import annotations

from official.modeling import optimization

from must_tf.common.errors import UserError
from must_tf.common.text import listed

OPTIONAL = ("name", "staircase")  # settings that may be None


def check(config: optimization.OptimizationConfig) -> None:
    """Raises UserError if the learning rate or its warmup lacks a setting."""
    for key in ("learning_rate", "warmup"):
        schedule = getattr(config, key)
        if schedule is None or schedule.type is None:
            continue
        settings = schedule.get().as_dict().items()
        missing = [name for name, value in settings if value is None and name not in OPTIONAL]
        if missing:
            raise UserError(
                f"trainer.optimizer_config.{key}.{schedule.type} needs {listed(missing)}, which Model Garden has no "
                "default for. Add it to --config_file or --params_override."
            )
