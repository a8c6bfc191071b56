"""One folder per task. The folders are discovered, not listed: a task that is copied in here is trained, evaluated,
exported, drawn and tested with no edit elsewhere.

Commands that only read and write records import them too, and so do predictions with an export, perhaps without
Model Garden. So the functions that build and train a network import what they need of Model Garden's vision package and
of tf_keras.
"""

from __future__ import annotations

import functools
import importlib
import pkgutil
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from must_tf.spec import TaskSpec

# Other distributions may bring tasks too, in a folder must_tf/tasks/<task> of their own.
__path__ = pkgutil.extend_path(__path__, __name__)


def names() -> list[str]:
    """Returns the names of all tasks in alphabetical order. Imports none of them, nor TensorFlow."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__) if module.ispkg)


@functools.cache
def discover() -> dict[str, TaskSpec]:
    """All tasks by name, those that others need first."""
    # No config is made before its task is known.
    from must_tf.common import upstream
    from must_tf.config import base  # imports TensorFlow, which `names` must not

    if base.HAS_MODEL_GARDEN:
        upstream.cache_config_types()
    found = {name: importlib.import_module(f"{__name__}.{name}").TASK for name in names()}
    for name, task in found.items():
        if task.name != name:
            raise ImportError(f"must_tf/tasks/{name}: its TASK is named {task.name!r}; give it the folder's name.")
    ordered: dict[str, TaskSpec] = {}
    while len(ordered) < len(found):
        ready = [n for n in found if n not in ordered and all(need in ordered for need in found[n].needs)]
        if not ready:
            raise ImportError(f"tasks {sorted(set(found) - set(ordered))} need tasks that do not exist or each other.")
        ordered |= {name: found[name] for name in ready}
    return ordered


def naming_task(task: str) -> str:
    """Returns the task whose class names a task has, because it labels the same objects: detection for masks."""
    specs = discover()
    while specs[task].needs and not ((ids := specs[task].class_ids) and ids.recode):
        task = specs[task].needs[0]
    return task
