"""Locks a folder for one command, or for several commands that each write a different part.

    DIR/.lock           {"host": ..., "pid": ..., "token": ..., "since": ...} of the running command
    DIR/.lock-2-of-8    the same for the command that writes this part; removed when the command ends

On a local disk the operating system holds the lock and releases it however the process ends, so it is never stale.
On storage without locks (gs://) only the file counts. It is stale if its pid is not running on its host, or is ours
with another token (restarted containers reuse host names and pids). If two commands find no file and write it at the
same time, the later file stays and the other command gives up.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import secrets
import socket
import time
from collections.abc import Iterator
from typing import Any

import tensorflow as tf

from must_tf.common import files, held_folders
from must_tf.common.errors import UserError

NAME = ".lock"
TURN = ".turn"
TOKEN = secrets.token_hex(8)  # of this process; its pid may have belonged to another one
SETTLE_SECONDS = 1.0  # between writing the file and reading it again; longer than between looking for it and writing
RETRIES, PAUSE_SECONDS = 5, 0.1  # for a shared lock: on release, a holder briefly checks if it was the last


@contextlib.contextmanager
def held(directory: str, part: str = "", option: str = "--out") -> Iterator[None]:
    """Creates the folder and locks it for this process. A folder that is still empty at the end is removed again.

    Args:
      directory: the folder.
      part: like "2-of-8", to lock only this part while other processes lock others; empty for the whole folder.
      option: that named the folder, for messages.

    Raises:
      UserError: another command has locked it, it is not writable, or it vanished meanwhile.
    """
    missing = _missing(directory)
    try:
        with contextlib.ExitStack() as stack:
            try:
                tf.io.gfile.makedirs(directory)
                _acquire(stack, os.path.join(directory, NAME), part)
            except (tf.errors.OpError, OSError) as error:
                raise UserError(f"cannot write to {directory} ({error}). Give another {option}.") from None
            except Busy as busy:
                raise UserError(str(busy).replace("--out", option)) from None
            with _staying(directory, part):
                yield
    finally:
        for folder in missing:
            with contextlib.suppress(OSError):  # it is not empty
                os.rmdir(folder)


@contextlib.contextmanager
def held_beside(directory: str, option: str = "--out") -> Iterator[None]:
    """Locks a folder that must appear as a whole: by a folder beside it, which is removed again.

    Raises:
      UserError: as `held`.
    """
    beside = directory.rstrip("/") + NAME
    try:
        with held(beside, option=option):
            yield
    finally:
        with contextlib.suppress(OSError):  # another command holds it, or it is remote
            os.rmdir(beside)  # also if a killed command had made it


@contextlib.contextmanager
def _staying(directory: str, part: str) -> Iterator[None]:
    """Explains an error that comes from the folder's disappearance.

    Raises:
      UserError: the folder is gone, or another one stands in its place, which lacks what was written before.
    """
    path, before = _path(os.path.join(directory, NAME), part), held_folders.identity(directory)
    try:
        with held_folders.held(directory):
            yield
    except Exception as error:
        if tf.io.gfile.exists(path):
            raise
        raise held_folders.gone(directory) from error
    if held_folders.identity(directory) != before:
        raise held_folders.gone(directory)


def is_part_of_lock(name: str) -> bool:
    """Returns True for the names of lock files."""
    return name == TURN or name.startswith(NAME)


def _missing(directory: str) -> list[str]:
    """Returns the folder and its parents that do not exist, the innermost first; none for remote storage."""
    found = []
    path = os.path.abspath(directory)
    while "://" not in directory and not os.path.exists(path):
        found.append(path)
        path = os.path.dirname(path)
    return found


class Busy(UserError):
    """Another process holds the lock."""


def _acquire(stack: contextlib.ExitStack, path: str, part: str) -> None:
    take = _take_remote if "://" in path else _take_local
    for acquired in take(path, part):
        stack.enter_context(acquired)
    for stale in [] if part else files.matching(os.path.dirname(path), f"{os.path.basename(path)}-*"):
        tf.io.gfile.remove(stale)  # left by processes that were killed


def _take_local(path: str, part: str) -> Iterator[contextlib.AbstractContextManager[None]]:
    """Yields the folder's lock, shared if there are parts, and then the part's lock."""
    yield _local(path, fcntl.LOCK_SH if part else fcntl.LOCK_EX)
    if part:
        yield _local(_path(path, part), fcntl.LOCK_EX)


def _take_remote(path: str, part: str) -> Iterator[contextlib.AbstractContextManager[None]]:
    """Yields the lock of this process, unless a conflicting one exists.

    Looks again once its own file has settled: a command for the folder and one for a part may begin at the same time.
    Then both give up.
    """
    _refuse_conflicting(path, part)
    yield _remote(_path(path, part))
    _refuse_conflicting(path, part)


def _path(path: str, part: str) -> str:
    return f"{path}-{part}" if part else path


def _refuse_conflicting(path: str, part: str) -> None:
    """Raises Busy if a part is locked and this process wants the whole folder, or the other way round."""
    for other in [path] if part else files.matching(os.path.dirname(path), f"{os.path.basename(path)}-*"):
        if tf.io.gfile.exists(other) and not _is_stale(owner := _read(other)):
            raise _busy(other, owner)


@contextlib.contextmanager
def turn(directory: str) -> Iterator[None]:
    """Waits for exclusive access to the folder, for work that takes a moment.

    Storage without locks cannot give exclusive access: callers must check the result after the block, when concurrent
    writes have settled.
    """
    if "://" in directory:
        yield
        time.sleep(SETTLE_SECONDS)
        return
    with _local(os.path.join(directory, TURN), fcntl.LOCK_EX, waits=True):
        yield


def _local(path: str, kind: int, waits: bool = False) -> contextlib.AbstractContextManager[None]:
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        if not (waits or _locked(descriptor, kind)):
            owner = os.pread(descriptor, 1000, 0).decode(errors="replace")
            os.close(descriptor)
            raise _busy(path, owner)
        if waits:
            fcntl.flock(descriptor, kind)
        if _is_at(path, descriptor):
            break
        os.close(descriptor)  # its last holder removed it in the meantime
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, _me().encode(), 0)
    return _releasing(path, descriptor)


def _is_at(path: str, descriptor: int) -> bool:
    with contextlib.suppress(FileNotFoundError):
        return os.fstat(descriptor).st_ino == os.stat(path).st_ino
    return False


def _locked(descriptor: int, kind: int) -> bool:
    for attempt in range(RETRIES if kind == fcntl.LOCK_SH else 1):
        time.sleep(PAUSE_SECONDS if attempt else 0)
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
            return True
    return False


@contextlib.contextmanager
def _releasing(path: str, descriptor: int) -> Iterator[None]:
    try:
        yield
    finally:
        if _locked(descriptor, fcntl.LOCK_EX):  # otherwise others share it, and the last one removes it
            with contextlib.suppress(FileNotFoundError):  # a user removed it
                os.unlink(path)
        os.close(descriptor)


def _remote(path: str) -> contextlib.AbstractContextManager[None]:
    if tf.io.gfile.exists(path) and not _is_stale(owner := _read(path)):
        raise _busy(path, owner)
    files.write_whole(path, _me().encode())
    time.sleep(SETTLE_SECONDS)
    owner = _read(path)
    if _content(owner).get("token") != TOKEN:
        raise _busy(path, owner)
    return _removing(path)


def _read(path: str) -> str:
    """Returns the file's text; empty if its holder has removed it in the meantime."""
    try:
        with tf.io.gfile.GFile(path) as file:
            return file.read()
    except tf.errors.NotFoundError:
        return ""


def _content(owner: str) -> dict[str, Any]:
    """Parses a lock file; returns an empty dict if it is incomplete."""
    try:
        content = json.loads(owner)
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}


@contextlib.contextmanager
def _removing(path: str) -> Iterator[None]:
    try:
        yield
    finally:
        # Otherwise a user removed it, and another command may have its own.
        if _content(_read(path)).get("token") == TOKEN:
            tf.io.gfile.remove(path)


def _me() -> str:
    since = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime())
    return json.dumps({"host": socket.gethostname(), "pid": os.getpid(), "token": TOKEN, "since": since})


def _is_stale(owner: str) -> bool:
    """Returns True if the process that wrote the lock file has certainly ended."""
    content = _content(owner)
    if not {"host", "pid"} <= content.keys() or not _is_pid(content["pid"]):
        return True
    if content["host"] != socket.gethostname():
        return False
    if content["pid"] == os.getpid():
        return content.get("token") != TOKEN
    try:
        os.kill(content["pid"], 0)
    except ProcessLookupError:
        return True
    except PermissionError:  # it is running, as another user
        return False
    return False


def _is_pid(number: Any) -> bool:
    """Returns False for what no process can have written. 0 would stand for this process and its group."""
    return type(number) is int and 0 < number < 1 << 31


def _busy(path: str, owner: str) -> Busy:
    content = _content(owner)
    writer = (
        f"process {content['pid']} on {content['host']}" if {"host", "pid"} <= content.keys() else "another process"
    )
    since = f" since {content['since']}" if "since" in content else ""
    return Busy(
        f"{os.path.dirname(path)} is being written by {writer}{since}. Wait for it or give another --out; "
        f"if you are sure that it has ended, remove {path}."
    )
