"""The command `must-doctor`: compares the installation and the machine with what is needed.

Exit code 0: everything is fine; 1: there is something to fix.
"""

from __future__ import annotations

import dataclasses
import os
import shutil
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from importlib import metadata
from typing import Annotated, NamedTuple

from packaging.requirements import Requirement
from packaging.version import Version

from must_tf.common import command_line, devices, process_setup, tables
from must_tf.common.missing import TRAINING

GIGABYTE = 10**9
# A checkpoint has weights and momentum, hundreds of MB for a ResNet-50. A run keeps three, and the best ones.
DISK = 5 * GIGABYTE
# TensorFlow with a small model takes about 2 GB, and the input pipeline needs some as well.
MEMORY = 4 * GIGABYTE
# Distributions that all install a module `tensorflow` and overwrite each other's files.
RIVALS = ("tensorflow", "tensorflow-cpu", "tensorflow-gpu", "tensorflow-rocm", "tensorflow-intel", "tf-nightly")
INSTALL_TENSORFLOW = "pip install 'tensorflow==2.20.*'"


class Finding(NamedTuple):
    """One line of the report. `remedy` says how to fix it, and is empty if nothing is wrong."""

    subject: str
    state: str
    remedy: str = ""


def packages(required: Iterable[str], installed: Mapping[str, str], extra: str = "") -> list[Finding]:
    """Compares every required distribution with the installed one.

    Args:
      required: requirements as `importlib.metadata.requires` returns them.
      installed: {distribution name as PyPI normalises it: version}.
      extra: only what this extra adds; by default, only what no extra adds.
    """
    findings = []
    for requirement in map(Requirement, required):
        if not _is_asked_for(requirement, extra):
            continue
        version = installed.get(_normal(requirement.name))
        fits = version is not None and requirement.specifier.contains(version, prereleases=True)
        remedy = "" if fits else f"pip install -c constraints.txt '{requirement.name}{requirement.specifier}'"
        findings.append(Finding(requirement.name, f"{version or 'missing'} (needs {requirement.specifier})", remedy))
    return findings


def training(required: Iterable[str], installed: Mapping[str, str]) -> list[Finding]:
    """Compares what training and records need, unless only predicting and serving are installed."""
    if "tf-models-official" not in installed:
        return [Finding("training and records", f"not installed; {TRAINING} adds them")]
    return packages(required, installed, "train")


def keras(installed: Mapping[str, str], environment: Mapping[str, str]) -> list[Finding]:
    """Checks that tf_keras, which Model Garden uses, has TensorFlow's version, and that TensorFlow is there once."""
    tensorflow, legacy = installed.get("tensorflow"), installed.get("tf-keras")
    findings = []
    if tensorflow and legacy:
        same = Version(tensorflow).release[:2] == Version(legacy).release[:2]
        remedy = "" if same else f"pip install 'tf-keras=={'.'.join(tensorflow.split('.')[:2])}.*'"
        findings.append(Finding("tf_keras and TensorFlow", f"{legacy} and {tensorflow}", remedy))
    if legacy:
        switch = environment.get("TF_USE_LEGACY_KERAS", "")
        version = "tf_keras (Keras 2)" if switch in ("1", "true", "True") else f"Keras {installed.get('keras', '3')}"
        note = "commands set it to 1 unless it is set"
        findings.append(Finding("tf.keras", f"{version}, TF_USE_LEGACY_KERAS={switch or 'not set'} ({note})"))
    rivals = [name for name in RIVALS if name in installed]
    if len(rivals) > 1:
        remedy = f"pip uninstall -y {' '.join(rivals)}; {INSTALL_TENSORFLOW}"
        findings.append(Finding("TensorFlow", f"installed {len(rivals)} times: {', '.join(rivals)}", remedy))
    return findings


def gpus(
    root: str, environment: Mapping[str, str], usable: int, missing: Mapping[str, str], cuda_build: bool
) -> list[Finding]:
    """Compares the driver's GPUs, the visible ones, and those that TensorFlow can use.

    Args:
      root: folder of the driver's files, "/".
      environment: for CUDA_VISIBLE_DEVICES.
      usable: GPUs that TensorFlow lists.
      missing: result of `devices.missing_libraries`.
      cuda_build: True if TensorFlow was built for CUDA.
    """
    total = devices.driver_gpus(root)
    expected = devices.visible_count(environment, total)
    visible = environment.get("CUDA_VISIBLE_DEVICES")
    limited = "" if visible is None else f", CUDA_VISIBLE_DEVICES={visible!r} leaves {expected}"
    problem = devices.explain_unused(expected, usable, missing, cuda_build)
    findings = [Finding("GPUs", f"driver {total}{limited}, TensorFlow {usable}", problem)]
    if problem:
        findings += [Finding(name, f"cannot be loaded: {reason}") for name, reason in missing.items()]
    return findings


def room(disks: Mapping[str, int], memory: int) -> list[Finding]:
    """Checks the free bytes of disks, {folder: bytes}, and of memory."""
    findings = []
    for folder, free in disks.items():
        remedy = "" if free >= DISK else f"free some space or use another --model_dir: a run needs {_gigabytes(DISK)}"
        findings.append(Finding(f"disk at {folder}", f"{_gigabytes(free)} free", remedy))
    remedy = "" if memory >= MEMORY else "end other programs, or lower task.train_data.global_batch_size and input_size"
    return [*findings, Finding("memory", f"{_gigabytes(memory)} free", remedy)]


def free_memory() -> int:
    """Returns the bytes of memory that programs can still get."""
    return devices.free_memory()


def report(findings: Sequence[Finding]) -> str:
    """Returns a line per finding, remedies below what they fix, and the number of problems."""
    rows = []
    for finding in findings:
        rows.append(("FIX" if finding.remedy else "ok", finding.subject, finding.state))
        if finding.remedy:
            rows.append(("", "", f"-> {finding.remedy}"))
    problems = sum(bool(finding.remedy) for finding in findings)
    total = f"{problems} problem{'' if problems == 1 else 's'} to fix" if problems else "everything is fine"
    return f"{tables.table(('', '', ''), rows)}\n{total}"


def _gigabytes(count: int) -> str:
    return f"{count / GIGABYTE:.1f} GB"


def _is_asked_for(requirement: Requirement, extra: str) -> bool:
    always = not requirement.marker or requirement.marker.evaluate({"extra": ""})
    if always or not requirement.marker:
        return not extra
    return bool(extra) and requirement.marker.evaluate({"extra": extra})


def _normal(name: str) -> str:
    """Returns a distribution's name as PyPI normalises it."""
    return name.lower().replace("_", "-").replace(".", "-")


def _installed() -> dict[str, str]:
    named = [found for found in metadata.distributions() if found.metadata["Name"]]
    return {_normal(distribution.metadata["Name"]): distribution.version for distribution in named}


def _required() -> tuple[list[str], list[Finding]]:
    """Returns the project's requirements, and a finding if it is not installed."""
    try:
        return metadata.requires("must-tf") or [], []
    except metadata.PackageNotFoundError:
        remedy = "pip install -c constraints.txt -e '.[train]'"
        return [], [Finding("must-tf", "not installed, so its requirements are unknown", remedy)]


def _tensorflow(environment: Mapping[str, str]) -> list[Finding]:
    try:
        import tensorflow as tf

        usable = len(tf.config.list_physical_devices("GPU"))
        cuda_build = bool(tf.sysconfig.get_build_info().get("is_cuda_build"))
    except Exception as error:  # whatever it is, it is the finding
        reason = " ".join(str(error).split())[:200]
        return [Finding("TensorFlow starts", f"no: {reason}", INSTALL_TENSORFLOW)]
    missing = devices.missing_libraries() if devices.driver_gpus() else {}
    return [Finding("TensorFlow starts", tf.__version__), *gpus("/", environment, usable, missing, cuda_build)]


def examine(folder: str) -> list[Finding]:
    """Checks everything on this machine. `folder` is where runs will be written."""
    required, findings = _required()
    installed = _installed()
    findings += [Finding("Python", sys.version.split()[0])]
    findings += packages(required, installed) + training(required, installed)
    findings += keras(installed, os.environ) + _tensorflow(os.environ)
    disks = {
        place: shutil.disk_usage(place).free
        for place in (os.path.abspath(folder), tempfile.gettempdir())
        if os.path.isdir(place)
    }
    return findings + room(disks, free_memory())


@dataclasses.dataclass(frozen=True)
class DoctorFlags:
    """Checks the installation and the machine, and tells how to fix what is wrong.

    Exit code 1: there is something to fix.
    """

    folder: Annotated[str, command_line.flag("--folder", "Folder for runs; its free disk space is checked.")] = "."


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints the findings and returns the exit code."""
    flags = command_line.parse(DoctorFlags, sys.argv[1:] if arguments is None else arguments, "must-doctor")
    process_setup.quiet()
    findings = examine(flags.folder)
    print(report(findings))
    return int(any(finding.remedy for finding in findings))


def cli() -> None:
    """The command `must-doctor`."""
    sys.exit(main())


if __name__ == "__main__":
    cli()
