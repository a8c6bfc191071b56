"""Two processes over loopback train, evaluate, keep the best checkpoint and stop early, all of it together.

Batch normalisation is not synchronised, so that each process has its own moving statistics. Their means, which the
checkpoint has, are what is evaluated.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from must_tf.common import run_files
from must_tf.runs import checkpoints
from tests.must_tf.training.test_replicas import free_port
from tests.support.tiny import Tiny, arguments, command, data, trained

HEADS = ("classification", "depth")
STOPPED = "stopped at step 2: 1 evaluations without a new best/overall since step 1 (task.patience)"


def override(records: str, **runtime: Any) -> dict[str, Any]:
    """Settings under which no evaluation is better than the first: the learning rate is 0 in all but name."""
    heads = {name: {"enabled": name in HEADS} for name in ("detection", "masks", "segmentation", "normals", *HEADS)}
    learning_rate = {"type": "constant", "constant": {"learning_rate": 1e-12}}
    return {
        "task": data(f"{records}/*.tfrecord")["task"] | {"tasks": heads, "patience": 1, "pictures": 3},
        "trainer": {"train_steps": 4, "validation_interval": 1, "optimizer_config": {"learning_rate": learning_rate}},
        "runtime": runtime,
    }


def together(flags: list[str]) -> list[tuple[str, str]]:
    """Runs the command in two processes. Returns what each wrote to stdout and stderr."""
    ports = [f"localhost:{free_port()}" for _ in range(2)]
    started = []
    for index in range(2):
        given = command(flags, eager=True)
        config = {"cluster": {"worker": ports}, "task": {"type": "worker", "index": index}}
        given["env"] |= {"TF_CONFIG": json.dumps(config)}
        started.append(subprocess.Popen(**given, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))
    ended = [process.communicate(timeout=600) for process in started]
    for process, (_, errors) in zip(started, ended, strict=True):
        assert process.returncode == 0, errors[-3000:]
    return ended


@pytest.fixture(scope="module")
def run(tiny_records: Tiny, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two processes, and what each printed beside it."""
    folder = tmp_path_factory.mktemp("workers")
    settings = override(tiny_records.records, distribution_strategy="multi_worker_mirrored")
    printed = together(arguments(tiny_records.config, folder / "run", "must_student", settings, "train_and_eval"))
    for index, (out, _) in enumerate(printed):
        (folder / f"{index}.txt").write_text(out)
    return folder / "run"


def test_all_processes_stop_at_the_same_step(run: Path) -> None:
    for index in range(2):
        assert STOPPED in (run.parent / f"{index}.txt").read_text()
    assert checkpoints.trained_steps(str(run)) == 2
    lines = [json.loads(line) for line in (run / run_files.EVALUATIONS).read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2]  # each written once
    assert checkpoints.trained_steps(str(run / "best" / "overall")) == 1
    writers = {path.name.split(".")[-3] for path in run.glob("*/events.out.tfevents.*")}
    assert len(writers) == 1  # process ids


def test_one_process_measures_the_same(run: Path, tiny_records: Tiny) -> None:
    """To the last bit: each replica has as many images at once."""
    before = json.loads((run / run_files.EVALUATION).read_text())
    assert before["images"] == 5 and before["labelled"] == dict.fromkeys(sorted(HEADS), 5)
    copy = run.with_name("copy")
    shutil.copytree(run, copy)
    os.remove(copy / run_files.EVALUATION)
    settings = override(tiny_records.records)
    settings["task"]["validation_data"]["global_batch_size"] = 1
    trained(arguments(tiny_records.config, copy, "must_student", settings, "eval"), eager=True)
    assert json.loads((copy / run_files.EVALUATION).read_text()) == before
    pictures = [folder / run_files.PICTURES / f"{run_files.step_name(2)}.png" for folder in (run, copy)]
    assert pictures[0].read_bytes() == pictures[1].read_bytes()
