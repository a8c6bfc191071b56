"""GPUs: those that the driver has against those that TensorFlow sees. One that lies idle unasked ends a run.

The CPU is asked for as everywhere with CUDA: an empty `CUDA_VISIBLE_DEVICES=` (or -1) before the command.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from must_tf.common.errors import UserError

# What TensorFlow 2.20, built for CUDA 12, loads when it looks for GPUs; without any of these it goes on without them.
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
DRIVER_LIBRARY = LIBRARIES[0]  # comes with the driver, the others with tensorflow[and-cuda]
INSTALL = "pip install 'tensorflow[and-cuda]==2.20.*'"
ON_CPU = "To use the CPU on purpose, put CUDA_VISIBLE_DEVICES= before the command."


def driver_gpus(root: str = "/") -> int:
    """How many NVIDIA GPUs the driver has, read from its files below `root`; TensorFlow is not asked."""
    listed = len(list(Path(root, "proc/driver/nvidia/gpus").glob("*")))
    nodes = len(list(Path(root, "dev").glob("nvidia[0-9]*")))
    # A container may be given some of the machine's GPUs: then only those have device nodes.
    return min(listed, nodes) if listed and nodes else max(listed, nodes)


def asked(environment: Mapping[str, str], gpus: int) -> int:
    """How many of `gpus` the environment leaves visible; 0 when the CPU is asked for."""
    return min(len(names(environment, gpus)), gpus)


def names(environment: Mapping[str, str], gpus: int) -> list[str]:
    """What CUDA calls the visible ones of `gpus`: numbers, or the names that the environment gives them."""
    visible = environment.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return [str(number) for number in range(gpus)]
    found = []
    for name in (part.strip() for part in visible.split(",")):
        if not name or name.startswith("-") or name == "NoDevFiles":  # CUDA ignores what follows an invalid one
            break
        found.append(name)
    return found


def missing(
    libraries: Sequence[str] = LIBRARIES,
    load: Callable[[str], object] = ctypes.CDLL,
    folders: Sequence[str] | None = None,
) -> dict[str, str]:
    """{library: the loader's reason} of those that cannot be loaded.

    Args:
      libraries: shared objects by the name that TensorFlow asks for.
      load: raises OSError for one that cannot be loaded.
      folders: site-packages, where pip's nvidia packages lie; TensorFlow looks into these as well.
    """
    found = {}
    for name in libraries:
        inside = [
            str(path) for folder in folders or sys.path for path in sorted(Path(folder).glob(f"nvidia/*/lib/{name}"))
        ]
        reasons = [_reason(load, path) for path in (name, *inside)]
        if all(reasons):
            found[name] = reasons[-1]
    return found


def _reason(load: Callable[[str], object], path: str) -> str:
    try:
        load(path)
    except OSError as error:
        return str(error) or type(error).__name__
    return ""


def unused(expected: int, seen: int, lacking: Mapping[str, str], cuda_build: bool = True) -> str:
    """Why TensorFlow sees fewer GPUs than it should, and the remedy; empty where it sees them all.

    Args:
      expected: GPUs that the driver has and the environment leaves visible.
      seen: GPUs that TensorFlow lists.
      lacking: from `missing`.
      cuda_build: whether this TensorFlow was built for CUDA.
    """
    if seen >= expected:
        return ""
    first = f"the driver has {expected} GPU{'s' * (expected > 1)} to use, TensorFlow sees {seen}"
    if not cuda_build:
        return f"{first}: this TensorFlow was built without CUDA. Install another one: {INSTALL}"
    if DRIVER_LIBRARY in lacking:
        return f"{first}: {DRIVER_LIBRARY} does not load ({lacking[DRIVER_LIBRARY]}). Install the driver's libraries."
    if lacking:
        names = ", ".join(lacking)
        return f"{first}: {names} cannot be loaded ({next(iter(lacking.values()))}). {INSTALL}"
    return (
        f"{first}, though every CUDA library loads: the driver may be older than CUDA 12 needs (see nvidia-smi), "
        "or another program holds the GPU exclusively."
    )


def check(seen: int, cuda_build: bool, root: str = "/", environment: Mapping[str, str] = os.environ) -> None:
    """Raises UserError where a GPU would lie idle that nobody asked to leave alone."""
    expected = asked(environment, driver_gpus(root))
    if seen >= expected:
        return
    raise UserError(f"{unused(expected, seen, missing(), cuda_build)} {ON_CPU}")


def seen() -> int:
    """GPUs that TensorFlow lists. Raises UserError where one would lie idle that nobody asked to leave alone."""
    import tensorflow as tf  # here, so that the doctor can look at a machine on which it does not start

    found = len(tf.config.list_physical_devices("GPU"))
    check(found, bool(tf.sysconfig.get_build_info().get("is_cuda_build")))
    return found


def choose(strategy: str, wanted: int, there: int) -> tuple[int, str]:
    """How many GPUs a run uses, and what to say about it.

    Model Garden's `mirrored` with its default of 0 GPUs would use the CPU beside them.

    Args:
      strategy: runtime.distribution_strategy.
      wanted: runtime.num_gpus, 0 where nothing is said.
      there: GPUs that TensorFlow lists.

    Raises:
      UserError: more than there are, or more than the strategy can use.
    """
    if wanted > there:
        raise UserError(f"runtime.num_gpus={wanted}, but TensorFlow sees {there}. `must-doctor` says what it finds.")
    if strategy == "one_device" and wanted > 1:
        raise UserError(
            f"runtime.distribution_strategy=one_device uses one GPU, but runtime.num_gpus={wanted}. "
            "Set runtime.distribution_strategy=mirrored."
        )
    if not there or strategy not in ("one_device", "mirrored"):
        return wanted, ""
    used = wanted or (there if strategy == "mirrored" else 1)
    return used, f"using {used} of {there} GPU{'s' * (there > 1)}{_idle(strategy, used, there)}"


def _idle(strategy: str, used: int, there: int) -> str:
    if used == there:
        return "; CUDA_VISIBLE_DEVICES= asks for the CPU"
    remedy = "leave out runtime.num_gpus" if strategy == "mirrored" else "runtime.distribution_strategy=mirrored"
    return f"; {there - used} lie idle: {remedy} uses them all"


def cores() -> int:
    """Returns how many processor cores this process may use: a batch job often has fewer than its machine."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
