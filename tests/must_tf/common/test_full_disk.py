"""A full, a read-only and a vanished disk end a command with one line that names a path.

Each test mounts a disk of 200 KB in a process of its own, which no other sees. Without root this takes a user
namespace.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from must_tf.common import disk
from tests.support import tiny
from tests.support.session.forked_python import INTERPRETER
from tests.support.tiny import ROOT, Tiny

NOT_ALLOWED = 77
NAMES = ("file", "shard", "lock", "checkpoint", "export", "log")
MOUNTED = """
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
NEW_MOUNTS, NEW_USER, READ_ONLY, REMOUNT, PRIVATE = 0x20000, 0x10000000, 1, 32, 1 << 18 | 1 << 14
folder, how = sys.argv[1:3]

def mount(flags, options):
    return libc.mount(b"none", folder.encode(), b"tmpfs", flags, options)

if libc.unshare(NEW_MOUNTS | (0 if os.geteuid() == 0 else NEW_USER)) or libc.mount(b"none", b"/", None, PRIVATE, None):
    sys.exit(77)
if mount(0, b"size=200k"):
    sys.exit(77)
if how == "read-only" and mount(REMOUNT | READ_ONLY, b""):
    sys.exit(77)
"""
# Every way in which commands write files: 4 MB each.
WAYS = (
    MOUNTED
    + """
import shutil
import tensorflow as tf
from must_tf.common import disk, files, folder_lock, subprocesses
from must_tf.common.errors import exit_on_user_error
from tfrecords_tools.writing import shards

content = os.urandom(4 << 20)
variable = tf.Variable(tf.io.decode_raw(content, tf.uint8))

def checkpoint():
    tf.train.Checkpoint(v=variable).write(f"{folder}/ckpt-1")

def saved_model():
    module = tf.Module()
    module.v = variable
    tf.saved_model.save(module, f"{folder}/export")

def log():
    subprocesses.follow([sys.executable, "-c", "print('x' * (4 << 20))"], f"{folder}/logs/a.log")

WAYS = {
    "file": lambda: files.write_whole(f"{folder}/a/b.json", content),
    "shard": lambda: shards.write_shard(f"{folder}/records-00000-of-00001.tfrecord", [content]),
    "lock": lambda: folder_lock.held(f"{folder}/out").__enter__(),
    "checkpoint": checkpoint,
    "export": saved_model,
    "log": log,
}
for name, way in WAYS.items():
    sys.stderr.write(f"{name}: ")
    code = exit_on_user_error(way)
    sys.stderr.write("" if code else "nothing\\n")
    unfinished = [each for _, _, names in os.walk(folder) for each in names if each.endswith(".partial")]
    sys.stderr.write(f"left over: {unfinished}\\n" if unfinished else "")
    for each in os.listdir(folder) if how == "full" else ():
        shutil.rmtree(f"{folder}/{each}", ignore_errors=True)
"""
)
COMMAND = (
    MOUNTED
    + """
sys.argv[:] = ["must", *sys.argv[3:]]
from must_tf.__main__ import main
sys.exit(main())
"""
)


def on_a_disk(code: str, folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Runs code in a process that has mounted a disk at the folder. Skips the test if that is not allowed."""
    folder.mkdir()
    command = [*INTERPRETER, "-c", code, str(folder), *words]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=200)
    if ended.returncode == NOT_ALLOWED:
        pytest.skip("this system lets tests mount no disk")
    return ended


@pytest.mark.parametrize("how", ["full", "read-only"])
def test_every_way_to_write_names_the_path(how: str, tmp_path: Path) -> None:
    folder = tmp_path / "disk"
    ended = on_a_disk(WAYS, folder, how)
    lines = [line for line in ended.stderr.splitlines() if line.split(":")[0] in NAMES]
    reason = "no space left on device" if how == "full" else "read-only file system"
    assert [line.split(":")[0] for line in lines] == [*NAMES] and "Traceback" not in ended.stderr, ended.stderr
    assert "left over" not in ended.stderr
    for name, line in zip(NAMES, lines, strict=True):
        if name == "lock" and how == "full":  # an empty file still fits
            continue
        assert str(folder) in line and reason in line.lower(), line
        assert how != "full" or "MB free" in line, line


@pytest.mark.parametrize("command", ["convert", "merge", "export-coco"])
def test_a_command_on_a_full_disk_leaves_nothing_under_a_final_name(
    command: str, tiny_records: Tiny, tmp_path: Path
) -> None:
    records, others = (
        f"{tiny_records.records}/*.tfrecord",
        tiny.write_set(tmp_path / "in", [[tiny.scene_record(9, ())]]),
    )
    out = tmp_path / "disk" / "out"
    words = {
        "convert": [
            "convert",
            "scenes",
            "--domain",
            "wild",
            "--count",
            "64",
            "--seed",
            "1",
            "--shards",
            "2",
            "--workers",
            "1",
        ],
        "merge": ["merge", "--records", records, "--records", others, "--workers", "1"],
        "export-coco": ["export-coco", "--records", records, "--images"],
    }[command]
    seen = "import atexit, os; atexit.register(lambda: print(*[n for p, _, ns in os.walk(%r) for n in ns]))"
    ended = on_a_disk(
        MOUNTED + seen % str(out) + COMMAND.removeprefix(MOUNTED), tmp_path / "disk", "full", *words, "--out", str(out)
    )
    (line,) = (line for line in ended.stderr.splitlines() if line.startswith("error: "))
    assert ended.returncode == 2 and "Traceback" not in ended.stderr
    assert str(tmp_path / "disk") in line
    assert "no space left on device (0 MB free)" in line or "MiB are free on that disk" in line  # found before
    left = ended.stdout.split()
    assert not {"manifest.json", "instances.json", "export.json"} & {*left}
    assert not [name for name in left if name.endswith(".tfrecord")] or command == "export-coco"


def test_python_forgets_the_name_of_an_open_file(tmp_path: Path) -> None:
    """Its error has none, so the place that writes adds it."""
    with pytest.raises(OSError) as caught, disk.naming(str(tmp_path / "a.log")), open("/dev/full", "w") as file:
        file.write("a" * 10)
    assert str(tmp_path / "a.log") in disk.refusal(caught.value)
