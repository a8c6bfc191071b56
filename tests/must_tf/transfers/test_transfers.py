"""A table of transfers: every checkpoint on every task. Finished runs stay, failed ones are reported and repeated."""

from __future__ import annotations

import errno
import json
import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import tensorflow as tf
import yaml

from must_tf.common import disk, forking, subprocesses
from must_tf.common.errors import UserError
from must_tf.transfers import command
from tests.support import tiny as tiny_lib
from tests.support.session.forked_python import INTERPRETER
from tests.support.session.graphs import PLAIN
from tests.support.tiny import Tiny  # noqa: F401

COLUMNS = {
    "rooms": {"task": "classification", "config_file": ["tiny.yaml"]},
    "angles": {"task": "normals", "config_file": ["tiny.yaml"]},
}
SECONDS = 60  # until a test gives up on another thread
FIGURES = {"rooms": "classification/top1", "angles": "normals/mean_angle"}


class Runs:
    """Replaces the child processes: records which were started, and writes the evaluations that a test asks for."""

    def __init__(self, figures: dict[str, float], ends: dict[str, Any] | None = None):
        """Both by the run's path below OUT: the column's metric; the exit code, message or exception that ends it."""
        self.figures, self.ends = figures, ends or {}
        self.started: list[str] = []

    def __call__(self, words: Sequence[str], log: str, name: str, jobs: int) -> int:
        flags = dict(word.split("=", 1) for word in words if word.startswith("--") and "=" in word)
        path = Path(flags["--model_dir"])
        name = "/".join(path.parts[-3:])
        self.started.append(name)
        end = self.ends.get(name, 0)
        if isinstance(end, BaseException):
            raise end
        message = "the head is lost." if isinstance(end, int) else end
        Path(log).write_text(f"TensorFlow says a lot\nerror: {message}\nand more\n" if end else "fine\n")
        if isinstance(end, str):
            return 2
        if not end:
            steps = yaml.safe_load(Path(flags["--config_file"]).read_text())["trainer"]["train_steps"]
            path.mkdir(parents=True)
            figures = {FIGURES[path.parent.name]: self.figures[name]}
            (path / "new").write_text(json.dumps({"step": steps, "figures": figures}))
            (path / "new").rename(path / "evaluation.json")  # another thread may read it already
        return end


class Place:
    """A table file, a checkpoint and a folder for the runs."""

    def __init__(self, folder: Path, records: Tiny, columns: dict[str, Any] | None = None):
        self.folder, self.out = folder, folder / "out"
        Path(folder, "tiny.yaml").write_text(Path(records.config).read_text())
        self.columns(columns or COLUMNS)
        self.weights(1.0)
        self.override = tiny_lib.data(os.path.join(records.records, "*.tfrecord"))

    def columns(self, columns: dict[str, Any]) -> None:
        """Writes the table file."""
        Path(self.folder, "table.yaml").write_text(yaml.safe_dump({"columns": columns}, sort_keys=False))

    def weights(self, value: float) -> None:
        """Saves the checkpoint `start/ckpt-1`, replacing an older one."""
        tf.train.Checkpoint(weight=tf.Variable(value)).write(str(self.folder / "start" / "ckpt-1"))
        state = 'model_checkpoint_path: "ckpt-1"\nall_model_checkpoint_paths: "ckpt-1"\n'
        Path(self.folder, "start", "checkpoint").write_text(state)

    def run(self, *more: str, rows: Sequence[str] = ("--checkpoint=start={folder}/start", "--scratch")) -> int:
        """Runs must-transfer, with results in `out`."""
        override = yaml.safe_dump(self.override, default_flow_style=True, width=10**6)
        row_flags = [row.format(folder=self.folder) for row in rows]
        words = [f"--table={self.folder}/table.yaml", f"--params_override={override}"]
        if not any(flag.startswith("--out=") for flag in more):
            words.append(f"--out={self.out}")
        return command.main([*words, *row_flags, *more])

    def entry(self, row: str, column: str) -> dict[str, Any]:
        """The entry in table.json."""
        entries = json.loads((self.out / "table.json").read_text())["entries"]
        return next(entry for entry in entries if (entry["row"], entry["column"]) == (row, column))


@pytest.fixture
def place(tmp_path: Path, tiny_records: Tiny) -> Place:
    """Two columns: in one higher is better, in the other lower."""
    return Place(tmp_path, tiny_records)


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Runs]:
    """Replaces the child processes by `Runs`."""

    def put(figures: dict[str, float], ends: dict[str, Any] | None = None) -> Runs:
        monkeypatch.setattr(forking, "IS_POSSIBLE", False)
        replacement = Runs(figures, ends)
        monkeypatch.setattr(subprocesses, "follow", replacement)
        return replacement

    return put


ONE_SEED = {
    "scratch/rooms/seed-1": 0.25,
    "start/rooms/seed-1": 0.5,
    "scratch/angles/seed-1": 20.0,
    "start/angles/seed-1": 30.0,
}


def in_quick_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs the cells in forked processes, which are not children of this one, without optimising graphs."""
    monkeypatch.setattr(forking, "IS_POSSIBLE", False)
    follow = subprocesses.follow

    def quickly(words: Sequence[str], log: str, name: str, jobs: int) -> int:
        assert words[0] == sys.executable
        return follow([*INTERPRETER, *words[1:]], log, name, jobs)

    path = os.pathsep.join(sys.path)
    monkeypatch.setattr(subprocesses, "environment", lambda _: os.environ | PLAIN | {"PYTHONPATH": path})
    monkeypatch.setattr(subprocesses, "follow", quickly)


def test_a_checkpoint_and_scratch_are_trained_and_compared(
    tmp_path: Path,
    tiny: Tiny,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    place = Place(tmp_path, tiny, {"rooms": COLUMNS["rooms"]})
    place.override["trainer"] = {"train_steps": 1, "validation_interval": 1, "checkpoint_interval": 1}
    rows = (f"--checkpoint=student={tiny.run}", "--scratch")
    in_quick_processes(monkeypatch)
    assert place.run(rows=rows) == 0
    starts = {}
    for row in ("student", "scratch"):
        run = place.out / row / "rooms" / "seed-1"
        figures = json.loads((run / "evaluation.json").read_text())["figures"]
        assert place.entry(row, "rooms")["values"] == {"1": figures["classification/top1"]}
        starts[row] = yaml.safe_load((run / "params.yaml").read_text())
        log = run.with_suffix(".log").read_text()
        assert ("loaded from" in log) == (row == "student")
    # Two cells of a column differ only by their initial weights.
    assert starts["student"]["task"].pop("init_checkpoint") == f"{tiny.run}/ckpt-2"
    assert starts["scratch"]["task"].pop("init_checkpoint") == ""
    assert starts["student"] == starts["scratch"]
    enabled = [task for task, config in starts["scratch"]["task"]["tasks"].items() if config["enabled"]]
    assert enabled == ["classification"]
    first = capfd.readouterr().out
    # Run again: nothing is executed, and the table is the same.
    monkeypatch.setattr(subprocesses, "follow", None)
    assert place.run(rows=rows) == 0
    second = capfd.readouterr().out
    assert "2 done, 0 begun, 0 to do" in second
    table = [line for line in first.splitlines() if line.startswith(("student  ", "scratch  "))]
    assert len(table) == 2 and all(line in second for line in table)


def test_best_of_a_column_by_its_direction(place: Place, runs: Any, capfd: pytest.CaptureFixture[str]) -> None:
    runs(ONE_SEED)
    assert place.run() == 0
    assert [place.entry("start", name)["best"] for name in ("rooms", "angles")] == [True, False]
    assert [place.entry("scratch", name)["best"] for name in ("rooms", "angles")] == [False, True]
    out = capfd.readouterr().out
    lines = {line.split()[0]: " ".join(line.split()[1:]) for line in out.splitlines() if line.startswith(("s", "t"))}
    assert lines["start"] == "* 0.500 30.00"
    assert lines["scratch"] == "0.250 * 20.00"
    assert "mean_angle, less is better" in out
    assert "one seed each: a difference may be chance" in out
    assert (place.out / "table.png").read_bytes()[1:4] == b"PNG"
    page = (place.out / "report.html").read_text()
    assert "<b>0.500</b>" in page and "start/ckpt-1" in page and "data:image/" in page


def test_seeds_give_mean_and_standard_deviation(place: Place, runs: Any, capfd: pytest.CaptureFixture[str]) -> None:
    place.columns({"rooms": COLUMNS["rooms"]})
    values = dict(zip((1, 2, 3), (0.5, 0.6, 0.7), strict=True))
    process = runs({f"start/rooms/seed-{seed}": value for seed, value in values.items()})
    assert place.run("--seeds=3", rows=("--checkpoint=start={folder}/start",)) == 0
    entry = place.entry("start", "rooms")
    assert entry["mean"] == pytest.approx(0.6)
    assert entry["spread"] == pytest.approx(0.1)  # ((0.1^2 + 0 + 0.1^2) / 2) ** 0.5
    assert "0.600 ± 0.100" in capfd.readouterr().out
    assert len(process.started) == 3
    written = (yaml.safe_load((place.out / f"start/rooms/seed-{seed}.yaml").read_text()) for seed in values)
    assert [config["task"]["train_data"]["seed"] for config in written] == [1, 2, 3]


def test_gains_of_a_row_are_shown_where_both_have_run(
    place: Place, runs: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    """In the second column less is better, and only one seed of each."""
    place.columns({"rooms": {**COLUMNS["rooms"], "seeds": 2}, "angles": COLUMNS["angles"]})
    runs({**ONE_SEED, "scratch/rooms/seed-2": 0.35, "start/rooms/seed-2": 0.61})
    assert place.run("--gains_of=start") == 0
    lines = [" ".join(line.split()) for line in capfd.readouterr().out.splitlines()]
    after = lines[lines.index("Gains of start") :]
    assert after[2] == "scratch +0.255 ± 0.064 * -10.00"
    content = json.loads((place.out / "table.json").read_text())["gains"]
    assert (content["row"], [entry["column"] for entry in content["entries"]]) == ("start", ["rooms", "angles"])
    assert [entry["apart"] for entry in content["entries"]] == [True, False]
    assert "+0.255 ± 0.064 *" in (place.out / "report.html").read_text()


def test_a_column_has_rows_and_seeds_of_its_own(place: Place, runs: Any, capfd: pytest.CaptureFixture[str]) -> None:
    place.columns({"rooms": {**COLUMNS["rooms"], "seeds": 2}, "angles": {**COLUMNS["angles"], "rows": ["start"]}})
    process = runs({**ONE_SEED, "scratch/rooms/seed-2": 0.35, "start/rooms/seed-2": 0.6})
    assert place.run() == 0
    assert len(process.started) == 5  # two rows with two seeds, one with one
    assert place.entry("scratch", "angles")["mean"] is None and not place.entry("scratch", "angles")["waiting"]
    assert place.entry("start", "rooms")["mean"] == pytest.approx(0.55)
    assert any(line.split()[-1:] == ["-"] for line in capfd.readouterr().out.splitlines() if line.startswith("scratch"))


def test_a_column_can_show_another_metric_of_the_same_runs(
    place: Place, runs: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    """They are trained once, listed once, and fail in both columns."""
    shared = {"task": "normals", "runs_of": "angles", "figure": "median_angle"}
    place.columns({"medians": shared, "angles": COLUMNS["angles"]})
    process = runs(ONE_SEED, {"scratch/angles/seed-1": 2})
    assert place.run("--plan") == 0
    assert "2 runs (rows 2, columns 1, seeds 1)" in capfd.readouterr().out
    place.run()
    assert process.started == ["scratch/angles/seed-1", "start/angles/seed-1"]
    assert place.entry("start", "angles")["mean"] == 30.0
    assert "has no normals/median_angle" in place.entry("start", "medians")["problems"]["1"]
    assert place.entry("scratch", "medians")["problems"] == {"1": "error: the head is lost."}
    evaluation = place.out / "start" / "angles" / "seed-1" / "evaluation.json"
    content = json.loads(evaluation.read_text())
    evaluation.write_text(json.dumps({**content, "figures": {**content["figures"], "normals/median_angle": 25.0}}))
    assert place.run("--plan") == 0
    assert "30.00" in (shown := capfd.readouterr().out) and "25.00" in shown
    with pytest.raises(UserError, match="shows the runs of angles. Add --column=angles"):
        place.run("--column=medians")


def test_a_failed_run_is_reported_and_only_it_is_repeated(
    place: Place, runs: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    process = runs(ONE_SEED, {"scratch/rooms/seed-1": 2})
    assert place.run() == 1
    assert sorted(process.started) == sorted(ONE_SEED)
    captured = capfd.readouterr()
    assert "failed: scratch -> rooms, seed 1: error: the head is lost." in captured.out
    assert place.entry("scratch", "rooms")["problems"] == {"1": "error: the head is lost."}
    assert place.entry("scratch", "rooms")["mean"] is None
    assert place.entry("start", "rooms")["best"] is False  # the only value in its column
    process = runs(ONE_SEED)
    assert place.run() == 0
    assert process.started == ["scratch/rooms/seed-1"]
    assert place.entry("scratch", "rooms")["mean"] == 0.25


@pytest.mark.parametrize(
    ("error", "ends_all"), [(errno.ENOSPC, True), (errno.EROFS, True), (errno.EIO, True), (errno.EACCES, False)]
)
def test_a_refused_disk_ends_the_command(
    error: int, ends_all: bool, place: Place, runs: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    """The other runs would fail as well. A file without permission may be one run's input."""
    message = disk.refusal(OSError(error, os.strerror(error), f"{place.out}/checkpoint"))
    process = runs(ONE_SEED, {"scratch/rooms/seed-1": message})
    if not ends_all:
        assert place.run() == 1 and len(process.started) == len(ONE_SEED)
        return
    with pytest.raises(UserError) as caught:
        place.run()
    assert str(caught.value) == f"scratch -> rooms, seed 1: {message}" and len(str(caught.value).splitlines()) == 1
    assert process.started == ["scratch/rooms/seed-1"]
    assert "failed" not in capfd.readouterr().out
    runs(ONE_SEED)
    assert place.run() == 0


def test_a_killed_run_names_the_signal(place: Place, runs: Any) -> None:
    runs(ONE_SEED, {"start/angles/seed-1": -signal.SIGKILL})
    assert place.run() == 1
    assert place.entry("start", "angles")["problems"] == {"1": "killed by SIGKILL (out of memory?)"}


def test_an_interrupted_command_resumes(place: Place, runs: Any, capfd: pytest.CaptureFixture[str]) -> None:
    runs(ONE_SEED, {"scratch/angles/seed-1": KeyboardInterrupt()})
    assert place.run() == 130
    assert "the same command again" in capfd.readouterr().err
    process = runs(ONE_SEED)
    assert place.run() == 0
    assert sorted(process.started) == ["scratch/angles/seed-1", "start/angles/seed-1"]


def test_runs_at_once_end_with_the_command(
    place: Place, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Both of the first runs are begun before either ends; then the command is interrupted, and no other begins."""
    both, told = threading.Barrier(2), threading.Event()
    begun: list[str] = []

    def follow(words: Sequence[str], log: str, name: str, jobs: int) -> int:
        del words, log
        assert jobs == 2  # they share the cores
        begun.append(name)
        if both.wait(SECONDS) == 0:
            raise KeyboardInterrupt
        return -signal.SIGTERM if told.wait(SECONDS) else 0

    monkeypatch.setattr(forking, "IS_POSSIBLE", False)
    monkeypatch.setattr(subprocesses, "follow", follow)
    monkeypatch.setattr(subprocesses, "end_all", told.set)
    assert place.run("--jobs=2") == 130
    assert sorted(begun) == ["scratch -> rooms, seed 1", "start -> rooms, seed 1"] and told.is_set()
    assert "the same command again" in capfd.readouterr().err


def test_runs_have_the_same_number_of_threads_however_many_are_left(
    place: Place, runs: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With four runs, no more than four share the cores. A column that shows the runs of another one has none."""
    place.columns({**COLUMNS, "again": {"task": "classification", "runs_of": "rooms"}})
    process, shares = runs(ONE_SEED, {"scratch/rooms/seed-1": 2}), []

    def follow(words: Sequence[str], log: str, name: str, jobs: int) -> int:
        shares.append(jobs)
        return process(words, log, name, jobs)

    monkeypatch.setattr(subprocesses, "follow", follow)
    assert place.run("--jobs=9") == 1
    process.ends.clear()
    assert place.run("--jobs=9") == 0
    assert shares == [4] * 5


def test_a_metric_that_was_not_measured_fails_with_the_nearest(place: Place, runs: Any) -> None:
    place.columns({"rooms": {**COLUMNS["rooms"], "figure": "top5"}})
    runs(ONE_SEED)
    assert place.run() == 1
    problem = place.entry("start", "rooms")["problems"]["1"]
    assert "no classification/top5. Did you mean 'classification/top1'?" in problem
    place.columns({"rooms": COLUMNS["rooms"]})
    process = runs({})  # with the right name, nothing is trained again
    assert place.run() == 0 and process.started == []


def test_other_settings_or_weights_are_not_mixed_into_a_table(place: Place, runs: Any) -> None:
    runs(ONE_SEED)
    assert place.run() == 0
    place.override["runtime"] = {"num_gpus": 0, "enable_xla": True}  # the runtime may differ
    older = place.out / "start" / "rooms" / "seed-1.yaml"  # written by a version without this setting
    older.write_text("".join(line for line in older.read_text().splitlines(True) if "init_modules" not in line))
    assert place.run() == 0
    place.override["trainer"] = {"train_steps": 3, "validation_interval": 1}
    with pytest.raises(UserError, match=r"trainer.train_steps: 2 -> 3.*Give another --out") as caught:
        place.run()
    assert "rooms: " in str(caught.value) and "angles: " in str(caught.value)  # both columns in one error
    del place.override["trainer"]
    place.weights(2.0)
    with pytest.raises(UserError, match=r"the weights in .*start/ckpt-1 have changed"):
        place.run()


def test_plan_runs_nothing_and_shows_what_is_left(place: Place, runs: Any, capfd: pytest.CaptureFixture[str]) -> None:
    process = runs(ONE_SEED)
    assert place.run("--column=angles") == 0
    begun = place.out / "start" / "rooms" / "seed-1"
    begun.mkdir(parents=True)
    (begun / "checkpoint").write_text("")
    capfd.readouterr()
    process.started.clear()
    assert place.run("--plan") == 0
    assert process.started == []
    out = capfd.readouterr().out
    assert "4 runs (rows 2, columns 2, seeds 1)" in out and "2 done, 1 begun, 1 to do" in out


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({}, "has no columns"),
        ({"a": {"task": "classificaton"}}, "Did you mean 'classification'?"),
        ({"a": {"task": "depth", "confg_file": []}}, "Did you mean 'config_file'?"),
        ({"a": {"task": "depth", "config_file": "tiny.yaml"}}, "must be a list"),
        ({"a": {"task": "depth", "higher_is_better": "no"}}, "true or false"),
        ({"a": {"task": "depth", "rows": "start"}}, "must be a list of rows"),
        ({"a": {"task": "depth", "rows": ["strat"]}}, "Did you mean 'start'?"),
        ({"a": {"task": "depth", "seeds": -1}}, "must be a whole number"),
        ({"a": {"task": "depth", "seeds": 10**9}}, "at most 1000, not 1000000000"),
        ({"a": {"task": ["depth"]}}, r"columns.a.task=\['depth'\] is not a task"),
        ({1: {"task": "depth"}, "1": {"task": "depth"}}, "columns.1 is there twice"),
        ({"a/b": {"task": "depth"}}, "also the name of a folder"),
        ({"a": {"task": "depth", "runs_of": "c"}, "b": {"task": "depth"}}, "'c' has no runs. Known: b."),
        ({"a": {"task": "depth", "runs_of": "b"}, "b": {"task": "normals"}}, "is not learnt by the runs of b"),
        ({"a": {"task": "depth", "runs_of": "b", "seeds": 2}, "b": {"task": "depth"}}, "a.seeds: the runs are those"),
        (
            {"a": {"task": "detection", "figure": "AP5O"}},
            "a.figure='AP5O' is not a metric of detection. Did you mean 'AP50'? Known: AP, AP50",
        ),
        ({"a": {"task": "depth", "config_file": ["none.yaml"]}}, "none.yaml: no such file"),
    ],
)
def test_a_wrong_table_ends_before_any_work(place: Place, runs: Any, columns: Any, message: str) -> None:
    process = runs({})
    place.columns(columns)
    with pytest.raises(UserError, match=message.replace("?", r"\?")):
        place.run()
    assert process.started == [] and not place.out.exists()


@pytest.mark.parametrize(
    ("rows", "more", "message"),
    [
        ((), (), "nothing to compare"),
        (("--checkpoint={folder}/start",), (), "must be NAME=RUN_DIRECTORY"),
        (("--checkpoint=a={folder}/start", "--checkpoint=a={folder}/start"), (), "two rows 'a'"),
        (("--checkpoint=scratch={folder}/start", "--scratch"), (), "two rows 'scratch'"),
        (("--checkpoint=a={folder}",), (), "no checkpoint in"),
        (("--scratch",), ("--column=room",), "Did you mean 'rooms'?"),
        (("--scratch",), ("--seeds=0",), "--seeds=0 must be at least 1"),
        (("--scratch",), ("--seeds=1000000000",), "must be at least 1 and at most 1000"),
        (("--scratch",), ("--gains_of=scrach",), "Did you mean 'scratch'?"),
        (("--scratch",), ("--jobs=0",), "--jobs=0 must be at least 1"),
        (("--scratch",), ("--out=gs://bucket/out",), "must be a local folder"),
    ],
)
def test_wrong_flags_end_before_any_work(
    place: Place, runs: Any, rows: Sequence[str], more: Sequence[str], message: str
) -> None:
    process = runs({})
    with pytest.raises(UserError, match=message.replace("?", r"\?")):
        place.run(*more, rows=rows)
    assert process.started == [] and not place.out.exists()


def test_all_columns_without_records_are_named_at_once(place: Place, runs: Any) -> None:
    runs({})
    place.override["task"]["train_data"]["input_path"] = "nowhere/*.tfrecord"
    with pytest.raises(UserError, match=r"(?s)rooms: .*nowhere.*angles: .*nowhere"):
        place.run()


def test_the_runs_of_a_column_are_equally_long(place: Place, runs: Any, capfd: pytest.CaptureFixture[str]) -> None:
    """A run that stopped early would never count as finished."""
    runs(ONE_SEED)
    place.override["task"]["patience"] = 2
    assert place.run("--column=rooms") == 0
    assert yaml.safe_load((place.out / "start" / "rooms" / "seed-1.yaml").read_text())["task"]["patience"] == 0
    assert "rooms: task.patience=2 is not used" in capfd.readouterr().out


def test_random_weights_have_nothing_to_protect(place: Place, runs: Any, capfd: pytest.CaptureFixture[str]) -> None:
    """A column may freeze batch normalisation, as the other trainings of a plan do."""
    runs(ONE_SEED)
    place.override["task"] |= {"freeze_batch_norm": True, "backbone_learning_rate": 0.5}
    assert place.run("--column=rooms") == 0
    tasks = {
        row: yaml.safe_load((place.out / row / "rooms" / "seed-1.yaml").read_text())["task"]
        for row in ("start", "scratch")
    }
    assert {row: task["freeze_batch_norm"] for row, task in tasks.items()} == {"start": True, "scratch": False}
    assert {row: task["backbone_learning_rate"] for row, task in tasks.items()} == {"start": 0.5, "scratch": 1.0}
    note = "rooms: runs from scratch do not use task.freeze_batch_norm, task.backbone_learning_rate: they"
    assert note in capfd.readouterr().out


def test_the_runs_of_a_column_have_one_batch_size(place: Place, runs: Any) -> None:
    process = runs({})
    place.override["task"]["train_data"]["global_batch_size"] = 0
    with pytest.raises(UserError, match="would choose a batch size for each run"):
        place.run()
    assert process.started == []


@pytest.mark.parametrize(
    ("seconds", "left", "jobs", "text"),
    [
        ([], 4, 2, ""),
        ([60.0], 3, 1, ", about 3:00 left"),
        ([60.0], 3, 2, ", about 1:30 left"),
        ([50.0, 70.0], 1, 8, ", about 1:00 left"),
        ([60.0], 0, 2, ""),
    ],
)
def test_runs_at_once_share_the_time_left(seconds: list[float], left: int, jobs: int, text: str) -> None:
    assert command.remaining(seconds, left, jobs) == text
