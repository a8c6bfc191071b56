"""Recognises what a disk refuses: full, read-only, without permission. Such errors are the user's to mend."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
from collections.abc import Iterator, Mapping

SPACE = "Free some space, and run the same command again."
ACCESS = "Give another folder, or change its permissions."
GONE = "Check if it was removed, or if its disk is gone."
AGAIN = "Check the disk, and run the same command again."
# Errors of the system: the words for them in TensorFlow's and SQLite's messages, and the remedy.
Refusals = Mapping[int, tuple[tuple[str, ...], str]]
REFUSALS: Refusals = {
    errno.ENOSPC: (("No space left on device", "disk is full"), SPACE),
    errno.EFBIG: (("File too large",), SPACE),  # a limit of the user's, or of the file system's
    errno.EDQUOT: (("Disk quota exceeded",), SPACE),
    errno.EROFS: (("Read-only file system", "readonly database"), ACCESS),
    errno.EACCES: (("Permission denied",), ACCESS),
    errno.EPERM: (("Operation not permitted",), ACCESS),
    errno.EIO: (("Input/output error", "disk I/O error"), AGAIN),
    errno.ESTALE: (("Stale file handle",), AGAIN),
}
VANISHED: Refusals = {errno.ENOENT: (("No such file or directory",), GONE)}
MIB = 1 << 20


def vanished(error: BaseException) -> str:
    """Returns a message if a file is missing that was there a moment before; otherwise "".

    Not part of `refusal`: a command that is ended by a signal may look for files that it has removed.
    """
    return refusal(error, VANISHED)


def without_file_system(error: BaseException | None) -> str:
    """Returns a message if TensorFlow has no file system for a path like s3://...; otherwise ""."""
    while error is not None:
        if found := re.search(r"File system scheme '(.*?)' not implemented \(file: '(.*?)'", str(error)):
            scheme, path = found.groups()
            return (
                f"{path}: TensorFlow has no file system for {scheme}:// here. Give a folder of a disk, or one of "
                f"{scheme}:// that is mounted as one."
            )
        error = error.__cause__
    return ""


def refusal(error: BaseException | None, refusals: Refusals = REFUSALS) -> str:
    """Returns a message if a disk caused the error; otherwise ""."""
    while error is not None:
        number = error.errno if isinstance(error, OSError) else None
        text = str(getattr(error, "message", "") or error)
        for code, (words, remedy) in refusals.items():
            if number == code or (number is None and any(word in text for word in words) and _is_of_a_file(error)):
                return _message(code, remedy, _path(error, text))
        error = error.__cause__
    return ""


def is_refusal(message: str) -> bool:
    """Tests if a message of another process is that of a `refusal` which would meet every file of the disk."""
    of_disks = (code for code, (_, remedy) in REFUSALS.items() if remedy != ACCESS or code == errno.EROFS)
    return any(os.strerror(code).lower() in message for code in of_disks)


@contextlib.contextmanager
def naming(path: str) -> Iterator[None]:
    """Adds the path to an error of writing a file: Python's has none if the file was open already."""
    try:
        yield
    except OSError as error:
        error.filename = error.filename or path
        raise


def _is_of_a_file(error: BaseException) -> bool:
    return type(error).__module__.startswith(("tensorflow", "sqlite3"))


def _path(error: BaseException, text: str) -> str:
    """Returns the path of an error. TensorFlow's messages begin with it: "/a/b; No space left on device"."""
    if isinstance(error, OSError):
        return "" if error.filename is None else os.fsdecode(error.filename)
    before = text.split("; ")[0].strip()
    if before.startswith("/") or "://" in before:
        return before
    # As in "{{function_node Save}} /a/b; No space left on device [Op:Save]".
    within = re.search(r"(?:/|\w+://)\S*(?=; )", text)
    return within[0] if within else ""


def _message(code: int, remedy: str, path: str) -> str:
    where = f"{path}: " if path else ""
    free = _free(path) if remedy == SPACE else ""
    return f"{where}{os.strerror(code).lower()}{free}. {remedy}"


def _free(path: str) -> str:
    folder = os.path.dirname(path)
    if not os.path.isdir(folder):
        return ""
    return f" ({shutil.disk_usage(folder).free / MIB:.0f} MB free)"
