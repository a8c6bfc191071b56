"""Steps that run at the same time."""

from __future__ import annotations

import dataclasses
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent import futures
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from must_tf.common import shared_process
from must_tf.common.errors import UserError
from must_tf.data import manifest
from must_tf.data.manifest import Manifest
from must_tf.loop import steps
from must_tf.loop.steps import Step, StepRunner

SECONDS = 20  # after which a test that waits for another thread fails


def played(monkeypatch: pytest.MonkeyPatch, play: Callable[[str], int]) -> None:
    """Plays the steps: calls `play` with a step's first word, which returns the exit code."""

    def follow(words: Sequence[str], log: str, name: str = "", jobs: int = 1) -> int:
        Path(log).parent.mkdir(parents=True, exist_ok=True)
        with open(log, "a") as file:
            file.write(f"{name}\n")
        assert name == words[3]
        code = play(words[3])
        Path(words[-1]).mkdir(parents=True, exist_ok=True)
        return code

    monkeypatch.setattr(steps.subprocesses, "follow", follow)


def test_steps_run_at_once_but_after_what_each_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    meeting = threading.Barrier(2)  # the first two steps get here only together
    are_submitted = threading.Event()  # no step ends before all that may begin were submitted
    ended: list[str] = []

    def play(name: str) -> int:
        if name in ("teacher-a", "teacher-b"):
            meeting.wait(SECONDS)
        assert are_submitted.wait(SECONDS)
        ended.append(name)
        return 0

    class Pool(ThreadPoolExecutor):
        """Checks what has ended when a step is submitted."""

        def submit(self, function: Any, step: Step, *rest: Any) -> Any:  # type: ignore[override]
            """Submits a step."""
            assert {os.path.basename(need) for need in step.needs} <= {*ended}
            return super().submit(function, step, *rest)

    def wait(*given: Any, **options: Any) -> Any:
        are_submitted.set()
        return futures.wait(*given, **options)

    played(monkeypatch, play)
    monkeypatch.setattr(steps, "ThreadPoolExecutor", Pool)
    monkeypatch.setattr(steps, "wait", wait)
    out = {name: str(tmp_path / name) for name in ("teacher-a", "teacher-b", "label", "student")}
    needs = {"label": ("teacher-a", "teacher-b"), "student": ("label",)}
    plan = [
        (f"{place}/4", Step(name, (name, path), path, needs=tuple(out[need] for need in needs.get(name, ()))))
        for place, (name, path) in enumerate(out.items(), 1)
    ]
    runner = StepRunner(str(tmp_path))
    runner.run_all(plan, 3)
    assert ended[2:] == ["label", "student"] and {*runner.seconds} == {*out}
    StepRunner(str(tmp_path)).run_all(plan, 3)  # done already, also for another process
    assert len(ended) == 4


def chain(tmp_path: Path, needs: Mapping[str, Sequence[str]]) -> list[Step]:
    """Returns steps by the names of those that each needs."""
    out = {name: str(tmp_path / name) for name in needs}
    return [Step(name, (name, out[name]), out[name], needs=tuple(out[need] for need in needs[name])) for name in needs]


def test_a_step_has_all_cores_if_all_others_are_before_or_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Else it shares them with those that may run beside it, and with no more of them than there are jobs.

    The records are made earlier, so no step of the list writes them.
    """
    needs: dict[str, tuple[str, ...]] = {"teacher-a": (), "teacher-b": (), "label": ("teacher-a",)}
    needs |= {"student": ("label", "teacher-b"), "transfers": ("student",), "export": ("student",)}
    plan = chain(tmp_path, needs)
    plan[0] = dataclasses.replace(plan[0], needs=(str(tmp_path / "records"),))
    plan[4] = dataclasses.replace(plan[4], takes_jobs=True)  # its runs have their share of the cores
    beside = steps.unordered(plan)
    assert beside == {"teacher-a": 1, "teacher-b": 2, "label": 1, "student": 0, "transfers": 1, "export": 1}
    assert steps.unordered(plan[:1]) == {"teacher-a": 0}
    shares = {}

    def follow(words: Sequence[str], log: str, name: str = "", jobs: int = 1) -> int:
        shares[words[3]] = jobs
        (tmp_path / words[3]).mkdir()
        return 0

    monkeypatch.setattr(steps.subprocesses, "follow", follow)
    numbered = [(step.name, step) for step in plan]
    monkeypatch.setattr(steps.subprocesses.devices, "cores", lambda: 12)
    monkeypatch.delenv(steps.subprocesses.THREADS, raising=False)
    StepRunner(str(tmp_path)).run_all(numbered, 9, beside)
    assert shares == {"teacher-a": 2, "teacher-b": 3, "label": 2, "student": 1, "transfers": 1, "export": 2}
    printed = [line.split()[:2] for line in capsys.readouterr().out.splitlines() if "must " in line]
    both, three = "TF_NUM_INTRAOP_THREADS=6", "TF_NUM_INTRAOP_THREADS=4"
    assert sorted(words[0] for words in printed) == sorted([both, three, both, "must", "must", both])
    again = tmp_path / "again"
    again.mkdir()
    for step in plan:
        Path(step.output).rmdir()
    StepRunner(str(again)).run_all(numbered[:3], 2, beside)  # a part of the plan
    assert [shares[step.name] for step in plan[:3]] == [2, 2, 2]


def test_a_command_that_can_run_several_things_at_once_is_told_how_many(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is done then for any number."""
    commands = []

    def follow(words: Sequence[str], log: str, name: str = "", jobs: int = 1) -> int:
        commands.append([*words[3:]])
        return 0

    monkeypatch.setattr(steps.subprocesses, "follow", follow)
    out = tmp_path / "x"
    out.mkdir()
    step = Step("x", ("x",), str(out), takes_jobs=True)
    for jobs in (2, 1):
        StepRunner(str(tmp_path)).run_all([("1/1", step)], jobs)
    assert commands == [["x", "--jobs", "2"]]


@pytest.mark.parametrize("fails", ["second", "training"])
def test_processes_of_labelling_have_ended_when_a_training_begins(
    fails: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And when the plan ends, however it does: they hold teachers in memory."""
    done: list[str] = []

    class Shared:
        """Notes what it is asked for."""

        def __init__(self, option: str) -> None:
            assert option == shared_process.EACH_LINE

        def follow(self, words: Sequence[str], log: str, name: str, jobs: int) -> int:
            """Notes a command."""
            return follow(["", "", "", *words], log)

        def end(self) -> None:
            """Notes the end."""
            done.append("end")

    def follow(words: Sequence[str], log: str, name: str = "", jobs: int = 1) -> int:
        done.append(words[3])
        Path(log).parent.mkdir(exist_ok=True)
        with open(log, "a") as file:
            file.write(f"{name}\n")
        return 2 if words[3] == fails else 0

    monkeypatch.setattr(shared_process, "SharedProcess", Shared)
    monkeypatch.setattr(steps.subprocesses, "follow", follow)
    names = {"first": True, "second": True, "training": False}
    plan = [(name, Step(name, (name,), str(tmp_path / name), processes=int(shared))) for name, shared in names.items()]
    with pytest.raises(UserError, match=f"step '{fails}' failed"):
        StepRunner(str(tmp_path)).run_all(plan, 1)
    assert done == ["first", "second", "end", *(["training"] if fails == "training" else [])]


def test_of_the_steps_that_share_a_process_one_runs_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside a training, which begins later and ends none of them. Their process ends before the training does."""
    meeting, begun, is_freed = threading.Barrier(2), threading.Event(), threading.Event()
    running: list[str] = []
    most: list[int] = []
    ended: list[str] = []

    class Shared:
        """Meets the training."""

        def __init__(self, option: str) -> None:
            pass

        def follow(self, words: Sequence[str], log: str, name: str, jobs: int) -> int:
            """Notes how many such commands run."""
            running.append(words[0])
            begun.set()
            if words[0] == "first":
                meeting.wait(SECONDS)
            most.append(len(running))
            running.remove(words[0])
            return 0

        def end(self) -> None:
            """Notes the commands that it ends."""
            ended.extend(running)
            if len(most) == 2:
                is_freed.set()

    def follow(words: Sequence[str], log: str, name: str = "", jobs: int = 1) -> int:
        meeting.wait(SECONDS)
        assert is_freed.wait(SECONDS)
        return 0

    def state() -> str:
        assert begun.wait(SECONDS)
        return ""

    monkeypatch.setattr(shared_process, "SharedProcess", Shared)
    monkeypatch.setattr(steps.subprocesses, "follow", follow)
    plan = [(name, Step(name, (name,), str(tmp_path / name), processes=1)) for name in ("first", "second")]
    training = Step("training", ("training",), str(tmp_path / "training"), state=state)
    StepRunner(str(tmp_path)).run_all([*plan, ("training", training)], 3)
    assert most == [1, 1] and ended == []


def test_as_many_steps_run_at_once_as_may_share_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two of them meet; the third waits for a job."""
    meeting = threading.Barrier(2)
    names: list[str] = []

    class Shared:
        """Lets the first two meet."""

        def __init__(self, option: str) -> None:
            pass

        def follow(self, words: Sequence[str], log: str, name: str, jobs: int) -> int:
            """Waits for the other one."""
            names.append(words[0])
            if words[0] != "third":
                meeting.wait(SECONDS)
            return 0

        def end(self) -> None:
            """Notes the end."""
            names.append("end")

    monkeypatch.setattr(shared_process, "SharedProcess", Shared)
    all_names = ("first", "second", "third")
    plan = [(name, Step(name, (name,), str(tmp_path / name), processes=steps.MANY)) for name in all_names]
    StepRunner(str(tmp_path)).run_all(plan, 2)
    assert sorted(names[:2]) == ["first", "second"] and names[2:] == ["third", "end", "end"]


def test_a_step_that_fails_ends_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    running, told = threading.Event(), threading.Event()

    def play(name: str) -> int:
        if name == "fails":
            assert running.wait(SECONDS)
            return 2
        running.set()
        return -15 if told.wait(SECONDS) else 0

    played(monkeypatch, play)
    monkeypatch.setattr(steps.subprocesses, "end_all", told.set)
    runner = StepRunner(str(tmp_path))
    plan = [(name, Step(name, (name, str(tmp_path / name)), str(tmp_path / name))) for name in ("fails", "runs")]
    with pytest.raises(UserError, match="step 'fails' failed with exit code 2"):
        runner.run_all(plan, 2)
    assert told.is_set() and runner.seconds == {}


def test_what_to_do_after_the_plan_has_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Only then is there something to delete. Of two steps that are passed over at once, both are named."""
    played(monkeypatch, lambda name: 2 if name == "fails" else 0)
    fails, works = (Step(name, (name, str(tmp_path / name)), str(tmp_path / name)) for name in ("fails", "works"))
    other = dataclasses.replace(fails, words=("fails", "--more", str(tmp_path / "fails")))
    remedy = f"since {tmp_path}/fails was begun. To start it again, delete that folder"
    for step, is_told in ((fails, False), (fails, False), (other, True), (other, True), (fails, False)):
        with pytest.raises(UserError, match="exit code 2") as error:
            StepRunner(str(tmp_path)).run(step, "1/2", "fails")
        assert (remedy in str(error.value)) == is_told
    (tmp_path / "fails").rmdir()
    with pytest.raises(UserError, match=r"exit code 2\. Its whole output"):
        StepRunner(str(tmp_path)).run(other, "1/2", "fails")
    for _ in range(2):
        StepRunner(str(tmp_path)).run(works, "2/2", "works")
    assert "  works: done already" in capsys.readouterr().out


def test_a_labelling_that_was_overruled_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    played(monkeypatch, lambda name: 0)
    monkeypatch.setattr(steps.verdict, "unfit", lambda folder, tasks: [f"depth in {folder}: constant"])
    for command in ("label", "merge"):
        step = Step(command, (command, str(tmp_path / command)), str(tmp_path / command))
        StepRunner(str(tmp_path)).run(step, "1/1", command)
    assert [line for line in capsys.readouterr().out.splitlines() if "unfit" in line] == [
        f"  unfit: depth in {tmp_path / 'label'}: constant"
    ]


def test_the_time_of_interrupted_attempts_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A step of 5 seconds that fails, then one of 7 that ends; none of it once the input has changed. So do logs."""
    now, codes = [0.0], iter([2, 0, 0])
    monkeypatch.setattr(steps.time, "monotonic", lambda: now[0])

    def play(name: str) -> int:
        del name
        code = next(codes)
        now[0] += 5.0 if code else 7.0
        return code

    played(monkeypatch, play)
    output = str(tmp_path / "label")
    with pytest.raises(UserError):
        StepRunner(str(tmp_path)).run(Step("label", ("label", output), output), "1/1", "label")
    runner = StepRunner(str(tmp_path))
    assert runner.seconds == {}
    runner.run(Step("label", ("label", output), output), "1/1", "label")
    log = tmp_path / steps.LOGS / "label.log"
    assert runner.seconds == {"label": 12.0} and log.read_text() == "label\nlabel\n"
    runner.run(Step("label", ("label", output), output, state=lambda: "other photos"), "1/1", "label")
    assert runner.seconds == {"label": 7.0} and log.read_text() == "label\n"


def test_the_log_stays_if_a_kill_ends_the_plan_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As for want of memory: the time of the attempt is lost then, and its log may be all that says why it ended."""
    output, contents = str(tmp_path / "label"), list[bytes]()

    def play(name: str) -> int:
        del name
        contents.append((tmp_path / steps.DONE).read_bytes())
        return 2

    played(monkeypatch, play)
    for _ in range(2):
        with pytest.raises(UserError):
            StepRunner(str(tmp_path)).run(Step("label", ("label", output), output), "1/1", "label")
        (tmp_path / steps.DONE).write_bytes(contents[0])  # as it was when the attempt began
    assert (tmp_path / steps.LOGS / "label.log").read_text() == "label\nlabel\n"


def test_a_step_that_is_not_begun_when_another_fails_is_never_begun(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or `must run` would wait for a training of hours before it reports the failure."""
    looks, told = threading.Event(), threading.Event()
    begun: list[str] = []

    def play(name: str) -> int:
        begun.append(name)
        return 2 if looks.wait(SECONDS) else 0

    def state() -> str:
        looks.set()
        assert told.wait(SECONDS)
        return ""

    played(monkeypatch, play)
    monkeypatch.setattr(steps.subprocesses, "end_all", told.set)
    fails = Step("fails", ("fails", str(tmp_path / "a")), str(tmp_path / "a"))
    late = Step("late", ("late", str(tmp_path / "b")), str(tmp_path / "b"), state=state)
    with pytest.raises(UserError, match="step 'fails' failed with exit code 2"):
        StepRunner(str(tmp_path)).run_all([("1/2", fails), ("2/2", late)], 2)
    assert begun == ["fails"]


def test_a_step_that_was_killed_is_not_done_even_if_the_plan_is_as_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its output may be half that of the plan in between. `must run` may be killed with it."""
    codes, known, then = [0, -9, 0], tmp_path / "steps.json", list[str]()

    def play(name: str) -> int:
        del name
        then.append(known.read_text())
        return codes.pop(0)

    played(monkeypatch, play)
    first, second = (Step("x", ("x", option, str(tmp_path / "x")), str(tmp_path / "x")) for option in ("a", "b"))
    StepRunner(str(tmp_path)).run(first, "1/1", "x")
    with pytest.raises(UserError, match="killed by signal 9"):
        StepRunner(str(tmp_path)).run(second, "1/1", "x")
    known.write_text(then[-1])
    StepRunner(str(tmp_path)).run(first, "1/1", "x")
    assert codes == []


def test_other_records_in_a_folder_that_is_not_the_loops_own_are_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of `format: records`, which no step writes."""
    called: list[str] = []

    def play(name: str) -> int:
        called.append(name)
        return 0

    played(monkeypatch, play)
    given, out = str(tmp_path / "given"), str(tmp_path / "run")
    for content, calls in (("a", 1), ("a", 1), ("b", 2)):
        manifest.write(given, Manifest([], {}, 1, {}, {}, {}, [{"file": "a", "records": 1, "sha256": content}]))
        StepRunner(str(tmp_path)).run(Step("train", ("train", out), out, needs=(given,)), "1/1", "train")
        assert len(called) == calls


def test_what_was_made_from_other_input_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also by a step that was killed. Other settings are left to the command, which may be able to go on."""
    codes = [0, 0, -9, 0]
    played(monkeypatch, lambda name: codes.pop(0))
    given, out = str(tmp_path / "given"), tmp_path / "run"

    def run(content: str, option: str = "") -> bool:
        """Runs a step that reads these records. Returns whether what it made before is still there."""
        manifest.write(given, Manifest([], {}, 1, {}, {}, {}, [{"file": "a", "records": 1, "sha256": content}]))
        StepRunner(str(tmp_path)).run(Step("x", ("x", option, str(out)), str(out), needs=(given,)), "1/1", "x")
        is_there = (out / "made before").exists()
        (out / "made before").touch()
        return is_there

    assert not run("a")
    assert run("a", "--other")
    with pytest.raises(UserError, match="killed by signal 9"):
        run("b")
    (out / "made before").touch()
    assert not run("c")
    assert codes == []


def test_of_an_output_with_parts_only_the_parts_that_changed_are_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A part that is added leaves the others as they are; one that comes back is compared with what it was."""
    played(monkeypatch, lambda name: 0)
    out = tmp_path / "table"

    def run(rows: Sequence[str], content: str, state: str = "") -> list[str]:
        """Runs a step whose parts are rows. Returns the files that were there before, and are still."""
        manifest.write(
            str(tmp_path / "a"), Manifest([], {}, 1, {}, {}, {}, [{"file": "a", "records": 1, "sha256": content}])
        )
        manifest.write(
            str(tmp_path / "b"), Manifest([], {}, 1, {}, {}, {}, [{"file": "b", "records": 1, "sha256": "b"}])
        )
        parts = {str(tmp_path / row): (row, os.path.join("*", f"by {row}")) for row in rows} | {"": ("start",)}
        needs = tuple(str(tmp_path / row) for row in rows)
        step = Step("x", ("x", *rows, str(out)), str(out), needs=needs, state=lambda: state, parts=parts)
        StepRunner(str(tmp_path)).run(step, "1/1", "x")
        left = sorted(str(path.relative_to(out)) for path in out.rglob("*") if path.is_file())
        for name in ("a/1", "b/1", "b/by a/1", "start/1"):
            (out / name).parent.mkdir(parents=True, exist_ok=True)
            (out / name).touch()
        return left

    everything = ["a/1", "b/1", "b/by a/1", "start/1"]
    assert run("a", "1") == []
    assert run("ab", "1") == everything
    assert run("ab", "2") == ["b/1", "start/1"]
    assert run("b", "3") == everything  # not made by this plan
    assert run("ab", "3") == ["b/1", "start/1"]
    assert run("ab", "3", "other weights") == ["a/1", "b/1", "b/by a/1"]
