"""Processes, jobs of a batch system and kills do not affect the labels; no job hinders another."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from must_tf.common import devices, folder_lock
from must_tf.common.errors import UserError
from must_tf.data import manifest
from must_tf.spec import ImageInfo
from tests.support import formula_teacher, teaching
from tests.support.session.forked_python import INTERPRETER
from tests.support.tiny import ROOT, write_set
from tfrecords_tools.label import parallelism, run
from tfrecords_tools.label.parallelism import JobPart, Parallelism
from tfrecords_tools.label.run import LabelResult, label_records
from tfrecords_tools.writing import shards, worker_pool

NAMES = shards.names(3)
SIMULTANEOUS_BATCHES = 8
PATIENCE = 60.0  # seconds until a test gives up on another thread
# Several batches in one network at a time, like in the command on a CPU. It takes a real detector: without `settle`,
# TensorFlow's optimizer turns the sum of shares in `decode_boxes` into a variable whose name all calls share.
LABEL = """
import sys
from must_tf.model import student
from tfrecords_tools.label import parallelism, pipeline
from tfrecords_tools.teachers import About
from tfrecords_tools.teachers.trained import TrainedTeacher
parallelism.settle()
parallelism.own_cores = lambda: 4
config = student.StudentConfig(input_size=128)
config.override({"model": {
    "backbone": {"type": "resnet", "resnet": {"model_id": 10, "depth_multiplier": 0.25}},
    "decoder": {"type": "fpn", "fpn": {"num_filters": 16}},
}})
detection = config.tasks.detection
detection.enabled, detection.classes, detection.filters, detection.fc = True, tuple(map(str, range(200))), 16, 32
model = student.build(config)
forward = lambda image, shape: model({"image": image, "image_shape": shape}, training=False)["predictions"]
about = About("test", ("detection",), "0" * 12, {"detection": list(map(str, range(200)))})
teacher = TrainedTeacher(about, forward, student.enabled(config), 128)
records = list(pipeline.labelled(sys.argv[1], [teacher], lambda count: None))
print(len(records), parallelism.passes())
"""


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Seven unlabelled images in three shards."""
    images = [formula_teacher.image_record(number) for number in range(7)]
    return formula_teacher.write(tmp_path_factory.mktemp("spread") / "in", [images[:3], images[3:4], images[4:]])


@pytest.fixture(scope="module")
def whole(source: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The files that one job writes for all shards."""
    out = tmp_path_factory.mktemp("whole") / "out"
    formula_teacher.labelled(formula_teacher.request(source), out)
    return formula_teacher.content(out)


@pytest.mark.parametrize("order", [(1, 2), (2, 1)])
def test_two_jobs_write_what_one_writes(
    order: tuple[int, int], source: str, whole: dict[str, bytes], tmp_path: Path
) -> None:
    """Of three shards, job 1 does the first and third, job 2 the second. The last one writes the manifest."""
    out, did = tmp_path / "out", {1: [NAMES[0], NAMES[2]], 2: [NAMES[1]]}
    first = formula_teacher.labelled(formula_teacher.request(source), out, part=JobPart(order[0], 2))
    assert sorted(path.name for path in out.glob("*.tfrecord")) == did[order[0]]
    assert (first.manifest, first.finished, first.total) == (None, len(did[order[0]]), 3)
    assert not (out / manifest.NAME).exists()
    last = formula_teacher.labelled(formula_teacher.request(source), out, part=JobPart(order[1], 2))
    assert last.manifest == manifest.read(str(out))
    assert formula_teacher.content(out) == whole


def test_the_command_without_shard_writes_the_manifest_of_all_jobs(
    source: str, whole: dict[str, bytes], tmp_path: Path
) -> None:
    """The last job was killed between its shard and the manifest."""
    out = tmp_path / "out"
    for number in (1, 2):
        formula_teacher.labelled(formula_teacher.request(source), out, part=JobPart(number, 2))
    (out / manifest.NAME).unlink()
    made = {name: (out / name).stat().st_mtime_ns for name in NAMES}
    assert formula_teacher.labelled(formula_teacher.request(source), out).manifest
    assert formula_teacher.content(out) == whole
    assert {name: (out / name).stat().st_mtime_ns for name in NAMES} == made  # none is made again


def test_threads_are_settled_before_each_shard(source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether the number of threads shows in the bytes depends on the processor; that it is fixed does not."""
    settled: list[bool] = []
    monkeypatch.setattr(parallelism, "settle", lambda: settled.append(True))
    formula_teacher.labelled(formula_teacher.request(source), tmp_path / "out")
    assert len(settled) == len(NAMES)


def test_threads_are_settled_if_no_shard_is_missing(
    source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Teachers are measured next, which starts TensorFlow, and then the same process may label other records."""
    formula_teacher.labelled(formula_teacher.request(source), tmp_path / "out")
    settled: list[bool] = []
    monkeypatch.setattr(run, "settle", lambda: settled.append(True))
    assert formula_teacher.labelled(formula_teacher.request(source), tmp_path / "out").manifest
    assert settled == [True]


def test_a_job_beyond_the_shards_has_nothing_to_do(source: str, tmp_path: Path) -> None:
    result = formula_teacher.labelled(formula_teacher.request(source), tmp_path / "out", part=JobPart(4, 5))
    assert (result.manifest, result.finished, result.mine) == (None, 0, 0)
    assert not (tmp_path / "out").exists()


def test_the_same_part_is_done_once_and_others_beside_it(source: str, tmp_path: Path) -> None:
    """While job 1 of 2 is at work, job 2 may work, but neither another job 1 nor a job for all shards."""
    out, request = tmp_path / "out", formula_teacher.request(source)
    with folder_lock.held(str(out), "1-of-2"):
        with pytest.raises(UserError, match=f"written by process {os.getpid()}"):
            formula_teacher.labelled(request, out, part=JobPart(1, 2))
        with pytest.raises(UserError, match=f"written by process {os.getpid()}"):
            formula_teacher.labelled(request, out)
        assert formula_teacher.labelled(request, out, part=JobPart(2, 2)).finished == 1
    with folder_lock.held(str(out)), pytest.raises(UserError, match="is being written by"):
        formula_teacher.labelled(request, out, part=JobPart(1, 2))
    assert formula_teacher.labelled(request, out, part=JobPart(1, 2)).manifest


def test_jobs_on_storage_without_locks(source: str, whole: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    """As above, with files instead of locks. Those of a process that has ended do not block."""
    out, request = "ram://spread/out", formula_teacher.request(source)
    monkeypatch.setattr(folder_lock, "SETTLE_SECONDS", 0.0)
    elsewhere = json.dumps({"host": "elsewhere", "pid": 1, "token": "t"})

    def run(part: JobPart) -> LabelResult:
        return label_records(request, out, ["test"], Parallelism(part=part))

    tf.io.gfile.makedirs(out)
    for name, part in ((".lock-1-of-2", JobPart(1, 2)), (".lock-1-of-2", JobPart()), (".lock", JobPart(2, 2))):
        with tf.io.gfile.GFile(f"{out}/{name}", "w") as file:
            file.write(elsewhere)
        with pytest.raises(UserError, match="process 1 on elsewhere"):
            run(part)
        tf.io.gfile.remove(f"{out}/{name}")
    with tf.io.gfile.GFile(f"{out}/.lock-1-of-2", "w") as file:
        file.write(json.dumps({"host": folder_lock.socket.gethostname(), "pid": 2**22 + 1}))
    assert run(JobPart(1, 2)).manifest is None
    assert run(JobPart(2, 2)).manifest
    assert {name: tf.io.gfile.GFile(f"{out}/{name}", "rb").read() for name in NAMES} == {
        name: whole[name] for name in NAMES
    }
    assert not tf.io.gfile.glob(f"{out}/.lock*")


def test_two_processes_make_the_same_shard_unseen_by_each_other(tmp_path: Path) -> None:
    """If locks do not reach another machine, both write, the shard is whole, and no partial file stays."""
    path, images = str(tmp_path / NAMES[0]), [formula_teacher.image_record(number) for number in range(3)]

    def meanwhile() -> Iterator[bytes]:
        yield images[0]
        shards.write_shard(path, images)
        yield from images[1:]

    with pytest.raises(UserError, match="another command is writing the same shard"):
        shards.write_shard(path, meanwhile())
    assert list(tf.data.TFRecordDataset(path).as_numpy_iterator()) == images
    assert not list(tmp_path.glob("*partial"))


def test_another_command_does_not_go_on_in_a_folder_of_jobs(source: str, tmp_path: Path) -> None:
    """The same teacher has another id after more training; a different teacher also has another path."""
    out = tmp_path / "out"
    formula_teacher.labelled(formula_teacher.request(source), out, part=JobPart(1, 2))
    first, trained_on = formula_teacher.teacher(), formula_teacher.teacher(teacher_id="f1")
    trained_on = trained_on._replace(about=trained_on.about._replace(path=first.about.path))
    with pytest.raises(UserError, match=r"formula/f0 has changed since .*then pseudo:f0, now pseudo:f1.*trained on"):
        formula_teacher.labelled(formula_teacher.request(source, trained_on), out, part=JobPart(2, 2))
    with pytest.raises(UserError, match="belongs to another command"):
        formula_teacher.labelled(
            formula_teacher.request(source, formula_teacher.teacher(teacher_id="f1")), out, part=JobPart(2, 2)
        )
    assert len(list(out.glob("*.tfrecord"))) == 2


def test_records_that_changed_are_not_labelled(tmp_path: Path) -> None:
    """The shard is intact, but not the one that the manifest lists."""
    pattern = formula_teacher.write(
        tmp_path / "in", [[formula_teacher.image_record(0)], [formula_teacher.image_record(1)]]
    )
    shards.write_shard(str(tmp_path / "in" / shards.names(2)[1]), [formula_teacher.image_record(2)])
    with pytest.raises(UserError, match=r"00001-of-00002.tfrecord has changed since its manifest.json was written"):
        formula_teacher.labelled(formula_teacher.request(pattern), tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").glob("*.tfrecord")] == [shards.names(2)[0]]
    assert not (tmp_path / "out" / manifest.NAME).exists()
    request = formula_teacher.request(pattern)
    (tmp_path / "in" / shards.names(2)[1]).unlink()
    with pytest.raises(UserError, match=r"00001-of-00002.tfrecord.*No such file"):
        formula_teacher.labelled(request, tmp_path / "out")


def test_a_process_loads_its_teachers_once(source: str, tmp_path: Path) -> None:
    teacher = formula_teacher.teacher(teacher_id="once", log=str(tmp_path / "log"))
    formula_teacher.labelled(formula_teacher.request(source, teacher), tmp_path / "out")
    assert (tmp_path / "log").read_text().split()[0] == str(os.getpid())
    assert len((tmp_path / "log").read_text().splitlines()) == 1


@pytest.mark.parametrize(
    ("visible", "wanted", "shard_count", "gpus", "expected"),
    [
        (None, 0, 9, 0, []),
        (None, 0, 9, 1, []),  # in this process
        (None, 0, 9, 2, ["0", "1"]),
        (None, 1, 9, 2, ["0"]),  # not in this process, which would use the memory of both
        ("5, GPU-7a", 0, 9, 2, ["5", "GPU-7a"]),
        (None, 0, 1, 2, ["0"]),
    ],
)
def test_one_process_per_gpu_that_sees_no_other(
    visible: str | None,
    wanted: int,
    shard_count: int,
    gpus: int,
    expected: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    environments = parallelism.environments(wanted, shard_count, gpus)
    assert environments == [{"CUDA_VISIBLE_DEVICES": name} for name in expected]
    if environments:
        assert worker_pool._context(environments).get_start_method() == "spawn"  # CUDA survives no fork
    if gpus:
        with pytest.raises(UserError, match=f"--workers 3: there are only {gpus} GPUs"):
            parallelism.environments(3, 9, gpus)


def test_cores_are_shared_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Eight cores and three processes: two cores each."""
    monkeypatch.setattr(devices, "cores", lambda: 8)
    monkeypatch.delenv(parallelism.SHARE, raising=False)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert parallelism.environments(3, 9, 0) == [{parallelism.SHARE: "2"}] * 3
    assert parallelism.environments(3, 2, 0) == [{parallelism.SHARE: "4"}] * 2
    assert parallelism.environments(3, 1, 0) == []
    assert parallelism.own_cores() == 8  # one process
    monkeypatch.setenv(parallelism.SHARE, "6")  # by the command that started this one, or by the limit of a job
    assert parallelism.own_cores() == 6
    assert parallelism.environments(3, 9, 0) == [{parallelism.SHARE: "2"}] * 3
    assert parallelism.environments(9, 9, 0) == [{parallelism.SHARE: "1"}] * 9


@pytest.mark.parametrize(("threads", "given", "expected"), [(1, "2", 2), (1, "16", 4), (0, "2", 1), (8, "2", 1)])
def test_batches_at_a_time(threads: int, given: str, expected: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Several only if each uses one thread, and never more than `MOST_PASSES`."""
    monkeypatch.setattr(devices, "cores", lambda: 32)
    monkeypatch.setenv(parallelism.SHARE, given)
    monkeypatch.setattr(tf.config.threading, "get_intra_op_parallelism_threads", lambda: threads)
    assert parallelism.passes() == expected


def test_a_sum_in_a_network_does_not_depend_on_processes_and_threads(tmp_path: Path) -> None:
    """The lowest bits of a dense layer, scaled up to metres, depend on how many threads share a sum.

    Labelled by the command: once with one process that is told to use three threads, once with two processes.
    """
    weights = np.random.default_rng(1).normal(size=[1280, 1000]).astype(np.float32)

    def answer(image: tf.Tensor) -> dict[str, tf.Tensor]:
        sums = tf.matmul(tf.reshape(image[..., 0], [1, 1280]), weights)
        return {"z": 1.0 + tf.math.floormod(tf.reshape(sums, [1, 25, 40]) * 2.0**17, 1.0)}

    teaching.save(tmp_path / "model", answer, [1, 32, 40, 3])
    content = {"model": "model", "input": {"range": [0, 1]}, "outputs": {"depth": {"means": "metres"}}}
    adapter = teaching.write_adapter(tmp_path / "a.yaml", content)
    noise = np.random.default_rng(2).integers(0, 256, [2, 20, 32, 40, 3], np.uint8)
    images = [[teaching.unlabelled(20 * i + j, one) for j, one in enumerate(part)] for i, part in enumerate(noise)]
    given = ["--records", write_set(tmp_path / "in", images, ()), "--teacher", f"depth={adapter}", "--force"]
    shards_of = []
    for workers_, more in (("1", {"TF_NUM_INTRAOP_THREADS": "3"}), ("2", {})):
        out = tmp_path / workers_
        command = [*INTERPRETER, "-m", "tfrecords_tools", "label", *given, f"--out={out}", f"--workers={workers_}"]
        environment = {"CUDA_VISIBLE_DEVICES": "", **os.environ, **more}
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=environment, timeout=300)
        assert done.returncode == 0, done.stderr
        shards_of.append([path.read_bytes() for path in sorted(out.glob("*.tfrecord"))])
    assert len(shards_of[0]) == 2 and shards_of[0] == shards_of[1]


def test_calls_of_a_network_at_the_same_time_do_not_meet(tmp_path: Path) -> None:
    images = [teaching.unlabelled(number, teaching.red_slope(60, 80)) for number in range(8 * SIMULTANEOUS_BATCHES)]
    write_set(tmp_path / "in", [images], ())
    (path,) = (tmp_path / "in").glob("*.tfrecord")
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "TF_USE_LEGACY_KERAS": "1", "PYTHONPATH": str(ROOT)}
    command = [*INTERPRETER, "-c", LABEL, str(path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=environment, timeout=500)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.split()[-2:] == [str(8 * SIMULTANEOUS_BATCHES), "4"]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("0/2", "--shard 0/2: JOB must be between 1 and JOBS"),
        ("3/2", "--shard 3/2: JOB must be between 1 and JOBS"),
        ("1/0", "--shard 1/0: JOB must be between 1 and JOBS"),
        ("2", "--shard '2': write JOB/JOBS"),
        ("a/2", "--shard 'a/2': write JOB/JOBS"),
        ("-1/2", "--shard '-1/2': write JOB/JOBS"),
    ],
)
def test_a_part_that_does_not_exist(given: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        parallelism.parse_part(given)


def test_parts_are_all_of_it() -> None:
    assert parallelism.parse_part("2/3") == JobPart(2, 3) and parallelism.parse_part("") == JobPart(1, 1)
    assert [JobPart(number, 3).of(list("abcdefg")) for number in (1, 2, 3)] == [list("adg"), list("be"), list("cf")]


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_kills_again_and_again_end_with_the_same_bytes() -> None:
    """Main processes, workers and whole groups, at seeded random moments; more of it: python -m tests.tools.kills."""
    command = [*INTERPRETER, "-m", "tests.tools.kills", "--kills", "3", "--seed", "3"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stderr
    assert "3 kills, equal bytes" in done.stdout
    assert all(f"killed {victim}" in done.stdout for victim in ("main", "worker", "group")), done.stdout


def test_large_images_wait_for_room_and_small_ones_share_it() -> None:
    """Of 100 pixels: 60 and 40 are together, another 60 waits for the first, and one of 1,000 for all."""
    room, order = parallelism.Room(100), list[str]()

    def wait(name: str, pixels: int) -> threading.Thread:
        def work() -> None:
            with room.taken(ImageInfo(name, 1, pixels)):
                order.append(name)

        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        return thread

    with room.taken(ImageInfo("large", 6, 10)):
        wait("small", 40).join(PATIENCE)
        assert order == ["small"]
        others = [wait("other", 60), wait("huge", 1000)]
        others[0].join(0.2)
        assert order == ["small"]
    for thread in others:
        thread.join(PATIENCE)
    assert sorted(order) == ["huge", "other", "small"]
