"""Rules for config fields, written beside the field: `rate: float = above(0.1, 0)`, `part: float = between(0.5, 0, 1)`.

The rules for Model Garden's own fields are in a table here, because its classes cannot be changed. `validate.py` checks
values against the rules.
"""

from __future__ import annotations

import dataclasses
import math
import sys
from typing import Any, NamedTuple

LARGEST = sys.float_info.max  # `math.isfinite` fails for a larger whole number


class Range(NamedTuple):
    """The numbers from `low` to `high`, with each end included unless it is open."""

    low: float = -math.inf
    high: float = math.inf
    open_low: bool = False
    open_high: bool = False

    def holds(self, value: float) -> bool:
        """Returns True if the value is in the range. NaN and infinity never are."""
        above_low = value > self.low if self.open_low else value >= self.low
        below_high = value < self.high if self.open_high else value <= self.high
        return abs(value) <= LARGEST and above_low and below_high

    def __str__(self) -> str:
        bounds = []
        if math.isfinite(self.low):
            bounds.append(f"{'above' if self.open_low else 'at least'} {self.low:g}")
        if math.isfinite(self.high):
            bounds.append(f"{'below' if self.open_high else 'at most'} {self.high:g}")
        return " and ".join(bounds)


def choice(*words: str) -> Any:
    """Declares a config field that must be one of these words. The first is the default."""
    return dataclasses.field(default=words[0], metadata={"choices": words})


def at_least(default: Any, low: float) -> Any:
    """Declares a field for a number, or several, of at least `low`."""
    return dataclasses.field(default=default, metadata={"range": Range(low)})


def above(default: Any, low: float) -> Any:
    """Declares a field for a number, or several, above `low`."""
    return dataclasses.field(default=default, metadata={"range": Range(low, open_low=True)})


def between(default: Any, low: float, high: float) -> Any:
    """Declares a field for a number from `low` to `high`, both included."""
    return dataclasses.field(default=default, metadata={"range": Range(low, high)})


def within(default: Any, high: float) -> Any:
    """Declares a field for a number, or several, above 0 and at most `high`."""
    return dataclasses.field(default=default, metadata={"range": Range(0, high, open_low=True)})


def below(default: Any, low: float, high: float) -> Any:
    """Declares a field for a number from `low`, included, to `high`, excluded."""
    return dataclasses.field(default=default, metadata={"range": Range(low, high, open_high=True)})


def named_between(low: float, high: float) -> Any:
    """Declares a field for strings like "cup=0.4", each name once, with numbers from `low` to `high`. Default: none."""
    return dataclasses.field(default=(), metadata={"named": Range(low, high)})


def not_compiled(field: Any, *words: str) -> Any:
    """Marks the words of a `choice` that XLA cannot compile, so that a TPU cannot run them."""
    return dataclasses.field(default=field.default, metadata={**field.metadata, "not_compiled": words})


# The role of a field of a task's config, for code that handles such fields whatever the task.
MEASURING, TRAINING, THRESHOLD, BY_HAND = "measuring", "training", "threshold", "by hand"


def measuring(field: Any) -> Any:
    """Marks a field that only affects how predictions are measured. A resumed run and an evaluation may change it."""
    return _with_role(field, MEASURING)


def training(field: Any) -> Any:
    """Marks a field that only affects training. An evaluation may change it, a resumed run may not."""
    return _with_role(field, TRAINING)


def threshold(field: Any) -> Any:
    """Marks a field that decides which pseudo labels are trained on. A verdict on pseudo labels holds for its value."""
    return _with_role(field, THRESHOLD)


def by_hand(field: Any) -> Any:
    """Marks a bool field that takes the task out of the paper's rule for loss weights."""
    return _with_role(field, BY_HAND)


def small(field: Any, value: Any) -> Any:
    """Declares the value that suits a small network: one for a CPU, or for a few thousand images."""
    return _with_metadata(field, small=value)


def small_values(config: Any) -> dict[str, Any]:
    """Returns {field: value that suits a small network}; a config class works too."""
    return {field.name: field.metadata["small"] for field in dataclasses.fields(config) if "small" in field.metadata}


def _with_role(field: Any, role: str) -> Any:
    return _with_metadata(field, role=role)


def _with_metadata(field: Any, **metadata: Any) -> Any:
    if not isinstance(field, dataclasses.Field):
        field = dataclasses.field(default=field)
    if field.default is dataclasses.MISSING:
        raise TypeError("a field with metadata needs a plain default, not a default_factory")
    return dataclasses.field(default=field.default, metadata={**field.metadata, **metadata})


def names(config: Any, role: str) -> tuple[str, ...]:
    """Returns the names of the config's fields that have this role, in their order; a config class works too."""
    return tuple(field.name for field in dataclasses.fields(config) if field.metadata.get("role") == role)


POSITIVE, NOT_NEGATIVE, SHARE = Range(0, open_low=True), Range(0), Range(0, 1)
MOST = 1e9  # no training has more steps; some of them are counted in 32 bits
COUNT, COUNT_OR_NONE = Range(1, MOST), Range(0, MOST)
BELOW_ONE = Range(0, 1, open_high=True)
# Fields of Model Garden's config classes by name, if a wrong value would silently train nothing or something else.
UPSTREAM_RANGES = {
    "train_steps": COUNT,
    "steps_per_loop": COUNT,
    "summary_interval": COUNT,
    "checkpoint_interval": COUNT,
    "validation_interval": COUNT,
    "max_to_keep": Range(2),  # a killed run may leave the last one truncated; then the one before is used
    "num_gpus": NOT_NEGATIVE,
    "learning_rate": POSITIVE,
    "initial_learning_rate": POSITIVE,
    "end_learning_rate": NOT_NEGATIVE,
    "warmup_learning_rate": NOT_NEGATIVE,
    "warmup_steps": COUNT_OR_NONE,
    "decay_steps": COUNT,
    "total_decay_steps": COUNT,
    "decay_rate": POSITIVE,
    "values": NOT_NEGATIVE,
    "boundaries": COUNT,
    "alpha": SHARE,
    "linear_decay_fraction": SHARE,
    "momentum": BELOW_ONE,
    "beta_1": BELOW_ONE,
    "beta_2": BELOW_ONE,
    "rho": BELOW_ONE,
    "epsilon": POSITIVE,
    "decay": NOT_NEGATIVE,
    "eeta": POSITIVE,
    "initial_accumulator_value": NOT_NEGATIVE,
    "beta_2_decay": Range(-10, 0),
    "epsilon_1": POSITIVE,
    "epsilon_2": POSITIVE,
    "clip_threshold": POSITIVE,
    "power": Range(-100, 100),
    "pre_offset_learning_rate": POSITIVE,
    "offset": COUNT_OR_NONE,
    "clipnorm": POSITIVE,
    "clipvalue": POSITIVE,
    "global_clipnorm": POSITIVE,
    "gradient_clip_norm": NOT_NEGATIVE,
    "weight_decay": NOT_NEGATIVE,
    "weight_decay_rate": NOT_NEGATIVE,
    "norm_momentum": BELOW_ONE,
    "norm_epsilon": Range(0, 1, open_low=True),
    # The sizes of a network: beyond these, nothing is built that fits into a machine.
    "num_filters": Range(1, 8192),
    "fpn_num_filters": Range(1, 8192),
    "depth_multiplier": Range(0, 32, open_low=True),
    "filter_size_scale": Range(0, 32, open_low=True),
    "num_repeats": Range(1, 64),
    "expand_ratio": Range(1, 64),
    "min_level": Range(1, 10),
    "max_level": Range(1, 10),
    "last_stage_repeats": Range(1, 64),
    "endpoints_num_filters": Range(0, 8192),
    "hidden_size": Range(1, 16384),
    "patch_size": Range(1, 1024),
    "se_ratio": SHARE,
    "init_stochastic_depth_rate": BELOW_ONE,
    "stochastic_depth_drop_rate": BELOW_ONE,
    "dropout_rate": BELOW_ONE,
    "average_decay": BELOW_ONE,
    "start_step": COUNT_OR_NONE,
    "recovery_begin_steps": COUNT_OR_NONE,
    "recovery_max_trials": COUNT_OR_NONE,
    "continuous_eval_timeout": COUNT_OR_NONE,
    "num_packs": Range(0, 64),
}
# Model Garden's ids of backbones by config class, for which it raises a KeyError with nothing but the wrong one.
MODELS: dict[str, tuple[Any, ...]] = {
    "ResNet": (10, 18, 26, 34, 50, 101, 152, 200, 270, 350, 420),
    "EfficientNet": tuple(f"b{size}" for size in range(8)),
    "SpineNet": ("49S", "49", "96", "143", "143L", "190"),
    "SpineNetMobile": ("49", "49S", "49XS"),
    "RevNet": (38, 56, 104),
    "MobileNet": (
        "MobileNetV1",
        "MobileNetV2",
        "MobileNetV3Large",
        "MobileNetV3Small",
        "MobileNetV3EdgeTPU",
        "MobileNetMultiMAX",
        "MobileNetMultiAVG",
        "MobileNetMultiAVGSeg",
        "MobileNetMultiMAXSeg",
        "MobileNetV3SmallReducedFilters",
        "MobileNetV4ConvSmall",
        "MobileNetV4ConvMedium",
        "MobileNetV4ConvLarge",
        "MobileNetV4HybridMedium",
        "MobileNetV4HybridLarge",
        "MobileNetV4ConvMediumSeg",
    ),
    "MobileDet": ("MobileDetCPU", "MobileDetDSP", "MobileDetEdgeTPU", "MobileDetGPU"),
}
# Optimizers that Model Garden's config names and its published code lacks.
UNIMPLEMENTED = ("slide", "adafactor")
UPSTREAM_CHOICES = {
    "activation": (
        "relu",
        "relu6",
        "swish",
        "silu",
        "gelu",
        "mish",
        "hard_swish",
        "hard_sigmoid",
        "leaky_relu",
        "elu",
        "selu",
        "sigmoid",
        "tanh",
        "softplus",
        "softsign",
        "linear",
        "identity",
    ),
    "stem_type": ("v0", "v1"),
    "fusion_type": ("sum", "concat"),
    "output_stride": (8, 16, 32),
    "distribution_strategy": ("mirrored", "one_device", "multi_worker_mirrored", "tpu", "parameter_server", "off"),
    "mixed_precision_dtype": ("float32", "bfloat16", "float16"),
    "best_checkpoint_metric_comp": ("higher", "lower"),
}
