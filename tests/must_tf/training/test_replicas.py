"""One replica, two, and two processes over loopback take the same step on the same global batch, with labels that lie
unevenly and with synchronised batch normalisation."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.support.replicas import IMAGES
from tests.support.tiny import ALL, scene_record, write_config, write_set

# Which tasks each image is labelled for: no replica has as many labels of a task as the other.
LABELLED = (ALL, ("depth", "classification"), (), ("segmentation", "detection", "masks", "normals"))
# float32 through some thirty normalisations whose sums are added in another order. Measured: 2e-5 for two replicas and
# 8e-4 for two processes (which share the images out otherwise); batch normalisation per replica gives 0.97.
TOLERANCE = 3e-3
SMALL = 1e-4  # of the whole gradient: variables with less are rounding alone, as are biases before a normalisation


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("replicas")
    write_config(made / "tiny.yaml")
    assert len(LABELLED) == IMAGES
    write_set(made / "records", [[scene_record(index, tasks) for index, tasks in enumerate(LABELLED)]])
    return made


def started(folder: Path, kind: str, name: str, tf_config: dict | None = None) -> subprocess.Popen:
    """The step in a process of its own; what it gives is in `name`.npz."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    if tf_config:
        environment["TF_CONFIG"] = json.dumps(tf_config)
    command = [sys.executable, "-W", "ignore", "-m", "tests.support.replicas", kind, str(folder / f"{name}.npz")]
    words = [*command, str(folder / "records" / "*.tfrecord"), str(folder / "tiny.yaml")]
    return subprocess.Popen(words, env=environment, stderr=subprocess.PIPE, text=True)


def finished(process: subprocess.Popen, path: Path) -> dict[str, np.ndarray]:
    """Its gradients."""
    _, errors = process.communicate(timeout=600)
    assert process.returncode == 0, errors[-3000:]
    return dict(np.load(path))


@pytest.fixture(scope="module")
def alone(folder: Path) -> dict[str, np.ndarray]:
    return finished(started(folder, "one", "one"), folder / "one.npz")


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("localhost", 0))
        return found.getsockname()[1]


def difference(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> float:
    """||a - b|| / ||a|| over all variables."""
    assert one.keys() == other.keys()
    parts = [np.linalg.norm(one[name] - other[name]) for name in one]
    return float(np.linalg.norm(parts) / np.linalg.norm([np.linalg.norm(value) for value in one.values()]))


def worst(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> float:
    """The same of the variable that differs most, among those whose gradient is more than rounding."""
    whole = np.linalg.norm([np.linalg.norm(value) for value in one.values()])
    return max(
        float(np.linalg.norm(one[name] - other[name]) / np.linalg.norm(one[name]))
        for name in one
        if np.linalg.norm(one[name]) > SMALL * whole
    )


def test_two_replicas(folder: Path, alone: dict[str, np.ndarray]) -> None:
    two = finished(started(folder, "two", "two"), folder / "two.npz")
    assert difference(alone, two) < TOLERANCE
    assert worst(alone, two) < 10 * TOLERANCE


def test_two_processes(folder: Path, alone: dict[str, np.ndarray]) -> None:
    cluster = {"worker": [f"localhost:{free_port()}", f"localhost:{free_port()}"]}
    configs = [{"cluster": cluster, "task": {"type": "worker", "index": index}} for index in range(2)]
    workers = [started(folder, "worker", f"worker-{i}", each) for i, each in enumerate(configs)]
    first, second = (finished(each, folder / f"worker-{i}.npz") for i, each in enumerate(workers))
    assert difference(alone, first) < TOLERANCE
    assert worst(alone, first) < 10 * TOLERANCE
    for name in first:  # both processes hold the same weights afterwards, or they would drift apart
        np.testing.assert_array_equal(first[name], second[name], err_msg=name)
