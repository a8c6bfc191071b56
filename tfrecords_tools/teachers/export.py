"""An export of this project (`must-export`) as a teacher. Its labels equal those of the exported run, bit by bit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from must_tf.model.head_configs import enabled
from must_tf.serving import exported
from must_tf.serving.exported import is_here as is_here
from tfrecords_tools.teachers import About, check_tasks
from tfrecords_tools.teachers.trained import TrainedTeacher, class_names, facts

LOOKED_FOR = "{path}/must_tf.json (an export of must-export)"


class ExportedRun(NamedTuple):
    """A SavedModel of must-export."""

    about: About

    def load(self) -> TrainedTeacher:
        """Loads the network of the signature that takes fitted images."""
        path = self.about.path
        settings = exported.settings(path, exported.description(path))
        return TrainedTeacher(self.about, exported.network(path), enabled(settings), settings.input_size)


def describe(path: str, tasks: Sequence[str]) -> ExportedRun:
    """Describes the export. Its id is the run's.

    Raises:
      UserError: it was written by an older version, is damaged, or was not trained for these tasks.
    """
    content = exported.description(path)
    configs = enabled(exported.settings(path, content))
    check_tasks(path, tasks, list(configs), "export")
    known = facts("export", content["step"], content["input_size"], {task: configs[task] for task in tasks})
    known["trained_on"] = {task: content["trained_on"][task] for task in tasks if task in content["trained_on"]}
    known["licence"] = "; ".join(content.get("licences", ()))  # older exports have none
    return ExportedRun(About(path, tuple(tasks), content["teacher_id"], class_names(configs, tasks), known))
