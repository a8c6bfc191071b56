"""What the processes of a training exchange, and how they end if one of them is gone."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Sequence

import pytest
import tensorflow as tf

from must_tf.common import cluster
from must_tf.common.errors import UserError, exit_on_user_error
from tests.must_tf.training.test_replicas import free_port
from tests.support.session.forked_python import INTERPRETER

CONTENT = (b"", bytes(range(256)) * 40, b"three")  # of each process


def place(kind: str, index: int, **jobs: int) -> str:
    """A TF_CONFIG."""
    return json.dumps({"cluster": {k: ["host:1"] * n for k, n in jobs.items()}, "task": {"type": kind, "index": index}})


def started(addresses: Sequence[str], index: int) -> subprocess.Popen:
    """Starts one of several processes, see `exchange`."""
    config = {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}}
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "TF_CONFIG": json.dumps(config)}
    command = [*INTERPRETER, "-W", "ignore", "-m", "tests.must_tf.common.test_cluster"]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_one_process_has_its_own_content() -> None:
    assert cluster.processes() == 1 and cluster.gathered(b"a") == [b"a"]
    assert cluster.as_first_says(lambda: "go on") == "go on"


def test_processes_exchange_and_notice_a_loss() -> None:
    """The last one is killed while the others wait for it."""
    ports = [f"localhost:{free_port()}" for _ in CONTENT]
    processes = [started(ports, index) for index in range(len(CONTENT))]
    ended = [process.communicate(timeout=300) for process in processes]
    for index, (out, errors) in enumerate(ended):
        assert out.split() == [str(index), "of", "3:", "first"], errors[-3000:]
    for process, (_, errors) in list(zip(processes, ended, strict=True))[:-1]:
        assert process.returncode == 2
        assert "Traceback" not in errors
        assert "of this training has ended, or cannot be reached any longer; its own output says why. Run" in errors


def test_a_process_that_does_not_start_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once the others are there, waiting ends, also if TensorFlow has taken the place of one."""
    addresses = [f"localhost:{free_port()}" for _ in range(3)]
    config = {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": 1}}
    monkeypatch.setenv("TF_CONFIG", json.dumps(config))
    monkeypatch.setattr(cluster, "START_SECONDS", 0.5)
    with socket.create_server(("localhost", int(addresses[0].split(":")[1]))):
        said = (
            rf"waited 0.5 s for the other processes of TF_CONFIG, and cannot reach worker 2 \({addresses[2]}\)\. Start"
        )
        with pytest.raises(UserError, match=said):
            cluster.assemble()
        monkeypatch.setattr(cluster, "START_SECONDS", 60)
        late: list[socket.socket] = []
        there = ("localhost", int(addresses[2].split(":")[1]))
        threading.Timer(0.5, lambda: late.append(socket.create_server(there))).start()
        cluster.assemble()
        late[0].close()
        with socket.create_server(("localhost", int(addresses[1].split(":")[1]))), pytest.raises(UserError) as refused:
            cluster.assemble()
        assert f"gives this process, worker 1, the address '{addresses[1]}', but it cannot listen" in str(refused.value)


@pytest.mark.parametrize("config", ["", "{", "[]", '{"cluster": {"worker": 3}}', place("evaluator", 0, worker=2)])
def test_processes_of_no_cluster_do_not_wait(monkeypatch: pytest.MonkeyPatch, config: str) -> None:
    monkeypatch.setenv("TF_CONFIG", config)
    monkeypatch.setattr(cluster, "START_SECONDS", 0)
    cluster.assemble()


def exchange() -> None:
    """One of the processes."""
    cluster.assemble()
    with cluster.naming_lost(), tf.distribute.MultiWorkerMirroredStrategy().scope():
        index = json.loads(os.environ["TF_CONFIG"])["task"]["index"]
        assert cluster.gathered(CONTENT[index]) == list(CONTENT)
        assert cluster.as_first_says(lambda: "") == ""
        print(f"{index} of {cluster.processes()}: {cluster.as_first_says(lambda: ['first', 'second', 'third'][index])}")
        sys.stdout.flush()
        if index == len(CONTENT) - 1:
            os.kill(os.getpid(), signal.SIGKILL)
        cluster.gathered(b"no answer")


@pytest.mark.parametrize(
    ("message", "named"),
    [
        ("[[/job:worker/replica:0/task:0/device:CPU:0]] reported from /job:worker/task:1: crashed", "worker 1"),
        ("/job:worker/replica:0/task:0: /job:chief/replica:0/task:0 is unhealthy", "chief 0"),
    ],
)
def test_the_lost_process_is_named(monkeypatch: pytest.MonkeyPatch, message: str, named: str) -> None:
    error = tf.errors.UnavailableError(None, None, message)
    with pytest.raises(tf.errors.UnavailableError), cluster.naming_lost():
        raise error
    monkeypatch.setenv("TF_CONFIG", place("worker", 0, worker=2, chief=1))
    with pytest.raises(UserError, match=f"the process {named} of this training"), cluster.naming_lost():
        raise error
    with pytest.raises(UserError, match="^another process"), cluster.naming_lost():
        raise tf.errors.DeadlineExceededError(None, None, "Barrier timed out")


@pytest.mark.parametrize(
    ("config", "is_first"),
    [
        ("", True),
        (place("worker", 0, worker=2), True),
        (place("worker", 1, worker=2), False),
        (place("worker", 0, worker=2, chief=1), False),
        (place("chief", 0, worker=2, chief=1), True),
    ],
)
def test_the_first_process_writes(monkeypatch: pytest.MonkeyPatch, config: str, is_first: bool) -> None:
    monkeypatch.setenv("TF_CONFIG", config)
    assert cluster.is_first() is is_first


if __name__ == "__main__":
    sys.exit(exit_on_user_error(exchange))
