"""Commands in one process: each has its own log and exit code, and finds what the one before has loaded."""

from __future__ import annotations

import errno
import gc
import io
import json
import os
import signal
import sys
import threading
import time
import weakref
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from must_tf.common import forking, process_setup, shared_process, subprocesses
from must_tf.common.shared_process import END, CommandProcesses, SharedProcess


@pytest.fixture
def shared() -> Iterator[SharedProcess]:
    """A process that ends with the test."""
    process = SharedProcess()
    yield process
    process.end()


def ids() -> set[int]:
    """The processes that this one has started and that run."""
    return {child.pid for child in psutil.Process().children() if child.status() != psutil.STATUS_ZOMBIE}


def test_commands_have_their_own_logs_and_codes(shared: SharedProcess, tmp_path: Path) -> None:
    """The second fails, and the third is answered all the same, by the same process."""
    before = ids()
    logs = [str(tmp_path / "logs" / str(number)) for number in range(3)]
    assert shared.follow(["--version"], logs[0], "") == 0
    own = ids() - before
    assert shared.follow(["lable"], logs[1], "") == 2
    assert shared.follow(["--help"], logs[2], "") == 0
    assert len(own) == 1 and ids() - before == own
    assert [Path(log).read_text().split()[0] for log in logs] == ["0.1.0", "error:", "Usage:"]
    assert "Did you mean 'label'?" in Path(logs[1]).read_text()
    shared.end()
    assert ids() == before


def test_a_process_that_died_while_it_was_idle_is_replaced(shared: SharedProcess, tmp_path: Path) -> None:
    before = ids()
    assert shared.follow(["--version"], str(tmp_path / "log"), "") == 0
    (died,) = ids() - before
    os.kill(died, signal.SIGKILL)
    while died in ids():
        time.sleep(0.01)
    assert shared.follow(["--version"], str(tmp_path / "log"), "") == 0


def test_a_command_that_is_ended_gives_its_code_and_ends_its_process(shared: SharedProcess, tmp_path: Path) -> None:
    """Here before it has done anything: its process has not yet imported what it needs."""
    before = ids()
    records = str(tmp_path / "records")
    with ThreadPoolExecutor(1) as pool:
        words = ["convert", "scenes", "--count=2000", "--domain=wild", "--seed=1", f"--out={records}"]
        code = pool.submit(shared.follow, words, str(tmp_path / "log"), "")
        while not os.path.exists(records):
            assert not code.done()
            time.sleep(0.01)
        subprocesses.end_all()
        assert code.result() == 143
    assert ids() == before


def test_idle_processes_are_used_again(tmp_path: Path) -> None:
    """Two commands at once have a process each; one of them has the third command. All end together."""
    before = ids()
    shared = CommandProcesses()
    begun = threading.Barrier(2)

    def at_once(number: int) -> int:
        begun.wait(60)
        return shared.follow(["--version"], str(tmp_path / str(number)), "", is_shared=True)

    with ThreadPoolExecutor(2) as pool:
        assert [*pool.map(at_once, range(2))] == [0, 0]
    own = ids() - before
    assert shared.follow(["--version"], str(tmp_path / "third"), "", is_shared=True) == 0
    assert ids() - before == own and 1 <= len(own) <= 2
    shared.end()
    assert ids() == before


def test_a_process_whose_command_was_not_followed_to_its_end_is_not_idle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = ids()
    shared = CommandProcesses()

    def full(*given: object) -> None:
        raise OSError(errno.ENOSPC, "no space")

    with monkeypatch.context() as patch, pytest.raises(OSError, match="no space"):
        patch.setattr(subprocesses, "relay", full)
        shared.follow(["--version"], str(tmp_path / "log"), "", is_shared=True)
    assert ids() == before
    assert shared.follow(["--version"], str(tmp_path / "other"), "", is_shared=True) == 0
    shared.end()


def test_a_command_may_begin_while_others_processes_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """As the first training of `must run --jobs 2` does: the processes that have converted end in another thread."""
    processes = CommandProcesses()
    done: list[str] = []

    class Shared:
        """Takes so long to end that another command begins."""

        def __init__(self, option: str) -> None:
            self._option = option

        def follow(self, words: Sequence[str], log: str, name: str, jobs: int) -> int:
            """Notes a command."""
            done.append(words[0])
            return 0

        def end(self) -> None:
            """Notes the end."""
            done.append(f"end {self._option}")
            if self._option == shared_process.EACH_LINE:
                processes.follow(["train"], "", "")

    monkeypatch.setattr(shared_process, "SharedProcess", Shared)
    monkeypatch.setattr(forking, "IS_POSSIBLE", True)
    processes.follow(["convert"], "", "", is_shared=True)
    processes.end({forking.EACH_LINE})
    assert done == ["convert", "end --each_line", "train"]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # what other tests here left unclosed
def test_what_a_command_has_left_is_not_kept(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Although the next one freezes all objects that there are. Every way to end has its exit code.

    As of a teacher that a process needed once, and replaces by another one.
    """

    class Left:
        """Garbage that refers to itself."""

        def __init__(self) -> None:
            self.itself = self

    needed: list[Left] = []
    left: list[weakref.ref[Left]] = []
    ends = (0, None, SystemExit(), SystemExit(3), SystemExit("a sentence"))

    def main(words: Sequence[str]) -> int | None:
        with process_setup.importing():
            pass
        needed[:] = [Left()]
        left.append(weakref.ref(needed[0]))
        end = ends[int(words[0])]
        if isinstance(end, SystemExit):
            raise end
        return end

    monkeypatch.setattr(sys, "stdin", io.StringIO("".join(f"{json.dumps([[str(place)], {}])}\n" for place in range(5))))
    try:
        assert shared_process.run(main) == 0
    finally:
        gc.unfreeze()
    assert [one() for one in left[:-2]] == [None] * 3
    assert capsys.readouterr().out == "".join(f"{END}{code}\n" for code in (0, 0, 0, 3, 1))
