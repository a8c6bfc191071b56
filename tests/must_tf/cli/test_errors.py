"""Mistakes with trained runs and damaged files. The commands never end with a traceback."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from unittest import mock

import pytest
import yaml

from must_tf.cli import train
from must_tf.cli.flags import TrainFlags
from must_tf.common.errors import Terminated, UserError
from must_tf.config import values as config_values
from must_tf.data import record, scenes
from must_tf.spec import ImageInfo
from must_tf.tasks import discover
from tests.support.mistakes import Sandbox, check, records_in, run_export, run_records, run_train, task, trained
from tests.support.session.forked_python import INTERPRETER
from tests.support.tiny import ROOT, arguments, data, image_bytes, scene_record, write_set

pytestmark = pytest.mark.usefixtures("tiny")
CLASSES = "must_teacher_classification"


def copied_run(world: Sandbox) -> Path:
    """Returns a copy of the tiny run that a test can damage."""
    return Path(shutil.copytree(world.tiny.run, world.tmp / "run"))


def changed_params(run: Path, **tasks: dict[str, object]) -> None:
    """Changes `task.tasks` in a run's params.yaml."""
    params = config_values.read_yaml(str(run / "params.yaml"))
    for name, values in tasks.items():
        params["task"]["tasks"][name] |= values
    (run / "params.yaml").write_text(yaml.dump(params))


def exported(run: Path | str, out: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """Returns the exit code and stderr of export.py."""
    capsys.readouterr()
    return run_export([f"--model_dir={run}", f"--out={out}"]), capsys.readouterr().err


def test_export_needs_a_run(world: Sandbox, capsys: pytest.CaptureFixture[str]) -> None:
    """No params.yaml; a params.yaml of something else; no checkpoint."""
    run = world.tmp / "empty"
    run.mkdir()
    check(*exported(run, world.out, capsys), world.out, ("empty/params.yaml does not exist", "--model_dir"))
    (run / "params.yaml").write_text("model: 1")
    check(*exported(run, world.out, capsys), world.out, ("empty/params.yaml has no `task`", "must_tf run"))
    shutil.copy(os.path.join(world.tiny.run, "params.yaml"), run)
    check(*exported(run, world.out, capsys), world.out, ("no checkpoint in", "empty", "Give a run directory"))


def test_eval_needs_a_checkpoint(world: Sandbox, capsys: pytest.CaptureFixture[str]) -> None:
    """A run that was started, but has saved nothing yet."""
    run = world.tmp / "empty"
    run.mkdir()
    shutil.copy(os.path.join(world.tiny.run, "params.yaml"), run)
    given = arguments(world.tiny.config, run, "must_student", data(world.records), "eval")
    capsys.readouterr()
    check(run_train(given), capsys.readouterr().err, world.out, ("--model_dir=", "empty", "no checkpoint"))
    assert [path.name for path in run.iterdir()] == ["params.yaml"]


def test_export_never_overwrites(world: Sandbox, capsys: pytest.CaptureFixture[str]) -> None:
    """What exists stays as it is."""
    kept = world.tmp / "kept"
    kept.mkdir()
    check(*exported(world.tiny.run, str(kept), capsys), world.out, ("--out=", "kept exists already", "another folder"))
    assert not list(kept.iterdir())


def test_export_of_a_damaged_or_foreign_checkpoint(world: Sandbox, capsys: pytest.CaptureFixture[str]) -> None:
    """Weights are restored completely or not at all."""
    run = copied_run(world)
    changed_params(run, depth={"filters": 24})
    check(*exported(run, world.out, capsys), world.out, ("ckpt-2 does not fit", "run/params.yaml", "Give the settings"))
    shutil.copy(os.path.join(world.tiny.run, "params.yaml"), run)
    for weights in run.glob("ckpt-*.data*"):
        weights.write_bytes(weights.read_bytes()[:1000])
    check(*exported(run, world.out, capsys), world.out, ("no checkpoint in", "ckpt-2", "can be read"))


def test_init_checkpoint_of_another_shape(world: Sandbox, capsys: pytest.CaptureFixture[str]) -> None:
    """A trunk with other filters: nothing is loaded partially, and nothing is written."""
    narrow = task(init_checkpoint=world.tiny.run, model={"decoder": {"fpn": {"num_filters": 8}}})
    given = trained(world, narrow, "must_transfer_depth")
    capsys.readouterr()
    check(
        run_train(given),
        capsys.readouterr().err,
        world.out,
        ("ckpt-2 does not fit", "trunk/decoder", "mismatched: ", "params.yaml"),
    )


def test_resuming_with_another_model(world: Sandbox, capsys: pytest.CaptureFixture[str]) -> None:
    """Another shape or another head is refused, and the run's params.yaml is unchanged."""
    run = copied_run(world)
    before = (run / "params.yaml").read_bytes()
    more = {"trainer": {"train_steps": 4}}
    other = ({"model": {"decoder": {"fpn": {"num_filters": 8}}}}, {"tasks": {"detection": {"design": "retinanet"}}})
    for change in other:
        override = data(world.records) | more
        override["task"] = override["task"] | change
        given = arguments(world.tiny.config, run, "must_student", override, "train")
        capsys.readouterr()
        check(
            run_train(given),
            capsys.readouterr().err,
            world.out,
            ("belongs to a run with other settings", "->", "--model_dir", "--overwrite"),
        )
        assert (run / "params.yaml").read_bytes() == before


def test_a_teacher_that_was_not_trained_for_the_task(
    world: Sandbox, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its head is missing, or its classes have other names."""
    run = copied_run(world)
    changed_params(run, depth={"enabled": False}, segmentation={"classes": [f"c{i}" for i in range(8)]})
    label = ["label", "--records", world.records, "--out", world.out, "--teacher"]
    capsys.readouterr()
    code = run_records([*label, f"depth={run}"], monkeypatch)
    check(code, capsys.readouterr().err, world.out, ("--teacher depth=", "this run cannot label depth", "segmentation"))
    code = run_records([*label, f"segmentation={run}"], monkeypatch)
    check(
        code,
        capsys.readouterr().err,
        world.out,
        ("has no segmentation class of the records", "'c0', 'c1'", "rename: [OLD=NEW]"),
    )


def spoiled_image(index: int) -> bytes:
    """A record whose JPEG ends after its first half."""
    scene = scenes.render("wild", 5, index)
    jpeg = image_bytes(scene.image, ".jpg")
    labelled = {"classification": record.Labelled(scene.labels["classification"], "real:scenes")}
    return record.encode(jpeg[: len(jpeg) // 2], ImageInfo(f"spoiled-{index}", 128, 128), labelled, discover())


def truncated_set(world: Sandbox) -> str:
    """Writes records of which the second file is truncated."""
    one = [scene_record(index, ("classification",)) for index in range(2)]
    pattern = write_set(world.tmp / "cut", [one, one], ("classification",))
    path = world.tmp / "cut" / "records-00001-of-00002.tfrecord"
    path.write_bytes(path.read_bytes()[:-100])
    return pattern


@pytest.mark.parametrize("damage", ["file", "image"])
def test_damaged_records_while_training(world: Sandbox, damage: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The message names the file, and the record if the file itself is intact."""
    if damage == "file":
        truncated_set(world)
        expected = ("cut/records-00001-of-00002.tfrecord is truncated or damaged", "again")
    else:
        one = [scene_record(0, ("classification",)), spoiled_image(1)]
        write_set(world.tmp / "cut", [one], ("classification",))
        expected = ("cut/records-00000-of-00001.tfrecord: record 1 ('spoiled-1') cannot be decoded", "again")
    given = trained(world, records_in(world.tmp / "cut"), CLASSES)
    capsys.readouterr()
    code = run_train(given)
    check(code, _without_progress(capsys.readouterr().err), str(world.tmp / "nothing"), expected)


@pytest.mark.parametrize("damage", ["file", "image"])
def test_damaged_records_while_labelling(
    world: Sandbox, damage: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As above. Finished shards stay, and the manifest is not written."""
    if damage == "file":
        pattern = truncated_set(world)
        expected = ("cut/records-00001-of-00002.tfrecord is truncated or damaged", "again")
    else:
        pattern = write_set(world.tmp / "cut", [[spoiled_image(1)]], ("classification",))
        expected = ("cut/records-00000-of-00001.tfrecord record 0 cannot be read: ", "--skip-bad")
    given = ["label", "--records", pattern, "--out", world.out, "--teacher", f"depth={world.tiny.run}"]
    capsys.readouterr()
    code = run_records(given, monkeypatch)
    check(code, _without_progress(capsys.readouterr().err), os.path.join(world.out, "manifest.json"), expected)


def _without_progress(stderr: str) -> str:
    return "\n".join(line for line in stderr.splitlines() if " images · " not in line)


COMMANDS = {
    "train.py": (
        [str(ROOT / "train.py"), "--experiment=must_studnt", "--model_dir={out}"],
        "--experiment='must_studnt' is unknown",
    ),
    "export.py": (
        [str(ROOT / "export.py"), "--model_dir=nowhere", "--out={out}"],
        "nowhere/params.yaml does not exist",
    ),
    "must-records": (
        ["-m", "tfrecords_tools", "label", "--records=nowhere/*", "--teacher=depth=a", "--out={out}"],
        "--records='nowhere/*' matches no file",
    ),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_the_commands_as_processes(name: str, tmp_path: Path) -> None:
    """The exit code is 2, the last line says why, and nothing is written."""
    command, expected = COMMANDS[name]
    out = str(tmp_path / "out")
    given = [*INTERPRETER, *(part.format(out=out) for part in command)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(given, capture_output=True, text=True, cwd=tmp_path, env=environment)
    assert done.returncode == 2, done.stderr
    assert "error: " in done.stderr and expected in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("flag", "right"),
    [("--mode=trian", "'train'"), ("--modle_dir=runs", "--model_dir"), ("--config=a.yaml", "--config_file")],
)
def test_a_misspelled_flag_or_mode(flag: str, right: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 2; the last line names the flag and, if one is near, the right spelling."""
    with pytest.raises(SystemExit) as stopped:
        train.main(["--experiment=must_student", "--model_dir=runs/none", flag])
    assert stopped.value.code == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert flag.split("=")[0] in last and right in last


def test_a_run_directory_has_one_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second is refused, and so is one whose checks are older than the last checkpoint. Workers share the lock."""
    flags = TrainFlags("must_student", str(tmp_path / "run"), "train")
    with train._own(flags, ""):
        with pytest.raises(UserError, match=f"written by process {os.getpid()} .*another --model_dir"):
            train._own(flags, "").__enter__()
        second = {"cluster": {"worker": ["a", "b"]}, "task": {"index": 1, "type": "worker"}}
        monkeypatch.setenv("TF_CONFIG", json.dumps(second))
        with train._own(flags, ""):
            pass
    monkeypatch.delenv("TF_CONFIG")
    with pytest.raises(UserError, match="trained on by another process"):
        train._own(flags, f"{tmp_path}/run/ckpt-1").__enter__()


def test_a_training_saves_its_step_when_it_is_terminated(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Not before its first step, and not beside other processes, which would have to save as well."""
    runner = mock.MagicMock()
    monkeypatch.setattr(train.pauses, "train", mock.Mock(side_effect=Terminated))
    saved = []
    for step, environment in ((7, ""), (0, ""), (9, "{}")):
        runner.trainer.global_step.numpy.return_value = step
        if environment:
            monkeypatch.setenv("TF_CONFIG", environment)
        with pytest.raises(SystemExit, match="143"):
            train._run(runner, mock.MagicMock(), "train", keep_best=False)
        saved.append(runner.controller.save_checkpoint.call_count)
    assert saved == [1, 1, 1] and capsys.readouterr().out == "saved step 7\n"


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (OSError(28, "No space left on device", "/a/ckpt-7"), "/a/ckpt-7: no space left on device. Free some space, "),
        (RuntimeError("the bucket\nis gone"), "the bucket is gone\n"),
    ],
)
def test_a_step_that_could_not_be_saved_is_reported(
    error: Exception, why: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The signal still ends the training."""
    runner = mock.MagicMock()
    monkeypatch.setattr(train.pauses, "train", mock.Mock(side_effect=Terminated))
    runner.trainer.global_step.numpy.return_value = 7
    runner.controller.save_checkpoint.side_effect = error
    with pytest.raises(SystemExit, match="143"):
        train._run(runner, mock.MagicMock(), "train", keep_best=False)
    output = capsys.readouterr()
    assert output.err.startswith(f"error: step 7 could not be saved: {why}") and output.err.count("\n") == 1
    assert not output.out
