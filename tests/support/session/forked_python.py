"""A Python interpreter for tests that has imported TensorFlow already: `[*INTERPRETER, "-c", code]` and the like.

Importing TensorFlow and Model Garden takes many seconds of processor time, and dozens of tests need a process of their
own. `fork_server.py` imports them once per test session, and forks a child for each process. The workers of
pytest-xdist are such children, too.

`INTERPRETER` runs this file in a bare interpreter that starts in milliseconds. It hands its arguments, environment,
folder, stdin, stdout and stderr to the server, and ends as the child ends. If it is killed, the server kills the child
a moment later. Use `sys.executable` in tests that are about the start of a process, or that kill it or read its id.
"""

from __future__ import annotations

import json
import os
import socket
import sys

ADDRESS = "MUST_TESTS_FORK_SERVER"  # environment variable: the path of the server's socket
INTERPRETER = (sys.executable, "-I", "-S", __file__) if sys.platform == "linux" else (sys.executable,)


def main() -> None:
    """Runs a command as a child of the server and ends with its exit code or by its signal."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(os.environ[ADDRESS])
        request = {"arguments": sys.argv[1:], "environment": dict(os.environ), "folder": os.getcwd()}
        socket.send_fds(connection, [b"\n"], [0, 1, 2])
        connection.sendall(json.dumps(request).encode() + b"\n")
        code = int(connection.recv(16))
    if code < 0:
        os.kill(os.getpid(), -code)
    os._exit(code)


if __name__ == "__main__":
    main()
