"""Preflight and resuming: loss weights, class names, initial weights, and what a second command does to a run."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import tensorflow as tf

from must_tf.cli import train
from must_tf.common.errors import Mistakes, UserError
from must_tf.config import values as config_values
from must_tf.data import record
from must_tf.experiments import experiment_config
from must_tf.model import student
from must_tf.runs import checkpoints, init_weights, restore
from must_tf.spec import TaskConfig
from must_tf.tasks import discover
from must_tf.training import loss_weights, preflight, settings_check
from tests.support.labelling import tell
from tests.support.session.graphs import eagerly
from tests.support.tiny import Tiny, arguments, data, scene_record, write_set
from tests.support.weights import like, same, values


def teacher(batch_size: int, learning_rate: float, loss_weight: float = 1.0) -> TaskConfig:
    """A task config with the fields that the weight rule reads."""
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
def test_other_rules_use_only_the_loss_weight(rule: str) -> None:
    """The teacher's batch size and learning rate are not used."""
    tasks = {"a": teacher(0, 0.0, 2.5)}
    loss_weights.resolve(tasks, rule, 256, 0.32)
    assert tasks["a"].weight == 2.5


@pytest.mark.parametrize(("value", "expected"), [((12.0, 4.0), 3.0), ((0.0, 0.0), 0.0), ((5.0, 0.0), 5.0)])
def test_mean_of_a_term(value: tuple[float, float], expected: float) -> None:
    """Sum over count. If nothing is labelled, the mean is 0, not NaN."""
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
    """The task's config after `preflight.settle`."""
    params = experiment_config.load(experiment, [tiny.config])
    config_values.apply(params, override, "test")
    preflight.settle(params, "train")
    return params.task


@pytest.mark.parametrize(
    ("runtime", "reason"),
    [
        ({"distribution_strategy": "tpu"}, "on a TPU"),
        ({"enable_xla": True, "num_gpus": 1}, "under XLA (runtime.enable_xla)"),
    ],
)
def test_what_xla_cannot_compile_is_refused(tiny_records: Tiny, runtime: dict[str, Any], reason: str) -> None:
    """On a CPU, `enable_xla` compiles nothing."""
    override = data(f"{tiny_records.records}/*.tfrecord") | {"runtime": runtime}
    message = f"task.tasks.detection.nms='batched' does not run {reason}. Set it to 'v2'."
    with pytest.raises(UserError, match=re.escape(message)):
        settled(tiny_records, override, "must_teacher_detection")
    override["task"]["tasks"] = {"detection": {"nms": "v2"}}
    settled(tiny_records, override, "must_teacher_detection")
    override["task"]["tasks"] = {"detection": {"nms": "batched"}}
    override["runtime"] = {"enable_xla": True, "num_gpus": 0}
    settled(tiny_records, override, "must_teacher_detection")


@pytest.mark.parametrize(
    ("adamw", "is_refused"),
    [({"global_clipnorm": 10.0}, True), ({"global_clipnorm": 0.5}, False), ({"gradient_clip_norm": 0.0}, False)],
)
def test_a_norm_that_adamw_has_clipped_to_is_not_clipped_again(
    tiny_records: Tiny, adamw: dict[str, float], is_refused: bool
) -> None:
    """Model Garden's AdamW clips to 1 by default."""
    override = data(f"{tiny_records.records}/*.tfrecord")
    override["trainer"] = {"optimizer_config": {"optimizer": {"type": "adamw", "adamw": adamw}}}
    words = "adamw.global_clipnorm=10.0 would clip nothing: gradient_clip_norm=1.0 comes first. Set only that one."
    expected = pytest.raises(UserError, match=re.escape(words)) if is_refused else contextlib.nullcontext()
    with expected:
        settled(tiny_records, override)


def test_the_parts_of_a_network_are_checked_beside_other_mistakes() -> None:
    """What may follow from another mistake is not reported: a head that is off, or an input for other levels."""
    task = experiment_config.load("must_student").task
    task.init_modules, task.freeze, task.input_size, task.model.decoder.type = "trnk", ("backbon", "depth"), 100, "aspp"

    def found(other: str) -> list[str]:
        mistakes = Mistakes([other])
        settings_check._check_model(task, {}, mistakes)
        return [problem.split("=")[0].split(":")[0] for problem in mistakes.problems[1:]]

    named = ["task.init_modules", "task.freeze"]
    assert found("trainer.train_steps=0") == [*named, "task.model.decoder.type", "task.input_size"]
    assert found("task.model.max_levle: no such key.") == named
    task.init_modules, task.freeze = "trunk", ("backbone", "depth")
    assert found("task.input_size=0 is out of range") == []


def test_targets_must_fill_the_input(tiny_records: Tiny) -> None:
    """42 cells of 3 pixels are 126 of 128; drawing them, and comparing them with the output, would go wrong."""
    override = data(f"{tiny_records.records}/*.tfrecord")
    override["task"]["tasks"] = {"depth": {"stride": 3}}
    with pytest.raises(UserError, match=re.escape("depth.stride=3 must divide task.input_size=128, like 2.")):
        settled(tiny_records, override, "must_teacher_depth")


@pytest.mark.parametrize(
    ("repeats", "words"), [([2, 1], "has 2 numbers for 1 entries of input_path"), ([0], "from 1 to 1,000, not 0")]
)
def test_repeats_fit_the_data(tiny_records: Tiny, repeats: list[int], words: str) -> None:
    override = data(f"{tiny_records.records}/*.tfrecord")
    override["task"]["train_data"]["repeats"] = repeats
    with pytest.raises(UserError, match=f"task.train_data.repeats.*{words}"):
        settled(tiny_records, override)
    override["task"]["train_data"].pop("repeats")
    override["task"]["validation_data"]["repeats"] = [2]
    with pytest.raises(UserError, match="task.validation_data.repeats: every image is evaluated once"):
        settled(tiny_records, override)


def test_class_names_come_from_the_records(tiny_records: Tiny) -> None:
    """The config does not name any."""
    task = settled(tiny_records, data(f"{tiny_records.records}/*.tfrecord"))
    assert tuple(task.tasks.classification.classes) == ("corridor", "hall", "garden", "cave")


def test_heads_that_cannot_be_measured_are_named(
    tiny_records: Tiny, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Pseudo labels are not ground truth."""
    write_set(tmp_path / "boxes", [[scene_record(0, ("detection",))]], ("detection",))
    validation = {"task": {"validation_data": {"input_path": f"{tmp_path}/boxes/*.tfrecord"}}}
    params = experiment_config.load("must_teacher_classification", [tiny_records.config])
    config_values.apply(params, data(f"{tiny_records.records}/*.tfrecord"), "test")
    preflight.settle(params, "train_and_eval")
    assert "no real labels" not in capsys.readouterr().out
    config_values.apply(params, validation, "test")
    preflight.settle(params, "train_and_eval")
    assert f"{tmp_path}/boxes has no real labels for classification: no metrics for those." in capsys.readouterr().out


def test_a_confidence_that_no_label_has_is_noted(
    tiny_records: Tiny, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of pseudo labels; settings for all runs of a plan also reach its teachers, which learn from real labels."""
    labelled = record.read_labels(scene_record(0, ("depth",)), discover(), {"depth": discover()["depth"].Config()})
    pseudo = record.merge(scene_record(0, ()), {"depth": labelled["depth"]._replace(origin="pseudo:abc")}, discover())
    folder = tmp_path / "set"
    mine, note = data(write_set(folder, [[pseudo]], ("depth",))), "task.tasks.depth: confidence_threshold and weighting"
    real = data(f"{tiny_records.records}/*.tfrecord")
    for settings, records, teacher, is_noted in (
        ({"confidence_threshold": 0.5}, mine, {}, True),
        ({"weighting": "confidence"}, mine, {}, True),
        ({"weighting": "confidence"}, mine, {"confidence": {"depth": "how"}}, False),
        ({}, mine, {}, False),
        ({"confidence_threshold": 0.5}, real, {}, False),
    ):
        tell(folder, teachers={"abc": teacher})
        override = records | {"task": records["task"] | {"tasks": {"depth": settings}}}
        settled(tiny_records, override, "must_teacher_depth")
        assert (note in capsys.readouterr().out) == is_noted


def test_two_sets_that_name_classes_differently(tiny_records: Tiny, tmp_path: Path) -> None:
    """The same names in another order are other classes. A set without class names fits any other."""
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


@pytest.fixture(scope="module")
def source(tiny: Tiny) -> student.Student:
    """The tiny run's model."""
    return restore.load(tiny.run).model


@pytest.mark.parametrize("modules", ["trunk", "all"])
def test_transfer_restores_the_trunk_bit_exactly(tiny: Tiny, source: student.Student, modules: str) -> None:
    """With "all", heads that both models have are restored too. Other heads keep their random weights."""
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
    assert ("random weights" in report) == (modules == "trunk")


@pytest.fixture(scope="module")
def classifier(tiny_records: Tiny, tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    """A classification teacher of two steps whose loss weight is learned."""
    tiny = tiny_records._replace(run=str(tmp_path_factory.mktemp("run") / "classifier"))
    train_eagerly(classifier_arguments(tiny, {}))
    return tiny


def train_eagerly(given: list[str]) -> None:
    """Runs the command without graphs, which it would run once or twice."""
    with eagerly():
        train.main(given)


def classifier_arguments(tiny: Tiny, trainer: Mapping[str, object]) -> list[str]:
    """The command that made `classifier`, with these trainer settings."""
    override = data(f"{tiny.records}/*.tfrecord") | {"trainer": trainer}
    override["task"]["balance"] = "learned"
    return arguments(tiny.config, tiny.run, "must_teacher_classification", override, "train")


def test_learned_variances_are_trained(classifier: Tiny) -> None:
    """At s = 0, L exp(-s) + s / 2 falls as s grows if L > 1/2. Four classes start near L = ln 4 = 1.39."""
    log_variances = restore.load(classifier.run).model.log_variances
    assert log_variances.keys() == {"classification"}
    assert 0 < float(log_variances["classification"]) < 0.1


def test_a_finished_run_says_so_and_changes_nothing(tiny: Tiny, capsys: pytest.CaptureFixture[str]) -> None:
    """The same command again."""
    before = {path: path.stat().st_mtime_ns for path in Path(tiny.run).rglob("*")}
    override = data(f"{tiny.records}/*.tfrecord")
    train.main(arguments(tiny.config, tiny.run, "must_student", override, "train_and_eval"))
    assert "is finished: 2 of 2 steps" in capsys.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in Path(tiny.run).rglob("*")} == before


def test_a_run_that_was_killed_while_evaluating_is_evaluated(
    tiny: Tiny, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """All steps are trained, but the evaluation is missing: the same command evaluates and trains nothing."""
    copy = tiny._replace(run=str(shutil.copytree(tiny.run, tmp_path / "run")))
    evaluation = Path(copy.run, "evaluation.json")
    before = json.loads(evaluation.read_text())
    evaluation.unlink()
    override = data(f"{copy.records}/*.tfrecord")
    train_eagerly(arguments(copy.config, copy.run, "must_student", override, "train_and_eval"))
    assert "is finished: 2 of 2 steps" in capsys.readouterr().out
    after = json.loads(evaluation.read_text())
    assert after.pop("figures") == pytest.approx(before.pop("figures"), rel=1e-4)
    for key in ("step", "set", "images", "labelled", "absent", "protocol", "not_finite"):
        assert after[key] == before[key], key
    assert checkpoints.trained_steps(copy.run) == 2


def test_a_run_resumes_from_its_checkpoint(
    classifier: Tiny,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Three steps instead of two: one more, from the next image, with the restored weights.

    A newer checkpoint is truncated: it is skipped with a warning, and overwritten.
    """
    copy = classifier._replace(run=str(shutil.copytree(classifier.run, tmp_path / "run")))
    (Path(copy.run) / "ckpt-3.data-00000-of-00001").write_bytes(b"cut off")
    (Path(copy.run) / "checkpoint").write_text('model_checkpoint_path: "ckpt-3"\nall_model_checkpoint_paths: "ckpt-3"')
    started = []
    build = train._build

    def recording(*arguments: Any) -> Any:
        runner = build(*arguments)
        step, image = int(runner.trainer.global_step), runner.trainer._task.start.images
        started.append((step, image, values(runner.trainer.model)))
        return runner

    monkeypatch.setattr(train, "_build", recording)
    train_eagerly([*classifier_arguments(copy, {"train_steps": 3}), "--extend"])
    printed = capsys.readouterr()
    assert "run/ckpt-3 is missing, truncated or damaged; using" in printed.err
    assert "trainer.train_steps: 2 -> 3" in printed.out
    assert "Gradients do not exist" not in caplog.text  # of the pyramid, which classification does not use
    assert started[0][:2] == (2, 4)  # two steps of two images
    assert same(started[0][2], values(restore.load(classifier.run).model))
    assert checkpoints.trained_steps(copy.run) == 3
    assert not same(started[0][2], values(restore.load(copy.run).model))


def tree(folder: str) -> dict[str, bytes]:
    """All files of a folder with their content."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in Path(folder).rglob("*") if path.is_file()}


def test_overwrite_deletes_the_old_run_only_once_the_new_one_is_built(
    classifier: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the new run cannot be built, the old one stays as it was. Otherwise only the new run's files are left."""
    copy = classifier._replace(run=str(shutil.copytree(classifier.run, tmp_path / "run")))
    (tmp_path / "run" / "notes.txt").write_text("mine")
    before = tree(copy.run)
    flags = [*classifier_arguments(copy, {"train_steps": 1}), "--overwrite"]

    def refuse(*_: Any) -> None:
        assert tf.train.latest_checkpoint(copy.run) is None  # otherwise Model Garden would resume from it
        raise ValueError("refused")

    with monkeypatch.context() as patched:
        patched.setattr(train, "_build", refuse)
        with pytest.raises(UserError, match="cannot be built as configured: refused"):
            train.main(flags)
    assert tree(copy.run) == before
    train_eagerly(flags)
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
    """The command refuses it, and the directory stays as it was."""
    monkeypatch.setattr(train, "_build", lambda *arguments: pytest.fail("built"))
    before = tree(classifier.run)
    for trainer, word in (({"train_steps": 3}, "--extend"), ({"train_steps": 1}, "2 -> 1")):
        with pytest.raises(UserError, match=f"belongs to a run(.|\n)*{word}"):
            train.main(classifier_arguments(classifier, trainer))
    assert tree(classifier.run) == before


def test_a_dry_run_of_a_run_restores_it_and_changes_nothing(
    classifier: Tiny, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """All weights are restored, even if the list of checkpoints is damaged. Only the picture is new."""
    copy = classifier._replace(run=str(shutil.copytree(classifier.run, tmp_path / "run")))
    (tmp_path / "run" / "checkpoint").write_text("")
    before = tree(copy.run)
    train.main([*classifier_arguments(copy, {"train_steps": 3}), "--extend", "--dry_run"])
    printed = capsys.readouterr().out
    assert f"{copy.run} continues from step 2" in printed
    count = len(restore.load(classifier.run).model.trunk.backbone.variables)
    assert ["trunk/backbone", str(count), "0", "0"] in [line.split() for line in printed.splitlines()]
    after = tree(copy.run)
    assert after.pop("dry_run.png") and after == before
