"""Mistakes of the clients' users: no server, and no photo."""

from __future__ import annotations

import socket
import sys
from pathlib import Path

import pytest

from must_tf.serving.clients import client_grpc, client_rest


@pytest.fixture
def free() -> str:
    """The address of a port at which nothing listens."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{bound.getsockname()[1]}"


def test_without_a_photo_the_clients_end_with_2(
    free: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for client, flag in ((client_rest, f"--url=http://{free}"), (client_grpc, f"--address={free}")):
        monkeypatch.setattr(sys, "argv", ["client", flag, f"{tmp_path}/none.jpg"])
        assert client.main() == 2
        assert capsys.readouterr().err == f"error: {tmp_path}/none.jpg: No such file or directory\n"


@pytest.mark.parametrize("name", ["rest", "grpc"])
def test_with_no_server_the_clients_say_how_to_start_one(
    name: str, free: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if name == "grpc":
        pytest.importorskip("grpc")
    (tmp_path / "photo.jpg").write_bytes(b"")
    client, flag, remedy = {
        "rest": (
            client_rest,
            f"--url=http://{free}",
            "must serve FOLDER_OF_THE_EXPORT, or give its address with --url",
        ),
        "grpc": (client_grpc, f"--address={free}", "Start TensorFlow Serving, or give its address with --address"),
    }[name]
    monkeypatch.setattr(sys, "argv", ["client", flag, f"{tmp_path}/photo.jpg"])
    assert client.main() == 2
    error = capsys.readouterr().err
    assert f"{free} cannot be reached: " in error and remedy in error and "urlopen" not in error
