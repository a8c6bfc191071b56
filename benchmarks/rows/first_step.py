"""Time from process start to the first step's checkpoint: six heads here, Mask R-CNN in Model Garden's train.py.

Both run as commands on one CPU. The time goes to imports, building, tracing and the one step.
"""

from __future__ import annotations

import os
import re
import shutil
import statistics
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from benchmarks.data import input_data
from benchmarks.harness import apart, processes, table
from benchmarks.harness.table import BenchmarkSettings, Comparison, Measure
from benchmarks.rows import same_network
from benchmarks.rows.step_sides import EXPERIMENTS, FULL, Sizes
from must_tf.tasks import discover

IMAGES = 16
AT_MOST = 0.5


def ours(records: str, sizes: Sizes, run: Path) -> list[str]:
    """Returns this project's command."""
    tasks: dict[str, Any] = {name: {"enabled": True} for name in discover()}
    tasks["detection"]["sampled_rois"], tasks["masks"]["sampled_rois"] = sizes.proposals, sizes.masks
    task = {
        "input_size": sizes.side,
        "model": {"backbone": {"resnet": {"model_id": sizes.model_id}}, "norm_activation": {"use_sync_bn": False}},
        "tasks": tasks,
        "train_data": {"input_path": records, "global_batch_size": sizes.batch},
    }
    return _command("train", "must_student", {"task": task}, run)


def model_gardens(records: str, sizes: Sizes, run: Path) -> list[str]:
    """Returns Model Garden's command for the same network in the same precision. Its config asks for bfloat16 and XLA,
    which are for accelerators; neither side uses them here.
    """
    task = {
        "init_checkpoint": "",
        "annotation_file": "",
        "model": {
            "input_size": [sizes.side, sizes.side, 3],
            "backbone": {"resnet": {"model_id": sizes.model_id}},
            "norm_activation": {"use_sync_bn": False},
        }
        | same_network.mask_rcnn(sizes.proposals, sizes.masks),
        "train_data": {
            "input_path": records,
            "global_batch_size": sizes.batch,
            "dtype": "float32",
            "shuffle_buffer_size": IMAGES,  # its default of 10,000 would repeat the same few images
        },
    }
    runtime = {"mixed_precision_dtype": "float32", "enable_xla": False}
    return _command("official.vision.train", EXPERIMENTS["maskrcnn"], {"task": task, "runtime": runtime}, run)


def _command(module: str, experiment: str, override: dict[str, Any], run: Path) -> list[str]:
    shutil.rmtree(run, ignore_errors=True)
    trainer = {"train_steps": 1, "steps_per_loop": 1, "summary_interval": 1, "checkpoint_interval": 1}
    runtime = {"distribution_strategy": "one_device"} | override.get("runtime", {})
    text = yaml.safe_dump(override | {"trainer": trainer, "runtime": runtime}, default_flow_style=True, width=10**6)
    flags = [f"--experiment={experiment}", "--mode=train", f"--model_dir={run}", f"--params_override={text.strip()}"]
    return [sys.executable, "-m", module, *flags]


def records(settings: BenchmarkSettings) -> tuple[str, str]:
    """Returns globs of both sides' records of the same images."""
    sets = input_data.both(input_data.source(settings), settings.work, IMAGES)
    return input_data.six_tasks(sets, settings.work / "six").ours, sets.model_gardens


def measure(settings: BenchmarkSettings, sizes: Sizes = FULL) -> list[Comparison]:
    """Runs both commands in turn."""
    own, others = records(settings)
    path = os.pathsep.join(filter(None, [apart.PACKAGES, os.environ.get("PYTHONPATH")]))
    environment = os.environ | {"CUDA_VISIBLE_DEVICES": "", "TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONPATH": path}
    environment.pop("TF_USE_LEGACY_KERAS", None)  # each side sets it itself
    used: dict[str, list[processes.Used]] = {"ours": [], "model_gardens": []}
    found = []
    for _ in range(settings.rounds):
        run = settings.work / "run-ours"
        used["ours"].append(_used(ours(own, sizes, run), environment, run))
        found.append(phases(run.with_suffix(".txt").read_text()))
        run = settings.work / "run-model_gardens"
        used["model_gardens"].append(_used(model_gardens(others, sizes, run), environment, run))
    return [row(used["ours"], used["model_gardens"], sizes, found)]


def _used(command: list[str], environment: Mapping[str, str], run: Path) -> processes.Used:
    """Returns a command's resources, and the seconds until the checkpoint of its first step is written.

    Both sides write that checkpoint. The end of the process would be a worse mark: TensorFlow may wait there for up to
    a minute for a thread that tunes the input.
    """
    start = time.time()
    used = processes.run(command, environment, run.with_suffix(".txt"))
    return used._replace(seconds=(run / "ckpt-1.index").stat().st_mtime - start)


def phases(log: str) -> dict[str, float]:
    """Returns the seconds of each phase up to the end of the first step, as this project's command reports them.

    Raises:
      StopIteration: the command reported nothing.
    """
    line = next(line for line in log.splitlines() if line.startswith("first step after"))
    return {phase: float(seconds) for phase, seconds in re.findall(r"[:,] ([a-z][a-z ]*) ([0-9.]+) s", line)}


def row(
    mine: Sequence[processes.Used],
    theirs: Sequence[processes.Used],
    sizes: Sizes,
    found: Sequence[Mapping[str, float]],
) -> Comparison:
    """Returns the row of both sides' seconds; `found` has this project's phases in each round."""
    own, others = (
        table.median([each.seconds for each in used], [1000 * each.cpu_seconds for each in used])
        for used in (mine, theirs)
    )
    parts = {phase: statistics.median(each[phase] for each in found) for phase in found[0]}
    parts["the checkpoint"] = own.value - sum(parts.values())
    said = ", ".join(f"{phase} {seconds:.1f} s" for phase, seconds in parts.items())
    return Comparison(
        f"start to the end of the first step, ResNet-{sizes.model_id}, {sizes.side} px, batch {sizes.batch}",
        "s",
        own,
        others,
        at_most=AT_MOST,
        note=(
            f"here six heads; Model Garden: only {same_network.SAID}; the same images; until the first checkpoint is "
            "written; processor time of the whole command"
        ),
        why=f"six heads have to be built, traced and run: {said}",
    )


ROWS: dict[str, Measure] = {"start": measure}
