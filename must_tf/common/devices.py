"""GPUs and CPU cores for this process. A GPU that the driver has but TensorFlow cannot use is an error.

As with any CUDA program, an empty `CUDA_VISIBLE_DEVICES=` (or -1) before the command selects the CPU.
"""

from __future__ import annotations

import ctypes
import itertools
import math
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from must_tf.common.errors import UserError

# TensorFlow 2.20, built for CUDA 12, loads these when it looks for GPUs. If one is missing, it runs without GPUs.
LIBRARIES = (
    "libcuda.so.1",
    "libcudart.so.12",
    "libcublas.so.12",
    "libcublasLt.so.12",
    "libcufft.so.11",
    "libcusolver.so.11",
    "libcusparse.so.12",
    "libcudnn.so.9",
)
DRIVER_LIBRARY = LIBRARIES[0]  # part of the driver; the others come with tensorflow[and-cuda]
# Files with a cgroup's limit and use of memory, in bytes; of cgroups' second and first version.
CONTAINER_MEMORY = (("memory.max", "memory.current"), ("memory.limit_in_bytes", "memory.usage_in_bytes"))
# Files with the time of all cores that a cgroup may use in a period, and the length of the period.
CONTAINER_CORES = (("cpu.max",), ("cpu.cfs_quota_us", "cpu.cfs_period_us"))
# Lines of memory.stat with the bytes of files that Linux keeps in memory until programs need it; the first version's
# second line counts the groups below, too.
CACHED = ("inactive_file", "total_inactive_file")
INSTALL = "pip install 'tensorflow[and-cuda]==2.20.*'"
USE_CPU = "To use the CPU on purpose, put CUDA_VISIBLE_DEVICES= before the command."


def driver_gpus(root: str = "/") -> int:
    """Returns the number of NVIDIA GPUs that the driver has, from its files below `root`. Does not use TensorFlow."""
    listed = len(list(Path(root, "proc/driver/nvidia/gpus").glob("*")))
    nodes = len(list(Path(root, "dev").glob("nvidia[0-9]*")))
    # A container with only some of the machine's GPUs has device nodes for those.
    return min(listed, nodes) if listed and nodes else max(listed, nodes)


def visible_count(environment: Mapping[str, str], gpus: int) -> int:
    """Returns how many of `gpus` GPUs CUDA_VISIBLE_DEVICES leaves visible; 0 selects the CPU."""
    return min(len(visible_names(environment, gpus)), gpus)


def visible_names(environment: Mapping[str, str], gpus: int) -> list[str]:
    """Returns CUDA's names for the visible GPUs: numbers, or the entries of CUDA_VISIBLE_DEVICES."""
    visible = environment.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return [str(number) for number in range(gpus)]
    names = []
    for name in (part.strip() for part in visible.split(",")):
        if not name or name.startswith("-") or name == "NoDevFiles":  # CUDA ignores everything after an invalid entry
            break
        names.append(name)
    return names


def missing_libraries(
    libraries: Sequence[str] = LIBRARIES,
    load: Callable[[str], object] = ctypes.CDLL,
    folders: Sequence[str] | None = None,
) -> dict[str, str]:
    """Returns {library: the loader's error} for the libraries that cannot be loaded.

    Args:
      libraries: names of shared objects, as TensorFlow loads them.
      load: loads a library; raises OSError if that fails.
      folders: site-packages with pip's nvidia packages, which TensorFlow searches as well. None: `sys.path`.
    """
    errors = {}
    for name in libraries:
        installed = [
            str(path) for folder in folders or sys.path for path in sorted(Path(folder).glob(f"nvidia/*/lib/{name}"))
        ]
        attempts = [_load_error(load, path) for path in (name, *installed)]
        if all(attempts):
            errors[name] = attempts[-1]
    return errors


def _load_error(load: Callable[[str], object], path: str) -> str:
    """Returns the error of loading a library, or an empty string."""
    try:
        load(path)
    except OSError as error:
        return str(error) or type(error).__name__
    return ""


def explain_unused(expected: int, usable: int, missing: Mapping[str, str], cuda_build: bool = True) -> str:
    """Returns why TensorFlow sees fewer GPUs than expected, and how to fix it; empty if it sees them all.

    Args:
      expected: GPUs that the driver has and CUDA_VISIBLE_DEVICES leaves visible.
      usable: GPUs that TensorFlow lists.
      missing: result of `missing_libraries`.
      cuda_build: True if this TensorFlow was built for CUDA.
    """
    if usable >= expected:
        return ""
    counts = f"the driver has {expected} visible GPU{'' if expected == 1 else 's'}, but TensorFlow sees {usable}"
    if not cuda_build:
        return f"{counts}: it was built without CUDA. Install another build: {INSTALL}"
    if DRIVER_LIBRARY in missing:
        return f"{counts}: {DRIVER_LIBRARY} cannot be loaded ({missing[DRIVER_LIBRARY]}). Install the NVIDIA driver."
    if missing:
        names = ", ".join(missing)
        return f"{counts}: {names} cannot be loaded ({next(iter(missing.values()))}). Run {INSTALL}"
    return (
        f"{counts}, although all CUDA libraries can be loaded. Check with nvidia-smi that the driver supports CUDA 12 "
        "and that no other program holds the GPU exclusively."
    )


def check(usable: int, cuda_build: bool, root: str = "/", environment: Mapping[str, str] = os.environ) -> None:
    """Raises UserError if a visible GPU would not be used."""
    expected = visible_count(environment, driver_gpus(root))
    if usable < expected:
        raise UserError(f"{explain_unused(expected, usable, missing_libraries(), cuda_build)} {USE_CPU}")


def tensorflow_gpus() -> int:
    """Returns how many GPUs TensorFlow lists. Raises UserError if a visible GPU is not among them."""
    import tensorflow as tf  # here, so that must-doctor can run if TensorFlow cannot be imported

    usable = len(tf.config.list_physical_devices("GPU"))
    check(usable, bool(tf.sysconfig.get_build_info().get("is_cuda_build")))
    return usable


def choose(strategy: str, wanted: int, usable: int) -> tuple[int, str]:
    """Returns how many GPUs a run uses, and a line about it for the log.

    Model Garden's `mirrored` strategy with its default of 0 GPUs would use the CPU even if there are GPUs.

    Args:
      strategy: runtime.distribution_strategy.
      wanted: runtime.num_gpus; 0 is its default.
      usable: GPUs that TensorFlow lists.

    Raises:
      UserError: `wanted` is more than there are, or more than the strategy can use.
    """
    if wanted > usable:
        raise UserError(f"runtime.num_gpus={wanted}, but TensorFlow sees {usable}. Run `must-doctor` to find out why.")
    if strategy == "one_device" and wanted > 1:
        raise UserError(
            f"runtime.distribution_strategy=one_device uses one GPU, but runtime.num_gpus={wanted}. "
            "Set runtime.distribution_strategy=mirrored."
        )
    if not usable or strategy not in ("one_device", "mirrored"):
        return wanted, ""
    used = wanted or (usable if strategy == "mirrored" else 1)
    return used, f"using {used} of {usable} GPU{'' if usable == 1 else 's'}{_remark(strategy, used, usable)}"


def _remark(strategy: str, used: int, usable: int) -> str:
    if used == usable:
        return "; to use the CPU, set CUDA_VISIBLE_DEVICES="
    remedy = "leave out runtime.num_gpus" if strategy == "mirrored" else "set runtime.distribution_strategy=mirrored"
    return f"; {usable - used} idle: {remedy} to use all"


def free_memory(root: str = "/") -> int:
    """Returns the bytes of memory that programs can still get. Limits of containers and jobs, below `root`, count."""
    import psutil  # here: only some commands need it

    free = [psutil.virtual_memory().available]
    for group, (limit, used) in itertools.product(_groups(root, "memory"), CONTAINER_MEMORY):
        limits, usage = group / limit, group / used
        if limits.is_file() and usage.is_file() and (text := limits.read_text().strip()).isdigit():
            free.append(max(int(text) - int(usage.read_text()) + _cached(group), 0))
    return min(free)


def _cached(group: Path) -> int:
    """Returns the bytes that count as used by a cgroup, and that Linux gives to programs that need them."""
    path = group / "memory.stat"
    lines = [line.split() for line in path.read_text().splitlines()] if path.is_file() else []
    return max([int(words[1]) for words in lines if words[0] in CACHED], default=0)


def cores(root: str = "/") -> int:
    """Returns how many CPU cores this process may use: by its affinity, and by the limits of a container or job.

    In a batch job or a container they are often fewer than the machine has. A part of a core counts as one.
    """
    most = affinity()
    for group, names in itertools.product(_groups(root, "cpu"), CONTAINER_CORES):
        files = [group / name for name in names]
        words = " ".join(file.read_text() for file in files if file.is_file()).split()
        if len(words) == 2 and all(map(str.isdigit, words)):  # "max" or -1: no limit
            most = min(most, max(math.ceil(int(words[0]) / int(words[1])), 1))
    return most


def affinity() -> int:
    """Returns on how many CPU cores the system may run this process, whatever their time is limited to."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _groups(root: str, controller: str) -> list[Path]:
    """Returns the folders of this process's cgroups and of all above them, whose limits hold for it as well.

    A container sees its own group as the topmost. The limits of a service or of a batch system's job are further down.
    """
    mounts = {"": Path(root, "sys/fs/cgroup"), controller: Path(root, "sys/fs/cgroup", controller)}
    own = Path(root, "proc/self/cgroup")
    paths: dict[str, Path] = {}
    for line in own.read_text().splitlines() if own.is_file() else []:
        _, controllers, path = line.split(":", 2)  # no controllers: cgroups' second version
        paths |= dict.fromkeys(controllers.split(","), Path(path.strip("/")))
    below = {mount: paths.get(name, Path()) for name, mount in mounts.items()}
    return [mount / path for mount, group in below.items() for path in (group, *group.parents)]
