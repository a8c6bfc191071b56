"""A small plan is executed, interrupted, continued and changed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from must_tf.common.errors import Mistakes, UserError
from must_tf.loop import command, run, steps
from must_tf.loop import plan_file as plan_file_lib
from must_tf.loop.settings import Machine
from tests.support import tiny
from tests.support.looping import in_this_process, not_shared

RUN = command.RunFlags


def plan_file(folder: Path, **changes: Any) -> str:
    """Writes a plan of two tiny datasets, one without labels, and returns its path."""
    scenes = {"format": "scenes", "seed": 1, "validation": False}
    plan = {
        "out": str(folder / "out"),
        "datasets": {
            "kinds": {**scenes, "domain": "classification", "count": 4},
            "wild": {**scenes, "domain": "wild", "count": 3, "validation": {"seed": 2, "tasks": "classification"}},
        },
        "teachers": {"classification": {"steps": 2}},
        "student": {"steps": 3},
        "settings": {**tiny.CONFIG, "trainer": {"optimizer_config": tiny.CONFIG["trainer"]["optimizer_config"]}},
        **changes,
    }
    path = folder / "plan.yaml"
    path.write_text(yaml.safe_dump(plan))
    return str(path)


@pytest.fixture(autouse=True)
def alike(monkeypatch: pytest.MonkeyPatch) -> None:
    """All steps are called in the same way."""
    not_shared(monkeypatch)


@pytest.fixture(name="here")
def here_fixture(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Makes steps run in this process; the list gets their words."""
    return in_this_process(monkeypatch)


def commands(here: list[list[str]]) -> list[str]:
    """Returns the commands that were called since the last look."""
    names = [words[0] for words in here]
    here.clear()
    return names


def played(monkeypatch: pytest.MonkeyPatch, ends: list[int]) -> list[str]:
    """Plays the steps: each only makes its folder. Returns the list of the commands that are called.

    Args:
      monkeypatch: replaces the steps.
      ends: exit codes of the trainings; 0 after the last.
    """
    called: list[str] = []

    def follow(words: Sequence[str], log: str, name: str = "", jobs: int = 1) -> int:
        called.append(words[3])
        Path(log).parent.mkdir(parents=True, exist_ok=True)
        Path(log).write_text("the last words of a step")
        out = [word.rpartition("=")[2] for word in words if word.startswith("--model_dir=")] or [words[-1]]
        os.makedirs(out[0], exist_ok=True)
        return ends.pop(0) if words[3] == "train" and ends else 0

    monkeypatch.setattr(steps.subprocesses, "follow", follow)
    return called


def test_a_killed_step_stops_the_plan_and_the_same_command_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path, called = plan_file(tmp_path), played(monkeypatch, [-9])
    with pytest.raises(UserError, match=r"step 'teacher-classification' was killed by signal 9"):
        command.execute(RUN(path))
    assert "the last words of a step" in capsys.readouterr().err
    assert called == ["convert"] * 3 + ["train"]
    called.clear()
    assert command.execute(RUN(path, until="student")) == 0
    assert called == ["train", "label", "train"]
    called.clear()
    assert command.execute(RUN(path, until="student")) == 0
    assert called == []
    assert capsys.readouterr().out.count("done already") == 3 + 6


def test_what_was_deleted_or_follows_from_a_change_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, called = plan_file(tmp_path), played(monkeypatch, [])
    command.execute(RUN(path, until="student"))
    called.clear()
    (tmp_path / "out" / "teacher-classification").rmdir()
    command.execute(RUN(path, until="student"))
    assert called == ["train"]
    called.clear()
    content = yaml.safe_load(Path(path).read_text())
    content["datasets"]["kinds"]["max_drop_rate"] = 0.5
    Path(path).write_text(yaml.safe_dump(content))
    command.execute(RUN(path, until="student"))
    assert called == ["convert", "train", "label", "train"]


def test_times_are_those_of_the_steps_of_the_plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And not of those that an earlier plan for the folder had."""
    path = plan_file(tmp_path)
    played(monkeypatch, [])
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "steps.json").write_text('{"student older": {"hash": "", "seconds": 9}}')
    expected = run.expect(plan_file_lib.read(path), Machine(), False, Mistakes())
    execution = run.Execution(expected, run.RunOptions(until="convert kinds"))
    with pytest.raises(run.Stopped):
        execution.run()
    assert list(execution.seconds) == ["convert wild-val", "convert kinds"]


def test_one_step_only(tmp_path: Path, here: list[list[str]]) -> None:
    path = plan_file(tmp_path)
    assert command.execute(RUN(path, only="convert wild-val")) == 0
    assert commands(here) == ["convert"]
    with pytest.raises(UserError, match="'convert wild-vla' is not a step. Did you mean 'convert wild-val'"):
        command.execute(RUN(path, only="convert wild-vla"))


def test_the_page_of_an_earlier_run_says_so(tmp_path: Path, here: list[list[str]]) -> None:
    """Once a step may begin, and not if the command is refused."""
    path, page = plan_file(tmp_path), tmp_path / "out" / "report.html"
    command.execute(RUN(path, only="convert wild-val"))
    page.write_text("<header></header>")
    with pytest.raises(UserError, match="is not a step"):
        command.execute(RUN(path, only="convert wild-vla"))
    assert page.read_text() == "<header></header>"
    command.execute(RUN(path, only="convert wild-val"))
    assert "This page is of an earlier run." in page.read_text()


def test_the_share_of_the_cores_is_that_of_the_whole_plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another number of threads rounds sums differently: a part of the plan must train as all of it."""
    shares = []

    def follow(words: Sequence[str], log: str, name: str = "", jobs: int = 1) -> int:
        shares.append((words[3], jobs))
        out = [word.rpartition("=")[2] for word in words if word.startswith("--model_dir=")] or [words[-1]]
        os.makedirs(out[0])
        return 0

    monkeypatch.setattr(steps.subprocesses, "follow", follow)
    path = plan_file(tmp_path, compare={"other": {"steps": 2}})  # another student, beside the first
    assert command.execute(RUN(path, until="student", jobs=2)) == 0
    assert [jobs for name, jobs in shares if name == "train"] == [1, 2]


def test_unfit_labels_stop_the_plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def follow(words: Sequence[str], log: str, name: str = "", jobs: int = 1) -> int:
        Path(log).parent.mkdir(parents=True, exist_ok=True)
        Path(log).write_text("unfit, because ...")
        return 1 if words[3] == "label" else 0

    monkeypatch.setattr(steps.subprocesses, "follow", follow)
    with pytest.raises(UserError, match="unfit to train on, for the reasons above. To train on them, add --force"):
        command.execute(RUN(plan_file(tmp_path)))


def test_a_changed_plan_runs_what_has_changed(tmp_path: Path, here: list[list[str]]) -> None:
    command.execute(RUN(plan_file(tmp_path), until="convert kinds"))
    commands(here)
    datasets = yaml.safe_load((tmp_path / "plan.yaml").read_text())["datasets"]
    datasets["kinds"]["max_drop_rate"] = 0.5
    command.execute(RUN(plan_file(tmp_path, datasets=datasets), until="convert kinds"))
    assert commands(here) == ["convert"]  # and not the one before it


# A step that tells its process number and would work for half a minute; and a plan that has no other step.
STEP = """
import os, time
from must_tf.common import process_setup, subprocesses
process_setup.prepare()
assert subprocesses.PARENT not in os.environ  # its children are not children of the run
print(os.getpid(), flush=True)
time.sleep(30)
open("survived", "w")
"""
ONE_STEP = f"""
import signal, sys
from must_tf.common import subprocesses
from must_tf.loop import command
signal.signal(signal.SIGINT, signal.default_int_handler)
command.execute = lambda flags: subprocesses.follow([sys.executable, "-c", {STEP!r}], "log")
sys.argv = ["must run", "plan.yaml"]
sys.exit(command.run())
"""


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_step_ends_with_the_run_that_started_it(tmp_path: Path, end: signal.Signals) -> None:
    """Otherwise the same command would start the step again, beside the first one."""
    environment = os.environ | {"PYTHONPATH": str(tiny.ROOT)}
    run = subprocess.Popen(
        [sys.executable, "-c", ONE_STEP], cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True
    )
    log = tmp_path / "log"
    while not (log.exists() and log.read_text().endswith("\n")):
        assert run.poll() is None
        time.sleep(0.05)
    run.send_signal(end)
    _, told = run.communicate()
    assert (run.returncode, told) == {
        signal.SIGINT: (130, "interrupted\nThe same command continues from here.\n"),
        signal.SIGTERM: (143, "terminated\nThe same command continues from here.\n"),
        signal.SIGKILL: (-9, ""),
    }[end]
    while is_running(int(log.read_text())):
        time.sleep(0.05)
    assert not (tmp_path / "survived").exists()


def is_running(pid: int) -> bool:
    """Returns False also for a process that has ended and that nobody has waited for."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_two_runs_of_one_folder_exclude_each_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second one is given while the first one is in its first step."""
    path, started = plan_file(tmp_path), []
    refusals: list[str] = []

    def follow(words: Sequence[str], log: str, name: str = "", jobs: int = 1) -> int:
        started.append(words[3])
        if len(started) == 1:
            with pytest.raises(UserError) as error:
                command.execute(RUN(path, until="convert wild-val"))
            refusals.append(str(error.value))
        return 0

    monkeypatch.setattr(steps.subprocesses, "follow", follow)
    command.execute(RUN(path, until="convert wild-val"))
    assert started == ["convert"]
    assert len(refusals) == 1 and "\n" not in refusals[0]
    assert f"{tmp_path / 'out'} is being written by process {os.getpid()} on " in refusals[0]


def test_an_export_is_made_again_and_a_folder_of_others_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An export that a killed run left behind must not stop the same command."""

    def follow(words: Sequence[str], log: str, name: str = "", jobs: int = 1) -> int:
        out = [word.rpartition("=")[2] for word in words if word.startswith(("--model_dir=", "--out="))] or [words[-1]]
        os.makedirs(out[-1], exist_ok=words[3] != "export")
        return 0

    monkeypatch.setattr(steps.subprocesses, "follow", follow)
    path, export = plan_file(tmp_path, export=True), tmp_path / "out" / "export"
    export.mkdir(parents=True)
    (export / "must_tf.json").touch()
    (tmp_path / "out" / "steps.json").write_text("{}")
    command.execute(RUN(path, until="export"))
    assert list(export.iterdir()) == []
    (export / "mine").touch()
    (tmp_path / "out" / "steps.json").write_text("{}")
    with pytest.raises(FileExistsError):
        command.execute(RUN(path, until="export"))
    assert (export / "mine").exists()
