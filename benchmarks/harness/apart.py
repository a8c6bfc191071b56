"""Calls a function in its own process: clean memory, its own threads, and nothing warm that the other side lacks.

python -m benchmarks.harness.apart MODULE:FUNCTION ARGUMENTS.json RESULT.json
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.harness import processes

PACKAGES = str(Path(__file__).resolve().parents[2])
# No GPU: the rows of the host and of the step must be comparable on every machine, and Model Garden's input pipeline
# would reserve the GPU's memory.
ENVIRONMENT = {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "", "TF_USE_LEGACY_KERAS": "1"}


def call(function: str, arguments: Mapping[str, Any], work: Path, environment: Mapping[str, str] | None = None) -> Any:
    """Calls a function in a new process and returns its result, passed on as JSON.

    Args:
      function: "module:function", called with keyword arguments.
      arguments: anything that JSON can hold.
      work: a folder for the call's files and output.
      environment: variables set besides this process's and `ENVIRONMENT`.

    Raises:
      RuntimeError: the call failed; the message has the end of its output.
    """
    given, result, log = work / "arguments.json", work / "result.json", work / "log.txt"
    given.write_text(json.dumps(arguments))
    path = os.pathsep.join(filter(None, [PACKAGES, os.environ.get("PYTHONPATH")]))
    variables = os.environ | ENVIRONMENT | {"PYTHONPATH": path} | dict(environment or {})
    command = [sys.executable, "-m", "benchmarks.harness.apart", function, str(given), str(result)]
    try:
        processes.run(command, variables, log)
    except RuntimeError as error:
        raise RuntimeError(f"{function} failed:\n" + "\n".join(log.read_text().splitlines()[-12:])) from error
    return json.loads(result.read_text())


def main(function: str, arguments: str, result: str) -> None:
    """Runs the call in the child process."""
    module, _, name = function.partition(":")
    value = getattr(importlib.import_module(module), name)(**json.loads(Path(arguments).read_text()))
    Path(result).write_text(json.dumps(value))


if __name__ == "__main__":
    main(*sys.argv[1:])
