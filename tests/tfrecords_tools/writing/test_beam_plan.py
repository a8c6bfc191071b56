"""`--runner` with a loop in place of the pipeline; test_beam.py uses Apache Beam itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from must_tf.common.errors import UserError
from tests.support.converting import files_in
from tfrecords_tools.convert import run as convert
from tfrecords_tools.sources import Source
from tfrecords_tools.sources.scenes import Scenes
from tfrecords_tools.sources.selected import selected
from tfrecords_tools.writing import beam, disk_space

SCENES = Scenes("wild", 6, 1, 48)


@pytest.fixture
def piped(monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, bytes]]:
    """Converts with a loop as the pipeline; returns the files that it writes."""

    def pipeline(planned: Sequence[str], arguments: Sequence[str]) -> None:
        assert arguments == ["--runner=DirectRunner"]
        for path in planned:
            beam.make(path)

    def run(out: Path, shards: int = 3, drop: float = 0.01, source: Source = SCENES) -> dict[str, bytes]:
        convert.run_on_beam(
            convert.Encoder(source), convert.Options(str(out), shards, max_drop_rate=drop), "DirectRunner"
        )
        return files_in(out)

    monkeypatch.setattr(beam, "require", lambda runner: None)
    monkeypatch.setattr(beam, "_run_pipeline", pipeline)
    return run


def test_a_pipeline_resumes_in_the_folder_of_one_machine(piped: Callable[..., dict], tmp_path: Path) -> None:
    convert.convert(SCENES, convert.Options(str(tmp_path / "a"), shards=3, workers=1))
    whole = files_in(tmp_path / "a")
    (tmp_path / "a" / "records-00001-of-00003.tfrecord").unlink()
    assert piped(tmp_path / "a") == whole == piped(tmp_path / "b")


def test_a_pipeline_leaves_out_the_same_photos(piped: Callable[..., dict], tmp_path: Path) -> None:
    convert.convert(Scenes("wild", 1, 1, 48), convert.Options(str(tmp_path / "first"), workers=1))
    source = selected(SCENES, "train", 0.3, [f"{tmp_path}/first/*.tfrecord"])
    written = convert.convert(source, convert.Options(str(tmp_path / "a"), shards=3, workers=1)).manifest
    assert 0 < written.records < 6
    assert piped(tmp_path / "b", source=source) == files_in(tmp_path / "a")


def test_the_plan_of_a_killed_run_is_removed(piped: Callable[..., dict], tmp_path: Path) -> None:
    """The run was killed after its pipeline: all shards and the plan exist."""
    whole = piped(tmp_path / "out")
    left = tmp_path / "out" / ".shards" / "plan" / "records-00000-of-00003.tfrecord.pickle"
    left.parent.mkdir()
    left.write_bytes(b"a plan")
    assert piped(tmp_path / "out") == whole


def test_the_plan_of_a_failed_pipeline_is_removed(
    piped: Callable[..., dict], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(planned: Sequence[str], arguments: Sequence[str]) -> None:
        assert all(Path(path).exists() for path in planned)
        raise UserError("the Beam pipeline failed")

    monkeypatch.setattr(beam, "_run_pipeline", fails)
    with pytest.raises(UserError, match="failed"):
        piped(tmp_path / "out")
    assert set(files_in(tmp_path / "out")) == {".shards/command.json"}


def test_a_command_that_cannot_start_on_one_machine_cannot_on_many(
    piped: Callable[..., dict], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UserError, match="--shards"):
        piped(tmp_path / "out", shards=-1)
    with pytest.raises(UserError, match="--max-drop-rate 5"):
        piped(tmp_path / "out", drop=5)
    monkeypatch.setattr(disk_space, "estimate", lambda items: 1e30)
    with pytest.raises(UserError, match="are free on that disk"):
        piped(tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_folder_of_another_command_is_reported_before_its_size(
    piped: Callable[..., dict], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    piped(tmp_path / "out")
    monkeypatch.setattr(disk_space, "estimate", lambda items: 1e30)
    with pytest.raises(UserError, match="another command"):
        piped(tmp_path / "out", shards=4)
    with pytest.raises(UserError, match="another command"):
        convert.convert(SCENES, convert.Options(str(tmp_path / "out"), shards=4))
