"""The files of experiments/paper, loaded by the commands in their headers."""

from __future__ import annotations

import dataclasses
import shlex
from typing import Any

from must_tf.cli.flags import parse_train
from must_tf.experiments import experiment_config
from tests.support.tiny import ROOT

FOLDER = ROOT / "experiments" / "paper"
FILES = sorted(path.name for path in FOLDER.glob("*.yaml"))
OVERLAYS = ("on_8_gpus.yaml", "on_tpu.yaml")
PARTS = ("shared.yaml", "transfer.yaml", *OVERLAYS)  # given together with others
TABLES = ("transfers.yaml",)
RUNS = [name for name in FILES if name not in (*PARTS, *TABLES)]


def header(name: str) -> list[str]:
    """Returns the lines of the comment at the top of a file, without the #."""
    lines = (FOLDER / name).read_text().splitlines()
    end = next(number for number, line in enumerate(lines) if not line.startswith("#"))
    return [line[1:] for line in lines[:end]]


def commands(name: str, program: str) -> list[list[str]]:
    """Returns the arguments of each command in a file's header: indented lines, joined at backslashes."""
    text = "\n".join(line for line in header(name) if line.startswith("   ")).replace("\\\n", " ")
    calls = [shlex.split(line) for line in text.splitlines()]
    return [call[1:] for call in calls if call[0] == program]


@dataclasses.dataclass(frozen=True)
class Call:
    """Returns the training command in a file's header."""

    experiment: str
    config_file: tuple[str, ...]
    params: Any


def call(name: str, overlay: str = OVERLAYS[0]) -> Call:
    """Returns the arguments of a file's must-train command, with absolute paths, on the hardware of `overlay`."""
    (given,) = commands(name, "must-train")
    flags = parse_train(given)
    assert flags.config_file[-1] == f"experiments/paper/{OVERLAYS[0]}", name
    paths = tuple(str(ROOT / path) for path in [*flags.config_file[:-1], f"experiments/paper/{overlay}"])
    params = experiment_config.load(flags.experiment, paths, flags.params_override)
    return Call(flags.experiment, paths, params)
