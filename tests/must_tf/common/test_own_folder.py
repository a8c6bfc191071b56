"""A folder with files of another origin is refused by every command that writes a folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from experiments.study import Study
from must_tf.cli import export
from must_tf.common import own_folder
from must_tf.common.errors import UserError
from must_tf.experiments import experiment_config
from must_tf.runs import directory
from must_tf.serving import layout
from must_tf.transfers import command as transfer
from tests.must_tf.loop.test_run import plan_file
from tfrecords_tools.writing import shards

MARK = "mine.json"


def _run(out: Path) -> None:
    from must_tf.loop import command

    command.execute(command.RunFlags(plan_file(out.parent), out=str(out)))


# What each command does before it writes. convert, merge, label and the exports of records share the first.
COMMANDS: dict[str, Callable[[Path], object]] = {
    "records": lambda out: shards.is_claimed(str(out), "a fingerprint"),
    "train": lambda out: directory.admit(str(out), experiment_config.load("must_student"), extend=False),
    "export": lambda out: layout.destination(str(out.parent), out.name, "serving"),
    "unfinished export": lambda out: export._begin(str(out)),
    "run": _run,
    "study": lambda out: Study(str(out), "x").execute([]),
    "transfer": lambda out: transfer._planned(transfer.TransferFlags(str(out.parent / "table.yaml"), str(out))),
}


@pytest.mark.parametrize("command", COMMANDS)
def test_a_folder_of_photos_is_refused(command: str, tmp_path: Path) -> None:
    out = tmp_path / "photos"
    out.mkdir()
    (out / "a.jpg").write_bytes(b"a photo")
    with pytest.raises(UserError, match=r"(did not write|is not a run directory).*a\.jpg"):
        COMMANDS[command](out)
    assert [path.name for path in out.iterdir()] == ["a.jpg"]


@pytest.mark.parametrize(
    ("command", "mark"), [("study", "steps.json"), ("study", "y-steps.json"), ("run", "x-steps.json")]
)
def test_a_plan_and_each_study_have_their_own_folders(command: str, mark: str, tmp_path: Path) -> None:
    """They remember their steps in the same way, and remove what other steps have made."""
    out = tmp_path / "out"
    out.mkdir()
    (out / mark).write_text("{}")
    with pytest.raises(UserError, match=f"did not write: {mark}"):
        COMMANDS[command](out)
    assert [path.name for path in out.iterdir()] == [mark]


def test_locks_logs_and_hidden_files_are_nobodys(tmp_path: Path) -> None:
    for name in (".lock", ".nfs1", "slurm-7.out", "train.log", "1.err"):
        (tmp_path / name).touch()
    own_folder.require(str(tmp_path), (MARK,))
    (tmp_path / "labels.txt").touch()
    own_folder.require(str(tmp_path), (MARK,), known=("*.txt",))
    with pytest.raises(UserError, match=r"--there .* did not write: labels\.txt\. Give a new or empty folder"):
        own_folder.require(str(tmp_path), (MARK,), "--there")
    (tmp_path / MARK).touch()
    own_folder.require(str(tmp_path), (MARK,))


def test_a_command_that_begins_meanwhile_is_not_foreign(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Several processes may work into one folder. Another one marks it, and writes, while this one looks."""
    listed = own_folder.foreign

    def then_another(directory: str, known: tuple[str, ...] = ()) -> list[str]:
        names = listed(directory, known)
        (tmp_path / MARK).touch()
        (tmp_path / "records").touch()
        return names

    monkeypatch.setattr(own_folder, "foreign", then_another)
    own_folder.require(str(tmp_path), (MARK,))
    (tmp_path / MARK).unlink()
    own_folder.require(str(tmp_path), (MARK,))


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"file is a file\. Give a folder"):
        own_folder.require(str(tmp_path / "file"), (MARK,))
