"""What is settled before a run, and where a run goes on: weights of the losses, class names, transfer, resuming."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from must_tf import experiment_config
from must_tf.cli import train
from must_tf.common.errors import UserError
from must_tf.config import values as config_values
from must_tf.model import student
from must_tf.runs import checkpoints, init_weights, restore
from must_tf.spec import TaskConfig
from must_tf.tasks import discover
from must_tf.training import loss_weights, preflight
from tests.support.tiny import Tiny, arguments, data, scene_record, write_set


def teacher(batch_size: int, learning_rate: float, loss_weight: float = 1.0) -> TaskConfig:
    """What the weight rule looks at."""
    return TaskConfig(teacher_batch_size=batch_size, teacher_learning_rate=learning_rate, loss_weight=loss_weight)


def test_the_papers_weights() -> None:
    """w = (b_s * lr_i) / (b_i * lr_s), by hand: student 256 and 0.32; depth is exempt."""
    by_hand = discover()["depth"].Config(loss_weight=3.0)
    tasks = {"a": teacher(64, 0.08), "b": teacher(1024, 0.4, 2.0), "depth": by_hand}
    loss_weights.resolve(tasks, "paper", 256, 0.32)
    assert tasks["a"].weight == pytest.approx(1.0)  # 256 * 0.08 / (64 * 0.32) = 20.48 / 20.48
    assert tasks["b"].weight == pytest.approx(0.625)  # 2 * 256 * 0.4 / (1024 * 0.32) = 2 * 102.4 / 327.68
    assert tasks["depth"].weight == 3.0


@pytest.mark.parametrize("rule", ["fixed", "learned"])
def test_other_rules_use_the_given_factor_alone(rule: str) -> None:
    """Teachers are not asked."""
    tasks = {"a": teacher(0, 0.0, 2.5)}
    loss_weights.resolve(tasks, rule, 256, 0.32)
    assert tasks["a"].weight == 2.5


@pytest.mark.parametrize(("value", "expected"), [((12.0, 4.0), 3.0), ((0.0, 0.0), 0.0), ((5.0, 0.0), 5.0)])
def test_mean_of_a_term(value: tuple[float, float], expected: float) -> None:
    """Sum over count; nothing labelled gives 0 and no NaN."""
    total, count = (tf.constant(number) for number in value)
    assert float(loss_weights.mean(loss_weights.Term(total, count))) == expected


def test_first_learning_rate_of_each_schedule() -> None:
    """lr_s is the value after warm-up."""
    params = experiment_config.load("must_student")
    for name, key, value in (
        ("constant", "learning_rate", 0.5),
        ("cosine", "initial_learning_rate", 0.25),
        ("stepwise", "values", [0.125, 0.0625]),
    ):
        override = {"trainer": {"optimizer_config": {"learning_rate": {"type": name, name: {key: value}}}}}
        config_values.apply(params, override, "test")
        first = value[0] if isinstance(value, list) else value
        assert preflight.initial_learning_rate(params.trainer.optimizer_config) == first


def settled(tiny: Tiny, override: dict, experiment: str = "must_teacher_classification") -> student.StudentConfig:
    """The task's config after `run.settle`."""
    params = experiment_config.load(experiment, [tiny.config])
    config_values.apply(params, override, "test")
    preflight.settle(params, "train")
    return params.task


def test_class_names_come_from_the_records(tiny_records: Tiny) -> None:
    """Without a word about them in the config."""
    found = settled(tiny_records, data(f"{tiny_records.records}/*.tfrecord"))
    assert tuple(found.tasks.classification.classes) == ("corridor", "hall", "garden", "cave")


def test_two_sets_that_name_classes_differently(tiny_records: Tiny, tmp_path: Path) -> None:
    """The same names in another order are other classes; a set without any has no say."""
    write_set(tmp_path / "silent", [[scene_record(0, ("depth",))]], ("depth",))
    write_set(tmp_path / "other", [[scene_record(0, ("classification",))]], ("classification",))
    sets = [f"{tiny_records.records}/*.tfrecord", f"{tmp_path}/silent/*.tfrecord"]
    assert len(settled(tiny_records, {"task": {"train_data": {"input_path": sets}}}).tasks.classification.classes) == 4
    path = tmp_path / "other" / "manifest.json"
    content = json.loads(path.read_text())
    content["classes"]["classification"].reverse()
    path.write_text(json.dumps(content))
    with pytest.raises(UserError, match="classification classes .*same classes in the same order"):
        sets.append(f"{tmp_path}/other/*.tfrecord")
        settled(tiny_records, {"task": {"train_data": {"input_path": sorted(sets, reverse=True)}}})


def like(run_directory: str, names: tuple[str, ...]) -> student.Student:
    """A fresh model of a run's shape with these heads on."""
    settings = restore.read_config(run_directory)
    config_values.apply(settings, {"tasks": {name: {"enabled": name in names} for name in discover()}}, "test")
    return student.build(settings)


def values(layer: tf.Module) -> list[np.ndarray]:
    """All its weights, moving statistics included."""
    return [variable.numpy() for variable in layer.variables]


def same(one: list[np.ndarray], other: list[np.ndarray]) -> bool:
    """Bit by bit."""
    return len(one) == len(other) and all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("modules", ["trunk", "all"])
def test_transfer_restores_the_trunk_bit_exactly(tiny: Tiny, modules: str) -> None:
    """And the heads that both have with "all", else none; heads that only one has stay as they are."""
    source = restore.load(tiny.run).model
    model = like(tiny.run, ("depth",))
    head = values(model.heads["depth"])
    assert not same(values(model.trunk), values(source.trunk))
    report = init_weights.load(model, tiny.run, modules)
    assert len(values(model.trunk)) > 50
    assert same(values(model.trunk), values(source.trunk))
    assert same(values(model.heads["depth"]), head) == (modules == "trunk")
    assert same(values(model.heads["depth"]), values(source.heads["depth"])) == (modules == "all")
    lines = [line.split() for line in report.splitlines()]
    assert ["trunk/backbone", str(len(model.trunk.backbone.variables)), "0", "0"] in lines
    assert ["trunk/decoder", str(len(model.trunk.decoder.variables)), "0", "0"] in lines
    assert ("fresh" in report) == (modules == "trunk")


@pytest.fixture(scope="module")
def classifier(tiny_records: Tiny, tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    """A classification teacher of two steps whose loss weight is learned."""
    one = tiny_records._replace(run=str(tmp_path_factory.mktemp("run") / "classifier"))
    train.main(classifier_arguments(one, {}))
    return one


def classifier_arguments(one: Tiny, trainer: dict[str, object]) -> list[str]:
    """The command that made `classifier`, with these settings of the trainer."""
    override = data(f"{one.records}/*.tfrecord") | {"trainer": trainer}
    override["task"]["balance"] = "learned"
    return arguments(one.config, one.run, "must_teacher_classification", override, "train")


def test_learned_variances_are_trained(classifier: Tiny) -> None:
    """L exp(-s) + s / 2 at s = 0 falls where L > 1/2 and s grows: four classes start near L = ln 4 = 1.39."""
    found = restore.load(classifier.run).model.log_variances
    assert found.keys() == {"classification"}
    assert 0 < float(found["classification"]) < 0.1


def test_a_finished_run_says_so_and_changes_nothing(tiny: Tiny, capsys: pytest.CaptureFixture[str]) -> None:
    """The same command again."""
    before = {path: path.stat().st_mtime_ns for path in Path(tiny.run).rglob("*")}
    override = data(f"{tiny.records}/*.tfrecord")
    train.main(arguments(tiny.config, tiny.run, "must_student", override, "train_and_eval"))
    assert "is finished: 2 of 2 steps" in capsys.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in Path(tiny.run).rglob("*")} == before


def test_a_run_that_was_stopped_while_evaluating_evaluates(
    tiny: Tiny, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """All steps are trained, the evaluation is not there: the same command measures, and trains nothing."""
    copy = tiny._replace(run=str(shutil.copytree(tiny.run, tmp_path / "run")))
    evaluation = Path(copy.run, "evaluation.json")
    figures = json.loads(evaluation.read_text())
    evaluation.unlink()
    override = data(f"{copy.records}/*.tfrecord")
    train.main(arguments(copy.config, copy.run, "must_student", override, "train_and_eval"))
    assert "is finished: 2 of 2 steps" in capsys.readouterr().out
    assert json.loads(evaluation.read_text()) == figures
    assert checkpoints.trained_steps(copy.run) == 2


def test_a_run_goes_on_where_its_checkpoint_is(
    classifier: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Three steps after two: one more, from the image after the last that was seen, with the weights as they were.

    A newer checkpoint was cut off by a kill: it is passed over, said, and written over.
    """
    copy = classifier._replace(run=str(shutil.copytree(classifier.run, tmp_path / "run")))
    (Path(copy.run) / "ckpt-3.data-00000-of-00001").write_bytes(b"cut off")
    (Path(copy.run) / "checkpoint").write_text('model_checkpoint_path: "ckpt-3"\nall_model_checkpoint_paths: "ckpt-3"')
    started = []
    build = train._build

    def watched(*given: Any) -> Any:
        runner = build(*given)
        step, image = int(runner.trainer.global_step), runner.trainer._task.start.images
        started.append((step, image, values(runner.trainer.model)))
        return runner

    monkeypatch.setattr(train, "_build", watched)
    train.main([*classifier_arguments(copy, {"train_steps": 3}), "--extend"])
    said = capsys.readouterr()
    assert "run/ckpt-3 is missing, truncated or damaged; using" in said.err
    assert "trainer.train_steps: 2 -> 3" in said.out
    assert started[0][:2] == (2, 4)  # two steps of two images
    assert same(started[0][2], values(restore.load(classifier.run).model))
    assert checkpoints.trained_steps(copy.run) == 3
    assert not same(started[0][2], values(restore.load(copy.run).model))


def tree(folder: str) -> dict[str, bytes]:
    """All files with their content."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in Path(folder).rglob("*") if path.is_file()}


def test_overwrite_starts_anew_once_everything_is_built(
    classifier: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that cannot be built leaves the old one as it was; one that can has its own first step and nothing else."""
    copy = classifier._replace(run=str(shutil.copytree(classifier.run, tmp_path / "run")))
    (tmp_path / "run" / "notes.txt").write_text("mine")
    before = tree(copy.run)
    given = [*classifier_arguments(copy, {"train_steps": 1}), "--overwrite"]

    def refuse(*_: Any) -> None:
        assert tf.train.latest_checkpoint(copy.run) is None  # or Model Garden would go on from it
        raise ValueError("refused")

    with monkeypatch.context() as patched:
        patched.setattr(train, "_build", refuse)
        with pytest.raises(UserError, match="cannot be built as configured: refused"):
            train.main(given)
    assert tree(copy.run) == before
    train.main(given)
    after = tree(copy.run)
    assert checkpoints.trained_steps(copy.run) == 1
    assert {name.split(".")[0] for name in after if name.startswith("ckpt-")} == {"ckpt-1"}
    assert not [name for name in after if "aside" in name or "partial" in name]
    assert after["notes.txt"] == b"mine" and {"params.yaml", "run.json"} < after.keys()
    events = [name for name in after if name.startswith("train/events")]
    assert events and not set(events) & before.keys()


def test_a_changed_config_is_refused_before_anything_is_built(
    classifier: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the command, not only by the rule; the directory stays as it was."""
    monkeypatch.setattr(train, "_build", lambda *given: pytest.fail("built"))
    before = tree(classifier.run)
    for trainer, word in (({"train_steps": 3}, "--extend"), ({"train_steps": 1}, "2 -> 1")):
        with pytest.raises(UserError, match=f"belongs to a run(.|\n)*{word}"):
            train.main(classifier_arguments(classifier, trainer))
    assert tree(classifier.run) == before


def test_a_dry_run_of_a_run_restores_it_and_changes_nothing(
    classifier: Tiny, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """All weights are found; the picture alone is new, even where the list of checkpoints is damaged."""
    copy = classifier._replace(run=str(shutil.copytree(classifier.run, tmp_path / "run")))
    (tmp_path / "run" / "checkpoint").write_text("")
    before = tree(copy.run)
    train.main([*classifier_arguments(copy, {"train_steps": 3}), "--extend", "--dry_run"])
    said = capsys.readouterr().out
    assert f"{copy.run} goes on at step 2" in said
    count = len(restore.load(classifier.run).model.trunk.backbone.variables)
    assert ["trunk/backbone", str(count), "0", "0"] in [line.split() for line in said.splitlines()]
    after = tree(copy.run)
    assert after.pop("dry_run.png") and after == before
