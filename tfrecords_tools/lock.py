"""One command at a time writes into a folder.

    DIR/.lock    {"host": ..., "pid": ..., "token": ..., "since": ...} of the command at work; removed when it ends

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

from must_tf import files
from must_tf.errors import UserError

NAME = ".lock"
TOKEN = secrets.token_hex(8)  # this process', whose id alone may have been another's
SETTLE_SECONDS = 1.0  # from writing the file to reading it again; longer than from looking for it to writing it


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
