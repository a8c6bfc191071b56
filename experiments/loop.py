"""Runs the commands of a study: records, teachers, labels, students.

Every step prints its command, so that you can type it yourself. Each command skips what it has finished already: kill
the loop at any time and start it again.
"""

from __future__ import annotations

import math
import os
import shlex
import sys
import time
from collections.abc import Iterator, Sequence
from typing import Any

import yaml

from experiments.plan import Plan, PlannedRun
from must_tf.common import subprocesses
from must_tf.common.errors import UserError
from must_tf.common.progress import clock

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(HERE)

Command = tuple[str, list[str]]  # the step's name; program and arguments


def follow(plan: Plan, commands: Sequence[Command]) -> dict[str, float]:
    """Runs the commands in order; returns the seconds that each took."""
    started = time.monotonic()
    seconds: dict[str, float] = {}
    for number, (name, command) in enumerate(commands, 1):
        print(f"\n[{number}/{len(commands)}] {name}  (at {clock(time.monotonic() - started)})", flush=True)
        seconds[name] = _run(plan, name, command)
    return seconds


def prepared(plan: Plan) -> Iterator[Command]:
    """Yields the steps before the student: records, teachers, labels."""
    records = [sys.executable, "-m", "tfrecords_tools"]
    for name, arguments in plan.records.items():
        yield f"records: {name}", [*records, "convert", *arguments, "--out", plan.path("records", name)]
    for teacher in plan.teachers:
        yield f"teacher: {teacher.name}", _train(plan, teacher)
    for name, wanted in plan.label.items():
        chosen = [teacher for teacher in plan.teachers if teacher.name in wanted]
        given = [["--teacher", f"{task}={plan.path(teacher.name)}"] for teacher in chosen for task in teacher.tasks]
        source, out = plan.path("records", name, "*.tfrecord"), plan.path("records", f"{name}-labelled")
        # Teachers trained for a few minutes may be judged unfit. The log has the verdict, and the loop continues.
        command = [*records, "label", "--records", source, *sum(given, []), "--out", out, "--force"]
        yield f"label: {name}", command


def student(plan: Plan) -> Command:
    """Returns the step that trains the student."""
    return plan.student.name, _train(plan, plan.student)


def _train(plan: Plan, run: PlannedRun) -> list[str]:
    override = [
        f"task.train_data.input_path={plan.globs(run.train)}",
        f"task.validation_data.input_path={plan.globs(run.validation)}",
        *run.override,
    ]
    files = [f"--config_file={os.path.join(HERE, name)}" for name in run.config]
    return [
        sys.executable,
        os.path.join(ROOT, "train.py"),
        f"--experiment={run.experiment}",
        "--mode=train_and_eval",
        f"--model_dir={plan.path(run.name)}",
        *files,
        f"--params_override={_as_yaml(override)}",
    ]


def _as_yaml(overrides: Sequence[str]) -> str:
    """Returns ["a.b=1", ...] as one line of YAML, because a.b=1,c=2 cannot express lists."""
    tree: dict[str, Any] = {}
    for override in overrides:
        key, _, value = override.partition("=")
        *parents, last = key.split(".")
        branch = tree
        for parent in parents:
            branch = branch.setdefault(parent, {})
        branch[last] = yaml.safe_load(value)
    return yaml.safe_dump(tree, default_flow_style=True, sort_keys=False, width=math.inf).strip()


def _run(plan: Plan, name: str, command: list[str]) -> float:
    """Runs one command. Its whole output goes to a log, its progress to the terminal."""
    print("  " + shlex.join(os.path.relpath(c) if c.startswith(ROOT) else c for c in command), flush=True)
    log = plan.path("logs", name.replace(": ", "-") + ".log")
    started = time.monotonic()
    code = subprocesses.follow(command, log)
    if code:
        print("\n".join(subprocesses.last_lines(log, 20)), file=sys.stderr)
        raise UserError(f"step {name!r} failed with exit code {code}. Its output is in {log}.")
    return time.monotonic() - started
