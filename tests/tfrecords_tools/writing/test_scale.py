"""The converter on datasets of any size: items on disk, checks of the free space, storage of
any kind."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
import tensorflow as tf

from benchmarks.harness import processes
from must_tf.common.errors import UserError
from tests.support.converting import converted, dump, files_in, must_records, noise, save
from tests.support.session.forked_python import INTERPRETER
from tests.support.tiny import ROOT
from tfrecords_tools.convert import run as convert
from tfrecords_tools.sources.coco.coco import Coco
from tfrecords_tools.sources.images import UnlabelledImages
from tfrecords_tools.sources.scenes import Scenes
from tfrecords_tools.writing import disk_space, on_disk
from tfrecords_tools.writing.items import FilePart, Item


def test_items_on_the_disk_are_a_list() -> None:
    wanted = [Item(str(number), (f"{number}.jpg",), {"boxes": [number] * 3}) for number in range(7)]
    items = on_disk.Items(wanted)
    assert list(items) == wanted == list(items)
    assert (len(items), items[2], items[-1]) == (7, wanted[2], wanted[-1])
    part = pickle.loads(pickle.dumps(items[1::3]))  # as it travels to a worker
    assert (len(part), part[1], list(part), list(part[1:])) == (2, wanted[4], wanted[1::3], [wanted[4]])
    rows = [(source_id, files, pickle.loads(labels)) for source_id, files, labels in items.rows()]
    assert rows == wanted
    with pytest.raises(IndexError):
        items[7]
    assert not on_disk.Items()


def test_names_on_the_disk_are_a_sorted_set() -> None:
    names = on_disk.NameSet(["b", "é", "a", "B", "a"])
    assert list(names) == sorted({"b", "é", "a", "B"})
    assert names and "é" in names and "c" not in names
    assert names.add("c") and not names.add("c")


def test_a_table_on_the_disk_is_a_sorted_dictionary() -> None:
    table = on_disk.DiskTable([("b", 1), ("é", (2, "x")), ("a", None), ("b", 3)])
    assert list(table.items()) == sorted({"b": 3, "é": (2, "x"), "a": None}.items())
    assert (len(table), table.get("b"), table.get("c"), "a" in table) == (3, 3, None, True)
    assert not on_disk.DiskTable()


# Prints how far memory grew (KiB) while items of 1 KB each were put on the disk and read again.
GROWTH = """
import resource, sys
from tfrecords_tools.writing import on_disk
from tfrecords_tools.writing.items import Item
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
before = peak()
items = on_disk.Items(Item(str(n), (), "x" * 1000) for n in range(int(sys.argv[1])))
assert sum(len(item.labels) for item in items) == 1000 * len(items)
print(peak() - before)
"""


def test_a_hundred_thousand_items_take_no_memory() -> None:
    """100 MB of items need at most 12 MB of memory; as a list they would need all of it."""
    done = subprocess.run([*INTERPRETER, "-c", GROWTH, "100000"], cwd=ROOT, capture_output=True, text=True)
    assert int(done.stdout) < 12 * 1024, done.stderr


def test_a_disk_that_is_too_small_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten images of 1,000 bytes, with one free byte less than they need."""
    for number in range(10):
        (tmp_path / f"{number}.jpg").write_bytes(b"x" * 1000)
    items = [Item(str(number), (str(tmp_path / f"{number}.jpg"),)) for number in range(10)]
    assert disk_space.estimate(items) == 10_000
    free = {"bytes": 9_999}
    monkeypatch.setattr(disk_space.shutil, "disk_usage", lambda path: type("Usage", (), {"free": free["bytes"]}))
    with pytest.raises(UserError, match="are free on that disk"):
        disk_space.require(10_000, str(tmp_path / "deep" / "out"))
    free["bytes"] = 10_000
    disk_space.require(10_000, str(tmp_path))
    free["bytes"] = 1
    with pytest.raises(UserError, match="free"):
        converted(UnlabelledImages(str(tmp_path)), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_sizes_of_parts_and_shared_files(tmp_path: Path) -> None:
    """1,200 parts of 700 bytes, one file of 5,000 bytes for 600 items, three files of 300, and one of unknown size.

    A sample is 500 items, so that every case but the last two is scaled.
    """
    for name, size in (("a.tar", 10), ("train", 5000), ("x.mat", 9000), *((f"{n}.h5", 300) for n in range(3))):
        (tmp_path / name).write_bytes(b"x" * size)

    def item(name: str, labels: object = None) -> Item:
        return Item("", (str(tmp_path / name),), labels)

    part = (FilePart("n01/a.JPEG", 512, 700), 3, 1000)
    assert disk_space.estimate([item("a.tar", part)] * 1200) == pytest.approx(1200 * 700)
    assert disk_space.estimate([item("train", (1, 2, 100, "cat"))] * 600) == 5000
    assert disk_space.estimate([item(f"{n}.h5") for n in range(3)]) == 900
    assert disk_space.estimate([item("x.mat", (0, None))] * 3) == 0
    assert disk_space.estimate([]) == 0


def test_only_missing_shards_must_fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Four images of equal size in two shards, one of which exists."""
    for number in range(4):
        save(tmp_path / "photos" / f"{number}.png", noise(20, 30, 0))
    size = 4 * (tmp_path / "photos" / "0.png").stat().st_size
    source, free = UnlabelledImages(str(tmp_path / "photos")), {"bytes": size}
    monkeypatch.setattr(disk_space.shutil, "disk_usage", lambda path: type("Usage", (), {"free": free["bytes"]}))
    converted(source, tmp_path / "out", shards=2)
    (tmp_path / "out" / "records-00000-of-00002.tfrecord").unlink()
    free["bytes"] = size // 2 - 1
    with pytest.raises(UserError, match="are free on that disk"):
        converted(source, tmp_path / "out", shards=2)
    free["bytes"] = size // 2
    converted(source, tmp_path / "out", shards=2)


def test_storage_of_any_kind_gives_the_same_bytes(tmp_path: Path) -> None:
    """Images, annotations and records in TensorFlow's file system in memory, which stands for gs://."""
    image = Path(save(tmp_path / "images" / "sub" / "a.png", noise(20, 30)))
    box = {"id": 1, "image_id": 7, "category_id": 1, "bbox": [3, 4, 10, 10]}
    content = {
        "images": [{"id": 7, "file_name": "sub/a.png"}],
        "annotations": [box],
        "categories": [{"id": 1, "name": "thing"}],
    }
    dump(tmp_path / "a.json", content)
    remote = "ram://anywhere"
    for path, data in ((f"{remote}/images/sub/a.png", image.read_bytes()), (f"{remote}/a.json", json.dumps(content))):
        tf.io.gfile.makedirs(os.path.dirname(path))
        with tf.io.gfile.GFile(path, "wb") as file:
            file.write(data)
    local = converted(Coco(str(tmp_path / "images"), str(tmp_path / "a.json")), tmp_path / "out")
    outcome = convert.convert(Coco(f"{remote}/images", f"{remote}/a.json"), convert.Options(f"{remote}/out", workers=1))
    assert outcome.manifest.records == 1
    assert outcome.manifest.shards == local.outcome.manifest.shards  # sha256
    there = {name for name in tf.io.gfile.listdir(f"{remote}/out") if name.strip("/") != ".shards"}
    assert there == {"manifest.json", "records-00000-of-00001.tfrecord"}


# Converts by forked processes, TensorFlow's runtime not yet started; kills itself as soon as a shard is finished.
FORKED = """
import os, signal, sys
from tfrecords_tools.convert import run as convert
from tfrecords_tools.sources.scenes import Scenes
from tfrecords_tools.writing import worker_pool
assert worker_pool._context().get_start_method() == "fork"
if sys.argv[2] == "kill":
    advance = convert.Progress.advance
    def until_one(self, count=1, note=""):
        advance(self, count, note)
        if self._done >= 4:
            os.kill(os.getpid(), signal.SIGKILL)
    convert.Progress.advance = until_one
convert.convert(Scenes("wild", 12, 1, 48), convert.Options(sys.argv[1], shards=6, workers=2))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="processes are only forked on Linux")
def test_forked_workers_write_the_same_bytes_also_after_a_kill(tmp_path: Path) -> None:
    def run(out: Path, how: str) -> int:
        return subprocess.run([*INTERPRETER, "-c", FORKED, str(out), how], cwd=ROOT, capture_output=True).returncode

    convert.convert(Scenes("wild", 12, 1, 48), convert.Options(str(tmp_path / "one"), shards=6, workers=1))
    assert run(tmp_path / "two", "kill") == -9
    assert not (tmp_path / "two" / "manifest.json").exists()
    assert run(tmp_path / "two", "finish") == 0
    assert files_in(tmp_path / "two") == files_in(tmp_path / "one")


def test_json_is_all_that_is_on_stdout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    save(tmp_path / "photos" / "a.png", noise(20, 30))
    (tmp_path / "photos" / "b.png").write_bytes(b"no image")
    command = f"convert images --root {tmp_path}/photos --out {tmp_path}/out --workers 1 --json".split()
    assert must_records(command, monkeypatch) == 1
    printed = capsys.readouterr()
    told = json.loads(printed.out)
    assert (told["records"], told["shards"], told["image_drop_rate"]) == (1, 1, 0.5)
    assert told["dropped"]["image: cannot be decoded"]["count"] == 1
    assert "1 records in 1 shards" in printed.err
    command[3] = f"{tmp_path}/photo"
    assert must_records(command, monkeypatch) == 2
    assert "Did you mean 'photos'" in json.loads(capsys.readouterr().out)["error"]


def test_an_unexpected_error_has_its_own_exit_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 1 would mean that the command finished, but dropped more than allowed."""
    save(tmp_path / "photos" / "a.png", noise(20, 30))
    monkeypatch.setattr(UnlabelledImages, "find", lambda self: [][0])
    command = f"convert images --root {tmp_path}/photos --out {tmp_path}/out --json".split()
    assert must_records(command, monkeypatch) == 2
    printed = capsys.readouterr()
    assert json.loads(printed.out) == {"error": "IndexError: list index out of range"}
    assert "Traceback (most recent call last)" in printed.err
    assert "test_scale.py" in printed.err


def test_memory_counts_shared_pages_once() -> None:
    """A child that shares 256 MB with its parent adds little; one that writes to them adds 256 MB.

    Little, not nothing: this process shares its imports with others, and then has two shares of them instead of one.
    """
    held = bytearray(256 << 20)
    alone = processes.memory([os.getpid()])
    shared, written = (_with_child(held, write) for write in (False, True))
    assert shared - alone < 128 << 20 < written - alone


def _with_child(held: bytearray, write: bool) -> int:
    ready, go = os.pipe(), os.pipe()
    child = os.fork()
    if not child:
        if write:
            held[:] = bytes(len(held))
        os.write(ready[1], b"x")
        os.read(go[0], 1)
        os._exit(0)
    os.read(ready[0], 1)
    found = processes.memory([os.getpid(), child])
    os.write(go[1], b"x")
    os.waitpid(child, 0)
    for descriptor in (*ready, *go):
        os.close(descriptor)
    return found


@pytest.mark.parametrize(
    ("runner", "message"),
    [("DirectRuner", "Did you mean 'DirectRunner'"), ("DirectRunner", "pip install 'must-tf[beam]'")],
)
def test_an_unknown_runner_is_refused(
    runner: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "apache_beam", None)  # importing it fails, as where it is not installed
    command = f"convert scenes --domain wild --count 1 --seed 0 --out {tmp_path}/out --runner {runner}".split()
    assert must_records(command, monkeypatch) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
