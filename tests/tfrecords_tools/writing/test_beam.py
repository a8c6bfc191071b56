"""A Beam pipeline writes the same bytes as a local run. `make test-beam` runs these tests where Beam is installed."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from must_tf.common.errors import UserError
from tests.support import formula_teacher
from tests.support.converting import files_in, noise, save
from tfrecords_tools.convert import run as convert
from tfrecords_tools.sources import Sample
from tfrecords_tools.sources.images import UnlabelledImages
from tfrecords_tools.sources.scenes import Scenes
from tfrecords_tools.writing.counts import Account
from tfrecords_tools.writing.items import Item

apache_beam = pytest.importorskip("apache_beam", reason="Apache Beam is not installed: make test-beam")
SCENES = Scenes("wild", 6, 1, 48)


@dataclasses.dataclass(frozen=True)
class DeadlyScenes(Scenes):
    """Scenes, the first of which kills the process that draws it unless the file `mark` exists."""

    mark: str = ""

    def load(self, item: Item, account: Account) -> Sample:
        formula_teacher.die_once(self.mark)
        return super().load(item, account)


class BrokenScenes(Scenes):
    """Scenes that cannot be drawn."""

    def load(self, item: Item, account: Account) -> Sample:
        raise ZeroDivisionError


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Returns the files of the same conversion without Beam."""
    out = tmp_path_factory.mktemp("local") / "out"
    convert.convert(SCENES, convert.Options(str(out), shards=3, workers=1))
    return files_in(out)


def piped(out: Path, *arguments: str) -> dict[str, bytes]:
    """Returns the files that Beam writes."""
    options = convert.Options(str(out), shards=3)
    convert.run_on_beam(convert.Encoder(SCENES), options, "DirectRunner", arguments)
    return files_in(out)


@pytest.mark.parametrize("mode", ["in_memory", "multi_processing"])
def test_beam_writes_the_same_bytes(mode: str, local: dict[str, bytes], tmp_path: Path) -> None:
    assert piped(tmp_path / "out", f"--direct_running_mode={mode}", "--direct_num_workers=2") == local


def test_finished_shards_are_skipped(local: dict[str, bytes], tmp_path: Path) -> None:
    out = tmp_path / "out"
    convert.convert(SCENES, convert.Options(str(out), shards=3, workers=1))
    (out / "manifest.json").unlink()
    (out / "records-00001-of-00003.tfrecord").unlink()
    kept = (out / "records-00000-of-00003.tfrecord").stat().st_mtime_ns
    assert piped(out) == local
    assert (out / "records-00000-of-00003.tfrecord").stat().st_mtime_ns == kept


def test_a_failure_on_a_worker_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(tmp_path / "photos" / "a.png", noise(20, 30))
    monkeypatch.setattr(UnlabelledImages, "load", lambda self, item, account: 1 / 0)
    options = convert.Options(str(tmp_path / "out"))
    with pytest.raises(UserError, match=r"a.png: ZeroDivisionError.*finished shards are kept"):
        convert.run_on_beam(convert.Encoder(UnlabelledImages(str(tmp_path / "photos"))), options, "DirectRunner")


@pytest.mark.parametrize("mode", ["in_memory", "multi_processing"])
def test_beam_labels_the_same_bytes(mode: str, tmp_path: Path) -> None:
    """A worker process loads its teacher once, even if it writes several of the five shards at the same time."""
    images = [[formula_teacher.image_record(5 * each + number) for number in range(5)] for each in range(5)]
    records = formula_teacher.write(tmp_path / "in", images)
    teacher = formula_teacher.teacher(teacher_id=f"beam-{mode}", log=str(tmp_path / "log"))
    arguments = (f"--direct_running_mode={mode}", "--direct_num_workers=2")
    formula_teacher.labelled(
        formula_teacher.request(records, teacher), tmp_path / "piped", runner="DirectRunner", runner_options=arguments
    )
    loaded = [line.split()[0] for line in (tmp_path / "log").read_text().splitlines()]
    assert len(set(loaded)) == len(loaded) <= 2
    formula_teacher.labelled(formula_teacher.request(records, teacher), tmp_path / "alone")
    assert formula_teacher.content(tmp_path / "piped") == formula_teacher.content(tmp_path / "alone")


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """Three worker processes that are started again if they are killed."""
    distributed = pytest.importorskip("distributed", reason="Dask is not installed: make test-beam")
    with distributed.LocalCluster(n_workers=3, threads_per_worker=1, processes=True, dashboard_address=None) as started:
        yield started


def workers(cluster: Any) -> set[int]:
    """Returns the ids of the worker processes."""
    return {worker.pid for worker in cluster.workers.values()}


def on(cluster: Any) -> tuple[str, ...]:
    """Returns the runner's options for a cluster."""
    return (f"--dask_client_address={cluster.scheduler_address}",)


def test_dask_writes_the_same_bytes_though_a_worker_is_killed(cluster: Any, tmp_path: Path) -> None:
    before, mark = workers(cluster), tmp_path / "mark"
    source = DeadlyScenes("wild", 12, 1, 48, mark=str(mark))
    options = convert.Options(str(tmp_path / "out"), shards=6)
    convert.run_on_beam(convert.Encoder(source), options, "DaskRunner", on(cluster))
    assert mark.exists()
    assert len(before - workers(cluster)) == 1
    convert.convert(source, convert.Options(str(tmp_path / "alone"), shards=6, workers=1))
    assert files_in(tmp_path / "out") == files_in(tmp_path / "alone")


def test_dask_gives_each_shard_to_the_next_free_worker(cluster: Any, tmp_path: Path) -> None:
    """With Dask's own parts of 128, one worker would make them all."""
    images = [[formula_teacher.image_record(3 * each + number) for number in range(3)] for each in range(6)]
    records = formula_teacher.write(tmp_path / "in", images)
    slow: dict[str, Any] = {"seen": str(tmp_path / "seen"), "seconds": 0.2}
    teacher = formula_teacher.teacher(teacher_id="dask", log=str(tmp_path / "log"), **slow)
    formula_teacher.labelled(
        formula_teacher.request(records, teacher), tmp_path / "out", runner="DaskRunner", runner_options=on(cluster)
    )
    loaded = [line.split()[0] for line in (tmp_path / "log").read_text().splitlines()]
    assert len(loaded) == len(set(loaded)) > 1


def test_dask_labels_the_same_bytes_though_a_worker_is_killed(cluster: Any, tmp_path: Path) -> None:
    images = [[formula_teacher.image_record(5 * each + number) for number in range(5)] for each in range(5)]
    records = formula_teacher.write(tmp_path / "in", images)
    teacher = formula_teacher.teacher(teacher_id="dask-killed", deadly=str(tmp_path / "mark"))
    formula_teacher.labelled(
        formula_teacher.request(records, teacher), tmp_path / "out", runner="DaskRunner", runner_options=on(cluster)
    )
    assert (tmp_path / "mark").exists()
    formula_teacher.labelled(formula_teacher.request(records, teacher), tmp_path / "alone")
    assert formula_teacher.content(tmp_path / "out") == formula_teacher.content(tmp_path / "alone")


def test_a_failure_on_a_worker_of_dask_is_reported(cluster: Any, tmp_path: Path) -> None:
    options = convert.Options(str(tmp_path / "out"))
    with pytest.raises(UserError, match=r"wild-1-0: ZeroDivisionError.*finished shards are kept"):
        convert.run_on_beam(convert.Encoder(BrokenScenes("wild", 2, 1, 48)), options, "DaskRunner", on(cluster))
    assert not (tmp_path / "out" / "manifest.json").exists()
