"""Ctrl-C and SIGTERM at random moments: one word, and the same command goes on to the same bytes.

`python -m tests.tools.kills` does the same with SIGKILL, for much longer.
"""

from __future__ import annotations

import random
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from tests.support import tiny
from tests.support.session.forked_python import INTERPRETER
from tests.support.tiny import ROOT, Tiny

SEED = 20261130
# A process that counts its function calls, and gets a signal at one of them. Unlike a time, a call is the same one on a
# busy machine.
DISTURBED = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
number, left, count = getattr(signal, sys.argv[1]), int(sys.argv[2]), 0

def called(frame, event, argument):
    global count
    count += event == "call"
    if count == left:
        count += 1
        os.kill(os.getpid(), number)

sys.argv[:] = ["must", *sys.argv[3:]]
from must_tf.__main__ import main
os.register_at_fork(after_in_child=lambda: sys.setprofile(None))
sys.setprofile(called)
try:
    code = main()
except SystemExit as end:
    code = end.code
sys.setprofile(None)
print(f"{count} calls")
sys.exit(code)
"""
WORDS = {"SIGINT": (130, "interrupted"), "SIGTERM": (143, "terminated")}


def run(words: Sequence[str], out: Path, name: str = "SIGINT", call: int = 0) -> subprocess.CompletedProcess[str]:
    """Runs a command that writes `out`. It gets a signal at the given function call, counted from 1."""
    command = [*INTERPRETER, "-c", DISTURBED, name, str(call), *words, "--out", str(out)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=200)


def files(folder: Path) -> dict[str, bytes]:
    """Returns the content of the files of a folder, without the notes of its commands."""
    found = (path for path in folder.rglob("*") if path.is_file() and ".shards" not in path.parts)
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}


def test_a_command_goes_on_after_signals_at_random_moments(tiny_records: Tiny, tmp_path: Path) -> None:
    more = tiny.write_set(tmp_path / "more", [[tiny.scene_record(number, ())] for number in range(9, 12)])
    words = ["merge", "--records", f"{tiny_records.records}/*.tfrecord", "--records", more, "--workers", "1"]
    out = tmp_path / "out"  # the manifest has its name
    undisturbed = run(words, out)
    calls, whole = int(undisturbed.stdout.split()[-2]), files(out)
    rng, codes = random.Random(SEED), list[int]()
    for name in WORDS:
        shutil.rmtree(out)
        ended = run(words, out, name, rng.randint(1, calls))
        codes.append(ended.returncode)
        if ended.returncode:
            code, word = WORDS[name]
            lines = [line for line in ended.stderr.replace("\r", "\n").splitlines() if line and " · " not in line]
            assert (ended.returncode, lines) == (code, [word])
            left = files(out) if out.exists() else {}
            assert left.items() <= whole.items()  # shards may be there, if they are whole
            assert "manifest.json" not in left or left == whole
        assert run(words, out).returncode == 0
        assert files(out) == whole
    assert all(codes)
