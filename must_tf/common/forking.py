"""Forks of a process that has imported TensorFlow and Model Garden: a training begins without waiting for the imports.

They take four seconds of processor time and more, for each step of a plan and for each of a hundred short transfers. A
fork is like a new process in everything else, as long as TensorFlow has not started its threads before.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import os
import shutil
import signal
import sys
import warnings
from types import FrameType

from must_tf.common import interrupts, process_setup, startup_times, subprocesses, tensorflow_log

EACH_LINE = "--fork_each_line"  # the option of `must` for a process that forks
COMMANDS = {"train": "must_tf.cli.train", "export": "must_tf.cli.export"}  # -> module; those that keep TensorFlow's log
IS_POSSIBLE = sys.platform == "linux"  # on macOS, the system's own libraries have threads that a fork lacks


def prepare() -> None:
    """Imports what the commands need. If a package is missing, the process ends with one line and exit code 2."""
    with tensorflow_log.kept_back():
        process_setup.prepare()
        with process_setup.importing():
            for module in COMMANDS.values():
                importlib.import_module(module)


class Fork:
    """Forks. Both processes go on behind it.

    Attributes:
      is_child: whether this process is the new one. It ends soon after its parent, reads nothing from stdin, and draws
        other random numbers than the forks before.
      is_told: whether the parent was told to end, and has passed that on.
    """

    def __init__(self) -> None:
        self._parent, self._pid = os.getpid(), 0
        self.is_told = False
        for number in interrupts.BOTH:
            if signal.getsignal(number) not in interrupts.LEFT_ALONE:
                signal.signal(number, self._told)
        # Without garbage the child does not write to the memory that it shares with its parent.
        gc.collect()
        gc.freeze()
        with warnings.catch_warnings(), interrupts.postponed():
            warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 warns of threads; here they only sleep
            self._pid = os.fork()
        self.is_child = not self._pid
        if self.is_child:
            self._begin()

    def _begin(self) -> None:
        os.environ[subprocesses.PARENT] = str(self._parent)
        with open(os.devnull) as nothing:
            os.dup2(nothing.fileno(), sys.stdin.fileno())
        atexit.unregister(shutil.rmtree)  # such as matplotlib's temporary folder: other forks need it
        importlib.import_module("numpy").random.seed()
        startup_times.restart()

    def _told(self, number: int, frame: FrameType | None) -> None:
        """Passes SIGTERM on to the child, which cleans up first. A terminal sends Ctrl-C to all processes itself."""
        if not self._pid or os.getpid() != self._parent:
            interrupts.end_at_once(number, frame)
        elif number == signal.SIGTERM:
            self.is_told = True
            with contextlib.suppress(ProcessLookupError):  # it has ended, and `wait` is about to say so
                os.kill(self._pid, number)

    def wait(self) -> int:
        """Returns the child's exit code, or minus the number of the signal that killed it."""
        code = os.waitstatus_to_exitcode(os.waitpid(self._pid, 0)[1])
        self._pid = 0
        return code
