"""Imports the libraries once and forks a process for each command of `forked_python.py`.

It runs as a program of its own until its standard input ends. It imports nothing of this project, so a child is like a
new process, except that its imports are fast. TensorFlow can be forked until its first operation starts its threads.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import runpy
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
import types
import warnings
from collections.abc import Iterator
from typing import NamedTuple

PLAIN_GRAPHS = "MUST_TESTS_PLAIN_GRAPHS"  # environment variable: if it is set, TensorFlow does not optimise graphs
LIBRARIES = (
    "tensorflow",
    "tf_keras",
    "cv2",
    "scipy.ndimage",
    "PIL.Image",
    "pycocotools.cocoeval",
    "faster_coco_eval",
    "sklearn.metrics",
    "official.core.train_lib",
    "official.vision.registry_imports",
)


class Command(NamedTuple):
    """A command line of Python, and the process that it runs in."""

    arguments: list[str]
    environment: dict[str, str]
    folder: str


class Child(NamedTuple):
    """A forked process."""

    pid: int
    ending: int  # file descriptor that is readable once the process has ended
    connection: socket.socket  # to the process that asked for it; readable once that has ended


@contextlib.contextmanager
def running(address: str) -> Iterator[None]:
    """Runs a server and sets the environment variable `address` to its socket, unless it is set already."""
    if address in os.environ or sys.platform != "linux":
        yield
        return
    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX) as listener:
        os.environ[address] = os.path.join(folder, "socket")
        listener.bind(os.environ[address])
        listener.listen()
        words = [sys.executable, os.path.abspath(__file__), str(listener.fileno())]
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        server = subprocess.Popen(words, env=environment, stdin=subprocess.PIPE, pass_fds=[listener.fileno()])
        try:
            yield
        finally:
            del os.environ[address]
            server.communicate()


def preload() -> None:
    """Imports the libraries like the project's commands, with Keras 2 only and without TensorFlow's log."""
    os.environ |= {"TF_USE_LEGACY_KERAS": "1", "TF_CPP_MIN_LOG_LEVEL": "3"}
    gc.disable()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in LIBRARIES:
            importlib.import_module(name)
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)
    gc.enable()


def serve(listener: socket.socket) -> Command | None:
    """Forks for each command. Returns the command in the child; returns None in the server when its input has ended."""
    events = selectors.DefaultSelector()
    for source in (sys.stdin, listener):
        events.register(source, selectors.EVENT_READ)
    while True:
        for key, _ in events.select():
            if key.fileobj is sys.stdin:
                return None
            if isinstance(key.data, Child):
                report(key.data, events)
                continue
            connection, _ = listener.accept()
            if command := forked(connection, events):
                events.close()
                return command


def forked(connection: socket.socket, events: selectors.BaseSelector) -> Command | None:
    """Forks. Returns the command in the child, whose environment, folder and standard files are then the command's."""
    files = socket.recv_fds(connection, 1, 3)[1]
    with connection.makefile("r", encoding="utf-8") as lines:
        command = Command(**json.loads(lines.readline()))
    if "tensorflow" not in sys.modules:
        preload()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of Python 3.12, about the allocator's idle thread
        pid = os.fork()
    for number, file in enumerate(files):
        if pid == 0:
            os.dup2(file, number)
        os.close(file)
    if pid == 0:
        os.environ.clear()
        os.environ.update(command.environment)
        os.chdir(command.folder)
        importlib.import_module("numpy").random.seed()  # draws other numbers than its siblings, like a new process
        return command
    child = Child(pid, os.pidfd_open(pid), connection)
    for source in (child.ending, child.connection):
        events.register(source, selectors.EVENT_READ, child)
    return None


def report(child: Child, events: selectors.BaseSelector) -> None:
    """Sends the exit code of a child that has ended, or whose command was killed and which is killed too."""
    if child.connection.fileno() < 0:
        return  # both events came at once
    signal.pidfd_send_signal(child.ending, signal.SIGKILL)  # no effect if it has ended
    code = os.waitstatus_to_exitcode(os.waitpid(child.pid, 0)[1])
    with contextlib.suppress(OSError):
        child.connection.sendall(str(code).encode())
    for source in (child.ending, child.connection):
        events.unregister(source)
    os.close(child.ending)
    child.connection.close()


def execute(arguments: list[str]) -> None:
    """Does what `python *arguments` does: -u, -W, then -c, -m or a file."""
    if PLAIN_GRAPHS in os.environ:
        sys.modules["tensorflow"].config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
    if arguments[0] == "-u":
        sys.stdout.reconfigure(write_through=True)  # type: ignore[union-attr]
        del arguments[0]
    while arguments[0] == "-W":
        warnings.simplefilter(arguments[1])  # type: ignore[arg-type]
        arguments = arguments[2:]
    kind, *rest = arguments
    first = {"-c": "", "-m": os.getcwd()}.get(kind, os.path.dirname(os.path.abspath(kind)))
    sys.path[:0] = [first, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    if kind == "-c":
        sys.argv = ["-c", *rest[1:]]
        sys.modules["__main__"] = types.ModuleType("__main__")
        exec(compile(rest[0], "<string>", "exec"), vars(sys.modules["__main__"]))
    elif kind == "-m":
        sys.argv = rest
        runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
    else:
        sys.argv = arguments
        runpy.run_path(kind, run_name="__main__")


if __name__ == "__main__":
    del sys.path[0]  # this file's folder
    if given := serve(socket.socket(fileno=int(sys.argv[1]))):
        execute(given.arguments)
