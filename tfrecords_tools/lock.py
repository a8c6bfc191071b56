"""One command at a time writes into a folder.

    DIR/.lock    {"host": ..., "pid": ...} of the command at work; removed when it ends

On a local disk the system holds the lock and lets go of it however the process ends, so that none is ever stale. On
storage without locks (gs://) the file alone counts: it is stale once no process of its host has its id.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import socket
from collections.abc import Iterator

import tensorflow as tf

from must_tf import files
from must_tf.errors import UserError

NAME = ".lock"


@contextlib.contextmanager
def held(directory: str) -> Iterator[None]:
    """Makes the folder and holds it for this process.

    Raises:
      UserError: another command holds it, or it cannot be written.
    """
    path = os.path.join(directory, NAME)
    try:
        tf.io.gfile.makedirs(directory)
        acquired = _remote(path) if "://" in directory else _local(path)
    except (tf.errors.OpError, OSError) as error:
        raise UserError(f"cannot write in {directory} ({error}). Give another --out.") from None
    with acquired:
        yield


def _local(path: str) -> contextlib.AbstractContextManager[None]:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        owner = os.pread(descriptor, 1000, 0).decode()
        os.close(descriptor)
        raise _busy(path, owner) from None
    if not os.path.exists(path) or os.fstat(descriptor).st_ino != os.stat(path).st_ino:
        os.close(descriptor)  # its last holder removed it in between
        return _local(path)
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, _me().encode(), 0)
    return _releasing(path, descriptor)


@contextlib.contextmanager
def _releasing(path: str, descriptor: int) -> Iterator[None]:
    try:
        yield
    finally:
        os.unlink(path)
        os.close(descriptor)


def _remote(path: str) -> contextlib.AbstractContextManager[None]:
    if tf.io.gfile.exists(path):
        with tf.io.gfile.GFile(path) as file:
            owner = file.read()
        if not _is_stale(owner):
            raise _busy(path, owner)
    files.write_whole(path, _me().encode())
    return _removing(path)


@contextlib.contextmanager
def _removing(path: str) -> Iterator[None]:
    try:
        yield
    finally:
        tf.io.gfile.remove(path)


def _me() -> str:
    return json.dumps({"host": socket.gethostname(), "pid": os.getpid()})


def _is_stale(owner: str) -> bool:
    """Whether the process that wrote this is gone for sure."""
    try:
        found = json.loads(owner)
        if found["host"] != socket.gethostname():
            return False
        os.kill(found["pid"], 0)
    except ProcessLookupError:
        return True
    except PermissionError:  # it lives, and is another user's
        return False
    except (ValueError, KeyError, TypeError):  # cut off while it was written
        return True
    return False


def _busy(path: str, owner: str) -> UserError:
    try:
        found = json.loads(owner)
        who = f"process {found['pid']} on {found['host']}"
    except (ValueError, KeyError, TypeError):
        who = "another process"
    return UserError(
        f"{os.path.dirname(path)} is being written by {who}. Wait for it, or give another --out; "
        f"if you are sure that it has ended, remove {path}."
    )
