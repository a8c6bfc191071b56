"""Idle GPUs and the parts of must-doctor, with faked folders, environments and loaders."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from must_tf.cli import doctor
from must_tf.common import devices
from must_tf.common.errors import UserError
from tests.support.tiny import ROOT


def machine(root: Path, listed: int, nodes: int) -> str:
    """The driver's files as Linux shows them: a folder per GPU below /proc, a device node per GPU and for control."""
    for index in range(listed):
        (root / f"proc/driver/nvidia/gpus/0000:0{index}:00.0").mkdir(parents=True)
    (root / "dev").mkdir(exist_ok=True)
    for name in [*(f"nvidia{index}" for index in range(nodes)), "nvidiactl", "nvidia-uvm"] if nodes else []:
        (root / "dev" / name).touch()
    return str(root)


@pytest.mark.parametrize(("listed", "nodes", "expected"), [(0, 0, 0), (2, 2, 2), (8, 1, 1), (0, 3, 3), (1, 0, 1)])
def test_the_drivers_gpus(listed: int, nodes: int, expected: int, tmp_path: Path) -> None:
    """A container may show all GPUs below /proc and have nodes for some."""
    assert devices.driver_gpus(machine(tmp_path, listed, nodes)) == expected


# What CUDA's programming guide says of CUDA_VISIBLE_DEVICES: only those before the first invalid one are visible.
VISIBLE = {
    "": 0,
    "-1": 0,
    "NoDevFiles": 0,
    "0": 1,
    "0,1": 2,
    "1, 0": 2,
    "0,-1,1": 1,
    "0,1,2,3,4,5": 4,
    "GPU-8932f937": 1,
}


@pytest.mark.parametrize("value", VISIBLE)
def test_visible_devices(value: str) -> None:
    """Of four GPUs."""
    assert devices.visible_count({"CUDA_VISIBLE_DEVICES": value}, 4) == VISIBLE[value]
    assert devices.visible_count({}, 4) == 4


def loader(*broken: str) -> Callable[[str], object]:
    """Returns a dlopen that fails for libraries of these names in any folder."""

    def load(path: str) -> object:
        if any(path.endswith(name) for name in broken):
            raise OSError(f"{path}: cannot open shared object file")
        return path

    return load


def test_libraries_that_do_not_load() -> None:
    """They are reported by name, with the loader's error."""
    found = devices.missing_libraries(load=loader("libcudnn.so.9"), folders=[])
    assert found == {"libcudnn.so.9": "libcudnn.so.9: cannot open shared object file"}
    assert devices.missing_libraries(load=loader(), folders=[]) == {}


def test_libraries_that_pip_brought(tmp_path: Path) -> None:
    """They are not on the loader's path, but TensorFlow finds them in site-packages/nvidia."""
    folder = tmp_path / "nvidia/cudnn/lib"
    folder.mkdir(parents=True)
    (folder / "libcudnn.so.9").touch()

    def load(path: str) -> object:
        if not path.startswith(str(tmp_path)):
            raise OSError("not on the path")
        return path

    libraries = ("libcudnn.so.9", "libcudart.so.12")
    assert list(devices.missing_libraries(libraries, load, [str(tmp_path)])) == ["libcudart.so.12"]


def test_an_idle_gpu_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message names the missing library, the remedy, and how to use the CPU."""
    root = machine(tmp_path, 1, 1)
    monkeypatch.setattr(devices, "missing_libraries", lambda: {"libcudnn.so.9": "no such file"})
    with pytest.raises(
        UserError, match=r"sees 0: libcudnn\.so\.9 cannot.*pip install 'tensorflow\[and-cuda\].*CUDA_VIS"
    ):
        devices.check(0, True, root, {})
    with pytest.raises(UserError, match="built without CUDA.*pip install"):
        devices.check(0, False, root, {})
    monkeypatch.setattr(devices, "missing_libraries", lambda: {"libcuda.so.1": "no such file"})
    with pytest.raises(UserError, match="libcuda.so.1 cannot be loaded.*Install the NVIDIA driver"):
        devices.check(0, True, root, {})
    monkeypatch.setattr(devices, "missing_libraries", dict)
    with pytest.raises(UserError, match="supports CUDA 12"):
        devices.check(0, True, root, {})
    devices.check(0, True, root, {"CUDA_VISIBLE_DEVICES": ""})
    devices.check(1, True, root, {})
    with pytest.raises(UserError, match="has 2 visible GPUs, but TensorFlow sees 1"):
        devices.check(1, True, machine(tmp_path / "two", 2, 2), {})


# (strategy, runtime.num_gpus, usable GPUs) -> (used GPUs, part of the line)
CHOICES = {
    ("mirrored", 0, 0): (0, ""),
    ("mirrored", 0, 4): (4, "using 4 of 4 GPUs;"),
    ("mirrored", 1, 4): (1, "3 idle: leave out runtime.num_gpus"),
    ("one_device", 0, 1): (1, "using 1 of 1 GPU;"),
    ("one_device", 0, 4): (1, "3 idle: set runtime.distribution_strategy=mirrored"),
    ("tpu", 0, 4): (0, ""),
}


@pytest.mark.parametrize("case", CHOICES)
def test_how_many_are_used(case: tuple[str, int, int]) -> None:
    """The table above."""
    used, line = devices.choose(*case)
    assert used == CHOICES[case][0]
    assert CHOICES[case][1] in line
    assert bool(line) == bool(CHOICES[case][1])


@pytest.mark.parametrize(("case", "word"), [(("mirrored", 3, 2), "sees 2"), (("one_device", 2, 2), "mirrored")])
def test_more_than_can_be_used(case: tuple[str, int, int], word: str) -> None:
    """More GPUs than there are, and more than one for one_device."""
    with pytest.raises(UserError, match=word):
        devices.choose(*case)


def remedies(findings: list[doctor.Finding]) -> dict[str, str]:
    """{subject: remedy} of the findings that have one."""
    return {finding.subject: finding.remedy for finding in findings if finding.remedy}


def test_packages_against_their_pins() -> None:
    """Too old, missing, right, and one that only an extra asks for."""
    required = ["numpy>=1.26", "tf-keras==2.20.*", "Pillow>=10", 'pytest; extra == "dev"', 'x; python_version < "3"']
    found = doctor.packages(required, {"numpy": "1.25.0", "pillow": "13.0.0"})
    assert [finding.subject for finding in found] == ["numpy", "tf-keras", "Pillow"]
    assert remedies(found).keys() == {"numpy", "tf-keras"}
    assert "'tf-keras==2.20.*'" in remedies(found)["tf-keras"]


def test_packages_for_training_are_checked_if_there_are_any() -> None:
    """A light installation lacks nothing. A full one with an old package does."""
    required = ["numpy>=1.26", 'tf-models-official==2.20.*; extra == "train"', 'scipy>=1.11; extra == "train"']
    assert not remedies(doctor.training(required, {"numpy": "2.0.0"}))
    found = doctor.training(required, {"tf-models-official": "2.20.0", "scipy": "1.10"})
    assert [finding.subject for finding in found] == ["tf-models-official", "scipy"]
    assert remedies(found).keys() == {"scipy"}


def test_keras_that_does_not_fit() -> None:
    """tf_keras of another TensorFlow, and TensorFlow installed twice."""
    good = {"tensorflow": "2.20.0", "tf-keras": "2.20.1", "keras": "3.15.1"}
    assert not remedies(doctor.keras(good, {}))
    assert "Keras 3.15.1" in doctor.keras(good, {})[1].state
    assert "Keras 2" in doctor.keras(good, {"TF_USE_LEGACY_KERAS": "1"})[1].state
    assert "tf-keras==2.20.*" in remedies(doctor.keras(good | {"tf-keras": "2.19.0"}, {}))["tf_keras and TensorFlow"]
    assert "tensorflow-cpu" in remedies(doctor.keras(good | {"tensorflow-cpu": "2.20.0"}, {}))["TensorFlow"]


def test_gpus_of_a_faked_machine(tmp_path: Path) -> None:
    """One GPU in the driver's files, none in TensorFlow, one library that fails."""
    root, lacking = machine(tmp_path, 1, 1), {"libcufft.so.11": "gone"}
    found = doctor.gpus(root, {}, 0, lacking, True)
    assert found[0].state == "driver 1, TensorFlow 0"
    assert "libcufft.so.11" in found[0].remedy and "pip install" in found[0].remedy
    assert found[1] == doctor.Finding("libcufft.so.11", "cannot be loaded: gone")
    assert not remedies(doctor.gpus(root, {}, 1, {}, True))
    asked = doctor.gpus(root, {"CUDA_VISIBLE_DEVICES": ""}, 0, lacking, True)
    assert len(asked) == 1 and not remedies(asked) and "leaves 0" in asked[0].state


def test_room() -> None:
    """Less than a run's checkpoints, less than a model."""
    found = doctor.room({"/full": 10**9, "/empty": 10**12}, 10**9)
    assert remedies(found).keys() == {"disk at /full", "memory"}
    assert 10**7 < doctor.free_memory() < 10**14


def test_the_report_says_what_to_fix() -> None:
    """Remedies are printed below what they fix, and are counted."""
    lines = doctor.report([doctor.Finding("a", "1"), doctor.Finding("bb", "2", "do this")]).splitlines()
    assert [line.split() for line in lines] == [
        ["ok", "a", "1"], ["FIX", "bb", "2"], ["->", "do", "this"], ["1", "problem", "to", "fix"]
    ]  # fmt: skip


@pytest.mark.parametrize(("bad", "code"), [(False, 0), (True, 1)])
def test_the_exit_code(bad: bool, code: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """0: fine; 1: there is something to fix."""
    monkeypatch.setattr(doctor, "examine", lambda folder: [doctor.Finding(folder, "found", "fix" if bad else "")])
    assert doctor.main(["--folder=here"]) == code


def test_the_doctor_as_a_process() -> None:
    """It reports every section, even if TensorFlow cannot be imported."""
    code = "import sys; sys.modules['tensorflow'] = None; from must_tf.cli import doctor; sys.exit(doctor.main([]))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1, done.stderr
    for word in (
        "Python",
        "tf-models-official",
        "tf_keras and TensorFlow",
        "FIX  TensorFlow starts",
        "disk at",
        "memory",
    ):
        assert word in done.stdout


@pytest.mark.parametrize(
    ("contents", "expected"),
    [
        ({"cpu.max": "max 100000\n"}, 16),
        ({"cpu.max": "400000 100000\n"}, 4),
        ({"cpu.max": "250000 100000\n"}, 3),  # two and a half
        ({"cpu.max": "20000 100000\n"}, 1),  # a fifth
        ({"cpu.max": "9900000 100000\n"}, 16),  # more than there are
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, 16),
        ({"cpu/cpu.cfs_quota_us": "200000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 2),
        ({}, 16),
    ],
)
def test_the_cores_of_a_container(
    contents: dict[str, str], expected: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a machine with 16 cores. The files of both versions of cgroups, and none."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(16)), raising=False)
    for name, text in contents.items():
        path = tmp_path / "sys/fs/cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    assert devices.cores(str(tmp_path)) == expected


@pytest.mark.parametrize(
    ("own", "contents", "expected"),
    [
        ("0::/user/job/step\n", {"user/job/cpu.max": "400000 100000\n", "user/cpu.max": "800000 100000\n"}, 4),
        ("0::/user/job/step\n", {"user/job/step/cpu.max": "300000 100000\n", "cpu.max": "max 100000\n"}, 3),
        ("0::/user/job/step\n", {"user/other/cpu.max": "200000 100000\n"}, 16),
        (
            "2:cpu,cpuacct:/job\n1:name=systemd:/other\n",
            {"cpu/job/cpu.cfs_quota_us": "200000\n", "cpu/job/cpu.cfs_period_us": "100000\n"},
            2,
        ),
        ("0::/../..\n", {}, 16),
        ("0::/docker/abc\n", {"cpu.max": "500000 100000\n"}, 5),  # a container that sees only its own group, as the top
    ],
)
def test_the_cores_of_a_job(
    own: str, contents: dict[str, str], expected: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A batch system or a service limits a group further down, or one above this process's own: all limits hold."""
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/cgroup").write_text(own)
    test_the_cores_of_a_container(contents, expected, tmp_path, monkeypatch)
