"""A conversion never reads from a pipe, which might never end: it names it, or leaves it alone."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from must_tf.common.errors import UserError
from must_tf.data import input as input_lib
from tests.support.converting import noise, save
from tests.support.datasets import drawn_formats, published_formats
from tfrecords_tools.convert import run as convert
from tfrecords_tools.sources import Source
from tfrecords_tools.sources.classes import ClassFolders
from tfrecords_tools.sources.images import UnlabelledImages


def classes(root: Path) -> Source:
    """Two class folders."""
    for name in ("cat", "dog"):
        save(root / name / "a.png", noise(8, 8, 1))
    return ClassFolders(str(root))


def images(root: Path) -> Source:
    """Two photos."""
    for name in "ab":
        save(root / f"{name}.jpg", noise(8, 8, 1))
    return UnlabelledImages(str(root))


SOURCES: dict[str, Callable[[Path], Source]] = {
    "classes": classes,
    "images": images,
    **drawn_formats.FORMATS,
    **published_formats.FORMATS,
}


@contextlib.contextmanager
def released(pipe: Path) -> Iterator[list[bool]]:
    """Opens a pipe for writing as soon as somebody waits for that, and tells so."""
    reads: list[bool] = []
    end = threading.Event()

    def watch() -> None:
        while not end.wait(0.02):
            with contextlib.suppress(OSError):
                os.close(os.open(pipe, os.O_WRONLY | os.O_NONBLOCK))
                reads.append(True)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield reads
    finally:
        end.set()
        thread.join()


@pytest.mark.parametrize("name", SOURCES)
def test_no_source_waits_for_a_pipe(name: str, tmp_path: Path) -> None:
    """Each kind of file of the dataset in turn."""
    tried = set()
    source = SOURCES[name](tmp_path / "in")
    for path in sorted(path for path in (tmp_path / "in").rglob("*") if path.is_file()):
        kind = path.parent, path.suffix
        if kind in tried:
            continue
        tried.add(kind)
        content = path.read_bytes()
        path.unlink()
        os.mkfifo(path)
        options = convert.Options(str(tmp_path / f"out-{len(tried)}"), workers=1, max_drop_rate=1)
        with released(path) as reads, contextlib.suppress(UserError):
            convert.convert(source, options)
        assert not reads, path
        path.unlink()
        path.write_bytes(content)


def test_the_message_names_a_pipe_a_socket_and_a_device(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as opened:
        opened.bind(str(tmp_path / "socket"))
    for path in (tmp_path / "pipe", tmp_path / "socket", Path("/dev/zero")):
        with pytest.raises(UserError, match=f"{path} is a pipe, a socket or a device"):
            input_lib.files(str(path), "--records")


def test_a_photo_that_is_a_pipe_is_named(tmp_path: Path) -> None:
    source = images(tmp_path / "in")
    os.mkfifo(tmp_path / "in" / "c.jpg")
    with pytest.raises(UserError, match=r"c\.jpg is a pipe"):
        convert.convert(source, convert.Options(str(tmp_path / "out"), workers=1))
