"""`must-doctor`: what is installed and what is there, against what is needed, and what to do about each.

Exit code 0: all is well; 1: something to mend.
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

from must_tf.common import command_line, devices, process_setup

GIGABYTE = 10**9
# A checkpoint has weights and momentum, hundreds of MB for a ResNet-50; three are kept, and the best ones beside them.
DISK = 5 * GIGABYTE
# TensorFlow with one small model takes about 2 GB; the input pipeline needs some more.
MEMORY = 4 * GIGABYTE
# Distributions that all bring a module `tensorflow`, the last installed overwriting files of the others.
RIVALS = ("tensorflow", "tensorflow-cpu", "tensorflow-gpu", "tensorflow-rocm", "tensorflow-intel", "tf-nightly")


class Finding(NamedTuple):
    """One line: what was looked at, what was found, and what to do about it; empty where all is well."""

    what: str
    found: str
    remedy: str = ""


def packages(required: Iterable[str], installed: Mapping[str, str]) -> list[Finding]:
    """Every required distribution against what is installed.

    Args:
      required: as `importlib.metadata.requires` gives them; those of extras are passed over.
      installed: {distribution name as PyPI normalises it: version}.
    """
    findings = []
    for requirement in map(Requirement, required):
        if requirement.marker and not requirement.marker.evaluate({"extra": ""}):
            continue
        version = installed.get(_normal(requirement.name))
        wanted = f"{requirement.name}{requirement.specifier}"
        fits = version is not None and requirement.specifier.contains(version, prereleases=True)
        remedy = "" if fits else f"pip install -c constraints.txt '{wanted}'"
        findings.append(Finding(requirement.name, f"{version or 'missing'} (needs {requirement.specifier})", remedy))
    return findings


def keras(installed: Mapping[str, str], environment: Mapping[str, str]) -> list[Finding]:
    """Keras 2 (tf_keras) is what Model Garden and this project use, in TensorFlow's own version."""
    tensorflow, legacy = installed.get("tensorflow"), installed.get("tf-keras")
    findings = []
    if tensorflow and legacy:
        same = Version(tensorflow).release[:2] == Version(legacy).release[:2]
        remedy = "" if same else f"pip install 'tf-keras=={'.'.join(tensorflow.split('.')[:2])}.*'"
        findings.append(Finding("tf_keras beside TensorFlow", f"{legacy} beside {tensorflow}", remedy))
    switch = environment.get("TF_USE_LEGACY_KERAS", "")
    chosen = "tf_keras (Keras 2)" if switch in ("1", "true", "True") else f"Keras {installed.get('keras', '3')}"
    note = "must_tf and your tasks import tf_keras; the other commands set this to 1 where it is not set"
    findings.append(Finding("tf.keras", f"{chosen}, TF_USE_LEGACY_KERAS={switch or 'not set'}; {note}"))
    rivals = [name for name in RIVALS if name in installed]
    if len(rivals) > 1:
        remedy = f"pip uninstall -y {' '.join(rivals)}; pip install 'tensorflow==2.20.*'"
        findings.append(Finding("TensorFlow", f"installed {len(rivals)} times: {', '.join(rivals)}", remedy))
    return findings


def gpus(
    root: str, environment: Mapping[str, str], seen: int, lacking: Mapping[str, str], cuda_build: bool
) -> list[Finding]:
    """The driver's GPUs, those that are asked for, and those that TensorFlow sees.

    Args:
      root: below which the driver's files lie, "/".
      environment: for CUDA_VISIBLE_DEVICES.
      seen: GPUs that TensorFlow lists.
      lacking: from `devices.missing`.
      cuda_build: whether TensorFlow was built for CUDA.
    """
    there = devices.driver_gpus(root)
    expected = devices.asked(environment, there)
    visible = environment.get("CUDA_VISIBLE_DEVICES")
    limited = "" if visible is None else f", CUDA_VISIBLE_DEVICES={visible!r} leaves {expected}"
    findings = [Finding("GPUs", f"driver {there}{limited}, TensorFlow {seen}")]
    trouble = devices.unused(expected, seen, lacking, cuda_build)
    if trouble:
        findings = [findings[0]._replace(remedy=trouble)]
        findings += [Finding(name, f"does not load: {reason}") for name, reason in lacking.items()]
    return findings


def room(disks: Mapping[str, int], memory: int) -> list[Finding]:
    """Free bytes by folder, and of memory."""
    findings = []
    for folder, free in disks.items():
        remedy = (
            "" if free >= DISK else f"free some, or give another --model_dir: {DISK / GIGABYTE:.0f} GB hold one run"
        )
        findings.append(Finding(f"disk at {folder}", f"{free / GIGABYTE:.1f} GB free", remedy))
    remedy = "" if memory >= MEMORY else "end other programs, or lower task.train_data.global_batch_size and input_size"
    return [*findings, Finding("memory", f"{memory / GIGABYTE:.1f} GB free", remedy)]


def free_memory(path: str = "/proc/meminfo") -> int:
    """Bytes that programs can still have; where the kernel does not say, all that the machine has."""
    if not os.path.exists(path):
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    with open(path) as file:
        lines = dict(line.split(":", 1) for line in file if ":" in line)
    return int(lines["MemAvailable"].split()[0]) * 1024


def report(findings: Sequence[Finding]) -> str:
    """A line per finding, remedies below what they mend, and the count of these."""
    width = max(len(one.what) for one in findings)
    lines = []
    for one in findings:
        lines.append(f"{'MEND' if one.remedy else 'ok':<6}{one.what:<{width}}  {one.found}")
        if one.remedy:
            lines.append(f"{'':<6}{'':<{width}}  -> {one.remedy}")
    wrong = sum(bool(one.remedy) for one in findings)
    return "\n".join([*lines, f"{wrong} to mend" if wrong else "all is well"])


def _normal(name: str) -> str:
    return name.lower().replace("_", "-").replace(".", "-")


def _installed() -> dict[str, str]:
    return {_normal(one.metadata["Name"]): one.version for one in metadata.distributions() if one.metadata["Name"]}


def _required() -> tuple[list[str], list[Finding]]:
    try:
        return metadata.requires("must-tf") or [], []
    except metadata.PackageNotFoundError:
        return [], [
            Finding("must-tf", "not installed, so its pins are not known", "pip install -c constraints.txt -e .")
        ]


def _tensorflow(environment: Mapping[str, str]) -> list[Finding]:
    try:
        import tensorflow as tf

        seen = len(tf.config.list_physical_devices("GPU"))
        cuda = bool(tf.sysconfig.get_build_info().get("is_cuda_build"))
    except Exception as error:  # whatever keeps it from starting is the finding
        return [
            Finding(
                "TensorFlow starts", f"no: {' '.join(str(error).split())[:200]}", "pip install 'tensorflow==2.20.*'"
            )
        ]
    there = devices.driver_gpus()
    lacking = devices.missing() if there else {}
    return [Finding("TensorFlow starts", f"{tf.__version__}"), *gpus("/", environment, seen, lacking, cuda)]


def examine(folder: str) -> list[Finding]:
    """Everything, on this machine; `folder` is where runs are to go."""
    required, findings = _required()
    installed = _installed()
    findings += [Finding("Python", sys.version.split()[0])]
    findings += packages(required, installed) + keras(installed, os.environ) + _tensorflow(os.environ)
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
    given = sys.argv[1:] if arguments is None else arguments
    flags = command_line.parse(DoctorFlags, given, "must-doctor")
    process_setup.quiet()
    findings = examine(flags.folder)
    print(report(findings))
    return int(any(one.remedy for one in findings))


def cli() -> None:
    """The command `must-doctor`."""
    sys.exit(main())


if __name__ == "__main__":
    cli()
