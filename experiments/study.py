"""The steps of a study on generated scenes: records, trainings, labels."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

from must_tf.common import folder_lock, own_folder, run_files
from must_tf.loop.settings import combined
from must_tf.loop.steps import Step, StepRunner, claim

SCENES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "quickstart", "scenes.yaml")  # settings of every run


class Study:
    """The study `name` in the folder `out`. Each method returns a step that writes below it.

    Its list of steps marks the folder. It has the study's name, because other studies and plans have folders of the
    same names below theirs, and would remove them.
    """

    def __init__(self, out: str, name: str):
        self._out = out
        self._done = f"{name}-steps.json"

    def path(self, *parts: str) -> str:
        """Returns a path in the study's folder."""
        return os.path.join(self._out, *parts)

    def files(self, dataset: str) -> str:
        """Returns the pattern of a dataset's record files."""
        return self.path("records", dataset, "*.tfrecord")

    def scenes(self, dataset: str, count: int, seed: int, tasks: Sequence[str] = ()) -> Step:
        """Converts scenes with labels for these tasks."""
        out = self.path("records", dataset)
        labels = ("--tasks", ",".join(tasks)) if tasks else ()
        words = ("convert", "scenes", "--domain", "wild", "--count", str(count), "--seed", str(seed), *labels)
        return Step(f"records {dataset}", (*words, "--out", out), out)

    def training(self, run: str, experiment: str, dataset: str, steps: int, settings: Mapping[str, Any]) -> Step:
        """Trains on a dataset. Saves at the end, and evaluates on the dataset "heldout"."""
        config, out = self.path("configs", f"{run}.yaml"), self.path(run)
        data = {
            "train_data": {"input_path": [self.files(dataset)]},
            "validation_data": {"input_path": [self.files("heldout")]},
        }
        trainer = {
            "train_steps": steps,
            "checkpoint_interval": steps,
            "validation_interval": steps,
            "optimizer_config": {"learning_rate": {"cosine": {"decay_steps": steps}}},
        }
        values = combined({"task": data, "trainer": trainer}, settings)
        words = ("train", f"--experiment={experiment}", "--mode=train_and_eval", f"--model_dir={out}")
        files = (f"--config_file={SCENES}", f"--config_file={config}")
        needs = (self.path("records", dataset), self.path("records", "heldout"))
        return Step(run, (*words, *files), out, {config: lambda: values}, needs)

    def labels(self, dataset: str, teacher: str, tasks: Sequence[str]) -> Step:
        """Lets a run label a dataset. The result is named <dataset>-labelled.

        A teacher that is trained for a few minutes may be judged unfit. The log has the verdict, and the study goes on.
        """
        out = self.path("records", f"{dataset}-labelled")
        given = [word for task in tasks for word in ("--teacher", f"{task}={self.path(teacher)}")]
        words = ("label", "--records", self.files(dataset), *given, "--out", out, "--force")
        return Step(f"label {dataset}", words, out, needs=(self.path("records", dataset), self.path(teacher)))

    def execute(self, steps: Sequence[Step]) -> None:
        """Executes the steps that are not done yet.

        Raises:
          UserError: one of them failed, the folder has other files, or another process writes it.
        """
        own_folder.require(self._out, (self._done,))
        with folder_lock.held(self._out):
            claim(self._out, self._done)
            runner = StepRunner(self._out, self._done)
            for number, step in enumerate(steps, 1):
                runner.run(step, f"{number}/{len(steps)}")

    def figures(self, run: str) -> dict[str, float]:
        """Returns {"task/metric": value} of a run's last evaluation."""
        with open(self.path(run, run_files.EVALUATION)) as file:
            return json.load(file)["figures"]
