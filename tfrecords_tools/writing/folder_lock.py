"""One command at a time writes into a folder, or several that each do another part of the same work.

    DIR/.lock           {"host": ..., "pid": ..., "token": ..., "since": ...} of the command at work
    DIR/.lock-2-of-8    of the one that does this part; each is removed when its command ends

On a local disk the system holds the lock and lets go of it however the process ends, so that none is ever stale. On
storage without locks (gs://) the file alone counts: it is stale once no process of its host has its id, or this one has
it without the token: containers that start again have the same host and ids. Of two commands that find no file and
write it at the same time, the later one's stays, and the other gives way to it.
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

from must_tf.common import files
from must_tf.common.errors import UserError

NAME = ".lock"
TURN = ".turn"
TOKEN = secrets.token_hex(8)  # this process', whose id alone may have been another's
SETTLE_SECONDS = 1.0  # from writing the file to reading it again; longer than from looking for it to writing it
RETRIES, PAUSE_SECONDS = 5, 0.1  # of a shared lock: who lets go of one looks for a moment whether it was the last


@contextlib.contextmanager
def held(directory: str, part: str = "") -> Iterator[None]:
    """Makes the folder and holds it for this process.

    Args:
      directory: the folder.
      part: like "2-of-8": holds this part alone, while other processes may hold others; empty: the whole folder.

    Raises:
      UserError: another command holds it, or it cannot be written.
    """
    with contextlib.ExitStack() as stack:
        try:
            tf.io.gfile.makedirs(directory)
            _acquire(stack, os.path.join(directory, NAME), part)
        except (tf.errors.OpError, OSError) as error:
            raise UserError(f"cannot write in {directory} ({error}). Give another --out.") from None
        yield


def _acquire(stack: contextlib.ExitStack, path: str, part: str) -> None:
    take = _take_remote if "://" in path else _take_local
    for acquired in take(path, part):
        stack.enter_context(acquired)
    for left in [] if part else files.matching(os.path.dirname(path), f"{os.path.basename(path)}-*"):
        tf.io.gfile.remove(left)  # of parts whose processes were killed


def _take_local(path: str, part: str) -> Iterator[contextlib.AbstractContextManager[None]]:
    """The folder's lock, shared with those of other parts where there are parts, and the part's."""
    yield _local(path, fcntl.LOCK_SH if part else fcntl.LOCK_EX)
    if part:
        yield _local(f"{path}-{part}", fcntl.LOCK_EX)


def _take_remote(path: str, part: str) -> Iterator[contextlib.AbstractContextManager[None]]:
    """The one file that is this process', when no other stands in its way."""
    for other in [path] if part else files.matching(os.path.dirname(path), f"{os.path.basename(path)}-*"):
        if tf.io.gfile.exists(other) and not _is_stale(owner := _read(other)):
            raise _busy(other, owner)
    yield _remote(f"{path}-{part}" if part else path)


@contextlib.contextmanager
def turn(directory: str) -> Iterator[None]:
    """Waits until no other process has its turn in this folder, for what takes a moment.

    Storage without locks knows no turns: whoever writes there at the same time as others looks again afterwards; it
    has settled by the end of the block.
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
            owner = os.pread(descriptor, 1000, 0).decode()
            os.close(descriptor)
            raise _busy(path, owner)
        if waits:
            fcntl.flock(descriptor, kind)
        if _is_at(path, descriptor):
            break
        os.close(descriptor)  # its last holder removed it in between
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
        if _locked(descriptor, fcntl.LOCK_EX):  # else others share it, and the last one removes it
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
    """The file's text; empty where its holder has removed it meanwhile."""
    try:
        with tf.io.gfile.GFile(path) as file:
            return file.read()
    except tf.errors.NotFoundError:
        return ""


def _content(owner: str) -> dict[str, Any]:
    """What the file says; nothing where it was cut off while it was written."""
    try:
        found = json.loads(owner)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


@contextlib.contextmanager
def _removing(path: str) -> Iterator[None]:
    try:
        yield
    finally:
        if _content(_read(path)).get("token") == TOKEN:  # else a user removed it, and another command may have its own
            tf.io.gfile.remove(path)


def _me() -> str:
    since = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime())
    return json.dumps({"host": socket.gethostname(), "pid": os.getpid(), "token": TOKEN, "since": since})


def _is_stale(owner: str) -> bool:
    """Whether the process that wrote this is gone for sure."""
    found = _content(owner)
    if not {"host", "pid"} <= found.keys():
        return True
    if found["host"] != socket.gethostname():
        return False
    if found["pid"] == os.getpid():
        return found.get("token") != TOKEN
    try:
        os.kill(found["pid"], 0)
    except ProcessLookupError:
        return True
    except PermissionError:  # it lives, and is another user's
        return False
    return False


def _busy(path: str, owner: str) -> UserError:
    found = _content(owner)
    who = f"process {found['pid']} on {found['host']}" if {"host", "pid"} <= found.keys() else "another process"
    since = f" since {found['since']}" if "since" in found else ""
    return UserError(
        f"{os.path.dirname(path)} is being written by {who}{since}. Wait for it, or give another --out; "
        f"if you are sure that it has ended, remove {path}."
    )
