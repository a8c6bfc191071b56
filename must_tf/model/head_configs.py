"""The configs of the heads, and the size of the network's input: all of a config that predictions depend on."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from must_tf.config.base import Config
from must_tf.config.fields import between
from must_tf.spec import TaskConfig
from must_tf.tasks import discover


def _tasks_config() -> type[Config]:
    """Returns a config class with one field per discovered task."""
    fields = [(name, spec.Config, dataclasses.field(default_factory=spec.Config)) for name, spec in discover().items()]
    cls = dataclasses.make_dataclass("Tasks", fields, bases=(Config,))
    cls.__module__ = __name__
    return cls


if TYPE_CHECKING:
    Tasks = Any  # the fields are known at run time only
else:
    Tasks = _tasks_config()


@dataclasses.dataclass
class HeadsConfig(Config):
    """The part of a student's config that its export keeps.

    Attributes:
      tasks: one config per task; the enabled ones have a head.
      input_size: S, side of the square input in pixels; a multiple of 2^max_level.
    """

    tasks: Tasks = dataclasses.field(default_factory=Tasks)
    input_size: int = between(640, 1, 16384)


def enabled(config: HeadsConfig) -> dict[str, TaskConfig]:
    """Returns the configs of the enabled tasks. A task comes after those in its `needs`."""
    configs = {name: getattr(config.tasks, name) for name in discover()}
    return {name: task for name, task in configs.items() if task.enabled}
