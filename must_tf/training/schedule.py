"""Checks the schedules of the learning rate: settings without a default, and those that leave nothing to learn with."""

from __future__ import annotations

from official.modeling import optimization

from must_tf.common.errors import UserError
from must_tf.common.text import listed

OPTIONAL = ("name", "staircase")  # settings that may be None
LAST_RATES = {"cosine": "alpha", "polynomial": "end_learning_rate"}  # schedule -> setting of the rate after its end


def check(config: optimization.OptimizationConfig) -> None:
    """Raises UserError if the learning rate or its warmup lacks a setting, or if the rate is 0 in every step."""
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
    _check_zero(config)


def _check_zero(config: optimization.OptimizationConfig) -> None:
    """Refuses a warm-up that ends where the schedule has decayed to 0: it would rise to that 0."""
    kind, warmup = config.learning_rate.type, config.warmup
    if kind not in LAST_RATES or warmup is None or warmup.type is None:
        return
    decay, rise = config.learning_rate.get(), warmup.get()
    if getattr(decay, "cycle", False) or getattr(rise, "warmup_learning_rate", 0) or getattr(decay, LAST_RATES[kind]):
        return
    if 0 < decay.decay_steps + decay.offset <= rise.warmup_steps:
        raise UserError(
            "the learning rate would be 0 in every step: "
            f"trainer.optimizer_config.warmup.{warmup.type}.warmup_steps={rise.warmup_steps} must be below "
            f"trainer.optimizer_config.learning_rate.{kind}.decay_steps={decay.decay_steps}. Set it to "
            f"{decay.decay_steps // 20}, for instance."
        )
