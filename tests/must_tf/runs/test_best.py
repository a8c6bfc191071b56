"""The best checkpoint of every task and of all together, through interruptions and resumed runs."""

from __future__ import annotations

import json
import math
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from must_tf.cli import train
from must_tf.common import files, run_files
from must_tf.model.student import StudentConfig
from must_tf.runs import best, init_weights, restore
from tests.support.session.graphs import eagerly
from tests.support.tiny import Tiny, arguments, data

HEADLINES = {"segmentation": "segmentation/mIoU", "depth": "depth/delta1", "normals": "normals/mean_angle"}


class Run:
    """A run directory with evaluations but without a model. A checkpoint holds its step and its mIoU."""

    def __init__(self, directory: Path, **teachers: float) -> None:
        self.path, self.directory = directory, str(directory)
        self.task = StudentConfig()
        for name in HEADLINES:
            getattr(self.task.tasks, name).override({"enabled": True, "teacher_figure": teachers.get(name, 0.0)})
        self.task.validation_data.input_path = "val/*.tfrecord"
        self._step = tf.Variable(0, dtype=tf.int64)
        self._mark = tf.Variable(0.0)
        checkpoint = tf.train.Checkpoint(global_step=self._step, mark=self._mark)
        self._manager = tf.train.CheckpointManager(checkpoint, self.directory, max_to_keep=1)
        files.write_whole(os.path.join(self.directory, "params.yaml"), b"task: {}\n")

    def evaluated(self, step: int, figures: tuple[float, ...], **changed: Any) -> None:
        """Writes a checkpoint and its evaluation with mIoU, delta1 and the normals' angle."""
        self._step.assign(step)
        self._mark.assign(figures[0])
        self._manager.save(checkpoint_number=step)
        evaluation = {
            "step": step,
            "set": ["val/*.tfrecord"],
            "images": 5,
            "labelled": dict.fromkeys(HEADLINES, 5),
            "figures": {HEADLINES[name]: value for name, value in zip(HEADLINES, figures, strict=True)},
            "protocol": {"depth": {"crop": "none"}},
            "not_finite": {},
        } | changed
        files.append_json_line(os.path.join(self.directory, run_files.EVALUATIONS), evaluation)
        files.write_json(os.path.join(self.directory, run_files.EVALUATION), evaluation)

    def measure(self, step: int, figures: tuple[float, ...], **changed: Any) -> dict[str, int]:
        """Does the same, updates the best, and returns `steps()`."""
        self.evaluated(step, figures, **changed)
        best.update(self.directory, self.task)
        return self.steps()

    def steps(self) -> dict[str, int]:
        """The step of each kept checkpoint, read from its weights. Checks that its JSON belongs to them."""
        steps = {}
        for folder in sorted((self.path / "best").glob("*/")):
            prefix = tf.train.latest_checkpoint(str(folder))
            assert prefix is not None
            weights = tf.train.load_checkpoint(prefix)
            step, mark = (weights.get_tensor(f"{name}/{SUFFIX}") for name in ("global_step", "mark"))
            evaluation = json.loads(Path(prefix + ".json").read_text())
            assert evaluation["step"] == step
            assert evaluation["figures"].get(HEADLINES["segmentation"], mark) == pytest.approx(float(mark), nan_ok=True)
            steps[folder.name] = int(step)
        return steps


SUFFIX = ".ATTRIBUTES/VARIABLE_VALUE"


def test_each_task_keeps_its_best_in_its_own_direction(tmp_path: Path) -> None:
    """mIoU and delta1 should rise, the angle should fall. The gains over the first evaluation decide on overall."""
    run = Run(tmp_path)
    first = dict.fromkeys(("segmentation", "depth", "normals", "overall"), 10)
    assert run.measure(10, (0.2, 0.5, 20.0)) == first
    # +50 %, -20 %, +25 %: a mean gain of 18 %.
    second = {"segmentation": 20, "depth": 10, "normals": 20, "overall": 20}
    assert run.measure(20, (0.3, 0.4, 15.0)) == second
    # +25 %, +10 %, +15 %: 17 %.
    assert run.measure(30, (0.25, 0.55, 17.0)) == second | {"depth": 30}
    assert run.measure(40, (0.3, 0.55, 15.0)) == second | {"depth": 30, "overall": 40}  # equal is not better
    names = {path.name for path in (tmp_path / "best" / "depth").iterdir()}
    assert names == {"checkpoint", "params.yaml", "ckpt-30.json", "ckpt-30.index", "ckpt-30.data-00000-of-00001"}


def test_gain_over_the_teachers_by_hand() -> None:
    evaluation: Any = {"figures": {"segmentation/mIoU": 0.3, "normals/mean_angle": 15.0}, "not_finite": {}}
    # +20 % of 0.25, and 15 degrees are 25 % less than 20.
    assert best.mean_gain(evaluation, {"segmentation": 0.25, "normals": 20.0}) == pytest.approx((0.2 + 0.25) / 2)


def test_the_teachers_metrics_are_the_reference_if_given(tmp_path: Path) -> None:
    """From 0.1 to 0.2 mIoU is +100 % of the first evaluation, but +25 % of a teacher's 0.4. The angle loses 40 %."""
    assert Run(tmp_path / "own").measure(10, (0.1, 0.5, 20.0))["overall"] == 10
    assert Run(tmp_path / "own").measure(20, (0.2, 0.5, 28.0))["overall"] == 20
    taught = Run(tmp_path / "taught", segmentation=0.4, depth=0.5, normals=20.0)
    taught.measure(10, (0.1, 0.5, 20.0))
    assert taught.measure(20, (0.2, 0.5, 28.0))["overall"] == 10


def test_nan_never_wins_even_if_it_comes_first(tmp_path: Path) -> None:
    run = Run(tmp_path)
    assert run.measure(10, (math.nan, 0.5, 20.0)) == {"depth": 10, "normals": 10}
    second = {"segmentation": 20, "depth": 10, "normals": 10, "overall": 20}
    assert run.measure(20, (0.1, 0.4, 21.0)) == second
    assert run.measure(30, (math.nan, 0.4, 21.0)) == second
    # The metrics are finite, but a task predicted NaN.
    assert run.measure(40, (0.9, 0.9, 1.0), not_finite={"depth": {"images": 1, "first": "a"}}) == second | {
        "segmentation": 40,
        "normals": 40,
    }


def test_nan_predictions_with_a_metric_of_zero_do_not_win_either(tmp_path: Path) -> None:
    """If all metrics of a task are 0, it has no reference."""
    run = Run(tmp_path)
    assert "overall" not in run.measure(10, (0.0, 0.5, 20.0), not_finite={"segmentation": {"images": 1, "first": "a"}})
    assert run.measure(20, (0.0, 0.5, 20.0))["overall"] == 20
    assert run.measure(30, (0.01, 0.5, 20.0))["overall"] == 30


def test_a_task_without_labels_does_not_count(tmp_path: Path) -> None:
    run = Run(tmp_path)
    left = {"depth/delta1": 0.5, "normals/mean_angle": 20.0}
    run.evaluated(10, (0.0, 0.5, 20.0), labelled={"depth": 5, "normals": 5})
    evaluation = json.loads((tmp_path / run_files.EVALUATION).read_text()) | {"figures": left}
    files.write_json(str(tmp_path / run_files.EVALUATION), evaluation)
    best.update(run.directory, run.task)
    assert run.steps() == dict.fromkeys(("depth", "normals", "overall"), 10)


def test_a_resumed_run_remembers_its_best(tmp_path: Path) -> None:
    Run(tmp_path).measure(10, (0.3, 0.5, 10.0))
    assert set(Run(tmp_path).measure(20, (0.2, 0.4, 20.0)).values()) == {10}


@pytest.mark.parametrize("changed", [{"protocol": {"depth": {"crop": "eigen"}}}, {"images": 6}])
def test_metrics_of_another_set_or_protocol_are_replaced(tmp_path: Path, changed: dict[str, Any]) -> None:
    run = Run(tmp_path)
    run.measure(10, (0.3, 0.5, 10.0))
    assert set(run.measure(20, (0.2, 0.4, 20.0), **changed).values()) == {20}


def test_an_evaluation_on_another_set_changes_nothing(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.measure(10, (0.3, 0.5, 10.0))
    assert set(run.measure(20, (0.9, 0.9, 1.0), set=["other/*.tfrecord"]).values()) == {10}


class Killed(BaseException):
    """Simulates the end of the process."""


def killed_at(number: int, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Ends the process just before its `number`-th change of a file. Returns the changes until then."""
    changes: list[str] = []
    for name in ("copy", "rename", "remove"):
        change = getattr(tf.io.gfile, name)

        def guarded(path: str, *rest: Any, change: Any = change, **options: Any) -> Any:
            if len(changes) == number:
                raise Killed
            changes.append(path)
            return change(path, *rest, **options)

        monkeypatch.setattr(tf.io.gfile, name, guarded)
    return changes


@pytest.mark.parametrize("step", [20, 10])
def test_killed_at_any_moment(tmp_path: Path, step: int) -> None:
    """Each best is complete, the old one or the new one, and the same command then ends as if nothing had happened.

    Step 10 again: a run resumed from before a step that it had measured, and reaches it with other weights.
    """
    run = Run(tmp_path / "start")
    run.measure(10, (0.2, 0.5, 20.0))
    run.evaluated(step, (0.3, 0.6, 15.0))
    names = ("segmentation", "depth", "normals", "overall")
    ended = False
    number = 0
    while not ended:
        copy = Run(shutil.copytree(tmp_path / "start", tmp_path / f"killed-{number}"))
        with pytest.MonkeyPatch.context() as patch:
            changes = killed_at(number, patch)
            try:
                best.update(copy.directory, copy.task)
                ended = True
            except Killed:
                assert len(changes) == number
        steps = copy.steps()
        assert set(steps) == set(names) and set(steps.values()) <= {10, step}
        best.update(copy.directory, copy.task)
        assert copy.steps() == dict.fromkeys(names, step)
        assert best.kept(f"{copy.directory}/best/depth") == json.loads((copy.path / run_files.EVALUATION).read_text())
        number += 1
    # For each of four folders: two copies, params.yaml, the JSON, `checkpoint`, and the removal of three old files.
    assert number > 4 * 8


def test_a_repeated_step_does_not_overwrite_the_checkpoint_in_use(tmp_path: Path) -> None:
    """A run resumed from before a step that it had measured. Its weights are different now, and better."""
    run = Run(tmp_path)
    run.measure(10, (0.2, 0.5, 20.0))
    for figure in (0.3, 0.4):
        assert run.measure(10, (figure, 0.5, 20.0))["segmentation"] == 10
        kept = best.kept(str(tmp_path / "best" / "segmentation"))
        assert kept is not None and kept["figures"]["segmentation/mIoU"] == figure
        assert len(list((tmp_path / "best" / "segmentation").glob("ckpt-*"))) == 3


@pytest.fixture(scope="module")
def trained(tiny_records: Tiny, tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    """A classification teacher that is measured after each of three steps and saved by the loop only at the end."""
    tiny = tiny_records._replace(run=str(tmp_path_factory.mktemp("best") / "run"))
    override = data(f"{tiny.records}/*.tfrecord") | {
        "trainer": {"train_steps": 3, "validation_interval": 1, "checkpoint_interval": 1000}
    }
    with eagerly():
        train.main(arguments(tiny.config, tiny.run, "must_teacher_classification", override, "train_and_eval"))
    return tiny


def test_the_kept_weights_are_those_that_were_measured(trained: Tiny, tmp_path: Path) -> None:
    """The loop evaluates before it saves, but evaluating the kept checkpoint gives the metrics that it was kept for."""
    history = [json.loads(line) for line in Path(trained.run, "evaluations.jsonl").read_text().splitlines()]
    assert [line["step"] for line in history] == [1, 2, 3]
    figures = [line["figures"]["classification/top1"] for line in history]
    expected = history[int(np.argmax(figures))]  # the first of equals
    for name in ("classification", "overall"):
        assert best.kept(os.path.join(trained.run, "best", name)) == expected
    directory = shutil.copytree(Path(trained.run, "best", "overall"), tmp_path / "copy")
    override = data(f"{trained.records}/*.tfrecord")
    with eagerly():
        train.main(arguments(trained.config, directory, "must_teacher_classification", override, "eval"))
    again = json.loads((directory / "evaluation.json").read_text())
    assert (again["step"], again["figures"]) == (expected["step"], expected["figures"])


def test_a_kept_best_is_a_run_directory(trained: Tiny) -> None:
    """Export, labelling and transfer can load it. It has the optimizer's state, so training can continue."""
    directory = os.path.join(trained.run, "best", "classification")
    assert init_weights.check(directory, "all").startswith(directory)
    names = tf.train.load_checkpoint(tf.train.latest_checkpoint(directory)).get_variable_to_shape_map()
    assert any(name.startswith("optimizer/") for name in names)
    kept = best.kept(directory)
    assert kept is not None and restore.load(directory).step == kept["step"]


def test_the_same_command_keeps_the_best_after_an_interruption(trained: Tiny, tmp_path: Path) -> None:
    """The run was killed after its last evaluation was written, before its checkpoint was kept."""
    copy = trained._replace(run=str(shutil.copytree(trained.run, tmp_path / "run")))
    shutil.rmtree(Path(copy.run, "best"))
    override = data(f"{copy.records}/*.tfrecord") | {"trainer": {"train_steps": 3}}
    with eagerly():
        train.main(arguments(copy.config, copy.run, "must_teacher_classification", override, "train_and_eval"))
    kept = best.kept(os.path.join(copy.run, "best", "overall"))
    assert kept is not None and kept["step"] == 3
