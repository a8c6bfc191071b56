"""Output of subprocesses: what goes to the log, and what to the terminal."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from must_tf.common import devices, subprocesses


def test_a_child_leaves_its_whole_output_in_the_log_and_shows_the_rest(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    log = str(tmp_path / "logs" / "child.log")
    lines = "print('noise'); print('note: 2'); print('evaluated 3 of 3'); print(must_tf.__file__)"
    script = f"import must_tf, sys; {lines}; sys.exit(3)"
    assert subprocesses.follow([sys.executable, "-c", script], log) == 3
    assert capfd.readouterr().out.split() == ["note:", "2", "evaluated", "3", "of", "3"]
    assert subprocesses.last_lines(log, 3)[:2] == ["note: 2", "evaluated 3 of 3"]
    assert subprocesses.last_lines(log, 1) == [os.path.join(subprocesses.PACKAGES, "must_tf", "__init__.py")]


def test_the_log_of_an_earlier_attempt_stays(tmp_path: Path) -> None:
    """It may say why that one ended; the reason of the last one is searched in its own lines only."""
    log = tmp_path / "log"
    for word in ("first", "second"):
        assert subprocesses.follow([sys.executable, "-c", f"print('error: {word}')"], str(log)) == 0
    assert log.read_text() == f"error: first\n\n{subprocesses.AGAIN}\nerror: second\n"
    assert subprocesses.last_lines(str(log), 200) == ["error: second"]


def test_what_a_terminal_has_shown_is_not_shown_again(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("noise\ntrain 8/16 images · 2.0 images/s\nnote: 2\nerror: no such file\n")
    script = f"import must_tf.common.subprocesses as s; print(*s.unseen_lines({str(log)!r}, 9), sep=',')"
    one = subprocess.run([sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert one.stdout == "noise\n"
    two = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert two.stdout == "noise,train 8/16 images · 2.0 images/s,note: 2,error: no such file\n"


def test_progress_replaces_its_line_on_a_terminal_and_results_stay(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without blank lines between results; a terminal of 40 columns cuts progress, which would stay if it wrapped."""
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "40")
    lines = [f"step 1 · {'x' * 90}", "step 2 · y", "  depth: 3", "  masks: 4", "not judged: too few", "step 3 · z"]
    assert subprocesses.follow([sys.executable, "-c", f"print({chr(10).join(lines)!r})"], str(tmp_path / "log")) == 0
    shown = capfd.readouterr().out.replace("\r\n", "\n").split("\n")
    first, second = shown[0].split("\r")[1:]
    assert first == f"  step 1 · {'x' * 28}" and second == f"{'  step 2 · y':<39}"
    assert shown[1:4] == ["    depth: 3", "    masks: 4", "  not judged: too few"]
    assert shown[4:] == [f"\r{'  step 3 · z':<39}", ""]


def test_output_that_is_no_text_is_in_the_log_all_the_same(tmp_path: Path) -> None:
    script = r"import os; os.write(2, b'before \xff after\n')"
    assert subprocesses.follow([sys.executable, "-c", script], str(tmp_path / "log")) == 0
    assert (tmp_path / "log").read_text() == "before \\xff after\n"


@pytest.mark.parametrize(("cores", "given", "expected"), [(5, "", "2"), (1, "", "1"), (5, "3", "3")])
def test_commands_at_once_share_the_cores(
    cores: int, given: str, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are printed so that they can be repeated alone. A number that the user has set is kept."""
    monkeypatch.setattr(devices, "cores", lambda: cores)
    monkeypatch.setattr(subprocesses, "not_inherited", set())
    monkeypatch.delenv(subprocesses.THREADS, raising=False)
    if given:
        monkeypatch.setenv(subprocesses.THREADS, given)
    log, script = tmp_path / "log", f"import os; print(os.environ.get({subprocesses.THREADS!r}))"
    assert subprocesses.follow([sys.executable, "-c", script], str(log), "step", 2) == 0
    assert log.read_text() == f"{expected}\n"
    prefix = "" if given else f"{subprocesses.THREADS}={expected} "
    assert subprocesses.shown("must train", 2) == f"{prefix}must train"
    log.unlink()
    assert subprocesses.follow([sys.executable, "-c", script], str(log), "step") == 0
    assert log.read_text() == f"{given or None}\n" and subprocesses.shown("must train", 1) == "must train"


def test_a_killed_child_gives_its_signal(tmp_path: Path) -> None:
    script = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
    assert subprocesses.follow([sys.executable, "-c", script], str(tmp_path / "log")) == -signal.SIGKILL


def test_commands_of_other_threads_can_be_ended(tmp_path: Path) -> None:
    log = tmp_path / "log"
    command = [sys.executable, "-c", "import time; print('here', flush=True); time.sleep(60)"]
    with ThreadPoolExecutor(1) as pool:
        code = pool.submit(subprocesses.follow, command, str(log), "step")
        while not (log.exists() and log.read_text()):
            time.sleep(0.01)
        subprocesses.end_all()
        assert code.result() == -signal.SIGTERM


def test_a_command_is_told_to_end_once(tmp_path: Path) -> None:
    """Although `end_all` is called until all have ended: a training that saves its last step needs longer than that."""
    log = tmp_path / "log"
    script = """
import signal, time
def told(number, frame):
    print("told", flush=True)
    time.sleep(0.5)
    raise SystemExit(0)
signal.signal(signal.SIGTERM, told)
print("here", flush=True)
time.sleep(60)
"""
    with ThreadPoolExecutor(1) as pool:
        code = pool.submit(subprocesses.follow, [sys.executable, "-c", script], str(log), "step")
        while not (log.exists() and log.read_text()):
            time.sleep(0.01)
        while not code.done():
            subprocesses.end_all()
            time.sleep(0.05)
    assert (code.result(), log.read_text()) == (0, "here\ntold\n")
