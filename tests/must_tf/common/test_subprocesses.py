"""Output of subprocesses: what goes to the log, and what to the terminal."""

from __future__ import annotations

import os
import signal
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from must_tf.common import subprocesses


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
