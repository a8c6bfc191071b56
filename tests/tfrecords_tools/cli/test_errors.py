"""A mistake ends a command before it starts: exit code 2, one line with the place and the remedy, nothing written."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable

import pytest

from must_tf.data import manifest
from tests.support.mistakes import Arguments, Sandbox, check, merged, records_in, run_records, run_train, task, trained
from tests.support.tiny import ALL, scene_record, write_set


def _no_manifest(world: Sandbox) -> Arguments:
    folder = world.copied()
    (folder / manifest.NAME).unlink()
    return trained(world, records_in(folder))


def _other_format(world: Sandbox) -> Arguments:
    folder = world.copied()
    content = json.loads((folder / manifest.NAME).read_text()) | {"format": 7}
    (folder / manifest.NAME).write_text(json.dumps(content))
    return trained(world, records_in(folder))


def _missing_shard(world: Sandbox) -> Arguments:
    folder = world.copied()
    next(folder.glob("*.tfrecord")).unlink()
    return trained(world, records_in(folder))


def _no_labels(world: Sandbox, *heads: str) -> Arguments:
    write_set(world.tmp / "boxes", [[scene_record(0, ("detection",))]], ("detection",))
    enabled = task(tasks={name: {"enabled": name in heads} for name in ALL})
    return trained(world, merged(records_in(world.tmp / "boxes"), enabled), "must_student")


def _other_classes(world: Sandbox) -> Arguments:
    folder = world.copied()
    content = json.loads((folder / manifest.NAME).read_text())
    content["classes"]["classification"][0] = "kitchen"
    (folder / manifest.NAME).write_text(json.dumps(content))
    both = {"input_path": [world.records, f"{folder}/*.tfrecord"]}
    return trained(world, task(train_data=both), "must_teacher_classification")


def _config_file(world: Sandbox, path: str) -> Arguments:
    return [*trained(world, {}), f"--config_file={path}"]


Make = Callable[[Sandbox], Arguments]
DEPTH, CLASSES, TRANSFER = "must_teacher_depth", "must_teacher_classification", "must_transfer_depth"
# what is wrong -> (flags of train.py, what the message must say: the place, and the remedy)
TRAIN: dict[str, tuple[Make, tuple[str, ...]]] = {
    "experiment": (lambda w: trained(w, {}, "must_studnt"), ("--experiment='must_studnt'", "'must_student'")),
    "key": (lambda w: trained(w, task(inptu_size=128)), ("task.inptu_size", "'input_size'")),
    "nested key": (
        lambda w: trained(w, task(tasks={"depth": {"loss_wieght": 1.0}})),
        ("task.tasks.depth.loss_wieght", "'loss_weight'"),
    ),
    "type": (lambda w: trained(w, {"trainer": {"train_steps": "abc"}}), ("trainer.train_steps='abc'", "whole number")),
    "nested type": (lambda w: trained(w, task(tasks={"depth": 3})), ("task.tasks.depth=3", "group of keys")),
    "two at once": (
        lambda w: trained(w, task(input_size="big", balence="fixed")),
        ("task.input_size='big'", "task.balence", "'balance'"),
    ),
    "alternative": (
        lambda w: trained(w, {"trainer": {"optimizer_config": {"learning_rate": {"type": "cosin"}}}}),
        ("trainer.optimizer_config.learning_rate.type='cosin'", "'cosine'"),
    ),
    "config file missing": (lambda w: _config_file(w, str(w.tmp / "no.yaml")), ("no.yaml", "no such file")),
    "config file no YAML": (lambda w: _config_file(w, w.file("a.yaml", "task: [1")), ("a.yaml", "not valid YAML")),
    "config file a list": (
        lambda w: _config_file(w, w.file("a.yaml", "- 1")),
        ("a.yaml", "key=value pairs"),
    ),
    "override without value": (
        lambda w: [*trained(w, {})[:4], "--params_override=task.input_size"],
        ("--params_override", "key=value"),
    ),
    "override with brackets": (
        lambda w: [*trained(w, {})[:4], "--params_override=task.train_data.input_path=rec [1]/*,trainer.train_steps=3"],
        ("rec [1]/*,trainer.train_steps=3'. Put a value with brackets, braces or commas in quotes: a.b='rec [1]/*'",),
    ),
    "glob": (lambda w: trained(w, records_in("nowhere")), ("task.train_data.input_path", "nowhere/", "Check the path")),
    "no input": (
        lambda w: trained(w, task(train_data={"input_path": ""})),
        ("task.train_data.input_path is empty", "for example"),
    ),
    "batch size": (
        lambda w: trained(w, task(train_data={"global_batch_size": -1})),
        ("task.train_data.global_batch_size=-1", "at least 0"),
    ),
    "no steps": (lambda w: trained(w, {"trainer": {"train_steps": 0}}), ("trainer.train_steps=0", "at least 1")),
    "part of the set": (
        lambda w: trained(w, {"trainer": {"validation_steps": 100}}, mode="train_and_eval"),
        ("trainer.validation_steps=100", "must be -1", "smaller set"),
    ),
    "averaged weights": (
        lambda w: trained(w, {"trainer": {"optimizer_config": {"ema": {"average_decay": 99}}}}),
        ("optimizer_config.ema.average_decay=99", "below 1"),
    ),
    "choice": (
        lambda w: trained(w, task(tasks={"detection": {"design": "retinnet"}})),
        ("task.tasks.detection.design='retinnet'", "'retinanet'"),
    ),
    "no manifest": (_no_manifest, ("copied/manifest.json", "is unfinished")),
    "another format": (_other_format, ("copied/manifest.json", "format 7", "again")),
    "missing shard": (_missing_shard, ("task.train_data.input_path", "1 files", "list 2")),
    "no labels": (
        lambda w: _no_labels(w, "detection", "depth"),
        ("boxes", "depth labels", "must label", "task.tasks.depth.enabled=false"),
    ),
    "no labels for the only head": (
        lambda w: _no_labels(w, "depth"),
        ("boxes", "no image", "depth labels", "must label)."),
    ),
    "classes differ": (_other_classes, ("task.train_data", "classification", "kitchen", "same classes")),
    "no task": (
        lambda w: trained(w, task(tasks={"depth": {"enabled": False}}), DEPTH),
        ("no task is enabled", "task.tasks.depth.enabled=true"),
    ),
    "needs": (
        lambda w: trained(w, task(tasks={"detection": {"enabled": False}})),
        ("masks needs detection", "task.tasks.detection.enabled=true"),
    ),
    "input size": (lambda w: trained(w, task(input_size=200), DEPTH), ("task.input_size=200", "128", "256")),
    "balance": (lambda w: trained(w, task(balance="papr"), DEPTH), ("task.balance='papr'", "'paper'")),
    "balance without teacher": (
        lambda w: trained(w, task(balance="paper"), CLASSES),
        ("task.tasks.classification.teacher_batch_size", "task.balance=fixed"),
    ),
    "GPUs": (lambda w: trained(w, {"runtime": {"num_gpus": 99}}, DEPTH), ("runtime.num_gpus=99", "sees")),
    "strategy": (
        lambda w: trained(w, {"runtime": {"distribution_strategy": "mirrord"}}, DEPTH),
        ("mirrord", "--params_override"),
    ),
    "backbone": (
        lambda w: trained(w, task(model={"backbone": {"resnet": {"model_id": 11}}}), DEPTH),
        ("11", "--params_override"),
    ),
    "intervals": (
        lambda w: trained(w, {"trainer": {"summary_interval": 3, "steps_per_loop": 2}}, DEPTH),
        ("interval", "--params_override"),
    ),
    "transfer from nothing": (lambda w: trained(w, {}, TRANSFER), ("task.init_checkpoint", "run directory")),
    "no init checkpoint": (
        lambda w: trained(w, task(init_checkpoint="nowhere"), TRANSFER),
        ("no checkpoint in 'nowhere'", "run directory"),
    ),
    "init modules": (
        lambda w: trained(w, task(init_checkpoint="nowhere", init_modules="trnk"), TRANSFER),
        ("task.init_modules='trnk'", "'trunk'"),
    ),
    "nothing to evaluate": (
        lambda w: trained(w, {}, mode="eval"),
        ("params.yaml does not exist", "--model_dir of a run"),
    ),
}


@pytest.mark.parametrize("mistake", TRAIN)
def test_train_says_what_is_wrong_and_writes_nothing(
    mistake: str, world: Sandbox, capsys: pytest.CaptureFixture[str]
) -> None:
    """The table above."""
    make, expected = TRAIN[mistake]
    given = make(world)
    capsys.readouterr()
    check(run_train(given), capsys.readouterr().err, world.out, expected)


# `tiny` stands for the run, {records} and {tmp} for folders.
LABEL = ("label", "--records", "{records}/*.tfrecord", "--out", "{out}")
RECORDS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "unknown task": ((*LABEL, "--teacher", "depht={run}"), ("--teacher depht=", "'depth'", "TASK=PATH")),
    "no path": ((*LABEL, "--teacher", "depth"), ("--teacher depth", "depth=PATH")),
    "twice": ((*LABEL, "--teacher", "depth=a", "--teacher", "depth=b"), ("--teacher depth", "one teacher per task")),
    "masks alone": ((*LABEL, "--teacher", "masks=a"), ("--teacher masks=a", "--teacher detection=a")),
    "no such run": ((*LABEL, "--teacher", "depth=nowhere"), ("nowhere/params.yaml", "--model_dir")),
    "no such records": (
        ("label", "--records", "nowhere/*", "--out", "{out}", "--teacher", "depth=a"),
        ("--records='nowhere/*'", "Check the path"),
    ),
    "two folders": (
        ("label", "--records", "{tmp}/*/*.tfrecord", "--out", "{out}", "--teacher", "depth=a"),
        ("--records=", "2 folders", "one record set"),
    ),
    "half a set": (
        ("label", "--records", "{records}/*-00000-of-*", "--out", "{out}", "--teacher", "depth=a"),
        ("lists 2 shards", "matches 1 of them", "Label whole record sets"),
    ),
    "domain": (
        ("convert", "scenes", "--domain", "wlid", "--count", "1", "--seed", "1", "--out", "{out}"),
        ("--domain 'wlid'", "'wild'"),
    ),
}


@pytest.mark.parametrize("mistake", RECORDS)
def test_must_records_says_what_is_wrong_and_writes_nothing(
    mistake: str, world: Sandbox, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The table above."""
    for name in ("a", "b"):
        shutil.copytree(world.tiny.records, world.tmp / name)
    given, expected = RECORDS[mistake]
    places = {"records": world.tiny.records, "run": world.tiny.run, "tmp": str(world.tmp), "out": world.out}
    capsys.readouterr()
    code = run_records([part.format(**places) for part in given], monkeypatch)
    check(code, capsys.readouterr().err, world.out, expected)
