"""The job files for clusters: together their jobs label every part once, by a command that exists."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import typer.main
import yaml

from tests.support.tiny import ROOT
from tfrecords_tools.cli.main import app

FOLDER = ROOT / "experiments" / "cluster"
SLURM, KUBERNETES = FOLDER / "label.slurm", FOLDER / "label_job.yaml"


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    """A folder with a program `must` that prints its arguments, one per line."""
    program = tmp_path / "must"
    program.write_text('#!/bin/bash\nprintf "%s\\n" "$@"\n')
    program.chmod(0o755)
    return tmp_path


def typed(words: Sequence[str], programs: Path, environment: Mapping[str, str]) -> dict[str, Any]:
    """Runs a job's command and returns the options of `must label` that it gives."""
    path = f"{programs}:{os.environ['PATH']}"
    done = subprocess.run(words, env={"PATH": path, **environment}, capture_output=True, text=True, check=True)
    name, *arguments = done.stdout.splitlines()
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    assert name == "label"
    return commands[name].make_context(name, arguments).params


def test_slurm(programs: Path) -> None:
    first, last = map(int, re.search(r"^#SBATCH --array=(\d+)-(\d+)$", SLURM.read_text(), re.M).groups())  # type: ignore[union-attr]
    jobs = [
        typed(
            ["bash", str(SLURM)],
            programs,
            {"SLURM_ARRAY_TASK_ID": str(job), "SLURM_ARRAY_TASK_COUNT": str(last - first + 1)},
        )
        for job in range(first, last + 1)
    ]
    assert [job["shard"] for job in jobs] == [f"{number}/8" for number in range(1, 9)]
    assert len({job["out"] for job in jobs}) == 1


def test_kubernetes(programs: Path) -> None:
    """Pods are numbered from 0, jobs from 1."""
    spec = yaml.safe_load(KUBERNETES.read_text())["spec"]
    pod = spec["template"]["spec"]
    (container,) = pod["containers"]
    environment = {entry["name"]: entry["value"] for entry in container["env"]}
    assert (spec["completionMode"], spec["parallelism"]) == ("Indexed", spec["completions"])
    assert {mount["name"] for mount in container["volumeMounts"]} == {volume["name"] for volume in pod["volumes"]}
    jobs = [
        typed([*container["command"], *container["args"]], programs, environment | {"JOB_COMPLETION_INDEX": str(index)})
        for index in range(spec["completions"])
    ]
    assert [job["shard"] for job in jobs] == [f"{number}/8" for number in range(1, 9)]


def test_both_label_the_same() -> None:
    """Everything from `must label` to the part, without line ends."""
    commands = [re.search(r"must label(.*?)--shard", path.read_text(), re.S) for path in (SLURM, KUBERNETES)]
    one, other = (re.sub(r"[\\\s]+", " ", command[1]) for command in commands if command)
    assert one == other
