"""The base class of all configs: Model Garden's, or a plain one if Model Garden is not installed.

Only training needs Model Garden. An export is used without it: its settings are read from must_tf.json, checked by
`validate.py`, and put into the same config classes.
"""

from __future__ import annotations

import dataclasses
import importlib.util
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

HAS_MODEL_GARDEN = importlib.util.find_spec("official") is not None


@dataclasses.dataclass
class PlainConfig:
    """The part of Model Garden's `Config` that the checks and an export need, with the same results."""

    RESERVED_ATTR = ()  # names in `__dict__` that are not fields

    def override(self, values: Mapping[str, Any], is_strict: bool = True) -> None:
        """Sets fields from nested values.

        Raises:
          KeyError: a key is not a field.
        """
        del is_strict  # Model Garden can also add fields
        for key, value in values.items():
            current = self.__dict__[key]
            if isinstance(current, PlainConfig):
                current.override(value)
            else:
                self.__dict__[key] = value

    def as_dict(self) -> dict[str, Any]:
        """Returns the values of all fields, nested."""
        return {
            key: value.as_dict() if isinstance(value, PlainConfig) else value for key, value in self.__dict__.items()
        }


if TYPE_CHECKING or HAS_MODEL_GARDEN:
    from official.modeling.hyperparams import Config as Config
    from official.modeling.hyperparams import OneOfConfig as OneOfConfig
else:
    Config = PlainConfig

    class OneOfConfig(PlainConfig):
        """A choice between several groups of keys. Only the configs of training have any."""
