"""A Beam pipeline writes the same bytes as a local run. `make test-beam` runs these tests where Beam is installed."""

from __future__ import annotations

from pathlib import Path

import pytest

from must_tf.common.errors import UserError
from tests.support import formula_teacher
from tests.support.converting import files_in, noise, save
from tfrecords_tools.convert import run as convert
from tfrecords_tools.sources.images import UnlabelledImages
from tfrecords_tools.sources.scenes import Scenes

apache_beam = pytest.importorskip("apache_beam", reason="Apache Beam is not installed: make test-beam")
SCENES = Scenes("wild", 6, 1, 48)


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
